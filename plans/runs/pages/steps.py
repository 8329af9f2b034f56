"""The steps of a plan's life: first a page that says in numbers what the step will do, then the step."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, NamedTuple

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render

from plans.errors import PlansError
from plans.runs import services
from plans.runs.answer import headline_of, lead
from plans.runs.effects import an_hour, in_numbers, in_the_way, reverted
from plans.runs.errors import InvalidTime, PlanChanged, RevertConflict
from plans.runs.forms import ReasonForm, ScheduleForm
from plans.runs.models import PlanRun, State
from plans.runs.pages.found import plan_or_404
from plans.runs.pages.shown import possible
from plans.runs.proposals import content_of
from plans.runs.states import InvalidState
from routes import engine
from routes.document import EMPTY_CONTENT, content_at
from routes.errors import RoutesError
from routes.examples.forms import Nevertheless
from routes.live import live
from routes.publish import ExampleBroken
from routes.rules.compared import compared
from routes.versions.difference import changes_between

#: Changes that the page of a step names; the plan's own page has all.
_CHANGES: Final = 10
NEEDS_APPROVER: Final = "This needs an approver."


class Mistakes(Exception):
    """The form of a step has some, or is needed first: its page shows it with what was written, and the message."""

    def __init__(self, form: forms.Form, message: str = "") -> None:
        self.form, self.message = form, message


class Step(NamedTuple):
    """`title` asks with the plan's name behind it; `button` says what is done. `may` names what of `possible` it needs."""

    title: str
    button: str
    may: str
    #: Answers what to say, or another plan to go to with that.
    act: Callable[[PlanRun, HttpRequest], str | tuple[PlanRun, str]]
    kind: str = "primary"
    needs_approver: bool = True


def plan_step(request: HttpRequest, id: str, step: str) -> HttpResponse:
    """What the step will do; sent, the step itself."""
    run = plan_or_404(request, id)
    if request.method != "POST":
        return _page(request, run, step)
    if not _has_role(request, step):
        messages.error(request, NEEDS_APPROVER)
        return redirect("admin:plan", request.org.slug, run.pk)
    nevertheless = Nevertheless(request)
    if not nevertheless.is_acceptable():
        return _page(request, run, step, nevertheless=nevertheless)
    try:
        with nevertheless.bound():
            done = STEPS[step].act(run, request)
    except ExampleBroken:
        return _page(request, run, step, nevertheless=nevertheless)
    except Mistakes as mistakes:
        return _page(request, run, step, mistakes=mistakes)
    except (engine.errors.RoutingError, PlansError, RoutesError) as error:
        messages.error(request, str(error))
    else:
        run, said = done if isinstance(done, tuple) else (run, done)
        messages.success(request, said)
    return redirect("admin:plan", request.org.slug, run.pk)


def _lead(run: PlanRun) -> str:
    """The answer in one sentence; "" before there is one."""
    result = run.outcome
    return (lead(result, (run.window_start, run.window_end)) or headline_of(result)) if result else ""


def _has_role(request: HttpRequest, step: str) -> bool:
    return not STEPS[step].needs_approver or request.role.includes("approver")


def _page(
    request: HttpRequest,
    run: PlanRun,
    step: str,
    *,
    mistakes: Mistakes | None = None,
    nevertheless: Nevertheless | None = None,
) -> HttpResponse:
    shown = STEPS[step]
    now = live(request.org).document
    if step == "revert" and run.state == State.APPLIED:
        base, content = now.content, reverted(run, now.content)
    else:
        base = content_at(run.org_id, run.base_version) or EMPTY_CONTENT
        content = content_of(run, base)
    changes = changes_between(base, content)
    may = possible(request, run, now.digest)
    is_possible = may[shown.may] and _has_role(request, step)
    form = mistakes.form if mistakes else _form(run, step, request)
    return render(
        request,
        "plans/step.html",
        {
            "title": f"{shown.title} “{run.name}”?",
            "plan": run,
            "step": step,
            "shown": shown,
            # The button repeats it: that is what is looked at last.
            "button": f"{shown.button}: {in_numbers(changes)}" if step == "apply" else shown.button,
            "is_possible": is_possible,
            "why": "" if is_possible else _why_not(run, step, may, request),
            "action": f"admin:plan_{step}",
            "seen": services.tag(run),
            "lead": _lead(run) if step not in ("cancel", "revert") else "",
            "facts": _facts(run, step, now.version, changes, request) if is_possible else [],
            "changes": (
                compared(base, content, changes=changes, most=_CHANGES)
                if is_possible and step in ("approve", "apply", "schedule", "revert")
                else []
            ),
            "form": form,
            "refused": mistakes.message if mistakes else "",
            "typed": form["reason"].value() if mistakes and not is_possible and "reason" in form.fields else "",
            "nevertheless": nevertheless,
        },
        status=422 if mistakes or nevertheless else 200,
    )


def _why_not(run: PlanRun, step: str, may: dict[str, bool], request: HttpRequest) -> str:
    """Why the step is not possible, and what is."""
    state = run.get_state_display().lower()
    if not _has_role(request, step):
        return NEEDS_APPROVER
    if request.org.frozen_at:
        return "The organisation is frozen: nothing can be changed until an admin unfreezes it."
    if may["is_stale"] and step in ("approve", "apply", "schedule"):
        return "The routes changed since this plan was made. Make it again on today's routes first."
    if may["is_void"] and step in ("apply", "schedule"):
        return f"This plan is not what {run.approved_by_name} approved. It needs a new approval first."
    if step == "approve" and run.state == State.PROJECTED and may["is_own"]:
        return "You made or changed this plan, so somebody else has to approve it."
    if step in ("apply", "schedule") and run.state == State.PROJECTED:
        return "Somebody other than its author has to approve this plan first."
    return f"This plan is {state}, so that cannot be done with it."


def _form(run: PlanRun, step: str, request: HttpRequest) -> forms.Form | None:
    if step == "reject":
        return ReasonForm(prefix="reject")
    if step == "schedule":
        return ScheduleForm(prefix="schedule", initial={"apply_at": run.apply_at})
    if step == "revert" and run.state == State.APPLIED and in_the_way(request.org, run):
        return ReasonForm(prefix="force")
    return None


def _facts(
    run: PlanRun, step: str, version: int, changes: list[dict[str, Any]], request: HttpRequest
) -> list[tuple[str, str]]:
    """What the step does, as (what about, in words)."""
    goes_live = [("Routes", in_numbers(changes)), ("Version", f"{version} → {version + 1 if changes else version}")]
    result = run.outcome
    if result is not None:
        goes_live.append(("Requests", an_hour(run, result)))
    if step == "apply":
        who = [("Approved by", run.approved_by_name)] if run.approved_by_name else []
        return [*goes_live, *who, ("Back", "Reverting it is one step, which makes another version.")]
    if step == "approve":
        return [
            ("Now", "Nothing goes live: it may be applied from then on."),
            ("Then", in_numbers(changes)),
            *goes_live[2:],
        ]
    if step == "schedule":
        return [*goes_live, ("Then", "All is checked again at that time: the approval, the routes, and your role.")]
    if step == "reject":
        who = run.created_by_name or "its author"
        return [
            (
                "Then",
                f"It is over: {who} sees your reason, and may make another plan. {in_numbers(changes)} never go live.",
            )
        ]
    if step == "cancel":
        return [("Then", _cancelling(run))]
    if step == "project":
        return [("Then", "The worker tries the routes of the plan on the requests of its window. Nothing goes live.")]
    if step == "rebase":
        return [("Then", f"The same proposal is tried on today's routes, version {version}. Nothing goes live.")]
    if step == "copy":
        return [
            ("Then", f"You get a draft that asks the same on today's routes, version {version}, and change it."),
            ("This plan", "It stays as it is."),
        ]
    facts = [
        *goes_live[:2],
        ("Applied", f"{_moment(run.applied_at)} as version {run.applied_version}"),
        ("Given up", f"The plan's answer was: {_lead(run)}"),
    ]
    if names := in_the_way(request.org, run):
        facts.append(("In the way", f"Changed again since: {', '.join(names[:_CHANGES])}. That is overwritten."))
    return facts


def _cancelling(run: PlanRun) -> str:
    if run.state == State.RUNNING and run.rows_total:
        return (
            f"The replay stops at {run.rows_done:,} of {run.rows_total:,} requests, and what it found is lost."
            " The same plan can be made again."
        )
    if run.approved_by_name:
        return f"The approval of {run.approved_by_name} is lost. The same plan can be made again."
    return "It is over, and its answer stays to be read. The same plan can be made again."


def _moment(at: datetime | None) -> str:
    return "" if at is None else f"{at:%Y-%m-%d %H:%M} UTC"


# --- The steps --------------------------------------------------------------------------------------------------------


def _seen(request: HttpRequest) -> str | None:
    """The tag of the plan as the page showed it."""
    return request.POST.get("seen")


def _project(run: PlanRun, request: HttpRequest) -> str:
    services.project(run, by=request.actor, seen=_seen(request))
    return "The replay waits for the worker."


def _rebase(run: PlanRun, request: HttpRequest) -> tuple[PlanRun, str]:
    return services.rebase(run, by=request.actor, seen=_seen(request)), "The same plan on today's routes."


def _copy(run: PlanRun, request: HttpRequest) -> tuple[PlanRun, str]:
    new = services.copy(run, by=request.actor, seen=_seen(request))
    return new, f"This is a copy of “{run.name}” on today's routes. Change what you want to try."


def _schedule(run: PlanRun, request: HttpRequest) -> str:
    if "call_off" in request.POST:
        services.schedule(run, None, by=request.actor, seen=_seen(request))
        return "Called off: the plan is approved and waits for you."
    form = ScheduleForm(request.POST, prefix="schedule")
    if form.is_valid():
        try:
            services.schedule(run, form.cleaned_data["apply_at"], by=request.actor, seen=_seen(request))
        except InvalidTime as error:
            form.add_error("apply_at", str(error))
        except PlanChanged as error:
            raise Mistakes(form, str(error)) from error
        else:
            return f"It is applied at {form.cleaned_data['apply_at']:%Y-%m-%d %H:%M} UTC."
    raise Mistakes(form)


def _approve(run: PlanRun, request: HttpRequest) -> str:
    services.approve(run, by=request.actor, seen=_seen(request))
    return "Approved."


def _reject(run: PlanRun, request: HttpRequest) -> str:
    form = ReasonForm(request.POST, prefix="reject")
    if not form.is_valid():
        raise Mistakes(form)
    try:
        services.reject(run, reason=form.cleaned_data["reason"], by=request.actor, seen=_seen(request))
    except (InvalidState, PlanChanged) as error:
        raise Mistakes(form, str(error)) from error
    return "Rejected."


def _cancel(run: PlanRun, request: HttpRequest) -> str:
    services.cancel(run, by=request.actor, seen=_seen(request))
    return "Cancelled."


def _apply(run: PlanRun, request: HttpRequest) -> str:
    change, receipt = services.apply(run, by=request.actor, seen=_seen(request))
    live = f"Live as version {change.version}" if change.changed else "Applied; it changed no route"
    return f"{live}. {receipt}"


def _revert(run: PlanRun, request: HttpRequest) -> str:
    is_forced = "force-reason" in request.POST
    form = ReasonForm(request.POST if is_forced else None, prefix="force")
    if is_forced and not form.is_valid():
        raise Mistakes(form)
    reason = form.cleaned_data["reason"] if is_forced else ""
    try:
        change, receipt = services.revert(run, by=request.actor, force_reason=reason, seen=_seen(request))
    except PlanChanged as error:
        if not is_forced:
            raise
        raise Mistakes(form, str(error)) from error
    except RevertConflict as error:
        if is_forced or not error.can_be_forced:
            raise
        raise Mistakes(form, str(error)) from error
    return f"Reverted: version {change.version} is live. {receipt}"


STEPS: Final = {
    "project": Step("Replay", "Start the replay", "may_project", _project, needs_approver=False),
    "rebase": Step("Make again", "Make it again on today's routes", "may_rebase", _rebase, needs_approver=False),
    "copy": Step("Change a copy of", "Make the copy", "may_copy", _copy, needs_approver=False),
    "approve": Step("Approve", "Approve", "may_approve", _approve),
    "reject": Step("Reject", "Reject", "may_reject", _reject, "danger"),
    "cancel": Step("Cancel", "Cancel the plan", "may_cancel", _cancel, "danger", needs_approver=False),
    "schedule": Step("Schedule", "Schedule", "may_schedule", _schedule),
    "apply": Step("Apply", "Apply", "may_apply", _apply),
    "revert": Step("Revert", "Revert", "may_revert", _revert, "danger"),
}

plan_step.required_role = "editor"
