"""The page of request logs."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from plans.logs.models import RequestLog
from routes.orgs.models import Organization
from tests.build import START, a_person, an_org, traffic

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("vera", org, "viewer"))
    return client


def page(client: Client, query: str = "", **parameters: Any) -> str:
    answer = client.get(f"/admin/o/acme/logs/{query}", parameters or None)
    assert answer.status_code == 200
    return answer.content.decode()


def ids(html: str) -> list[str]:
    return re.findall(r'<span class="mono">(r\d+)</span>', html)


def older(html: str) -> str:
    """The query of the link to older rows, or nothing."""
    found = re.search(r'href="(\?[^"]*)">Older', html)
    return found[1].replace("&amp;", "&") if found else ""


@pytest.mark.parametrize("columns", [{}, {"ts": START}])
def test_the_newest_come_first_and_older_ones_follow_without_gap(
    org: Organization, client: Client, columns: dict[str, Any]
) -> None:
    """Also where all rows have one time, and only the id orders them."""
    traffic(org, 250, **columns)
    traffic(an_org("other"), 5)
    found: list[str] = []
    query = ""
    for length in (100, 100, 50):
        html = page(client, query)
        assert len(ids(html)) == length
        found += ids(html)
        query = older(html)
    assert query == ""
    in_order = RequestLog.objects.of(org).order_by("-ts", "-request_id")
    assert found == list(in_order.values_list("request_id", flat=True))


def test_the_filters_narrow_and_stay_while_paging(org: Organization, client: Client) -> None:
    traffic(org, 130, tag="so & so")
    RequestLog.objects.filter(request_id__in=["r3", "r4"]).update(tag=None, model="small")
    assert ids(page(client, model="small")) == ["r4", "r3"]
    assert ids(page(client, model="small", tag="so & so")) == []
    first = page(client, tag="so & so")
    assert len(ids(first)) == 100
    assert len(ids(page(client, older(first)))) == 28
    assert "No such requests." in page(client, tag="nothing")


def test_what_is_made_up_is_marked(org: Organization, client: Client) -> None:
    traffic(org, 1)
    assert "synthetic" not in page(client)
    traffic(org, 1, request_id="r2", synthetic=["cost_usd", "latency_ms"])
    html = page(client)
    assert html.count('title="Made up: cost_usd, latency_ms"') == 1
    assert '<span class="mono">cost_usd, latency_ms</span>' in html
    assert "0.000750000*" in html
    assert "0.000750000</td>" in html


@pytest.mark.parametrize(
    "query",
    [
        "?model=%00", "?tag=%ff", "?before=now", "?before=2026-05-01", "?before=0001-01-01T00:00:00%2B23:59",
        "?before=2026-05-01T00:00:00Z&before_id=%00", "?before=9999-12-31T23:59:59-23:59", "?model=%3Cscript%3E",
    ],
)  # fmt: skip
def test_whatever_is_asked_for_is_answered(org: Organization, client: Client, query: str) -> None:
    traffic(org, 1)
    assert "<script>" not in page(client, query).split("ra-sections")[1].split("</main>")[0]


def test_the_page_neither_counts_nor_reads_everything(org: Organization, client: Client) -> None:
    traffic(org, 120)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        page(client)
    mine = [query["sql"] for query in queries if "plans_requestlog" in query["sql"]]
    assert len(mine) == 1
    assert "LIMIT 101" in mine[0]
    assert "COUNT(" not in mine[0]
    assert "response_body" not in mine[0]


def test_an_organisation_without_requests_is_told_how_to_get_some(org: Organization, client: Client) -> None:
    traffic(an_org("other"), 3)
    assert "manage.py import_logs" in page(client)
