"""A chat completion on its way: who may ask, who is asked, what comes back, and what is noted."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from routes.engine import Refusal
from routes.engine.errors import UpstreamFailed, UpstreamTimeout
from routes.gateway.llm.body import MAX_BODY_BYTES
from routes.gateway.llm.providers import Providers
from tests.routes.gateway.llm.scene import (
    EXPIRED,
    FORCING,
    KEY,
    ORG,
    DeadStore,
    Reply,
    Scene,
    a_body,
    a_route,
    answer,
)
from tests.routes.gateway.loops import in_a_loop

HAIKU = "claude-haiku"


# --- Who may ask ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "rk_traffic_a_2", "", EXPIRED, f"{KEY} {KEY}", "ä"])
@in_a_loop
async def test_who_has_no_valid_key_is_refused_and_nobody_is_asked(key: str | None) -> None:
    scene = Scene()
    said = await scene.ask(key=key)
    assert (said.status, said.json["error"], said.json["retryable"]) == (401, "auth_failed", False)
    assert said.header("x-request-id") == said.json["request_id"]
    assert scene.client.sent == []
    assert scene.rows == []


@in_a_loop
async def test_two_keys_are_none() -> None:
    said = await Scene().ask(headers=[(b"authorization", f"Bearer {KEY}".encode())])
    assert said.status == 401


@in_a_loop
async def test_a_gateway_that_knows_no_keys_yet_says_so() -> None:
    scene = Scene()
    scene.directory = None
    said = await scene.ask()
    assert (said.status, said.json["error"], said.json["retryable"]) == (503, "store_unavailable", True)


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [(b"{}", 400, "malformed_request"), (b'{"model":"a","model":"b"}', 400, "malformed_request"),
     (b" " * (MAX_BODY_BYTES + 1), 413, "payload_too_large")],
)  # fmt: skip
@in_a_loop
async def test_a_body_that_is_none_is_refused(data: bytes, status: int, code: str) -> None:
    scene = Scene()
    said = await scene.ask(data)
    assert (said.status, said.json["error"]) == (status, code)
    assert scene.client.sent == []


# --- Who is asked -----------------------------------------------------------------------------------------------------


@in_a_loop
async def test_what_no_route_takes_goes_on_as_it_came() -> None:
    scene = Scene(a_route("other", when={"tag_equals": "other"}, target_model="gpt-4o-mini"))
    body = json.dumps(a_body(), indent=3).encode()
    said = await scene.ask(body)
    (sent,) = scene.client.sent
    assert (said.status, said.data) == (200, answer())
    assert (sent.url, sent.body) == ("https://openai.example/v1/chat/completions", a_body())
    assert said.header("x-served-model") == "gpt-4o"
    assert said.header("x-route-version") == "1"
    assert said.header("x-route-id") is None


@in_a_loop
async def test_a_route_changes_the_model_and_the_answer_names_route_version_and_model() -> None:
    route = a_route("cheap", when={"model_in": ["gpt-4o"], "input_tokens_lt": 101}, target_model="gpt-4o-mini")
    scene = Scene(route)
    said = await scene.ask()
    assert scene.client.sent[0].body == a_body("gpt-4o-mini")
    assert (said.header("x-served-model"), said.header("x-route-id")) == ("gpt-4o-mini", route.id)


@in_a_loop
async def test_no_key_of_ours_no_cookie_and_no_address_goes_to_a_provider_but_its_own_key() -> None:
    scene = Scene()
    given = [(b"cookie", b"a=1"), (b"x-routing-tag", b"t"), (b"x-forwarded-for", b"1.2.3.4"), (b"user-agent", b"sdk/1")]
    await scene.ask(headers=[*given, (b"x-api-key", b"rk_traffic_a_1"), (b"openai-beta", b"b")])
    sent = dict(scene.client.sent[0].headers)
    assert sent.pop(b"content-length")
    assert sent == {
        b"user-agent": b"sdk/1",
        b"openai-beta": b"b",
        b"content-type": b"application/json",
        b"accept-encoding": b"identity",
        b"authorization": b"Bearer sk-1",
    }


@in_a_loop
async def test_a_route_that_refuses_answers_with_its_own_words() -> None:
    scene = Scene(a_route("no", refuse=Refusal(429, "too_many_words", "Send fewer words.")))
    said = await scene.ask()
    assert said.status == 429
    assert said.json == {
        "error": "too_many_words", "message": "Send fewer words.", "retryable": False,
        "request_id": "018f0000-0000-7000-8000-0000000000ff",
    }  # fmt: skip
    assert scene.client.sent == []
    assert (scene.row["status"], scene.row["reason"], scene.row["output_tokens"]) == (429, "refused", 0)
    assert "synthetic" not in scene.row


@pytest.mark.parametrize(("key", "model"), [(FORCING, "gpt-4o-mini"), (KEY, "gpt-4o")])
@in_a_loop
async def test_a_header_forces_a_route_for_keys_that_may(key: str, model: str) -> None:
    scene = Scene(a_route("cheap", when={"tag_equals": "never"}, target_model="gpt-4o-mini"))
    await scene.ask(key=key, headers=[(b"x-routing-force", b"cheap")])
    assert scene.client.sent[0].body["model"] == model


# --- What may be tried after it ---------------------------------------------------------------------------------------

FAILURES = [
    Reply(error=UpstreamFailed("refused")),
    Reply(error=UpstreamTimeout("hung")),
    Reply(429, [b"slow down"]),
    Reply(500, [b"oops"]),
    Reply(503, []),
    Reply(200, [UpstreamFailed("cut before the first byte")]),
]


@pytest.mark.parametrize("failure", FAILURES, ids=lambda reply: f"{reply.status}-{type(reply.error).__name__}")
@in_a_loop
async def test_a_failure_before_the_first_byte_goes_to_the_fallback(failure: Reply) -> None:
    scene = Scene(a_route("r", target_model="gpt-4o-mini", fallbacks=("gpt-4o", HAIKU)))
    scene.client.replies |= {"gpt-4o-mini": failure}
    said = await scene.ask()
    assert (said.status, said.data, said.header("x-served-model")) == (200, answer(), "gpt-4o")
    assert [sent.body["model"] for sent in scene.client.sent] == ["gpt-4o-mini", "gpt-4o"]
    assert (scene.row["kind"], scene.row["model"], scene.row["status"]) == ("fallback", "gpt-4o", 200)


@pytest.mark.parametrize("status", [400, 401, 404, 422])
@in_a_loop
async def test_what_a_provider_says_of_the_request_itself_is_passed_on(status: int) -> None:
    scene = Scene(a_route("r", target_model="gpt-4o-mini", fallbacks=(HAIKU,)))
    scene.client.replies["gpt-4o-mini"] = Reply(status, [b'{"error": "yours"}'])
    said = await scene.ask()
    assert (said.status, said.data) == (status, b'{"error": "yours"}')
    assert len(scene.client.sent) == 1


@in_a_loop
async def test_when_nobody_can_be_reached_the_answer_is_502() -> None:
    scene = Scene(a_route("r", target_model="gpt-4o-mini", fallbacks=(HAIKU,)))
    scene.client.replies = {name: Reply(error=UpstreamFailed("refused")) for name in ("gpt-4o-mini", HAIKU)}
    said = await scene.ask()
    assert (said.status, said.json["error"]) == (502, "upstream_failed")
    assert set(said.json) == {"error", "message", "retryable", "request_id"}
    assert said.header("x-route-id") is not None
    assert (scene.row["status"], scene.row["model"]) == (502, "gpt-4o-mini")
    assert "cost_usd" not in scene.row


@in_a_loop
async def test_the_last_ones_refusal_is_passed_on_with_its_headers() -> None:
    scene = Scene(a_route("r", target_model="gpt-4o-mini", fallbacks=(HAIKU,)))
    scene.client.replies["gpt-4o-mini"] = Reply(error=UpstreamFailed("refused"))
    scene.client.replies[HAIKU] = Reply(429, [b"slow", b" down"], [(b"retry-after", b"7"), (b"content-length", b"9")])
    said = await scene.ask()
    assert (said.status, said.data, said.header("retry-after"), said.header("content-length")) == (
        429,
        b"slow down",
        "7",
        "9",
    )
    assert scene.client.closed == 1


@in_a_loop
async def test_nothing_is_tried_after_the_first_byte() -> None:
    scene = Scene(a_route("r", target_model="gpt-4o-mini", fallbacks=(HAIKU,)))
    scene.client.replies["gpt-4o-mini"] = Reply(200, [b"first", UpstreamFailed("cut")])
    response = await scene()
    body = response.body
    assert await anext(body) == b"first"
    with pytest.raises(UpstreamFailed):
        await anext(body)
    assert len(scene.client.sent) == 1
    assert scene.row["status"] == 502


# --- Ceilings ---------------------------------------------------------------------------------------------------------

#: 100 tokens in, 100 out: gpt-4o 0.00125, gpt-4o-mini 0.000075, claude-haiku 0.0006 dollars.


@in_a_loop
async def test_dearer_models_than_the_ceiling_are_passed_over() -> None:
    scene = Scene(a_route("r", target_model="gpt-4o", fallbacks=(HAIKU, "gpt-4o-mini"), max_cost_usd=0.0005))
    said = await scene.ask()
    assert [sent.body["model"] for sent in scene.client.sent] == ["gpt-4o-mini"]
    assert said.status == 200


@pytest.mark.parametrize(("ceiling", "status"), [(0.00125, 200), (0.001249999, 402)])
@in_a_loop
async def test_what_costs_as_much_as_the_ceiling_is_asked_and_what_costs_more_is_402(
    ceiling: float, status: int
) -> None:
    scene = Scene(a_route("r", max_cost_usd=ceiling))
    said = await scene.ask()
    assert said.status == status
    if status == 402:
        assert said.json["error"] == "budget_exceeded"
        assert scene.client.sent == []
        assert scene.row["status"] == 402


@pytest.mark.parametrize(("takes", "status"), [(False, 402), (True, 200)])
@in_a_loop
async def test_a_model_without_a_price_is_too_dear_under_a_ceiling_unless_it_is_said_otherwise(
    takes: bool, status: int
) -> None:
    scene = Scene(a_route("r", target_model="gpt-new", max_cost_usd=1000), takes_unknown_prices=takes)
    assert (await scene.ask()).status == status


# --- Providers and breakers -------------------------------------------------------------------------------------------


@in_a_loop
async def test_a_model_that_nobody_serves_is_502_and_its_fallback_is_resolved_for_itself() -> None:
    scene = Scene(a_route("r", target_model="llama", fallbacks=(HAIKU,)))
    assert (await scene.ask()).header("x-served-model") == HAIKU
    alone = Scene(a_route("r", target_model="llama"))
    said = await alone.ask()
    assert (said.status, said.json["error"]) == (502, "provider_unresolved")


@in_a_loop
async def test_the_routes_provider_is_for_its_target_alone() -> None:
    scene = Scene(a_route("r", target_model="gpt-4o-mini", provider="other", fallbacks=("gpt-4o",)))
    scene.client.replies["gpt-4o-mini"] = Reply(500, [])
    await scene.ask()
    assert [sent.url.split("/")[2] for sent in scene.client.sent] == ["other.example", "openai.example"]


@in_a_loop
async def test_a_breaker_opens_is_asked_once_and_closes() -> None:
    scene = Scene()
    scene.client.replies["gpt-4o"] = Reply(500, [])
    assert [(await scene.ask()).status for _ in range(2)] == [500, 500]
    said = await scene.ask()
    assert (said.status, said.json["error"], said.json["retryable"]) == (503, "upstream_unavailable", True)
    assert len(scene.client.sent) == 2
    scene.seconds = 30.0
    assert (await scene.ask()).status == 500  # the probe
    assert (await scene.ask()).status == 503
    scene.seconds = 60.0
    scene.client.replies.clear()
    assert [(await scene.ask()).status for _ in range(3)] == [200, 200, 200]


@in_a_loop
async def test_an_open_breaker_sends_requests_to_the_fallback_at_once() -> None:
    scene = Scene(a_route("r", fallbacks=(HAIKU,)))
    scene.client.replies["gpt-4o"] = Reply(error=UpstreamFailed("refused"))
    for _ in range(3):
        assert (await scene.ask()).header("x-served-model") == HAIKU
    assert [sent.body["model"] for sent in scene.client.sent] == ["gpt-4o", HAIKU, "gpt-4o", HAIKU, HAIKU]


@in_a_loop
async def test_a_provider_that_has_too_much_to_do_is_not_taken_for_broken() -> None:
    scene = Scene()
    scene.client.replies["gpt-4o"] = Reply(429, [])
    assert [(await scene.ask()).status for _ in range(5)] == [429] * 5


# --- Streams, and clients that go away --------------------------------------------------------------------------------


@in_a_loop
async def test_a_stream_is_handed_on_piece_by_piece_and_its_tokens_are_read() -> None:
    scene = Scene()
    gate = asyncio.Event()
    last = b'data: {"choices": [], "usage": {"prompt_tokens": 90, "completion_tokens": 30}}\n\n'
    scene.client.replies["gpt-4o"] = Reply(200, [b"data: 1\n\n", gate, last], [(b"content-type", b"text/event-stream")])
    response = await scene(a_body(stream=True))
    assert await anext(response.body) == b"data: 1\n\n"  # while the provider waits
    assert scene.rows == []
    gate.set()
    assert [part async for part in response.body] == [last]
    assert (scene.row["input_tokens"], scene.row["output_tokens"], scene.row["is_stream"]) == (90, 30, True)


@in_a_loop
async def test_a_client_that_goes_away_in_the_middle_of_its_answer_is_noted() -> None:
    scene = Scene()
    scene.client.replies["gpt-4o"] = Reply(200, [b"first", asyncio.Event()])
    response = await scene()
    body: Any = response.body
    assert await anext(body) == b"first"
    await body.aclose()
    await response.aclose()
    assert scene.client.closed == 1
    assert scene.row["status"] == 499


@in_a_loop
async def test_a_client_that_goes_away_before_its_answer_is_noted_and_frees_a_probe() -> None:
    scene = Scene()
    scene.client.replies["gpt-4o"] = Reply(500, [])
    for _ in range(2):
        await scene.ask()
    scene.rows.clear()
    scene.seconds = 30.0
    scene.client.replies["gpt-4o"] = Reply(200, [asyncio.Event()])
    task = asyncio.create_task(scene())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert scene.row["status"] == 499
    scene.client.replies.clear()
    assert (await scene.ask()).status == 200


# --- Rules that are not there -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("passes", "status"), [(False, 503), (True, 200)])
@in_a_loop
async def test_without_rules_requests_are_refused_or_pass_unchanged(passes: bool, status: int) -> None:
    scene = Scene(store=DeadStore(), passes_without_rules=passes)
    said = await scene.ask()
    assert said.status == status
    if passes:
        assert said.header("x-route-version") == "0"


# --- Shadows ----------------------------------------------------------------------------------------------------------


@in_a_loop
async def test_a_shadow_is_asked_beside_the_request_and_never_delays_or_changes_the_answer() -> None:
    scene = Scene(a_route("r", shadow_model=HAIKU))
    gate = asyncio.Event()
    scene.client.replies[HAIKU] = Reply(200, [gate, answer("shadow")])
    said = await scene.ask()
    assert (said.data, said.header("x-served-model")) == (answer(), "gpt-4o")
    assert [row["kind"] for row in scene.rows] == ["primary"]
    gate.set()
    await asyncio.gather(*scene.chat._shadows)
    shadow = scene.rows[1]
    assert (shadow["kind"], shadow["model"], shadow["request_id"]) == (
        "shadow",
        HAIKU,
        f"{scene.rows[0]['request_id']}.shadow",
    )
    assert {sent.body["model"] for sent in scene.client.sent} == {"gpt-4o", HAIKU}


@in_a_loop
async def test_where_nobody_keeps_rows_none_are_made_and_requests_are_counted_all_the_same() -> None:
    scene = Scene(a_route("r", shadow_model=HAIKU))
    scene.chat.record = None
    said = await scene.ask()
    await asyncio.gather(*scene.chat._shadows)
    assert said.status == 200
    assert scene.rows == []
    assert [(each.provider, each.status, each.route_id is None) for each in scene.observed] == [
        ("openai", 200, False),
        ("other", 200, False),
    ]


@in_a_loop
async def test_a_shadow_that_fails_is_a_row_and_nothing_else() -> None:
    scene = Scene(a_route("r", shadow_model=HAIKU))
    scene.client.replies[HAIKU] = Reply(error=UpstreamFailed("refused"))
    assert (await scene.ask()).status == 200
    await asyncio.gather(*scene.chat._shadows)
    assert [row["status"] for row in scene.rows] == [200, 502]


@in_a_loop
async def test_more_shadows_than_are_allowed_at_a_time_are_dropped_and_counted() -> None:
    scene = Scene(a_route("r", shadow_model=HAIKU), max_shadows=1)
    scene.client.replies[HAIKU] = Reply(200, [asyncio.Event()])
    for _ in range(3):
        assert (await scene.ask()).status == 200
    assert scene.chat.dropped_shadows == 2
    await scene.chat.aclose()


# --- What is noted ----------------------------------------------------------------------------------------------------


@in_a_loop
async def test_a_row_has_who_decided_who_served_what_it_cost_and_the_facts_of_the_decision() -> None:
    route = a_route("cheap", target_model="gpt-4o-mini")
    scene = Scene(route)
    await scene.ask(a_body(user="ann"), headers=[(b"x-routing-tag", b"batch"), (b"x-request-id", b"mine")])
    row = dict(scene.row)
    assert row.pop("latency_ms") >= 0
    assert row.pop("upstream_latency_ms") >= 0
    sticky = row.pop("fact_sticky_key")
    assert len(sticky) == 32
    assert row == {
        "org_id": ORG, "request_id": "018f0000-0000-7000-8000-0000000000ff", "ts": "2026-11-23T12:00:00.000000Z",
        "kind": "primary", "provider": "openai", "model": "gpt-4o-mini", "requested_model": "gpt-4o",
        "input_tokens": 100, "output_tokens": 20, "cached_tokens": 0, "max_output_tokens": 100,
        "cost_usd": "0.000027000", "baseline_cost_usd": "0.000450000", "matched_route_id": route.id, "reason": "matched",
        "decided_version": 1, "status": 200, "tag": "batch", "metadata": {"team": "blue"}, "cluster_key": sticky,
        "finish_reason": "stop", "has_images": False, "has_audio": False, "has_documents": False, "has_tools": False,
        "is_stream": False, "fact_input_tokens": 100, "fact_estimated_cost_usd": "0.001250000",
    }  # fmt: skip
    document = scene.traces.get(row["request_id"])
    assert document is not None
    assert (document["client_request_id"], document["outcome"]) == ("mine", "ok")
    assert [stage["stage"] for stage in document["stages"]] == ["authenticate", "read", "decide", "dispatch"]


@in_a_loop
async def test_tokens_that_nobody_tells_are_marked_as_made_up_and_cost_nothing_known() -> None:
    scene = Scene()
    scene.client.replies["gpt-4o"] = Reply(200, [b'{"choices": []}'])
    await scene.ask()
    assert (scene.row["input_tokens"], scene.row["output_tokens"]) == (100, 0)
    assert scene.row["synthetic"] == ["input_tokens", "output_tokens"]
    assert "cost_usd" not in scene.row


@in_a_loop
async def test_the_explanation_names_the_stage_that_failed_and_no_secret() -> None:
    scene = Scene(a_route("r", target_model="gpt-4o-mini"))
    scene.client.replies["gpt-4o-mini"] = Reply(error=UpstreamFailed("refused"))
    said = await scene.ask(a_body(user="ann@acme.example"))
    document = scene.traces.get(said.json["request_id"])
    assert document is not None
    assert document["outcome"] == "error"
    assert document["error"]["code"] == "upstream_failed"
    assert document["stages"][-1]["attempts"][0]["outcome"] == "upstream_failed"
    text = json.dumps(document)
    assert not any(secret in text for secret in (KEY, "sk-1", "ann@acme.example", "xxxx"))


@in_a_loop
async def test_a_fault_of_our_own_is_500_with_an_id_and_nothing_of_its_inside() -> None:
    scene = Scene()

    def broken(body: dict[str, Any]) -> int:
        raise ZeroDivisionError("secret detail")

    scene.chat.count = broken
    said = await scene.ask()
    assert (said.status, said.json["error"]) == (500, "internal")
    assert "secret" not in said.data.decode()


# --- Tokens of streams ------------------------------------------------------------------------------------------------

_TOLD = b'data: {"choices": [], "usage": {"prompt_tokens": 100, "completion_tokens": 20}}\n\n'
_EVENTS = [b'data: {"choices": [{"delta": {"content": "h"}}]}\n\n', _TOLD, b"data: [DONE]\n\n"]


def _streaming(*, asks: bool, headers: Any = ((b"content-type", b"text/event-stream"),)) -> Scene:
    scene = Scene()
    provider = scene.attempts.providers.by_name["openai"]
    scene.attempts.providers = Providers([replace(provider, stream_usage=asks)], {"*": "openai"})
    scene.client.replies["gpt-4o"] = Reply(pieces=list(_EVENTS), headers=list(headers))
    return scene


@in_a_loop
async def test_a_provider_is_asked_for_the_tokens_of_a_stream_and_the_client_does_not_notice() -> None:
    scene = _streaming(asks=True, headers=[(b"content-type", b"text/event-stream"), (b"content-length", b"9")])
    answer = await scene.ask(a_body(stream=True))
    assert scene.client.sent[0].body == {"stream_options": {"include_usage": True}, **a_body(stream=True)}
    assert answer.data == _EVENTS[0] + _EVENTS[2]
    assert answer.header("content-length") is None
    assert (scene.row["input_tokens"], scene.row["output_tokens"], "synthetic" in scene.row) == (100, 20, False)


@pytest.mark.parametrize(
    ("asks", "more"),
    [
        (False, {"stream": True}),
        (True, {"stream": True, "stream_options": {"include_usage": True}}),
        (True, {"stream": True, "stream_options": {"include_usage": False}}),
        (True, {"stream": True, "stream_options": None}),
        (True, {"stream": False}),
    ],
)
@in_a_loop
async def test_whoever_says_something_of_it_gets_what_the_provider_answers(asks: bool, more: dict[str, Any]) -> None:
    scene = _streaming(asks=asks)
    answer = await scene.ask(a_body(**more))
    assert scene.client.sent[0].body == a_body(**more)
    assert answer.data == b"".join(_EVENTS)


@in_a_loop
async def test_nobody_is_asked_for_tokens_where_nobody_keeps_rows() -> None:
    scene = _streaming(asks=True)
    scene.chat.record = None
    assert (await scene.ask(a_body(stream=True))).data == b"".join(_EVENTS)
    assert scene.client.sent[0].body == a_body(stream=True)


@in_a_loop
async def test_an_answer_that_is_no_stream_passes_as_it_is() -> None:
    scene = _streaming(asks=True, headers=[(b"content-type", b"application/json")])
    assert (await scene.ask(a_body(stream=True))).data == b"".join(_EVENTS)
