"""Recording and verifying. Only writer of the log."""

import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F
from django.utils import timezone

from audit import request_id
from audit.actors import as_actor
from audit.log import tree
from audit.log.canonical import NotCanonical, canonical_bytes
from audit.log.check import Checker
from audit.log.entry import SALT_SIZE, BadEntry, Entry, payload_hash, time_text
from audit.models import AuditEntry, AuditHead

MAX_PAYLOAD_BYTES = 256 * 1024


class AuditError(Exception):
    """The log refused."""

    code = "audit_refused"


class NoTransaction(AuditError):
    """An entry stands in the same transaction as what it describes."""

    code = "no_transaction"


class EntryRefused(AuditError):
    """The entry would be too large, or holds what has no canonical form."""

    code = "entry_refused"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Where an entry stands. `leaf_hash` is hex; whoever keeps it can show later that the entry was there."""

    log: str
    seq: int
    leaf_hash: str


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

    Decimals, times and ids in the payload become text; a payload above 256 KiB is replaced by its digest and size.
    Locks the log's head row until the transaction ends. Raises `NoTransaction`, `EntryRefused`; then nothing was written.
    """
    if not connection.in_atomic_block:
        raise NoTransaction("record() must be called inside the transaction that makes the change.")
    actor = as_actor(by)
    said = dict(payload or {})
    if actor.name:
        said["actor_name"] = actor.name
    try:
        kept = canonical_bytes(plain(said))
        if len(kept) > MAX_PAYLOAD_BYTES:
            kept = canonical_bytes({"sha256": sha256(kept).hexdigest(), "bytes": len(kept), "keys": sorted(said)[:100]})
    except NotCanonical as error:
        raise EntryRefused(f"The payload cannot be recorded: {error}") from error
    salt = secrets.token_bytes(SALT_SIZE)

    head = _locked_head(org_id)
    # Never decreasing, also where a clock steps back or two machines disagree.
    ts = max(time_text(timezone.now()), head.last_ts)
    entry = Entry(
        log=head.log,
        seq=head.size,
        ts=ts,
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
        prev=None if head.last_leaf_hash is None else bytes(head.last_leaf_hash).hex(),
    )
    try:
        data = entry.to_bytes()
    except BadEntry as error:
        raise EntryRefused(f"The entry cannot be recorded: {error}") from error
    leaf = tree.leaf_hash(data)
    edge = tree.append(head.size, tree.unpack(bytes(head.right_edge)), leaf)
    AuditEntry(org_id=org_id, entry=data, leaf_hash=leaf, payload=kept, salt=salt, **_columns(entry)).save()
    AuditHead.objects.filter(pk=head.pk).update(
        size=head.size + 1, last_ts=ts, last_leaf_hash=leaf, right_edge=tree.pack(edge)
    )
    return Receipt(head.log, entry.seq, leaf.hex())


def plain(value: Any) -> Any:
    """The value with decimals, times, ids and tuples as text and lists, for the canonical form."""
    if isinstance(value, dict):
        return {str(key): plain(member) for key, member in value.items()}
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


def _locked_head(org_id: UUID | None) -> AuditHead:
    """The log's head row, locked by an UPDATE: a writer that waits for it sees what the one before wrote."""
    rows = AuditHead.objects.filter(org_id=org_id)
    if not rows.update(size=F("size")):
        try:
            with transaction.atomic():
                AuditHead.objects.create(org_id=org_id, log=f"{settings.AUDIT_ORIGIN}/audit/{org_id or 'installation'}")
        except IntegrityError:
            pass  # somebody else made it first; its lock is waited for below
        rows.update(size=F("size"))
    return rows.get()


def _columns(entry: Entry) -> dict[str, Any]:
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


# --- Verifying ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verification:
    """What verifying one log found. `bad_seq` and `rule` name the first entry that breaks a rule, and which."""

    log: str
    ok: bool
    size: int
    root: str
    bad_seq: int | None = None
    rule: str = ""
    message: str = ""

    def __str__(self) -> str:
        if self.ok:
            return f"{self.log}: verified {self.size:,} {'entry' if self.size == 1 else 'entries'}, root {self.root}"
        return f"{self.log}: TAMPERED at entry {self.bad_seq} ({self.rule}): {self.message}"


def verify_org(org_id: UUID | None) -> Verification:
    """Verify an organisation's log, or the installation's for None."""
    head = AuditHead.objects.filter(org_id=org_id).first()
    if head is not None:
        return verify(head.log)
    log = AuditEntry.objects.filter(org_id=org_id).order_by("seq").values_list("log", flat=True).first()
    if log is not None:
        return verify(log)
    return Verification(f"{settings.AUDIT_ORIGIN}/audit/{org_id or 'installation'}", True, 0, tree.EMPTY_ROOT.hex())


def logs() -> Iterator[str]:
    """Every log of the installation, also one whose head row somebody removed."""
    heads = set(AuditHead.objects.values_list("log", flat=True))
    entries = set(AuditEntry.objects.order_by().values_list("log", flat=True).distinct())
    yield from sorted(heads | entries)


def verify(log: str) -> Verification:
    """Recompute a log from its stored bytes, in constant memory: bytes, order, links, payloads, columns and the head."""
    head = AuditHead.objects.filter(log=log).first()
    checker = Checker(log)

    def bad(seq: int, rule: str, message: str) -> Verification:
        return Verification(log, False, checker.size, checker.root.hex(), seq, rule, message)

    if head is None:
        return bad(0, "no_head", "The head of this log is gone.")
    # In the order of the columns: an entry moved to another place shows as a break at that place.
    for row in AuditEntry.objects.filter(log=log).order_by("seq", "pk").iterator(chunk_size=1_000):
        payload = None if row.payload is None else bytes(row.payload)
        salt = None if row.salt is None else bytes(row.salt)
        try:
            entry = checker.take(bytes(row.entry), payload, salt)
        except BadEntry as error:
            return bad(row.seq, error.rule, str(error))
        if bytes(row.leaf_hash) != checker.last_leaf:
            return bad(row.seq, "wrong_leaf_hash", "The hash kept beside it is not that of its bytes.")
        if row.org_id != head.org_id:
            return bad(row.seq, "wrong_org", "It is kept under another organisation.")
        for name, value in _columns(entry).items():
            if getattr(row, name) != value:
                return bad(row.seq, "wrong_column", f"The column {name} says something else than its bytes.")
    last = None if head.last_leaf_hash is None else bytes(head.last_leaf_hash)
    if head.size != checker.size:
        first = min(head.size, checker.size)
        return bad(first, "wrong_size", f"The head counts {head.size:,} entries, there are {checker.size:,}.")
    if (last, bytes(head.right_edge), head.last_ts) != (checker.last_leaf, tree.pack(checker.edge), checker.last_ts):
        return bad(max(checker.size - 1, 0), "wrong_head", "The head is not that of these entries.")
    return Verification(log, True, checker.size, checker.root.hex())


def payload_of(row: AuditEntry) -> dict[str, Any] | None:
    """The payload as a value; None once blanked."""
    if row.payload is None:
        return None
    value: dict[str, Any] = json.loads(bytes(row.payload))
    return value
