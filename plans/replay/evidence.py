"""What unknown facts might change: the least and the most that a plan saves whatever they were.

A fact that the log lacks matches nothing, so another route may have taken the request in truth. For each such row all
that might have happened is gone through: of the conditions that are not known, each may hold or not, but the same
conditions hold, or do not, under both sets of routes. A plan equal to what is live therefore saves nothing for certain.

The pairs of routes that might win together are as many as the product of both sides, but what a row costs on one side
depends on the other only where the paid cost stands on both, and then nothing is saved. So each side is priced for
itself, once for all routes that cost the same, and each pair is a difference between what is there already.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns import Block
from plans.replay.deciding.decisions import Decided, Decider, Outcomes
from plans.replay.deciding.matches import Matches
from plans.replay.pricing import Costs, Pricing, Side
from plans.replay.sums.counts import Counts
from plans.replay.sums.exact import total
from routes.engine import Action, Engine, Refusal, RequestContext, Route

type Ints = NDArray[np.int64]
type Flags = NDArray[np.bool_]
type Hits = tuple[Flags, Flags]
#: A route that might win: its place, and the number of the conditions that must hold for that, None where they do. The
#: conditions of the chances before it must not hold.
type Chance = tuple[int, int | None]

#: So many costs are kept at a time: rows, times what may come of them.
_CELLS = 1 << 19
#: Beyond what any row costs; the distance between both ends still fits in 64 bits.
_FAR: Final = 2**62 - 1
#: Decides the other side while one is priced: costs nothing, and is never what makes the paid cost stand.
_NOBODY: Final = Engine([], default=Action(refuse=Refusal(403, "nobody", "Nobody answers."))).decide(RequestContext())


class Evidence:
    """Bounds the savings on rows of which something is unknown."""

    def __init__(self, decider: Decider, pricing: Pricing) -> None:
        self._pricing = pricing
        both = (decider.current, decider.proposed)
        self._nobody = [outcomes.number(_NOBODY) for outcomes in both]
        self._sides = [_Side(number, outcomes, pricing, self._nobody) for number, outcomes in enumerate(both)]
        #: By side, the number of each route's conditions: the same for the same ones.
        self._conditions: list[list[int]] = []
        known: dict[object, int] = {}
        for outcomes in both:
            self._conditions.append([known.setdefault(_conditions(route), len(known)) for route in outcomes.routes])

    def add(self, block: Block, decided: Decided, costs: Costs, counts: Counts, hits: Hits | None) -> None:
        """The rows of a block; `costs` are theirs as they were decided, `hits` what caches answer on either side."""
        rows = np.union1d(decided.current.open_rows, decided.proposed.open_rows)
        if not len(rows):
            return
        # What happened does not depend on what may be tried.
        origins = self._pricing.origins(block, decided.now)[rows]
        opened = self._open(block.taken(rows), origins, None if hits is None else (hits[0][rows], hits[1][rows]))
        tried = [_Tried(side, opened) for side in self._sides]
        saved = costs.now[rows] - costs.then[rows]
        low, high = saved.copy(), saved.copy()
        for key, members in _groups(decided, rows).items():
            chances = [
                _chances(conditions, *won_and_maybe)
                for conditions, won_and_maybe in zip(self._conditions, (key[:2], key[2:]), strict=True)
            ]
            _widen(low, high, np.array(members), tried, chances)
        counts.open_rows += len(rows)
        counts.open_current += total(costs.now[rows])
        counts.open_saved += total(saved)
        counts.open_low += total(low)
        counts.open_high += total(high)

    def _open(self, block: Block, origins: Ints, hits: Hits | None) -> "_Open":
        nobody = [np.full(block.rows, number) for number in self._nobody]
        # Decided alike, rows differ by case in who served them, how, and when.
        cases = self._pricing.cases_of(block, nobody[0], nobody[1], origins)
        _, first, which = np.unique(cases, return_index=True, return_inverse=True)
        examples = np.sort(first)  # a block's times rise
        return _Open(
            block, origins, hits, np.searchsorted(examples, first[which]), block.taken(examples), origins[examples]
        )


class _Open(NamedTuple):
    """The open rows of a block."""

    block: Block
    origins: Ints
    hits: Hits | None
    #: By row the number of its kind: rows of a kind are of one case wherever they are decided alike.
    kinds: NDArray[np.intp]
    #: One row of each kind.
    examples: Block
    examples_origins: Ints


class _Side:
    """One set of routes, priced against nobody."""

    def __init__(self, number: int, outcomes: Outcomes, pricing: Pricing, nobody: Sequence[int]) -> None:
        self.number = number
        self.outcomes = outcomes
        self.pricing = pricing
        self._nobody = nobody
        self._numbers: dict[Side, int] = {}
        self._by_case: list[int] = []

    def cases_of(self, block: Block, decisions: Ints, origins: Ints) -> Ints:
        now, then = (
            decisions if number == self.number else np.full(block.rows, nobody)
            for number, nobody in enumerate(self._nobody)
        )
        return self.pricing.cases_of(block, now, then, origins)

    def alike(self, cases: Ints) -> tuple[int, ...]:
        """Numbers of what this side makes of the cases: where they are the same, rows cost the same."""
        for case in self.pricing.cases[len(self._by_case) :]:
            self._by_case.append(self._numbers.setdefault((case.now, case.then)[self.number], len(self._numbers)))
        return tuple(self._by_case[case] for case in cases.tolist())


class _Reach(NamedTuple):
    """What rows cost on one side, by way and row: the costs, and where the paid cost stands, which is to be kept out of
    a minimum and of a maximum, far above and far below them."""

    least: Ints
    most: Ints
    #: By row whether it stands in any of these ways.
    stands: Flags


class _Tried:
    """What may come of the open rows of a block on one side. Routes under which they all cost the same are one way."""

    def __init__(self, side: _Side, opened: _Open) -> None:
        self.opened = opened
        self._side = side
        self._ways: dict[int, int] = {}
        self._alike: dict[object, int] = {}
        #: By way a route's place, and by kind of rows their case; None where each row is drawn for.
        self._found: list[tuple[int, Ints | None]] = []

    def way_of(self, place: int) -> int:
        """The number of the way that this route takes."""
        if place not in self._ways:
            alike: object = place
            cases = None
            if not self._side.outcomes.draws(place):
                examples = self.opened.examples
                decisions = np.full(examples.rows, self._side.outcomes.of(examples, 0, place))
                cases = self._side.cases_of(examples, decisions, self.opened.examples_origins)
                alike = self._side.alike(cases)
            self._ways[place] = self._alike.setdefault(alike, len(self._found))
            if self._ways[place] == len(self._found):
                self._found.append((place, cases))
        return self._ways[place]

    def reach(self, ways: Sequence[int], part: Block, rows: NDArray[np.intp]) -> _Reach:
        """Of some rows, which are those of `part`, in these ways."""
        least, most = (np.empty((len(ways), part.rows), np.int64) for _ in range(2))
        any_stands = np.zeros(part.rows, bool)
        kinds, hits = self.opened.kinds[rows], self.opened.hits
        for line, way in enumerate(ways):
            place, cases = self._found[way]
            if cases is None:
                drawn = [self._side.outcomes.of(part, row, place) for row in range(part.rows)]
                of_rows = self._side.cases_of(part, np.array(drawn, np.int64), self.opened.origins[rows])
            else:
                of_rows = cases.take(kinds)
            costs = self._side.pricing.costs(part, of_rows)
            if hits is not None:
                costs = costs.with_hits(hits[0][rows], hits[1][rows])
            least[line] = most[line] = (costs.now, costs.then)[self._side.number]
            if costs.stands.any():
                least[line, costs.stands], most[line, costs.stands] = _FAR, -_FAR
                any_stands |= costs.stands
        return _Reach(least, most, any_stands)


def _widen(
    low: Ints, high: Ints, members: NDArray[np.intp], tried: Sequence[_Tried], chances: Sequence[Sequence[Chance]]
) -> None:
    """Widen the bounds of rows, which all have these chances, to all that may come of them."""
    ways, lines = zip(
        *(
            np.unique([side.way_of(place) for place, _ in each], return_inverse=True)
            for side, each in zip(tried, chances, strict=True)
        ),
        strict=True,
    )
    together = np.zeros((len(ways[0]), len(ways[1])), bool)
    pairs = np.nonzero(_go_together(*chances))
    together[lines[0][pairs[0]], lines[1][pairs[1]]] = True
    # Of ways that go with the same ones of the other side, only the cheapest and the dearest count.
    alike: dict[bytes, list[int]] = {}
    for line, others in enumerate(together):
        alike.setdefault(others.tobytes(), []).append(line)
    step = max(1, _CELLS // sum(together.shape))
    for start in range(0, len(members), step):
        rows = members[start : start + step]
        part = tried[0].opened.block.taken(rows)
        now, then = (side.reach(some.tolist(), part, rows) for side, some in zip(tried, ways, strict=True))
        least, most = low[rows], high[rows]
        for mine in alike.values():
            others = together[mine[0]]
            least = np.minimum(least, now.least[mine].min(axis=0) - then.most[others].max(axis=0))
            most = np.maximum(most, now.most[mine].max(axis=0) - then.least[others].min(axis=0))
        # Whatever goes with a way in which the paid cost stands, and something does, it stands on both sides.
        stands = now.stands | then.stands
        low[rows] = np.where(stands, np.minimum(least, 0), least)
        high[rows] = np.where(stands, np.maximum(most, 0), most)


def _groups(decided: Decided, rows: NDArray[np.intp]) -> dict[tuple[int, int, int, int], list[int]]:
    """The places among the open rows of those that the same routes may take: by the route that does and the bits of those
    that might beside it, today's and the proposed ones."""
    keys = zip(*_won_and_maybe(decided.current, rows), *_won_and_maybe(decided.proposed, rows), strict=True)
    groups: dict[tuple[int, int, int, int], list[int]] = {}
    for place, key in enumerate(keys):
        groups.setdefault(key, []).append(place)
    return groups


def _won_and_maybe(matches: Matches, rows: NDArray[np.intp]) -> tuple[list[int], list[int]]:
    maybe = dict(zip(matches.open_rows.tolist(), matches.maybe, strict=True))
    return matches.won[rows].tolist(), [maybe.get(row, 0) for row in rows.tolist()]


def _conditions(route: Route) -> object:
    return route.when, route.active_from, route.active_until


def _chances(conditions: Sequence[int], won: int, maybe: int) -> list[Chance]:
    """Every route that might win, from the first on."""
    chances: list[Chance] = []
    fail: set[int] = set()
    while maybe:
        low = maybe & -maybe
        place = low.bit_length() - 1
        if conditions[place] not in fail:
            chances.append((place, conditions[place]))
            fail.add(conditions[place])
        maybe ^= low
    return [*chances, (won, None)]


def _go_together(now: Sequence[Chance], then: Sequence[Chance]) -> Flags:
    """By chance of either side whether both may win: neither needs a condition that must not hold for the other."""
    first_now, first_then = ({condition: line for line, (_, condition) in enumerate(side)} for side in (now, then))
    # On the other side, the last chance for which these conditions may hold: after the one that needs them, they fail.
    until_then = np.array([first_then.get(condition, len(then)) for _, condition in now])
    until_now = np.array([first_now.get(condition, len(now)) for _, condition in then])
    fits: Flags = (np.arange(len(then)) <= until_then[:, None]) & (np.arange(len(now))[:, None] <= until_now)
    return fits
