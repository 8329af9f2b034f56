"""The admin's pages about routes: the list, deleting one, and trying a request. The editor has a module of its own."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone

from routes import engine
from routes.document import default_of
from routes.errors import RoutesError
from routes.examples.forms import Nevertheless
from routes.live import live
from routes.pages import kept_as_draft, seen
from routes.publish import ExampleBroken
from routes.requests import InvalidRequest, read_request
from routes.rules.editor import PAGES as EDITOR
from routes.rules.editor import completions, live_findings, loaded, route_or_404
from routes.rules.explained import MOST, left_open, told
from routes.rules.findings import in_words
from routes.rules.forms import TryForm
from routes.rules.models import Route
from routes.rules.sentences import condition, default_effect, effect, sentence, standing
from routes.rules.services import delete_route


def routes(
    request: HttpRequest, order: list[str] | None = None, nevertheless: Nevertheless | None = None, why: str = ""
) -> HttpResponse:
    """All routes in the order in which the engine asks them, each as a sentence, with what is odd about it. `order` is one
    that somebody wants and that was not saved, for the reason `why`."""
    # At the route that comes last of those that a finding names: it is the one to change. What may be meant so, or is not
    # certain, is told in the editor.
    findings: dict[str, list[dict[str, str]]] = {}
    for finding in live_findings(request.org):
        if finding["severity"] != "info":
            findings.setdefault(finding["route_ids"][-1], []).append(in_words(finding))
    rows = []
    found = list(Route.objects.of(request.org).in_order())
    if order is not None:
        places = {uid: place for place, uid in enumerate(order)}
        found.sort(key=lambda row: places.get(str(row.uid), len(places)))
    for row in found:
        document = row.as_document()
        route, problem = loaded(document)
        rows.append(
            {
                "row": row,
                "when": condition(route.when if route else document["when"]),
                "then": effect(route.then if route else document["then"]),
                "meta": document.get("meta", {}),
                "problem": problem,
                "state": _state(row),
                "active": standing({**document, "enabled": True, "paused": False}),
                "findings": findings.get(str(row.uid), []),
            }
        )
    context = {
        "title": "Routes",
        "rows": rows,
        "default": default_effect(default_of(request.org)),
        "version": request.org.version,
        "order": ",".join(str(row.uid) for row in found),
        "is_unsaved": order is not None,
        "why": why,
        "nevertheless": nevertheless,
    }
    return render(request, "routes/list.html", context, status=200 if order is None else 422)


def _state(row: Route) -> str:
    """Whether the route acts now: `on`, or why not."""
    now = timezone.now()
    if not row.enabled:
        return "off"
    if row.active_from is not None and now < row.active_from:
        return "not active yet"
    if row.active_until is not None and now >= row.active_until:
        return "no longer active"
    return "paused" if row.paused else "on"


def route_delete(request: HttpRequest, id: str) -> HttpResponse:
    row = route_or_404(request, id)
    nevertheless = Nevertheless(request)
    if request.method == "POST" and nevertheless.is_acceptable():
        try:
            with nevertheless.bound():
                change = delete_route(request.org, id, by=request.actor, expected_revision=seen(request, "revision"))
        except ExampleBroken:
            pass  # shown below
        except (engine.errors.RoutingError, RoutesError) as error:
            if draft := kept_as_draft(request, error):
                return draft
            messages.error(request, str(error))
            return redirect(reverse("admin:route_edit", args=[request.org.slug, row.uid]))
        else:
            messages.success(request, f"“{row.name}” was deleted in version {change.version}.")
            return redirect("admin:routes", request.org.slug)
    context = {
        "title": f"Delete “{row.name}”?",
        "row": row,
        "sentence": sentence(row.as_document()),
        "nevertheless": nevertheless,
    }
    return render(request, "routes/delete.html", context, status=422 if request.method == "POST" else 200)


def try_request(request: HttpRequest) -> HttpResponse:
    """One request against the live routes: the winner, and for every route what was seen and expected."""
    try:
        routes = live(request.org).engine
    except engine.errors.DocumentRejected as error:
        messages.error(request, f"Nothing can be tried here. {error}")
        return redirect("admin:routes", request.org.slug)
    names = [route.name for route in routes.routes if route.enabled]
    form = TryForm(request.POST if request.method == "POST" else None, routes=names)
    context: dict[str, Any] = {"title": "Try a request", "form": form, "told": None, **completions(request)}
    if request.method == "POST" and form.is_valid():
        try:
            read, force = read_request(form.request())
        except InvalidRequest as error:
            for issue in error.issues:
                key = issue["path"].removeprefix("context.")
                form.add_error(key if key in form.fields else None, issue["message"])
        else:
            most = None if "all" in request.POST else MOST
            open_ids = left_open(routes, read)
            context["told"] = told(routes.explain(read, force=force), read.model, open_ids=open_ids, most=most)
    return render(request, "routes/try.html", context, status=422 if form.errors else 200)


routes.required_role = "viewer"
route_delete.required_role = "editor"
try_request.required_role = "viewer"

PAGES = [
    path("routes/", routes, name="routes"),
    *EDITOR,
    path("routes/<uuid:id>/delete/", route_delete, name="route_delete"),
    path("try/", try_request, name="try"),
]
