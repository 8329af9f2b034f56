"""Units, which are independent of each other, and integer totals of each.

A unit is a cluster, named by its hash and its key, or a day. Beyond a limit units are gathered into as many buckets by
their hash. Whether they are depends on all units together, not on which part of a log met which of them.
"""

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.block import Block
from plans.replay.columns.column import Vocabulary
from plans.replay.sums.exact import Exact
from plans.replay.sure import BINS, MAX_UNITS, splitmix64

type Ints = NDArray[np.int64]
type Places = NDArray[np.intp]
#: (hash, key): sorted by them, units have one order everywhere.
type Name = tuple[int, str]

#: Latencies are counted for so many units or buckets; a divisor of `MAX_UNITS`.
LATENCY_UNITS: Final = 1_024
#: The rows of totals by unit.
SAVED, CURRENT, ROWS, HITS = range(4)
#: The same by route.
ROUTE_ROWS, ROUTE_CURRENT, ROUTE_PROJECTED = range(3)


class Totals(NamedTuple):
    """Of all units in their order."""

    #: (4, units): `SAVED`, `CURRENT`, `ROWS`, `HITS`.
    sums: NDArray[Any]
    #: (3, routes, units): `ROUTE_ROWS`, `ROUTE_CURRENT`, `ROUTE_PROJECTED`.
    routes: NDArray[Any]
    #: (units for latencies, bins): rows.
    latencies: NDArray[np.int64]


class State(NamedTuple):
    """Everything that `UnitSums` holds."""

    names: list[Name] | None
    latencies_are_buckets: bool
    hits: Exact
    by_route: Exact
    latencies: NDArray[np.int64]


class UnitSums:
    """Totals by unit, by route and unit, and rows by unit and bin of latency."""

    def __init__(self, routes: int, limit: int = MAX_UNITS, latency_limit: int = LATENCY_UNITS) -> None:
        """`routes`: how many there are, those that take nothing and "no route" included."""
        self.limit, self.latency_limit, self.routes = limit, latency_limit, routes
        #: By name a unit's place; None once places are the numbers of buckets.
        self._names: dict[Name, int] | None = {}
        #: By place, that of its latencies: the same up to the limit for these, then a bucket.
        self._latency_places: Places = np.arange(limit)
        self._latencies_are_buckets = False
        # None of these arrays takes memory where nothing is added.
        self._hits = Exact(1, limit, 1)
        self._by_route = Exact(routes, limit, 3)
        self._latencies = np.zeros((latency_limit, BINS), np.int64)
        self._last: tuple[Vocabulary, Places] | None = None

    def __len__(self) -> int:
        """How many units there are; of buckets, how many have rows."""
        return len(self._with_rows()) if self._names is None else len(self._names)

    def state(self) -> State:
        names = None if self._names is None else list(self._names)
        return State(names, self._latencies_are_buckets, self._hits, self._by_route, self._latencies)

    @classmethod
    def of_state(
        cls,
        names: list[Name] | None,
        latencies_are_buckets: bool,
        hits: Exact,
        by_route: Exact,
        latencies: NDArray[np.int64],
    ) -> "UnitSums":
        units = cls(by_route.shape[0], by_route.shape[1], len(latencies))
        units._names = None if names is None else {name: place for place, name in enumerate(names)}
        units._latencies_are_buckets = latencies_are_buckets
        if names is None:
            units._latency_places = np.arange(units.limit) % units.latency_limit
        elif latencies_are_buckets:
            units._latency_places[: len(names)] = _buckets(_hashes(names), units.latency_limit)
        units._hits, units._by_route, units._latencies = hits, by_route, latencies
        return units

    @property
    def hashes(self) -> list[int]:
        """Of the units, as long as they are not buckets; the hash of a day is its number."""
        return [hashed for hashed, _ in self._names or ()]

    # --- Where rows belong --------------------------------------------------------------------------------------------

    def of_clusters(self, block: Block) -> Places:
        """The places of the units of the rows: by cluster key, and without one each row by its ordinal."""
        column = block.coded("cluster_key")
        vocabulary, codes = column.vocabulary, column.codes.astype(np.intp)
        alone = np.flatnonzero(codes < 0)
        ordinals = block.ordinals[alone].astype(np.uint64)
        hashes = splitmix64(ordinals)
        if self._names is not None:
            used = np.flatnonzero(np.bincount(codes[codes >= 0], minlength=len(vocabulary)))
            if len(used) + len(alone) > self.limit:
                self._gather(self._names)  # without looking for each of them first
        if self._names is not None:
            names = [(int(vocabulary.hashes[code]), vocabulary.texts[code]) for code in used.tolist()]
            # No key begins with NUL: such a unit has no name that a key could have.
            names += [
                (hashed, f"\0{ordinal}") for hashed, ordinal in zip(hashes.tolist(), ordinals.tolist(), strict=True)
            ]
            places = self._find(names)
            if places is not None:
                table = np.zeros(len(vocabulary) + 1, np.intp)
                table[used] = places[: len(used)]
                found = table.take(codes, mode="wrap")
                found[alone] = places[len(used) :]
                return found
        if self._last is None or self._last[0] is not vocabulary:
            self._last = vocabulary, np.append(_buckets(vocabulary.hashes, self.limit), 0)
        found = self._last[1].take(codes, mode="wrap")
        found[alone] = _buckets(hashes, self.limit)
        return found

    def of_days(self, days: Ints) -> Places:
        """The places of these days, which are numbers from 0."""
        used, inverse = np.unique(days, return_inverse=True)
        places = self._find([(int(day), "") for day in used])
        return days % self.limit if places is None else places[inverse]

    def _find(self, names: list[Name]) -> Places | None:
        """The places of the units of these names, which may be new; None where there are buckets by now."""
        known = self._names
        if known is None:
            return None
        for name in names:
            known.setdefault(name, len(known))
        if len(known) > self.limit:
            self._gather(known)
            return None
        if len(known) > self.latency_limit:
            self._gather_latencies(known)
        return np.fromiter((known[name] for name in names), np.intp, len(names))

    def _gather(self, names: dict[Name, int]) -> None:
        """Make buckets of the units."""
        self._gather_latencies(names)
        buckets = _buckets(_hashes(names), self.limit)
        self._hits = self._hits.moved(buckets, self.limit)
        self._by_route = self._by_route.moved(buckets, self.limit)
        self._names = None
        self._latency_places = np.arange(self.limit) % self.latency_limit

    def _gather_latencies(self, names: dict[Name, int]) -> None:
        """The same for latencies alone."""
        buckets = _buckets(_hashes(names), self.latency_limit)
        if not self._latencies_are_buckets:
            had = np.flatnonzero(self._latencies.any(axis=1))
            gathered = np.zeros_like(self._latencies)
            np.add.at(gathered, buckets[had], self._latencies[had])
            self._latencies, self._latencies_are_buckets = gathered, True
        self._latency_places[: min(len(buckets), self.limit)] = buckets[: self.limit]

    # --- Adding -------------------------------------------------------------------------------------------------------

    def add(
        self, won: Ints, places: Places, current: Ints, projected: Ints, hits: NDArray[np.bool_] | None = None
    ) -> None:
        """Rows, by the place of the route that takes them and their units' places: what they cost under today's and the
        proposed routes, and whether a cache answers them."""
        flat = won * self.limit
        flat += places
        flat *= 3
        ones = np.ones(len(places), np.int64)
        for values in (ones, current, projected):  # in the order of `ROUTE_ROWS` and so on
            self._by_route.add(flat, values)
            flat += 1
        if hits is not None:
            self._hits.add(places, hits.astype(np.int64))

    def add_latencies(self, places: Places, bins: Places) -> None:
        flat = self._latency_places.take(places) * BINS + bins
        np.add.at(self._latencies.reshape(-1), flat, np.ones(len(flat), np.int64))

    def merge(self, other: "UnitSums") -> None:
        """Add the totals of another part."""
        if other._names is None:
            if self._names is not None:
                self._gather(self._names)
            to = np.arange(self.limit)
        else:
            names = list(other._names)
            found = self._find(names)
            to = _buckets(_hashes(names), self.limit) if found is None else found
        self._hits.add_moved(other._hits, to)
        self._by_route.add_moved(other._by_route, to)
        had = np.flatnonzero(other._latencies.any(axis=1))
        if other._latencies_are_buckets:
            if not self._latencies_are_buckets:  # then this has more units than fit by now
                assert self._names is not None
                self._gather_latencies(self._names)
            np.add.at(self._latencies, had, other._latencies[had])
        else:
            np.add.at(self._latencies, self._latency_places[to[had]], other._latencies[had])

    # --- The end ------------------------------------------------------------------------------------------------------

    def route_totals(self) -> NDArray[Any]:
        """(3, routes): the totals of each route."""
        return _added(self._by_route.totals(), axis=1).T

    def in_order(self, routes: list[int]) -> Totals:
        """The totals of the units, and of these routes by unit, in the order of their hash and name; of buckets in that
        of their numbers, without those that have no rows."""
        if self._names is None:
            places = self._with_rows()
        else:
            places = np.array([self._names[name] for name in sorted(self._names)], np.intp)
        counted = np.flatnonzero(self._latencies.any(axis=1)) if self._latencies_are_buckets else places
        by_route = self._by_route.totals()
        rows, current, projected = _added(by_route, axis=0)[places].T
        sums = np.array([current - projected, current, rows, self._hits.totals()[0, places, 0]])
        of_routes = np.moveaxis(by_route[np.ix_(routes, places)], 2, 0)
        return Totals(sums, of_routes, self._latencies[counted])

    def _with_rows(self) -> Places:
        return np.flatnonzero(self._by_route.totals()[:, :, ROUTE_ROWS].any(axis=0))


def _added(by_route: NDArray[Any], axis: int) -> NDArray[Any]:
    """The sum over routes, or units; of Python's integers where 64 bits would not do."""
    if by_route.dtype != object and float(np.abs(by_route).sum(dtype=np.float64)) > 2.0**62:
        by_route = by_route.astype(object)
    total: NDArray[Any] = by_route.sum(axis=axis)
    return total


def _hashes(names: "dict[Name, int] | list[Name]") -> NDArray[np.uint64]:
    return np.fromiter((hashed for hashed, _ in names), np.uint64, len(names))


def _buckets(hashes: NDArray[np.uint64], count: int) -> Places:
    return (hashes % np.uint64(count)).astype(np.intp)
