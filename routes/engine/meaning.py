"""What conditions mean, as an obvious evaluation: the measure of the compiled forms, and what explanations show.

Kleene's three-valued logic: True, False, and None for what is unknown. An unknown condition does not match, and stays
unknown under `not`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import tzinfo
from functools import lru_cache
from typing import Any

from routes.engine.conditions import Conditions, NumberRange
from routes.engine.context import UNKNOWN, RequestContext
from routes.engine.reading import without_surrogates
from routes.engine.times import TimeWindow, zone_named
from routes.engine.values import Route

type Truth = bool | None


def is_active(route: Route, context: RequestContext) -> bool:
    """Whether the request falls into the time in which the route is active; not where its time is unknown."""
    if route.active_from is None and route.active_until is None:
        return True
    at = context.at
    if at is None:
        return False
    return (route.active_from is None or route.active_from <= at) and (
        route.active_until is None or at < route.active_until
    )


def holds(conditions: Conditions, context: RequestContext) -> Truth:
    """Whether all of them hold."""
    return all_of(field_holds(field, value, context) for field, value in conditions.given)


def field_holds(field: str, value: Any, context: RequestContext) -> Truth:
    """Whether one condition holds, by its field of `Conditions` and its value there."""
    if field == "any_of":
        return _any_of(holds(conditions, context) for conditions in value)
    if field == "not_":
        return negated(holds(value, context))
    if field in ("metadata", "headers", "numbers"):
        return all_of(name_holds(field, name, wanted, context) for name, wanted in value.items())
    return _HOLDS[field](value, context)


def name_holds(field: str, name: str, wanted: Any, context: RequestContext) -> Truth:
    """Whether one name of `metadata`, `headers` or `numbers` holds."""
    if field == "numbers":
        return _in_range(wanted, context.numbers.get(name))
    found = getattr(context, field).get(name)
    if found is UNKNOWN:
        return None
    return any(value in wanted for value in found) if isinstance(found, tuple) else found in wanted


def all_of(truths: Iterable[Truth]) -> Truth:
    result: Truth = True
    for truth in truths:
        if truth is False:
            return False
        if truth is None:
            result = None
    return result


def negated(truth: Truth) -> Truth:
    return None if truth is None else not truth


def _any_of(truths: Iterable[Truth]) -> Truth:
    return negated(all_of(negated(truth) for truth in truths))


# --- One condition --------------------------------------------------------------------------------------------------


def pattern_matches(pattern: str, text: str) -> bool:
    """Whether `*` of the pattern can stand for some characters, or none, so that it reads as the text."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == pattern
    *middle, last = rest
    position, end = len(first), len(text) - len(last)
    if position > end or not text.startswith(first) or not text.endswith(last):
        return False
    for part in middle:
        # The leftmost place leaves the most room for what follows, so no other needs to be tried.
        found = text.find(part, position, end)
        if found < 0:
            return False
        position = found + len(part)
    return True


def lowered(keyword: str) -> str:
    """A keyword as it is searched."""
    return without_surrogates(keyword).lower()


@lru_cache(maxsize=256)
def _searcher(patterns: tuple[str, ...]) -> Callable[[str], str | None]:
    from routes.engine.regex import searcher

    return searcher(patterns)


@lru_cache(maxsize=256)
def _zone(name: str) -> tzinfo:
    return zone_named(name)


def found_keyword(keywords: Iterable[str], context: RequestContext) -> str | None:
    """The first of the keywords that the prompt holds, as it was written."""
    text = context.lowered_prompt()
    return None if text is None else next((word for word in keywords if lowered(word) in text), None)


def found_pattern(patterns: tuple[str, ...], context: RequestContext) -> str | None:
    """The first of the patterns that is found in the prompt."""
    text = context.searched_prompt()
    return None if text is None else _searcher(patterns)(text)


def _in_range(wanted: NumberRange, found: int | float | None) -> Truth:
    if found is None:
        return None
    return (wanted.gt is None or found > wanted.gt) and (wanted.lt is None or found < wanted.lt)


def _in_window(window: TimeWindow, context: RequestContext) -> Truth:
    return None if context.at is None else window.contains(context.at.astimezone(_zone(window.tz)))


def _below(fact: str) -> Callable[[Any, RequestContext], Truth]:
    def test(bound: Any, context: RequestContext) -> Truth:
        value = getattr(context, fact)
        return None if value is None else bool(value < bound)

    return test


def _above(fact: str) -> Callable[[Any, RequestContext], Truth]:
    def test(bound: Any, context: RequestContext) -> Truth:
        value = getattr(context, fact)
        return None if value is None else bool(value > bound)

    return test


def _flag(fact: str) -> Callable[[Any, RequestContext], Truth]:
    def test(wanted: Any, context: RequestContext) -> Truth:
        value = getattr(context, fact)
        return None if value is None else value is wanted

    return test


def _nano(test: Callable[[Any, RequestContext], Truth]) -> Callable[[Any, RequestContext], Truth]:
    from routes.engine.money import nano_usd

    return lambda usd, context: test(nano_usd(usd), context)


_HOLDS: dict[str, Callable[[Any, RequestContext], Truth]] = {
    "model_in": lambda models, context: None if context.model is None else context.model in models,
    "model_matches": lambda patterns, context: (
        None if context.model is None else any(pattern_matches(pattern, context.model) for pattern in patterns)
    ),
    "input_tokens_lt": _below("input_tokens"),
    "input_tokens_gt": _above("input_tokens"),
    "tag_equals": lambda tag, context: None if context.tag is UNKNOWN else context.tag == tag,
    "has_images": _flag("has_images"),
    "has_audio": _flag("has_audio"),
    "has_documents": _flag("has_documents"),
    "has_tools": _flag("has_tools"),
    "is_stream": _flag("is_stream"),
    "prompt_contains_any_of": lambda keywords, context: (
        None if context.prompt is None else found_keyword(keywords, context) is not None
    ),
    "prompt_matches_any_of": lambda patterns, context: (
        None if context.prompt is None else found_pattern(patterns, context) is not None
    ),
    "estimated_cost_gt": _nano(_above("estimated_cost_nano_usd")),
    "estimated_cost_lt": _nano(_below("estimated_cost_nano_usd")),
    "upstream_latency_ms_p95_gt": _above("upstream_latency_ms_p95"),
    "time_window": _in_window,
}
