"""What a plan changes: from today's routes and the proposed ones to what would be live, to rows, and back."""

from collections.abc import Iterable, Sequence
from typing import Any

from plans.runs.models import Mode
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.rules.services import insert_route, write_route

Document = dict[str, Any]


def would_be_live(today: Sequence[Document], proposed: Sequence[Document], mode: str) -> list[Document]:
    """The routes after apply, in evaluation order.

    `merge` keeps today's routes, replaces those with a proposed id in their place, and puts new ones after those of
    equal priority; `replace` is exactly the proposed ones. An empty proposal in `merge` is today.
    """
    if mode == Mode.REPLACE:
        return _in_order(proposed)
    by_id = {route["id"]: route for route in proposed}
    known = {route["id"] for route in today}
    merged = [by_id.get(route["id"], route) for route in today]
    return _in_order(merged + [route for route in proposed if route["id"] not in known])


def _in_order(routes: Iterable[Document]) -> list[Document]:
    return sorted(routes, key=lambda route: -route["priority"])  # stable: equal priorities keep their order


def make_live(org: Organization, routes: Sequence[Document], *, revision: int) -> Document:
    """Make exactly these routes the organisation's rows, touching only rows that differ; inside `publish`.

    Answers the inverse: `{"changes": [{"id", "was", "is"}], "order": [ids before]}`, where `was` or `is` is null for a
    route that did not or does not exist.
    """
    rows = {str(row.uid): row for row in Route.objects.of(org).in_order()}
    order = list(rows)
    wanted = {route["id"]: route for route in routes}
    changes: list[Document] = []
    for uid in [uid for uid in rows if uid not in wanted]:
        row = rows.pop(uid)
        changes.append({"id": uid, "was": row.as_document(), "is": None})
        row.delete()
    # Two routes may swap their names; the names in between belong to nobody.
    for uid, row in rows.items():
        if row.name != wanted[uid]["name"]:
            Route.objects.filter(pk=row.pk).update(name=f"renaming {uid}")
    for position, (uid, route) in enumerate(wanted.items()):
        if uid not in rows:
            rows[uid] = insert_route(org, route, revision=revision)
            changes.append({"id": uid, "was": None, "is": route})
        elif was := write_route(rows[uid], route, revision=revision):
            changes.append({"id": uid, "was": was, "is": route})
        if rows[uid].position != position:
            Route.objects.filter(pk=rows[uid].pk).update(position=position)
    return {"changes": changes, "order": order}


def conflicts(org: Organization, inverse: Document) -> list[str]:
    """The names of the routes that were changed again since the change that this inverse undoes."""
    rows = {str(row.uid): row for row in Route.objects.of(org)}
    found = []
    for change in inverse["changes"]:
        row = rows.get(change["id"])
        if (row.as_document() if row else None) != change["is"]:
            found.append((change["is"] or change["was"])["name"])
    return found


def undone(today: Sequence[Document], inverse: Document) -> list[Document]:
    """The routes after undoing: today's, with every changed one as it was, in the order there was before."""
    was = {change["id"]: change["was"] for change in inverse["changes"]}
    rank = {uid: index for index, uid in enumerate(inverse["order"])}
    kept = [route for route in today if route["id"] not in was] + [route for route in was.values() if route]
    # Routes that came later keep their place behind those of equal priority.
    return sorted(kept, key=lambda route: (-route["priority"], rank.get(route["id"], len(rank))))
