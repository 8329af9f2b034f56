"""Whether the replay agrees with what is written out plainly: every figure of generated worlds, every single decision of
generated routes. What disagrees is made small. The suite compares a small share, the campaign `replay` much more."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import numpy as np

from plans.replay import LogRow, MemorySource, replay
from plans.replay.columns import Block, Cursor, Source, block_of
from plans.replay.columns.source import BEGINNING
from plans.replay.deciding.decisions import Decider
from plans.replay.deciding.matches import Matches
from plans.replay.sums.units import UnitSums
from routes.engine import Document, Engine, RequestContext
from routes.engine.meaning import holds, is_active
from tests.plans.replay import naive_result
from tests.plans.replay.generated import World, world
from tests.plans.replay.naive_rows import context, enabled
from tests.routes.engine.worlds import INSTANTS, LEAVES, SHAPES, Json, request, routes_of
from tests.routes.engine.worlds import World as RoutesAndRequests
from tests.routes.engine.worlds import context_of as request_of
from tests.routes.engine.worlds import world as routes_and_requests


class Narrow:
    """The same log, of which only the columns that are asked for are given."""

    has_unique_ids = False
    is_slow = False
    state = "narrow"

    def __init__(self, source: Source) -> None:
        self._source = source

    def count(self) -> int:
        return self._source.count()

    def has_changed(self) -> bool:
        return self._source.has_changed()

    def blocks(self, columns: frozenset[str], start: Cursor = BEGINNING) -> Iterator[Block]:
        for block in self._source.blocks(columns, start):
            yield Block(block.first, block.rows, {name: block.column(name) for name in columns})


@dataclass
class Compared:
    """What was compared: worlds, or decisions; how often what occurred in them; what failed, in words."""

    number: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


# --- Every figure of a world ------------------------------------------------------------------------------------------


def compare_worlds(seed: int | str, worlds: int, most_faults: int = 3) -> Compared:
    """The same seed gives the same worlds."""
    told = Compared()
    while told.number < worlds and len(told.faults) < most_faults:
        made = world(random.Random(f"{seed} {told.number}"))
        found = differences_of(made, told.seen)
        if found:
            small = shrunk(made)
            words = "\n".join(differences_of(small)[:8])
            told.faults.append(f"seed {seed!r}, world {told.number}:\n{words}\n{small!r}")
        told.number += 1
    return told


def differences_of(made: World, seen: Counter[str] | None = None) -> list[str]:
    """Between the replay and the naive one; an exception of the replay is one too."""
    with limits(made.limits):
        question = made.question
        expected = naive_result.answer(made.rows, question)
        try:
            found = replay(Narrow(MemorySource(made.rows, block_rows=made.block_rows)), question, parts=made.parts)
        except Exception as error:
            return [f"raised {error!r}"]
    if seen is not None:
        seen.update(occurred(found))
    return list(differences(found, expected))


@contextmanager
def limits(of_units: tuple[int, int] | None) -> Iterator[None]:
    """Of more units than these, and of more for latencies, buckets are made; None: as they are."""
    with ExitStack() as stack:
        if of_units is not None:
            stack.enter_context(patch.object(UnitSums.__init__, "__defaults__", of_units))
            stack.enter_context(patch.object(naive_result, "MAX_UNITS", of_units[0]))
            stack.enter_context(patch.object(naive_result, "LATENCY_UNITS", of_units[1]))
        yield


#: What the naive replay does not write: texts for people, and digests.
NOT_COMPARED = ("message", "data_digest", "prices_digest")


def differences(found: Any, expected: Any, path: str = "") -> Iterator[str]:
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted({*found, *expected} - set(NOT_COMPARED), key=str):
            if key in found and key in expected:
                yield from differences(found[key], expected[key], f"{path}.{key}")
            else:
                yield f"{path}.{key}: {'only' if key in found else 'not'} in the replay"
    elif isinstance(found, list) and isinstance(expected, list) and len(found) == len(expected):
        for index, pair in enumerate(zip(found, expected, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif found != expected and not ("cache_hit_rate_95" in path and nearly(found, expected)):
        yield f"{path}: the replay says {found!r}, and it is {expected!r}"


def nearly(found: float | None, expected: float | None) -> bool:
    """Wilson's interval has roots, which the naive replay draws to more digits."""
    return found is not None and expected is not None and abs(found - expected) < 1e-14


def occurred(result: Json) -> Iterator[str]:
    """What a comparison of this result has tried."""
    yield from (caveat["code"] for caveat in result["caveats"])
    yield from (result["verdict"], result["interval_units"]["kind"], result["interval_method"])
    totals, intervals = result["aggregates"], result["confidence_intervals"]
    for name, is_there in (
        ("savings with an interval", isinstance(intervals["savings_pct_95"], list) and any(intervals["savings_pct_95"])),
        ("a loss in some draws", 0 < (result["probability_of_loss"] or 0) < 1),
        ("a route with an interval", any(any(part["savings_pct_95"] or ()) for part in result["per_route_breakdown"])),
        ("cache hits", totals["cache_hit_rate_projected"]),
        ("near hits", any(one["hits"] for one in totals["l2_projections"])),
        ("poisoning", totals["l2_poisoning_candidates"]),
        ("another p50", totals["p50_latency_ms_current"] != totals["p50_latency_ms_projected"]),
        ("p95 up to", intervals["p95_latency_ms_95"] and intervals["p95_latency_ms_95"][1] is not None),
        ("bounds apart", result["coverage"]["savings_usd_low"] < result["coverage"]["savings_usd_high"]),
        ("money beyond 64 bits", abs(totals["total_baseline_cost_usd"]) > 2**63 / 10**9),
    ):  # fmt: skip
        if is_there:
            yield name


def shrunk(made: World, fails: Callable[[World], object] = differences_of) -> World:
    """The world without what it needs not to fail."""
    smaller = True
    while smaller:
        smaller = False
        for candidate in _with_less(made):
            try:
                failing = fails(candidate)
            except Exception:  # not a world any more
                continue
            if failing:
                made, smaller = candidate, True
                break
    return made


def _with_less(made: World) -> Iterator[World]:
    for name in ("rows", "proposed", "current", "prices"):
        members = getattr(made, name)
        size = len(members)
        while size:
            for start in range(0, len(members), size):
                yield replace(made, **{name: members[:start] + members[start + size :]})
            size //= 2
    for key in made.asked:
        yield replace(made, asked={name: value for name, value in made.asked.items() if name != key})
    for name, value in (("defaults", (None, None)), ("limits", None), ("parts", 1), ("block_rows", 1000)):
        if getattr(made, name) != value:
            yield replace(made, **{name: value})
    plain = LogRow(request_id="", ts=made.rows[0].ts, model="", requested_model="", input_tokens=0, output_tokens=0) if (
        made.rows
    ) else None  # fmt: skip
    for index, row in enumerate(made.rows if len(made.rows) < 5 else ()):
        for name in row.__slots__:
            if getattr(row, name) != getattr(plain, name) and name not in ("request_id", "ts"):
                less = replace(row, **{name: getattr(plain, name)})
                yield replace(made, rows=[*made.rows[:index], less, *made.rows[index + 1 :]])


# --- Every decision ---------------------------------------------------------------------------------------------------

REQUESTS = 40
ORG = "00000000-0000-7000-8000-00000000000a"


def compare_decisions(seed: int | str, decisions: int, most_faults: int = 3) -> Compared:
    """Rows decided column by column and by `Engine.decide`, under two sets of routes of every shape."""
    told = Compared()
    number = 0
    while told.number < decisions and len(told.faults) < most_faults:
        chance = random.Random(f"{seed} {number}")
        shapes = [chance.choice([*SHAPES, "trees"]), chance.choice([*SHAPES, "trees"])]
        made = [trees(chance) if shape == "trees" else routes_and_requests(chance, REQUESTS, shape) for shape in shapes]
        engines = [_engine(one.routes, one.default) for one in made]
        rows = [logged(facts, place, chance) for place, facts in enumerate(made[0].requests + made[1].requests)]
        found = list(_wrong_decisions(chance, rows, engines))
        if found:
            told.faults.append(f"seed {seed!r}, routes {number} ({' and '.join(shapes)}):\n" + "\n".join(found[:5]))
        told.number += 2 * len(rows)
        told.seen.update(shapes)
        told.seen.update(
            f"{-(-sum(route.enabled for route in engine.routes) // 64)} times 64 routes" for engine in engines
        )
        told.seen.update(engine.decide(context(row)).reason for engine in engines for row in rows)
        number += 1
    return told


def trees(chance: random.Random) -> RoutesAndRequests:
    """Routes of which each has more than 64 alternatives, and that hold about as often as not."""
    known = [name for name in LEAVES if name not in ("headers", "numbers")]

    def leaf() -> Json:
        name = chance.choice(known)
        return {name: LEAVES[name](chance)}

    whens = [
        {
            "any_of": [{"any_of": [leaf() for _ in range(2)]} for _ in range(4)],
            "not": {"any_of": [{**leaf(), **leaf(), **leaf()} for _ in range(3)]},
        }
        for _ in range(chance.randint(1, 6))
    ]
    requests = [request(chance) for _ in range(REQUESTS)]
    return RoutesAndRequests("trees", routes_of(chance, whens), None, requests, [None] * REQUESTS)


def _engine(routes: list[Json], default: Json | None) -> Engine:
    document = Document.build({"default": default, "routes": routes, "services": []}, ORG, "acme", 3)
    engine = Engine.from_document(document)
    assert not engine.skipped
    return engine


def _wrong_decisions(chance: random.Random, rows: list[LogRow], engines: list[Engine]) -> Iterator[str]:
    """One pass of the same object over blocks of different sizes, and over some rows of a block."""
    rows.sort(key=lambda row: (row.ts, row.request_id))
    decider = Decider(*engines)
    edges = sorted({0, len(rows), chance.randrange(len(rows)), chance.randrange(len(rows))})
    for start, stop in pairwise(edges):
        block, part = block_of(rows[start:stop], start), rows[start:stop]
        yield from _wrong_in_block(decider, engines, block, part, chance.random() < 0.3)
        some = sorted(chance.sample(range(len(part)), chance.randint(0, len(part))))
        taken = block.taken(np.array(some, np.intp))
        yield from _wrong_in_block(decider, engines, taken, [part[place] for place in some], False)


def _wrong_in_block(
    decider: Decider, engines: list[Engine], block: Block, rows: Sequence[LogRow], also_open: bool
) -> Iterator[str]:
    decided = decider(block)
    for engine, outcomes, matches, numbers in (
        (engines[0], decider.current, decided.current, decided.now),
        (engines[1], decider.proposed, decided.proposed, decided.then),
    ):
        for place, row in enumerate(rows):
            expected, found = engine.decide(context(row)), outcomes.decisions[int(numbers[place])]
            if found != expected:
                yield f"{row}\nthe replay: {found}\nthe engine: {expected}"
        if also_open:
            yield from _wrong_chances(engine, matches, rows)


def _wrong_chances(engine: Engine, matches: Matches, rows: Iterable[LogRow]) -> Iterator[str]:
    """Which routes might have taken a row before the one that did."""
    maybe = dict(zip(matches.open_rows.tolist(), matches.maybe, strict=True))
    for place, row in enumerate(rows):
        asked = context(row)
        before = enabled(engine)[: int(matches.won[place])]
        unknown = [
            number
            for number, route in enumerate(before)
            if is_active(route, asked) and holds(route.when, asked) is None
        ]
        found = [number for number in range(len(before) + 1) if maybe.get(place, 0) >> number & 1]
        if found != unknown:
            yield f"{row}\nthe replay: these may win before {matches.won[place]}: {found}\nthe engine: {unknown}"


def logged(facts: Json, place: int, chance: random.Random) -> LogRow:
    """A request as a log has it: what no log can say is left out."""
    known: RequestContext = request_of(facts)
    at = (known.at or chance.choice(INSTANTS)).astimezone(UTC)
    if not 2000 <= at.year < 2200:
        at = at.replace(year=2024)
    estimate, tokens, latency = known.estimated_cost_nano_usd, known.input_tokens, known.upstream_latency_ms_p95
    metadata = facts.get("metadata")
    return LogRow(
        request_id=known.request_id or f"r{place}",
        ts=at,
        model="m",
        requested_model=known.model or "",
        input_tokens=chance.choice([0, 1, 10, 100]),
        output_tokens=1,
        cost_nano=1,
        baseline_cost_nano=chance.choice([None, 0, 20_000_000]),
        tag=known.tag if isinstance(known.tag, str) else None,
        metadata=None if metadata is ... or metadata is None else {
            name: text.encode("utf-8", "replace").decode() for name, text in metadata.items()
        },
        has_images=known.has_images,
        has_audio=known.has_audio,
        has_documents=known.has_documents,
        has_tools=known.has_tools,
        is_stream=known.is_stream,
        prompt=known.prompt,
        fact_input_tokens=None if tokens is None else max(0, tokens),
        fact_estimated_cost_nano=None if estimate is None else min(max(0, estimate), 10**18),
        fact_upstream_latency_ms_p95=None if latency is None else int(min(max(0, latency), 2**53)),
        fact_sticky_key=known.sticky_key or None,
    )  # fmt: skip
