"""What the answer stands on: how many facts were known, and what the unknown ones might change."""

from typing import Any

import pytest

from plans.replay import evidence
from plans.replay.figures import usd
from plans.replay.pricing import Pricing
from routes.engine.prices import Price, PriceTable
from tests.plans.replay.worlds import NOTHING, START, caveats, routes, row, run, to

#: What a row costs on the small model, and on the big one as it was paid.
SMALL, BIG = 100 * 150 + round(50 * 600.000001), 750_000


def coverage(*given: Any, **changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = run([row(**changes)], *given)["coverage"]
    return found


def bounds(*given: Any, **changes: Any) -> tuple[float, float]:
    found = coverage(*given, **changes)
    return found["savings_usd_low"], found["savings_usd_high"]


def test_each_condition_says_of_how_many_rows_its_fact_was_known() -> None:
    engine = routes(
        to("small", has_tools=True, input_tokens_lt=5), to("big", any_of=[{"not": {"headers": {"x": ["a"]}}}])
    )
    rows = [row(0, has_tools=True), row(1, has_tools=False), row(2)]
    assert run(rows, engine, routes(to("small", metadata={"a": ["b"]})))["coverage"]["conditions"] == [
        {"condition": "has_tools", "rows_exact": 2, "rows_unknown": 1},
        {"condition": "headers", "rows_exact": 0, "rows_unknown": 3},
        {"condition": "input_tokens_lt", "rows_exact": 3, "rows_unknown": 0},
        {"condition": "metadata", "rows_exact": 0, "rows_unknown": 3},
    ]
    assert run(rows, routes({**to("small", has_tools=True), "enabled": False}))["coverage"]["conditions"] == []


def test_an_unknown_condition_may_save_or_not() -> None:
    assert bounds(routes(to("small", has_tools=True))) == (0, usd(BIG - SMALL))
    assert bounds(NOTHING, routes(to("small", has_tools=True))) == (usd(SMALL - BIG), 0)


def test_a_plan_equal_to_what_is_live_saves_nothing_whatever_was_unknown() -> None:
    engine = routes(to("small", has_tools=True), to("big", has_images=True))
    assert bounds(engine, engine) == (0, 0)
    again = routes(to("small", has_tools=True), to("big", has_images=True))
    assert bounds(again, engine) == (0, 0), "the same conditions hold, or do not, under both"


def test_a_condition_that_holds_under_both_is_one_fact_and_two_conditions_are_two() -> None:
    one, other = {"has_tools": True}, {"has_images": True}
    assert bounds(routes(to("small", **one)), routes(to("new", **one))) == (0, 0), "no price of new: as paid on both"
    assert bounds(routes(to("small", **one)), routes(to("small", **other))) == (usd(SMALL - BIG), usd(BIG - SMALL))


def test_what_comes_after_the_route_that_takes_the_request_changes_nothing() -> None:
    engine = routes(to("big"), to("small", has_tools=True))
    found = coverage(engine)
    assert (found["rows_open"], found["savings_usd_high"]) == (0, 0)
    assert "unknown_facts" not in caveats(run([row()], engine))


def test_an_unknown_alternative_of_the_route_that_takes_it_anyway_changes_nothing() -> None:
    engine = routes(to("small", any_of=[{"has_tools": True}, {"tag_equals": "a"}]))
    found = coverage(engine, tag="a")
    assert (found["rows_open"], found["savings_usd_low"]) == (0, usd(BIG - SMALL))
    assert coverage(engine, tag="b")["rows_open"] == 1


@pytest.mark.parametrize(
    ("when", "rows_open"),
    [
        ({"has_tools": True, "tag_equals": "b"}, 0),
        ({"has_tools": True, "tag_equals": "a"}, 1),
        ({"not": {"has_tools": True, "tag_equals": "a"}}, 1),
        ({"is_stream": True, "not": {"tag_equals": "a"}}, 0),
        ({"has_tools": True, "not": {"model_in": ["big"]}}, 0),
        ({"numbers": {"budget": {"gt": 1}}, "input_tokens_gt": 99}, 1),
        ({"numbers": {"budget": {"gt": 1}}, "input_tokens_gt": 100}, 0),
        ({"has_tools": True, "upstream_latency_ms_p95_gt": 7}, 0),
        ({"has_tools": True, "upstream_latency_ms_p95_gt": 6}, 1),
        ({"has_tools": True, "not": {"upstream_latency_ms_p95_gt": 6}}, 0),
        ({"has_tools": True, "time_window": {"from": "01:00", "to": "02:00", "tz": "UTC"}}, 0),
        ({"has_tools": True, "not": {"time_window": {"from": "01:00", "to": "02:00", "tz": "UTC"}}}, 1),
        ({"headers": {"x": ["a"]}, "not": {"metadata": {"team": ["a"]}}}, 0),
    ],
    ids=str,
)
def test_what_is_known_to_be_false_leaves_nothing_open(when: dict[str, Any], rows_open: int) -> None:
    row_of = {"tag": "a", "fact_upstream_latency_ms_p95": 7, "metadata": {"team": "a"}}
    assert coverage(routes(to("small", **when)), **row_of)["rows_open"] == rows_open


def test_a_route_that_is_not_active_leaves_nothing_open() -> None:
    over = {**to("small", has_tools=True), "active_until": "2026-05-01T00:00:00Z"}
    assert coverage(routes(over))["rows_open"] == 0
    assert coverage(routes({**over, "active_until": "2026-05-01T00:00:01Z"}))["rows_open"] == 1


def test_the_share_of_spend_that_is_open_is_that_of_its_rows() -> None:
    rows = [row(n, cost_nano=1000, has_tools=None if n == 0 else False) for n in range(4)]
    result = run(rows, routes(to("small", has_tools=True)))
    assert (result["coverage"]["rows_open"], result["coverage"]["share_of_spend_open"]) == (1, 0.25)
    assert caveats(result)["unknown_facts"] == {"rows": 1}


def test_shares_are_drawn_for_what_might_have_been_too() -> None:
    half = routes({"when": {"has_tools": True}, "then": {"target_model": "small", "traffic_pct": 50}})
    rows = [row(n, input_tokens=100, cost_nano=BIG) for n in range(100)]
    result = run(rows, half)["coverage"]
    drawn = run([row(n, input_tokens=100, cost_nano=BIG, has_tools=True) for n in range(100)], half)
    assert 30 < drawn["aggregates"]["requests_rerouted"] < 70
    assert result["savings_usd_high"] == drawn["aggregates"]["projected_savings_usd"]
    assert result["savings_usd_low"] == 0


def test_what_a_cache_answers_stays_answered() -> None:
    rows = [row(n, request_digest="d", ts=row().ts) for n in range(3)]
    found = run(rows, routes(to("small", has_tools=True)), l1_ttl_seconds=60)["coverage"]
    assert (found["rows_open"], found["savings_usd_high"]) == (3, usd(BIG - SMALL))


# --- Many routes ------------------------------------------------------------------------------------------------------

#: Each has a price of its own: 1, 2, 3, ... nano-dollars a token that goes in.
MANY = PriceTable(
    [
        Price(provider="openai", model=f"m{n}", input_nano_per_million=(n + 1) * 10**6, output_nano_per_million=0)
        for n in range(40)
    ]
)


def asking(prefix: str, models: list[str]) -> Any:
    """Routes to these models, each of which looks at another value of a header, which no log has."""
    return routes(*(to(model, headers={"x": [f"{prefix}{n}"]}) for n, model in enumerate(models)))


@pytest.fixture
def priced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows of each pricing."""
    found: list[int] = []
    honest = Pricing.costs

    def counted(self: Pricing, block: Any, numbers: Any) -> Any:
        found.append(block.rows)
        return honest(self, block, numbers)

    monkeypatch.setattr(Pricing, "costs", counted)
    return found


def test_each_side_is_priced_once_for_each_route_and_not_for_each_pair(priced: list[int]) -> None:
    today, plan = asking("a", [f"m{n}" for n in range(20)]), asking("b", [f"m{n}" for n in range(20, 40)])
    found = run([row(n, input_tokens=1) for n in range(10)], plan, today, prices=MANY)["coverage"]
    assert len(priced) <= 1 + 21 + 21, "as they were decided; by twenty routes and by none, on either side"
    # Where the cheapest of today's and the dearest of the plan win, 1 and 40 nano-dollars a row; and where none of the
    # plan wins, or none of today's, against what was paid.
    paid = sum(row(n).cost_nano or 0 for n in range(10))
    assert found["savings_usd_low"] == usd(10 * 1 - paid)
    assert found["savings_usd_high"] == usd(paid - 10 * 21)


def test_routes_under_which_rows_cost_the_same_are_priced_once(priced: list[int]) -> None:
    today, plan = asking("a", ["m0", "m1"] * 10), asking("b", ["m2", "m3"] * 10)
    run([row(n) for n in range(10)], plan, today, prices=MANY)
    assert len(priced) <= 1 + 3 + 3


def test_rows_of_which_other_prices_are_in_force_cost_differently_under_one_route() -> None:
    since = START.replace(hour=0, minute=5)
    dearer = Price(
        provider="openai", model="m0", input_nano_per_million=7 * 10**6, output_nano_per_million=0, since=since
    )
    rows = [row(n, input_tokens=1, cost_nano=10) for n in range(10)]
    plan = asking("a", ["m0", "m0"])
    found = run(rows, plan, prices=PriceTable([*MANY.prices, dearer]))["coverage"]
    assert (found["savings_usd_low"], found["savings_usd_high"]) == (0, usd(5 * (10 - 1) + 5 * (10 - 7)))


@pytest.mark.parametrize("cells", [1, 100, 1 << 19])
def test_however_few_costs_are_kept_at_a_time_the_bounds_are_the_same(
    monkeypatch: pytest.MonkeyPatch, priced: list[int], cells: int
) -> None:
    monkeypatch.setattr(evidence, "_CELLS", cells)
    rows = [row(n, input_tokens=n, cost_nano=1000) for n in range(100)]
    # The second side's first route is today's last one: where it holds, none of the others of the plan takes the row.
    today, plan = (
        asking("a", ["m1", "m2", "m9"]),
        routes(to("m5", headers={"x": ["a2"]}), to("m3", headers={"x": ["b"]})),
    )
    found = run(rows, plan, today, prices=MANY)["coverage"]
    saved = [[now - then for now, then in possible(tokens)] for tokens in range(100)]
    least, most = sum(map(min, saved)), sum(map(max, saved))
    assert (found["savings_usd_low"], found["savings_usd_high"]) == (usd(least), usd(most))
    assert max(priced[1:]) == min(max(1, cells // 7), 100), "four ways on one side and three on the other"


def possible(tokens: int) -> list[tuple[int, int]]:
    """What a row costs today and under the plan of the test above, for all that may be."""
    m1, m2, m3, m5, m9 = (tokens * price for price in (2, 3, 4, 6, 10))
    both = [(now, then) for now in (m1, m2) for then in (m5, m3, 1000)]
    return [*both, (m9, m5), (1000, m3), (1000, 1000)]


@pytest.mark.parametrize("then", [{"target_model": "unpriced"}, {"target_model": "m39", "max_cost_usd": 1e-9}], ids=str)
@pytest.mark.parametrize("is_proposed", [True, False])
def test_what_cannot_be_priced_on_one_side_saves_nothing_whatever_is_on_the_other(
    then: dict[str, Any], is_proposed: bool
) -> None:
    one, other = routes({"when": {"headers": {"x": ["a"]}}, "then": then}, to("m0")), routes(to("m4"))
    rows = [row(n, input_tokens=1, cost_nano=100) for n in range(3)]
    found = run(rows, *((one, other) if is_proposed else (other, one)), prices=MANY)["coverage"]
    # Five nano-dollars against one; or nothing, and neither against what was paid nor against forty.
    saved = usd(3 * (5 - 1) if is_proposed else 3 * (1 - 5))
    assert (found["savings_usd_low"], found["savings_usd_high"]) == (min(saved, 0), max(saved, 0))


def test_routes_that_cost_the_same_on_some_rows_may_differ_on_others() -> None:
    rows = [row(0), row(1, provider="azure", cost_nano=3_000_000)]
    at_openai = {"target_model": "big", "provider": "openai"}
    plan = routes(to("big", headers={"x": ["a"]}), {"when": {"headers": {"x": ["b"]}}, "then": at_openai})
    found = run(rows, plan)["coverage"]
    assert (found["savings_usd_low"], found["savings_usd_high"]) == (0, usd(3_000_000 - 200 * 2500 - 50 * 10_000))
