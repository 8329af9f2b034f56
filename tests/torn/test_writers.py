"""Writers and servers that are killed tear nothing, and lose nothing that was answered."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connections

from tests import databases
from tests.torn.killing import kill_writers, stop_server

#: `make campaign PART=writers` asks for more.
KILLS, STOPS = int(os.environ.get("KILLS", "25")), int(os.environ.get("STOPS", "2"))
SEED = int(os.environ.get("SEED", "20261122"))

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning"),
]


def test_writers_killed_at_random_moments_leave_nothing_torn_and_lose_nothing_answered(tmp_path: Path) -> None:
    found = kill_writers(KILLS, SEED, tmp_path, print)
    print(f"writers killed {found}")
    assert found.faults == []
    assert found.times == KILLS
    assert found.acts["done"] > KILLS / 10


@pytest.fixture
def durable() -> Iterator[None]:
    """A commit that was answered is in the log of PostgreSQL, which the other tests do not wait for."""
    for setting in ("synchronous_commit", "full_page_writes"):
        databases.server.psql(f"ALTER SYSTEM SET {setting} = on;")
    databases.server.psql("SELECT pg_reload_conf();")
    connections.close_all()
    yield
    for setting in ("synchronous_commit", "full_page_writes"):
        databases.server.psql(f"ALTER SYSTEM SET {setting} = off;")
    databases.server.psql("SELECT pg_reload_conf();")
    connections.close_all()


@pytest.mark.skipif(not databases.ON_POSTGRES, reason="SQLite has no server")
@pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="others use the server")
def test_a_server_stopped_at_once_leaves_nothing_torn_and_loses_nothing_answered(durable: None, tmp_path: Path) -> None:
    found = stop_server(databases.server, STOPS, SEED, tmp_path, print)
    print(f"server stopped {found}")
    assert found.faults == []
    assert found.times == STOPS
    assert found.acts["done"] > 0
