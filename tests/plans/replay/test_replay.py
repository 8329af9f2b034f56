"""What a replay answers, rule by rule. `test_naive` compares every figure with a second implementation."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta, timezone
from typing import Any

import pytest

from plans.replay import LogRow, MemorySource, Question
from plans.replay import replay as replay_of
from plans.replay.columns import Block, Cursor, LogChanged
from plans.replay.columns.source import BEGINNING
from plans.replay.figures import usd
from plans.replay.pricing import is_called
from routes.engine.prices import Price, PriceTable
from tests.plans.replay.worlds import NOTHING, PRICES, START, caveats, routes, row, run, to


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
        assert all(result["confidence_intervals"][name] == [0, 0] for name in ("savings_usd_95", "savings_pct_95"))
        assert (result["probability_of_loss"], result["verdict"]) == (0, "undecided")
        assert all(part["savings_usd_95"] == part["savings_pct_95"] == [0, 0] for part in result["per_route_breakdown"])


def test_savings_are_against_today_s_routes_and_not_against_no_routing() -> None:
    rows = [row(n) for n in range(30)]
    today = routes(to("small", input_tokens_lt=2000))
    both = run(rows, routes(to("small")), today)["aggregates"]
    alone = run(rows, routes(to("small")))["aggregates"]
    assert both["total_baseline_cost_usd"] == alone["total_current_cost_usd"]
    assert 0 < both["projected_savings_usd"] < alone["projected_savings_usd"]


def test_a_row_served_by_the_model_that_is_decided_keeps_what_was_paid() -> None:
    odd = row(model="small", requested_model="big", routed=True, cost_nano=12_345)
    result = run([odd], routes(to("small")), NOTHING)
    assert result["aggregates"]["total_projected_cost_usd"] == usd(12_345)
    assert result["aggregates"]["total_current_cost_usd"] == usd(100 * 2_500 + 50 * 10_000), "would have gone to big"


@pytest.mark.parametrize("asked", ["small", "a group of models"])
def test_a_row_that_nobody_routed_costs_what_was_paid_while_nobody_routes_it(asked: str) -> None:
    """The name asked for stands for whatever the gateway makes of it, even if another model with a price has that name:
    what was paid is no guess."""
    rows = [row(n, model="small-2026-02", requested_model=asked, cost_nano=10) for n in range(12)]
    totals = run(rows, routes(to("big", input_tokens_lt=600)))["aggregates"]
    assert totals["total_current_cost_usd"] == usd(120)
    assert totals["requests_rerouted"] == 5
    assert totals["total_projected_cost_usd"] == usd(70 + sum(n * 100 * 2_500 + 500_000 for n in range(1, 6)))
    for name in ("small-2026-02", asked):
        result = run(rows, routes(to(name)))
        assert result["aggregates"]["requests_rerouted"] == 0, "it is what served, by either name"
        assert result["aggregates"]["projected_savings_usd"] == 0
    assert run(rows, NOTHING, routes(to(asked)))["aggregates"] == result["aggregates"]


def test_where_nobody_logged_a_provider_none_is_another_one() -> None:
    rows = [row(n, provider="", model="small", requested_model="small") for n in range(12)]
    result = run(rows, routes({"then": {"target_model": "small", "provider": "azure"}}))["aggregates"]
    assert (result["requests_rerouted"], result["projected_savings_usd"]) == (0, 0)


def test_a_row_that_was_routed_is_priced_where_nobody_routes_it() -> None:
    rows = [row(n, model="small", requested_model="big", cost_nano=10, routed=True) for n in range(12)]
    result = run(rows, routes(to("small")))
    assert result["aggregates"]["projected_savings_usd"] > 0
    assert caveats(result)["current_differs_from_paid"]["paid_usd"] == usd(120)


def test_a_row_that_fell_back_costs_what_the_fallback_cost_and_saves_no_more() -> None:
    """The name asked for may be an alias, which has another model's price."""
    rows = [row(n, model="small", requested_model="big", kind="fallback", cost_nano=10) for n in range(12)]
    result = run(rows, routes(to("small")))["aggregates"]
    assert (result["total_current_cost_usd"], result["projected_savings_usd"]) == (usd(120), 0)


def test_what_today_s_route_does_it_did_also_where_the_log_names_no_route() -> None:
    """To take such a route away changes where the request goes."""
    rows = [row(n, model="small", requested_model="big", cost_nano=10) for n in range(12)]
    today = routes(to("small"))
    result = run(rows, NOTHING, today)
    assert result["aggregates"]["requests_rerouted"] == 12
    assert result["aggregates"]["projected_savings_usd"] < 0
    assert "served_as_asked" not in caveats(result)
    other = run(rows, routes(to("big")), NOTHING)
    assert caveats(other)["served_as_asked"] == {"rows": 12}, "nobody knows; it is taken for an alias"


def test_what_was_not_paid_by_tokens_has_no_price_elsewhere() -> None:
    """Pictures and audio: a text model would paint them for nothing."""
    rows = [row(n, input_tokens=0, output_tokens=0) for n in range(12)] + [row(n) for n in range(12, 24)]
    result = run([*rows, row(24, input_tokens=0, output_tokens=0, cost_nano=0)], routes(to("small")))
    assert result["aggregates"]["requests_unprice_able"] == 12
    assert caveats(result)["no_tokens"] == {"rows": 12}
    alone = run(rows[:12], routes(to("small")))["aggregates"]
    assert (alone["projected_savings_usd"], alone["requests_rerouted"]) == (0, 12)


def test_a_model_that_retires_is_told_of_the_routes_that_name_it_alone() -> None:
    old = PriceTable([replace(PRICES.prices[1], model="big", retires_on=date(2026, 6, 1))])
    rows = [row(n, model="other", requested_model="big", routed=True) for n in range(3)]
    assert "retiring_model" not in caveats(run(rows, NOTHING, prices=old))
    assert "retiring_model" in caveats(run(rows, routes(to("big")), prices=old))
    served = [replace(one, model="big", requested_model="big") for one in rows]
    stay = caveats(run(served, routes(to("big")), prices=old))["retiring_model"]
    assert stay["models"]["big"]["requests"] == len(rows), "also where it serves them already"


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
    rows = [row(n, model="small", requested_model="big", routed=True, cost_nano=10) for n in range(60)]
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
    assert result["aggregates"]["requests_kept"] == 3


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
    assert found["facts_from_bill"] == {"rows": 20, "facts": {"input_tokens": 20}}
    assert found["synthetic_columns"] == {"columns": {"model": 30, "tag": 20}}
    assert set(found["few_effective_units"]) == {"effective_units", "largest_share"}


def test_nothing_is_said_where_nothing_is_to_be_said() -> None:
    assert caveats(run(as_billed(), routes(to("small")))) == {}


def as_billed(factor: float = 1) -> list[LogRow]:
    """120 requests of two models that cost so many times their price."""
    rows = []
    for n in range(120):
        model = "big" if n < 60 else "small"
        price = PRICES.price("openai", model, START)
        assert price is not None
        cost = round(factor * price.cost_nano(1000, 50))
        asked = {"model": model, "requested_model": model, "input_tokens": 1000, "cost_nano": cost}
        rows.append(row(n, cluster_key=f"u{n}", **asked))
    return rows


@pytest.mark.parametrize(
    ("factor", "said"),
    [
        (1.1, None), (0.9, None), (1.2, "(1.2 times that)"), (0.5, "(0.5 times that)"), (1e6, "(1e+06 times that)"),
        (0, "(0 times that)"),
    ],
)  # fmt: skip
def test_that_the_bill_is_far_from_the_price_of_what_served_is_said(factor: float, said: str | None) -> None:
    """As of costs in cents: the plan would be compared with the price, and save what was never paid."""
    result = run(as_billed(factor), routes(to("small")))
    texts = [one["message"] for one in result["caveats"] if one["code"] == "paid_differs_from_price"]
    assert [said is not None and f"big {said}, small {said}" in text for text in texts] == ([True] if said else [])
    cached = [replace(one, cached=True) for one in as_billed(100)]
    silent = [replace(one, input_tokens=0, output_tokens=0) for one in as_billed(100)]
    for rows in (cached, silent):
        assert "paid_differs_from_price" not in caveats(run(rows, NOTHING))


def test_bills_that_are_off_are_said_also_where_they_come_to_the_price_or_the_price_is_nothing() -> None:
    rows = [one for pair in zip(as_billed(1.9), as_billed(0.1)[20:], strict=False) for one in pair]
    rows = [replace(one, request_id=str(n), model="big", requested_model="big") for n, one in enumerate(rows)]
    rows = [replace(one, cost_nano=[5_700_000, 300_000][n % 2]) for n, one in enumerate(rows)]
    assert caveats(run(rows, NOTHING))["paid_differs_from_price"] == {"models": {"big": {"factor": 1, "share_off": 1}}}
    free = PriceTable([Price(provider="openai", model="big", input_nano_per_million=0, output_nano_per_million=0)])
    said = run(rows, NOTHING, prices=free)["caveats"]
    assert any("big (listed as free)" in one["message"] for one in said)


# --- What the gateway's cache answered --------------------------------------------------------------------------------


def from_the_cache(count: int = 40, share: float = 0.6) -> list[LogRow]:
    """As paid at the listed price, except that the cache answered some."""
    rows = [row(n, input_tokens=1000, output_tokens=100, cost_nano=3_500_000) for n in range(count)]
    return [replace(one, cached=True, cost_nano=0) if n < count * share else one for n, one in enumerate(rows)]


def test_what_the_gateway_s_cache_answered_is_neither_saved_nor_paid_by_another_model() -> None:
    rows = from_the_cache()
    there = run(rows, routes(to("small")))
    assert there["verdict"] == "saves"
    assert there["aggregates"]["total_projected_cost_usd"] == usd(16 * 210_000)
    assert caveats(there)["served_from_cache"] == {"rows": 24}
    moved = [replace(one, model="small", cost_nano=one.cost_nano and 210_000) for one in rows]
    back = run(moved, NOTHING, routes(to("small")))
    assert back["verdict"] == "costs"
    assert back["aggregates"]["total_projected_cost_usd"] == usd(16 * 3_500_000)
    assert "current_differs_from_paid" not in caveats(back)
    nobody = run(from_the_cache(share=1), routes(to("small")))
    assert nobody["aggregates"]["projected_savings_usd"] == 0
    assert nobody["aggregates"]["requests_rerouted"] == 0


def test_what_is_kept_from_the_gateway_s_cache_is_paid() -> None:
    without = {"then": {"disable_cache": True}}
    result = run(from_the_cache(), routes(without))
    assert result["aggregates"]["total_current_cost_usd"] == usd(16 * 3_500_000)
    assert result["aggregates"]["total_projected_cost_usd"] == usd(40 * 3_500_000)
    assert caveats(result)["cache_disabled"] == {"rows": 24}
    both = run(from_the_cache(), routes({"then": {"disable_cache": True, "target_model": "small"}}))
    assert both["aggregates"]["total_projected_cost_usd"] == usd(40 * 210_000)
    same = run(from_the_cache(), routes(without), routes(without))
    assert same["aggregates"]["projected_savings_usd"] == 0
    assert "cache_disabled" not in caveats(same)


# --- Who decided ------------------------------------------------------------------------------------------------------


def aliased(served: str = "small", **more: Any) -> list[LogRow]:
    asked = {"input_tokens": 1000, "output_tokens": 100, "cost_nano": 210_000, "model": served, **more}
    return [row(n, cluster_key=f"u{n}", **asked) for n in range(40)]


@pytest.mark.parametrize("effect", [{"disable_cache": True}, {"shadow_model": "big"}, {"max_cost_usd": 5}], ids=str)
def test_a_route_that_leaves_the_model_alone_did_not_decide_who_served(effect: dict[str, Any]) -> None:
    """The log names it, and yet the model is what stands behind the name that was asked for."""
    today = routes({"then": effect})
    result = run(aliased(routed=True), routes(to("small"), {"then": effect}), today)
    assert result["aggregates"]["projected_savings_usd"] == 0
    assert result["aggregates"]["total_current_cost_usd"] == usd(40 * 210_000)


def test_a_model_that_its_provider_reports_with_a_date_is_that_model() -> None:
    dated = aliased("small-2024-07-18")
    undone = run(dated, NOTHING, routes(to("small")))
    assert undone["aggregates"]["total_current_cost_usd"] == usd(40 * 210_000), "what was paid"
    assert undone["aggregates"]["total_projected_cost_usd"] == usd(40 * 3_500_000)
    assert undone["verdict"] == "costs"
    asked = [replace(one, model="big-20240806") for one in dated]
    assert "served_as_asked" not in caveats(run(asked, NOTHING))


def test_where_neither_today_s_routes_nor_the_name_say_who_served_what_was_paid_stands() -> None:
    result = run(aliased("third"), NOTHING, routes(to("small")))
    assert result["aggregates"]["projected_savings_usd"] == 0
    assert result["aggregates"]["requests_unprice_able"] == result["aggregates"]["requests_kept"] == 40
    assert caveats(result)["who_decided"] == {"rows": 40}
    assert "who_decided" not in caveats(run(aliased("third"), routes(to("small"))))


@pytest.mark.parametrize(
    ("model", "reported", "is_it"),
    [
        ("m", "m", True), ("m", "m-2024-07-18", True), ("m", "m-20240718", True), ("m", "m-0613", True),
        ("m", "m@20240718", True), ("m", "mini", False), ("m", "m-mini", False), ("m", "m-2024-07-18-x", False),
        ("m", "m-13", False), ("m-2024-07-18", "m", False), ("m", "", False), ("m-mini", "m-0613", False),
    ],
)  # fmt: skip
def test_a_name_and_a_date(model: str, reported: str, is_it: bool) -> None:
    assert is_called(model, reported) == is_it


def test_a_copy_that_nobody_gets_today_is_told_and_one_that_stays_is_not() -> None:
    copied = routes({"then": {"shadow_model": "big"}})
    rows = [row(n) for n in range(12)]
    assert caveats(run(rows, copied))["shadow_copies"] == {"models": {"big": 12}}
    assert "shadow_copies" not in caveats(run(rows, copied, copied))


def test_latencies_that_today_s_model_lacks_are_told() -> None:
    result = run(aliased("small"), NOTHING, routes(to("new")), prices=with_new())
    assert caveats(result)["no_latency_history"] == {"models": {"new": 40}}


def test_that_nobody_named_the_provider_whose_price_is_taken_is_told_where_it_matters() -> None:
    """`azure` lists `small` for next to nothing, and comes first."""
    rows = [row(n, provider="anthropic") for n in range(12)]
    assert caveats(run(rows, routes(to("small"))))["provider_guessed"] == {"models": {"small": 12}}
    named = routes({"then": {"target_model": "small", "provider": "openai"}})
    assert "provider_guessed" not in caveats(run(rows, named))
    assert "provider_guessed" not in caveats(run([row(n) for n in range(12)], routes(to("small"))))
    alone = PriceTable(PRICES.prices[1:2])
    assert "provider_guessed" not in caveats(run(rows, routes(to("small")), prices=alone))


def with_new() -> PriceTable:
    new = Price(provider="openai", model="new", input_nano_per_million=1, output_nano_per_million=1)
    return PriceTable([*PRICES.prices, new])


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
    assert caveats(run([row(**changes)], NOTHING)).get("facts_from_bill", {"rows": 0})["rows"] == rows


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
    assert set(result["confidence_intervals"].values()) == {None}
    assert result["per_route_breakdown"][0]["savings_usd_95"] is None
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


def test_savings_of_a_route_that_cancel_out_are_not_certain_either() -> None:
    even = PriceTable([Price(provider="p", model="a", input_nano_per_million=10**6, output_nano_per_million=0)])
    rows = [
        row(n, model="x", requested_model="x", cost_nano=100 * (n % 2), input_tokens=50, cluster_key=f"u{n}")
        for n in range(12)
    ]
    result = run(rows, routes(to("a")), prices=even)
    part = result["per_route_breakdown"][0]
    assert result["aggregates"]["projected_savings_usd"] == part["savings_usd"] == 0
    low, high = part["savings_usd_95"]
    assert low < 0 < high
    assert part["savings_pct_95"] == result["confidence_intervals"]["savings_pct_95"]


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


def test_another_row_has_another_digest_and_the_seed_is_told() -> None:
    rows = [row(n) for n in range(40)]
    engine = routes(to("small", input_tokens_lt=2000))
    one = run(rows, engine)
    other = run([*rows[:-1], row(39, output_tokens=51)], engine)
    assert other["provenance"]["data_digest"] != one["provenance"]["data_digest"]
    assert run(rows, engine, seed=2)["provenance"]["seed"] == 2


EVERY_FACT = {
    "tag_equals": "a", "metadata": {"team": ["a"]}, "prompt_contains_any_of": ["a"], "upstream_latency_ms_p95_gt": 1,
    "has_images": True, "has_audio": True, "has_documents": True, "has_tools": True, "is_stream": True,
}  # fmt: skip


def test_every_column_that_the_answer_leans_on_changes_the_data_digest_and_no_other_does() -> None:
    leaning = routes({"when": EVERY_FACT, "then": {"target_model": "small", "traffic_pct": 50}})
    caches = {"l1_ttl_seconds": 1, "l2_ttl_seconds": 1}
    changes: dict[str, Any] = {
        "request_id": "x", "ts": START + timedelta(microseconds=1), "kind": "fallback", "routed": True, "provider": "x",
        "model": "x", "requested_model": "x", "input_tokens": 1, "output_tokens": 1, "cached_tokens": 1, "cost_nano": 1,
        "baseline_cost_nano": 1, "status": 201, "cluster_key": None, "fact_input_tokens": 1, "cached": True,
        "fact_estimated_cost_nano": 1, "latency_ms": 1, "synthetic": ("x",),
    }  # fmt: skip
    of_routes = {
        "tag": "x", "has_images": False, "has_audio": False, "has_documents": False, "has_tools": False,
        "is_stream": False, "fact_upstream_latency_ms_p95": 1, "fact_sticky_key": "x", "prompt": "x", "metadata": {},
    }  # fmt: skip
    of_caches = {"request_digest": "x", "embedding": bytes(4), "finish_reason": "stop"}
    assert {*changes, *of_routes, *of_caches} == set(row().__slots__)

    def digests(changed: dict[str, Any], *given: Any, **more: Any) -> set[str]:
        rows = [row(**{name: value}) for name, value in changed.items()]
        return {run([one], *given, **more)["provenance"]["data_digest"] for one in rows}

    plain, full = digests({"kind": "primary"}, NOTHING), digests({"kind": "primary"}, leaning, **caches)
    assert len(digests(changes, NOTHING) | plain) == len(changes) + 1
    assert digests(of_routes | of_caches, NOTHING) == plain, "nobody looks at them"
    everything = changes | of_routes | of_caches
    assert len(digests(everything, leaning, **caches) | full) == len(everything) + 1
    assert len(digests(of_routes, NOTHING, leaning) | digests({"kind": "primary"}, NOTHING, leaning)) == 11


def test_a_result_says_where_it_comes_from() -> None:
    result = run([row()], NOTHING, iterations=500, seed=9, l1_ttl_seconds=60, interval_method="cluster_bootstrap")
    origin = result["provenance"]
    assert set(origin) == {
        "engine_version", "data_digest", "prices_digest", "seed", "iterations", "caches", "units"
    }  # fmt: skip
    assert (origin["seed"], origin["iterations"], origin["prices_digest"]) == (9, 500, PRICES.digest())
    assert origin["units"]["pct"] == "percent"
    assert origin["caches"]["l1_ttl_seconds"] == 60
    assert origin["caches"]["l2_threshold_sweep"] == [0.85, 0.9, 0.92, 0.95]
    assert result["interval_method"] == "cluster_bootstrap"
    assert run([row()], NOTHING)["interval_method"] == "random_subsets"


@pytest.mark.parametrize(
    "second", [[*range(9)], [*range(7)], [*range(1, 9)], [0, *range(2, 9)], [*range(7), 8]], ids=str
)
def test_a_log_that_changes_meanwhile_gives_no_answer(second: list[int]) -> None:
    """Rows that came, rows that went, and as many that went as came, in any block."""

    class Changing(MemorySource):
        passes = iter([[*range(8)], second])

        def blocks(self, columns: frozenset[str], start: Cursor = BEGINNING) -> Iterator[Block]:
            return MemorySource([row(n) for n in next(self.passes)], block_rows=3).blocks(columns, start)

    with pytest.raises(LogChanged, match=r"while it was read|while the log was read"):
        replay_of(Changing(), Question(current=NOTHING, proposed=NOTHING, prices=PRICES))


@pytest.mark.parametrize(
    "wrong",
    [
        {"iterations": 1},
        {"l1_ttl_seconds": 0},
        {"l2_ttl_seconds": -1},
        {"l1_ttl_seconds": float("nan")},
        {"l2_ttl_seconds": 2e9},
        {"l2_threshold_sweep": (0.9, 1.01)},
        {"l2_priced_threshold": 0.7},
    ],
    ids=str,
)
def test_what_cannot_be_asked_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\.$"):
        Question(**{"current": NOTHING, "proposed": NOTHING, "prices": PRICES, **wrong})


@pytest.mark.parametrize(("percent", "said"), [(95, None), (105, None), (106, "6% more"), (90, "10% less")])
def test_that_today_s_cost_is_far_from_what_was_paid_is_said(percent: int, said: str | None) -> None:
    """They were served by the small model, through a route that is gone; today the big one would serve them."""
    was = {"routed": True, "model": "small", "requested_model": "big", "input_tokens": 1000}
    rows = [row(n, cost_nano=10**9, **was) for n in range(30)]
    big = Price(provider="openai", model="big", input_nano_per_million=percent * 10**10, output_nano_per_million=0)
    for caches in ({}, {"l1_ttl_seconds": 10**6}):
        found = run(rows, NOTHING, prices=PriceTable([big]), **caches)["caveats"]
        texts = [one["message"] for one in found if one["code"] == "current_differs_from_paid"]
        assert [said is not None and said in text for text in texts] == ([] if said is None else [True])


def test_where_nothing_is_paid_today_a_plan_that_costs_something_costs() -> None:
    free = [row(n, cost_nano=0, cluster_key=f"u{n}") for n in range(30)]
    result = run(free, routes(to("small")))
    assert (result["verdict"], result["probability_of_loss"]) == ("costs", 1)
    assert result["aggregates"]["projected_savings_pct"] is None
    nearly = run([replace(free[0], cost_nano=1), *free[1:]], routes(to("small")))
    assert (nearly["verdict"], nearly["probability_of_loss"]) == ("costs", 1)
    assert nearly["confidence_intervals"]["savings_usd_95"] == [None, None]
    half = run(free, routes(to("small", input_tokens_lt=150)))
    assert half["verdict"] == "undecided", "of the 30 one request, and half of the draws are without it"


def test_an_empty_log_has_an_answer() -> None:
    result = run([], routes(to("small")), l1_ttl_seconds=60, l2_ttl_seconds=60)
    totals = result["aggregates"]
    assert (result["sample_size"], result["caveats"], result["verdict"]) == (0, [], "undecided")
    assert totals["cache_hit_rate_projected"] is totals["p95_latency_ms_projected"] is None
    assert totals["projected_savings_pct"] is None
    assert result["interval_units"] == {"kind": "clusters", "count": 0}
    assert [part["matched"] for part in result["per_route_breakdown"]] == [0, 0]


def test_a_time_without_requests_is_told_in_utc_whatever_zone_the_window_has() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    window = START.astimezone(zone), (START + timedelta(days=10)).astimezone(zone)
    result = run([row(n) for n in range(12)], NOTHING, window=window)
    (text,) = [one["message"] for one in result["caveats"] if one["code"] == "window_not_covered"]
    assert "from 2026-05-01 00:11 to 2026-05-11 00:00 UTC" in text
