"""A connection to PostgreSQL that is kept between requests."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import close_old_connections, connection, transaction

from tests.api.conftest import Caller
from tests.build import an_org, traffic
from tests.databases import ON_POSTGRES
from tests.paths import ROOT

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not ON_POSTGRES, reason="SQLite has no connections that somebody else could end"),
]


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    """As in production: the test client else leaves connections alone."""
    was = connection.health_check_enabled
    connection.settings_dict["CONN_HEALTH_CHECKS"], connection.settings_dict["CONN_MAX_AGE"] = True, 60
    connection.close()
    connection.ensure_connection()
    yield
    connection.health_check_enabled = was
    connection.close()


def asked_of(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the stock question was answered."""
    answers: list[bool] = []
    stock = connection.is_usable

    def is_usable() -> bool:
        answers.append(stock())
        return answers[-1]

    monkeypatch.setattr(connection, "is_usable", is_usable)
    return answers


def one() -> Any:
    """What the next request asks first."""
    close_old_connections()
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def end(process: int) -> None:
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [process])


def test_a_connection_that_lives_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = asked_of(monkeypatch)
    assert one() == one()
    assert answers == []


def test_one_that_the_server_ended_is_replaced_before_anybody_meets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = asked_of(monkeypatch)
    before = one()
    end(before)
    after = one()
    assert answers == [False]
    assert before != after == one()


def test_one_that_has_something_to_say_is_asked_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = asked_of(monkeypatch)
    before = one()
    with connection.cursor() as cursor:
        cursor.execute("LISTEN something")
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as other:
        other.execute("NOTIFY something")
    arrived, _, _ = select.select([connection.connection], [], [], 30)
    assert arrived
    assert one() == before
    assert answers == [True]
    assert one() == before
    assert answers == [True]


# --- Waiting, within bounds -------------------------------------------------------------------------------------------

NEW = {"name": "new", "then": {"target_model": "m"}}


def test_who_waits_for_a_writer_of_the_same_organisation_is_told_to_try_again_and_others_do_not_wait() -> None:
    org, other = an_org("acme"), an_org("other")
    editor, elsewhere = Caller(org, "editor"), Caller(other, "editor")
    connection.ensure_connection()
    with psycopg.connect(connection.connection.info.dsn) as holder, connection.cursor() as cursor:
        holder.execute("UPDATE routes_organization SET version = version + 1 WHERE id = %s", [org.pk])
        cursor.execute("SET lock_timeout = '50ms'")
        busy = editor("post", "routes/", NEW)
        assert elsewhere("post", "routes/", NEW).status_code == 201
        assert editor("get", "routes/").status_code == 200, "and readers never"
        traffic(org, 3)
        holder.rollback()
    assert (busy.status_code, busy.json()["code"], busy["Retry-After"]) == (503, "busy", "2")
    assert editor("post", "routes/", NEW).status_code == 201


def test_a_statement_that_takes_too_long_is_given_up_as_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    viewer = Caller(an_org(), "viewer")

    def slow(org: Any) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '50ms'")
            cursor.execute("SELECT pg_sleep(20)")

    monkeypatch.setattr("routes.rules.api.findings_of", slow)
    with transaction.atomic():
        answer = viewer("get", "routes/lint/")
        transaction.set_rollback(True)
    assert (answer.status_code, answer.json()["code"]) == (503, "busy")


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({}, {"lock_timeout": "5s", "statement_timeout": "30s", "idle_in_transaction_session_timeout": "1min"}),
        (
            {"LOCK_TIMEOUT_SECONDS": "2", "STATEMENT_TIMEOUT_SECONDS": "0", "IDLE_TRANSACTION_TIMEOUT_SECONDS": "7"},
            {"lock_timeout": "2s", "statement_timeout": "0", "idle_in_transaction_session_timeout": "7s"},
        ),
    ],
)
def test_the_settings_bound_every_wait(seconds: dict[str, str], expected: dict[str, str]) -> None:
    program = (
        "import django; django.setup()\n"
        "from django.db import connection\n"
        f"with connection.cursor() as cursor:\n  for name in {list(expected)!r}:\n"
        "    cursor.execute('SHOW ' + name); print(name, cursor.fetchone()[0])"
    )
    environ = {**os.environ, "DJANGO_SETTINGS_MODULE": "routing_admin.settings", **seconds}
    told = subprocess.run([sys.executable, "-c", program], env=environ, cwd=ROOT, capture_output=True, text=True)
    assert dict(line.split() for line in told.stdout.splitlines()) == expected, told.stderr
