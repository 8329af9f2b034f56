"""An explanation as an indented list."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, given, settings

from routes.engine import UNKNOWN, Action, Conditions, Engine, NewRoute, RequestContext, Route
from routes.engine.ids import uuid7
from routes.rules.explained import Open, conditions_as_tree, left_open, told, verdict
from tests.routes.rules.generate import NEW_ROUTES


def tree(when: dict[str, Any], context: RequestContext) -> list[dict[str, Any]]:
    engine = Engine([Route(id=uuid7(), name="r", when=Conditions.from_dict(when), then=Action("m"))])
    return conditions_as_tree(engine.explain(context).to_dict()["routes"][0]["conditions"])


def lines(nodes: list[dict[str, Any]], depth: int = 0) -> list[str]:
    found = []
    for node in nodes:
        seen = f" {node['expected']}, seen {node['seen']}" if node.get("expected") else ""
        found += [
            f"{'  ' * depth}{node['result']}: {node['label']}{seen}",
            *lines(node.get("children") or [], depth + 1),
        ]
    return found


def test_groups_stand_above_what_is_inside_them() -> None:
    when = {
        "input_tokens_lt": 1000,
        "metadata": {"a.b[0]": ["x"], "any_of[0].c": ["y"]},
        "any_of": [{"tag_equals": " a ", "has_images": True}, {"not": {"estimated_cost_gt": 0.5}}],
    }
    context = RequestContext(
        input_tokens=1200, tag=" a ", has_images=False, metadata={"a.b[0]": "x"}, estimated_cost_usd=0.4
    )
    assert lines(tree(when, context)) == [
        "false: Fewer input tokens than 1,000, seen 1,200",
        "true: Metadata a.b[0] is one of x, seen x",
        "false: Metadata any_of[0].c is one of y, seen nothing",
        "true: At least one of these holds",
        "  false: Alternative 1",
        "    true: Tag is “ a ”, seen “ a ”",
        "    false: Has images yes, seen no",
        "  true: Alternative 2",
        "    true: This does not hold",
        "      false: Estimated to cost more than $0.50, seen $0.40",
    ]


def test_an_alternative_without_conditions_is_named_where_it_decides() -> None:
    assert lines(tree({"any_of": [{"tag_equals": "a"}, {}]}, RequestContext())) == [
        "true: At least one of these holds",
        "  false: Alternative 1",
        "    false: Tag is a, seen nothing",
        "  true: An alternative without conditions",
    ]


def test_what_is_not_known_is_unknown_and_not_absent() -> None:
    assert lines(tree({"has_tools": True, "numbers": {"n": {"gt": 1, "lt": 2}}}, RequestContext())) == [
        "unknown: Has tools yes, seen unknown",
        "unknown: Figure n between 1 and 2 (both excluded), seen unknown",
    ]


def test_a_default_that_takes_only_a_share_is_not_told_as_a_route() -> None:
    decision = Engine([], default=Action("m", traffic_pct=0)).explain(RequestContext("big")).to_dict()["decision"]
    assert verdict(decision, "big")["headline"] == (
        "No route takes it, and it is outside the share of what is set for such requests: it passes unchanged → big"
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(NEW_ROUTES)
def test_every_condition_stands_in_the_list_once(new: dict[str, Any]) -> None:
    route = NewRoute.from_dict(new).with_id(uuid7())
    entries = Engine([route]).explain(RequestContext("gpt-4o", tag="a")).to_dict()["routes"][0]["conditions"]

    def count(nodes: list[dict[str, Any]]) -> int:
        # What is put in between, the alternatives, expects nothing.
        return sum(("expected" in node) + count(node.get("children") or []) for node in nodes)

    assert count(conditions_as_tree(entries)) == len(entries)


# --- The routes beside each other -------------------------------------------------------------------------------------


def route(name: str, when: dict[str, Any], **more: Any) -> Route:
    return Route(id=uuid7(), name=name, when=Conditions.from_dict(when), then=Action("m"), **more)


def shown_of(routes: Engine, context: RequestContext, force: str | None = None, **more: Any) -> dict[str, Any]:
    """What a page shows of a request for "big"."""
    documents = [each.to_dict() for each in routes.routes]
    return told(routes.explain(context, force=force), "big", documents, opened=left_open(routes, context), **more)


def five() -> Engine:
    return Engine(
        [
            route("off", {}, enabled=False),
            route("vip", {"headers": {"x-tier": ["gold"]}, "has_tools": True}),
            route("long", {"input_tokens_gt": 100}),
            route("short", {"input_tokens_lt": 100}),
            route("after", {"headers": {"x-tier": ["gold"]}}),
            route("any", {}),
        ]
    )


def test_the_winner_comes_first_and_the_others_by_why_they_did_not_take_it() -> None:
    routes = five()
    context = RequestContext("big", input_tokens=9, headers=UNKNOWN)
    names = {each.id: each.name for each in routes.routes}
    assert [names[uid] for uid in left_open(routes, context)] == ["vip"], "not the one that comes after the winner"
    shown = shown_of(routes, context)
    assert (shown["headline"], shown["winner"]["name"], shown["winner"]["number"]) == (
        "As far as is known, “short” takes it → m",
        "short",
        4,
    )
    assert [(group["kind"], [(step["name"], step["why"]) for step in group["steps"]]) for group in shown["groups"]] == [
        ("open", [("vip", "would, if this holds: has tools and header x-tier is gold")]),
        ("shadowed", [("any", "")]),
        (
            "conditions",
            [("long", "More input tokens than 100; seen 9"), ("after", "Header x-tier is one of gold; seen unknown")],
        ),
        ("disabled", [("off", "is disabled")]),
    ]
    assert not any(group.get("is_open") for group in shown["groups"])


def test_why_a_route_is_not_asked_or_lets_pass_is_said_in_one_sentence_as_of_now_or_of_then() -> None:
    until = {"active_until": datetime(2026, 5, 1, tzinfo=UTC)}
    nothing = Route(id=uuid7(), name="none", when=Conditions(), then=Action("m", traffic_pct=0))
    routes = Engine([
        route("off", {"tag_equals": "x"}, enabled=False, paused=True, **until),
        route("old", {}, **until),
        route("no", {"tag_equals": "x"}, paused=True),
        route("paused", {}, paused=True),
        nothing,
        route("later", {}),
    ])  # fmt: skip
    context = RequestContext("big", at=datetime(2026, 5, 2, tzinfo=UTC))
    now, then = shown_of(routes, context), shown_of(routes, context, past=True)
    assert [
        {step["name"]: step["why"] for group in shown["groups"] for step in group["steps"]} for shown in (now, then)
    ] == [
        {
            "none": "has a share of 0% of its requests: the request would pass unchanged",
            "later": "",
            "no": "Tag is x; seen nothing",
            "old": "is active only until 2026-05-01 00:00 UTC",
            "off": "is disabled",
        },
        {
            "none": "had a share of 0% of its requests: the request would have passed unchanged",
            "later": "",
            "no": "Tag is x; seen nothing",
            "old": "was active only until 2026-05-01 00:00 UTC",
            "off": "was disabled",
        },
    ]
    assert now["winner"]["passing"] == "is paused: it takes the request, which passes unchanged"
    assert then["winner"]["passing"] == "was paused: it took the request, which passed unchanged"
    assert [group["title"] for group in then["groups"]][1] == "Did not take it"


def test_a_route_that_certainly_fails_is_not_left_open() -> None:
    routes = five()
    known = RequestContext("big", input_tokens=9, headers=UNKNOWN, has_tools=False)
    assert left_open(routes, known) == {}
    nobody = Engine([route("a", {"has_tools": True}), route("b", {"tag_equals": "x"})])
    context = RequestContext("big")
    shown = shown_of(nobody, context)
    assert (shown["winner"], [group.get("is_open", False) for group in shown["groups"]]) == (None, [True, False])
    assert shown["groups"][0]["is_full"]


def opened(when: dict[str, Any], context: RequestContext, **more: Any) -> Open | None:
    """What is open of one route."""
    one = route("r", when, **more)
    return left_open(Engine([one]), context).get(one.id)


def test_only_what_is_not_known_of_a_route_whose_other_conditions_hold_is_open() -> None:
    context = RequestContext("big", tag="a", metadata={"team": "x"}, numbers={"n": 2})
    few = Open("fewer than 1,000 input tokens", ("input_tokens",))
    assert opened({"input_tokens_lt": 1000}, context) == few
    assert opened({"input_tokens_lt": 1000, "tag_equals": "a", "metadata": {"team": ["x"]}}, context) == few
    assert opened({"input_tokens_lt": 1000, "tag_equals": "b"}, context) is None, "it fails whatever is found out"
    assert opened({"input_tokens_lt": 1000}, context, enabled=False) is None
    assert opened({"tag_equals": "a"}, context) is None, "it takes it"
    alternatives = [{"has_tools": True, "tag_equals": "b"}, {"has_images": False, "tag_equals": "a"}]
    assert opened({"any_of": alternatives}, context) == Open("has no images", ("has_images",))
    assert opened({"any_of": [*alternatives, {"tag_equals": "a"}]}, context) is None
    kept = {"numbers": {"n": {"gt": 1}, "load": {"gt": 0.5}}, "prompt_contains_any_of": ["x"]}
    assert opened({"not": kept}, context) == Open(
        "not (the text contains “x” and load above 0.5)", ("prompt", "numbers")
    )
    nowhere = RequestContext("big", tag=UNKNOWN, metadata=UNKNOWN, headers=UNKNOWN)
    asked = {"tag_equals": "a", "metadata": {"t": ["x"], "u": ["y"]}, "headers": {"h": ["z"]}}
    assert opened(asked, nowhere) == Open(
        "tag is a and metadata t is x and metadata u is y and header h is z", ("tag", "metadata", "headers")
    )


def test_a_route_that_is_active_for_a_time_is_open_where_the_time_of_the_request_is_not_known() -> None:
    until = {"active_until": datetime(2026, 5, 1, tzinfo=UTC)}
    assert opened({}, RequestContext("big"), **until) == Open("it was sent until 2026-05-01 00:00 UTC", ("at",))
    late = RequestContext("big", at=datetime(2026, 5, 2, tzinfo=UTC))
    assert opened({"has_tools": True}, late, **until) is None


def test_what_hangs_on_unknown_facts_is_said_first_by_name() -> None:
    routes = Engine([route(f"r{number}", {"has_tools": True}) for number in range(5)])
    context = RequestContext("big")
    shown = shown_of(routes, context)
    assert shown["headline"] == "As far as is known, no route takes it: it passes unchanged → big"
    assert [may["name"] for may in shown["may"]] == ["r0", "r1", "r2"]
    assert shown["may_more"] == 2
    assert shown["may"][0]["open"] == Open("has tools", ("has_tools",))
    forced = shown_of(routes, context, force="r4")
    assert (forced["headline"], forced["may"]) == ("“r4” was asked for by name → m", []), "no other is asked"
    known = RequestContext("big", has_tools=False)
    shown = shown_of(routes, known)
    assert (shown["headline"], shown["may"]) == ("No route takes it: it passes unchanged → big", [])


def test_of_a_thousand_routes_twenty_of_a_kind_are_told_unless_all_are_asked_for() -> None:
    routes = Engine([route(f"r{number}", {"tag_equals": "x"}) for number in range(1000)])
    context = RequestContext("big")
    (group,) = shown_of(routes, context)["groups"]
    assert (group["count"], len(group["steps"]), group["more"], group["is_full"]) == (1000, 20, 980, False)
    (group,) = shown_of(routes, context, most=None)["groups"]
    assert (len(group["steps"]), group["more"], group.get("is_open")) == (1000, 0, None)
