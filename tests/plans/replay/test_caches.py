"""What projected caches answer, and what that is worth. `test_cases` has the shared cases."""

from datetime import timedelta
from random import Random
from typing import Any

import numpy as np
import pytest

from plans.replay import LogRow
from plans.replay.caches.l1 import L1, keys_of
from plans.replay.caches.l2 import L2, cosine, diverged
from plans.replay.columns import block_of
from plans.replay.figures import usd
from tests.plans.replay import naive_caches
from tests.plans.replay.worlds import NOTHING, START, routes, row, run, to

NO_CACHE = {"then": {"disable_cache": True}}


def alike(n: int, seconds: float = 0, **changes: Any) -> LogRow:
    return row(n, **{"ts": START + timedelta(seconds=seconds), "request_digest": "d", "cost_nano": 1000, **changes})


def rate(rows: list[LogRow], *given: Any, **more: Any) -> float:
    found: float = run(rows, *(given or (NOTHING,)), **{"l1_ttl_seconds": 60, **more})["aggregates"][
        "cache_hit_rate_projected"
    ]
    return found


@pytest.mark.parametrize(("seconds", "hit"), [(0, 1), (59.999999, 1), (60, 1), (60.000001, 0)])
def test_an_entry_lives_so_long_and_not_longer(seconds: float, hit: int) -> None:
    assert rate([alike(0), alike(1, seconds)]) == hit / 2


def test_a_hit_does_not_refresh_its_entry() -> None:
    assert rate([alike(n, 40 * n) for n in range(4)]) == 2 / 4


@pytest.mark.parametrize(
    ("changes", "hit"),
    [
        ({}, 1),
        ({"model": "other", "input_tokens": 7, "tag": "x"}, 1),
        ({"request_digest": "e"}, 0),
        ({"request_digest": ""}, 0),
    ],
    ids=str,
)
def test_equal_requests_have_equal_digests_whatever_else(changes: dict[str, Any], hit: int) -> None:
    assert rate([alike(0), alike(1, **changes)]) == hit / 2


@pytest.mark.parametrize(
    ("changes", "hit"),
    [
        ({"output_tokens": 9, "requested_model": "x"}, 1),
        ({"provider": "azure"}, 0),
        ({"model": "x"}, 0),
        ({"input_tokens": 1}, 0),
        ({"tag": None}, 0),
        ({"tag": ""}, 0),
        ({"model": "t", "tag": "big"}, 0),
    ],
    ids=str,
)
def test_without_a_digest_who_served_how_many_tokens_and_the_tag_stand_in(changes: dict[str, Any], hit: int) -> None:
    one = {"request_digest": "", "input_tokens": 5, "tag": "t"}
    assert rate([alike(0, **one), alike(1, **{**one, **changes})]) == hit / 2


def test_an_answer_from_the_cache_costs_nothing_on_both_sides() -> None:
    rows = [alike(n) for n in range(4)]
    totals = run(rows, routes(to("small")), l1_ttl_seconds=60)["aggregates"]
    assert totals["total_current_cost_usd"] == usd(1000)
    assert totals["total_projected_cost_usd"] == usd(100 * 150 + round(50 * 600.000001))
    assert totals["total_baseline_cost_usd"] == usd(sum(one.baseline_cost_nano or 0 for one in rows))


def test_a_route_that_disables_the_cache_neither_asks_nor_fills_it_on_its_side() -> None:
    rows = [alike(n, tag="a" if n % 2 == 0 else None) for n in range(6)]
    disabling = routes({**NO_CACHE, "when": {"tag_equals": "a"}})
    assert rate(rows) == 5 / 6
    assert rate(rows, disabling) == 2 / 6, "the first of the others fills it"
    result = run(rows, disabling, l1_ttl_seconds=60)["aggregates"]
    assert (result["total_current_cost_usd"], result["total_projected_cost_usd"]) == (usd(1000), usd(4000))
    assert rate(rows, NOTHING, disabling) == 5 / 6


def test_without_a_price_a_hit_on_one_side_alone_is_no_saving() -> None:
    rows = [alike(n) for n in range(4)]
    nowhere = routes({"then": {"target_model": "nobody-knows", "disable_cache": True}})
    for given in ((nowhere, NOTHING), (NOTHING, nowhere)):
        result = run(rows, *given, l1_ttl_seconds=60)["aggregates"]
        assert result["total_current_cost_usd"] == result["total_projected_cost_usd"] == usd(4000)


def test_requests_that_do_not_count_do_not_fill_the_cache() -> None:
    failed, repeated = alike(0, status=500), alike(1, request_digest="e")
    assert rate([failed, alike(1), alike(2)]) == 1 / 2
    assert rate([repeated, alike(1, 1, request_digest="f"), alike(2, 2, request_digest="f")]) == 0


def test_a_block_of_which_no_row_counts_is_no_trouble() -> None:
    by_day = routes({**NO_CACHE, "when": {"time_window": {"from": "08:00", "to": "18:00", "tz": "UTC"}}})
    rows = [alike(0), alike(1, 1, status=500), alike(2, 2)]
    assert rate(rows, by_day, block_rows=1) == 1 / 2


def test_many_entries_expire_as_few_do() -> None:
    """Entries are forgotten in bulk, far fewer than there were requests."""
    chance = Random(1)
    rows = [row(n, ts=START + timedelta(seconds=n), request_digest=f"d{chance.randrange(900)}") for n in range(9_000)]
    cache = L1(600)
    hits: list[int] = []
    for start in range(0, len(rows), 500):
        block = block_of(rows[start : start + 500], start)
        hits += (start + np.flatnonzero(cache.add(block, keys_of(block), np.ones(500, bool)))).tolist()
    assert hits == list(naive_caches.exact_hits(rows, 600))
    one_by_one = L1(1)
    for start in range(0, len(rows), 500):
        block = block_of([row(n, request_digest=f"u{n}") for n in range(start, start + 500)], start)
        one_by_one.add(block, keys_of(block), np.ones(500, bool))
    assert len(one_by_one._filled) < 3_000


# --- The semantic cache -----------------------------------------------------------------------------------------------


def near(n: int, vector: list[float] | None, seconds: float = 0, **changes: Any) -> LogRow:
    raw = None if vector is None else np.array(vector, "<f4").tobytes()
    return alike(n, seconds, **{"embedding": raw, "finish_reason": "stop", "request_digest": "", **changes})


def test_many_near_requests_are_compared_as_few_are() -> None:
    chance = Random(2)
    rows = [
        near(n, [chance.gauss(0, 1) for _ in range(4)], n, finish_reason=chance.choice([None, "stop", "length"]),
             output_tokens=chance.choice([10, 40, 100]), model=chance.choice(["big", "small"]))
        for n in range(200)
    ]  # fmt: skip
    for ttl, thresholds in ((100, (0.5, 0.9, 0.99)), (10**6, (0.999,))):
        cache = L2(ttl, thresholds)
        answered = cache.add(block_of(rows), range(200), 0)
        found = [list(naive_caches.semantic_hits(rows, ttl, threshold)) for threshold in thresholds]
        assert answered == [place for place, _ in found[0]]
        assert cache.hits == [len(one) for one in found]
        assert cache.poisoned == [sum(poisoned for _, poisoned in one) for one in found]
        assert cache.candidates == len({place for one in found for place, poisoned in one if poisoned})


def test_entries_that_expired_make_room() -> None:
    """Far more entries than live at once; the nearest is still found, at the place where it is now."""
    rows = [near(n, [1, n if n % 2 else 0.5], n) for n in range(2_600)]
    cache = L2(10, [0.9999999])
    answered = cache.add(block_of(rows), range(len(rows)), 0)
    assert answered == [place for place, _ in naive_caches.semantic_hits(rows, 10, 0.9999999)]
    (entries,) = cache._caches.values()
    assert len(answered) > 1_000
    assert len(entries.filled) < 1_000


def test_the_nearest_entry_answers_and_of_equal_ones_the_earliest() -> None:
    rows = [
        near(0, [1, 0.3], finish_reason="length"),
        near(1, [1, 0], 1),
        near(2, [1, 0], 2, finish_reason="length"),
        near(3, [2, 0], 3),
    ]
    cache = L2(60, [0.96])
    assert cache.add(block_of(rows), range(4), 0) == [2, 3]
    assert cache.poisoned == [1], "the third differs from the second; the fourth is like the second, not like the third"


@pytest.mark.parametrize(("finish_reason", "poisoned"), [("stop", 1), ("length", 0)])
def test_of_two_entries_that_are_equally_near_the_earlier_answers(finish_reason: str, poisoned: int) -> None:
    mirrored = [near(0, [0.6, 0.8], finish_reason="length"), near(1, [0.8, 0.6], 1)]
    cache = L2(60, [0.98])
    assert cache.add(block_of([*mirrored, near(2, [1, 1], 2, finish_reason=finish_reason)]), range(3), 0) == [2]
    assert cache.poisoned == [poisoned]


@pytest.mark.parametrize(
    ("one", "other", "is_another"),
    [(0, 20, False), (0, 21, True), (75, 100, False), (74, 100, True), (300, 400, False), (299, 400, True)],
)
def test_answers_are_others_where_their_lengths_differ_by_more_than_twenty_and_a_quarter(
    one: int, other: int, is_another: bool
) -> None:
    assert diverged("stop", one, None, other) is diverged(None, other, "stop", one) is is_another


def test_similarities_do_not_depend_on_the_order_of_adding() -> None:
    chance = np.random.Generator(np.random.PCG64(3))
    one, other = chance.normal(size=(2, 1536)).astype(np.float32)
    order = chance.permutation(1536)
    assert (
        cosine(one, other)
        == cosine(one[order], other[order])
        == naive_caches.similarity(one.tobytes(), other.tobytes())
    )


def test_hits_are_reported_and_priced_only_at_the_threshold_that_is_asked_for() -> None:
    rows = [near(n, [1, 0.1 * n], n) for n in range(5)]
    asked: dict[str, Any] = {"l2_ttl_seconds": 60, "l2_threshold_sweep": (0.999, 0.9), "l1_ttl_seconds": None}
    told = run(rows, NOTHING, **asked)["aggregates"]
    assert [one["hits"] for one in told["l2_projections"]] == [0, 4]
    assert (told["total_projected_cost_usd"], told["cache_hit_rate_projected"]) == (usd(5000), None)
    priced = run(rows, NOTHING, **asked, l2_priced_threshold=0.9)["aggregates"]
    assert (priced["total_projected_cost_usd"], priced["cache_hit_rate_projected"]) == (usd(1000), 0.8)
    assert priced["l2_projections"] == told["l2_projections"]
    assert rate(rows, **{**asked, "l2_priced_threshold": 0.999}) == 0


def test_of_two_caches_a_request_is_answered_once() -> None:
    rows = [near(n, [1, 0], n, request_digest="d" if n < 3 else "") for n in range(5)]
    assert rate(rows, l2_ttl_seconds=60, l2_priced_threshold=0.9) == 4 / 5


def test_the_proposed_routes_are_what_is_reported() -> None:
    rows = [near(n, [1, 0], n) for n in range(5)]
    for price in (None, 0.9):
        asked = {"l2_ttl_seconds": 60, "l2_priced_threshold": price, "l1_ttl_seconds": None}
        assert run(rows, routes(NO_CACHE), **asked)["aggregates"]["l2_projections"] == []
        assert run(rows, NOTHING, routes(NO_CACHE), **asked)["aggregates"]["l2_projections"][0]["hits"] == 4


def test_the_interval_of_the_hit_rate_contains_it_and_wilson_s() -> None:
    rows = [alike(n, n, request_digest=f"d{n // 4}", cluster_key=f"u{n // 5}") for n in range(200)]
    result = run(rows, NOTHING, l1_ttl_seconds=60)
    low, high = result["confidence_intervals"]["cache_hit_rate_95"]
    assert result["aggregates"]["cache_hit_rate_projected"] == 0.75
    assert low <= 0.6857 < 0.8049 <= high
    assert 0.6 < low < high < 0.9
