"""Second thoughts about a plan: edited, voided, made again on newer routes, applied at a time, reverted by force."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import call_command
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.log.entry import time_text
from audit.models import AuditEntry
from audit.services import payload_of
from plans.runs import services as plans
from plans.runs.applying import LATEST
from plans.runs.errors import (
    ApprovalVoid,
    InvalidPlan,
    InvalidTime,
    NotAllowed,
    OwnPlan,
    PlanChanged,
    RevertConflict,
    StalePlan,
)
from plans.runs.models import PlanRun
from plans.runs.states import InvalidState
from plans.runs.worker import run_next
from routes import engine
from routes.document import document_of
from routes.errors import ApprovalRequired, OrganizationFrozen
from routes.orgs.members import change_role
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.orgs.services import update_organization
from routes.publish import publish
from routes.rules.bulk import reorder_routes
from routes.rules.models import Route
from routes.rules.services import delete_route, set_default, update_route
from tests.build import BY, a_person, a_plan, a_route, an_org, projected, state_of, traffic, usual_prices

pytestmark = pytest.mark.django_db


@pytest.fixture
def org(db: None) -> Organization:
    org = an_org()
    usual_prices()
    traffic(org)
    return org


@pytest.fixture
def arno(org: Organization) -> Any:
    return a_person("arno", org, "approver")


def approved(org: Organization, by: Any, **keys: Any) -> PlanRun:
    plan = projected(a_plan(org, **keys))
    plans.approve(plan, by=by)
    return plan


def due(org: Organization, by: Any, **keys: Any) -> PlanRun:
    """A plan whose time has just come."""
    plan = approved(org, by, **keys)
    plans.schedule(plan, timezone.now() + timedelta(minutes=5), by=by)
    PlanRun.objects.filter(pk=plan.pk).update(apply_at=timezone.now() - timedelta(seconds=1))
    plan.refresh_from_db()
    return plan


def live(org: Organization) -> dict[str, Any]:
    return document_of(Organization.objects.get(pk=org.pk)).content


def last_entry(org: Organization) -> tuple[str, dict[str, Any]]:
    row = AuditEntry.objects.of(org.pk).order_by("-seq")[0]
    return row.action, payload_of(row) or {}


# --- Editing ----------------------------------------------------------------------------------------------------------


def test_a_draft_is_edited_whole_and_stands_on_todays_routes_then(org: Organization) -> None:
    plan = a_plan(org)
    a_route(org, "meanwhile")
    route = {"name": "other", "then": {"target_model": "gpt-4o-mini"}}
    assert plans.edit(plan, by=BY, name="new", routes=[route], mode="replace", seed=7)
    plan.refresh_from_db()
    assert (plan.name, plan.mode, plan.seed, plan.base_version) == ("new", "replace", 7, 1)
    assert [route["name"] for route in plan.proposed_routes] == ["other"]
    assert last_entry(org) == (
        "plan.edited",
        {"fields": ["name", "mode", "proposed", "seed", "base_version", "base_digest"], "actor_name": "test"},
    )


def test_an_edit_that_changes_nothing_is_none(org: Organization) -> None:
    plan = a_plan(org)
    before = state_of(org)
    assert not plans.edit(plan, by=BY, name=plan.name, window_start=plan.window_start)
    assert state_of(org) == before


def test_what_is_no_draft_any_more_keeps_its_question_and_may_be_renamed(org: Organization) -> None:
    plan = projected(a_plan(org))
    with pytest.raises(InvalidState):
        plans.edit(plan, by=BY, routes=[])
    assert plans.edit(plan, by=BY, name="renamed", note="why")
    assert PlanRun.objects.get(pk=plan.pk).name == "renamed"
    with pytest.raises(InvalidPlan, match="Give the plan a name"):
        plans.edit(plan, by=BY, name=" ")
    plans.apply(plan, by=BY)
    with pytest.raises(InvalidState):
        plans.edit(plan, by=BY, name="too late")


@pytest.mark.parametrize("state", ["approved", "scheduled"])
def test_any_edit_voids_an_approval(org: Organization, arno: Any, state: str) -> None:
    plan = approved(org, arno)
    if state == "scheduled":
        plans.schedule(plan, timezone.now() + timedelta(days=1), by=arno)
    plans.edit(plan, by=BY, note="a word more")
    plan.refresh_from_db()
    assert (plan.state, plan.approved_by, plan.approved_at, plan.apply_at) == ("projected", "", None, None)
    actions = AuditEntry.objects.of(org.pk).order_by("-seq").values_list("action", flat=True)
    assert list(actions[:2]) == ["plan.edited", "plan.approval_voided"]


def test_who_edited_what_a_draft_asks_does_not_approve_it_and_who_renamed_it_may(org: Organization, arno: Any) -> None:
    bea = a_person("bea", org, "approver")
    plan = a_plan(org)
    plans.edit(plan, by=arno, seed=9)
    plans.edit(plan, by=bea, name="renamed")
    projected(plan)
    with pytest.raises(OwnPlan, match="You edited this plan"):
        plans.approve(plan, by=arno)
    plans.approve(plan, by=bea)


def test_a_new_name_leaves_a_draft_on_the_routes_it_was_made_on(org: Organization, arno: Any) -> None:
    """Else a stale draft that replaces all would take back what came since, and nobody would have said so."""
    kept = a_route(org, "kept")
    plan = a_plan(org, by=arno, mode="replace", routes=[kept.as_document()])
    hotfix = a_route(org, "hotfix")
    same = {"mode": "replace", "routes": plan.proposed_routes, "default": None, "window_start": plan.window_start}
    for name, fields in (("named", {}), ("named again", same)):
        plans.edit(plan, by=a_person(f"bea, {name}", org, "approver"), name=name, note="why", **fields)
        plan.refresh_from_db()
        assert (plan.base_version, plan.edited_by, last_entry(org)[1]["fields"][0]) == (1, {}, "name")
    with pytest.raises(StalePlan):
        plans.apply(projected(plan), by=BY)
    assert [route["name"] for route in live(org)["routes"]] == ["kept", hotfix.name]


def test_who_moves_a_draft_to_todays_routes_edited_it(org: Organization, arno: Any) -> None:
    plan = a_plan(org)
    a_route(org, "meanwhile")
    plans.edit(plan, by=arno, iterations=500)
    assert (plan.base_version, plan.edited_by) == (1, {str(arno.pk): "arno"})


def test_an_edit_of_what_somebody_else_edited_is_refused_and_says_what_there_is(org: Organization) -> None:
    plan = a_plan(org)
    seen = plans.tag(plan)
    plans.edit(PlanRun.objects.get(pk=plan.pk), by=BY, name="theirs")
    with pytest.raises(PlanChanged) as caught:
        plans.edit(plan, by=BY, name="mine", seen=seen)
    assert caught.value.plan.name == "theirs"


#: What is done with a plan, by the door through which it gets its lock.
HELD: list[tuple[str, str, Callable[[PlanRun, Any, str], Any]]] = [
    ("draft", "proposals.locked", lambda plan, by, seen: plans.edit(plan, by=by, name="n", seen=seen)),
    ("draft", "steps.locked", lambda plan, by, seen: plans.project(plan, by=by, seen=seen)),
    ("draft", "steps.locked", lambda plan, by, seen: plans.cancel(plan, by=by, seen=seen)),
    ("draft", "proposals.locked", lambda plan, by, seen: plans.rebase(plan, by=by, seen=seen)),
    ("projected", "steps.locked", lambda plan, by, seen: plans.approve(plan, by=by, seen=seen)),
    ("projected", "steps.locked", lambda plan, by, seen: plans.reject(plan, reason="r", by=by, seen=seen)),
    ("projected", "applying.publish", lambda plan, by, seen: plans.apply(plan, by=by, seen=seen)),
    (
        "approved",
        "applying.locked",
        lambda plan, by, seen: plans.schedule(plan, timezone.now() + timedelta(hours=1), by=by, seen=seen),
    ),
    ("applied", "applying.publish", lambda plan, by, seen: plans.revert(plan, by=by, seen=seen)),
]


@pytest.mark.parametrize(("state", "lock", "act"), HELD)
def test_what_somebody_saw_is_compared_once_the_plan_is_held(
    org: Organization, arno: Any, state: str, lock: str, act: Callable[[PlanRun, Any, str], Any]
) -> None:
    plan = a_plan(org) if state == "draft" else approved(org, arno) if state == "approved" else projected(a_plan(org))
    if state == "applied":
        plans.apply(plan, by=BY)
        plan.refresh_from_db()
    seen, take = plans.tag(plan), getattr(import_module(f"plans.runs.{lock.split('.')[0]}"), lock.split(".")[1])

    def somebody_writes() -> None:
        PlanRun.objects.filter(pk=plan.pk).update(note="Do not, see ticket 7.")

    def late(*args: Any, **keys: Any) -> Any:
        somebody_writes()
        return take(*args, **keys)

    before = state_of(org)
    with patch(f"plans.runs.{lock}", late), pytest.raises(PlanChanged) as caught:
        act(plan, arno, seen)
    assert caught.value.plan.note == "Do not, see ticket 7."
    PlanRun.objects.filter(pk=plan.pk).update(note="")
    assert state_of(org) == before
    somebody_writes()
    act(plan, arno, plans.tag(PlanRun.objects.get(pk=plan.pk)))


def test_how_far_a_replay_is_is_no_other_plan_but_another_picture_of_it(org: Organization) -> None:
    plan = a_plan(org)
    plans.project(plan, by=BY)
    tags, etags = {plans.tag(plan)}, {plans.etag(plan)}
    for progress in (
        {"state": "running"},
        {"rows_total": 9},
        {"rows_done": 5},
        {"phase": "result"},
        {"rows_per_second": 3},
    ):
        PlanRun.objects.filter(pk=plan.pk).update(**progress)
        plan.refresh_from_db()
        tags.add(plans.tag(plan))
        etags.add(plans.etag(plan))
    assert (len(tags), len(etags)) == (1, 6)
    for decided in ({"name": "n"}, {"state": "cancelled"}, {"superseded_by": "x"}, {"approved_by_name": "y"}):
        PlanRun.objects.filter(pk=plan.pk).update(**decided)
        plan.refresh_from_db()
        tags.add(plans.tag(plan))
    assert len(tags) == 5


def test_the_etag_is_the_same_however_the_plan_was_read(org: Organization) -> None:
    plan = a_plan(org, l1_ttl_seconds=60, window_start=datetime.fromisoformat("2026-05-01T02:00:00+02:00"))
    assert plans.etag(plan) == plans.etag(plans.get_plan(org, plan.pk)) == plans.etag(PlanRun.objects.get(pk=plan.pk))


def test_a_plan_that_is_not_what_was_approved_can_be_approved_anew(org: Organization, arno: Any) -> None:
    plan = approved(org, arno)
    PlanRun.objects.filter(pk=plan.pk).update(mode="replace")
    plans.approve(plan, by=arno)
    change, _ = plans.apply(plan, by=BY)
    assert change.changed


def test_a_plan_that_is_not_what_was_approved_gets_no_time_and_no_other_one(org: Organization, arno: Any) -> None:
    one, other = approved(org, arno), approved(org, arno)
    plans.schedule(other, timezone.now() + timedelta(hours=1), by=arno)
    PlanRun.objects.filter(pk__in=[one.pk, other.pk]).update(mode="replace")
    before = state_of(org)
    for plan in (one, other):
        with pytest.raises(ApprovalVoid):
            plans.schedule(plan, timezone.now() + timedelta(hours=2), by=arno)
        assert state_of(org) == before
    plans.schedule(other, None, by=arno)


# --- The rest of the requests -----------------------------------------------------------------------------------------


def test_a_plan_may_change_what_happens_to_the_rest_and_revert_brings_that_back(org: Organization) -> None:
    set_default(org, engine.Action(target_model="gpt-4o"), by=BY)
    digest = document_of(org).digest
    plan = projected(a_plan(org, routes=[], default=({"target_model": "gpt-4o-mini"},)))
    aggregates = (plan.outcome or {})["aggregates"]
    assert aggregates["projected_savings_usd"] > 0, "the replay knows of it"
    plans.apply(plan, by=BY)
    assert live(org)["default"] == {"target_model": "gpt-4o-mini"}
    change, _ = plans.revert(plan, by=BY)
    assert (live(org)["default"], change.digest) == ({"target_model": "gpt-4o"}, digest)


def test_a_plan_that_leaves_requests_as_they_are_is_not_one_that_says_nothing_of_them(org: Organization) -> None:
    set_default(org, engine.Action(target_model="gpt-4o-mini"), by=BY)
    silent, leaves = projected(a_plan(org, routes=[])), projected(a_plan(org, routes=[], default=(None,)))
    plans.apply(silent, by=BY)
    assert live(org)["default"] == {"target_model": "gpt-4o-mini"}
    plans.apply(leaves, by=BY)
    assert live(org)["default"] is None


def test_a_default_that_the_engine_does_not_read_is_told_at_its_place(org: Organization) -> None:
    with pytest.raises(InvalidPlan) as caught:
        a_plan(org, default=({"target_model": 7},))
    assert caught.value.issues[0]["path"] == "default.target_model"


def test_a_default_that_changed_since_is_a_conflict_for_revert(org: Organization) -> None:
    plan = projected(a_plan(org, routes=[], default=({"target_model": "gpt-4o-mini"},)))
    plans.apply(plan, by=BY)
    set_default(org, None, by=BY)
    with pytest.raises(RevertConflict) as caught:
        plans.revert(plan, by=BY)
    assert caught.value.names == ["what happens to requests that no route takes"]


# --- Newer routes -----------------------------------------------------------------------------------------------------


def test_a_stale_plan_says_what_changed_and_what_of_it_it_changes_too(org: Organization) -> None:
    row, other = a_route(org, "both"), a_route(org, "theirs")
    plan = projected(a_plan(org, routes=[{**row.as_document(), "priority": 7}]))
    for it in (row, other):
        update_route(org, it.uid, engine.Route.from_dict({**it.as_document(), "priority": 50}), by=BY)
    with pytest.raises(StalePlan) as caught:
        plans.apply(plan, by=BY)
    error = caught.value
    assert [(found["name"], found["change"], found["fields"][0]) for found in error.difference] == [
        (name, "changed", {"path": "/priority", "was": 100, "is": 50}) for name in ("both", "theirs")
    ]
    assert (error.touched, error.version) == (["both"], 4)
    assert "“both” was changed, “theirs” was changed. This plan changes both too." in str(error)


@pytest.mark.parametrize("state", ["draft", "projected"])
def test_who_makes_a_plan_again_locks_it_before_the_log(org: Organization, state: str) -> None:
    plan = a_plan(org) if state == "draft" else projected(a_plan(org))
    with CaptureQueriesContext(connection) as asked:
        plans.rebase(plan, by=BY)
    tables = [found[1] for query in asked if (found := re.match(r'UPDATE "(\w+)"', query["sql"]))]
    assert tables.index("audit_audithead") > max(n for n, table in enumerate(tables) if table == "plans_planrun")


@pytest.mark.parametrize("state", ["projected", "approved", "scheduled"])
def test_a_plan_is_made_again_on_todays_routes_in_one_step(org: Organization, arno: Any, state: str) -> None:
    plan = projected(a_plan(org, note="n", seed=3, default=(None,), l1_ttl_seconds=60))
    if state != "projected":
        plans.approve(plan, by=arno)
    if state == "scheduled":
        plans.schedule(plan, timezone.now() + timedelta(days=1), by=arno)
    a_route(org, "meanwhile")
    new = plans.rebase(plan, by=arno)
    plan.refresh_from_db()
    assert (plan.state, plan.superseded_by, plan.apply_at) == ("superseded", str(new.pk), None)
    assert (new.state, new.base_version, new.approved_by) == ("queued", 1, "")
    asked = ("name", "note", "mode", "proposed", "proposed_default", "seed", "l1_ttl_seconds", "window_end")
    assert [getattr(new, name) for name in asked] == [getattr(plan, name) for name in asked]
    assert new.created_by == str(arno.pk)
    run_next()
    plans.apply(PlanRun.objects.get(pk=new.pk), by=BY)
    assert [route["name"] for route in live(org)["routes"]] == ["meanwhile", "short to mini"]


def test_who_made_or_edited_a_plan_does_not_approve_it_once_it_is_made_again_by_somebody_else(
    org: Organization, arno: Any
) -> None:
    author, editor = a_person("edda", org, "approver"), a_person("emil", org, "editor")
    draft = a_plan(org, by=author)
    plans.edit(draft, by=arno, seed=5)
    new = plans.rebase(projected(draft), by=editor)
    run_next()
    new.refresh_from_db()
    for person in (author, arno, editor):
        with pytest.raises(OwnPlan):
            plans.approve(new, by=person)
    plans.approve(new, by=a_person("bea", org, "approver"))


def test_a_plan_that_replaces_all_says_that_it_would_take_back_what_came_since(org: Organization) -> None:
    row = a_route(org, "kept")
    plan = projected(a_plan(org, routes=[row.as_document()], mode="replace"))
    a_route(org, "theirs")
    with pytest.raises(StalePlan, match="This plan changes theirs too") as caught:
        plans.apply(plan, by=BY)
    assert caught.value.touched == ["theirs"]


def test_a_draft_that_is_made_again_is_given_up_and_what_ended_stays(org: Organization) -> None:
    draft, rejected = a_plan(org), projected(a_plan(org))
    plans.reject(rejected, reason="no", by=BY)
    plans.rebase(draft, by=BY)
    plans.rebase(rejected, by=BY)
    assert PlanRun.objects.get(pk=draft.pk).state == "cancelled"
    assert PlanRun.objects.get(pk=rejected.pk).state == "rejected"


@pytest.mark.parametrize("state", ["draft", "queued", "projected", "rejected", "applied", "reverted"])
def test_a_plan_in_any_state_is_copied_to_be_changed(org: Organization, arno: Any, state: str) -> None:
    """It asks the same on what is live now; nothing happens to the plan, and the entry says of which it is the copy."""
    plan = a_plan(org, note="n", seed=3, default=(None,), l1_ttl_seconds=60)
    if state == "queued":
        plans.project(plan, by=BY)
    elif state != "draft":
        projected(plan)
    if state == "rejected":
        plans.reject(plan, reason="no", by=BY)
    if state in ("applied", "reverted"):
        plans.apply(plan, by=BY)
    if state == "reverted":
        plans.revert(plan, by=BY)
    a_route(org, "meanwhile")
    plan.refresh_from_db()
    before = plans.etag(plan)
    new = plans.copy(plan, by=arno)
    plan.refresh_from_db()
    assert (plan.state, plans.etag(plan)) == (state, before)
    org.refresh_from_db()
    assert (new.state, new.name, new.base_version) == ("draft", f"Copy of {plan.name}", org.version)
    asked = ("note", "mode", "proposed", "proposed_default", "seed", "l1_ttl_seconds", "window_start", "window_end")
    assert [getattr(new, name) for name in asked] == [getattr(plan, name) for name in asked]
    entry = AuditEntry.objects.filter(org_id=org.pk, action="plan.proposed").latest("seq")
    payload = json.loads(bytes(entry.payload))
    assert (entry.target_id, payload["copied_from"], entry.actor_id) == (str(new.pk), str(plan.pk), str(arno.pk))


def test_whose_plan_was_copied_does_not_approve_the_copy(org: Organization, arno: Any) -> None:
    author = a_person("edda", org, "approver")
    new = projected(plans.copy(a_plan(org, by=author), by=arno))
    for person in (author, arno):
        with pytest.raises(OwnPlan):
            plans.approve(new, by=person)


def test_a_plan_that_does_not_fit_todays_routes_is_not_copied(org: Organization) -> None:
    plan = a_plan(org)
    a_route(org, plan.proposed_routes[0]["name"])
    before = state_of(org)
    with pytest.raises(InvalidPlan, match="two routes called"):
        plans.copy(plan, by=BY)
    assert state_of(org) == before
    with pytest.raises(PlanChanged):
        plans.copy(plan, by=BY, seen="p0")


def test_the_longest_name_has_room_for_its_copy(org: Organization) -> None:
    assert plans.copy(a_plan(org, name="n" * 200), by=BY).name.startswith("Copy of nnn")


def test_what_is_at_work_or_live_is_not_made_again(org: Organization) -> None:
    queued, applied = a_plan(org), projected(a_plan(org))
    plans.project(queued, by=BY)
    plans.apply(applied, by=BY)
    for plan in (queued, applied):
        before = state_of(org)
        with pytest.raises(InvalidState):
            plans.rebase(plan, by=BY)
        assert state_of(org) == before


# --- By force ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", ["edited", "deleted"])
def test_a_revert_by_force_overwrites_what_came_later_and_the_log_keeps_why(org: Organization, later: str) -> None:
    row = a_route(org, "short to mini")
    digest = document_of(org).digest
    plan = projected(a_plan(org, routes=[{**row.as_document(), "priority": 7}]))
    plans.apply(plan, by=BY)
    if later == "edited":
        update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 1}), by=BY)
    else:
        delete_route(org, row.uid, by=BY)
    with pytest.raises(RevertConflict):
        plans.revert(plan, by=BY, force_reason=" ")
    change, _ = plans.revert(plan, by=BY, force_reason=" The model fails. ")
    assert change.digest == digest
    action, payload = last_entry(org)
    assert (action, payload["forced"], payload["overwritten"]) == (
        "plan.reverted",
        "The model fails.",
        ["short to mini"],
    )


def test_a_revert_leaves_a_later_order_of_other_routes_alone(org: Organization) -> None:
    rows = [a_route(org, name) for name in ("a", "b", "c")]
    plan = projected(a_plan(org))
    plans.apply(plan, by=BY)
    brought = Route.objects.of(org).get(name="short to mini")
    reorder_routes(org, [rows[2].uid, brought.uid, rows[1].uid, rows[0].uid], by=BY)
    plans.revert(plan, by=BY)
    assert [route["name"] for route in live(org)["routes"]] == ["c", "b", "a"]


def test_what_comes_back_stands_behind_what_it_followed_where_the_order_changed_since(org: Organization) -> None:
    rows = [a_route(org, name) for name in ("a", "b", "c")]
    plan = projected(a_plan(org, routes=[rows[0].as_document(), rows[2].as_document()], mode="replace"))
    plans.apply(plan, by=BY)
    reorder_routes(org, [rows[2].uid, rows[0].uid], by=BY)
    plans.revert(plan, by=BY)
    assert [route["name"] for route in live(org)["routes"]] == ["c", "a", "b"]


def test_an_order_that_the_plan_gave_and_somebody_changed_since_is_a_conflict(org: Organization) -> None:
    rows = [a_route(org, name) for name in ("a", "b", "c")]
    plan = projected(a_plan(org, routes=[row.as_document() for row in reversed(rows)], mode="replace"))
    plans.apply(plan, by=BY)
    reorder_routes(org, [rows[1].uid, rows[2].uid, rows[0].uid], by=BY)
    with pytest.raises(RevertConflict) as caught:
        plans.revert(plan, by=BY)
    assert caught.value.names == ["the order of the routes"]
    plans.revert(plan, by=BY, force_reason="back")
    assert [route["name"] for route in live(org)["routes"]] == ["a", "b", "c"]


def test_a_reason_without_a_conflict_is_no_force(org: Organization) -> None:
    plan = projected(a_plan(org))
    plans.apply(plan, by=BY)
    plans.revert(plan, by=BY, force_reason="to be sure")
    assert "forced" not in last_entry(org)[1]


def test_a_revert_takes_one_person_whatever_the_policy_and_the_policy_says_so(org: Organization, arno: Any) -> None:
    update_organization(org, approval="all", by=BY)
    plan = approved(org, arno)
    plans.apply(plan, by=arno)
    plans.revert(plan, by=arno)
    assert live(org)["routes"] == []
    label = org.get_approval_display()
    assert "needs a second person" in label
    assert "revert a plan" in label


# --- At a time --------------------------------------------------------------------------------------------------------


def test_a_plan_is_applied_at_its_time_for_who_scheduled_it(org: Organization, arno: Any) -> None:
    plan = approved(org, arno)
    at = timezone.now() + timedelta(hours=1)
    plans.schedule(plan, at, by=arno)
    assert plans.apply_due() == []
    with patch("django.utils.timezone.now", lambda: at + timedelta(seconds=2)):
        assert [done.state for done in plans.apply_due()] == ["applied"]
        assert plans.apply_due() == []
    assert Route.objects.of(org).get().name == "short to mini"
    entry = AuditEntry.objects.get(org_id=org.pk, action="plan.applied")
    assert (entry.actor_type, entry.actor_id, entry.on_behalf_of) == ("system", "worker", str(arno.pk))


def test_the_worker_applies_what_is_due(org: Organization, arno: Any) -> None:
    plan = due(org, arno)
    call_command("worker", "--once")
    assert PlanRun.objects.get(pk=plan.pk).state == "applied"


def _frozen(org: Organization, plan: PlanRun, arno: Any) -> None:
    freeze(org, reason="audit", by=BY)


def _stale(org: Organization, plan: PlanRun, arno: Any) -> None:
    a_route(org, "meanwhile")


def _demoted(org: Organization, plan: PlanRun, arno: Any) -> None:
    change_role(arno.memberships.get(org=org), role="editor", by=BY)


def _inactive(org: Organization, plan: PlanRun, arno: Any) -> None:
    type(arno).objects.filter(pk=arno.pk).update(is_active=False)


def _gone(org: Organization, plan: PlanRun, arno: Any) -> None:
    PlanRun.objects.filter(pk=plan.pk).update(scheduled_by="987654")


def _not_approved(org: Organization, plan: PlanRun, arno: Any) -> None:
    PlanRun.objects.filter(pk=plan.pk).update(mode="replace")


def _late(org: Organization, plan: PlanRun, arno: Any) -> None:
    PlanRun.objects.filter(pk=plan.pk).update(apply_at=timezone.now() - LATEST - timedelta(seconds=1))


@pytest.mark.parametrize(
    ("happens", "code"),
    [
        (_frozen, "organization_frozen"),
        (_stale, "stale_plan"),
        (_demoted, "not_allowed"),
        (_inactive, "not_allowed"),
        (_gone, "not_allowed"),
        (_not_approved, "approval_void"),
        (_late, "missed_time"),
    ],
)
def test_a_plan_that_cannot_be_applied_at_its_time_is_not_and_says_why(
    org: Organization, arno: Any, happens: Callable[..., None], code: str
) -> None:
    plan = due(org, arno)
    happens(org, plan, arno)
    content = live(org)
    assert [done.pk for done in plans.apply_due()] == [plan.pk]
    plan.refresh_from_db()
    assert (plan.state, plan.apply_at, live(org)) == ("approved", None, content)
    assert plan.schedule_failure.startswith(f"{code}: ")
    action, payload = last_entry(org)
    assert (action, payload["why"]) == ("plan.schedule_refused", plan.schedule_failure)
    assert plans.apply_due() == []


def test_a_plan_that_is_applied_after_all_does_not_say_that_it_was_not(org: Organization, arno: Any) -> None:
    plan = due(org, arno)
    _late(org, plan, arno)
    plans.apply_due()
    assert PlanRun.objects.get(pk=plan.pk).schedule_failure
    plans.apply(plan, by=arno)
    assert PlanRun.objects.get(pk=plan.pk).schedule_failure == ""


def test_what_nobody_foresaw_is_told_and_keeps_no_other_plan_waiting(org: Organization, arno: Any) -> None:
    first, second = due(org, arno), due(org, arno)
    PlanRun.objects.filter(pk=first.pk).update(proposed="no json")
    with patch("plans.runs.steps.digest", lambda plan: plan.approved_digest):
        assert [plan.pk for plan in plans.apply_due()] == [first.pk, second.pk]
    assert PlanRun.objects.get(pk=first.pk).schedule_failure.startswith("JSONDecodeError: ")
    assert PlanRun.objects.get(pk=second.pk).state == "applied"


def test_while_the_database_is_away_a_plan_stays_scheduled(org: Organization, arno: Any) -> None:
    plan = due(org, arno)
    away = patch("plans.runs.applying.connection.is_usable", return_value=False)
    with patch("plans.runs.applying.publish", side_effect=OperationalError), away, pytest.raises(OperationalError):
        plans.apply_due()
    assert PlanRun.objects.get(pk=plan.pk).state == "scheduled"


def test_an_organisation_that_is_busy_keeps_the_plans_of_others_not_waiting(org: Organization, arno: Any) -> None:
    other = an_org("other")
    traffic(other)
    for _ in range(3):
        due(org, arno)
    second = due(other, a_person("bea", other, "approver"))
    waited = []

    def busy(org_id: Any, **keys: Any) -> Any:
        if org_id == org.pk:
            waited.append(org_id)
            raise OperationalError("lock timeout")
        return publish(org_id, **keys)

    with patch("plans.runs.applying.publish", busy):
        assert [plan.pk for plan in plans.apply_due()] == [second.pk]
    assert {plan.state for plan in PlanRun.objects.of(org)} == {"scheduled"}
    assert waited == [org.pk], "once for all three"
    assert len(plans.apply_due()) == 3


def test_a_plan_that_was_called_off_since_it_was_found_due_is_not_applied(org: Organization, arno: Any) -> None:
    plan = due(org, arno)
    found = PlanRun.objects.get(pk=plan.pk)
    plans.schedule(plan, None, by=arno)
    with patch("plans.runs.applying.PlanRun.objects.brief") as brief:
        brief.return_value.filter.return_value.order_by.return_value = [found]
        assert plans.apply_due() == []
    assert (PlanRun.objects.get(pk=plan.pk).state, live(org)["routes"]) == ("approved", [])


def test_a_plan_that_was_moved_to_a_later_time_since_it_was_found_due_is_not_applied(
    org: Organization, arno: Any
) -> None:
    plan = due(org, arno)
    found, later = PlanRun.objects.get(pk=plan.pk), timezone.now() + timedelta(days=1)
    plans.schedule(plan, later, by=arno)
    with patch("plans.runs.applying.PlanRun.objects.brief") as brief:
        brief.return_value.filter.return_value.order_by.return_value = [found]
        assert plans.apply_due() == []
    plan.refresh_from_db()
    assert (plan.state, plan.apply_at, plan.schedule_failure, live(org)["routes"]) == ("scheduled", later, "", [])


def test_a_plan_is_moved_to_another_time_applied_sooner_or_called_off(org: Organization, arno: Any) -> None:
    plan = approved(org, arno)
    for hours in (1, 2):
        plans.schedule(plan, timezone.now() + timedelta(hours=hours), by=arno)
    plans.schedule(plan, None, by=arno)
    assert (plan.state, plan.apply_at, plan.scheduled_by) == ("approved", None, "")
    assert last_entry(org)[0] == "plan.schedule_cancelled"
    with pytest.raises(InvalidState):
        plans.schedule(plan, None, by=arno)
    plans.schedule(plan, timezone.now() + timedelta(hours=1), by=arno)
    plans.apply(plan, by=BY)
    assert PlanRun.objects.get(pk=plan.pk).apply_at is None


@pytest.mark.parametrize(
    ("act", "action"),
    [
        (lambda plan, by: plans.edit(plan, by=by, note="n"), "plan.approval_voided"),
        (lambda plan, by: plans.rebase(plan, by=by), "plan.superseded"),
        (lambda plan, by: plans.schedule(plan, None, by=by), "plan.schedule_cancelled"),
    ],
)
def test_the_log_says_which_time_fell_away(
    org: Organization, arno: Any, act: Callable[[PlanRun, Any], Any], action: str
) -> None:
    plan = approved(org, arno)
    at = timezone.now() + timedelta(hours=1)
    plans.schedule(plan, at, by=arno)
    act(plan, arno)
    entry = AuditEntry.objects.get(org_id=org.pk, action=action)
    payload = payload_of(entry) or {}
    assert (payload["apply_at"], payload["scheduled_by"]) == (time_text(at), str(arno.pk))


@pytest.mark.parametrize("act", [plans.rebase, lambda plan, by: plans.edit(plan, by=by, note="n")])
def test_of_a_plan_without_a_time_none_fell_away(org: Organization, arno: Any, act: Callable[..., Any]) -> None:
    act(approved(org, arno), by=arno)
    assert all("apply_at" not in (payload_of(entry) or {}) for entry in AuditEntry.objects.of(org.pk))


@pytest.mark.parametrize("at", [timezone.now() - timedelta(days=1), datetime(9999, 1, 1, tzinfo=UTC)])
def test_a_time_is_to_come_and_within_a_year(org: Organization, arno: Any, at: datetime) -> None:
    with pytest.raises(InvalidTime):
        plans.schedule(approved(org, arno), at, by=arno)


def test_only_what_was_approved_is_scheduled_and_for_a_person(org: Organization, arno: Any) -> None:
    at = timezone.now() + timedelta(hours=1)
    with pytest.raises(ApprovalRequired):
        plans.schedule(projected(a_plan(org)), at, by=arno)
    with pytest.raises(InvalidState):
        plans.schedule(a_plan(org), at, by=arno)
    with pytest.raises(NotAllowed):
        plans.schedule(approved(org, arno), at, by=BY)


def test_to_call_off_what_was_never_scheduled_approves_nothing(org: Organization, arno: Any) -> None:
    for plan in (a_plan(org), projected(a_plan(org)), approved(org, arno)):
        before = state_of(org)
        with pytest.raises(InvalidState, match="cannot become called off"):
            plans.schedule(plan, None, by=arno)
        assert state_of(org) == before


def test_a_plan_is_called_off_in_a_frozen_organisation_too(org: Organization, arno: Any) -> None:
    plan = due(org, arno)
    freeze(org, reason="audit", by=BY)
    plans.schedule(plan, None, by=arno)
    assert PlanRun.objects.get(pk=plan.pk).state == "approved"


# --- Frozen -----------------------------------------------------------------------------------------------------------


def test_in_a_frozen_organisation_no_step_of_a_plan_is_taken(org: Organization, arno: Any) -> None:
    draft, ready, applied = a_plan(org), projected(a_plan(org)), projected(a_plan(org, routes=[]))
    plans.apply(applied, by=BY)
    later = approved(org, arno)
    freeze(org, reason="audit", by=BY)
    before = state_of(org)
    steps: list[Callable[[], Any]] = [
        lambda: a_plan(org),
        lambda: plans.edit(draft, by=BY, name="x"),
        lambda: plans.project(draft, by=BY),
        lambda: plans.cancel(draft, by=BY),
        lambda: plans.rebase(ready, by=BY),
        lambda: plans.approve(ready, by=arno),
        lambda: plans.reject(ready, reason="r", by=arno),
        lambda: plans.apply(ready, by=BY),
        lambda: plans.schedule(later, timezone.now() + timedelta(hours=1), by=arno),
        lambda: plans.revert(applied, by=BY),
    ]
    for step in steps:
        with pytest.raises(OrganizationFrozen, match="audit"):
            step()
    assert json.dumps(state_of(org), default=str) == json.dumps(before, default=str)
