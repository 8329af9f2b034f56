"""`EngineCache` on a store that announces changes by itself."""

import os
import threading
import time
from collections.abc import Callable

import pytest

from routes.engine import EngineCache, entries, freshness, notices
from routes.engine.errors import StoreUnavailable
from routes.engine.ids import uuid7
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route
from tests.routes.engine.watched import FAST, NEVER, Announcing, Watched


@pytest.fixture
def store() -> Announcing:
    return Announcing(document(raw_route(1), version=1), document(raw_route(1), org_id=OTHER_ORG, version=1))


def settled(cache: EngineCache, store: Watched) -> None:
    """Wait until the cache listens and has polled because of that."""
    asked = len(store.polled)
    assert eventually(lambda: cache.status()["listener"]["listening"])
    eventually(lambda: len(store.polled) > asked, 0.2)


def test_a_notice_brings_the_new_version_without_a_poll(store: Announcing) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        for org_id in (ORG, OTHER_ORG):
            cache.engine_for(org_id)
        settled(cache, store)
        store.polled.clear()
        store.publish(2)
        store.announce()
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        assert store.polled == [[ORG]]  # the others did not change


@pytest.mark.parametrize("payload", ["", "acme", ORG.upper(), "00000000-0000-7000-8000-00000000ffff"])
def test_a_notice_of_what_nobody_asked_for_reads_nothing(store: Announcing, payload: str) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        store.polled.clear()
        store.fetched.clear()
        store.announce(payload)
        time.sleep(0.1)
        assert (store.polled, store.fetched) == ([], [])
        store.publish(2)
        store.announce()  # and it does no harm
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_a_notice_of_an_organisation_that_was_unknown_brings_it(store: Announcing) -> None:
    made = store.documents.pop(OTHER_ORG)
    with EngineCache(store, poll_seconds=NEVER) as cache:
        assert cache.engine_for(OTHER_ORG).version == 0
        settled(cache, store)
        store.documents[OTHER_ORG] = made
        store.announce(OTHER_ORG)
        assert eventually(lambda: cache.engine_for(OTHER_ORG).version == 1)


def test_while_it_listens_it_seldom_polls(store: Announcing) -> None:
    assert freshness.LISTENING_POLL_SECONDS == 30
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        asked = len(store.polled)
        time.sleep(0.3)
        assert len(store.polled) <= asked + 1
        assert cache.status()["listener"] == {"alive": True, "listening": True, "last_error": None}


def test_a_pace_slower_than_that_of_listening_stays(store: Announcing) -> None:
    with EngineCache(store, poll_seconds=100.0) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        assert cache._poller.poll_seconds == 100


def test_the_rare_poll_finds_what_was_never_announced(store: Announcing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freshness, "LISTENING_POLL_SECONDS", 0.05)
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_a_version_that_is_awaited_is_polled_for_at_its_own_pace(store: Announcing) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        cache.invalidate(ORG, 2)
        assert cache.engine_for(ORG).version == 1
        asked = len(store.polled)
        assert eventually(lambda: len(store.polled) > asked + 3)
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_notices_that_concern_nobody_do_not_pile_up_while_the_store_hangs(store: Announcing) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        store.gate.clear()
        cache.invalidate(ORG)
        threading.Thread(target=cache.engine_for, args=(ORG,)).start()
        assert eventually(lambda: cache._poller.is_stuck(0.0))
        for number in range(1000):
            store.announce(f"00000000-0000-7000-8000-{number + 1000:012x}")
        assert eventually(store.lines[0].said.empty)
        store.announce()
        assert eventually(lambda: cache._poller._announced == {ORG})
        store.gate.set()


def test_what_changed_before_the_line_stood_is_polled_for(store: Announcing) -> None:
    ready = threading.Event()
    store.before_listening = lambda: ready.wait(10) and None
    with EngineCache(store, poll_seconds=NEVER) as cache:
        assert cache.engine_for(ORG).version == 1
        store.publish(2)  # and no notice reaches anybody
        ready.set()
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def test_when_the_line_breaks_it_polls_at_its_own_pace(store: Announcing) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        store.line_error = StoreUnavailable("refused")
        store.announce(StoreUnavailable("the line is cut"))
        assert eventually(lambda: not cache.status()["listener"]["listening"])
        assert store.lines[0].is_closed
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        assert eventually(lambda: cache.status()["listener"]["last_error"] == "refused")
        asked = len(store.polled)
        assert eventually(lambda: len(store.polled) > asked + 5)


def test_what_was_missed_while_the_line_was_broken_is_polled_for(
    store: Announcing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "MAX_BACKOFF_SECONDS", 0.05)
    with EngineCache(store, poll_seconds=NEVER) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        store.before_listening = lambda: store.publish(2)  # at the last moment before the new line
        store.announce(OSError("the line is cut"))
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        assert cache.status()["listener"] == {"alive": True, "listening": True, "last_error": None}
        assert len(store.lines) == 2


def test_a_store_that_cannot_listen_is_polled(store: Announcing) -> None:
    store.line_error = ImportError("no driver")
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        assert eventually(lambda: cache.status()["listener"]["last_error"] == "no driver")
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


@pytest.mark.parametrize(("lives_seconds", "failures"), [(0.0, [1, 1, 1]), (3600.0, [1, 2, 3])])
def test_a_line_that_breaks_soon_again_is_tried_less_and_less_often(
    store: Announcing, monkeypatch: pytest.MonkeyPatch, lives_seconds: float, failures: list[int]
) -> None:
    monkeypatch.setattr(notices, "LISTENING_POLL_SECONDS", lives_seconds)
    with EngineCache(store, poll_seconds=NEVER) as cache:
        counted: list[int] = []
        monkeypatch.setattr(cache._poller, "backoff_seconds", lambda failures: counted.append(failures) or 0.0)
        cache.engine_for(ORG)
        for number in range(3):
            assert eventually(lambda number=number: len(store.lines) == number + 1)  # type: ignore[misc]
            store.lines[-1].said.put(OSError("cut"))
        assert eventually(lambda: len(counted) == 3)
        assert counted == failures


def test_a_hint_about_an_organisation_that_nobody_asked_for_lately_makes_its_next_call_look(
    store: Announcing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        monkeypatch.setattr(entries, "WATCHED_SECONDS", -1.0)
        store.publish(2)
        store.announce()
        assert eventually(lambda: cache.status()["orgs"][ORG]["marked"])
        assert store.fetched == [ORG]
        assert cache.engine_for(ORG).version == 2


def test_a_hint_about_an_organisation_that_is_not_there_after_all_changes_nothing(store: Announcing) -> None:
    nobody = uuid7()
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(nobody)
        assert eventually(lambda: cache.status()["listener"]["listening"])
        for times in (1, 2):  # with the second one the first is dealt with
            store.announce(nobody)
            assert eventually(lambda times=times: store.polled.count([nobody]) == times)  # type: ignore[misc]
        assert cache.engine_for(nobody) is engine
        assert cache.status()["orgs"][nobody]["last_error"] is None


def test_a_hint_that_comes_with_a_full_poll_counts_for_what_was_unknown_too(store: Announcing) -> None:
    nobody = uuid7()
    with EngineCache(store, poll_seconds=NEVER) as cache:
        assert cache.engine_for(nobody).version == 0
        settled(cache, store)
        store.publish(1, org_id=nobody)
        with cache._poller._lock:
            cache._poller._is_all_announced = True
            cache._poller._announced.add(nobody)
            cache._poller._wake.notify()
        assert eventually(lambda: cache.engine_for(nobody).version == 1, 2)


def test_without_a_thread_to_be_had_there_is_polling_alone(store: Announcing, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def refuse_listener(thread: threading.Thread) -> None:
        if thread.name == "routes-engine-listener":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_listener)
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        assert store.lines == []


def test_a_store_that_announces_nothing_has_no_listener() -> None:
    with EngineCache(Watched(document(raw_route(1)))) as cache:
        cache.engine_for(ORG)
        assert cache.status()["listener"] is None


@pytest.mark.parametrize("what", ["versions", "fetch"])
def test_a_change_that_was_announced_and_could_not_be_read_is_tried_again_soon(store: Announcing, what: str) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        store.publish(2)
        if what == "versions":
            store.error = OSError("busy")
        else:
            store.before_fetch = fail
        asked = len(store.polled)
        store.announce()
        assert eventually(lambda: len(store.polled) > asked + 1)
        assert cache.engine_for(ORG).version == 1
        store.error, store.before_fetch = None, lambda: None
        assert eventually(lambda: cache.engine_for(ORG).version == 2)


def fail() -> None:
    raise OSError("busy")


def test_a_notice_after_an_outage_has_everything_looked_at(store: Announcing) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        for org_id in (ORG, OTHER_ORG):
            cache.engine_for(org_id)
        settled(cache, store)
        store.error = OSError("down")
        store.announce()
        assert eventually(lambda: cache.status()["poller"]["last_error"] is not None)
        cache._poller._next_poll += 3600  # in the middle of a long backoff
        store.error = None
        store.publish(2, org_id=OTHER_ORG)
        store.announce(ORG)
        assert eventually(lambda: cache.engine_for(OTHER_ORG).version == 2)


def test_a_hundred_notices_at_once_are_one_look(store: Announcing) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        store.polled.clear()
        store.gate.clear()
        store.publish(2)
        for _ in range(100):
            store.announce()
        assert eventually(lambda: store.lines[0].said.empty())
        store.gate.set()
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        time.sleep(0.05)
        assert len(store.polled) <= 2


def test_an_organisation_that_nobody_asks_for_any_more_is_not_looked_at(
    store: Announcing, monkeypatch: pytest.MonkeyPatch
) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        cache.engine_for(ORG)
        settled(cache, store)
        monkeypatch.setattr("routes.engine.entries.WATCHED_SECONDS", -1.0)
        store.polled.clear()
        store.announce()
        time.sleep(0.1)
        assert store.polled == []


@pytest.mark.parametrize("end", ["close", "forget"])
def test_listening_ends_with_the_cache(store: Announcing, end: str) -> None:
    cache = EngineCache(store, poll_seconds=NEVER)
    cache.engine_for(ORG)
    settled(cache, store)
    thread = cache._listener._thread if cache._listener else None
    if end == "close":
        cache.close()
        assert not cache.status()["listener"]["alive"]
    else:
        del cache
    assert thread is not None
    assert eventually(lambda: not thread.is_alive())
    assert store.lines[0].is_closed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_listens_for_itself(store: Announcing) -> None:
    def child_is_told(cache: EngineCache) -> bool:
        cache.engine_for(ORG)
        if not eventually(lambda: len(store.lines) == 2 and cache.status()["listener"]["listening"]):
            return False
        store.publish(2)
        store.lines[1].said.put(ORG)
        return eventually(lambda: cache.engine_for(ORG).version == 2)

    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        settled(cache, store)
        assert in_child(lambda: child_is_told(cache))
        assert cache.engine_for(ORG) is engine
        assert not store.lines[0].is_closed


def in_child(holds: Callable[[], bool]) -> bool:
    """Whether this holds in a forked child."""
    child = os.fork()
    if child == 0:
        good = False
        try:
            good = holds()
        finally:
            os._exit(0 if good else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
