"""From a plan to what is live and back: apply, revert, and apply at a time."""

import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError, connection, transaction
from django.utils import timezone

from audit.actors import Actor, as_actor
from audit.services import Receipt, record
from plans.runs.errors import ApprovalVoid, InvalidTime, MissedTime, NotAllowed, RevertConflict, StalePlan
from plans.runs.failures import code_of, failure_text, in_one_line
from plans.runs.models import PlanRun, State
from plans.runs.proposals import check_seen, content_of, lost_time
from plans.runs.states import InvalidState, move
from plans.runs.steps import get_plan, is_void
from routes.document import EMPTY_CONTENT, content_at
from routes.engine.canonical import canonical_bytes
from routes.engine.document import digest_of
from routes.errors import ApprovalRequired
from routes.orgs.access import role_of
from routes.orgs.locks import locked
from routes.orgs.models import Organization, Role
from routes.publish import Change, publish
from routes.rules.compared import summed_up
from routes.rules.content import conflicts, make_live, undone
from routes.times import rfc3339
from routes.transactions import repeated
from routes.versions.difference import changes_between

#: So long after its time a plan is not applied any more: nobody would expect it.
LATEST: Final = timedelta(hours=1)
FARTHEST: Final = timedelta(days=366)
log = logging.getLogger(__name__)


def apply(plan: PlanRun, *, by: Any, seen: str | None = None) -> tuple[Change, Receipt]:
    """Make what is proposed live: routes, version, plan and audit entry in one transaction.

    Raises `NotFound`, `InvalidState`, `PlanChanged`, `ApprovalRequired`, `ApprovalVoid`, `StalePlan`, and what `publish`
    raises.
    """
    return _apply(plan, by=by, check=lambda now: check_seen(now, seen))


@repeated
def _apply(plan: PlanRun, *, by: Any, check: Callable[[PlanRun], None]) -> tuple[Change, Receipt]:
    with publish(
        plan.org_id,
        by=by,
        action="plan.applied",
        target=("plan", plan.pk),
        note=plan.note or plan.name,
        always_record=True,
        is_direct=False,
    ) as change:
        plan = get_plan(change.org, plan.pk)  # as it is now that the organisation is locked
        check(plan)
        _may_apply(plan, change.org)
        if plan.base_digest != change.base_digest:
            raise _stale(plan, change)
        live = content_of(plan, change.base_content)
        is_change = digest_of(live) != change.base_digest
        inverse = make_live(change, live)
        now = timezone.now()
        move(
            plan,
            State.APPLIED,
            schedule_failure="",
            applied_at=now,
            applied_version=change.version if is_change else change.base_version,
            inverse=canonical_bytes(inverse).decode(),
        )
        result = plan.outcome or {}
        change.payload |= {
            "plan_id": str(plan.pk),
            "name": plan.name,
            "applied_at": now,
            "sample_size": result["sample_size"],
            "projected_savings_usd": Decimal(str(result["aggregates"]["projected_savings_usd"])),
        }
    assert change.receipt is not None  # always_record
    return change, change.receipt


def _may_apply(plan: PlanRun, org: Organization) -> None:
    if plan.state not in (State.PROJECTED, State.APPROVED, State.SCHEDULED):
        raise InvalidState(plan, "applied")
    if plan.state == State.PROJECTED and org.approval != Organization.Approval.NONE:
        raise ApprovalRequired("Somebody other than the author must approve this plan first.")
    _refuse_void(plan)


def _refuse_void(plan: PlanRun) -> None:
    if is_void(plan):
        raise ApprovalVoid("This plan is not what was approved. Ask for a new approval.")


def _stale(plan: PlanRun, change: Change) -> StalePlan:
    was = content_at(plan.org_id, plan.base_version) or EMPTY_CONTENT
    since = changes_between(was, change.base_content)
    # What it would change of today's: a plan that replaces all takes back what came since.
    own = {found["route_id"] for found in changes_between(change.base_content, content_of(plan, change.base_content))}
    touched = [
        found["name"] or "what happens to the rest"
        for found in since
        if found["route_id"] in own and "service" not in found  # which no plan changes
    ]
    both = f" This plan changes {', '.join(touched)} too." if touched else " This plan changes other routes."
    return StalePlan(
        f"The routes changed since this plan was made (version {plan.base_version}, now {change.base_version}):"
        f" {summed_up(since)}.{both} Project it again on today's routes.",
        difference=since,
        touched=touched,
        version=change.base_version,
    )


@repeated
def revert(plan: PlanRun, *, by: Any, force_reason: str = "", seen: str | None = None) -> tuple[Change, Receipt]:
    """Undo an applied plan as a new version.

    What it changed must be as it left it, unless somebody says why that is to be overwritten: `force_reason`, which the
    log keeps. Raises `InvalidState`, `PlanChanged`, `RevertConflict`, and what `publish` raises.
    """
    with publish(
        plan.org_id,
        by=by,
        action="plan.reverted",
        target=("plan", plan.pk),
        note=f"Reverts {plan.name}",
        always_record=True,
        is_direct=False,
    ) as change:
        plan = get_plan(change.org, plan.pk)
        check_seen(plan, seen)
        if plan.state != State.APPLIED:
            raise InvalidState(plan, "reverted")
        inverse = json.loads(plan.inverse)
        names = conflicts(change.org, inverse)
        if names and not force_reason.strip():
            raise RevertConflict(
                f"Changed again since the plan was applied: {', '.join(names)}. Undo those changes first, or overwrite them"
                " by a revert that is forced, with a reason.",
                names,
            )
        back = undone(change.base_content, inverse)
        counted = Counter(route["name"] for route in back["routes"])
        if taken := [name for name, count in counted.items() if count > 1]:
            message = f"Another route is called {', '.join(taken)} by now. Rename it first."
            raise RevertConflict(message, taken, can_be_forced=False)
        is_change = digest_of(back) != change.base_digest
        make_live(change, back)
        move(
            plan,
            State.REVERTED,
            reverted_at=timezone.now(),
            reverted_version=change.version if is_change else change.base_version,
        )
        change.payload |= {"plan_id": str(plan.pk), "name": plan.name, "applied_version": plan.applied_version}
        if names:
            change.payload |= {"forced": force_reason.strip(), "overwritten": names}
    assert change.receipt is not None  # always_record
    return change, change.receipt


# --- At a time --------------------------------------------------------------------------------------------------------


@repeated
def schedule(plan: PlanRun, at: datetime | None, *, by: Any, seen: str | None = None) -> None:
    """Have an approved plan applied at a time, for the person who asks for it; None calls that off.

    Raises `InvalidState`, `PlanChanged`, `InvalidTime`, `ApprovalVoid`, `NotAllowed` for anything but a person, and
    `OrganizationFrozen`.
    """
    actor = as_actor(by)
    now = timezone.now()
    if at is not None and not now < at <= now + FARTHEST:
        raise InvalidTime("Choose a time to come, within a year.")
    with transaction.atomic():
        # What is called off changes nothing any more, so it may be in a frozen organisation too.
        locked(plan.org_id, even_frozen=at is None)
        plan.refresh_from_db()
        check_seen(plan, seen)
        if at is None:
            if plan.state != State.SCHEDULED:
                raise InvalidState(plan, "called off")
            lost = lost_time(plan)
            move(plan, State.APPROVED)
            _record(plan, by=actor, action="plan.schedule_cancelled", **lost)
            return
        if actor.person is None:
            raise NotAllowed("A plan is scheduled by a person, or by a key that acts for one.")
        if plan.state == State.PROJECTED:
            raise ApprovalRequired("Have somebody other than the author approve this plan first.")
        _refuse_void(plan)
        if plan.state == State.SCHEDULED:
            move(plan, State.APPROVED)
        who = {"scheduled_by": actor.person, "scheduled_by_name": actor.name}
        move(plan, State.SCHEDULED, apply_at=at, schedule_failure="", **who)
        _record(plan, by=actor, action="plan.scheduled", apply_at=at)


def apply_due() -> list[PlanRun]:
    """Apply the plans whose time has come, each for who scheduled it; answers them as they are then.

    All that `apply` checks is checked again, and that this person may still apply plans here. One that cannot be applied
    goes back to approved and says why; those of an organisation that somebody holds wait for the next time. Any number of
    workers may ask at once. Raises the database's own errors.
    """
    due = PlanRun.objects.brief().filter(state=State.SCHEDULED, apply_at__lte=timezone.now()).order_by("apply_at", "pk")
    done: list[PlanRun] = []
    busy: set[UUID] = set()
    for plan in due:
        if plan.org_id in busy:
            continue
        try:
            if _apply_at_its_time(plan):
                done.append(plan)
        except OperationalError as error:
            if not connection.is_usable():
                raise
            # Somebody holds the organisation's lock: nobody else's plans are to wait for that, and its own not one by one.
            busy.add(plan.org_id)
            log.warning("plan %s has to wait for its organisation: %s", plan.pk, in_one_line(error))
    return done


def _apply_at_its_time(plan: PlanRun) -> bool:
    """Whether it was this call that applied it, or found that it cannot be."""
    actor = Actor("system", "worker", plan.scheduled_by, plan.scheduled_by_name)

    def check(now: PlanRun) -> None:
        if _time_of(now) != _time_of(plan):  # called off, or moved, since it was found due
            raise InvalidState(now, "applied")
        _may_still(now)

    try:
        _apply(plan, by=actor, check=check)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:
        # Also what nobody foresaw: it must be told, and not be tried again each second.
        is_refused = _refused(plan, error, found=_time_of(plan), by=actor)
        if is_refused:
            log.warning("plan %s was not applied at its time", plan.pk, exc_info=not code_of(error))
        return is_refused
    plan.refresh_from_db(fields=["state", "applied_version"])
    return True


def _time_of(plan: PlanRun) -> tuple[Any, ...]:
    return plan.state, plan.apply_at, plan.scheduled_by


def _may_still(plan: PlanRun) -> None:
    assert plan.apply_at is not None  # scheduled
    person = get_user_model().objects.filter(pk=plan.scheduled_by).first()
    role = None if person is None else role_of(person, plan.org)
    if role is None or not role.includes(Role.APPROVER):
        raise NotAllowed(f"{plan.scheduled_by_name} scheduled this plan and may not apply plans here any more.")
    if timezone.now() - plan.apply_at > LATEST:
        raise MissedTime(
            f"It could not be applied at {rfc3339(plan.apply_at)}: no worker ran, or the database was busy. Now it is more"
            f" than {LATEST} later. Choose another time."
        )


@repeated
def _refused(plan: PlanRun, error: Exception, *, found: tuple[Any, ...], by: Actor) -> bool:
    why = failure_text(error)
    with transaction.atomic():
        locked(plan.org_id, even_frozen=True)
        plan.refresh_from_db()
        if _time_of(plan) != found:
            return False  # applied, called off or moved in the meantime
        move(plan, State.APPROVED, schedule_failure=why)
        _record(plan, by=by, action="plan.schedule_refused", apply_at=found[1], why=why)
    return True


def _record(plan: PlanRun, *, by: Any, action: str, **payload: Any) -> None:
    record(plan.org_id, by=by, action=action, target=("plan", plan.pk), payload=payload)
