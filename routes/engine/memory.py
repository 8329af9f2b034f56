"""`MemoryStore`: organisations and their routes in this process, for tests, examples and gateways with fixed routes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakSet

from routes.engine.canonical import canonical_bytes
from routes.engine.document import Document, content_of
from routes.engine.errors import InvalidRoute, Issue
from routes.engine.ids import canonical_uuid, uuid7
from routes.engine.reading import shown
from routes.engine.store import check_write
from routes.engine.values import NewRoute, Route

if TYPE_CHECKING:
    from collections.abc import Callable
    from uuid import UUID

    #: From the present routes to the new ones; None where there is nothing to apply it to.
    type Change = Callable[[tuple[Route, ...]], tuple[Route, ...] | None]

MAX_ROUTES = 1_000
#: Of the content's canonical bytes.
MAX_BYTES = 4 * 1024 * 1024


class _Org(NamedTuple):
    """What one version consists of; replaced as a whole by every change."""

    version: int = 0
    published_at: datetime | None = None
    #: In the order in which they were added, which settles equal priorities.
    routes: tuple[Route, ...] = ()
    #: Of each route, its canonical bytes.
    sizes: tuple[int, ...] = ()

    def in_order(self) -> list[Route]:
        return sorted(self.routes, key=lambda route: -route.priority)


class MemoryStore:
    """A `ManagedStore` that any number of threads may use. Every change makes the next version; a write that changes
    nothing makes none. What a document could not hold, a name that is taken, more than 1,000 routes or 4 MiB of
    canonical bytes, and an `expected` that is not the present version are refused with `InvalidRoute`, and nothing is
    changed; what is no route or no version at all is a `TypeError`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._orgs: dict[str, _Org] = {}
        _stores.add(self)

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
        check_write(expected, new, NewRoute)
        route = new.with_id(uuid7())
        self._replace(canonical_uuid(org_id), lambda routes: (*routes, route), expected)
        return route

    def get_route(self, org_id: str | UUID, route_id: str | UUID) -> Route | None:
        wanted = _id_or_none(route_id)
        return next((route for route in self._org(org_id).routes if route.id == wanted), None)

    def update_route(
        self, org_id: str | UUID, route: Route, *, by: object = None, expected: int | None = None
    ) -> Route | None:
        check_write(expected, route, Route)

        def replaced(routes: tuple[Route, ...]) -> tuple[Route, ...] | None:
            found = any(old.id == route.id for old in routes)
            return tuple(route if old.id == route.id else old for old in routes) if found else None

        return route if self._replace(canonical_uuid(org_id), replaced, expected) else None

    def delete_route(
        self, org_id: str | UUID, route_id: str | UUID, *, by: object = None, expected: int | None = None
    ) -> bool:
        check_write(expected)
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
            sizes = _checked_sizes(routes, org, expected)
            if routes != org.routes:
                org = _Org(org.version + 1, datetime.now(UTC), routes, sizes)
            self._orgs[org_id] = org
            return True


def _id_or_none(route_id: str | UUID) -> str | None:
    try:
        return canonical_uuid(route_id)
    except ValueError:
        return None  # text that is no id is the id of no route


def _checked_sizes(routes: tuple[Route, ...], before: _Org, expected: int | None) -> tuple[int, ...]:
    """The canonical bytes of each route. Raises `InvalidRoute`."""
    issues: list[Issue] = []
    if expected is not None and expected != before.version:
        issues.append(_issue("expected", "conflict", f"The version is {before.version:,} by now, not {expected:,}."))
    if len(routes) > MAX_ROUTES:
        issues.append(_issue("routes", "too_many", f"An organisation has at most {MAX_ROUTES:,} routes."))
    ids: set[str] = set()
    names: set[str] = set()
    accepted = {id(route): size for route, size in zip(before.routes, before.sizes, strict=True)}
    sizes: list[int] = []
    for route in routes:
        size = accepted.get(id(route))
        sizes.append(_checked_size(route) if size is None else size)
        if route.id in ids:
            issues.append(_issue("id", "duplicate_value", f"Two routes have the id {route.id}."))
        if route.name in names:
            issues.append(_issue("name", "duplicate_value", f"Two routes are called {shown(route.name)}."))
        ids.add(route.id)
        names.add(route.name)
    # The routes stand in the empty content, with a comma between two of them.
    total = len(canonical_bytes(content_of([]))) + sum(sizes) + max(0, len(sizes) - 1)
    if total > MAX_BYTES:
        message = f"The routes may take {MAX_BYTES:,} bytes together; these take {total:,}."
        issues.append(_issue("routes", "out_of_range", message))
    if issues:
        raise InvalidRoute(issues)
    return tuple(sizes)


def _checked_size(route: Route) -> int:
    raw = route.to_dict()
    Route.from_dict(raw)  # written and read again: what the engine would refuse is not stored
    return len(canonical_bytes(raw))


def _issue(path: str, code: str, message: str) -> Issue:
    return {"path": path, "code": code, "message": message}


_stores: WeakSet[MemoryStore] = WeakSet()


def _new_locks() -> None:
    # Another thread of the parent may have held a lock at the moment of the fork; in the child nobody would free it.
    for store in _stores:
        store._lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_locks)
