"""Whether loading is total: mutated documents become an `Engine` that decides, or `DocumentRejected`, and nothing else."""

import json
import logging
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from routes.engine import Document, Engine, RequestContext
from routes.engine.errors import DocumentRejected
from routes.engine.reading import ON_LOAD
from routes.engine.values import read_route
from tests.routes.engine.build import ORG
from tests.routes.engine.hostile import SERVICES, mutated, vectors
from tests.routes.engine.worlds import World, context_of, world

DOCUMENTS = 200_000
#: What takes longer than this, in seconds, is told.
SLOW = 1.0
#: So many mutated documents are made from each valid one.
CHILDREN = 10
SHAPES = [*["few"] * 8, *["single"] * 4, "deep", "deep", "flat"]
CODES = frozenset(
    "unknown_key missing wrong_type blank_value duplicate_value out_of_range unsupported_value"
    " duplicate_primary_fallback no_effect conflict too_many too_deep bad_pattern".split()
)


@dataclass
class Loaded:
    """Counts by kind of mutation and what came of it, codes of issues, what was slow, and what failed."""

    documents: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    codes: Counter[str] = field(default_factory=Counter)
    skipped: int = 0
    decided: int = 0
    slowest: float = 0.0
    slow: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def load_mutated(seed: int | str, documents: int, most_faults: int = 5) -> Loaded:
    """Load that many; the same seed gives the same ones."""
    told = Loaded()
    strings, suite = vectors()
    number = 0
    with _log_lines(told), warnings.catch_warnings():
        warnings.simplefilter("error")
        while told.documents < documents and len(told.faults) < most_faults:
            chance = random.Random(f"{seed} {number}")
            made = world(chance, 2, chance.choice(SHAPES))
            content = {"default": made.default, "routes": made.routes, "services": SERVICES}
            data = Document.build(content, ORG, "acme", 3, datetime(2026, 11, 21, tzinfo=UTC)).to_bytes()
            for child in range(CHILDREN):
                kind, load = mutated(chance, data, strings, suite)
                began = time.perf_counter()
                try:
                    came = check(load, made, told)
                except Exception as error:
                    came = "FAULT"
                    told.faults.append(f"seed {seed!r}, world {number}, child {child}, {kind}: {error!r}")
                took = time.perf_counter() - began
                told.slowest = max(told.slowest, took)
                if took > SLOW:
                    told.slow.append(f"seed {seed!r}, world {number}, child {child}, {kind}: {took:.1f} s")
                told.outcomes[f"{kind}: {came}"] += 1
                told.documents += 1
            number += 1
    return told


def check(load: Callable[[], Document], made: World, told: Loaded) -> str:
    """`rejected`, `loaded` or `in part`. Raises whatever goes wrong, `AssertionError` for what should not be so."""
    try:
        document = load()
        engine = Engine.from_document(document)
    except DocumentRejected as error:
        said = str(error)
        assert said, "The refusal says nothing."
        assert said.isprintable(), f"The refusal is not printable: {said!r}"
        return "rejected"
    assert Document.from_bytes(document.to_bytes()) == document
    assert len(engine.routes) + len(engine.skipped) == len(document.content["routes"])
    indexes = [skipped.index for skipped in engine.skipped]
    assert indexes == sorted(set(indexes))
    for skipped in engine.skipped:
        assert skipped.issues, "A route is skipped without an issue."
        for issue in skipped.issues:
            assert issue["code"] in CODES, issue
            assert issue["message"].isprintable(), issue
            assert issue["path"].isprintable(), issue
            told.codes[issue["code"]] += 1
    told.skipped += len(engine.skipped)
    for route in engine.routes:
        assert read_route(route.to_dict(), ON_LOAD) == route, "A route is read otherwise than it is written."
    for facts in made.requests:
        _decide(engine, context_of(facts), told)
    return "in part" if engine.skipped else "loaded"


def _decide(engine: Engine, context: RequestContext, told: Loaded) -> None:
    decision = engine.decide(context)
    explanation = engine.explain(context)
    assert explanation.decision == decision
    assert json.dumps([decision.to_dict(), explanation.to_dict()], allow_nan=False).encode()
    assert str(explanation).encode()
    for route in engine.routes[:3]:
        forced = engine.decide(context, force=route.name)
        assert (forced.reason == "forced_not_found") is not route.enabled
    told.decided += 1


@contextmanager
def _log_lines(told: Loaded) -> Iterator[None]:
    """What is logged is one printable line each, and goes nowhere."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            line = self.format(record)
            if not line.isprintable():
                told.faults.append(f"A line of the log is not printable: {line!r}")

    logger, lines = logging.getLogger("routes.engine"), Lines()
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(lines)
    try:
        yield
    finally:
        logger.removeHandler(lines)
        logger.propagate = propagated


def run(seed: int, say: Callable[[str], None]) -> bool:
    told = load_mutated(seed, DOCUMENTS)
    say(
        f"{told.documents:,} documents, seed {seed}; {told.decided:,} contexts decided, {told.skipped:,} routes skipped"
    )
    if vectors() == ([], []):
        say("without the texts of ../shared/vectors, which are not here")
    for counts in (told.outcomes, told.codes):
        say(", ".join(f"{key} {count:,}" for key, count in sorted(counts.items())))
    say(f"slowest {told.slowest:.2f} s, {len(told.slow)} above {SLOW:.0f} s")
    for each in told.slow[:20]:
        say(f"SLOW {each}")
    for each in told.faults:
        say(f"FAULT {each}")
    return not told.faults
