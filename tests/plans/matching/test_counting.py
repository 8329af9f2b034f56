"""What a route would match in a sample: as the engine says of each request, and unknown where the log lacks a fact."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plans.matching.counting import Matched, contexts_of, count_hits, count_matches
from plans.replay import LogRow
from plans.replay.sure import wilson_95
from routes.engine import Engine, Route
from routes.engine.meaning import holds

START = datetime(2026, 5, 1, tzinfo=UTC)


def row(number: int, **facts: Any) -> LogRow:
    usual = {"model": "m", "requested_model": "gpt-4o", "input_tokens": 100 * number, "output_tokens": 5}
    return LogRow(request_id=f"r{number:04}", ts=START + timedelta(minutes=number), **{**usual, **facts})


def route(number: int = 0, **keys: Any) -> Route:
    uid = f"00000000-0000-0000-0000-{number:012}"
    return Route.from_dict({"id": uid, "name": str(number), "then": {"target_model": "m"}, **keys})


ROWS = [row(number) for number in range(1, 21)]


def counted(rows: list[LogRow], asked: Route, above: list[Route] | None = None, **more: Any) -> Matched:
    return count_matches(contexts_of(rows, **more), asked, above or [])


def test_what_matches_and_what_routes_above_take_of_it() -> None:
    short = route(when={"input_tokens_lt": 1000})
    assert counted(ROWS, short) == Matched(20, 9, 0, 0, wilson_95(9, 20))
    above = [route(1, when={"input_tokens_lt": 300}), route(2, when={"input_tokens_gt": 1500}, enabled=False)]
    assert counted(ROWS, short, above) == Matched(20, 9, 2, 0, wilson_95(9, 20))
    assert counted(ROWS, short, [route(1, when={}, paused=True)]).taken_above == 9, "a paused one takes them too"
    share = {"target_model": "m", "traffic_pct": 0}
    assert counted(ROWS, short, [route(1, when={}, then=share)]).taken_above == 9, "and one with a share of them"
    assert counted(ROWS, short, [route(1, when={}, active_from="2026-06-01T00:00:00Z")]).taken_above == 0


def test_conditions_alone_count_whether_or_not_the_route_is_on() -> None:
    asked = route(when={"input_tokens_lt": 1000}, enabled=False, paused=True, active_from="2027-01-01T00:00:00Z")
    assert counted(ROWS, asked).matched == 9


def test_facts_are_those_that_were_decided_on() -> None:
    rows = [row(1, input_tokens=5000, fact_input_tokens=10), row(2, input_tokens=10, fact_input_tokens=5000)]
    assert counted(rows, route(when={"input_tokens_lt": 100, "model_in": ["gpt-4o"]})).matched == 1
    dear = route(when={"estimated_cost_gt": 1})
    billed = {"baseline_cost_nano": 2 * 10**9}
    rows = [row(1, fact_estimated_cost_nano=10**8, **billed), row(2, **billed), row(3)]
    assert counted(rows, dear) == Matched(3, 1, 0, 1, wilson_95(1, 3))


@pytest.mark.parametrize(
    ("when", "matched", "unknown"),
    [
        ({"headers": {"x": ["a"]}}, 0, 20),
        ({"not": {"headers": {"x": ["a"]}}}, 0, 20),
        ({"metadata": {"team": ["a"]}}, 1, 18),
        ({"prompt_contains_any_of": ["hello"]}, 0, 20),
        ({"numbers": {"n": {"gt": 1}}, "input_tokens_lt": 300}, 0, 2),
        ({"any_of": [{"headers": {"x": ["a"]}}, {"input_tokens_lt": 300}]}, 2, 18),
        ({"tag_equals": "a"}, 0, 0),
    ],
    ids=str,
)
def test_what_the_log_lacks_stays_unknown(when: dict[str, Any], matched: int, unknown: int) -> None:
    rows = [replace(ROWS[0], metadata={"team": "a"}), replace(ROWS[1], metadata={}), *ROWS[2:]]
    found = counted(rows, route(when=when))
    assert (found.matched, found.unknown) == (matched, unknown)


def test_texts_are_known_where_they_were_asked_for() -> None:
    asked = route(when={"prompt_contains_any_of": ["hello"]})
    found = counted(ROWS, asked, texts={"r0001": "Hello you", "r0002": "bye"})
    assert (found.matched, found.unknown) == (1, 18)


def test_the_engine_says_the_same_of_every_request() -> None:
    tags = [None, "a", "b"]
    rows = [
        row(number, tag=tags[number % 3], has_tools=[None, True, False][number % 7 % 3], metadata=None)
        for number in range(1, 200)
    ]
    asked = route(9, when={"any_of": [{"tag_equals": "a"}, {"not": {"has_tools": True}}], "input_tokens_gt": 500})
    above = [route(1, when={"tag_equals": "b"}), route(2, when={"input_tokens_gt": 15_000})]
    contexts = contexts_of(rows)
    truths = [holds(asked.when, context) for context in contexts]
    whole = Engine([*above, asked])
    taken = [whole.decide(context).route_id for context in contexts]
    found = counted(rows, asked, above)
    assert found.matched == truths.count(True) > 50
    assert found.unknown == truths.count(None) > 10
    assert found.matched - found.taken_above == taken.count(asked.id)


def test_of_no_requests_nothing_is_known() -> None:
    found = counted([], route())
    assert found == Matched(0, 0, 0, 0, None)
    assert found.share is None


def test_hits_are_counted_for_every_route_that_is_asked_for() -> None:
    assert count_hits(["a", None, "a", "gone"], ["a", "b"]) == {"a": 2, "b": 0}
