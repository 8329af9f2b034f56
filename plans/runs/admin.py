"""The admin's pages about plans: the list, making one, its answer, and the steps of its life."""

import json
from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Max, Min
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.views.decorators.http import require_POST

from audit.actors import as_actor
from plans.errors import PlansError
from plans.logs.models import RequestLog
from plans.runs import services
from plans.runs.answer import (
    answer,
    cost_rows,
    earlier_version,
    headline,
    kept,
    latency_rows,
    percent_text,
    route_rows,
    unknowns,
)
from plans.runs.errors import InvalidPlan, InvalidTime, PlanChanged, RevertConflict
from plans.runs.forms import NamesForm, PlanForm, ReasonForm, ScheduleForm
from plans.runs.models import PlanRun, State
from plans.runs.proposals import FINAL, NAMES, QUESTION, content_of
from plans.runs.states import TRANSITIONS, InvalidState
from routes import engine
from routes.catalog.services import prices_for
from routes.document import EMPTY_CONTENT, content_at, document_of
from routes.errors import NotFound, RoutesError
from routes.examples.forms import Nevertheless
from routes.orgs.models import Organization
from routes.publish import ExampleBroken
from routes.rules.compared import compared

TEMPLATE = [
    {
        "name": "short requests to a small model",
        "priority": 100,
        "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 1000},
        "then": {"target_model": "gpt-4o-mini"},
    }
]


def plans(request: HttpRequest) -> HttpResponse:
    rows = PlanRun.objects.of(request.org).brief()[:100]
    return render(
        request,
        "plans/list.html",
        {"title": "Plans", "rows": [{"plan": plan, "headline": headline(plan)} for plan in rows]},
    )


def plan_new(request: HttpRequest) -> HttpResponse:
    span = _span(request)
    form = PlanForm(request.POST or None, initial={"routes": TEMPLATE}, **span)
    if request.method == "POST" and form.is_valid():
        try:
            plan = services.propose(request.org, by=request.actor, **form.cleaned_data)
            services.project(plan, by=request.actor)
        except InvalidPlan as error:
            form.add_issues(error.issues)
        except (engine.errors.RoutingError, RoutesError) as error:
            form.add_error(None, str(error))
        else:
            return redirect("admin:plan", request.org.slug, plan.pk)
    return render(
        request,
        "plans/form.html",
        {
            "title": "New plan",
            "form": form,
            "span": span,
            **_completions(request),
        },
        status=422 if form.errors else 200,
    )


def plan_edit(request: HttpRequest, id: str) -> HttpResponse:
    """A draft with all that it asks; of another plan its name and its note."""
    run = _plan_or_404(request, id)
    seen, form = request.POST.get("seen", services.tag(run)), _edit_form(run, request)
    if request.method == "POST" and form.is_valid():
        given = {field: form.cleaned_data[field] for field in form.changed_data}
        try:
            services.edit(run, by=request.actor, seen=seen, **given)
        except PlanChanged:
            seen, form = services.tag(run), _edit_form(run, request)
            form.add_error(None, _changed_meanwhile(run, is_all_kept=not _typed_in_vain(run, request)))
        except InvalidPlan as error:
            form.add_issues(error.issues) if isinstance(form, PlanForm) else form.add_error(None, str(error))
        except (engine.errors.RoutingError, PlansError, RoutesError) as error:
            form.add_error(None, str(error))
        else:
            return redirect("admin:plan", request.org.slug, run.pk)
    typed = _typed_in_vain(run, request)
    context = {"title": f"Edit “{run.name}”", "form": form, "plan": run, "seen": seen, "typed": typed}
    if isinstance(form, PlanForm):
        context |= {"span": _span(request), **_completions(request)}
    return render(request, "plans/form.html", context, status=422 if form.errors else 200)


def _edit_form(run: PlanRun, request: HttpRequest) -> forms.Form:
    if run.state == State.DRAFT:
        return PlanForm(request.POST or None, initial=_asked(run), **_span(request))
    return NamesForm(request.POST or None, initial=_asked(run))


def _asked(run: PlanRun) -> dict[str, Any]:
    """What the plan asks, by the fields of its form."""
    return {**{field: getattr(run, field) for field in (*NAMES, "mode", *QUESTION)}, "routes": run.proposed_routes}


def _typed_in_vain(run: PlanRun, request: HttpRequest) -> list[forms.BoundField]:
    """What was written into the form of a draft, and cannot be kept because the plan is none any more."""
    if run.state == State.DRAFT:
        return []
    form = PlanForm(request.POST, initial=_asked(run))
    return [form[name] for name in form.changed_data if name in request.POST and name not in NAMES]


def _changed_meanwhile(run: PlanRun, *, is_all_kept: bool) -> str:
    now = f"it is called “{run.name}” and {run.get_state_display().lower()} now"
    if run.state in FINAL:
        rest = "Nothing of it can be changed any more. What you wrote is still below, to copy from."
    elif is_all_kept:
        rest = "Your input is still below; save again to keep it."
    else:
        rest = (
            "Only its name and note can be changed any more; save again to keep yours. What else you wrote is still below,"
            " to copy into a new plan."
        )
    return f"Somebody changed this plan after you opened it: {now}. {rest}"


def _span(request: HttpRequest) -> dict[str, Any]:
    """The times of the oldest and newest logged request."""
    return RequestLog.objects.of(request.org).aggregate(first=Min("ts"), last=Max("ts"))


def _completions(request: HttpRequest) -> dict[str, Any]:
    return {
        "live": json.dumps(document_of(request.org).content["routes"], indent=2, ensure_ascii=False),
        "models": sorted({price.model for price in prices_for(request.org)}),
    }


def plan(
    request: HttpRequest,
    id: str,
    mistakes: "_Mistakes | None" = None,
    nevertheless: Nevertheless | None = None,
) -> HttpResponse:
    """The answer first; then what would change, the steps that are possible, and the figures. `nevertheless`: the examples
    that a step would break."""
    run = _plan_or_404(request, id)
    result = run.outcome
    org: Organization = request.org
    person = as_actor(request.actor).person
    is_own = person == run.created_by or person in run.edited_by
    live = document_of(org)
    is_ready = run.state in (State.PROJECTED, State.APPROVED, State.SCHEDULED)
    is_stale = live.digest != run.base_digest and (is_ready or run.state == State.DRAFT)
    needs_approval = org.approval != Organization.Approval.NONE and run.state == State.PROJECTED
    is_void = services.is_void(run)
    possible = {
        "may_approve": (run.state == State.PROJECTED or is_void) and not is_own,
        "may_apply": not is_stale and not needs_approval and not is_void and is_ready,
        "may_reject": run.state == State.PROJECTED,
        "may_schedule": run.state in (State.APPROVED, State.SCHEDULED) and not is_stale and not is_void,
        "may_cancel": State.CANCELLED in TRANSITIONS[State(run.state)],
        "may_edit": run.state not in FINAL,
        "may_project": run.state == State.DRAFT,
        "may_rebase": is_stale or (run.state in FINAL and run.state != State.APPLIED),
        "may_revert": run.state == State.APPLIED,
    }
    return render(
        request,
        "plans/detail.html",
        {
            "title": run.name,
            "plan": run,
            "answer": answer(run),
            "result": result,
            **(_figures(result) if result else {}),
            "changes": _changes(run),
            "is_stale": is_stale,
            "since": compared(_base(run), live.content) if is_stale else [],
            "live_version": live.version,
            "needs_approval": needs_approval or is_void,
            "is_void": is_void,
            "seen": services.tag(run),
            "is_own": is_own,
            **{name: may and not org.frozen_at for name, may in possible.items()},
            "is_waiting": run.state in (State.QUEUED, State.RUNNING),
            "successor": PlanRun.objects.of(org).brief().filter(pk=run.superseded_by).first()
            if run.superseded_by
            else None,
            "reject_form": ReasonForm(prefix="reject"),
            "schedule_form": ScheduleForm(prefix="schedule", initial={"apply_at": run.apply_at}),
            **({mistakes.name: mistakes.form, "refused": mistakes.message} if mistakes else {}),
            "nevertheless": nevertheless,
        },
        status=422 if mistakes or nevertheless else 200,
    )


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    hit_rate = result["aggregates"].get("cache_hit_rate_projected")
    return {
        "costs": cost_rows(result),
        "kept": kept(result["aggregates"]),
        "hit_rate": None if hit_rate is None else percent_text(100 * hit_rate),
        "latencies": latency_rows(result),
        "unknowns": unknowns(result),
        "by_route": route_rows(result),
        "earlier_version": earlier_version(result),
    }


def _changes(run: PlanRun) -> list[dict[str, Any]]:
    """What would change, or changed, route by route, in words."""
    was = _base(run)
    return compared(was, content_of(run, was))


def _base(run: PlanRun) -> dict[str, Any]:
    return content_at(run.org_id, run.base_version) or EMPTY_CONTENT


class _Mistakes(Exception):
    """The form of a step has some, or is needed first: the plan's page shows it with what was written, and the message."""

    def __init__(self, name: str, form: forms.Form, message: str = "") -> None:
        self.name, self.form, self.message = name, form, message


@require_POST
def plan_step(request: HttpRequest, id: str, step: str) -> HttpResponse:
    """One of the steps that editors may do, or that need an approver."""
    run = _plan_or_404(request, id)
    if step in APPROVER_STEPS and not request.role.includes("approver"):
        messages.error(request, "This needs an approver.")
        return redirect("admin:plan", request.org.slug, run.pk)
    nevertheless = Nevertheless(request)
    if not nevertheless.is_acceptable():
        return plan(request, id, nevertheless=nevertheless)
    try:
        with nevertheless.bound():
            done = STEPS[step](run, request)
    except ExampleBroken:
        return plan(request, id, nevertheless=nevertheless)
    except _Mistakes as mistakes:
        return plan(request, id, mistakes)
    except (engine.errors.RoutingError, PlansError, RoutesError) as error:
        messages.error(request, str(error))
    else:
        if isinstance(done, PlanRun):
            run, done = done, "The same plan on today's routes."
        messages.success(request, done)
    return redirect("admin:plan", request.org.slug, run.pk)


def _seen(request: HttpRequest) -> str | None:
    """The tag of the plan as the page showed it."""
    return request.POST.get("seen")


def _project(run: PlanRun, request: HttpRequest) -> str:
    services.project(run, by=request.actor, seen=_seen(request))
    return "The replay waits for the worker."


def _rebase(run: PlanRun, request: HttpRequest) -> PlanRun:
    return services.rebase(run, by=request.actor, seen=_seen(request))


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
            raise _Mistakes("schedule_form", form, str(error)) from error
        else:
            return f"It is applied at {form.cleaned_data['apply_at']:%Y-%m-%d %H:%M} UTC."
    raise _Mistakes("schedule_form", form)


def _approve(run: PlanRun, request: HttpRequest) -> str:
    services.approve(run, by=request.actor, seen=_seen(request))
    return "Approved."


def _reject(run: PlanRun, request: HttpRequest) -> str:
    form = ReasonForm(request.POST, prefix="reject")
    if not form.is_valid():
        raise _Mistakes("reject_form", form)
    try:
        services.reject(run, reason=form.cleaned_data["reason"], by=request.actor, seen=_seen(request))
    except (InvalidState, PlanChanged) as error:
        raise _Mistakes("reject_form", form, str(error)) from error
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
        raise _Mistakes("force_form", form)
    reason = form.cleaned_data["reason"] if is_forced else ""
    try:
        change, receipt = services.revert(run, by=request.actor, force_reason=reason, seen=_seen(request))
    except PlanChanged as error:
        if not is_forced:
            raise
        raise _Mistakes("force_form", form, str(error)) from error
    except RevertConflict as error:
        if is_forced or not error.can_be_forced:
            raise
        raise _Mistakes("force_form", form, str(error)) from error
    return f"Reverted: version {change.version} is live. {receipt}"


STEPS: dict[str, Callable[[PlanRun, HttpRequest], str | PlanRun]] = {
    "project": _project,
    "rebase": _rebase,
    "approve": _approve,
    "reject": _reject,
    "cancel": _cancel,
    "schedule": _schedule,
    "apply": _apply,
    "revert": _revert,
}
APPROVER_STEPS = {"approve", "reject", "schedule", "apply", "revert"}


def _plan_or_404(request: HttpRequest, id: str) -> PlanRun:
    try:
        return services.get_plan(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error


plans.required_role = "viewer"
plan_new.required_role = "editor"
plan_edit.required_role = "editor"
plan.required_role = "viewer"
plan_step.required_role = "editor"

PAGES = [
    path("plans/", plans, name="plans"),
    path("plans/new/", plan_new, name="plan_new"),
    path("plans/<uuid:id>/", plan, name="plan"),
    path("plans/<uuid:id>/edit/", plan_edit, name="plan_edit"),
    *(path(f"plans/<uuid:id>/{step}/", plan_step, {"step": step}, name=f"plan_{step}") for step in STEPS),
]
