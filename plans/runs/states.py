"""The life of a plan as a table: which state moves to which. One function moves."""

from typing import Any

from plans.errors import PlansError
from plans.runs.models import PlanRun, State

TRANSITIONS: dict[State, frozenset[State]] = {
    State.DRAFT: frozenset({State.QUEUED, State.CANCELLED}),
    State.QUEUED: frozenset({State.RUNNING, State.CANCELLED}),
    # Back to queued when a worker loses its lease.
    State.RUNNING: frozenset({State.PROJECTED, State.FAILED, State.CANCELLED, State.QUEUED}),
    # Straight to applied where the organisation asks for no approval.
    State.PROJECTED: frozenset({State.APPROVED, State.REJECTED, State.APPLIED, State.SUPERSEDED, State.CANCELLED}),
    # Back to projected when an approval is voided.
    State.APPROVED: frozenset({State.SCHEDULED, State.APPLIED, State.PROJECTED, State.SUPERSEDED, State.CANCELLED}),
    State.SCHEDULED: frozenset({State.APPLIED, State.APPROVED, State.SUPERSEDED}),
    State.APPLIED: frozenset({State.REVERTED}),
    State.FAILED: frozenset(),
    State.CANCELLED: frozenset(),
    State.REJECTED: frozenset(),
    State.SUPERSEDED: frozenset(),
    State.REVERTED: frozenset(),
}


class InvalidState(PlansError):
    """The plan's state does not allow this; `state` is the state it is in."""

    code = "invalid_state"

    def __init__(self, plan: PlanRun, wanted: str) -> None:
        super().__init__(f"This plan is {State(plan.state).label.lower()}; it cannot become {wanted}.")
        self.state = plan.state


def move(plan: PlanRun, to: State, *, fence: int | None = None, **fields: Any) -> None:
    """Move the plan to another state and set these fields, in one statement that checks what it was.

    A plan that is scheduled no more loses its time. `fence` is the number of a worker's claim: with it the move happens
    only while that claim stands. Raises `InvalidState`, with the state that the row has now.
    """
    if to in TRANSITIONS[State(plan.state)]:
        if plan.state == State.SCHEDULED:
            fields = {"apply_at": None, "scheduled_by": "", "scheduled_by_name": "", **fields}
        rows = PlanRun.objects.filter(pk=plan.pk, state=plan.state)
        if fence is not None:
            rows = rows.filter(fence=fence)
        if rows.update(state=to, **fields):
            plan.state = to
            for name, value in fields.items():
                setattr(plan, name, value)
            return
        plan.refresh_from_db()
    raise InvalidState(plan, State(to).label.lower())
