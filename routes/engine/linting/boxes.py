"""Routes as boxes: for each fact a set of values, and a request that has one of each is taken.

A box says of which facts it requires something. Of any other fact a request may know nothing; then no literal on it
holds. So a route's requests are covered by others only if those do it that require something of no other fact, and for
these the unknown plays no part. That is why facts have no value "unknown" here, and why most comparisons are short.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from routes.engine.compiled.rows import Literal, Row, rows_of
from routes.engine.context import UNKNOWN, RequestContext
from routes.engine.linting.facts import Fact, Flag, Headers, Line, Models, NanoUsd, Texts, Whole, following
from routes.engine.linting.moments import Moments
from routes.engine.linting.prompts import Prompts
from routes.engine.linting.steps import Steps
from routes.engine.meaning import holds, is_active
from routes.engine.money import usd_number
from routes.engine.times import read_time, write_time
from routes.engine.values import Route

#: A fact: its name, and for `metadata`, `headers` and `numbers` the key there.
type Key = tuple[str, str]
type Region = Mapping[Key, Fact]

#: Conditions with more alternatives are not multiplied out.
MAX_ALTERNATIVES = 512


class Test(NamedTuple):
    """One literal of a box, on its fact, with the literal that says that it does not hold."""

    key: Key
    literal: Literal
    opposite: Literal


@dataclass(frozen=True, slots=True, eq=False)
class Box:
    """One alternative of a route, the `index`-th that is asked."""

    index: int
    tests: tuple[Test, ...]
    region: Region
    #: What may be unknown as one: of metadata and headers all keys together, of numbers each for itself.
    known: frozenset[Key]
    #: False: there are too many alternatives, and the region is larger than what the route takes.
    is_exact: bool


def boxes_of(route: Route, index: int, steps: Steps) -> list[Box]:
    """The route's boxes without those in which nothing is."""
    boxes = []
    for row in rows_of(route, MAX_ALTERNATIVES):
        tests = tests_of(row)
        steps.spend(1 + len(tests) // 8)
        region = met_all({}, tests, steps)
        if region is not None:
            known = frozenset(map(known_as, region))
            boxes.append(Box(index, tests, region, known, is_exact=all(literal.kind != "tree" for literal in row)))
    return boxes


#: The dear ones are asked last: most boxes are told apart before.
_DEAR = {"keywords": 1, "pattern": 2, "regex": 3, "window": 4}


def tests_of(row: Row) -> tuple[Test, ...]:
    literals = sorted(row, key=lambda literal: _DEAR.get(literal.kind, 0))
    return tuple(
        Test(_key(literal), literal, _opposite(literal))
        for literal in map(_on_grid, literals)
        if literal.kind != "tree"  # says nothing about one fact
    )


_PAIRS = {">=": "<", "<": ">="}


def _on_grid(literal: Literal) -> Literal:
    """The literal with `>=` and `<` alone: above a number is from the next one on."""
    if literal.kind in ("number", "named_number") and literal.value[0] in (">", "<="):
        comparison, bound = literal.value
        return literal._replace(value=(">=" if comparison == ">" else "<", following(bound)))
    return literal


def _opposite(literal: Literal) -> Literal:
    """The literal that says that this one, which may say so of another one itself, is known not to hold."""
    if literal.kind == "flag":
        return literal._replace(value=not literal.value)
    if literal.kind in ("whole", "number", "named_number", "time"):
        comparison, bound = literal.value
        return literal._replace(value=(_PAIRS[comparison], bound))
    return literal._replace(want=not literal.want)


def _key(literal: Literal) -> Key:
    if literal.kind == "named_number":
        return "numbers", literal.name
    return (literal.kind, literal.name) if literal.kind in ("metadata", "headers") else (literal.name, "")


def known_as(key: Key) -> Key:
    """What is known or unknown together with this fact."""
    return (key[0], "") if key[0] in ("metadata", "headers") else key


_FACTS: dict[str, Fact] = {
    "model": Models(),
    "tag": Texts(),
    "metadata": Texts(),
    "headers": Headers(),
    "input_tokens": Whole(),
    "estimated_cost_nano_usd": NanoUsd(),
    "upstream_latency_ms_p95": Line(),
    "numbers": Line(),
    "prompt": Prompts(),
    "at": Moments(),
    **{name: Flag() for name in ("has_images", "has_audio", "has_documents", "has_tools", "is_stream")},
}


def fact_of(region: Region, key: Key) -> Fact:
    """What the region says of a fact; of one that it does not mention, anything that is known."""
    fact = region.get(key)
    return _FACTS[key[0]] if fact is None else fact


def met_all(region: Region, tests: Iterable[Test], steps: Steps) -> Region | None:
    """The part of the region in which all tests hold, or None where that is certainly empty."""
    met = dict(region)
    for key, literal, _ in tests:
        fact = fact_of(met, key).met(literal, steps)
        if fact is None:
            return None
        met[key] = fact
    return met


# --- Requests -------------------------------------------------------------------------------------------------------


def witness_in(region: Region, steps: Steps) -> dict[str, Any]:
    """A request of the region: the facts that must be there, as JSON, by the names that `RequestContext` has for them;
    `at` as RFC 3339 text. Raises `Doubt` where it is not known whether there is one."""
    witness: dict[str, Any] = {}
    for key in sorted(region):
        name, part = key
        value = region[key].example(steps)
        if isinstance(value, datetime):
            value = write_time(value)
        if name == "estimated_cost_nano_usd":
            name, value = "estimated_cost_usd", usd_number(value)
        if name in ("metadata", "headers", "numbers"):
            members = witness.setdefault(name, {})
            if value not in (None, []):
                members[part] = value[0] if isinstance(value, list) and len(value) == 1 else value
        elif value is not None:
            witness[name] = value
    return {name: value for name, value in witness.items() if value != {}}


def context_of(witness: Mapping[str, Any], **facts: Any) -> RequestContext:
    """The context of a witness; `facts` come in where it has none of that name."""
    given: dict[str, Any] = {**facts, **witness}
    if given.get("at") is not None:
        given["at"] = read_time(given["at"])
    return RequestContext(**given)


def context_with_unknowns(region: Region, witness: Mapping[str, Any]) -> RequestContext:
    """The context of a witness of this region, in which all is unknown of which the region says nothing."""
    mentioned = {name for name, _ in region}
    return context_of(witness, **{name: UNKNOWN for name in ("tag", "metadata", "headers") if name not in mentioned})


def takes(route: Route, context: RequestContext) -> bool:
    """Whether the route takes the request, if no earlier one does."""
    return is_active(route, context) and holds(route.when, context) is True
