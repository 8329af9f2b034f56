"""Taking an organisation's routes out as a file, and putting them into this or another one."""

import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

from routes import engine
from routes.document import EMPTY_CONTENT, canonical_route, content_with, document_of
from routes.engine.errors import Issue
from routes.engine.ids import canonical_uuid
from routes.engine.reading import shown
from routes.errors import RoutesError
from routes.orgs.models import Organization
from routes.paths.content import read_services, targets_refused, would_be_served
from routes.publish import MAX_ROUTES, MAX_SERVICES, Change, publish
from routes.rules.content import MERGE, REPLACE, make_live, read_routes, would_be_live, wrong_together
from routes.transactions import repeated
from routes.versions.difference import Content, changes_between

IMPORTED: Final = "routes.imported"
MODES: Final = (MERGE, REPLACE)
#: Of the issues of an import, so many are in its one sentence, and so many of the keys that there are in one line.
_NAMED: Final = 5
#: What an entry keeps of each thing that changed.
_NAMED_BY: Final = ("route_id", "service", "name", "change")
#: What comes after this in a message is all that there is, by name.
_KNOWN: Final = "Known: "
_MEMBER: Final = re.compile(r"(routes|services)\[(\d+)\](?:\.(.*))?", re.ASCII | re.DOTALL)


class InvalidImport(RoutesError):
    """What was sent cannot become this organisation's routes; `issues` says why, each at its place in the content."""

    code = "invalid_import"

    def __init__(self, issues: list[Issue], content: Content | None = None) -> None:
        #: For people: each with its place in the file, of a route or a service with its name.
        self.lines = [_told(issue, content or {}) for issue in issues]
        more = f"; and {len(issues) - _NAMED:,} more" if len(issues) > _NAMED else ""
        super().__init__("; ".join(self.lines[:_NAMED]) + more)
        self.issues = issues


def _told(issue: Issue, content: Content) -> str:
    place = issue["path"].removeprefix("content").removeprefix(".")
    if found := _MEMBER.fullmatch(place):
        kind, number, rest = found[1], int(found[2]), found[3]
        what, key = ("Route", "name") if kind == "routes" else ("Service", "slug")
        member = content[kind][number]
        name = member.get(key) if isinstance(member, dict) else None
        called = f" ({shown(name)})" if isinstance(name, str) else ""
        place = f"{what} {number + 1:,}{called}{f', {rest}' if rest else ''}"
    message = _in_short(issue["message"]) if issue["code"] == "unknown_key" else issue["message"]
    return f"{place}: {message}" if place else message


def _in_short(message: str) -> str:
    """What the engine says of an unknown key without all that it knows: those that were meant, or a handful."""
    said, between, known = message.partition(_KNOWN)
    names = known.removesuffix(".").split(", ")
    if not between or len(names) <= _NAMED:
        return message
    if "Did you mean" in said:
        return said.rstrip()
    return f"{said}{between}{', '.join(names[:_NAMED])} and {len(names) - _NAMED:,} more."


@dataclass(frozen=True, slots=True)
class Exported:
    """What one version published, as a file holds it."""

    version: int
    content: Content


def export_routes(org: Organization) -> Exported:
    """What is live, with the keys of its routes in the order in which people read them."""
    document = document_of(org)
    routes = [canonical_route(route) for route in document.content["routes"]]
    content = document.content
    return Exported(document.version, content_with(routes, default=content["default"], services=content["services"]))


@repeated
def import_routes(
    org: Organization, content: Any, *, mode: str, by: Any, expected: int | None = None, note: str = ""
) -> tuple[Change, list[dict[str, Any]]]:
    """Publish what an export holds, as one version; answers the change and what it changed (`changes_between`).

    `replace` makes exactly these routes live, `merge` keeps the others. A route is known by its id, and one without an id
    by its name; what is known by neither is new. What happens to requests that no route takes stays as it is unless the
    content says it, and so do the services, which are known by their slugs; their hosts are left alone. Raises
    `InvalidImport` and what `publish` raises.
    """
    with publish(
        org.pk, by=by, expected=expected, action=IMPORTED, target=("organization", org.pk), note=note
    ) as change:
        made = content_after(change.org, change.base_content, content, mode)
        make_live(change, made)
        difference = changes_between(change.base_content, made)
        named = [{key: found[key] for key in _NAMED_BY if key in found} for found in difference]
        change.payload |= {"mode": mode, "counts": Counter(found["change"] for found in difference), "routes": named}
    return change, difference


def content_after(org: Organization, today: Content, content: Any, mode: str) -> Content:
    """What an import would publish of what the organisation has today. Raises `InvalidImport`, `TooManyRoutes` and
    `DocumentTooLarge`."""
    if mode not in MODES:
        raise InvalidImport([{"path": "mode", "code": "unsupported_value", "message": "The mode is merge or replace."}])
    if issues := list(_wrong_shape(content)):
        raise InvalidImport(issues)
    default, issues = _read_default(content, today)
    read, more = read_routes(_identified(content["routes"], today["routes"]))
    issues += more
    services, wrong = _read_services(org, content, today, mode)
    issues += wrong
    made = content_with(would_be_live(today["routes"], read, mode), default=default, services=services)
    if not issues:
        issues = wrong_together(org, made, today, read)
    if issues:
        placed: list[Issue] = [{**issue, "path": f"content.{issue['path']}".rstrip(".")} for issue in issues]
        raise InvalidImport(placed, content)
    return made


def _wrong_shape(content: Any) -> list[Issue]:
    def issue(path: str, code: str, message: str) -> Issue:
        return {"path": f"content.{path}".rstrip("."), "code": code, "message": message}

    if not isinstance(content, dict):
        return [issue("", "wrong_type", f"This is an object of default, routes and services, not {shown(content)}.")]
    if unknown := [key for key in content if key not in EMPTY_CONTENT]:
        known = ", ".join(EMPTY_CONTENT)
        # A file with a million of them is one mistake.
        return [issue(str(key)[:100], "unknown_key", f"Unknown. Known: {known}.") for key in unknown[:10]]
    routes = content.get("routes")
    if not isinstance(routes, list):
        return [issue("routes", "missing" if routes is None else "wrong_type", "The routes are a list.")]
    if len(routes) > MAX_ROUTES:
        return [
            issue("routes", "too_many", f"An organisation may have {MAX_ROUTES:,} routes; these are {len(routes):,}.")
        ]
    services = content.get("services", [])
    if not isinstance(services, list):
        return [issue("services", "wrong_type", "The services are a list.")]
    if len(services) > MAX_SERVICES:
        told = f"An organisation may have {MAX_SERVICES:,} services; these are {len(services):,}."
        return [issue("services", "too_many", told)]
    return []


def _read_services(
    org: Organization, content: Content, today: Content, mode: str
) -> tuple[list[dict[str, Any]], list[Issue]]:
    """Of the content where it has the key, else today's."""
    if "services" not in content:
        return today["services"], []
    read, issues = read_services(content["services"])
    if not issues:
        issues = targets_refused(org, read, today["services"])
    return would_be_served(today["services"], read, keeps_others=mode == MERGE), issues


def _read_default(content: Content, today: Content) -> tuple[dict[str, Any] | None, list[Issue]]:
    """Of the content where it says it, else today's."""
    raw = content.get("default", today["default"])
    try:
        # One that is live already stays, also where no engine would read it: `publish` says so.
        return raw if raw is None or "default" not in content else engine.Action.from_dict(raw).to_dict(), []
    except engine.errors.InvalidRoute as error:
        return None, [{**issue, "path": f"default.{issue['path']}".rstrip(".")} for issue in error.issues]


def _identified(routes: list[Any], today: list[dict[str, Any]]) -> list[Any]:
    """The routes that were sent; those without an id have that of today's route of the same name, unless another one that
    was sent has it."""
    claimed = {_id_of(route) for route in routes}
    known = {route["name"]: route["id"] for route in today if route["id"] not in claimed}
    found = []
    for route in routes:
        if isinstance(route, dict) and route.get("id") is None:
            name = route.get("name")
            uid = known.pop(name, None) if isinstance(name, str) else None
            route = {key: value for key, value in route.items() if key != "id"} | ({"id": uid} if uid else {})
        found.append(route)
    return found


def _id_of(route: Any) -> str | None:
    """None also where what stands there is no id, which reading the route tells."""
    try:
        return canonical_uuid(route["id"])
    except (LookupError, TypeError, ValueError):
        return None
