"""The admin's pages of request logs: looking, newest first. Importing has a module of its own."""

from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from plans.logs.forms import FAILED, GOOD, NO_ROUTE, LookForm
from plans.logs.import_page import logs_import
from plans.logs.listing import LOOKED_AT, Found, Place, look
from routes.catalog.services import prices_for
from routes.money import usd_text
from routes.rules.models import Route

#: What is said of a route that is named and did not decide by its conditions.
_ASIDE: Final = {"control": "outside its share", "forced": "by name", "paused": "paused", "refused": "refused"}


def logs(request: HttpRequest) -> HttpResponse:
    """A hundred at a time by (time, id), found among a bounded number of rows: counting all, skipping some, or looking
    through all for what is rare would cost more than showing these."""
    routes = [(str(uid), name) for uid, name in Route.objects.of(request.org).in_order().values_list("uid", "name")]
    asked = {name: _line(request, name) for name in LookForm.base_fields}
    form = LookForm(asked, routes=routes)
    before = _place(request)
    found = Found([], None, None)
    if form.is_valid():
        given = form.cleaned_data
        times = {name: given[name] for name in ("since", "until")}
        found = look(request.org, _wanted(given), request_id=given["id"], before=before, **times)
    names = dict(routes)
    query = {name: text for name, text in asked.items() if text}
    older = ""
    if found.before is not None:
        older = urlencode({**query, "before": found.before.ts.isoformat(), "before_id": found.before.request_id})
    invented = {tuple(row["synthetic"]) for row in found.rows}
    # Said once of rows that are all alike: a mark on every one of them would tell nothing apart.
    alike = list(*invented) if len(invented) == 1 and len(found.rows) > 1 else []
    is_empty = not found.rows and not query and before is None
    context: dict[str, Any] = {
        "title": "Logs",
        "form": form,
        "rows": [
            {
                **row,
                "route": names.get(str(row["matched_route_id"])),
                "words": _ASIDE.get(row["reason"]),
                "marked": [] if alike else row["synthetic"],
                "cost": "unknown" if row["cost_usd"] is None else usd_text(row["cost_usd"]),
            }
            for row in found.rows
        ],
        "is_narrowed": bool(query),
        "is_more_open": any(query.get(name) for name in form.MORE) or any(name in form.errors for name in form.MORE),
        "is_empty": is_empty,
        "newest": urlencode(query) if before else "",
        "is_first": before is None,
        "older": older,
        "looked_back_to": found.looked_back_to,
        "looked_at": f"{LOOKED_AT:,}",
        "alike": alike,
        "synthetic": sorted({name for names in invented for name in names}),
        "models": sorted({price.model for price in prices_for(request.org).only("model")}),
    }
    return render(request, "plans/logs.html", context, status=422 if form.errors else 200)


def _wanted(given: dict[str, Any]) -> Q:
    """What the rows have to be, but for their id and time."""
    wanted = Q()
    for name in ("model", "tag"):
        if given[name]:
            wanted &= Q(**{name: given[name]})
    if given["route"] == NO_ROUTE:
        wanted &= Q(matched_route_id__isnull=True)
    elif given["route"]:
        wanted &= Q(matched_route_id=given["route"])
    if given["status"] == FAILED:
        wanted &= Q(status__gte=400)
    elif given["status"] == GOOD:
        wanted &= Q(status__lt=400)
    return wanted


def _line(request: HttpRequest, name: str) -> str:
    """A parameter without what the database would not take."""
    return request.GET.get(name, "").replace("\0", "")


def _place(request: HttpRequest) -> Place | None:
    """Where the page before ended; None for what no page links to."""
    try:
        ts = datetime.fromisoformat(_line(request, "before"))
    except ValueError:
        return None
    # The years at either end cannot be moved to another zone.
    return Place(ts, _line(request, "before_id")) if ts.tzinfo and 1 < ts.year < 9999 else None


logs.required_role = "viewer"
PAGES = [path("logs/", logs, name="logs"), path("logs/import/", logs_import, name="logs_import")]
