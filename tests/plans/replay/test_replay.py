"""What a replay answers, rule by rule. `test_naive` compares every figure with a second implementation."""

from datetime import timedelta
from typing import Any

import pytest

from plans.replay.replay import usd
from routes.engine.canonical import canonical_bytes
from routes.engine.prices import Price, PriceTable
from tests.plans.replay.worlds import NOTHING, START, caveats, routes, row, run, to


def test_a_plan_that_saves_says_so_with_its_interval() -> None:
    result = run([row(n) for n in range(60)], routes(to("small", input_tokens_lt=3001)))
    low, high = result["confidence_intervals"]["savings_pct_95"]
    assert 0 < low < result["aggregates"]["projected_savings_pct"] < high < 100
    assert result["verdict"] == "saves"
    assert result["probability_of_loss"] == 0
    assert result["aggregates"]["requests_rerouted"] == 30
    usd_low, usd_high = result["confidence_intervals"]["savings_usd_95"]
    spend = result["aggregates"]["total_current_cost_usd"]
    assert usd_low == pytest.approx(low / 100 * spend, abs=1e-9)
    assert usd_high == pytest.approx(high / 100 * spend, abs=1e-9)


def test_a_plan_that_costs_more_is_negative_and_a_loss() -> None:
    cheap = [row(n, model="small", requested_model="small", cost_nano=1000, baseline_cost_nano=1000) for n in range(60)]
    result = run(cheap, routes(to("big")))
    assert result["aggregates"]["projected_savings_usd"] < 0
    assert result["confidence_intervals"]["savings_usd_95"][1] < 0
    assert (result["verdict"], result["probability_of_loss"]) == ("costs", 1)


def test_a_plan_equal_to_what_is_live_is_exactly_nothing_however_little_traffic() -> None:
    engine = routes(to("small", input_tokens_lt=1000))
    for count in (0, 1, 60):
        result = run([row(n) for n in range(count)], engine, engine)
        assert result["aggregates"]["projected_savings_usd"] == 0
        assert result["confidence_intervals"] == {"savings_usd_95": [0, 0], "savings_pct_95": [0, 0]}
        assert (result["probability_of_loss"], result["verdict"]) == (0, "undecided")


def test_savings_are_against_today_s_routes_and_not_against_no_routing() -> None:
    rows = [row(n) for n in range(30)]
    today = routes(to("small", input_tokens_lt=2000))
    both = run(rows, routes(to("small")), today)["aggregates"]
    alone = run(rows, routes(to("small")))["aggregates"]
    assert both["total_baseline_cost_usd"] == alone["total_current_cost_usd"]
    assert 0 < both["projected_savings_usd"] < alone["projected_savings_usd"]


def test_a_row_served_by_the_model_that_is_decided_keeps_what_was_paid() -> None:
    odd = row(model="small", requested_model="big", cost_nano=12_345)
    result = run([odd], routes(to("small")), NOTHING)
    assert result["aggregates"]["total_projected_cost_usd"] == usd(12_345)
    assert result["aggregates"]["total_current_cost_usd"] == usd(100 * 2_500 + 50 * 10_000), "would have gone to big"


def test_an_unknown_price_is_counted_and_never_a_saving() -> None:
    result = run([row(n) for n in range(8)], routes(to("nobody-knows")))
    assert result["aggregates"]["requests_unprice_able"] == 8
    assert result["aggregates"]["projected_savings_usd"] == 0
    (caveat,) = [one for one in result["caveats"] if one["code"] == "unknown_price"]
    assert "nobody-knows" in caveat["message"]
    assert caveat["values"] == {"models": {"nobody-knows": 8}}


def test_a_request_that_both_sides_cannot_price_counts_once() -> None:
    nowhere = routes(to("nobody-knows"))
    result = run([row(n) for n in range(8)], nowhere, nowhere)
    assert result["aggregates"]["requests_unprice_able"] == 8
    assert caveats(result)["unknown_price"] == {"models": {"nobody-knows": 8}}
    cheap = [row(n, model="small", requested_model="small", cost_nano=1) for n in range(4)]
    capped = routes({"then": {"target_model": "big", "max_cost_usd": 0.0000001}})
    result = run(cheap, capped, capped)
    (caveat,) = [one for one in result["caveats"] if one["code"] == "over_cost_ceiling"]
    assert caveat["values"] == {"models": {"big": 4}}
    assert caveat["message"].startswith("4 requests")


@pytest.mark.parametrize("unknown", ["proposed", "current"])
def test_an_unknown_price_is_no_saving_either_where_another_model_served(unknown: str) -> None:
    """Paid for the small model although the large one was asked for, as after a fallback."""
    rows = [row(n, model="small", requested_model="big", cost_nano=10) for n in range(60)]
    nobody, somebody = routes(to("nobody-knows")), NOTHING
    result = run(rows, nobody, somebody) if unknown == "proposed" else run(rows, somebody, nobody)
    assert result["aggregates"]["projected_savings_usd"] == 0
    assert result["aggregates"]["requests_unprice_able"] == 60
    assert result["verdict"] == "undecided"


def test_above_the_ceiling_of_its_route_a_request_keeps_what_it_cost() -> None:
    capped = {"when": {}, "then": {"target_model": "big", "max_cost_usd": 0.0008}}
    cheap = [row(n, model="small", requested_model="small", cost_nano=1) for n in range(4)]
    result = run(cheap, routes(capped))
    # 750, 1,000, 1,250 and 1,500 thousand nano-dollars on the big model; the first alone is allowed.
    assert result["aggregates"]["total_projected_cost_usd"] == usd(750_000 + 3)
    assert caveats(result)["over_cost_ceiling"] == {"models": {"big": 3}}
    assert result["aggregates"]["requests_unprice_able"] == 0, "the price is known; it is only too high"


def test_a_cost_equal_to_the_ceiling_of_its_route_is_allowed() -> None:
    capped = routes({"then": {"target_model": "big", "max_cost_usd": 0.00075}})
    cheap = row(model="small", requested_model="small", cost_nano=1)
    assert run([cheap], capped)["aggregates"]["total_projected_cost_usd"] == usd(750_000)


def test_what_is_left_out_is_counted() -> None:
    rows = [
        row(0),
        row(1, kind="shadow"),
        row(2, status=429),
        row(3, request_id="r00000"),
        row(4, cost_nano=None),
        row(5),
    ]
    result = run(rows, NOTHING)
    assert result["sample_size"] == 2
    assert result["excluded"] == {"failed": 1, "repeated": 1, "shadow": 1, "unpriced": 1}
    assert caveats(result)["unpriced"] == {"rows": 1}


def test_a_failed_attempt_does_not_hide_the_one_that_served() -> None:
    rows = [row(0, status=503), row(0, kind="fallback", ts=START + timedelta(seconds=1)), row(1, status=399)]
    result = run(rows, NOTHING)
    assert (result["sample_size"], result["excluded"]["failed"], result["excluded"]["repeated"]) == (2, 1, 0)


def test_what_the_answer_leans_on_is_said() -> None:
    odd = {"baseline_cost_nano": None, "fact_input_tokens": None, "synthetic": ("model", "tag")}
    rows = [row(n, **(odd if n < 20 else {"synthetic": ("model",)})) for n in range(30)]
    found = caveats(run(rows, routes(to("small"))))
    assert found["no_baseline"] == {"rows": 20}
    assert found["facts_from_bill"] == {"rows": 20}
    assert found["synthetic_columns"] == {"columns": {"model": 30, "tag": 20}}
    assert set(found["few_effective_units"]) == {"effective_units", "largest_share"}


def test_nothing_is_said_where_nothing_is_to_be_said() -> None:
    rows = [row(n, cluster_key=f"u{n}", input_tokens=1000) for n in range(60)]
    assert caveats(run(rows, routes(to("small")))) == {}


def test_without_a_baseline_what_was_paid_stands_in() -> None:
    result = run([row(0, cost_nano=7, baseline_cost_nano=None), row(1, cost_nano=5, baseline_cost_nano=11)], NOTHING)
    assert result["aggregates"]["total_baseline_cost_usd"] == usd(18)


@pytest.mark.parametrize(
    ("changes", "rows"),
    [
        ({}, 0),
        ({"fact_input_tokens": None}, 1),
        ({"fact_estimated_cost_nano": None}, 1),
        ({"fact_input_tokens": None, "fact_estimated_cost_nano": None}, 1),
        # Nothing was taken from the bill: there is none to take it from.
        ({"fact_estimated_cost_nano": None, "baseline_cost_nano": None}, 0),
    ],
)
def test_a_request_decided_on_its_bill_is_counted_once(changes: dict[str, Any], rows: int) -> None:
    assert caveats(run([row(**changes)], NOTHING)).get("facts_from_bill", {"rows": 0}) == {"rows": rows}


@pytest.mark.parametrize(
    ("condition", "fact", "billed"),
    [
        ({"input_tokens_gt": 500}, {"fact_input_tokens": 501}, {"input_tokens": 501}),
        (
            {"estimated_cost_gt": 0.5},
            {"fact_estimated_cost_nano": 500_000_001},
            {"baseline_cost_nano": 500_000_001},
        ),
    ],
)
def test_a_fact_as_decided_on_is_stronger_than_the_bill(
    condition: dict[str, Any], fact: dict[str, Any], billed: dict[str, Any]
) -> None:
    engine, name = routes(to("small", **condition)), next(iter(fact))
    matched = [
        run([one], engine)["per_route_breakdown"][0]["matched"]
        for one in (row(**fact), row(**billed), row(**billed, **{name: None}), row(**{name: None}))
    ]
    assert matched == [1, 0, 1, 0]


def test_a_price_counts_from_its_beginning_on() -> None:
    cheaper = PriceTable(
        [
            Price(provider="openai", model="small", input_nano_per_million=2 * 10**6, output_nano_per_million=0),
            Price(
                provider="openai",
                model="small",
                since=START + timedelta(minutes=1),
                input_nano_per_million=10**6,
                output_nano_per_million=0,
            ),
        ]
    )
    result = run([row(n, input_tokens=100) for n in range(3)], routes(to("small")), prices=cheaper)
    assert result["aggregates"]["total_projected_cost_usd"] == usd(200 + 100 + 100)


def test_too_few_units_give_no_interval_and_no_verdict() -> None:
    result = run([row(n, cluster_key=f"u{n % 5}") for n in range(30)], routes(to("small")))
    assert result["confidence_intervals"] == {"savings_usd_95": None, "savings_pct_95": None}
    assert (result["verdict"], result["probability_of_loss"]) == ("undecided", None)
    assert caveats(result)["too_few_units"] == {"units": 5}


def test_savings_that_cancel_out_are_not_a_plan_equal_to_what_is_live() -> None:
    """One request saves what the other one costs more, both of one user: the sum is zero, the certainty is not."""
    even = PriceTable(
        Price(provider="p", model=model, input_nano_per_million=10**6, output_nano_per_million=0) for model in "ab"
    )
    rows = [
        row(0, model="x", requested_model="x", cost_nano=100, input_tokens=50, cluster_key="u"),
        row(1, model="y", requested_model="y", cost_nano=0, input_tokens=50, cluster_key="u"),
    ]
    result = run(rows, routes(to("a", model_in=["x"]), to("b", model_in=["y"])), prices=even)
    assert result["aggregates"]["projected_savings_usd"] == 0
    assert result["confidence_intervals"]["savings_usd_95"] is None
    assert "too_few_units" in caveats(result)


def test_an_interval_that_the_traffic_does_not_bound_is_open_and_said_to_be() -> None:
    free = [
        row(n, cost_nano=0 if n else 10**6, model="big" if n else "other", cluster_key=f"u{n}", fact_input_tokens=n)
        for n in range(8)
    ]
    result = run(free, routes(to("small", input_tokens_lt=1)), routes(to("other", input_tokens_lt=1)))
    assert result["confidence_intervals"]["savings_pct_95"] == [None, None]
    assert "open_interval" in caveats(result)
    assert result["verdict"] == "undecided"


def test_the_most_uneven_of_spend_and_rows_is_the_one_that_is_told() -> None:
    """30 users with a request each but one with all the spend; then equal spend but one with half the rows."""
    one_spender = [row(n, cluster_key=f"u{n}", cost_nano=10**9 if n == 0 else 10**3) for n in range(30)]
    told = caveats(run(one_spender, routes(to("small"))))["few_effective_units"]
    assert told == {"effective_units": 1.0, "largest_share": 0.999971}
    one_talker = [row(n, cluster_key=f"u{max(n - 29, 0)}", cost_nano=1 if n < 30 else 30) for n in range(59)]
    told = caveats(run(one_talker, routes(to("small"))))["few_effective_units"]
    assert told == {"effective_units": 3.747, "largest_share": 0.508475}


def test_few_keys_over_many_days_are_judged_by_days() -> None:
    rows = [row(n, ts=START + timedelta(hours=n), cluster_key=f"u{n % 3}") for n in range(24 * 8)]
    week = (START, START + timedelta(days=8))
    result = run(rows, routes(to("small")), window=week)
    assert caveats(result)["units_are_days"] == {"clusters": 3, "days": 8}
    assert result["confidence_intervals"]["savings_usd_95"] is not None
    for window in (None, (START, START + timedelta(days=6)), (START + timedelta(hours=1), START + timedelta(days=7.5))):
        assert "too_few_units" in caveats(run(rows, routes(to("small")), window=window)), "fewer than seven whole days"


def test_enough_keys_are_the_units_however_many_the_days() -> None:
    week = (START, START + timedelta(days=8))
    for keys in (19, 20):
        rows = [row(n, ts=START + timedelta(hours=n), cluster_key=f"u{n % keys}") for n in range(24 * 8)]
        assert ("units_are_days" in caveats(run(rows, routes(to("small")), window=week))) == (keys < 20)


def test_by_route_adds_up_to_the_whole_and_lists_routes_without_a_request() -> None:
    engine = routes(to("small", input_tokens_lt=1000), to("big", tag_equals="never"), to("small", input_tokens_gt=3000))
    result = run([row(n) for n in range(40)], engine)
    parts = result["per_route_breakdown"]
    assert [part["route_name"] for part in parts] == ["r0", "r1", "r2", None]
    assert [part["matched"] for part in parts] == [9, 0, 10, 21]
    for key in ("current_cost_usd", "projected_cost_usd", "savings_usd"):
        total = {"savings_usd": "projected_savings_usd"}.get(key, f"total_{key}")
        assert sum(round(part[key] * 10**9) for part in parts) == round(result["aggregates"][total] * 10**9)


def test_the_same_input_gives_the_same_bytes_and_another_row_another_digest() -> None:
    rows = [row(n) for n in range(40)]
    engine = routes(to("small", input_tokens_lt=2000))
    one, two = run(rows, engine), run(list(rows), engine)
    assert canonical_bytes(one) == canonical_bytes(two)
    other = run([*rows[:-1], row(39, tag="x")], engine)
    assert other["provenance"]["data_digest"] != one["provenance"]["data_digest"]
    assert run(rows, engine, seed=2)["provenance"]["seed"] == 2


def test_every_column_that_the_answer_leans_on_changes_the_data_digest() -> None:
    plain = run([row()], NOTHING)["provenance"]["data_digest"]
    changes: dict[str, Any] = {
        "request_id": "x", "ts": START + timedelta(microseconds=1), "kind": "fallback", "provider": "x", "model": "x",
        "requested_model": "x", "input_tokens": 1, "output_tokens": 1, "cached_tokens": 1, "cost_nano": 1,
        "baseline_cost_nano": 1, "status": 201, "tag": "x", "cluster_key": None, "has_images": False,
        "has_audio": False, "has_documents": False, "fact_input_tokens": 1, "fact_estimated_cost_nano": 1,
        "fact_upstream_latency_ms_p95": 1, "fact_sticky_key": "x", "has_tools": False, "is_stream": False,
        "synthetic": ("x",),
    }  # fmt: skip
    assert set(changes) == set(row().__slots__)
    digests = {run([row(**{name: value})], NOTHING)["provenance"]["data_digest"] for name, value in changes.items()}
    assert len(digests | {plain}) == len(changes) + 1


def test_a_result_says_where_it_comes_from() -> None:
    result = run([row()], NOTHING, iterations=500, seed=9)
    assert set(result["provenance"]) == {
        "engine_version", "data_digest", "prices_digest", "seed", "iterations", "units"
    }  # fmt: skip
    assert (result["provenance"]["seed"], result["provenance"]["iterations"]) == (9, 500)
    assert result["provenance"]["units"]["pct"] == "percent"
    assert result["interval_method"] == "random_subsets"


def test_progress_is_told_and_can_stop_the_run() -> None:
    heard: list[int] = []

    def stop_at_two_thousand(done: int) -> None:
        heard.append(done)
        if done == 2000:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run([row(n) for n in range(2500)], NOTHING, on_progress=stop_at_two_thousand)
    assert heard == [1000, 2000]


def test_the_thousandth_row_is_told_even_where_it_is_the_last() -> None:
    heard: list[int] = []
    run([row(n) for n in range(1000)], NOTHING, on_progress=heard.append)
    assert heard == [1000]
