"""A connection to PostgreSQL that is kept between requests."""

import select
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from django.db import close_old_connections, connection

from tests.databases import ON_POSTGRES

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
