"""Fixtures for all tests. The database comes from `tests.databases`, before settings load."""

import gc
import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from django.conf import settings as django_settings
from django.core.management.color import no_style
from django.db import connection
from django.test import TransactionTestCase
from hypothesis import settings

from audit.database import drop_triggers, make_triggers
from routing_admin.logs.format import console, json_lines
from tests.databases import EVERY_CASE, ON_POSTGRES, SHARE
from tests.lines import lines_of

# No test is timed: a busy machine is no fault.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

#: What migrations make, and no test changes. Django makes it anew after every transactional test, which takes longer than
#: to delete all other rows.
KEPT = {"django_migrations", "django_content_type", "auth_permission"}


def _emptied(self: TransactionTestCase) -> None:
    """After a transactional test there is no row left, and the triggers that would not let them go are there again."""
    tables = set(connection.introspection.django_table_names(only_existing=True, include_views=False)) - KEPT
    drop_triggers(connection)
    if connection.vendor == "postgresql":  # which takes fifty times as long to truncate thirty tables of a few rows
        with connection.cursor() as cursor:  # one transaction: what refers to rows is looked at when all are gone
            cursor.execute("; ".join(f'DELETE FROM "{table}"' for table in sorted(tables)))
    else:
        connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), sorted(tables)))
    make_triggers(connection)


TransactionTestCase._fixture_teardown = _emptied


def pytest_configure() -> None:
    # Files are looked for when they are asked for. Else every client of a test looks through all of them first.
    django_settings.WHITENOISE_AUTOREFRESH = True
    # A line for each of many thousand requests takes as long as some of them; the tests of these lines ask for them.
    logging.getLogger("routing_admin.requests").setLevel(logging.WARNING)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Files of which no test is in the share are not even imported: that is a tenth of the whole suite."""
    if SHARE in (None, "browser") or not collection_path.name.startswith("test_"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    if SHARE == "none":
        return True if re.search(r"^pytestmark = \[?pytest\.mark\.django_db", text, re.MULTILINE) else None
    return None if "django_db" in text or "both_databases" in text else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """TEST_DATABASE names a share: `postgres` and `sqlite` what touches the database, `browser`, and `none`, the rest."""
    if SHARE is None:
        return
    keep, drop = [], []
    for item in items:
        fixtures: Any = getattr(item, "fixturenames", ())
        asks_database = item.get_closest_marker("django_db") or item.get_closest_marker("both_databases")
        shares = {"browser"} if "browser" in fixtures else {"sqlite", "postgres"} if asks_database else {"none"}
        (keep if SHARE in shares else drop).append(item)
    if SHARE in ("sqlite", "postgres") and not EVERY_CASE:
        keep, dealt = _dealt(keep)
        drop += dealt
    items[:] = keep
    config.hook.pytest_deselected(items=drop)


def _dealt(items: list[pytest.Item]) -> tuple[list[pytest.Item], list[pytest.Item]]:
    """Those of this database, and those that the other one takes: every test runs on both, and of a test of more than two
    cases each runs on one of them, for what a case tells apart is seldom what the databases decide. The cases are
    shuffled by their names and taken in turn.
    """
    cases: dict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not any(item.get_closest_marker(name) for name in ("every_case", "skipif")):  # may be of one database
            cases[item.nodeid.partition("[")[0]].append(item)
    elsewhere = set()
    for of_one in cases.values():
        if len(of_one) > 2:
            elsewhere |= set(sorted(of_one, key=lambda item: crc32(item.nodeid.encode()))[not ON_POSTGRES :: 2])
    return [item for item in items if item not in elsewhere], [item for item in items if item in elsewhere]


def pytest_collection_finish() -> None:
    # What was imported stays, and most of what a test makes goes with its last reference: to look for cycles as often as
    # is usual takes a tenth of the whole suite.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(autouse=True)
def _no_name_is_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody outside is asked: all names of upstreams lead to one public address, until a test says otherwise."""
    monkeypatch.setattr("routes.orgs.lookup.addresses_of", lambda name: ["93.184.216.34"])


@pytest.fixture(autouse=True)
def _no_heart_beats_beside_a_transaction(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The heartbeat of a worker has a connection of its own, which does not see what a test has not committed: it would say
    that the plan is gone, where a replay takes longer than until its first beat."""
    marker = request.node.get_closest_marker("django_db")
    if marker is not None and not marker.kwargs.get("transaction"):
        monkeypatch.setattr("plans.runs.worker.HEARTBEAT_SECONDS", 3_600.0)


@pytest.fixture
def org(db: None) -> Any:
    from tests.build import an_org

    return an_org()


@pytest.fixture
def written() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """The lines since the last time that somebody asked, as production writes them."""
    with lines_of(json_lines()) as text:
        yield lambda: [json.loads(line) for line in text().splitlines()]


@pytest.fixture
def shown() -> Iterator[Callable[[], str]]:
    """The same as on a terminal."""
    with lines_of(console()) as text:
        yield text
