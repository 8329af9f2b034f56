"""The admin's pages about what was published: the timeline, comparing two versions, bringing one back."""

from datetime import UTC
from itertools import groupby
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
from routes.pages import kept_as_draft, whole_number
from routes.publish import ExampleBroken
from routes.rules.compared import compared
from routes.versions.models import RouteSetVersion
from routes.versions.words import somebody_was_faster, told

PAGE: Final = 50


# --- Looking ----------------------------------------------------------------------------------------------------------


def history(request: HttpRequest) -> HttpResponse:
    """Versions, newest first, a page at a time by their number."""
    rows = RouteSetVersion.objects.of(request.org).brief().order_by("-version")
    if (before := _number(request.GET.get("before", ""))) is not None:
        rows = rows.filter(version__lt=before)
    page = list(rows[: PAGE + 1])
    kept = {0, *(row.version for row in page if row.is_kept)}
    # Compared with the one before it, where that can be.
    versions = [{**told(row), "before": row.version - 1 if row.version - 1 in kept else None} for row in page[:PAGE]]
    days = groupby(versions, key=lambda version: version["row"].published_at.astimezone(UTC).date())
    return render(
        request,
        "routes/history.html",
        {
            "title": "History",
            "days": [{"date": day, "versions": list(found)} for day, found in days],
            # The two newest here, until others are chosen.
            "chosen": {"from": versions[1]["row"].version if len(versions) > 1 else None,
                       "to": versions[0]["row"].version if versions else None},
            "older": page[PAGE - 1].version if len(page) > PAGE else None,
            "is_first_page": before is None,
        },
    )  # fmt: skip


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
    return whole_number(text) if text else without


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
            if draft := kept_as_draft(request, error):
                return draft
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
    return f"Version {version} is live again, as version {change.version}. {change.receipt}"


history.required_role = "viewer"
history_compare.required_role = "viewer"
history_restore.required_role = "editor"

PAGES = [
    path("history/", history, name="history"),
    path("history/compare/", history_compare, name="history_compare"),
    path("history/<int:id>/restore/", history_restore, name="history_restore"),
]
