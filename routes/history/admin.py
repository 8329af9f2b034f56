"""The admin's pages about what was published: the timeline, comparing two versions, bringing one back."""

from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from routes import engine
from routes.errors import NotFound, RoutesError, StaleVersion
from routes.examples.forms import Nevertheless
from routes.history.forms import RestoreForm
from routes.history.services import VersionRetired, content_of, get_version, kept_before, restore_version
from routes.orgs.models import Organization
from routes.publish import ExampleBroken
from routes.rules.compared import compared
from routes.versions.models import RouteSetVersion

PAGE: Final = 50
_CAUSES: Final = {
    "route.created": "A route was added",
    "route.updated": "A route was changed",
    "route.deleted": "A route was deleted",
    "route.paused": "A route was paused",
    "route.resumed": "A route goes on",
    "routes.reordered": "Routes were put into another order",
    "routes.imported": "Routes were imported",
    "default.updated": "What happens to the rest was changed",
    "plan.applied": "A plan was applied",
    "plan.reverted": "A plan was reverted",
    "version.restored": "An earlier version was restored",
}


def cause_in_words(cause: str) -> str:
    """What led to a version; the action itself where it has no words here."""
    return _CAUSES.get(cause, cause)


def told(row: RouteSetVersion) -> dict[str, Any]:
    """A version as the pages tell it: of a person by name, else by what it was."""
    return {"row": row, "what": cause_in_words(row.cause), "who": row.author_name or row.author_type}


def somebody_was_faster(org: Organization) -> str:
    """Who published what is live, for whoever looked at something else."""
    row = RouteSetVersion.objects.of(org).brief().order_by("-version").first()
    if row is None:
        return "Nothing was published yet."
    newest = told(row)
    return f"{newest['what']} by {newest['who']} after you looked: version {row.version} is live now."


# --- Looking ----------------------------------------------------------------------------------------------------------


def history(request: HttpRequest) -> HttpResponse:
    """Versions, newest first, a page at a time by their number."""
    rows = RouteSetVersion.objects.of(request.org).brief().order_by("-version")
    if (before := _number(request.GET.get("before", ""))) is not None:
        rows = rows.filter(version__lt=before)
    page = list(rows[: PAGE + 1])
    kept = {0, *(row.version for row in page if row.is_kept)}
    return render(
        request,
        "routes/history.html",
        {
            "title": "History",
            # Compared with the one before it, where that can be.
            "versions": [
                {**told(row), "before": row.version - 1 if row.version - 1 in kept else None} for row in page[:PAGE]
            ],
            "older": page[PAGE - 1].version if len(page) > PAGE else None,
            "is_first_page": before is None,
        },
    )


def history_compare(request: HttpRequest) -> HttpResponse:
    """What differs between any two versions, in words and by field; without numbers, what the last one changed, or all that
    changed since the newest one before it that is kept."""
    org: Organization = request.org
    newer = _number(request.GET.get("to", ""), org.version)
    older = _number(request.GET.get("from", ""), None if newer is None else kept_before(org, newer))
    context: dict[str, Any] = {"title": "Compare versions", "older": older, "newer": newer, "live": org.version}
    status = 200
    if older is None or newer is None:
        context["problem"], status = "Versions are named by their numbers; 0 is the empty one.", 422
    else:
        try:
            context["changes"] = compared(content_of(org, older), content_of(org, newer))
        except (NotFound, VersionRetired) as error:
            context["problem"], status = str(error), 404 if isinstance(error, NotFound) else 410
        else:
            rows = {
                row.version: row for row in RouteSetVersion.objects.of(org).brief().filter(version__in=(older, newer))
            }
            context["ends"] = [(version, told(rows[version]) if version else None) for version in (older, newer)]
    return render(request, "routes/history_compare.html", context, status=status)


def _number(text: str, without: int | None = None) -> int | None:
    """The number, `without` where nothing is given, None for what is no number."""
    if not text:
        return without
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


# --- Restoring --------------------------------------------------------------------------------------------------------


def history_restore(request: HttpRequest, id: int) -> HttpResponse:
    """What restoring would change, to be confirmed; where somebody was faster, what it would change now."""
    try:
        row = get_version(request.org, id)
        content = content_of(request.org, id)
    except NotFound as error:
        raise Http404(str(error)) from error
    except VersionRetired as error:
        messages.error(request, str(error))
        return redirect("admin:history", request.org.slug)
    form = RestoreForm(request.POST if request.method == "POST" else None)
    nevertheless = Nevertheless(request)
    stale = ""
    if request.method == "POST" and form.is_valid() and nevertheless.is_acceptable():
        given = form.cleaned_data
        try:
            with nevertheless.bound():
                change, _ = restore_version(
                    request.org, id, by=request.actor, expected=given["seen"], note=given["note"]
                )
        except StaleVersion:
            stale = somebody_was_faster(request.org)
        except ExampleBroken:
            pass  # the page shows them, and asks for the reason
        except (engine.errors.RoutingError, RoutesError) as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, _outcome(id, change))
            return redirect("admin:history", request.org.slug)
    live = _live(request.org)
    context = {
        "title": f"Restore version {id}?",
        "version": told(row),
        "form": form,
        "nevertheless": nevertheless,
        "stale": stale,
        "live": live,
        "changes": compared(content_of(request.org, live), content),
    }
    refused = form.errors or stale or nevertheless.is_refused()
    return render(request, "routes/history_restore.html", context, status=422 if refused else 200)


def _live(org: Organization) -> int:
    """The version that is live now, whatever it was when the organisation was read."""
    return Organization.objects.values_list("version", flat=True).get(pk=org.pk)


def _outcome(version: int, change: Any) -> str:
    if change.receipt is None:
        return f"Nothing was different: what version {version} published is live."
    receipt = change.receipt
    return (
        f"Version {version} is live again, as version {change.version}. Audit receipt: entry {receipt.seq},"
        f" {receipt.leaf_hash[:16]}…"
    )


history.required_role = "viewer"
history_compare.required_role = "viewer"
history_restore.required_role = "editor"

PAGES = [
    path("history/", history, name="history"),
    path("history/compare/", history_compare, name="history_compare"),
    path("history/<int:id>/restore/", history_restore, name="history_restore"),
]
