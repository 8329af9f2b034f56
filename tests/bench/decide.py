"""What one decision costs, beside the same rules as a bare Python loop: a ratio of one run."""

import gc
import statistics
import time
from collections.abc import Callable

from routes.engine import Engine, EngineCache, MemoryStore, NewRoute, RequestContext

REPEATS = 7


def seconds_per_call(call: Callable[[], object]) -> float:
    """The mean of one timed block of at least 40 ms."""
    n = 1
    while True:
        start = time.perf_counter()
        for _ in range(n):
            call()
        took = time.perf_counter() - start
        if took >= 0.04:
            return took / n
        n *= 2


def main() -> None:
    org = "00000000-0000-7000-8000-000000000001"
    calls: dict[str, Callable[[], object]] = {}
    for size in (10, 100, 1000):
        store = MemoryStore()
        for n in range(size):
            when = {"model_in": [f"model-{n % 50}"], "input_tokens_lt": 100 + n}
            store.create_route(org, NewRoute.from_dict({"name": f"r{n}", "when": when, "then": {"target_model": "m"}}))
        document = store.fetch(org)
        assert document is not None
        engine = Engine.from_document(document)
        context = RequestContext("another", input_tokens=5_000)
        rules = [(frozenset(route.when.model_in), route.when.input_tokens_lt) for route in engine.routes]

        def bare(rules: list[tuple[frozenset[str], int]] = rules) -> int | None:
            for index, (models, limit) in enumerate(rules):
                if "another" in models and limit > 5_000:
                    return index
            return None

        assert engine.decide(context).reason == "no_match"
        assert bare() is None
        calls[f"decide, {size} routes, none matches"] = lambda engine=engine, context=context: engine.decide(context)
        calls[f"  a bare loop over the same {size} rules"] = bare
    with EngineCache(store) as cache:
        cache.engine_for(org)
        calls["engine_for, warm"] = lambda: cache.engine_for(org)
        gc.disable()
        times: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(REPEATS):
            for name, call in calls.items():
                times[name].append(seconds_per_call(call))
    for name, took in times.items():
        print(f"  {name}: {statistics.median(took) * 1e6:.2f} us")


if __name__ == "__main__":
    main()
