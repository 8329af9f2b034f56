"""One decision beside the fastest rule and flag engines of the package index: same rules, same requests, same answers.

The adapters of the peers are those of the folder shared beside the project. The peers live in an environment of their
own, made here when it is absent, whose Python runs the race; the engine needs nothing but itself there. What is timed is
the call for one request, from a prebuilt context or from the prebuilt facts that the peer wants.
"""

import importlib.metadata
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from routes.engine import Engine
from tests.bench.environment import python_of, run_inside
from tests.bench.report import Row, held, microseconds, not_run, say, tell, times
from tests.bench.timing import race
from tests.bench.workload import NotHereError, Workload, answers_of, context_of, must_agree, shared_module

#: By the name of the adapter, the distribution at the version that was raced when the goals were set.
PINNED = {
    "unleash yggdrasil": "yggdrasil-engine==2.0.0",
    "zen-engine": "zen-engine==2.1.3",
    "cel-expr-python": "cel-expr-python==0.1.3",
    "growthbook": "growthbook==4.0.0",
    "panzi-json-logic": "panzi-json-logic==1.0.1",
    "flagsmith": "flagsmith-flag-engine==11.1.1",
    "business-rules": "business-rules==1.1.1",
    "common-expression-language": "common-expression-language==0.10.0",
    "rule-engine": "rule-engine==5.1.0",
    "cel-python": "cel-python==0.5.0",
    "openfeature+naive": "openfeature-sdk==0.10.0",
}
#: Of the adapters, one is no engine: the SDK around the plain loop shows what the SDK alone costs.
NO_ENGINE = "openfeature+naive"
#: How many times faster than the fastest, by the number of routes.
GOALS = {100: 40, 1_000: 150}
REQUESTS = 4
#: Whoever needs so many times as long as the fastest peer is asked once and not raced.
FAR_BEHIND = 20


class Race(NamedTuple):
    size: int
    case: str
    keywords: float

    def __str__(self) -> str:
        matches = "none matches" if self.case == "none" else "the middle one matches"
        return f"{self.size:,} routes, {matches}{', 15% with keywords' if self.keywords else ''}"


RACES = [
    Race(size, case, keywords) for case, keywords in (("none", 0.0), ("mid", 0.0), ("none", 0.15)) for size in GOALS
]

ENGINE, WITH_CONTEXT = "engine", "engine, its context built for each request"


# --- In the project's environment -----------------------------------------------------------------------------------


def main() -> int:
    try:
        shared_module("rules_workload")
        python = python_of("peers", list(PINNED.values()))
    except NotHereError as error:
        for size, goal in GOALS.items():
            not_run(_what(Race(size, "none", 0.0)), f">= {goal}x", str(error))
        return 0
    return run_inside(python, "tests.bench.peers", "--inside", *sys.argv[1:]).returncode


# --- In the peers' ----------------------------------------------------------------------------------------------------


def inside() -> int:
    quick = "--quick" in sys.argv
    left_out: set[str] = set()
    for each in RACES:
        if not quick or (each.case, each.keywords) == ("none", 0.0):
            _race(each, left_out, quick=quick)
    return 0


def _race(asked: Race, left_out: set[str], *, quick: bool) -> None:
    """Race whoever answers rightly. Who cannot take part, or is far behind, is named once, and joins `left_out`."""
    workload = Workload.of(asked.size, asked.case, keywords=asked.keywords, requests=REQUESTS)
    right, contexts = workload.answers_of_loop(), workload.contexts()
    engine = Engine(workload.routes())
    must_agree("The engine", answers_of(engine, contexts), right)
    peers = _peers(workload, right, left_out)
    if not peers:
        raise AssertionError("no peer takes part")

    def decide_all() -> None:
        for context in contexts:
            engine.decide(context)

    def build_and_decide_all() -> None:
        for request in workload.requests:
            engine.decide(context_of(request))

    candidates = {ENGINE: decide_all, WITH_CONTEXT: build_and_decide_all, **peers}
    took = race(candidates, quick=quick, per=REQUESTS)
    told = ", ".join(
        f"{name} {microseconds(seconds)}" for name, seconds in sorted(took.items(), key=lambda one: one[1])
    )
    say(f"{asked}: {told}")
    fastest = min((name for name in peers if name != NO_ENGINE), key=lambda name: took[name])
    ratio, ratio_built = took[fastest] / took[ENGINE], took[fastest] / took[WITH_CONTEXT]
    goal = GOALS[asked.size] if (asked.case, asked.keywords) == ("none", 0.0) else None
    distribution = PINNED[fastest].replace("==", " ")
    tell(
        Row(
            _what(asked),
            "-" if goal is None else f">= {goal}x",
            f"{microseconds(took[ENGINE])}, {distribution} {microseconds(took[fastest])}",
            f"{times(ratio)} faster; {times(ratio_built)} with building the context",
            "-" if goal is None else held(ratio >= goal),
        )
    )


def _what(asked: Race) -> str:
    return f"decide against the fastest of {len(PINNED) - 1} engines of the package index, {asked}"


def _peers(workload: Workload, right: list[int], left_out: set[str]) -> dict[str, Callable[[], None]]:
    """By name, who answers all requests rightly and is not far behind: a call that goes through them."""
    adapters = shared_module("bench_rule_peers").PEERS
    peers: dict[str, Callable[[], None]] = {}
    spent: dict[str, float] = {}
    for name, pinned in PINNED.items():
        if name in left_out:
            continue
        try:
            ask = adapters[name](workload.rules)
            answers = [ask(request) for request in workload.requests]
        except Exception as error:
            say(f"{name} does not take part: {_why(pinned, error)}")
            left_out.add(name)
            continue
        if answers != right:
            say(f"{name} does not take part: it answers {answers}, the plain loop {right}")
            left_out.add(name)
            continue
        start = time.process_time()
        peers[name] = _all_asked(ask, workload.requests)
        peers[name]()
        spent[name] = time.process_time() - start
    for name in [name for name in peers if spent[name] > FAR_BEHIND * min(spent.values())]:
        say(f"{name} is far behind: {microseconds(spent[name] / REQUESTS)} with {len(workload.rules):,} routes")
        left_out.add(name)
        del peers[name]
    return peers


def _all_asked(ask: Callable[[Any], object], requests: list[Any]) -> Callable[[], None]:
    def ask_all() -> None:
        for request in requests:
            ask(request)

    return ask_all


def _why(pinned: str, error: Exception) -> str:
    try:
        importlib.metadata.version(pinned.split("==")[0])
    except importlib.metadata.PackageNotFoundError:
        return f"{pinned} is not installed"
    return f"{type(error).__name__}: {str(error)[:150]}"


if __name__ == "__main__":
    sys.exit(inside() if "--inside" in sys.argv else main())
