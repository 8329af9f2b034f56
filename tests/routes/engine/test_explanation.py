"""`Explanation`: every route with what it saw and expected, as data and as sentences; no secret in either."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from routes.engine import UNKNOWN, Action, Conditions, Engine, Refusal, RequestContext, Route
from tests.routes.engine.build import ORG, contexts, many_routes, route, route_id, unhurried


@unhurried
@given(many_routes, contexts)
def test_an_explanation_selects_what_the_decision_selects(raws: list[dict[str, Any]], context: RequestContext) -> None:
    engine = Engine([Route.from_dict(raw) for raw in raws], org_id=ORG, version=3)
    decision, explanation = engine.decide(context), engine.explain(context)
    assert explanation.decision is decision
    selected = [route.route_id for route in explanation.routes if route.outcome == "selected"]
    assert selected == ([] if decision.route_id is None else [decision.route_id])
    assert [route.route_id for route in explanation.routes] == [route.id for route in engine.routes]
    json.dumps(explanation.to_dict(), allow_nan=False).encode()
    assert str(explanation).encode()


def test_an_explanation_names_every_route_with_what_was_seen_and_expected() -> None:
    routes = [
        Route(id=route_id(1), name="off", priority=9, enabled=False, then=Action("t")),
        Route(
            id=route_id(2), name="tag", priority=8, when=Conditions(tag_equals="a", has_images=True), then=Action("t")
        ),
        Route(
            id=route_id(3),
            name="text",
            priority=7,
            when=Conditions(prompt_contains_any_of=["Pay", "b"]),
            then=Action("t"),
        ),
        Route(id=route_id(4), name="late", priority=6, when=Conditions(estimated_cost_gt=0.01), then=Action("t")),
    ]
    context = RequestContext("m", tag="z\ud800", prompt="my secret pay", estimated_cost_usd=0.02)
    explanation = Engine(routes).explain(context)
    told = explanation.to_dict()
    assert told["decision"]["route_name"] == "text"
    assert [(one["name"], one["outcome"], one["first_failed"]) for one in told["routes"]] == [
        ("off", "disabled", None),
        ("tag", "conditions", "when.tag_equals"),
        ("text", "selected", None),
        ("late", "shadowed", None),
    ]
    assert told["routes"][1]["conditions"] == [
        {"path": "when.tag_equals", "expected": "a", "seen": "z\ufffd", "result": "false"},
        {"path": "when.has_images", "expected": True, "seen": None, "result": "unknown"},
    ]
    assert told["routes"][2]["conditions"] == [
        {"path": "when.prompt_contains_any_of", "expected": ["Pay", "b"], "seen": "Pay", "result": "true"}
    ]
    assert told["routes"][3]["conditions"] == [
        {"path": "when.estimated_cost_gt", "expected": 0.01, "seen": 0.02, "result": "true"}
    ]
    assert set(told["routes"][0]) == {"route_id", "name", "priority", "outcome", "conditions", "first_failed"}
    said = str(explanation)
    assert said.startswith("Route 'text' sends the request to 't'")
    assert "secret" not in said + json.dumps(told)


def explained(context: RequestContext, **conditions: Any) -> list[tuple[str, Any, Any, str]]:
    [only] = Engine([route("r", **conditions)]).explain(context).routes
    return [(each.path.removeprefix("when."), each.expected, each.seen, each.result) for each in only.conditions]


def test_groups_are_followed_by_what_is_inside_them_each_with_its_own_result() -> None:
    context = RequestContext("m", tag="t", input_tokens=5)
    assert explained(
        context,
        input_tokens_lt=6,
        any_of=[
            Conditions(tag_equals="x", has_tools=True),
            Conditions(model_in=["m"], not_=Conditions(tag_equals="x")),
        ],
        not_=Conditions(any_of=[Conditions(has_images=True)]),
    ) == [
        ("input_tokens_lt", 6, 5, "true"),
        ("any_of", True, True, "true"),
        ("any_of[0].tag_equals", "x", "t", "false"),
        ("any_of[0].has_tools", True, None, "unknown"),
        ("any_of[1].model_in", ["m"], "m", "true"),
        ("any_of[1].not", False, False, "true"),
        ("any_of[1].not.tag_equals", "x", "t", "false"),
        ("not", False, None, "unknown"),
        ("not.any_of", True, None, "unknown"),
        ("not.any_of[0].has_images", True, None, "unknown"),
    ]
    [only] = Engine([route("r", any_of=[Conditions(tag_equals="x")], has_tools=True)]).explain(context).routes
    assert only.first_failed == "when.has_tools"


def test_every_name_is_a_condition_of_its_own() -> None:
    context = RequestContext(
        metadata={"a": "1\ud800"},
        headers={"X-A": ["1", "2"], "x-b": "3"},
        numbers={"n": 5},
        upstream_latency_ms_p95=9.5,
    )
    assert explained(
        context,
        metadata={"a": ["1"], "b": ["2"]},
        headers={"x-a": ["2"], "x-b": ["4"], "x-c": ["5"]},
        numbers={"n": {"gt": 5}, "o": {"lt": 5}},
        upstream_latency_ms_p95_gt=9,
    ) == [
        ("metadata.a", ["1"], "1\ufffd", "false"),
        ("metadata.b", ["2"], None, "false"),
        ("headers.x-a", ["2"], ["1", "2"], "true"),
        ("headers.x-b", ["4"], "3", "false"),
        ("headers.x-c", ["5"], None, "false"),
        ("numbers.n", {"gt": 5}, 5, "false"),
        ("numbers.o", {"lt": 5}, None, "unknown"),
        ("upstream_latency_ms_p95_gt", 9, 9.5, "true"),
    ]
    nobody = RequestContext(tag=UNKNOWN, metadata=UNKNOWN, headers=UNKNOWN)
    assert explained(nobody, tag_equals="t", metadata={"a": ["1"]}, headers={"x": ["1"]}) == [
        ("tag_equals", "t", None, "unknown"),
        ("metadata.a", ["1"], None, "unknown"),
        ("headers.x", ["1"], None, "unknown"),
    ]


def test_a_window_is_explained_by_the_time_of_the_request() -> None:
    window = {"days": ["sat"], "from": "22:00", "to": "06:00", "tz": "Europe/Berlin"}
    at = datetime(2026, 11, 22, 4, 59, tzinfo=UTC)
    assert explained(RequestContext(at=at), time_window=window) == [
        ("time_window", window, "2026-11-22T04:59:00.000000Z", "true"),
    ]
    assert explained(RequestContext(), time_window=window) == [("time_window", window, None, "unknown")]
    said = str(Engine([route("r", time_window=window)]).explain(RequestContext()))
    assert "time_window days sat from 22:00 to 06:00 tz Europe/Berlin: unknown for this request" in said


@pytest.mark.parametrize("name", ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"])
def test_what_a_secret_header_holds_is_not_told(name: str) -> None:
    engine = Engine([route("r", headers={name: ["other"]}), route("s", not_=Conditions(headers={name: ["other"]}))])
    for sent in ("hunter2", ["hunter2", "x"]):
        told = engine.explain(RequestContext(headers={name.title(): sent}))
        assert "hunter2" not in json.dumps(told.to_dict()) + str(told)
        assert told.routes[0].conditions[0].seen == "(hidden)"
    assert engine.explain(RequestContext()).routes[0].conditions[0].seen is None


def test_of_the_prompt_only_what_was_found_is_told() -> None:
    context = RequestContext(prompt="my SECRET number is 42\ud800")
    engine = Engine([route("a", prompt_contains_any_of=["x", "Number"], prompt_matches_any_of=["q", r"\d+"]),
                     route("b", prompt_contains_any_of=["x"], prompt_matches_any_of=["q"])])  # fmt: skip
    explanation = engine.explain(context)
    assert [each.seen for route in explanation.routes for each in route.conditions] == ["Number", r"\d+", None, None]
    said = str(explanation)
    assert (
        r"prompt_contains_any_of 'x', 'Number': found 'Number'; prompt_matches_any_of 'q', '\\d+': found '\\d+'" in said
    )
    assert "prompt_contains_any_of 'x': found none; prompt_matches_any_of 'q': found none" in said
    assert "secret" not in (said + json.dumps(explanation.to_dict())).lower()


SHARE = Action("t", traffic_pct=0)
REFUSAL = Action(refuse=Refusal(451, "blocked", "Not here."))


@pytest.mark.parametrize(
    ("then", "changes", "sentence"),
    [
        (Action("t"), {}, "Route 'r' sends the request to 't' (version 7)."),
        (Action(disable_cache=True), {}, "Route 'r' takes the request and leaves its model as it is (version 7)."),
        (
            Action("t"),
            {"paused": True},
            "Route 'r' takes the request, but is paused; it goes on unchanged (version 7).",
        ),
        (
            SHARE,
            {},
            "Route 'r' takes the request, but it is outside the share of traffic; it goes on unchanged (version 7).",
        ),
        (REFUSAL, {}, "Route 'r' refuses the request with 451 'blocked' (version 7)."),
        (Action("t"), {"enabled": False}, "No route takes the request; it goes on unchanged (version 7)."),
    ],
)
def test_the_first_sentence_says_what_comes_of_the_request(
    then: Action, changes: dict[str, Any], sentence: str
) -> None:
    engine = Engine([Route(id=route_id(1), name="r", then=then, **changes)], version=7)
    assert str(engine.explain(RequestContext())).splitlines()[0] == sentence


@pytest.mark.parametrize(
    ("default", "force", "sentence"),
    [
        (Action("d"), None, "No route takes the request; by the default it goes to 'd' (version 7)."),
        (
            Action(disable_cache=True),
            None,
            "No route takes the request; by the default it goes on unchanged (version 7).",
        ),
        (REFUSAL, None, "The default refuses the request with 451 'blocked' (version 7)."),
        (
            SHARE,
            None,
            "The default takes the request, but it is outside the share of traffic; it goes on unchanged (version 7).",
        ),
        (None, "r", "Route 'r' was asked for by name: it goes to 't' (version 7)."),
        (None, "x", "No enabled route has the name that was asked for; the request goes on unchanged (version 7)."),
    ],
)
def test_the_first_sentence_tells_of_the_default_and_of_names(
    default: Action | None, force: str | None, sentence: str
) -> None:
    engine = Engine([route("r", "t", has_tools=True)], version=7, default=default)
    assert str(engine.explain(RequestContext(), force=force)).splitlines()[0] == sentence


def test_every_route_has_a_line_that_says_why() -> None:
    never = datetime(2020, 1, 1, tzinfo=UTC)
    groups = Conditions(any_of=[Conditions(tag_equals="x")], not_=Conditions(tag_equals="t"))
    routes = [
        Route(id=route_id(1), name="off", priority=9, enabled=False, then=Action("t")),
        Route(id=route_id(2), name="old", priority=8, active_until=never, then=Action("t")),
        Route(id=route_id(3), name="groups", priority=7, when=groups, then=Action("t")),
        Route(
            id=route_id(4), name="unsure", priority=6, when=Conditions(any_of=[{"has_tools": True}]), then=Action("t")
        ),
        Route(id=route_id(5), name="some", priority=5, when=Conditions(metadata={"k": ["a", "b"]}), then=Action("t")),
        Route(id=route_id(6), name="any", priority=4, then=Action("t")),
        Route(id=route_id(7), name="late", priority=3, then=Action("t")),
    ]
    assert str(Engine(routes).explain(RequestContext("m", tag="t", metadata={"k": "c"}))).splitlines()[1:] == [
        "'off' (priority 9) is disabled.",
        "'old' (priority 8) is not active at the time of the request.",
        "'groups' (priority 7) does not take it: any_of: none holds; any_of[0].tag_equals 'x': saw 't';"
        " not: what is inside holds.",
        "'unsure' (priority 6) does not take it: any_of: none is known to hold;"
        " any_of[0].has_tools true: unknown for this request.",
        "'some' (priority 5) does not take it: metadata.k 'a', 'b': saw 'c'.",
        "'any' (priority 4) takes the request: it has no conditions.",
        "'late' (priority 3) would take it, but an earlier route did.",
    ]
