"""One decision beside the fastest rule and flag engines of the package index: same rules, same requests, same answers.

The adapters of the peers are those of the folder shared beside the project. The peers live in an environment of their
own, made here when it is absent, whose Python runs the race; the engine needs nothing but itself there. What is timed is
the call for one request, from a prebuilt context or from the prebuilt facts that the peer wants.
"""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from routes.engine import Engine
from tests.bench.report import Row, held, microseconds, not_run, say, tell, times
from tests.bench.timing import race
from tests.bench.workload import ROOT, TOOLS, NotHereError, Workload, answers_of, context_of, must_agree, shared_module

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
ENVIRONMENT = TOOLS / "peers"
#: How many times faster than the fastest, by the number of routes.
GOALS = {100: 40, 1_000: 150}
REQUESTS = 4
#: Whoever needs so many times as long as the fastest peer is asked once and not raced.
FAR_BEHIND = 20
INSTALL_SECONDS = 300


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
        python = _python_of_peers()
    except NotHereError as error:
        for size, goal in GOALS.items():
            not_run(_what(Race(size, "none", 0.0)), f">= {goal}x", str(error))
        return 0
    inside = [python, "-m", "tests.bench.peers", "--inside", *sys.argv[1:]]
    return subprocess.run(inside, cwd=ROOT, env=_clean() | {"PYTHONPATH": str(ROOT)}, check=False).returncode


def _python_of_peers() -> str:
    """The Python of the peers' environment, which is made where it is not as pinned. Raises `NotHereError`."""
    python = ENVIRONMENT / "bin" / "python"
    stamp, wanted = ENVIRONMENT / "pinned", "\n".join([sys.version, *PINNED.values()])
    if stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    uv = shutil.which("uv") or shutil.which("uv", path=str(TOOLS / "bin"))
    say(f"installing the peers in {ENVIRONMENT.relative_to(ROOT)}")
    if uv:
        make = [uv, "venv", "--quiet", "--clear", "--no-python-downloads", "--python", sys.executable, ENVIRONMENT]
        install = [uv, "pip", "install", "--quiet", "--python", python]
    else:
        make = [sys.executable, "-m", "venv", "--clear", ENVIRONMENT]
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if problem := _fails(make):
        raise NotHereError(f"no environment for the peers: {problem}")
    if _fails([*install, *PINNED.values()]):
        # One that cannot be had shall not keep the others away.
        missing = [pinned for pinned in PINNED.values() if _fails([*install, pinned])]
        if len(missing) == len(PINNED):
            raise NotHereError("none of the peers can be installed")
        say(f"not installed: {', '.join(missing)}")
    else:
        stamp.write_text(wanted)
    return str(python)


def _fails(command: list[Any]) -> str | None:
    """The last line of what a failing command says, None where it succeeds."""
    try:
        run = subprocess.run(
            command, capture_output=True, text=True, check=False, env=_clean(), timeout=INSTALL_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"no end after {INSTALL_SECONDS} s"
    return (run.stderr.strip().splitlines() or ["it does not say why"])[-1] if run.returncode else None


def _clean() -> dict[str, str]:
    """The environment without what points at the project's own packages."""
    return {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}


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
