"""What charts are drawn of: bounded, exact, and the same however the log is cut."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from plans.replay import MemorySource, Question
from plans.replay.columns import block_of
from plans.replay.projection import Projection
from plans.replay.result import result_of
from plans.replay.series import Spans
from plans.replay.stored import dump, load
from plans.replay.sums.exact import totals_by
from plans.replay.survey import Survey, survey
from tests.plans.replay.worlds import NOTHING, PRICES, START, WINDOW, routes, row, run, to

MINUTE, HOUR, DAY = 60, 3_600, 86_400


@pytest.mark.parametrize(
    ("lasts", "seconds", "count"),
    [
        (timedelta(seconds=1), MINUTE, 1),
        (timedelta(minutes=200), MINUTE, 200),
        (timedelta(minutes=201), 2 * MINUTE, 101),
        (timedelta(days=1), 10 * MINUTE, 144),
        (timedelta(days=7), HOUR, 168),
        (timedelta(days=30), 4 * HOUR, 180),
        (timedelta(days=200), DAY, 200),
        (timedelta(days=201), 2 * DAY, 101),
        (timedelta(days=3_650), 19 * DAY, 193),
    ],
)
def test_spans_are_whole_minutes_hours_or_days_and_at_most_two_hundred(
    lasts: timedelta, seconds: int, count: int
) -> None:
    found = Spans.of((START, START + lasts), Survey())
    assert (found.width // 10**6, found.number) == (seconds, count)


def test_spans_begin_at_full_ones_also_where_the_window_does_not() -> None:
    start = datetime(2026, 5, 1, 7, 13, 9, tzinfo=UTC)
    found = Spans.of((start, start + timedelta(days=7)), Survey())
    assert found.start == int(datetime(2026, 5, 1, 7, tzinfo=UTC).timestamp()) * 10**6
    assert (found.width, found.number) == (HOUR * 10**6, 169)


def test_the_longest_window_that_there_is_has_no_more_spans_than_another() -> None:
    ends = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert Spans.of(ends, Survey()).number <= 200
    assert Spans.of(None, Survey()).number == 0


def test_cost_over_time_is_in_the_span_of_the_request_and_a_time_without_any_is_zero() -> None:
    rows = [row(0), row(1, ts=START + timedelta(hours=1)), row(2, ts=START + timedelta(days=9, hours=23, minutes=59))]
    told = run(rows, routes(to("small")), window=WINDOW)["series"]["cost_over_time"]
    assert (told["start"], told["seconds"]) == ("2026-05-01T00:00:00Z", 2 * HOUR)
    assert told["requests"] == [2, *[0] * 118, 1]
    # 750,000 and 1,000,000 nano-dollars, then 1,250,000.
    assert told["current_cost_usd"] == [0.00175, *[0] * 118, 0.00125]
    # Of 100, 200 and 300 input and 50 output tokens: 0.15 and 0.600000001 dollars a million.
    assert told["projected_cost_usd"] == [0.000105, *[0] * 118, 0.000075]


def test_spans_add_up_to_the_whole() -> None:
    result = run([row(n, ts=START + timedelta(minutes=7 * n)) for n in range(300)], routes(to("small")), block_rows=11)
    told, totals = result["series"]["cost_over_time"], result["aggregates"]
    assert sum(told["requests"]) == result["sample_size"]
    for side in ("current", "projected"):
        assert sum(told[f"{side}_cost_usd"]) == pytest.approx(totals[f"total_{side}_cost_usd"], rel=1e-12)


def test_a_row_outside_the_window_makes_it_wider_and_is_not_lost() -> None:
    told = run([row(0, ts=START - timedelta(days=1)), row(1)], NOTHING, window=WINDOW)["series"]["cost_over_time"]
    assert told["start"] == "2026-04-30T00:00:00Z"
    assert sum(told["requests"]) == 2


def test_each_model_has_what_it_served_serves_today_and_would_serve() -> None:
    rows = [row(0), row(1), row(2, model="old", requested_model="old")]
    refused = {"when": {"model_in": ["old"]}, "then": {"refuse": {"status": 403, "code": "no", "message": "No."}}}
    told = run(rows, routes(to("small", model_in=["big"]), refused))["series"]["by_model"]
    by_name = {line.pop("model"): line for line in told["models"]}
    assert list(by_name) == ["big", "old", "small"]
    assert by_name["big"] == {
        "requests_served": 2, "requests_current": 2, "requests_projected": 0,
        "paid_cost_usd": 0.00175, "current_cost_usd": 0.00175, "projected_cost_usd": 0,
    }  # fmt: skip
    assert by_name["small"]["requests_projected"] == 2
    assert by_name["old"]["requests_current"] == 1
    assert by_name["old"]["requests_projected"] == 0
    assert told["refused"] == {"requests_current": 0, "requests_projected": 1}
    assert told["other"] is None


def test_beyond_twenty_models_the_rest_are_one_line_and_nothing_is_lost() -> None:
    rows = [row(n, model=f"m{n % 33:02}", requested_model=f"m{n % 33:02}", cost_nano=n % 33) for n in range(99)]
    told = run(rows, NOTHING)["series"]["by_model"]
    assert [line["model"] for line in told["models"]] == [f"m{n:02}" for n in range(32, 12, -1)]
    assert told["other"]["models"] == 13
    assert told["other"]["requests_served"] == 39
    assert told["other"]["paid_cost_usd"] == 3 * sum(range(13)) / 10**9


def test_latencies_are_told_at_fixed_percents() -> None:
    told = run([row(n, latency_ms=n) for n in range(101)], NOTHING)["series"]["latency_ms"]
    assert told["percents"] == [1, 5, 10, 25, 50, 75, 90, 95, 99]
    assert told["current"] == told["projected"] == told["percents"]


def test_an_empty_log_has_empty_series() -> None:
    told = run([], NOTHING)["series"]
    assert told["cost_over_time"]["start"] is None
    assert told["by_model"]["models"] == []
    assert told["latency_ms"]["current"] == [None] * 9


def test_series_survive_an_interruption_byte_by_byte() -> None:
    rows = [row(n, ts=START + timedelta(hours=n)) for n in range(60)]
    asked = Question(current=NOTHING, proposed=routes(to("small")), prices=PRICES, iterations=50, window=WINDOW)
    source = MemorySource(rows, block_rows=7)
    found = survey(asked, source)
    projection = Projection(asked, found)
    blocks = list(source.blocks(asked.columns))
    for block in blocks[:4]:
        projection.add(block)
    again, sums = load(dump(found, projection.partial))
    goes_on = Projection(asked, again, sums)
    for block in blocks[4:]:
        projection.add(block)
        goes_on.add(block)
    assert result_of(asked, found, projection.partial) == result_of(asked, again, goes_on.partial)


@pytest.mark.parametrize("most", [5, 2**40, 2**62])
@pytest.mark.parametrize("sign", [1, -1])
def test_totals_by_number_are_exact_beyond_what_a_double_holds(most: int, sign: int) -> None:
    chance = np.random.default_rng(1)
    numbers = chance.integers(0, 5, 1_000)
    values = sign * chance.integers(most // 2, most, 1_000)
    low, high = totals_by(numbers, values, 7)
    told = [int(one) + (int(other) << 32) for one, other in zip(low, high, strict=True)]
    listed = list(zip(numbers.tolist(), values.tolist(), strict=True))
    assert told == [sum(value for number, value in listed if number == wanted) for wanted in range(7)]


def test_a_block_within_one_span_is_not_cut() -> None:
    spans = Spans(0, MINUTE * 10**6, 3)
    block: Any = block_of([row(0, ts=datetime(1970, 1, 1, 0, 1, second, tzinfo=UTC)) for second in (0, 59)])
    assert list(spans.parts(block)) == [("1", 0, 2)]
