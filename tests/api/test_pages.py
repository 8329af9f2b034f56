"""Pages of lists: nothing twice, nothing left out, there and back, whatever is equal or goes away."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from itertools import chain
from random import Random
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from plans.logs.models import RequestLog
from plans.runs.models import PlanRun
from routes.catalog.models import ModelPrice
from routes.examples.models import ExampleRequest
from routes.fleet.models import GatewayInstance
from routes.orgs.models import ApiKey, Membership, Organization
from routes.rules.models import Route
from tests.api.conftest import Caller
from tests.api.test_query_counts import FILLED
from tests.api.test_who_may_what import served, signed_in
from tests.build import a_person, an_org, many_routes, traffic

pytestmark = pytest.mark.django_db


def key(row: dict[str, Any]) -> str:
    """What a row is known by, in whichever list: all but its age."""
    return json.dumps({name: value for name, value in row.items() if name != "age_seconds"}, sort_keys=True)


def page(client: Client, url: str) -> dict[str, Any]:
    response = client.get(url)
    assert response.status_code == 200, response.content
    return json.loads(response.content)


def walked(client: Client, url: str | None, way: str, *, most: int = 500) -> list[list[str]]:
    """The rows of the page at `url`, and of those that follow on the way."""
    found: list[list[str]] = []
    while url:
        here = page(client, url)
        found.append([key(row) for row in here["results"]])
        url = here[way]
        assert len(found) <= most, "it goes on and on"
    return found


def last_of(client: Client, url: str) -> str:
    while following := page(client, url)["next"]:
        url = following
    return url


def all_at_once() -> None:
    """Where rows can be changed, they have one time."""
    now = timezone.now()
    for model, column in (
        (Organization, "created_at"),
        (Membership, "created_at"),
        (ApiKey, "created_at"),
        (PlanRun, "created_at"),
        (Route, "updated_at"),
        (ExampleRequest, "updated_at"),
        (GatewayInstance, "reported_at"),
        (RequestLog, "ts"),
    ):
        model.objects.update(**{column: now})
    Route.objects.update(priority=5, position=0)


def orderings() -> list[tuple[str, str]]:
    views = {path: view.cls for path, view in served()}
    return [(path, name) for path in FILLED for name in views[path].orderings]


@pytest.mark.parametrize(("path", "ordering"), orderings())
def test_a_list_of_equals_is_read_whole_there_and_back(org: Organization, path: str, ordering: str) -> None:
    FILLED[path](org, 5)
    client = signed_in(a_person("staff", is_superuser=True))
    all_at_once()
    url = f"/api/v1/{path}?{f'ordering={ordering}&' if ordering else ''}limit=".replace("<org>", org.slug)
    (whole,) = walked(client, f"{url}500", "next")
    assert len(set(whole)) == len(whole) >= 5
    for size in (max(2, len(whole) // 3), len(whole)):
        there = walked(client, f"{url}{size}", "next")
        assert [len(rows) for rows in there[:-1]] == [size] * (len(there) - 1)
        assert there[-1], "no page is there for nothing"
        assert [*chain(*there)] == whole
        back = walked(client, last_of(client, f"{url}{size}"), "previous")
        assert [*chain(*reversed(back))] == whole
        assert back[-1]


def test_more_equals_than_any_page_has_come_to_an_end(org: Organization, viewer: Caller) -> None:
    traffic(org, 1100)
    RequestLog.objects.update(ts=timezone.now())
    pages = walked(viewer.client, f"{viewer.base}request-logs/?limit=500", "next", most=4)
    assert [len(rows) for rows in pages] == [500, 500, 100]
    assert len(set(chain(*pages))) == 1100


@pytest.mark.parametrize("seed", range(6))
def test_rows_that_go_or_come_while_somebody_reads_move_no_other(org: Organization, viewer: Caller, seed: int) -> None:
    random = Random(seed)
    many_routes(org, 30)
    Route.objects.update(priority=5, position=0)
    stays = set(random.sample(sorted(Route.objects.values_list("name", flat=True)), 10))
    way, url = ("next", f"{viewer.base}routes/?limit=4")
    if seed % 2:
        way, url = ("previous", last_of(viewer.client, url))
    seen: list[str] = []
    here: str | None = url
    while here:
        answer = page(viewer.client, here)
        seen += [row["name"] for row in answer["results"]]
        for row in Route.objects.exclude(name__in=stays).order_by("?")[: random.randrange(4)]:
            row.delete()
        here = answer[way]
    assert len(seen) == len(set(seen))
    assert stays <= set(seen)


def test_who_comes_to_a_page_whose_rows_are_gone_finds_the_way_back(org: Organization, viewer: Caller) -> None:
    many_routes(org, 6)
    names = [row["name"] for row in page(viewer.client, f"{viewer.base}routes/")["results"]]
    first = page(viewer.client, f"{viewer.base}routes/?limit=3")
    second = page(viewer.client, first["next"])
    Route.objects.filter(name__in=names[3:]).delete()
    empty = page(viewer.client, first["next"])
    assert (empty["results"], empty["next"]) == ([], None)
    assert [row["name"] for row in page(viewer.client, empty["previous"])["results"]] == names[:3]
    Route.objects.filter(name__in=names[:3]).delete()
    empty = page(viewer.client, second["previous"])
    assert (empty["results"], empty["previous"]) == ([], None)
    assert page(viewer.client, empty["next"])["results"] == []


def coded(value: Any) -> str:
    text = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return urlsafe_b64encode(text).decode().rstrip("=")


U = "0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3e"
USUAL = ["after", "-priority", "position", "uid"]
ODD: dict[str, str] = {
    "no base 64": "%00",
    "not written by us": "bm90IGEgY3Vyc29y",
    "padded": urlsafe_b64encode(json.dumps([*USUAL, 5, 1, U], separators=(",", ":")).encode()).decode() + "=",
    "not UTF-8": coded(b"\xff\xfe"),
    "no list": coded({"side": "after"}),
    "empty list": coded([]),
    "spaces": coded(b'["after", "-priority", "position", "uid", 5, 1, 9]'),
    "another side": coded(["beside", *USUAL[1:], 5, 1, U]),
    "a side that is a list": coded([["after"], *USUAL[1:], 5, 1, U]),
    "another order": coded(["after", "name", "a"]),
    "too few": coded([*USUAL, 5, 1]),
    "too many": coded([*USUAL, 5, 1, U, U]),
    "text": coded([*USUAL, "5", 1, U]),
    "true": coded([*USUAL, True, 1, U]),
    "null": coded([*USUAL, None, 1, U]),
    "broken": coded([*USUAL, 5, 1.5, U]),
    "deep": coded(b"[" * 100_000),
    "endless": coded(b'["after","-priority","position","uid",5,1,' + b"9" * 5000 + b"]"),
}


@pytest.mark.parametrize("token", ODD.values(), ids=ODD)
def test_what_is_no_cursor_of_the_list_is_refused(org: Organization, viewer: Caller, token: str) -> None:
    many_routes(org, 3)
    answer = viewer("get", f"routes/?cursor={token}")
    assert answer.status_code == 422, answer.content
    assert [error["code"] for error in answer.json()["errors"]] == ["bad_cursor"]
    assert viewer("get", f"routes/?cursor={coded([*USUAL, 5, 1, U])}").status_code == 200


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("path", "cursor"),
    [
        ("routes/?ordering=name", ["after", "name", "a\0b"]),
        ("routes/?ordering=name", ["after", "name", "\ud800"]),
        ("routes/", [*USUAL, 10**30, 1, U]),
        ("audit/", ["after", "-seq", 2**80]),
        ("audit/", ["before", "-seq", -(2**80)]),
        ("plans/", ["after", "-created_at", "-id", "2026-11-21 08:00:00+00:00", "no id"]),
        ("plans/", ["after", "-created_at", "-id", "2026-11-21", "0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3e"]),
        ("request-logs/", ["after", "-ts", "-request_id", "0001-01-01 00:00:00+23:59", "r"]),
        ("request-logs/", ["after", "-ts", "-request_id", "9999-12-31 23:59:59-23:59", "r"]),
        ("request-logs/", ["after", "-ts", "-request_id", "2026-11-21 08:00:00", "r"]),
    ],
)
def test_a_place_that_no_row_can_have_is_never_a_fault_of_ours(
    org: Organization, viewer: Caller, path: str, cursor: list[Any]
) -> None:
    many_routes(org, 3)
    token = coded(json.dumps(cursor, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))
    answer = viewer("get", f"{path}{'&' if '?' in path else '?'}cursor={token}")
    assert answer.status_code in (200, 422), answer.content
    with connection.cursor() as still:
        still.execute("SELECT 1")


def test_a_cursor_says_nothing_but_what_its_reader_saw(org: Organization, viewer: Caller) -> None:
    many_routes(org, 3)
    first = page(viewer.client, f"{viewer.base}routes/?limit=1&ordering=name")
    token = first["next"].partition("cursor=")[2].partition("&")[0]
    text = urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert json.loads(text) == ["after", "name", first["results"][0]["name"]]


@pytest.mark.parametrize(
    ("path", "model"),
    [
        ("routes/?", Route),
        ("routes/?ordering=-updated_at&", Route),
        ("gateways/?ordering=reported_at&", GatewayInstance),
        ("members/?ordering=created_at&", Membership),
        ("prices/?", ModelPrice),
    ],
)
def test_a_cursor_does_not_count_what_others_have(org: Organization, path: str, model: Any) -> None:
    filled = FILLED["orgs/<org>/" + path.partition("?")[0]]
    filled(an_org("other"), 60)
    filled(org, 3)
    admin = Caller(org, "admin")
    token = page(admin.client, f"{admin.base}{path}limit=1")["next"].partition("cursor=")[2].partition("&")[0]
    values = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    ours = {row.pk for row in model.objects.filter(org=org)}
    people = {member.user_id for member in Membership.objects.filter(org=org)} if model is Membership else set()
    assert ours.isdisjoint(set(values) - people)
