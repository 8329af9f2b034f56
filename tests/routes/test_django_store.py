"""`DjangoStore`: the behaviour of a store that manages, on the application's services."""

import threading
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    ProgrammingError,
    connection,
    connections,
)

from audit.actors import Actor
from audit.models import AuditEntry
from routes.document import document_of
from routes.engine import (
    Action,
    Conditions,
    Engine,
    EngineCache,
    ManagedStore,
    NewRoute,
    RequestContext,
    Route,
    SQLiteStore,
    Store,
)
from routes.engine.errors import InvalidRoute, RoutingError, StoreUnavailable
from routes.engine.ids import uuid7
from routes.orgs.models import Organization
from routes.rules import models
from routes.store import DjangoStore
from tests.build import BY, a_person, a_route, an_org, state_of
from tests.routes.engine.build import eventually
from tests.routes.engine.shared import routing_cases

pytestmark = pytest.mark.django_db


@pytest.fixture
def store() -> DjangoStore:
    return DjangoStore(by=BY)


@pytest.fixture
def org_id(org: Organization) -> str:
    return str(org.pk)


@pytest.fixture
def other_id(db: None) -> str:
    return str(an_org("other").pk)


def new(name: str = "a", target: str = "t", **keys: Any) -> NewRoute:
    return NewRoute(name, Action(target), **keys)


def codes(error: InvalidRoute) -> list[tuple[str, str]]:
    return [(issue["path"], issue["code"]) for issue in error.issues]


# --- What every store that manages does -------------------------------------------------------------------------------


@pytest.mark.every_case
@pytest.mark.parametrize("case", routing_cases("store"))
def test_a_store_that_manages_behaves_so(case: dict[str, Any], store: DjangoStore, org_id: str, other_id: str) -> None:
    names = {"org": org_id, "orgX": other_id, "orgA": org_id, "orgB": other_id}
    ids: dict[str, str] = {}
    for step in case["request"]["steps"]:
        if " " in step[0]:  # "get as orgB", null: of the one route that was created
            verb, org, rest = step[0].split()[0], names[step[0].split()[-1]], step[1:]
        else:
            verb, org, rest = step[0], names[step[1]], step[2:]
        if verb in ("set", "create"):
            for pair in rest[0] if verb == "set" else [rest[0] if rest else "pin:100"]:
                name, priority = pair.split(":")
                ids[name] = store.create_route(org, new(name, priority=int(priority))).id
        elif verb == "get":
            found = store.get_route(org, ids["pin"])
            assert (found is not None) == (isinstance(rest[-1], dict) and rest[-1]["found"])
        elif verb == "delete":
            assert store.delete_route(org, ids["pin"]) is rest[-1]
        else:
            listed = store.list_for_org(org) if verb == "list" else store.list_all_for_org(org)
            assert len(listed) == rest[-1]["len"]


def test_every_change_makes_the_next_version_and_no_change_makes_none(store: ManagedStore, org_id: str) -> None:
    first = store.create_route(org_id, new())
    assert store.versions([org_id]) == {org_id: 1}
    assert store.update_route(org_id, first) == first
    assert store.versions([org_id]) == {org_id: 1}
    changed = Route(id=first.id, name="a", then=Action("u"))
    assert store.update_route(org_id, changed) == changed
    assert store.get_route(org_id, first.id) == changed
    assert store.delete_route(org_id, first.id)
    assert not store.delete_route(org_id, first.id)
    assert store.update_route(org_id, changed) is None
    assert store.versions([org_id]) == {org_id: 3}
    document = store.fetch(org_id)
    assert document is not None
    assert (document.version, document.content["routes"]) == (3, [])


def test_lists_are_in_the_order_in_which_routes_are_asked(store: DjangoStore, org_id: str) -> None:
    for name, priority, enabled in (("a", 1, True), ("b", 5, False), ("c", 5, True), ("d", 1, True)):
        store.create_route(org_id, new(name, priority=priority, enabled=enabled))
    assert [route.name for route in store.list_all_for_org(org_id)] == ["b", "c", "a", "d"]
    assert [route.name for route in store.list_for_org(org_id)] == ["c", "a", "d"]
    document = store.fetch(org_id)
    assert document is not None
    assert Engine.from_document(document).routes == tuple(store.list_all_for_org(org_id))


def test_a_foreign_or_senseless_id_reads_as_absent(
    store: DjangoStore, org: Organization, org_id: str, other_id: str
) -> None:
    created = store.create_route(org_id, new())
    before = state_of(org)
    for foreign in (other_id, uuid7()):
        assert store.get_route(foreign, created.id) is None
        assert store.update_route(foreign, Route(id=created.id, name="x", then=Action("x"))) is None
        assert not store.delete_route(foreign, created.id)
        assert store.list_all_for_org(foreign) == []
    assert store.get_route(org_id, "no id") is None
    assert not store.delete_route(org_id, "no id")
    assert store.fetch(uuid7()) is None
    assert state_of(org) == before
    assert store.get_route(UUID(org_id), UUID(created.id)) == created


@pytest.mark.parametrize(
    ("route", "path", "code"),
    [
        (new("a"), "name", "duplicate_value"),
        (new(" "), "name", "blank_value"),
        (NewRoute("b", Action("t", fallbacks=("t",))), "then.fallbacks[0]", "duplicate_primary_fallback"),
        (new("b", when=Conditions(tag_equals="x" * 513)), "when.tag_equals", "out_of_range"),
    ],
)
def test_what_the_engine_refuses_is_not_stored(
    store: DjangoStore, org: Organization, route: NewRoute, path: str, code: str
) -> None:
    store.create_route(org.pk, new("a"))
    other = store.create_route(org.pk, new("other"))
    before = state_of(org)
    for call in (
        lambda: store.create_route(org.pk, route),
        lambda: store.update_route(org.pk, route.with_id(other.id)),
    ):
        with pytest.raises(InvalidRoute) as caught:
            call()
        assert codes(caught.value) == [(path, code)]
    assert state_of(org) == before


def test_a_write_that_looked_at_another_version_is_refused(store: DjangoStore, org: Organization) -> None:
    created = store.create_route(org.pk, new(), expected=0)
    before = state_of(org)
    for call in (
        lambda: store.create_route(org.pk, new("b"), expected=0),
        lambda: store.update_route(org.pk, Route(id=created.id, name="b", then=Action("t")), expected=2),
        lambda: store.delete_route(org.pk, created.id, expected=0),
    ):
        with pytest.raises(InvalidRoute) as caught:
            call()
        assert codes(caught.value) == [("expected", "conflict")]
    assert state_of(org) == before
    assert store.delete_route(org.pk, created.id, expected=1)


def test_an_organisation_has_at_most_so_many_routes_and_bytes(store: DjangoStore, org_id: str) -> None:
    store.create_route(org_id, new())
    for limit, code in (("MAX_ROUTES", "too_many"), ("MAX_BYTES", "out_of_range")):
        with patch(f"routes.publish.{limit}", 1), pytest.raises(InvalidRoute) as caught:
            store.create_route(org_id, new("one more"))
        assert codes(caught.value) == [("routes", code)]
    assert store.versions([org_id]) == {org_id: 1}


def test_every_field_of_a_route_comes_back_as_it_was_given(store: DjangoStore, org_id: str) -> None:
    raw = {
        "name": "all",
        "priority": 7,
        "enabled": False,
        "paused": True,
        "active_from": "2026-01-01T00:00:00Z",
        "active_until": "2027-01-01T00:00:00.000001Z",
        "when": {"model_in": ["m"], "metadata": {"team": ["a", "b"]}, "any_of": [{"tag_equals": "x"}]},
        "then": {"split": [{"target_model": "a", "weight": 1}, {"target_model": "b", "weight": 3}]},
        "meta": {"description": "Why.", "labels": {"cost": "high"}, "x-own": [1, None]},
    }
    created = store.create_route(org_id, NewRoute.from_dict(raw))
    assert created == NewRoute.from_dict(raw).with_id(created.id)
    assert store.get_route(org_id, created.id) == created
    simple = Route(id=created.id, name="all", then=Action("t"))
    assert store.update_route(org_id, simple) == simple
    assert store.list_for_org(org_id) == [simple]
    assert store.update_route(org_id, created) == created


# --- What this one does -----------------------------------------------------------------------------------------------


def test_the_versions_of_many_are_one_query(
    store: DjangoStore, org: Organization, django_assert_num_queries: Any
) -> None:
    others = [an_org(f"org-{n}") for n in range(20)]
    a_route(org)
    ids = [str(one.pk) for one in (org, *others)]
    with django_assert_num_queries(1):
        assert store.versions([*ids, uuid7()]) == {ids[0]: 1} | dict.fromkeys(ids[1:], 0)
    with django_assert_num_queries(0):
        assert store.versions([]) == {}


def test_a_document_is_the_one_that_was_published(store: DjangoStore, org: Organization) -> None:
    empty = store.fetch(str(org.pk))
    assert empty is not None
    assert (empty.version, empty.org_slug, empty.content["routes"]) == (0, "acme", [])
    a_route(org)
    reading: Store = store
    assert reading.fetch(str(org.pk)) == document_of(org)


def test_who_does_it_is_the_actor_of_the_audit_entry(store: DjangoStore, org: Organization, org_id: str) -> None:
    ada = a_person("ada", org, "editor")
    robot = Actor("system", "robot")
    created = store.create_route(org_id, new(), by=ada)
    store.update_route(org_id, Route(id=created.id, name="b", then=Action("t")), by=robot)
    store.delete_route(org_id, created.id)
    entries = AuditEntry.objects.filter(org_id=org.pk, action__startswith="route.").order_by("seq")
    assert list(entries.values_list("action", "actor_type", "actor_id")) == [
        ("route.created", "user", str(ada.pk)),
        ("route.updated", "system", "robot"),
        ("route.deleted", BY.type, BY.id),
    ]


def test_a_write_by_nobody_is_refused(org: Organization) -> None:
    row = a_route(org)
    before = state_of(org)
    nobody = DjangoStore()
    for call in (
        lambda: nobody.create_route(org.pk, new()),
        lambda: nobody.update_route(org.pk, Route(id=str(row.uid), name="b", then=Action("t"))),
        lambda: nobody.delete_route(org.pk, row.uid),
        lambda: nobody.create_route(org.pk, new(), by="ada"),
    ):
        with pytest.raises(TypeError, match="says who acts"):
            call()
    assert state_of(org) == before


def test_a_route_of_an_unknown_organisation_is_refused(store: DjangoStore) -> None:
    with pytest.raises(InvalidRoute) as caught:
        store.create_route(uuid7(), new())
    assert codes(caught.value) == [("org_id", "unsupported_value")]


def test_what_is_no_route_or_no_version_is_a_type_error(store: Any, org: Organization) -> None:
    created = store.create_route(org.pk, new())
    before = state_of(org)
    for change, wanted in (
        (lambda: store.create_route(org.pk, created), "a NewRoute, not Route"),
        (lambda: store.update_route(org.pk, new()), "a Route, not NewRoute"),
        (lambda: store.create_route(org.pk, new("b"), expected="1"), "version or None, not str"),
        (lambda: store.update_route(org.pk, created, expected="1"), "version or None, not str"),
        (lambda: store.delete_route(org.pk, created.id, expected="1"), "version or None, not str"),
    ):
        with pytest.raises(TypeError, match=wanted):
            change()
    assert state_of(org) == before


def test_an_organisation_s_id_that_is_none_is_a_value_error(store: DjangoStore) -> None:
    for call in (
        lambda: store.versions(["no id"]),
        lambda: store.fetch("no id"),
        lambda: store.list_all_for_org("no id"),
        lambda: store.get_route("no id", uuid7()),
        lambda: store.create_route("no id", new()),
        lambda: store.delete_route("no id", uuid7()),
    ):
        with pytest.raises(ValueError):
            call()


def test_a_row_that_no_engine_loads_is_left_out_of_lists_and_refused_by_itself(
    store: DjangoStore, org: Organization
) -> None:
    good, bad = store.create_route(org.pk, new("good")), store.create_route(org.pk, new("bad"))
    models.Route.objects.filter(uid=bad.id).update(conditions={"modle_in": ["m"]})
    assert store.list_all_for_org(org.pk) == [good]
    with pytest.raises(InvalidRoute):
        store.get_route(org.pk, bad.id)
    assert store.delete_route(org.pk, bad.id)


def test_when_the_record_fails_nothing_happened(store: DjangoStore, org: Organization) -> None:
    before = state_of(org)
    with patch("routes.publish.record", side_effect=RuntimeError("broken on purpose")), pytest.raises(RuntimeError):
        store.create_route(org.pk, new())
    assert state_of(org) == before


@pytest.mark.every_case
@pytest.mark.parametrize(
    "call",
    [
        lambda store, org, route: store.versions([org]),
        lambda store, org, route: store.fetch(org),
        lambda store, org, route: store.list_for_org(org),
        lambda store, org, route: store.list_all_for_org(org),
        lambda store, org, route: store.get_route(org, route.id),
        lambda store, org, route: store.create_route(org, new("b")),
        lambda store, org, route: store.update_route(org, route),
        lambda store, org, route: store.delete_route(org, route.id),
    ],
)
def test_a_database_that_does_not_answer_is_store_unavailable_with_its_cause(
    store: DjangoStore, org_id: str, call: Any
) -> None:
    route = store.create_route(org_id, new())

    def down(*_: Any) -> None:
        raise OperationalError("server closed the connection")

    with connection.execute_wrapper(down), pytest.raises(StoreUnavailable, match="server closed") as caught:
        call(store, org_id, route)
    assert isinstance(caught.value.__cause__, DatabaseError)
    assert isinstance(caught.value, RoutingError)
    assert caught.value.retryable


@pytest.mark.every_case
@pytest.mark.parametrize("kind", [DatabaseError, DataError, IntegrityError, InterfaceError, ProgrammingError])
def test_every_error_of_the_database_is_store_unavailable_with_its_cause(
    store: DjangoStore, org_id: str, kind: type[Exception]
) -> None:
    def damaged(*_: Any) -> None:
        raise kind("file is not a database")

    for call in (lambda: store.versions([org_id]), lambda: store.create_route(org_id, new())):
        with connection.execute_wrapper(damaged), pytest.raises(StoreUnavailable, match="not a database") as caught:
            call()
        assert isinstance(caught.value.__cause__, kind)


# --- With other threads -----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_concurrent_writers_lose_nothing(store: DjangoStore, org_id: str) -> None:
    failures: list[Exception] = []

    def write(writer: int) -> None:
        try:
            for n in range(5):
                store.create_route(org_id, new(f"{writer}-{n}"))
        except Exception as error:
            failures.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert store.versions([org_id]) == {org_id: 20}
    assert len(store.list_all_for_org(org_id)) == 20


@pytest.mark.django_db(transaction=True)
def test_a_cache_in_front_sees_changes_of_its_own_and_of_others(store: DjangoStore, org: Organization) -> None:
    org_id = str(org.pk)
    with EngineCache(store, poll_seconds=0.05) as cache:
        assert cache.engine_for(org_id).version == 0
        created = cache.create_route(org_id, new())
        assert cache.engine_for(org_id).decide(RequestContext("m")).route_id == created.id  # without waiting
        a_route(org, "by another door")
        assert eventually(lambda: cache.engine_for(org_id).version == 2)


@pytest.mark.django_db(transaction=True)
def test_a_thread_without_a_request_keeps_no_connection(store: DjangoStore, org: Organization) -> None:
    org_id = str(org.pk)
    left: list[Any] = []

    def read() -> None:
        store.versions([org_id])
        store.fetch(org_id)
        store.create_route(org_id, new())
        left.append(connection.connection)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert left == [None]
    connection.ensure_connection()
    before = connection.connection
    store.versions([org_id])
    assert connection.connection is before  # one that was open stays open


@pytest.mark.django_db(transaction=True)
def test_after_a_connection_that_broke_the_next_call_makes_another(store: DjangoStore, org: Organization) -> None:
    store.versions([str(org.pk)])
    connection.ensure_connection()
    connection.connection.close()
    with pytest.raises(StoreUnavailable):
        store.versions([str(org.pk)])
    assert store.versions([str(org.pk)]) == {str(org.pk): 0}


@pytest.mark.django_db(transaction=True)
def test_a_gateway_s_store_reads_the_same_documents(store: DjangoStore, org: Organization) -> None:
    from routes.engine import PostgresStore

    a_route(org)
    name = str(connection.settings_dict["NAME"])
    if connection.vendor == "sqlite":
        gateway: Any = SQLiteStore(name)
    else:
        server = connection.settings_dict["HOST"] or connection.settings_dict["OPTIONS"]["host"]
        gateway = PostgresStore(f"host={server} user={connection.settings_dict['USER']} dbname={name}")
    with gateway:
        assert gateway.versions([str(org.pk)]) == store.versions([str(org.pk)])
        assert gateway.fetch(str(org.pk)) == store.fetch(str(org.pk))
