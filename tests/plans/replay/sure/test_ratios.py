"""Intervals of ratios against the definition in fractions, and Wilson's against published figures."""

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plans.replay.sure import (
    Draws,
    Interval,
    Method,
    Ratio,
    hit_rate_interval,
    ratio_interval,
    ratio_intervals,
    wilson_95,
)
from plans.replay.sure import ratios as subject
from plans.replay.sure.ratios import union
from tests.plans.replay import naive


def plainly(saved: list[int], current: list[int]) -> Ratio:
    """From the sums of each draw."""
    ratios = [Fraction(above, below) if below > 0 else None for above, below in zip(saved, current, strict=True)]
    low, high = (None if end is None else float(end) for end in naive.ends(ratios))
    return Ratio(low, high, sum(above < 0 for above in saved) / len(saved))


def objects(values: list[int]) -> Any:
    return np.array(values, dtype=object)


@settings(max_examples=150, deadline=None)
@given(data=st.data(), size=st.sampled_from([3, 1000, 2**53 + 5, 2**63 - 1, 2**80]))
def test_ends_and_losses_are_those_of_the_definition(data: st.DataObject, size: int) -> None:
    draws = data.draw(st.integers(1, 130))
    saved = data.draw(st.lists(st.integers(-size, size), min_size=draws, max_size=draws))
    current = data.draw(st.lists(st.integers(-1, size), min_size=draws, max_size=draws))
    assert ratio_interval(objects(saved), objects(current)) == plainly(saved, current)
    if size < 2**63:
        assert ratio_interval(np.array(saved), np.array(current)) == plainly(saved, current)


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    method=st.sampled_from(["random_subsets", "cluster_bootstrap"]),
    seed=st.integers(0, 2**63 - 1),
    units=st.integers(6, 60),
)
def test_the_interval_of_units_is_that_of_the_second_implementation(
    data: st.DataObject, method: Method, seed: int, units: int
) -> None:
    pairs = data.draw(
        st.lists(st.tuples(st.integers(-(10**15), 10**15), st.integers(0, 10**15)), min_size=units, max_size=units)
    )
    if units <= 13 and method == "random_subsets":
        pairs = pairs[:9]
    sums = Draws(len(pairs), seed=seed, iterations=120, method=method).sums(np.array(pairs))
    weights = naive.weights(method, len(pairs), seed, 120)
    saved, current = (naive.summed(weights, column) for column in zip(*pairs, strict=True))
    assert ratio_interval(sums[:, 0], sums[:, 1]) == plainly(saved, current)
    if method == "random_subsets":
        low, high, losses = naive.interval(pairs, seed, 120)
        found = ratio_interval(sums[:, 0], sums[:, 1])
        assert found.low == (None if low is None else float(low))
        assert found.high == (None if high is None else float(high))
        assert found.probability_of_loss == float(losses)


def test_division_rounds_once_where_doubles_would_round_three_times() -> None:
    above, below = 2**53 + 3, 5 * 2**53 + 3
    assert float(above) / float(below) != above / below
    found = ratio_interval(np.array([above] * 39), np.array([below] * 39))
    assert found.low == found.high == float(Fraction(above, below)) == above / below


@pytest.mark.parametrize(("draws", "is_open"), [(38, True), (39, False)])
def test_fewer_draws_than_an_end_needs_leave_it_open(draws: int, is_open: bool) -> None:
    found = ratio_interval(np.arange(draws), np.full(draws, 100))
    assert (found.low is None, found.high is None) == (is_open, is_open)


@pytest.mark.parametrize(
    ("without", "low", "high"),
    [(0, 2, 116), (1, 1, 116), (2, 1, 117), (3, 0, 117), (4, 0, 118), (5, None, 118), (6, None, None)],
)
def test_draws_without_a_denominator_are_below_and_above_in_turn(
    without: int, low: int | None, high: int | None
) -> None:
    """Of 119 draws with the ratios 0 to 118 the third from either side is the end; those in the middle are taken away."""
    numerators, denominators = np.arange(119), np.ones(119, dtype=np.int64)
    denominators[57 : 57 + without] = 0
    assert ratio_interval(numerators, denominators) == Ratio(low, high, 0)
    denominators[57 : 57 + without] = -1
    assert ratio_interval(numerators, denominators) == Ratio(low, high, 0)


@pytest.mark.parametrize("tile", [1, 300, 2**19])
def test_many_ratios_at_once_are_those_of_each(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    monkeypatch.setattr(subject, "_TILE", tile)
    chance = np.random.Generator(np.random.PCG64(3))
    saved, current = chance.integers(-50, 100, (130, 9)), chance.integers(0, 12, (130, 9)) * 2
    saved[:, 4] <<= 50
    each = [ratio_interval(saved[:, place], current[:, place]) for place in range(9)]
    assert ratio_intervals(saved, current) == each
    assert ratio_intervals(saved.astype(object), current.astype(object)) == each
    assert each == [plainly(saved[:, place].tolist(), current[:, place].tolist()) for place in range(9)]
    assert ratio_intervals(saved[:, :0], current[:, :0]) == []


def test_arrays_that_do_not_fit_together_and_no_draws_are_refused() -> None:
    with pytest.raises(ValueError, match="Two arrays"):
        ratio_interval(np.ones(3, dtype=np.int64), np.ones(4, dtype=np.int64))
    with pytest.raises(ValueError, match="No draws"):
        ratio_interval(np.ones(0, dtype=np.int64), np.ones(0, dtype=np.int64))


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3, to the four decimals given there.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_is_the_published_one(successes: int, trials: int, low: float, high: float) -> None:
    found = wilson_95(successes, trials)
    assert found is not None
    assert found.low == pytest.approx(low, abs=5.1e-5)
    assert found.high == pytest.approx(high, abs=5.1e-5)


@pytest.mark.parametrize("trials", [*range(1, 60), 10**9, 10**15])
def test_wilson_ends_at_the_borders_and_is_symmetric(trials: int) -> None:
    none, every = wilson_95(0, trials), wilson_95(trials, trials)
    assert none is not None
    assert every is not None
    assert none.low == 0
    assert every.high == 1
    assert none.high == pytest.approx(1 - (every.low or 0), abs=1e-15)


def test_wilson_of_nothing_is_nothing_and_impossible_counts_are_refused() -> None:
    assert wilson_95(0, 0) is None
    for successes, trials in ((-1, 5), (6, 5)):
        with pytest.raises(ValueError, match="no share"):
            wilson_95(successes, trials)


def test_a_hit_rate_is_at_least_as_unsure_as_its_rows() -> None:
    """No hits in 30 rows: every draw says 0, and Wilson's interval says up to 11%."""
    draws = Draws(30, seed=1, iterations=1000)
    sums = draws.sums(np.array([[0, 1]] * 30))
    assert ratio_interval(sums[:, 0], sums[:, 1]) == Ratio(0, 0, 0)
    assert hit_rate_interval(sums[:, 0], sums[:, 1], all_hits=0, all_rows=30) == wilson_95(0, 30)


def test_a_hit_rate_of_clusters_is_less_sure_than_its_rows() -> None:
    sums = Draws(30, seed=1, iterations=1000).sums(np.array([[100, 100], [0, 100]] * 15))
    clustered = ratio_interval(sums[:, 0], sums[:, 1])
    joined = hit_rate_interval(sums[:, 0], sums[:, 1], all_hits=1500, all_rows=3000)
    assert joined == Interval(clustered.low, clustered.high)
    assert joined.low is not None
    assert joined.low < 0.4


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (Interval(1, 2), Interval(3, 4), Interval(1, 4)),
        (Interval(1, 9), Interval(3, 4), Interval(1, 9)),
        (Interval(None, 2), Interval(3, 4), Interval(None, 4)),
        (Interval(1, 2), Interval(3, None), Interval(1, None)),
    ],
)
def test_a_union_with_an_open_end_is_open(one: Interval, other: Interval, both: Interval) -> None:
    assert union(one, other) == union(other, one) == both
