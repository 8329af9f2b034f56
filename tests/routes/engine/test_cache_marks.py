"""`EngineCache.invalidate`: the next call loads, and nothing is lost where it cannot."""

import threading
import time
from typing import Any

import pytest

from routes.engine import EngineCache
from routes.engine.errors import DocumentRejected, StoreUnavailable
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route
from tests.routes.engine.watched import FAST, NEVER, Watched, in_threads


@pytest.fixture
def store() -> Watched:
    return Watched(document(raw_route(1), version=1))


def status(cache: EngineCache, org_id: str = ORG) -> dict[str, Any]:
    found: dict[str, Any] = cache.status()["orgs"][org_id]
    return found


@pytest.mark.parametrize("at_least", [None, 2])
def test_the_next_call_loads(store: Watched, at_least: int | None) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        cache.invalidate(ORG.upper(), at_least)
        assert status(cache)["marked"]
        assert status(cache)["version"] == 1  # nothing is dropped
        store.publish(2)
        assert cache.engine_for(ORG).version == 2
        assert (status(cache)["marked"], status(cache)["at_least"]) == (False, None)
        assert engine.version == 1


def test_one_load_is_enough_for_all_who_call_after_it(store: Watched) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        cache.engine_for(ORG)
        cache.invalidate(ORG)
        store.publish(2)
        store.gate.clear()
        threading.Timer(0.1, store.gate.set).start()
        assert {engine.version for engine in in_threads(100, lambda: cache.engine_for(ORG))} == {2}  # type: ignore[attr-defined]
        assert store.fetched == [ORG, ORG]


@pytest.mark.parametrize("at_least", [0, 1, 2])
def test_a_version_that_is_in_use_already_asks_for_nothing(store: Watched, at_least: int) -> None:
    store.publish(2)
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        cache.invalidate(ORG, at_least)
        assert cache.engine_for(ORG) is engine
        assert store.fetched == [ORG]


def test_a_load_that_brings_less_leaves_the_last_good_engine_and_the_poller_goes_on_looking(store: Watched) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        cache.invalidate(ORG, 3)
        for _ in range(3):
            assert cache.engine_for(ORG) is engine
        assert store.fetched == [ORG, ORG]  # one load, not one for each call
        assert (status(cache)["marked"], status(cache)["at_least"]) == (False, 3)
        store.publish(2)
        cache.invalidate(ORG)
        assert cache.engine_for(ORG).version == 2
        assert status(cache)["at_least"] == 3
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        cache.invalidate(ORG, 3)
        assert cache.engine_for(ORG).version == 2
        store.publish(3)
        assert eventually(lambda: cache.engine_for(ORG).version == 3)
        assert status(cache)["at_least"] is None


@pytest.mark.parametrize("error", [StoreUnavailable("down"), OSError("down"), DocumentRejected("schema 9")])
def test_a_load_that_fails_leaves_the_last_good_engine_and_says_why(store: Watched, error: Exception) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        store.error = error
        cache.invalidate(ORG, 2)
        assert cache.engine_for(ORG) is engine
        assert cache.engine_for(ORG) is engine
        assert store.fetched == [ORG, ORG]
        assert str(error) in status(cache)["last_error"]
        assert (status(cache)["version"], status(cache)["at_least"]) == (1, 2)
        assert (status(cache)["rejected"] is not None) == isinstance(error, DocumentRejected)


def test_a_store_that_hangs_is_waited_for_once(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.engine.cache.PATIENCE_SECONDS", 0.4)
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        cache.invalidate(ORG)
        store.publish(2)
        store.gate.clear()
        began = time.monotonic()
        assert cache.engine_for(ORG) is engine
        assert 0.3 < time.monotonic() - began < 2
        began = time.monotonic()
        for _ in range(20):
            assert cache.engine_for(ORG) is engine
        assert time.monotonic() - began < 4  # and not 0.4 s each
        assert status(cache)["marked"]
        assert cache.status()["poller"]["busy_seconds"] > 0.3
        store.gate.set()
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        assert cache.status()["poller"]["busy_seconds"] is None


def test_a_queue_of_other_loads_is_waited_for_once(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.engine.cache.PATIENCE_SECONDS", 0.3)
    others = [f"00000000-0000-7000-8000-0000000001{n:02}" for n in range(40)]
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        store.before_fetch = lambda: time.sleep(0.05)  # slow, and yet no call hangs
        waiting = [threading.Thread(target=cache.engine_for, args=(org_id,)) for org_id in others]
        for thread in waiting:
            thread.start()
        assert eventually(lambda: len(cache._poller._queue) > 30)
        cache.invalidate(ORG)
        store.publish(2)
        began = time.monotonic()
        assert cache.engine_for(ORG) is engine
        first = time.monotonic() - began
        began = time.monotonic()
        for _ in range(10):
            assert cache.engine_for(ORG) is engine
        assert time.monotonic() - began < first
        store.before_fetch = lambda: None
        for thread in waiting:
            thread.join()
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_an_unknown_organisation_is_looked_for_at_once(store: Watched) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        assert cache.engine_for(OTHER_ORG).version == 0
        store.publish(1, org_id=OTHER_ORG)
        cache.invalidate(OTHER_ORG)
        assert cache.engine_for(OTHER_ORG).version == 1


def test_what_nobody_asked_for_is_not_loaded_and_takes_no_place(store: Watched) -> None:
    with EngineCache(store, poll_seconds=NEVER, max_orgs=1) as cache:
        engine = cache.engine_for(ORG)
        cache.invalidate(OTHER_ORG, 7)
        assert list(cache.status()["orgs"]) == [ORG]
        assert cache.engine_for(ORG) is engine
        assert store.fetched == [ORG]


@pytest.mark.parametrize("at_least", [-1, 1.0, True, "2"])
def test_what_is_no_version_is_a_value_error(store: Watched, at_least: Any) -> None:
    with EngineCache(store) as cache, pytest.raises(ValueError):
        cache.invalidate(ORG, at_least)
