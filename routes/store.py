"""`DjangoStore`: the engine's store inside this application, on its services and its tables."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import Error, connection

from routes import engine
from routes.document import document_of
from routes.engine.ids import canonical_uuid
from routes.engine.reading import ON_LOAD
from routes.engine.store import check_write
from routes.engine.values import read_route
from routes.errors import DocumentTooLarge, NameTaken, NotFound, StaleVersion, TooManyRoutes
from routes.orgs.models import Organization
from routes.rules import services
from routes.rules.models import Route

#: What a service refuses, in the words of the engine: where, and as what kind of issue.
_ISSUES: dict[type[Exception], tuple[str, str]] = {
    NameTaken: ("name", "duplicate_value"),
    StaleVersion: ("expected", "conflict"),
    TooManyRoutes: ("routes", "too_many"),
    DocumentTooLarge: ("routes", "out_of_range"),
}


class DjangoStore:
    """A `ManagedStore` for programs that run inside the application: an `EngineCache` in a view, a command, a script.

    Every write is a service, so it is published, recorded and announced like one from any other door. `by` is who acts,
    as the services take it: a user, a key or an `audit.actors.Actor`; a write without one is by the `by` of the store,
    and a `TypeError` where that has none either, as is what is no route or no version at all. Foreign ids read as
    absent, and so does a route's id that is none; an organisation's id that is none is a `ValueError`.

    What the services refuse is `InvalidRoute` with the issue at fault: a name that is taken (`name`, `duplicate_value`),
    an `expected` that is not the present version (`expected`, `conflict`), too many routes (`routes`, `too_many`) or
    bytes (`routes`, `out_of_range`), an unknown organisation in `create_route` (`org_id`, `unsupported_value`). Every
    other error of the database is `StoreUnavailable`, with its cause.

    Threads may share a store. Calls run on the thread's connection, and inside its transaction where there is one; a
    connection that a call had to open is closed after it, since the thread behind a cache has no request to end it.
    """

    def __init__(self, *, by: object = None) -> None:
        self._by = by

    # --- Reading ------------------------------------------------------------------------------------------------------

    def versions(self, org_ids: Iterable[str | UUID]) -> dict[str, int]:
        """The newest versions, in one query."""
        keys = [canonical_uuid(org_id) for org_id in org_ids]
        with _database():
            rows = list(Organization.objects.filter(pk__in=keys).values_list("pk", "version"))
        return {str(org_id): version for org_id, version in rows}

    def fetch(self, org_id: str | UUID) -> engine.Document | None:
        with _database():
            org = _org(org_id)
            return None if org is None else document_of(org)

    def list_for_org(self, org_id: str | UUID) -> list[engine.Route]:
        return [route for route in self.list_all_for_org(org_id) if route.enabled]

    def list_all_for_org(self, org_id: str | UUID) -> list[engine.Route]:
        """All routes in the order in which they are asked, save for rows that no engine could load."""
        with _database():
            rows = list(Route.objects.of(canonical_uuid(org_id)).in_order())
        routes = []
        for row in rows:
            try:
                routes.append(_route_of(row))
            except engine.errors.InvalidRoute:
                continue  # as an engine that loads the document; `Engine.skipped` names it
        return routes

    def get_route(self, org_id: str | UUID, route_id: str | UUID) -> engine.Route | None:
        with _database():
            org = _org(org_id)
            try:
                return None if org is None else _route_of(services.get_route(org, route_id))
            except NotFound:
                return None

    # --- Writing ------------------------------------------------------------------------------------------------------

    def create_route(
        self, org_id: str | UUID, new: engine.NewRoute, *, by: object = None, expected: int | None = None
    ) -> engine.Route:
        check_write(expected, new, engine.NewRoute)
        # Written and read again: what no document should hold is refused with all its issues, limits of length included.
        new = engine.NewRoute.from_dict(new.to_dict())
        with _database(), _refusals():
            org = _org(org_id)
            if org is None:
                raise _refused("org_id", "unsupported_value", "There is no such organisation.")
            row, _ = services.create_route(org, new, by=self._actor(by), expected=expected)
        return _route_of(row)

    def update_route(
        self, org_id: str | UUID, route: engine.Route, *, by: object = None, expected: int | None = None
    ) -> engine.Route | None:
        check_write(expected, route, engine.Route)
        route = engine.Route.from_dict(route.to_dict())
        with _database(), _refusals():
            org = _org(org_id)
            try:
                if org is None:
                    return None
                row, _ = services.update_route(org, route.id, route, by=self._actor(by), expected=expected)
            except NotFound:
                return None
        return _route_of(row)

    def delete_route(
        self, org_id: str | UUID, route_id: str | UUID, *, by: object = None, expected: int | None = None
    ) -> bool:
        check_write(expected)
        with _database(), _refusals():
            org = _org(org_id)
            try:
                if org is None:
                    return False
                services.delete_route(org, route_id, by=self._actor(by), expected=expected)
            except NotFound:
                return False
        return True

    def _actor(self, by: object) -> Any:
        return self._by if by is None else by


def _org(org_id: str | UUID) -> Organization | None:
    return Organization.objects.filter(pk=canonical_uuid(org_id)).first()


def _route_of(row: Route) -> engine.Route:
    """The route of a row, within the limits of a load. Raises `InvalidRoute`."""
    return read_route(row.as_document(), ON_LOAD)


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except tuple(_ISSUES) as refusal:
        raise _refused(*_ISSUES[type(refusal)], str(refusal)) from refusal


def _refused(path: str, code: str, message: str) -> engine.errors.InvalidRoute:
    return engine.errors.InvalidRoute([{"path": path, "code": code, "message": message}])


@contextmanager
def _database() -> Iterator[None]:
    """Errors of the database as `StoreUnavailable`, and connections left as they were found."""
    was_closed = connection.connection is None
    try:
        yield
    except Error as error:
        if not connection.in_atomic_block:
            connection.close()  # the next call makes a new one
        raise engine.errors.StoreUnavailable(f"Database: {error}") from error
    finally:
        if was_closed:
            connection.close()
