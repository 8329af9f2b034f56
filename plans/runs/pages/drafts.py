"""Making a plan: a name, a draft that is a copy of today's routes, the requests to replay; or all of it as JSON."""

import json
from typing import Any, Final

from django import forms
from django.db.models import Max, Min
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render

from plans.errors import PlansError
from plans.logs.models import RequestLog
from plans.runs import services
from plans.runs.errors import InvalidPlan, PlanChanged
from plans.runs.forms import SETTINGS, NamesForm, NewForm, PlanForm, TrafficForm, usual_windows
from plans.runs.models import PlanRun, State
from plans.runs.pages.found import plan_or_404
from plans.runs.proposals import FINAL, NAMES, QUESTION, content_of
from routes import engine
from routes.catalog.services import prices_for
from routes.document import document_of
from routes.engine import Document
from routes.errors import RoutesError
from routes.rules.content import same
from routes.rules.sentences import condition, default_effect, effect, standing
from routes.versions.difference import changes_between

TEMPLATE: Final = [
    {
        "name": "short requests to a small model",
        "priority": 100,
        "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 1000},
        "then": {"target_model": "gpt-4o-mini"},
    }
]
#: Routes of a draft that are listed where nobody asks for all or looks for some.
ROWS: Final = 50
#: Requests of a window are counted up to so many.
COUNTED: Final = 100_000


def plan_new(request: HttpRequest) -> HttpResponse:
    """A draft on today's routes, and then its page."""
    span, form = _span(request), NewForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        windows = usual_windows(**span)
        chosen = windows.get("week") or windows["all"]
        try:
            asked = {"window_start": chosen.start, "window_end": chosen.end}
            plan = services.propose(request.org, by=request.actor, routes=[], **form.cleaned_data, **asked)
        except (engine.errors.RoutingError, PlansError, RoutesError) as error:
            form.add_error(None, str(error))
        else:
            return redirect("admin:plan", request.org.slug, plan.pk)
    context = {"title": "New plan", "form": form, "span": span}
    return render(request, "plans/new.html", context, status=422 if form.errors else 200)


def plan_new_json(request: HttpRequest) -> HttpResponse:
    """All at once, for those who have the routes as JSON."""
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
    context = {"title": "New plan", "form": form, "span": span, **_completions(request)}
    return render(request, "plans/form.html", context, status=422 if form.errors else 200)


def plan_edit(request: HttpRequest, id: str) -> HttpResponse:
    """A draft with all that it asks, as JSON; of another plan its name and its note."""
    run = plan_or_404(request, id)
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
    """The times of the oldest and newest logged request. Two queries: of two ends at once SQLite reads all between them."""
    rows = RequestLog.objects.of(request.org).order_by()
    return {**rows.aggregate(first=Min("ts")), **rows.aggregate(last=Max("ts"))}


def _completions(request: HttpRequest) -> dict[str, Any]:
    return {
        "live": json.dumps(document_of(request.org).content["routes"], indent=2, ensure_ascii=False),
        "models": sorted({price.model for price in prices_for(request.org)}),
    }


# --- The page of a draft ----------------------------------------------------------------------------------------------


def draft_context(
    request: HttpRequest, run: PlanRun, live: Document, *, traffic: TrafficForm | None = None
) -> dict[str, Any]:
    """What the page of a draft needs beside what each plan's page shows."""
    span = _span(request)
    windows = usual_windows(**span)
    today = live.content
    wanted = content_of(run, today)
    known = {route["id"]: route for route in today["routes"]}
    changes = changes_between(today, wanted)
    words = request.GET.get("q", "").strip()
    routes = [route for route in wanted["routes"] if words.lower() in route["name"].lower()]
    shown = routes if request.GET.get("all") == "draft" else routes[:ROWS]
    return {
        "span": span,
        "windows": windows,
        "traffic": traffic or _traffic_form(run, windows),
        "rows": [_row(route, known.get(route["id"])) for route in shown],
        "rows_total": len(routes),
        "routes_total": len(wanted["routes"]),
        "q": words,
        "differing": [change for change in changes if change["route_id"] is not None][:ROWS],
        "differing_total": len(changes),
        "default": default_effect(wanted["default"]),
        "default_changes": any(change["route_id"] is None for change in changes),
    }


def _row(route: dict[str, Any], live: dict[str, Any] | None) -> dict[str, Any]:
    state = "added" if live is None else "" if same(live, route) else "changed"
    return {
        "uid": route["id"],
        "name": route["name"],
        "priority": route["priority"],
        "when": condition(route["when"]),
        "then": effect(route["then"]),
        "standing": standing(route),
        "is_paused": route.get("paused", False),
        "state": state,
    }


def _traffic_form(run: PlanRun, windows: dict[str, Any], data: Any = None) -> TrafficForm:
    edges = run.window_start, run.window_end
    chosen = next((name for name, window in windows.items() if (window.start, window.end) == edges), TrafficForm.OTHER)
    initial = {field: getattr(run, field) for field in ("window_start", "window_end", *SETTINGS)}
    return TrafficForm(data, initial={**initial, "window": chosen}, windows=windows)


def draft_traffic(request: HttpRequest, run: PlanRun) -> TrafficForm:
    """The form of the draft's traffic as it was sent."""
    return _traffic_form(run, usual_windows(**_span(request)), request.POST)


def plan_windows(request: HttpRequest, id: str) -> HttpResponse:
    """How many requests each of the usual windows has, in words, as far as they are counted."""
    plan_or_404(request, id)
    words = {}
    for name, window in usual_windows(**_span(request)).items():
        rows = RequestLog.objects.of(request.org).between(window.start, window.end).order_by()
        count = rows.values("ts")[: COUNTED + 1].count()
        words[name] = f"more than {COUNTED:,} requests" if count > COUNTED else f"{count:,} request{'s'[: count != 1]}"
    return JsonResponse(words)


plan_new.required_role = "editor"
plan_new_json.required_role = "editor"
plan_edit.required_role = "editor"
plan_windows.required_role = "viewer"
