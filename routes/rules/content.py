"""Changes of many routes at once: from today's content and what is proposed to what would be live, to rows, and back.

What a plan, an import, a restored version and a bulk edit share.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from django.db.models import CharField, Value
from django.db.models.functions import Cast, Concat

from routes import engine
from routes.document import content_with, default_of
from routes.engine.canonical import canonical_bytes
from routes.engine.errors import Issue
from routes.engine.reading import MAX_ISSUES
from routes.engine.values import canonical_route
from routes.orgs.models import Organization, new_id
from routes.paths.content import make_services_live
from routes.publish import Change, check_limits
from routes.rules.models import Route
from routes.rules.services import fill_route, new_row, save_columns, save_filled

Document = dict[str, Any]
Content = dict[str, Any]
MERGE: Final = "merge"
REPLACE: Final = "replace"


def would_be_live(today: Sequence[Document], proposed: Sequence[Document], mode: str) -> list[Document]:
    """The routes after a change, in evaluation order.

    `merge` keeps today's routes, replaces those with a proposed id in their place, and puts new ones after those of
    equal priority; `replace` is exactly the proposed ones. An empty proposal in `merge` is today.
    """
    if mode == REPLACE:
        return in_order(proposed)
    by_id = {route["id"]: route for route in proposed}
    known = {route["id"] for route in today}
    merged = [by_id.get(route["id"], route) for route in today]
    return in_order(merged + [route for route in proposed if route["id"] not in known])


def in_order(routes: Iterable[Document]) -> list[Document]:
    return sorted(routes, key=lambda route: -route["priority"])  # stable: equal priorities keep their order


# --- What somebody sends ----------------------------------------------------------------------------------------------


def read_routes(routes: Sequence[Any]) -> tuple[list[Document], list[Issue]]:
    """The routes in canonical form, each with an id, and what is wrong with them one by one, at `routes[0].name`."""
    issues: list[Issue] = []
    read: list[Document] = []
    for index, raw in enumerate(routes):
        if isinstance(raw, dict):
            raw = {"priority": 100, "enabled": True, "when": {}, **raw}
            raw.setdefault("id", str(new_id()))
        try:
            read.append(canonical_route(raw))
        except engine.errors.InvalidRoute as error:
            issues += [{**issue, "path": f"routes[{index}].{issue['path']}".rstrip(".")} for issue in error.issues]
            if len(issues) >= MAX_ISSUES:  # 10 MiB of routes can have millions
                rest = "No more routes were looked at: mend these first."
                issues.append({"path": "routes", "code": "too_many", "message": rest})
                break
    return read, issues


def wrong_together(org: Organization, content: Content, today: Content, sent: Sequence[Document]) -> list[Issue]:
    """What is wrong with the content that these routes would make of the organisation's today, though each may be right in
    itself. What is live already does not count. Raises `TooManyRoutes` and `DocumentTooLarge`."""
    # Of two that have the id of one live route, the second would be there and the first forgotten.
    counted = Counter(route["id"] for route in sent)
    if repeated := [uid for uid, count in counted.items() if count > 1]:
        message = "Several of these routes have the id {}. Give it to one of them."
        return [{"path": "routes", "code": "duplicate_value", "message": message.format(uid)} for uid in repeated]
    live = content["routes"]
    check_limits(content, size=len(canonical_bytes(content)))
    document = engine.Document.build(content, org_id=org.pk)
    bad_today = [route for route in today["routes"] if route not in sent]
    issues: list[Issue] = []
    for skipped in engine.Engine.from_document(document, is_live=False).skipped:
        if live[skipped.index] not in bad_today:
            issues += [_in_words(issue, live[skipped.index]["name"]) for issue in skipped.issues]
    return issues


def _in_words(issue: Issue, name: str) -> Issue:
    """An issue of the content that was asked for, at the list of routes that were sent."""
    message = f"“{name}”: {issue['message']}"
    if (issue["path"], issue["code"]) == ("name", "duplicate_value"):
        message = (
            f"There would be two routes called “{name}”. Give the proposed one another name, or the id of the live one"
            " to replace it."
        )
    return {"path": "routes", "code": issue["code"], "message": message}


# --- Making it live, and undoing that ---------------------------------------------------------------------------------


def make_live(change: Change, content: Content) -> Document:
    """Make exactly this content the organisation's rows, touching only rows that differ; inside `publish`.

    Its services too, of which the inverse says nothing: only a plan is undone, and that changes none. Answers the inverse:
    `{"changes": [{"id", "was", "is"}], "order": [ids before], "after": [ids after], "default": {"was", "is"}}`, where `was`
    or `is` is null for a route that did not or does not exist, and `default` where it stays.
    """
    org = change.org
    rows = {str(row.uid): row for row in Route.objects.of(org).in_order()}
    order = list(rows)
    wanted = {route["id"]: route for route in content["routes"]}
    gone = [rows.pop(uid) for uid in order if uid not in wanted]
    changes: list[Document] = [{"id": str(row.uid), "was": row.as_document(), "is": None} for row in gone]
    renamed = [row.pk for uid, row in rows.items() if row.name != wanted[uid]["name"]]
    new, written, moved = [], [], []
    for position, (uid, route) in enumerate(wanted.items()):
        if uid not in rows:
            new.append(new_row(org, route, revision=change.version, position=position))
            changes.append({"id": uid, "was": None, "is": route})
            continue
        row = rows[uid]
        if was := fill_route(row, route, revision=change.version):
            written.append(row)
            changes.append({"id": uid, "was": was, "is": route})
        if row.position != position:
            row.position = position
            moved.append(row)
    # Each at once: everybody who writes waits. In this order names become free before others take them.
    Route.objects.filter(pk__in=[row.pk for row in gone]).delete()
    # Two routes may swap theirs; those in between belong to nobody.
    Route.objects.filter(pk__in=renamed).update(name=Concat(Value("renaming "), Cast("uid", CharField())))
    save_filled(written)
    save_columns(moved, ["position"])
    Route.objects.bulk_create(new)
    make_services_live(change, content["services"])
    return {
        "changes": changes,
        "order": order,
        "after": list(wanted),
        "default": _make_default_live(org, content["default"]),
    }


def _make_default_live(org: Organization, default: Document | None) -> Document | None:
    was = default_of(org)
    if same(was, default):
        return None
    org.default_action = default
    org.save(update_fields=["default_action"])
    return {"was": was, "is": default}


def conflicts(org: Organization, inverse: Document) -> list[str]:
    """The names of what was changed again since the change that this inverse undoes."""
    rows = {str(row.uid): row for row in Route.objects.of(org)}
    found = []
    for change in inverse["changes"]:
        row = rows.get(change["id"])
        if not same(row.as_document() if row else None, change["is"]):
            found.append((change["is"] or change["was"])["name"])
    default = inverse.get("default")
    if default is not None and not same(default_of(org), default["is"]):
        found.append("what happens to requests that no route takes")
    if _has_moved(inverse) and not _is_as_left([str(row.uid) for row in Route.objects.of(org).in_order()], inverse):
        found.append("the order of the routes")
    return found


def undone(today: Content, inverse: Document) -> Content:
    """The content after undoing: today's, with everything that changed as it was.

    The order is the one there was before, as long as nobody changed that of the routes which the change left alone, or the
    change was about the order. Else it is today's, and what comes back stands behind what it followed.
    """
    was = {change["id"]: change["was"] for change in inverse["changes"]}
    kept = [route for route in today["routes"] if route["id"] not in was] + [route for route in was.values() if route]
    order = inverse["order"]
    ids = [route["id"] for route in today["routes"]]
    if not _has_moved(inverse) and not _is_as_left(ids, inverse):
        order = [uid for uid in ids if uid not in was]
        for index, uid in enumerate(inverse["order"]):
            if was.get(uid):
                before = next((other for other in reversed(inverse["order"][:index]) if other in order), None)
                order.insert(0 if before is None else order.index(before) + 1, uid)
    rank = {uid: index for index, uid in enumerate(order)}
    # Routes that came later keep their place behind those of equal priority.
    routes = sorted(kept, key=lambda route: (-route["priority"], rank.get(route["id"], len(rank))))
    default = inverse.get("default")
    default_then = today["default"] if default is None else default["was"]
    return content_with(routes, default=default_then, services=today["services"])


def _left_alone(ids: Sequence[str], inverse: Document) -> list[str]:
    """Of these routes those that the change did not change."""
    changed = {change["id"] for change in inverse["changes"]}
    return [uid for uid in ids if uid not in changed]


def _has_moved(inverse: Document) -> bool:
    """Whether the change gave another order to routes that it did not change otherwise."""
    return _left_alone(inverse["order"], inverse) != _left_alone(inverse["after"], inverse)


def _is_as_left(ids: Sequence[str], inverse: Document) -> bool:
    """Whether those that are still there stand in the order in which the change left them."""
    after, now = _left_alone(inverse["after"], inverse), _left_alone(ids, inverse)
    there, left = set(now), set(after)
    return [uid for uid in now if uid in left] == [uid for uid in after if uid in there]


def same(left: Any, right: Any) -> bool:
    """Whether two documents are one to whoever reads them: to Python 1 and True are equal."""
    return canonical_bytes(left) == canonical_bytes(right)
