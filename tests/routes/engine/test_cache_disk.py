"""`EngineCache` with a `snapshot_dir`: it starts without the store, and a disk that fails disturbs nobody."""

import errno
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from routes.engine import Document, EngineCache, disk
from routes.engine.disk import Snapshots
from routes.engine.errors import DocumentRejected, StoreUnavailable
from routes.engine.ids import uuid7
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route
from tests.routes.engine.watched import FAST, NEVER, Watched, in_threads


@pytest.fixture
def store() -> Watched:
    return Watched(document(raw_route(1), version=1))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "snapshots"


def put(folder: Path, *versions: int, org_id: str = ORG) -> None:
    """What an earlier process left."""
    for version in versions:
        Snapshots(folder).write(document(raw_route(version), org_id=org_id, version=version))


def spoil(folder: Path, version: int, org_id: str = ORG) -> None:
    path = folder / org_id / f"{version}.snapshot"
    path.write_bytes(path.read_bytes()[:-5])


def of(cache: EngineCache, org_id: str = ORG) -> dict[str, Any]:
    found: dict[str, Any] = cache.status()["orgs"][org_id]
    return found


def on_disk(folder: Path, org_id: str = ORG) -> int | None:
    engine, _ = Snapshots(folder).read(org_id)
    return None if engine is None else engine.version


def hold_fetches(store: Watched) -> None:
    store.gate.clear()


def refuse(store: Watched) -> None:
    store.error = OSError("refused")


# --- Writing ----------------------------------------------------------------------------------------------------------


def test_every_version_that_is_put_to_use_is_written(store: Watched, folder: Path) -> None:
    with EngineCache(store, poll_seconds=FAST, snapshot_dir=folder) as cache:
        for version in range(1, 6):
            store.publish(version)
            assert eventually(lambda version=version: cache.engine_for(ORG).version == version)  # type: ignore[misc]
            assert eventually(lambda version=version: on_disk(folder) == version)  # type: ignore[misc]
        assert eventually(lambda: cache.status()["disk"] == {"alive": True, "waiting": 0, "last_error": None})
        assert len(list((folder / ORG).iterdir())) == 3


def test_an_unknown_organisation_leaves_nothing_on_disk(store: Watched, folder: Path) -> None:
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        cache.engine_for(OTHER_ORG)
        cache.engine_for(ORG)
        assert eventually(lambda: on_disk(folder) == 1)
        assert [path.name for path in folder.iterdir()] == [ORG]


def test_an_engine_is_in_use_before_its_document_is_written(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        writing.set()
        go_on.wait(20)

    monkeypatch.setattr(Snapshots, "write", hang)
    with EngineCache(store, poll_seconds=FAST, snapshot_dir=folder) as cache:
        assert cache.engine_for(ORG).version == 1
        assert writing.wait(5)
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)  # while the disk hangs
        assert cache.engine_for(OTHER_ORG).version == 0
        assert cache.status()["disk"]["waiting"] == 1
        go_on.set()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), PermissionError("no"), ValueError()]
)
def test_a_disk_that_takes_nothing_shows_in_the_status_alone_and_is_tried_again(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(disk, "_RETRY_SECONDS", 0.01)
    with EngineCache(store, poll_seconds=FAST, snapshot_dir=folder) as cache:
        with monkeypatch.context() as patched:
            patched.setattr(disk, "write_file", fail)
            cache.engine_for(ORG)
            assert eventually(lambda: ORG in (cache.status()["disk"]["last_error"] or ""))
            assert str(error) in cache.status()["disk"]["last_error"]
            store.publish(2)
            assert eventually(lambda: cache.engine_for(ORG).version == 2)
            assert of(cache)["last_error"] is None
        assert eventually(lambda: on_disk(folder) == 2)
        assert eventually(lambda: cache.status()["disk"] == {"alive": True, "waiting": 0, "last_error": None})


def test_one_organisation_whose_files_cannot_be_written_holds_up_no_other(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "_RETRY_SECONDS", 0.05)
    store.publish(1, org_id=OTHER_ORG)
    folder.mkdir()
    (folder / ORG).write_bytes(b"in the way")
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        cache.engine_for(ORG)
        cache.engine_for(OTHER_ORG)
        assert eventually(lambda: on_disk(folder, OTHER_ORG) == 1)
        assert ORG in cache.status()["disk"]["last_error"]


def test_pauses_between_attempts_grow_to_a_minute(folder: Path) -> None:
    thread = disk.DiskThread(Snapshots(folder), threading.Lock())
    folder.parent.joinpath("snapshots").write_bytes(b"in the way")
    pauses = []
    for _ in range(9):
        thread._write(document(version=1))
        pauses.append(thread._retry_at - time.monotonic())
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60], abs=0.5)


def test_closing_writes_what_is_waiting(store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    orgs = [uuid7() for _ in range(20)]
    for org_id in orgs:
        store.publish(1, org_id=org_id)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        for org_id in orgs:
            cache.engine_for(org_id)
    assert [on_disk(folder, org_id) for org_id in orgs] == [1] * 20
    assert not cache.status()["disk"]["alive"]


def test_closing_waits_for_no_disk_that_refuses(store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write_bytes(b"in the way")
    monkeypatch.setattr(disk, "_RETRY_SECONDS", 3600.0)
    cache = EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder)
    cache.engine_for(ORG)
    assert eventually(lambda: cache.status()["disk"]["last_error"] is not None)
    cache.close()
    assert not cache.status()["disk"]["alive"]


# --- Starting without the store ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [hold_fetches, refuse])
def test_a_cold_start_without_the_store_takes_the_newest_generation_within_a_second(
    store: Watched, folder: Path, how: Any
) -> None:
    put(folder, 3, 4, 5)
    how(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        began = time.monotonic()
        engine = cache.engine_for(ORG)
        assert time.monotonic() - began < 1
        assert engine.version == 5
        assert cache.engine_for(ORG) is engine
        assert (of(cache)["version"], of(cache)["source"], of(cache)["age_seconds"]) == (5, "disk", None)
        store.gate.set()


def test_a_store_that_answers_in_time_is_asked_and_not_the_disk(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, 5)
    monkeypatch.setattr(Snapshots, "read", None)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        assert cache.engine_for(ORG).version == 1
        assert cache.engine_for(OTHER_ORG).version == 0  # unknown to the store is an answer too
        assert of(cache)["source"] == "store"


def test_once_the_store_is_known_to_be_down_nobody_waits_for_it(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    orgs = [uuid7() for _ in range(10)]
    for org_id in orgs:
        put(folder, 5, org_id=org_id)
    hold_fetches(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        began = time.monotonic()
        cache.engine_for(orgs[0])
        # Its thread may have begun later than the caller did.
        assert eventually(lambda: (cache._poller.busy_seconds() or 0) > 0.3)
        store.error = OSError("timed out")
        store.gate.set()
        assert eventually(lambda: cache._poller.is_down)
        monkeypatch.setattr("routes.engine.cache.HURRY_SECONDS", 60.0)
        store.gate.clear()
        for org_id in orgs:
            assert cache.engine_for(org_id).version == 5
        assert time.monotonic() - began < 50
        store.gate.set()


def test_a_damaged_newest_generation_gives_way_to_the_one_before(store: Watched, folder: Path) -> None:
    put(folder, 3, 4, 5)
    spoil(folder, 5)
    refuse(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        assert cache.engine_for(ORG).version == 4
        assert "version 5" in cache.status()["disk"]["last_error"]


def test_with_nothing_on_disk_it_is_store_unavailable_and_the_disk_is_not_read_for_every_call(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Snapshots.read
    reads: list[str] = []
    monkeypatch.setattr(Snapshots, "read", lambda self, org_id: reads.append(org_id) or read(self, org_id))
    put(folder, 3)
    spoil(folder, 3)
    refuse(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        began = time.monotonic()
        for org_id in (ORG, OTHER_ORG) * 10:
            with pytest.raises(StoreUnavailable, match="refused"):
                cache.engine_for(org_id)
        assert time.monotonic() - began < 1
        assert reads == [ORG, OTHER_ORG]
        assert "version 3" in cache.status()["disk"]["last_error"]
        assert of(cache)["version"] is None


def test_with_nothing_on_disk_a_slow_store_is_waited_for(store: Watched, folder: Path) -> None:
    store.before_fetch = lambda: time.sleep(0.5)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        assert cache.engine_for(ORG).version == 1


def test_a_hundred_waiting_callers_cause_one_read(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Snapshots.read
    reads: list[str] = []
    monkeypatch.setattr(Snapshots, "read", lambda self, org_id: reads.append(org_id) or read(self, org_id))
    put(folder, 3)
    hold_fetches(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        answers = in_threads(100, lambda: cache.engine_for(ORG))
        assert len(set(map(id, answers))) == 1
        assert reads == [ORG]
        store.gate.set()


def test_a_disk_that_hangs_is_waited_for_no_longer_than_the_store(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("routes.engine.cache.PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(Snapshots, "read", lambda *_: (go_on.wait(20), (None, []))[1])
    refuse(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        began = time.monotonic()
        for org_id in (ORG, OTHER_ORG):
            with pytest.raises(StoreUnavailable):
                cache.engine_for(org_id)
        assert time.monotonic() - began < 2
        store.error = None
        assert eventually(lambda: version_or_none(cache) == 1)
        go_on.set()


def test_a_disk_that_fails_in_any_way_is_as_good_as_empty(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no decompressor")

    monkeypatch.setattr(Snapshots, "read", fail)
    refuse(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        with pytest.raises(StoreUnavailable):
            cache.engine_for(ORG)
        assert eventually(lambda: "RuntimeError: no decompressor" in cache.status()["disk"]["last_error"])
        assert cache.status()["disk"]["alive"]


def test_so_many_errors_of_the_disk_are_remembered_the_latest_first(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routes.engine.disk._MAX_ERRORS", 2)
    for version, org_id in enumerate(orgs := [ORG, OTHER_ORG, uuid7()], 1):
        put(folder, version, org_id=org_id)
        spoil(folder, version, org_id)
    refuse(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        for org_id in orgs:
            with pytest.raises(StoreUnavailable):
                cache.engine_for(org_id)
        assert eventually(lambda: list(cache._disk._errors) == orgs[1:])  # type: ignore[union-attr]


def version_or_none(cache: EngineCache) -> int | None:
    try:
        return cache.engine_for(ORG).version
    except StoreUnavailable:
        return None


def test_a_document_that_is_rejected_at_the_start_leaves_the_last_good_one(store: Watched, folder: Path) -> None:
    put(folder, 3)
    store.error = DocumentRejected("schema 9")
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        assert cache.engine_for(ORG).version == 3
        assert (of(cache)["source"], of(cache)["rejected"]["detail"]) == ("disk", "schema 9")
        with pytest.raises(DocumentRejected):
            cache.engine_for(OTHER_ORG)


# --- When the store is back -------------------------------------------------------------------------------------------


def test_what_the_store_says_takes_the_place_of_what_was_on_disk(store: Watched, folder: Path) -> None:
    put(folder, 3)
    refuse(store)
    with EngineCache(store, poll_seconds=FAST, snapshot_dir=folder) as cache:
        assert cache.engine_for(ORG).version == 3
        store.publish(4)
        store.error = None
        assert eventually(lambda: cache.engine_for(ORG).version == 4)
        assert of(cache)["source"] == "store"
        assert eventually(lambda: on_disk(folder) == 4)


def test_a_store_that_was_only_slow_is_heard_behind(store: Watched, folder: Path) -> None:
    put(folder, 3)
    store.publish(4)
    hold_fetches(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        assert cache.engine_for(ORG).version == 3
        store.gate.set()
        assert eventually(lambda: cache.engine_for(ORG).version == 4)
        assert store.fetched == [ORG]


def test_the_same_publication_stays_the_same_engine_and_counts_as_the_stores(store: Watched, folder: Path) -> None:
    put(folder, 3)
    store.publish(3)
    refuse(store)
    with EngineCache(store, poll_seconds=FAST, snapshot_dir=folder) as cache:
        engine = cache.engine_for(ORG)
        store.error = None
        assert eventually(lambda: of(cache)["source"] == "store")
        assert cache.engine_for(ORG) is engine
        assert of(cache)["age_seconds"] is not None
        asked = len(store.polled)
        loads = len(store.fetched)
        assert eventually(lambda: len(store.polled) > asked + 3)
        assert len(store.fetched) == loads  # compared in full once


def test_another_publication_of_the_same_version_takes_its_place(store: Watched, folder: Path) -> None:
    put(folder, 3)
    other = store.documents[ORG] = document(raw_route(9), version=3)
    refuse(store)
    with EngineCache(store, poll_seconds=FAST, snapshot_dir=folder) as cache:
        cache.engine_for(ORG)
        store.error = None
        assert eventually(lambda: cache.engine_for(ORG).digest == other.digest)
        assert eventually(lambda: (found := Snapshots(folder).read(ORG)[0]) and found.digest == other.digest)


def test_an_older_version_in_the_store_stands_back_and_is_told(store: Watched, folder: Path) -> None:
    put(folder, 3)
    refuse(store)
    with EngineCache(store, poll_seconds=FAST, snapshot_dir=folder) as cache:
        engine = cache.engine_for(ORG)
        store.error = None
        assert eventually(lambda: "older than 3" in (of(cache)["last_error"] or ""))
        cache.invalidate(ORG)
        assert cache.engine_for(ORG) is engine
        assert (of(cache)["source"], of(cache)["version"]) == ("disk", 3)
        asked = len(store.polled)
        loads = len(store.fetched)
        assert eventually(lambda: len(store.polled) > asked + 3)
        assert len(store.fetched) == loads
        assert cache.status()["disk"]["waiting"] == 0
        assert [path.name for path in (folder / ORG).iterdir()] == ["3.snapshot"]  # what is not in use is not written


def test_an_organisation_that_the_store_no_longer_knows_keeps_what_was_on_disk(store: Watched, folder: Path) -> None:
    put(folder, 3, org_id=OTHER_ORG)
    refuse(store)
    with EngineCache(store, poll_seconds=FAST, snapshot_dir=folder) as cache:
        engine = cache.engine_for(OTHER_ORG)
        store.error = None
        assert eventually(lambda: "no longer" in (of(cache, OTHER_ORG)["last_error"] or ""))
        assert cache.engine_for(OTHER_ORG) is engine


def test_what_is_not_written_yet_is_found_as_if_it_were(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, 1)

    def fail(*_: object) -> None:
        raise OSError("read-only")

    monkeypatch.setattr(disk, "write_file", fail)
    store.publish(2)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder, max_orgs=1) as cache:
        assert cache.engine_for(ORG).version == 2
        cache.engine_for(OTHER_ORG)  # for which the other has to go
        refuse(store)
        assert cache.engine_for(ORG).version == 2


def test_what_was_served_is_found_also_by_whoever_drops_it_at_once(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, saving, go_on = disk.DiskThread.save, threading.Event(), threading.Event()

    def slow(self: disk.DiskThread, document: Document) -> None:
        saving.set()
        go_on.wait(20)
        save(self, document)

    monkeypatch.setattr("routes.engine.cache.PATIENCE_SECONDS", 0.3)
    monkeypatch.setattr(disk.DiskThread, "save", slow)
    for org_id in (ORG, OTHER_ORG):
        put(folder, 1, org_id=org_id)
    store.publish(2)
    seen: list[int] = []

    def see() -> None:
        saving.wait(20)
        seen.append(cache.engine_for(ORG).version)
        store.error = OSError("refused")
        cache.engine_for(OTHER_ORG)  # there is room for one only
        seen.append(cache.engine_for(ORG).version)

    with EngineCache(store, poll_seconds=NEVER, max_orgs=1, snapshot_dir=folder) as cache:
        threads = [threading.Thread(target=call) for call in (lambda: cache.engine_for(ORG), see)]
        for thread in threads:
            thread.start()
        threads[1].join(2)
        go_on.set()
        for thread in threads:
            thread.join()
        assert seen == [2, 2]


def test_a_read_that_ends_late_brings_nothing_old_back(
    store: Watched, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder, 1)
    read, reading, go_on = Snapshots.read, threading.Event(), threading.Event()

    def slow(self: Snapshots, org_id: str) -> Any:
        found = read(self, org_id)
        reading.set()
        go_on.wait(20)
        return found

    monkeypatch.setattr(Snapshots, "read", slow)
    store.publish(2)
    hold_fetches(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        answers: list[int] = []
        caller = threading.Thread(target=lambda: answers.append(cache.engine_for(ORG).version))
        caller.start()
        assert reading.wait(5)  # version 1 has been read, and is on its way
        store.gate.set()
        assert eventually(lambda: of(cache)["version"] == 2)
        go_on.set()
        caller.join()
        assert answers == [2]
        assert cache.engine_for(ORG).version == 2
        assert of(cache)["source"] == "store"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_writes_and_reads_for_itself(store: Watched, folder: Path) -> None:
    put(folder, 7, org_id=OTHER_ORG)
    with EngineCache(store, poll_seconds=FAST, snapshot_dir=folder) as cache:
        cache.engine_for(ORG)
        assert eventually(lambda: on_disk(folder) == 1)
        assert cache._disk is not None
        with cache._disk._wake:  # the thread may hold it at the moment of a fork
            child = os.fork()
            if child == 0:
                good = False
                try:
                    store.publish(2)
                    good = eventually(lambda: cache.engine_for(ORG).version == 2)
                    good = good and eventually(lambda: on_disk(folder) == 2)
                    refuse(store)
                    good = good and cache.engine_for(OTHER_ORG).version == 7
                finally:
                    os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert cache.status()["disk"]["alive"]


def test_without_a_folder_there_is_no_disk(store: Watched) -> None:
    with EngineCache(store) as cache:
        cache.engine_for(ORG)
        assert cache.status()["disk"] is None


def test_documents_of_any_size_and_kind_come_back(folder: Path) -> None:
    large = Document.build(
        {"default": {"target_model": "ü😀"}, "routes": [raw_route(n) for n in range(1, 500)], "services": []},
        ORG, "acme", 3, status="frozen",
    )  # fmt: skip
    store = Watched(large)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        assert cache.engine_for(ORG).digest == large.digest
    refuse(store)
    with EngineCache(store, poll_seconds=NEVER, snapshot_dir=folder) as cache:
        assert cache.engine_for(ORG).digest == large.digest
        assert len(cache.engine_for(ORG).routes) == 499
