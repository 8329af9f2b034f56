"""What people do with a plan before it is applied: each locks the organisation and then the plan, and looks at both as they
are then."""

import json
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.actors import as_actor
from audit.services import record
from plans.runs.errors import InvalidPlan, OwnPlan
from plans.runs.models import PlanRun, State
from plans.runs.proposals import check_seen, void_approval
from plans.runs.states import move
from routes.engine.canonical import canonical_bytes
from routes.errors import NotFound
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.transactions import repeated


def get_plan(org: Organization, plan_id: UUID | str) -> PlanRun:
    """The organisation's plan with this id. Raises `NotFound`, alike for unknown and for foreign ids."""
    try:
        plan = PlanRun.objects.of(org).defer("checkpoint").filter(pk=UUID(str(plan_id))).first()
    except ValueError:
        plan = None
    if plan is None:
        raise NotFound("There is no such plan in this organisation.")
    return plan


@repeated
def project(plan: PlanRun, *, by: Any, seen: str | None = None) -> None:
    """Queue the plan for the worker. Raises `InvalidState`, `PlanChanged` and `OrganizationFrozen`."""
    with transaction.atomic():
        _lock(plan, seen)
        move(plan, State.QUEUED, queued_at=timezone.now())
        _record(plan, by=by, action="plan.queued")


@repeated
def cancel(plan: PlanRun, *, by: Any, seen: str | None = None) -> None:
    """Give the plan up; a running replay stops at its next report of progress. Raises `InvalidState`, `PlanChanged` and
    `OrganizationFrozen`."""
    with transaction.atomic():
        _lock(plan, seen)
        # A worker that has it finds that it lost it; what it kept is of no use to anybody.
        move(plan, State.CANCELLED, checkpoint=None, phase="", rows_per_second=0)
        _record(plan, by=by, action="plan.cancelled")


def digest(plan: PlanRun) -> str:
    """What an approval is bound to: what is proposed, the mode, what it stands on, and the result."""
    default = [json.loads(plan.proposed_default)] if plan.proposed_default else []
    text = canonical_bytes([json.loads(plan.proposed), default, plan.mode, plan.base_digest, plan.result])
    return "sha256:" + sha256(text).hexdigest()


def is_void(plan: PlanRun) -> bool:
    """Whether the plan is approved, but is not what was approved."""
    return plan.state in (State.APPROVED, State.SCHEDULED) and plan.approved_digest != digest(plan)


@repeated
def approve(plan: PlanRun, *, by: Any, seen: str | None = None) -> None:
    """Approve a projected plan, or anew one that is not what was approved. Raises `InvalidState`, `PlanChanged`,
    `OrganizationFrozen`, and `OwnPlan` for the author, for who edited what it asks, and for anything but a person."""
    actor = as_actor(by)
    with transaction.atomic():
        _lock(plan, seen)
        if actor.person is None:
            raise OwnPlan("A plan is approved by a person, or by a key that acts for one.")
        if actor.person == plan.created_by or actor.person in plan.edited_by:
            done = "edited" if actor.person in plan.edited_by else "made"
            raise OwnPlan(f"You {done} this plan; ask somebody else to approve it.")
        if is_void(plan):
            void_approval(plan, by=actor, why="the plan is not what was approved")
        move(
            plan,
            State.APPROVED,
            approved_by=actor.person,
            approved_by_name=actor.name,
            approved_at=timezone.now(),
            approved_digest=digest(plan),
        )
        _record(plan, by=actor, action="plan.approved", plan_digest=plan.approved_digest)


@repeated
def reject(plan: PlanRun, *, reason: str, by: Any, seen: str | None = None) -> None:
    """Turn a projected plan down, for good. Raises `InvalidState`, `PlanChanged`, `OrganizationFrozen`, and `InvalidPlan`
    without a reason."""
    if not reason.strip():
        raise InvalidPlan([{"path": "reason", "code": "blank_value", "message": "Say why the plan is rejected."}])
    with transaction.atomic():
        _lock(plan, seen)
        move(plan, State.REJECTED, rejected_reason=reason)
        _record(plan, by=by, action="plan.rejected", reason=reason)


def _lock(plan: PlanRun, seen: str | None) -> None:
    locked(plan.org_id)
    plan.refresh_from_db()
    check_seen(plan, seen)


def forget_reason(org: Organization, plan_id: str) -> None:
    """Empty the reason of a rejected plan: the entry that held it is blanked."""
    PlanRun.objects.of(org).filter(pk=plan_id).update(rejected_reason="")


def _record(plan: PlanRun, *, by: Any, action: str, **payload: Any) -> None:
    record(plan.org_id, by=by, action=action, target=("plan", plan.pk), payload=payload)
