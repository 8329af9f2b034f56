"""Which route takes each row of a block.

The rows' facts are reduced to classes (`facts`), each class stands for the routes it lets through, and the first route
that all facts let through takes the row. That the engine says the same is not assumed: `Engine.decide` is asked about a row
of every kind that is met (`projection`), and the tests compare every row.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.block import Block
from plans.replay.deciding.facts import Fact, fact_of, facts_of, leaves
from routes.engine import Engine, Route
from routes.engine.compiled.rows import Row, rows_of

type Words = NDArray[np.uint64]

_ALL = np.uint64(2**64 - 1)
_ONE = np.uint64(1)


@dataclass(frozen=True, slots=True)
class Matches:
    """Of one engine in one block."""

    #: By row the place of the route that takes it among the enabled ones, their number where none does.
    won: NDArray[np.int64]
    #: The rows of which something unknown might let an earlier route win, ascending.
    open_rows: NDArray[np.intp]
    #: By these rows the routes that might win beside the one that does, as bits of Python integers.
    maybe: list[int]


class _Side:
    """The rows of conditions of one engine: their words among those of all, and the route that each belongs to."""

    def __init__(self, routes: Sequence[Route], start: int) -> None:
        self.rows = [(row, place) for place, route in enumerate(routes) for row in rows_of(route)]
        self.routes = len(routes)
        self.words = max(1, -(-len(self.rows) // 64))
        self.start = start
        #: By the bit of a row the place of its route; at the end that of none.
        self.route_of = np.full(64 * self.words + 1, len(routes), np.int64)
        self.route_of[: len(self.rows)] = [place for _, place in self.rows]
        #: By route the bit of its first row; at the end, again, that of none.
        self.first_of = np.full(len(routes) + 1, 64 * self.words, np.int64)
        for bit, (_, place) in reversed(list(enumerate(self.rows))):
            self.first_of[place] = bit
        used = (1 << len(self.rows)) - 1
        self.used = [np.uint64(used >> 64 * word & 2**64 - 1) for word in range(self.words)]


class Matcher:
    """Finds the routes of several engines at once, so that each fact is looked at once."""

    def __init__(self, engines: Sequence[Sequence[Route]]) -> None:
        """The enabled routes of each engine in the order in which they are asked."""
        self._sides: list[_Side] = []
        words = 0
        for routes in engines:
            self._sides.append(_Side(routes, words))
            words += self._sides[-1].words
        literals: list[Row] = []
        for side in self._sides:
            literals += [row for row, _ in side.rows]
            literals += [()] * (64 * (side.start + side.words) - len(literals))
        mentioned = {fact_of(leaf) for routes in engines for route in routes for leaf in leaves(route.when)}
        self.facts: dict[str, Fact] = facts_of(literals, words, mentioned)
        self._asked = [fact for fact in self.facts.values() if fact.is_asked]

    def __call__(self, block: Block) -> list[Matches]:
        """By engine, what takes the rows."""
        codes = [fact.codes(block) for fact in self._asked]
        leaves_open = any(map(Fact.leaves_open, self._asked, codes))
        return [self._of(side, codes, block.rows, leaves_open) for side in self._sides]

    def _of(self, side: _Side, codes: list[NDArray[np.intp]], rows: int, leaves_open: bool) -> Matches:
        if not side.rows:
            return Matches(np.full(rows, side.routes, np.int64), np.empty(0, np.intp), [])
        through, spare = np.empty(rows, np.uint64), np.empty(rows, np.uint64)
        found = np.zeros(rows, np.int64)
        for word in range(side.words):
            self._through(side, word, codes, through, spare, certain=True)
            # The place of the lowest bit, 64 where there is none: so many bits below it are not set.
            np.subtract(through, _ONE, out=spare)
            np.invert(through, out=through)
            places = np.bitwise_count(np.bitwise_and(through, spare, out=through))
            # Where no word before had one, so many places more.
            found += places if word == 0 else np.where(found == 64 * word, places, np.uint8(0))
        won = side.route_of.take(found)
        if not leaves_open:
            return Matches(won, np.empty(0, np.intp), [])
        # An alternative of the very route that takes the row may be unknown and change nothing.
        return self._with_open(side, codes, won, side.first_of.take(won), through, spare)

    def _with_open(
        self,
        side: _Side,
        codes: list[NDArray[np.intp]],
        won: NDArray[np.int64],
        first: NDArray[np.int64],
        through: Words,
        spare: Words,
    ) -> Matches:
        words = []
        is_open = np.zeros(len(won), bool)
        for word in range(side.words):
            self._through(side, word, codes, through, spare, certain=False)
            # What is below the first row of conditions of that route. A shift by 64 would not be one.
            shift = np.clip(first - 64 * word, 0, 63).astype(np.uint64)
            below = np.where(first >= 64 * (word + 1), _ALL, (_ONE << shift) - _ONE)
            words.append(through & below)
            is_open |= words[-1] != 0
        open_rows = np.flatnonzero(is_open)
        return Matches(won, open_rows, self._routes_of(side, [word[open_rows] for word in words]))

    def _routes_of(self, side: _Side, words: list[Words]) -> list[int]:
        """By row the routes of which a bit is set."""
        known: dict[tuple[int, ...], int] = {}
        answer = []
        for bits in zip(*(word.tolist() for word in words), strict=True):
            routes = known.get(bits)
            if routes is None:
                routes = 0
                for place, word in enumerate(bits):
                    while word:
                        low = word & -word
                        routes |= 1 << int(side.route_of[64 * place + low.bit_length() - 1])
                        word ^= low
                known[bits] = routes
            answer.append(routes)
        return answer

    def _through(
        self, side: _Side, word: int, codes: list[NDArray[np.intp]], through: Words, spare: Words, *, certain: bool
    ) -> None:
        """Leaves in `through` by row the rows of conditions of this word that every fact lets through."""
        used = side.used[word]
        is_first = True
        for fact, of_rows in zip(self._asked, codes, strict=True):
            table = (fact.certain if certain else fact.possible)[side.start + word] & used
            if (table == used).all():
                continue  # looks at nothing that this word asks for
            table.take(of_rows, out=through if is_first else spare, mode="clip")
            if not is_first:
                np.bitwise_and(through, spare, out=through)
            is_first = False
        if is_first:
            through[:] = used


def facts_of_engines(engines: Sequence[Engine]) -> set[str]:
    """The names of the facts that enabled routes look at."""
    found: set[str] = set()
    for engine in engines:
        for route in engine.routes:
            if route.enabled:
                found.update(map(fact_of, leaves(route.when)))
    return found
