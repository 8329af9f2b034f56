"""The one write path: all or nothing, in order, recorded once."""

import threading
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection, connections

from audit.models import AuditEntry
from routes import engine
from routes.document import document_of
from routes.errors import NameTaken, NotFound, StaleVersion, TooManyRoutes
from routes.orgs.models import Organization, new_id
from routes.publish import publish
from routes.rules.models import Route
from routes.rules.services import StaleRoute, create_route, delete_route, update_route
from routes.versions.models import RouteSetVersion
from tests.build import BY, a_route, an_org, state_of

pytestmark = pytest.mark.django_db


def actions(org: Organization) -> list[str]:
    return list(AuditEntry.objects.filter(org_id=org.pk).order_by("seq").values_list("action", flat=True))


def new(name: str = "r", **keys: Any) -> engine.NewRoute:
    return engine.NewRoute.from_dict({"name": name, "when": {}, "then": {"target_model": "m"}, **keys})


def test_a_new_route_is_a_version_a_document_and_one_audit_entry(org: Organization) -> None:
    row = a_route(org)
    org.refresh_from_db()
    document = document_of(org)
    assert org.version == document.version == row.revision == 1
    assert [route["name"] for route in document.content["routes"]] == ["short"]
    entry = AuditEntry.objects.get(org_id=org.pk, action="route.created")
    assert (entry.version_before, entry.version_after, entry.target_id) == (0, 1, str(row.uid))
    assert RouteSetVersion.objects.get(org=org).digest == document.digest


@pytest.mark.parametrize(
    "broken",
    [
        "routes.publish.record",
        "routes.publish.RouteSetVersion.objects.create",
        "routes.rules.services.Route.save",
        "routes.publish.engine.Engine.from_document",
    ],
)
def test_when_any_step_fails_nothing_happened(org: Organization, broken: str) -> None:
    a_route(org, "first")
    before = state_of(org)
    with patch(broken, side_effect=RuntimeError("broken on purpose")), pytest.raises(RuntimeError):
        create_route(org, new(), by=BY)
    assert state_of(org) == before


def test_what_changes_nothing_makes_no_version_and_no_entry(org: Organization) -> None:
    row = a_route(org)
    before = state_of(org)
    _, change = update_route(org, row.uid, engine.Route.from_dict(row.as_document()), by=BY)
    assert (change.changed, change.version, change.receipt) == (False, 1, None)
    assert state_of(org) == before


def test_a_caller_who_looked_at_an_older_version_is_refused(org: Organization) -> None:
    a_route(org)
    before = state_of(org)
    with pytest.raises(StaleVersion) as caught:
        create_route(org, new(), by=BY, expected=0)
    assert (caught.value.code, caught.value.current) == ("stale_version", 1)
    assert state_of(org) == before


def test_a_change_of_a_colleagues_route_is_no_conflict_but_of_the_same_route_is(org: Organization) -> None:
    mine, other = a_route(org, "mine"), a_route(org, "other")
    update_route(org, other.uid, engine.Route.from_dict({**other.as_document(), "priority": 5}), by=BY)
    update_route(
        org,
        mine.uid,
        engine.Route.from_dict({**mine.as_document(), "priority": 7}),
        by=BY,
        expected_revision=mine.revision,
    )
    with pytest.raises(StaleRoute):
        delete_route(org, mine.uid, by=BY, expected_revision=mine.revision)
    assert Route.objects.get(pk=mine.pk).priority == 7


def test_evaluation_order_is_priority_then_the_order_of_making(org: Organization) -> None:
    for name, priority in (("a", 1), ("b", 9), ("c", 9), ("d", 5)):
        a_route(org, name, priority=priority)
    assert [row.name for row in Route.objects.of(org).in_order()] == ["b", "c", "d", "a"]
    org.refresh_from_db()
    assert [route["name"] for route in document_of(org).content["routes"]] == ["b", "c", "d", "a"]


def test_a_name_belongs_to_one_route(org: Organization) -> None:
    a_route(org, "short")
    before = state_of(org)
    with pytest.raises(NameTaken, match="short"):
        create_route(org, new("short"), by=BY)
    assert state_of(org) == before


def test_a_foreign_and_an_unknown_organisation_or_route_are_alike(org: Organization) -> None:
    row = a_route(org)
    other = an_org("other")
    for id in (row.uid, new_id(), "nonsense"):
        with pytest.raises(NotFound) as caught:
            delete_route(other, id, by=BY)
        assert str(caught.value) == "There is no such route in this organisation."
    with pytest.raises(NotFound), publish(new_id(), by=BY, action="x.y", target=("x", "y")):
        pass


def test_a_row_that_was_bad_before_does_not_block_other_changes_but_a_new_one_does(org: Organization) -> None:
    row = a_route(org, "bad")
    Route.objects.filter(pk=row.pk).update(conditions={"unheard_of": 1})
    before = state_of(org)
    with pytest.raises(engine.errors.InvalidRoute, match="unheard_of"):
        create_route(org, new("first to carry it"), by=BY)
    assert state_of(org) == before
    with patch("routes.publish._accept"):  # an older release, whose engine took it
        create_route(org, new("published it"), by=BY)
    _, change = create_route(org, new("next"), by=BY)
    assert change.changed
    loaded = engine.Engine.from_document(document_of(org))
    assert [skipped.name for skipped in loaded.skipped] == ["bad"]
    assert {route.name for route in loaded.routes} == {"published it", "next"}


def test_an_organisation_has_at_most_a_thousand_routes(org: Organization) -> None:
    Route.objects.bulk_create(
        Route(org=org, name=f"r{n}", position=n, target={"target_model": "m"}, revision=0) for n in range(1000)
    )
    with pytest.raises(TooManyRoutes, match="1,000"):
        create_route(org, new("one too many"), by=BY)
    Route.objects.filter(name="r0").delete()
    create_route(org, new("fits"), by=BY)


@pytest.mark.django_db(transaction=True)
def test_writers_of_one_organisation_queue_and_lose_no_version() -> None:
    org = an_org()
    errors: list[BaseException] = []

    def write(n: int) -> None:
        try:
            for k in range(5):
                create_route(org, new(f"w{n}-{k}"), by=BY)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    org.refresh_from_db()
    assert org.version == 20
    assert list(RouteSetVersion.objects.filter(org=org).order_by("version").values_list("version", flat=True)) == list(
        range(1, 21)
    )
    assert actions(org).count("route.created") == 20


@pytest.mark.django_db(transaction=True)
def test_postgres_announces_a_commit_and_only_a_commit() -> None:
    if connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has NOTIFY")
    import psycopg

    org = an_org()
    settings = connection.get_connection_params()
    with psycopg.connect(
        autocommit=True, **{k: v for k, v in settings.items() if k in ("dbname", "user", "password", "host", "port")}
    ) as listener:
        listener.execute("LISTEN routing_versions")
        with patch("routes.publish.record", side_effect=RuntimeError), pytest.raises(RuntimeError):
            create_route(org, new("lost"), by=BY)
        assert list(listener.notifies(timeout=0.3)) == []
        create_route(org, new("kept"), by=BY)
        assert [notice.payload for notice in listener.notifies(timeout=2, stop_after=1)] == [str(org.pk)]
