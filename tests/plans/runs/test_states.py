"""The life of a plan: every state crossed with every state."""

import itertools

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from plans.runs.models import PlanRun, State
from plans.runs.states import TRANSITIONS, InvalidState, move
from routes.orgs.models import Organization
from tests.build import START

ALLOWED = {
    "draft": "queued cancelled",
    "queued": "running cancelled",
    "running": "projected failed cancelled queued",
    "projected": "approved rejected applied superseded cancelled",
    "approved": "scheduled applied projected superseded cancelled",
    "scheduled": "applied approved superseded",
    "applied": "reverted",
}


APPROVAL = {"approved_at": timezone.now(), "approved_by": "7", "approved_digest": "sha256:0"}


def in_state(org: Organization, state: str) -> PlanRun:
    later = START.replace(year=2027)
    return PlanRun.objects.create(
        org=org, name="p", state=state, base_version=0, base_digest="", window_start=START, window_end=later,
        result="{}", applied_at=timezone.now(), apply_at=timezone.now() if state == "scheduled" else None,
        **(APPROVAL if state in ("approved", "scheduled") else {}),
    )  # fmt: skip


def test_the_table_names_every_state() -> None:
    assert set(TRANSITIONS) == set(State)


@pytest.mark.django_db
@pytest.mark.parametrize(("was", "to"), list(itertools.product(State.values, State.values)))
def test_a_state_moves_where_the_table_says_and_nowhere_else(org: Organization, was: str, to: str) -> None:
    plan = in_state(org, was)
    if to in ALLOWED.get(was, "").split():
        move(plan, State(to), **{"scheduled": {"apply_at": timezone.now()}, "approved": APPROVAL}.get(to, {}))
        expected = to
    else:
        with pytest.raises(InvalidState) as caught:
            move(plan, State(to))
        assert (caught.value.code, caught.value.state) == ("invalid_state", was)
        expected = was
    assert PlanRun.objects.get(pk=plan.pk).state == expected


@pytest.mark.django_db
def test_a_move_checks_what_the_row_is_and_not_what_was_read(org: Organization) -> None:
    plan = in_state(org, "projected")
    PlanRun.objects.filter(pk=plan.pk).update(state="cancelled")
    with pytest.raises(InvalidState) as caught:
        move(plan, State.APPROVED)
    assert caught.value.state == "cancelled"


BOTH_SIDES = {
    "plan_window_is_not_empty": ({"window_end": START}, {"window_end": START.replace(year=2028)}),
    "plan_approved_at_and_by_together": (
        {"approved_at": START},
        {"approved_at": START, "approved_by": "7"},
    ),
    "plan_approved_has_its_approval": ({"state": "approved"}, {"state": "approved", **APPROVAL}),
    "plan_scheduled_has_its_time": (
        {"state": "scheduled", **APPROVAL},
        {"state": "scheduled", "apply_at": START, **APPROVAL},
    ),
    "plan_applied_has_its_time": ({"state": "applied", "applied_at": None}, {"state": "draft", "applied_at": None}),
    "plan_projected_has_a_result": ({"state": "projected", "result": ""}, {"state": "draft", "result": ""}),
}


@pytest.mark.django_db
@pytest.mark.every_case
@pytest.mark.parametrize("name", BOTH_SIDES)
def test_the_database_holds_what_must_always_be_true_of_a_plan(org: Organization, name: str) -> None:
    refused, allowed = BOTH_SIDES[name]
    plan = in_state(org, "draft")
    with pytest.raises(IntegrityError, match=name), transaction.atomic():
        PlanRun.objects.filter(pk=plan.pk).update(**refused)
    PlanRun.objects.filter(pk=plan.pk).update(**allowed)


def test_every_constraint_of_a_plan_is_tested() -> None:
    assert {constraint.name for constraint in PlanRun._meta.constraints} == set(BOTH_SIDES)
