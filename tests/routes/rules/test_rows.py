"""Rows and documents: what is written is read back to the byte, on either database."""

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings

from audit.models import AuditEntry
from plans.runs import services as plans
from plans.runs.errors import StalePlan
from routes import engine
from routes.document import default_of, document_of
from routes.engine import Action, Engine, NewRoute, RequestContext
from routes.engine.canonical import canonical_bytes
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.rules.services import create_route, delete_route, set_default, update_route
from routes.versions.models import RouteSetVersion
from tests.build import BY, a_plan, a_route, an_org, projected, state_of, traffic, usual_prices
from tests.routes.rules.generate import CANONICAL_ACTIONS, NEW_ROUTES

pytestmark = pytest.mark.django_db
REUSED = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
SMALL = Action("small")


def fresh(org: Organization) -> Organization:
    return Organization.objects.get(pk=org.pk)


@REUSED
@given(NEW_ROUTES)
def test_every_route_is_read_back_as_it_was_written_and_written_again_without_a_difference(
    org: Organization, new: dict[str, Any]
) -> None:
    row, change = create_route(org, NewRoute.from_dict(new), by=BY)
    route = {"id": str(row.uid), **new}
    stored = Route.objects.get(pk=row.pk)
    for document in (row.as_document(), stored.as_document(), document_of(org).content["routes"][0]):
        assert canonical_bytes(document) == canonical_bytes(route)
    assert Engine.from_document(document_of(org)).skipped == ()
    again, unchanged = update_route(org, row.uid, engine.Route.from_dict(route), by=BY)
    assert (unchanged.changed, unchanged.receipt, again.revision) == (False, None, change.version)
    delete_route(org, row.uid, by=BY)


@REUSED
@given(CANONICAL_ACTIONS)
def test_every_default_is_read_back_as_it_was_written(org: Organization, action: dict[str, Any]) -> None:
    set_default(org, None, by=BY)
    change = set_default(org, Action.from_dict(action), by=BY)
    assert change.changed
    assert canonical_bytes(default_of(fresh(org))) == canonical_bytes(action)
    assert document_of(org).content["default"] == action
    assert document_of(org).digest == change.digest
    assert set_default(org, Action.from_dict(action), by=BY).changed is False


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("paused", True),
        ("active_from", "2026-05-01T08:00:00.000001Z"),
        ("active_until", "2027-01-01T00:00:00.000000Z"),
        ("meta", {"owner": "team", "x-a": [1e-22, {"b": 0.1}]}),
    ],
)
def test_a_change_of_any_key_is_a_version_and_back_again(org: Organization, key: str, value: Any) -> None:
    row = a_route(org)
    plain = row.as_document()
    _, change = update_route(org, row.uid, engine.Route.from_dict({**plain, key: value}), by=BY)
    assert (change.changed, document_of(org).content["routes"][0][key]) == (True, value)
    _, back = update_route(org, row.uid, engine.Route.from_dict(plain), by=BY)
    assert (back.changed, document_of(org).content["routes"][0]) == (True, plain)


def test_a_new_default_is_a_version_a_document_and_one_audit_entry(org: Organization) -> None:
    change = set_default(org, SMALL, by=BY)
    assert (change.version, fresh(org).version) == (1, 1)
    entry = AuditEntry.objects.get(org_id=org.pk, action="default.updated")
    assert (entry.version_before, entry.version_after, entry.target_id) == (0, 1, str(org.pk))
    decision = Engine.from_document(document_of(org)).decide(RequestContext("big"))
    assert (decision.target_model, decision.reason, decision.version) == ("small", "default", 1)
    set_default(org, None, by=BY)
    assert document_of(org).content["default"] is None
    assert RouteSetVersion.objects.filter(org=org, cause="default.updated").count() == 2


@pytest.mark.parametrize("broken", ["routes.publish.record", "routes.publish.RouteSetVersion.objects.create"])
def test_when_setting_the_default_fails_nothing_happened(org: Organization, broken: str) -> None:
    before = state_of(org)
    with patch(broken, side_effect=RuntimeError("broken on purpose")), pytest.raises(RuntimeError):
        set_default(org, SMALL, by=BY)
    assert state_of(org) == before


def test_a_default_that_nobody_would_load_is_refused(org: Organization) -> None:
    before = state_of(org)
    with pytest.raises(engine.errors.InvalidRoute):
        set_default(org, Action(), by=BY)
    assert state_of(org) == before
    Organization.objects.filter(pk=org.pk).update(default_action={"unheard_of": 1})
    with pytest.raises(engine.errors.DocumentRejected, match="default"):
        a_route(org)
    set_default(org, SMALL, by=BY)  # which mends it
    a_route(org)


def test_other_changes_keep_the_default_and_other_organisations_have_their_own(org: Organization) -> None:
    set_default(org, SMALL, by=BY)
    row = a_route(org)
    assert document_of(org).content["default"] == {"target_model": "small"}
    delete_route(org, row.uid, by=BY)
    other = an_org("other")
    a_route(other)
    assert document_of(other).content["default"] is None


def test_plans_replace_routes_and_keep_the_default(org: Organization) -> None:
    usual_prices()
    traffic(org)
    set_default(org, Action("gpt-4o-mini"), by=BY)
    kept = {"name": "stay", "when": {"input_tokens_gt": 2000}, "then": {"target_model": "gpt-4o"}}
    plan = projected(a_plan(org, routes=[kept], mode="replace"))
    assert plan.outcome is not None
    totals = plan.outcome["aggregates"]
    assert totals["requests_rerouted"] == 20, "on both sides the default takes the other half"
    change, _ = plans.apply(plan, by=BY)
    assert document_of(fresh(org)).content["default"] == {"target_model": "gpt-4o-mini"}
    assert (change.changed, plan.base_digest != change.digest) == (True, True)
    plans.revert(plans.get_plan(org, plan.pk), by=BY)
    assert document_of(fresh(org)).content == {"default": {"target_model": "gpt-4o-mini"}, "routes": [], "services": []}


def test_a_new_default_makes_a_plan_stale(org: Organization) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    set_default(org, SMALL, by=BY)
    with pytest.raises(StalePlan):
        plans.apply(plan, by=BY)


def test_a_plan_that_changes_every_key_is_applied_and_reverted(org: Organization) -> None:
    usual_prices()
    traffic(org)
    row = a_route(org, active_until=(datetime(2026, 5, 2, tzinfo=UTC) + timedelta(microseconds=1)).isoformat())
    was = row.as_document()
    proposed = {
        **{key: value for key, value in was.items() if key != "active_until"},
        "paused": True,
        "active_from": "2026-05-01T00:00:00.000000Z",
        "when": {"any_of": [{"tag_equals": "a"}, {"not": {"numbers": {"x": {"gt": 0.5}}}}]},
        "then": {"split": [{"target_model": "a", "weight": 1}, {"target_model": "b", "weight": 2}]},
        "meta": {"owner": "team", "x-large": [9007199254740991, 1e-300]},
    }
    plan = projected(a_plan(org, routes=[proposed]))
    plans.apply(plan, by=BY)
    row.refresh_from_db()
    assert row.as_document() == engine.Route.from_dict(proposed).to_dict()
    plans.revert(plans.get_plan(org, plan.pk), by=BY)
    row.refresh_from_db()
    assert row.as_document() == was


def test_a_plan_that_changes_no_route_makes_no_version_beside_a_default_either(org: Organization) -> None:
    usual_prices()
    traffic(org)
    set_default(org, SMALL, by=BY)
    plan = projected(a_plan(org, routes=[]))
    assert plans.apply(plan, by=BY)[0].changed is False
    plan.refresh_from_db()
    assert (plan.applied_version, fresh(org).version) == (1, 1)
    plans.revert(plan, by=BY)
    plan.refresh_from_db()
    assert (plan.reverted_version, fresh(org).version) == (1, 1)
