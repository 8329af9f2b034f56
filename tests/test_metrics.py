"""`/metrics`: who may read it, and that what it says is so."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from audit.models import AuditHead
from plans.runs import services as plans
from plans.runs.models import PlanRun
from routes.fleet.services import report
from routes.orgs.models import Organization
from routing_admin.metrics import counted, page
from routing_admin.metrics.stored import Stored
from tests.api.conftest import Caller
from tests.build import BY, a_person, a_plan, a_route, an_org, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db
TOKEN = "t" * 32


@pytest.fixture(autouse=True)
def nothing_kept() -> None:
    anew()
    counted._requests.clear()  # else each page tells of all that the suite has asked so far


def anew() -> None:
    """The next to ask is answered anew."""
    page.stored = Stored()


def scrape(**headers: str) -> dict[tuple[str, ...], float]:
    """By name and values of labels each figure."""
    answer = Client().get("/metrics", headers=headers)
    assert answer.status_code == 200, answer.content
    return {
        (
            sample.name.removeprefix("routing_admin_"),
            *(sample.labels[key] for key in sorted(sample.labels)),
        ): sample.value
        for family in text_string_to_metric_families(answer.content.decode())
        for sample in family.samples
    }


# --- Who may read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "sent", "meta", "settings_of_a_proxy", "status"),
    [
        ("", {}, {}, {}, 200),
        ("", {}, {"REMOTE_ADDR": "::1"}, {}, 200),
        ("", {}, {"REMOTE_ADDR": "::ffff:127.0.0.1"}, {}, 200),
        ("", {}, {"REMOTE_ADDR": "10.0.0.9"}, {}, 403),
        ("", {}, {"REMOTE_ADDR": ""}, {}, 403),
        ("", {"X-Forwarded-For": "127.0.0.1"}, {}, {}, 403),
        ("", {"X-Forwarded-Proto": "https"}, {}, {}, 403),
        ("", {"Forwarded": "for=127.0.0.1"}, {}, {}, 403),
        ("", {"Via": "1.1 proxy"}, {}, {}, 403),
        ("", {"X-Real-IP": "127.0.0.1"}, {}, {}, 403),
        ("", {}, {}, {"NUM_PROXIES": 1}, 403),
        ("", {}, {}, {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}, 403),
        ("", {"Authorization": "Bearer "}, {"REMOTE_ADDR": "10.0.0.9"}, {}, 403),
        (TOKEN, {}, {}, {}, 403),
        (TOKEN, {"Authorization": f"Bearer {TOKEN}"}, {"REMOTE_ADDR": "10.0.0.9"}, {"NUM_PROXIES": 1}, 200),
        (TOKEN, {"Authorization": f"bearer  {TOKEN} "}, {}, {}, 200),
        (TOKEN, {"Authorization": f"Bearer {TOKEN}t"}, {}, {}, 403),
        (TOKEN, {"Authorization": f"Basic {TOKEN}"}, {}, {}, 403),
        (TOKEN, {"Authorization": "Bearer ttté\xff"}, {}, {}, 403),
    ],
)
def test_the_token_or_this_very_machine_reads(
    client: Client, settings: Any, token: str, sent: Any, meta: Any, settings_of_a_proxy: Any, status: int
) -> None:
    settings.METRICS_TOKEN = token
    for name, value in settings_of_a_proxy.items():
        setattr(settings, name, value)
    answer = client.get("/metrics", headers=sent, **meta)
    assert answer.status_code == status
    if status == 403:
        assert answer["Content-Type"] == "application/problem+json"
        body = answer.json()
        assert (body["code"], body["status"], body["request_id"]) == ("forbidden", 403, answer["X-Request-Id"])


def test_a_scrape_names_no_host_speaks_no_tls_and_has_no_session(client: Client, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["admin.example"]
    client.force_login(a_person("ada"))
    answer = client.get("/metrics", headers={"Host": "10.0.0.1"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert not answer.cookies
    assert "Vary" not in answer
    assert client.post("/metrics").status_code == 405


# --- What it costs ----------------------------------------------------------------------------------------------------


def test_a_scrape_asks_ten_queries_whatever_there_is_and_none_for_a_while(
    org: Organization, django_assert_num_queries: Any
) -> None:
    with django_assert_num_queries(10):
        scrape()
    for slug in ("beta", "gamma"):
        other = an_org(slug)
        a_route(other)
        a_plan(other)
        report(other, "gateway-1", running=0, schema_max=1, engine="1")
    with django_assert_num_queries(0):
        assert scrape()[("organizations",)] == 1
    anew()
    with django_assert_num_queries(10):
        assert scrape()[("organizations",)] == 3


def test_without_a_database_it_says_so_and_tells_what_the_process_knows(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    client.get("/healthz")
    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", away)
    found = scrape()
    assert found[("database_up",)] == 0
    assert found[("request_duration_seconds_count", "GET", "healthz", "2xx")] >= 1
    assert {name for name, *_ in found} <= {
        "database_up",
        "decisions_total",
        *(f"request_duration_seconds_{part}" for part in ("bucket", "count", "sum")),
    }
    monkeypatch.undo()
    assert scrape()[("database_up",)] == 0, "kept for a moment"
    anew()
    assert scrape()[("database_up",)] == 1


# --- What it says -----------------------------------------------------------------------------------------------------


def test_requests_are_counted_by_pattern_and_never_by_what_clients_choose(org: Organization) -> None:
    editor = Caller(org, "editor")
    keys = {
        "route": ("request_duration_seconds_count", "GET", "api:route", "4xx"),
        "nothing": ("request_duration_seconds_count", "other", "unresolved", "4xx"),
        "decide": ("request_duration_seconds_count", "POST", "api:decide", "2xx"),
        "api": ("decisions_total", "api"),
        "admin": ("decisions_total", "admin"),
    }
    before = scrape()
    for id in ("11111111-1111-7111-8111-111111111111", "secret-name"):
        assert editor("get", f"routes/{id}/").status_code == 404
    Client().generic("INVENTED", "/no/such/path?secret-name=1")
    assert editor("post", "decide/", {"context": {"model": "secret-model"}}).status_code == 200
    assert editor("post", "decide/", {"context": {"model": 1}}).status_code == 422
    page = Client()
    page.force_login(editor.person)
    for facts, status in (({"model": "secret-model"}, 200), ({"input_tokens": "x"}, 422)):
        assert page.post(f"/admin/o/{org.slug}/try/", facts).status_code == status
    after = scrape()
    grown = {name: after.get(key, 0) - before.get(key, 0) for name, key in keys.items()}
    assert grown == {"route": 2, "nothing": 1, "decide": 1, "api": 1, "admin": 1}
    assert not [key for key in after if any("secret" in part or org.slug in part for part in key)]


def test_figures_of_the_database_are_those_of_its_rows(org: Organization) -> None:
    usual_prices()
    traffic(org)
    a_route(org)
    other = an_org("beta")
    a_route(other)
    a_route(other, name="second")
    report(org, "current", running=1, schema_max=1, engine="1")
    report(other, "behind", running=1, schema_max=1, engine="1")
    report(other, "silent", running=0, schema_max=1, engine="1")
    other.gateways.filter(instance="silent").update(reported_at=timezone.now() - timedelta(minutes=6))
    found = scrape()
    assert found[("database_up",)] == 1
    assert (found[("organizations",)], found[("versions_published_total",)]) == (2, 3)
    entries = sum(AuditHead.objects.values_list("size", flat=True))
    assert (found[("audit_entries_total",)], found[("audit_unsigned_entries",)]) == (entries, entries)
    assert 0 < found[("audit_unsigned_seconds",)] < 600
    assert found[("audit_refused_logs",)] == 0
    assert (found[("gateways", "behind")], found[("gateways", "current")]) == (1, 1)
    assert (found[("plans", "queued")], found[("plan_oldest_waiting_seconds",)]) == (0, 0)

    done, failed = projected(a_plan(org)), a_plan(org)
    first, second = a_plan(org), a_plan(org)
    for plan in (second, first):
        plans.project(plan, by=BY)
    now = timezone.now()
    PlanRun.objects.filter(pk=done.pk).update(projected_at=done.started_at + timedelta(seconds=42))
    PlanRun.objects.filter(pk=failed.pk).update(state="failed", started_at=now, failed_at=now + timedelta(hours=2))
    PlanRun.objects.filter(pk=second.pk).update(queued_at=now - timedelta(minutes=3))
    PlanRun.objects.filter(pk=first.pk).update(created_at=now - timedelta(hours=9))  # a draft for long
    anew()
    found = scrape()
    states = {state: found[("plans", state)] for state in ("draft", "queued", "running", "projected", "failed")}
    assert states == {"draft": 0, "queued": 2, "running": 0, "projected": 1, "failed": 1}
    assert 180 <= found[("plan_oldest_waiting_seconds",)] < 200
    took = {key[1:]: value for key, value in found.items() if key[0] == "plan_duration_seconds_bucket"}
    assert [took[(bound, "projected")] for bound in ("15.0", "60.0", "+Inf")] == [0, 1, 1]
    assert [took[(bound, "failed")] for bound in ("3600.0", "+Inf")] == [0, 1]
    assert found[("plan_duration_seconds_sum", "projected")] == 42
    assert found[("plan_duration_seconds_sum", "failed")] == 7200
    PlanRun.objects.filter(pk=second.pk).update(queued_at=None, created_at=now - timedelta(hours=1))
    anew()
    assert scrape()[("plan_oldest_waiting_seconds",)] >= 3600, "queued before its time was kept"
