"""The admin's pages of request logs: looking, newest first. Importing has a module of its own."""

from datetime import datetime
from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from plans.logs.import_page import logs_import
from plans.logs.models import RequestLog
from routes.catalog.services import prices_for

PAGE = 100
SHOWN = (
    "request_id", "ts", "kind", "requested_model", "model", "tag", "input_tokens", "output_tokens", "cost_usd",
    "latency_ms", "status", "synthetic",
)  # fmt: skip


def logs(request: HttpRequest) -> HttpResponse:
    """A hundred at a time by (time, id): counting all rows, or skipping some, would cost more than showing these."""
    given = {name: _line(request, name) for name in ("model", "tag")}
    rows = RequestLog.objects.of(request.org).filter(**{name: text for name, text in given.items() if text})
    before = _time(_line(request, "before"))
    if before is not None:
        # The first condition is what the index can begin at.
        rows = rows.filter(ts__lte=before).filter(Q(ts__lt=before) | Q(request_id__lt=_line(request, "before_id")))
    found = list(rows.order_by("-ts", "-request_id").values(*SHOWN)[: PAGE + 1])
    page = found[:PAGE]
    older = ""
    if len(found) > PAGE:
        older = urlencode({**given, "before": page[-1]["ts"].isoformat(), "before_id": page[-1]["request_id"]})
    return render(
        request,
        "plans/logs.html",
        {
            "title": "Logs",
            "rows": page,
            "given": given,
            "newest": urlencode(given) if before else "",
            "older": older,
            "synthetic": sorted({name for row in page for name in row["synthetic"]}),
            "models": sorted({price.model for price in prices_for(request.org).only("model")}),
        },
    )


def _line(request: HttpRequest, name: str) -> str:
    """A parameter without what the database would not take."""
    return request.GET.get(name, "").replace("\0", "").strip()


def _time(text: str) -> datetime | None:
    try:
        ts = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Only what the page itself links to; the years at either end cannot be moved to another zone.
    return ts if ts.tzinfo and 1 < ts.year < 9999 else None


logs.required_role = "viewer"
PAGES = [path("logs/", logs, name="logs"), path("logs/import/", logs_import, name="logs_import")]
