"""The first page: all organisations that one belongs to, with the figures of each, and no query for each."""

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from audit.models import AuditHead, Refusal
from plans.runs.models import PlanRun
from routes.fleet.models import GatewayInstance
from routes.fleet.services import report
from routes.orgs.members import add_member
from routes.orgs.models import Organization
from routes.rules.models import Route
from routing_admin.home import cards
from routing_admin.templatetags.interface import ago
from tests.build import BY, a_person, a_plan, a_route, an_org, projected, sign_logs, traffic, usual_prices

pytestmark = pytest.mark.django_db


@pytest.fixture
def ada() -> Any:
    return a_person("ada")


@pytest.fixture
def client(ada: Any) -> Client:
    client = Client()
    client.force_login(ada)
    return client


def orgs_of(person: Any, first: int, last: int) -> None:
    for number in range(first, last + 1):
        add_member(an_org(f"org-{number:03d}"), person, role="viewer", by=BY)


def shown(client: Client, query: str = "") -> list[str]:
    return re.findall(r'<h2><a href="/admin/o/([a-z0-9-]+)/"', client.get(f"/admin/{query}").content.decode())


def test_thirty_organisations_cost_as_many_queries_as_one(ada: Any, client: Client) -> None:
    counts = []
    for first, last in ((1, 1), (2, 31)):
        orgs_of(ada, first, last)
        for org in Organization.objects.filter(version=0):
            a_route(org)
        with CaptureQueriesContext(connection) as asked:
            assert len(shown(client)) == last
        counts.append(len(asked))
    assert counts[0] == counts[1] <= 13


def test_the_fifty_first_organisation_is_on_a_second_page(ada: Any, client: Client) -> None:
    orgs_of(ada, 1, 50)
    first = client.get("/admin/").content.decode()
    assert 'class="toolbar pager"' not in first
    orgs_of(ada, 51, 52)
    an_org("of-others")
    first = client.get("/admin/").content.decode()
    assert "Organisations 1 to 50 of 52" in first
    assert 'href="?page=2"' in first
    assert shown(client) == [f"org-{number:03d}" for number in range(1, 51)]
    for query in ("?page=2", "?page=99"):
        assert shown(client, query) == ["org-051", "org-052"]
    assert shown(client, "?page=%00") == shown(client)


def test_each_card_has_the_figures_of_its_own_organisation() -> None:
    usual_prices()
    busy, quiet, free = an_org("busy", approval="plans"), an_org("quiet"), an_org("free")
    strict = an_org("strict", approval="all")
    route = a_route(busy, "one")
    a_route(busy, "two")
    Route.objects.filter(pk=route.pk).update(enabled=False)
    for org in (busy, free, strict):
        traffic(org)
        projected(a_plan(org, name=f"first of {org.slug}"))
        projected(a_plan(org, name=f"last of {org.slug}"))
    a_plan(busy, name="a draft")
    for org in (busy, quiet, free):
        org.refresh_from_db()
    found = cards([free, busy, quiet, strict])
    assert [card["org"] for card in found] == [free, busy, quiet, strict]
    of_free, of_busy, of_quiet, of_strict = found
    assert of_strict["waiting"] == 2, "where every change needs approval plans do, too"
    assert (of_busy["routes_total"], of_busy["routes_enabled"], of_busy["live"].version) == (2, 1, 2)
    assert (of_busy["last_plan"].name, of_busy["last_headline"]) == ("last of busy", "Changes nothing")
    assert (of_busy["waiting"], of_free["waiting"]) == (2, 0), "where nothing needs approval nothing waits"
    assert of_free["last_plan"].name == "last of free"
    page = render_to_string("org_figures.html", {"card": of_free})
    assert "last of free</a>, projected – Saves " in page
    assert (of_quiet["routes_total"], of_quiet["live"], of_quiet["last_plan"], of_quiet["waiting"]) == (
        0,
        None,
        None,
        0,
    )
    sizes = [card["audit"]["size"] for card in (of_quiet, of_free, of_busy)]
    assert sizes[0] == 1 < sizes[1] < sizes[2]
    assert PlanRun.objects.count() == 7


def test_a_card_says_how_gateways_and_the_audit_log_stand(ada: Any, client: Client) -> None:
    org = an_org()
    add_member(org, ada, role="viewer", by=BY)
    a_route(org)

    def said() -> str:
        return " ".join(client.get("/admin/").text.split())

    assert '<dt>Gateways</dt><dd><span class="muted">none</span>' in said()
    assert ">0 of " in said(), "two figures side by side read as one"
    sign_logs()
    assert '<span class="badge badge-ok">signed</span>' in said()
    assert "The audit log was last looked at" in said()
    report(org, "one", running=1, rejected=None, schema_max=1, engine="0.1", extras=[])
    assert '1 <span class="badge badge-ok">up to date</span>' in said()
    report(org, "two", running=0, rejected=None, schema_max=1, engine="0.1", extras=[])
    assert "1 of 2 behind" in said()
    report(
        org, "two", running=0, rejected={"version": 1, "code": "x", "detail": ""}, schema_max=1, engine="0.1", extras=[]
    )
    assert "1 of 2 reject a version" in said()
    GatewayInstance.objects.update(reported_at=timezone.now() - timedelta(hours=1), rejected=None)
    assert "2 of 2 silent" in said()
    Refusal.objects.create(log=AuditHead.objects.get(org_id=org.pk).log, since=timezone.now(), rule="cut", message="x")
    assert '<span class="badge badge-bad">not signed</span>' in said()


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-3600, "just now"),
        (0, "just now"),
        (59, "just now"),
        (60, "1\xa0minute ago"),
        (7380, "2\xa0hours, 3\xa0minutes ago"),
    ],
)
def test_how_long_ago_something_was_is_said_from_a_minute_on(seconds: int, said: str) -> None:
    assert ago(timezone.now() - timedelta(seconds=seconds)) == said


def test_what_was_published_just_now_is_not_zero_minutes_old(ada: Any, client: Client) -> None:
    orgs_of(ada, 1, 1)
    a_route(Organization.objects.get())
    for url in ("/admin/", "/admin/o/org-001/"):
        text = client.get(url).text
        assert "Published just now by" in text
        assert "0\xa0minutes" not in text
