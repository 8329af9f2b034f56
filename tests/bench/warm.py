"""What asking a warm cache for an organisation's engine costs, beside the least that answers the same question."""

import sys
from collections.abc import Callable
from functools import lru_cache
from uuid import UUID

from routes.engine import EngineCache, MemoryStore, NewRoute
from tests.bench.report import Row, held, say, tell, times
from tests.bench.timing import race

ORGANISATIONS = 1_000
GOAL_NS = 120
WARM, BARE, LRU, EMPTY = "engine_for", "dict and version", "lru_cache by organisation and version", "the loop alone"


def main() -> None:
    quick = "--quick" in sys.argv
    org_ids = [str(UUID(int=number)) for number in range(1, ORGANISATIONS + 1)]
    store = MemoryStore()
    new = NewRoute.from_dict({"name": "all", "then": {"target_model": "small"}})
    for org_id in org_ids:
        store.create_route(org_id, new)
    with EngineCache(store) as cache:
        for org_id in org_ids:
            engine = cache.engine_for(org_id)
            if engine.version != 1 or cache.engine_for(org_id) is not engine:
                raise AssertionError("a warm cache answers with the same engine as before")
        calls = {WARM: cache.engine_for, **_least(cache, org_ids), EMPTY: None}
        took = race({name: _for_all(call, org_ids) for name, call in calls.items()}, quick=quick, per=len(org_ids))
    say(", ".join(f"{name} {_ns(time)}" for name, time in took.items()))
    ratio = ", ".join(f"{times(took[WARM] / took[name])} {name}" for name in (BARE, LRU))
    what = f"engine_for, warm, {ORGANISATIONS:,} organisations"
    tell(Row(what, f"<= {GOAL_NS} ns", _ns(took[WARM]), ratio, held(took[WARM] <= GOAL_NS * 1e-9)))


def _least(cache: EngineCache, org_ids: list[str]) -> dict[str, Callable[[str], object]]:
    """Engines in a plain dict, compared with the version that is known; and by `lru_cache`."""
    engines = {org_id: cache.engine_for(org_id) for org_id in org_ids}
    versions = dict.fromkeys(org_ids, 1)

    def bare(org_id: str) -> object:
        engine = engines.get(org_id)
        return engine if engine is not None and engine.version == versions[org_id] else None

    @lru_cache(maxsize=2 * ORGANISATIONS)
    def kept(org_id: str, version: int) -> object:
        return engines[org_id]

    return {BARE: bare, LRU: lambda org_id: kept(org_id, versions[org_id])}


def _for_all(call: Callable[[str], object] | None, org_ids: list[str]) -> Callable[[], None]:
    def loop_alone() -> None:
        for _ in org_ids:
            pass

    if call is None:
        return loop_alone

    def call_for_all() -> None:
        for org_id in org_ids:
            call(org_id)

    return call_for_all


def _ns(seconds: float) -> str:
    return f"{seconds * 1e9:.0f} ns"


if __name__ == "__main__":
    main()
