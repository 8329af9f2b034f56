"""The admin's pages that take routes out as a file, and put them in."""

from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from routes import engine
from routes.document import document_of
from routes.errors import RoutesError, StaleVersion
from routes.examples.forms import Nevertheless
from routes.orgs.models import Organization
from routes.pages import kept_as_draft
from routes.publish import Change, ExampleBroken
from routes.rules.compared import compared
from routes.transfer.files import MEDIA_TYPES, file_name, written
from routes.transfer.forms import ImportForm
from routes.transfer.services import InvalidImport, content_after, export_routes, import_routes
from routes.versions.difference import Content
from routes.versions.words import somebody_was_faster

#: Of what is wrong with a file, so much is told at once.
SHOWN: Final = 20


def routes_export(request: HttpRequest) -> HttpResponse:
    """What is live, as a file."""
    notation = request.GET.get("as", "json")
    if notation not in MEDIA_TYPES:
        raise Http404("Files are JSON or YAML.")
    exported = export_routes(request.org)
    name = file_name(request.org, exported, notation)
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(written(exported, notation), content_type=MEDIA_TYPES[notation], headers=headers)


def routes_import(request: HttpRequest) -> HttpResponse:
    """A file is compared with what is live; the answer shows what would change, and can be confirmed.

    What is confirmed is what was shown: of this file, on that version. Where either is another one by now the page says so
    and shows what would change instead.
    """
    sent = request.method == "POST"
    form = ImportForm(request.POST if sent else None, request.FILES if sent else None)
    nevertheless = Nevertheless(request)
    context: dict[str, Any] = {
        "title": "Import routes", "form": form, "changes": None, "notice": "", "nevertheless": nevertheless,
    }  # fmt: skip
    if sent and form.is_valid():
        done = _looked_at(request, form, context)
        if done is not None:
            return done
    refused = form.errors or context["notice"] or nevertheless.is_refused()
    return render(request, "routes/import.html", context, status=422 if refused else 200)


def _looked_at(request: HttpRequest, form: ImportForm, context: dict[str, Any]) -> HttpResponse | None:
    """Away from here, where this confirms what was shown; else what would change goes into the context."""
    document = document_of(request.org)
    now = _after(request.org, form, document.content)
    if now is None:
        return None
    if request.POST.get("step") == "import":
        if request.POST.get("version") != str(document.version):
            context["notice"] = somebody_was_faster(request.org)
        elif request.POST.get("digest") != form.digest():
            context["notice"] = "You changed the text, or what its routes do, after you looked."
        elif context["nevertheless"].is_acceptable():
            try:
                with context["nevertheless"].bound():
                    done = _import(request, form, document.version)
            except StaleVersion:  # by less than the time between looking and writing
                document = document_of(request.org)
                now = _after(request.org, form, document.content) or now
                context["notice"] = somebody_was_faster(request.org)
            except ExampleBroken:
                pass  # the page shows them, and asks for the reason
            except (engine.errors.RoutingError, RoutesError) as error:
                if draft := kept_as_draft(request, error):
                    return draft
                form.add_error(None, str(error))
            else:
                messages.success(request, _outcome(done))
                return redirect("admin:routes", request.org.slug)
    context |= {
        "changes": compared(document.content, now),
        "version": document.version,
        "digest": form.digest(),
        "mode": form.cleaned_data["mode"],
    }
    return None


def _after(org: Organization, form: ImportForm, today: Content) -> Content | None:
    """What would be live; None where that cannot be, which the form tells."""
    try:
        return content_after(org, today, form.content, form.cleaned_data["mode"])
    except InvalidImport as error:
        for line in error.lines[:SHOWN]:
            form.add_error("text", line)
        if (more := len(error.lines) - SHOWN) > 0:
            form.add_error("text", f"{more:,} more things are wrong: mend these first.")
    except (engine.errors.RoutingError, RoutesError) as error:
        form.add_error("text", str(error))
    return None


def _import(request: HttpRequest, form: ImportForm, version: int) -> Change:
    given = form.cleaned_data
    change, _ = import_routes(
        request.org, form.content, mode=given["mode"], by=request.actor, expected=version, note=given["note"]
    )
    return change


def _outcome(change: Change) -> str:
    if change.receipt is None:
        return "Nothing was different."
    return f"Live as version {change.version}. {change.receipt}"


routes_export.required_role = "viewer"
routes_import.required_role = "editor"

PAGES = [
    path("routes/export/", routes_export, name="routes_export"),
    path("routes/import/", routes_import, name="routes_import"),
]
