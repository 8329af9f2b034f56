"""The routes of a draft one by one, in the form in which routes are edited, and the requests that it asks about."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
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
from routes.rules.editor import editor_context
from routes.rules.findings import loaded
from routes.rules.forms import RouteForm
from routes.rules.models import Route
from routes.rules.preview import NotARoute, as_json, drafted, mark_of, read_route

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
    if request.method != "POST":
        return _page(request, run, RouteForm(route=was) if was else RouteForm(), was, document=was)
    form, text = RouteForm(request.POST), request.POST.get("json", "")
    if "use_json" in request.POST:
        try:
            given = read_route(text, limit=settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
        except NotARoute as error:
            return _page(request, run, form, was, typed=text, json_problems=error.problems)
        return _page(request, run, RouteForm(route=given), was, document=given, is_filled=True)
    typed = text if text.strip() and mark_of(text) != request.POST.get("json_mark", "") else ""
    if form.is_valid() and typed:
        form.add_error(None, "You changed the JSON, and it is not in the form yet: press “Use this” there.")
    if not form.errors:
        document = {"id": was["id"] if was else str(new_id()), **form.document()}
        try:
            put_route(run, document, by=request.actor, seen=request.POST.get("seen"))
        except InvalidPlan as error:
            for issue in error.issues:
                form.add_error("name" if "two routes called" in issue["message"] else None, issue["message"])
        except REFUSED as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"“{document['name']}” is in the plan. Nothing is live before it is applied.")
            return redirect("admin:plan", request.org.slug, run.pk)
    return _page(request, run, form, was, document=form.document() if form.was_judged else None, typed=typed)


def _page(
    request: HttpRequest,
    run: PlanRun,
    form: RouteForm,
    was: dict[str, Any] | None,
    *,
    document: dict[str, Any] | None = None,
    typed: str = "",
    **more: Any,
) -> HttpResponse:
    """The form, and beside it what it says, as in the editor of routes. `typed` is JSON that was not used."""
    shown = {**(document or {}), **({"id": was["id"]} if was else {})}
    text = {"json": typed, "json_mark": ""}
    if not typed and loaded({"id": str(new_id()), **shown})[0] is not None:
        text = as_json(shown)
    # A route that is live is judged in its place, a new one behind all.
    is_live = was is not None and Route.objects.of(request.org).filter(uid=was["id"]).exists()
    own, of = [request.org.slug, *([was["id"]] if was and is_live else [])], "_of" if is_live else ""
    context = {
        "title": f"{was['name'] if was else 'A new route'}, in the plan “{run.name}”",
        "plan": run,
        "form": form,
        "sentence": drafted(document or {}),
        "seen": services.tag(run),
        **text,
        "preview_url": reverse(f"admin:route_preview{of}", args=own),
        "matching_url": reverse(f"admin:route_matching{of}", args=own),
        **editor_context(request),
        **more,
    }
    refused = form.errors or more.get("json_problems")
    return render(request, "plans/route.html", context, status=422 if refused else 200)


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
