"""`prices/`: what is listed, what a gateway loads, and importing without overwriting what somebody else imported."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from routes.catalog import served
from routes.catalog.models import ModelPrice
from routes.engine import PriceTable
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from tests.api.conftest import Caller
from tests.build import a_person, an_org
from tests.routes.catalog.build import do, entry, own, own_list, table

pytestmark = pytest.mark.django_db
JUNE = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def staff(db: None) -> Client:
    client = Client()
    client.force_login(a_person("staff", is_superuser=True))
    return client


def sent(client: Client, url: str, body: bytes) -> Any:
    return client.post(url, body, content_type="application/json")


def named(response: Any) -> list[str]:
    assert response.status_code == 200, response.content
    return [f"{row['provider']}/{row['model']}" for row in response.json()["results"]]


# --- Lists ------------------------------------------------------------------------------------------------------------


def test_a_list_has_what_each_price_is(viewer: Caller) -> None:
    do(own_list(own(cached_input_usd_per_million=1.25, max_input_tokens=128_000, retires_on="2027-03-31")))
    (row,) = viewer("get", "/api/v1/prices/").json()["results"]
    assert row == {
        "provider": "openai",
        "model": "gpt-4o",
        "since": None,
        "negotiated": False,
        "input_usd_per_million": 2.5,
        "output_usd_per_million": 10,
        "cached_input_usd_per_million": 1.25,
        "batch_input_usd_per_million": None,
        "batch_output_usd_per_million": None,
        "flex_input_usd_per_million": None,
        "flex_output_usd_per_million": None,
        "max_input_tokens": 128_000,
        "max_output_tokens": None,
        "supports_images": None,
        "supports_audio": None,
        "supports_tools": None,
        "supports_reasoning": None,
        "retires_on": "2027-03-31",
        "source": "test",
    }


def test_negotiated_prices_are_seen_by_whom_they_are_for(org: Organization, viewer: Caller) -> None:
    other = an_org("other")
    do(own_list(own("gpt-4o"), own("gpt-4o-mini")))
    do(own_list(own("gpt-4o", input=1)), org=org)
    do(own_list(own("hidden")), org=other)
    assert named(viewer("get", "/api/v1/prices/")) == ["openai/gpt-4o", "openai/gpt-4o-mini"]
    assert named(viewer("get", "prices/")) == ["openai/gpt-4o", "openai/gpt-4o", "openai/gpt-4o-mini"]
    assert [row["negotiated"] for row in viewer("get", "prices/?model=gpt-4o").json()["results"]] == [False, True]
    assert named(viewer("get", "prices/?negotiated=true")) == ["openai/gpt-4o"]
    assert named(Caller(other, "viewer")("get", "prices/?negotiated=true")) == ["openai/hidden"]


def test_a_list_is_narrowed_and_paged(viewer: Caller) -> None:
    do(own_list(*(own(f"m-{n}") for n in range(5)), {**own("claude"), "provider": "anthropic"}))
    assert named(viewer("get", "/api/v1/prices/?search=claude")) == ["anthropic/claude"]
    assert named(viewer("get", "/api/v1/prices/?provider=openai&model=m-3")) == ["openai/m-3"]
    pages, url = [], "/api/v1/prices/?limit=4&ordering=-name"
    while url:
        answer = viewer("get", url)
        pages.append(named(answer))
        url = answer.json()["next"]
    assert pages == [["openai/m-4", "openai/m-3", "openai/m-2", "openai/m-1"], ["openai/m-0", "anthropic/claude"]]
    assert viewer("get", "/api/v1/prices/?modle=m-3").status_code == 422


@pytest.mark.parametrize(
    ("at", "input_usd"),
    [("2026-05-31T23:59:59Z", [2.5, 1]), ("2026-06-01T00:00:00Z", [2, 1]), ("2026-07-01T00:00:00Z", [2, 0.5])],
)
def test_what_is_in_force_at_a_time(org: Organization, viewer: Caller, at: str, input_usd: list[float]) -> None:
    """Everybody's, and with the organisation's own."""
    do(own_list(own(input=2.5)))
    do(own_list(own(input=2)), since=JUNE)
    do(own_list(own(input=1)), org=org, since=datetime(2026, 1, 1, tzinfo=UTC))
    do(own_list(own(input=0.5)), org=org, since=datetime(2026, 7, 1, tzinfo=UTC))
    found = [viewer("get", f"{url}?in_force_at={at}").json()["results"] for url in ("/api/v1/prices/", "prices/")]
    assert [[row["input_usd_per_million"] for row in rows] for rows in found] == [[usd] for usd in input_usd]


# --- Snapshots --------------------------------------------------------------------------------------------------------


def test_a_gateway_loads_the_prices_that_hold_for_its_organisation(org: Organization) -> None:
    do(own_list(own(input=2.5)))
    do(own_list(own(input=1)), org=org)
    key = create_key(org, name="edge", kind="gateway", by=a_person("staff", is_superuser=True))
    client = Client(headers={"Authorization": f"Bearer {key.text}"})
    answer = client.get(f"/api/v1/orgs/{org.slug}/prices/snapshot/")
    negotiated = PriceTable.from_document(answer.content)
    assert negotiated.org_id == str(org.pk)
    assert [price.input_nano_per_million for price in negotiated.prices] == [2_500_000_000, 1_000_000_000]
    everybody = PriceTable.from_document(client.get("/api/v1/prices/snapshot/").content)
    assert (everybody.org_id, len(everybody.prices)) == (None, 1)


def test_who_has_the_prices_gets_a_304_for_two_queries_until_they_change(
    org: Organization, viewer: Caller, django_assert_num_queries: Any
) -> None:
    other = an_org("other")
    do(own_list(own(input=2.5)))

    def ask(etag: str = "") -> Any:
        return viewer("get", "prices/snapshot/", headers={"If-None-Match": etag})

    first = ask()
    etag = first["ETag"]
    with django_assert_num_queries(2):  # who calls, and whether the prices changed
        assert ask(etag).status_code == 304
    again = ask()
    assert (again.content, again["ETag"]) == (first.content, etag)
    do(own_list(own(input=1)), org=other)
    assert ask(etag).status_code == 304
    do(own_list(own(input=2)), org=org)
    assert ask(etag).status_code == 200
    own_etag = ask()["ETag"]
    do(own_list(own(input=3)))
    changed = ask(own_etag)
    assert changed.status_code == 200
    assert PriceTable.from_document(changed.content).digest() != PriceTable.from_document(first.content).digest()
    # Of facts alone no cost depends on, and gateways look at them.
    etag = changed["ETag"]
    do(own_list(own(input=3, max_input_tokens=9)))
    assert ask(etag).status_code == 200


def test_who_has_the_prices_is_told_so_without_building_them(viewer: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    do(own_list(own()))
    etag = viewer("get", "prices/snapshot/")["ETag"]
    served._kept.clear()  # as where more organisations ask in turn than are kept
    monkeypatch.setattr(served, "price_document", lambda *_, **__: pytest.fail("a document was built"))
    assert viewer("get", "prices/snapshot/", headers={"If-None-Match": etag}).status_code == 304


def test_where_nobody_wrote_a_price_there_is_an_empty_document(viewer: Caller) -> None:
    answer = viewer("get", "/api/v1/prices/snapshot/", headers={"If-None-Match": '"none"'})
    assert (answer.status_code, PriceTable.from_document(answer.content).prices) == (200, ())


# --- Imports ----------------------------------------------------------------------------------------------------------


def test_an_import_is_looked_at_and_then_done(staff: Client) -> None:
    file = table(**{"gpt-4o": entry(), "gpt-4o-mini": entry("1.5e-07", "6e-07")})
    dry = sent(staff, "/api/v1/prices/import/?dry_run=1", file).json()
    assert (dry["dry_run"], dry["receipt"], ModelPrice.objects.count()) == (True, None, 0)
    assert dry["import"]["counts"]["added"] == 2
    done = sent(staff, f"/api/v1/prices/import/?expected={dry['import']['digest']}", file).json()
    assert (done["receipt"]["seq"], ModelPrice.objects.count()) == (0, 2)
    again = sent(staff, "/api/v1/prices/import/", file).json()
    assert (again["receipt"], again["import"]["changes"]) == (None, [])
    dearer = sent(staff, "/api/v1/prices/import/?since=2026-06-01T00:00:00Z", table(**{"gpt-4o": entry("3e-06")}))
    assert dearer.json()["import"]["changes"] == [
        {
            "kind": "changed",
            "provider": "openai",
            "model": "gpt-4o",
            "since": "2026-06-01T00:00:00.000000Z",
            "until": None,
            "fields": [{"field": "input_usd_per_million", "was": 2.5, "is": 3, "percent": 20.0}],
        }
    ]
    assert dearer.json()["import"]["unlisted"] == [{"provider": "openai", "model": "gpt-4o-mini"}]


def test_an_import_that_is_repeated_does_not_undo_what_came_after_it(staff: Client) -> None:
    def importing(file: bytes, key: str, query: str = "") -> Any:
        url = f"/api/v1/prices/import/{query}"
        return staff.post(url, file, content_type="application/json", headers={"Idempotency-Key": key})

    first, second = table(**{"gpt-4o": entry("2e-06")}), table(**{"gpt-4o": entry("3e-06")})
    done = importing(first, "one")
    later = importing(second, "two", "?since=2026-06-01T00:00:00Z")
    assert (done.status_code, later.status_code) == (200, 200)
    again = importing(first, "one")
    assert (again.content, again["Idempotency-Replayed"]) == (done.content, "true")
    assert importing(first, "one", "?since=2026-06-01T00:00:00Z").json()["code"] == "idempotency_key_reused"
    assert {row.since and row.input_usd_per_million for row in ModelPrice.objects.all()} == {None, 3}


def test_an_import_of_something_else_than_was_seen_is_refused_and_shown(staff: Client) -> None:
    file = json.dumps([own(input=3)]).encode()
    seen = sent(staff, "/api/v1/prices/import/?dry_run=1", file).json()["import"]["digest"]
    do(own_list(own(input=2)))
    refused = sent(staff, f"/api/v1/prices/import/?expected={seen}", file)
    assert (refused.status_code, refused.json()["code"]) == (409, "prices_changed")
    current = refused.json()["current"]
    assert current["changes"][0]["fields"] == [
        {"field": "input_usd_per_million", "was": 2, "is": 3, "percent": 50.0},
    ]
    assert sent(staff, f"/api/v1/prices/import/?expected={current['digest']}", file).status_code == 200


def test_an_admin_imports_what_was_negotiated_and_nothing_else(org: Organization, admin: Caller) -> None:
    body = json.dumps([own(), {**own("claude"), "provider": "anthropic"}]).encode()
    done = sent(admin.client, f"{admin.base}prices/import/?provider=anthropic&provider=openai", body)
    assert done.json()["import"]["providers"] == ["anthropic", "openai"]
    assert set(ModelPrice.objects.values_list("org", flat=True)) == {org.pk}
    assert sent(admin.client, "/api/v1/prices/import/", body).status_code == 403


@pytest.mark.parametrize(
    ("query", "body", "status", "code"),
    [
        ("", b"", 422, "unreadable_prices"),
        ("", b"[1", 422, "unreadable_prices"),
        ("", b"\xff\xfe", 422, "unreadable_prices"),
        ("?provider=nobody", json.dumps([own()]).encode(), 422, "unknown_provider"),
        ("?since=2026-06-01", json.dumps([own()]).encode(), 422, "invalid"),
        ("?expected=1", json.dumps([own()]).encode(), 422, "invalid"),
        ("?provider=%00", json.dumps([own()]).encode(), 422, "invalid"),
        ("?sicne=2026-06-01T00:00:00Z", json.dumps([own()]).encode(), 422, "invalid"),
        ("", b" " * (8 * 2**20 + 1), 413, "payload_too_large"),
    ],
)
def test_what_cannot_be_imported_is_refused(staff: Client, query: str, body: bytes, status: int, code: str) -> None:
    answer = sent(staff, f"/api/v1/prices/import/{query}", body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert ModelPrice.objects.count() == 0


def test_a_price_of_the_same_moment_is_not_overwritten(staff: Client) -> None:
    url = "/api/v1/prices/import/?since=2026-06-01T00:00:00Z"
    assert sent(staff, url, json.dumps([own(input=1)]).encode()).status_code == 200
    refused = sent(staff, url, json.dumps([own(input=2)]).encode())
    assert (refused.status_code, refused.json()["code"]) == (409, "since_taken")
