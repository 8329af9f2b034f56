"""The routes of a draft one by one, in the form in which routes are edited, and the requests that it asks about."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from plans.errors import PlansError
from plans.runs import services
from plans.runs.drafting import act_on_route, put_route
from plans.runs.errors import InvalidPlan
from plans.runs.models import PlanRun, State
from plans.runs.pages.drafts import draft_traffic
from plans.runs.pages.found import plan_or_404
from plans.runs.pages.shown import plan as plan_page
from plans.runs.proposals import content_of
from routes import engine
from routes.errors import RoutesError
from routes.live import live
from routes.orgs.models import new_id
from routes.rules.admin import editor_context
from routes.rules.forms import RouteForm
from routes.rules.sentences import sentence

REFUSED = (engine.errors.RoutingError, PlansError, RoutesError)


def plan_route(request: HttpRequest, id: str, route: str | None = None) -> HttpResponse:
    """One route of the draft, or a new one. Nothing goes live by it."""
    run = plan_or_404(request, id)
    if run.state != State.DRAFT:
        messages.error(
            request, f"This plan is {run.get_state_display().lower()}: its routes cannot be changed any more."
        )
        return redirect("admin:plan", request.org.slug, run.pk)
    was = _route_of(run, request, str(route)) if route else None
    form = RouteForm(request.POST) if request.method == "POST" else RouteForm(route=was) if was else RouteForm()
    if request.method == "POST" and form.is_valid():
        document = {"id": was["id"] if was else str(new_id()), **form.document()}
        try:
            put_route(run, document, by=request.actor, seen=request.POST.get("seen"))
        except engine.errors.InvalidRoute as error:
            form.add_issues(error.issues)
        except InvalidPlan as error:
            for issue in error.issues:
                form.add_error("name" if "two routes called" in issue["message"] else None, issue["message"])
        except REFUSED as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"“{document['name']}” is in the plan. Nothing is live before it is applied.")
            return redirect("admin:plan", request.org.slug, run.pk)
    context = {
        "title": f"{was['name'] if was else 'A new route'}, in the plan “{run.name}”",
        "plan": run,
        "form": form,
        "sentence": sentence(was) if was else "",
        "seen": services.tag(run),
        **editor_context(request),
    }
    return render(request, "plans/route.html", context, status=422 if form.errors else 200)


def _route_of(run: PlanRun, request: HttpRequest, uid: str) -> dict[str, Any]:
    wanted = content_of(run, live(request.org).document.content)
    for route in wanted["routes"]:
        if route["id"] == uid:
            return route
    raise Http404("There is no such route in this plan.")


@require_POST
def plan_route_act(request: HttpRequest, id: str, route: str, act: str) -> HttpResponse:
    """Pause, resume, remove or put back a route of the draft."""
    run = plan_or_404(request, id)
    try:
        act_on_route(run, str(route), act, by=request.actor, seen=request.POST.get("seen"))
    except REFUSED as error:
        messages.error(request, str(error))
    return redirect("admin:plan", request.org.slug, run.pk)


@require_POST
def plan_traffic(request: HttpRequest, id: str) -> HttpResponse:
    """Which requests the draft asks about; and, where that is asked for too, its replay."""
    run = plan_or_404(request, id)
    form = draft_traffic(request, run)
    if not form.is_valid():
        return plan_page(request, id, traffic=form)
    given = {name: value for name, value in form.cleaned_data.items() if name != "window"}
    given |= {name: getattr(run, name) for name in ("window_start", "window_end") if given[name] is None}
    try:
        services.edit(run, by=request.actor, seen=request.POST.get("seen"), **given)
        if "start" in request.POST:
            services.project(run, by=request.actor)
    except InvalidPlan as error:
        form.add_issues(error.issues)
        return plan_page(request, id, traffic=form)
    except REFUSED as error:
        messages.error(request, str(error))
    return redirect("admin:plan", request.org.slug, run.pk)


plan_route.required_role = "editor"
plan_route_act.required_role = "editor"
plan_traffic.required_role = "editor"
