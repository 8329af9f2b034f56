"""Which units each draw takes, and the exact sums over them.

Everything rests on the raw output of Philox4x64, whose words are specified (Salmon, Moraes, Dror and Shaw 2011); the
streams of NumPy's `Generator` methods may change between releases. Sums are matrix products of small integers and
integers that are so small, or cut into so small limbs, that a double holds every partial sum exactly. So neither the order
of adding nor the machine can show in them.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["random_subsets", "cluster_bootstrap"]
#: int64, or Python integers as objects where int64 could not hold them.
Integers = NDArray[Any]

#: Up to so many units every subset is taken instead of a sample.
ALL_SUBSETS = 13
#: A limb of 32 bits, times this many units, is still an integer that a double holds.
MAX_DRAWN_UNITS = 2**21
_EXACT = 2**53
_LIMB = 32
_LIMB_MASK = 2**_LIMB - 1
#: So much of what is drawn is kept between calls (it is drawn again where it is more), and so many doubles make a tile of
#: draws or of columns. Together, with what the cutting of a tile takes, they stay below 64 MiB.
_KEPT_BYTES = 2**24
_DRAWS_TILE = 2**20
_COLUMNS_TILE = 2**21


class Draws:
    """`count` draws of `units` units, of which any columns can be summed. Draws are made once, at the first sum.

    "random_subsets" (Hartigan 1969): a fair coin keeps or drops each unit. Unit j is in subset r where bit j of the raw
    output of Philox4x64 keyed (seed, r) is set, 64 bits a word, the lowest bit first; the complement is the second subset
    of r, so there are 2 * (iterations // 2) draws. Up to 13 units: all subsets but the empty one, whatever the iterations.

    "cluster_bootstrap" (Efron 1979): as many units as there are, with replacement, `iterations` times. The raw words
    keyed (seed, r) are cut into halves of 32 bits, the lower one first; the n-th half h draws unit (h * units) >> 32.

    `alive` is called before each tile of draws is summed; what it raises ends the sum. Raises `ValueError` for no units,
    for more than 2^21, for fewer than two iterations and for a seed that is no word.
    """

    def __init__(
        self,
        units: int,
        *,
        seed: int,
        iterations: int,
        method: Method = "random_subsets",
        alive: Callable[[], None] | None = None,
    ) -> None:
        if not 1 <= units <= MAX_DRAWN_UNITS:
            raise ValueError(f"Draws are made of 1 to {MAX_DRAWN_UNITS:,} units, not of {units:,}.")
        if iterations < 2:
            raise ValueError("A subset and its complement are two iterations; there are none in fewer.")
        if not 0 <= seed < 2**64:
            raise ValueError(f"The seed is half of a key, a word from 0 to 2^64 - 1, not {seed}.")
        self.units = units
        self.method: Method = method
        self._seed, self._iterations, self._alive = seed, iterations, alive
        self._every = method == "random_subsets" and units <= ALL_SUBSETS
        self._paired = method == "random_subsets" and not self._every
        #: Rows to draw: of the pairs, only the first is drawn.
        self._rows = 2**units - 1 if self._every else iterations // 2 if self._paired else iterations
        #: How many draws there are, B.
        self.count = 2 * self._rows if self._paired else self._rows
        self._drawn: NDArray[np.uint8] | None = None

    def first(self, units: int) -> "Draws":
        """The draws of the first units alone: what `Draws(units, ...)` is, whose coins these hold already."""
        fewer = Draws(units, seed=self._seed, iterations=self._iterations, method=self.method, alive=self._alive)
        if units > self.units:
            raise ValueError(f"There are only {self.units:,} units.")
        if self._paired and fewer._paired and self._kept() is not None:
            fewer._drawn = self._kept()
        return fewer

    def sums(self, columns: Integers) -> Integers:
        """The exact sum of every column over the units of every draw; a unit drawn twice counts twice.

        `columns` is (units, C) of integers: any integer type within int64, or Python integers as objects. The answer is
        (count, C): int64 where the sum of the absolute values of each column, which is the most that a draw can reach,
        fits, else objects. (In a bootstrap a draw can reach units times the largest absolute value.)
        """
        columns = _integers(columns)
        if columns.ndim != 2 or len(columns) != self.units:
            raise ValueError(f"Columns of {self.units:,} units are expected, not an array of {columns.shape}.")
        limbs, fits = self._limbs(columns)
        out = np.empty((self.count, columns.shape[1]), dtype=np.int64 if fits else object)
        for block in self._blocks(limbs):
            self._sum_block(columns[:, block], limbs[block], out[:, block])
        return out

    def _limbs(self, columns: Integers) -> tuple[list[int], bool]:
        """How many limbs each column needs, and whether all sums fit in int64."""
        limbs, most = [], 0
        width = max(1, _COLUMNS_TILE // self.units)
        for start in range(0, columns.shape[1], width):
            for largest, total in _sizes(columns[:, start : start + width]):
                reach = total if self.method == "random_subsets" else largest * self.units
                limbs.append(1 if reach < _EXACT else max(1, -(-largest.bit_length() // _LIMB)))
                most = max(most, reach)
        return limbs, most < 2**63

    def _blocks(self, limbs: list[int]) -> Iterator[slice]:
        """Neighbouring columns whose limbs make one tile together, or a column whose limbs are more than one."""
        start, taken = 0, 0
        for index, needed in enumerate(limbs):
            if taken and (taken + needed) * self.units > _COLUMNS_TILE:
                yield slice(start, index)
                start, taken = index, 0
            taken += needed
        if taken:
            yield slice(start, len(limbs))

    def _sum_block(self, columns: Integers, limbs: list[int], out: Integers) -> None:
        tile, places = _cut(columns, limbs)
        if self._paired:
            total = _joined(tile.sum(axis=0)[None, :], places, out.shape[1], out.dtype)
        for start, weights in self._weights():
            sums = _joined(weights @ tile, places, out.shape[1], out.dtype)
            if self._paired:
                out[2 * start : 2 * (start + len(sums)) : 2] = sums
                out[2 * start + 1 : 2 * (start + len(sums)) : 2] = total - sums
            else:
                out[start : start + len(sums)] = sums

    def _weights(self) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """(the first row, how often each unit is in each row) of tile after tile. One array serves all tiles."""
        kept = self._kept()
        step = max(1, _DRAWS_TILE // self.units)
        tile = np.empty((min(step, self._rows), self.units))
        for start in range(0, self._rows, step):
            if self._alive is not None:
                self._alive()
            stop = min(start + step, self._rows)
            drawn = self._draw(start, stop) if kept is None else kept[start:stop]
            if self.method == "random_subsets":
                drawn = np.unpackbits(drawn, axis=1, count=self.units, bitorder="little")
            np.copyto(tile[: stop - start], drawn)
            yield start, tile[: stop - start]

    def _kept(self) -> NDArray[np.uint8] | None:
        """All rows, where they are few enough to be kept."""
        if self._drawn is None and self._rows * self._row_bytes() <= _KEPT_BYTES:
            self._drawn = self._draw(0, self._rows)
        return self._drawn

    def _row_bytes(self) -> int:
        return (self.units + 63) // 64 * 8 if self.method == "random_subsets" else self.units

    def _draw(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Coins as bits, the lowest first; or how often each unit is drawn."""
        if self._every:
            return np.arange(start + 1, stop + 1).astype("<u2")[:, None].view(np.uint8)
        rows = np.empty((stop - start, self._row_bytes()), dtype=np.uint8)
        for r in range(start, stop):
            philox = np.random.Philox(key=np.array([self._seed, r], dtype=np.uint64))
            if self._paired:
                rows[r - start] = philox.random_raw((self.units + 63) // 64).astype("<u8").view(np.uint8)
            else:
                halves = philox.random_raw((self.units + 1) // 2).astype("<u8").view("<u4")[: self.units]
                drawn = (halves.astype(np.uint64) * np.uint64(self.units) >> np.uint64(32)).astype(np.int64)
                times = np.bincount(drawn, minlength=self.units)
                # Of thousands of units none is drawn 256 times: the odds are below one in 256 factorial.
                assert times.max() < 256
                rows[r - start] = times
        return rows


def _integers(columns: Integers) -> Integers:
    """As int64 where the type allows it; objects stay. Raises `TypeError` for anything but integers."""
    if columns.dtype.hasobject:
        if not all(isinstance(value, int) for value in columns.flat):
            raise TypeError("Sums are exact, so columns hold integers alone.")
        return columns
    if not np.can_cast(columns.dtype, np.int64):
        raise TypeError(f"Columns are integers within int64, or Python integers as objects, not {columns.dtype}.")
    return columns.astype(np.int64, copy=False)


def _sizes(columns: Integers) -> list[tuple[int, int]]:
    """(the largest absolute value, the sum of absolute values) of each column."""
    if columns.dtype.hasobject:
        return [(max(map(abs, column)), sum(map(abs, column))) for column in columns.T.tolist()]
    # The magnitude of the lowest int64 is itself, read without a sign.
    magnitudes = np.abs(columns).view(np.uint64)
    largest = magnitudes.max(axis=0).tolist()
    low = (magnitudes & np.uint64(_LIMB_MASK)).sum(axis=0).tolist()
    magnitudes >>= np.uint64(_LIMB)
    high = magnitudes.sum(axis=0).tolist()
    return [(most, (above << _LIMB) + below) for most, above, below in zip(largest, high, low, strict=True)]


def _cut(columns: Integers, limbs: list[int]) -> tuple[NDArray[np.float64], list[NDArray[np.int64]]]:
    """The limbs of the columns side by side, the lowest of all columns first; and whose limbs those of each place are.

    The highest limb of a column carries the sign.
    """
    needed = np.array(limbs)
    places = [np.flatnonzero(needed > place) for place in range(max(limbs))]
    tile = np.empty((len(columns), sum(limbs)))
    at = 0
    for place, members in enumerate(places):
        part = columns if len(members) == len(limbs) else columns[:, members]
        if place:
            part = part >> (_LIMB * place)
        below = needed[members] > place + 1
        if below.any():
            part = part & np.where(below, _LIMB_MASK, -1)
        tile[:, at : at + len(members)] = part
        at += len(members)
    return tile, places


def _joined(sums: NDArray[np.float64], places: list[NDArray[np.int64]], columns: int, dtype: np.dtype[Any]) -> Integers:
    """Sums of columns from sums of their limbs, all of which are integers."""
    whole = sums.astype(np.int64)
    if len(places) == 1:
        return whole.astype(dtype, copy=False)
    objects = dtype.hasobject
    if objects:
        joined: Integers = np.zeros((len(sums), columns), dtype=object)
    else:
        joined = np.zeros((len(sums), columns), dtype=np.uint64)  # wraps around; in the end everything fits again
        whole = whole.view(np.uint64)
    at = 0
    for place, members in enumerate(places):
        part: Integers = whole[:, at : at + len(members)]
        if objects:
            part = part.astype(object)
            joined[:, members] += part << (_LIMB * place)
        else:
            joined[:, members] += part << np.uint64(_LIMB * place)
        at += len(members)
    return joined if objects else joined.view(np.int64)
