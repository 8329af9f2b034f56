"""What is refused about plans."""

from typing import Any

from plans.errors import PlansError

#: Of the issues of a plan, so many are in its one sentence.
NAMED = 5


class InvalidPlan(PlansError):
    """The plan's own fields are not acceptable; `issues` says which and why."""

    code = "invalid_plan"

    def __init__(self, issues: list[dict[str, str]]) -> None:
        more = f"; and {len(issues) - NAMED:,} more" if len(issues) > NAMED else ""
        super().__init__("; ".join(issue["message"] for issue in issues[:NAMED]) + more)
        self.issues = issues


class PlanChanged(PlansError):
    """Somebody changed the plan since the caller looked at it; `plan` is what it is now."""

    code = "stale_plan_edit"

    def __init__(self, plan: Any) -> None:
        super().__init__("The plan was changed after you looked. Look again.")
        self.plan = plan


class OwnPlan(PlansError):
    """A plan is approved by a person, and by another one than its author."""

    code = "own_plan"


class ApprovalVoid(PlansError):
    """The plan is not what was approved."""

    code = "approval_void"


class StalePlan(PlansError):
    """The live routes are not those that the plan stands on. `difference` says what changed since, `touched` names what of
    it the plan changes too."""

    code = "stale_plan"

    def __init__(self, message: str, *, difference: list[dict[str, Any]], touched: list[str], version: int) -> None:
        super().__init__(message)
        self.difference, self.touched, self.version = difference, touched, version


class RevertConflict(PlansError):
    """What the plan changed was changed again since; `names` says what."""

    code = "revert_conflict"

    def __init__(self, message: str, names: list[str], *, can_be_forced: bool = True) -> None:
        super().__init__(message)
        self.names, self.can_be_forced = names, can_be_forced


class InvalidTime(PlansError):
    """A plan is applied at a time to come, within a year."""

    code = "invalid_time"


class MissedTime(PlansError):
    """No worker ran when the plan was to be applied."""

    code = "missed_time"


class NotAllowed(PlansError):
    """Who scheduled the plan may not apply it any more."""

    code = "not_allowed"
