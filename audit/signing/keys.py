"""What checkpoints are signed with: a file of the signer's that its owner alone reads, a key a line. The log of the
installation tells which keys there are and were."""

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from django.conf import settings
from django.db import transaction

from audit.log.entry import Entry, payload_hash
from audit.log.links import number_of
from audit.log.notes import BadKey, SigningKey, VerifyKey
from audit.models import UNREADABLE, AuditEntry, AuditHead, as_bytes
from audit.services import check_reason, host_of_logs, record
from audit.signing.state import open_private, private_folder, write_private

#: Of a note so many signatures are read, and every one takes its time.
MAX_KEYS: Final = 4
ADDED, RETIRED = "audit.key_added", "audit.key_retired"


class BadKeys(Exception):
    """The signer has no keys to sign with, or not those that the log tells of."""

    code = "bad_keys"


def signer_folder() -> Path:
    """Where the signer of this machine keeps its keys and its memory. Raises `BadKeys` where it has none."""
    if not settings.AUDIT_SIGNER_DIR:
        raise BadKeys("AUDIT_SIGNER_DIR is not set: the signer needs a folder that only its owner reads.")
    return Path(settings.AUDIT_SIGNER_DIR)


def key_file() -> Path:
    return signer_folder() / "keys"


def own_keys() -> list[SigningKey]:
    """The keys in the file, the oldest first; none where there is no file. Raises `BadKeys`."""
    path = key_file()
    try:
        if path.stat().st_mode & 0o077:
            raise BadKeys(f"Others may read {path}, which holds the keys of the signer: chmod 600 {path}")
        lines = path.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise BadKeys(f"{path} cannot be read: {type(error).__name__}") from error
    try:
        return [SigningKey.parse(line) for line in lines]
    except BadKey as error:
        raise BadKeys(f"{path} holds something else than keys: {error}") from error


class Told(NamedTuple):
    """What the logs of the installation say of keys, `known` and `retired` the oldest first. `unreadable`: the entries of
    the one that is written to which name none; of older ones nobody needs to know."""

    known: list[VerifyKey]
    retired: list[VerifyKey]
    unreadable: list[int]


def told_keys() -> Told:
    """All keys of which the logs tell. A row is believed as far as its bytes say the same, and stand in a log: columns are
    for searching, and whoever may add rows could add any."""
    heads = AuditHead.objects.filter(org_id=None).order_by("epoch").values_list("log", "size", "is_current")
    sizes, current = {log: size for log, size, _ in heads}, {log for log, _, is_current in heads if is_current}
    entries: list[tuple[int, int, str, VerifyKey]] = []
    unreadable = []
    rows = AuditEntry.objects.of(None).filter(action__in=(ADDED, RETIRED), log__in=sizes)
    for log, seq, data, payload, salt in rows.values_list("log", "seq", "entry", "payload", "salt"):
        try:
            if not seq < sizes[log]:
                continue
            entry, kept = Entry.from_bytes(as_bytes(data)), as_bytes(payload)
            if (entry.log, entry.seq, entry.payload_sha256) != (log, seq, payload_hash(as_bytes(salt), kept)):
                raise ValueError("its bytes are those of another entry")
            key = VerifyKey.parse(str(json.loads(kept)["key"]))
            entries.append((number_of(log), seq, entry.action, key))
        except (BadKey, KeyError, *UNREADABLE):
            unreadable += [seq] if log in current else []
    found: dict[VerifyKey, str] = {}
    for _, _, action, key in sorted(entries, key=lambda each: each[:2]):
        found[key] = action
    return Told(
        [key for key, action in found.items() if action == ADDED],
        [key for key, action in found.items() if action == RETIRED],
        sorted(unreadable),
    )


def known_keys() -> list[VerifyKey]:
    """The keys that the log of the installation tells of and that were not retired, the oldest first. Raises `BadKeys`
    where an entry cannot be read."""
    told = told_keys()
    if told.unreadable:
        raise BadKeys(
            f"Entry {told.unreadable[0]} of the log of the installation names no key: manage.py verify_audit."
        )
    return told.known


class Signing(NamedTuple):
    """What to sign with; `problem`: why the log of the installation is not to be signed, "" where it is. `retired`: what
    was signed with before."""

    keys: list[SigningKey]
    problem: str
    retired: list[VerifyKey]


def keys_to_sign_with(*, by: Any, has_signed: bool) -> Signing:
    """The keys in the file that were not retired; the first time one is made. `has_signed`: whether this signer remembers
    something. Raises `BadKeys` where it does not, or has no keys, though the log tells of others: somebody else signs."""
    with _keys_turn():
        told = told_keys()
        own = [key for key in own_keys() if key.verify_key not in told.retired]
        strangers = [key for key in told.known if key not in [one.verify_key for one in own]]
        if strangers:
            retire = f"manage.py audit_key retire {strangers[-1].key_id.hex()} --reason …"
            if not own or not (has_signed or any(key.verify_key in told.known for key in own)):
                raise BadKeys(
                    f"Checkpoints are signed with the key {strangers[-1]}, which is not in {key_file()}. Put the signer's"
                    f" folder back from its backup. If the key is lost for good, retire it: {retire}, and give auditors the"
                    " new one. Where another machine signs: AUDIT_SIGNER=apart, and no audit_sign here."
                )
            problem = f"It tells of the key {strangers[-1]}, which is not in {key_file()}: {retire}"
            return Signing(own, problem, told.retired)
        if not own:
            return Signing([_added(by=by, reason="There was none.")], "", told.retired)
        for key in own:
            if key.verify_key not in told.known:  # it was written, and then the database was away
                _record(ADDED, key.verify_key, by=by, reason="It is in the file of the signer.")
        problem = f"Its entry {told.unreadable[0]} names no key." if told.unreadable else ""
        return Signing(own, problem, told.retired)


def add_key(*, by: Any, reason: str) -> SigningKey:
    """Make one more key; from now on checkpoints are signed with it too. Raises `BadKeys` where the log tells of one that
    is not in the file: then somebody else signs, or it has to be retired; where there are enough; and `EntryRefused`."""
    check_reason(reason)
    with _keys_turn():
        if len(own_keys()) >= MAX_KEYS:
            raise BadKeys(f"There are {MAX_KEYS} keys already. Retire one first: manage.py audit_key retire.")
        own = [key.verify_key for key in own_keys()]
        if strangers := [key for key in known_keys() if key not in own]:
            raise BadKeys(
                f"The key {strangers[0]} is not in {key_file()}: add another one where it is, or retire it where it is"
                " lost."
            )
        return _added(by=by, reason=reason)


def retire_key(key_id: str, *, by: Any, reason: str) -> VerifyKey:
    """Sign with a key no more. Raises `BadKeys` for one that is not known, and for the only one, and `EntryRefused`."""
    check_reason(reason)
    with _keys_turn():
        own, known = own_keys(), told_keys().known
        retired = next((key for key in known if key.key_id.hex() == key_id), None)
        if retired is None:
            raise BadKeys(
                f"There is no key {key_id}; the log tells of {', '.join(key.key_id.hex() for key in known) or 'none'}."
            )
        kept = [key for key in own if key.verify_key != retired]
        if not kept and own:
            raise BadKeys("It is the only key. Add another one first: manage.py audit_key add.")
        # In this order: one of which the log says that it is retired is not signed with, wherever it stands.
        _record(RETIRED, retired, by=by, reason=reason)
        write_private_keys(kept)
    return retired


def _added(*, by: Any, reason: str) -> SigningKey:
    key = SigningKey.make(key_name())
    write_private_keys([*own_keys(), key])
    _record(ADDED, key.verify_key, by=by, reason=reason)
    return key


@contextmanager
def _keys_turn() -> Iterator[None]:
    """One at a time: the signer, and whoever adds or retires a key."""
    private_folder(signer_folder())
    with open_private(signer_folder() / "keys.turn") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def key_name() -> str:
    """The name of all keys: the host that stands in the logs."""
    return f"{host_of_logs()}/audit"


def write_private_keys(keys: list[SigningKey]) -> None:
    private_folder(key_file().parent)
    write_private(key_file(), "".join(f"{key.secret_text()}\n" for key in keys))


def _record(action: str, key: VerifyKey, *, by: Any, reason: str) -> None:
    with transaction.atomic():
        record(
            None,
            by=by,
            action=action,
            target=("signing_key", key.key_id.hex()),
            payload={"key": str(key), "reason": reason},
        )
