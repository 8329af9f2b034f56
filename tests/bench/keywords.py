"""What one decision costs where 15% of the routes ask for keywords, 300 in all, and a prompt has 1,500 characters: with
the extra `keywords` and without it, in one process.

A prompt is put into lower case once per context. The figure that counts is that of a new context, so this is in it; the
time with contexts asked before stands beside it. The keywords of the workload all begin alike, which makes them easy to
miss; so there are races with words as well, one of them with five in each prompt, which must be found though no route
matches.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from unittest.mock import patch

from routes.engine import Engine, RequestContext
from tests.bench.decide import all_decided
from tests.bench.report import Row, held, microseconds, not_run, say, tell, times
from tests.bench.rust import RUST, missing, race_beside_rust
from tests.bench.timing import Candidate, Fresh
from tests.bench.workload import NotHereError, Workload, answers_of, context_of, must_agree, shared_module

SIZES, QUICK_SIZES = (100, 1_000, 10_000), (1_000,)
SHARE = 0.15
EXTRA = "ahocorasick_rs"
GOAL_US, GOAL_US_EXTRA = 30.0, 10.0

#: What a case is called, and its workload by size.
CASES: dict[str, Callable[[int], Workload]] = {
    "none matches": lambda size: Workload.of(size, "none", keywords=SHARE),
    "the middle one matches": lambda size: Workload.of(size, "mid", keywords=SHARE),
    "words, none matches": lambda size: Workload.with_words(size, keywords=SHARE),
    "words, 5 in each prompt, none matches": lambda size: Workload.with_words(size, keywords=SHARE, said=5),
}

PLAIN, WITH_EXTRA, AGAIN = "without the extra", "with the extra", ", prompt lowered before"


def main() -> None:
    quick = "--quick" in sys.argv
    has_extra = find_spec(EXTRA) is not None
    goals = {PLAIN: GOAL_US, WITH_EXTRA: GOAL_US_EXTRA}
    try:
        shared_module("rules_workload")
    except NotHereError as error:
        for name, goal in goals.items():
            not_run(f"decide with keywords, {name}", f"<= {goal:.0f} us", str(error))
        return
    if reason := missing():
        say(f"no scan in Rust beside it: {reason}")
    sizes = QUICK_SIZES if quick else SIZES
    for case in CASES:
        took = {size: _race(size, case, has_extra=has_extra, quick=quick) for size in sizes}
        for name, goal in goals.items():
            _tell(case, name, goal, took)


def _tell(case: str, name: str, goal: float, took: dict[int, dict[str, float]]) -> None:
    """One row for all sizes: the goal is one that holds at any."""
    what, wanted = f"decide with keywords, {_listed(took)} routes, {case}, {name}", f"<= {goal:.0f} us"
    if not all(name in one for one in took.values()):
        not_run(what, wanted, f"{EXTRA} is not installed")
        return
    fresh, again = ([one[key] for one in took.values()] for key in (name, name + AGAIN))
    figure = f"{_all(fresh)} us (lowered before: {_all(again)})"
    rust = [times(one[name] / one[RUST]) for one in took.values() if RUST in one]
    tell(Row(what, wanted, figure, f"{' / '.join(rust)} the {RUST}" if rust else "-", held(max(fresh) <= goal * 1e-6)))


def _listed(sizes: Iterable[int]) -> str:
    return " / ".join(f"{size:,}" for size in sizes)


def _all(seconds: list[float]) -> str:
    return " / ".join(f"{time * 1e6:.1f}" for time in seconds)


def _race(size: int, case: str, *, has_extra: bool, quick: bool) -> dict[str, float]:
    workload = CASES[case](size)
    routes, right = workload.routes(), workload.answers_of_loop()
    with without_extra():
        engines = {PLAIN: Engine(routes)}
    if has_extra:
        engines[WITH_EXTRA] = Engine(routes)
    candidates: dict[str, Candidate] = {}
    for name, engine in engines.items():
        contexts = workload.contexts()
        must_agree(f"The engine {name}", answers_of(engine, contexts), right)
        candidates[name] = _fresh(engine, workload)
        candidates[name + AGAIN] = all_decided(engine, contexts)
    took = race_beside_rust(workload, right, candidates, quick=quick)
    told = ", ".join(f"{name} {microseconds(time)}" for name, time in took.items())
    say(f"decide with keywords, {size:,} routes, {case}: {told}")
    return took


def _fresh(engine: Engine, workload: Workload) -> Fresh:
    def make() -> list[RequestContext]:
        return [context_of(request) for request in workload.requests]

    def use(contexts: list[RequestContext]) -> None:
        for context in contexts:
            engine.decide(context)

    return Fresh(make, use)


@contextmanager
def without_extra() -> Iterator[None]:
    """Within this, importing the extra fails, as where it is not installed; an engine looks for it when it is built."""
    with patch.dict(sys.modules, {EXTRA: None}):
        yield


if __name__ == "__main__":
    main()
