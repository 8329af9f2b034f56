"""What unknown facts might change: the least and the most that a plan saves whatever they were.

A fact that the log lacks matches nothing, so another route may have taken the request in truth. For each such row all
that might have happened is gone through: of the conditions that are not known, each may hold or not, but the same
conditions hold, or do not, under both sets of routes. A plan equal to what is live therefore saves nothing for certain.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns import Block
from plans.replay.deciding.decisions import Decided, Decider
from plans.replay.pricing import Costs, Pricing
from plans.replay.sums.counts import Counts
from plans.replay.sums.exact import total
from routes.engine import Route

type Ints = NDArray[np.int64]
#: A route that might win: its place, the conditions that must hold for that, None where they do, and those that must not.
type Chance = tuple[int, int | None, frozenset[int]]


class Evidence:
    """Bounds the savings on rows of which something is unknown."""

    def __init__(self, decider: Decider, pricing: Pricing) -> None:
        self._decider = decider
        self._pricing = pricing
        #: By side, the number of each route's conditions: the same for the same ones.
        self._conditions: list[list[int]] = []
        known: dict[object, int] = {}
        for outcomes in (decider.current, decider.proposed):
            self._conditions.append([known.setdefault(_conditions(route), len(known)) for route in outcomes.routes])
        self._pairs: dict[tuple[int, int, int, int], list[tuple[int, int]]] = {}

    def add(
        self,
        block: Block,
        decided: Decided,
        costs: Costs,
        counts: Counts,
        hits: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None,
    ) -> None:
        """The rows of a block; `costs` are theirs as they were decided, `hits` what caches answer on either side."""
        maybe_now = dict(zip(decided.current.open_rows.tolist(), decided.current.maybe, strict=True))
        maybe_then = dict(zip(decided.proposed.open_rows.tolist(), decided.proposed.maybe, strict=True))
        groups: dict[tuple[int, int, int, int], list[int]] = {}
        for row in sorted(maybe_now.keys() | maybe_then.keys()):
            key = (
                int(decided.current.won[row]),
                maybe_now.get(row, 0),
                int(decided.proposed.won[row]),
                maybe_then.get(row, 0),
            )
            groups.setdefault(key, []).append(row)
        if not groups:
            return
        # What happened does not depend on what may be tried.
        touched = self._pricing.touched(block, decided.now)
        for key, rows in groups.items():
            self._add(block, np.array(rows), self._pairs_of(*key), touched, costs, counts, hits)

    def _add(
        self,
        block: Block,
        rows: NDArray[np.intp],
        pairs: list[tuple[int, int]],
        touched: NDArray[np.bool_],
        costs: Costs,
        counts: Counts,
        hits: tuple[NDArray[np.bool_], NDArray[np.bool_]] | None,
    ) -> None:
        part = block.taken(rows)
        saved = costs.now[rows] - costs.then[rows]
        low = high = saved
        seen: set[bytes] = set()
        for now, then in pairs:
            numbers = [
                np.array([outcomes.of(part, row, place) for row in range(part.rows)], np.int64)
                if outcomes.draws(place)
                else np.full(part.rows, outcomes.of(part, 0, place))
                for outcomes, place in ((self._decider.current, now), (self._decider.proposed, then))
            ]
            cases = self._pricing.cases_of(part, numbers[0], numbers[1], touched[rows])
            if (key := cases.tobytes()) in seen:
                continue
            seen.add(key)
            there = self._pricing.costs(part, cases)
            if hits is not None:
                there = there.with_hits(hits[0][rows], hits[1][rows])
            low, high = np.minimum(low, there.now - there.then), np.maximum(high, there.now - there.then)
        counts.open_rows += part.rows
        counts.open_current += total(costs.now[rows])
        counts.open_saved += total(saved)
        counts.open_low += total(low)
        counts.open_high += total(high)

    def _pairs_of(self, won_now: int, maybe_now: int, won_then: int, maybe_then: int) -> list[tuple[int, int]]:
        """The routes that might win together under today's and under the proposed routes."""
        key = (won_now, maybe_now, won_then, maybe_then)
        if key not in self._pairs:
            now = _chances(self._conditions[0], won_now, maybe_now)
            then = _chances(self._conditions[1], won_then, maybe_then)
            self._pairs[key] = [(one[0], other[0]) for one in now for other in then if _go_together(one, other)]
        return self._pairs[key]


def _conditions(route: Route) -> object:
    return route.when, route.active_from, route.active_until


def _chances(conditions: Sequence[int], won: int, maybe: int) -> list[Chance]:
    """Every route that might win, from the first on."""
    chances: list[Chance] = []
    fail: frozenset[int] = frozenset()
    while maybe:
        low = maybe & -maybe
        place = low.bit_length() - 1
        if conditions[place] not in fail:
            chances.append((place, conditions[place], fail))
            fail |= {conditions[place]}
        maybe ^= low
    return [*chances, (won, None, fail)]


def _go_together(one: Chance, other: Chance) -> bool:
    return one[1] not in other[2] and other[1] not in one[2]
