"""`EngineCache` while the store is down, hangs, goes back in time, or serves what cannot be loaded."""

import time

import pytest

from routes.engine import EngineCache
from routes.engine.errors import DocumentRejected, StoreUnavailable
from routes.engine.ids import uuid7
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route
from tests.routes.engine.watched import FAST, NEVER, Watched


@pytest.fixture
def store() -> Watched:
    return Watched(document(raw_route(1), version=1))


def test_while_the_store_is_down_the_last_good_engine_answers(store: Watched) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        store.error = StoreUnavailable("down")
        store.publish(2)
        asked = len(store.polled)
        assert eventually(lambda: len(store.polled) > asked + 2)
        assert cache.engine_for(ORG) is engine
        status = cache.status()
        assert status["poller"] == {"alive": True, "last_error": "down"}
        assert status["orgs"][ORG]["version"] == 1
        store.error = None
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        assert eventually(lambda: cache.status()["poller"]["last_error"] is None)


def test_the_pause_between_failed_polls_grows_to_a_minute_with_full_jitter(store: Watched) -> None:
    with EngineCache(store, poll_seconds=1.0) as cache:
        poller = cache._poller
        pauses: dict[int, list[float]] = {}
        for failures in (0, 1, 3, 50):
            poller._failures = failures
            pauses[failures] = [poller._pause_seconds() for _ in range(300)]
    assert 0.8 <= min(pauses[0]) < max(pauses[0]) <= 1.2
    assert 0 <= min(pauses[1]) < 0.3
    assert 1.5 < max(pauses[1]) <= 2
    assert 6 < max(pauses[3]) <= 8
    assert 45 < max(pauses[50]) <= 60
    assert min(pauses[50]) < 10


def test_cold_with_the_store_down_is_store_unavailable_with_its_cause(store: Watched) -> None:
    store.error = OSError("no route to host")
    with EngineCache(store, poll_seconds=NEVER) as cache:
        with pytest.raises(StoreUnavailable, match="no route to host") as caught:
            cache.engine_for(ORG)
        assert isinstance(caught.value.__cause__, StoreUnavailable)
        assert isinstance(caught.value.__cause__.__cause__, OSError)
        assert cache.status()["orgs"][ORG]["version"] is None
        store.error = None
        assert cache.engine_for(ORG).version == 1


def test_a_load_that_failed_is_tried_again_behind(store: Watched) -> None:
    store.error = OSError("down")
    with EngineCache(store, poll_seconds=FAST) as cache:
        with pytest.raises(StoreUnavailable):
            cache.engine_for(ORG)
        store.error = None
        assert eventually(lambda: cache.status()["orgs"][ORG]["version"] == 1)


def test_a_store_that_hangs_is_as_good_as_down(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("routes.engine.cache.PATIENCE_SECONDS", 0.3)
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        store.gate.clear()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            cache.engine_for(OTHER_ORG)
        assert time.monotonic() - began < 2
        began = time.monotonic()
        for _ in range(50):  # from now on it is known to hang, and nobody waits for it
            with pytest.raises(StoreUnavailable):
                cache.engine_for(uuid7())
        assert time.monotonic() - began < 0.2
        assert len(cache._poller._queue) == 0
        assert cache.engine_for(ORG) is engine
        cache._mark(ORG)
        assert cache.engine_for(ORG) is engine
        store.gate.set()
        assert eventually(lambda: not cache._poller.is_stuck(0.3))
        assert cache.engine_for(OTHER_ORG).version == 0


def test_an_older_version_never_replaces_a_newer_one(store: Watched) -> None:
    store.publish(5)
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        store.publish(3)
        assert eventually(lambda: "older" in (cache.status()["orgs"][ORG]["last_error"] or ""))
        cache._mark(ORG)  # makes the next call load, and what it loads is older
        assert cache.engine_for(ORG) is engine
        assert store.fetched == [ORG, ORG]
        store.publish(6)
        assert eventually(lambda: cache.engine_for(ORG).version == 6)


def test_a_rejected_document_leaves_the_last_good_engine_and_is_told(store: Watched) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        store.publish(2)

        def reject() -> None:
            raise DocumentRejected("schema 9")

        store.before_fetch = reject
        assert eventually(lambda: cache.status()["orgs"][ORG]["rejected"] is not None)
        assert cache.status()["orgs"][ORG]["rejected"] == {
            "version": 2, "code": "document_rejected", "detail": "schema 9",
        }  # fmt: skip
        assert cache.engine_for(ORG) is engine
        store.before_fetch = lambda: None
        cache._entries[ORG].retry_at += 3600
        store.publish(3)  # another version is tried at once, whatever the backoff of the bad one
        assert eventually(lambda: cache.engine_for(ORG).version == 3)
        assert cache.status()["orgs"][ORG]["rejected"] is None


def test_a_document_that_is_rejected_cold_is_said_so_without_loading_it_for_every_call(store: Watched) -> None:
    def reject() -> None:
        raise DocumentRejected("schema 9")

    store.before_fetch = reject
    with EngineCache(store, poll_seconds=NEVER) as cache:
        for _ in range(20):
            with pytest.raises(DocumentRejected, match="schema 9"):
                cache.engine_for(ORG)
        assert store.fetched == [ORG]


def test_the_document_of_another_organisation_is_rejected(store: Watched) -> None:
    store.documents[OTHER_ORG] = store.documents[ORG]
    with EngineCache(store, poll_seconds=NEVER) as cache, pytest.raises(DocumentRejected):
        cache.engine_for(OTHER_ORG)
