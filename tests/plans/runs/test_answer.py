"""A result in words: no more certain than it is, and with digits that say something."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plans.replay.question import VERSION
from plans.runs.answer import (
    answer_of,
    cost_rows,
    earlier_version,
    latency_rows,
    lead,
    percent_text,
    route_rows,
    span_text,
    unknowns,
)
from routes.money import usd_range, usd_text


def result(
    *,
    saved: float = 20,
    current: float = 100,
    usd: Any = (19, 21),
    pct: Any = (19, 21),
    verdict: str = "saves",
    rows: int = 50,
    rerouted: int = 40,
    unpriced: int = 0,
    routes: Any = (),
) -> dict[str, Any]:
    return {
        "sample_size": rows,
        "verdict": verdict,
        "aggregates": {
            "total_baseline_cost_usd": current,
            "total_current_cost_usd": current,
            "total_projected_cost_usd": current - saved,
            "projected_savings_usd": saved,
            "projected_savings_pct": 100 * saved / current if current else None,
            "requests_rerouted": rerouted,
            "requests_unprice_able": unpriced,
        },
        "confidence_intervals": {
            "savings_usd_95": None if usd is None else list(usd),
            "savings_pct_95": None if pct is None else list(pct),
        },
        "interval_units": {"kind": "clusters", "count": 12},
        "per_route_breakdown": [
            {"route_name": "a", "current_cost_usd": 1, "projected_cost_usd": 1, "savings_usd": 0, "matched": 9, **route}
            for route in routes
        ],
        "provenance": {"engine_version": VERSION},
    }


@pytest.mark.parametrize(
    ("given", "headline", "detail"),
    [
        (
            {},
            "Saves $20.00 (20.0%) on 50 requests",
            "95% interval of the savings: +$19.00 to +$21.00 (+19.0% to +21.0%). The whole interval is a saving.",
        ),
        (
            {"saved": -2, "usd": (-5, 1), "pct": (-5, 1), "verdict": "undecided", "rows": 1},
            "Costs $2.00 (2.0%) on 1 request",
            "95% interval of the savings: −$5.00 to +$1.00 (-5.0% to +1.0%; negative means dearer). The interval contains"
            " zero: this traffic does not decide it.",
        ),
        # The headline has the digits of its interval, so that it does not seem to lie outside.
        (
            {"saved": 0.196695, "current": 0.21, "usd": (0.19639, 0.19705), "pct": (93.5, 93.8)},
            "Saves $0.19670 (93.7%) on 50 requests",
            "+$0.19639 to +$0.19705",
        ),
        ({"saved": 0.4, "usd": (0.04, 0.7), "pct": (0.04, 0.7)}, "Saves $0.40 (0.40%)", "(+0.040% to +0.70%)"),
        # One point is no false certainty: it says what makes it one.
        (
            {"usd": (20, 20), "pct": (20, 20)},
            "Saves $20.00 (20.0%)",
            "All 12 clusters save the same share of what they cost today, so the 95% interval is one point.",
        ),
        ({"usd": None, "pct": None, "verdict": "undecided"}, "Saves", "Too little independent traffic"),
        ({"usd": (None, None), "pct": (None, None), "verdict": "undecided"}, "Saves", "Too little independent traffic"),
        (
            {"usd": (19, None), "pct": (19, None)},
            "Saves",
            "at least +$19.00; this traffic bounds them on one side only. The whole interval is a saving.",
        ),
        # Nothing is paid today: the sign is certain, whatever the units.
        ({"saved": -3, "current": 0, "usd": None, "pct": None}, "Costs $3.00 on 50 requests", "it is certain"),
        ({"saved": -3, "current": 0, "usd": (None, None), "pct": (None, None)}, "Costs $3.00", "it is certain"),
        # Without a price nobody knows; with one it may really cost the same.
        (
            {"saved": 0, "usd": (0, 0), "pct": (0, 0), "verdict": "undecided", "unpriced": 31},
            "No known savings on 50 requests; 31 of them count as unchanged, see the caveats",
            "nobody knows what that would save or cost",
        ),
        (
            {"saved": 0, "usd": (0, 0), "pct": (0, 0), "verdict": "undecided"},
            "Costs the same on 50 requests",
            "exactly as much",
        ),
        ({"saved": 0, "rerouted": 0, "rows": 1}, "Changes nothing", "The 1 request would not be served otherwise."),
        ({"rows": 0}, "No request of the window could be replayed", "Choose a window"),
    ],
)
def test_the_answer_says_what_is_known_and_how_surely(given: dict[str, Any], headline: str, detail: str) -> None:
    said = answer_of(result(**given))
    assert said.headline.startswith(headline)
    assert detail in said.detail


@pytest.mark.parametrize(
    ("left_out", "detail"),
    [
        ({}, "Choose a window that has traffic."),
        ({"unpriced": 2_000, "failed": 1}, "Nobody logged what 2,000 requests cost."),
        ({"unpriced": 0, "failed": 3}, "Of the 3 logged, all failed"),
    ],
)
def test_why_nothing_could_be_replayed_is_said(left_out: dict[str, int], detail: str) -> None:
    assert answer_of({**result(rows=0), "excluded": left_out}).detail.startswith(detail)


@pytest.mark.parametrize(
    ("verdict", "low", "high", "rows", "is_said"),
    [
        ("saves", 0, 21, 5, True),
        ("saves", 1, 21, 5, False),
        ("saves", 0, 21, 0, False),
        ("costs", -9, 0, 5, True),
        ("costs", -9, -1, 5, False),
        ("undecided", -9, 1, 5, False),
    ],
)
def test_a_verdict_that_hangs_on_unknown_facts_says_so(
    verdict: str, low: float, high: float, rows: int, is_said: bool
) -> None:
    coverage = {"rows_open": rows, "savings_usd_low": low, "savings_usd_high": high}
    said = answer_of({**result(verdict=verdict), "coverage": coverage}).detail
    assert ("hangs on facts that were not logged" in said) == is_said


def test_that_the_costs_themselves_may_be_wrong_stands_beside_the_answer() -> None:
    caveats = [
        {"code": "no_latency", "message": "Not so grave."},
        {"code": "paid_differs_from_price", "message": "What was paid is far from the price."},
    ]
    said = answer_of({**result(), "caveats": caveats}).detail
    assert said.endswith("What was paid is far from the price.")
    assert "Not so grave" not in said


def test_what_costs_something_instead_of_nothing_is_a_loss_whatever_the_interval() -> None:
    assert answer_of(result(saved=-3, current=0, usd=None, pct=None, verdict="undecided")).verdict == "costs"
    assert answer_of(result(saved=-3, usd=None, pct=None, verdict="undecided")).verdict == "undecided"


@pytest.mark.parametrize(
    ("route", "unpriced", "interval"),
    [
        ({"savings_usd": 0, "savings_usd_95": [0, 0]}, 0, "exactly $0"),
        ({"savings_usd": 0, "savings_usd_95": [0, 0]}, 3, "$0 as far as known"),
        ({"savings_usd": 0, "savings_usd_95": [0, 0], "matched": 0}, 0, "–"),
        ({"savings_usd": 0.0148, "savings_usd_95": [0.0148, 0.0148]}, 0, "+$0.015, same share everywhere"),
        ({"savings_usd": 1, "savings_usd_95": [-1, 2]}, 0, "−$1.00 to +$2.00"),
        ({"savings_usd": 1, "savings_usd_95": None}, 0, "too few units"),
        ({"savings_usd": 1}, 0, "–"),
        ({"savings_usd": 1, "savings_usd_95": [None, None]}, 0, "open on both sides"),
        ({"savings_usd": 1, "savings_usd_95": [None, 2]}, 0, "at most +$2.00"),
        ({"savings_usd": 1, "savings_usd_95": [0.5, None]}, 0, "at least +$0.50"),
    ],
)
def test_an_interval_of_a_route_is_exact_only_where_it_is(route: dict[str, Any], unpriced: int, interval: str) -> None:
    assert [row["interval"] for row in route_rows(result(unpriced=unpriced, routes=[route]))] == [interval]


def test_small_amounts_keep_two_digits_wherever_they_stand() -> None:
    given = result(current=0.0007, saved=0.00065, routes=[{"current_cost_usd": 0.00002, "route_name": None}])
    assert cost_rows(given) == [
        ("Cost without routing", "$0.00070"),
        ("Cost with today's routes", "$0.00070"),
        ("Cost with the proposed", "$0.000050"),
    ]
    row = route_rows(given)[0]
    assert (row["name"], row["current"], row["saved"]) == ("no route", "$0.000020", "$0.00")


def test_what_a_route_saves_has_the_digits_of_its_interval() -> None:
    rows = route_rows(result(routes=[{"savings_usd": 0.196695, "savings_usd_95": [0.19639, 0.19705]}]))
    assert (rows[0]["saved"], rows[0]["interval"]) == ("+$0.19670", "+$0.19639 to +$0.19705")


def test_both_ends_of_a_range_can_be_told_apart() -> None:
    assert usd_range(12.3401, 12.3409) == "+$12.34010 to +$12.34090"
    assert usd_range(-0.5, 7000) == "−$0.50 to +$7,000.00"
    assert usd_text(3, finest=0.01) == "$3.000"


@pytest.mark.parametrize(
    ("percent", "text"),
    [(0, "0.0%"), (0.4, "0.40%"), (-0.04, "-0.040%"), (1, "1.0%"), (99.94, "99.9%"), (250, "250.0%")],
)
def test_a_small_percentage_is_not_rounded_to_nothing(percent: float, text: str) -> None:
    assert percent_text(percent) == text


def test_what_nobody_logged_is_bounded_so_that_the_bounds_differ() -> None:
    given = result()
    assert unknowns(given) is None
    bounds = {"share_of_spend_open": 0.004, "savings_usd_low": 0.1, "savings_usd_high": 0.1004}
    given["coverage"] = {"rows_open": 0, **bounds}
    assert unknowns(given) is None
    given["coverage"]["rows_open"] = 3
    assert unknowns(given) == {"share": "0.40%", "low": "+$0.10000", "high": "+$0.10040"}


@pytest.mark.parametrize(
    ("ends", "text"),
    [(None, "too few units"), ([1000, 2000], "1,000 to 2,000"), ([5, None], "at least 5"), ([None, 5], "at most 5")],
)
def test_an_interval_of_a_latency_says_which_side_is_open(ends: Any, text: str) -> None:
    given = result()
    assert latency_rows(given) == []
    given["aggregates"] |= {"p50_latency_ms_current": 4, "p50_latency_ms_projected": 5}
    given["confidence_intervals"]["p50_latency_ms_95"] = ends
    assert [row["interval"] for row in latency_rows(given)] == [text]


def test_a_result_of_an_earlier_version_is_told_from_one_of_today() -> None:
    assert earlier_version(result()) is None
    assert earlier_version({**result(), "provenance": {"engine_version": "2"}}) == "2"
    assert earlier_version({}) == "unknown"


@pytest.mark.parametrize("code", ["shadow_copies", "refused"])
def test_what_has_no_cost_that_people_mind_stands_beside_the_answer(code: str) -> None:
    told = {"caveats": [{"code": code, "message": "Mind this.", "values": {}}]}
    assert answer_of({**result(), **told}).detail.endswith("Mind this.")
    assert answer_of({**result(saved=0, rerouted=0), **told}).detail.endswith("Mind this.")


def test_that_it_costs_more_is_certain_only_where_all_facts_are_known() -> None:
    free = result(saved=-3, current=0, usd=None, pct=None, verdict="undecided")
    assert answer_of(free).verdict == "costs"
    hangs = {**free, "coverage": {"rows_open": 2, "savings_usd_low": -3, "savings_usd_high": 0}}
    assert answer_of(hangs).verdict == "undecided"


# --- The lead ---------------------------------------------------------------------------------------------------------

WEEK = (datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 8, tzinfo=UTC))


@pytest.mark.parametrize(
    ("saved", "verdict", "usd", "pct", "said"),
    [
        (1300, "saves", [1204, 1391], [12.1, 13.9], "Saves $1,204.00 to $1,391.00 a week (12.1% to 13.9%)"),
        (-25, "costs", [-30, -20], [-3.0, -2.0], "Costs $20.00 to $30.00 more a week (2.0% to 3.0%)"),
        (5, "undecided", [-20, 30], [-2.0, 3.0], "Saves between −$20.00 and +$30.00 a week (-2.0% to +3.0%)"),
        (5, "undecided", [None, 30], [None, 3.0], ""),
        (5, "undecided", None, None, ""),
        (5, "saves", [5, 5], [1.0, 1.0], ""),
    ],
)
def test_the_lead_tells_the_bounds_in_the_time_of_the_window(
    saved: float, verdict: str, usd: Any, pct: Any, said: str
) -> None:
    found = result(saved=saved, verdict=verdict, usd=usd, pct=pct)
    assert lead(found, WEEK) == said


@pytest.mark.parametrize(
    ("lasts", "said"),
    [
        (timedelta(hours=1), "an hour"),
        (timedelta(days=1), "a day"),
        (timedelta(days=7), "a week"),
        (timedelta(days=30), "in 30 days"),
        (timedelta(hours=36), "in 36 hours"),
        (timedelta(days=2, hours=12), "in 2.5 days"),
        (timedelta(minutes=90), "in 90 minutes"),
        (timedelta(seconds=1), "in 1 minute"),
    ],
)
def test_how_long_a_window_is(lasts: timedelta, said: str) -> None:
    assert span_text(WEEK[0], WEEK[0] + lasts) == said
