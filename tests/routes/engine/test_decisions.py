"""What a decision says: what won, shares and splits, the default, a route asked for by name."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.engine import (
    Action,
    Conditions,
    Document,
    Engine,
    Refusal,
    RequestContext,
    Route,
    RouteDecision,
    SplitArm,
    TimeWindow,
)
from tests.routes.engine import naive
from tests.routes.engine.build import ORG, facts, many_routes, raw_actions, route, route_id, unhurried
from tests.routes.engine.worlds import context_of


@unhurried
@given(many_routes, st.none() | raw_actions, facts, st.none() | st.integers(0, 4))
def test_any_routes_decide_and_explain_as_the_contract_says(
    raws: list[dict[str, Any]], default: dict[str, Any] | None, given_facts: dict[str, Any], forced: int | None
) -> None:
    force = None if forced is None else "nobody" if forced >= len(raws) else raws[forced]["name"]
    content = {"default": default, "routes": raws, "services": []}
    engine = Engine.from_document(Document.build(content, ORG, "acme", 3))
    context = context_of(given_facts)
    decision = engine.decide(context, force=force)
    assert decision.to_dict() == naive.decide(raws, given_facts, default, force, ORG, 3)
    explained = [
        (route.route_id, route.outcome, route.first_failed) for route in engine.explain(context, force=force).routes
    ]
    assert explained == [
        (route["route_id"], route["outcome"], route["first_failed"]) for route in naive.explain(raws, given_facts)
    ]


def test_an_unknown_fact_matches_no_condition_on_it() -> None:
    every_kind: list[dict[str, Any]] = [
        {"model_in": ["m"]}, {"input_tokens_lt": 5}, {"input_tokens_gt": 5}, {"tag_equals": "t"}, {"has_images": False},
        {"has_audio": False}, {"has_documents": False}, {"prompt_contains_any_of": ["x"]}, {"estimated_cost_gt": 0},
        {"estimated_cost_lt": 1}, {"upstream_latency_ms_p95_gt": 0}, {"model_matches": ["*"]}, {"has_tools": False},
        {"is_stream": False}, {"prompt_matches_any_of": ["x*"]}, {"numbers.n": {"gt": 0}},
        {"time_window": TimeWindow("00:00", "00:00", "UTC")},
    ]  # fmt: skip
    for conditions in every_kind:
        [(path, value)] = conditions.items()
        key, _, name = path.partition(".")
        engine = Engine([route("r", **{key: {name: value} if name else value})])
        assert engine.decide(RequestContext()).reason == "no_match"
        [explained] = engine.explain(RequestContext()).routes
        assert explained.first_failed == f"when.{path}"
        # No tag is known to be no tag; everything else is unknown.
        assert explained.conditions[0].result == ("false" if "tag_equals" in conditions else "unknown")


@pytest.mark.parametrize(("p95", "tokens"), [(1001, 9), (1000.5, 9)])
def test_bounds_are_strict_on_both_sides(p95: float, tokens: int) -> None:
    engine = Engine([route("r", upstream_latency_ms_p95_gt=1000, input_tokens_lt=10, input_tokens_gt=8)])
    assert engine.decide(RequestContext(upstream_latency_ms_p95=p95, input_tokens=tokens)).reason == "matched"
    for other in ({"upstream_latency_ms_p95": 1000}, {"input_tokens": 10}, {"input_tokens": 8}):
        context = RequestContext(**{"upstream_latency_ms_p95": p95, "input_tokens": tokens} | other)
        assert engine.decide(context).reason == "no_match"


def test_a_decision_says_everything_that_follows_from_it() -> None:
    action = Action("small", "azure", ("a", "b"), disable_cache=True, max_cost_usd=0.5, shadow_model="s")
    engine = Engine([Route(id=route_id(1), name="r", then=action)], org_id=ORG, version=4)
    decision = engine.decide(RequestContext("big"))
    assert decision == RouteDecision(
        ORG, 4, route_id(1), "r", "small", "azure", ("a", "b"), True, 0.5, "s", None, None, "matched"
    )
    assert decision.model_for("big") == "small"
    assert decision.to_dict() == {
        "org_id": ORG, "version": 4, "route_id": route_id(1), "route_name": "r", "target_model": "small",
        "provider": "azure", "fallbacks": ["a", "b"], "disable_cache": True, "max_cost_usd": 0.5, "shadow_model": "s",
        "variant": None, "refusal": None, "reason": "matched",
    }  # fmt: skip
    nothing = Engine([], org_id=ORG, version=4).decide(RequestContext("big"))
    assert nothing == RouteDecision(ORG, 4, None, None, None, None, (), False, None, None, None, None, "no_match")
    assert nothing.model_for("big") == "big"
    with pytest.raises(AttributeError):
        nothing.version = 5  # type: ignore[misc]


def one(then: Action, **values: Any) -> Engine:
    return Engine([Route(id=values.pop("id", route_id(1)), name="r", then=then, **values)])


def told(decision: RouteDecision) -> dict[str, Any]:
    """What a decision says besides its defaults."""
    default = Engine([]).decide(RequestContext()).to_dict()
    return {key: value for key, value in decision.to_dict().items() if value != default[key]}


WON = {"route_id": route_id(1), "route_name": "r"}
EVERYTHING = Action("t", "azure", ("a",), True, 0.5, None, (), "s")


def test_a_paused_route_wins_and_leaves_all_but_the_cache_as_it_was() -> None:
    behind = Route(id=route_id(2), name="behind", priority=1, then=Action("other"))
    paused = Route(id=route_id(1), name="r", paused=True, then=EVERYTHING)
    decision = Engine([paused, behind]).decide(RequestContext())
    assert told(decision) == {**WON, "disable_cache": True, "reason": "paused"}
    assert told(one(Action("t"), paused=True).decide(RequestContext())) == {**WON, "reason": "paused"}
    assert told(one(Action(refuse=Refusal(403, "c", "m")), paused=True).decide(RequestContext())) == {
        **WON,
        "reason": "paused",
    }


def test_a_route_that_only_modifies_keeps_the_model() -> None:
    decision = one(Action(disable_cache=True, max_cost_usd=2.0, fallbacks=("a",))).decide(RequestContext("m"))
    assert told(decision) == {
        **WON, "fallbacks": ["a"], "disable_cache": True, "max_cost_usd": 2, "reason": "matched",
    }  # fmt: skip
    assert decision.model_for("m") == "m"


def test_a_refusal_is_the_whole_decision() -> None:
    refusal = {"status": 451, "code": "blocked", "message": "Not here."}
    assert told(one(Action(refuse=Refusal(**refusal))).decide(RequestContext())) == {
        **WON, "refusal": refusal, "reason": "refused",
    }  # fmt: skip
    default = Engine([], default=Action(refuse=Refusal(**refusal))).decide(RequestContext())
    assert told(default) == {"refusal": refusal, "reason": "refused"}


def test_the_default_takes_what_no_route_takes() -> None:
    engine = Engine([route("r", model_in=["a"])], default=EVERYTHING)
    assert engine.decide(RequestContext("a")).reason == "matched"
    assert told(engine.decide(RequestContext("b"))) == {
        "target_model": "t", "provider": "azure", "fallbacks": ["a"], "disable_cache": True, "max_cost_usd": 0.5,
        "shadow_model": "s", "reason": "default",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        (None, "no_match"),
        (datetime(2026, 11, 21, 7, 59, 59, 999_999, UTC), "no_match"),
        (datetime(2026, 11, 21, 8, tzinfo=UTC), "matched"),
        (datetime(2026, 11, 21, 9, tzinfo=timezone(timedelta(hours=1))), "matched"),
        (datetime(2026, 11, 21, 8, 59, 59, 999_999, UTC), "matched"),
        (datetime(2026, 11, 21, 9, tzinfo=UTC), "no_match"),
    ],
)
def test_a_route_is_active_from_its_first_moment_to_before_its_last(at: datetime | None, reason: str) -> None:
    start, end = datetime(2026, 11, 21, 8, tzinfo=UTC), datetime(2026, 11, 21, 9, tzinfo=UTC)
    engine = one(Action("t"), active_from=start, active_until=end)
    assert engine.decide(RequestContext(at=at)).reason == reason
    [explained] = engine.explain(RequestContext(at=at)).routes
    assert explained.outcome == ("selected" if reason == "matched" else "inactive")


# --- Shares and splits ------------------------------------------------------------------------------------------------

KNOWN_ID, KNOWN_KEY = "00000000-0000-0000-0000-000000000001", "user-42"


@pytest.mark.parametrize(("percent", "reason"), [(0, "control"), (67, "control"), (68, "matched"), (100, "matched")])
def test_the_known_key_is_in_the_share_from_68_percent(percent: int, reason: str) -> None:
    engine = one(Action("t", disable_cache=True, traffic_pct=percent), id=KNOWN_ID)
    decision = engine.decide(RequestContext(sticky_key=KNOWN_KEY, request_id="other"))
    assert (decision.reason, decision.disable_cache) == (reason, True)
    assert engine.decide(RequestContext(request_id=KNOWN_KEY)) is decision


@pytest.mark.parametrize(
    ("weights", "arm"),
    [((957, 9_043), 1), ((958, 9_042), 0), ((1, 10_000), 1), ((956, 2, 9_042), 1), ((956, 1, 9_043), 2),
     ((1,) * 10, 0), ((957, 9_999), 1), ((10_000,) * 10, 0)],
)  # fmt: skip
def test_an_arm_takes_the_buckets_below_its_cumulated_weight(weights: tuple[int, ...], arm: int) -> None:
    # The known key draws bucket 957 of 10,000.
    arms = tuple(SplitArm(f"m{index}", weight) for index, weight in enumerate(weights))
    decision = one(Action(split=arms), id=KNOWN_ID).decide(RequestContext(sticky_key=KNOWN_KEY))
    assert (decision.variant, decision.target_model, decision.reason) == (arm, f"m{arm}", "matched")


def test_a_share_ends_exactly_at_its_bucket() -> None:
    engine = one(Action("t", traffic_pct=50), id=KNOWN_ID)
    found: dict[int, str] = {}
    for number in range(100_000):
        share, _ = naive.buckets(KNOWN_ID, {"sticky_key": str(number)})
        if share in (4_999, 5_000):
            found[share] = engine.decide(RequestContext(sticky_key=str(number))).reason
        if len(found) == 2:
            break
    assert found == {4_999: "matched", 5_000: "control"}


def test_a_growing_share_keeps_who_was_in_and_says_nothing_of_the_arm() -> None:
    arms = (SplitArm("a", 1), SplitArm("b", 1))
    engines = [one(Action(split=arms, traffic_pct=percent)) for percent in (10, 50, 100)]
    contexts = [RequestContext(sticky_key=f"key {number}") for number in range(2_000)]
    inside = [
        {n for n, context in enumerate(contexts) if engine.decide(context).reason == "matched"} for engine in engines
    ]
    assert inside[0] < inside[1] < inside[2] == set(range(2_000))
    # Binomial: 2,000 draws of 0.1 have a standard deviation of 13.4, 200 draws of 0.5 one of 7.1; six of them are allowed.
    assert abs(len(inside[0]) - 200) < 80
    first = sum(engines[0].decide(contexts[n]).variant == 0 for n in inside[0])
    assert abs(first - len(inside[0]) / 2) < 45
    variants = [[engine.decide(contexts[n]).variant for n in sorted(inside[0])] for engine in engines]
    assert variants[0] == variants[1] == variants[2]


def test_without_a_key_a_share_is_its_control_and_a_split_its_first_arm() -> None:
    arms = (SplitArm("a", 1), SplitArm("b", 10_000))
    nobody = RequestContext("m")
    assert told(one(Action("t", traffic_pct=100)).decide(nobody)) == {**WON, "reason": "control"}
    assert one(Action(split=arms)).decide(nobody).variant == 0
    assert one(Action(split=arms, traffic_pct=100)).decide(nobody).reason == "control"
    assert Engine([], default=Action("t", traffic_pct=100)).decide(nobody).reason == "control"


def test_the_default_draws_with_the_nil_id() -> None:
    nil = "00000000-0000-0000-0000-000000000000"
    action = Action(split=(SplitArm("a", 1), SplitArm("b", 1)), traffic_pct=50)
    engine, twin = Engine([], default=action), one(action, id=nil)
    for number in range(200):
        context = RequestContext(sticky_key=str(number))
        decision, other = engine.decide(context), twin.decide(context)
        assert decision.variant == other.variant
        assert decision.reason == {"matched": "default", "control": "control"}[other.reason]
        assert decision.route_id is None


def test_the_model_of_an_arm_is_no_fallback_of_itself() -> None:
    arms = (SplitArm("a", 957), SplitArm("b", 9_043))
    engine = one(Action(split=arms, fallbacks=("a", "b", "c")), id=KNOWN_ID)
    assert engine.decide(RequestContext(sticky_key=KNOWN_KEY)).fallbacks == ("a", "c")
    assert engine.decide(RequestContext()).fallbacks == ("b", "c")


# --- By name ----------------------------------------------------------------------------------------------------------


def test_a_forced_route_is_asked_nothing() -> None:
    start = datetime(2026, 11, 21, tzinfo=UTC)
    routes = [
        Route(id=route_id(1), name="first", priority=9, then=Action("a")),
        Route(
            id=route_id(2), name="named", when=Conditions(has_tools=True), then=Action("b", traffic_pct=0),
            active_from=start,
        ),
    ]  # fmt: skip
    engine = Engine(routes)
    decision = engine.decide(RequestContext(), force="named")
    assert (decision.route_name, decision.target_model, decision.reason) == ("named", "b", "forced")
    assert engine.decide(RequestContext(), force="named") is decision
    assert engine.explain(RequestContext(), force="named").decision is decision
    assert engine.decide(RequestContext()).route_name == "first"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"paused": True}, "paused"),
        ({"then": Action(refuse=Refusal(403, "c", "m"))}, "refused"),
        ({"enabled": False}, "forced_not_found"),
        ({"name": "other"}, "forced_not_found"),
        ({}, "forced"),
    ],
)
def test_what_is_forced_stays_what_it_is(changes: dict[str, Any], reason: str) -> None:
    values: dict[str, Any] = {"id": route_id(1), "name": "r", "then": Action("t")} | changes
    engine = Engine([Route(**values)], default=Action("d"))
    decision = engine.decide(RequestContext(), force="r")
    assert decision.reason == reason
    if reason == "forced_not_found":
        assert told(decision) == {"reason": "forced_not_found"}


def test_a_forced_split_is_drawn_by_its_key() -> None:
    engine = one(Action(split=(SplitArm("a", 957), SplitArm("b", 9_043)), traffic_pct=0), id=KNOWN_ID)
    assert engine.decide(RequestContext(sticky_key=KNOWN_KEY), force="r").variant == 1
    assert engine.decide(RequestContext(), force="r").variant == 0
