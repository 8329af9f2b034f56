"""`EngineCache`: warm, fresh, and useful while the store is not."""

import os
import threading
import time
from collections.abc import Callable, Iterable
from uuid import UUID

import pytest

from routes.engine import Action, Document, Engine, EngineCache, MemoryStore, NewRoute, freshness
from routes.engine.errors import DocumentRejected, ManagementUnsupported, StoreUnavailable
from routes.engine.ids import uuid7
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route, route

FAST, NEVER = 0.01, 3600.0


class Watched:
    """A store that can be made to fail, hang or lie, and counts what it is asked."""

    def __init__(self, *documents: Document) -> None:
        self.documents = {document.org_id: document for document in documents}
        self.error: Exception | None = None
        self.fetched: list[str] = []
        self.polled: list[list[str]] = []
        self.before_fetch: Callable[[], None] = lambda: None
        self.gate = threading.Event()
        self.gate.set()
        self.is_closed = False

    def publish(self, version: int, *, org_id: str = ORG) -> None:
        self.documents[org_id] = document(raw_route(version), org_id=org_id, version=version)

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        asked = list(org_ids)
        self.polled.append(asked)
        self._answer()
        return {org_id: self.documents[org_id].version for org_id in asked if org_id in self.documents}

    def fetch(self, org_id: str) -> Document | None:
        self.fetched.append(org_id)
        found = self.documents.get(org_id)
        self.before_fetch()
        self._answer()
        return found

    def close(self) -> None:
        self.is_closed = True

    def _answer(self) -> None:
        self.gate.wait(20)
        if self.error:
            raise self.error


@pytest.fixture
def store() -> Watched:
    return Watched(document(raw_route(1), version=1))


def in_threads(count: int, call: Callable[[], object]) -> list[object]:
    """What the calls answered or raised, all made at once."""
    answers: list[object] = []
    start = threading.Barrier(count)

    def run() -> None:
        start.wait()
        try:
            answers.append(call())
        except Exception as error:
            answers.append(error)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_a_warm_engine_is_the_same_object_and_asks_nobody(store: Watched) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        assert engine.version == 1
        for _ in range(100):
            assert cache.engine_for(ORG) is engine
        assert cache.engine_for(UUID(ORG)) is engine
        assert cache.engine_for(ORG.upper()) is engine
        assert (store.fetched, store.polled) == ([ORG], [])


def test_a_warm_engine_needs_no_lock(store: Watched) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
        with cache._lock:
            assert cache.engine_for(ORG) is engine


def test_the_poll_sees_a_new_version_and_keeps_the_engine_while_it_stands(store: Watched) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        first = cache.engine_for(ORG)
        assert eventually(lambda: len(store.polled) >= 5)
        assert cache.engine_for(ORG) is first
        assert store.fetched == [ORG]
        store.publish(2)
        assert eventually(lambda: cache.engine_for(ORG).version == 2)
        assert store.fetched == [ORG, ORG]


def test_only_organisations_that_were_asked_for_are_polled(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    store.publish(1, org_id=OTHER_ORG)
    monkeypatch.setattr(freshness, "WATCHED_SECONDS", 0.2)
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        cache.engine_for(OTHER_ORG)

        def only_one_is_polled() -> bool:
            cache.engine_for(ORG)
            return store.polled[-1:] == [[ORG]]

        assert eventually(lambda: sorted(store.polled[-1]) == [ORG, OTHER_ORG] if store.polled else False)
        assert eventually(only_one_is_polled)
        # What was not watched may be old by now, so the next call looks first.
        store.publish(5, org_id=OTHER_ORG)
        time.sleep(0.1)
        assert cache.engine_for(OTHER_ORG).version == 5
        assert cache.engine_for(ORG) is engine


def test_a_hundred_waiting_callers_cause_one_load(store: Watched) -> None:
    store.gate.clear()
    with EngineCache(store, poll_seconds=NEVER) as cache:
        threading.Timer(0.2, store.gate.set).start()
        answers = in_threads(100, lambda: cache.engine_for(ORG))
        assert store.fetched == [ORG]
        assert len({id(answer) for answer in answers}) == 1
        assert isinstance(answers[0], Engine)


def test_a_hundred_waiting_callers_share_one_failure_too(store: Watched) -> None:
    store.error = OSError("no route to host")
    store.gate.clear()
    with EngineCache(store, poll_seconds=NEVER) as cache:
        threading.Timer(0.2, store.gate.set).start()
        answers = in_threads(100, lambda: cache.engine_for(ORG))
        assert all(isinstance(answer, StoreUnavailable) for answer in answers)
        assert len(store.fetched) < 5  # whoever came after the first load failed tries again


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
        pauses = {n: [poller._backoff_seconds(n) for _ in range(300)] for n in (1, 3, 50)}
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


def test_an_unknown_organisation_is_an_empty_engine_remembered_for_seconds(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert freshness.UNKNOWN_SECONDS == 5
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(OTHER_ORG)
        assert (engine.version, engine.org_id, engine.routes) == (0, OTHER_ORG, ())
        store.publish(1, org_id=OTHER_ORG)
        assert cache.engine_for(OTHER_ORG) is engine
        assert store.fetched == [OTHER_ORG]
        monkeypatch.setattr(freshness, "UNKNOWN_SECONDS", 0.0)
        assert cache.engine_for(OTHER_ORG).version == 1


def test_an_organisation_that_vanishes_keeps_its_engine(store: Watched) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        store.documents.clear()
        assert eventually(lambda: "no longer" in (cache.status()["orgs"][ORG]["last_error"] or ""))
        cache._mark(ORG)
        assert cache.engine_for(ORG) is engine


def test_the_least_recently_used_goes_first() -> None:
    orgs = [uuid7() for _ in range(4)]
    store = Watched(*(document(raw_route(1), org_id=org_id) for org_id in orgs))
    with EngineCache(store, poll_seconds=NEVER, max_orgs=3) as cache:
        for org_id in (*orgs[:3], orgs[0], orgs[3]):
            cache.engine_for(org_id)
        assert set(cache.status()["orgs"]) == {orgs[0], orgs[2], orgs[3]}
        store.fetched.clear()
        for org_id in (orgs[0], orgs[2], orgs[3]):
            cache.engine_for(org_id)
        assert store.fetched == []
        cache.engine_for(orgs[1])
        assert store.fetched == [orgs[1]]
        assert len(cache._warm) == 3


def test_a_change_through_the_cache_is_seen_by_the_next_call() -> None:
    store = MemoryStore()
    store.set_routes(ORG, [route("a")])
    with EngineCache(store, poll_seconds=NEVER) as cache:
        assert cache.engine_for(ORG).version == 1
        created = cache.create_route(ORG, NewRoute("b", Action("t")))
        assert cache.engine_for(ORG).version == 2
        cache.update_route(ORG, route("c", id=created.id))
        assert [route.name for route in cache.engine_for(ORG).routes] == ["a", "c"]
        assert cache.get_route(ORG, created.id) in cache.list_all_for_org(ORG) == cache.list_for_org(ORG)
        engine = cache.engine_for(ORG)
        assert not cache.delete_route(ORG, uuid7())
        assert cache.engine_for(ORG) is engine
        assert cache.delete_route(ORG, created.id)
        assert cache.engine_for(ORG).version == 4
        assert cache.versions([ORG]) == {ORG: 4}
        assert cache.fetch(ORG) == store.fetch(ORG)


@pytest.mark.parametrize("called_meanwhile", [True, False])
def test_a_load_that_began_before_a_change_does_not_count_as_having_seen_it(
    store: Watched, called_meanwhile: bool
) -> None:
    began = threading.Event()

    def slow() -> None:
        began.set()
        time.sleep(0.2)

    store.before_fetch = slow
    with EngineCache(store, poll_seconds=NEVER) as cache:
        first = threading.Thread(target=cache.engine_for, args=(ORG,))
        first.start()
        began.wait()
        store.publish(2)
        cache._mark(ORG)
        if called_meanwhile:
            assert cache.engine_for(ORG).version == 2
        first.join()
        assert cache.engine_for(ORG).version == 2


def test_a_store_without_management_refuses_it_through_the_cache(store: Watched) -> None:
    with EngineCache(store) as cache, pytest.raises(ManagementUnsupported):
        cache.create_route(ORG, NewRoute("a", Action("t")))


def test_there_is_one_poller_started_by_the_first_call_and_ended_by_close(store: Watched) -> None:
    def pollers() -> int:
        return sum(thread.name == "routes-engine-poller" for thread in threading.enumerate())

    cache = EngineCache(store, poll_seconds=FAST)
    before = pollers()
    assert not cache.status()["poller"]["alive"]
    in_threads(20, lambda: cache.engine_for(uuid7()))
    assert pollers() == before + 1
    assert cache.status()["poller"]["alive"]
    cache.close()
    assert pollers() == before
    assert store.is_closed


def test_a_closed_cache_serves_what_it_has_and_loads_nothing(store: Watched) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(ORG)
    assert cache.engine_for(ORG) is engine
    with pytest.raises(StoreUnavailable, match="closed"):
        cache.engine_for(OTHER_ORG)


def test_a_poller_that_died_is_started_again_by_the_next_miss(store: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    with EngineCache(store, poll_seconds=NEVER) as cache:
        cache.engine_for(ORG)
        dead = cache._poller._thread
        assert dead is not None
        cache._poller.stop()
        cache._poller.join(2)
        cache._poller._stopped = False
        assert not cache.status()["poller"]["alive"]
        assert cache.engine_for(OTHER_ORG).version == 0
        assert cache.status()["poller"]["alive"]


def test_the_age_is_the_time_since_the_store_confirmed_the_version(store: Watched) -> None:
    with EngineCache(store, poll_seconds=0.1) as cache:
        cache.engine_for(ORG)
        assert eventually(lambda: len(store.polled) > 2)
        assert 0 <= cache.status()["orgs"][ORG]["age_seconds"] < 0.5
        store.error = OSError("down")
        assert eventually(lambda: cache.status()["orgs"][ORG]["age_seconds"] > 0.3)


def test_text_that_is_no_id_is_a_value_error(store: Watched) -> None:
    with EngineCache(store) as cache, pytest.raises(ValueError):
        cache.engine_for("acme")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_a_forked_child_polls_for_itself() -> None:
    store = MemoryStore()
    store.set_routes(ORG, [route("a")])
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        with cache._lock:  # another thread may hold it at the moment of a fork
            child = os.fork()
            if child == 0:
                good = False
                try:
                    store._lock = threading.Lock()
                    good = cache.engine_for(ORG) is engine and cache.status()["poller"]["alive"]
                    store.set_routes(ORG, [route("b")])
                    good = good and eventually(lambda: cache.engine_for(ORG).version == 2)
                finally:
                    os._exit(0 if good else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert cache.engine_for(ORG) is engine
