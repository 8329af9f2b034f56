"""Every door that carries a whole content carries services: restores, imports, plans, and what is said to differ."""

from typing import Any

import pytest

from audit.models import AuditEntry
from audit.services import payload_of
from plans.runs import services as plans
from plans.runs.errors import StalePlan
from plans.runs.worker import run_next
from routes import engine
from routes.document import content_with, document_of
from routes.errors import ApprovalRequired
from routes.history.services import restore_version
from routes.orgs.models import Organization
from routes.paths.models import Service
from routes.paths.services import delete_service, update_service
from routes.rules.compared import compared, summed_up
from routes.rules.models import Route
from routes.rules.services import delete_route
from routes.transfer.files import JSON, YAML, read_file, written
from routes.transfer.services import InvalidImport, export_routes, import_routes
from routes.versions.difference import changes_between, fields_between_services
from routes.versions.models import RouteSetVersion
from routes.versions.words import cause_in_words
from tests.build import BY, PATHS, a_plan, a_route, a_service, an_org, projected, state_of, traffic, usual_prices

pytestmark = pytest.mark.django_db


def services(org: Organization) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document_of(org).content["services"]
    return found


def slugs(org: Organization) -> list[str]:
    return [service["slug"] for service in services(org)]


# --- Restores ---------------------------------------------------------------------------------------------------------


def test_a_restored_version_brings_its_services_back_as_they_were(org: Organization) -> None:
    a_service(org, "kept")
    a_service(org, "gone")
    was = services(org)
    kept = Service.objects.of(org).get(slug="kept")
    delete_service(org, "gone", by=BY)
    a_service(org, "new")
    update_service(org, "kept", engine.Service.from_dict({"slug": "kept", "enabled": False}), by=BY)
    change, difference = restore_version(org, 2, by=BY)
    assert services(org) == was
    assert [(found["service"], found["change"]) for found in difference] == [
        ("gone", "added"),
        ("kept", "changed"),
        ("new", "removed"),
    ]
    row = Service.objects.of(org).get(slug="kept")
    assert (row.pk, row.revision) == (kept.pk, change.version)
    assert not restore_version(org, change.version, by=BY)[0].changed


def test_what_a_restore_does_not_change_keeps_its_revision(org: Organization) -> None:
    a_service(org)
    a_route(org)
    row = Service.objects.of(org).get()
    restore_version(org, 1, by=BY)
    row.refresh_from_db()
    assert row.revision == 1


# --- Imports ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("notation", [JSON, YAML])
def test_an_export_brings_the_services_to_another_organisation_and_leaves_hosts(
    org: Organization, notation: str
) -> None:
    a_service(org, hosts=["a.example"], timeouts={"idle_seconds": 2.5})
    a_route(org)
    text = written(export_routes(org), notation).decode()
    other = an_org("other")
    change, _ = import_routes(other, read_file(text), mode="replace", by=BY)
    assert change.digest == document_of(org).digest
    assert services(other) == services(org)
    assert [row.org_id for row in org.service_hosts.all()] == [org.pk]


@pytest.mark.parametrize("mode", ["replace", "merge"])
def test_a_file_that_says_nothing_of_services_leaves_them_as_they_are(org: Organization, mode: str) -> None:
    a_service(org)
    was = services(org)
    import_routes(org, {"routes": [{"name": "new", "then": {"target_model": "m"}}]}, mode=mode, by=BY)
    assert services(org) == was


def test_a_file_with_services_replaces_them_all_or_merges_them_by_slug(org: Organization) -> None:
    a_service(org, "one")
    a_service(org, "two")
    sent = [{"slug": "two", "enabled": False}, {"slug": "three"}]
    import_routes(org, {"routes": [], "services": sent}, mode="merge", by=BY)
    assert slugs(org) == ["one", "three", "two"]
    assert services(org)[2] == {"slug": "two", "enabled": False, "timeouts": {}, "paths": []}
    assert services(org)[0]["paths"]
    change, _ = import_routes(org, {"routes": [], "services": sent}, mode="replace", by=BY)
    assert slugs(org) == ["three", "two"]
    assert RouteSetVersion.objects.get(org=org, version=change.version).about == "the service “one”"
    import_routes(org, {"routes": [], "services": []}, mode="replace", by=BY)
    assert slugs(org) == []


def test_what_is_wrong_with_imported_services_is_told_all_at_once_with_their_slugs(org: Organization) -> None:
    a_service(org)
    before = state_of(org)
    bad = [
        {"slug": "ok"},
        {"slug": "one", "paths": [{"pattern": "x", "target_url": "ftp://a"}], "timeouts": {"idle_seconds": -1}},
        {"slug": "ok"},
        None,
    ]
    with pytest.raises(InvalidImport) as caught:
        import_routes(org, {"routes": [{"name": ""}], "services": bad}, mode="merge", by=BY)
    assert {issue["path"] for issue in caught.value.issues} == {
        "content.routes[0].name",
        "content.routes[0].then",
        "content.services[1].paths[0].pattern",
        "content.services[1].paths[0].target_url",
        "content.services[1].timeouts.idle_seconds",
        "content.services[2].slug",
        "content.services[3]",
    }
    assert any(line.startswith("Service 2 ('one'), paths[0].pattern: ") for line in caught.value.lines)
    assert state_of(org) == before


def test_an_import_of_services_where_every_change_is_a_plan_is_refused_and_one_of_routes_is_a_draft(
    org: Organization,
) -> None:
    a_service(org)
    Organization.objects.filter(pk=org.pk).update(approval="all")
    routes = [{"name": "new", "then": {"target_model": "m"}}]
    with pytest.raises(ApprovalRequired, match="a plan changes routes only"):
        import_routes(org, {"routes": routes, "services": []}, mode="replace", by=BY)
    with pytest.raises(ApprovalRequired, match="is a plan"):
        import_routes(org, {"routes": routes}, mode="merge", by=BY)


# --- Plans ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_a_plan_that_is_applied_and_reverted_keeps_the_services_that_are_live(org: Organization, mode: str) -> None:
    usual_prices()
    traffic(org, 10)
    gone = a_route(org, "gone")
    a_service(org)
    plan = projected(a_plan(org, mode=mode, iterations=100))
    plans.apply(plan, by=BY)
    assert slugs(org) == ["users"]
    a_service(org, "later")
    if mode == "merge":
        delete_route(org, gone.uid, by=BY)
    plan.refresh_from_db()
    plans.revert(plan, by=BY)
    assert slugs(org) == ["later", "users"]
    assert not Route.objects.of(org).filter(name="short to mini").exists()


def test_a_plan_from_before_a_change_of_services_is_stale_and_says_so(org: Organization) -> None:
    usual_prices()
    traffic(org, 10)
    # Of the default, too, which a change of services must not be taken for.
    plan = projected(a_plan(org, iterations=100, default=({"target_model": "gpt-4o-mini"},)))
    a_service(org)
    with pytest.raises(StalePlan, match="the service “users” was added") as caught:
        plans.apply(plan, by=BY)
    assert caught.value.touched == []
    again = plans.rebase(plan, by=BY)
    run_next()
    again.refresh_from_db()
    plans.apply(again, by=BY)
    assert slugs(org) == ["users"]


# --- What differs -----------------------------------------------------------------------------------------------------


def content(*services: dict[str, Any]) -> dict[str, Any]:
    full = [engine.Service.from_dict(service).to_dict() for service in services]
    return content_with((), default=None, services=full)


USERS = {"slug": "users", "paths": PATHS}


def test_services_that_differ_are_told_by_slug_after_the_routes(org: Organization) -> None:
    was, now = content(USERS, {"slug": "gone"}), content({"slug": "new"}, {**USERS, "enabled": False})
    found = changes_between(was, now)
    assert [(one["service"], one["name"], one["route_id"], one["change"]) for one in found] == [
        ("gone", "gone", None, "removed"),
        ("new", "new", None, "added"),
        ("users", "users", None, "changed"),
    ]
    assert found[2]["fields"] == [{"path": "/enabled", "was": True, "is": False}]
    assert summed_up(found) == (
        "the service “gone” was removed, the service “new” was added, the service “users” was changed"
    )
    assert changes_between(was, was) == []


def test_a_path_is_known_by_what_it_takes(org: Organization) -> None:
    first, second = PATHS
    moved = {**first, "target_url": "https://elsewhere.example"}
    added = {"pattern": "/health", "target_url": "https://users.example"}

    def fields(was: list[Any], now: list[Any]) -> list[dict[str, Any]]:
        return fields_between_services({**USERS, "paths": was}, {**USERS, "paths": now})

    assert fields(PATHS, [added, moved, second]) == [
        {"path": "/paths/0", "was": None, "is": added},
        {"path": "/paths/1", "was": first, "is": moved},
    ]
    assert fields(PATHS, [second]) == [{"path": "/paths/0", "was": first, "is": None}]
    assert fields(PATHS, [second, first]) == [
        {"path": "/paths", "was": ["/users/*", "/users/:id"], "is": ["/users/:id", "/users/*"]}
    ]
    assert fields(PATHS, list(PATHS)) == []
    other_method = {**second, "methods": ["POST"]}
    assert fields([second], [other_method]) == [
        {"path": "/paths/0", "was": None, "is": other_method},
        {"path": "/paths/0", "was": second, "is": None},
    ]


def test_services_are_compared_in_words() -> None:
    first, second = PATHS
    was = content({**USERS, "timeouts": {"idle_seconds": 5}})
    now = content({**USERS, "enabled": False, "paths": [{**first, "target_url": "https://b.example"}]})
    (row,) = compared(was, now)
    assert row["name"] == "Service users"
    assert row["was"] == "2 paths to users.example, people.example, waits 5 s between two parts of it"
    assert row["is"] == (
        "1 path to b.example, disabled; /users/*: https://users.example/v1 → https://b.example;"
        " removed: GET /users/:id → https://people.example"
    )
    (row,) = compared(content(), was)
    assert (row["was"], row["change"]) == ("", "added")
    swapped = content({**USERS, "paths": [second, first], "timeouts": {"idle_seconds": 5}})
    assert compared(was, swapped)[0]["is"].endswith("; its paths stand in another order")


def test_the_history_names_services(org: Organization) -> None:
    a_service(org)
    update_service(org, "users", engine.Service.from_dict({"slug": "users"}), by=BY)
    delete_service(org, "users", by=BY)
    told = [cause_in_words(row.cause, row.about) for row in RouteSetVersion.objects.filter(org=org).order_by("version")]
    assert told == [
        "The service “users” was added",
        "The service “users” was changed",
        "The service “users” was deleted",
    ]
    entry = AuditEntry.objects.filter(org_id=org.pk).latest("seq")
    payload = payload_of(entry)
    assert payload is not None
    assert payload["was"]["paths"] == []
