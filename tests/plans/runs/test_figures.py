"""A result as charts and tables, and a step in numbers: without a database."""

from datetime import UTC, datetime, timedelta
from html import escape
from typing import Any

import pytest

from plans.runs.effects import an_hour, in_numbers
from plans.runs.models import PlanRun
from plans.runs.pages.figures import BARS, ROWS, Shown, charts, figures
from tests.plans.replay.worlds import NOTHING, START, WINDOW, routes, row, run, to


def a_result(count: int = 40, **more: Any) -> dict[str, Any]:
    rows = [row(n, **more) for n in range(count)]
    return run(rows, routes(to("small", input_tokens_lt=2_000)), NOTHING, window=WINDOW)


def by_title(result: dict[str, Any]) -> dict[str, Shown]:
    return {shown.title: shown for shown in charts(result)}


def test_each_table_has_the_numbers_of_its_chart() -> None:
    found = by_title(a_result())
    assert list(found) == ["Saved by route", "Cost over time", "How long requests take", "Requests by model"]
    models = found["Requests by model"]
    # Of 40 requests 19 have fewer than 2,000 tokens.
    assert [line[:4] for line in models.rows] == [("big", "40", "40", "21"), ("small", "0", "0", "19")]
    for number in ("40", "21", "19"):
        assert f">{number}</text>" in models.wide
    assert [cell for cell, _ in models.lines[0]][:2] == ["Model", "Served"]
    time = found["Cost over time"]
    assert (len(time.rows), time.columns[0]) == (120, "From (UTC), 2 hours")
    assert time.rows[0][:2] == ("2026-05-01 00:00", "40")
    assert time.rows[1] == ("2026-05-01 02:00", "0", "$0.00", "$0.00")
    assert ">US dollars per 2 hours</text>" in time.wide
    assert found["How long requests take"].rows[4][0] == "50% of the requests within"


def test_requests_by_model_are_drawn_against_what_todays_routes_would_do() -> None:
    today = routes(to("middle", model_in=["big"]))
    shown = by_title(run([row(n) for n in range(9)], today, today))["Requests by model"]
    assert [line[:4] for line in shown.rows if line[0] == "middle"] == [("middle", "0", "9", "9")]
    assert "middle would serve most: 9 requests; under today&#x27;s routes 9." in shown.wide
    assert shown.wide.count(">9</text>") == 2, "nothing moves where nothing changes"


def test_refused_requests_have_a_line_of_their_own() -> None:
    refuse = {"when": {}, "then": {"refuse": {"status": 403, "code": "no", "message": "No."}}}
    shown = by_title(run([row(n) for n in range(9)], routes(refuse), NOTHING))["Requests by model"]
    assert shown.rows[-1][:4] == ("refused", "–", "0", "9")
    assert ">refused</text>" in shown.wide


def test_a_route_that_saves_nothing_is_not_drawn_and_counted() -> None:
    rows = [row(n, model=f"m{n % 4}", requested_model=f"m{n % 4}") for n in range(40)]
    same = [{"name": f"stays {n}", **to(f"m{n}", model_in=[f"m{n}"])} for n in range(2)]
    shown = by_title(run(rows, routes(*same, {"name": "moves", **to("small", model_in=["m2", "m3"])}), NOTHING))
    chart = shown["Saved by route"]
    assert ">moves</text>" in chart.wide
    assert "stays" not in chart.wide
    assert "2 routes with requests save nothing and cost nothing more: not drawn, in the table." in chart.note
    shown = by_title(run(rows, routes(same[0], {"name": "moves", **to("small")}), NOTHING))
    assert "1 route with requests saves nothing and costs nothing more" in shown["Saved by route"].note
    nothing = by_title(run(rows, routes({"name": "all", **to("m0", model_in=["m0"])}), NOTHING))["Saved by route"]
    assert ">Nothing to show</text>" in nothing.wide
    assert nothing.note.startswith("2 routes with requests save nothing"), "what no route takes is one of them"


def test_a_route_that_may_save_or_cost_is_drawn_though_it_does_neither_here() -> None:
    result = a_result()
    line = next(line for line in result["per_route_breakdown"] if line["matched"] and line["savings_usd"])
    line |= {"savings_usd": 0.0, "savings_usd_95": [-1.0, 1.0]}
    assert by_title(result)["Saved by route"].wide.count('class="chart-bar-now"') == 1
    line["savings_usd_95"] = [0.0, 0.0]
    assert by_title(result)["Saved by route"].wide.count('class="chart-bar-now"') == 0


def test_of_many_models_and_routes_the_bars_are_few_and_the_rest_is_told() -> None:
    rows = [row(n, model=f"m{n}", requested_model=f"m{n}", cost_nano=1_000 * n) for n in range(40)]
    many = routes(*({"name": f"r{n}", **to("small", model_in=[f"m{n}"])} for n in range(40)))
    result = run(rows, many, NOTHING)
    found = by_title(result)
    assert found["Requests by model"].wide.count('class="chart-bar-now"') == BARS + 1, "and one in the legend"
    assert ">10 more lines</text>" in found["Requests by model"].wide
    assert f"The {BARS} routes that matter most" in found["Saved by route"].note
    losing = sum(line["savings_usd"] < 0 for line in result["per_route_breakdown"])
    counted = f"Of 40 routes with requests {40 - losing} save and {losing} cost more, against today&#x27;s routes."
    assert counted in found["Saved by route"].wide, "all of them, drawn or not"
    few = run(
        rows[:BARS], routes(*({"name": f"r{n}", **to("small", model_in=[f"m{n}"])} for n in range(BARS))), NOTHING
    )
    assert "that matter most" not in by_title(few)["Saved by route"].note, "all of them are drawn"
    assert found["Saved by route"].wide.count('class="chart-bar-now"') == BARS
    shown = figures(result, all_rows=False)
    assert (len(shown["by_route"]), shown["routes_total"]) == (41, 41), "fewer than a page"


def test_of_more_routes_than_a_page_those_that_matter_come_first() -> None:
    rows = [row(n, model=f"m{n}", requested_model=f"m{n}", cost_nano=1_000_000 * (n + 1)) for n in range(ROWS + 20)]
    many = routes(*({"name": f"r{n}", **to("small", model_in=[f"m{n}"])} for n in range(ROWS + 20)))
    result = run(rows, many, NOTHING)
    some, every = figures(result, all_rows=False)["by_route"], figures(result, all_rows=True)["by_route"]
    assert (len(some), len(every)) == (ROWS, ROWS + 21)
    by_name = {line["route_name"]: abs(line["savings_usd"]) for line in result["per_route_breakdown"]}
    assert min(by_name[line["name"]] for line in some) >= max(
        by_name[line["name"]] for line in every if line not in some and line["name"] != "no route"
    )


def test_names_in_charts_are_texts_and_nothing_else() -> None:
    hostile = '<script>alert("1")</script>'
    result = run([row(n, model=hostile, requested_model=hostile) for n in range(9)], NOTHING)
    for shown in charts(result):
        assert "<script" not in shown.wide + shown.narrow
    assert escape(hostile) in by_title(result)["Requests by model"].wide


def test_nothing_replayed_has_no_charts_and_unknown_latencies_no_chart_of_them() -> None:
    assert charts(run([], NOTHING, window=WINDOW)) == []
    assert "How long requests take" not in by_title(a_result(9, latency_ms=None))


@pytest.mark.parametrize(
    ("lasts", "rows", "other", "said"),
    [
        (timedelta(hours=10), 500, 100, "about 10 of 50 requests an hour are served otherwise"),
        (timedelta(days=7), 70_000, 168_000, "about 1,000 of 417 requests an hour are served otherwise"),
        (timedelta(days=10), 1_000, 40, "about 4 of 100 requests a day are served otherwise"),
        (timedelta(days=70), 1_000, 5, "about 0 of 100 requests a week are served otherwise"),
        (timedelta(days=1), 0, 0, "nobody knows how many requests it is for: none of the window could be replayed"),
    ],
)
def test_how_many_requests_a_plan_is_about(lasts: timedelta, rows: int, other: int, said: str) -> None:
    start = datetime(2026, 5, 1, tzinfo=UTC)
    plan = PlanRun(window_start=start, window_end=start + lasts)
    assert an_hour(plan, {"sample_size": rows, "aggregates": {"requests_rerouted": other}}) == said


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        ([], "no route changes"),
        (["added"], "1 route added"),
        (["changed", "added", "added"], "2 routes added, 1 changed"),
        (["moved", "removed"], "1 route removed, 1 moved"),
        (["default"], "what happens to requests that no route takes"),
        (["added", "default"], "1 route added, and what happens to requests that no route takes"),
        (["added"] * 1_204, "1,204 routes added"),
    ],
)
def test_changes_in_numbers(kinds: list[str], said: str) -> None:
    changes = [
        {"route_id": None, "name": None, "change": "changed"}
        if kind == "default"
        else {"route_id": "x", "name": "x", "change": kind}
        for kind in kinds
    ]
    assert in_numbers(changes) == said


def test_the_first_span_is_where_the_window_begins() -> None:
    assert by_title(a_result())["Cost over time"].rows[0][0] == f"{START:%Y-%m-%d %H:%M}"
