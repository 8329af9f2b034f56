"""The admin's pages about routes: the list, the editor, and trying a request."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path, reverse

from routes import engine
from routes.catalog.services import prices_for
from routes.document import canonical_route, document_of
from routes.errors import NotFound, RoutesError
from routes.rules.forms import RouteForm, TryForm
from routes.rules.models import Route
from routes.rules.requests import InvalidRequest, read_context
from routes.rules.sentences import condition, effect, sentence
from routes.rules.services import StaleRoute, create_route, delete_route, get_route, update_route


def routes(request: HttpRequest) -> HttpResponse:
    """All routes in the order in which the engine asks them, each as a sentence."""
    rows = []
    for row in Route.objects.of(request.org).in_order():
        document = row.as_document()
        try:
            engine.Route.from_dict(document)
            problem = ""
        except engine.errors.InvalidRoute as error:
            problem = "; ".join(issue["message"] for issue in error.issues)
        rows.append({"row": row, "when": condition(row.conditions), "then": effect(row.target), "problem": problem})
    return render(request, "routes/list.html", {"title": "Routes", "rows": rows})


def route_new(request: HttpRequest) -> HttpResponse:
    form = RouteForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            row, change = create_route(request.org, engine.NewRoute.from_dict(form.document()), by=request.actor)
        except engine.errors.InvalidRoute as error:
            form.add_issues(error.issues)
        except RoutesError as error:
            form.add_error("name" if error.code == "name_taken" else None, str(error))
        else:
            messages.success(request, f"“{row.name}” is live as version {change.version}.")
            return redirect("admin:routes", request.org.slug)
    return _editor(request, form, title="New route")


def route_edit(request: HttpRequest, id: str) -> HttpResponse:
    row = _route_or_404(request, id)
    form = (
        RouteForm(request.POST) if request.method == "POST" else RouteForm.of(row.as_document(), revision=row.revision)
    )
    if request.method == "POST" and form.is_valid():
        try:
            row, change = update_route(
                request.org,
                id,
                engine.Route.from_dict({"id": str(row.uid), **form.document()}),
                by=request.actor,
                expected_revision=form.cleaned_data["revision"],
            )
        except engine.errors.InvalidRoute as error:
            form.add_issues(error.issues)
        except StaleRoute as error:
            was = canonical_route(error.row.as_document())
            form.add_error(
                None, f"{error} It now reads: {sentence(was)}. Your input is still below; save again to keep it."
            )
            form.data = form.data.copy()
            form.data["revision"] = str(error.row.revision)
        except RoutesError as error:
            form.add_error("name" if error.code == "name_taken" else None, str(error))
        else:
            text = f"“{row.name}” is live as version {change.version}." if change.changed else "Nothing was different."
            messages.success(request, text)
            return redirect("admin:routes", request.org.slug)
    return _editor(request, form, title=row.name, row=row)


def _editor(request: HttpRequest, form: RouteForm, *, title: str, row: Route | None = None) -> HttpResponse:
    models = sorted({price.model for price in prices_for(request.org)})
    return render(
        request,
        "routes/form.html",
        {
            "title": title,
            "form": form,
            "row": row,
            "models": models,
            "sentence": sentence(row.as_document()) if row else "",
            "groups": [
                ("Route", form.identity(), ""),
                ("When", form.conditions(), "All that you fill in must hold. Nothing filled in: any request."),
                ("Then", form.effects(), ""),
            ],
        },
        status=422 if form.errors else 200,
    )


def route_delete(request: HttpRequest, id: str) -> HttpResponse:
    row = _route_or_404(request, id)
    if request.method == "POST":
        try:
            change = delete_route(
                request.org, id, by=request.actor, expected_revision=int(request.POST.get("revision", row.revision))
            )
        except (RoutesError, ValueError) as error:
            messages.error(request, str(error))
            return redirect(reverse("admin:route_edit", args=[request.org.slug, row.uid]))
        messages.success(request, f"“{row.name}” was deleted in version {change.version}.")
        return redirect("admin:routes", request.org.slug)
    return render(
        request,
        "routes/delete.html",
        {"title": f"Delete “{row.name}”?", "row": row, "sentence": sentence(row.as_document())},
    )


def try_request(request: HttpRequest) -> HttpResponse:
    """One request against the live routes: the winner, and for every rule what was seen and expected."""
    asked = request.method == "POST"
    form = TryForm(request.POST if asked else None)
    context: dict[str, Any] = {"title": "Try a request", "form": form, "explanation": None}
    if asked and form.is_valid():
        try:
            read = read_context(form.facts(), form.cleaned_data["chat"])
        except InvalidRequest as error:
            for issue in error.issues:
                key = issue["path"].removeprefix("context.")
                form.add_error(key if key in form.fields else None, issue["message"])
        else:
            explained = engine.Engine.from_document(document_of(request.org)).explain(read).to_dict()
            for route in explained["routes"]:
                for seen in route["conditions"]:
                    seen |= {key: _shown(seen[key]) for key in ("expected", "seen")}
            context["explanation"] = explained
            target = explained["decision"]["target_model"]
            context["sent_model"] = target or read.model
    context["models"] = sorted({price.model for price in prices_for(request.org)})
    return render(request, "routes/try.html", context, status=422 if form.errors else 200)


def _shown(value: Any) -> str:
    """A value of an explanation for people."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return " or ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def _route_or_404(request: HttpRequest, id: str) -> Route:
    try:
        return get_route(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error


routes.required_role = "viewer"
route_new.required_role = "editor"
route_edit.required_role = "editor"
route_delete.required_role = "editor"
try_request.required_role = "viewer"

PAGES = [
    path("routes/", routes, name="routes"),
    path("routes/new/", route_new, name="route_new"),
    path("routes/<uuid:id>/", route_edit, name="route_edit"),
    path("routes/<uuid:id>/delete/", route_delete, name="route_delete"),
    path("try/", try_request, name="try"),
]
