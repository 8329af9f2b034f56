"""The replay against a second, deliberately naive implementation, and rule by rule."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plans.replay import LogRow, Price, PriceList, replay
from plans.replay.replay import usd
from routes.engine import Engine, RequestContext, Route
from routes.engine.canonical import canonical_bytes
from routes.engine.ids import uuid7

START = datetime(2026, 5, 1, tzinfo=UTC)
PRICES = PriceList(
    [
        Price(
            provider="openai", model="big", input_nano_per_million=2_500_000_000, output_nano_per_million=10_000_000_000
        ),
        Price(
            provider="openai",
            model="small",
            input_nano_per_million=150_000_000,
            output_nano_per_million=600_000_001,
            cached_input_nano_per_million=75_000_000,
        ),
        Price(provider="azure", model="small", input_nano_per_million=1, output_nano_per_million=1),
    ]
)


def row(n: int = 0, **changes: Any) -> LogRow:
    fields = {
        "request_id": f"r{n:05d}",
        "ts": START + timedelta(minutes=n),
        "provider": "openai",
        "model": "big",
        "requested_model": "big",
        "input_tokens": 100 * (n + 1),
        "output_tokens": 50,
        "cost_nano": 250_000 * (n + 1) + 500_000,
        "baseline_cost_nano": 250_000 * (n + 1) + 500_000,
        "cluster_key": f"u{n % 12}",
        "fact_input_tokens": 100 * (n + 1),
    }
    return LogRow(**{**fields, **changes})


def routes(*raw: dict[str, Any]) -> Engine:
    return Engine(
        Route.from_dict({"id": uuid7(), "name": f"r{n}", "priority": 100, "enabled": True, "when": {}, **one})
        for n, one in enumerate(raw)
    )


def to(model: str, **when: Any) -> dict[str, Any]:
    return {"when": when, "then": {"target_model": model}}


NOTHING = routes()


def run(rows: list[LogRow], proposed: Engine, current: Engine = NOTHING, **more: Any) -> dict[str, Any]:
    return replay(
        rows, **{"current": current, "proposed": proposed, "prices": PRICES, "seed": 1, "iterations": 400, **more}
    )


def codes(result: dict[str, Any]) -> set[str]:
    return {caveat["code"] for caveat in result["caveats"]}


# --- A second implementation ------------------------------------------------------------------------------------------


def naive_cost(one: LogRow, engine: Engine) -> Decimal:
    """In USD, the way the page says it, with decimals instead of integers."""
    assert one.cost_nano is not None
    paid = Decimal(one.cost_nano) / 10**9
    tokens = one.input_tokens if one.fact_input_tokens is None else one.fact_input_tokens
    estimate = one.baseline_cost_nano if one.fact_estimated_cost_nano is None else one.fact_estimated_cost_nano
    decision = engine.decide(
        RequestContext(
            one.requested_model,
            input_tokens=tokens,
            tag=one.tag,
            has_images=one.has_images,
            estimated_cost_usd=None if estimate is None else Decimal(estimate) / 10**9,
        )
    )
    model = decision.target_model or one.requested_model
    if model == one.model:
        return paid
    listed = [price for price in PRICES.prices if price.model == model]
    own = [price for price in listed if price.provider == one.provider] or sorted(listed, key=lambda p: p.provider)
    if not own:
        return paid
    price = own[0]
    cached = min(one.cached_tokens, one.input_tokens)
    cached_price = price.cached_input_nano_per_million
    million = Decimal(10**6)
    cost = (
        Decimal(one.input_tokens - cached) / million * price.input_nano_per_million
        + Decimal(cached) / million * (price.input_nano_per_million if cached_price is None else cached_price)
        + Decimal(one.output_tokens) / million * price.output_nano_per_million
    ).quantize(Decimal(1), ROUND_HALF_EVEN) / 10**9
    ceiling = decision.max_cost_usd
    return paid if ceiling is not None and cost > Decimal(str(ceiling)) else cost


MODELS = st.sampled_from(["big", "small", "unpriced"])
MONEY = st.integers(0, 10**10)
ROWS = st.lists(
    st.builds(
        dict,
        provider=st.sampled_from(["openai", "azure", "other"]),
        model=MODELS,
        requested_model=MODELS,
        input_tokens=st.integers(0, 5000),
        output_tokens=st.integers(0, 5000),
        cached_tokens=st.integers(0, 6000),
        cost_nano=MONEY,
        baseline_cost_nano=st.none() | MONEY,
        tag=st.sampled_from([None, "a", "b"]),
        has_images=st.sampled_from([None, True, False]),
        cluster_key=st.none() | st.sampled_from("abcdefgh"),
        fact_input_tokens=st.none() | st.integers(0, 5000),
        fact_estimated_cost_nano=st.none() | MONEY,
    ),
    max_size=30,
)
RULES = st.lists(
    st.builds(
        lambda when, model, ceiling, priority, enabled: {
            "priority": priority,
            "enabled": enabled,
            "when": {key: value for key, value in when.items() if value not in (None, [])},
            "then": {"target_model": model, **({} if ceiling is None else {"max_cost_usd": ceiling})},
        },
        st.fixed_dictionaries(
            {
                "model_in": st.lists(MODELS, max_size=2, unique=True),
                "input_tokens_lt": st.none() | st.integers(0, 5000),
                "tag_equals": st.sampled_from([None, "a"]),
                "has_images": st.sampled_from([None, True, False]),
                "estimated_cost_gt": st.sampled_from([None, 0.5, 3]),
            }
        ),
        MODELS,
        st.sampled_from([None, 0.001, 5]),
        st.integers(0, 3),
        st.booleans(),
    ),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(ROWS, RULES, RULES)
def test_a_second_implementation_agrees_to_the_nano_dollar(
    rows: list[dict[str, Any]], now: list[dict[str, Any]], then: list[dict[str, Any]]
) -> None:
    logged = [row(n, **fields) for n, fields in enumerate(rows)]
    current, proposed = routes(*now), routes(*then)
    totals = run(logged, proposed, current)["aggregates"]
    costs = [(naive_cost(one, current), naive_cost(one, proposed)) for one in logged]
    expected_current, expected_projected = (sum((pair[side] for pair in costs), Decimal(0)) for side in (0, 1))
    assert Decimal(str(totals["total_current_cost_usd"])) == expected_current
    assert Decimal(str(totals["total_projected_cost_usd"])) == expected_projected
    assert Decimal(str(totals["projected_savings_usd"])) == expected_current - expected_projected


# --- Rule by rule -----------------------------------------------------------------------------------------------------


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


def test_above_the_ceiling_of_its_route_a_request_keeps_what_it_cost() -> None:
    capped = {"when": {}, "then": {"target_model": "big", "max_cost_usd": 0.0008}}
    cheap = [row(n, model="small", requested_model="small", cost_nano=1) for n in range(4)]
    result = run(cheap, routes(capped))
    # 750, 1,000, 1,250 and 1,500 thousand nano-dollars on the big model; the first alone is allowed.
    assert result["aggregates"]["total_projected_cost_usd"] == usd(750_000 + 3)
    assert [one["values"] for one in result["caveats"] if one["code"] == "over_cost_ceiling"] == [
        {"models": {"big": 3}}
    ]


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
    assert "unpriced" in codes(result)


def test_what_the_answer_leans_on_is_said() -> None:
    rows = [row(n, baseline_cost_nano=None, fact_input_tokens=None, synthetic=("model",)) for n in range(30)]
    result = run(rows, routes(to("small")))
    assert codes(result) >= {"no_baseline", "facts_from_bill", "synthetic_columns", "few_effective_units"}
    (made_up,) = [one for one in result["caveats"] if one["code"] == "synthetic_columns"]
    assert made_up["values"] == {"columns": {"model": 30}}


def test_too_few_units_give_no_interval_and_no_verdict() -> None:
    result = run([row(n, cluster_key=f"u{n % 5}") for n in range(30)], routes(to("small")))
    assert result["confidence_intervals"] == {"savings_usd_95": None, "savings_pct_95": None}
    assert (result["verdict"], result["probability_of_loss"]) == ("undecided", None)
    assert "too_few_units" in codes(result)


def test_few_keys_over_many_days_are_judged_by_days() -> None:
    rows = [row(n, ts=START + timedelta(hours=n), cluster_key=f"u{n % 3}") for n in range(24 * 8)]
    week = (START, START + timedelta(days=8))
    result = run(rows, routes(to("small")), window=week)
    assert "units_are_days" in codes(result)
    assert result["confidence_intervals"]["savings_usd_95"] is not None
    assert "too_few_units" in codes(run(rows, routes(to("small")), window=(START, START + timedelta(days=6))))


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


def test_progress_is_told_and_can_stop_the_run() -> None:
    heard: list[int] = []

    def stop_at_two_thousand(done: int) -> None:
        heard.append(done)
        if done == 2000:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run([row(n) for n in range(2500)], NOTHING, on_progress=stop_at_two_thousand)
    assert heard == [1000, 2000]
