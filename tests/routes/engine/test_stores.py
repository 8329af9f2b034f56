"""Stores: `MemoryStore` manages, `SQLiteStore` reads the application's views."""

import os
import signal
import sqlite3
import threading
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from routes import publish
from routes.engine import (
    Action,
    Conditions,
    Engine,
    ManagedStore,
    MemoryStore,
    NewRoute,
    RequestContext,
    Route,
    SQLiteStore,
    Store,
    memory,
)
from routes.engine.canonical import canonical_bytes
from routes.engine.document import digest_of
from routes.engine.errors import DocumentRejected, InvalidRoute, ManagementUnsupported, StoreUnavailable
from routes.engine.store import document_of_row
from tests.routes.engine.build import ORG, OTHER_ORG, raw_route, route, route_id

CONTENT = {"default": None, "routes": [raw_route(1)], "services": []}
PACKED = zlib.compress(canonical_bytes(CONTENT))
DIGEST = digest_of(CONTENT)


# --- MemoryStore ------------------------------------------------------------------------------------------------------


def test_every_change_makes_the_next_version_and_no_change_makes_none() -> None:
    store: ManagedStore = MemoryStore()
    first = store.create_route(ORG, NewRoute("a", Action("t")))
    assert store.versions([ORG, OTHER_ORG]) == {ORG: 1}
    assert store.update_route(ORG, first) == first
    assert store.versions([ORG]) == {ORG: 1}
    changed = Route(id=first.id, name="a", then=Action("u"))
    assert store.update_route(ORG, changed) == changed
    assert store.get_route(ORG, first.id) == changed
    assert store.delete_route(ORG, first.id)
    assert not store.delete_route(ORG, first.id)
    assert store.update_route(ORG, changed) is None
    assert store.versions([ORG]) == {ORG: 3}
    document = store.fetch(ORG)
    assert document is not None
    assert (document.version, document.content["routes"]) == (3, [])


def test_lists_are_in_the_order_in_which_routes_are_asked() -> None:
    store = MemoryStore()
    for name, priority, enabled in (("a", 1, True), ("b", 5, False), ("c", 5, True), ("d", 1, True)):
        store.create_route(ORG, NewRoute(name, Action("t"), priority, enabled))
    assert [route.name for route in store.list_all_for_org(ORG)] == ["b", "c", "a", "d"]
    assert [route.name for route in store.list_for_org(ORG)] == ["c", "a", "d"]
    document = store.fetch(ORG)
    assert document is not None
    assert [raw["name"] for raw in document.content["routes"]] == ["b", "c", "a", "d"]


def test_a_foreign_or_senseless_id_reads_as_absent() -> None:
    store = MemoryStore()
    created = store.create_route(ORG, NewRoute("a", Action("t")))
    assert store.get_route(OTHER_ORG, created.id) is None
    assert store.update_route(OTHER_ORG, created) is None
    assert not store.delete_route(OTHER_ORG, created.id)
    assert store.get_route(ORG, "no id") is None
    assert store.fetch(OTHER_ORG) is None
    assert store.get_route(UUID(ORG), UUID(created.id)) == created


@pytest.mark.parametrize(
    ("new", "path", "code"),
    [
        (NewRoute("a", Action("t")), "name", "duplicate_value"),
        (NewRoute(" ", Action("t")), "name", "blank_value"),
        (NewRoute("b", Action("t", fallbacks=("t",))), "then.fallbacks[0]", "duplicate_primary_fallback"),
        (NewRoute("b", Action("t"), when=Conditions(tag_equals="x" * 513)), "when.tag_equals", "out_of_range"),
    ],
)
def test_what_the_engine_refuses_is_not_stored(new: NewRoute, path: str, code: str) -> None:
    store = MemoryStore()
    store.create_route(ORG, NewRoute("a", Action("t")))
    with pytest.raises(InvalidRoute) as caught:
        store.create_route(ORG, new)
    assert [(issue["path"], issue["code"]) for issue in caught.value.issues] == [(path, code)]
    assert store.versions([ORG]) == {ORG: 1}
    assert len(store.list_all_for_org(ORG)) == 1


def test_a_write_that_looked_at_another_version_is_refused() -> None:
    store = MemoryStore()
    created = store.create_route(ORG, NewRoute("a", Action("t")), expected=0)
    with pytest.raises(InvalidRoute) as caught:
        store.delete_route(ORG, created.id, expected=0)
    assert caught.value.issues[0]["code"] == "conflict"
    assert store.delete_route(ORG, created.id, expected=1)


def test_an_organisation_has_at_most_a_thousand_routes() -> None:
    store = MemoryStore()
    store.set_routes(ORG, [route(f"r{n}") for n in range(1000)])
    with pytest.raises(InvalidRoute) as caught:
        store.create_route(ORG, NewRoute("one more", Action("t")))
    assert caught.value.issues[0]["code"] == "too_many"


def test_an_organisation_has_at_most_four_mebibytes_of_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    for number in range(3):
        store.create_route(ORG, NewRoute(f"bücher {number}", Action("t")))
    assert memory.MAX_BYTES == publish.MAX_BYTES
    before = store.fetch(ORG)
    assert before is not None
    monkeypatch.setattr(memory, "MAX_BYTES", len(canonical_bytes(before.content)))
    last = store.list_all_for_org(ORG)[-1]
    assert store.update_route(ORG, replace(last, name="bücher 9"))  # the same number of bytes, all that are allowed
    for change in (
        lambda: store.update_route(ORG, replace(last, name="bücher 10")),
        lambda: store.create_route(ORG, NewRoute("a", Action("t"))),
        lambda: store.set_routes(ORG, [*store.list_all_for_org(ORG), route("a")]),
    ):
        with pytest.raises(InvalidRoute) as caught:
            change()
        assert [(issue["path"], issue["code"]) for issue in caught.value.issues] == [("routes", "out_of_range")]
    assert store.versions([ORG]) == {ORG: 4}
    assert store.delete_route(ORG, last.id)


def test_what_is_no_route_or_no_version_is_a_type_error() -> None:
    store: Any = MemoryStore()
    created = store.create_route(ORG, NewRoute("a", Action("t")))
    for change, wanted in (
        (lambda: store.create_route(ORG, created), "a NewRoute, not Route"),
        (lambda: store.update_route(ORG, NewRoute("a", Action("t"))), "a Route, not NewRoute"),
        (lambda: store.create_route(ORG, NewRoute("b", Action("t")), expected="1"), "version or None, not str"),
        (lambda: store.update_route(ORG, created, expected=1.0), "version or None, not float"),
        (lambda: store.delete_route(ORG, created.id, expected=True), "version or None, not bool"),
    ):
        with pytest.raises(TypeError, match=wanted):
            change()
    assert store.versions([ORG]) == {ORG: 1}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_writes_also_where_a_thread_of_its_parent_was_writing() -> None:
    store = MemoryStore()
    with store._lock:
        child = os.fork()
        if child == 0:
            good = False
            try:
                signal.alarm(5)
                good = store.create_route(ORG, NewRoute("a", Action("t"))).name == "a"
            finally:
                os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert store.versions([ORG]) == {}


def test_ids_and_names_are_there_once() -> None:
    store = MemoryStore()
    with pytest.raises(InvalidRoute) as caught:
        store.set_routes(ORG, [route("a", id=ORG), route("a", id=ORG)])
    assert [(issue["path"], issue["code"]) for issue in caught.value.issues] == [
        ("id", "duplicate_value"),
        ("name", "duplicate_value"),
    ]


def test_concurrent_writers_lose_nothing() -> None:
    store = MemoryStore()

    def write(writer: int) -> None:
        for n in range(25):
            store.create_route(ORG, NewRoute(f"{writer}-{n}", Action("t")))

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert store.versions([ORG]) == {ORG: 200}
    assert len(store.list_all_for_org(ORG)) == 200


# --- Rows -------------------------------------------------------------------------------------------------------------


def bomb() -> bytes:
    return zlib.compress(b" " * (9 * 1024 * 1024))


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        (b"", DIGEST),
        (b"not zlib", DIGEST),
        (PACKED[:-3], DIGEST),
        (PACKED + b"x", DIGEST),
        (zlib.compress(b"{"), DIGEST),
        (zlib.compress(b"[]"), DIGEST),
        (bomb(), DIGEST),
        (PACKED, None),
        (PACKED, "sha256:" + "0" * 64),
        ("text", DIGEST),
        (None, DIGEST),
    ],
    ids=["empty", "not zlib", "cut", "tail", "not JSON", "no object", "bomb", "no digest", "digest", "text", "retired"],
)
def test_a_row_with_bad_bytes_is_rejected(content: Any, digest: Any) -> None:
    with pytest.raises(DocumentRejected):
        document_of_row(ORG, "acme", "active", 3, None, digest, content)


def test_the_message_about_a_bomb_names_the_limit() -> None:
    with pytest.raises(DocumentRejected, match=r"more than 8,388,608 bytes"):
        document_of_row(ORG, "acme", "active", 3, None, DIGEST, bomb())


@pytest.mark.parametrize("row", [(5, "active", 3), ("acme", None, 3), ("acme", "x", 3), ("acme", "active", "3")])
def test_a_row_with_a_bad_column_is_rejected(row: tuple[Any, Any, Any]) -> None:
    with pytest.raises(DocumentRejected):
        document_of_row(ORG, *row, None, DIGEST, PACKED)


# --- SQLiteStore ------------------------------------------------------------------------------------------------------


def native(org_id: str) -> str:
    return org_id.replace("-", "")


UNPUBLISHED = "00000000-0000-7000-8000-00000000000c"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with two tables that stand for the views; its name holds what a URI gives a meaning to."""
    path = tmp_path / "a b?c#d%41.sqlite3"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.executescript(
        """
        CREATE TABLE gateway_versions (org_id char(32) NOT NULL PRIMARY KEY, version integer);
        CREATE TABLE gateway_documents (org_id char(32) NOT NULL PRIMARY KEY, org_slug text, status text,
            version integer, published_at text, digest text, content blob);
        """
    )
    rows = [
        (ORG, "acme", "active", 3, "2026-11-21 08:30:00.000005", DIGEST, PACKED),
        (OTHER_ORG, "other", "frozen", 1, "2026-11-21 08:30:00", DIGEST, PACKED),
        (UNPUBLISHED, "new", "active", 0, None, None, None),
    ]
    for org_id, *rest in rows:
        connection.execute("INSERT INTO gateway_versions VALUES (?, ?)", (native(org_id), rest[2]))
        connection.execute("INSERT INTO gateway_documents VALUES (?, ?, ?, ?, ?, ?, ?)", (native(org_id), *rest))
    connection.close()
    return path


def test_versions_and_documents_come_from_the_views(file: Path) -> None:
    with SQLiteStore(file) as store:
        reading: Store = store
        assert reading.versions([ORG, OTHER_ORG, UNPUBLISHED, route_id(99)]) == {ORG: 3, OTHER_ORG: 1, UNPUBLISHED: 0}
        assert reading.versions([]) == {}
        document = reading.fetch(ORG)
        assert document is not None
        assert (document.org_id, document.org_slug, document.status, document.version) == (ORG, "acme", "active", 3)
        assert document.published_at == datetime(2026, 11, 21, 8, 30, 0, 5, UTC)
        assert (document.digest, document.content) == (DIGEST, CONTENT)
        assert Engine.from_document(document).decide(RequestContext("m")).version == 3
        other = reading.fetch(OTHER_ORG)
        assert other is not None
        assert other.published_at == datetime(2026, 11, 21, 8, 30, tzinfo=UTC)
        assert reading.fetch(route_id(99)) is None


def test_an_organisation_that_never_published_has_version_0_and_empty_content(file: Path) -> None:
    with SQLiteStore(file) as store:
        document = store.fetch(UNPUBLISHED)
    assert document is not None
    assert (document.version, document.published_at, document.content["routes"]) == (0, None, [])


def test_the_lookups_use_the_index(file: Path) -> None:
    from routes.engine import sqlite as module

    connection = sqlite3.connect(file)
    for query in (module._VERSIONS, module._FETCH):
        plan = " | ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {query}", ("[]",)))
        assert "SEARCH gateway_" in plan
        assert "SCAN gateway_" not in plan
    connection.close()


def test_the_file_is_opened_for_reading_only(file: Path) -> None:
    with SQLiteStore(file) as store:
        store.versions([ORG])
        with pytest.raises(StoreUnavailable, match="readonly"):
            store._rows("DELETE FROM gateway_versions WHERE org_id = ?", native(ORG))


def test_every_error_of_the_driver_is_store_unavailable_with_its_cause(tmp_path: Path, file: Path) -> None:
    broken = tmp_path / "broken.sqlite3"
    broken.write_bytes(b"this is no database, not even a small one" * 100)
    empty = tmp_path / "empty.sqlite3"
    empty.write_bytes(b"")
    for path in (tmp_path / "missing.sqlite3", broken, empty, tmp_path):
        with SQLiteStore(path) as store, pytest.raises(StoreUnavailable) as caught:
            store.versions([ORG])
        assert isinstance(caught.value.__cause__, sqlite3.Error)
        assert caught.value.retryable


def test_a_store_recovers_when_its_file_appears(tmp_path: Path, file: Path) -> None:
    late = tmp_path / "late.sqlite3"
    with SQLiteStore(late) as store:
        with pytest.raises(StoreUnavailable):
            store.fetch(ORG)
        late.write_bytes(file.read_bytes())
        assert store.fetch(ORG) is not None


def test_a_file_that_replaces_another_under_its_name_is_read_from_then_on(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "restored.sqlite3"
    other.write_bytes(file.read_bytes())
    connection = sqlite3.connect(other, isolation_level=None)
    connection.execute("UPDATE gateway_versions SET version = 9")
    connection.close()
    with SQLiteStore(file) as store:
        assert store.versions([ORG]) == {ORG: 3}
        before = store._connection
        assert store.versions([ORG]) == {ORG: 3}
        assert store._connection is before
        os.replace(other, file)
        assert store.versions([ORG]) == {ORG: 9}


def test_a_file_that_goes_is_store_unavailable_until_it_is_back(tmp_path: Path, file: Path) -> None:
    with SQLiteStore(file) as store:
        store.versions([ORG])
        away = file.rename(tmp_path / "away.sqlite3")
        with pytest.raises(StoreUnavailable) as caught:
            store.versions([ORG])
        assert isinstance(caught.value.__cause__, sqlite3.Error)
        away.rename(file)
        assert store.versions([ORG]) == {ORG: 3}


def test_a_path_that_can_be_no_file_s_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        SQLiteStore("a\0b")


def test_a_bad_row_is_rejected_and_the_connection_lives_on(file: Path) -> None:
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("UPDATE gateway_documents SET published_at = 'soon' WHERE org_id = ?", (native(ORG),))
    connection.close()
    with SQLiteStore(file) as store:
        with pytest.raises(DocumentRejected):
            store.fetch(ORG)
        assert store.fetch(OTHER_ORG) is not None


def test_many_threads_share_a_store(file: Path) -> None:
    failures: list[Exception] = []

    def read() -> None:
        try:
            for _ in range(20):
                assert store.fetch(ORG) is not None
                assert store.versions([ORG]) == {ORG: 3}
        except Exception as error:
            failures.append(error)

    with SQLiteStore(file) as store:
        threads = [threading.Thread(target=read) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_opens_its_own_connection(file: Path) -> None:
    with SQLiteStore(file) as store:
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


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_closes_also_where_a_thread_of_its_parent_was_reading(file: Path) -> None:
    with SQLiteStore(file) as store:
        store.versions([ORG])
        with store._lock:
            child = os.fork()
            if child == 0:
                good = False
                try:
                    signal.alarm(5)
                    store.close()
                    good = store.versions([ORG]) == {ORG: 3}
                finally:
                    os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert store.versions([ORG]) == {ORG: 3}


def test_reading_stores_refuse_management(file: Path) -> None:
    with SQLiteStore(file) as store:
        one = route("r")
        for call in (
            lambda: store.list_for_org(ORG),
            lambda: store.list_all_for_org(ORG),
            lambda: store.create_route(ORG, NewRoute("a", Action("t"))),
            lambda: store.get_route(ORG, one.id),
            lambda: store.update_route(ORG, one),
            lambda: store.delete_route(ORG, one.id),
        ):
            with pytest.raises(ManagementUnsupported) as caught:
                call()
            assert caught.value.http_status == 501
