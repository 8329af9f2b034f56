"""Atoms: one condition each, compiled to a test of a context, asked by `Engine.decide` and `Engine.explain` alike."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

from routes.engine.conditions import KEYS, Conditions
from routes.engine.context import RequestContext
from routes.engine.reading import without_surrogates

#: True or False where the fact is known, None where it is not.
Test = Callable[[RequestContext], bool | None]


class Atom(NamedTuple):
    """One condition of a route: its key and expected value as in JSON, its test, and what to show of the context."""

    key: str
    expected: Any
    test: Test
    #: The fact as a JSON value; for the prompt only the keyword that hit, never its text. None: unknown or absent.
    seen: Callable[[RequestContext], Any]


def compile_conditions(conditions: Conditions) -> tuple[Atom, ...]:
    """The atoms of the keys that have not their default, the cheap ones first."""
    found = (_COMPILERS[key](key, conditions) for key in KEYS if getattr(conditions, key) not in (None, ()))
    # Searching the prompt is by far the dearest test, and a conjunction may be asked in any order.
    return tuple(sorted(found, key=lambda atom: atom.key == "prompt_contains_any_of"))


#: Facts that are compared in one unit and shown in another.
_SHOWN = {"estimated_cost_nano_usd": "estimated_cost_usd"}


def _model_in(key: str, conditions: Conditions) -> Atom:
    models = frozenset(conditions.model_in)

    def test(context: RequestContext) -> bool | None:
        model = context.model
        return None if model is None else model in models

    return Atom(key, list(conditions.model_in), test, _text_fact("model"))


def _tag_equals(key: str, conditions: Conditions) -> Atom:
    tag = conditions.tag_equals

    def test(context: RequestContext) -> bool:
        return context.tag == tag  # no tag is known to be no tag, so this is false, never unknown

    return Atom(key, tag, test, _text_fact("tag"))


def _below(fact: str, bound: Callable[[Conditions], Any]) -> Callable[[str, Conditions], Atom]:
    def build(key: str, conditions: Conditions) -> Atom:
        limit, value_of = bound(conditions), attrgetter(fact)

        def test(context: RequestContext) -> bool | None:
            value = value_of(context)
            return None if value is None else value < limit

        return Atom(key, getattr(conditions, key), test, attrgetter(_SHOWN.get(fact, fact)))

    return build


def _above(fact: str, bound: Callable[[Conditions], Any]) -> Callable[[str, Conditions], Atom]:
    def build(key: str, conditions: Conditions) -> Atom:
        limit, value_of = bound(conditions), attrgetter(fact)

        def test(context: RequestContext) -> bool | None:
            value = value_of(context)
            return None if value is None else value > limit

        return Atom(key, getattr(conditions, key), test, attrgetter(_SHOWN.get(fact, fact)))

    return build


def _flag(key: str, conditions: Conditions) -> Atom:
    wanted, value_of = getattr(conditions, key), attrgetter(key)

    def test(context: RequestContext) -> bool | None:
        value = value_of(context)
        return None if value is None else value is wanted

    return Atom(key, wanted, test, value_of)


def _prompt_contains(key: str, conditions: Conditions) -> Atom:
    keywords = conditions.prompt_contains_any_of
    lowered = tuple(without_surrogates(keyword).lower() for keyword in keywords)

    def test(context: RequestContext) -> bool | None:
        text = context.lowered_prompt()
        if text is None:
            return None
        # A loop, not any(): a generator costs more than most searches.
        for keyword in lowered:  # noqa: SIM110
            if keyword in text:
                return True
        return False

    def seen(context: RequestContext) -> str | None:
        text = context.lowered_prompt()
        if text is None:
            return None
        return next((word for word, low in zip(keywords, lowered, strict=True) if low in text), None)

    return Atom(key, list(keywords), test, seen)


def _text_fact(fact: str) -> Callable[[RequestContext], str | None]:
    def seen(context: RequestContext) -> str | None:
        value = getattr(context, fact)
        return None if value is None else without_surrogates(value)

    return seen


_COMPILERS: dict[str, Callable[[str, Conditions], Atom]] = {
    "model_in": _model_in,
    "input_tokens_lt": _below("input_tokens", attrgetter("input_tokens_lt")),
    "input_tokens_gt": _above("input_tokens", attrgetter("input_tokens_gt")),
    "tag_equals": _tag_equals,
    "has_images": _flag,
    "has_audio": _flag,
    "has_documents": _flag,
    "prompt_contains_any_of": _prompt_contains,
    "estimated_cost_gt": _above("estimated_cost_nano_usd", attrgetter("estimated_cost_gt_nano_usd")),
    "estimated_cost_lt": _below("estimated_cost_nano_usd", attrgetter("estimated_cost_lt_nano_usd")),
    "upstream_latency_ms_p95_gt": _above("upstream_latency_ms_p95", attrgetter("upstream_latency_ms_p95_gt")),
}
