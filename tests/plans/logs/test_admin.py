"""The page of request logs."""

import re
from datetime import timedelta
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils.html import escape

from plans.logs.listing import Place, look
from plans.logs.models import RequestLog
from routes.orgs.models import Organization, new_id
from tests.build import START, a_person, a_route, an_org, traffic

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
    return re.findall(r'<a class="mono" href="[^"]*">(r\d+)</a>', html)


def older(html: str) -> str:
    """The query of the link to older rows, or nothing."""
    found = re.search(r'href="(\?[^"]*)">(?:Older|Go on)', html)
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
    nothing = page(client, tag="nothing")
    assert "No such request: the whole log was looked at." in nothing
    assert '<a href="/admin/o/acme/logs/">Show all requests.</a>' in nothing


def test_what_is_made_up_of_all_rows_alike_is_said_once(org: Organization, client: Client) -> None:
    traffic(org, 3, synthetic=["cost_usd", "tag"])
    html = page(client)
    assert html.count("made up") == 1
    assert "Made up" not in html
    assert '<summary>Which facts of them</summary><span class="mono">cost_usd, tag</span>' in html
    assert "*" not in html[html.index("<table") : html.index("</table")]
    traffic(org, 1, request_id="r9", synthetic=["tag"])
    html = page(client)
    assert html.count('title="Made up: cost_usd, tag"') == 3
    assert html.count('title="Made up: tag"') == 1, "rows that differ are told apart"
    assert page(client, id="r9").count('title="Made up: tag"') == 1, "of a single row nothing is said of all"


def test_what_is_made_up_is_marked(org: Organization, client: Client) -> None:
    traffic(org, 1)
    assert "made up" not in page(client)
    traffic(org, 1, request_id="r2", synthetic=["cost_usd", "latency_ms"])
    html = page(client)
    assert html.count('title="Made up: cost_usd, latency_ms"') == 1
    assert '<span class="mono">cost_usd, latency_ms</span>' in html
    assert "$0.00075*" in html
    assert "$0.00075</td>" in html


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


# --- What is looked for -----------------------------------------------------------------------------------------------


def test_each_filter_narrows_to_what_it_says(org: Organization, client: Client) -> None:
    route = a_route(org, "short ones")
    traffic(org, 9)
    rows = RequestLog.objects.of(org)
    rows.filter(request_id="r2").update(matched_route_id=route.uid, reason="matched")
    gone = new_id()
    rows.filter(request_id="r3").update(matched_route_id=gone, reason="matched", status=400)
    rows.filter(request_id="r4").update(tag=" a ", reason="no_match")
    for asked, found in (
        ({"id": "r5"}, ["r5"]),
        ({"id": "r"}, []),
        ({"tag": " a "}, ["r4"]),
        ({"tag": "a"}, []),
        ({"route": str(route.uid)}, ["r2"]),
        ({"route": gone}, ["r3"]),
        ({"route": "none", "since": "2026-05-01T00:08"}, ["r9", "r8"]),
        ({"status": "failed"}, ["r3"]),
        ({"status": "good", "until": "2026-05-01T00:05"}, ["r4", "r2", "r1"]),
        ({"since": "2026-05-01T00:06", "until": "2026-05-01T00:08"}, ["r7", "r6"]),
        ({"id": "r3", "status": "good"}, []),
    ):
        assert ids(page(client, **asked)) == found, asked
    html = page(client)
    assert re.search(r'data-label="Route"><div>\s*short ones', html)
    assert f'<a href="?route={gone}">one that is deleted</a>' in html
    assert (html.count('<span class="muted">none</span>'), html.count('<span class="muted">not logged</span>')) == (
        1,
        6,
    )
    assert ">A route that is deleted</option>" in page(client, route=gone)


@pytest.mark.parametrize(
    "asked",
    [{"route": "x"}, {"route": "0"}, {"status": "500"}, {"since": "yesterday"}, {"id": "x" * 201}, {"until": "9" * 99}],
)
def test_what_cannot_be_looked_for_is_said_at_its_field(
    org: Organization, client: Client, asked: dict[str, str]
) -> None:
    traffic(org, 1)
    answer = client.get("/admin/o/acme/logs/", asked)
    assert answer.status_code == 422
    assert "Nothing was looked for." in answer.text
    assert answer.text.count("errorlist") == 1
    assert ids(answer.text) == []


def everything(org: Organization, wanted: Q, **more: Any) -> tuple[list[str], int]:
    """All that is found by going on until the end, and how many times that was."""
    found: list[str] = []
    before, times = None, 0
    while True:
        one = look(org, wanted, before=before, **more)
        found += [row["request_id"] for row in one.rows]
        before, times = one.before, times + 1
        if before is None:
            return found, times
        assert times < 100


@pytest.mark.parametrize("columns", [{}, {"ts": START}])
@pytest.mark.parametrize("looked_at", [1, 7, 50, 249, 250, 251])
def test_whoever_goes_on_finds_everything_once(org: Organization, columns: dict[str, Any], looked_at: int) -> None:
    if looked_at == 1:
        traffic(org, 60, **columns)
    else:
        traffic(org, 250, **columns)
    traffic(an_org("other"), 20)
    rows = RequestLog.objects.of(org)
    rows.filter(input_tokens__in=[100, 2500, 5000]).update(model="rare")
    rare = list(rows.filter(model="rare").order_by("-ts", "-request_id").values_list("request_id", flat=True))
    found, times = everything(org, Q(model="rare"), looked_at=looked_at)
    assert found == rare
    assert times == max(1, -(-rows.count() // looked_at))
    assert everything(org, Q(model="nothing"), looked_at=looked_at) == ([], times)


def test_no_more_rows_are_looked_at_than_was_said(org: Organization) -> None:
    traffic(org, 50)
    RequestLog.objects.of(org).filter(request_id="r1").update(model="rare")
    first = look(org, Q(model="rare"), looked_at=20)
    assert (first.rows, first.looked_back_to) == ([], START + timedelta(minutes=31))
    narrowed = look(org, Q(model="rare"), looked_at=20, until=START + timedelta(minutes=10))
    assert [row["request_id"] for row in narrowed.rows] == ["r1"]
    assert (narrowed.before, narrowed.looked_back_to) == (None, None)
    none = look(org, Q(model="rare"), looked_at=20, since=START + timedelta(minutes=2))
    assert none.looked_back_to == START + timedelta(minutes=31)
    end = look(org, Q(model="rare"), looked_at=20, since=START + timedelta(minutes=32))
    assert (end.rows, end.before) == ([], None)


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><img src=x>', "=cmd|' /C calc'!A0", "a/../b?c=d&e#f"])
def test_whatever_a_row_holds_is_listed_and_led_to_as_text(org: Organization, client: Client, text: str) -> None:
    a_route(org, text)
    traffic(org, 1, request_id=text, tag=text, model=text, requested_model=text, synthetic=["tag"])
    for html in (page(client), page(client, id=text, tag=text, model=text)):
        main = html.split("<main")[1]
        assert f"/logs/request/?id={quote(text, safe='')}" in main
        assert ("<script>alert" in main, "<img src=x" in main) == (False, False)
        assert main.count(escape(text)) >= 4


def test_an_id_is_found_wherever_it_is(org: Organization, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    traffic(org, 50)
    monkeypatch.setattr("plans.logs.admin.look", partial(look, looked_at=20))
    assert ids(page(client, id="r1")) == ids(page(client, id="r1", model="gpt-4o")) == ["r1"]
    assert "No such request: the whole log was looked at." in page(client, id="r1", model="x")


def test_what_is_older_and_what_is_before_a_time_both_hold(org: Organization) -> None:
    traffic(org, 9)
    place = Place(START + timedelta(minutes=5), "r5")
    for minutes, newest in ((3, "r2"), (5, "r4"), (7, "r4")):
        for wanted in (Q(), Q(model="gpt-4o")):
            found = look(org, wanted, before=place, until=START + timedelta(minutes=minutes), looked_at=3)
            assert found.rows[0]["request_id"] == newest, (minutes, wanted)


def test_how_far_was_looked_is_said_and_led_on_from(
    org: Organization, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic(org, 50)
    RequestLog.objects.of(org).filter(request_id="r1").update(model="rare")
    monkeypatch.setattr("plans.logs.admin.look", partial(look, looked_at=20))
    html = page(client, model="rare")
    assert "No such request so far." in html
    assert "back to 1 May 2026 00:31:00 UTC" in html
    html = page(client, older(html))
    html = page(client, older(html))
    assert ids(html) == ["r1"]
    assert older(html) == ""
    assert "No such request: the whole log of that time was looked at." in page(
        client, model="x", since="2026-05-01T00:45"
    )


@pytest.mark.parametrize(
    ("asked", "looks"),
    [
        ({}, 1),
        ({"since": "2026-05-01T00:00"}, 1),
        ({"id": "r1", "model": "gpt-4o"}, 1),
        ({"model": "gpt-4o", "status": "good"}, 3),
        ({"tag": "x", "route": "none", "status": "failed"}, 2),
    ],
)
def test_any_filter_costs_three_looks_into_the_log(
    org: Organization, client: Client, asked: dict[str, str], looks: int
) -> None:
    counted = []
    for rows in (3, 150):
        org.request_logs.all().delete()
        traffic(org, rows)
        page(client, **asked)
        with CaptureQueriesContext(connection) as queries:
            page(client, **asked)
        mine = [query["sql"] for query in queries if "plans_requestlog" in query["sql"]]
        assert all("LIMIT" in sql and "COUNT(" not in sql for sql in mine)
        counted.append((len(queries), len(mine)))
    assert counted[0] == counted[1]
    assert counted[0][1] == looks
