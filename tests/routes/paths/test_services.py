"""Services are written by the one write path, checked by the engine, and named by their slugs."""

from typing import Any
from unittest.mock import patch

import pytest
from django.db import IntegrityError, transaction

from audit.models import AuditEntry
from audit.services import payload_of
from routes import engine
from routes.document import document_of
from routes.errors import ApprovalRequired, DocumentTooLarge, NotFound, OrganizationFrozen, TooManyServices
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.paths.hosts import hosts_of
from routes.paths.models import Service, ServiceHost
from routes.paths.services import (
    SlugTaken,
    StaleService,
    changed_since,
    create_service,
    delete_service,
    get_service,
    update_service,
)
from routes.publish import MAX_SERVICES, publish
from routes.rules.services import create_route
from routes.versions.models import RouteSetVersion
from routes.versions.words import cause_in_words
from tests.build import BY, PATHS, a_route, a_service, an_org, state_of

pytestmark = pytest.mark.django_db


def a_value(slug: str = "users", **keys: Any) -> engine.Service:
    return engine.Service.from_dict({"slug": slug, "paths": PATHS, **keys})


def served(org: Organization) -> dict[str, engine.Service]:
    return dict(engine.Engine.from_document(document_of(org)).services)


def newest(org: Organization, action: str) -> AuditEntry:
    return AuditEntry.objects.filter(org_id=org.pk, action=action).latest("seq")


def test_a_new_service_is_a_version_that_the_engine_serves_and_one_entry(org: Organization) -> None:
    row = a_service(org)
    assert served(org) == {"users": a_value()}
    org.refresh_from_db()
    assert org.version == row.revision == 1
    entry = newest(org, "service.created")
    assert (entry.target_id, entry.version_after) == ("users", 1)
    version = RouteSetVersion.objects.get(org=org)
    assert cause_in_words(version.cause, version.about) == "The service “users” was added"


def test_services_stand_in_the_document_by_slug_whatever_came_first(org: Organization) -> None:
    for slug in ("b-c", "bd", "a", "b"):
        a_service(org, f"{slug}x")
    slugs = [service["slug"] for service in document_of(org).content["services"]]
    assert slugs == sorted(slugs) == ["ax", "b-cx", "bdx", "bx"]


def test_a_change_of_one_service_is_a_version_and_of_nothing_is_none(org: Organization) -> None:
    row = a_service(org)
    before = state_of(org)
    _, change = update_service(org, "users", a_value(), by=BY)
    assert (change.changed, change.receipt) == (False, None)
    assert state_of(org) == before
    row, change = update_service(org, "users", a_value(enabled=False), by=BY, expected_revision=row.revision)
    assert (change.version, row.revision) == (2, 2)
    assert not served(org)["users"].enabled
    told = payload_of(newest(org, "service.updated"))
    assert told is not None
    assert (told["was"]["enabled"], told["is"]["enabled"]) == (True, False)


def test_who_saw_another_state_of_this_service_is_refused_and_of_another_one_is_not(org: Organization) -> None:
    mine, other = a_service(org, "mine"), a_service(org, "other")
    update_service(org, "other", a_value("other", enabled=False), by=BY, expected_revision=other.revision)
    row, _ = update_service(org, "mine", a_value("mine", enabled=False), by=BY, expected_revision=mine.revision)
    before = state_of(org)
    for act in (
        lambda: update_service(org, "mine", a_value("mine"), by=BY, expected_revision=mine.revision),
        lambda: delete_service(org, "mine", by=BY, expected_revision=mine.revision),
    ):
        with pytest.raises(StaleService):
            act()
    assert state_of(org) == before
    assert changed_since(row, mine.revision) == [{"path": "/enabled", "was": True, "is": False}]


def test_a_slug_is_of_one_service_of_the_organisation_and_of_one_of_each_other_one(org: Organization) -> None:
    a_service(org, "one")
    a_service(org, "two", hosts=["two.example"])
    other = an_org("other")
    a_service(other, "one")
    before = state_of(org)
    with pytest.raises(SlugTaken, match="one"):
        create_service(org, a_value("one"), by=BY)
    with pytest.raises(SlugTaken, match="one"):
        update_service(org, "two", a_value("one"), by=BY)
    assert state_of(org) == before


def test_a_renamed_service_takes_its_hosts_along_and_a_deleted_one_frees_them(org: Organization) -> None:
    a_service(org, "old", hosts=["a.example", "b.example"])
    a_service(org, "other", hosts=["c.example"])
    update_service(org, "old", a_value("new"), by=BY)
    assert (hosts_of(org, "new"), hosts_of(org, "other")) == (["a.example", "b.example"], ["c.example"])
    assert set(served(org)) == {"new", "other"}
    delete_service(org, "new", by=BY)
    assert [row.host for row in ServiceHost.objects.all()] == ["c.example"]
    told = payload_of(newest(org, "service.deleted"))
    assert told is not None
    assert told["hosts"] == ["a.example", "b.example"]
    assert told["was"]["slug"] == "new"
    assert set(served(org)) == {"other"}


@pytest.mark.parametrize("slug", ["nothing", "", "a\0b", "\ud800", "users"])
def test_an_unknown_and_a_foreign_service_are_alike(org: Organization, slug: str) -> None:
    a_service(an_org("other"))
    with pytest.raises(NotFound) as caught:
        get_service(org, slug)
    assert str(caught.value) == "There is no such service in this organisation."


@pytest.mark.parametrize("broken", ["routes.publish.record", "routes.publish.engine.Engine.from_document"])
def test_when_any_step_fails_nothing_happened(org: Organization, broken: str) -> None:
    a_service(org, hosts=["a.example"])
    before = state_of(org)
    for act in (
        lambda: create_service(org, a_value("more"), by=BY),
        lambda: update_service(org, "users", a_value("people"), by=BY),
        lambda: delete_service(org, "users", by=BY),
    ):
        with patch(broken, side_effect=RuntimeError("broken on purpose")), pytest.raises(RuntimeError):
            act()
        assert state_of(org) == before


# --- What is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1", "http://2130706433/x", "https://[::ffff:10.0.0.1]", "http://0x7f.1"]
)
def test_an_address_that_no_gateway_asks_is_refused_at_its_path(org: Organization, target: str) -> None:
    paths = [*PATHS, {"pattern": "/in", "target_url": target}]
    before = state_of(org)
    with pytest.raises(engine.errors.InvalidRoute) as caught:
        create_service(org, a_value(paths=paths), by=BY)
    (issue,) = caught.value.issues
    assert (issue["path"], issue["code"]) == ("paths[2].target_url", "egress_denied")
    assert state_of(org) == before


def test_a_private_address_is_taken_where_it_is_on_the_list_and_stays_when_it_is_not_any_more(
    org: Organization,
) -> None:
    paths = [{"pattern": "/in", "target_url": "http://10.1.2.3:8080/base"}]
    Organization.objects.filter(pk=org.pk).update(private_upstreams=[{"network": "10.1.0.0/16", "port": 8080}])
    a_service(org, paths=paths)
    with pytest.raises(engine.errors.InvalidRoute):
        a_service(org, "other", paths=[{"pattern": "/in", "target_url": "http://10.1.2.3:8081"}])
    Organization.objects.filter(pk=org.pk).update(private_upstreams=[])
    update_service(org, "users", a_value(paths=[*paths, PATHS[0]]), by=BY)
    with pytest.raises(engine.errors.InvalidRoute):
        a_service(org, "other", paths=paths)


def test_a_row_that_no_gateway_would_load_is_refused_with_what_is_wrong(org: Organization) -> None:
    a_service(org)
    before = state_of(org)
    with (
        pytest.raises(engine.errors.InvalidRoute) as caught,
        publish(org.pk, by=BY, action="service.updated", target=("service", "users")) as change,
    ):
        Service.objects.of(org).update(timeouts={"idle_seconds": 0}, revision=change.version)
    assert [issue["path"] for issue in caught.value.issues] == ["timeouts.idle_seconds"]
    assert state_of(org) == before


def test_a_service_that_is_bad_already_stops_what_no_gateway_would_load_until_it_is_mended(org: Organization) -> None:
    a_service(org)
    Service.objects.of(org).update(paths=[{"pattern": "nowhere", "target_url": "x"}])
    with patch("routes.publish._accept"):  # an older release, whose engine took it
        a_route(org, "published it")
    with pytest.raises(engine.errors.DocumentRejected, match="service at \\[0\\]"):
        a_route(org, "next")
    update_service(org, "users", a_value(), by=BY)
    a_route(org, "next")
    assert served(org) == {"users": a_value()}


def test_an_organisation_has_at_most_so_many_services_and_segments(org: Organization) -> None:
    Service.objects.bulk_create(Service(org=org, slug=f"s{number}", revision=0) for number in range(MAX_SERVICES))
    with pytest.raises(TooManyServices, match="500"):
        a_service(org, "one-more")
    Service.objects.all().delete()
    paths = [{"pattern": f"/{number}{'/a' * 200}", "target_url": "https://a.example"} for number in range(100)]
    a_service(org, "large", paths=paths)
    with pytest.raises(DocumentTooLarge, match="25,000 segments"):
        a_service(org, "larger", paths=paths)


def test_the_limit_of_bytes_counts_services_too(org: Organization) -> None:
    def paths(mark: str) -> list[dict[str, str]]:
        return [
            {"pattern": f"/{number}", "target_url": f"https://a.example/{mark}{'a' * 1900}"} for number in range(400)
        ]

    with patch("routes.publish.MAX_BYTES", 1_000_000):
        a_service(org, "one", paths=paths("a"))
        with pytest.raises(DocumentTooLarge, match="routes and services"):
            a_service(org, "two", paths=paths("b"))


def test_where_every_change_is_a_plan_services_are_refused_with_what_to_do_and_without_a_draft(
    org: Organization,
) -> None:
    a_service(org)
    Organization.objects.filter(pk=org.pk).update(approval="all")
    before = state_of(org)
    for act in (
        lambda: create_service(org, a_value("more"), by=BY),
        lambda: update_service(org, "users", a_value(enabled=False), by=BY),
        lambda: delete_service(org, "users", by=BY),
    ):
        with pytest.raises(ApprovalRequired, match="no draft was made of this change of services") as caught:
            act()
        assert caught.value.code == "approval_required"
    assert state_of(org) == before


def test_nothing_of_a_frozen_organisation_is_changed(org: Organization) -> None:
    a_service(org)
    freeze(org, reason="An audit.", by=BY)
    for act in (
        lambda: create_service(org, a_value("more"), by=BY),
        lambda: update_service(org, "users", a_value(enabled=False), by=BY),
        lambda: delete_service(org, "users", by=BY),
    ):
        with pytest.raises(OrganizationFrozen):
            act()


def test_routes_and_services_change_apart(org: Organization) -> None:
    row = a_service(org)
    create_route(org, engine.NewRoute.from_dict({"name": "r", "then": {"target_model": "m"}}), by=BY)
    content = document_of(org).content
    assert (len(content["routes"]), content["services"]) == (1, [a_value().to_dict()])
    row.refresh_from_db()
    assert row.revision == 1


# --- What the database holds ------------------------------------------------------------------------------------------


def test_the_database_knows_a_slug_once_and_none_without_letters(org: Organization) -> None:
    a_service(org)
    for slug in ("users", ""):
        with pytest.raises(IntegrityError), transaction.atomic():
            Service.objects.create(org=org, slug=slug, revision=1)
    Service.objects.create(org=an_org("other"), slug="users", revision=1)


def test_the_database_knows_a_host_once_in_the_installation_and_none_without_both_names(org: Organization) -> None:
    a_service(org, hosts=["a.example"])
    for host, slug in (("a.example", "users"), ("", "users"), ("b.example", "")):
        with pytest.raises(IntegrityError), transaction.atomic():
            ServiceHost.objects.create(org=an_org(f"o{len(host)}{len(slug)}"), host=host, slug=slug)
    ServiceHost.objects.create(org=org, host="b.example", slug="users")
