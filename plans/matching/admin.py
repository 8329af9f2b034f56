"""What pages ask for once they are there: figures from the log."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from plans.matching import services
from plans.matching.week import week_of
from routes import engine
from routes.live import live
from routes.orgs.models import new_id
from routes.rules.editor import route_or_404
from routes.rules.forms import RouteForm
from routes.rules.preview import live_with


@require_POST
def route_matching(request: HttpRequest, id: str | None = None) -> HttpResponse:
    """How many requests the route of an editor's form would match, as a new one or in the place of this one."""
    row = None if id is None else route_or_404(request, id)
    form = RouteForm(request.POST)
    if not form.is_valid():
        return JsonResponse({"mistakes": form.mistakes()}, status=422)
    route = engine.NewRoute.from_dict(form.document()).with_id(str(row.uid) if row else new_id())
    routes = live_with(request.org, route, row)
    return JsonResponse(services.matching(request.org.pk, route, routes, now=timezone.now()))


@require_GET
def route_hits(request: HttpRequest) -> HttpResponse:
    """The share of the newest week's requests that each route took."""
    try:
        now_live = live(request.org).engine
    except engine.errors.DocumentRejected as error:
        return JsonResponse({"detail": str(error)}, status=409)
    return JsonResponse(services.hits(request.org.pk, now_live, now=timezone.now()))


@require_GET
def week(request: HttpRequest) -> HttpResponse:
    """The newest week in figures, as a part of a page."""
    return render(request, "plans/week.html", {"week": week_of(request.org, now=timezone.now())})


route_matching.required_role = "editor"
route_hits.required_role = "viewer"
week.required_role = "viewer"
PAGES = [
    path("logs/matching/", route_matching, name="route_matching"),
    path("logs/matching/<uuid:id>/", route_matching, name="route_matching_of"),
    path("logs/hits/", route_hits, name="route_hits"),
    path("logs/week/", week, name="logs_week"),
]
