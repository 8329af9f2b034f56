"""A few routes as one generated function: an if-chain, row after row, the cheap tests of each first.

No text of a document enters the generated source: values are bound as names of the function's namespace.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any

from routes.engine.compiled.literals import test_of
from routes.engine.compiled.rows import Literal, Row
from routes.engine.context import UNKNOWN, RequestContext
from routes.engine.decision import RouteDecision
from routes.engine.outcomes import Outcome

type Decide = Callable[..., RouteDecision]
type Forced = Callable[[RequestContext, str], RouteDecision]

#: In the order in which a row asks, which is that of their costs.
_COSTS = {
    kind: cost
    for cost, kind in enumerate(
        ["text", "whole", "flag", "metadata", "number", "time", "named_number", "headers", "pattern", "window", "tree",
         "keywords", "regex"]
    )
}  # fmt: skip
_ALWAYS, _NEVER = datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)


#: `forced` takes the context and the name.
DECIDE_HEAD = ("def decide(context, *, force=None):", " if force is not None: return forced(context, force)")


def compile_chain(rows: Sequence[tuple[Row, Outcome]], otherwise: Outcome, forced: Forced) -> Decide:
    """The function that asks these rows one after the other."""
    source = _Source()
    source.names["forced"] = forced
    body = []
    # What is looked up by several rows is looked up once, before the first of them.
    uses = Counter(source.fact(literal) for row, _ in rows for literal in row)
    for row, outcome in rows:
        tests = [source.expression(literal, uses) for literal in sorted(row, key=lambda each: _COSTS[each.kind])]
        answer = source.answer(outcome)
        body.append(f" if {' and '.join(tests)}: return {answer}" if tests else f" return {answer}")
    text = "\n".join([*DECIDE_HEAD, *source.head, *body, f" return {source.answer(otherwise)}"])
    exec(compile(text, "<routes>", "exec"), source.names)  # noqa: S102 (holds names of our own alone, see above)
    decide: Decide = source.names.pop("decide")  # or the function would hold itself
    return decide


class _Source:
    """The parts of the function's text, and the values that it names."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"UNKNOWN": UNKNOWN}
        #: Lines that look facts up once.
        self.head: list[str] = []
        self._variables: dict[str, str] = {}

    def bind(self, value: Any) -> str:
        if type(value) is int and value.bit_length() < 64:
            return repr(value)
        name = f"k{len(self.names)}"
        self.names[name] = value
        return name

    def answer(self, outcome: Outcome) -> str:
        name = self.bind(outcome)
        return name if isinstance(outcome, RouteDecision) else f"{name}(context)"

    def fact(self, literal: Literal) -> str:
        """The expression of the fact that the literal looks at; comparisons have one for each direction."""
        kind = literal.kind
        if kind in ("text", "flag", "pattern"):
            return f"context.{literal.name}"
        if kind in ("whole", "number", "time", "named_number"):
            return f"{'high' if literal.value[0][0] == '<' else 'low'} {kind} {literal.name}"
        return f"{kind} {literal.name}"

    def expression(self, literal: Literal, uses: Counter[str]) -> str:
        return _EXPRESSIONS.get(literal.kind, _Source._call)(self, literal, uses)

    def _value(self, expression: str, key: str, uses: Counter[str]) -> str:
        """The expression, or the variable that holds its value where several rows look at it."""
        if uses[key] < 2:
            return expression
        if key not in self._variables:
            self._variables[key] = f"v{len(self._variables)}"
            self.head.append(f" {self._variables[key]} = {expression}")
        return self._variables[key]

    def _text(self, literal: Literal, uses: Counter[str]) -> str:
        unknown = "UNKNOWN" if literal.name == "tag" else "None"
        return self._is_in(self._value(f"context.{literal.name}", self.fact(literal), uses), literal, unknown)

    def _metadata(self, literal: Literal, uses: Counter[str]) -> str:
        value = self._value(f"context.metadata.get({self.bind(literal.name)})", self.fact(literal), uses)
        return self._is_in(value, literal, "UNKNOWN")

    def _is_in(self, value: str, literal: Literal, unknown: str) -> str:
        if len(literal.value) == 1:
            (only,) = literal.value
            test = f"{value} {'==' if literal.want else '!='} {self.bind(only)}"
        else:
            test = f"{value} {'in' if literal.want else 'not in'} {self.bind(literal.value)}"
        # What is unknown equals nothing, so only the opposite has to look at it.
        return test if literal.want else f"{value} is not {unknown} and {test}"

    def _flag(self, literal: Literal, uses: Counter[str]) -> str:
        return f"{self._value(f'context.{literal.name}', self.fact(literal), uses)} is {literal.value}"

    def _comparison(self, literal: Literal, _: Counter[str]) -> str:
        comparison, bound = literal.value
        key = self.fact(literal)
        if key not in self._variables:
            variable = self._variables[key] = f"v{len(self._variables)}"
            is_named = literal.kind == "named_number"
            fact = f"context.numbers.get({self.bind(literal.name)})" if is_named else f"context.{literal.name}"
            # What is unknown stands beyond every bound, on the side where the comparison fails.
            if literal.kind == "time":
                beyond = self.bind(_ALWAYS if comparison[0] == "<" else _NEVER)
            else:
                beyond = self.bind(inf if comparison[0] == "<" else -inf)
            self.head += [f" {variable} = {fact}", f" if {variable} is None: {variable} = {beyond}"]
        return f"{self._variables[key]} {comparison} {self.bind(bound)}"

    def _call(self, literal: Literal, _: Counter[str]) -> str:
        return f"{self.bind(test_of(literal))}(context)"


_EXPRESSIONS: dict[str, Callable[[_Source, Literal, Counter[str]], str]] = {
    "text": _Source._text,
    "metadata": _Source._metadata,
    "flag": _Source._flag,
    "whole": _Source._comparison,
    "number": _Source._comparison,
    "time": _Source._comparison,
    "named_number": _Source._comparison,
}
