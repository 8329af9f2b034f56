"""`Engine`: which route wins, what is skipped, and why."""

import gc
import logging
import pickle
import sys
import weakref
from typing import Any

import pytest

from routes.engine import (
    Action,
    Conditions,
    Document,
    Engine,
    RequestContext,
    Route,
    TimeWindow,
)
from routes.engine.errors import DocumentRejected, InvalidRoute
from tests.routes.engine.build import (
    ORG,
    document,
    raw_route,
    route,
    route_id,
)


def test_a_document_and_the_same_routes_in_code_make_the_same_engine() -> None:
    raws = [raw_route(1, priority=5), raw_route(2, priority=5), raw_route(3, priority=9)]
    made = Engine([Route.from_dict(raw) for raw in raws], org_id=ORG, version=7)
    loaded = Engine.from_document(document(raws[2], raws[0], raws[1], version=7))
    assert [route.name for route in loaded.routes] == ["route 3", "route 1", "route 2"]
    assert (loaded.routes, loaded.digest, loaded.version, loaded.org_id) == (made.routes, made.digest, 7, ORG)
    assert loaded.skipped == made.skipped == ()


def test_a_disabled_route_is_not_asked() -> None:
    off = Route(id=route_id(1), name="off", priority=9, enabled=False, then=Action("a"))
    on = Route(id=route_id(2), name="on", priority=1, then=Action("b"))
    assert Engine([off, on]).decide(RequestContext("m")).route_name == "on"
    assert Engine([off]).decide(RequestContext("m")).reason == "no_match"


def test_decisions_are_built_once_and_shared() -> None:
    engine = Engine([route("r", model_in=["m"])], org_id=ORG, version=4)
    assert engine.decide(RequestContext("m")) is engine.decide(RequestContext("m", input_tokens=9))
    assert engine.decide(RequestContext("x")) is engine.decide(RequestContext("y"))


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
    caplog.clear()
    assert Engine.from_document(document(raw_route(1), bad), is_live=False).skipped
    assert caplog.records == [], "nobody published it"


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


# --- What is built, and what is rejected ------------------------------------------------------------------------------


def loaded(*routes: Any, default: Any = None, services: Any = ()) -> Engine:
    return Engine.from_document(
        Document.build({"default": default, "routes": list(routes), "services": list(services)}, ORG, "acme", 1)
    )


@pytest.mark.parametrize(
    "content",
    [
        {"default": {}},
        {"default": {"target_model": ""}},
        {"default": {"nope": 1}},
        {"default": {"target_model": "m", "refuse": {"status": 400, "code": "c", "message": "m"}}},
        {"services": [None]},
        {"services": [{"slug": "Not A Slug"}]},
        {"services": [{"slug": "users", "nope": 1}]},
        {"services": [{"slug": "users"}, {"slug": "users"}]},
    ],
)
def test_a_malformed_default_or_service_rejects_the_whole_document(content: dict[str, Any]) -> None:
    with pytest.raises(DocumentRejected):
        loaded(raw_route(1), **content)


def test_services_are_loaded_by_their_slugs() -> None:
    users = {"slug": "users", "paths": [{"pattern": "/api/*", "target_url": "https://users.internal"}]}
    engine = loaded(services=[users, {"slug": "orders", "enabled": False}])
    assert list(engine.services) == ["users", "orders"]
    assert engine.services["users"].paths[0].pattern == "/api/*"
    assert not engine.services["orders"].enabled
    assert dict(loaded().services) == {}


NEEDING = [
    raw_route(1, when={"prompt_matches_any_of": ["a"]}),
    raw_route(1, when={"not": {"any_of": [{"prompt_matches_any_of": ["a"]}]}}),
    raw_route(1, enabled=False, when={"prompt_matches_any_of": ["a"]}),
    raw_route(1, when={"time_window": {"from": "22:00", "to": "06:00", "tz": "Europe/Nowhere"}}),
    raw_route(1, when={"any_of": [{"time_window": {"from": "22:00", "to": "06:00", "tz": "Asia/Atlantis"}}]}),
    raw_route(1, priority=True, when={"prompt_matches_any_of": ["a"]}),
]


@pytest.mark.parametrize("raw", NEEDING)
def test_a_route_that_needs_what_this_machine_lacks_rejects_the_whole_document(
    raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(DocumentRejected, match=r"install (routing-engine\[regex\]|tzdata)"):
        loaded(raw_route(2), raw)


def test_a_pattern_that_is_none_costs_only_its_own_route() -> None:
    engine = loaded(raw_route(1, when={"prompt_matches_any_of": ["("]}), raw_route(2))
    assert [skipped.issues[0]["code"] for skipped in engine.skipped] == ["bad_pattern"]
    assert engine.decide(RequestContext()).route_name == "route 2"


@pytest.mark.parametrize(
    ("conditions", "code"),
    [
        ({"prompt_matches_any_of": ["("]}, "bad_pattern"),
        ({"any_of": [Conditions(prompt_matches_any_of=["("])]}, "bad_pattern"),
        ({"time_window": TimeWindow("22:00", "06:00", "Europe/Nowhere")}, "needs_extra"),
    ],
)
def test_routes_built_in_code_that_cannot_be_compiled_are_refused_by_name(
    conditions: dict[str, Any], code: str
) -> None:
    for count in (1, 40):
        routes = [route(f"r{number}", model_in=[f"m{number}"]) for number in range(count)]
        with pytest.raises(InvalidRoute, match="'broken'") as caught:
            Engine([*routes, route("broken", **conditions)])
        assert [issue["code"] for issue in caught.value.issues] == [code]


def test_without_re2_routes_built_in_code_with_patterns_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    with pytest.raises(InvalidRoute, match="routing-engine") as caught:
        Engine([route("r", prompt_matches_any_of=["a"])])
    assert [issue["code"] for issue in caught.value.issues] == ["needs_extra"]


def test_an_engine_knows_the_headers_that_its_conditions_look_at() -> None:
    engine = Engine(
        [
            route("a", headers={"x-a": ["1"]}),
            route("b", any_of=[Conditions(headers={"x-b": ["1"]}), Conditions(has_tools=True)]),
            route("c", not_=Conditions(any_of=[Conditions(headers={"x-c": ["1"], "x-a": ["2"]})])),
        ]
    )
    assert engine.header_names == {"x-a", "x-b", "x-c"}
    assert engine.header_names is engine.header_names
    assert Engine([]).header_names == set()


@pytest.mark.parametrize("count", [1, 60])
def test_an_engine_survives_a_pickle_with_all_that_it_says(count: int) -> None:
    routes = [raw_route(number, when={"model_in": [f"m{number}"], "has_tools": True}) for number in range(count)]
    engine = loaded(*routes, None, default={"target_model": "d"}, services=[{"slug": "users"}])
    again = pickle.loads(pickle.dumps(engine))
    for name in ("org_id", "version", "routes", "default", "services", "skipped", "digest"):
        assert getattr(again, name) == getattr(engine, name)
    for context in (RequestContext("m0", has_tools=True), RequestContext()):
        assert again.decide(context) == engine.decide(context)
    assert repr(again) == repr(engine) == f"<Engine org_id={ORG} version=1 routes={count}>"


def test_an_engine_is_freed_as_soon_as_nobody_holds_it() -> None:
    for routes in ([route("r", has_tools=True)], [route(f"r{n}", model_in=[f"m{n}"]) for n in range(60)]):
        engine = Engine(routes)
        engine.decide(RequestContext(), force=routes[0].name)
        decide = weakref.ref(engine.decide)
        gc.disable()
        try:
            del engine
            assert decide() is None
        finally:
            gc.enable()


def test_a_document_whose_patterns_compile_to_too_much_is_rejected() -> None:
    raw = [raw_route(n, when={"prompt_matches_any_of": [rf"\pL{{9}}{n}x{m}" for m in range(9)]}) for n in range(1, 30)]
    assert Engine.from_document(document(*raw[:5])).skipped == ()
    with pytest.raises(DocumentRejected, match="more than a gateway has"):
        Engine.from_document(document(*raw))


@pytest.mark.parametrize(
    ("services", "told"),
    [
        ([{"slug": f"s{n}"} for n in range(1_001)], "1,001 services, 1,000 are loaded"),
        (
            [
                {
                    "slug": f"s{n}",
                    "paths": [{"pattern": f"/:a/{m}{'/a' * 500}", "target_url": "http://u"} for m in range(60)],
                }
                for n in range(2)
            ],
            "more than 50,000 segments",
        ),
        ([None], "at \\[0\\] is not acceptable"),
        ([{"slug": "s", "paths": [None, {"pattern": 5}]}], "at \\[0\\] is not acceptable"),
    ],
    ids=["services", "segments", "none", "no paths"],
)
def test_services_that_take_too_much_to_compile_reject_the_document(services: list[Any], told: str) -> None:
    with pytest.raises(DocumentRejected, match=told):
        Engine.from_document(Document.build({"default": None, "routes": [], "services": services}, ORG))
