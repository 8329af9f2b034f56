"""The admin's pages about plans: the list, making one, its answer, and the steps of its life."""

import json
from typing import Any

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
from plans.runs.answer import answer, cost_rows, earlier_version, kept, latency_rows, percent_text, route_rows, unknowns
from plans.runs.errors import InvalidPlan
from plans.runs.forms import PlanForm, ReasonForm
from plans.runs.models import PlanRun, State
from plans.runs.proposals import content_of
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
        {"title": "Plans", "rows": [{"plan": plan, "answer": answer(plan)} for plan in rows]},
    )


def plan_new(request: HttpRequest) -> HttpResponse:
    span = RequestLog.objects.of(request.org).aggregate(first=Min("ts"), last=Max("ts"))
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
            "live": json.dumps(document_of(request.org).content["routes"], indent=2, ensure_ascii=False),
            "models": sorted({price.model for price in prices_for(request.org)}),
        },
        status=422 if form.errors else 200,
    )


def plan(
    request: HttpRequest, id: str, reject_form: ReasonForm | None = None, nevertheless: Nevertheless | None = None
) -> HttpResponse:
    """The answer first; then what would change, the steps that are possible, and the figures. `nevertheless`: the examples
    that a step would break."""
    run = _plan_or_404(request, id)
    result = run.outcome
    org: Organization = request.org
    person = as_actor(request.actor).person
    live = document_of(org)
    is_stale = live.digest != run.base_digest and run.state in (State.PROJECTED, State.APPROVED)
    needs_approval = org.approval == Organization.Approval.PLANS and run.state == State.PROJECTED
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
            "live_version": live.version,
            "needs_approval": needs_approval,
            "is_own": person == run.created_by,
            "may_approve": run.state == State.PROJECTED and person != run.created_by,
            "may_apply": not is_stale and not needs_approval and run.state in (State.PROJECTED, State.APPROVED),
            "may_reject": run.state == State.PROJECTED,
            "reject_form": reject_form or ReasonForm(),
            "may_cancel": run.state in (State.DRAFT, State.QUEUED, State.RUNNING, State.PROJECTED, State.APPROVED),
            "may_revert": run.state == State.APPLIED,
            "is_waiting": run.state in (State.QUEUED, State.RUNNING),
            "nevertheless": nevertheless,
        },
        status=422 if reject_form or nevertheless else 200,
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


def _changes(run: PlanRun) -> list[dict[str, str]]:
    """What would change, or changed, route by route, in words."""
    was = content_at(run.org_id, run.base_version) or EMPTY_CONTENT
    return compared(was, content_of(run, was))


class _Mistakes(Exception):
    """The form of a step has some, which the plan's page shows beside what was written."""

    def __init__(self, form: ReasonForm) -> None:
        self.form = form


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
            messages.success(request, STEPS[step](run, request))
    except ExampleBroken:
        return plan(request, id, nevertheless=nevertheless)
    except _Mistakes as mistakes:
        return plan(request, id, mistakes.form)
    except (engine.errors.RoutingError, PlansError, RoutesError) as error:
        messages.error(request, str(error))
    return redirect("admin:plan", request.org.slug, run.pk)


def _approve(run: PlanRun, request: HttpRequest) -> str:
    services.approve(run, by=request.actor)
    return "Approved."


def _reject(run: PlanRun, request: HttpRequest) -> str:
    form = ReasonForm(request.POST)
    if not form.is_valid():
        raise _Mistakes(form)
    services.reject(run, reason=form.cleaned_data["reason"], by=request.actor)
    return "Rejected."


def _cancel(run: PlanRun, request: HttpRequest) -> str:
    services.cancel(run, by=request.actor)
    return "Cancelled."


def _apply(run: PlanRun, request: HttpRequest) -> str:
    change, receipt = services.apply(run, by=request.actor)
    live = f"Live as version {change.version}" if change.changed else "Applied; it changed no route"
    return f"{live}. Audit receipt: entry {receipt.seq}, {receipt.leaf_hash[:16]}…"


def _revert(run: PlanRun, request: HttpRequest) -> str:
    change, receipt = services.revert(run, by=request.actor)
    return f"Reverted: version {change.version} is live. Audit receipt: entry {receipt.seq}, {receipt.leaf_hash[:16]}…"


STEPS = {"approve": _approve, "reject": _reject, "cancel": _cancel, "apply": _apply, "revert": _revert}
APPROVER_STEPS = {"approve", "reject", "apply", "revert"}


def _plan_or_404(request: HttpRequest, id: str) -> PlanRun:
    try:
        return services.get_plan(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error


plans.required_role = "viewer"
plan_new.required_role = "editor"
plan.required_role = "viewer"
plan_step.required_role = "editor"

PAGES = [
    path("plans/", plans, name="plans"),
    path("plans/new/", plan_new, name="plan_new"),
    path("plans/<uuid:id>/", plan, name="plan"),
    *(path(f"plans/<uuid:id>/{step}/", plan_step, {"step": step}, name=f"plan_{step}") for step in STEPS),
]
