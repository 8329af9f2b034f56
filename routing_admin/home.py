"""The first page: how each of one's organisations stands, and what waits for somebody."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from audit.models import AuditHead
from plans.runs.answer import answer
from plans.runs.models import PlanRun, State
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.versions.models import RouteSetVersion


def summary(org: Organization) -> dict[str, Any]:
    """The figures of one organisation's card."""
    live = RouteSetVersion.objects.filter(org=org, version=org.version).defer("content").first()
    routes = Route.objects.of(org)
    last = PlanRun.objects.of(org).exclude(result="").brief().first()
    head = AuditHead.objects.filter(org_id=org.pk).first()
    return {
        "org": org,
        "live": live,
        "routes_total": routes.count(),
        "routes_enabled": routes.filter(enabled=True).count(),
        "last_plan": last,
        "last_answer": answer(last) if last else None,
        "audit_size": head.size if head else 0,
        "waiting": PlanRun.objects.of(org).filter(state=State.PROJECTED).count()
        if org.approval == Organization.Approval.PLANS
        else 0,
    }


def cards(request: HttpRequest) -> list[dict[str, Any]]:
    return [summary(org) for org in Organization.objects.of_person(request.user)[:50]]


def home(request: HttpRequest) -> HttpResponse:
    org = request.org  # type: ignore[attr-defined]
    return render(
        request,
        "home.html",
        {
            "title": org.name,
            "card": summary(org),
            "recent": RouteSetVersion.objects.filter(org=org).defer("content")[:8],
            "waiting": PlanRun.objects.of(org).filter(state=State.PROJECTED).brief().defer("result")[:10],
        },
    )


home.required_role = "viewer"  # type: ignore[attr-defined]
PAGES = [path("", home, name="home")]
