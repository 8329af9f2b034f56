"""`EngineCache` while the store is down, hangs, goes back in time, or serves what cannot be loaded."""

import random
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from routes.engine import EngineCache, entries, freshness
from routes.engine.errors import DocumentRejected, StoreUnavailable
from routes.engine.ids import uuid7
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route
from tests.routes.engine.watched import FAST, NEVER, Watched, in_threads


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
        assert (status["poller"]["alive"], status["poller"]["last_error"]) == (True, "down")
        assert status["orgs"][ORG]["version"] == 1
        store.error = None
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        assert eventually(lambda: cache.status()["poller"]["last_error"] is None)


def test_the_pause_between_failed_polls_grows_to_a_minute_with_full_jitter(store: Watched) -> None:
    with EngineCache(store, poll_seconds=1.0) as cache:
        poller = cache._poller
        pauses = {failures: [poller.backoff_seconds(failures) for _ in range(300)] for failures in (1, 3, 50)}
        pauses[0] = [poller._pause_seconds(is_settled=True) for _ in range(300)]
    assert 0.8 <= min(pauses[0]) < max(pauses[0]) <= 1.2
    assert 0 <= min(pauses[1]) < 0.3
    assert 1.5 < max(pauses[1]) <= 2
    assert 6 < max(pauses[3]) <= 8
    assert 45 < max(pauses[50]) <= 60
    assert min(pauses[50]) < 10


def test_who_seeded_random_gets_the_numbers_that_it_counts_on(store: Watched) -> None:
    random.seed(7)
    expected = [random.random() for _ in range(3)]
    random.seed(7)
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        asked = len(store.polled)
        assert eventually(lambda: len(store.polled) > asked + 2)
    assert [random.random() for _ in range(3)] == expected


def test_cold_with_the_store_down_is_store_unavailable_with_its_cause(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.error = OSError("no route to host")
    with EngineCache(store, poll_seconds=NEVER) as cache:
        with pytest.raises(StoreUnavailable, match="no route to host") as caught:
            cache.engine_for(ORG)
        assert isinstance(caught.value.__cause__, StoreUnavailable)
        assert isinstance(caught.value.__cause__.__cause__, OSError)
        assert cache.status()["orgs"][ORG]["version"] is None
        store.error = None
        monkeypatch.setattr(entries, "REST_SECONDS", 0.0)
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
        assert time.monotonic() - began < 5  # and not 0.3 s each
        assert len(cache._poller._queue) == 0
        assert cache.engine_for(ORG) is engine
        cache.invalidate(ORG)
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
        cache.invalidate(ORG)  # makes the next call load, and what it loads is older
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


def test_no_thread_that_decides_ever_calls_the_store(store: Watched) -> None:
    deciding: set[int] = set()
    stop = threading.Event()

    def decide() -> None:
        deciding.add(threading.get_ident())
        while not stop.is_set():
            engine = cache.engine_for(ORG)
            assert engine.version >= 1
            time.sleep(0)

    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        threads = [threading.Thread(target=decide) for _ in range(4)]
        for thread in threads:
            thread.start()
        for error in (None, OSError("down"), None):
            store.error = error
            cache.invalidate(ORG)
            time.sleep(0.1)
        store.gate.clear()
        cache.invalidate(ORG)
        time.sleep(0.1)
        store.gate.set()
        stop.set()
        for thread in threads:
            thread.join()
        assert len(deciding) == 4
        assert len(store.callers) > 10
        assert not deciding & set(store.callers)
        assert threading.get_ident() not in store.callers


def test_a_cold_organisation_does_not_try_a_failing_store_at_every_call(store: Watched) -> None:
    store.error = OSError("refused")
    with EngineCache(store, poll_seconds=NEVER) as cache:
        began = time.monotonic()
        while time.monotonic() - began < 0.6:
            with pytest.raises(StoreUnavailable, match="refused"):
                cache.engine_for(ORG)
        assert 2 <= len(store.fetched) <= 4  # one every 250 ms


def test_a_store_known_to_be_down_is_not_waited_for_long(store: Watched) -> None:
    store.gate.clear()
    with EngineCache(store, poll_seconds=NEVER) as cache:
        first = threading.Thread(target=lambda: in_threads(1, lambda: cache.engine_for(ORG)))
        first.start()
        assert eventually(lambda: (cache._poller.busy_seconds() or 0) > 0.3)
        store.error = OSError("timed out")
        store.gate.set()
        first.join()
        assert cache._poller.is_down
        store.gate.clear()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            cache.engine_for(OTHER_ORG)
        assert time.monotonic() - began < 1.8  # and not two seconds
        store.error = None
        store.gate.set()
        assert eventually(lambda: not cache._poller.is_down)
        assert cache.engine_for(uuid7()).version == 0


def test_one_organisation_that_fails_makes_nobody_impatient_with_the_others(store: Watched) -> None:
    def fail_for_one() -> None:
        if store.fetched[-1] == OTHER_ORG:
            raise OSError("500 for this one")
        time.sleep(0.4)

    store.before_fetch = fail_for_one
    with EngineCache(store, poll_seconds=NEVER) as cache:
        for org_id in (OTHER_ORG, ORG):
            if org_id == OTHER_ORG:
                with pytest.raises(StoreUnavailable, match="500"):
                    cache.engine_for(org_id)
            else:
                assert cache.engine_for(org_id).version == 1


@pytest.mark.parametrize("versions", [{ORG: "2"}, {ORG: None}, {ORG: 2.0}, {ORG: True}, [], None])
def test_versions_that_are_none_count_as_a_store_that_is_down(
    store: Watched, monkeypatch: pytest.MonkeyPatch, versions: Any
) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        with monkeypatch.context() as patched:
            patched.setattr(store, "versions", lambda _: versions)
            assert eventually(lambda: cache.status()["poller"]["last_error"] is not None)
            assert cache.engine_for(ORG) is engine
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


@pytest.mark.parametrize("found", ["text", {"org_id": ORG}, 7])
def test_what_is_no_document_is_rejected(store: Watched, monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        with monkeypatch.context() as patched:
            patched.setattr(store, "fetch", lambda _: found)
            store.publish(2)
            assert eventually(lambda: cache.status()["orgs"][ORG]["rejected"] is not None)
            assert cache.engine_for(ORG) is engine
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_many_organisations_are_polled_in_parts_and_a_cold_caller_waits_for_one_part(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routes.engine.freshness._POLLED_AT_ONCE", 2)
    orgs = [uuid7() for _ in range(5)]
    for org_id in orgs:
        store.publish(1, org_id=org_id)
    with EngineCache(store, poll_seconds=NEVER) as cache:
        for org_id in orgs:
            cache.engine_for(org_id)
        store.gate.clear()
        with cache._lock:
            cache._poller.hasten(0.0)
        assert eventually(lambda: len(store.polled) == 1)
        caller = threading.Thread(target=cache.engine_for, args=(ORG,))
        caller.start()
        assert eventually(lambda: len(cache._poller._queue) == 1)
        store.before_fetch = lambda: polled_before.append(len(store.polled))
        polled_before: list[int] = []
        store.gate.set()
        caller.join()
        assert eventually(lambda: len(store.polled) == 3)
        assert polled_before == [1]
        assert sorted(org_id for part in store.polled for org_id in part) == sorted(orgs)


def test_a_load_that_succeeds_ends_the_backoff_for_all(store: Watched) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        store.error = OSError("down")
        assert eventually(lambda: cache._poller._failures > 0)
        with cache._lock:
            cache._poller._next_poll += 3600
        store.error = None
        store.publish(2)
        assert cache.engine_for(OTHER_ORG).version == 0
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_callers_wait_for_a_load_that_the_poll_began(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "REST_SECONDS", 0.0)
    store.error = OSError("down")
    with EngineCache(store, poll_seconds=FAST) as cache:
        with pytest.raises(StoreUnavailable):
            cache.engine_for(ORG)
        store.gate.clear()
        store.error = None
        assert eventually(lambda: len(store.polled) > 0)
        polling = threading.Event()
        store.before_fetch = lambda: polling.set() or time.sleep(0.3)
        store.fetched.clear()
        store.gate.set()
        assert polling.wait(5)
        answers = in_threads(20, lambda: cache.engine_for(ORG))
        assert store.fetched == [ORG]
        assert len(set(map(id, answers))) == 1


@pytest.mark.parametrize("poll_seconds", [1e12, float("inf")])
def test_a_poll_that_never_comes_is_no_error(store: Watched, poll_seconds: float) -> None:
    with EngineCache(store, poll_seconds=poll_seconds) as cache:
        assert cache.engine_for(ORG).version == 1
        time.sleep(0.05)
        assert cache.status()["poller"]["alive"]


@pytest.mark.parametrize(
    "wrong", [{"poll_seconds": 0}, {"poll_seconds": -1}, {"poll_seconds": float("nan")}, {"max_orgs": 0}]
)
def test_what_cannot_be_meant_is_a_value_error(store: Watched, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        EngineCache(store, **wrong)


def test_an_organisation_that_was_unknown_stays_so_while_the_store_is_down(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "UNKNOWN_SECONDS", 0.05)
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        assert cache.engine_for(OTHER_ORG).version == 0
        assert eventually(lambda: OTHER_ORG not in cache.status()["orgs"])  # forgotten, with the store up
        assert cache.engine_for(OTHER_ORG).version == 0
        store.error = OSError("down")
        time.sleep(0.2)
        assert cache.engine_for(OTHER_ORG).version == 0
        assert OTHER_ORG in cache.status()["orgs"]


def test_without_another_thread_what_is_at_hand_serves(
    store: Watched, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with EngineCache(store, poll_seconds=FAST, snapshot_dir=tmp_path) as cache:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            with pytest.raises(StoreUnavailable):
                cache.engine_for(ORG)
            assert not cache.status()["poller"]["alive"]
        engine = cache.engine_for(ORG)
        assert engine.version == 1
        assert cache.engine_for(ORG) is engine
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with EngineCache(store, poll_seconds=FAST, snapshot_dir=tmp_path) as cache, pytest.raises(StoreUnavailable):
            cache.engine_for(ORG)


def test_an_organisation_that_is_unknown_is_not_looked_for_at_every_call_while_the_store_is_down(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "UNKNOWN_SECONDS", 0.05)
    nobody = uuid7()
    with EngineCache(store, poll_seconds=0.2) as cache:
        assert cache.engine_for(nobody).version == 0
        store.error = OSError("refused")
        time.sleep(0.1)
        store.fetched.clear()
        until = time.monotonic() + 0.6
        while time.monotonic() < until:
            assert cache.engine_for(nobody).version == 0
        assert 1 <= len(store.fetched) <= 5
        store.error = None
        store.publish(1, org_id=nobody)
        assert eventually(lambda: cache.engine_for(nobody).version == 1)


def test_many_cold_organisations_wait_for_one_poll_while_the_store_is_down(store: Watched) -> None:
    orgs = [uuid7() for _ in range(50)]
    store.error = OSError("refused")
    with EngineCache(store, poll_seconds=0.3) as cache:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            for org_id in orgs:
                with pytest.raises(StoreUnavailable, match="refused"):
                    cache.engine_for(org_id)
        assert len(store.fetched) < 3 * len(orgs)
        for org_id in orgs:
            store.publish(1, org_id=org_id)
        store.error = None
        assert eventually(lambda: all(version_of(cache, org_id) == 1 for org_id in orgs))


def version_of(cache: EngineCache, org_id: str) -> int | None:
    try:
        return cache.engine_for(org_id).version
    except StoreUnavailable:
        return None


def test_good_engines_are_not_given_up_for_what_cannot_be_had(store: Watched) -> None:
    store.publish(1, org_id=OTHER_ORG)
    with EngineCache(store, poll_seconds=NEVER, max_orgs=2) as cache:
        good = [cache.engine_for(org_id) for org_id in (ORG, OTHER_ORG)]
        store.error = OSError("refused")
        for _ in range(60):
            with pytest.raises(StoreUnavailable):
                cache.engine_for(uuid7())
        assert [cache.engine_for(org_id) for org_id in (ORG, OTHER_ORG)] == good
        assert len(cache._entries) <= 2 + entries.LOOKS
        store.error = None
        new = uuid7()
        store.publish(1, org_id=new)
        cache.invalidate(ORG)
        assert cache.engine_for(ORG).version == 1  # so it is seen that the store is back
        assert eventually(lambda: version_of(cache, new) == 1)
        assert len(cache._entries) <= 2


def test_a_store_that_lags_behind_what_it_said_is_asked_again(store: Watched) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        assert cache.engine_for(ORG).version == 1
        store.publish(3)
        newest, store.fetch = store.fetch, lambda org_id: document(raw_route(2), version=2)  # type: ignore[method-assign]
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        assert eventually(lambda: "said version 3" in (cache.status()["orgs"][ORG]["last_error"] or ""))
        store.fetch = newest  # type: ignore[method-assign]
        assert eventually(lambda: cache.engine_for(ORG).version == 3)
        assert cache.status()["orgs"][ORG]["last_error"] is None


@pytest.mark.parametrize("version", ["2", True, -1, 2.0, float("nan"), None])
def test_a_document_of_another_kind_is_rejected_and_the_poller_lives(store: Watched, version: object) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        store.documents[ORG] = replace(document(raw_route(2), version=2), version=version)
        cache.invalidate(ORG)
        assert cache.engine_for(ORG) is engine
        assert (
            cache.status()["orgs"][ORG]["rejected"]["detail"]
            == "The store answered with something that is no document."
        )
        store.publish(3)
        assert eventually(lambda: cache.engine_for(ORG).version == 3)
        assert cache.status()["poller"]["alive"]


@pytest.mark.parametrize("error", [SystemExit(), KeyboardInterrupt(), GeneratorExit("x")])
def test_whatever_a_store_raises_the_poller_lives(store: Watched, error: BaseException) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        store.error = error  # type: ignore[assignment]
        assert eventually(lambda: cache.status()["poller"]["last_error"] is not None)
        store.error = None
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_a_poller_that_died_is_noticed_by_the_next_call(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        with monkeypatch.context() as patched:
            patched.setattr(cache._poller, "_look", None)
            assert eventually(lambda: not cache._poller.is_alive())
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_a_rejected_document_that_is_mended_is_used_within_seconds(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "_chance", lambda low, high: high)
    with EngineCache(store, poll_seconds=FAST) as cache:
        monkeypatch.setattr(cache._poller, "backoff_seconds", lambda failures: 60.0)
        monkeypatch.setattr(freshness, "_REJECTED_SECONDS", 0.1)
        cache.engine_for(ORG)
        store.documents[ORG] = replace(document(raw_route(2), version=2), org_id=OTHER_ORG)
        assert eventually(lambda: cache.status()["orgs"][ORG]["rejected"] is not None)
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2, 2)


def test_a_signal_handler_may_invalidate_and_ask_for_the_status(store: Watched) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        cache.engine_for(ORG)
        with cache._lock:  # where the signal finds the thread
            cache.invalidate(ORG)
            assert cache.status()["orgs"][ORG]["marked"]


def test_a_store_that_hangs_while_the_cache_is_closed_is_closed_when_it_answers(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routes.engine.cache.PATIENCE_SECONDS", 0.1)
    cache = EngineCache(store, poll_seconds=FAST)
    cache.engine_for(ORG)
    store.gate.clear()
    assert eventually(lambda: cache._poller.is_stuck(0.01))
    cache.close()
    assert not store.is_closed
    store.gate.set()
    assert eventually(lambda: store.is_closed)


@pytest.mark.parametrize("wrong", [None, "postgresql://host", Watched, object()])
def test_what_is_no_store_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"PostgresStore\(dsn\)"):
        EngineCache(wrong)


def test_a_document_at_which_loading_fails_in_any_way_is_rejected(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no more")

    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        with monkeypatch.context() as patched:
            patched.setattr("routes.engine.freshness.Engine.from_document", fail)
            store.publish(2)
            cache.invalidate(ORG)
            assert cache.engine_for(ORG) is engine
            rejected = cache.status()["orgs"][ORG]["rejected"]
            assert rejected["detail"] == "The document cannot be loaded: MemoryError: no more"
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
