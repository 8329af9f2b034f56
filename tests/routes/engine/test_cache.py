"""`EngineCache`: warm, fresh, and one load for all who wait."""

import os
import threading
import time
from uuid import UUID

import pytest

from routes.engine import Action, Engine, EngineCache, MemoryStore, NewRoute, entries
from routes.engine.errors import ManagementUnsupported, StoreUnavailable
from routes.engine.ids import uuid7
from tests.routes.engine.build import ORG, OTHER_ORG, document, eventually, raw_route, route
from tests.routes.engine.watched import FAST, NEVER, Watched, in_threads


@pytest.fixture
def store() -> Watched:
    return Watched(document(raw_route(1), version=1))


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
    monkeypatch.setattr(entries, "WATCHED_SECONDS", 0.2)
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


def test_an_unknown_organisation_is_an_empty_engine_remembered_for_seconds(
    store: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert entries.UNKNOWN_SECONDS == 5
    with EngineCache(store, poll_seconds=NEVER) as cache:
        engine = cache.engine_for(OTHER_ORG)
        assert (engine.version, engine.org_id, engine.routes) == (0, OTHER_ORG, ())
        store.publish(1, org_id=OTHER_ORG)
        assert cache.engine_for(OTHER_ORG) is engine
        assert store.fetched == [OTHER_ORG]
        monkeypatch.setattr(entries, "UNKNOWN_SECONDS", 0.0)
        assert cache.engine_for(OTHER_ORG).version == 1


def test_an_organisation_that_vanishes_keeps_its_engine(store: Watched) -> None:
    with EngineCache(store, poll_seconds=FAST) as cache:
        engine = cache.engine_for(ORG)
        store.documents.clear()
        assert eventually(lambda: "no longer" in (cache.status()["orgs"][ORG]["last_error"] or ""))
        assert cache.engine_for(ORG) is engine
    with EngineCache(store, poll_seconds=NEVER) as cache:
        store.publish(1)
        engine = cache.engine_for(ORG)
        store.documents.clear()
        cache.invalidate(ORG)  # makes the next call load, which finds nothing
        assert cache.engine_for(ORG) is engine
        assert "no longer" in cache.status()["orgs"][ORG]["last_error"]


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
        assert cache.update_route(ORG, route("c", id=uuid7())) is None
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
        cache.invalidate(ORG)
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
    with EngineCache(store, poll_seconds=0.05) as cache:

        def age() -> float:
            return float(cache.status()["orgs"][ORG]["age_seconds"])

        cache.engine_for(ORG)
        time.sleep(0.4)
        assert eventually(lambda: 0 <= age() < 0.1)
        store.error = OSError("down")
        assert eventually(lambda: age() > 0.3)


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
