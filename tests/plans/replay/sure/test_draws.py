"""Draws and their sums, against Philox and the definitions written out."""

from hashlib import sha256
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plans.replay.sure import Draws, Method
from plans.replay.sure import draws as subject
from plans.replay.sure.draws import MAX_DRAWN_UNITS
from tests.plans.replay import naive

METHODS: list[Method] = ["random_subsets", "cluster_bootstrap"]


def drawn(units: int, seed: int, iterations: int, method: Method) -> list[list[int]]:
    """How often each unit is in each draw: what summing the columns of the unit matrix says."""
    draws = Draws(units, seed=seed, iterations=iterations, method=method)
    sums = draws.sums(np.eye(units, dtype=np.int64))
    assert len(sums) == draws.count
    return [list(map(int, row)) for row in sums]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("units", [1, 2, 6, 7, 8, 9, 14, 63, 64, 65, 130, 257])
def test_draws_are_those_of_the_definition(units: int, method: Method) -> None:
    assert drawn(units, 11, 41, method) == [list(each) for each in naive.weights(method, units, 11, 41)]


@settings(max_examples=20, deadline=None)
@given(
    units=st.integers(14, 90),
    seed=st.integers(0, 2**64 - 1),
    iterations=st.integers(2, 40),
    method=st.sampled_from(METHODS),
)
def test_draws_are_those_of_the_definition_for_any_seed(units: int, seed: int, iterations: int, method: Method) -> None:
    assert drawn(units, seed, iterations, method) == [
        list(each) for each in naive.weights(method, units, seed, iterations)
    ]


def test_up_to_13_units_take_every_subset_but_the_empty_one_whatever_the_iterations() -> None:
    found = drawn(13, 1, 2, "random_subsets")
    assert len({tuple(each) for each in found}) == len(found) == 2**13 - 1
    assert {tuple(each) for each in found} == {tuple(each) for each in naive.every_mask(13)}
    assert Draws(14, seed=1, iterations=5).count == 4


def test_the_draws_are_pinned() -> None:
    """They may never change: an interval that was approved is computed again years later."""
    columns = np.arange(4000, dtype=np.int64).reshape(1000, 4) ** 3
    pins = {
        method: sha256(Draws(1000, seed=1, iterations=60, method=method).sums(columns).astype("<i8").tobytes())
        for method in METHODS
    }
    assert {method: pin.hexdigest()[:16] for method, pin in pins.items()} == {
        "random_subsets": "0f9a99f3ffcbf590",
        "cluster_bootstrap": "75e94388e743d2b5",
    }


def test_the_coins_are_those_of_the_raw_words() -> None:
    words = naive.philox4x64((1, 0, 0, 0), (1, 0))
    assert drawn(256, 1, 2, "random_subsets")[0] == [words[j // 64] >> (j % 64) & 1 for j in range(256)]


def test_coins_are_fair_and_bootstrap_weights_are_poisson_like() -> None:
    ones = np.ones((16_384, 1), dtype=np.int64)
    kept = Draws(16_384, seed=5, iterations=40).sums(ones)[::2]
    assert abs(kept.mean() / 16_384 - 0.5) < 0.005
    twice = Draws(16_384, seed=5, iterations=40, method="cluster_bootstrap")
    assert set(twice.sums(ones).ravel().tolist()) == {16_384}
    times = np.concatenate([tile for _, tile in twice._weights()])
    assert abs((times == 0).mean() - np.exp(-1)) < 0.002


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("power", [0, 30, 31, 32, 45, 46, 47, 52, 53, 57, 58, 62, 63, 64, 79, 96, 200])
def test_sums_are_exact_beyond_what_a_double_and_an_int64_hold(power: int, method: Method) -> None:
    """The powers stand on both sides of one, two and more limbs; what is negative is so in the highest limb alone."""
    columns = [
        [(-1) ** n * (2**power + 3 * n) for n in range(40)],
        [2**power + 7 * n for n in range(40)],
        [-(2**power) for _ in range(40)],
        list(range(40)),
    ]
    array: Any = np.array(columns, dtype=object).T
    draws = Draws(40, seed=7, iterations=20, method=method)
    weights = naive.weights(method, 40, 7, 20)
    expected = [list(row) for row in zip(*(naive.summed(weights, column) for column in columns), strict=True)]
    assert draws.sums(array).tolist() == expected
    if power < 63:
        assert draws.sums(array.astype(np.int64)).tolist() == expected


@pytest.mark.parametrize("method", METHODS)
def test_sums_are_exact_where_a_double_begins_to_skip_integers(method: Method) -> None:
    """2^53 + 1 is the first integer that is no double."""
    for column in ([2**53, 1], [2**53 - 1, 2], [2**52 + 1, 2**52], [-(2**53), -1]):
        weights = naive.weights(method, 2, 1, 30)
        sums = Draws(2, seed=1, iterations=30, method=method).sums(np.array(column)[:, None])
        assert sums[:, 0].tolist() == naive.summed(weights, column)


@pytest.mark.parametrize("bits", [39, 62, 63])
def test_sums_of_as_many_units_as_there_can_be_are_exact(bits: int) -> None:
    """Sums of the limbs of 16,384 numbers need 14 bits more than the limbs."""
    chance = np.random.Generator(np.random.PCG64(bits))
    columns = chance.integers(-(2**bits), 2**bits - 1, (16_384, 2), endpoint=True)
    masks = list(naive.drawn_masks(16_384, 5, 4))
    assert Draws(16_384, seed=5, iterations=4).sums(columns).T.tolist() == [
        naive.summed(masks, column) for column in columns.T.tolist()
    ]


@settings(max_examples=60, deadline=None)
@given(data=st.data(), method=st.sampled_from(METHODS), units=st.integers(1, 20), width=st.integers(0, 5))
def test_sums_of_any_integers_are_exact(data: st.DataObject, method: Method, units: int, width: int) -> None:
    size = data.draw(st.sampled_from([10, 2**31, 2**53, 2**63 - 1, 2**90]))
    column = st.lists(st.integers(-size - 1, size), min_size=units, max_size=units)
    columns = data.draw(st.lists(column, min_size=width, max_size=width))
    array = np.array(columns, dtype=object).reshape(width, units).T
    if size < 2**63 and data.draw(st.booleans()):
        array = array.astype(np.int64)
    weights = naive.weights(method, units, 3, 12)
    sums = Draws(units, seed=3, iterations=12, method=method).sums(array)
    assert sums.shape == (len(weights), width)
    assert sums.T.tolist() == [naive.summed(weights, each) for each in columns]


def test_sums_are_int64_exactly_where_the_absolute_values_of_each_column_fit() -> None:
    half = 2**62
    fits, beyond = np.array([[half, 1], [1 - half, 1]]), np.array([[half, 1], [-half, 1]])
    draws = Draws(2, seed=1, iterations=2)
    assert draws.sums(fits[:, :1]).dtype == np.int64
    assert draws.sums(fits).dtype == np.int64
    assert draws.sums(beyond).dtype == object
    assert draws.sums(beyond.astype(object)).dtype == object
    assert draws.sums(fits.astype(object)).dtype == np.int64
    assert all(type(each) is int for each in draws.sums(beyond).flat)
    lowest = np.array([[-(2**63)], [0]])
    assert draws.sums(lowest).tolist() == [[-(2**63)], [0], [-(2**63)]]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("units", [9, 200])
@pytest.mark.parametrize(("draws_tile", "columns_tile", "kept"), [(1, 1, 0), (450, 700, 0), (1000, 1, 2**24)])
def test_no_size_of_tiles_changes_a_byte(
    monkeypatch: pytest.MonkeyPatch, units: int, method: Method, draws_tile: int, columns_tile: int, kept: int
) -> None:
    chance = np.random.Generator(np.random.PCG64(1))
    columns = chance.integers(-(2**40), 2**40, (units, 7)) << np.array([0, 12, 0, 5, 12, 12, 0])
    expected = Draws(units, seed=2, iterations=50, method=method).sums(columns)
    monkeypatch.setattr(subject, "_DRAWS_TILE", draws_tile)
    monkeypatch.setattr(subject, "_COLUMNS_TILE", columns_tile)
    monkeypatch.setattr(subject, "_KEPT_BYTES", kept)
    draws = Draws(units, seed=2, iterations=50, method=method)
    found = draws.sums(columns)
    assert (found.dtype, found.tobytes()) == (expected.dtype, expected.tobytes())
    assert draws.sums(columns[:, 3:4]).tobytes() == expected[:, 3:4].tobytes()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("units", [5, 13, 14, 64, 65, 100])
def test_the_first_units_are_drawn_as_if_they_were_alone(units: int, method: Method) -> None:
    columns = np.arange(units, dtype=np.int64)[:, None]
    alone = Draws(units, seed=9, iterations=30, method=method).sums(columns)
    many = Draws(100, seed=9, iterations=30, method=method)
    assert many.first(units).sums(columns).tolist() == alone.tolist()


def test_draws_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    draws, column = Draws(100, seed=9, iterations=30), np.ones((100, 1), dtype=np.int64)
    expected = draws.sums(column).tolist()
    monkeypatch.setattr(np.random, "Philox", None)
    assert draws.sums(column).tolist() == expected
    assert draws.first(64).sums(column[:64]).tolist() != expected


@pytest.mark.parametrize(("units", "iterations"), [(0, 100), (MAX_DRAWN_UNITS + 1, 100), (20, 1)])
def test_what_cannot_be_drawn_is_refused(units: int, iterations: int) -> None:
    with pytest.raises(ValueError, match=r"units, not of|two iterations"):
        Draws(units, seed=1, iterations=iterations)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_that_is_no_word_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="a word"):
        Draws(20, seed=seed, iterations=20)


@pytest.mark.parametrize(
    ("columns", "error"),
    [
        (np.ones((20, 2)), TypeError),
        (np.ones((20, 2), dtype=np.uint64), TypeError),
        (np.array([[0.5]] * 20, dtype=object), TypeError),
        (np.ones((19, 2), dtype=np.int64), ValueError),
        (np.ones(20, dtype=np.int64), ValueError),
    ],
)
def test_what_cannot_be_summed_exactly_is_refused(columns: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Draws(20, seed=1, iterations=20).sums(columns)


def test_more_units_than_the_first_has_are_refused() -> None:
    with pytest.raises(ValueError, match="only 20"):
        Draws(20, seed=1, iterations=20).first(21)


def test_memory_stays_bounded_whatever_is_summed() -> None:
    import tracemalloc

    columns = np.ones((16_384, 400), dtype=np.int64)
    draws = Draws(16_384, seed=1, iterations=200, method="cluster_bootstrap")
    tracemalloc.start()
    try:
        draws.sums(columns)
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()
