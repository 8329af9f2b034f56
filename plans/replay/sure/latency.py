"""Intervals of quantiles of latencies: counts by unit and bin in, ends in milliseconds out.

A bin is a millisecond up to 255 ms; above, 128 bins make a doubling, each less than 0.8% wide. Ends are rounded outward, to
the lowest millisecond of the bin of the low end and to the highest one of that of the high end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plans.replay.sure.draws import Draws
from plans.replay.sure.ratios import Z_95

MAX_MS = 2**31 - 1
#: Each bin has a number below this.
BINS = 256 + (31 - 8) * 128
#: A share as its numerator and denominator.
Share = tuple[int, int]
#: One draw in so many lies beyond an end.
BOTH_ENDS = (40, 40)
#: Exceedances of a high quantile are few and skewed: 97.5% covered 86 to 89% of clustered traffic, 99.5% covers 91 to 97%.
WIDE_UPPER_END = 200
#: How many bins are asked at once for each end: more take longer, fewer take more rounds.
_ASKED = 12


@dataclass(frozen=True, slots=True)
class Milliseconds:
    """Both ends belong to it; None where that end is open."""

    low: int | None
    high: int | None


def latency_bin(ms: NDArray[np.integer[Any]]) -> NDArray[np.int16]:
    """The bin of each latency. Raises `ValueError` below 0 and above 2^31 - 1 ms."""
    if ms.size and not (ms.min() >= 0 and ms.max() <= MAX_MS):
        raise ValueError("A latency is 0 to 2,147,483,647 ms.")
    # The exponent of a double and the seven highest bits after its leading one are the number of its bin, but for where
    # the count begins: at 128 = 1.0 x 2^7, from which on bins up to 255 are single milliseconds.
    bits = ms.astype(np.float64).view(np.int64) >> 45
    bits -= (1023 + 7) * 128 - 128
    return np.where(ms < 128, ms, bits).astype(np.int16)


def bin_low(number: int) -> int:
    """The lowest millisecond of this bin."""
    doublings, step = divmod(number - 128, 128)
    return number if number < 256 else (128 + step) << doublings


def bin_high(number: int) -> int:
    """The highest millisecond of this bin."""
    return bin_low(number + 1) - 1


def quantile_interval(
    counts: NDArray[np.integer[Any]], draws: Draws, q: Share, low: int = 40, high: int = 40
) -> tuple[int | None, int | None]:
    """The bins of both ends of an interval of the q-quantile; None where an end is open.

    `counts` is (draws.units, bins): rows by unit and bin. q = (a, b) stands for a/b, and the quantile of n rows is that at
    the index (2a(n - 1) + b) // (2b) of all in order. The low end is the k-th smallest of the quantiles of all draws,
    k = (B + 1) // low, the high end the k-th largest, k = (B + 1) // high: 40 leaves 2.5% beyond it, 200 leaves 0.5%. An
    end is open where k is 0. A draw without rows counts as below and above everything in turn.
    """
    a, b = q
    used = np.flatnonzero(counts.any(axis=0))
    # (unit, bins used): rows up to each bin.
    up_to = np.cumsum(counts[:, used], axis=1, dtype=np.int64)
    rows = draws.sums(np.asarray(counts.sum(axis=1, dtype=np.int64))[:, None])[:, 0]
    index = np.where(rows > 0, (2 * a * (rows - 1) + b) // (2 * b), 0)
    empty = int((rows == 0).sum())
    below = (empty + 1) // 2  # the first one counts as below
    ranks = [(draws.count + 1) // low, draws.count + 1 - (draws.count + 1) // high]
    found: dict[int, tuple[int, int]] = {}  # of each rank: the last bin known to be too low, one known to be enough
    for rank in ranks:
        if below < rank <= draws.count - (empty - below):
            found[rank] = (-1, len(used) - 1)
    while asked := sorted({bin for left, right in found.values() for bin in _between(left, right)}):
        sums = draws.sums(up_to[:, asked])
        reached = below + (sums > index[:, None]).sum(axis=0)  # a draw without rows never does
        for rank, (left, right) in found.items():
            for bin, draws_up_to in zip(asked, reached.tolist(), strict=True):
                if draws_up_to < rank:
                    left = max(left, bin)
                else:
                    right = min(right, bin)
            found[rank] = (left, right)
    ends = [int(used[found[rank][1]]) if rank in found else None for rank in ranks]
    return ends[0], ends[1]


def _between(left: int, right: int) -> Sequence[int]:
    """Up to twelve places that cut what lies strictly between into nearly equal parts."""
    inner = right - left - 1
    if inner <= _ASKED:
        return range(left + 1, right)
    return [left + (right - left) * part // (_ASKED + 1) for part in range(1, _ASKED + 1)]


def binomial_ranks(rows: int, q: Share) -> tuple[int | None, int | None]:
    """The ranks, from 1 on, of the rows that are the ends of a 95% interval of the q-quantile of independent rows.

    Levels by the second-order Cornish-Fisher expansion of the binomial distribution, ranks rounded outward. Where a rank
    lies beyond all rows, the lowest or highest row takes its place if the chance that the quantile lies beyond it is at
    most 2.5% ((1 - q)^n, q^n); otherwise that end is None. So p95 has no upper end below 72 rows, p50 none below 6.
    """
    a, b = q
    if not rows:
        return None, None
    share = a / b
    half = Z_95 * sqrt(share * (1 - share) / rows)
    shift = (1 - 2 * share) * (Z_95 * Z_95 - 1) / (6 * rows)
    low, high = floor(rows * (share - half + shift)), ceil(rows * (share + half + shift)) + 1
    return (
        low if low >= 1 else 1 if 40 * (b - a) ** rows <= b**rows else None,
        high if high <= rows else rows if 40 * a**rows <= b**rows else None,
    )


def latency_interval(counts: NDArray[np.integer[Any]], draws: Draws, q: Share) -> Milliseconds:
    """The 95% interval of the q-quantile: that of the draws, widened to contain the binomial one over all rows.

    `counts` as in `quantile_interval`. From q = 3/4 on, the high end of the draws is at 99.5% instead of 97.5%: the largest
    draw where they are too few for that (six or seven units have 63 or 127), but enough for the other end.
    """
    a, b = q
    below, above = BOTH_ENDS
    if 4 * a >= 3 * b:
        above = max(above, min(WIDE_UPPER_END, draws.count + 1))
    low, high = quantile_interval(counts, draws, q, below, above)
    up_to = np.cumsum(counts.sum(axis=0, dtype=np.int64))
    low_rank, high_rank = binomial_ranks(int(up_to[-1]), q)
    return Milliseconds(
        None if low is None or low_rank is None else bin_low(min(low, int(np.searchsorted(up_to, low_rank)))),
        None if high is None or high_rank is None else bin_high(max(high, int(np.searchsorted(up_to, high_rank)))),
    )
