"""One literal as a function of a context: whether it is known to hold."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter, ge, gt, le, lt
from typing import Any

from routes.engine.compiled.rows import GROUPS, LITERALS, Literal, opposite
from routes.engine.conditions import Conditions
from routes.engine.context import UNKNOWN, RequestContext
from routes.engine.meaning import pattern_matches
from routes.engine.times import zone_named

type Test = Callable[[RequestContext], bool]

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {"<": lt, "<=": le, ">": gt, ">=": ge}


def test_of(literal: Literal) -> Test:
    """The literal's test. Raises `ImportError` for a pattern without RE2, `ValueError` for what is no pattern, and
    `LookupError` for a zone that is not known here."""
    return _TESTS[literal.kind](literal)


def _text(literal: Literal) -> Test:
    fact, values, want = attrgetter(literal.name), literal.value, literal.want
    # Nobody can know what an unknown tag is; every other text that is absent is None, and that is unknown for a model.
    unknown = UNKNOWN if literal.name == "tag" else None

    def test(context: RequestContext) -> bool:
        value = fact(context)
        return value is not unknown and (value in values) is want

    return test


def _pattern(literal: Literal) -> Test:
    patterns, want = literal.value, literal.want

    def test(context: RequestContext) -> bool:
        model = context.model
        return model is not None and any(pattern_matches(pattern, model) for pattern in patterns) is want

    return test


def _metadata(literal: Literal) -> Test:
    name, values, want = literal.name, literal.value, literal.want

    def test(context: RequestContext) -> bool:
        value = context.metadata.get(name)
        return value is not UNKNOWN and (value in values) is want

    return test


def _headers(literal: Literal) -> Test:
    name, values, want = literal.name, literal.value, literal.want

    def test(context: RequestContext) -> bool:
        value = context.headers.get(name)
        if type(value) is tuple:
            return (not values.isdisjoint(value)) is want
        return value is not UNKNOWN and (value in values) is want

    return test


def _flag(literal: Literal) -> Test:
    fact, wanted = attrgetter(literal.name), literal.value
    return lambda context: fact(context) is wanted


def _comparison(literal: Literal) -> Test:
    (comparison, bound), fact = literal.value, attrgetter(literal.name)
    compare = COMPARISONS[comparison]

    def test(context: RequestContext) -> bool:
        value = fact(context)
        return value is not None and compare(value, bound)

    return test


def _named_number(literal: Literal) -> Test:
    (comparison, bound), name = literal.value, literal.name
    compare = COMPARISONS[comparison]

    def test(context: RequestContext) -> bool:
        value = context.numbers.get(name)
        return value is not None and compare(value, bound)

    return test


def _keywords(literal: Literal) -> Test:
    keywords, want = literal.value, literal.want

    def test(context: RequestContext) -> bool:
        text = context.lowered_prompt()
        if text is None:
            return False
        for keyword in keywords:  # a loop, not any(): a generator costs more than most searches
            if keyword in text:
                return want
        return not want

    return test


def _regex(literal: Literal) -> Test:
    from routes.engine.regex import searcher

    search, want = searcher(literal.value), literal.want

    def test(context: RequestContext) -> bool:
        text = context.searched_prompt()
        return text is not None and (search(text) is not None) is want

    return test


def _window(literal: Literal) -> Test:
    window, zone, want = literal.value, zone_named(literal.value.tz), literal.want

    def test(context: RequestContext) -> bool:
        at = context.at
        return at is not None and window.contains(at.astimezone(zone)) is want

    return test


def _tree(literal: Literal) -> Test:
    return _is_true(literal.value)


def _is_true(conditions: Conditions) -> Test:
    """Whether all of them are known to hold."""
    tests = [test_of(literal) for field, value in _leaves(conditions) for literal in LITERALS[field](value)]
    if conditions.any_of:
        tests.append(_some([_is_true(member) for member in conditions.any_of]))
    if conditions.not_ is not None:
        tests.append(_is_false(conditions.not_))
    return _every(tests)


def _is_false(conditions: Conditions) -> Test:
    """Whether one of them is known not to hold."""
    tests = [test_of(opposite(literal)) for field, value in _leaves(conditions) for literal in LITERALS[field](value)]
    if conditions.any_of:
        tests.append(_every([_is_false(member) for member in conditions.any_of]))
    if conditions.not_ is not None:
        tests.append(_is_true(conditions.not_))
    return _some(tests)


def _leaves(conditions: Conditions) -> list[tuple[str, Any]]:
    return [(field, value) for field, value in conditions.given if field not in GROUPS]


def _every(tests: list[Test]) -> Test:
    def test(context: RequestContext) -> bool:
        for each in tests:  # noqa: SIM110 (all() of a generator takes twice as long)
            if not each(context):
                return False
        return True

    return test


def _some(tests: list[Test]) -> Test:
    def test(context: RequestContext) -> bool:
        for each in tests:  # noqa: SIM110
            if each(context):
                return True
        return False

    return test


_TESTS: dict[str, Callable[[Literal], Test]] = {
    "text": _text,
    "pattern": _pattern,
    "metadata": _metadata,
    "headers": _headers,
    "flag": _flag,
    "whole": _comparison,
    "number": _comparison,
    "time": _comparison,
    "named_number": _named_number,
    "keywords": _keywords,
    "regex": _regex,
    "window": _window,
    "tree": _tree,
}
