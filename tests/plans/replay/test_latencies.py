"""How long requests would have taken."""

from typing import Any

import numpy as np
import pytest

from plans.replay import LogRow
from plans.replay.latencies import LEVELS, NO_HISTORY, Histories
from plans.replay.sure import BINS, latency_bin
from tests.plans.replay.naive_rows import splitmix
from tests.plans.replay.worlds import NOTHING, caveats, routes, row, run, to

P50, P95 = "p50_latency_ms_projected", "p95_latency_ms_projected"
REFUSE = {"then": {"refuse": {"status": 403, "code": "no", "message": "No."}}}


def of(rows: list[LogRow], *given: Any, **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = run(rows, *given, **more)["aggregates"]
    return found


def rows_of(model: str, latencies: list[int | None], first: int = 0, **changes: Any) -> list[LogRow]:
    return [
        row(n, model=model, requested_model=model, latency_ms=ms, cluster_key=f"u{n}", **changes)
        for n, ms in enumerate(latencies, first)
    ]


SLOW, FAST = list(range(100, 200)), list(range(100))


def test_a_rerouted_request_keeps_its_rank_and_so_its_tail() -> None:
    """Not the other model's median, which would make all of them alike."""
    rows = rows_of("big", SLOW) + rows_of("small", FAST, 100)
    moved = of(rows, routes(to("small", model_in=["big"])))
    stayed = of(rows, NOTHING)
    assert (stayed["p50_latency_ms_current"], stayed["p95_latency_ms_current"]) == (100, 189)
    assert (stayed[P50], stayed[P95]) == (100, 189)
    assert (moved["p50_latency_ms_current"], moved["p95_latency_ms_current"]) == (100, 189)
    assert abs(moved[P50] - 50) <= 1, "two rows of each latency now, from 0 to 99"
    assert abs(moved[P95] - 94) <= 1


def test_today_s_routes_move_latencies_too() -> None:
    rows = rows_of("big", SLOW) + rows_of("small", FAST, 100)
    totals = of(rows, NOTHING, routes(to("small", model_in=["big"])))
    assert abs(totals["p50_latency_ms_current"] - 50) <= 1
    assert totals[P50] == 100


def test_ranks_are_those_of_the_row_s_own_model_and_provider() -> None:
    """The slowest of a fast provider takes the place of the slowest, not of one that is fast among all."""
    rows = (
        rows_of("big", FAST, provider="azure")
        + rows_of("big", SLOW, 100)
        + rows_of("small", [10] * 90 + [250] * 10, 200)
    )
    moved = of(rows, routes(to("small", model_in=["big"], input_tokens_lt=10_001)))
    assert moved[P95] == 250
    far = run(rows[:100] + rows[200:], routes(to("small", model_in=["big"])))["aggregates"]
    assert (far[P50], far[P95]) == (10, 250)


def test_the_other_model_s_latencies_at_the_provider_that_would_serve_come_first() -> None:
    rows = [
        *rows_of("big", [200] * 30),
        *rows_of("small", [20] * 10, 30, provider="azure"),
        *rows_of("small", [90] * 10, 40),
    ]
    only_big = {"model_in": ["big"]}
    at_azure = routes({"when": only_big, "then": {"target_model": "small", "provider": "azure"}})
    elsewhere = routes({"when": only_big, "then": {"target_model": "small", "provider": "elsewhere"}})
    assert of(rows, at_azure)[P50] == 20
    assert of(rows, routes(to("small", **only_big)))[P50] == 90, "its own provider"
    assert of(rows, elsewhere)[P50] in (20, 90)
    assert of(rows, elsewhere)[P95] == 90, "all of them together, where that provider has none"
    assert "no_latency_history" not in caveats(run(rows, elsewhere))


def test_without_a_history_the_own_latency_stays_and_is_said() -> None:
    rows = rows_of("big", SLOW)
    result = run(rows, routes(to("small")))
    assert result["aggregates"][P50] == result["aggregates"]["p50_latency_ms_current"]
    assert caveats(result)["no_latency_history"] == {"models": {"small": 100}}


def test_a_row_of_unknown_latency_is_in_no_figure_and_is_counted() -> None:
    rows = rows_of("big", [10, None, 30, None]) + rows_of("small", [None], 4)
    result = run(rows, routes(to("small", model_in=["big"])))
    assert caveats(result)["no_latency"] == {"rows": 3}
    assert caveats(result)["no_latency_history"] == {"models": {"small": 2}}
    assert (result["aggregates"][P50], result["aggregates"][P95]) == (30, 30)
    assert of(rows_of("big", [None]), NOTHING)[P50] is None


def test_nobody_waits_for_a_refusal() -> None:
    rows = rows_of("big", [10, 20, 30, 40, 50])
    first = routes({**REFUSE, "when": {"input_tokens_lt": 201}})
    totals = of(rows, first)
    assert (totals["p50_latency_ms_current"], totals[P50]) == (30, 40)
    assert of(rows, routes(REFUSE))[P50] is None


def test_an_answer_of_the_gateway_s_cache_says_nothing_of_a_model_and_stays_as_fast() -> None:
    rows = rows_of("big", [200] * 10) + rows_of("big", [1] * 10, 10, cached=True) + rows_of("small", [50] * 5, 20)
    totals = of(rows, routes(to("small", model_in=["big"])))
    assert (totals["p50_latency_ms_current"], totals[P50]) == (50, 50)
    back = of(rows, routes(to("big", model_in=["small"])))
    assert back[P95] == 200
    assert caveats(run(rows, routes(to("small", model_in=["big"]))))["served_from_cache"] == {"rows": 10}


def test_above_255_ms_a_quantile_is_the_middle_of_its_bin() -> None:
    assert of(rows_of("big", [1000]), NOTHING)[P50] == 1001, "from 1,000 to 1,003 ms"
    assert of(rows_of("big", [255]), NOTHING)[P50] == 255


def test_rows_of_one_bin_are_spread_over_it() -> None:
    """All of them had 100 ms; as often as the other model had each latency they have it now."""
    rows = rows_of("big", [100] * 400) + rows_of("small", [10, 20, 30, 40], 400)
    totals = of(rows, routes(to("small", model_in=["big"])))
    assert totals[P95] == 40
    assert totals[P50] in (20, 30)


def test_a_history_read_off_at_its_levels_is_the_history() -> None:
    own = np.bincount(latency_bin(np.arange(200)), minlength=BINS)
    histories = Histories({("p", "a"): own, ("q", "a"): own * 0, ("p", "b"): np.roll(own, 20)})
    assert histories.place("q", "a") == histories.place("elsewhere", "a") != histories.place("p", "a")
    assert histories.own("q", "a") == histories.place("p", "unheard") == NO_HISTORY
    bins = np.repeat(np.arange(200), 50)
    mine, other = (np.full(len(bins), histories.place("p", model)) for model in "ab")
    found = histories.moved(bins, mine, other, np.arange(len(bins), dtype=np.uint64))
    assert np.abs(found - (bins + 20)).max() <= 200 / LEVELS + 1
    assert np.array_equal(
        np.sort(histories.moved(bins, mine, mine, np.arange(len(bins), dtype=np.uint64))), np.sort(found) - 20
    )


def test_of_more_rows_than_levels_the_one_in_the_middle_of_each_level_is_read() -> None:
    """Level i of 4,096 stands for the row at (2i + 1) n // 8,192; here the rank of a row is what its hash says."""
    counts = np.bincount(latency_bin(np.arange(200)), minlength=BINS)
    histories = Histories({("p", "a"): counts[:1] * np.eye(1, BINS, dtype=np.int64)[0], ("p", "b"): 57 * counts})
    own, other = (np.full(500, histories.place("p", model)) for model in "ab")
    found = histories.moved(np.zeros(500, np.intp), own, other, np.arange(500, dtype=np.uint64))
    levels = [(splitmix(n) >> 11) * LEVELS >> 53 for n in range(500)]
    assert found.tolist() == [(2 * level + 1) * 57 * 200 // (2 * LEVELS) // 57 for level in levels]


@pytest.mark.parametrize(("rows", "is_open"), [(71, True), (72, False)])
def test_p95_has_an_upper_end_from_72_rows_on(rows: int, is_open: bool) -> None:
    low, high = run(rows_of("big", list(range(rows))), NOTHING)["confidence_intervals"]["p95_latency_ms_95"]
    assert low < 0.95 * rows
    assert (high is None) == is_open


def test_latencies_have_no_interval_below_six_units() -> None:
    rows = [row(n, cluster_key=f"u{n % 5}") for n in range(100)]
    assert run(rows, NOTHING)["confidence_intervals"]["p50_latency_ms_95"] is None
