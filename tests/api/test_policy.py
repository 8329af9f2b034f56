"""Over HTTP: a frozen organisation refuses every write, a looser approval takes two, direct changes become drafts."""

import json
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry
from plans.runs import services as plans
from plans.runs.models import PlanRun
from routes.orgs.keys import create_key
from routes.orgs.members import change_role, get_member
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.orgs.services import update_organization
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.api.test_who_may_what import by_step, example, filled, one_of_each, signed_in, table
from tests.build import BY, a_person, a_plan, a_route, an_org, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db
#: What goes on in a frozen organisation: questions, what happens there, and taking rights away.
GOES_ON = {
    ("POST", "freeze/"),
    ("POST", "unfreeze/"),
    ("DELETE", "members/<id>/"),
    ("DELETE", "api-keys/<id>/"),
    ("POST", "decide/"),
    ("POST", "examples/check/"),
    ("POST", "services/<id>/match/"),
    ("PUT", "gateways/<instance>/"),
    ("POST", "request-logs/"),
}
NEW = {"name": "new", "then": {"target_model": "gpt-4o-mini"}}


def test_every_write_of_a_frozen_organisation_is_refused_with_its_code(org: Organization) -> None:
    admin, viewer = Caller(org, "admin"), Caller(org, "viewer")
    staff = a_person("staff", is_superuser=True)
    create_key(None, name="of all", kind="gateway", by=staff)
    ids, ready = one_of_each(org), by_step(org)
    a_person("ada")  # whom an example makes a member
    freeze(org, reason="audit of prices", by=BY)
    before = AuditEntry.objects.count()
    asked = set()
    for rule in table():
        path = rule.path.removeprefix("orgs/<org>/")
        if rule.method == "GET" or not rule.needs or path == rule.path:
            continue
        step = rule.path.rstrip("/").rpartition("/")[2]
        url = filled(rule.path, {**ids, "plans": ready.get(step, ids["plans"])})
        if (rule.method, path) in GOES_ON:
            continue
        client = signed_in(staff) if rule.needs == ("installation",) else admin.client
        answer = client.generic(rule.method, url, **example(rule))
        told = problem(answer, 409, "organization_frozen")
        assert "frozen by test: audit of prices" in told["detail"]
        asked.add((rule.method, path))
    assert len(asked) > 20
    assert AuditEntry.objects.count() == before
    assert admin("delete", f"members/{viewer.person.pk}/").status_code == 200


def test_freezing_and_unfreezing_are_told_to_everybody_who_looks(admin: Caller, viewer: Caller) -> None:
    answer = admin("post", "freeze/", {"reason": "audit"}).json()
    assert (answer["changed"], answer["receipt"]["seq"] > 0) == (True, True)
    shown = viewer("get", "").json()
    assert shown["status"] == "frozen"
    assert (shown["freeze"]["reason"], shown["freeze"]["by"]) == ("audit", "admin-of-acme, by key admin key")
    assert admin("post", "freeze/", {"reason": "again"}).json()["changed"] is False
    assert admin("post", "unfreeze/").json()["organization"]["freeze"] is None
    problem(admin("post", "freeze/", {"reason": " "}), 422, "invalid")


def test_who_did_not_see_a_proposal_does_not_overwrite_it(admin: Caller, org: Organization) -> None:
    admin("patch", "", {"approval": "all"})
    seen = admin("get", "").headers["ETag"]
    admin("patch", "", {"approval": "plans"})
    problem(admin("patch", "", {"approval": "none"}, seen=seen), 412, "stale_organization")


def test_a_stale_if_match_of_a_step_is_a_412(admin: Caller) -> None:
    seen = admin("get", "").headers["ETag"]
    admin("patch", "", {"name": "New"})
    told = problem(admin("post", "freeze/", {"reason": "r"}, headers={"If-Match": seen}), 412, "stale_organization")
    assert told["current"]["name"] == "New"
    assert admin("get", "").json()["status"] == "active"


def test_a_looser_policy_is_proposed_by_one_admin_and_confirmed_by_another(admin: Caller, org: Organization) -> None:
    admin("patch", "", {"approval": "plans"})
    answer = admin("patch", "", {"approval": "none"}).json()["organization"]
    assert (answer["approval"], answer["approval_proposed"]["approval"]) == ("plans", "none")
    problem(admin("post", "approval/confirm/", {"approval": "none"}), 403, "own_proposal")
    second = Caller(org, "approver")
    problem(second("post", "approval/confirm/", {"approval": "none"}), 403, "forbidden")
    change_role(get_member(org, second.person.pk), role="admin", by=BY)
    made = create_key(org, name="second", role="admin", by=second.person)
    second.client = Client(headers={"Authorization": f"Bearer {made.text}"})
    problem(second("post", "approval/confirm/", {"approval": "all"}), 409, "no_proposal")
    confirmed = second("post", "approval/confirm/", {"approval": "none"}).json()
    assert (confirmed["organization"]["approval"], confirmed["organization"]["approval_proposed"]) == ("none", None)


# --- Every change is a plan -------------------------------------------------------------------------------------------


def test_a_direct_change_becomes_a_draft_that_the_refusal_names(editor: Caller, org: Organization) -> None:
    update_organization(org, approval="all", by=BY)
    for headers in (None, {"Idempotency-Key": "one"}, {"Idempotency-Key": "one"}):
        told = problem(editor("post", "routes/", NEW, headers=headers), 409, "approval_required")
    draft = PlanRun.objects.get(org=org)
    assert told["plan"] == {"id": str(draft.pk), "name": draft.name}
    assert editor("get", f"plans/{draft.pk}/").json()["proposed_routes"][0]["name"] == "new"


def test_a_dry_run_of_a_direct_change_is_refused_too_and_makes_no_draft(editor: Caller, org: Organization) -> None:
    update_organization(org, approval="all", by=BY)
    told = problem(editor("post", "routes/?dry_run=1", NEW), 409, "approval_required")
    assert "plan" not in told
    assert not PlanRun.objects.filter(org=org).exists()


# --- Second thoughts about plans --------------------------------------------------------------------------------------


@pytest.fixture
def with_traffic(org: Organization) -> Organization:
    usual_prices()
    traffic(org)
    return org


def test_a_draft_is_patched_with_the_etag_that_was_seen(editor: Caller, with_traffic: Organization) -> None:
    made = editor("post", "plans/", {"name": "a", "routes": [NEW], **_window(), "default": None})
    assert made.status_code == 201, made.content
    url, seen = f"plans/{made.json()['id']}/", made.headers["ETag"]
    assert made.json()["proposed_default"] is None
    problem(editor("patch", url, {"name": "b"}, seen=None), 428, "precondition_required")
    answer = editor("patch", url, {"name": "b", "routes": []}, seen=seen)
    assert (answer.json()["name"], answer.json()["proposed_routes"], answer.json()["changed"]) == ("b", [], True)
    told = problem(editor("patch", url, {"name": "c"}, seen=seen), 412, "stale_plan_edit")
    assert told["current"]["name"] == "b"
    assert editor("patch", url, {"name": "b"}, seen=answer.headers["ETag"]).json()["changed"] is False
    assert editor("get", url).headers["ETag"] == answer.headers["ETag"]
    problem(editor("patch", url, {"nmae": "c"}), 422, "invalid")
    problem(editor("patch", url, {"window_end": "2020-01-01T00:00:00Z"}), 422, "invalid_plan")
    problem(editor("post", f"{url}project/", headers={"If-Match": seen}), 412, "stale_plan_edit")


def test_what_a_step_names_is_compared_once_the_plan_is_held(approver: Caller, with_traffic: Organization) -> None:
    plan = projected(a_plan(with_traffic))
    url = f"plans/{plan.pk}/"
    seen, approve = approver("get", url).headers["ETag"], plans.approve

    def late(found: PlanRun, **who: Any) -> None:
        plans.edit(PlanRun.objects.get(pk=plan.pk), by=BY, note="Do not, see ticket 7.")
        approve(found, **who)

    with patch("plans.runs.services.approve", late):
        told = problem(approver("post", f"{url}approve/", headers={"If-Match": seen}), 412, "stale_plan_edit")
    assert (told["current"]["note"], told["current"]["state"]) == ("Do not, see ticket 7.", "projected")
    for any_will_do in ({"If-Match": "*"}, {}):
        PlanRun.objects.filter(pk=plan.pk).update(state="projected")
        with patch("plans.runs.services.approve", late):
            assert approver("post", f"{url}approve/", headers=any_will_do).json()["state"] == "approved"


def test_a_plan_is_renamed_while_the_worker_is_at_it(editor: Caller, with_traffic: Organization) -> None:
    plan = a_plan(with_traffic)
    plans.project(plan, by=BY)
    url = f"plans/{plan.pk}/"
    seen = editor("get", url).headers["ETag"]
    PlanRun.objects.filter(pk=plan.pk).update(state="running", rows_total=100, rows_done=7)
    assert editor("get", url, headers={"If-None-Match": seen}).json()["progress"]["rows_done"] == 7
    PlanRun.objects.filter(pk=plan.pk).update(rows_done=8)
    answer = editor("patch", url, {"name": "renamed"}, seen=seen)
    assert (answer.status_code, answer.json()["name"], answer.json()["progress"]["rows_done"]) == (200, "renamed", 8)
    assert editor("get", url, headers={"If-None-Match": answer.headers["ETag"]}).status_code == 304
    problem(editor("patch", url, {"name": "again"}, seen=seen), 412, "stale_plan_edit")


def test_a_stale_plan_is_told_with_the_difference_and_made_again(
    editor: Caller, approver: Caller, with_traffic: Organization
) -> None:
    row = a_route(with_traffic, "theirs")
    plan = projected(a_plan(with_traffic))
    editor("patch", f"routes/{row.uid}/", {"priority": 7})
    told = problem(approver("post", f"plans/{plan.pk}/apply/"), 409, "stale_plan")
    assert told["difference"] == [
        {
            "route_id": str(row.uid),
            "name": "theirs",
            "change": "changed",
            "fields": [{"path": "/priority", "was": 100, "is": 7}],
        }
    ]
    assert (told["touched"], told["current"]) == ([], 2)
    made = editor("post", f"plans/{plan.pk}/rebase/")
    assert (made.status_code, made.json()["state"], made.json()["base_version"]) == (201, "queued", 2)
    assert made.headers["Location"] == f"{editor.base}plans/{made.json()['id']}/"
    assert editor("get", f"plans/{plan.pk}/").json()["superseded_by"] == made.json()["id"]


def test_a_revert_is_forced_with_a_reason_and_only_so(editor: Caller, approver: Caller, with_traffic: Any) -> None:
    plan = projected(a_plan(with_traffic))
    plans.apply(plan, by=BY)
    (route,) = editor("get", "routes/").json()["results"]
    editor("patch", f"routes/{route['id']}/", {"priority": 7})
    url = f"plans/{plan.pk}/revert/"
    assert problem(approver("post", url), 409, "revert_conflict")["conflicts"] == ["short to mini"]
    for body in ({"force": True}, {"reason": "r"}, {"force": True, "reason": " "}):
        problem(approver("post", url, body), 422, "invalid")
    assert approver("post", url, {"force": True, "reason": "broken"}).json()["state"] == "reverted"


def test_a_plan_is_scheduled_moved_and_called_off(approver: Caller, with_traffic: Organization) -> None:
    plan = projected(a_plan(with_traffic))
    plans.approve(plan, by=a_person("bea", with_traffic, "approver"))
    url = f"plans/{plan.pk}/schedule/"
    at = (timezone.now() + timedelta(days=1)).replace(microsecond=0)
    answer = approver("post", url, {"apply_at": at.isoformat()}).json()
    assert (answer["state"], answer["scheduled_by"]) == ("scheduled", "approver-of-acme, by key approver key")
    assert answer["apply_at"] == at.strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    problem(approver("post", url, {"apply_at": "2020-01-01T00:00:00Z"}), 422, "invalid_time")
    problem(approver("post", url, {}), 422, "invalid")
    assert approver("post", url, {"apply_at": None}).json()["state"] == "approved"
    problem(approver("post", url, {"apply_at": None}), 409, "invalid_state")


def _window() -> dict[str, str]:
    return {"window_start": "2026-05-01T00:00:00Z", "window_end": "2026-05-02T00:00:00Z"}


def test_two_organisations_are_frozen_apart(org: Organization, editor: Caller) -> None:
    freeze(an_org("other"), reason="r", by=BY)
    assert editor("post", "routes/", NEW).status_code == 201
    assert json.loads(editor("get", "").content)["freeze"] is None
