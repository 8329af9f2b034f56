"""The admin's pages about routes: the list, deleting one, and trying a request. The editor has a module of its own."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse

from routes import engine
from routes.document import default_of
from routes.errors import RoutesError
from routes.examples.forms import Nevertheless
from routes.live import live
from routes.pages import Why, kept_as_draft, seen
from routes.publish import ExampleBroken
from routes.requests import InvalidRequest, read_request
from routes.rules.editor import PAGES as EDITOR
from routes.rules.editor import completions, route_or_404
from routes.rules.explained import MOST, left_open, told
from routes.rules.forms import TryForm
from routes.rules.listing import STATES, Asked, listing, odd_routes
from routes.rules.sentences import default_effect, sentence
from routes.rules.services import delete_route


def routes(
    request: HttpRequest, order: list[str] | None = None, nevertheless: Nevertheless | None = None, why: str = ""
) -> HttpResponse:
    """The routes in the order in which the engine asks them, each as a sentence, with what is odd about it. `order` is one
    that somebody wants and that was not saved, for the reason `why`."""
    asked = Asked.of(request)
    found = listing(request.org, asked, order)
    context = {
        "title": "Routes",
        "asked": asked,
        "listing": found,
        "states": [
            {"name": name, "label": label, "count": found.counts[name], "address": asked.address(state=name, page=1)}
            for name, label in STATES.items()
        ],
        "newer": asked.address(page=found.page - 1) if found.page > 1 else None,
        "older": asked.address(page=found.page + 1) if found.page < found.pages else None,
        "default": default_effect(default_of(request.org)),
        "version": request.org.version,
        "order": ",".join(found.order),
        "is_unsaved": order is not None,
        "why": why,
        "nevertheless": nevertheless,
    }
    return render(request, "routes/list.html", context, status=200 if order is None else 422)


def route_attention(request: HttpRequest) -> HttpResponse:
    """How many routes need attention, for a list that came before anybody knew."""
    return JsonResponse({"count": odd_routes(request.org)})


def route_delete(request: HttpRequest, id: str) -> HttpResponse:
    row = route_or_404(request, id)
    nevertheless, why = Nevertheless(request), Why(request)
    if request.method == "POST" and nevertheless.is_acceptable() and why.is_acceptable():
        try:
            with nevertheless.bound(), why.bound():
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
        "why": why,
    }
    return render(request, "routes/delete.html", context, status=422 if request.method == "POST" else 200)


def try_request(request: HttpRequest) -> HttpResponse:
    """One request against the live routes: the winner, and for every route what was seen and expected."""
    try:
        served = live(request.org)
        routes = served.engine
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
            opened = left_open(routes, read)
            explanation = routes.explain(read, force=force)
            found = told(explanation, read.model, served.document.content["routes"], opened=opened, most=most)
            context |= {"told": found, "estimated": form.estimated_tokens()}
            form.missing = frozenset(fact for may in found["may"] for fact in may["open"].facts)
            context["may"] = [{**may, "fields": [form[fact] for fact in may["open"].facts]} for may in found["may"]]
    return render(request, "routes/try.html", context, status=422 if form.errors else 200)


routes.required_role = "viewer"
route_attention.required_role = "viewer"
route_delete.required_role = "editor"
try_request.required_role = "viewer"

PAGES = [
    path("routes/", routes, name="routes"),
    path("routes/attention/", route_attention, name="route_attention"),
    *EDITOR,
    path("routes/<uuid:id>/delete/", route_delete, name="route_delete"),
    path("try/", try_request, name="try"),
]
