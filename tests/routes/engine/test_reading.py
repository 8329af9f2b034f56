"""Strict reading and writing of routes: every issue at once, each with its path and code."""

from typing import Any

import pytest
from hypothesis import given

from routes.engine import Action, Conditions, NewRoute, Route
from routes.engine.errors import InvalidRoute
from routes.engine.reading import ON_LOAD
from routes.engine.values import read_route
from tests.routes.engine.build import json_values, raw_route, raw_routes, route_id


def issues_of(raw: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRoute) as caught:
        Route.from_dict(raw)
    assert all(issue["message"] and set(issue) == {"path", "code", "message"} for issue in caught.value.issues)
    return [(issue["path"], issue["code"]) for issue in caught.value.issues]


def when(**conditions: Any) -> dict[str, Any]:
    return raw_route(when=conditions)


def then(**action: Any) -> dict[str, Any]:
    return raw_route(then={"target_model": "small", **action})


NAN, INF = float("nan"), float("inf")

REFUSED: list[tuple[Any, str, str]] = [
    # the route
    ([], "", "wrong_type"),
    (None, "", "wrong_type"),
    (raw_route(idd=1), "idd", "unknown_key"),
    (raw_route(paused=False), "paused", "unknown_key"),
    ({key: value for key, value in raw_route().items() if key != "id"}, "id", "missing"),
    ({key: value for key, value in raw_route().items() if key != "name"}, "name", "missing"),
    ({key: value for key, value in raw_route().items() if key != "then"}, "then", "missing"),
    (raw_route(id=7), "id", "wrong_type"),
    (raw_route(id="route-1"), "id", "unsupported_value"),
    (raw_route(id="{00000000-0000-7000-8000-000000000001}"), "id", "unsupported_value"),
    (raw_route(name=None), "name", "wrong_type"),
    (raw_route(name=" \t"), "name", "blank_value"),
    (raw_route(name=""), "name", "blank_value"),
    (raw_route(name="a\u0000b"), "name", "unsupported_value"),
    (raw_route(name="a\u0085b"), "name", "unsupported_value"),
    (raw_route(name="a\u2028b"), "name", "unsupported_value"),
    (raw_route(name="a\u2029b"), "name", "unsupported_value"),
    (raw_route(name="a\ud800b"), "name", "unsupported_value"),
    (raw_route(name="n" * 201), "name", "out_of_range"),
    (raw_route(priority=True), "priority", "wrong_type"),
    (raw_route(priority=100.0), "priority", "wrong_type"),
    (raw_route(priority="100"), "priority", "wrong_type"),
    (raw_route(priority=None), "priority", "wrong_type"),
    (raw_route(priority=NAN), "priority", "not_finite"),
    (raw_route(priority=-1), "priority", "out_of_range"),
    (raw_route(priority=2**31), "priority", "out_of_range"),
    (raw_route(priority=10**5000), "priority", "out_of_range"),
    (raw_route(enabled=1), "enabled", "wrong_type"),
    (raw_route(enabled=None), "enabled", "wrong_type"),
    (raw_route(when=None), "when", "wrong_type"),
    (raw_route(when=[]), "when", "wrong_type"),
    (raw_route(then=None), "then", "wrong_type"),
    # conditions
    (when(model_inn=[]), "when.model_inn", "unknown_key"),
    (when(model_in="gpt-4o"), "when.model_in", "wrong_type"),
    (when(model_in=None), "when.model_in", "wrong_type"),
    (when(model_in=["a", 1]), "when.model_in[1]", "wrong_type"),
    (when(model_in=["a", "b", "a"]), "when.model_in[2]", "duplicate_value"),
    (when(model_in=[" "]), "when.model_in[0]", "blank_value"),
    (when(model_in=["a\n"]), "when.model_in[0]", "unsupported_value"),
    (when(model_in=[f"m{n}" for n in range(257)]), "when.model_in", "too_many"),
    (when(input_tokens_lt=True), "when.input_tokens_lt", "wrong_type"),
    (when(input_tokens_lt=100.0), "when.input_tokens_lt", "wrong_type"),
    (when(input_tokens_gt=-1), "when.input_tokens_gt", "out_of_range"),
    (when(input_tokens_gt=2**53), "when.input_tokens_gt", "out_of_range"),
    (when(input_tokens_gt=INF), "when.input_tokens_gt", "not_finite"),
    (when(tag_equals=""), "when.tag_equals", "blank_value"),
    (when(tag_equals=["a"]), "when.tag_equals", "wrong_type"),
    (when(tag_equals="t" * 513), "when.tag_equals", "out_of_range"),
    (when(has_images=0), "when.has_images", "wrong_type"),
    (when(has_audio="true"), "when.has_audio", "wrong_type"),
    (when(has_documents=[]), "when.has_documents", "wrong_type"),
    (when(prompt_contains_any_of=["a", "a"]), "when.prompt_contains_any_of[1]", "duplicate_value"),
    (when(prompt_contains_any_of=[""]), "when.prompt_contains_any_of[0]", "blank_value"),
    (when(estimated_cost_gt=True), "when.estimated_cost_gt", "wrong_type"),
    (when(estimated_cost_gt="0.1"), "when.estimated_cost_gt", "wrong_type"),
    (when(estimated_cost_gt=NAN), "when.estimated_cost_gt", "not_finite"),
    (when(estimated_cost_lt=INF), "when.estimated_cost_lt", "not_finite"),
    (when(estimated_cost_lt=-0.01), "when.estimated_cost_lt", "out_of_range"),
    (when(estimated_cost_lt=1_000_000.5), "when.estimated_cost_lt", "out_of_range"),
    (when(estimated_cost_lt=10**400), "when.estimated_cost_lt", "out_of_range"),
    (when(estimated_cost_lt=0.0000000001), "when.estimated_cost_lt", "unsupported_value"),
    (when(estimated_cost_lt=0.1234567891), "when.estimated_cost_lt", "unsupported_value"),
    (when(upstream_latency_ms_p95_gt=1.5), "when.upstream_latency_ms_p95_gt", "wrong_type"),
    # the action
    (raw_route(then={}), "then.target_model", "missing"),
    (raw_route(then={"target_model": None}), "then.target_model", "wrong_type"),
    (raw_route(then={"target_model": " "}), "then.target_model", "blank_value"),
    (raw_route(then={"target_model": "a\r\nX-Header: b"}), "then.target_model", "unsupported_value"),
    (then(shadow_model="a"), "then.shadow_model", "unknown_key"),
    (then(fallbacks="a"), "then.fallbacks", "wrong_type"),
    (then(fallbacks=["a", "a"]), "then.fallbacks[1]", "duplicate_value"),
    (then(fallbacks=["a", "small"]), "then.fallbacks[1]", "duplicate_primary_fallback"),
    (then(fallbacks=[str(n) for n in range(257)]), "then.fallbacks", "too_many"),
    (then(disable_cache=None), "then.disable_cache", "wrong_type"),
    (then(max_cost_usd=0), "then.max_cost_usd", "out_of_range"),
    (then(max_cost_usd=0.0), "then.max_cost_usd", "out_of_range"),
    (then(max_cost_usd=-1), "then.max_cost_usd", "out_of_range"),
    (then(max_cost_usd=[1]), "then.max_cost_usd", "wrong_type"),
]


@pytest.mark.parametrize(("raw", "path", "code"), REFUSED, ids=[f"{path} {code}" for _, path, code in REFUSED])
def test_a_wrong_value_is_refused_at_its_path_with_its_code(raw: Any, path: str, code: str) -> None:
    assert issues_of(raw) == [(path, code)]


@pytest.mark.parametrize(
    "raw",
    [
        raw_route(name="n" * 200),
        raw_route(priority=0),
        raw_route(priority=2**31 - 1),
        raw_route(name="日本 😀 é"),
        when(model_in=[f"m{n}" for n in range(256)]),
        when(model_in=[" gpt-4o "]),
        when(input_tokens_lt=0, input_tokens_gt=2**53 - 1),
        when(tag_equals="t" * 512),
        when(tag_equals=None, has_images=None, estimated_cost_gt=None),
        when(estimated_cost_gt=0, estimated_cost_lt=1_000_000),
        when(estimated_cost_gt=0.000000001, estimated_cost_lt=999999.999999999),
        then(max_cost_usd=0.000000001),
        then(max_cost_usd=None),
        then(fallbacks=[]),
    ],
)
def test_a_value_at_the_border_is_accepted(raw: dict[str, Any]) -> None:
    assert Route.from_dict(raw).id == raw["id"]


def test_all_issues_are_reported_at_once() -> None:
    raw = raw_route(
        name=" ",
        priority=True,
        when={"model_inn": [], "tag_equals": ""},
        then={"target_model": "x", "fallbacks": ["x"]},
    )
    assert issues_of(raw) == [
        ("name", "blank_value"),
        ("priority", "wrong_type"),
        ("when.model_inn", "unknown_key"),
        ("when.tag_equals", "blank_value"),
        ("then.fallbacks[0]", "duplicate_primary_fallback"),
    ]


def test_the_message_about_an_unknown_key_names_it_and_what_was_meant() -> None:
    with pytest.raises(InvalidRoute) as caught:
        Conditions.from_dict({"model_inn": []})
    [issue] = caught.value.issues
    assert issue["path"] == "model_inn"
    assert "'model_inn'" in issue["message"]
    assert "Did you mean model_in?" in issue["message"]


def test_an_unknown_key_cannot_bring_control_characters_into_the_report() -> None:
    with pytest.raises(InvalidRoute) as caught:
        Route.from_dict(raw_route(**{"a\nb\ud800" + "c" * 500: 1}))
    [issue] = caught.value.issues
    assert issue["path"].isprintable()
    assert issue["message"].isprintable()
    assert len(issue["message"]) < 300


def test_a_thousand_unknown_keys_are_one_issue() -> None:
    assert issues_of(raw_route() | {f"k{n}": n for n in range(1000)}) == [("", "too_many")]


def test_an_id_in_upper_case_is_read_as_its_canonical_form() -> None:
    assert Route.from_dict(raw_route(id=route_id(0xABC).upper())).id == route_id(0xABC)


def test_a_load_accepts_twice_the_lengths_of_a_write() -> None:
    raw = when(model_in=[f"m{n}" for n in range(512)], tag_equals="t" * 1024)
    assert [code for _, code in issues_of(raw)] == ["too_many", "out_of_range"]
    assert len(read_route(raw, ON_LOAD).when.model_in) == 512
    with pytest.raises(InvalidRoute):
        read_route(when(tag_equals="t" * 1025), ON_LOAD)


@given(raw_routes)
def test_a_canonical_route_is_written_as_it_was_read(raw: dict[str, Any]) -> None:
    assert Route.from_dict(raw).to_dict() == raw
    without_id = {key: value for key, value in raw.items() if key != "id"}
    assert NewRoute.from_dict(without_id).to_dict() == without_id


def test_defaults_are_left_out_save_for_those_that_people_look_for() -> None:
    raw = when(has_images=None, prompt_contains_any_of=[], estimated_cost_gt=None)
    raw["then"] |= {"fallbacks": [], "disable_cache": False, "max_cost_usd": None}
    del raw["priority"], raw["enabled"]
    assert Route.from_dict(raw).to_dict() == raw_route()
    assert NewRoute("n", Action("t")).to_dict() == {
        "name": "n",
        "priority": 100,
        "enabled": True,
        "when": {"model_in": [], "input_tokens_lt": None, "input_tokens_gt": None, "tag_equals": None},
        "then": {"target_model": "t"},
    }


@given(json_values)
def test_reading_any_json_value_gives_a_route_or_its_issues(value: Any) -> None:
    for raw in (value, raw_route(when=value), raw_route(then=value), raw_route(name=value, priority=value, id=value)):
        try:
            read = Route.from_dict(raw)
        except InvalidRoute:
            continue
        assert Route.from_dict(read.to_dict()) == read


def test_what_reading_would_refuse_is_not_written_either() -> None:
    unwritable: list[dict[str, Any]] = [
        {"prompt_contains_any_of": [""]},
        {"tag_equals": "a\n"},
        {"input_tokens_lt": -1},
    ]
    for raw in unwritable:
        conditions = Conditions(**raw)
        with pytest.raises(InvalidRoute):
            conditions.to_dict()
        with pytest.raises(InvalidRoute):
            Route(id=route_id(1), name="r", when=conditions, then=Action("t")).to_dict()
    with pytest.raises(InvalidRoute):
        Action("t", fallbacks=("t",)).to_dict()


@pytest.mark.parametrize(
    "wrong",
    [{"model_in": "gpt-4o"}, {"model_in": [1]}, {"input_tokens_lt": "5"}, {"input_tokens_lt": True}, {"has_images": 1},
     {"tag_equals": 5}, {"estimated_cost_gt": "1"}],
)  # fmt: skip
def test_conditions_of_a_wrong_type_cannot_be_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Conditions(**wrong)


def test_values_are_immutable_and_compare_by_what_they_say() -> None:
    one, same = Route.from_dict(raw_route()), Route.from_dict(raw_route())
    assert one == same
    assert hash(one) == hash(same)
    with pytest.raises(AttributeError):
        one.name = "other"  # type: ignore[misc]


def test_a_new_route_takes_its_parts_as_objects_too() -> None:
    new = NewRoute("n", {"target_model": "t"}, when={"model_in": ["a"]})  # type: ignore[arg-type]
    assert new == NewRoute("n", Action("t"), when=Conditions(model_in=("a",)))
