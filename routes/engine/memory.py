"""`MemoryStore`: organisations and their routes in this process, for tests, examples and gateways with fixed routes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from routes.engine.document import Document, content_of
from routes.engine.errors import InvalidRoute, Issue
from routes.engine.ids import canonical_uuid, uuid7
from routes.engine.reading import shown
from routes.engine.values import NewRoute, Route

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    #: From the present routes to the new ones; None where there is nothing to apply it to.
    type Change = Callable[[tuple[Route, ...]], tuple[Route, ...] | None]

MAX_ROUTES = 1_000


class _Org(NamedTuple):
    """What one version consists of; replaced as a whole by every change."""

    version: int = 0
    published_at: datetime | None = None
    #: In the order in which they were added, which settles equal priorities.
    routes: tuple[Route, ...] = ()

    def in_order(self) -> list[Route]:
        return sorted(self.routes, key=lambda route: -route.priority)


class MemoryStore:
    """A `ManagedStore` that any number of threads may use. Every change makes the next version; a write that changes
    nothing makes none. What a document could not hold, a name that is taken, more than 1,000 routes, and an `expected`
    that is not the present version are refused with `InvalidRoute`, and nothing is changed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orgs: dict[str, _Org] = {}

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        orgs = self._orgs
        return {org_id: orgs[org_id].version for org_id in map(canonical_uuid, org_ids) if org_id in orgs}

    def fetch(self, org_id: str | UUID) -> Document | None:
        key = canonical_uuid(org_id)
        org = self._orgs.get(key)
        if org is None:
            return None
        content = content_of(org.in_order())
        return Document.build(content, key, version=org.version, published_at=org.published_at)

    def set_routes(self, org_id: str | UUID, routes: Iterable[Route]) -> None:
        """Make these the organisation's routes; an organisation that is not known yet becomes so."""
        self._replace(canonical_uuid(org_id), lambda _: tuple(routes), None)

    def list_for_org(self, org_id: str | UUID) -> list[Route]:
        return [route for route in self.list_all_for_org(org_id) if route.enabled]

    def list_all_for_org(self, org_id: str | UUID) -> list[Route]:
        return self._org(org_id).in_order()

    def create_route(
        self, org_id: str | UUID, new: NewRoute, *, by: object = None, expected: int | None = None
    ) -> Route:
        route = new.with_id(uuid7())
        self._replace(canonical_uuid(org_id), lambda routes: (*routes, route), expected)
        return route

    def get_route(self, org_id: str | UUID, route_id: str | UUID) -> Route | None:
        wanted = _id_or_none(route_id)
        return next((route for route in self._org(org_id).routes if route.id == wanted), None)

    def update_route(
        self, org_id: str | UUID, route: Route, *, by: object = None, expected: int | None = None
    ) -> Route | None:
        def replaced(routes: tuple[Route, ...]) -> tuple[Route, ...] | None:
            found = any(old.id == route.id for old in routes)
            return tuple(route if old.id == route.id else old for old in routes) if found else None

        return route if self._replace(canonical_uuid(org_id), replaced, expected) else None

    def delete_route(
        self, org_id: str | UUID, route_id: str | UUID, *, by: object = None, expected: int | None = None
    ) -> bool:
        wanted = _id_or_none(route_id)

        def without(routes: tuple[Route, ...]) -> tuple[Route, ...] | None:
            left = tuple(route for route in routes if route.id != wanted)
            return left if len(left) < len(routes) else None

        return self._replace(canonical_uuid(org_id), without, expected)

    def _org(self, org_id: str | UUID) -> _Org:
        return self._orgs.get(canonical_uuid(org_id)) or _Org()

    def _replace(self, org_id: str, change: Change, expected: int | None) -> bool:
        """Apply a change, whole or not at all; False where it found nothing to apply to."""
        with self._lock:
            org = self._orgs.get(org_id) or _Org()
            routes = change(org.routes)
            if routes is None:
                return False
            _check(routes, org, expected)
            if routes != org.routes:
                org = _Org(org.version + 1, datetime.now(UTC), routes)
            self._orgs[org_id] = org
            return True


def _id_or_none(route_id: str | UUID) -> str | None:
    try:
        return canonical_uuid(route_id)
    except ValueError:
        return None  # text that is no id is the id of no route


def _check(routes: tuple[Route, ...], before: _Org, expected: int | None) -> None:
    issues: list[Issue] = []
    if expected is not None and expected != before.version:
        issues.append(_issue("expected", "conflict", f"The version is {before.version:,} by now, not {expected:,}."))
    if len(routes) > MAX_ROUTES:
        issues.append(_issue("routes", "too_many", f"An organisation has at most {MAX_ROUTES:,} routes."))
    ids: set[str] = set()
    names: set[str] = set()
    accepted = {id(route) for route in before.routes}
    for route in routes:
        if id(route) not in accepted:
            # Written and read again: what the engine would refuse is not stored.
            Route.from_dict(route.to_dict())
        if route.id in ids:
            issues.append(_issue("id", "duplicate_value", f"Two routes have the id {route.id}."))
        if route.name in names:
            issues.append(_issue("name", "duplicate_value", f"Two routes are called {shown(route.name)}."))
        ids.add(route.id)
        names.add(route.name)
    if issues:
        raise InvalidRoute(issues)


def _issue(path: str, code: str, message: str) -> Issue:
    return {"path": path, "code": code, "message": message}
