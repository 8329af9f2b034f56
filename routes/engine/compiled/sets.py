"""Sets of rows as integers, one bit a row, by the value of one fact."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Hashable, Iterable
from typing import Any

from routes.engine.compiled.rows import Literal
from routes.engine.context import UNKNOWN, RequestContext
from routes.engine.meaning import pattern_matches

#: So many model names are remembered where patterns make looking up one dear; names longer than this are not.
MAX_REMEMBERED, MAX_LENGTH = 4_096, 200
#: The sets of a fact with an order take about so many bytes: 2,000 rows with a bound each are exact, 10,000 are not.
MAX_TABLE_BYTES = 512 * 1024

type Literals = list[tuple[int, Literal]]
#: Whether one row, by its number, holds for a request.
type RowTest = Callable[[int, RequestContext], bool]


class Sets:
    """Makes sets of so many rows."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.all = (1 << count) - 1

    def of(self, rows: Iterable[int]) -> int:
        bits = bytearray((self.count >> 3) + 1)
        for row in rows:
            bits[row >> 3] |= 1 << (row & 7)
        return int.from_bytes(bits, "little")

    def free_of(self, literals: Literals) -> int:
        """The rows that none of these literals restricts."""
        return self.all ^ self.of(row for row, _ in literals)


class Texts:
    """Rows by the text of a fact: `by_text`, and `otherwise` for what no literal names; UNKNOWN leaves only the rows that
    do not ask."""

    def __init__(self, literals: Literals, sets: Sets, unknown: object = UNKNOWN) -> None:
        self.free = sets.free_of(literals)
        allowed: dict[int, frozenset[str]] = {}
        refused: dict[int, frozenset[str]] = {}
        for row, literal in literals:
            if literal.want:
                allowed[row] = allowed[row] & literal.value if row in allowed else literal.value
            else:
                refused[row] = refused.get(row, frozenset()) | literal.value
        # A row that only refuses takes every other text, also one that is absent.
        only_refuse = [row for row in refused if row not in allowed]
        self.otherwise = self.free | sets.of(only_refuse)
        added: dict[str, list[int]] = {}
        for row, texts in allowed.items():
            for text in texts - refused.get(row, frozenset()):
                added.setdefault(text, []).append(row)
        removed: dict[str, list[int]] = {}
        for row in only_refuse:
            for text in refused[row]:
                removed.setdefault(text, []).append(row)
        self.by_text: dict[Hashable, int] = {}
        for text in added.keys() | removed.keys():
            rows = self.otherwise
            if text in removed:
                rows ^= sets.of(removed[text])
            if text in added:
                rows |= sets.of(added[text])
            self.by_text[text] = rows
        self.by_text[unknown] = self.free
        self._allowed, self._refused, self._only_refuse = sets.of(allowed), sets.of(refused), sets.of(only_refuse)

    def of_header(self, value: Hashable) -> int:
        """The rows for a header's value, or for a tuple of several, of which any may hold."""
        if not isinstance(value, tuple):
            return self.by_text.get(value, self.otherwise)
        # A row that only refuses needs every value to be another one; a row that allows needs one of them.
        some, every = 0, -1
        for each in value:
            rows = self.by_text.get(each, self.otherwise)
            some |= rows
            every &= rows
        return self.free | (some & self._allowed) | (every & self._only_refuse)


class Models(Texts):
    """Rows by the requested model, whose unknown value is None. With patterns, rows of a new name are found once."""

    def __init__(self, literals: Literals, sets: Sets) -> None:
        super().__init__([pair for pair in literals if pair[1].kind == "text"], sets, None)
        patterns: dict[tuple[tuple[str, ...], bool], list[int]] = {}
        for row, literal in literals:
            if literal.kind == "pattern":
                patterns.setdefault((literal.value, literal.want), []).append(row)
        self.has_patterns = bool(patterns)
        #: Patterns, whether one shall match, and the rows that hold where it is not so.
        self._patterns = [(*asked, sets.all ^ sets.of(rows)) for asked, rows in patterns.items()]
        if patterns:
            self._by_name = dict(self.by_text)
            asking = sets.of(row for rows in patterns.values() for row in rows)
            self.by_text.clear()
            self.by_text[None] = self.free & ~asking

    def of_new(self, model: str) -> int:
        """The rows of a model that is not remembered."""
        rows = self._by_name.get(model, self.otherwise)
        for patterns, want, others in self._patterns:
            if any(pattern_matches(pattern, model) for pattern in patterns) is not want:
                rows &= others
        if len(self.by_text) < MAX_REMEMBERED and len(model) <= MAX_LENGTH:
            self.by_text[model] = rows
        return rows


class Flags:
    """Rows by up to three flags: `table[first][second]…`, each True, False or None for unknown."""

    def __init__(self, flags: list[Literals], sets: Sets) -> None:
        by_flag = []
        for literals in flags:
            free = sets.free_of(literals)
            wanted = {
                want: sets.of(row for row, literal in literals if literal.value is want) for want in (True, False)
            }
            # A row may want both, and then never holds.
            by_flag.append(
                {
                    True: free | (wanted[True] & ~wanted[False]),
                    False: free | (wanted[False] & ~wanted[True]),
                    None: free,
                }
            )
        self.table: Any = self._nested(by_flag, sets.all)

    def _nested(self, flags: list[dict[bool | None, int]], rows: int) -> Any:
        if not flags:
            return rows
        return {value: self._nested(flags[1:], rows & own) for value, own in flags[0].items()}


class Intervals:
    """Rows by a number or time: `table[place of the value among bounds]`; `unknown` for None.

    For whole numbers, compared by `<` and `>=` alone, a place is what `bisect_right` says. For others it is the sum of
    `bisect_left` and `bisect_right`: even between two bounds, odd on one.

    A set for each of many bounds would take memory by the square of the rows. So of many only some are looked at, and a
    set has the rows that hold for any value between two of these; `row_test` then says it of one row.
    """

    def __init__(
        self, literals: Literals, sets: Sets, value_of: Callable[[RequestContext], Any], *, is_whole: bool
    ) -> None:
        self.is_whole = is_whole
        self.unknown = sets.free_of(literals)
        every = sorted({literal.value[1] for _, literal in literals})
        number_of = {bound: number for number, bound in enumerate(every)}
        count = len(every) + 1 if is_whole else 2 * len(every) + 1
        ranges: dict[int, tuple[int, int]] = {}
        for row, literal in literals:
            comparison, bound = literal.value
            first, end = ranges.get(row, (0, count))
            # The first place at which the comparison has changed.
            change = number_of[bound] + 1
            if not is_whole:
                change += number_of[bound] + (comparison in (">", "<="))
            ranges[row] = (first, min(end, change)) if comparison[0] == "<" else (max(first, change), end)
        step = 1 + count * sets.count // (8 * MAX_TABLE_BYTES)
        self.bounds = every[step - 1 :: step]
        self.table = self._table(ranges, count, step)
        #: What is to be asked of a row of the value's set; None where sets are exact.
        self.row_test = None if step == 1 else _row_test(every, ranges, sets.count, value_of, is_whole)

    def _table(self, ranges: dict[int, tuple[int, int]], count: int, step: int) -> list[int]:
        """The sets for `bounds`, which are every `step`-th of those that make `count` places."""
        changes: list[list[int]] = [[] for _ in range(count + 1)]
        for row, (first, end) in ranges.items():
            if first < end:
                changes[first].append(row)
                changes[end].append(row)
        table = [0] * ((count - 1) // step + 1 if self.is_whole else 2 * len(self.bounds) + 1)
        rows = self.unknown
        for place in range(count):
            for row in changes[place]:
                rows ^= 1 << row
            table[place // step if self.is_whole else place // 2 // step + (place + 1) // 2 // step] |= rows
        return table


def _row_test(
    every: list[Any],
    ranges: dict[int, tuple[int, int]],
    rows: int,
    value_of: Callable[[RequestContext], Any],
    is_whole: bool,
) -> RowTest:
    """Whether one row is within its own of these bounds."""
    first, end = array("Q", bytes(8 * rows)), array("Q", [2 * len(every) + 1]) * rows
    for row, (own_first, own_end) in ranges.items():
        first[row], end[row] = own_first, own_end

    def holds(row: int, context: RequestContext) -> bool:
        value = value_of(context)
        if value is None:
            return True  # the set of the unknown is exact
        place = bisect_right(every, value) if is_whole else bisect_right(every, value) + bisect_left(every, value)
        return first[row] <= place < end[row]

    return holds
