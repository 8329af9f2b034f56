"""The same bytes, however the log is cut, by whom, and in which order its parts are added."""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from typing import Any

import pytest

from plans.replay import LogRow, MemorySource, Question, replay
from plans.replay.executors import Executor, Part, ProcessPool, Serial, Work
from plans.replay.sums.partial import Partial
from plans.replay.sums.units import LATENCY_UNITS
from plans.replay.sure import MAX_UNITS
from routes.engine.canonical import canonical_bytes
from tests.plans.replay import generated, naive_result
from tests.plans.replay.agreement import differences
from tests.plans.replay.worlds import PRICES, WINDOW, routes, row, run, to

BLOCK_ROWS = 7


class Disordered(Serial):
    """Parts come in any order, and are added in pairs of any order."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)

    def map(self, work: Work, parts: Iterable[Part]) -> Iterator[Partial]:
        return map(work, self._chance.sample(listed := list(parts), len(listed)))

    def merge(self, partials: Iterable[Partial]) -> Partial:
        left = list(partials)
        while len(left) > 1:
            self._chance.shuffle(left)
            one = left.pop()
            left[0].merge(one)
        return left[0]


@cache
def a_log() -> list[LogRow]:
    """150 rows, no two at one time, some of them clusters of their own."""
    chance = random.Random("a log 4")
    rows = generated.log(chance, 150, keys=[None, *(f"key {n}" for n in range(40))])
    return [replace(one, ts=one.ts + timedelta(microseconds=10 * n)) for n, one in enumerate(rows)]


def question(**more: Any) -> Question:
    chance = random.Random("routes of a question")
    asked = {
        "iterations": 80,
        "window": WINDOW,
        "l1_ttl_seconds": 3600,
        "l2_ttl_seconds": 3600,
        "l2_priced_threshold": 0.9,
    }
    engines = [routes(*generated.rules(chance, 8, number, 6)) for number in (0, 10)]
    return Question(current=engines[0], proposed=engines[1], prices=PRICES, **{**asked, **more})


def answer(
    rows: list[LogRow], block_rows: int = BLOCK_ROWS, parts: int = 1, executor: Executor | None = None, **more: Any
) -> bytes:
    source = MemorySource(rows, block_rows=block_rows)
    return canonical_bytes(replay(source, question(**more), parts=parts, executor=executor))


@cache
def expected(**more: Any) -> bytes:
    return answer(a_log(), **more)


def test_the_log_has_something_to_tell() -> None:
    result = json.loads(expected())
    assert all(result["excluded"].values())
    assert result["aggregates"]["cache_hit_rate_projected"] > 0
    assert result["confidence_intervals"]["savings_pct_95"] not in (None, [0, 0])
    assert {"unknown_facts", "no_latency", "synthetic_columns"} <= {one["code"] for one in result["caveats"]}


@pytest.mark.parametrize("parts", [2, 3, 7, 16])
def test_the_number_and_order_of_parts_do_not_show(parts: int) -> None:
    assert answer(a_log(), parts=parts) == expected()
    assert answer(a_log(), parts=parts, executor=Disordered(parts)) == expected()


def test_processes_do_not_show() -> None:
    assert answer(a_log(), parts=3, executor=ProcessPool(2)) == expected()


def test_the_order_of_rows_does_not_show() -> None:
    rows = list(a_log())
    random.Random(1).shuffle(rows)
    assert answer(rows) == expected()


@pytest.mark.parametrize("block_rows", [1, 64, 150, 151])
def test_the_size_of_blocks_shows_in_the_data_digest_alone(block_rows: int) -> None:
    found, other = json.loads(answer(a_log(), block_rows)), json.loads(expected())
    digests = [one["provenance"].pop("data_digest") for one in (found, other)]
    assert digests[0] != digests[1]
    assert found == other


@pytest.mark.parametrize("block_rows", [1, 2, 3])
def test_an_id_and_a_digest_are_the_same_whatever_texts_are_beside_them(block_rows: int) -> None:
    texts = ["same", "much longer than the other one", "same"]
    repeated = run([row(n, request_id=text) for n, text in enumerate(texts)], routes(), block_rows=block_rows)
    assert repeated["excluded"]["repeated"] == 1
    alike = [row(n, request_digest=text) for n, text in enumerate(texts)]
    cached = run(alike, routes(), block_rows=block_rows, l1_ttl_seconds=3600)
    assert cached["aggregates"]["cache_hit_rate_projected"] == 1 / 3


@pytest.mark.parametrize("method", ["random_subsets", "cluster_bootstrap"])
def test_few_clusters_and_days_add_up_whichever_part_meets_them(method: Any) -> None:
    rows = [replace(one, cluster_key=f"user {n % 19}") for n, one in enumerate(a_log())]
    whole = answer(rows, interval_method=method)
    assert json.loads(whole)["interval_units"]["kind"] == "days"
    assert answer(rows, parts=16, executor=Disordered(2), interval_method=method) == whole


def test_days_are_forgotten_where_only_all_parts_together_have_many_clusters() -> None:
    rows = [replace(one, cluster_key=f"user {n // 7}") for n, one in enumerate(sorted(a_log(), key=lambda one: one.ts))]
    whole = answer(rows)
    assert json.loads(whole)["interval_units"] == {"kind": "clusters", "count": 22}
    assert answer(rows, parts=16, executor=Disordered(3)) == whole


@pytest.mark.parametrize("clusters", [LATENCY_UNITS, LATENCY_UNITS + 1, MAX_UNITS + 1])
def test_beyond_what_units_there_are_buckets_whichever_part_meets_them(clusters: int) -> None:
    """Against the naive replay, too: as many units as occupied buckets, of their own for latencies."""
    rows = [row(n, ts=WINDOW[0] + n * (WINDOW[1] - WINDOW[0]) / clusters, cluster_key=f"k{n}") for n in range(clusters)]
    asked = Question(
        current=routes(), proposed=routes(to("small", input_tokens_gt=50_000)), prices=PRICES, iterations=40
    )
    source = MemorySource(rows, block_rows=-(-clusters // 5))
    whole = replay(source, asked)
    assert (whole["interval_units"]["count"] == clusters) == (clusters <= MAX_UNITS)
    assert canonical_bytes(replay(source, asked, parts=5, executor=Disordered(4))) == canonical_bytes(whole)
    assert list(differences(whole, naive_result.answer(rows, asked))) == []


def test_amounts_beyond_64_bits_add_up_whichever_part_meets_them() -> None:
    rows = [replace(one, cost_nano=10**18 - n, baseline_cost_nano=10**18) for n, one in enumerate(a_log()[:60])]
    whole = answer(rows)
    assert json.loads(whole)["aggregates"]["total_baseline_cost_usd"] > 2**64 / 10**9
    assert answer(rows, parts=16, executor=Disordered(5)) == whole
