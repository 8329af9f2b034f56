"""Intervals of a ratio of sums, such as saved / spent or hits / rows, from the sums over draws."""

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
from numpy.typing import NDArray

from plans.replay.sure.draws import Integers

#: The quantile of the normal distribution at 97.5%.
Z_95 = 1.959964
_EXACT = 2**53
_TILE = 2**19


@dataclass(frozen=True, slots=True)
class Interval:
    """Both ends belong to it; None where that end is open."""

    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Ratio(Interval):
    """A 95% interval of a ratio of sums."""

    #: Share of the draws with a negative numerator.
    probability_of_loss: float


def ratio_interval(numerators: Integers, denominators: Integers) -> Ratio:
    """The 95% interval of a ratio from its exact sums over B draws, both (B,), as `Draws.sums` gives them.

    The ratio of each draw is one correctly rounded division, and the ends are the k-th smallest and the k-th largest,
    k = (B + 1) // 40. A draw whose denominator is not positive has no ratio; such draws count as below and above
    everything in turn, which can only widen the interval. An end among them is open, and so are both where k is 0.
    """
    return ratio_intervals(numerators[:, None], denominators[:, None])[0]


def ratio_intervals(numerators: Integers, denominators: Integers) -> list[Ratio]:
    """`ratio_interval` of every column of two arrays of (B, C)."""
    if numerators.shape != denominators.shape or numerators.ndim != 2:
        raise ValueError(f"Two arrays of (draws, ratios), not of {numerators.shape} and {denominators.shape}.")
    draws, columns = numerators.shape
    if not draws:
        raise ValueError("No draws, no interval.")
    width = max(1, _TILE // draws)
    found: list[Ratio] = []
    for start in range(0, columns, width):
        block = slice(start, start + width)
        found += _block_of_ratios(numerators[:, block].T, denominators[:, block].T)
    return found


def _block_of_ratios(numerators: Integers, denominators: Integers) -> list[Ratio]:
    """Of (ratios, draws)."""
    draws = numerators.shape[1]
    losses = (numerators < 0).sum(axis=1) / draws
    ratios = _divided(numerators, denominators)
    k = (draws + 1) // 40
    if not k:
        return [Ratio(None, None, loss) for loss in losses.tolist()]
    ratios.partition([k - 1, draws - k], axis=1)
    ends = zip(ratios[:, k - 1].tolist(), ratios[:, draws - k].tolist(), losses.tolist(), strict=True)
    return [Ratio(_end(low), _end(high), loss) for low, high, loss in ends]


def _end(value: float) -> float | None:
    return None if value in (-inf, inf) else value


def _divided(numerators: Integers, denominators: Integers) -> NDArray[np.float64]:
    """Correctly rounded quotients; -infinity and +infinity in turn along a row where a denominator is not positive."""
    none = np.asarray(denominators <= 0, dtype=bool)
    large = np.asarray((numerators > _EXACT) | (numerators < -_EXACT) | (denominators > _EXACT), dtype=bool) & ~none
    quotients = np.empty(numerators.shape)
    plain = ~(none | large)
    np.divide(_doubles(numerators, plain), _doubles(denominators, plain), out=quotients, where=plain)
    if large.any():
        # Python divides integers of any size with one rounding; doubles would round them before they divide.
        pairs = zip(numerators[large].tolist(), denominators[large].tolist(), strict=True)
        quotients[large] = [above / below for above, below in pairs]
    if none.any():
        before = np.cumsum(none, axis=1)
        quotients[none] = np.where(before[none] % 2 == 1, -inf, inf)
    return quotients


def _doubles(integers: Integers, which: NDArray[np.bool_]) -> NDArray[np.float64]:
    if not integers.dtype.hasobject:
        return integers.astype(np.float64)
    doubles = np.ones(integers.shape)
    doubles[which] = integers[which].astype(np.float64)
    return doubles


def wilson_95(successes: int, trials: int) -> Interval | None:
    """Wilson's score interval (1927) for independent trials. None when there were none."""
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} of {trials} is no share.")
    if not trials:
        return None
    share, spread = successes / trials, Z_95 * Z_95 / trials
    centre = (share + spread / 2) / (1 + spread)
    half = Z_95 * sqrt(share * (1 - share) / trials + spread / (4 * trials)) / (1 + spread)
    # At the borders the formula gives them exactly, rounding might not.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(low, high)


def hit_rate_interval(hits: Integers, rows: Integers, *, all_hits: int, all_rows: int) -> Interval:
    """The 95% interval of the share all_hits / all_rows from its exact sums over draws, both (B,).

    It is widened to contain Wilson's interval over the rows: where hits are few, most draws have none, and rows alone vary
    by more than draws show.
    """
    clustered = ratio_interval(hits, rows)
    independent = wilson_95(all_hits, all_rows)
    return clustered if independent is None else union(clustered, independent)


def union(one: Interval, other: Interval) -> Interval:
    """The shortest interval that contains both."""
    return Interval(
        None if one.low is None or other.low is None else min(one.low, other.low),
        None if one.high is None or other.high is None else max(one.high, other.high),
    )
