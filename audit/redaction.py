"""Blanking a payload: what it held is gone, and the log shows for ever that it was blanked, by whom and why."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from audit import statements
from audit.errors import AlreadyBlanked, NeverBlanked, NoSuchEntry
from audit.log.check import REDACTED
from audit.models import AuditEntry
from audit.services import Receipt, locked_head, record


class Blanked(NamedTuple):
    """What the log says of it, and what the entry told that was blanked; `version`: the one that it published."""

    receipt: Receipt
    action: str
    target_id: str
    version: int | None


def redact(org_id: UUID | None, seq: int, *, reason: str, by: Any, log: str = "") -> Blanked:
    """Blank the payload of an entry of an organisation's log, or of the installation's for None, in the caller's
    transaction. `log` names an older one of its logs; without it the one that is written to is meant.

    The entry itself stays, with who did what when to what: its leaf hash never was over the payload. Raises
    `NoSuchEntry`, `AlreadyBlanked` and `NeverBlanked`.
    """
    head = locked_head(org_id)
    row = get_entry(org_id, log or head.log, seq)
    if is_never_blanked(row):
        raise NeverBlanked(f"Entry {seq} is {row.action}: what the log says of itself is never blanked.")
    if not statements.blank(row.pk):
        raise AlreadyBlanked(f"The payload of entry {seq} was blanked before.")
    receipt = record(
        org_id, by=by, action=REDACTED, target=("entry", _name(row, head.epoch)), payload={"reason": reason}
    )
    version = row.version_after if row.version_after != row.version_before else None
    return Blanked(receipt, row.action, row.target_id, version)


def told_by(rows: Sequence[AuditEntry]) -> dict[int, AuditEntry]:
    """By the key of each of these entries that is blanked, which are of one organisation: the entry that tells so."""
    blanked = [row for row in rows if row.payload is None]
    if not blanked:
        return {}
    names = {name for row in blanked for name in (str(row.seq), f"{row.epoch}.{row.seq}")}
    telling = AuditEntry.objects.of(blanked[0].org_id).filter(action=REDACTED, target_type="entry", target_id__in=names)
    return {row.pk: told for told in telling for row in blanked if told.target_id == _name(row, told.epoch)}


def _name(row: AuditEntry, epoch: int) -> str:
    """How the log with this number names an entry of its own, or of an older one."""
    return str(row.seq) if row.epoch == epoch else f"{row.epoch}.{row.seq}"


def get_entry(org_id: UUID | None, log: str, seq: int) -> AuditEntry:
    """Raises `NoSuchEntry`."""
    # PostgreSQL refuses to compare with U+0000.
    row = None if "\0" in log else AuditEntry.objects.of(org_id).filter(log=log, seq=seq).first()
    if row is None:
        raise NoSuchEntry(f"The log {log} has no entry {seq}.")
    return row


def is_never_blanked(row: AuditEntry) -> bool:
    return row.action.startswith("audit.")
