"""The admin's pages about routes: the list, the editor, what happens to the rest, and trying a request."""

import json
from functools import cache
from typing import Any
from zoneinfo import available_timezones

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse
from django.utils import timezone

from routes import engine
from routes.catalog.services import prices_for
from routes.document import canonical_route, default_of, document_of
from routes.errors import NotFound, RoutesError
from routes.examples.forms import Nevertheless
from routes.orgs.models import Organization
from routes.pages import kept_as_draft, seen
from routes.publish import ExampleBroken
from routes.requests import InvalidRequest, read_request
from routes.rules.explained import conditions_as_tree, verdict
from routes.rules.findings import Finding, findings_of, in_words
from routes.rules.forms import DefaultForm, RouteForm, TryForm
from routes.rules.models import Route
from routes.rules.sentences import condition, default_effect, effect, sentence, standing
from routes.rules.services import StaleRoute, create_route, delete_route, get_route, set_default, update_route


def routes(
    request: HttpRequest, order: list[str] | None = None, nevertheless: Nevertheless | None = None, why: str = ""
) -> HttpResponse:
    """All routes in the order in which the engine asks them, each as a sentence, with what is odd about it. `order` is one
    that somebody wants and that was not saved, for the reason `why`."""
    # At the route that comes last of those that a finding names: it is the one to change. What may be meant so, or is not
    # certain, is told in the editor.
    findings: dict[str, list[dict[str, str]]] = {}
    for finding in _findings(request.org):
        if finding["severity"] != "info":
            findings.setdefault(finding["route_ids"][-1], []).append(in_words(finding))
    rows = []
    found = list(Route.objects.of(request.org).in_order())
    if order is not None:
        places = {uid: place for place, uid in enumerate(order)}
        found.sort(key=lambda row: places.get(str(row.uid), len(places)))
    for row in found:
        document = row.as_document()
        route, problem = _loaded(document)
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


def _findings(org: Organization) -> list[Finding]:
    try:
        return findings_of(org)
    except engine.errors.DocumentRejected:
        return []  # a route that this machine cannot serve says so itself, and must be there to be mended


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


def _loaded(document: dict[str, Any]) -> tuple[engine.Route | None, str]:
    """The route of a row, and why no engine loads it; empty where one does."""
    try:
        return engine.Route.from_dict(document), ""
    except engine.errors.InvalidRoute as error:
        return None, "; ".join(issue["message"] for issue in error.issues)


def route_new(request: HttpRequest) -> HttpResponse:
    form = RouteForm(request.POST if request.method == "POST" else None)
    nevertheless = Nevertheless(request)
    if request.method == "POST" and form.is_valid() and nevertheless.is_acceptable():
        try:
            with nevertheless.bound():
                row, change = create_route(request.org, engine.NewRoute.from_dict(form.document()), by=request.actor)
        except (engine.errors.RoutingError, RoutesError) as error:
            if draft := kept_as_draft(request, error):
                return draft
            _show(form, error)
        else:
            messages.success(request, f"“{row.name}” is live as version {change.version}.")
            return redirect("admin:routes", request.org.slug)
    return _editor(request, form, title="New route", nevertheless=nevertheless)


def route_edit(request: HttpRequest, id: str) -> HttpResponse:
    row = route_or_404(request, id)
    document = canonical_route(row.as_document())
    form = RouteForm(request.POST) if request.method == "POST" else RouteForm(route=document, revision=row.revision)
    nevertheless = Nevertheless(request)
    if request.method == "POST" and form.is_valid() and nevertheless.is_acceptable():
        try:
            with nevertheless.bound():
                row, change = update_route(
                    request.org,
                    id,
                    engine.Route.from_dict({"id": str(row.uid), **form.document()}),
                    by=request.actor,
                    expected_revision=form.identity.cleaned_data["revision"],
                )
        except StaleRoute as error:
            was = sentence(canonical_route(error.row.as_document()))
            form.add_error(None, f"{error} It now reads: {was}. Your input is still below; save again to keep it.")
            form.set_revision(error.row.revision)
        except (engine.errors.RoutingError, RoutesError) as error:
            if draft := kept_as_draft(request, error):
                return draft
            _show(form, error)
        else:
            text = f"“{row.name}” is live as version {change.version}." if change.changed else "Nothing was different."
            messages.success(request, text)
            return redirect("admin:routes", request.org.slug)
    more = {
        "row": row,
        "findings": [in_words(finding) for finding in _findings(request.org) if str(row.uid) in finding["route_ids"]],
        "problem": _loaded(document)[1],
        "sentence": sentence(document),
        "nevertheless": nevertheless,
    }
    return _editor(request, form, title=row.name, json=json.dumps(document, indent=2, ensure_ascii=False), **more)


def _show(form: RouteForm | DefaultForm, error: Exception) -> None:
    """Show what a service refused at the fields that it is about."""
    if isinstance(error, engine.errors.InvalidRoute):
        form.add_issues(error.issues)
    else:
        form.add_error("name" if getattr(error, "code", "") == "name_taken" else None, str(error))


def _editor(request: HttpRequest, form: RouteForm, *, title: str, **more: Any) -> HttpResponse:
    context = {"title": title, "form": form, **editor_context(request), **more}
    refused = form.errors or not more["nevertheless"].is_acceptable()
    return render(request, "routes/form.html", context, status=422 if refused else 200)


def editor_context(request: HttpRequest) -> dict[str, Any]:
    """What `routes/editor.html` needs beside its `form`."""
    return {"zones": _zones(), **completions(request)}


def completions(request: HttpRequest) -> dict[str, list[str]]:
    """What the browser offers while typing."""
    prices = list(prices_for(request.org))
    return {
        "models": sorted({price.model for price in prices}),
        "providers": sorted({price.provider for price in prices}),
    }


@cache
def _zones() -> list[str]:
    return sorted(zone for zone in available_timezones() if "/" in zone or zone == "UTC")


def default(request: HttpRequest) -> HttpResponse:
    """What happens to requests that no route takes."""
    was = default_of(request.org)
    live = json.dumps(was)
    form = DefaultForm(request.POST if request.method == "POST" else None, default=was)
    nevertheless = Nevertheless(request)
    is_valid = request.method == "POST" and form.is_valid() and nevertheless.is_acceptable()
    if is_valid and request.POST.get("opened_with", live) != live:
        text = f"Somebody changed this after you opened it. It now reads: {default_effect(was)}."
        form.add_error(None, f"{text} Your input is still below; save again to keep it.")
    elif is_valid:
        document = form.document()
        action = None if document is None else engine.Action.from_dict(document)
        try:
            with nevertheless.bound():
                change = set_default(request.org, action, by=request.actor, expected=request.org.version)
        except (engine.errors.RoutingError, RoutesError) as error:
            if draft := kept_as_draft(request, error):
                return draft
            _show(form, error)
        else:
            text = f"Live as version {change.version}." if change.changed else "Nothing was different."
            messages.success(request, text)
            return redirect("admin:routes", request.org.slug)
    context = {
        "title": "Requests that no route takes",
        "form": form,
        "effect": default_effect(was),
        "opened_with": live,
        "nevertheless": nevertheless,
        **completions(request),
    }
    refused = form.errors or not nevertheless.is_acceptable()
    return render(request, "routes/default.html", context, status=422 if refused else 200)


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
    """One request against the live routes: the winner, and for every rule what was seen and expected."""
    try:
        live = engine.Engine.from_document(document_of(request.org))
    except engine.errors.DocumentRejected as error:
        messages.error(request, f"Nothing can be tried here. {error}")
        return redirect("admin:routes", request.org.slug)
    names = [route.name for route in live.routes if route.enabled]
    form = TryForm(request.POST if request.method == "POST" else None, routes=names)
    context: dict[str, Any] = {"title": "Try a request", "form": form, "explanation": None, **completions(request)}
    if request.method == "POST" and form.is_valid():
        try:
            read, force = read_request(form.request())
        except InvalidRequest as error:
            for issue in error.issues:
                key = issue["path"].removeprefix("context.")
                form.add_error(key if key in form.fields else None, issue["message"])
        else:
            explained = live.explain(read, force=force).to_dict()
            for route in explained["routes"]:
                route["tree"] = conditions_as_tree(route["conditions"])
            words = verdict(explained["decision"], read.model)
            context |= {"explanation": explained, "verdict": words, "forced": force is not None}
    return render(request, "routes/try.html", context, status=422 if form.errors else 200)


def route_or_404(request: HttpRequest, id: str) -> Route:
    try:
        return get_route(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error


routes.required_role = "viewer"
route_new.required_role = "editor"
route_edit.required_role = "editor"
route_delete.required_role = "editor"
default.required_role = "editor"
try_request.required_role = "viewer"

PAGES = [
    path("routes/", routes, name="routes"),
    path("routes/new/", route_new, name="route_new"),
    path("routes/default/", default, name="route_default"),
    path("routes/<uuid:id>/", route_edit, name="route_edit"),
    path("routes/<uuid:id>/delete/", route_delete, name="route_delete"),
    path("try/", try_request, name="try"),
]
