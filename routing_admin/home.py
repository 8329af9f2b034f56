"""The first page: how each of one's organisations stands, and what waits for somebody."""

from collections.abc import Iterable
from typing import Any, Final

from django.core.paginator import Page, Paginator
from django.db.models import Count, F, OuterRef, Q, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path

from audit.models import AuditHead, Checkpoint, Refusal
from plans.runs.answer import headline
from plans.runs.models import PlanRun, State
from plans.runs.news import news_of
from routes.fleet.admin import counts as gateway_counts
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.versions.models import RouteSetVersion
from routes.versions.words import told

#: So many organisations are on one page.
PAGE: Final = 50


def cards(orgs: Iterable[Organization]) -> list[dict[str, Any]]:
    """The figures of each organisation's card, in this order, by as many queries for fifty as for one."""
    orgs = list(orgs)
    pks = [org.pk for org in orgs]
    live = RouteSetVersion.objects.filter(org__in=pks, version=F("org__version")).defer("content")
    versions = {version.org_id: version for version in live}
    counts = Route.objects.filter(org__in=pks).values_list("org").order_by()
    counts = counts.annotate(total=Count("pk"), enabled=Count("pk", filter=Q(enabled=True)))
    routes = {org: (total, enabled) for org, total, enabled in counts}
    answered = PlanRun.objects.of(OuterRef("pk")).exclude(result="").values("pk")[:1]
    newest = Organization.objects.filter(pk__in=pks).values(plan=Subquery(answered)).order_by()
    plans = {plan.org_id: plan for plan in PlanRun.objects.filter(pk__in=newest).brief()}
    audits = _audits(pks)
    fleet = gateway_counts(pks)
    needing = PlanRun.objects.filter(org__in=pks, state=State.PROJECTED)
    projected = needing.exclude(org__approval=Organization.Approval.NONE)
    waiting = dict(projected.values_list("org").annotate(Count("pk")).order_by())
    return [
        {
            "org": org,
            "live": versions.get(org.pk),
            "routes_total": routes.get(org.pk, (0, 0))[0],
            "routes_enabled": routes.get(org.pk, (0, 0))[1],
            "last_plan": plans.get(org.pk),
            "last_headline": headline(plans[org.pk]) if org.pk in plans else "",
            "audit": audits.get(org.pk),
            "gateways": fleet.get(org.pk),
            "waiting": waiting.get(org.pk, 0),
        }
        for org in orgs
    ]


def _audits(pks: list[Any]) -> dict[Any, dict[str, Any]]:
    """By organisation how its log stands: entries, how many of them are signed, when the signer looked last, and whether
    it refuses one of its logs. Two queries."""
    newest = Checkpoint.objects.filter(log=OuterRef("log"), size__lte=OuterRef("size")).order_by("-size")
    heads = AuditHead.objects.filter(org_id__in=pks).annotate(
        signed=Subquery(newest.values("size")[:1]), looked_at=Subquery(newest.values("checked_at")[:1])
    )
    rows = list(heads.values("org_id", "log", "is_current", "size", "signed", "looked_at"))
    refused = set(Refusal.objects.filter(log__in=[row["log"] for row in rows]).values_list("log", flat=True))
    found: dict[Any, dict[str, Any]] = {}
    for row in rows:
        one = found.setdefault(row["org_id"], {"is_refused": False})
        one["is_refused"] |= row["log"] in refused
        if row["is_current"]:
            one |= {"size": row["size"], "signed": row["signed"] or 0, "looked_at": row["looked_at"]}
    return found


def cards_page(request: HttpRequest) -> Page:
    """One page of the organisations that one belongs to, as cards."""
    page = Paginator(Organization.objects.of_person(request.user), PAGE).get_page(request.GET.get("page"))
    page.object_list = cards(page.object_list)
    return page


def home(request: HttpRequest) -> HttpResponse:
    org = request.org
    return render(
        request,
        "home.html",
        {
            "title": org.name,
            "card": cards([org])[0],
            "recent": [told(row) for row in RouteSetVersion.objects.of(org).brief()[:8]],
            "waiting": PlanRun.objects.of(org).filter(state=State.PROJECTED).brief()[:10],
            "news": news_of(org, request.actor),
        },
    )


home.required_role = "viewer"
PAGES = [path("", home, name="home")]
