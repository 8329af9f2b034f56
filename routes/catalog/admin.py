"""The price table as a page, and importing into it."""

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path
from django.utils import timezone

from routes.catalog.comparison import ImportPlan, PriceChange
from routes.catalog.forms import EVERYBODY, ImportForm
from routes.catalog.history import histories, priced_models
from routes.catalog.services import (
    Imported,
    PricesChanged,
    SinceTaken,
    TooManyPrices,
    UnknownProvider,
    import_prices,
    plan_import,
)

PAGE = 50
#: Of a longer list the page shows so many; all of them are counted.
SHOWN = 200

_LABELS = {
    "input_usd_per_million": "Input",
    "output_usd_per_million": "Output",
    "cached_input_usd_per_million": "Cached input",
    "batch_input_usd_per_million": "Batch input",
    "batch_output_usd_per_million": "Batch output",
    "flex_input_usd_per_million": "Flex input",
    "flex_output_usd_per_million": "Flex output",
    "max_input_tokens": "Input tokens at most",
    "max_output_tokens": "Output tokens at most",
    "supports_images": "Images",
    "supports_audio": "Audio",
    "supports_tools": "Tools",
    "supports_reasoning": "Reasoning",
    "retires_on": "Retires",
}


def prices(request: HttpRequest) -> HttpResponse:
    words = request.GET.get("q", "").replace("\0", "").strip()[:200]
    page = Paginator(priced_models(request.org, words), PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "routes/prices.html",
        {
            "title": "Prices",
            "page": page,
            "models": histories(request.org, page.object_list, at=timezone.now()),
            "words": words,
        },
    )


def prices_import(request: HttpRequest) -> HttpResponse:
    """A file is compared with the table; the answer shows what would change, and can be confirmed."""
    sent = request.method == "POST"
    form = ImportForm(
        request.POST if sent else None, request.FILES if sent else None, user=request.user, org=request.org
    )
    plan: ImportPlan | None = None
    stale = ""
    if sent and form.is_valid():
        try:
            done = _import(request, form)
        except PricesChanged as error:
            plan, stale = error.plan, str(error)
        except UnknownProvider as error:
            form.add_error("providers", str(error))
        except SinceTaken as error:
            form.add_error("since", str(error))
        except TooManyPrices as error:
            form.add_error(None, str(error))
        else:
            if isinstance(done, Imported):
                messages.success(request, _outcome(done))
                return redirect("admin:prices", request.org.slug)
            plan = done
    context = {"title": "Add or import prices", "form": form, "stale": stale, "shown": None}
    if plan is not None:
        context["shown"] = {"plan": plan, "digest": plan.digest, **_shown(plan)}
    return render(request, "routes/prices_import.html", context, status=422 if form.errors else 200)


def _import(request: HttpRequest, form: ImportForm) -> ImportPlan | Imported:
    """The comparison; or, where the digest of one is sent along, the import of what it showed."""
    given = form.cleaned_data
    assert form.listed is not None
    whose = None if given["whose"] == EVERYBODY else request.org
    options: dict[str, Any] = {"org": whose, "since": given["since"], "providers": given["providers"]}
    if not (expected := request.POST.get("expected")):
        return plan_import(form.listed, **options)
    source = form.listed.source(form.file_name)
    return import_prices(form.listed, by=request.actor, source=source, expected=expected, **options)


def _outcome(done: Imported) -> str:
    if done.receipt is None:
        return "Nothing was different."
    counts = done.plan.counts
    return (
        f"{counts['changed']:,} changed, {counts['added']:,} added, {counts['facts']:,} with other facts."
        f" {done.receipt}"
    )


def _shown(plan: ImportPlan) -> dict[str, Any]:
    """The parts of a plan that the page lists, each cut."""
    return {
        "changed": [_row(change) for change in plan.changed[:SHOWN]],
        "added": [_row(change) for change in plan.added[:SHOWN]],
        "facts": [_row(change) for change in plan.facts[:SHOWN]],
        "refused": plan.refused[:SHOWN],
        "unlisted": plan.unlisted[:SHOWN],
        "more": {
            name: max(0, len(found) - SHOWN)
            for name, found in {
                "changed": plan.changed,
                "added": plan.added,
                "facts": plan.facts,
                "refused": plan.refused,
                "unlisted": plan.unlisted,
            }.items()
        },
    }


def _row(change: PriceChange) -> dict[str, Any]:
    fields = [
        {
            "label": _LABELS[field.field],
            "old": _text(field.old),
            "new": _text(field.new),
            "percent": None if field.percent is None else f"{field.percent:+.1f}%".replace("-", "−"),
            "dearer": field.percent is not None and field.percent > 0,
        }
        for field in change.fields
    ]
    return {"change": change, "fields": fields, "by": {field.field: _text(field.new) for field in change.fields}}


def _text(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if hasattr(value, "normalize"):
        return format(value.normalize(), "f")
    return str(value)


prices.required_role = "viewer"
prices_import.required_role = "admin"
PAGES = [
    path("prices/", prices, name="prices"),
    path("prices/import/", prices_import, name="prices_import"),
]
