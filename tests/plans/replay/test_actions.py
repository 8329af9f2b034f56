"""What actions other than another model mean for the cost, and which facts of a logged request are known."""

from datetime import timedelta
from typing import Any

import pytest

from plans.replay.columns.block import block_of, context_of
from plans.replay.figures import usd
from routes.engine import UNKNOWN
from routes.engine.prices import Price, PriceTable
from tests.plans.replay.worlds import NOTHING, START, caveats, routes, row, run, to

REFUSE = {"then": {"refuse": {"status": 403, "code": "no", "message": "No."}}}


def matched(result: dict[str, Any]) -> int:
    count: int = result["per_route_breakdown"][0]["matched"]
    return count


def test_a_refused_request_costs_nothing_and_is_said() -> None:
    result = run([row(n) for n in range(10)], routes({**REFUSE, "when": {"input_tokens_lt": 501}}))
    assert result["aggregates"]["requests_rerouted"] == 5
    part = result["per_route_breakdown"][0]
    assert (part["matched"], part["projected_cost_usd"]) == (5, 0)
    assert part["savings_usd"] == part["current_cost_usd"] > 0
    assert caveats(result)["refused"] == {"current": 0, "proposed": 5}


def test_a_request_that_today_s_routes_refuse_costs_something_once_they_do_not() -> None:
    result = run([row(n) for n in range(60)], NOTHING, routes(REFUSE))
    assert result["aggregates"]["total_current_cost_usd"] == 0
    assert result["aggregates"]["projected_savings_usd"] < 0
    assert caveats(result)["refused"] == {"current": 60, "proposed": 0}


def test_a_refusal_against_an_unknown_price_is_no_saving() -> None:
    result = run([row(n) for n in range(8)], routes(REFUSE), routes(to("nobody-knows")))
    assert result["aggregates"]["projected_savings_usd"] == 0
    assert result["aggregates"]["requests_unprice_able"] == 8


@pytest.mark.parametrize(
    "unchanged",
    [
        {"then": {"disable_cache": True}},
        {"then": {"fallbacks": ["small"], "max_cost_usd": 0.000001}},
        {"then": {"target_model": "small", "traffic_pct": 0}},
        {"then": {"target_model": "small"}, "paused": True},
        {"then": {"target_model": "small"}, "active_until": "2026-05-01T00:00:00Z"},
        {"then": {"target_model": "big", "provider": "openai"}},
    ],
    ids=str,
)
def test_what_leaves_model_and_provider_as_they_were_costs_what_was_paid(unchanged: dict[str, Any]) -> None:
    result = run([row(n) for n in range(8)], routes(unchanged))
    assert result["aggregates"]["total_projected_cost_usd"] == result["aggregates"]["total_current_cost_usd"]
    assert result["aggregates"]["requests_rerouted"] == 0
    assert result["verdict"] == "undecided"


@pytest.mark.parametrize(("minutes", "takes"), [(0, 1), (59, 1), (60, 0)])
def test_a_route_is_active_by_the_time_of_the_request(minutes: int, takes: int) -> None:
    soon_over = routes({**to("small"), "active_until": "2026-05-01T01:00:00Z"})
    assert matched(run([row(ts=START + timedelta(minutes=minutes))], soon_over)) == takes


def test_the_provider_that_a_route_names_is_asked_for_its_price_first() -> None:
    named = run([row()], routes({"then": {"target_model": "small", "provider": "azure"}}))
    assert named["aggregates"]["total_projected_cost_usd"] == 0, "azure's small costs next to nothing"
    own = run([row()], routes(to("small")))
    assert own["aggregates"]["total_projected_cost_usd"] == usd(100 * 150 + round(50 * 600.000001))


def test_another_provider_of_the_same_model_is_priced_and_counts_as_rerouted() -> None:
    prices = PriceTable([Price(provider="azure", model="big", input_nano_per_million=10**6, output_nano_per_million=0)])
    elsewhere = routes({"then": {"target_model": "big", "provider": "azure"}})
    result = run([row()], elsewhere, prices=prices)
    assert result["aggregates"]["total_projected_cost_usd"] == usd(100)
    assert result["aggregates"]["requests_rerouted"] == 1
    nobody_knows_who = run([row(provider="")], elsewhere, prices=prices)
    assert nobody_knows_who["aggregates"]["projected_savings_usd"] == 0


def test_a_split_draws_by_the_logged_key_and_else_by_the_request() -> None:
    half = {"then": {"split": [{"target_model": "small", "weight": 1}, {"target_model": "big", "weight": 1}]}}
    engine = routes(half)
    one_user = run([row(n, fact_sticky_key="user-42") for n in range(60)], engine)["aggregates"]["requests_rerouted"]
    assert one_user in (0, 60)
    assert 10 < run([row(n) for n in range(60)], engine)["aggregates"]["requests_rerouted"] < 50


def test_copies_are_counted_by_their_model() -> None:
    copying = routes({"when": {"input_tokens_lt": 501}, "then": {"shadow_model": "small"}})
    result = run([row(n) for n in range(10)], copying)
    assert caveats(result)["shadow_copies"] == {"models": {"small": 5}}
    assert result["aggregates"]["projected_savings_usd"] == 0


@pytest.mark.parametrize(
    "condition",
    [
        {"metadata": {"team": ["a"]}},
        {"headers": {"x-team": ["a"]}},
        {"numbers": {"budget_share": {"gt": 0.5}}},
        {"prompt_contains_any_of": ["a"]},
        {"has_tools": True},
        {"is_stream": True},
    ],
    ids=lambda condition: next(iter(condition)),
)
def test_what_the_log_lacks_is_unknown_and_matches_neither_a_condition_nor_its_opposite(
    condition: dict[str, Any],
) -> None:
    assert matched(run([row()], routes(to("small", **condition)))) == 0
    assert matched(run([row()], routes(to("small", **{"not": condition})))) == 0


@pytest.mark.parametrize(
    ("metadata", "takes", "opposite"),
    [
        (None, 0, 0),
        ({}, 0, 1),
        ({"team": "a"}, 1, 0),
        ({"team": "b", "tier": "1"}, 0, 1),
        # A gateway cannot have given such values to the engine as they are, so nobody knows what it gave.
        ({"team": "a", "size": 3}, 0, 0),
        ({"team": ["a"]}, 0, 0),
    ],
)
def test_metadata_is_known_where_it_was_logged_as_texts(
    metadata: dict[str, object] | None, takes: int, opposite: int
) -> None:
    condition = {"metadata": {"team": ["a"]}}
    assert matched(run([row(metadata=metadata)], routes(to("small", **condition)))) == takes
    assert matched(run([row(metadata=metadata)], routes(to("small", **{"not": condition})))) == opposite


@pytest.mark.parametrize(("prompt", "takes", "opposite"), [(None, 0, 0), ("", 0, 1), ("My SALARY?", 1, 0)])
def test_the_prompt_is_known_where_it_was_stored(prompt: str | None, takes: int, opposite: int) -> None:
    condition = {"prompt_contains_any_of": ["salary"]}
    assert matched(run([row(prompt=prompt)], routes(to("small", **condition)))) == takes
    assert matched(run([row(prompt=prompt)], routes(to("small", **{"not": condition})))) == opposite


def test_what_the_log_has_is_known() -> None:
    logged = row(tag=None, has_tools=True, is_stream=False, fact_sticky_key="k", prompt="p", metadata={"a": "b"})
    context = context_of(block_of([row(), logged]), 1)
    assert (context.tag, context.metadata, context.headers) == (None, {"a": "b"}, UNKNOWN)
    assert (context.has_tools, context.is_stream, context.has_images, context.prompt) == (True, False, None, "p")
    assert (context.at, context.request_id, context.sticky_key) == (logged.ts, logged.request_id, "k")
    assert (context.input_tokens, context.estimated_cost_nano_usd) == (100, logged.fact_estimated_cost_nano)
    assert matched(run([logged], routes(to("small", **{"not": {"tag_equals": "a"}})))) == 1
