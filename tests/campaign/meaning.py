"""Whether the engine means what the contract says: generated worlds, decided by the engine in every form that it can
take and by `naive`, which shares nothing with it.

A pair is one set of routes and one request. Each is decided by the engine as it is and by two more whose thresholds are
moved, so that every compiled form serves every kind of world; many are explained as well.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from typing import Any
from unittest.mock import patch

from routes.engine import Document, Engine
from tests.routes.engine import naive
from tests.routes.engine.worlds import Json, World, context_of, world

PAIRS = 2_000_000
REQUESTS = 50
ORG, VERSION = "00000000-0000-7000-8000-00000000000a", 3

_NEVER, _ALWAYS = -(10**9), 10**9
_BITSETS = {"MAX_CHAIN": _NEVER}
_ONE_PASS = {**_BITSETS, "FEW": _NEVER, "dear.FEW": _NEVER}
_NO_EXTRA = {**_ONE_PASS, "keywords._automaton": lambda: None}
#: What is moved in `routes.engine.compiled` and its modules, by the form that comes of it.
WAYS: dict[str, dict[str, Any]] = {
    "as it is": {},
    "as it is, without the extra": {"keywords._automaton": lambda: None},
    "chain": {"MAX_CHAIN": _ALWAYS, "MAX_CHAIN_LITERALS": _ALWAYS, "FEW": _ALWAYS},
    "chain of trees": {"MAX_CHAIN": _ALWAYS, "MAX_CHAIN_LITERALS": _ALWAYS, "FEW": _ALWAYS, "MAX_MORE": _NEVER},
    "bitsets": _BITSETS,
    "bitsets of trees": {**_BITSETS, "MAX_MORE": _NEVER},
    "bitsets of two facts": {**_BITSETS, "bitsets.MAX_FACTS": 2},
    "bitsets without sets": {**_BITSETS, "bitsets.MAX_BYTES": _NEVER},
    "bitsets of some bounds": {**_BITSETS, "sets.MAX_TABLE_BYTES": 1},
    "one pass": _ONE_PASS,
    "one pass by expression": _NO_EXTRA,
    "one pass by pieces": {**_NO_EXTRA, "keywords.MAX_IN_TREE": _NEVER},
}


@dataclass(frozen=True)
class Case:
    """One pair, in a form that can be copied into a test."""

    way: str
    routes: list[Json]
    default: Json | None
    facts: Json
    force: str | None


@dataclass
class Compared:
    """Counts of pairs, and of results by condition (`has_tools unknown`), and what failed, shrunk and in words."""

    pairs: int = 0
    shapes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    results: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def compare(seed: int | str, pairs: int, most_faults: int = 3) -> Compared:
    """Compare that many pairs; the same seed gives the same ones."""
    told = Compared()
    number = 0
    while told.pairs < pairs and len(told.faults) < most_faults:
        chance = random.Random(f"{seed} {number}")
        made = world(chance, REQUESTS)
        ways = ["as it is", *chance.sample(list(WAYS)[1:], 2)]
        failed = _compare_world(made, ways, told)
        if failed is not None:
            told.faults.append(f"seed {seed!r}, world {number}, {made.shape}:\n{_in_words(shrunk(failed))}")
        number += 1
    return told


def _compare_world(made: World, ways: list[str], told: Compared) -> Case | None:
    """The first pair that fails, if any."""
    engines = {ways[0]: _engine(ways[0], made.routes, made.default)}
    engines |= {way: _compiled_again(engines[ways[0]], way) for way in ways[1:]}
    told.shapes[made.shape] += len(made.requests)
    told.ways.update(dict.fromkeys(ways, len(made.requests)))
    told.pairs += len(made.requests)
    explained_each = 2 + len(str(made.routes)) // 1_000  # an explanation asks every condition of every route
    for index, (facts, force) in enumerate(zip(made.requests, made.forced, strict=True)):
        context = context_of(facts)
        expected = naive.decide(made.routes, facts, made.default, force, ORG, VERSION)
        told.reasons[expected["reason"]] += 1
        for way, engine in engines.items():
            try:
                agrees = engine.decide(context, force=force).to_dict() == expected
            except Exception:
                agrees = False
            if not agrees:
                return Case(way, made.routes, made.default, facts, force)
        if index % explained_each == 0:
            case = Case(ways[0], made.routes, made.default, facts, force)
            if fault(case, engines[ways[0]], expected, told) is not None:
                return case
    return None


def fault(
    case: Case, engine: Engine | None = None, expected: Json | None = None, told: Compared | None = None
) -> str | None:
    """What is wrong with the engine's answers to this pair, explained ones included; None where nothing is."""
    engine = engine or _engine(case.way, case.routes, case.default)
    expected = expected or naive.decide(case.routes, case.facts, case.default, case.force, ORG, VERSION)
    explained = naive.explain(case.routes, case.facts)
    if told is not None:
        told.outcomes.update(route["outcome"] for route in explained)
        told.results.update([f"{_kind(path)} {result}" for route in explained for path, result in route["results"]])
    try:
        context = context_of(case.facts)
        decision, explanation = engine.decide(context, force=case.force), engine.explain(context, force=case.force)
    except Exception as error:
        return f"raised {error!r}"
    if decision.to_dict() != expected:
        return f"decided {decision.to_dict()}\nexpected {expected}"
    if explanation.decision != decision:
        return f"explained {explanation.decision}\nand decided {decision}"
    found = [
        {
            "route_id": route.route_id,
            "outcome": route.outcome,
            "results": [(condition.path, condition.result) for condition in route.conditions],
            "first_failed": route.first_failed,
        }
        for route in explanation.routes
    ]
    return None if found == explained else f"explained {found}\nexpected {explained}"


@lru_cache(maxsize=10_000)
def _kind(path: str) -> str:
    """`headers` of `when.any_of[0].headers.x-team`."""
    last = [part.partition("[")[0] for part in path.split(".")]
    return next(part for part in reversed(last) if part in naive.KEYS)


def _engine(way: str, routes: list[Json], default: Json | None) -> Engine:
    """Compiled in this way. Raises `DocumentRejected`; `ValueError` where a route is not valid."""
    content = {"default": default, "routes": routes, "services": []}
    with compiled(way):
        engine = Engine.from_document(Document.build(content, ORG, "acme", VERSION))
    if engine.skipped:
        raise ValueError(f"Not a world: {engine.skipped}")
    return engine


def _compiled_again(engine: Engine, way: str) -> Engine:
    with compiled(way):
        return Engine(engine.routes, org_id=engine.org_id, version=engine.version, default=engine.default)


@contextmanager
def compiled(way: str) -> Iterator[None]:
    """Engines are compiled in this way."""
    with ExitStack() as stack:
        for name, value in WAYS[way].items():
            *module, attribute = name.split(".")
            stack.enter_context(
                patch.object(import_module(".".join(["routes.engine.compiled", *module])), attribute, value)
            )
        yield


# --- A smaller case ---------------------------------------------------------------------------------------------------


def shrunk(case: Case, fails: Callable[[Case], object] = fault) -> Case:
    """A case from which nothing can be taken away without it being valid or failing no more."""
    parts = {"routes": case.routes, "default": case.default, "facts": case.facts, "force": case.force}
    smaller = True
    while smaller:
        smaller = False
        for without in _each_without_a_part(parts):
            candidate = replace(case, **without)
            try:
                with patch.object(logging.getLogger("routes.engine"), "disabled", new=True):
                    failing = fails(candidate)
            except Exception:  # not a world any more
                continue
            if failing:
                case, parts, smaller = candidate, without, True
                break
    return case


def _each_without_a_part(value: Any) -> Iterator[Any]:
    """Copies that lack one member, large ones first: at this level, then deeper."""
    if isinstance(value, dict | list):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        for key in keys:
            less = deepcopy(value)
            if isinstance(less, dict) and key in ("routes", "default", "facts", "force"):
                if value[key] in (None, [], {}):
                    continue
                less[key] = type(value[key])() if key in ("routes", "facts") else None
            else:
                del less[key]
            yield less
        for key in keys:
            for less in _each_without_a_part(value[key]):
                copy = deepcopy(value)
                copy[key] = less
                yield copy


def _in_words(case: Case) -> str:
    return f"{case!r}\n{fault(case)}"


def run(seed: int, say: Callable[[str], None]) -> bool:
    told = compare(seed, PAIRS)
    say(f"{told.pairs:,} pairs, seed {seed}")
    for name in ("shapes", "ways", "reasons", "outcomes", "results"):
        counts = getattr(told, name)
        say(f"{name}: {', '.join(f'{key} {count:,}' for key, count in sorted(counts.items()))}")
    for each in told.faults:
        say(f"FAULT {each}")
    return not told.faults
