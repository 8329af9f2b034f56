"""What other applications read of the log: what was done to things of theirs, by whom, and where that stands."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from audit.models import AuditEntry, Unreadable, reading
from audit.services import payload_of


@dataclass(frozen=True, slots=True)
class Act:
    """One entry. `person` is the id of who acted, directly or through a key; None where nobody did. `who` is the name, as
    far as the entry still holds it. `place` is where the audit's page has it first: the number of the log and of the entry
    above."""

    log: str
    seq: int
    at: datetime
    action: str
    target_id: str
    person: str | None
    who: str
    version_before: int | None
    version_after: int | None
    payload: dict[str, Any]
    place: str


def acts_on(
    org_id: UUID,
    target_type: str,
    target_ids: Collection[str],
    *,
    most: int,
    since: datetime | None = None,
    actions: Collection[str] | None = None,
) -> list[Act]:
    """The newest acts on these things, newest first, at most so many; one query. None where the table holds what nobody can
    read: the audit's page says so."""
    if not target_ids:
        return []
    rows = AuditEntry.objects.of(org_id).filter(target_type=target_type, target_id__in=list(target_ids))
    if since is not None:
        rows = rows.filter(ts__gt=since)
    if actions is not None:
        rows = rows.filter(action__in=list(actions))
    try:
        with reading():
            return [_act(row) for row in rows.order_by("-epoch", "-seq").defer("entry", "salt", "leaf_hash")[:most]]
    except Unreadable:
        return []


def _act(row: AuditEntry) -> Act:
    said = payload_of(row) or {}
    return Act(
        log=row.log,
        seq=row.seq,
        at=row.ts,
        action=row.action,
        target_id=row.target_id,
        person=row.actor_id if row.actor_type == "user" else row.on_behalf_of,
        who=str(said.get("actor_name") or ("" if row.actor_type == "user" else row.actor_id)),
        version_before=row.version_before,
        version_after=row.version_after,
        payload=said,
        place=f"{row.epoch}.{row.seq + 1}",
    )
