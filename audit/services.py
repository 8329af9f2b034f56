"""Recording. Only writer of the log."""

import json
import secrets
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import CharField, Func, IntegerField, Value
from django.utils import timezone

from audit import request_id, statements
from audit.actors import as_actor
from audit.errors import EntryRefused, EntryTooLarge, LogDamaged, NoTransaction
from audit.log import tree
from audit.log.canonical import NotCanonical, canonical_bytes
from audit.log.check import MAX_PAYLOAD_BYTES
from audit.log.entry import SALT_SIZE, BadEntry, Entry, payload_hash, time_text
from audit.log.links import host_of
from audit.models import AuditEntry, AuditHead, as_bytes
from audit.statements import Head

LONGEST_REASON = 1_000
#: Of a payload above that, so much is kept beside what is said of the members that are not; so many, and no longer names.
_KEPT_BYTES = 192 * 1024
_NAMED, _LONGEST_NAME = 50, 100
#: By column of text so many characters.
_LIMITS = {
    field.attname: field.max_length
    for field in AuditEntry._meta.concrete_fields
    if isinstance(field, CharField) and field.max_length is not None
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an entry stands. `leaf_hash` is hex; whoever keeps it can show later that the entry was there."""

    log: str
    seq: int
    leaf_hash: str

    def __str__(self) -> str:
        return f"Audit receipt: entry {self.seq}, {self.leaf_hash[:16]}…"


def record(
    org_id: UUID | None,
    *,
    by: Any,
    action: str,
    target: tuple[str, str | UUID],
    payload: dict[str, Any] | None = None,
    version_before: int | None = None,
    version_after: int | None = None,
) -> Receipt:
    """Append one entry to an organisation's log, or to the installation's for None, in the caller's transaction.

    Decimals, times and ids in the payload become text; of a payload above 256 KiB the largest members are replaced by
    `replaced`: the digest and size of the whole, and of each of these members, with the count of what it held.
    Locks the log's head row until the transaction ends. Raises `NoTransaction`, `EntryRefused` and its `EntryTooLarge`, and
    `LogDamaged`; then nothing was written, also where the caller catches them and commits.
    """
    if not connection.in_atomic_block:
        raise NoTransaction("record() must be called inside the transaction that makes the change.")
    actor = as_actor(by)
    kept = _payload_bytes(payload or {}, actor.name)
    salt = secrets.token_bytes(SALT_SIZE)
    said = Entry(
        log="",
        seq=0,
        ts=time_text(timezone.now()),
        actor_type=actor.type,
        actor_id=actor.id,
        on_behalf_of=actor.on_behalf_of,
        action=action,
        target_type=target[0],
        target_id=str(target[1]),
        request_id=request_id.current(),
        version_before=version_before,
        version_after=version_after,
        payload_sha256=payload_hash(salt, kept),
        prev=None,
    )
    _check(said)

    head = locked_head(org_id)
    entry = replace(
        said,
        log=head.log,
        seq=head.size,
        # Never decreasing: a clock steps back, two machines disagree, a writer waits here for another.
        ts=max(said.ts, head.last_ts),
        prev=None if head.last_leaf_hash is None else head.last_leaf_hash.hex(),
    )
    try:
        data = entry.to_bytes()
        leaf = tree.leaf_hash(data)
        edge = tree.append(head.size, tree.unpack(head.right_edge), leaf)
    except ValueError as error:
        raise LogDamaged(head.log) from error
    try:
        statements.insert(
            org_id=org_id, epoch=head.epoch, entry=data, leaf_hash=leaf, payload=kept, salt=salt, **columns_of(entry)
        )
    except IntegrityError as error:  # there is one with this number already
        raise LogDamaged(head.log) from error
    statements.move(head, ts=entry.ts, leaf=leaf, edge=tree.pack(edge))
    return Receipt(head.log, entry.seq, leaf.hex())


def _payload_bytes(payload: dict[str, Any], actor_name: str) -> bytes:
    """The canonical payload, or what stands for it where it is too large. Raises `EntryRefused`."""
    name = {"actor_name": actor_name} if actor_name else {}
    try:
        said = plain({**payload, **name})
        kept = canonical_bytes(said)
        return kept if len(kept) <= MAX_PAYLOAD_BYTES else canonical_bytes(_reduced(said, kept))
    except (ValueError, OverflowError, RecursionError) as error:
        raise EntryRefused(f"The payload cannot be recorded: {error}") from error


def _reduced(said: dict[str, Any], whole: bytes) -> dict[str, Any]:
    """The payload without its largest members, and `replaced`, which says what they were."""
    data = {key: canonical_bytes(value) for key, value in said.items()}
    sizes = {key: len(canonical_bytes(key)) + len(value) + 2 for key, value in data.items()}
    left = len(whole)
    gone: dict[str, Any] = {}
    # Who did it stays: the name is short whatever it was.
    for key in sorted(said.keys() - {"actor_name"}, key=lambda key: (-sizes[key], key)):
        if left <= _KEPT_BYTES:
            break
        left -= sizes[key]
        gone[key] = said[key]
    members = {
        key: {**_sums(data[key]), **({"count": len(value)} if isinstance(value, dict | list) else {})}
        # What stands for much must itself be small.
        for key, value in [(key, value) for key, value in gone.items() if len(key) <= _LONGEST_NAME][:_NAMED]
    }
    kept = {key: value for key, value in said.items() if key not in gone}
    return {**kept, "replaced": {**_sums(whole), "members": members}}


def _sums(data: bytes) -> dict[str, Any]:
    return {"sha256": sha256(data).hexdigest(), "bytes": len(data)}


def _check(said: Entry) -> None:
    """Raises `EntryRefused` for what the entry's form or a column does not hold, on either database.

    The columns' limits keep every entry far below `MAX_BYTES`, whatever its log and number will be.
    """
    try:
        said.to_bytes()
    except BadEntry as error:
        kind = EntryTooLarge if error.rule == "too_large" else EntryRefused
        raise kind(f"The entry cannot be recorded: {error}") from error
    for name, limit in _LIMITS.items():
        # SQLite would keep what PostgreSQL refuses.
        if len(getattr(said, name) or "") > limit:
            raise EntryTooLarge(f"The entry cannot be recorded: {name} has at most {limit} characters.")


def plain(value: Any) -> Any:
    """The value with decimals, times, ids and tuples as text and lists, for the canonical form.

    Raises `ValueError` for a time without a zone and for two keys that are one as text.
    """
    if isinstance(value, dict):
        members = {str(key): plain(member) for key, member in value.items()}
        if len(members) != len(value):
            raise NotCanonical("Two keys are the same text.")
        return members
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, float):
        return format(Decimal(repr(value)), "f")
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, UUID | date):
        return str(value)
    return value


def locked_head(org_id: UUID | None) -> Head:
    """The head of the log that is written to, which is opened where there is none; locked until the transaction ends."""
    if head := statements.locked(org_id):
        return head
    try:
        with transaction.atomic():
            AuditHead.objects.create(org_id=org_id, log=host_of_logs() + place_of(org_id))
    except IntegrityError:
        pass  # somebody else made it first; its lock is waited for below
    head = statements.locked(org_id)
    if head is None:  # there is a closed one alone
        raise LogDamaged(host_of_logs() + place_of(org_id))
    return head


def check_reason(reason: str) -> None:
    """Why somebody did what the log tells of itself: raises `EntryRefused` for nothing, and for what is no short text."""
    if not reason.strip():
        raise EntryRefused("Say why: whoever reads the log will want to know.")
    if len(reason) > LONGEST_REASON:
        raise EntryRefused(f"A reason has at most {LONGEST_REASON:,} characters.")
    _payload_bytes({"reason": reason}, "")


def place_of(org_id: UUID | None, epoch: int = 1) -> str:
    """What follows the host in a log's origin."""
    return f"/audit/{org_id or 'installation'}{f'/e{epoch}' if epoch > 1 else ''}"


def host_of_logs() -> str:
    """With what the origins of all logs begin: chosen once, with the first of them."""
    host = str(settings.AUDIT_ORIGIN)
    # As long as any log is called by the setting, whatever else stands there.
    if AuditHead.objects.filter(log__startswith=f"{host}/audit/").exists():
        return host
    names = AuditHead.objects.order_by("pk").values_list("log", flat=True)
    return next((found for name in names if (found := host_of(str(name)))), host)


def columns_of(entry: Entry) -> dict[str, Any]:
    """The columns for searching: the same values as in the bytes."""
    return {
        "log": entry.log,
        "seq": entry.seq,
        "ts": datetime.fromisoformat(entry.ts),
        "actor_type": entry.actor_type,
        "actor_id": entry.actor_id,
        "on_behalf_of": entry.on_behalf_of,
        "action": entry.action,
        "target_type": entry.target_type,
        "target_id": entry.target_id,
        "request_id": entry.request_id,
        "version_before": entry.version_before,
        "version_after": entry.version_after,
    }


def targets_of(org_id: UUID | None, *, action: str) -> set[str]:
    """The ids of all that the log says was acted on in this way."""
    rows = AuditEntry.objects.filter(org_id=org_id, action=action)
    return set(rows.order_by().values_list("target_id", flat=True).distinct())


class _Place(Func):
    """Where these bytes stand in a column of bytes, from 1; 0 where they do not."""

    function = "INSTR"
    output_field = IntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        turned = self.copy()
        turned.set_source_expressions(self.get_source_expressions()[::-1])
        return turned.as_sql(compiler, connection, template="POSITION(%(expressions)s)", arg_joiner=" IN ", **context)


def shortened_between(org_id: UUID | None, first: int, last: int) -> set[int]:
    """The versions of these whose entry, by which they came, does not keep its whole payload."""
    rows = AuditEntry.objects.filter(org_id=org_id, version_after__range=(first, last))
    lost = rows.filter(payload=None).order_by().values_list("version_after", flat=True)
    suspect = rows.annotate(place=_Place("payload", Value(b'"replaced":'))).filter(place__gt=0)
    told = {row.version_after for row in suspect if "replaced" in (payload_of(row) or {})}
    return {version for version in {*lost, *told} if version is not None}


def payload_of(row: AuditEntry) -> dict[str, Any] | None:
    """The payload as a value; None once blanked. Raises one of `UNREADABLE` for garbage."""
    if row.payload is None:
        return None
    value = json.loads(as_bytes(row.payload))
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} in place of an object")
    return value


def payload_text(row: AuditEntry) -> str:
    """The payload for people to read; "" once blanked."""
    payload = payload_of(row)
    return "" if payload is None else json.dumps(payload, indent=2, ensure_ascii=False)
