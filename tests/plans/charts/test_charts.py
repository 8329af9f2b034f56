"""Charts: what is where, and that nothing in the data can spoil them."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.charts import Chart, Line, Pair, Saving, over_percents, over_time, pairs, savings
from plans.charts.marks import cut, in_lines, length, place
from plans.charts.scales import Scale, Tick, compact, linear, logarithmic, of_sizes, times

GOLDEN = Path(__file__).parent / "golden"
START = datetime(2026, 5, 1, tzinfo=UTC)
PERCENTS = [1, 5, 10, 25, 50, 75, 90, 95, 99]
SVG = "{http://www.w3.org/2000/svg}"


def a_time(now: Any = (10, 20, 15, 30), then: Any = (5, 10, 8, 12)) -> Chart:
    lines = Line("today's routes", now), Line("proposed", then)
    return over_time(
        "Cost over time",
        "From $10 to $30.",
        said="US dollars per 6 hours",
        start=START,
        width=timedelta(hours=6),
        lines=lines,
    )


def a_distribution(now: Any = (90, 110, 140, 210, 420, 800, 1_500, 2_400, 9_000), then: Any = None) -> Chart:
    lines = Line("today's routes", now), Line("proposed", [value // 2 for value in now] if then is None else then)
    return over_percents("How long requests take", "Half as long.", percents=PERCENTS, lines=lines)


SIDES = "under today's routes", "under the proposed ones"


def models(rows: list[Pair] | None = None) -> Chart:
    found = [Pair("gpt-4o", 1_204, 310), Pair("gpt-4o-mini", 0, 894)] if rows is None else rows
    return pairs("Requests by model", "Two models.", names=SIDES, rows=found)


def by_route(rows: list[Saving] | None = None) -> Chart:
    found = [
        Saving("short to mini", 120.5, (100.0, 141.0), "+$120.50"),
        Saving("eu", -20.0, (-30.0, 4.0), "−$20.00"),
        Saving("open", 10.0, (2.0, None), "at least +$2.00"),
        Saving("few", 5.0, None, "too few units"),
    ]
    return savings("Saved by route", "One loses.", rows=found if rows is None else rows)


CHARTS = {"over_time": a_time, "over_percents": a_distribution, "pairs": models, "savings": by_route}


@pytest.mark.parametrize("name", CHARTS)
def test_each_chart_is_drawn_as_somebody_looked_at(name: str) -> None:
    """Written anew where it is missing: then look at it in both widths, light and dark, before it is committed."""
    chart, golden = CHARTS[name](), GOLDEN / f"{name}.svg"
    drawn = f"{chart.wide}\n{chart.narrow}\n".replace("><", ">\n<")
    if not golden.exists():
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(drawn, encoding="utf-8")
        pytest.fail(f"{golden.name} was not there")
    assert drawn == golden.read_text(encoding="utf-8")


def parsed(svg: str) -> Any:
    return ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in parsed(svg).iter(f"{SVG}text")]


def marks(svg: str, kind: str) -> list[dict[str, str]]:
    return [element.attrib for element in parsed(svg).iter() if element.get("class") == kind]


@pytest.mark.parametrize("name", CHARTS)
def test_each_chart_has_a_name_and_a_description_and_two_on_a_page_have_ids_of_their_own(name: str) -> None:
    chart = CHARTS[name]()
    ids = []
    for svg in (chart.wide, chart.narrow):
        found = parsed(svg)
        title, description = found[0], found[1]
        assert (title.text, description.text) == (chart.title, chart.description)
        assert found.get("aria-labelledby") == f"{title.get('id')} {description.get('id')}"
        ids += [title.get("id"), description.get("id")]
    assert len(set(ids)) == 4


def test_a_line_goes_through_the_middle_of_its_spans_at_the_height_of_its_dollars() -> None:
    (line,) = marks(a_time().wide, "chart-now")
    # Up to $30 in steps of $10; four spans between the numbers of the axis and the names.
    right = 720 - 12 - length("today's routes")
    left = 12 + length("$30")
    width = right - left
    expected = [(left + width * (n + 0.5) / 4, 246 - 220 * cost / 30) for n, cost in enumerate((10, 20, 15, 30))]
    assert line["d"] == "M" + "L".join(f"{place(x)} {place(y)}" for x, y in expected)
    assert [text for text in texts(a_time().wide) if text.startswith("$")] == ["$0", "$10", "$20", "$30"]


def test_bars_are_as_long_as_their_counts_and_those_counts_are_written() -> None:
    chart = models([Pair("a", 100, 50), Pair("b", 0, 25)])
    before, after = (
        [float(bar["width"]) for bar in marks(chart.wide, f"chart-bar-{side}")][1:] for side in ("now", "then")
    )
    assert before[1] == 0
    assert after == pytest.approx([before[0] / 2, before[0] / 4], abs=0.02)
    assert {"100", "50", "25", "0"} <= set(texts(chart.wide))


def test_what_the_bars_mean_stands_in_two_lines_where_one_has_no_room() -> None:
    chart = models()
    for svg, lines in ((chart.wide, 1), (chart.narrow, 2)):
        said = [text for text in parsed(svg).iter(f"{SVG}text") if text.text in SIDES]
        assert [text.text for text in said] == list(SIDES)
        assert len({text.get("y") for text in said}) == lines
        most = float(parsed(svg).get("width"))
        assert all(float(text.get("x")) + length(text.text) <= most for text in said)


def test_a_loss_is_on_the_other_side_of_zero_and_its_interval_ends_where_it_ends() -> None:
    chart = by_route([Saving("gains", 10.0, (5.0, 20.0), ""), Saving("loses", -10.0, (-20.0, -5.0), "")])
    gain, loss = marks(chart.wide, "chart-bar-now")
    (zero,) = marks(chart.wide, "chart-zero")
    assert float(gain["x"]) == float(zero["x1"]) == pytest.approx(float(loss["x"]) + float(loss["width"]), abs=0.02)
    assert gain["width"] == loss["width"]
    first, *_ = marks(chart.wide, "chart-interval")
    assert float(first["x1"]) == pytest.approx(float(gain["x"]) + float(gain["width"]) / 2, abs=0.02)
    assert float(first["x2"]) == pytest.approx(float(gain["x"]) + float(gain["width"]) * 2, abs=0.02)


def test_an_open_interval_has_an_arrow_and_none_has_no_line() -> None:
    assert len(marks(by_route([Saving("a", 1.0, None, "")]).wide, "chart-interval")) == 0
    open_above = marks(by_route([Saving("a", 1.0, (0.5, None), "")]).wide, "chart-interval")
    assert [("d" in mark) for mark in open_above] == [False, False, True]


def test_latencies_far_apart_are_on_an_axis_of_powers_and_it_says_so() -> None:
    assert any("multiply" in text for text in texts(a_distribution().wide))
    assert {"10", "100", "1k", "10k"} <= set(texts(a_distribution().wide))
    near = a_distribution((100, 110, 120, 130, 140, 150, 160, 170, 180))
    assert not any("multiply" in text for text in texts(near.wide))


def test_names_of_lines_that_end_together_can_both_be_read() -> None:
    chart = a_time((1, 1), (1, 1))
    (now,), (then,) = (marks(chart.wide, f"chart-{side}-name") for side in ("now", "then"))
    assert abs(float(now["y"]) - float(then["y"])) >= 13


# --- Whatever the data --------------------------------------------------------------------------------------------------

SIZES = st.floats(0, 1e300) | st.sampled_from([0.0, 1e-9, 1e18])
MONEY = st.floats(-1e300, 1e300) | st.sampled_from([0.0, 1e-9, -1e-9, 1e18])
NAMES = st.text(max_size=300)


def sound(chart: Chart) -> None:
    """It is one SVG, its texts are inside, and nothing of it is no number."""
    for svg in (chart.wide, chart.narrow):
        width, height = (float(side) for side in parsed(svg).get("viewBox").split()[2:])
        for element in parsed(svg).iter():
            for name, value in element.attrib.items():
                if name in ("x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height"):
                    assert -0.01 <= float(value) <= max(width, height) + 0.01, (element.tag, name, value)
                    assert len(value.partition(".")[2]) <= 2
                assert "nan" not in value or name in ("id", "aria-labelledby")
                assert "inf" not in value or name in ("id", "aria-labelledby")
    assert len(chart.wide) < 60_000


def no_control(text: str) -> str:
    """What XML can hold; HTML can hold the rest."""
    return "".join(letter if letter >= " " and letter.isprintable() else " " for letter in text)


@given(st.lists(MONEY | st.none(), max_size=200), st.lists(MONEY | st.none(), max_size=200), st.integers(60, 10**9))
def test_any_costs_over_time_are_drawn(now: list[float | None], then: list[float | None], width: int) -> None:
    lines = Line("today", now), Line("proposed", then)
    sound(over_time("t", "d", said="", start=START, width=timedelta(seconds=width), lines=lines))


@given(st.lists(SIZES | st.none(), min_size=9, max_size=9), st.lists(SIZES | st.none(), min_size=9, max_size=9))
def test_any_latencies_are_drawn(now: list[float | None], then: list[float | None]) -> None:
    sound(over_percents("t", "d", percents=PERCENTS, lines=(Line("today", now), Line("proposed", then))))


@given(st.lists(st.builds(Pair, NAMES.map(no_control), st.integers(0, 2**63), st.integers(0, 2**63)), max_size=20))
def test_any_requests_by_model_are_drawn(rows: list[Pair]) -> None:
    sound(models(rows))


ENDS = st.none() | st.tuples(st.none() | MONEY, st.none() | MONEY)


@given(st.lists(st.builds(Saving, NAMES.map(no_control), MONEY, ENDS, NAMES.map(no_control)), max_size=20))
def test_any_savings_are_drawn(rows: list[Saving]) -> None:
    sound(by_route(rows))


@pytest.mark.parametrize(
    "hostile", ["<script>alert(1)</script>", '"><svg onload=alert(1)>', "</title></svg><b>", "&lt;"]
)
def test_names_are_shown_and_never_part_of_the_drawing(hostile: str) -> None:
    for chart in (
        models([Pair(hostile, 1, 2)]),
        by_route([Saving(hostile, 1.0, None, hostile)]),
        pairs(hostile, hostile, names=(hostile, hostile), rows=[]),
        over_time(
            hostile,
            hostile,
            said=hostile,
            start=START,
            width=timedelta(1),
            lines=(Line(hostile, [1]), Line(hostile, [2])),
        ),
    ):
        for svg in (chart.wide, chart.narrow):
            assert "".join(hostile.split()) in "".join("".join(parsed(svg).itertext()).split())
            assert not [
                tag for tag in parsed(svg).iter() if tag.tag.removeprefix(SVG) in ("script", "b") or tag.get("onload")
            ]


def test_a_name_that_has_no_room_in_one_line_has_two_and_pushes_down_what_follows() -> None:
    short, name = Saving("eu", 2.0, None, "+$2"), "summaries of support to a small model"
    saved, served = by_route([Saving(name, 1.0, None, "+$1"), short]), models([Pair(name, 1, 2), Pair("eu", 2, 1)])
    assert f">{name}</text>" in served.narrow, "the whole width is there for it"
    for charts in ((saved.wide, saved.narrow), (served.wide,)):
        for svg in charts:
            lines = [(float(line.attrib["y"]), line.text or "") for line in parsed(svg).iter(f"{SVG}tspan")]
            assert " ".join(text for _, text in lines) == name
            assert all(length(text) <= 290 for _, text in lines)
            assert lines[1][0] - lines[0][0] == 15
            below = next(float(text.attrib["y"]) for text in parsed(svg).iter(f"{SVG}text") if text.text == "eu")
            assert below - lines[1][0] > 15, "they do not touch"
            assert name not in svg, "nothing is left to tell where one points at it"
    assert in_lines("x" * 30, 190) == ["x" * 23, "x" * 7]
    assert in_lines("路由" * 9, 100) == ["路由" * 3, "路由路由路…"]


@pytest.mark.parametrize("said", ["+$0.015", "+$0.0000015", "−$1,204.50", "too few units", "$" * 25])
def test_what_is_saved_is_written_whole(said: str) -> None:
    for svg in (by_route([Saving("x", 0.015, None, said)]).wide, by_route([Saving("x", 1.0, None, said)]).wide):
        assert f">{said}</text>" in svg


def test_a_long_name_is_cut_and_told_whole_where_one_points_at_it() -> None:
    name = "route " * 30
    assert f"<title>{name}</title>" in models([Pair(name, 1, 2)]).wide
    assert cut("short", 100) == "short"
    assert length(cut(name, 100)) <= 100
    assert length(cut("路由" * 50, 100)) <= 100


# --- Scales -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0, 0, ["$0", "$0.2", "$0.4", "$0.6", "$0.8", "$1"]),
        (0, 1_204, ["$0", "$500", "$1k", "$1.5k"]),
        (-3, 11, ["−$5", "$0", "$5", "$10", "$15"]),
        (0, 0.00042, ["$0", "$0.0001", "$0.0002", "$0.0003", "$0.0004", "$0.0005"]),
        (5, 6, ["$0", "$2", "$4", "$6"]),
    ],
)
def test_ticks_are_round_numbers_around_the_values_and_zero(low: float, high: float, labels: list[str]) -> None:
    assert [tick.label for tick in linear(low, high, 5, "$").ticks] == labels


def test_powers_are_written_as_many_as_have_room() -> None:
    assert [tick.label for tick in logarithmic(2, 30, 6).ticks] == ["1", "2", "5", "10", "20", "50", "100"]
    assert [tick.label for tick in logarithmic(1, 10**9, 5).ticks] == ["1", "100", "10k", "1M", "100M"]
    assert of_sizes([0.0, 100.0, 1_999.0], 5).is_log is False
    assert of_sizes([0.0, 100.0, 2_001.0], 5).is_log is True


@pytest.mark.parametrize(
    ("lasts", "labels"),
    [
        (timedelta(minutes=3), ["00:01", "00:02", "00:03"]),
        (timedelta(hours=5), ["01:00", "02:00", "03:00", "04:00", "05:00"]),
        (timedelta(days=2), ["06:00", "12:00", "18:00", "2 May", "06:00", "12:00", "18:00", "3 May"]),
        (timedelta(days=6), ["2 May", "3 May", "4 May", "5 May", "6 May", "7 May"]),
        (timedelta(days=200), ["May 2026", "Jun 2026", "Jul 2026", "Aug 2026", "Sep 2026", "Oct 2026", "Nov 2026"]),
        (timedelta(days=3_650), ["2028", "2030", "2032", "2034", "2036"]),
    ],
)
def test_times_are_written_at_full_hours_days_months_and_years(lasts: timedelta, labels: list[str]) -> None:
    found = [tick.label for tick in times(START, START + lasts, 8).ticks]
    assert found[-len(labels) :] == labels
    assert len(found) <= 9


def test_the_longest_time_that_there_is_has_ticks() -> None:
    ends = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
    assert 2 <= len(times(*ends, 8).ticks) <= 10


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "$0"), (950, "$950"), (1_204, "$1.2k"), (-3_400_000, "−$3.4M"), (0.0005, "$0.0005"), (1e18, "$1e6T")],
)
def test_numbers_in_few_letters(value: float, text: str) -> None:
    assert compact(value, "$").replace("$1.20k", "$1.2k") == text


def test_what_lies_beyond_an_axis_is_at_its_end() -> None:
    scale = Scale(0.0, 10.0, (Tick(0.0, "0"),))
    assert [scale.at(value, 100, 200) for value in (-5, 0, 5, 10, 15)] == [100, 100, 150, 200, 200]


def test_the_same_numbers_are_the_same_bytes() -> None:
    chance = random.Random(1)
    values = [chance.random() for _ in range(200)]
    assert a_time(values, values) == a_time(list(values), list(values))
