"""The admin's pages about golden requests: which hold now, and deleting one. `routes.rules.kept` has the form."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from routes import engine
from routes.errors import NotFound, RoutesError
from routes.examples.deciding import check_all, in_words
from routes.examples.models import ExampleRequest
from routes.examples.services import delete_example, get_example
from routes.live import live
from routes.pages import seen


def examples(request: HttpRequest) -> HttpResponse:
    """All examples, each decided by what is live."""
    context: dict[str, Any] = {"title": "Examples"}
    try:
        routes = live(request.org).engine
    except engine.errors.DocumentRejected as error:
        context |= {"problem": str(error), "rows": []}
    else:
        rows = [
            {
                "example": checked.example,
                "expected": in_words(checked.example.expected),
                "found": in_words(checked.found),
                "holds": checked.holds,
            }
            for checked in check_all(request.org, routes)
        ]
        failed = sum(not row["holds"] for row in rows)
        context |= {"rows": rows, "failed": failed, "version": routes.version}
    return render(request, "examples/list.html", context)


def example_delete(request: HttpRequest, id: str) -> HttpResponse:
    row = example_or_404(request, id)
    if request.method == "POST":
        try:
            delete_example(row, by=request.actor, expected_revision=seen(request, "revision"))
        except RoutesError as error:
            messages.error(request, str(error))
            return redirect("admin:example_edit", request.org.slug, row.uid)
        messages.success(request, f"“{row.name}” was deleted.")
        return redirect("admin:examples", request.org.slug)
    context = {"title": f"Delete “{row.name}”?", "row": row, "expected": in_words(row.expected)}
    return render(request, "examples/delete.html", context)


def example_or_404(request: HttpRequest, id: str) -> ExampleRequest:
    try:
        return get_example(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error


examples.required_role = "viewer"
example_delete.required_role = "editor"

PAGES = [
    path("examples/", examples, name="examples"),
    path("examples/<uuid:id>/delete/", example_delete, name="example_delete"),
]
