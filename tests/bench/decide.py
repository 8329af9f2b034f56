"""What one decision costs by conditions other than keywords, beside the same rules as a plain Python loop and as a linear
scan in Rust.

Contexts are built beforehand: what is timed is `engine.decide(context)`, by 16 requests in turn.
"""

import sys
from collections.abc import Callable
from typing import Any

from routes.engine import Engine, RequestContext
from tests.bench.report import Row, held, microseconds, not_run, say, tell, times
from tests.bench.rust import RUST, TUNED_RUST, missing, race_beside_rust
from tests.bench.workload import NotHereError, Workload, answers_of, must_agree, shared_module

SIZES = (10, 100, 1_000, 10_000)
CASES = {"none": "none matches", "mid": "the middle one matches", "deep": "each fails on its last condition"}
#: Where none matches, in us.
GOALS_US = {10: 0.35, 100: 1.0, 1_000: 1.3, 10_000: 3.0}
GOAL_FLAT = 3.0
#: At 1,000 routes, of the time of the scan in Rust.
GOALS_RUST = {"none": 0.25, "mid": 0.5}

ENGINE, LOOP = "engine", "plain loop"


def main() -> None:
    quick = "--quick" in sys.argv
    try:
        shared_module("rules_engines")
    except NotHereError as error:
        for size, goal in GOALS_US.items():
            not_run(_what(size, "none"), f"<= {goal} us", str(error))
        return
    if reason := missing():
        say(f"no scan in Rust beside it: {reason}")
    took: dict[tuple[int, str], dict[str, float]] = {}
    for case in CASES:
        for size in SIZES:
            if not quick or case == "none" or size == 1_000:
                took[size, case] = _race(size, case, quick=quick)
    for size, goal in GOALS_US.items():
        one = took[size, "none"]
        figure = one[ENGINE]
        tell(Row(_what(size, "none"), f"<= {goal} us", microseconds(figure), _ratios(one), held(figure <= goal * 1e-6)))
    flat = took[10_000, "none"][ENGINE] / took[100, "none"][ENGINE]
    tell(
        Row(
            "decide, none matches, 10,000 routes against 100",
            f"<= {GOAL_FLAT:.0f}x",
            "-",
            times(flat),
            held(flat <= GOAL_FLAT),
        )
    )
    for case, goal in GOALS_RUST.items():
        what, wanted = f"{_what(1_000, case)}, against a Rust scan", f"<= {goal}x"
        one = took[1_000, case]
        if RUST in one:
            ratio = one[ENGINE] / one[RUST]
            tell(Row(what, wanted, microseconds(one[ENGINE]), times(ratio), held(ratio <= goal)))
        else:
            not_run(what, wanted, str(missing()))


def _what(size: int, case: str) -> str:
    return f"decide, {size:,} routes, {CASES[case]}"


def _race(size: int, case: str, *, quick: bool) -> dict[str, float]:
    workload = Workload.of(size, case)
    engine, contexts = Engine(workload.routes()), workload.contexts()
    right = workload.answers_of_loop()
    must_agree("The engine", answers_of(engine, contexts), right)
    loop = shared_module("rules_engines").Naive(workload.rules)
    candidates = {ENGINE: all_decided(engine, contexts), LOOP: _all_looped(loop, workload.requests)}
    took = race_beside_rust(workload, right, candidates, quick=quick)
    say(f"{_what(size, case)}: " + ", ".join(f"{name} {microseconds(time)}" for name, time in took.items()))
    return took


def all_decided(engine: Engine, contexts: list[RequestContext]) -> Callable[[], None]:
    """One decision for each context, called as a gateway calls it."""

    def decide_all() -> None:
        for context in contexts:
            engine.decide(context)

    return decide_all


def _all_looped(loop: Callable[[Any], int], requests: list[Any]) -> Callable[[], None]:
    def loop_all() -> None:
        for request in requests:
            loop(request)

    return loop_all


def _ratios(took: dict[str, float]) -> str:
    """The engine's time beside each of the others."""
    others = [(name, took[ENGINE] / took[name]) for name in (RUST, TUNED_RUST, LOOP) if name in took]
    return ", ".join(f"{times(ratio)} the {name}" for name, ratio in others)


if __name__ == "__main__":
    main()
