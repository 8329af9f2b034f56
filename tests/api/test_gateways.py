"""`gateways/` and `gateway/versions/`: what gateways say, and what they ask."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from routes.fleet.api import MAX_KNOWN
from routes.fleet.models import GatewayInstance
from routes.orgs.keys import create_key
from routes.orgs.models import Organization, new_id
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import a_person, a_route, an_org

pytestmark = pytest.mark.django_db
SAID = {"running": 1, "rejected": None, "schema_max": 1, "engine": "0.1.0", "extras": ["regex"]}


@pytest.fixture
def gateway(org: Organization) -> Client:
    made = create_key(org, name="gw", kind="gateway", by=a_person("root", is_superuser=True))
    return Client(headers={"Authorization": f"Bearer {made.text}"})


def put(gateway: Client, org: Organization, instance: str, body: Any) -> Any:
    return gateway.put(f"/api/v1/orgs/{org.slug}/gateways/{instance}/", body, content_type="application/json")


def test_a_gateway_tells_what_it_runs_and_people_see_how_far_behind_it_is(
    gateway: Client, viewer: Caller, org: Organization
) -> None:
    for n in range(3):
        a_route(org, f"r{n}")
    assert put(gateway, org, "edge-1", SAID).json()["behind"] == 2
    rejected = {"version": 3, "code": "document_rejected", "detail": "too new"}
    put(gateway, org, "edge-1", {**SAID, "running": 2, "rejected": rejected})
    put(gateway, org, "edge-2", {**SAID, "running": 3})
    GatewayInstance.objects.filter(instance="edge-2").update(
        reported_at=GatewayInstance.objects.get(instance="edge-2").reported_at - timedelta(seconds=90)
    )
    first, second = viewer("get", "gateways/").json()["results"]
    assert (first["instance"], first["running"], first["behind"], first["rejected"]) == ("edge-1", 2, 1, rejected)
    assert (second["behind"], second["rejected"], second["extras"]) == (0, None, ["regex"])
    assert 90 <= second["age_seconds"] < 100
    problem(put(viewer.client, org, "edge-1", SAID), 403, "forbidden")


@pytest.mark.parametrize(
    ("instance", "change", "code"),
    [
        ("edge 1", {}, "invalid_instance"),
        ("-", {}, "invalid_instance"),
        ("x" * 101, {}, "invalid_instance"),
        ("e", {"running": -1}, "invalid"),
        ("e", {"running": True}, "invalid"),
        ("e", {"running": "1"}, "invalid"),
        ("e", {"running": 2**53}, "invalid"),
        ("e", {"rejected": {"version": 1}}, "invalid"),
        ("e", {"extras": "regex"}, "invalid"),
        ("e", {"more": 1}, "invalid"),
    ],
)
def test_what_a_gateway_may_not_say(gateway: Client, org: Organization, instance: str, change: Any, code: str) -> None:
    problem(put(gateway, org, instance, {**SAID, **change}), 422, code)
    assert not GatewayInstance.objects.exists()


def test_a_gateway_that_was_not_heard_of_for_a_month_is_forgotten(gateway: Client, org: Organization) -> None:
    put(gateway, org, "old", SAID)
    row = GatewayInstance.objects.get()
    GatewayInstance.objects.update(reported_at=row.reported_at - timedelta(days=31))
    put(gateway, org, "new", SAID)
    assert [row.instance for row in GatewayInstance.objects.all()] == ["new"]


def test_a_gateway_asks_for_all_versions_at_once(
    gateway: Client, org: Organization, django_assert_num_queries: Any
) -> None:
    other = an_org("other")
    a_route(org)
    a_route(other)
    unknown = "0190a000-0000-7000-8000-000000000001"
    everywhere = create_key(None, name="all", kind="gateway", by=a_person("staff", is_superuser=True))
    all_of_them = Client(headers={"Authorization": f"Bearer {everywhere.text}"})

    def ask(client: Client, **known: int) -> Any:
        return client.post("/api/v1/gateway/versions/", {"known": known}, content_type="application/json").json()

    known = {str(org.pk): 0, str(other.pk): 1, unknown: 5}
    assert ask(all_of_them, **known) == {"versions": {str(org.pk): 1}}
    assert ask(gateway, **{**known, str(other.pk): 0}) == {"versions": {str(org.pk): 1}}, "of its own alone"
    with django_assert_num_queries(2):
        ask(all_of_them, **known)
    none_known = dict.fromkeys(known)
    assert ask(all_of_them, **none_known) == {"versions": {str(org.pk): 1, str(other.pk): 1}}
    assert ask(gateway, **none_known) == {"versions": {str(org.pk): 1}}
    many = {str(new_id()): None for _ in range(MAX_KNOWN - 1)}
    with django_assert_num_queries(2):
        assert ask(all_of_them, **many, **{str(org.pk): None}) == {"versions": {str(org.pk): 1}}


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"known": []},
        {"known": {"x": 1}},
        {"known": {}, "more": 1},
        {"known": {"0190a000-0000-7000-8000-000000000001": "1"}},
        {"known": {"0190a000-0000-7000-8000-000000000001": True}},
        {"known": {"0190a000-0000-7000-8000-000000000001": -1}},
    ],
    ids=str,
)
def test_a_question_that_is_none_is_refused(gateway: Client, body: Any) -> None:
    problem(gateway.post("/api/v1/gateway/versions/", body, content_type="application/json"), 422, "invalid")
