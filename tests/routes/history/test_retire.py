"""Old versions lose their content and nothing else; what somebody may still need keeps it."""

import json
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditEntry
from audit.services import MAX_PAYLOAD_BYTES, payload_of
from audit.verification import verify_org
from plans.runs import services as plans
from plans.runs.models import PlanRun
from routes import engine
from routes.document import document_of
from routes.history import services
from routes.history.services import content_of, restore_version, retire_versions
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.paths.services import delete_service, update_service
from routes.rules.bulk import change_routes, reorder_routes
from routes.rules.models import Route
from routes.rules.services import delete_route, pause_route, resume_route, set_default, update_route
from routes.store import DjangoStore
from routes.transfer.services import import_routes
from routes.versions.difference import Content
from routes.versions.models import RouteSetVersion
from tests.build import BY, a_plan, a_route, a_service, an_org, projected, state_of, traffic, usual_prices

pytestmark = pytest.mark.django_db


def versions(org: Organization, count: int, *, days_old: int = 100) -> None:
    for number in range(count):
        a_route(org, f"route {Organization.objects.get(pk=org.pk).version}-{number}")
    RouteSetVersion.objects.filter(org=org).update(published_at=timezone.now() - timedelta(days=days_old))


def kept(org: Organization) -> list[int]:
    rows = RouteSetVersion.objects.of(org).brief().order_by("version")
    return [row.version for row in rows if row.is_kept]


def retired(**options: Any) -> str:
    out = StringIO()
    call_command("retire_versions", stdout=out, **options)
    return out.getvalue()


def test_the_newest_and_the_young_keep_their_content(org: Organization) -> None:
    versions(org, 6)
    RouteSetVersion.objects.filter(org=org, version=2).update(published_at=timezone.now() - timedelta(days=89))
    before = RouteSetVersion.objects.filter(org=org).defer("content").order_by("version").values_list("digest", "note")
    said = retired(keep=2, days=90)
    assert kept(org) == [2, 5, 6]
    assert "acme: 1, 3-4, audit entry" in said
    assert said.endswith("3 versions retired.\n")
    after = RouteSetVersion.objects.filter(org=org).defer("content").order_by("version").values_list("digest", "note")
    assert list(after) == list(before)


def test_one_entry_tells_how_many_and_which(org: Organization) -> None:
    versions(org, 4)
    retired(keep=1, days=90)
    entry = AuditEntry.objects.get(action="versions.retired")
    payload = payload_of(entry)
    assert payload is not None
    assert (entry.target_type, entry.target_id, entry.actor_id) == ("organization", str(org.pk), "retire_versions")
    del payload["actor_name"]
    assert payload == {"count": 3, "versions": [[1, 3]], "keep": 1, "days": 90}
    assert verify_org(org.pk).ok
    assert retired(keep=1, days=90) == "0 versions retired.\n", "and once"
    assert AuditEntry.objects.filter(action="versions.retired").count() == 1


def test_the_entry_names_no_version_that_was_kept(org: Organization) -> None:
    versions(org, 6)
    RouteSetVersion.objects.filter(org=org, version=2).update(published_at=timezone.now() - timedelta(days=89))
    retired(keep=2, days=90)
    payload = payload_of(AuditEntry.objects.get(action="versions.retired")) or {}
    assert (payload["count"], payload["versions"]) == (3, [[1, 1], [3, 4]])


def test_the_longest_entry_is_kept_whole() -> None:
    """Every other version of the highest numbers that there can be."""
    scattered = services.Retired(tuple(range(2**53 - 1 - 2 * services.AT_ONCE, 2**53 - 1, 2)))
    assert len(scattered.ranges) == services.AT_ONCE
    assert len(json.dumps(scattered.ranges)) < MAX_PAYLOAD_BYTES // 2


def test_what_is_live_stays_whatever_is_asked(org: Organization) -> None:
    versions(org, 3)
    live = document_of(org).to_bytes()
    retired(keep=0, days=0)
    assert kept(org) == [3]
    assert document_of(org).to_bytes() == live


def test_what_was_restored_stays(org: Organization) -> None:
    versions(org, 4)
    restore_version(org, 2, by=BY)
    RouteSetVersion.objects.filter(org=org).update(published_at=timezone.now() - timedelta(days=100))
    retired(keep=1, days=90)
    assert kept(org) == [2, 4, 5], "and what restoring it took away"


def test_what_a_plan_stands_on_made_or_replaced_stays(org: Organization) -> None:
    usual_prices()
    traffic(org)
    versions(org, 4)
    draft = a_plan(org, name="on 4")
    assert draft.base_version == 4
    versions(org, 3)
    applied = projected(a_plan(org, name="on 7"))
    plans.apply(applied, by=BY)  # 8
    versions(org, 2)
    # As where the plan was applied on another version with the same digest.
    PlanRun.objects.filter(pk=applied.pk).update(base_version=6)
    plans.revert(plans.get_plan(org, applied.pk), by=BY)  # 11
    versions(org, 2)
    retired(keep=1, days=90)
    assert kept(org) == [4, 6, 7, 8, 10, 11, 13]
    assert plans.get_plan(org, applied.pk).reverted_version == 11


# --- What the log does not tell ---------------------------------------------------------------------------------------


def called(org: Organization, name: str) -> UUID:
    return Route.objects.get(org=org, name=name).uid


WHOLE = {"name": "imported", "then": {"target_model": "m"}}
#: What changes a route called a, or takes it away, beside another one called b.
CHANGES: dict[str, Callable[[Organization, Route], Any]] = {
    "route.created": lambda org, _: a_route(org, "c"),
    "route.updated": lambda org, a: update_route(
        org, a.uid, engine.Route.from_dict({**a.as_document(), "name": "x", "then": {"target_model": "y"}}), by=BY
    ),
    "route.deleted": lambda org, a: delete_route(org, a.uid, by=BY),
    "route.paused": lambda _, a: pause_route(a, by=BY),
    "route.resumed": lambda org, _: resume_route(Route.objects.get(org=org, name="resting"), by=BY),
    "routes.reordered": lambda org, a: reorder_routes(
        org, [*Route.objects.of(org).exclude(pk=a.pk).in_order().values_list("uid", flat=True), a.uid], by=BY
    ),
    "routes.enabled": lambda org, _: change_routes(org, "enable", [called(org, "off")], by=BY),
    "routes.disabled": lambda org, a: change_routes(org, "disable", [a.uid], by=BY),
    "routes.paused": lambda org, a: change_routes(org, "pause", [a.uid], by=BY),
    "routes.resumed": lambda org, _: change_routes(org, "resume", [called(org, "resting")], by=BY),
    "routes.deleted": lambda org, a: change_routes(org, "delete", [a.uid], by=BY),
    "routes.imported": lambda org, _: import_routes(org, {"routes": [WHOLE]}, mode="replace", by=BY),
    "version.restored": lambda org, _: restore_version(org, 0, by=BY),
    "default.updated": lambda org, _: set_default(org, None, by=BY),
    "service.created": lambda org, _: a_service(org, "new"),
    "service.updated": lambda org, _: update_service(
        org, "users", engine.Service.from_dict({"slug": "people", "enabled": False}), by=BY
    ),
    "service.deleted": lambda org, _: delete_service(org, "users", by=BY),
}


def before(entry: AuditEntry, now: Content) -> tuple[dict[str, Any], Any, dict[str, Any]]:
    """What was live before an act: routes by id, the default, and services by slug, by its entry and what it left."""
    told = payload_of(entry) or {}
    served = {service["slug"]: service for service in now["services"]}
    routes, default = {route["id"]: route for route in now["routes"]}, now["default"]
    match entry.action:
        case "route.created":
            del routes[entry.target_id]
        case "route.updated" | "route.deleted":
            routes[entry.target_id] = told["was"]
        case "route.paused":
            del routes[entry.target_id]["paused"]
        case "route.resumed":
            routes[entry.target_id]["paused"] = True
        case "routes.enabled" | "routes.disabled":
            for route in told["routes"]:
                routes[route["id"]]["enabled"] = entry.action == "routes.disabled"
        case "routes.paused":
            for route in told["routes"]:
                del routes[route["id"]]["paused"]
        case "routes.resumed":
            for route in told["routes"]:
                routes[route["id"]]["paused"] = True
        case "routes.reordered":
            priorities = sorted((route["priority"] for route in routes.values()), reverse=True)
            for uid, priority in zip(told["was"], priorities, strict=True):
                routes[uid]["priority"] = priority
        case "default.updated":
            default = told["was"]
        case "service.created":
            del served[entry.target_id]
        case "service.updated":
            del served[told["is"]["slug"]]
            served[entry.target_id] = told["was"]
        case "service.deleted":
            served[entry.target_id] = told["was"]
    return routes, default, served


@pytest.mark.parametrize("action", CHANGES)
def test_whatever_was_taken_away_is_in_the_log_or_its_version_is_kept(org: Organization, action: str) -> None:
    a = a_route(org, "a")
    a_route(org, "b", priority=200)
    a_route(org, "off", enabled=False)
    pause_route(a_route(org, "resting"), by=BY)
    set_default(org, engine.Action("small"), by=BY)
    a_service(org)
    was = document_of(org).content
    CHANGES[action](org, a)
    entry = AuditEntry.objects.get(action=action, version_before=7)
    now = document_of(org).content
    versions(org, 2)
    retired(keep=1, days=90)
    is_kept = 7 in kept(org)
    assert is_kept or before(entry, now) == (
        {route["id"]: route for route in was["routes"]},
        was["default"],
        {service["slug"]: service for service in was["services"]},
    )
    assert is_kept is (action not in services._TOLD)
    assert content_of(org, 7) == was if is_kept else True
    assert len(kept(org)) == 1 + is_kept, "and no other one"


def test_what_was_live_before_a_change_that_is_too_large_for_its_entry_is_kept(org: Organization) -> None:
    models = [f"{number:03}{'m' * 197}" for number in range(256)]
    large = a_route(org, "large", when={"any_of": [{"model_in": models}] * 6})
    for tag in ('"replaced":', "z"):
        document = {**large.as_document(), "when": {"tag_equals": tag}}
        update_route(org, large.uid, engine.Route.from_dict(document), by=BY)
    versions(org, 2)
    retired(keep=1, days=90)
    assert kept(org) == [1, org.versions.latest("version").version]
    assert len(content_of(org, 1)["routes"][0]["when"]["any_of"]) == 6


def test_every_cause_whose_entry_is_said_to_tell_all_was_tried() -> None:
    assert set(services._TOLD) <= set(CHANGES)


def test_a_long_history_is_looked_at_in_as_many_queries_as_a_short_one(org: Organization) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            retire_versions(org, keep=1, days=90, referred=lambda _: (), by=BY)
        return len(found)

    versions(org, 3)
    few = queries()
    (first, *_) = Route.objects.of(org)
    for _ in range(10):
        change_routes(org, "disable", [first.uid], by=BY)
        restore_version(org, 3, by=BY)
    versions(org, 2)
    assert queries() == few


def test_a_plan_that_is_made_meanwhile_is_seen(org: Organization) -> None:
    """Plans are made with the organisation locked, and so are they asked for."""
    usual_prices()
    versions(org, 3)
    asked: list[bool] = []

    def referred(locked: Organization) -> set[int]:
        asked.append(connection.in_atomic_block and locked is not org)
        return {1}

    retire_versions(org, keep=1, days=90, referred=referred, by=BY)
    assert asked == [True]
    assert kept(org) == [1, 3]


def test_a_dry_run_lists_and_leaves(org: Organization) -> None:
    versions(org, 5)
    before = state_of(org)
    said = retired(keep=1, days=90, dry_run=True)
    assert said == "acme: 1-4\n4 versions would be retired.\n"
    assert state_of(org) == before


def test_a_frozen_organisation_keeps_everything(org: Organization) -> None:
    versions(org, 3)
    versions(other := an_org("other"), 3)
    freeze(org, reason="an incident", by=BY)
    said = retired(keep=1, days=90)
    assert "acme: frozen, left as it is" in said
    assert (kept(org), kept(other)) == ([1, 2, 3], [3])


def test_one_organisation_can_be_named(org: Organization) -> None:
    versions(org, 2)
    versions(other := an_org("other"), 2)
    retired(org="other", keep=1, days=90)
    assert (kept(org), kept(other)) == ([1, 2], [2])
    with pytest.raises(CommandError, match="There is no organisation nowhere"):
        retired(org="nowhere")
    with pytest.raises(CommandError):
        call_command("retire_versions", "--days", "-1")


def test_many_are_retired_a_few_at_a_time(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    versions(org, 6)
    monkeypatch.setattr(services, "AT_ONCE", 2)
    monkeypatch.setattr("routing_admin.management.commands.retire_versions.AT_ONCE", 2)
    assert retired(keep=1, days=90).endswith("5 versions retired.\n")
    payloads = [
        payload_of(entry) or {} for entry in AuditEntry.objects.filter(action="versions.retired").order_by("seq")
    ]
    assert [payload["versions"] for payload in payloads] == [[[1, 2]], [[3, 4]], [[5, 5]]]


def test_when_it_cannot_be_recorded_nothing_is_retired(org: Organization) -> None:
    versions(org, 3)
    before = state_of(org)
    broken = RuntimeError("broken on purpose")
    with patch("routes.history.services.record", side_effect=broken), pytest.raises(RuntimeError):
        retired(keep=1, days=90)
    assert state_of(org) == before


def test_gateways_are_served_as_before(org: Organization) -> None:
    versions(org, 3)
    before = DjangoStore().fetch(str(org.pk))
    retired(keep=1, days=0)
    assert DjangoStore().fetch(str(org.pk)) == before
