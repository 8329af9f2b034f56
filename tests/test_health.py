"""What probes are answered."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone

from audit.database import drop_triggers, make_triggers
from audit.log.entry import time_text
from audit.models import AuditHead, Checkpoint
from audit.signing.signer import Signer
from routes.orgs.models import Organization
from routing_admin.health import CHECKS, health
from tests.build import a_route

pytestmark = pytest.mark.django_db


def test_a_process_that_lives_says_so_whatever_else_is_wrong(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", away)
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "unavailable",
        "checks": dict.fromkeys(CHECKS, "failed"),
    }
    assert b"away" not in answer.content


def test_a_database_that_is_away_is_waited_for_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def away(*_: Any) -> None:
        asked.append(1)
        raise OperationalError("away")

    monkeypatch.setattr("django.db.backends.utils.CursorWrapper.execute", away)
    assert client.get("/readyz").status_code == 503
    assert len(asked) == 1


def test_probes_name_no_host_and_speak_no_tls(client: Client, settings: Any, org: Organization) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["admin.example"]
    a_route(org)
    for path in ("/healthz", "/readyz"):
        answer = client.get(path, headers={"Host": "10.0.0.1"})
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert client.head(path).status_code == 200
        assert client.post(path).status_code == 405
    assert answer.json()["checks"] == {
        "database": "ok", "migrations": "ok", "audit_log": "ok", "append_only": "ok", "audit_signer": "ok",
    }  # fmt: skip


def test_a_head_that_does_not_fit_its_entries_is_not_ready(client: Client, org: Organization) -> None:
    a_route(org)
    AuditHead.objects.filter(org_id=org.pk).update(size=99)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["audit_log"]) == (503, "failed")


def test_a_log_that_can_be_changed_is_not_ready(client: Client) -> None:
    drop_triggers(connection)
    answer = client.get("/readyz")
    make_triggers(connection)
    assert (answer.status_code, answer.json()["checks"]["append_only"]) == (503, "failed")


def test_entries_that_nobody_signs_are_told_and_the_process_serves(
    client: Client, org: Organization, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "signer")

    monkeypatch.setattr("routing_admin.health.KEPT_SECONDS", 0.0)

    def said() -> tuple[int, str, str]:
        answer = client.get("/readyz")
        return answer.status_code, answer.json()["status"], answer.json()["checks"]["audit_signer"]

    def signed() -> None:
        with Signer() as signer:
            signer.round()

    a_route(org)
    assert said() == (200, "ok", "ok"), "the signer has a moment"
    monkeypatch.setattr("routing_admin.health.UNSIGNED_SECONDS", 0.0)
    assert said() == (200, "degraded", "old")
    signed()
    assert said() == (200, "ok", "ok")
    Checkpoint.objects.update(checked_at=timezone.now() - timedelta(minutes=16))
    assert said() == (200, "degraded", "old"), "it is silent, though nothing waits"
    signed()
    assert said() == (200, "ok", "ok")
    AuditHead.objects.filter(org_id=None).update(last_ts="2036-01-01T00:00:00.000000Z")
    assert said() == (200, "degraded", "old"), "a clock is wrong"
    AuditHead.objects.filter(org_id=None).update(last_ts=time_text(timezone.now()))
    AuditHead.objects.filter(org_id=org.pk).update(last_ts="2026-01-01T00:00:00.000000Z")
    signed()
    assert said() == (200, "degraded", "old"), "it refuses one"


def test_a_migration_that_is_missing_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.db.migrations.executor.MigrationExecutor.migration_plan", lambda *_: [("x", False)])
    assert client.get("/readyz").json()["checks"]["migrations"] == "failed"


# --- Whoever floods it ------------------------------------------------------------------------------------------------


def test_a_flood_asks_the_database_once_a_second_and_hears_the_truth_of_that_second(
    client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    now = 1_000.0
    monkeypatch.setattr("routing_admin.health.time.monotonic", lambda: now)
    a_route(org)
    assert client.get("/readyz").status_code == 200
    right = AuditHead.objects.get(org_id=org.pk).size
    for size, before, after in ((99, 200, 503), (right, 503, 200)):
        AuditHead.objects.filter(org_id=org.pk).update(size=size)
        now += 0.9
        with django_assert_num_queries(0):
            assert {client.get("/readyz").status_code for _ in range(20)} == {before}
            assert client.head("/readyz").status_code == before
            assert client.get("/healthz").json() == {"status": "ok"}
        now += 0.2
        assert client.get("/readyz").status_code == after


def test_what_took_long_to_find_holds_from_when_it_was_found(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now, asked = 1_000.0, 0

    def slow() -> None:
        nonlocal now, asked
        now, asked = now + 5, asked + 1
        raise OperationalError("away")

    monkeypatch.setattr("routing_admin.health.time.monotonic", lambda: now)
    monkeypatch.setattr("routing_admin.health.CHECKS", {"database": slow})
    assert [client.get("/readyz").status_code for _ in range(3)] == [503] * 3
    assert asked == 1
    now += 1
    client.get("/readyz")
    assert asked == 2


def test_those_who_ask_meanwhile_wait_for_one_answer(rf: RequestFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, may_go_on = [], Event()

    def slow() -> None:
        asked.append(1)
        assert may_go_on.wait(10)

    monkeypatch.setattr("routing_admin.health.CHECKS", {"database": slow})
    answer = health(lambda _: HttpResponse(status=418))
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(answer, rf.get("/readyz")) for _ in range(8)]
        assert answer(rf.get("/healthz")).status_code == 200
        may_go_on.set()
        assert [found.result(timeout=10).status_code for found in answers] == [200] * 8
    assert len(asked) == 1


def test_a_thread_that_hangs_at_the_database_does_not_answer_for_the_others(
    rf: RequestFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, may_go_on, hung = Event(), Event(), iter([True])

    def slow() -> None:
        if next(hung, False):
            begun.set()
            assert may_go_on.wait(10)

    monkeypatch.setattr("routing_admin.health.CHECKS", {"database": slow})
    monkeypatch.setattr("routing_admin.health.PATIENCE_SECONDS", 0.01)
    answer = health(lambda _: HttpResponse(status=418))
    with ThreadPoolExecutor(1) as pool:
        hangs = pool.submit(answer, rf.get("/readyz"))
        assert begun.wait(10)
        assert answer(rf.get("/readyz")).status_code == 200
        may_go_on.set()
        assert hangs.result(timeout=10).status_code == 200
