"""What checkpoints are signed with: a file of the signer's that its owner alone reads, a key a line. The log of the
installation tells which keys there are and were."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import transaction

from audit.log.notes import BadKey, SigningKey, VerifyKey
from audit.models import AuditEntry, AuditHead
from audit.services import payload_of, place_of, record
from audit.signing.state import private_folder, write_private

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


def known_keys() -> list[VerifyKey]:
    """The keys that the log of the installation tells of and that were not retired, the oldest first."""
    found: dict[str, VerifyKey] = {}
    for row in AuditEntry.objects.of(None).filter(action__in=(ADDED, RETIRED)).in_order():
        if row.action == RETIRED:
            found.pop(row.target_id, None)
        else:
            found[row.target_id] = VerifyKey.parse(str((payload_of(row) or {}).get("key")))
    return list(found.values())


def keys_to_sign_with(*, by: Any) -> list[SigningKey]:
    """The keys in the file, of which the log tells; the first time one is made. Raises `BadKeys` where the log tells of
    others that are not here: somebody else signs."""
    own, known = own_keys(), known_keys()
    if not own:
        if known:
            raise BadKeys(
                f"Checkpoints are signed with the key {known[-1]}, which is not in {key_file()}. Where another machine"
                " signs, set AUDIT_SIGNER=apart here; where the key is lost, retire it: manage.py audit_key retire."
            )
        return [add_key(by=by, reason="The first key.")]
    if strangers := [key for key in known if key not in [one.verify_key for one in own]]:
        raise BadKeys(
            f"The log tells of the key {strangers[0]}, which is not in {key_file()}. Retire it, or put it back."
        )
    for key in own:
        if key.verify_key not in known:  # it was written, and then the database was away
            _tell(key.verify_key, by=by, reason="It is in the file of the signer.")
    return own


def add_key(*, by: Any, reason: str) -> SigningKey:
    """Make one more key; from now on checkpoints are signed with it too."""
    key = SigningKey.make(key_name())
    write_private_keys([*own_keys(), key])
    _tell(key.verify_key, by=by, reason=reason)
    return key


def retire_key(key_id: str, *, by: Any, reason: str) -> VerifyKey:
    """Sign with a key no more. Raises `BadKeys` for one that is not known, and for the only one."""
    own, known = own_keys(), known_keys()
    retired = next((key for key in known if key.key_id.hex() == key_id), None)
    if retired is None:
        raise BadKeys(
            f"There is no key {key_id}; the log tells of {', '.join(key.key_id.hex() for key in known) or 'none'}."
        )
    kept = [key for key in own if key.verify_key != retired]
    if not kept and own:
        raise BadKeys("It is the only key. Add another one first: manage.py audit_key add.")
    _record(RETIRED, retired, by=by, reason=reason)
    write_private_keys(kept)
    return retired


def key_name() -> str:
    """The name of all keys: the host that stands in the logs."""
    place = place_of(None)
    first = AuditHead.objects.filter(org_id=None, epoch=1, log__endswith=place).order_by("pk").first()
    host = settings.AUDIT_ORIGIN if first is None else first.log.removesuffix(place)
    return f"{host}/audit"


def write_private_keys(keys: list[SigningKey]) -> None:
    private_folder(key_file().parent)
    write_private(key_file(), "".join(f"{key.secret_text()}\n" for key in keys))


def _tell(key: VerifyKey, *, by: Any, reason: str) -> None:
    _record(ADDED, key, by=by, reason=reason)


def _record(action: str, key: VerifyKey, *, by: Any, reason: str) -> None:
    with transaction.atomic():
        record(
            None,
            by=by,
            action=action,
            target=("signing_key", key.key_id.hex()),
            payload={"key": str(key), "reason": reason},
        )
