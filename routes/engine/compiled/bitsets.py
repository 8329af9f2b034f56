"""Many routes as bitsets: a bit for each row, a set of rows for each value of each fact.

A decision looks up one set per fact that the rules ask for, intersects them, and takes the lowest bit that is left: its
cost grows with the number of facts and, slowly, with the width of an integer, not with the number of routes. What is
dear to test (keywords, patterns, hours in a zone) is asked only when the lowest bit left needs it, once a request, and
then settles every row that needs it.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

from routes.engine.compiled.chain import DECIDE_HEAD, Decide, Forced
from routes.engine.compiled.dear import Dear
from routes.engine.compiled.rows import Literal, Row
from routes.engine.compiled.sets import MAX_TABLE_BYTES, Flags, Intervals, Models, RowTest, Sets, Texts
from routes.engine.context import RequestContext
from routes.engine.decision import RouteDecision
from routes.engine.outcomes import Outcome

_DEAR = frozenset({"keywords", "regex", "window", "tree"})
#: Names and patterns of models are one fact; metadata may have a key of that name.
_MODEL = frozenset({"text", "pattern"})
#: Facts of which a value lies among bounds.
_ORDERED = frozenset({"whole", "number", "named_number", "time"})
#: So many facts are looked up for every request, and so many bytes their sets may take.
MAX_FACTS, MAX_BYTES = 48, 64 << 20

#: Kind and name.
type _Fact = tuple[str, str]


def compile_bitsets(rows: Sequence[tuple[Row, Outcome]], otherwise: Outcome, forced: Forced) -> Decide:
    """The function that finds the first row of which every literal holds."""
    facts: dict[_Fact, list[tuple[int, Literal]]] = defaultdict(list)
    dear: list[tuple[int, Literal]] = []
    for index, (row, _) in enumerate(rows):
        twice: frozenset[str] | None = None
        for literal in row:
            kind, name, _, _ = literal
            if kind == "headers" and twice is None:
                twice = _headers_asked_twice(row)
            if kind in _DEAR or (kind == "headers" and twice and name in twice):
                dear.append((index, literal))
            else:
                facts["model" if name == "model" and kind in _MODEL else kind, name].append((index, literal))
    for fact in _too_many(facts, len(rows)):
        dear += facts.pop(fact)
    sets = Sets(len(rows))
    outcomes = [outcome for _, outcome in rows]
    names: dict[str, Any] = {"forced": forced, "bisect_left": bisect_left, "bisect_right": bisect_right}
    lines, blurred = _lookups(facts, sets, names)
    draws = not all(isinstance(outcome, RouteDecision) for outcome in outcomes)
    names["outcomes"] = outcomes
    names["none"] = otherwise
    lines.append(f" if not rows: return none{'' if isinstance(otherwise, RouteDecision) else '(context)'}")
    if dear or blurred:
        names["dear"] = Dear(dear, blurred, sets).first_row
        lines += [" row = dear(context, rows)"]
        lines += [f" if row < 0: return none{'' if isinstance(otherwise, RouteDecision) else '(context)'}"]
    else:
        lines.append(" row = (rows & -rows).bit_length() - 1")
    if draws:
        names["RouteDecision"] = RouteDecision
        lines.append(" found = outcomes[row]")
        lines.append(" return found if found.__class__ is RouteDecision else found(context)")
    else:
        lines.append(" return outcomes[row]")
    text = "\n".join([*DECIDE_HEAD, *lines])
    exec(compile(text, "<routes>", "exec"), names)  # noqa: S102 (holds names of our own alone)
    decide: Decide = names.pop("decide")  # or the function would hold itself
    return decide


def _headers_asked_twice(row: Row) -> frozenset[str]:
    # A header may have several values, and each literal another one of them: no set by single values says that.
    names = Counter(literal.name for literal in row if literal.kind == "headers")
    return frozenset(name for name, count in names.items() if count > 1)


def _too_many(facts: dict[_Fact, list[tuple[int, Literal]]], rows: int) -> list[_Fact]:
    """The facts that are asked for row by row: those whose sets would take too much memory, and of too many facts those
    that the fewest rows ask for. A document may name a hundred thousand keys of metadata."""
    too_many: list[_Fact] = []
    left, count = MAX_BYTES, MAX_FACTS
    for fact in sorted(facts, key=lambda fact: len(facts[fact]), reverse=True):
        taken = MAX_TABLE_BYTES if fact[0] in _ORDERED else len(_constants(facts[fact])) * rows // 8
        if count and taken <= left:
            left, count = left - taken, count - 1
        else:
            too_many.append(fact)
    return too_many


def _constants(literals: list[tuple[int, Literal]]) -> set[object]:
    """What the literals compare with: as many sets a fact has."""
    found: set[object] = set()
    for _, literal in literals:
        if isinstance(literal.value, frozenset):
            found |= literal.value
        else:
            found.add(literal.value)
    return found


def _lookups(
    facts: dict[_Fact, list[tuple[int, Literal]]], sets: Sets, names: dict[str, Any]
) -> tuple[list[str], list[RowTest]]:
    """Lines that leave in `rows` the rows that every cheap literal may allow; what they name is added to `names`. And
    what is to be asked of a row of these before it is certain."""
    lines: list[str] = []
    blurred: list[RowTest] = []
    started = False

    def bind(value: Any) -> str:
        name = f"k{len(names)}"
        names[name] = value
        return name

    def keep(expression: str) -> None:
        nonlocal started
        lines.append(f" rows {'&=' if started else '='} {expression}")
        started = True

    flags = {name: literals for (kind, name), literals in facts.items() if kind == "flag"}
    for (kind, name), literals in sorted(facts.items(), key=lambda item: _ORDER[item[0][0]]):
        if kind == "model":
            models = Models(literals, sets)
            if models.has_patterns:  # comes first, so there is nothing yet to intersect with
                lines += [
                    f" rows = {bind(models.by_text.get)}(context.model)",
                    f" if rows is None: rows = {bind(models.of_new)}(context.model)",
                ]
                started = True
            else:
                keep(f"{bind(models.by_text.get)}(context.model, {bind(models.otherwise)})")
        elif kind in ("text", "metadata"):
            texts = Texts(literals, sets)
            fact = f"context.{name}" if kind == "text" else f"context.metadata.get({bind(name)})"
            keep(f"{bind(texts.by_text.get)}({fact}, {bind(texts.otherwise)})")
        elif kind == "headers":
            keep(f"{bind(Texts(literals, sets).of_header)}(context.headers.get({bind(name)}))")
        elif kind != "flag":
            intervals = Intervals(literals, sets, _value_of(kind, name), is_whole=kind == "whole")
            fact = f"context.numbers.get({bind(name)})" if kind == "named_number" else f"context.{name}"
            bounds, table, unknown = bind(intervals.bounds), bind(intervals.table), bind(intervals.unknown)
            place = f"bisect_right({bounds}, value)"
            if not intervals.is_whole:
                place += f" + bisect_left({bounds}, value)"
            lines.append(f" value = {fact}")
            keep(f"{unknown} if value is None else {table}[{place}]")
            if intervals.row_test is not None:
                blurred.append(intervals.row_test)
    for start in range(0, len(flags), 3):
        group = list(flags)[start : start + 3]
        table = bind(Flags([flags[name] for name in group], sets).table)
        keep(table + "".join(f"[context.{name}]" for name in group))
    if not started:
        keep(bind(sets.all))
    return lines, blurred


def _value_of(kind: str, name: str) -> Callable[[RequestContext], Any]:
    return (lambda context: context.numbers.get(name)) if kind == "named_number" else attrgetter(name)


_ORDER = {
    kind: place
    for place, kind in enumerate(
        ["model", "whole", "text", "metadata", "headers", "number", "named_number", "time", "flag"]
    )
}
