"""What projected caches answer, and what that is worth. `test_cases` has the shared cases."""

import tracemalloc
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest

from plans.replay import LogRow, Question
from plans.replay.caches import Caches, l2
from plans.replay.caches.l1 import L1, keys_of
from plans.replay.caches.l2 import L2, cosine, diverged
from plans.replay.columns import block_of
from plans.replay.figures import usd
from plans.replay.question import L2_THRESHOLDS
from tests.plans.replay import naive_caches
from tests.plans.replay.worlds import NOTHING, PRICES, START, routes, row, run, to

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


def agrees(rows: list[LogRow], ttl: float, thresholds: Sequence[float], block_rows: int = 1_000) -> L2:
    """A cache that was fed with these rows and answered as the naive one does."""
    cache = L2(ttl, thresholds)
    answered: list[int] = []
    for start in range(0, len(rows), block_rows):
        block = block_of(rows[start : start + block_rows], start)
        answered += [start + place for place in cache.add(block, range(block.rows), 0)]
    found = [list(naive_caches.semantic_hits(rows, ttl, threshold)) for threshold in thresholds]
    assert answered == [place for place, _ in found[0]]
    assert cache.hits == [len(one) for one in found]
    assert cache.poisoned == [sum(poisoned for _, poisoned in one) for one in found]
    assert cache.candidates == len({place for one in found for place, poisoned in one if poisoned})
    assert cache.total == sum(row.embedding is not None and naive_caches.is_embedding(row.embedding) for row in rows)
    return cache


def test_many_near_requests_are_compared_as_few_are() -> None:
    chance = Random(2)
    rows = [
        near(n, [chance.gauss(0, 1) for _ in range(4)], n, finish_reason=chance.choice([None, "stop", "length"]),
             output_tokens=chance.choice([10, 40, 100]), model=chance.choice(["big", "small"]))
        for n in range(200)
    ]  # fmt: skip
    for ttl, thresholds in ((100, (0.5, 0.9, 0.99)), (10**6, (0.99,))):
        assert agrees(rows, ttl, thresholds).hits[0]


@pytest.mark.parametrize(("batch", "page"), [(1, 1), (3, 2), (16, 16), (256, 1_024)])
def test_vectors_that_are_hard_to_tell_apart_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, batch: int, page: int
) -> None:
    """Equal ones, longer and shorter ones, opposite ones, zeros, some at a threshold and one digit beside it, however
    many are compared at once, before and after some expired."""
    monkeypatch.setattr(l2, "_BATCH", batch)
    monkeypatch.setattr(l2, "_PAGE", page)
    hits = 0
    for world in range(25):
        chance = Random(f"{batch} {world}")
        thresholds = chance.sample([-1, -0.5, 0, 0.5, 0.6, 0.8, 0.96, 0.9999999, 1], 3)
        at = [[threshold, (1 - threshold * threshold) ** 0.5, 0.0] for threshold in thresholds]
        directions = [*at, *([chance.choice([-1, 0, 0, 1, 2, 3, 4]) for _ in range(3)] for _ in range(5))]
        rows, seconds = [], 0.0
        for n in range(50):
            seconds += chance.choice([0, 0, 0.5, 1, 3])
            factor = chance.choice([1, 1, 1, -1, 3, 1e30, 1e-30, 1e-44])
            vector = [x * factor * chance.choice([1, 1, 1, 1 + 2**-23]) for x in chance.choice(directions)]
            changes = {"model": chance.choice("aab"), "finish_reason": chance.choice([None, "stop", "length"])}
            rows.append(near(n, chance.choice([vector, vector, vector, vector[:2]]), seconds, **changes))
        hits += sum(agrees(rows, chance.choice([2, 10, 1_000]), thresholds, chance.choice([7, 1_000])).hits)
    assert hits > 400


@pytest.mark.parametrize("one", [3e38, 1e30, 1e-30, 3e-45])
@pytest.mark.parametrize("other", [3e38, 1, 3e-45])
def test_vectors_may_be_as_long_and_as_short_as_their_numbers_allow(one: float, other: float) -> None:
    rows = [near(0, [one] * 4), near(1, [other, other, other, 0]), near(2, [other] * 4)]
    assert agrees(rows, 60, [0.85, 0.9]).hits == [2, 1]


def test_digits_too_small_to_scale_decide_too() -> None:
    """A similarity of less than 0 by the smallest number that there is."""
    assert agrees([near(0, [-0.3 * 2**-49, 2**99]), near(1, [1, 0])], 60, [0]).hits == [0]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_an_embedding_with_a_number_that_is_not_finite_is_none(number: float) -> None:
    rows = [near(0, [number, 0]), near(1, [1, 0]), near(2, [1, number]), near(3, [1, 0]), near(4, [number, 0])]
    assert agrees(rows, 60, [0.9]).total == 2
    asked: dict[str, Any] = {"l1_ttl_seconds": None, "l2_ttl_seconds": 60}
    assert [one["hits"] for one in run(rows, NOTHING, **asked)["aggregates"]["l2_projections"]] == [1] * 4
    assert run(rows[:1], NOTHING, **asked)["aggregates"]["l2_projections"] == []


def test_an_embedding_of_bytes_that_are_no_whole_number_of_numbers_is_none() -> None:
    rows = [near(0, [1, 0]), near(1, None, embedding=bytes(7)), near(2, None, embedding=bytes(9)), near(3, [1, 0])]
    assert agrees(rows, 60, [0.9]).hits == [1]


def random_rows(count: int, length: int, times: int = 1) -> list[LogRow]:
    vectors = np.random.Generator(np.random.PCG64(4)).normal(size=(count, length))
    return [near(n, vector, n / 100) for n, vector in enumerate(vectors.tolist() * times)]


def test_what_products_tell_apart_is_not_compared_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    def exactly(*_: object) -> None:
        raise AssertionError("slow")

    monkeypatch.setattr(l2, "cosine", exactly)
    cache = L2(60, L2_THRESHOLDS)
    assert cache.add(block_of(random_rows(600, 64, times=2)), range(1_200), 0) == list(range(600, 1_200))
    of_no_direction = [near(n, [0] * 64, n) for n in range(3)]
    assert L2(60, [0]).add(block_of(of_no_direction), range(3), 0) == [1, 2]


def test_a_request_that_fills_the_caches_of_several_thresholds_is_kept_once_and_one_that_fills_none_not_at_all() -> (
    None
):
    rows = random_rows(1_000, 256, times=2)
    blocks = [block_of(rows[start : start + 50], start) for start in range(0, 2_000, 50)]
    cache = L2(60, L2_THRESHOLDS)
    tracemalloc.start()
    try:
        hits = sum(len(cache.add(block, range(50), 0)) for block in blocks)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    (entries,) = cache._caches.values()
    assert (hits, len(entries.pages)) == (1_000, 1)
    assert 4 * 256 <= kept / 1_000 < 1.1 * 4 * 256


def test_a_long_pass_tells_that_it_goes_on_and_ends_where_it_is_told_to() -> None:
    rows = [near(n, [1, n], n, model=f"m{n % 3}") for n in range(2_000)]
    heard: list[int] = []

    def alive() -> None:
        heard.append(cache.total)
        if len(heard) == 5:
            raise InterruptedError

    asked = Question(current=NOTHING, proposed=NOTHING, prices=PRICES, l2_ttl_seconds=60)
    caches = Caches(asked)
    (cache,) = caches._l2
    with pytest.raises(InterruptedError):
        caches.add(block_of(rows), alive=alive)
    assert len(heard) == 5
    assert all(0 <= later - earlier <= 512 for earlier, later in pairwise([0, *heard]))
    assert cache.total < 2_000


def test_entries_that_expired_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more entries than live at once; the nearest is still found, at the place where it is now."""
    monkeypatch.setattr(l2, "_BATCH", 16)
    monkeypatch.setattr(l2, "_PAGE", 64)
    rows = [near(n, [1, n if n % 2 else 0.5], n) for n in range(2_600)]
    cache = L2(10, [0.9999999])
    answered = cache.add(block_of(rows), range(len(rows)), 0)
    assert answered == [place for place, _ in naive_caches.semantic_hits(rows, 10, 0.9999999)]
    (entries,) = cache._caches.values()
    assert len(answered) > 1_000
    assert sum(len(page.ts) for page in entries.pages) < 100


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
