"""`Engine`: which route wins, what is skipped, and why."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.engine import Action, Conditions, Engine, RequestContext, Route, RouteDecision
from routes.engine.errors import InvalidRoute
from tests.routes.engine.build import ORG, contexts, document, raw_route, raw_routes, route, route_id

many_routes = st.lists(raw_routes, max_size=8, unique_by=(lambda raw: raw["id"], lambda raw: raw["name"]))


def by_hand(when: dict[str, Any], context: RequestContext) -> bool:
    """The table of the contract, once more and as plainly as possible; `estimated_cost_*` in nano-dollars."""
    cost = context.estimated_cost_nano_usd
    text = context.prompt
    if text is not None:
        text = "".join("\ufffd" if "\ud800" <= letter <= "\udfff" else letter for letter in text).lower()

    def nano(key: str) -> int:
        return round(when[key] * 1_000_000_000)

    checks = {
        "model_in": lambda: not when["model_in"] or (context.model is not None and context.model in when["model_in"]),
        "input_tokens_lt": lambda: context.input_tokens is not None and context.input_tokens < when["input_tokens_lt"],
        "input_tokens_gt": lambda: context.input_tokens is not None and context.input_tokens > when["input_tokens_gt"],
        "tag_equals": lambda: context.tag == when["tag_equals"],
        "has_images": lambda: context.has_images == when["has_images"],
        "has_audio": lambda: context.has_audio == when["has_audio"],
        "has_documents": lambda: context.has_documents == when["has_documents"],
        "prompt_contains_any_of": lambda: (
            text is not None and any(word.lower() in text for word in when["prompt_contains_any_of"])
        ),
        "estimated_cost_gt": lambda: cost is not None and cost > nano("estimated_cost_gt"),
        "estimated_cost_lt": lambda: cost is not None and cost < nano("estimated_cost_lt"),
        "upstream_latency_ms_p95_gt": lambda: (
            context.upstream_latency_ms_p95 is not None
            and context.upstream_latency_ms_p95 > when["upstream_latency_ms_p95_gt"]
        ),
    }
    return all(checks[key]() for key, value in when.items() if value is not None)


@given(many_routes, contexts)
def test_the_first_enabled_route_by_priority_whose_conditions_hold_wins(
    raws: list[dict[str, Any]], context: RequestContext
) -> None:
    asked = sorted(raws, key=lambda raw: -raw["priority"])
    expected = next((raw["id"] for raw in asked if raw["enabled"] and by_hand(raw["when"], context)), None)
    assert Engine([Route.from_dict(raw) for raw in raws]).decide(context).route_id == expected


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


def test_a_document_and_the_same_routes_in_code_make_the_same_engine() -> None:
    raws = [raw_route(1, priority=5), raw_route(2, priority=5), raw_route(3, priority=9)]
    made = Engine([Route.from_dict(raw) for raw in raws], org_id=ORG, version=7)
    loaded = Engine.from_document(document(raws[2], raws[0], raws[1], version=7))
    assert [route.name for route in loaded.routes] == ["route 3", "route 1", "route 2"]
    assert (loaded.routes, loaded.digest, loaded.version, loaded.org_id) == (made.routes, made.digest, 7, ORG)
    assert loaded.skipped == made.skipped == ()


def test_an_unknown_fact_matches_no_condition_on_it() -> None:
    every_kind: list[dict[str, Any]] = [
        {"model_in": ["m"]}, {"input_tokens_lt": 5}, {"input_tokens_gt": 5}, {"tag_equals": "t"}, {"has_images": False},
        {"has_audio": False}, {"has_documents": False}, {"prompt_contains_any_of": ["x"]}, {"estimated_cost_gt": 0},
        {"estimated_cost_lt": 1}, {"upstream_latency_ms_p95_gt": 0},
    ]  # fmt: skip
    for conditions in every_kind:
        engine = Engine([route("r", **conditions)])
        assert engine.decide(RequestContext()).reason == "no_match"
        [explained] = engine.explain(RequestContext()).routes
        assert explained.first_failed == f"when.{next(iter(conditions))}"
        # No tag is known to be no tag; everything else is unknown.
        assert explained.conditions[0].result == ("false" if "tag_equals" in conditions else "unknown")


@pytest.mark.parametrize(("p95", "tokens"), [(1001, 9), (1000.5, 9)])
def test_bounds_are_strict_on_both_sides(p95: float, tokens: int) -> None:
    engine = Engine([route("r", upstream_latency_ms_p95_gt=1000, input_tokens_lt=10, input_tokens_gt=8)])
    assert engine.decide(RequestContext(upstream_latency_ms_p95=p95, input_tokens=tokens)).reason == "matched"
    for facts in ({"upstream_latency_ms_p95": 1000}, {"input_tokens": 10}, {"input_tokens": 8}):
        context = RequestContext(**{"upstream_latency_ms_p95": p95, "input_tokens": tokens} | facts)
        assert engine.decide(context).reason == "no_match"


def test_a_disabled_route_is_not_asked() -> None:
    off = Route(id=route_id(1), name="off", priority=9, enabled=False, then=Action("a"))
    on = Route(id=route_id(2), name="on", priority=1, then=Action("b"))
    assert Engine([off, on]).decide(RequestContext("m")).route_name == "on"
    assert Engine([off]).decide(RequestContext("m")).reason == "no_match"


def test_decisions_are_built_once_and_shared() -> None:
    engine = Engine([route("r", model_in=["m"])], org_id=ORG, version=4)
    assert engine.decide(RequestContext("m")) is engine.decide(RequestContext("m", input_tokens=9))
    assert engine.decide(RequestContext("x")) is engine.decide(RequestContext("y"))


def test_a_decision_says_everything_that_follows_from_it() -> None:
    action = Action("small", fallbacks=("a", "b"), disable_cache=True, max_cost_usd=0.5)
    engine = Engine([Route(id=route_id(1), name="r", then=action)], org_id=ORG, version=4)
    decision = engine.decide(RequestContext("big"))
    assert decision == RouteDecision(ORG, 4, route_id(1), "r", "small", ("a", "b"), True, 0.5, "matched")
    assert decision.model_for("big") == "small"
    assert decision.to_dict() == {
        "org_id": ORG, "version": 4, "route_id": route_id(1), "route_name": "r", "target_model": "small",
        "fallbacks": ["a", "b"], "disable_cache": True, "max_cost_usd": 0.5, "reason": "matched",
    }  # fmt: skip
    nothing = Engine([], org_id=ORG, version=4).decide(RequestContext("big"))
    assert nothing == RouteDecision(ORG, 4, None, None, None, (), False, None, "no_match")
    assert nothing.model_for("big") == "big"
    with pytest.raises(AttributeError):
        nothing.version = 5  # type: ignore[misc]


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


def test_a_malformed_route_is_skipped_named_and_logged_and_the_others_live_on(caplog: pytest.LogCaptureFixture) -> None:
    bad = raw_route(2, priority=True, when={"nope": 1})
    with caplog.at_level(logging.WARNING, "routes.engine"):
        engine = Engine.from_document(document(raw_route(1), bad, raw_route(3), version=5))
    assert [route.name for route in engine.routes] == ["route 1", "route 3"]
    [skipped] = engine.skipped
    assert (skipped.index, skipped.route_id, skipped.name) == (1, route_id(2), "route 2")
    assert [issue["code"] for issue in skipped.issues] == ["wrong_type", "unknown_key"]
    assert InvalidRoute(skipped.issues).issues == list(skipped.issues)
    [record] = caplog.records
    assert "route 2" in record.getMessage()
    assert "unknown" in record.getMessage() or "nope" in record.getMessage()


@pytest.mark.parametrize("junk", [None, 5, "route", [], {}, {"id": 5, "name": ["x"]}])
def test_a_route_that_is_no_route_at_all_is_skipped(junk: Any) -> None:
    engine = Engine.from_document(document(junk, raw_route(1)))
    [skipped] = engine.skipped
    assert (skipped.index, skipped.route_id, skipped.name) == (0, None, None)
    assert len(engine.routes) == 1


@pytest.mark.parametrize(
    ("later", "paths"),
    [(raw_route(2, id=route_id(1)), ["id"]), (raw_route(2, name="route 1"), ["name"]), (raw_route(1), ["id", "name"])],
)
def test_the_later_of_two_routes_with_one_id_or_name_is_skipped(later: dict[str, Any], paths: list[str]) -> None:
    engine = Engine.from_document(document(raw_route(1), later))
    assert [route.name for route in engine.routes] == ["route 1"]
    [skipped] = engine.skipped
    assert [(issue["path"], issue["code"]) for issue in skipped.issues] == [(path, "duplicate_value") for path in paths]


def test_a_load_takes_lengths_that_a_write_would_refuse() -> None:
    long = raw_route(1, when={"model_in": [f"m{n}" for n in range(400)]})
    assert len(Engine.from_document(document(long)).routes) == 1


def test_an_engine_built_in_code_has_no_limit() -> None:
    routes = [route(f"r{n}", model_in=[f"m{n}-{k}" for k in range(600)]) for n in range(3)]
    assert Engine(routes).decide(RequestContext("m2-599")).route_name == "r2"
    assert Engine(routes).digest.startswith("sha256:")
