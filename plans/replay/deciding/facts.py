"""Facts: what conditions look at, reduced to classes of values that no condition tells apart.

Which literals hold is asked of the engine's own tests, once for each class; a class then stands for two sets of rows (of
conditions, see `routes.engine.compiled.rows`): those that it may let through for all that is known, and those for which
it certainly does.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import ceil, floor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.block import Block, context_of, metadata_fact, microseconds_of, time_of
from plans.replay.columns.column import Vocabulary
from plans.replay.columns.spooled import LONG
from routes.engine import UNKNOWN as UNKNOWN_FACT
from routes.engine import RequestContext
from routes.engine.compiled.literals import test_of
from routes.engine.compiled.rows import GROUPS, LITERALS, Literal, opposite
from routes.engine.conditions import Conditions
from routes.engine.meaning import holds

type Codes = NDArray[np.intp]

_MINUTE = 60_000_000
#: Numbers up to here are looked up, not searched.
_TABLE = 1 << 17


def nothing_known(**facts: Any) -> RequestContext:
    """A context of which only these facts are known."""
    return RequestContext(**({"tag": UNKNOWN_FACT, "metadata": UNKNOWN_FACT, "headers": UNKNOWN_FACT} | facts))


class Fact(ABC):
    """The classes of one fact. `codes` reduces a block to them."""

    def __init__(self, words: int, wanted: Mapping[Literal, int]) -> None:
        """`wanted`: by literal the rows that want it, as a bit set of `words` 64-bit words."""
        self._words = words
        self._tests = [(test_of(literal), _failing(literal), rows) for literal, rows in wanted.items()]
        self._classes: dict[tuple[int, int], int] = {}
        #: By word and class, the rows that certainly, and that possibly, get through.
        self.certain = np.zeros((words, 0), np.uint64)
        self.possible = np.zeros((words, 0), np.uint64)
        #: By class, whether it leaves something unknown.
        self._is_open = np.zeros(0, bool)

    def class_of(self, context: RequestContext) -> int:
        """The class of the value that this context has."""
        stopped = excluded = 0
        for succeeds, fails, rows in self._tests:
            if not succeeds(context):
                stopped |= rows
                if fails(context):
                    excluded |= rows
        known = self._classes.get((stopped, excluded))
        if known is None:
            known = self._classes[stopped, excluded] = len(self._classes)
            self.certain = np.column_stack([self.certain, self._as_words(~stopped)])
            self.possible = np.column_stack([self.possible, self._as_words(~excluded)])
            self._is_open = np.append(self._is_open, stopped != excluded)
        return known

    @property
    def is_asked(self) -> bool:
        """Whether any row asks for it."""
        return len(self._tests) > 0

    def leaves_open(self, codes: Codes) -> bool:
        """Whether one of these rows is of a class that leaves something unknown."""
        return bool(self._is_open.any() and self._is_open.take(codes).any())

    def _as_words(self, rows: int) -> NDArray[np.uint64]:
        return np.array([rows >> 64 * word & 2**64 - 1 for word in range(self._words)], np.uint64)

    @abstractmethod
    def codes(self, block: Block) -> Codes:
        """The class of each row."""

    @abstractmethod
    def unknown(self, block: Block) -> NDArray[np.bool_]:
        """Of which rows nobody knows the fact."""


def _failing(literal: Literal) -> Callable[[RequestContext], bool]:
    """Whether the literal is known not to hold."""
    if literal.kind == "tree":
        return lambda context: holds(literal.value, context) is False
    if literal.kind == "time":  # which every row of a log has
        test = test_of(literal)
        return lambda context: not test(context)
    return test_of(opposite(literal))


class Constant(Fact):
    """What no log tells."""

    def codes(self, block: Block) -> Codes:
        return np.full(block.rows, self.class_of(nothing_known()))

    def unknown(self, block: Block) -> NDArray[np.bool_]:
        return np.ones(block.rows, bool)


class CodedFact(Fact):
    """Texts, each looked at once."""

    def __init__(
        self, words: int, wanted: Mapping[Literal, int], column: str, context: Callable[[str | None], RequestContext]
    ) -> None:
        super().__init__(words, wanted)
        self._column = column
        self._context = context
        self._known: dict[str | None, int] = {}
        self._last: tuple[Vocabulary, list[int]] | None = None
        self._most = 1_000 if column in LONG else 100_000
        self._none_is_known = column == "tag"  # of which none says that the request has none

    def codes(self, block: Block) -> Codes:
        column = block.coded(self._column)
        if self._last is None or self._last[0] is not column.vocabulary:
            self._last = column.vocabulary, [self._class(text) for text in column.vocabulary.texts]
        return column.per_row(self._last[1], self._class(None))

    def unknown(self, block: Block) -> NDArray[np.bool_]:
        column = block.coded(self._column)
        return np.zeros(block.rows, bool) if self._none_is_known else column.codes < 0

    def _class(self, text: str | None) -> int:
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= self._most:  # they may all differ
                self._known.clear()
            known = self._known[text] = self.class_of(self._context(text))
        return known


class FlagFact(Fact):
    def __init__(self, words: int, wanted: Mapping[Literal, int], column: str) -> None:
        super().__init__(words, wanted)
        self._column = column
        # In the order in which False, True and unknown (-1) index it.
        classes = [self.class_of(nothing_known(**{column: value})) for value in (False, True, None)]
        self._table: Codes = np.array(classes, np.intp)

    def codes(self, block: Block) -> Codes:
        found: Codes = self._table.take(block.numbers(self._column).astype(np.intp), mode="wrap")
        return found

    def unknown(self, block: Block) -> NDArray[np.bool_]:
        is_unknown: NDArray[np.bool_] = block.numbers(self._column) < 0
        return is_unknown


class NumberFact(Fact):
    """Whole numbers from 0: the intervals between the bounds of conditions."""

    def __init__(
        self,
        words: int,
        wanted: Mapping[Literal, int],
        columns: Sequence[str],
        context: Callable[[int | None], RequestContext],
    ) -> None:
        """`columns`: where the number is, the first that knows it."""
        super().__init__(words, wanted)
        self._columns = columns
        cuts = sorted({0, *(max(0, _cut(literal)) for literal in wanted)})
        classes = [self.class_of(context(cut)) for cut in cuts]
        unknown = self.class_of(context(None))
        # In front, what is unknown: -1 comes before every cut.
        self._cuts = np.array(cuts, np.int64)
        self._classes_of_intervals = np.array([unknown, *classes])
        last = int(self._cuts[-1])
        self._table = None
        if last < _TABLE:
            places = np.searchsorted(self._cuts, np.arange(last + 1), side="right")
            # At the end, and so at -1 too, what is unknown.
            self._table = np.append(self._classes_of_intervals[places], unknown)

    def codes(self, block: Block) -> Codes:
        values = first_known(block, self._columns)
        if self._table is not None:
            return self._table.take(np.minimum(values, len(self._table) - 2), mode="wrap")
        return self._classes_of_intervals.take(np.searchsorted(self._cuts, values, side="right"))

    def unknown(self, block: Block) -> NDArray[np.bool_]:
        return first_known(block, self._columns) < 0


def first_known(block: Block, columns: Sequence[str]) -> NDArray[np.int64]:
    """Of each row the value of the first of these columns that knows one."""
    values: NDArray[np.int64] = block.numbers(columns[0])
    for other in columns[1:]:
        if block.lacks(columns[0]):
            values = block.numbers(other)
            continue
        unknown = values < 0
        if unknown.any():
            values = np.where(unknown, block.numbers(other), values)
    return values


def _cut(literal: Literal) -> int:
    """The least whole number that is on the other side of the literal's bound than those before it."""
    comparison, bound = literal.value
    return int(ceil(bound) if comparison in ("<", ">=") else floor(bound) + 1)


class TimeFact(Fact):
    """Times, which rise within a block: one look at each minute, and on either side of each bound of a route's life."""

    def __init__(self, words: int, wanted: Mapping[Literal, int]) -> None:
        super().__init__(words, wanted)
        self._has_windows = any(literal.kind == "window" for literal in wanted)
        self._cuts = np.array(
            sorted(microseconds_of(literal.value[1]) for literal in wanted if literal.kind == "time"), np.int64
        )

    def codes(self, block: Block) -> Codes:
        ts: NDArray[np.int64] = block.numbers("ts")
        parts = np.searchsorted(self._cuts, ts, side="right")
        begins = np.diff(parts, prepend=-1) != 0
        if self._has_windows:  # which begin and end with a minute
            begins |= np.diff(ts // _MINUTE, prepend=-1) != 0
        starts = np.flatnonzero(begins)
        classes = np.array([self.class_of(nothing_known(at=time_of(int(ts[start])))) for start in starts], np.intp)
        return np.repeat(classes, np.diff(starts, append=block.rows))

    def unknown(self, block: Block) -> NDArray[np.bool_]:
        return np.zeros(block.rows, bool)


class TreeFact(Fact):
    """Conditions with so many alternatives that they stay one literal: one look at each combination of the classes of
    the facts below."""

    def __init__(self, words: int, wanted: Mapping[Literal, int], below: Sequence[Fact]) -> None:
        super().__init__(words, wanted)
        self._below = below

    def codes(self, block: Block) -> Codes:
        combined = np.zeros(block.rows, np.int64)
        for fact in self._below:
            codes = fact.codes(block)
            # Renumbered each time, so that the product of many facts stays small.
            _, combined = np.unique(combined * (int(codes.max(initial=0)) + 1) + codes, return_inverse=True)
        _, firsts, combined = np.unique(combined, return_index=True, return_inverse=True)
        return np.array([self.class_of(context_of(block, int(row))) for row in firsts], np.intp)[combined]

    def unknown(self, block: Block) -> NDArray[np.bool_]:
        return np.zeros(block.rows, bool)  # what is unknown of it is counted for the facts below


def _estimate(value: int | None) -> RequestContext:
    context = nothing_known()
    context.estimated_cost_nano_usd = value
    return context


ESTIMATE = ("fact_estimated_cost_nano", "baseline_cost_nano")
TOKENS = ("fact_input_tokens", "input_tokens")
LATENCY = ("fact_upstream_latency_ms_p95",)

_MADE: dict[str, Callable[[int, Mapping[Literal, int]], Fact]] = {
    "model": lambda words, wanted: CodedFact(words, wanted, "requested_model", lambda text: nothing_known(model=text)),
    "tag": lambda words, wanted: CodedFact(words, wanted, "tag", lambda text: nothing_known(tag=text)),
    "metadata": lambda words, wanted: CodedFact(
        words, wanted, "metadata", lambda text: nothing_known(metadata=metadata_fact(text))
    ),
    "prompt": lambda words, wanted: CodedFact(words, wanted, "prompt", lambda text: nothing_known(prompt=text)),
    "input_tokens": lambda words, wanted: NumberFact(
        words, wanted, TOKENS, lambda value: nothing_known(input_tokens=value)
    ),
    "estimated_cost_nano_usd": lambda words, wanted: NumberFact(words, wanted, ESTIMATE, _estimate),
    "upstream_latency_ms_p95": lambda words, wanted: NumberFact(
        words, wanted, LATENCY, lambda value: nothing_known(upstream_latency_ms_p95=value)
    ),
    "at": TimeFact,
    "headers": Constant,
    "numbers": Constant,
}

#: By fact, the columns it needs beside those that every replay reads.
COLUMNS_OF_FACTS: dict[str, tuple[str, ...]] = {
    "tag": ("tag",), "metadata": ("metadata",), "prompt": ("prompt",), "upstream_latency_ms_p95": LATENCY,
    "has_images": ("has_images",), "has_audio": ("has_audio",), "has_documents": ("has_documents",),
    "has_tools": ("has_tools",), "is_stream": ("is_stream",),
}  # fmt: skip


def fact_of(literal: Literal) -> str:
    """The name of the fact that a literal looks at."""
    if literal.kind in ("metadata", "headers"):
        return literal.kind
    return "numbers" if literal.kind == "named_number" else literal.name


def leaves(conditions: Conditions) -> Iterator[Literal]:
    """Every literal of the conditions and of what they hold."""
    for field, value in conditions.given:
        if field not in GROUPS:
            yield from LITERALS[field](value)
    for member in (*conditions.any_of, *([conditions.not_] if conditions.not_ is not None else [])):
        yield from leaves(member)


def facts_of(rows: Iterable[tuple[Literal, ...]], words: int, mentioned: Iterable[str]) -> dict[str, Fact]:
    """The facts that these rows of literals look at, by name; row i is bit i. `mentioned` are facts that conditions name
    in vain, because no row of them is left: they tell nothing apart, but may be unknown."""
    wanted: dict[str, dict[Literal, int]] = {name: {} for name in sorted(mentioned)}
    trees: dict[Literal, int] = {}
    bits: dict[Literal, int] = {}
    below: set[str] = set()
    for index, row in enumerate(rows):
        for literal in row:
            if literal.kind == "tree":
                trees[literal] = trees.get(literal, 0) | 1 << index
                for leaf in leaves(literal.value):
                    below.add(fact_of(leaf))
                    # A bit beyond those of all rows: it tells classes apart, and lets no row through or out.
                    of_fact = wanted.setdefault(fact_of(leaf), {})
                    of_fact[leaf] = of_fact.get(leaf, 0) | 1 << 64 * words + bits.setdefault(leaf, len(bits))
            else:
                of_fact = wanted.setdefault(fact_of(literal), {})
                of_fact[literal] = of_fact.get(literal, 0) | 1 << index
    facts: dict[str, Fact] = {
        name: _MADE[name](words, literals) if name in _MADE else FlagFact(words, literals, name)
        for name, literals in wanted.items()
    }
    if trees:
        facts["tree"] = TreeFact(words, trees, [facts[name] for name in sorted(below)])
    return facts
