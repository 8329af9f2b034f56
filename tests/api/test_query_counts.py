"""What an answer costs the database does not grow with what is there."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.generics import GenericAPIView

from audit.services import record
from routes import live
from routes.catalog.models import ModelPrice
from routes.fleet.services import report
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from tests.api.conftest import Caller
from tests.api.test_who_may_what import served, signed_in
from tests.build import BY, a_person, a_placement, a_plan, a_service, an_example, an_org, many_routes, traffic
from tests.routes.catalog.build import do, own, own_list

pytestmark = pytest.mark.django_db
FIRST_MOMENT = datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC)


def queries(ask: Callable[[], Any]) -> int:
    """Of the second of two calls: the first one may note that a key is used."""
    ask()
    with CaptureQueriesContext(connection) as found:
        ask()
    return len(found)


# --- Lists ------------------------------------------------------------------------------------------------------------


def _organizations(_: Organization, count: int) -> None:
    for number in range(count):
        an_org(f"one-more-{Organization.objects.count()}-{number}")


def _members(org: Organization, count: int) -> None:
    for number in range(count):
        a_person(f"{org.slug}-person-{org.memberships.count()}-{number}", org)


def _keys(org: Organization | None, count: int) -> None:
    for number in range(count):
        person = a_person(f"maker-{org}-{Organization.objects.count()}-{count}-{number}", is_superuser=True)
        create_key(org, name="k", kind="gateway", by=person)


def _examples(org: Organization, count: int) -> None:
    for number in range(count):
        an_example(org, f"example {org.examples.count()}-{number}")


def _placements(org: Organization, count: int) -> None:
    for _ in range(count):
        a_placement(org, f"counted-{org.placements.count()}", "draining")


def _services(org: Organization, count: int) -> None:
    for number in range(count):
        a_service(org, f"service-{org.services.count()}-{number}")


def _versions(org: Organization, count: int) -> None:
    for _ in range(count):
        many_routes(org, 1)


def _gateways(org: Organization, count: int) -> None:
    for number in range(count):
        report(org, f"edge-{number}", running=0, rejected=None, schema_max=1, engine="1", extras=[])


def _traffic(org: Organization, count: int) -> None:
    org.request_logs.all().delete()
    traffic(org, count)


def _plans(org: Organization, count: int) -> None:
    for _ in range(count):
        a_plan(org)


def _entries(org: Organization | None, count: int) -> None:
    for _ in range(count):
        record(None if org is None else org.pk, by=BY, action="test.acted", target=("test", "1"), payload={})


def _prices(org: Organization | None, count: int) -> None:
    do(own_list(*(own(f"model-{count}-{number}") for number in range(count))), org=org)
    # Names that read alike, and times that are as early as can be, for everybody and for the organisation.
    names, times = (("a", "b/c"), ("a/b", "c")), (None, datetime.min.replace(tzinfo=UTC))
    for (provider, model), since, whose in product(names, times, {None, org}):
        ModelPrice.objects.get_or_create(
            {"input_usd_per_million": 1, "output_usd_per_million": 1},
            provider=provider,
            model=model,
            since=since,
            org=whose,
        )


#: How a list gets at least so many rows.
FILLED: dict[str, Callable[[Organization, int], None]] = {
    "orgs/": _organizations,
    "audit/": lambda _, count: _entries(None, count),
    "api-keys/": lambda _, count: _keys(None, count),
    "orgs/<org>/members/": _members,
    "orgs/<org>/api-keys/": _keys,
    "orgs/<org>/routes/": many_routes,
    "orgs/<org>/examples/": _examples,
    "orgs/<org>/placements/": _placements,
    "orgs/<org>/services/": _services,
    "orgs/<org>/versions/": _versions,
    "orgs/<org>/gateways/": _gateways,
    "prices/": lambda _, count: _prices(None, count),
    "orgs/<org>/prices/": _prices,
    "orgs/<org>/request-logs/": _traffic,
    "orgs/<org>/plans/": _plans,
    "orgs/<org>/audit/": _entries,
}


def lists() -> Iterator[str]:
    for path, view in served():
        if issubclass(view.cls, GenericAPIView):
            yield path


def test_every_list_is_filled_here() -> None:
    assert sorted(lists()) == sorted(FILLED)


@pytest.mark.parametrize("path", FILLED)
def test_thirty_rows_of_a_list_cost_as_many_queries_as_three(org: Organization, path: str) -> None:
    url = f"/api/v1/{path}?limit=500".replace("<org>", org.slug)
    # Signed in, and with the key of an admin where the list is one of an organisation.
    callers = [signed_in(a_person("staff", is_superuser=True))]
    if "<org>" in path:
        callers.append(Caller(org, "admin").client)
    counted, rows = [], []
    for count in (3, 30):
        FILLED[path](org, count)
        for client in callers:
            rows.append(len(client.get(url).json()["results"]))
            counted.append(queries(lambda client=client: client.get(url)))
    assert min(rows[: len(callers)]) >= 3
    assert min(rows[len(callers) :]) >= 30
    assert counted[: len(callers)] == counted[len(callers) :]
    assert max(counted) <= 4
    if "<org>" in path:
        assert counted[1] == 2, "the key with all that it takes, and the rows"


# --- Routes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [10, 100, 1000])
def test_what_is_asked_most_costs_the_same_for_ten_routes_and_a_thousand(
    viewer: Caller, org: Organization, count: int
) -> None:
    many_routes(org, count)
    org.refresh_from_db()
    has_it = {"If-None-Match": f'"{org.version}"'}
    asked = {"context": {"model": "gpt-4o", "input_tokens": 1}}

    def built() -> Any:
        live._kept.clear()
        return viewer("get", "snapshot/")

    assert {
        "list": queries(lambda: viewer("get", "routes/?limit=100")),
        "searched": queries(lambda: viewer("get", "routes/?limit=100&search=route")),
        "list, not modified": queries(lambda: viewer("get", "routes/?limit=100", headers=has_it)),
        "snapshot, built": queries(built),
        "snapshot": queries(lambda: viewer("get", "snapshot/")),
        "snapshot, not modified": queries(lambda: viewer("get", "snapshot/", headers=has_it)),
        "decide": queries(lambda: viewer("post", "decide/", asked)),
    } == {
        "list": 2,
        "searched": 2,
        "list, not modified": 1,
        "snapshot, built": 2,
        "snapshot": 1,
        "snapshot, not modified": 1,
        "decide": 1,
    }


def test_an_unchanged_snapshot_builds_nothing(
    viewer: Caller, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_routes(org, 3)
    monkeypatch.setattr(live, "document_of", lambda _: pytest.fail("a document was built"))
    assert viewer("get", "snapshot/", headers={"If-None-Match": '"1"'}).status_code == 304


# --- Lists of routes, of which what was shown before is at hand -------------------------------------------------------


def every_page(client: Client, url: str) -> list[Any]:
    found: list[Any] = []
    following: str | None = url
    while following:
        page = json.loads(client.get(following).content)
        found += page["results"]
        following = page["next"]
    return found


def test_a_list_says_of_each_route_what_the_route_itself_says(viewer: Caller, org: Organization) -> None:
    many_routes(org, 23)
    some = org.routes.order_by("pk")[:5].values_list("pk", flat=True)
    times = [datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 1, 2, 3, 4, 50, tzinfo=UTC), FIRST_MOMENT]
    for pk, time in zip(some, times, strict=False):
        org.routes.filter(pk=pk).update(active_from=time, created_at=time, updated_at=time)
    singly = [viewer("get", f"routes/{row.uid}/").json() for row in org.routes.in_order()]
    for _ in range(2):  # the first time nothing is at hand
        for order in ("", "&ordering=name", "&ordering=-name", "&ordering=-updated_at"):
            for more in ("", "&search=route"):
                found = every_page(viewer.client, f"{viewer.base}routes/?limit=7{order}{more}")
                by = sorted(found, key=lambda route: [one["id"] for one in singly].index(route["id"]))
                assert by == singly, (order, more)
                if not order:
                    assert found == singly


def test_what_is_at_hand_is_of_the_row_as_it_is_now(viewer: Caller, org: Organization) -> None:
    """Also where somebody went around the one write path."""
    many_routes(org, 3)
    before = viewer("get", "routes/").json()["results"]
    row = org.routes.get(uid=before[1]["id"])
    for change in (
        {"name": "é \u2028 “x”"},
        {"enabled": False},
        {"paused": True},
        {"conditions": {"model_in": ["a"]}},
        {"target": {"target_model": "b"}},
        {"meta": {"owner": "c"}},
        {"revision": 77},
    ):
        org.routes.filter(pk=row.pk).update(**change)
        after = viewer("get", "routes/").json()["results"]
        assert after[1] == viewer("get", f"routes/{row.uid}/").json() != before[1]
        assert [after[0], after[2]] == [before[0], before[2]]
        before = after
