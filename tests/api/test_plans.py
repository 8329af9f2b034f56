"""`plans/` and `audit/`: the loop of a plan over HTTP."""

import pytest

from plans.runs.models import PlanRun
from plans.runs.worker import run_next
from routes.orgs.models import Organization
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import a_plan, a_route, an_org, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db
PLAN = {
    "name": "save",
    "routes": [
        {
            "name": "short to mini",
            "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 1000},
            "then": {"target_model": "gpt-4o-mini"},
        }
    ],
    "window_start": "2026-05-01T00:00:00Z",
    "window_end": "2026-05-02T00:00:00Z",
    "iterations": 1000,
}


@pytest.fixture
def org(db: None) -> Organization:
    org = an_org(approval="plans")
    usual_prices()
    traffic(org)
    return org


def test_propose_project_approve_apply_revert(editor: Caller, approver: Caller, org: Organization) -> None:
    made = editor("post", "plans/", PLAN)
    assert made.status_code == 201
    id = made.json()["id"]
    assert editor("post", f"plans/{id}/project/").json()["state"] == "queued"
    run_next()
    plan = editor("get", f"plans/{id}/").json()
    assert plan["state"] == "projected"
    assert plan["result"]["aggregates"]["projected_savings_usd"] > 0
    problem(editor("post", f"plans/{id}/approve/"), 403, "forbidden")
    assert problem(approver("post", f"plans/{id}/apply/"), 409, "approval_required")
    assert approver("post", f"plans/{id}/approve/").json()["approved_by"] == "approver-of-acme, by key approver key"
    applied = approver("post", f"plans/{id}/apply/").json()
    assert (applied["state"], applied["version"], applied["applied_version"]) == ("applied", 1, 1)
    again = problem(approver("post", f"plans/{id}/apply/"), 409, "invalid_state")
    assert again["state"] == "applied"
    assert approver("post", f"plans/{id}/revert/").json()["version"] == 2

    log = editor("get", "audit/").json()["results"]
    steps = [entry["action"] for entry in log if entry["target"]["id"] == id]
    assert steps == [
        "plan.reverted", "plan.applied", "plan.approved", "plan.projected", "plan.queued", "plan.proposed",
    ]  # fmt: skip
    entry = next(entry for entry in log if entry["action"] == "plan.applied")
    assert (entry["version_before"], entry["version_after"]) == (0, 1)
    assert (entry["seq"], entry["leaf_hash"]) == (applied["receipt"]["seq"], applied["receipt"]["leaf_hash"])
    assert entry["actor"]["type"] == "api_key"
    assert entry["actor"]["on_behalf_of"] == str(approver.person.pk)
    assert [e["action"] for e in editor("get", "audit/?action=plan.applied").json()["results"]] == ["plan.applied"]


def test_the_list_of_plans_is_short_and_newest_first(editor: Caller) -> None:
    for name in ("one", "two"):
        editor("post", "plans/", {**PLAN, "name": name})
    listed = editor("get", "plans/").json()["results"]
    assert [plan["name"] for plan in listed] == ["two", "one"]
    assert "result" not in listed[0]


def test_a_plan_with_mistakes_names_them(editor: Caller) -> None:
    wrong = {**PLAN, "routes": [{"name": "x", "when": {"tokens": 1}, "then": {}}]}
    body = problem(editor("post", "plans/", wrong), 422, "invalid_plan")
    pointers = {error["pointer"] for error in body["errors"]}
    assert "/routes/0/when/tokens" in pointers
    unknown = problem(editor("post", "plans/", {**PLAN, "windowstart": 1}), 422, "invalid")
    assert unknown["errors"][0]["pointer"] == "/windowstart"
    backwards = {**PLAN, "window_end": "2026-04-01T00:00:00Z"}
    assert problem(editor("post", "plans/", backwards), 422, "invalid_plan")["errors"][0]["pointer"] == "/window_end"
    assert not PlanRun.objects.exists()


def test_a_stale_plan_is_a_409(approver: Caller, org: Organization) -> None:
    Organization.objects.update(approval="none")
    plan = projected(a_plan(org))
    a_route(org, "meanwhile")
    problem(approver("post", f"plans/{plan.pk}/apply/"), 409, "stale_plan")


def test_rejecting_needs_a_reason_and_is_final(approver: Caller, org: Organization) -> None:
    plan = projected(a_plan(org))
    problem(approver("post", f"plans/{plan.pk}/reject/", {"reason": " "}), 422, "invalid")
    assert (
        approver("post", f"plans/{plan.pk}/reject/", {"reason": "too risky"}).json()["rejected_reason"] == "too risky"
    )
    problem(approver("post", f"plans/{plan.pk}/approve/"), 409, "invalid_state")


def test_plans_of_others_are_unknown(editor: Caller) -> None:
    other = an_org("other")
    traffic(other)
    plan = a_plan(other)
    for step in ("", "project/", "approve/", "apply/", "revert/", "cancel/"):
        response = editor("post" if step else "get", f"plans/{plan.pk}/{step}")
        if response.status_code == 403:
            continue  # an editor may not even try these
        problem(response, 404, "not_found")
    assert PlanRun.objects.get(pk=plan.pk).state == "draft"
