"""The shared cases: how systems of this kind decide, as data."""

from typing import Any

import pytest

from routes.engine import Action, Conditions, Engine, EngineCache, MemoryStore, NewRoute, RequestContext, Route
from tests.routes.engine.build import ORG, OTHER_ORG, eventually, route, route_id
from tests.routes.engine.shared import routing_cases


def built(raw: dict[str, Any], number: int) -> Route:
    # By the constructors, which take the blank keyword of one case: that is about deciding, reading refuses it.
    return Route(
        id=route_id(number),
        name=raw["name"],
        priority=raw["priority"],
        enabled=raw["enabled"],
        when=Conditions(**raw["when"]),
        then=Action(**raw["then"]),
    )


@pytest.mark.parametrize("case", routing_cases("evaluate"))
def test_the_expected_route_takes_the_chat_request(case: dict[str, Any]) -> None:
    engine = Engine([built(raw, number) for number, raw in enumerate(case["routes"], 1)])
    facts = dict(case["context"])
    facts["upstream_latency_ms_p95"] = facts.pop("observed_p95_ms")
    decision = engine.decide(RequestContext.from_chat(case["request"], **facts))
    assert decision.route_name == case["expected"]["matched"]
    assert decision.reason == ("no_match" if case["expected"]["matched"] is None else "matched")
    if "target" in case["expected"]:
        assert decision.target_model == case["expected"]["target"]


@pytest.mark.parametrize("case", routing_cases("conditions"))
def test_conditions_hold_or_not_as_expected(case: dict[str, Any]) -> None:
    facts = dict(case["facts"])
    context = RequestContext(facts.pop("model"), **facts)
    engine = Engine([Route(id=route_id(1), name="r", when=Conditions.from_dict(case["when"]), then=Action("t"))])
    assert (engine.decide(context).reason == "matched") is case["matches"]


@pytest.mark.parametrize("case", routing_cases("capability"))
def test_what_a_request_needs_is_read_from_its_body(case: dict[str, Any]) -> None:
    expected = case["expected"]
    if "satisfied" in expected:
        pytest.skip(
            "whether a model serves a request is for its provider: routes do not ask for capabilities of models"
        )
    context = RequestContext.from_chat(case["request"])
    assert {"vision": context.has_images, "tools": context.has_tools} | expected == {
        "vision": context.has_images, "tools": context.has_tools,
    }  # fmt: skip


NAMES = {"org": ORG, "orgX": OTHER_ORG, "orgA": ORG, "orgB": OTHER_ORG}


@pytest.mark.parametrize("case", routing_cases("store"))
def test_a_store_that_manages_behaves_so(case: dict[str, Any]) -> None:
    store = MemoryStore()
    ids: dict[str, str] = {}
    for step in case["request"]["steps"]:
        if len(step) < 3 and " " in step[0]:  # "get as orgB", null: the one route that was created
            verb, *_, org = step[0].split()
            step = [verb, org, "pin:100" if verb == "create" else "pin", *step[1:]]
            if verb == "list_all":
                step = [verb, org, step[3]]
        verb, org, *rest = step
        org = NAMES[org]
        if verb == "set":
            pairs = (pair.split(":") for pair in rest[0])
            store.set_routes(org, [route(name, priority=int(priority)) for name, priority in pairs])
        elif verb == "create":
            name, priority = rest[0].split(":")
            ids[name] = store.create_route(org, NewRoute(name, Action("t"), int(priority))).id
        elif verb == "get":
            found = store.get_route(org, ids[rest[0]])
            assert (found is not None) == (rest[1] or {"found": False})["found"]
        elif verb == "delete":
            assert store.delete_route(org, ids[rest[0]]) is rest[1]
        else:
            listed = store.list_for_org(org) if verb == "list" else store.list_all_for_org(org)
            assert len(listed) == rest[0]["len"]


@pytest.mark.parametrize("case", routing_cases("cache"))
def test_a_cache_in_front_of_a_store_behaves_so(case: dict[str, Any]) -> None:
    store = MemoryStore()
    steps = case["request"]["steps"]
    poll_seconds = next((step[1] / 1000 for step in steps if step[0] == "ttl_ms"), 3600)
    with EngineCache(store, poll_seconds=poll_seconds) as cache:

        def length() -> int:
            return len(cache.engine_for(ORG).routes)

        for verb, *rest in steps:
            if verb == "backing set":
                store.set_routes(ORG, [route(name) for name in rest[0]])
            elif verb == "engine unknown org":
                cache.engine_for(ORG)
            elif verb == "create":
                cache.create_route(ORG, NewRoute("new", Action("t")))
            elif verb in ("len", "warm len"):
                assert eventually(lambda wanted=rest[0]: length() == wanted, 2)
