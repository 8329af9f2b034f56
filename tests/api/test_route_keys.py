"""All keys of a route over HTTP, the default, lint, and every fact of `decide/`."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from audit.models import AuditEntry
from routes import engine
from routes.document import document_of
from routes.orgs.models import Organization, new_id
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import a_route, an_org, usual_prices

pytestmark = pytest.mark.django_db
FULL: dict[str, Any] = {
    "name": "full",
    "priority": 7,
    "enabled": True,
    "paused": True,
    "active_from": "2026-05-01T00:00:00.000000Z",
    "active_until": "2027-05-01T00:00:00.000000Z",
    "when": {
        "model_in": [],
        "input_tokens_lt": None,
        "input_tokens_gt": None,
        "tag_equals": None,
        "model_matches": ["gpt-*"],
        "metadata": {"team": ["a", "b"]},
        "numbers": {"budget_share": {"gt": 0.2, "lt": 0.8}},
        "time_window": {"days": ["mon"], "from": "22:00", "to": "06:00", "tz": "Europe/Berlin"},
        "any_of": [
            {"model_in": [], "input_tokens_lt": None, "input_tokens_gt": None, "tag_equals": "a"},
            {
                "model_in": [],
                "input_tokens_lt": None,
                "input_tokens_gt": None,
                "tag_equals": None,
                "not": {
                    "model_in": [],
                    "input_tokens_lt": 5,
                    "input_tokens_gt": None,
                    "tag_equals": None,
                },
            },
        ],
    },
    "then": {
        "fallbacks": ["x"],
        "traffic_pct": 0,
        "split": [{"target_model": "a", "weight": 1}, {"target_model": "b", "weight": 99}],
    },
    "meta": {"description": "why", "labels": {"stage": "trial"}, "link": "https://x.example", "x-n": [1, {"a": 0.5}]},
}
UNSUPPORTED = "unsupported_value"
DEFAULTS = {"paused": False, "active_from": None, "active_until": None, "meta": {}, "priority": 100, "enabled": True}


# --- Routes -----------------------------------------------------------------------------------------------------------


def test_every_key_is_taken_answered_and_published(editor: Caller, org: Organization) -> None:
    made = editor("post", "routes/", FULL).json()["route"]
    assert {key: made[key] for key in FULL} == FULL
    assert editor("get", f"routes/{made['id']}/").json() == made
    assert document_of(org).content["routes"] == [{"id": made["id"], **FULL}]
    again = editor("put", f"routes/{made['id']}/", FULL).json()
    assert again["changed"] is False


def test_a_route_with_defaults_answers_them_and_publishes_none(editor: Caller, org: Organization) -> None:
    made = editor("post", "routes/", {"name": "plain", "then": {"target_model": "m"}}).json()["route"]
    assert {key: made[key] for key in DEFAULTS} == DEFAULTS
    assert set(document_of(org).content["routes"][0]) == {"id", "name", "priority", "enabled", "when", "then"}


@pytest.mark.parametrize("key", list(DEFAULTS))
def test_a_patch_of_null_is_the_default_and_touches_nothing_else(editor: Caller, key: str) -> None:
    made = editor("post", "routes/", {**FULL, "enabled": False}).json()["route"]
    patched = editor("patch", f"routes/{made['id']}/", {key: None}).json()["route"]
    assert patched[key] == DEFAULTS[key]
    rest = {name: value for name, value in made.items() if name not in (key, "revision", "updated_at")}
    assert {name: patched[name] for name in rest} == rest


@pytest.mark.parametrize(
    ("change", "pointer", "code"),
    [
        ({"name": None}, "/name", "missing"),
        ({"then": None}, "/then", "missing"),
        ({"unheard_of": None}, "/unheard_of", "unknown_key"),
        ({"paused": 1}, "/paused", "wrong_type"),
        ({"active_until": "2026-04-01T00:00:00Z"}, "/active_until", "conflict"),
        ({"active_from": "2026-04-01T00:00:00"}, "/active_from", UNSUPPORTED),
        ({"meta": {"link": "javascript:x"}}, "/meta/link", UNSUPPORTED),
        ({"meta": {"y": 1}}, "/meta/y", "unknown_key"),
        ({"when": {"any_of": [{}, {"not": {"tag_equals": 5}}]}}, "/when/any_of/1/not/tag_equals", "wrong_type"),
        ({"when": {"prompt_matches_any_of": ["("]}}, "/when/prompt_matches_any_of/0", "bad_pattern"),
        ({"when": {"time_window": {"from": "8", "to": "09:00", "tz": "UTC"}}}, "/when/time_window/from", UNSUPPORTED),
        ({"then": {"split": [{"target_model": "a", "weight": 1}]}}, "/then/split", "out_of_range"),
        ({"then": {"refuse": {"status": 500, "code": "c", "message": "m"}}}, "/then/refuse/status", "out_of_range"),
        ({"then": {"provider": "x", "disable_cache": True}}, "/then/provider", "conflict"),
    ],
    ids=str,
)  # fmt: skip
def test_a_patch_that_the_engine_refuses_changes_nothing(
    editor: Caller, org: Organization, change: dict[str, Any], pointer: str, code: str
) -> None:
    id = editor("post", "routes/", FULL).json()["route"]["id"]
    body = problem(editor("patch", f"routes/{id}/", change), 422, "invalid_route")
    assert [(error["pointer"], error["code"]) for error in body["errors"]] == [(pointer, code)]
    assert document_of(org).version == 1


@pytest.mark.parametrize("write", [str.upper, lambda id: id.replace("-", ""), "{{{}}}".format, "urn:uuid:{}".format])
def test_an_id_in_a_url_may_be_written_in_any_way_that_is_read(
    editor: Caller, org: Organization, write: Callable[[str], str]
) -> None:
    id = editor("post", "routes/", FULL).json()["route"]["id"]
    path = f"routes/{write(id)}/"
    for answer in (
        editor("put", path, {**FULL, "priority": 1}),
        editor("put", path, {**FULL, "id": id.upper(), "priority": 2}),
        editor("patch", path, {"priority": 3}),
        editor("patch", path, {"id": None, "priority": 4}),
    ):
        assert (answer.status_code, answer.json().get("changed")) == (200, True), answer.json()
        assert answer.json()["route"]["id"] == id
    assert editor("delete", path).status_code == 200
    targets = AuditEntry.objects.filter(target_type="route").values_list("target_id", flat=True)
    assert set(targets) == {id}, "the log names it in one way"


def test_an_unknown_route_is_told_before_the_body_is_looked_at(editor: Caller) -> None:
    problem(editor("put", f"routes/{new_id()}/", [5]), 404, "not_found")


def test_true_and_one_are_two_values(editor: Caller, org: Organization) -> None:
    id = editor("post", "routes/", {**FULL, "meta": {"x-a": 1, "x-b": [0]}}).json()["route"]["id"]
    meta = {"x-a": True, "x-b": [False]}
    assert editor("patch", f"routes/{id}/", {"meta": meta}).json()["changed"] is True
    answered = editor("get", f"routes/{id}/").json()["meta"]
    assert json.dumps(answered) == json.dumps(meta) == json.dumps(document_of(org).content["routes"][0]["meta"])
    assert editor("patch", f"routes/{id}/", {"meta": {"x-a": True, "x-b": [False]}}).json()["changed"] is False


def test_a_write_answers_the_findings_that_name_its_route(editor: Caller) -> None:
    usual_prices()
    first = editor("post", "routes/", {"name": "all", "priority": 900, "then": {"target_model": "gpt-4o"}}).json()
    assert first["lint"] == []
    second = editor("post", "routes/", {"name": "late", "then": {"target_model": "gpt-4o"}}).json()
    assert [finding["code"] for finding in second["lint"]] == ["shadowed"]
    assert second["lint"][0]["by"] == [first["route"]["id"]]
    again = editor("patch", f"routes/{first['route']['id']}/", {"then": {"target_model": "unheard-of"}}).json()
    assert [finding["code"] for finding in again["lint"]] == ["unknown_target"], "not those of other routes"
    every = editor("get", "routes/lint/").json()["results"]
    assert {finding["code"] for finding in every} == {"shadowed", "unknown_target"}


def test_lint_without_prices_says_nothing_of_models_and_with_a_foreign_one_neither(
    viewer: Caller, org: Organization
) -> None:
    a_route(org)
    a_route(an_org("other"), then={"target_model": "unheard-of"})
    assert viewer("get", "routes/lint/").json() == {"results": []}


# --- The default ------------------------------------------------------------------------------------------------------


def test_a_default_is_set_read_published_and_removed(editor: Caller, viewer: Caller, org: Organization) -> None:
    assert viewer("get", "routes/default/").json() == {"default": None}
    put = editor("put", "routes/default/", {"target_model": "small", "max_cost_usd": 0.5})
    action = {"target_model": "small", "max_cost_usd": 0.5}
    assert (put.json()["default"], put.json()["version"], put.json()["changed"]) == (action, 1, True)
    assert viewer("get", "routes/default/").json() == {"default": action}
    assert viewer("get", "snapshot/").json()["content"]["default"] == action
    decided = viewer("post", "decide/", {"context": {"model": "big"}}).json()["decision"]
    assert (decided["reason"], decided["target_model"]) == ("default", "small")
    assert editor("put", "routes/default/", action).json()["changed"] is False
    null = editor("put", "routes/default/", b"null").json()
    assert (null["default"], null["version"]) == (None, 2)
    editor("put", "routes/default/", action)
    assert editor("delete", "routes/default/").json()["default"] is None
    assert document_of(org).content["default"] is None


@pytest.mark.parametrize(
    ("body", "pointer"),
    [({}, "/target_model"), ([], ""), (5, ""), ({"target": "m"}, "/target"), ({"max_cost_usd": -1}, "/max_cost_usd")],
    ids=str,
)
def test_a_default_that_is_no_action_is_refused(editor: Caller, org: Organization, body: Any, pointer: str) -> None:
    refused = problem(editor("put", "routes/default/", body), 422, "invalid_route")
    assert pointer in [error["pointer"] for error in refused["errors"]]
    assert document_of(org).version == 0


def test_a_viewer_sets_no_default(viewer: Caller) -> None:
    problem(viewer("put", "routes/default/", {"target_model": "m"}), 403, "forbidden")
    problem(viewer("delete", "routes/default/"), 403, "forbidden")


# --- Trying a request -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "yes", "no"),
    [
        ({"metadata": {"team": ["a"]}}, {"metadata": {"team": "a"}}, {"metadata": {"team": "b"}}),
        ({"headers": {"x-y": ["a"]}}, {"headers": {"X-Y": ["b", "a"]}}, {"headers": {"x-y": "b"}}),
        ({"numbers": {"n": {"gt": 0.5}}}, {"numbers": {"n": 0.6}}, {"numbers": {"n": 0.5}}),
        ({"has_tools": True}, {"has_tools": True}, {"has_tools": False}),
        ({"is_stream": False}, {"is_stream": False}, {"is_stream": True}),
        (
            {"time_window": {"from": "08:00", "to": "09:00", "tz": "Europe/Berlin"}},
            {"at": "2026-06-01T06:30:00Z"},
            {"at": "2026-06-01T09:30:00+01:00"},
        ),
    ],
    ids=lambda value: next(iter(value)),
)
def test_decide_takes_every_fact(
    viewer: Caller, org: Organization, when: dict[str, Any], yes: dict[str, Any], no: dict[str, Any]
) -> None:
    a_route(org, when=when)
    reasons = [viewer("post", "decide/", {"context": facts}).json()["decision"]["reason"] for facts in (yes, no)]
    assert reasons == ["matched", "no_match"]


@pytest.mark.parametrize(
    ("fact", "condition"),
    [("tag", {"tag_equals": "a"}), ("metadata", {"metadata": {"t": ["a"]}}), ("headers", {"headers": {"t": ["a"]}})],
)
@pytest.mark.parametrize(
    ("absent", "reason"), [({}, "matched"), ({"...": None}, "matched"), ({"unknown": ["...", "..."]}, "no_match")]
)
def test_a_fact_that_is_absent_is_known_to_be_and_one_that_is_unknown_is_not(
    viewer: Caller, org: Organization, fact: str, condition: Any, absent: Any, reason: str
) -> None:
    a_route(org, when={"not": condition})
    context = json.loads(json.dumps(absent).replace("...", fact))
    assert viewer("post", "decide/", {"context": context}).json()["decision"]["reason"] == reason


def test_shares_and_splits_are_drawn_from_the_sticky_key_and_else_from_the_id(
    viewer: Caller, org: Organization
) -> None:
    then = {"split": [{"target_model": "a", "weight": 1}, {"target_model": "b", "weight": 1}]}
    row = a_route(org, when={}, then=then)
    alone = engine.Engine([engine.Route.from_dict(row.as_document())])
    for key in map(str, range(12)):
        expected = alone.decide(engine.RequestContext(sticky_key=key)).target_model
        for context in ({"sticky_key": key}, {"request_id": key}, {"sticky_key": key, "request_id": "other"}):
            assert viewer("post", "decide/", {"context": context}).json()["decision"]["target_model"] == expected


def test_a_route_can_be_asked_for_by_name(viewer: Caller, org: Organization) -> None:
    a_route(org, "mini", when={"tag_equals": "never"})
    forced = viewer("post", "decide/", {"force": "mini"}).json()
    assert (forced["decision"]["reason"], forced["decision"]["target_model"]) == ("forced", "gpt-4o-mini")
    assert forced["routes"][0]["outcome"] == "conditions"
    assert viewer("post", "decide/", {"force": "maxi"}).json()["decision"]["reason"] == "forced_not_found"


def test_explanations_of_nested_conditions_have_their_paths(viewer: Caller, org: Organization) -> None:
    a_route(org, when={"any_of": [{"tag_equals": "a"}, {"not": {"has_images": True}}]})
    (route,) = viewer("post", "decide/", {"context": {"tag": "b"}}).json()["routes"]
    assert {entry["path"]: entry["result"] for entry in route["conditions"]} == {
        "when.any_of": "unknown",
        "when.any_of[0].tag_equals": "false",
        "when.any_of[1].not": "unknown",
        "when.any_of[1].not.has_images": "unknown",
    }


def test_everything_that_is_wrong_with_a_request_is_named_at_once(viewer: Caller) -> None:
    wrong = {
        "model": 5, "input_tokens": -1, "tag": 1, "prompt": [], "has_tools": "yes", "is_stream": 0, "numbers": {"a": True},
        "estimated_cost_usd": 2_000_000, "upstream_latency_ms_p95": 1.5, "metadata": {"a": 1}, "headers": {"a": [1]},
        "at": "2026-06-01T06:30:00", "request_id": 1, "sticky_key": {}, "unknown": ["model"],
    }  # fmt: skip
    body = {"context": {**wrong, "unheard_of": 1}, "chat": 1, "force": 5, "else": 1}
    found = problem(viewer("post", "decide/", body), 422, "invalid_request")
    pointers = {error["pointer"] for error in found["errors"]}
    assert pointers == {f"/context/{name}" for name in [*wrong, "unheard_of"]} | {"/chat", "/force", "/else"}


@pytest.mark.parametrize(
    "context",
    [
        {"tag": "a", "unknown": ["tag"]},
        {"numbers": {"a": 10**400}},
        {"at": "0001-01-01T00:00:00Z"},
        {"at": "2026-02-30T00:00:00Z"},
        {"at": 5},
        {"metadata": []},
        {"headers": "x"},
        {"unknown": "tag"},
        {"unknown": [["tag"]]},
    ],
    ids=lambda context: str(context)[:50],
)
def test_an_odd_fact_is_refused_with_its_pointer(viewer: Caller, context: dict[str, Any]) -> None:
    found = problem(viewer("post", "decide/", {"context": context}), 422, "invalid_request")
    assert [error["pointer"] for error in found["errors"]] == [f"/context/{next(iter(context))}"]


@pytest.mark.parametrize(
    ("when", "at"),
    [
        ({"metadata": {"a.b[0].c": [""]}}, "/when/metadata/a.b[0].c/0"),
        ({"metadata": {"a": ["x"], "a.b": [""]}}, "/when/metadata/a.b/0"),
        ({"metadata": {"x/y~z.": [""]}}, "/when/metadata/x~1y~0z./0"),
        ({"any_of": [{"metadata": {"[1]": [""]}}]}, "/when/any_of/0/metadata/[1]/0"),
        ({"numbers": {"share.of.budget": {"gt": "x"}}}, "/when/numbers/share.of.budget/gt"),
        ({"model_in": ["a", ""]}, "/when/model_in/1"),
    ],
)
def test_a_pointer_leads_to_names_with_dots_and_brackets(editor: Caller, when: dict[str, Any], at: str) -> None:
    answer = editor("post", "routes/", {"name": "r", "when": when, "then": {"target_model": "m"}})
    assert [error["pointer"] for error in answer.json()["errors"]] == [at]
