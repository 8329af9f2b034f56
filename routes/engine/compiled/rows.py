"""Rows: conditions as alternatives of literals, each of which is known to hold or not.

A literal says that a fact is *known* to be so; what is unknown satisfies neither a literal nor its opposite. With
that, three-valued conditions become two-valued: "is true" of a conjunction is the conjunction of "is true", "is false"
of it the disjunction of "is false", and `not` exchanges the two. So each route becomes a few rows, of which one must
hold; most routes are one row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from routes.engine.conditions import Conditions, NumberRange
from routes.engine.meaning import lowered
from routes.engine.money import nano_usd
from routes.engine.values import Route

#: Conditions with more alternatives are not multiplied out, but asked as a tree of the requests that get so far.
MAX_ROWS = 64


class Literal(NamedTuple):
    """One test of one fact. `want` False asks for the opposite, for facts that have none of their own."""

    kind: str
    #: The fact's name, or the key of `metadata`, `headers` or `numbers`.
    name: str
    value: Any
    want: bool = True


type Row = tuple[Literal, ...]


#: The fields of `Conditions` that hold other conditions.
GROUPS = ("any_of", "not_")


class _TooMany(Exception):
    """The alternatives are more than wanted."""


def rows_of(route: Route, most: int = MAX_ROWS) -> list[Row]:
    """The route's alternatives, the time in which it is active included; at most so many. None: it can never match."""
    row: list[Literal] = []
    if route.active_from is not None:
        row.append(Literal("time", "at", (">=", route.active_from)))
    if route.active_until is not None:
        row.append(Literal("time", "at", ("<", route.active_until)))
    when = route.when
    for field, value in when.given:
        if field not in GROUPS:
            row.extend(LITERALS[field](value))
    if not when.any_of and when.not_ is None:
        return [tuple(row)]
    groups = Conditions(any_of=when.any_of, not_=when.not_)
    try:
        return [(*row, *others) for others in _true(groups, most)]
    except _TooMany:
        return [(*row, Literal("tree", "", groups))]


def _true(conditions: Conditions, most: int) -> list[Row]:
    rows: list[Row] = [()]
    for field, value in conditions.given:
        if field == "any_of":
            rows = _product(rows, [row for member in value for row in _true(member, most)], most)
        elif field == "not_":
            rows = _product(rows, _false(value, most), most)
        else:
            rows = [row + tuple(LITERALS[field](value)) for row in rows]
    return rows


def _false(conditions: Conditions, most: int) -> list[Row]:
    rows: list[Row] = []
    for field, value in conditions.given:
        if field == "any_of":
            none: list[Row] = [()]
            for member in value:
                none = _product(none, _false(member, most), most)
            rows += none
        elif field == "not_":
            rows += _true(value, most)
        else:
            rows += [(opposite(literal),) for literal in LITERALS[field](value)]
    return rows


def _product(left: list[Row], right: list[Row], most: int) -> list[Row]:
    if len(left) * len(right) > most:
        raise _TooMany
    return [row + other for row in left for other in right]


def opposite(literal: Literal) -> Literal:
    """The literal that says that this one is known not to hold."""
    return _OPPOSITES[literal.kind](literal)


def _one(kind: str, name: str, made: Callable[[Any], Any] | None = None) -> Callable[[Any], list[Literal]]:
    if made is None:
        return lambda value: [_literal(Literal, (kind, name, value, True))]
    return lambda value: [_literal(Literal, (kind, name, made(value), True))]


def _at_least(name: str, made: Callable[[Any], int] = int) -> Callable[[Any], list[Literal]]:
    # Of whole numbers, which are compared as `<` and `>=` alone: above N is from N + 1.
    return lambda value: [_literal(Literal, ("whole", name, (">=", made(value) + 1), True))]


def _below(name: str, made: Callable[[Any], int] = int) -> Callable[[Any], list[Literal]]:
    return lambda value: [_literal(Literal, ("whole", name, ("<", made(value)), True))]


def _named(kind: str) -> Callable[[Any], list[Literal]]:
    return lambda value: [_literal(Literal, (kind, name, frozenset(values), True)) for name, values in value.items()]


def _ranges(value: dict[str, NumberRange]) -> list[Literal]:
    return [
        Literal("named_number", name, (comparison, bound))
        for name, wanted in value.items()
        for comparison, bound in ((">", wanted.gt), ("<", wanted.lt))
        if bound is not None
    ]


#: Thousands are made whenever a version is loaded; this leaves out a call of Python code for each.
_literal = tuple.__new__

#: By field, from its value to the literals that say that the condition is true.
LITERALS: dict[str, Callable[[Any], list[Literal]]] = {
    "model_in": _one("text", "model", frozenset),
    "model_matches": _one("pattern", "model"),
    "input_tokens_lt": _below("input_tokens"),
    "input_tokens_gt": _at_least("input_tokens"),
    "tag_equals": _one("text", "tag", lambda tag: frozenset((tag,))),
    "has_images": _one("flag", "has_images"),
    "has_audio": _one("flag", "has_audio"),
    "has_documents": _one("flag", "has_documents"),
    "has_tools": _one("flag", "has_tools"),
    "is_stream": _one("flag", "is_stream"),
    "prompt_contains_any_of": _one("keywords", "prompt", lambda words: tuple(dict.fromkeys(map(lowered, words)))),
    "prompt_matches_any_of": _one("regex", "prompt"),
    "estimated_cost_gt": _at_least("estimated_cost_nano_usd", nano_usd),
    "estimated_cost_lt": _below("estimated_cost_nano_usd", nano_usd),
    "metadata": _named("metadata"),
    "headers": _named("headers"),
    "numbers": _ranges,
    "upstream_latency_ms_p95_gt": _one("number", "upstream_latency_ms_p95", lambda value: (">", value)),
    "time_window": _one("window", "at"),
}


def _unwanted(literal: Literal) -> Literal:
    return literal._replace(want=not literal.want)


def _other_flag(literal: Literal) -> Literal:
    return literal._replace(value=not literal.value)


_OPPOSITE_COMPARISONS = {"<": ">=", ">": "<=", ">=": "<", "<=": ">"}


def _other_side(literal: Literal) -> Literal:
    comparison, bound = literal.value
    return literal._replace(value=(_OPPOSITE_COMPARISONS[comparison], bound))


_OPPOSITES: dict[str, Callable[[Literal], Literal]] = {
    "text": _unwanted,
    "pattern": _unwanted,
    "metadata": _unwanted,
    "headers": _unwanted,
    "keywords": _unwanted,
    "regex": _unwanted,
    "window": _unwanted,
    "flag": _other_flag,
    "whole": _other_side,
    "number": _other_side,
    "named_number": _other_side,
}
