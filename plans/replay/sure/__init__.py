"""How sure a replay is: 95% intervals from resampled units, exact and the same bytes on any machine.

`units` (what is independent of what), `draws` (which units each draw takes, and exact sums over them), `ratios` (money,
hit rates), `latency` (quantiles of milliseconds). NumPy alone; no chance but raw Philox words.
"""

from plans.replay.sure.draws import Draws, Method
from plans.replay.sure.latency import (
    BINS,
    MAX_MS,
    Milliseconds,
    bin_high,
    bin_low,
    binomial_ranks,
    latency_bin,
    latency_interval,
    quantile_interval,
)
from plans.replay.sure.ratios import Interval, Ratio, hit_rate_interval, ratio_interval, ratio_intervals, wilson_95
from plans.replay.sure.units import MAX_UNITS, MIN_UNITS, effective_units, key_hash, splitmix64, unit_numbers

__all__ = [
    "BINS",
    "MAX_MS",
    "MAX_UNITS",
    "MIN_UNITS",
    "Draws",
    "Interval",
    "Method",
    "Milliseconds",
    "Ratio",
    "bin_high",
    "bin_low",
    "binomial_ranks",
    "effective_units",
    "hit_rate_interval",
    "key_hash",
    "latency_bin",
    "latency_interval",
    "quantile_interval",
    "ratio_interval",
    "ratio_intervals",
    "splitmix64",
    "unit_numbers",
    "wilson_95",
]
