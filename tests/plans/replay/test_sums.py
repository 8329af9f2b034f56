"""Totals by unit, and integers that never overflow."""

from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

from plans.replay import LogRow
from plans.replay.columns import Block, block_of
from plans.replay.columns.column import Coded, Vocabulary
from plans.replay.sums.counts import Counts
from plans.replay.sums.exact import Exact, total
from plans.replay.sums.units import CURRENT, HITS, ROUTE_CURRENT, ROUTE_PROJECTED, ROUTE_ROWS, ROWS, SAVED, UnitSums
from plans.replay.sure import MAX_UNITS, key_hash, splitmix64, unit_numbers
from tests.plans.replay.worlds import row

LIMIT, LATENCY_LIMIT, ROUTES = 12, 4, 3


def hashed(one: LogRow, ordinal: int) -> tuple[int, str]:
    if one.cluster_key is None:
        return int(splitmix64(np.array([ordinal], np.uint64))[0]), f"\0{ordinal}"
    return key_hash(one.cluster_key), one.cluster_key


def values_of(ordinal: int) -> tuple[int, int, int, bool, int]:
    """Saved, current, route, hit and bin of a row, all different."""
    return 10**17 + ordinal, 3 * 10**17 + 7 * ordinal, ordinal % 2, ordinal % 3 == 0, ordinal % 50


def sums_of(rows: list[LogRow], first: int) -> UnitSums:
    found = UnitSums(ROUTES, LIMIT, LATENCY_LIMIT)
    for start in range(0, len(rows), 3):
        block = block_of(rows[start : start + 3], first + start)
        saved, current, won, hits, bins = (
            np.array(column) for column in zip(*(values_of(int(n)) for n in block.ordinals), strict=True)
        )
        places = found.of_clusters(block)
        found.add(won, places, current, current - saved, hits)
        found.add_latencies(places[bins > 0], bins[bins > 0])
    return found


@pytest.mark.parametrize("keys", [2, LATENCY_LIMIT, LATENCY_LIMIT + 1, LIMIT, LIMIT + 1, 40])
@pytest.mark.parametrize("parts", [1, 2, 5])
def test_parts_add_up_to_the_units_in_their_order_or_to_buckets_beyond_the_limits(keys: int, parts: int) -> None:
    chance = Random(keys)
    rows = [row(n, cluster_key=None if keys == 40 and n % 5 == 0 else f"k{n % keys}") for n in range(60)]
    edges = [0, *sorted(chance.sample(range(1, 60), parts - 1)), 60]
    pieces = [sums_of(rows[start:stop], start) for start, stop in pairwise(edges)]
    chance.shuffle(pieces)
    whole, *others = pieces
    for other in others:
        whole.merge(other)

    names = sorted({hashed(one, n) for n, one in enumerate(rows)})
    units = [[n for n, one in enumerate(rows) if hashed(one, n) == name] for name in names]
    few = units
    if len(names) > LATENCY_LIMIT:
        few = buckets(rows, LATENCY_LIMIT)
    if len(names) > LIMIT:
        units = buckets(rows, LIMIT)
    assert len(whole) == len(units)
    found = whole.in_order([0, 1])
    expected = {
        SAVED: [sum(values_of(n)[0] for n in unit) for unit in units],
        CURRENT: [sum(values_of(n)[1] for n in unit) for unit in units],
        ROWS: [len(unit) for unit in units],
        HITS: [sum(values_of(n)[3] for n in unit) for unit in units],
    }
    assert {column: found.sums[column].tolist() for column in expected} == expected
    for route in (0, 1):
        mine = [[n for n in unit if values_of(n)[2] == route] for unit in units]
        assert found.routes[ROUTE_ROWS, route].tolist() == [len(unit) for unit in mine]
        assert found.routes[ROUTE_CURRENT, route].tolist() == [sum(values_of(n)[1] for n in unit) for unit in mine]
        assert found.routes[ROUTE_PROJECTED, route].tolist() == [
            sum(values_of(n)[1] - values_of(n)[0] for n in unit) for unit in mine
        ]
    counted = [Counter(values_of(n)[4] for n in unit if values_of(n)[4]) for unit in few]
    if len(names) > LATENCY_LIMIT:
        counted = [unit for unit in counted if unit]
    assert [{int(at): int(unit[at]) for at in np.flatnonzero(unit)} for unit in found.latencies] == counted
    assert whole.route_totals()[ROUTE_ROWS].tolist() == [sum(n % 2 == route for n in range(60)) for route in (0, 1, 2)]


def buckets(rows: list[LogRow], count: int) -> list[list[int]]:
    numbers = [hashed(one, n)[0] % count for n, one in enumerate(rows)]
    return [[n for n, mine in enumerate(numbers) if mine == number] for number in sorted(set(numbers))]


def test_a_key_is_no_row_without_a_key() -> None:
    """Whatever hashes they have, their names differ."""
    found = UnitSums(1)
    found.of_clusters(block_of([row(0, cluster_key=None), row(1, cluster_key="0"), row(2, cluster_key="")]))
    assert len(found) == 3


def test_units_are_in_the_order_of_their_hash() -> None:
    keys = [f"k{n}" for n in range(9)]
    found = UnitSums(1)
    block = block_of([row(n, cluster_key=key) for n, key in enumerate(keys)])
    found.add(np.zeros(9, np.int64), found.of_clusters(block), np.arange(9), np.arange(9))
    assert found.in_order([]).sums[CURRENT].tolist() == sorted(range(9), key=lambda n: key_hash(keys[n]))


@pytest.mark.parametrize(
    "of", [[2**62 - 1] * 7, [-(2**62) + 1] * 7, [2**62 - 1, -(2**62) + 1] * 5, [3, -4, 0], [10**18] * 99]
)
def test_totals_are_exact_beyond_64_bits(of: list[int]) -> None:
    values = np.array(of)
    assert total(values) == sum(of)
    one, other = Exact(2, 3, 2), Exact(2, 3, 2)
    other.add(np.zeros(len(of), np.intp), values)
    one.add(np.zeros(len(of), np.intp), values)
    one.add(np.array([9]), np.array([5]))  # the second group, the second place, the second column
    other.add_moved(one, np.array([0, 1, 2]))
    assert other.totals().tolist() == [[[2 * sum(of), 0], [0, 0], [0, 0]], [[0, 0], [0, 5], [0, 0]]]
    moved = other.moved(np.array([1, 1, 0]), 2)
    assert moved.totals().tolist() == [[[0, 0], [2 * sum(of), 0]], [[0, 0], [0, 5]]]


def test_nothing_is_a_total_of_zeros() -> None:
    assert Exact(1, 2, 1).totals().tolist() == [[[0], [0]]]
    assert total(np.zeros(0, np.int64)) == 0


def test_counts_of_parts_add_up_by_name() -> None:
    one, other = Counts(rows=2, unknown_prices=Counter(a=1)), Counts(rows=3, unknown_prices=Counter(a=1, b=2))
    one.merge(other)
    assert (one.rows, one.unknown_prices) == (5, Counter(a=2, b=2))
    assert one.excluded == dict.fromkeys(("failed", "repeated", "shadow", "unpriced"), 0)


def test_every_count_is_added() -> None:
    from dataclasses import fields

    one, other = Counts(), Counts()
    for number, each in enumerate(fields(Counts), 1):
        value: Any = Counter(x=number) if isinstance(getattr(other, each.name), Counter) else number
        setattr(other, each.name, value)
    one.merge(other)
    one.merge(other)
    for number, each in enumerate(fields(Counts), 1):
        found = getattr(one, each.name)
        assert (found["x"] if isinstance(found, Counter) else found) == 2 * number


@pytest.mark.parametrize("clusters", [5, 1_000, MAX_UNITS, MAX_UNITS + 1, 20_000])
@pytest.mark.parametrize("are_named", [True, False])
def test_rows_come_into_the_units_of_which_the_coverage_of_intervals_is_measured(
    clusters: int, are_named: bool
) -> None:
    """The campaign numbers units at once, the replay as it meets them, in several blocks: one rule, one order."""
    names = [f"key {number:06}" for number in range(clusters)]
    cluster = np.random.default_rng(1).integers(0, clusters, 2 * clusters) if are_named else np.arange(clusters)
    hashes = np.array([key_hash(name) for name in names], np.uint64) if are_named else splitmix64(cluster.astype("u8"))
    met = np.unique(cluster)
    numbers, count = unit_numbers(hashes[met])
    unit_of = np.zeros(clusters, np.int64)
    unit_of[met] = numbers
    sums, vocabulary = UnitSums(1), Vocabulary(names)
    for start in range(0, len(cluster), 7_000):
        part = cluster[start : start + 7_000]
        codes = part if are_named else np.full(len(part), -1)
        block = Block(start, len(part), {"cluster_key": Coded(codes.astype(np.int32), vocabulary)})
        costs = start + np.arange(len(part))
        sums.add(np.zeros(len(part), np.int64), sums.of_clusters(block), costs, 0 * costs)
    totals = sums.in_order([]).sums
    assert totals.shape[1] == count
    assert totals[ROWS].tolist() == np.bincount(unit_of[cluster], minlength=count).tolist()
    spent = np.zeros(count, np.int64)
    np.add.at(spent, unit_of[cluster], np.arange(len(cluster)))
    assert totals[CURRENT].tolist() == spent.tolist()
