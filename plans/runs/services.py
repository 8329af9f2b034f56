"""Proposing, approving, applying and reverting plans. With the worker, only writer of `PlanRun`."""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from audit.actors import as_actor
from audit.services import Receipt, record
from plans.errors import PlansError
from plans.replay.question import L2_THRESHOLDS
from plans.runs.change import conflicts, make_live, undone, would_be_live
from plans.runs.models import IntervalMethod, Mode, PlanRun, State
from plans.runs.states import InvalidState, move
from routes import engine
from routes.document import content_with, document_of
from routes.engine.canonical import canonical_bytes
from routes.engine.document import digest_of
from routes.engine.reading import MAX_ISSUES
from routes.errors import NotFound
from routes.orgs.models import Organization, new_id
from routes.publish import Change, check_limits, publish

#: A month: what a cache of answers is kept for at the very most.
MAX_TTL_SECONDS = 31 * 24 * 3600
MAX_THRESHOLDS = 10
MIN_ITERATIONS, MAX_ITERATIONS = 100, 100_000
#: What a JSON number holds.
MAX_SEED = 2**53 - 1
#: Of the issues of a plan, so many are in its one sentence.
NAMED = 5


class InvalidPlan(PlansError):
    """The plan's own fields are not acceptable; `issues` says which and why."""

    code = "invalid_plan"

    def __init__(self, issues: list[dict[str, str]]) -> None:
        more = f"; and {len(issues) - NAMED:,} more" if len(issues) > NAMED else ""
        super().__init__("; ".join(issue["message"] for issue in issues[:NAMED]) + more)
        self.issues = issues


class OwnPlan(PlansError):
    """A plan is approved by somebody other than its author."""

    code = "own_plan"


class ApprovalRequired(PlansError):
    """This organisation wants a second person to approve before a plan is applied."""

    code = "approval_required"


class ApprovalVoid(PlansError):
    """The plan is not what was approved."""

    code = "approval_void"


class StalePlan(PlansError):
    """The live routes are not those that the plan was projected on."""

    code = "stale_plan"


class RevertConflict(PlansError):
    """Routes that the plan changed were changed again since."""

    code = "revert_conflict"


def get_plan(org: Organization, plan_id: UUID | str) -> PlanRun:
    """The organisation's plan with this id. Raises `NotFound`, alike for unknown and for foreign ids."""
    try:
        plan = PlanRun.objects.of(org).defer("checkpoint").filter(pk=UUID(str(plan_id))).first()
    except ValueError:
        plan = None
    if plan is None:
        raise NotFound("There is no such plan in this organisation.")
    return plan


def propose(
    org: Organization,
    *,
    name: str,
    routes: Sequence[dict[str, Any]],
    window_start: datetime,
    window_end: datetime,
    by: Any,
    mode: str = Mode.MERGE,
    note: str = "",
    seed: int = 1,
    iterations: int = 10_000,
    interval_method: str = IntervalMethod.RANDOM_SUBSETS,
    l1_ttl_seconds: float | None = None,
    l2_ttl_seconds: float | None = None,
    l2_threshold_sweep: Sequence[float] = L2_THRESHOLDS,
    l2_priced_threshold: float | None = None,
) -> PlanRun:
    """A draft on today's routes. Routes without an id are new ones and get theirs here.

    The caches are those that the replay supposes, see `plans.replay.Question`; None: none. Raises `InvalidPlan` for the
    plan's own fields and for routes that the engine would not load, `TooManyRoutes` and `DocumentTooLarge` for what could
    not be published.
    """
    actor = as_actor(by)
    document = document_of(org)
    proposed = _read(routes, document.content, mode)
    issues = [
        {"path": path, "code": code, "message": message}
        for wrong, path, code, message in (
            (not name.strip(), "name", "blank_value", "Give the plan a name."),
            (len(name) > 200, "name", "out_of_range", "A plan's name has at most 200 characters."),
            (window_end <= window_start, "window_end", "out_of_range", "The window ends before it begins."),
            (mode not in Mode.values, "mode", "unsupported_value", "The mode is merge or replace."),
            (not 0 <= seed <= MAX_SEED, "seed", "out_of_range", "The seed is a whole number from 0 to 2^53 - 1."),
            (
                not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS,
                "iterations",
                "out_of_range",
                f"The iterations are a whole number from {MIN_ITERATIONS:,} to {MAX_ITERATIONS:,}.",
            ),
            (
                interval_method not in IntervalMethod.values,
                "interval_method",
                "unsupported_value",
                f"The method is {' or '.join(IntervalMethod.values)}.",
            ),
            *_wrong_caches(l1_ttl_seconds, l2_ttl_seconds, l2_threshold_sweep, l2_priced_threshold),
        )
        if wrong
    ]
    if issues:
        raise InvalidPlan(issues)
    with transaction.atomic():
        plan = PlanRun.objects.create(
            org=org,
            name=name,
            note=note,
            mode=mode,
            proposed=canonical_bytes(proposed).decode(),
            base_version=document.version,
            base_digest=document.digest,
            window_start=window_start,
            window_end=window_end,
            seed=seed,
            iterations=iterations,
            interval_method=interval_method,
            l1_ttl_seconds=l1_ttl_seconds,
            l2_ttl_seconds=l2_ttl_seconds,
            l2_threshold_sweep=sorted(map(float, l2_threshold_sweep)),  # one spelling of the same question
            l2_priced_threshold=l2_priced_threshold,
            created_by=actor.person or "",
            created_by_name=actor.name,
        )
        _record(plan, by=actor, action="plan.proposed", name=name, mode=mode, base_version=plan.base_version)
    return plan


def _wrong_caches(
    l1_ttl_seconds: float | None,
    l2_ttl_seconds: float | None,
    sweep: Sequence[float],
    priced: float | None,
) -> list[tuple[bool, str, str, str]]:
    """(whether it is wrong, path, code, message) of what a plan says of caches."""
    checks = [
        (
            ttl is not None and not 0 < ttl <= MAX_TTL_SECONDS,
            path,
            "out_of_range",
            f"Answers are kept for more than 0 and at most {MAX_TTL_SECONDS:,} seconds; leave it out for no such cache.",
        )
        for path, ttl in (("l1_ttl_seconds", l1_ttl_seconds), ("l2_ttl_seconds", l2_ttl_seconds))
    ]
    return [
        *checks,
        (
            not 1 <= len(sweep) <= MAX_THRESHOLDS or len(set(sweep)) < len(sweep),
            "l2_threshold_sweep",
            "out_of_range",
            f"Give 1 to {MAX_THRESHOLDS} different similarities.",
        ),
        (
            not all(0 < threshold <= 1 for threshold in sweep),
            "l2_threshold_sweep",
            "out_of_range",
            "A similarity is above 0 and at most 1.",
        ),
        (
            priced is not None and priced not in sweep,
            "l2_priced_threshold",
            "unsupported_value",
            "The threshold that is priced is one of l2_threshold_sweep.",
        ),
        (
            priced is not None and l2_ttl_seconds is None,
            "l2_priced_threshold",
            "conflict",
            "Without l2_ttl_seconds there is no semantic cache to price.",
        ),
    ]


def _read(routes: Sequence[dict[str, Any]], today: dict[str, Any], mode: str) -> list[dict[str, Any]]:
    """The proposed routes in canonical form, each with an id, checked alone and as the content they make of today's."""
    issues: list[dict[str, str]] = []
    read: list[dict[str, Any]] = []
    for index, raw in enumerate(routes):
        if isinstance(raw, dict):
            raw = {"priority": 100, "enabled": True, "when": {}, **raw}
            raw.setdefault("id", str(new_id()))
        try:
            read.append(engine.Route.from_dict(raw).to_dict())
        except engine.errors.InvalidRoute as error:
            issues += [{**issue, "path": f"routes[{index}].{issue['path']}".rstrip(".")} for issue in error.issues]
            if len(issues) >= MAX_ISSUES:  # 10 MiB of routes can have millions
                rest = "No more routes were looked at: mend these first."
                issues.append({"path": "routes", "code": "too_many", "message": rest})
                break
    if not issues:
        live = would_be_live(today["routes"], read, mode)
        content = content_with(live, default=today["default"])
        check_limits(content, size=len(canonical_bytes(content)))
        document = engine.Document.build(content, org_id=str(new_id()))
        bad_today = [route for route in today["routes"] if route not in read]
        for skipped in engine.Engine.from_document(document).skipped:
            if live[skipped.index] not in bad_today:
                issues += [_in_words(issue, live[skipped.index]["name"]) for issue in skipped.issues]
    if issues:
        raise InvalidPlan(issues)
    return read


def _in_words(issue: engine.errors.Issue, name: str) -> dict[str, str]:
    """An issue of the document that the plan would lead to, at the list of proposed routes."""
    message = f"“{name}”: {issue['message']}"
    if (issue["path"], issue["code"]) == ("name", "duplicate_value"):
        message = (
            f"There would be two routes called “{name}”. Give the proposed one another name, or the id of the live one"
            " to replace it."
        )
    return {"path": "routes", "code": issue["code"], "message": message}


def project(plan: PlanRun, *, by: Any) -> None:
    """Queue the plan for the worker. Raises `InvalidState`."""
    with transaction.atomic():
        move(plan, State.QUEUED, queued_at=timezone.now())
        _record(plan, by=by, action="plan.queued")


def cancel(plan: PlanRun, *, by: Any) -> None:
    """Give the plan up; a running replay stops at its next report of progress. Raises `InvalidState`."""
    with transaction.atomic():
        # A worker that has it finds that it lost it; what it kept is of no use to anybody.
        move(plan, State.CANCELLED, checkpoint=None, phase="", rows_per_second=0)
        _record(plan, by=by, action="plan.cancelled")


def digest(plan: PlanRun) -> str:
    """What an approval is bound to: the proposed routes, the mode, what they stand on, and the result."""
    text = canonical_bytes([json.loads(plan.proposed), plan.mode, plan.base_digest, plan.result])
    return "sha256:" + sha256(text).hexdigest()


def approve(plan: PlanRun, *, by: Any) -> None:
    """Approve a projected plan. Raises `InvalidState`, and `OwnPlan` for the author and for anything but a person."""
    actor = as_actor(by)
    if actor.person is None or actor.person == plan.created_by:
        raise OwnPlan("You made this plan; ask somebody else to approve it.")
    with transaction.atomic():
        move(
            plan,
            State.APPROVED,
            approved_by=actor.person,
            approved_by_name=actor.name,
            approved_at=timezone.now(),
            approved_digest=digest(plan),
        )
        _record(plan, by=actor, action="plan.approved", plan_digest=plan.approved_digest)


def reject(plan: PlanRun, *, reason: str, by: Any) -> None:
    """Turn a projected plan down, for good. Raises `InvalidState`, and `InvalidPlan` without a reason."""
    if not reason.strip():
        raise InvalidPlan([{"path": "reason", "code": "blank_value", "message": "Say why the plan is rejected."}])
    with transaction.atomic():
        move(plan, State.REJECTED, rejected_reason=reason)
        _record(plan, by=by, action="plan.rejected", reason=reason)


def apply(plan: PlanRun, *, by: Any) -> tuple[Change, Receipt]:
    """Make the proposed routes live: routes, version, plan and audit entry in one transaction.

    Raises `NotFound`, `InvalidState`, `ApprovalRequired`, `ApprovalVoid`, `StalePlan`, and what `publish` raises.
    """
    actor = as_actor(by)
    with publish(
        plan.org_id, by=actor, action="plan.applied", target=("plan", plan.pk), note=plan.name, always_record=True
    ) as change:
        plan = get_plan(change.org, plan.pk)  # as it is now that the organisation is locked
        _may_apply(plan, change.org)
        if plan.base_digest != change.base_digest:
            raise StalePlan(
                f"The routes changed since this plan was made (version {plan.base_version}, now {change.base_version})."
                " Make a new plan on today's routes."
            )
        live = would_be_live(change.base_content["routes"], plan.proposed_routes, plan.mode)
        is_change = digest_of(content_with(live, default=change.base_content["default"])) != change.base_digest
        inverse = make_live(change.org, live, revision=change.version)
        now = timezone.now()
        move(
            plan,
            State.APPLIED,
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
    if plan.state not in (State.PROJECTED, State.APPROVED):
        raise InvalidState(plan, "applied")
    if plan.state == State.PROJECTED and org.approval == Organization.Approval.PLANS:
        raise ApprovalRequired("Somebody other than the author must approve this plan first.")
    if plan.state == State.APPROVED and plan.approved_digest != digest(plan):
        raise ApprovalVoid("This plan is not what was approved. Ask for a new approval.")


def revert(plan: PlanRun, *, by: Any) -> tuple[Change, Receipt]:
    """Undo an applied plan as a new version.

    Raises `InvalidState`, `RevertConflict` where its routes were changed again, and what `publish` raises.
    """
    with publish(
        plan.org_id,
        by=by,
        action="plan.reverted",
        target=("plan", plan.pk),
        note=f"Reverts {plan.name}",
        always_record=True,
    ) as change:
        plan = get_plan(change.org, plan.pk)
        if plan.state != State.APPLIED:
            raise InvalidState(plan, "reverted")
        inverse = json.loads(plan.inverse)
        if names := conflicts(change.org, inverse):
            raise RevertConflict(
                f"Changed again since the plan was applied: {', '.join(names)}. Undo those changes first, or edit the"
                " routes by hand."
            )
        back = undone(change.base_content["routes"], inverse)
        names = Counter(route["name"] for route in back)
        if taken := [name for name, count in names.items() if count > 1]:
            raise RevertConflict(f"Another route is called {', '.join(taken)} by now. Rename it first.")
        is_change = digest_of(content_with(back, default=change.base_content["default"])) != change.base_digest
        make_live(change.org, back, revision=change.version)
        move(
            plan,
            State.REVERTED,
            reverted_at=timezone.now(),
            reverted_version=change.version if is_change else change.base_version,
        )
        change.payload |= {"plan_id": str(plan.pk), "name": plan.name, "applied_version": plan.applied_version}
    assert change.receipt is not None  # always_record
    return change, change.receipt


def _record(plan: PlanRun, *, by: Any, action: str, **payload: Any) -> Receipt:
    return record(plan.org_id, by=by, action=action, target=("plan", plan.pk), payload=payload)
