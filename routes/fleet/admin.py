"""The admin's page about gateways: which version each runs, and what it would not load."""

from datetime import timedelta
from typing import Any, Final

from django.db.models import Count, F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone

from routes.fleet.models import GatewayInstance

#: Silent for so long, a gateway may be gone: they report every few seconds.
SILENT: Final = timedelta(minutes=5)
#: So many are shown, those first that need somebody.
SHOWN: Final = 500


def counts(org_ids: Any, *, now: Any = None) -> dict[Any, dict[str, int]]:
    """By organisation: how many gateways it has, and how many of them run an older version, would not load one, or are
    silent. One query."""
    since = (now or timezone.now()) - SILENT
    rows = GatewayInstance.objects.filter(org__in=org_ids).values("org").order_by()
    rows = rows.annotate(
        total=Count("pk"),
        behind=Count("pk", filter=Q(running__lt=F("org__version"), reported_at__gte=since)),
        rejecting=Count("pk", filter=Q(rejected__isnull=False)),
        silent=Count("pk", filter=Q(reported_at__lt=since)),
    )
    return {row.pop("org"): row for row in rows}


def gateways(request: HttpRequest) -> HttpResponse:
    now, version = timezone.now(), request.org.version
    rows = list(GatewayInstance.objects.filter(org=request.org)[: SHOWN + 1])
    shown = [
        {
            "row": row,
            "behind": max(0, version - row.running),
            "is_silent": now - row.reported_at > SILENT,
        }
        for row in rows[:SHOWN]
    ]
    shown.sort(key=lambda one: (one["row"].rejected is None, not one["is_silent"], -one["behind"], one["row"].instance))
    return render(
        request,
        "routes/gateways.html",
        {
            "title": "Gateways",
            "gateways": shown,
            "has_more": len(rows) > SHOWN,
            "counts": counts([request.org.pk], now=now).get(request.org.pk),
        },
    )


gateways.required_role = "viewer"
PAGES = [path("gateways/", gateways, name="gateways")]
