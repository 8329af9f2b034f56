"""`EngineCache.aengine_for`: the same answers, while the event loop goes on."""

import asyncio
import threading
import time
from collections.abc import Iterator

import pytest

from routes.engine import Engine, EngineCache
from routes.engine.entries import Entry, Flight
from routes.engine.errors import DocumentRejected, StoreUnavailable
from routes.engine.ids import uuid7
from routes.engine.waiting import wait
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route
from tests.routes.engine.watched import NEVER, Watched


@pytest.fixture
def store() -> Watched:
    return Watched(document(raw_route(1), version=1))


@pytest.fixture
def cache(store: Watched) -> Iterator[EngineCache]:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        yield cache


def test_it_answers_with_the_same_engine(store: Watched, cache: EngineCache) -> None:
    engine = asyncio.run(cache.aengine_for(ORG))
    assert engine.version == 1
    assert cache.engine_for(ORG) is engine
    assert asyncio.run(cache.aengine_for(ORG.upper())) is engine
    assert store.fetched == [ORG]


def test_warm_it_needs_neither_the_loop_nor_the_lock(cache: EngineCache) -> None:
    engine = cache.engine_for(ORG)
    with cache._lock:
        answering = cache.aengine_for(ORG)
        with pytest.raises(StopIteration) as answered:  # it never waits
            answering.send(None)
    assert answered.value.value is engine


def test_while_it_waits_the_loop_goes_on_and_a_hundred_cause_one_load(store: Watched, cache: EngineCache) -> None:
    async def ask() -> tuple[list[Engine], int]:
        turns = 0
        asking = asyncio.gather(*(cache.aengine_for(ORG) for _ in range(100)))
        while turns < 20:
            await asyncio.sleep(0.01)
            turns += 1
        assert not asking.done()
        store.gate.set()
        return await asking, turns

    store.gate.clear()
    answers, turns = asyncio.run(ask())
    assert len(set(map(id, answers))) == 1
    assert turns == 20
    assert store.fetched == [ORG]


def test_it_comes_back_as_soon_as_the_load_is_done(
    store: Watched, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routes.engine.cache._LOOK_SECONDS", 30.0)
    monkeypatch.setattr("routes.engine.cache.PATIENCE_SECONDS", 60.0)
    store.gate.clear()
    threading.Timer(0.1, store.gate.set).start()
    began = time.monotonic()
    assert asyncio.run(cache.aengine_for(ORG)).version == 1
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("error", "raised"),
    [(OSError("down"), StoreUnavailable), (DocumentRejected("schema 9"), DocumentRejected)],
)
def test_it_raises_the_same(store: Watched, cache: EngineCache, error: Exception, raised: type[Exception]) -> None:
    store.error = error
    with pytest.raises(raised, match=str(error)):
        asyncio.run(cache.aengine_for(ORG))
    with pytest.raises(ValueError):
        asyncio.run(cache.aengine_for("acme"))


def test_a_store_that_hangs_is_waited_for_no_longer_than_elsewhere(
    store: Watched, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routes.engine.cache.PATIENCE_SECONDS", 0.3)
    engine = cache.engine_for(ORG)
    store.gate.clear()
    cache.invalidate(ORG)
    assert asyncio.run(asyncio.wait_for(cache.aengine_for(ORG), 5)) is engine
    with pytest.raises(StoreUnavailable):
        asyncio.run(asyncio.wait_for(cache.aengine_for(OTHER_ORG), 5))
    store.gate.set()


def test_one_that_is_cancelled_takes_nobody_with_it(store: Watched, cache: EngineCache) -> None:
    async def ask() -> Engine:
        first, second = (asyncio.create_task(cache.aengine_for(ORG)) for _ in range(2))
        await asyncio.sleep(0.05)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        store.gate.set()
        return await second

    store.gate.clear()
    assert asyncio.run(ask()).version == 1
    assert store.fetched == [ORG]


def test_a_loop_that_ended_before_the_load_disturbs_nothing(store: Watched, cache: EngineCache) -> None:
    store.gate.clear()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(cache.aengine_for(ORG), 0.05))
    store.gate.set()
    assert eventually(lambda: cache.status()["orgs"][ORG]["version"] == 1)
    assert cache.status()["poller"]["alive"]
    assert asyncio.run(cache.aengine_for(uuid7())).version == 0


def test_a_load_that_ended_a_moment_before_is_noticed_too() -> None:
    flight = Flight(ORG, Entry())
    flight.finish()
    asyncio.run(asyncio.wait_for(wait(flight, 3600), 5))


async def _waiting(flight: Flight) -> int:
    """How many are to be told when it is done, after a few looks."""
    waiters = [asyncio.create_task(wait(flight, 0.01)) for _ in range(20)]
    await asyncio.gather(*waiters)
    again = [asyncio.create_task(wait(flight, 0.01)) for _ in range(20)]
    await asyncio.gather(*again)
    return len(flight._callbacks)


def test_who_waits_no_longer_is_not_told() -> None:
    assert asyncio.run(_waiting(Flight(ORG, Entry()))) == 0
