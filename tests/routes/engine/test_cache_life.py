"""`EngineCache` under many threads and many organisations, and how it ends."""

import gc
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from routes.engine import Engine, EngineCache
from routes.engine.disk import Snapshots
from routes.engine.entries import Entries, Entry
from routes.engine.errors import StoreUnavailable
from routes.engine.ids import uuid7
from tests.paths import ROOT
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route
from tests.routes.engine.watched import FAST, NEVER, Announcing, Watched, in_threads


@pytest.fixture
def store() -> Watched:
    return Watched(document(raw_route(1), version=1), document(raw_route(1), org_id=OTHER_ORG, version=1))


# --- Versions never go down -------------------------------------------------------------------------------------------


def test_a_slow_load_of_an_evicted_organisation_brings_no_old_rules_back(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routes.engine.cache.LOOKS", 0)  # no more than max_orgs, not even while they are loaded
    reading, go_on = threading.Event(), threading.Event()

    def slow() -> None:
        if store.fetched == [ORG]:
            reading.set()
            go_on.wait(20)

    store.before_fetch = slow  # the document has been read by then
    with EngineCache(store, poll_seconds=NEVER, max_orgs=1) as cache:
        seen: dict[str, int] = {}

        def call(name: str, org_id: str) -> threading.Thread:
            thread = threading.Thread(target=lambda: seen.update({name: cache.engine_for(org_id).version}))
            thread.start()
            return thread

        threads = [call("first", ORG)]
        assert reading.wait(5)
        store.publish(2)
        threads.append(call("in between", OTHER_ORG))
        assert eventually(lambda: list(cache.status()["orgs"]) == [OTHER_ORG])
        threads.append(call("second", ORG))
        assert eventually(lambda: list(cache.status()["orgs"]) == [ORG])
        go_on.set()
        for thread in threads:
            thread.join()
        assert seen == {"first": 1, "in between": 1, "second": 2}
        assert cache.engine_for(ORG).version == 2


def test_what_an_evicted_entry_brought_is_not_undone_by_a_read_of_the_disk_that_began_before(
    store: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("cache.LOOKS", 0), ("cache.HURRY_SECONDS", 20.0)):
        monkeypatch.setattr(f"routes.engine.{name}", value)
    fetching, fetched, looking, looked = (threading.Event() for _ in range(4))
    seen: dict[str, int] = {}

    def fetch_once() -> None:
        if store.fetched[-1] != ORG or fetching.is_set():
            raise OSError("down")
        fetching.set()
        fetched.wait(20)

    def look(self: Snapshots, org_id: str) -> tuple[Engine | None, list[str]]:
        found = read(self, org_id)
        if "first" in seen and org_id == ORG:
            looking.set()
            looked.wait(20)
        return found

    read = Snapshots.read
    monkeypatch.setattr(Snapshots, "read", look)
    with EngineCache(store, poll_seconds=NEVER, max_orgs=1, snapshot_dir=tmp_path) as cache:

        def call(name: str, org_id: str) -> threading.Thread:
            thread = threading.Thread(target=lambda: seen.update({name: cache.engine_for(org_id).version}))
            thread.start()
            return thread

        for org_id in (ORG, OTHER_ORG):
            cache.engine_for(org_id)
        assert eventually(lambda: cache.status()["disk"]["waiting"] == 0)
        store.error = OSError("down")
        for _ in range(3):  # then it is the store
            cache.invalidate(OTHER_ORG)
            cache.engine_for(OTHER_ORG)
        store.error = None
        store.publish(2)
        store.before_fetch = fetch_once
        call("first", ORG).join()  # from the disk, while the load goes on
        assert fetching.wait(5)
        cache.invalidate(ORG)
        second = call("second", ORG)  # waits for another load behind that one, which fails
        assert eventually(lambda: cache.status()["orgs"][ORG]["marked"] and len(cache._poller._queue) == 1)
        call("other", OTHER_ORG).join()
        assert list(cache.status()["orgs"]) == [OTHER_ORG]
        third = call("third", ORG)
        assert looking.wait(5)
        fetched.set()
        second.join()
        looked.set()
        third.join()
        assert seen == {"first": 1, "second": 2, "other": 1, "third": 2}


def test_an_entry_takes_over_only_what_is_newer_and_known() -> None:
    def entry(version: int | None, *, is_known: bool = True) -> Entry:
        made = Entry()
        if version is not None:
            made.install(Engine((), org_id=ORG, version=version), is_known, now=float(version))
        return made

    cases = [  # present, dropped, then present
        (entry(None), entry(2), 2),
        (entry(1), entry(2), 2),
        (entry(0, is_known=False), entry(0), 0),
        (entry(3), entry(2), 3),
        (entry(None), entry(None), None),
        (entry(None), entry(0, is_known=False), None),
    ]
    for present, dropped, version in cases:
        present.take_over(dropped)
        assert present.status(9.0)["version"] == version
        assert present.is_known == (version is not None)


def test_a_load_that_is_overtaken_is_not_installed() -> None:
    entry, engines = Entry(), {version: Engine((), org_id=ORG, version=version) for version in (1, 2)}
    assert entry.install(engines[2], True, now=0.0)
    assert not entry.install(engines[1], True, now=1.0)
    entry.install_from_disk(engines[1])
    assert entry.engine is engines[2]
    assert "older than 2" in str(entry.last_error)
    assert not entry.install(Engine((), org_id=ORG), False, now=2.0)
    assert entry.engine is engines[2]


@pytest.mark.parametrize("max_orgs", [2, 100])
def test_no_reader_ever_sees_a_version_go_down(tmp_path: Path, max_orgs: int) -> None:
    orgs = [uuid7() for _ in range(5)]
    store = Announcing(*(document(raw_route(1), org_id=org_id, version=1) for org_id in orgs))
    chance = random.Random(7)
    store.before_fetch = lambda: time.sleep(chance.random() / 500)
    stop = threading.Event()
    faults: list[str] = []

    def read(seed: int) -> None:
        mine, seen = random.Random(seed), dict.fromkeys(orgs, 0)
        while not stop.is_set():
            org_id = mine.choice(orgs)
            try:
                version = cache.engine_for(org_id).version
            except StoreUnavailable:
                continue
            if version < seen[org_id]:
                faults.append(f"{seen[org_id]} then {version}")
            seen[org_id] = version
            time.sleep(0.0005)

    with EngineCache(store, poll_seconds=FAST, max_orgs=max_orgs, snapshot_dir=tmp_path) as cache:
        readers = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
        for reader in readers:
            reader.start()
        try:
            for version in range(2, 60):
                org_id = chance.choice(orgs)
                store.publish(version, org_id=org_id)
                chance.choice([store.announce, cache.invalidate, str])(org_id)
                store.error = OSError("down") if chance.random() < 0.2 else None
                time.sleep(0.01)
        finally:
            store.error = None
            stop.set()
            for reader in readers:
                reader.join()
        assert faults == []
        for org_id in orgs:
            store.announce(org_id)  # while it listens, what nobody announced is looked for every 30 s only
            assert eventually(lambda org_id=org_id: current(cache, org_id) == store.documents[org_id].version)  # type: ignore[misc]


def current(cache: EngineCache, org_id: str) -> int | None:
    try:
        return cache.engine_for(org_id).version
    except StoreUnavailable:
        return None


def test_callers_that_come_while_a_load_begins_or_ends_join_it() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns in the middle of everything
    try:
        for _ in range(15):
            store = Watched(document(raw_route(1), version=1))
            store.gate.clear()
            with EngineCache(store, poll_seconds=NEVER) as cache:
                threading.Timer(0.02, store.gate.set).start()
                answers = in_threads(60, lambda cache=cache: cache.engine_for(ORG))  # type: ignore[misc]
                assert store.fetched == [ORG]
                assert len(set(map(id, answers))) == 1
    finally:
        sys.setswitchinterval(interval)


# --- Many organisations -----------------------------------------------------------------------------------------------


def test_thousands_of_organisations_stay_within_the_bound() -> None:
    orgs = [uuid7() for _ in range(3000)]
    store = Watched(*(document(raw_route(1), org_id=org_id) for org_id in orgs))
    with EngineCache(store, poll_seconds=NEVER, max_orgs=100) as cache:
        for org_id in orgs:
            assert cache.engine_for(org_id).org_id == org_id
            assert len(cache._warm) <= len(cache._entries) <= 100
        assert set(cache._entries) == set(orgs[-100:])


def test_an_eviction_looks_at_a_few_entries_however_many_there_are() -> None:
    class Counting(Entries):
        moved = 0

        def move_to_end(self, key: str, last: bool = True) -> None:
            self.moved += 1
            super().move_to_end(key, last)

    entries = Counting()
    for use, org_id in enumerate(f"{n:05}" for n in range(10_000)):
        entries[org_id] = entry = Entry()
        entry.placed, entry.used = use, 20_000 - use  # all were used since, the later the less recently
    gone = entries.evict()
    assert entries.moved <= 20
    assert len(entries) == 9_999
    assert gone == "00015"  # of those it looked at, the one that was not used for longest
    for _ in range(9_999):
        entries.evict()
    assert not entries


def test_an_entry_in_use_outlives_those_that_are_not() -> None:
    entries = Entries()
    for org_id in "abcdef":
        entries[org_id] = Entry()
    entries["a"].used = entries["c"].used = 1
    assert [entries.evict() for _ in range(4)] == ["b", "d", "e", "f"]
    assert set(entries) == {"a", "c"}


# --- The end ----------------------------------------------------------------------------------------------------------


def test_a_cache_that_nobody_closed_ends_its_threads(store: Watched, tmp_path: Path) -> None:
    cache = EngineCache(store, poll_seconds=FAST, snapshot_dir=tmp_path)
    cache.engine_for(ORG)
    poller, disk = cache._poller, cache._disk
    assert disk is not None
    del cache
    gc.collect()
    assert eventually(lambda: not poller.is_alive())
    assert disk._stopped


def test_closing_takes_no_longer_than_its_patience_while_the_store_hangs(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routes.engine.cache.PATIENCE_SECONDS", 0.3)
    cache = EngineCache(store, poll_seconds=FAST)
    engine = cache.engine_for(ORG)
    store.gate.clear()
    assert eventually(lambda: cache._poller.is_stuck(0.0))
    began = time.monotonic()
    cache.close()
    assert time.monotonic() - began < 2
    assert not store.is_closed  # it is still being used
    assert cache.engine_for(ORG) is engine
    store.gate.set()


def test_a_cache_may_be_closed_twice_and_from_many_threads(store: Watched) -> None:
    cache = EngineCache(store, poll_seconds=FAST)
    cache.engine_for(ORG)
    threads = [threading.Thread(target=cache.close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert not cache.status()["poller"]["alive"]


ENDINGS: dict[str, str] = {
    "idle": "",
    "closed": "cache.close()",
    "the store hangs": "store.gate.clear(); cache.invalidate(ORG); in_thread(cache.engine_for, ORG)",
    "the store fails": "store.error = OSError('down'); cache.invalidate(ORG); cache.engine_for(ORG)",
    "a thread decides": "in_thread(decide)",
    "closed at exit": "import atexit; atexit.register(cache.close)",
    "closed at exit while the store hangs": "import atexit; atexit.register(cache.close); store.gate.clear()",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_interpreter_ends_whatever_the_threads_do(tmp_path: Path, ending: str) -> None:
    program = f"""
import threading, time
from pathlib import Path
from routes.engine import EngineCache
from tests.routes.engine.build import ORG, document, raw_route
from tests.routes.engine.watched import Announcing

def in_thread(*call):
    threading.Thread(target=call[0], args=call[1:], daemon=True).start()

def decide():
    while True:
        cache.engine_for(ORG)

store = Announcing(document(raw_route(1), version=1))
cache = EngineCache(store, poll_seconds=0.001, snapshot_dir={str(tmp_path)!r})
cache.engine_for(ORG)
time.sleep(0.05)
{ENDINGS[ending]}
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


CALLS: list[Callable[[EngineCache], object]] = [
    lambda cache: cache.engine_for(ORG),
    lambda cache: cache.invalidate(ORG),
    lambda cache: cache.status(),
]


def test_every_call_may_meet_every_other_and_a_close(store: Watched, tmp_path: Path) -> None:
    for _ in range(20):
        cache = EngineCache(store, poll_seconds=0.001, snapshot_dir=tmp_path)
        stop = threading.Event()

        def run(
            call: Callable[[EngineCache], object], cache: EngineCache = cache, stop: threading.Event = stop
        ) -> None:
            while not stop.is_set():
                call(cache)

        cache.engine_for(ORG)
        threads = [threading.Thread(target=run, args=(call,)) for call in CALLS]
        for thread in threads:
            thread.start()
        time.sleep(0.01)
        cache.close()
        stop.set()
        for thread in threads:
            thread.join(10)
            assert not thread.is_alive()
