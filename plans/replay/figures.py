"""Figures of a result as JSON numbers."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from plans.replay.sure import bin_high, bin_low


def usd(nano: int) -> int | float:
    """Nano-dollars as a JSON number of USD: the double nearest to the exact nine decimals, an integer where it is whole."""
    whole, rest = divmod(nano, 10**9)
    return whole if rest == 0 else float(Decimal(nano).scaleb(-9))


def percent(part: int, whole: int) -> float | int | None:
    if whole == 0:
        return None
    return 0 if part == 0 else float(Fraction(part * 100, whole))


def quantile(counts: NDArray[np.int64], q: tuple[int, int]) -> int | None:
    """Of rows by bin, the milliseconds of the element at index (2a(n - 1) + b) // (2b); above 255 ms the middle of its
    bin, which is less than 0.8% wide. None for none."""
    a, b = q
    rows = int(counts.sum())
    if not rows:
        return None
    number = int(np.searchsorted(np.cumsum(counts), (2 * a * (rows - 1) + b) // (2 * b), side="right"))
    return (bin_low(number) + bin_high(number)) // 2
