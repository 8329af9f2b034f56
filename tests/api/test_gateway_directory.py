"""`gateway/directory/` and the views beside it: whom a gateway serves, by which keys, and what models cost."""

import hashlib
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from audit.models import AuditEntry
from routes.catalog.models import ModelPrice
from routes.catalog.services import price_document
from routes.engine import PriceTable
from routes.gateway.directory import Directory
from routes.gateway.sources import DatabaseSource
from routes.orgs.keys import InvalidKey, create_key, revoke_key
from routes.orgs.models import ApiKey, Organization
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import a_person, an_org
from tests.loop.test_main_loop import database_url

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def staff() -> Any:
    return a_person("root", is_superuser=True)


def asking(org: Organization | None, staff: Any) -> Client:
    made = create_key(org, name="gw", kind="gateway", by=staff)
    return Client(headers={"Authorization": f"Bearer {made.text}"})


def directory(client: Client, **headers: str) -> Any:
    return client.get("/api/v1/gateway/directory/", headers=headers)


def test_a_gateway_learns_whom_it_serves_and_by_which_keys(org: Organization, staff: Any) -> None:
    other = an_org("other")
    later = timezone.now().replace(microsecond=120_000) + timedelta(days=1)
    plain = create_key(org, name="plain", kind="traffic", by=staff)
    special = create_key(
        org, name="special", kind="traffic", by=staff, expires_at=later, metadata={"team": "blü"}, allows_force=True
    )
    gone = create_key(org, name="gone", kind="traffic", by=staff)
    revoke_key(gone.key, by=staff)
    said = directory(asking(None, staff)).json()
    assert said["schema"] == 1
    by_slug = {row["org_slug"]: row for row in said["organizations"]}
    assert by_slug["other"] == {
        "org_id": str(other.pk), "org_slug": "other", "status": "active", "private_upstreams": [], "hosts": {},
        "traffic_keys": [],
    }  # fmt: skip
    keys = {key["id"]: key for key in by_slug[org.slug]["traffic_keys"]}
    assert keys == {
        plain.key.pk: {
            "id": plain.key.pk, "digest": hashlib.sha256(plain.text.encode()).hexdigest(), "expires_at": None,
            "metadata": {}, "allows_force": False,
        },
        special.key.pk: {
            "id": special.key.pk, "digest": hashlib.sha256(special.text.encode()).hexdigest(),
            "expires_at": later.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), "metadata": {"team": "blü"}, "allows_force": True,
        },
    }  # fmt: skip
    read = Directory.from_document(said)
    found = read.key(special.text, NOW)
    assert found is not None
    assert (found.org.org_slug, found.metadata, found.allows_force) == (org.slug, {"team": "blü"}, True)
    assert read.key(special.text, later) is None
    assert read.key(gone.text, NOW) is None


def test_a_gateway_of_one_organisation_learns_of_that_one_alone(org: Organization, staff: Any) -> None:
    create_key(an_org("other"), name="k", kind="traffic", by=staff)
    said = directory(asking(org, staff)).json()
    assert [row["org_slug"] for row in said["organizations"]] == [org.slug]


def test_what_has_not_changed_is_not_sent_again(org: Organization, staff: Any) -> None:
    client = asking(None, staff)
    first = directory(client)
    again = directory(client, **{"If-None-Match": first["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    create_key(org, name="new", kind="traffic", by=staff)
    changed = directory(client, **{"If-None-Match": first["ETag"]})
    assert changed.status_code == 200
    assert changed["ETag"] != first["ETag"]


def test_the_directory_costs_the_same_queries_for_any_number_of_keys(
    org: Organization, staff: Any, django_assert_num_queries: Any
) -> None:
    client = asking(None, staff)
    directory(client)
    with django_assert_num_queries(2):
        directory(client)
    for number in range(5):
        create_key(an_org(f"org-{number}"), name="k", kind="traffic", by=staff)
    with django_assert_num_queries(2):
        assert len(directory(client).json()["organizations"]) == 6


def test_nobody_but_gateways_reads_it(viewer: Caller, org: Organization, staff: Any) -> None:
    problem(directory(viewer.client), 403, "forbidden")
    problem(directory(Client()), 401, "unauthenticated")


# --- Keys for traffic -------------------------------------------------------------------------------------------------


def test_what_is_fixed_on_a_key_is_shown_and_recorded(admin: Caller, org: Organization) -> None:
    body = {"name": "batch", "kind": "traffic", "metadata": {"team": "blue"}, "allows_force": True}
    made = admin("post", "api-keys/", body).json()["api_key"]
    assert (made["metadata"], made["allows_force"]) == ({"team": "blue"}, True)
    entry = AuditEntry.objects.get(action="api_key.created", target_id=made["id"])
    payload = json.loads(bytes(entry.payload))
    assert (payload["metadata"], payload["allows_force"]) == ({"team": "blue"}, True)
    other = admin("post", "api-keys/", {"name": "gw", "kind": "gateway"}).json()["api_key"]
    assert (other["metadata"], other["allows_force"]) == ({}, False)


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"kind": "gateway", "metadata": {"a": "b"}}, "invalid_key", "Only a traffic key"),
        ({"kind": "gateway", "allows_force": True}, "invalid_key", "Only a traffic key"),
        ({"metadata": {"": "b"}}, "invalid_key", "1 to 64 characters"),
        ({"metadata": {" ": "b"}}, "invalid_key", "1 to 64 characters"),
        ({"metadata": {"x" * 65: "b"}}, "invalid_key", "1 to 64 characters"),
        ({"metadata": {"a": "x" * 513}}, "invalid_key", "at most 512 characters"),
        ({"metadata": {"a\n": "b"}}, "invalid_key", "control character"),
        ({"metadata": {f"n{number}": "x" for number in range(17)}}, "invalid_key", "At most 16 names"),
        ({"metadata": {"a": 5}}, "invalid", "This is text, not 5"),
        ({"metadata": "a = b"}, "invalid", "an object of texts"),
        ({"metadata": {f"n{number}": "x" for number in range(101)}}, "invalid", "At most 100 names"),
    ],
)
def test_what_cannot_be_fixed_on_a_key_is_refused(admin: Caller, change: dict[str, Any], code: str, said: str) -> None:
    answer = problem(admin("post", "api-keys/", {"name": "k", "kind": "traffic", **change}), 422, code)
    assert [error["pointer"].split("/")[1] for error in answer["errors"]] == [list(change)[-1]]
    assert said in answer["errors"][0]["detail"]
    assert not ApiKey.objects.filter(name="k").exists()


def test_the_service_refuses_what_the_form_would(org: Organization, staff: Any) -> None:
    with pytest.raises(InvalidKey, match="traffic"):
        create_key(org, name="k", kind="management", role="viewer", by=staff, metadata={"a": "b"})


def test_a_key_is_made_on_the_page_with_what_is_fixed_on_it(admin: Caller, org: Organization) -> None:
    url = reverse("admin:key_create", args=[org.slug])
    client = Client()
    client.force_login(admin.person)
    make = {
        "key-name": "batch",
        "key-kind": "traffic",
        "key-metadata": "team = blue\n\n stage=dev = 2 ",
        "key-allows_force": "on",
    }
    wrong = client.post(url, {**make, "key-metadata": "team"})
    assert (wrong.status_code, "in each line" in wrong.content.decode()) == (422, True)
    twice = client.post(url, {**make, "key-metadata": "a=1\na=2"})
    assert "is there twice" in twice.content.decode()
    page = client.post(url, make)
    assert page.status_code == 200
    key = ApiKey.objects.get(name="batch")
    assert (key.metadata, key.allows_force) == ({"team": "blue", "stage": "dev = 2"}, True)
    shown = client.get(reverse("admin:access", args=[org.slug])).content.decode()
    assert "stage = dev = 2" in shown
    assert '<br><span class="muted">its requests may say which route takes them</span>' in shown


# --- What a gateway reads of the database itself ----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_the_views_say_what_the_api_says(org: Organization, staff: Any) -> None:
    an_org("other")
    later = timezone.now() + timedelta(days=1)
    create_key(org, name="k", kind="traffic", by=staff, expires_at=later, metadata={"team": "ü"}, allows_force=True)
    create_key(org, name="whole", kind="traffic", by=staff, expires_at=later.replace(microsecond=0))
    with closing(DatabaseSource(database_url())) as source:
        _agrees(source, org, staff)


def _agrees(source: DatabaseSource, org: Organization, staff: Any) -> None:
    told = directory(asking(None, staff)).json()
    assert source.directory() == told
    assert source.directory() is None  # as it was
    create_key(org, name="new", kind="traffic", by=staff)
    assert source.directory() is not None
    assert source.store.versions([str(org.pk)]) == {str(org.pk): 0}


@pytest.mark.django_db(transaction=True)
def test_prices_read_by_sql_are_the_prices_of_the_api(org: Organization) -> None:
    def a_price(model: str, usd: str, **more: Any) -> None:
        ModelPrice.objects.create(
            provider="openai",
            model=model,
            input_usd_per_million=Decimal(usd),
            output_usd_per_million=Decimal("10"),
            **more,
        )

    with closing(DatabaseSource(database_url())) as source:
        _same_prices(source, org, a_price)


def _same_prices(source: DatabaseSource, org: Organization, a_price: Any) -> None:
    a_price("gpt-4o", "2.5", cached_input_usd_per_million=Decimal("1.25"), max_input_tokens=128_000)
    a_price("gpt-4o", "0.123456789", since=NOW)
    a_price("gpt-4o", "2", org=org, since=NOW + timedelta(microseconds=5))
    a_price("old", "1", retires_on=NOW.date())
    a_price("gpt-4o", "9", org=an_org("other"))
    read = source.prices(str(org.pk))
    assert read is not None
    assert read["prices"] == price_document(org)["prices"]
    table = PriceTable.from_document(read)
    price = table.price("openai", "gpt-4o", NOW + timedelta(days=1))
    assert price is not None
    assert (price.negotiated, price.input_nano_per_million) == (True, 2_000_000_000)
    assert source.prices(str(org.pk)) is None
