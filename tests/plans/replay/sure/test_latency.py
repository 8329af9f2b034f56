"""Bins of milliseconds, quantiles of draws by brute force, and the binomial interval against its exact chances."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from plans.replay.sure import (
    BINS,
    MAX_MS,
    Draws,
    Method,
    Milliseconds,
    bin_high,
    bin_low,
    binomial_ranks,
    latency_bin,
    latency_interval,
    quantile_interval,
)
from plans.replay.sure import latency as subject
from tests.plans.replay import naive

P50, P95 = (1, 2), (95, 100)


def bin_of(ms: int) -> int:
    return int(latency_bin(np.array([ms]))[0])


def test_every_millisecond_lies_in_its_bin_and_in_no_other() -> None:
    """Every bin begins where the one before it ends, the first one at 0 and the last one ends at 2^31 - 1."""
    lows, highs = np.array([bin_low(n) for n in range(BINS)]), np.array([bin_high(n) for n in range(BINS)])
    assert (lows[0], highs[-1]) == (0, MAX_MS)
    assert (lows[1:] == highs[:-1] + 1).all()
    for edges in (lows, highs, (lows + highs) // 2):
        assert latency_bin(edges).tolist() == list(range(BINS))
    few = np.arange(70_000)
    assert (latency_bin(few) == np.searchsorted(lows, few, side="right") - 1).all()


def test_bins_are_exact_to_255_ms_and_then_less_than_a_128th_wide() -> None:
    assert [bin_low(bin_of(ms)) for ms in range(256)] == [bin_high(bin_of(ms)) for ms in range(256)] == list(range(256))
    assert bin_high(bin_of(256)) == 257
    assert all(bin_high(n) - bin_low(n) < bin_low(n) / 128 for n in range(1, BINS))
    assert [bin_of(2 ** (power + 1)) - bin_of(2**power) for power in range(7, 30)] == [128] * 23


@given(st.lists(st.integers(0, MAX_MS), max_size=30), st.sampled_from([np.int32, np.int64]))
def test_bins_keep_the_order_and_contain_what_is_in_them(values: list[int], dtype: type[np.int64]) -> None:
    bins = latency_bin(np.array(sorted(values), dtype=dtype))
    assert bins.tolist() == sorted(bins.tolist())
    assert all(bin_low(int(n)) <= ms <= bin_high(int(n)) for n, ms in zip(bins, sorted(values), strict=True))


@pytest.mark.parametrize("ms", [-1, MAX_MS + 1])
def test_a_latency_that_has_no_bin_is_refused(ms: int) -> None:
    with pytest.raises(ValueError, match="0 to 2,147,483,647"):
        latency_bin(np.array([5, ms]))


# --- Quantiles over draws ---------------------------------------------------------------------------------------------


def by_brute_force(
    counts: list[list[int]], method: Method, seed: int, iterations: int, q: tuple[int, int], low: int, high: int
) -> tuple[int | None, int | None]:
    quantiles = []
    for draw in naive.weights(method, len(counts), seed, iterations):
        rows = [
            bin
            for times, unit in zip(draw, counts, strict=True)
            for bin, count in enumerate(unit)
            for _ in range(count * times)
        ]
        quantiles.append(naive.quantile(rows, q))
    ends = naive.ends(quantiles, low, high)
    return tuple(None if end is None else int(end) for end in ends)


@settings(max_examples=120, deadline=None)
@given(
    data=st.data(),
    method=st.sampled_from(["random_subsets", "cluster_bootstrap"]),
    seed=st.integers(0, 2**63 - 1),
    q=st.sampled_from([P50, P95, (1, 4), (99, 100), (0, 1), (1, 1), (1, 3)]),
    tails=st.sampled_from([(40, 40), (40, 200), (10, 3)]),
    rounds=st.sampled_from([1, 2, 12]),
)
def test_the_ends_are_those_of_the_quantiles_of_all_draws(
    data: st.DataObject, method: Method, seed: int, q: tuple[int, int], tails: tuple[int, int], rounds: int
) -> None:
    units, bins = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 40))
    most = data.draw(st.sampled_from([1, 3, 9]))
    full = data.draw(st.lists(st.booleans(), min_size=units, max_size=units))
    chance = np.random.Generator(np.random.PCG64(data.draw(st.integers(0, 999))))
    counts = np.maximum(chance.integers(-most, most + 1, (units, bins)), 0) * np.array(full)[:, None]
    if units > 8 and method == "random_subsets":
        counts = np.concatenate([counts, counts[: 14 - units]]) if units < 14 else counts
    expected = by_brute_force(counts.tolist(), method, seed, 210, q, *tails)
    draws = Draws(len(counts), seed=seed, iterations=210, method=method)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subject, "_ASKED", rounds)
        for dtype in (np.int64, np.int32, np.uint16):
            assert quantile_interval(counts.astype(dtype), draws, q, *tails) == expected


def test_no_rows_and_too_few_draws_leave_both_ends_open() -> None:
    draws = Draws(20, seed=1, iterations=100)
    assert quantile_interval(np.zeros((20, 5), dtype=np.int64), draws, P50) == (None, None)
    few = Draws(20, seed=1, iterations=38)
    assert quantile_interval(np.ones((20, 5), dtype=np.int64), few, P50) == (None, None)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(3, 3, (7, 7)), (4, 4, (None, 7)), (5, 5, (None, None)), (2, 64, (7, None))]
)
def test_draws_without_rows_are_below_and_above_in_turn(
    low: int, high: int, expected: tuple[int | None, int | None]
) -> None:
    """Of the 63 subsets of six units 31 lack the only unit with rows: 16 are below, 15 above, 32 have the quantile 7."""
    counts = np.zeros((6, 9), dtype=np.int64)
    counts[2, 7] = 5
    assert quantile_interval(counts, Draws(6, seed=1, iterations=2), P50, low, high) == expected


# --- Over rows --------------------------------------------------------------------------------------------------------


def chance_below(rank: int, rows: int, q: float) -> float:
    """That fewer than `rank` of the rows lie below the quantile."""
    return sum(comb(rows, k) * q**k * (1 - q) ** (rows - k) for k in range(rank))


@pytest.mark.parametrize("q", [P50, P95, (9, 10), (1, 4)])
def test_the_binomial_interval_covers_95_percent_and_is_not_much_longer_than_it_needs(q: tuple[int, int]) -> None:
    share = q[0] / q[1]
    for rows in range(1, 400):
        low, high = binomial_ranks(rows, q)
        beyond_low = chance_below(low, rows, share) if low is not None else 0.0
        beyond_high = 1 - chance_below(high, rows, share) if high is not None else 0.0
        assert beyond_low + beyond_high <= 0.05
        if low is not None and low > 1:
            assert chance_below(low + 3, rows, share) > 0.025
        if high is not None and high < rows:
            assert 1 - chance_below(high - 3, rows, share) > 0.025


@pytest.mark.parametrize(("q", "rows"), [(P95, 72), (P50, 6), ((9, 10), 36), ((99, 100), 368)])
def test_there_is_no_upper_end_where_the_largest_row_is_too_often_below_the_quantile(
    q: tuple[int, int], rows: int
) -> None:
    """0.95^72 = 2.49%, 0.95^71 = 2.62%."""
    assert (q[0] / q[1]) ** rows <= 0.025 < (q[0] / q[1]) ** (rows - 1)
    assert binomial_ranks(rows, q)[1] == rows
    assert all(binomial_ranks(fewer, q)[1] is None for fewer in range(rows))


def test_ranks_of_known_numbers() -> None:
    """n = 1,000: 950 - 13.51 - 0.43 = 936.07, and 950 + 13.51 - 0.43 = 963.08, so the rank above 964."""
    assert binomial_ranks(1000, P95) == (936, 965)
    assert binomial_ranks(1000, P50) == (469, 532)
    # 951.90 - 13.52 = 938.38 and 951.90 + 13.52 = 965.42: here the term of second order, 0.43, moves both.
    assert binomial_ranks(1002, P95) == (937, 966)
    assert binomial_ranks(10**9, P50) == (499_969_010, 500_030_991)
    assert binomial_ranks(0, P50) == (None, None)
    assert binomial_ranks(5, P50) == (None, None)


# --- Both joined ------------------------------------------------------------------------------------------------------


def counted(ms: NDArray[np.int64], unit: NDArray[np.int64], units: int) -> NDArray[np.int64]:
    counts = np.zeros((units, BINS), dtype=np.int64)
    np.add.at(counts, (unit, latency_bin(ms)), 1)
    return counts


@pytest.mark.parametrize(("q", "high"), [(P50, 40), (P95, 200)])
def test_the_interval_contains_that_of_the_draws_and_that_of_the_rows(q: tuple[int, int], high: int) -> None:
    chance = np.random.Generator(np.random.PCG64(4))
    for clustered in (0.0, 0.3):
        unit = np.repeat(np.arange(40), 10)
        ms = np.rint(np.exp(6 + clustered * chance.normal(size=40)[unit] + chance.normal(size=400))).astype(np.int64)
        counts, draws = counted(ms, unit, 40), Draws(40, seed=1, iterations=2000)
        low_bin, high_bin = quantile_interval(counts, draws, q, 40, high)
        low_rank, high_rank = binomial_ranks(400, q)
        assert None not in (low_bin, high_bin, low_rank, high_rank)
        rows = sorted(ms.tolist())
        found = latency_interval(counts, draws, q)
        assert found == Milliseconds(
            min(bin_low(low_bin), bin_low(bin_of(rows[low_rank - 1]))),
            max(bin_high(high_bin), bin_high(bin_of(rows[high_rank - 1]))),
        )


def test_p95_has_no_upper_end_below_72_rows() -> None:
    for rows, is_open in ((71, True), (72, False)):
        ms = np.arange(rows, dtype=np.int64)
        found = latency_interval(counted(ms, ms, rows), Draws(rows, seed=1, iterations=2000), P95)
        assert found.low is not None
        assert (found.high is None) == is_open


def test_the_same_milliseconds_everywhere_are_certain() -> None:
    ms = np.full(300, 123)
    counts = counted(ms, np.arange(300), 300)
    for q in (P50, P95):
        assert latency_interval(counts, Draws(300, seed=1, iterations=400), q) == Milliseconds(123, 123)


def test_with_too_few_draws_for_half_a_percent_the_largest_is_the_upper_end_of_p95() -> None:
    ms = np.arange(7_000, dtype=np.int64)
    for units, draws in ((6, Draws(6, seed=1, iterations=2)), (7, Draws(7, seed=1, iterations=2))):  # 63 and 127
        counts = counted(ms, ms % units, units)
        _, high_bin = quantile_interval(counts, draws, P95, 40, draws.count + 1)
        found = latency_interval(counts, draws, P95)
        assert high_bin is not None
        assert found.high == max(bin_high(high_bin), bin_high(bin_of(6_687)))
    for iterations, is_open in ((38, True), (40, False)):
        found = latency_interval(counted(ms, ms % 20, 20), Draws(20, seed=1, iterations=iterations), P95)
        assert (found.low is None, found.high is None) == (is_open, is_open)
