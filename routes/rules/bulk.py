"""Changes of many routes at once, each as one version: another order, and switching or deleting those that were chosen."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import UUID

from django.utils import timezone

from routes.engine.reading import shown
from routes.errors import RoutesError, issue
from routes.orgs.models import Organization
from routes.publish import MAX_ROUTES, Change, publish
from routes.rules.models import Route
from routes.rules.services import save_columns, write_flags
from routes.transactions import repeated

#: What can be done to many routes → the action of its entry, and what it sets; None takes them away.
ACTS: Final[dict[str, tuple[str, dict[str, bool] | None]]] = {
    "enable": ("routes.enabled", {"enabled": True}),
    "disable": ("routes.disabled", {"enabled": False}),
    "pause": ("routes.paused", {"paused": True}),
    "resume": ("routes.resumed", {"paused": False}),
    "delete": ("routes.deleted", None),
}


class InvalidIds(RoutesError):
    """The ids are not those of routes of the organisation, each once; `issues` says which are not, and where."""

    code = "invalid_ids"

    def __init__(self, issues: list[dict[str, str]]) -> None:
        super().__init__("; ".join(issue["message"] for issue in issues[:5]) + (" …" if len(issues) > 5 else ""))
        self.issues = issues


@repeated
def reorder_routes(org: Organization, ids: Sequence[UUID | str], *, by: Any, expected: int | None = None) -> Change:
    """Have the routes asked in this order, which names all of them.

    The priorities in use are handed out anew along it, and `position` settles ties: no priority comes or goes, so that
    routes which are added later find their place as before. Raises `InvalidIds` and what `publish` raises.
    """
    with publish(
        org.pk, by=by, expected=expected, action="routes.reordered", target=("organization", org.pk)
    ) as change:
        was = list(Route.objects.of(change.org).in_order())
        now = _chosen(was, ids, all_of_them=True)
        change.payload |= {"was": [str(row.uid) for row in was], "is": [str(row.uid) for row in now]}
        if now != was:
            _put_in_order(now, [row.priority for row in was], revision=change.version)
    return change


def _put_in_order(rows: list[Route], priorities: list[int], *, revision: int) -> None:
    changed, now = [], timezone.now()
    for position, (row, priority) in enumerate(zip(rows, priorities, strict=True)):
        if (row.priority, row.position) != (priority, position):
            changed.append(row)
            row.position = position
        if row.priority != priority:
            row.priority, row.revision, row.updated_at = priority, revision, now
    save_columns(changed, ["position", "priority", "revision", "updated_at"])


@repeated
def change_routes(
    org: Organization, act: str, ids: Sequence[UUID | str], *, by: Any, expected: int | None = None
) -> Change:
    """Do one of `ACTS` to these routes, as one version with one entry that names those it changed.

    Pausing is direct also where every other change is a plan. Raises `InvalidIds` and what `publish` raises.
    """
    action, flags = ACTS[act]
    with publish(
        org.pk, by=by, expected=expected, action=action, target=("organization", org.pk), is_direct=act != "pause"
    ) as change:
        rows = _chosen(Route.objects.of(change.org).in_order(), ids)
        named = [{"id": str(row.uid), "name": row.name} for row in rows]
        if flags is None:
            Route.objects.filter(pk__in=[row.pk for row in rows]).delete()
        else:
            changed = {str(row.uid) for row in write_flags(rows, revision=change.version, **flags)}
            named = [route for route in named if route["id"] in changed]
        change.payload |= {"routes": named}
    return change


def _chosen(rows: Iterable[Route], ids: Sequence[UUID | str], *, all_of_them: bool = False) -> list[Route]:
    """The rows with these ids, in their order. Raises `InvalidIds`."""
    if len(ids) > MAX_ROUTES:
        message = f"An organisation has at most {MAX_ROUTES:,} routes; these are {len(ids):,} ids."
        raise InvalidIds([issue("ids", "too_many", message)])
    by_id = {str(row.uid): row for row in rows}
    asked = [_canonical(uid) for uid in ids]
    issues = []
    for index, uid in enumerate(asked):
        if uid not in by_id:
            message = f"There is no route {shown(uid)} in this organisation."
            issues.append(issue(f"ids[{index}]", "unknown_route", message))
    for uid, times in Counter(asked).items():
        if times > 1 and uid in by_id:
            again = asked.index(uid, asked.index(uid) + 1)
            message = f"“{by_id[uid].name}” ({uid}) is named {times:,} times."
            issues.append(issue(f"ids[{again}]", "duplicate_value", message))
    if all_of_them:
        named = set(asked)
        for uid, row in by_id.items():
            if uid not in named:
                issues.append(issue("ids", "missing_route", f"“{row.name}” ({uid}) is missing."))
    if not asked and not all_of_them:
        issues.append(issue("ids", "blank_value", "Name at least one route."))
    if issues:
        raise InvalidIds(issues)
    return [by_id[uid] for uid in asked]


def _canonical(uid: UUID | str) -> str:
    try:
        return str(UUID(str(uid)))
    except ValueError:
        return str(uid)
