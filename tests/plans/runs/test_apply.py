"""Applying and reverting: one transaction, once, and back to where it was."""

import json
import re
import threading
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connections
from django.test import Client

from audit.models import AuditEntry
from audit.verification import verify_org
from plans.runs import services as plans
from plans.runs.errors import ApprovalVoid, OwnPlan, RevertConflict, StalePlan
from plans.runs.models import PlanRun
from plans.runs.states import InvalidState
from routes import engine
from routes.document import document_of
from routes.errors import ApprovalRequired, NotFound
from routes.orgs.models import Organization, new_id
from routes.rules.models import Route
from routes.rules.services import delete_route, update_route
from tests.build import BY, a_person, a_plan, a_route, an_org, projected, state_of, traffic, usual_prices
from tests.paths import shared

pytestmark = pytest.mark.django_db


@pytest.fixture
def org(db: None) -> Organization:
    org = an_org()
    usual_prices()
    traffic(org)
    return org


def live(org: Organization) -> dict[str, Any]:
    return document_of(Organization.objects.get(pk=org.pk)).content


def test_apply_makes_exactly_what_was_replayed_live(org: Organization) -> None:
    kept = a_route(org, "kept", priority=50)
    plan = projected(a_plan(org))
    change, receipt = plans.apply(plan, by=BY)
    assert change.changed
    assert live(org)["routes"] == json.loads(PlanRun.objects.get(pk=plan.pk).result)["proposed_routes"]
    assert [route["name"] for route in live(org)["routes"]] == ["short to mini", "kept"]
    plan.refresh_from_db()
    assert (plan.state, plan.applied_version) == ("applied", 2)
    kept.refresh_from_db()
    assert kept.revision == 1, "a route that the plan does not touch keeps its revision"
    entry = AuditEntry.objects.get(org_id=org.pk, action="plan.applied")
    assert (entry.seq, entry.version_before, entry.version_after) == (receipt.seq, 1, 2)
    payload = json.loads(bytes(entry.payload))
    assert payload["plan_id"] == str(plan.pk)
    assert payload["sample_size"] == 40
    assert "short to mini" not in json.dumps(payload), "never the routes themselves"


def test_the_history_says_why_a_plan_was_applied_and_repeats_nothing(org: Organization) -> None:
    client = Client()
    client.force_login(a_person("vera", org, "viewer"))

    def notes() -> list[str]:
        page = client.get(f"/admin/o/{org.slug}/history/").content.decode()
        assert client.get(f"/admin/o/{org.slug}/").content.decode().count("<blockquote>") == page.count("<blockquote>")
        return re.findall("<blockquote>(.*?)</blockquote>", page)

    plan = projected(a_plan(org))
    plans.apply(plan, by=BY)
    assert notes() == []
    plan.refresh_from_db()
    plans.revert(plan, by=BY)
    assert notes() == []
    plans.apply(projected(a_plan(org, note="Support is short")), by=BY)
    assert notes() == ["Support is short"]


@pytest.mark.parametrize(
    "broken",
    [
        "routes.publish.record",
        "routes.publish.RouteSetVersion.objects.create",
        "routes.rules.content.new_row",
        "routes.rules.content.save_filled",
        "plans.runs.applying.move",
        "routes.publish.engine.Engine.from_document",
        "plans.runs.applying.canonical_bytes",
    ],
)
def test_when_any_step_of_apply_fails_nothing_happened(org: Organization, broken: str) -> None:
    row = a_route(org)
    changed = {**row.as_document(), "priority": 7}
    plan = projected(a_plan(org, routes=[changed, {"name": "new", "then": {"target_model": "gpt-4o-mini"}}]))
    before = state_of(org)
    with patch(broken, side_effect=RuntimeError("broken on purpose")), pytest.raises(RuntimeError):
        plans.apply(plan, by=BY)
    assert state_of(org) == before
    plans.apply(plan, by=BY)  # and nothing stands in the way afterwards


def test_when_the_version_bump_fails_nothing_happened(org: Organization) -> None:
    plan = projected(a_plan(org))
    before = state_of(org)
    with (
        patch("routes.publish.Organization.objects.filter", side_effect=RuntimeError("broken on purpose")),
        pytest.raises(RuntimeError),
    ):
        plans.apply(plan, by=BY)
    assert state_of(org) == before


@pytest.mark.django_db(transaction=True)
def test_of_several_applies_at_once_exactly_one_wins() -> None:
    org = an_org()
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    outcomes: list[str] = []
    barrier = threading.Barrier(6)

    def run() -> None:
        try:
            mine = plans.get_plan(org, plan.pk)
            barrier.wait()
            plans.apply(mine, by=BY)
            outcomes.append("applied")
        except InvalidState as error:
            outcomes.append(error.state)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Every loser says "applied" too: as the state it found.
    assert outcomes == ["applied"] * 6
    org.refresh_from_db()
    assert org.version == 1
    assert AuditEntry.objects.filter(org_id=org.pk, action="plan.applied").count() == 1


def test_a_plan_on_routes_that_changed_since_is_refused(org: Organization) -> None:
    plan = projected(a_plan(org))
    a_route(org, "meanwhile")
    before = state_of(org)
    with pytest.raises(StalePlan, match="version 0, now 1"):
        plans.apply(plan, by=BY)
    assert state_of(org) == before


def test_where_plans_need_approval_the_author_cannot_give_it_and_nobody_can_skip_it(org: Organization) -> None:
    Organization.objects.filter(pk=org.pk).update(approval="plans")
    author, other = a_person("edda", org, "approver"), a_person("arno", org, "approver")
    plan = projected(a_plan(org, by=author))
    with pytest.raises(ApprovalRequired):
        plans.apply(plan, by=author)
    with pytest.raises(OwnPlan):
        plans.approve(plan, by=author)
    plans.approve(plan, by=other)
    plans.apply(plan, by=author)
    assert PlanRun.objects.get(pk=plan.pk).approved_by_name == "arno"


def test_a_key_of_the_author_is_the_author(org: Organization) -> None:
    from routes.orgs.keys import create_key

    author = a_person("edda", org, "approver")
    key = create_key(org, name="k", role="approver", by=author).key
    plan = projected(a_plan(org, by=author))
    with pytest.raises(OwnPlan):
        plans.approve(plan, by=key)
    with pytest.raises(OwnPlan, match="approved by a person, or by a key that acts for one"):
        plans.approve(plan, by=BY)


def test_what_was_approved_is_what_is_applied(org: Organization) -> None:
    plan = projected(a_plan(org, by=a_person("edda", org, "editor")))
    plans.approve(plan, by=a_person("arno", org, "approver"))
    PlanRun.objects.filter(pk=plan.pk).update(mode="replace")
    before = state_of(org)
    with pytest.raises(ApprovalVoid):
        plans.apply(plan, by=BY)
    assert state_of(org) == before


def test_revert_restores_the_digest_as_a_new_version(org: Organization) -> None:
    a, b = a_route(org, "a", priority=10), a_route(org, "b", priority=10)
    a_route(org, "c", priority=10)
    digest = document_of(Organization.objects.get(pk=org.pk)).digest
    swapped = [{**a.as_document(), "name": "b"}, {**b.as_document(), "name": "a", "priority": 99}]
    plan = projected(a_plan(org, routes=[*swapped, {"name": "d", "then": {"target_model": "gpt-4o"}}], mode="replace"))
    plans.apply(plan, by=BY)
    assert [route["name"] for route in live(org)["routes"]] == ["d", "a", "b"]
    change, receipt = plans.revert(plan, by=BY)
    assert (change.version, change.digest) == (5, digest)
    assert AuditEntry.objects.get(org_id=org.pk, action="plan.reverted").seq == receipt.seq
    assert verify_org(org.pk).ok
    with pytest.raises(InvalidState):
        plans.revert(plan, by=BY)


def test_apply_sets_the_order_of_the_plan_and_revert_the_order_before(org: Organization) -> None:
    rows = [a_route(org, name) for name in ("a", "b", "c")]
    backwards = [row.as_document() for row in reversed(rows)]
    plan = projected(a_plan(org, routes=backwards, mode="replace"))
    plans.apply(plan, by=BY)
    assert [route["name"] for route in live(org)["routes"]] == ["c", "b", "a"]
    plans.revert(plan, by=BY)
    assert [route["name"] for route in live(org)["routes"]] == ["a", "b", "c"]


@pytest.mark.parametrize(
    "later",
    [{"priority": 1}, {"paused": True}, {"enabled": False}, {"when": {}}, {"then": {"target_model": "m"}}, None],
    ids=lambda later: "deleted" if later is None else f"another {next(iter(later))}",
)
def test_revert_is_refused_where_later_changes_touched_the_same_routes(
    org: Organization, later: dict[str, Any] | None
) -> None:
    plan = projected(a_plan(org))
    plans.apply(plan, by=BY)
    row = Route.objects.of(org).get()
    if later is None:
        delete_route(org, row.uid, by=BY)
    else:
        update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), **later}), by=BY)
    before = state_of(org)
    with pytest.raises(RevertConflict, match="short to mini"):
        plans.revert(plan, by=BY)
    assert state_of(org) == before


def test_revert_is_refused_where_a_new_route_took_the_name_of_a_removed_one(org: Organization) -> None:
    a_route(org, "gone")
    plan = projected(a_plan(org, mode="replace"))
    plans.apply(plan, by=BY)
    a_route(org, "gone")
    before = state_of(org)
    with pytest.raises(RevertConflict, match="gone"):
        plans.revert(plan, by=BY)
    assert state_of(org) == before


def test_revert_leaves_later_changes_of_other_routes_alone(org: Organization) -> None:
    plan = projected(a_plan(org))
    plans.apply(plan, by=BY)
    a_route(org, "later")
    plans.revert(plan, by=BY)
    assert [route["name"] for route in live(org)["routes"]] == ["later"]


def test_an_empty_proposal_is_applied_and_recorded_and_changes_no_route(org: Organization) -> None:
    a_route(org)
    plan = projected(a_plan(org, routes=[]))
    change, receipt = plans.apply(plan, by=BY)
    assert (change.changed, change.version) == (False, 1)
    plan.refresh_from_db()
    assert (plan.state, plan.applied_version) == ("applied", 1)
    assert AuditEntry.objects.get(org_id=org.pk, seq=receipt.seq).action == "plan.applied"
    back, _ = plans.revert(plan, by=BY)
    assert not back.changed


def test_the_shared_apply_cases(org: Organization) -> None:
    cases = json.loads(shared("cases/plans.json").read_text())["apply"]
    ran = 0
    for case in cases:
        given, expected = case["in"], case["out"]
        if given["row"] is None:
            with pytest.raises(NotFound) as missing:
                plans.get_plan(org, new_id())
            assert missing.value.code == expected["error"]
            ran += 1
            continue
        here = an_org(f"case-{case['id']}")
        traffic(here)
        proposed = [
            {
                "name": route["name"],
                "priority": route["priority"],
                "when": {"model_in": route["model_in"], "input_tokens_lt": route["input_tokens_lt"]},
                "then": {"target_model": route["target"]},
            }
            for route in given["result"]["routes"]
        ]
        plan = projected(a_plan(here, routes=proposed))
        if given["row"] == "reverted":
            plans.apply(plan, by=BY)
            plans.revert(plan, by=BY)
        before = state_of(here)
        seen = AuditEntry.objects.filter(org_id=here.pk).count()
        if expected.get("error") == "store":
            with (
                patch("routes.rules.content.new_row", side_effect=RuntimeError),
                pytest.raises(RuntimeError),
            ):
                plans.apply(plan, by=BY)
            assert state_of(here) == before
        elif "error" in expected:
            with pytest.raises(InvalidState) as refused:
                plans.apply(plan, by=BY)
            assert (refused.value.code, refused.value.state) == (expected["error"], expected["state"])
            assert state_of(here) == before
        else:
            plans.apply(plan, by=BY)
            plan.refresh_from_db()
            if "status" in expected:
                assert plan.state == expected["status"]
            assert plan.applied_at is not None
            assert Route.objects.of(here).count() == expected.get("routes_written", 1)
            if "written" in expected:
                row = Route.objects.of(here).get()
                assert str(row.uid) == plan.proposed_routes[0]["id"]
                assert (row.priority, row.conditions["model_in"]) == (100, expected["written"]["model_in"])
                assert row.target["target_model"] == expected["written"]["target"]
        new = AuditEntry.objects.filter(org_id=here.pk).order_by("seq")[seen:]
        assert [entry.action for entry in new] == expected["audit_events"]
        assert verify_org(here.pk).ok
        ran += 1
    assert ran == len(cases)
