"""What probes are answered."""

from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from audit.models import AuditHead
from routes.orgs.models import Organization
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
        "checks": {"database": "failed", "migrations": "failed", "audit_log": "failed"},
    }
    assert b"away" not in answer.content


def test_probes_name_no_host_and_speak_no_tls(client: Client, settings: Any, org: Organization) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.ALLOWED_HOSTS = ["admin.example"]
    a_route(org)
    for path in ("/healthz", "/readyz"):
        answer = client.get(path, headers={"Host": "10.0.0.1"})
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")
        assert client.head(path).status_code == 200
        assert client.post(path).status_code == 405
    assert answer.json()["checks"] == {"database": "ok", "migrations": "ok", "audit_log": "ok"}


def test_a_head_that_does_not_fit_its_entries_is_not_ready(client: Client, org: Organization) -> None:
    a_route(org)
    AuditHead.objects.filter(org_id=org.pk).update(size=99)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["checks"]["audit_log"]) == (503, "failed")


def test_a_migration_that_is_missing_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.db.migrations.executor.MigrationExecutor.migration_plan", lambda *_: [("x", False)])
    assert client.get("/readyz").json()["checks"]["migrations"] == "failed"
