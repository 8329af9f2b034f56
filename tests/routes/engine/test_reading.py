"""Strict reading and writing of routes: every issue at once, each with its path and code."""

import sys
from typing import Any

import pytest
from hypothesis import given

from routes.engine import Conditions, NewRoute, Route, TimeWindow
from routes.engine.conditions import count_atoms
from routes.engine.errors import InvalidRoute
from routes.engine.reading import ON_LOAD, shown
from routes.engine.times import zone_named
from routes.engine.values import canonical_route, read_route
from tests.routes.engine.build import json_values, raw_route, raw_routes, route_id, unhurried


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\nb", r"'a\nb'"), ("x" * 70, f"'{'x' * 60}'…"), (True, "true"), (None, "null"), (0.5, "0.5"), (7, "7"),
        (-(10**70), "an integer of 233 bits"), ({"a": 1}, "an object"), ([], "a list"), ((), "a list"), (b"", "bytes"),
    ],
)  # fmt: skip
def test_values_are_told_in_the_words_of_json_on_one_line(value: object, text: str) -> None:
    assert shown(value) == text


def issues_of(raw: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRoute) as caught:
        Route.from_dict(raw)
    assert all(issue["message"] and set(issue) == {"path", "code", "message"} for issue in caught.value.issues)
    return [(issue["path"], issue["code"]) for issue in caught.value.issues]


def when(**conditions: Any) -> dict[str, Any]:
    return raw_route(when=conditions)


def then(**action: Any) -> dict[str, Any]:
    return raw_route(then={"target_model": "small", **action})


def window(**changes: Any) -> dict[str, Any]:
    hours = {"from": "22:00", "to": "06:00", "tz": "Europe/Berlin"} | changes
    return when(time_window={key: value for key, value in hours.items() if value is not ...})


def names(count: int) -> dict[str, Any]:
    return {f"k{n}": ["v"] for n in range(count)}


def split(arms: Any) -> dict[str, Any]:
    return raw_route(then={"split": arms})


def arm(model: str, weight: Any = 1) -> dict[str, Any]:
    return {"target_model": model, "weight": weight}


def refuse(**changes: Any) -> dict[str, Any]:
    refusal = {"status": 403, "code": "blocked", "message": "Not here."} | changes
    return raw_route(then={"refuse": {key: value for key, value in refusal.items() if value is not ...}})


NAN, INF = float("nan"), float("inf")
NOON = "2026-11-21T12:00:00.000000Z"

REFUSED: list[tuple[Any, str, str]] = [
    # the route
    ([], "", "wrong_type"),
    (None, "", "wrong_type"),
    (b"{}", "", "wrong_type"),
    (raw_route(idd=1), "idd", "unknown_key"),
    (raw_route(paused=None), "paused", "wrong_type"),
    (raw_route(paused=1), "paused", "wrong_type"),
    (raw_route(active_from=5), "active_from", "wrong_type"),
    (raw_route(active_from=""), "active_from", "unsupported_value"),
    (raw_route(active_from="2026-11-21"), "active_from", "unsupported_value"),
    (raw_route(active_from="2026-11-21T08:00:00"), "active_from", "unsupported_value"),
    (raw_route(active_from="2026-11-21T08:00:00.Z"), "active_from", "unsupported_value"),
    (raw_route(active_from="2026-02-29T08:00:00Z"), "active_from", "unsupported_value"),
    (raw_route(active_from="2026-11-21T08:00:60Z"), "active_from", "unsupported_value"),
    (raw_route(active_from="2026-11-21T08:00:00+24:00"), "active_from", "unsupported_value"),
    (raw_route(active_until="0001-06-01T00:00:00Z"), "active_until", "unsupported_value"),
    (raw_route(active_until="9999-06-01T00:00:00Z"), "active_until", "unsupported_value"),
    (raw_route(active_until="0001-01-01T00:00:00+14:00"), "active_until", "unsupported_value"),
    (raw_route(active_from=NOON, active_until=NOON), "active_until", "conflict"),
    (raw_route(active_from=NOON, active_until="2026-11-21T11:59:59.999999Z"), "active_until", "conflict"),
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
    (when(upstream_latency_ms_p95_gt=-1), "when.upstream_latency_ms_p95_gt", "out_of_range"),
    (when(has_tools=1), "when.has_tools", "wrong_type"),
    (when(is_stream="no"), "when.is_stream", "wrong_type"),
    (when(model_matches=None), "when.model_matches", "wrong_type"),
    (when(model_matches=["a*", "a*"]), "when.model_matches[1]", "duplicate_value"),
    (when(model_matches=["*" * 513]), "when.model_matches[0]", "out_of_range"),
    (when(prompt_matches_any_of="a"), "when.prompt_matches_any_of", "wrong_type"),
    (when(prompt_matches_any_of=["a", "("]), "when.prompt_matches_any_of[1]", "bad_pattern"),
    (when(prompt_matches_any_of=["(?=a)"]), "when.prompt_matches_any_of[0]", "bad_pattern"),
    (when(prompt_matches_any_of=[r"(a)\1"]), "when.prompt_matches_any_of[0]", "bad_pattern"),
    (when(prompt_matches_any_of=["((a{100}){100}){100}"]), "when.prompt_matches_any_of[0]", "bad_pattern"),
    (when(prompt_matches_any_of=[" "]), "when.prompt_matches_any_of[0]", "blank_value"),
    (when(metadata=[]), "when.metadata", "wrong_type"),
    (when(metadata=None), "when.metadata", "wrong_type"),
    (when(metadata={"k": "v"}), "when.metadata.k", "wrong_type"),
    (when(metadata={"k": []}), "when.metadata.k", "no_effect"),
    (when(metadata={"k": ["v", "v"]}), "when.metadata.k[1]", "duplicate_value"),
    (when(metadata={" ": ["v"]}), "when.metadata. ", "blank_value"),
    (when(metadata={"a\nb": ["v"]}), "when.metadata.a\\nb", "unsupported_value"),
    (when(metadata={"k" * 513: ["v"]}), f"when.metadata.{'k' * 60}…", "out_of_range"),
    (when(metadata=names(257)), "when.metadata", "too_many"),
    (when(headers={"X-Team": ["a"]}), "when.headers.X-Team", "unsupported_value"),
    (when(headers={"x team": ["a"]}), "when.headers.x team", "unsupported_value"),
    (when(headers={"é": ["a"]}), "when.headers.é", "unsupported_value"),
    (when(headers={"": ["a"]}), "when.headers.", "blank_value"),
    (when(headers={"x": None}), "when.headers.x", "wrong_type"),
    (when(numbers={"n": 5}), "when.numbers.n", "wrong_type"),
    (when(numbers={"n": {}}), "when.numbers.n", "no_effect"),
    (when(numbers={"n": {"gt": None}}), "when.numbers.n", "no_effect"),
    (when(numbers={"n": {"gt": "1"}}), "when.numbers.n.gt", "wrong_type"),
    (when(numbers={"n": {"gt": True}}), "when.numbers.n.gt", "wrong_type"),
    (when(numbers={"n": {"lt": NAN}}), "when.numbers.n.lt", "not_finite"),
    (when(numbers={"n": {"lt": 2**53}}), "when.numbers.n.lt", "out_of_range"),
    (when(numbers={"n": {"lt": -(2**53)}}), "when.numbers.n.lt", "out_of_range"),
    (when(numbers={"n": {"lt": 1, "eq": 1}}), "when.numbers.n.eq", "unknown_key"),
    (when(numbers=[]), "when.numbers", "wrong_type"),
    (when(time_window=[]), "when.time_window", "wrong_type"),
    (window(tz=...), "when.time_window.tz", "missing"),
    (window(**{"from": ...}), "when.time_window.from", "missing"),
    (window(to=6), "when.time_window.to", "wrong_type"),
    (window(to="6:00"), "when.time_window.to", "unsupported_value"),
    (window(to="24:00"), "when.time_window.to", "unsupported_value"),
    (window(to="06:00:00"), "when.time_window.to", "unsupported_value"),
    (window(to="٠٦:٠٠"), "when.time_window.to", "unsupported_value"),
    (window(days=[]), "when.time_window.days", "no_effect"),
    (window(days="mon"), "when.time_window.days", "wrong_type"),
    (window(days=["mon", "Tue"]), "when.time_window.days[1]", "unsupported_value"),
    (window(days=["mon", "mon"]), "when.time_window.days[1]", "duplicate_value"),
    (window(tz=None), "when.time_window.tz", "wrong_type"),
    (window(tz="Europe/Nowhere"), "when.time_window.tz", "unsupported_value"),
    (window(tz="Europe"), "when.time_window.tz", "unsupported_value"),
    (window(tz="../../etc/passwd"), "when.time_window.tz", "unsupported_value"),
    (window(tz="/etc/localtime"), "when.time_window.tz", "unsupported_value"),
    (window(hours=5), "when.time_window.hours", "unknown_key"),
    (when(any_of={}), "when.any_of", "wrong_type"),
    (when(any_of=None), "when.any_of", "wrong_type"),
    (when(any_of=[{}, None]), "when.any_of[1]", "wrong_type"),
    (when(any_of=[{"tag_equals": ""}]), "when.any_of[0].tag_equals", "blank_value"),
    (when(any_of=[{}] * 65), "when.any_of", "too_many"),
    (when(any_of=[{"tag_equals": f"t{n}"} for n in range(64)], has_tools=True), "when", "too_many"),
    (when(**{"not": []}), "when.not", "wrong_type"),
    (when(**{"not": {"nope": 1}}), "when.not.nope", "unknown_key"),
    (when(**{"not": {"not": {"not": {"not": {}}}}}), "when.not.not.not.not", "too_deep"),
    (when(any_of=[{"not": {"any_of": [{"not": {}}]}}]), "when.any_of[0].not.any_of[0].not", "too_deep"),
    # the action
    (raw_route(then={}), "then.target_model", "no_effect"),
    (raw_route(then={"target_model": None}), "then.target_model", "no_effect"),
    (raw_route(then={"traffic_pct": 50}), "then.target_model", "no_effect"),
    (raw_route(then={"disable_cache": False, "fallbacks": []}), "then.target_model", "no_effect"),
    (raw_route(then=[]), "then", "wrong_type"),
    (raw_route(then={"nope": 1}), "then.nope", "unknown_key"),
    (raw_route(then={"target_model": " "}), "then.target_model", "blank_value"),
    (raw_route(then={"target_model": "a\r\nX-Header: b"}), "then.target_model", "unsupported_value"),
    (then(shadow_model=" "), "then.shadow_model", "blank_value"),
    (then(provider=5), "then.provider", "wrong_type"),
    (raw_route(then={"disable_cache": True, "provider": "azure"}), "then.provider", "conflict"),
    (then(traffic_pct=-1), "then.traffic_pct", "out_of_range"),
    (then(traffic_pct=101), "then.traffic_pct", "out_of_range"),
    (then(traffic_pct=50.0), "then.traffic_pct", "wrong_type"),
    (then(traffic_pct=True), "then.traffic_pct", "wrong_type"),
    (then(split=[arm("a"), arm("b")]), "then.target_model", "conflict"),
    (split("ab"), "then.split", "wrong_type"),
    (split([arm("a")]), "then.split", "out_of_range"),
    (split([arm(str(n)) for n in range(11)]), "then.split", "too_many"),
    (split([arm("a"), arm("a")]), "then.split[1].target_model", "duplicate_value"),
    (split([arm("a"), arm(" ")]), "then.split[1].target_model", "blank_value"),
    (split([arm("a"), arm("b", 0)]), "then.split[1].weight", "out_of_range"),
    (split([arm("a"), arm("b", 10_001)]), "then.split[1].weight", "out_of_range"),
    (split([arm("a"), arm("b", 1.0)]), "then.split[1].weight", "wrong_type"),
    (split([arm("a"), {"weight": 1}]), "then.split[1].target_model", "missing"),
    (split([arm("a"), {"target_model": "b"}]), "then.split[1].weight", "missing"),
    (split([arm("a"), arm("b") | {"share": 1}]), "then.split[1].share", "unknown_key"),
    (raw_route(then={"split": [arm("a"), arm("b")], "provider": "azure"}), "then.provider", "conflict"),
    (refuse(status=399), "then.refuse.status", "out_of_range"),
    (refuse(status=500), "then.refuse.status", "out_of_range"),
    (refuse(status="403"), "then.refuse.status", "wrong_type"),
    (refuse(code=""), "then.refuse.code", "blank_value"),
    (refuse(code="c" * 65), "then.refuse.code", "out_of_range"),
    (refuse(message="a\nb"), "then.refuse.message", "unsupported_value"),
    (refuse(status=...), "then.refuse.status", "missing"),
    (refuse(code=...), "then.refuse.code", "missing"),
    (refuse(message=...), "then.refuse.message", "missing"),
    (refuse(extra=1), "then.refuse.extra", "unknown_key"),
    (raw_route(then={"refuse": True}), "then.refuse", "wrong_type"),
    *(
        (raw_route(then=refuse()["then"] | {key: value}), f"then.{key}", "conflict")
        for key, value in {
            "target_model": "a",
            "fallbacks": ["a"],
            "disable_cache": True,
            "max_cost_usd": 1,
            "traffic_pct": 5,
            "split": [{"target_model": "a", "weight": 1}, {"target_model": "b", "weight": 1}],
            "shadow_model": "a",
        }.items()
    ),
    (then(fallbacks="a"), "then.fallbacks", "wrong_type"),
    (then(fallbacks=["a", "a"]), "then.fallbacks[1]", "duplicate_value"),
    (then(fallbacks=["a", "small"]), "then.fallbacks[1]", "duplicate_primary_fallback"),
    (then(fallbacks=[str(n) for n in range(257)]), "then.fallbacks", "too_many"),
    (then(disable_cache=None), "then.disable_cache", "wrong_type"),
    (then(max_cost_usd=0), "then.max_cost_usd", "out_of_range"),
    (then(max_cost_usd=0.0), "then.max_cost_usd", "out_of_range"),
    (then(max_cost_usd=-1), "then.max_cost_usd", "out_of_range"),
    (then(max_cost_usd=[1]), "then.max_cost_usd", "wrong_type"),
    # meta
    (raw_route(meta=None), "meta", "wrong_type"),
    (raw_route(meta={"x-": 1}), "meta.x-", "unknown_key"),
    (raw_route(meta={"colour": "red"}), "meta.colour", "unknown_key"),
    (raw_route(meta={"description": "d" * 2_001}), "meta.description", "out_of_range"),
    (raw_route(meta={"owner": ""}), "meta.owner", "blank_value"),
    (raw_route(meta={"owner": ["me"]}), "meta.owner", "wrong_type"),
    (raw_route(meta={"labels": []}), "meta.labels", "wrong_type"),
    (raw_route(meta={"labels": ["a"]}), "meta.labels", "wrong_type"),
    (raw_route(meta={"labels": {"k": 1}}), "meta.labels.k", "wrong_type"),
    (raw_route(meta={"labels": {"": "v"}}), "meta.labels.", "blank_value"),
    (raw_route(meta={"link": "javascript:alert(1)"}), "meta.link", "unsupported_value"),
    (raw_route(meta={"link": "https://a b"}), "meta.link", "unsupported_value"),
    (raw_route(meta={"link": "//example.org"}), "meta.link", "unsupported_value"),
    (raw_route(meta={"link": 5}), "meta.link", "wrong_type"),
    (raw_route(meta={"x-y": "x" * 4_095}), "meta.x-y", "out_of_range"),
    (raw_route(meta={"x-y": NAN}), "meta.x-y", "unsupported_value"),
    (raw_route(meta={"x-y": 2**53}), "meta.x-y", "unsupported_value"),
    (raw_route(meta={"x-y": {"a": ["\x00"]}}), "meta.x-y", "unsupported_value"),
    (raw_route(meta={"x-y": {"\u2028": 1}}), "meta.x-y", "unsupported_value"),
    (raw_route(meta={"x-\n": 1}), "meta.x-\n", "unsupported_value"),
]


@pytest.mark.parametrize(("raw", "path", "code"), REFUSED, ids=[f"{path} {code}" for _, path, code in REFUSED])
def test_a_wrong_value_is_refused_at_its_path_with_its_code(raw: Any, path: str, code: str) -> None:
    assert issues_of(raw) == [(path, code)]


@pytest.mark.parametrize("number", [1e17, -(2.0**53)])
def test_a_number_that_is_refused_as_an_integer_is_refused_as_a_float(number: float) -> None:
    assert issues_of(when(numbers={"n": {"gt": number}})) == [("when.numbers.n.gt", "out_of_range")]


def test_a_refusal_beside_a_share_of_nothing_is_a_conflict_too() -> None:
    assert issues_of(raw_route(then=refuse()["then"] | {"traffic_pct": 0})) == [("then.traffic_pct", "conflict")]


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
        when(prompt_matches_any_of=["x" * 512, r"\bsal\w+", "(?i)é"]),
        when(model_matches=["*", "*" * 512]),
        when(metadata=names(256)),
        when(headers={"x-a_b.c~1": ["a"], "content-type": ["b"]}),
        when(numbers={"n": {"gt": 5e-324, "lt": 2**53 - 1}, "m": {"gt": -(2**53) + 1}, "o": {"gt": None, "lt": 0}}),
        when(any_of=[{"tag_equals": f"t{n}"} for n in range(64)]),
        when(any_of=[], metadata={}, headers={}, numbers={}, time_window=None, **{"not": None}),
        when(**{"not": {"any_of": [{"not": {"has_tools": True}}]}}),
        when(**{"not": {}}),
        window(days=["sun", "mon"], to="22:00"),
        window(**{"from": "00:00", "to": "23:59", "tz": "UTC"}),
        then(traffic_pct=0, provider="azure", shadow_model="s"),
        then(traffic_pct=100),
        then(split=[], refuse=None, provider=None),
        split([arm(str(n), 10_000) for n in range(10)]),
        raw_route(then={"shadow_model": "s"}),
        raw_route(then={"max_cost_usd": 1, "traffic_pct": 5}),
        refuse(status=400, code="c" * 64, message="m" * 512),
        refuse(status=499),
        raw_route(active_from=None, active_until=None, paused=False),
        raw_route(active_from="2026-11-21t08:00:00.123456789+23:59", active_until=NOON),
        raw_route(active_until="9998-12-31T23:59:59Z", active_from="0002-01-01T00:00:00Z"),
        raw_route(meta={}),
        raw_route(meta={"description": None, "owner": None, "labels": None, "link": None}),
        raw_route(
            meta={"description": "d" * 2_000, "labels": {}, "link": "HTTPS://wiki.example/a?b#c", "x-y": "x" * 4_094}
        ),
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


def nested(levels: int) -> dict[str, Any]:
    conditions: dict[str, Any] = {"has_tools": True}
    for _ in range(levels - 1):
        conditions = {"not": conditions}
    return conditions


def meta_of(size: int) -> dict[str, Any]:
    return raw_route(meta={"x-y": "x" * (size - 2)})


@pytest.mark.parametrize(
    ("longer", "longest", "code"),
    [
        (when(model_in=[f"m{n}" for n in range(512)]), when(model_in=[f"m{n}" for n in range(513)]), "too_many"),
        (when(tag_equals="t" * 1_024), when(tag_equals="t" * 1_025), "out_of_range"),
        (when(model_matches=["*" * 1_024]), when(model_matches=["*" * 1_025]), "out_of_range"),
        (when(metadata=names(512)), when(metadata=names(513)), "too_many"),
        (when(any_of=[{"has_tools": True}] * 128), when(any_of=[{"has_tools": True}] * 129), "too_many"),
        (when(**nested(8)), when(**nested(9)), "too_deep"),
        (when(any_of=[nested(7)]), when(any_of=[nested(8)]), "too_deep"),
        (meta_of(8_192), meta_of(8_193), "out_of_range"),
    ],
)  # fmt: skip
def test_a_load_accepts_twice_the_lengths_of_a_write(longer: Any, longest: Any, code: str) -> None:
    assert [found for _, found in issues_of(longer)] == [code]
    assert read_route(longer, ON_LOAD).id == longer["id"]
    with pytest.raises(InvalidRoute) as caught:
        read_route(longest, ON_LOAD)
    assert [issue["code"] for issue in caught.value.issues] == [code]


def test_atoms_are_counted_through_groups_which_themselves_are_none() -> None:
    two = {"tag_equals": "t", "has_tools": True, "input_tokens_lt": None, "model_in": []}
    conditions = {"any_of": [two] * 15, "not": {"any_of": [two] * 16, "is_stream": False}}
    assert count_atoms(Conditions.from_dict(conditions)) == 63
    assert Conditions.from_dict(conditions | {"has_audio": True})
    with pytest.raises(InvalidRoute, match="64 conditions"):
        Conditions.from_dict(conditions | {"has_audio": True, "metadata": {"a": ["1"], "b": ["2"]}})


@pytest.mark.parametrize("raw", [when(prompt_matches_any_of=["a"]), window(tz="Europe/Berlin")], ids=["RE2", "zone"])
def test_what_this_machine_lacks_is_named_when_it_is_written_and_when_it_is_loaded(
    raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    monkeypatch.setattr("zoneinfo.ZoneInfo", lambda name: {}[name])
    zone_named.cache_clear()
    [(_, code)] = issues_of(raw)
    assert code == ("unsupported_value" if "time_window" in raw["when"] else "needs_extra")
    with pytest.raises(InvalidRoute, match=r"install (routing-engine\[regex\]|tzdata)") as caught:
        read_route(raw, ON_LOAD)
    assert [issue["code"] for issue in caught.value.issues] == ["needs_extra"]
    # What is written out was read, or built, where it was there.
    built = Conditions(prompt_matches_any_of=["("], time_window=TimeWindow("22:00", "06:00", "Europe/Nowhere"))
    assert built.to_dict()["prompt_matches_any_of"] == ["("]


@unhurried
@given(raw_routes)
def test_a_canonical_route_is_written_as_it_was_read(raw: dict[str, Any]) -> None:
    assert Route.from_dict(raw).to_dict() == canonical_route(raw) == raw
    without_id = {key: value for key, value in raw.items() if key != "id"}
    assert NewRoute.from_dict(without_id).to_dict() == without_id


@given(json_values)
def test_reading_any_json_value_gives_a_route_or_its_issues(value: Any) -> None:
    for raw in (value, raw_route(when=value), raw_route(then=value), raw_route(name=value, priority=value, id=value)):
        try:
            read = Route.from_dict(raw)
        except InvalidRoute:
            continue
        assert Route.from_dict(read.to_dict()) == read


# --- What a hostile value may cost --------------------------------------------------------------------------------------


def test_of_very_many_issues_a_thousand_are_kept_and_the_rest_is_counted() -> None:
    raw = when(metadata={f"k{n}": [0] * 256 for n in range(60)})
    with pytest.raises(InvalidRoute) as caught:
        Route.from_dict(raw)
    assert len(caught.value.issues) == 1_001
    assert caught.value.issues[-1] == {
        "path": "", "code": "too_many", "message": "14,360 more things are wrong: mend these first.",
    }  # fmt: skip
    assert len(str(caught.value)) < 3_000
    assert str(caught.value).endswith("; and 981 more")
    with pytest.raises(InvalidRoute) as caught:
        read_route(raw, ON_LOAD)
    assert len(caught.value.issues) == 101


def test_what_this_machine_lacks_is_not_lost_among_many_issues(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    raw = when(metadata={f"k{n}": [0] * 256 for n in range(4)}, any_of=[{"prompt_matches_any_of": ["a"] * 1}])
    with pytest.raises(InvalidRoute) as caught:
        read_route(raw, ON_LOAD)
    assert "needs_extra" in [issue["code"] for issue in caught.value.issues]


def test_values_are_not_built_of_parts_whose_issues_were_not_kept() -> None:
    numbers = {f"n{n}": {"gt": "x", "lt": None} for n in range(200)}
    with pytest.raises(InvalidRoute, match="and 81 more"):
        read_route(when(metadata={"k": [0] * 200}, numbers=numbers, time_window={"from": 1, "days": 5}), ON_LOAD)


def test_patterns_that_compile_to_much_are_refused_before_all_are_compiled() -> None:
    large = [rf"\pL{{18}}{n}" for n in range(64)]
    assert ("when.prompt_matches_any_of", "too_many") in issues_of(when(prompt_matches_any_of=large))
    refused = [rf"\pL{{900}}{n}" for n in range(200)]
    issues = issues_of(when(prompt_matches_any_of=refused))
    assert issues[-1] == ("when.prompt_matches_any_of", "too_many")
    assert 50 < len(issues) < 100
    usual = [rf"(?i)\b(salary|invoice|refund{n})\b.{{0,40}}[0-9]{{4}}" for n in range(250)]
    assert Route.from_dict(when(prompt_matches_any_of=usual))
