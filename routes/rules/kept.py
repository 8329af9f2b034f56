"""The admin's pages that keep a request as an example: here because they share the form of trying one."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from routes import engine
from routes.errors import NameTaken, RoutesError
from routes.examples.admin import example_or_404
from routes.examples.deciding import holds, in_words, outcome
from routes.examples.models import ExampleRequest
from routes.examples.services import InvalidExample, StaleExample, create_example, update_example
from routes.live import live
from routes.rules.admin import completions
from routes.rules.forms import ExampleForm, RequestForm, TryForm
from routes.rules.models import Route


def example_new(request: HttpRequest) -> HttpResponse:
    """A new example; opened from a request that was tried, with what becomes of that."""
    names = _names(request)
    if "keep" in request.POST:
        return _edit(request, ExampleForm(routes=names, initial=_tried(request, names)), title="New example")
    form = ExampleForm(request.POST if request.method == "POST" else None, routes=names)
    if request.method == "POST" and form.is_valid():
        try:
            row, _ = create_example(
                request.org, name=form.cleaned_data["name"], request=form.request(), expected=form.expected(),
                by=request.actor,
            )  # fmt: skip
        except RoutesError as error:
            _show(form, error)
        else:
            messages.success(request, f"“{row.name}” is kept.")
            return redirect("admin:examples", request.org.slug)
    return _edit(request, form, title="New example")


def example_edit(request: HttpRequest, id: str) -> HttpResponse:
    row = example_or_404(request, id)
    initial = {**ExampleForm.initial_of(row.request, row.expected), "name": row.name, "revision": row.revision}
    form = ExampleForm(request.POST if request.method == "POST" else None, routes=_names(request), initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            saved, receipt = update_example(
                row,
                name=form.cleaned_data["name"],
                request=form.request(row.request),
                expected=form.expected(),
                by=request.actor,
                expected_revision=form.cleaned_data["revision"],
            )
        except StaleExample as error:
            now = in_words(error.example.expected)
            form.add_error(None, f"{error} It now expects: {now}. Your input is still below; save again to keep it.")
            form.data = form.data.copy()
            form.data["revision"] = str(error.example.revision)
        except RoutesError as error:
            _show(form, error)
        else:
            messages.success(request, f"“{saved.name}” is kept." if receipt else "Nothing was different.")
            return redirect("admin:examples", request.org.slug)
    return _edit(request, form, title=row.name, row=row)


def _tried(request: HttpRequest, names: list[str]) -> dict[str, Any]:
    """What the form of an example shows first of a request that was tried: as it was sent, and what becomes of it."""
    form = TryForm(request.POST, routes=names)
    found = None
    if form.is_valid():
        tried = form.request()
        found = _now(request, {"context": tried["context"], "chat": tried["chat"]})
    return {
        **{name: form[name].value() for name in RequestForm.base_fields},
        **ExampleForm.initial_expected(found or {}),
    }


def _now(request: HttpRequest, asked: dict[str, Any]) -> dict[str, Any] | None:
    """What becomes of a request now; None where nothing can be said."""
    try:
        return outcome(live(request.org).engine, asked)
    except engine.errors.DocumentRejected:
        return None


def _names(request: HttpRequest) -> list[str]:
    return list(Route.objects.of(request.org).in_order().values_list("name", flat=True))


def _show(form: ExampleForm, error: RoutesError) -> None:
    """Show what a service refused at the fields that it is about."""
    if isinstance(error, InvalidExample):
        form.add_issues(error.issues)
    else:
        form.add_error("name" if isinstance(error, NameTaken) else None, str(error))


def _edit(request: HttpRequest, form: ExampleForm, *, title: str, row: ExampleRequest | None = None) -> HttpResponse:
    context: dict[str, Any] = {"title": title, "form": form, "row": row, **completions(request)}
    if row is not None:
        found = _now(request, row.request)
        context |= {"now": in_words(found), "holds": holds(row.expected, found)}
    return render(request, "examples/form.html", context, status=422 if form.errors else 200)


example_new.required_role = "editor"
example_edit.required_role = "editor"

PAGES = [
    path("examples/new/", example_new, name="example_new"),
    path("examples/<uuid:id>/", example_edit, name="example_edit"),
]
