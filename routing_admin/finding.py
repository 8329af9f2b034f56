"""Going anywhere by a few letters: pages, routes, services, plans, versions, models, gateways; to a request by its id."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.http import urlencode

from plans.logs.models import RequestLog
from plans.runs.models import PlanRun
from routes.catalog.services import prices_for
from routes.examples.models import ExampleRequest
from routes.fleet.models import GatewayInstance
from routes.orgs.models import Organization
from routes.pages import whole_number
from routes.paths.models import Service, ServiceHost
from routes.rules.models import Route
from routes.texts import nearest
from routes.versions.models import RouteSetVersion
from routing_admin.context import SECTIONS

#: Of each kind at most so many.
OF_A_KIND: Final = 6
#: Of routes, plans and examples so many each are compared with a name that nothing has.
OF_NEAR: Final = 500
#: What can be begun from anywhere: label, icon, page, role, and what else people call it.
ACTS: Final = (
    ("New route", "plus", "route_new", "editor", "rule add create"),
    ("New plan", "plus", "plan_new", "editor", "replay proposal add create"),
    ("New service", "plus", "service_new", "editor", "path upstream proxy host add create"),
    ("New example", "plus", "example_new", "editor", "golden request test add create"),
    ("What happens to requests that no route takes", "routes", "route_default", "editor", "default fallback"),
    ("Import routes", "upload", "routes_import", "editor", "file yaml json"),
    ("Import logs", "upload", "logs_import", "editor", "file traffic csv parquet"),
    ("Add or import prices", "upload", "prices_import", "admin", "file catalogue type cost"),
)


class Found(NamedTuple):
    """Something that can be gone to. `kind`: what it is, in a word."""

    kind: str
    title: str
    hint: str
    icon: str
    url: str


def find(request: HttpRequest) -> HttpResponse:
    """A page with what was found, or with `as=json` the same as data for who is still typing."""
    text = request.GET.get("q", "").replace("\0", "").strip()[:200]
    found = _found(request, text)
    near = [] if found else _near(request, text)
    if request.GET.get("as") == "json":
        return JsonResponse({"results": [one._asdict() for one in found or near], "is_near": bool(near)})
    shell: dict[str, Any] = admin.site.each_context(request) if request.org is None else {}
    shell["shell"] = "admin/base_site.html" if request.org is None else "page.html"
    return render(
        request, "find.html", {**shell, "title": "Search", "text": text, "found": found or near, "is_near": bool(near)}
    )


def _found(request: HttpRequest, text: str) -> list[Found]:
    return list(_in_org(request, text) if request.org else _outside(request, text))


def _near(request: HttpRequest, text: str) -> list[Found]:
    """What has a name that is written almost so."""
    names = [one.title for one in _found(request, "")]
    if (org := request.org) is not None:
        names += [act[0] for act in ACTS]
        for rows in (Route.objects.of(org).in_order(), PlanRun.objects.of(org), ExampleRequest.objects.filter(org=org)):
            names += rows.values_list("name", flat=True)[:OF_NEAR]
        names += Service.objects.of(org).values_list("slug", flat=True)
        names += sorted({price.model for price in prices_for(org).only("model")})
    return [one for name in nearest(text, names) for one in _found(request, name) if one.title == name]


def _outside(request: HttpRequest, text: str) -> Iterator[Found]:
    yield from _organizations(request, text)
    if request.user.is_superuser:
        pages = (
            ("New organisation", "plus", "organization_new"),
            ("Keys of gateways for all organisations", "access", "installation_keys"),
            ("Audit log of the installation", "audit", "installation_audit"),
            ("People", "user", "auth_user_changelist"),
        )
        for label, icon, name in pages:
            if _fits(text, label):
                yield Found("page", label, "", icon, reverse(f"admin:{name}"))


def _in_org(request: HttpRequest, text: str) -> Iterator[Found]:
    org, role = request.org, request.role

    def url(name: str, *args: object) -> str:
        return reverse(f"admin:{name}", args=[org.slug, *args])

    for label, icon, name, _, needs in (section for group in SECTIONS for section in group):
        if role.includes(needs) and _fits(text, label):
            yield Found("page", label, "", icon, url(name))
    for label, icon, name, needs, words in ACTS:
        if text and role.includes(needs) and _fits(text, f"{label} {words}"):
            yield Found("action", label, "", icon, url(name))
    if not text:
        return
    if _fits(text, "How a request finds its route help rules conditions"):
        yield Found("help", "How a request finds its route", "", "help", reverse("admin:help_rules"))
    for route in _named(Route.objects.of(org).in_order(), text):
        page = url("route_edit", route.uid) if role.includes("editor") else f"{url('routes')}?q={route.uid}"
        state = "disabled" if not route.enabled else "paused" if route.paused else ""
        yield Found("route", route.name, state, "routes", page)
    for service in _services(org, text):
        yield Found(
            "service", service.slug, "" if service.enabled else "disabled", "services", url("service", service.slug)
        )
    for plan in _named(PlanRun.objects.of(org).brief(), text):
        yield Found("plan", plan.name, plan.get_state_display(), "plans", url("plan", plan.pk))
    number = whole_number(text.lower().removeprefix("version").strip().removeprefix("v"))
    if number is not None:
        for version in RouteSetVersion.objects.filter(org=org, version=number).defer("content"):
            page = f"{url('history_compare')}?from={max(number - 1, 0)}&to={number}"
            yield Found(
                "version", f"Version {number}", f"by {version.author_name or version.author_type}", "history", page
            )
    for example in _named(ExampleRequest.objects.filter(org=org), text):
        page = url("example_edit", example.uid) if role.includes("editor") else url("examples")
        yield Found("example", example.name, "", "examples", page)
    for request_id in RequestLog.objects.of(org).filter(request_id=text).values_list("request_id", flat=True):
        page = f"{url('logged_request')}?{urlencode({'id': request_id})}"
        yield Found("request", request_id, "in the log", "logs", page)
    models = {
        price.model: price.provider for price in prices_for(org) if _fits(text, f"{price.model} {price.provider}")
    }
    for model, provider in sorted(models.items())[:OF_A_KIND]:
        yield Found("model", model, provider, "prices", url("prices"))
    for row in GatewayInstance.objects.filter(org=org, instance__icontains=text)[:OF_A_KIND]:
        yield Found("gateway", row.instance, f"runs version {row.running}", "gateways", url("gateways"))
    yield from _organizations(request, text)


def _services(org: Organization, text: str) -> list[Service]:
    """Those that are called so, or answer at a host that is."""
    hosts = ServiceHost.objects.of(org)
    rows = Service.objects.of(org).order_by("slug")
    for word in text.split():
        slugs = hosts.filter(host__icontains=word).values("slug")
        rows = rows.filter(Q(slug__icontains=word) | Q(slug__in=slugs))
    return list(rows[:OF_A_KIND])


def _organizations(request: HttpRequest, text: str) -> Iterator[Found]:
    rows = Organization.objects.of_person(request.user)
    for word in text.split():
        rows = rows.filter(Q(name__icontains=word) | Q(slug__icontains=word))
    for row in rows[:OF_A_KIND]:
        if row != request.org:
            yield Found("organisation", row.name, row.environment, "home", reverse("admin:home", args=[row.slug]))


def _named[T](rows: QuerySet[T], text: str) -> list[T]:
    """Those whose name has every word of the text."""
    is_it = list(rows.filter(name__iexact=text.strip())[:OF_A_KIND])
    for word in text.split():
        rows = rows.filter(name__icontains=word)
    others = rows.exclude(pk__in=[row.pk for row in is_it])
    return [*is_it, *others[: OF_A_KIND - len(is_it)]]


def _fits(text: str, label: str) -> bool:
    return all(word in label.lower() for word in text.lower().split())


def find_org(request: HttpRequest) -> HttpResponse:
    return find(request)


find.required_role = "viewer"
find_org.required_role = "anybody"
PAGES = [path("find/", find, name="find")]
OUTSIDE_PAGES = [path("find/", find_org, name="find_org")]
