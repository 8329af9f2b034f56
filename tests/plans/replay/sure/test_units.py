"""What the units are: hashes, their order, buckets, and how many there effectively are."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.replay.sure import MAX_UNITS, effective_units, key_hash, splitmix64, unit_numbers
from tests.plans.replay import naive


@pytest.mark.parametrize(
    ("seed", "outputs"),
    # Outputs of the reference implementation (Vigna, prng.di.unimi.it/splitmix64.c); those of 1234567 as Rosetta Code
    # publishes them under "Pseudo-random numbers/Splitmix64".
    [
        (0, [0xE220A8397B1DCDAF]),
        (
            1234567,
            [
                6457827717110365317,
                3203168211198807973,
                9817491932198370423,
                4593380528125082431,
                16408922859458223821,
            ],
        ),
    ],
)
def test_splitmix64_is_the_published_one(seed: int, outputs: list[int]) -> None:
    """The n-th output of the generator is the first of the one whose state has moved on n steps."""
    states = [(seed + n * 0x9E3779B97F4A7C15) % 2**64 for n in range(len(outputs))]
    assert splitmix64(np.array(states, dtype=np.uint64)).tolist() == outputs


def test_the_hash_of_a_key_is_pinned() -> None:
    """The first 16 hexadecimal digits of what `sha256sum` prints."""
    assert key_hash("user-1") == 0xC6C289E49E9C05B2
    assert key_hash("") == 0xE3B0C44298FC1C14
    assert isinstance(key_hash("half \ud83d of a pair"), int)


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_few_clusters_are_units_in_the_order_of_their_hashes_and_then_of_their_names(hashes: list[int]) -> None:
    numbers, count = unit_numbers(np.array(hashes, dtype=np.uint64))
    assert count == len(hashes)
    in_order = sorted(range(len(hashes)), key=lambda place: (hashes[place], place))
    assert [numbers[place] for place in in_order] == list(range(count))


def test_more_clusters_than_units_share_buckets_of_which_the_empty_ones_do_not_count() -> None:
    hashes = splitmix64(np.arange(30_000, dtype=np.uint64))
    numbers, count = unit_numbers(hashes)
    buckets = sorted({int(each) % MAX_UNITS for each in hashes})
    assert count == len(buckets) < MAX_UNITS
    assert numbers.tolist() == [buckets.index(int(each) % MAX_UNITS) for each in hashes[:50]] + numbers[50:].tolist()
    assert sorted(set(numbers.tolist())) == list(range(count))


def test_one_cluster_more_than_there_are_units_makes_buckets() -> None:
    # All of these hashes are 0 modulo the number of units.
    exact, count = unit_numbers(np.arange(MAX_UNITS, dtype=np.uint64)[::-1] * np.uint64(MAX_UNITS))
    assert (exact.tolist(), count) == (list(range(MAX_UNITS))[::-1], MAX_UNITS)
    folded, count = unit_numbers(np.arange(MAX_UNITS + 1, dtype=np.uint64))
    assert (folded[0], folded[MAX_UNITS], count) == (0, 0, MAX_UNITS)


@given(st.lists(st.integers(0, 10**18), max_size=20))
def test_effective_units_are_exact(sizes: list[int]) -> None:
    assert effective_units(sizes) == effective_units(np.array(sizes, dtype=np.int64)) == naive.effective(sizes)


@pytest.mark.parametrize(
    ("sizes", "expected"), [([], 0), ([0, 0], 0), ([5], 1), ([3, 3, 3, 3], 4), ([3, 1], Fraction(16, 10))]
)
def test_effective_units_of_known_sizes(sizes: list[int], expected: Fraction) -> None:
    assert effective_units(sizes) == expected
