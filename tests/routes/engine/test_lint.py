"""Lint: what it finds, what it does not, and what it says of both."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from math import nextafter
from types import SimpleNamespace
from typing import Any

import pytest

from routes.engine import Action, Conditions, Engine, Route, TimeWindow
from routes.engine.frozen import thawed
from routes.engine.linting import Finding, context_of, lint, overlap
from tests.paths import ROOT
from tests.routes.engine.build import route_id


def routes(*given: dict[str, Any]) -> list[Route]:
    """Routes called a, b, c, …, of falling priority unless it is given; keys that no route has are conditions."""
    made = []
    for number, each in enumerate(given):
        own = {key: each[key] for key in ROUTE_KEYS & each.keys()}
        when = Conditions(**{key: each[key] for key in each.keys() - ROUTE_KEYS})
        made.append(
            Route(
                **{"id": route_id(number + 1), "name": "abcdefghijklmnop"[number], "priority": 100 - number}
                | {"then": Action("small"), "when": when}
                | own
            )
        )
    return made


ROUTE_KEYS = {"priority", "enabled", "paused", "active_from", "active_until", "then"}


def found(*given: dict[str, Any], **options: Any) -> list[Finding]:
    return lint(routes(*given), **options)


def said(*given: dict[str, Any], **options: Any) -> list[str]:
    """`code` of every finding with the letters of its routes: `shadowed c by ab`; `?regex` where it is undecided."""
    letters = {route_id(number + 1): letter for number, letter in enumerate("abcdefghijklmnop")}
    return [
        each.code
        + " "
        + "".join(letters[one] for one in each.route_ids)
        + (" by " + "".join(letters[one] for one in each.by) if each.by else "")
        + (f" ?{each.undecided}" if each.undecided else "")
        for each in found(*given, **options)
    ]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(start: str, end: str, tz: str = "Europe/Berlin", days: str = "mon tue wed thu fri sat sun") -> TimeWindow:
    return TimeWindow(start, end, tz, tuple(days.split()))


def between(start: str, end: str) -> dict[str, datetime]:
    return {"active_from": at(start), "active_until": at(end)}


ANY: dict[str, Any] = {"tag_equals": "t"}
FRIDAY_NIGHT = hours("22:00", "06:00", days="fri")

# --- Never matches ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "when",
    [
        {"input_tokens_gt": 400, "input_tokens_lt": 401},
        {"estimated_cost_gt": 0.01, "estimated_cost_lt": 0.010000001},
        {"numbers": {"spent": {"gt": 0.1, "lt": nextafter(0.1, 1)}}},
        {"numbers": {"spent": {"gt": 2**60, "lt": 2**60 + 1}}},
        {"tag_equals": "a", "not_": Conditions(tag_equals="a")},
        {"has_tools": True, "not_": Conditions(has_tools=True)},
        {"model_in": ["gpt-4o"], "model_matches": ["claude-*", "*-4"]},
        {"model_matches": ["gpt-4*"], "not_": Conditions(model_matches=["gpt-*"])},
        {"model_matches": ["a*"], "any_of": [Conditions(model_matches=["*b"])], "not_": Conditions(model_matches=["a*b"])},
        {"metadata": {"team": ["red"]}, "not_": Conditions(metadata={"team": ["blue", "red"]})},
        {"headers": {"x-team": ["red"]}, "not_": Conditions(headers={"x-team": ["blue", "red"]})},
        {"headers": {"X-Team": ["red"]}},
        {"prompt_contains_any_of": ["Salary"], "not_": Conditions(prompt_contains_any_of=["alar"])},
        {"prompt_contains_any_of": ["a"], "not_": Conditions(prompt_contains_any_of=[""])},
        {"prompt_matches_any_of": ["x"], "not_": Conditions(prompt_matches_any_of=["y", "x"])},
        {"time_window": hours("22:00", "06:00", days="sun"), "not_": Conditions(time_window=hours("00:00", "00:00"))},
        {"time_window": hours("08:00", "09:00", days="tue"), **between("2026-11-21", "2026-11-24")},
        {"any_of": [Conditions(input_tokens_lt=1), Conditions(input_tokens_lt=3)], "input_tokens_gt": 5},
        {"not_": Conditions()},
    ],
)  # fmt: skip
def test_a_route_that_contradicts_itself_never_matches(when: dict[str, Any]) -> None:
    assert said(when) == ["never_matches a"]


@pytest.mark.parametrize(
    "when",
    [
        {"input_tokens_gt": 400, "input_tokens_lt": 402},
        {"input_tokens_lt": 0},
        {"estimated_cost_gt": 0.01, "estimated_cost_lt": 0.010000002},
        {"numbers": {"spent": {"gt": 0.1, "lt": nextafter(nextafter(0.1, 1), 1)}}},
        {"numbers": {"spent": {"gt": 2**60, "lt": 2**60 + 2}}},
        {"model_in": ["gpt-4o"], "model_matches": ["claude-*", "gpt*4o"]},
        {"model_matches": ["gpt-*"], "not_": Conditions(model_matches=["gpt-4*"], model_in=["gpt-5"])},
        {"model_matches": ["a*"], "any_of": [Conditions(model_matches=["*a"])], "not_": Conditions(model_matches=["a*a"])},
        {"model_matches": ["a*"], "not_": Conditions(model_in=["a*"])},
        # Several values of one header: each may hold.
        {"headers": {"x-team": ["red"]}, "any_of": [Conditions(headers={"x-team": ["blue"]})]},
        {"headers": {"x-team": ["red"]}, "not_": Conditions(headers={"x-team": ["blue"]})},
        {"prompt_contains_any_of": ["alar"], "not_": Conditions(prompt_contains_any_of=["salary", "x"])},
        {"prompt_contains_any_of": ["ab"], "any_of": [Conditions(prompt_contains_any_of=["bc"])],
         "not_": Conditions(prompt_contains_any_of=["abc", "b b", " "])},
        {"prompt_matches_any_of": [r"(?i)\bsalary\b", "x{3}"]},
        {"time_window": hours("08:00", "09:00", days="tue"), **between("2026-11-21", "2026-11-25")},
        {"active_until": at("0003-01-01")},
        {"any_of": [Conditions(input_tokens_lt=1), Conditions(input_tokens_gt=3)], "input_tokens_gt": 5},
    ],
)  # fmt: skip
def test_a_route_that_some_request_meets_is_not_said_to_never_match(when: dict[str, Any]) -> None:
    assert said(when) == []


def test_the_hour_that_the_clock_skips_never_comes_on_that_day() -> None:
    window = hours("02:10", "02:50")
    assert said({"time_window": window, **between("2026-03-29", "2026-03-30")}) == ["never_matches a"]
    assert said({"time_window": window, **between("2026-03-28", "2026-03-29")}) == []


def test_it_says_on_what_the_conditions_exclude_each_other() -> None:
    assert found({"numbers": {"spent": {"gt": 5, "lt": 1}}})[0].message == (
        "Route 'a' never matches: its conditions on the figure 'spent' exclude each other."
    )


# --- Shadowed ---------------------------------------------------------------------------------------------------------


def test_a_narrower_bound_behind_a_wider_one_is_shadowed() -> None:
    (finding,) = found({"input_tokens_lt": 100}, {"input_tokens_lt": 50})
    assert finding.to_dict() == {
        "code": "shadowed",
        "severity": "error",
        "route_ids": [route_id(2)],
        "by": [route_id(1)],
        "witness": {"input_tokens": 49},
        "undecided": None,
        "message": "Route 'b' is never reached: 'a', asked before, takes every request that it would take.",
    }


def test_requests_of_unknown_facts_are_left_over() -> None:
    below, above = {"input_tokens_lt": 100}, {"input_tokens_gt": 99}
    assert said(below, above, {}) == []
    assert said(below, above, {"tag_equals": "t"}) == []
    assert said(below, above, {"input_tokens_gt": 7}) == ["shadowed c by ab"]
    assert said({"has_tools": True}, {"has_tools": False}, {"not_": Conditions(has_tools=True, has_audio=True)}) == []


@pytest.mark.parametrize(
    ("earlier", "later", "is_shadowed"),
    [
        ([{}], {"model_in": ["m"]}, True),
        ([{"model_in": ["m", "n"]}], {"model_in": ["n"]}, True),
        ([{"model_in": ["m"]}], {"model_in": ["n", "m"]}, False),
        ([{"model_matches": ["gpt-*"]}], {"model_matches": ["gpt-4*", "gpt-5"]}, True),
        ([{"model_matches": ["gpt-4*"]}], {"model_matches": ["gpt-*"]}, False),
        ([{"model_matches": ["*a*"]}, {"model_matches": ["*b*"]}], {"model_matches": ["*c*"]}, False),
        ([{"model_matches": ["*a*"]}], {"model_matches": ["b*"], "any_of": [Conditions(model_matches=["*ba"])]}, True),
        ([{"tag_equals": "t"}], {"tag_equals": "t", "has_audio": True}, True),
        ([{"tag_equals": "t", "has_audio": True}], {"tag_equals": "t"}, False),
        ([{"not_": Conditions(tag_equals="t")}], {"tag_equals": "u"}, True),
        ([{"not_": Conditions(tag_equals="t")}], {"not_": Conditions(tag_equals="u")}, False),
        ([{"metadata": {"k": ["v", "w"]}}], {"metadata": {"k": ["w"], "l": ["x"]}}, True),
        ([{"metadata": {"l": ["x"]}}], {"metadata": {"k": ["w"]}}, False),
        ([{"not_": Conditions(metadata={"l": ["x"]})}], {}, False),
        ([{"headers": {"h": ["v", "w"]}}], {"headers": {"h": ["w"]}}, True),
        ([{"headers": {"h": ["v"]}}, {"not_": Conditions(headers={"h": ["v"]})}], {"headers": {"i": ["w"]}}, True),
        ([{"estimated_cost_gt": 0.02}], {"estimated_cost_gt": 0.020000001}, True),
        ([{"numbers": {"n": {"gt": 0}}}, {"numbers": {"n": {"lt": 0}}}], {"numbers": {"n": {"lt": 5}}}, False),
        ([{"numbers": {"n": {"gt": 0}}}, {"numbers": {"n": {"lt": 0.1}}}], {"numbers": {"n": {"lt": 5}}}, True),
        ([{"upstream_latency_ms_p95_gt": 10}], {"upstream_latency_ms_p95_gt": 11}, True),
        ([{"upstream_latency_ms_p95_gt": 11}], {"upstream_latency_ms_p95_gt": 10}, False),
        ([{"prompt_contains_any_of": ["x", "y"]}], {"prompt_contains_any_of": ["Y"]}, True),
        ([{"prompt_contains_any_of": ["ALAR"]}], {"prompt_contains_any_of": ["salary", "Salaries"]}, True),
        ([{"prompt_contains_any_of": ["salary"]}], {"prompt_contains_any_of": ["alar"]}, False),
        ([{"prompt_matches_any_of": ["x", r"y\d"]}], {"prompt_matches_any_of": [r"y\d"]}, True),
        ([{"prompt_matches_any_of": ["x"]}], {"prompt_matches_any_of": [r"\bhello\b"]}, False),
        ([{"active_from": at("2026-01-01")}], {}, False),
        ([{"active_from": at("2026-01-01")}], between("2026-02-01", "2027-01-01"), True),
        ([{"active_until": at("2026-02-01")}], between("2026-01-01", "2026-02-01"), True),
        ([{"active_until": at("2026-02-01")}, {"active_from": at("2026-02-01")}],
         {"time_window": hours("08:00", "09:00")}, True),
        ([{"time_window": hours("22:00", "06:00")}], {"time_window": hours("23:00", "05:00", days="fri")}, True),
        ([{"time_window": FRIDAY_NIGHT}], {"time_window": hours("00:00", "05:00", days="sat")}, True),
        ([{"time_window": FRIDAY_NIGHT}], {"time_window": hours("00:00", "05:00", days="fri")}, False),
        ([{"time_window": hours("06:00", "22:00")}, {"time_window": hours("22:00", "06:00")}],
         {"active_until": at("2026-01-01")}, True),
        # Berlin is one hour ahead of UTC in winter, two in summer.
        ([{"time_window": hours("06:00", "09:00", "UTC")}], {"time_window": hours("08:00", "10:00")}, True),
        ([{"time_window": hours("07:00", "09:00", "UTC")}], {"time_window": hours("08:00", "10:00")}, False),
        ([{"time_window": hours("07:00", "09:00", "UTC")}],
         {"time_window": hours("08:00", "10:00"), **between("2026-11-01", "2027-03-01")}, True),
        # New York and Berlin change their clocks on different days.
        ([{"time_window": hours("03:00", "04:00", "America/New_York")}], {"time_window": hours("09:00", "10:00")}, False),
        ([{"time_window": hours("03:00", "05:00", "America/New_York")}], {"time_window": hours("09:00", "10:00")}, True),
        ([{"any_of": [Conditions(tag_equals="t"), Conditions(has_audio=True)]}], {"has_audio": True}, True),
        ([{"tag_equals": "t"}], {"any_of": [Conditions(tag_equals="t"), Conditions(has_audio=True)]}, False),
        ([{"tag_equals": "t"}, {"has_audio": True}],
         {"any_of": [Conditions(tag_equals="t"), Conditions(has_audio=True)]}, True),
        ([{"paused": True}], {}, True),
        ([{"then": Action("small", traffic_pct=0)}], {}, True),
        ([{"enabled": False}], {}, False),
    ],
)  # fmt: skip
def test_a_route_is_shadowed_if_and_only_if_earlier_ones_take_all_of_its_requests(
    earlier: list[dict[str, Any]], later: dict[str, Any], is_shadowed: bool
) -> None:
    last = "abc"[len(earlier)]
    shadowed = [each for each in said(*earlier, later) if each.startswith("shadowed")]
    assert shadowed == ([f"shadowed {last} by {'ab'[: len(earlier)]}"] if is_shadowed else [])


def test_the_first_that_does_it_alone_is_named_rather_than_several_together() -> None:
    parts = [{"input_tokens_lt": 10}, {"input_tokens_gt": 5}]
    alone = {"input_tokens_gt": -100}
    assert said(*parts, alone, alone, {"input_tokens_gt": 0})[-1] == "shadowed e by c"


def test_the_first_is_named_also_where_it_does_it_by_several_alternatives() -> None:
    pieces = {"any_of": [Conditions(input_tokens_lt=5), Conditions(input_tokens_gt=3)]}
    assert said(pieces, {}, {"input_tokens_gt": 0})[-1] == "shadowed c by a"


def test_of_several_only_those_are_named_that_cannot_be_spared() -> None:
    parts = [{"input_tokens_lt": 10}, {"input_tokens_lt": 20, "has_audio": True}, {"input_tokens_gt": 5}]
    assert said(*parts, {"input_tokens_gt": 0}) == ["shadowed d by ac"]


def test_all_are_named_that_are_needed_however_many_but_only_eight_in_the_sentence() -> None:
    models = [{"model_in": [f"m{number}"]} for number in range(10)]
    (finding,) = found(*models, {"model_in": [f"m{number}" for number in range(10)]})
    assert len(finding.by) == 10
    assert "'g', 'h' and 2 more together" in finding.message


def test_a_shadowed_or_disabled_route_still_hides_what_it_would_take_itself() -> None:
    assert said({}, ANY, ANY) == ["shadowed b by a", "shadowed c by a"]
    assert said({"enabled": False}, ANY | {"enabled": False}, ANY) == []


def test_order_is_by_priority_and_then_by_the_list() -> None:
    narrow, wide = {"tag_equals": "t", "priority": 5}, {"priority": 5}
    assert said(narrow, wide) == ["tie ab"]
    assert said(wide, narrow) == ["shadowed b by a", "tie ab"]
    assert said(narrow, wide | {"priority": 6}) == ["shadowed a by b"]


def test_disabled_routes_are_left_out_altogether() -> None:
    contradiction = {"input_tokens_gt": 1, "input_tokens_lt": 1}
    disabled = {"enabled": False, "then": Action("none", traffic_pct=0)}
    assert said(ANY, contradiction | disabled, ANY | disabled, catalog={"small": {}}) == []


@pytest.mark.parametrize(
    ("later", "witness"),
    [
        ({"model_in": ["n", "m"]}, {"model": "m"}),
        ({"model_matches": ["gpt-*o"]}, {"model": "gpt-o"}),
        ({"not_": Conditions(any_of=[Conditions(model_in=["", "1"]), Conditions(model_matches=["oth*"])])}, {"model": "x"}),
        ({"tag_equals": "t", "has_tools": False}, {"tag": "t", "has_tools": False}),
        ({"not_": Conditions(tag_equals="t")}, {}),
        ({"estimated_cost_gt": 0.0125, "estimated_cost_lt": 3}, {"estimated_cost_usd": 1}),
        ({"estimated_cost_gt": 0.0125, "estimated_cost_lt": 0.02}, {"estimated_cost_usd": 0.013}),
        ({"numbers": {"spent": {"gt": 0.8, "lt": 0.9}}}, {"numbers": {"spent": 0.81}}),
        ({"metadata": {"k": ["w", "v"]}}, {"metadata": {"k": "v"}}),
        ({"headers": {"h": ["v"]}, "any_of": [Conditions(headers={"h": ["w"]})]}, {"headers": {"h": ["v", "w"]}}),
        ({"upstream_latency_ms_p95_gt": 800}, {"upstream_latency_ms_p95": 801}),
        ({"active_from": at("2026-03-01")}, {"at": "2026-03-01T00:00:00.000000Z"}),
        ({"time_window": hours("08:00", "09:00", days="mon")}, {"at": "2020-01-06T07:00:00.000000Z"}),
        ({"prompt_contains_any_of": ["Salary", "bonus"]}, {"prompt": "bonus"}),
        ({"prompt_matches_any_of": [r"(?i)\biban\b"]}, {"prompt": "iban"}),
    ],
)  # fmt: skip
def test_the_witness_is_a_short_request_that_the_earlier_route_takes(
    later: dict[str, Any], witness: dict[str, Any]
) -> None:
    both = routes({}, later)
    (finding,) = [each for each in lint(both) if each.code == "shadowed"]
    assert finding.to_dict()["witness"] == witness
    assert Engine(both).decide(context_of(witness)).route_name == "a"
    assert Engine(both[1:]).decide(context_of(witness)).route_name == "b"


# --- Undecided --------------------------------------------------------------------------------------------------------


def test_patterns_that_no_text_tells_apart_leave_it_open() -> None:
    assert said({"prompt_matches_any_of": ["a|b"]}, {"prompt_matches_any_of": ["a"]}) == ["shadowed b ?regex"]
    assert said({"prompt_matches_any_of": [r"a\bb"]}) == ["never_matches a ?regex"]
    assert said({"not_": Conditions(prompt_matches_any_of=["^$", "(?s)."])}) == ["never_matches a ?regex"]
    (finding,) = found({"prompt_matches_any_of": [r"a\bb"]})
    assert (finding.severity, finding.witness, finding.by) == ("info", None, ())


def test_what_is_certain_besides_an_open_pattern_is_said() -> None:
    never = r"a\bb"
    assert said(ANY, ANY | {"prompt_matches_any_of": [never]}) == ["shadowed b by a"]
    assert said(ANY | {"prompt_matches_any_of": [never]}, ANY) == ["never_matches a ?regex"]


def test_a_tie_is_open_where_no_text_has_both_patterns() -> None:
    one, other = {"prompt_matches_any_of": ["^a"], "priority": 1}, {"prompt_matches_any_of": ["^b"], "priority": 1}
    assert said(one, other) == ["tie ab ?regex"]
    assert said(one, {"prompt_matches_any_of": ["b"], "priority": 1}) == ["tie ab"]


def test_without_re2_patterns_are_open_and_nothing_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    assert said({"prompt_matches_any_of": ["a"]}) == ["never_matches a ?regex"]
    assert said({"prompt_matches_any_of": ["a"]}, {"prompt_matches_any_of": ["a"], "tag_equals": "t"}) == [
        "never_matches a ?regex",
        "shadowed b by a",
    ]


def test_a_zone_that_is_not_known_here_leaves_it_open() -> None:
    assert said({"time_window": hours("08:00", "09:00", "Mars/Olympus")}) == ["never_matches a ?budget"]


def riddle(variables: int, clauses: int) -> list[dict[str, Any]]:
    """Routes that take every request that breaks one of as many random clauses of three, and one behind them."""
    import random

    chance = random.Random(7)
    breaking = []
    for _ in range(clauses):
        yes, no = {}, []
        for variable in chance.sample(range(variables), 3):
            if chance.random() < 0.5:
                yes[f"v{variable}"] = ["1"]
            else:
                no.append(Conditions(metadata={f"v{variable}": ["1"]}))
        breaking.append({"metadata": yes} | ({"not_": Conditions(any_of=no)} if no else {}))
    return [*breaking, {"metadata": {"known": ["1"]}}]


def named(given: list[dict[str, Any]]) -> list[Route]:
    return [
        Route(
            id=route_id(number), name=f"r{number}", priority=10**6 - number, when=Conditions(**when), then=Action("s")
        )
        for number, when in enumerate(given, 1)
    ]


def test_what_takes_too_many_steps_is_undecided_and_not_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "STEPS_IN_ALL", 100_000)  # a tenth
    last = lint(named(riddle(variables=60, clauses=256)))[-1]
    assert (last.code, last.undecided, last.by, last.witness) == ("shadowed", "budget", (), None)
    # Fewer are worked out.
    assert lint(named(riddle(variables=12, clauses=100)))[-1].undecided is None


def test_with_any_budget_what_is_said_for_certain_is_what_is_said_with_all_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    same = {"priority": 7}
    choices = [Conditions(metadata={f"k{n}": ["1"]}, headers={f"h{n}": ["1"]}) for n in range(12)]
    given = [
        {"not_": Conditions(any_of=choices), "prompt_matches_any_of": ["d"]} | same,
        {"model_matches": ["gpt-*", "*4o*"], "prompt_matches_any_of": ["a+b", "c"]} | same,
        {"model_matches": ["*4o", "gpt*mini*"], "any_of": [Conditions(tag_equals=tag) for tag in "pqr"]} | same,
        {"prompt_contains_any_of": ["salary"], "not_": Conditions(prompt_matches_any_of=["^x", "sal"])} | same,
        {"input_tokens_gt": 5, "model_matches": ["gpt-4o*"]} | same,
        {"input_tokens_lt": 9, "prompt_matches_any_of": ["a+b"], "model_matches": ["*mini"], "tag_equals": "p"} | same,
        {"input_tokens_lt": 3, "time_window": FRIDAY_NIGHT} | same,
        {"model_matches": ["gpt-4o-*"]} | same,
        {"model_matches": ["gpt-4o-mini"], "input_tokens_gt": 0} | same,
    ]
    certain = set(said(*given))
    assert any("shadowed" in each for each in certain)
    monkeypatch.setattr(overlap, "STEPS_AFTER", 0)
    for budget in range(200):
        monkeypatch.setattr(overlap, "STEPS_PER_ROUTE", budget)
        for each in said(*given):
            # A tie of many may name fewer, and a shadow more than it needs.
            assert each in certain or "?" in each or each.split()[0] in ("tie", "shadowed")
    assert set(said(*given)) == certain


def test_all_routes_together_have_a_budget_and_each_has_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    given = named(riddle(variables=20, clauses=60))
    everything = lint(given)
    monkeypatch.setattr(overlap, "STEPS_IN_ALL", 1_000)
    monkeypatch.setattr(overlap, "STEPS_AFTER", 10)
    assert any(each.undecided == "budget" for each in lint(given))
    assert not any(each.undecided == "budget" for each in everything)
    # What takes few steps is said for all that.
    more = named([*riddle(variables=20, clauses=60), {"model_in": ["m"], "input_tokens_lt": 1, "input_tokens_gt": 1}])
    assert lint(more)[-1].code == "never_matches"


def test_patterns_too_long_to_be_compared_are_open() -> None:
    long = [{"model_matches": [f"{'a' * 250}*{letter * 250}"]} for letter in "bc"]
    both = {"any_of": [Conditions(**long[0])], **long[1]}
    assert said(both) == ["never_matches a ?pattern"]
    assert said(both | {"model_in": ["a" * 250 + "c" * 250]}) == ["never_matches a"]
    many = [{"model_matches": ["*a*b" * 12 + "*"]}, {"model_matches": ["*c*d" * 12 + "*"]}]
    assert said({"any_of": [Conditions(**many[0])], **many[1]}) == ["never_matches a ?pattern"]


def test_numbers_of_any_size_are_compared() -> None:
    huge = 10**400
    assert said({"numbers": {"n": {"gt": huge, "lt": huge + 1}}}) == ["never_matches a"]
    assert said({"numbers": {"n": {"gt": 2**53 + 3, "lt": 2**53 + 4}}}) == ["never_matches a"]
    (shadow,) = found({"numbers": {"n": {"gt": 1e-300}}}, {"numbers": {"n": {"gt": 1e-300, "lt": 2e-300}}})
    assert 1e-300 < thawed(shadow.witness)["numbers"]["n"] < 2e-300
    assert found({"numbers": {"n": {"gt": huge}}}, {"numbers": {"n": {"gt": huge}}})[0].witness is not None


def test_what_is_not_known_here_leaves_conditions_of_many_alternatives_open(monkeypatch: pytest.MonkeyPatch) -> None:
    choices = [Conditions(metadata={f"k{n}": ["1"]}, headers={f"h{n}": ["1"]}) for n in range(12)]
    many = Conditions(any_of=[*choices, Conditions(prompt_matches_any_of=["a"])])
    monkeypatch.setitem(sys.modules, "re2", None)
    assert said({"not_": many, "prompt_contains_any_of": ["b"]}) == ["never_matches a ?budget"]


def test_texts_hold_words_apart_with_whatever_is_not_refused() -> None:
    two = {"prompt_contains_any_of": ["aa"], "any_of": [Conditions(prompt_contains_any_of=["bb"])]}
    refused = {"not_": Conditions(prompt_contains_any_of=[" ", ",", "\n", "aabb", "bbaa"])}
    same = {"priority": 1}
    (tie,) = found(two | same, refused | same)
    text = thawed(tie.witness)["prompt"]
    assert "aa" in text
    assert "bb" in text
    assert not any(word in text for word in (" ", ",", "\n", "aabb", "bbaa"))
    (tie,) = found({"not_": Conditions(prompt_matches_any_of=["^$", "x"])} | same, {"tag_equals": "t"} | same)
    assert thawed(tie.witness) == {"prompt": "hello", "tag": "t"}


def test_a_pattern_that_is_refused_twice_is_refused_once() -> None:
    no_gpt = Conditions(model_matches=["gpt-*"])
    assert said({"not_": Conditions(any_of=[no_gpt, no_gpt])}, {"not_": no_gpt, "tag_equals": "t"}) == [
        "shadowed b by a"
    ]


def test_a_change_of_the_clock_at_the_very_end_is_none() -> None:
    # At 01:00 UTC of that day Berlin goes from 02:00 to 03:00.
    until = {"active_from": at("2026-03-28"), "active_until": datetime(2026, 3, 29, 1, tzinfo=UTC)}
    assert said({"time_window": hours("03:00", "04:00", days="sun"), **until}) == ["never_matches a"]
    assert said({"time_window": hours("01:59", "04:00", days="sun"), **until}) == []


def test_conditions_of_too_many_alternatives_are_not_guessed_either() -> None:
    choices = [Conditions(metadata={f"k{n}": ["1"]}, headers={f"h{n}": ["1"]}) for n in range(12)]
    many = {"not_": Conditions(any_of=choices)}  # two to the twelfth
    assert said(many) == ["never_matches a ?budget"]
    assert said({"tag_equals": "t"}, many | {"tag_equals": "t"}) == ["shadowed b by a"]
    # Whether a request is left for the second is known where the first is certain not to take it.
    assert said(many, {"has_tools": True}) == ["never_matches a ?budget"]
    assert "shadowed b ?budget" in said(many, {"metadata": {"z": ["1"]}, "headers": {"z": ["1"]}})
    assert said({"model_in": ["m"]}, many | {"input_tokens_lt": 1, "input_tokens_gt": 1}) == ["never_matches b"]


def test_an_amount_that_no_json_number_says_is_left_open() -> None:
    assert said({"estimated_cost_gt": 10**9, "estimated_cost_lt": nextafter(10.0**9, 1e10)}) == [
        "never_matches a ?budget"
    ]


# --- Ties -------------------------------------------------------------------------------------------------------------


def test_routes_of_equal_priority_that_overlap_are_tied() -> None:
    first, second = {"tag_equals": "t", "priority": 7}, {"has_tools": True, "priority": 7, "then": Action("big")}
    (finding,) = found(first, second)
    assert finding.to_dict() == {
        "code": "tie",
        "severity": "warning",
        "route_ids": [route_id(1), route_id(2)],
        "by": [],
        "witness": {"has_tools": True, "tag": "t"},
        "undecided": None,
        "message": "Route 'b' has the same priority (7) as 'a', and they take some of the same requests: "
        "only their order in the list decides which one is asked first.",
    }


@pytest.mark.parametrize(
    "second",
    [
        {"tag_equals": "u", "priority": 7},
        {"has_tools": True, "priority": 8},
        {"has_tools": True, "priority": 7, "enabled": False},
        {"not_": Conditions(tag_equals="t"), "priority": 7},
    ],
)
def test_other_routes_are_not_tied(second: dict[str, Any]) -> None:
    assert said({"tag_equals": "t", "priority": 7}, second) == []


def test_a_tie_of_routes_that_do_the_same_is_only_mentioned() -> None:
    same = {"priority": 7, "then": Action("big", disable_cache=True)}
    assert [each.severity for each in found(same | {"has_tools": True}, same | {"has_audio": True})] == ["info"]
    (other,) = found(same | {"has_tools": True}, same | {"has_audio": True, "paused": True})
    assert other.severity == "warning"


def test_of_many_ties_eight_are_named() -> None:
    flags = [{"metadata": {f"k{number}": ["v"]}, "priority": 7} for number in range(11)]
    findings = found(*flags)
    assert [len(each.route_ids) - 1 for each in findings] == [1, 2, 3, 4, 5, 6, 7, 8, 8, 8]
    assert "and others" not in findings[7].message
    assert "'g' and 'h' and others, and they" in findings[8].message


# --- What a route does ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "route",
    [
        {"model_in": ["small"]},
        {"model_matches": ["small"], "tag_equals": "t"},
        {"model_matches": ["s*l"], "any_of": [Conditions(model_in=["small", "big"])]},
        {"any_of": [Conditions(model_in=["small"]), Conditions(input_tokens_gt=5, input_tokens_lt=3)]},
        {"model_in": ["small"], "then": Action("small", traffic_pct=50)},
        {"model_in": ["big"], "then": Action("small", traffic_pct=0)},
        {"then": Action(traffic_pct=5)},
    ],
)
def test_a_route_that_leaves_all_its_requests_as_they_are_has_no_effect(route: dict[str, Any]) -> None:
    assert said(route) == ["no_effect a"]


@pytest.mark.parametrize(
    "route",
    [
        {},
        {"model_in": ["small", "big"]},
        {"model_matches": ["small*"]},
        {"not_": Conditions(model_in=["big"])},
        {"any_of": [Conditions(model_in=["small"]), Conditions(has_audio=True)]},
        {"model_in": ["small"], "then": Action("small", provider="azure")},
        {"model_in": ["small"], "then": Action("small", fallbacks=["big"])},
        {"model_in": ["small"], "then": Action("small", disable_cache=True)},
        {"model_in": ["small"], "then": Action("small", max_cost_usd=1)},
        {"model_in": ["small"], "then": Action("small", shadow_model="big")},
        {"model_in": ["small"], "then": Action(split=[{"target_model": m, "weight": 1} for m in ("small", "big")])},
        {"then": Action(refuse={"status": 403, "code": "no", "message": "No."})},
        {"model_in": ["big"], "then": Action("small", traffic_pct=0, disable_cache=True)},
        {"model_in": ["small"], "paused": True},
    ],
)
def test_any_other_route_has_an_effect_or_is_paused(route: dict[str, Any]) -> None:
    assert said(route) == []


def test_a_route_that_never_matches_is_not_blamed_for_its_effect() -> None:
    assert said({"model_in": ["small"], "input_tokens_lt": 1, "input_tokens_gt": 1}) == ["never_matches a"]


CATALOG = {
    "small": {"retires_on": None},
    "gone": {"retires_on": date(2026, 11, 21)},
    "going": SimpleNamespace(retires_on=date(2026, 11, 22)),
    "bare": object(),
    "late": {"retires_on": datetime(2026, 11, 21, 12, tzinfo=UTC)},
    "text": {"retires_on": "2020-01-01"},
}


DEFAULT = "The default, for requests that no route takes,"


@pytest.mark.parametrize(
    ("then", "expected"),
    [
        (Action("small"), []),
        (Action("Small"), ["unknown_target a"]),
        (Action("gone"), ["retired_target a"]),
        (Action("going"), []),
        (Action("bare", fallbacks=["text"]), []),
        (Action("late"), ["retired_target a"]),
        (Action("small", fallbacks=["gone", "what"]), ["retired_target a", "unknown_target a"]),
        (Action(split=[{"target_model": m, "weight": 1} for m in ("x", "gone")]), ["retired_target a", "unknown_target a"]),
        (Action("small", shadow_model="x"), ["unknown_target a"]),
        (Action("x", shadow_model="x"), ["unknown_target a"]),
        (Action(refuse={"status": 403, "code": "no", "message": "No."}), []),
    ],
)  # fmt: skip
def test_every_model_that_is_sent_to_is_looked_up(then: Action, expected: list[str]) -> None:
    assert said(ANY | {"then": then}, catalog=CATALOG, today=date(2026, 11, 21)) == expected


def test_targets_are_looked_up_in_a_catalogue_and_retired_by_the_day() -> None:
    gone = ANY | {"then": Action("gone", fallbacks=["what"])}
    assert said(gone, today=date(2026, 11, 21)) == []
    for day, expected in ((date.min, ["retired_target a"]), (date.max, [])):  # today is neither
        assert said(gone, catalog={"gone": {"retires_on": day}, "what": None}) == expected
    assert said(gone, catalog={}) == ["unknown_target a", "unknown_target a"]
    assert [each.message for each in found(gone, catalog=CATALOG, today=date(2027, 1, 1))] == [
        "Route 'a' sends to 'gone', a model that is retired since 2026-11-21.",
        "Route 'a' falls back to 'what', a model that the catalogue does not know.",
    ]


def test_of_the_default_the_models_are_looked_up_last() -> None:
    known: Any = {"catalog": CATALOG, "today": date(2026, 11, 21)}
    default = Action("gone", fallbacks=["what"])
    of_route, *of_default = found(ANY | {"then": Action("x")}, default=default, **known)
    assert len(of_route.route_ids) == 1
    assert [(each.code, each.severity, each.route_ids, each.message) for each in of_default] == [
        ("retired_target", "error", (), f"{DEFAULT} sends to 'gone', a model that is retired since 2026-11-21."),
        ("unknown_target", "warning", (), f"{DEFAULT} falls back to 'what', a model that the catalogue does not know."),
    ]
    assert found(default=default) == found(default=Action("small"), **known) == found(default=Action(), **known) == []


# --- Of some of them --------------------------------------------------------------------------------------------------


def test_of_some_routes_it_finds_what_it_finds_of_them_among_all() -> None:
    made = routes(
        {"tag_equals": "a"},
        {"tag_equals": "b", "input_tokens_lt": 100, "priority": 99},
        {"tag_equals": "b", "priority": 99, "then": Action("gone")},
        {"tag_equals": "a", "has_tools": True},
        {"tag_equals": "c", "enabled": False},
        {"tag_equals": "b", "input_tokens_gt": 5, "input_tokens_lt": 6},
        {"tag_equals": "c"},
    )
    every = lint(made, catalog=CATALOG, today=date(2026, 11, 21))
    assert len(every) == 4
    for about in ({route.id} for route in made):
        of_them = lint(made, catalog=CATALOG, today=date(2026, 11, 21), about=about)
        assert of_them == [one for one in every if one.route_ids[-1] in about]
    assert lint(made, about={route.id for route in made}) == lint(made)
    assert lint(made, about=()) == []


def test_what_is_asked_after_the_last_of_them_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    boxes_of = overlap.boxes_of
    monkeypatch.setattr(overlap, "boxes_of", lambda route, *more: (read.append(route.name), boxes_of(route, *more))[1])
    made = routes(ANY, {"tag_equals": "b"}, ANY, ANY)
    lint(made, about={made[1].id})
    assert read == ["a", "b"]


# --- As a whole -------------------------------------------------------------------------------------------------------


def test_findings_come_in_the_order_of_the_routes_and_of_the_codes() -> None:
    wide, narrow = {"priority": 5, "then": Action(traffic_pct=0)}, {"priority": 5, "then": Action("x", traffic_pct=0)}
    assert said(narrow | ANY, wide | ANY, {"priority": 9, "has_tools": True, "then": Action("y")}, catalog={}) == [
        "unknown_target c",
        "no_effect a",
        "unknown_target a",
        "shadowed b by a",
        "tie ab",
        "no_effect b",
    ]


def test_a_finding_is_json_and_reads_as_its_message() -> None:
    findings = found({"headers": {"h": ["v"]}}, {"headers": {"h": ["v"]}, "time_window": hours("08:00", "09:00")})
    assert json.loads(json.dumps([each.to_dict() for each in findings])) == [each.to_dict() for each in findings]
    assert [str(each) for each in findings] == [each.message for each in findings]
    assert len({*findings, *findings}) == len(findings)


def test_no_routes_have_no_findings() -> None:
    assert lint([]) == []


def test_findings_do_not_depend_on_the_order_of_sets() -> None:
    """Python orders its sets of texts in another way in every process."""
    program = (
        "import random; from routes.engine.linting import lint; from tests.campaign import lint as campaign\n"
        "chance = random.Random(5); every = campaign.worlds(chance, sorted(campaign.FACTS))\n"
        "for _ in range(60): print(lint(campaign.routes_of(chance, next(every))))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(answers) == 1
    assert len(answers.pop()) > 10_000


def test_a_time_far_from_today_is_compared_all_the_same() -> None:
    for start in map(at, ("0002-01-01", "1931-05-01", "2019-12-25", "2190-01-01", "9998-01-01")):
        active = {"active_from": start, "active_until": start + timedelta(days=9)}
        window = {"time_window": hours("23:00", "23:30", "America/New_York", "sat")}
        assert said(active | window, {"active_from": start} | active | window) == ["shadowed b by a"]
        assert said(active | window, active) == []
