"""95% intervals of a ratio of sums by random subsets of units (Hartigan 1969, "typical values").

A fair coin keeps or drops each unit, the ratio is computed anew on the kept ones, and the interval runs from the 2.5th to
the 97.5th percentile of these ratios. It is the inverted sign-flip test of "the sum of saved - r x current is 0": it holds
for few and unequal units where a variance estimate does not (Canay, Romano and Shaikh 2017). Assumption: units are
independent of each other; requests inside one need not be.

All sums are exact integers and the coins are raw Philox output, so the same input gives the same bytes on any machine.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

#: More units than this are gathered into as many buckets.
MAX_UNITS = 16_384
#: Fewer units than this give no interval.
MIN_UNITS = 6
#: Up to so many units every subset is taken instead of a sample.
ALL_SUBSETS = 13
_LIMB = 26
_LIMB_MASK = 2**_LIMB - 1
_CHUNK = 256
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Unit:
    """What is independent of the others: totals of a cluster, a bucket of clusters, or a day, in nano-dollars."""

    saved: int
    current: int
    rows: int


@dataclass(frozen=True, slots=True)
class Interval:
    """Ends as exact shares of the current cost; None where that end is open."""

    low: Fraction | None
    high: Fraction | None
    #: Share of the subsets in which the plan costs more.
    probability_of_loss: float


def splitmix64(x: int) -> int:
    """The first output of the SplitMix64 generator (Steele, Lea and Flood 2014) seeded with x: a good 64-bit hash."""
    z = (x + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def key_hash(key: str) -> int:
    """The first 8 bytes of SHA-256 of the key in UTF-8, big-endian."""
    return int.from_bytes(sha256(key.encode("utf-8", "replace")).digest()[:8], "big")


class Clusters:
    """Gathers rows into units, in the order of their hash and then of their key, so that no order of adding matters."""

    def __init__(self) -> None:
        self._by_key: dict[tuple[int, str], list[int]] = {}

    def add(self, key: str | None, ordinal: int, saved: int, current: int) -> None:
        """One row; without a key it is a cluster of its own, named by its place in the order of all rows."""
        name = (splitmix64(ordinal), f"\0{ordinal}") if key is None else (key_hash(key), key)
        totals = self._by_key.setdefault(name, [0, 0, 0])
        totals[0] += saved
        totals[1] += current
        totals[2] += 1

    def __len__(self) -> int:
        return len(self._by_key)

    def units(self) -> list[Unit]:
        """At most 16,384: of more clusters those with the same hash modulo 16,384 make one."""
        if len(self._by_key) <= MAX_UNITS:
            return [Unit(*self._by_key[name]) for name in sorted(self._by_key)]
        buckets: dict[int, list[int]] = {}
        for (hashed, _), totals in self._by_key.items():
            bucket = buckets.setdefault(hashed % MAX_UNITS, [0, 0, 0])
            for index, value in enumerate(totals):
                bucket[index] += value
        return [Unit(*buckets[number]) for number in sorted(buckets)]


def effective_units(sizes: Sequence[int]) -> Fraction:
    """(sum x)^2 / sum x^2: how many equal units would be as uneven together. 0 for nothing."""
    squares = sum(size * size for size in sizes)
    return Fraction(sum(sizes) ** 2, squares) if squares else Fraction(0)


def interval(units: Sequence[Unit], *, seed: int, iterations: int) -> Interval | None:
    """The interval of sum saved / sum current over these units. None for fewer than six.

    A subset without any current cost has no ratio; such subsets count as below and above everything in turn, which can
    only widen the interval, and open an end where there are many. Fewer than 39 subsets leave both ends open. Raises
    `ValueError` for fewer than two iterations.
    """
    if iterations < 2:
        raise ValueError("A subset and its complement are two iterations; there are none in fewer.")
    if len(units) < MIN_UNITS:
        return None
    ratios: list[Fraction] = []
    empty = losses = 0
    for saved, current in subset_sums(units, seed=seed, iterations=iterations):
        losses += saved < 0
        if current > 0:
            ratios.append(Fraction(saved, current))
        else:
            empty += 1
    total = len(ratios) + empty
    below, k = (empty + 1) // 2, (total + 1) // 40
    above = empty - below
    ratios.sort(key=_by_value(ratios))
    low = ratios[k - 1 - below] if k > below and ratios else None
    high = ratios[len(ratios) - (k - above)] if k > above and ratios else None
    return Interval(low, high, losses / total)


def _by_value(ratios: Sequence[Fraction]) -> Callable[[Fraction], Fraction | float]:
    # Doubles sort a hundred times faster than fractions; two fractions that round to one double are so near that
    # either may stand for the other in nothing but the last digit, so exactness costs the slow way only there.
    floats = {float(ratio) for ratio in ratios}
    exact = len(floats) == len(ratios)
    return float if exact else (lambda ratio: ratio)


def subset_sums(units: Sequence[Unit], *, seed: int, iterations: int) -> Iterator[tuple[int, int]]:
    """(sum saved, sum current) of every subset drawn; of all but the empty one where there are at most 13 units.

    Unit j is in subset r where bit j of the raw output of Philox4x64 keyed (seed, r) is set, 64 bits a word, the lowest
    bit first; the complement is the second subset of r.
    """
    columns = [[unit.saved for unit in units], [unit.current for unit in units]]
    totals = [sum(column) for column in columns]
    # Doubles add integers below 2^53 exactly, and a matrix product is the fastest way to add. Beyond, each value is cut
    # into as many limbs as bring the sum of the highest, and of the 26-bit ones below it, back under that bound.
    bits = max(sum(map(abs, column)) for column in columns).bit_length()
    shifts = [_LIMB * place for place in reversed(range(1 + -(-max(bits - 52, 0) // _LIMB)))]
    limbs = np.array(
        [
            [value >> shift if shift == shifts[0] else value >> shift & _LIMB_MASK for value in column]
            for column in columns
            for shift in shifts
        ],
        dtype=np.float64,
    ).T
    if len(units) <= ALL_SUBSETS:
        masks = np.arange(1, 2 ** len(units), dtype=np.uint64)
        kept = (masks[:, None] >> np.arange(len(units), dtype=np.uint64)) & np.uint64(1)
        yield from _joined(kept.astype(np.float64) @ limbs)
        return
    for start in range(0, iterations // 2, _CHUNK):
        kept = np.stack([coins(len(units), seed, r) for r in range(start, min(start + _CHUNK, iterations // 2))])
        for saved, current in _joined(kept.astype(np.float64) @ limbs):
            yield saved, current
            yield totals[0] - saved, totals[1] - current


def coins(count: int, seed: int, r: int) -> NDArray[np.uint8]:
    """`count` fair coins, 0 or 1."""
    words = np.random.Philox(key=np.array([seed, r], dtype=np.uint64)).random_raw((count + 63) // 64)
    return np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little")[:count]


def _joined(products: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """(saved, current) of each row of sums of limbs, the highest limb first."""
    half = products.shape[1] // 2
    for sums in products.tolist():
        saved = current = 0
        for limb_saved, limb_current in zip(sums[:half], sums[half:], strict=True):
            saved = (saved << _LIMB) + int(limb_saved)
            current = (current << _LIMB) + int(limb_current)
        yield saved, current
