"""`plans/` and `audit/`: the loop of a plan over HTTP."""

import json

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
    assert made["Location"] == f"{editor.base}plans/{id}/"
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


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_an_empty_list_of_routes_is_a_proposal_and_an_object_is_none(editor: Caller, mode: str) -> None:
    made = editor("post", "plans/", {**PLAN, "mode": mode, "routes": []})
    assert (made.status_code, made.json()["proposed_routes"]) == (201, [])
    (error,) = problem(editor("post", "plans/", {**PLAN, "mode": mode, "routes": {}}), 422, "invalid")["errors"]
    assert (error["pointer"], error["code"]) == ("/routes", "not_a_list")


def test_a_stale_plan_is_a_409(approver: Caller, org: Organization) -> None:
    Organization.objects.update(approval="none")
    plan = projected(a_plan(org))
    a_route(org, "meanwhile")
    problem(approver("post", f"plans/{plan.pk}/apply/"), 409, "stale_plan")


@pytest.mark.parametrize(("step", "state", "name"), [("rebase", "queued", "save"), ("copy", "draft", "Copy of save")])
def test_another_plan_is_made_of_one(editor: Caller, org: Organization, step: str, state: str, name: str) -> None:
    plan = projected(a_plan(org, name="save"))
    made = editor("post", f"plans/{plan.pk}/{step}/")
    told = made.json()
    assert (made.status_code, told["state"], told["name"]) == (201, state, name)
    assert made["Location"] == f"{editor.base}plans/{told['id']}/"
    again = editor("get", f"plans/{told['id']}/")
    assert (again["ETag"], again.json()["proposed_routes"]) == (made["ETag"], plan.proposed_routes)


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
    for step in ("", "project/", "approve/", "apply/", "revert/", "cancel/", "rebase/", "copy/"):
        response = editor("post" if step else "get", f"plans/{plan.pk}/{step}")
        if response.status_code == 403:
            continue  # an editor may not even try these
        problem(response, 404, "not_found")
    assert PlanRun.objects.get(pk=plan.pk).state == "draft"


CACHES = {
    "l1_ttl_seconds": 90.5,
    "l2_ttl_seconds": 600,
    "l2_threshold_sweep": [0.8, 0.9],
    "l2_priced_threshold": 0.9,
    "interval_method": "cluster_bootstrap",
}


def test_the_caches_and_the_method_that_a_plan_supposes_are_those_of_its_result(editor: Caller) -> None:
    plan = editor("post", "plans/", {**PLAN, **CACHES}).json()
    assert {name: plan[name] for name in CACHES} == CACHES
    editor("post", f"plans/{plan['id']}/project/")
    run_next()
    result = editor("get", f"plans/{plan['id']}/").json()["result"]
    assert result["interval_method"] == "cluster_bootstrap"
    assert result["provenance"]["caches"] == {name: CACHES[name] for name in CACHES if name != "interval_method"}
    assert result["aggregates"]["cache_hit_rate_projected"] == 0


def test_a_plan_that_says_nothing_of_caches_supposes_none(editor: Caller) -> None:
    plan = editor("post", "plans/", PLAN).json()
    assert (plan["l1_ttl_seconds"], plan["l2_ttl_seconds"], plan["l2_priced_threshold"]) == (None, None, None)
    assert plan["l2_threshold_sweep"] == [0.85, 0.9, 0.92, 0.95]
    assert plan["interval_method"] == "random_subsets"


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"l1_ttl_seconds": 0}, "/l1_ttl_seconds"),
        ({"l1_ttl_seconds": -1}, "/l1_ttl_seconds"),
        ({"l2_ttl_seconds": 1e12}, "/l2_ttl_seconds"),
        ({"l2_threshold_sweep": []}, "/l2_threshold_sweep"),
        ({"l2_threshold_sweep": [0.9, 0.9]}, "/l2_threshold_sweep"),
        ({"l2_threshold_sweep": [1.5]}, "/l2_threshold_sweep"),
        ({"l2_threshold_sweep": ["x"]}, "/l2_threshold_sweep/0"),
        ({"l2_ttl_seconds": 60, "l2_priced_threshold": 0.5}, "/l2_priced_threshold"),
        ({"l2_priced_threshold": 0.9}, "/l2_priced_threshold"),
        ({"interval_method": "guess"}, "/interval_method"),
        ({"iterations": 99}, "/iterations"),
    ],
)
def test_settings_of_a_replay_that_cannot_be_are_refused_at_their_place(
    editor: Caller, changes: dict[str, object], pointer: str
) -> None:
    answer = editor("post", "plans/", {**PLAN, **changes})
    assert answer.status_code == 422
    assert pointer in [error["pointer"].lstrip("#") for error in answer.json()["errors"]]
    assert not PlanRun.objects.exists()


@pytest.mark.parametrize("field", ["seed", "iterations", "l1_ttl_seconds", "l2_ttl_seconds", "l2_priced_threshold"])
@pytest.mark.parametrize(
    "value", [True, False, "1_0", " 700 ", "700", [700], {"a": 1}, 10**400], ids=lambda value: str(value)[:9]
)
def test_a_number_of_a_plan_is_a_number_and_nothing_that_reads_like_one(
    editor: Caller, field: str, value: object
) -> None:
    answer = editor("post", "plans/", {**PLAN, field: value})
    error = problem(answer, 422, answer.json()["code"])["errors"][0]
    expected = {"out_of_range", "unsupported_value"} if value == 10**400 else {"wrong_type"}
    assert error["pointer"] == f"/{field}"
    assert error["code"] in expected
    assert not PlanRun.objects.exists()


@pytest.mark.parametrize("value", [1.5, 1000.0, None])
def test_a_number_that_has_to_be_whole_is_written_so(editor: Caller, value: object) -> None:
    for field in ("seed", "iterations"):
        error = problem(editor("post", "plans/", {**PLAN, field: value}), 422, "invalid")["errors"][0]
        assert error["pointer"] == f"/{field}"


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_json_number_is_refused_with_the_body(editor: Caller, text: str) -> None:
    body = json.dumps({**PLAN, "l1_ttl_seconds": "HERE"}).replace('"HERE"', text)
    problem(editor("post", "plans/", body), 400, "malformed_body")


def test_thresholds_are_kept_in_one_order(editor: Caller) -> None:
    plan = editor("post", "plans/", {**PLAN, "l2_ttl_seconds": 60, "l2_threshold_sweep": [0.95, 1, 0.8]}).json()
    assert plan["l2_threshold_sweep"] == [0.8, 0.95, 1]
    answer = editor("post", "plans/", {**PLAN, "l2_threshold_sweep": [1, 0.9, 1.0]})
    assert problem(answer, 422, "invalid_plan")["errors"][0]["pointer"] == "/l2_threshold_sweep"
    answer = editor("post", "plans/", {**PLAN, "l2_threshold_sweep": [0.9, True]})
    assert problem(answer, 422, "invalid")["errors"][0]["pointer"] == "/l2_threshold_sweep/1"


def test_progress_tells_how_far_a_running_plan_is(editor: Caller, org: Organization) -> None:
    plan = a_plan(org)
    running = {"state": "running", "phase": "projection", "rows_done": 25, "rows_total": 100, "rows_per_second": 50}
    PlanRun.objects.filter(pk=plan.pk).update(**running)
    progress = editor("get", f"plans/{plan.pk}/").json()["progress"]
    assert progress == {
        "phase": "projection", "rows_done": 25, "rows_total": 100, "rows_per_second": 50, "seconds_left": 2,
    }  # fmt: skip
