"""The public cases of placements, as far as this gateway has what they speak of: its refusals, and requests in print.

`forward_headers` and `circuit_breaker` are run where headers and the breaker are tested.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from routes.engine import RequestContext
from routes.engine.errors import UpstreamFailed
from routes.gateway.llm.body import MAX_BODY_BYTES
from routes.gateway.messages import Request
from tests.paths import shared
from tests.routes.gateway.llm.scene import KEY, Answer, Reply, Scene, a_body
from tests.routes.gateway.loops import in_a_loop


def cases(kind: str) -> list[dict[str, Any]]:
    """Asked inside tests, so that where they are absent only these are skipped."""
    found: list[dict[str, Any]] = json.loads(shared("cases/placements.json").read_text(encoding="utf-8"))[kind]
    assert found
    return found


# --- Refusals on the wire ---------------------------------------------------------------------------------------------


async def without_a_key() -> Answer:
    return await Scene().ask(key=None)


async def of_a_closed_organization() -> Answer:
    scene = Scene()
    assert scene.directory is not None
    document = scene.directory.document
    document["organizations"][0]["status"] = "closed"
    scene.directory = type(scene.directory).from_document(document)
    return await scene.ask()


async def too_large() -> Answer:
    return await Scene().ask(b" " * (MAX_BODY_BYTES + 1))


async def no_json() -> Answer:
    return await Scene().ask(b"{")


async def broken_off() -> Answer:
    scene = Scene()
    scene.client.replies["gpt-4o"] = Reply(error=UpstreamFailed("It broke off."))
    return await scene.ask()


async def left_alone() -> Answer:
    scene = Scene()
    scene.client.replies["gpt-4o"] = Reply(error=UpstreamFailed("It broke off."))
    for _ in range(3):
        answer = await scene.ask()
    return answer


async def our_own_fault() -> Answer:
    return await Scene(count=lambda body: 1 // 0).ask()


#: Whether the same may be sent again, where the case leaves it open or says nothing, and what is called otherwise here.
PROVOKED: dict[str, tuple[Callable[[], Awaitable[Answer]], dict[str, Any]]] = {
    "auth_failed": (without_a_key, {}),
    "unauthorized": (of_a_closed_organization, {"code": "forbidden"}),
    "payload_too_large": (too_large, {}),
    "malformed_request": (no_json, {"retryable": False}),
    "upstream_failed": (broken_off, {"retryable": False}),
    "upstream_unavailable": (left_alone, {"retryable": True}),
    "internal": (our_own_fault, {"retryable": False}),
}
#: What no request to this gateway can come to, and why.
NOT_HERE = {
    "placement_missing": "placements are another part of the application",
    "placement_backend_unavailable": "placements are another part of the application",
    "overloaded": "its note: nobody produces it; here a queue that is full drops rows of the log and no request",
    "cursor_unresolvable": "there are no cursors here",
}


@in_a_loop
async def test_a_refusal_comes_over_the_wire_as_its_case_says() -> None:
    for case in cases("error_status"):
        if case["code"] in NOT_HERE:
            assert case["code"] not in PROVOKED
            continue
        provoke, differs = PROVOKED[case["code"]]
        answer = await provoke()
        wanted = {**case, **differs}
        assert (answer.status, answer.json["error"], answer.json["retryable"]) == (
            wanted["status"], wanted["code"], wanted["retryable"],
        )  # fmt: skip


# --- Requests ---------------------------------------------------------------------------------------------------------


def a_request(body: Any = None, *headers: tuple[bytes, bytes], key: str = "secret") -> Request:
    given = [(b"host", b"gw"), (b"authorization", f"Bearer {key}".encode()), *headers]
    return Request("POST", "/v1/chat/completions", "key=secret", given, body, "192.0.2.1", "http", "gw", "id-1")


async def pieces() -> Any:
    yield b"secret"


@in_a_loop
async def test_a_request_without_a_body_has_an_empty_one() -> None:
    (case,) = (case for case in cases("request_ctx") if case["id"] == "rc-null-body")
    assert case["expect"] == "empty bytes"
    scene = Scene()
    response = await scene.chat(a_request(None, key=KEY))
    answer = Answer(response.status, response.headers, b"".join([part async for part in response.body]))
    empty = await scene.ask(b"")
    assert (answer.status, answer.json["error"], answer.json["message"]) == (
        empty.status, "malformed_request", empty.json["message"],
    )  # fmt: skip
    assert scene.client.sent == []


@pytest.mark.parametrize(
    ("headers", "said"), [([(b"content-length", b"6")], "6 bytes"), ([], "a body of unknown length")]
)
def test_a_request_in_print_has_the_length_of_its_body_and_no_secret(
    headers: list[tuple[bytes, bytes]], said: str
) -> None:
    assert any(case["id"] == "rc-text" for case in cases("request_ctx"))
    body = pieces()
    for text in (repr(a_request(body, *headers)), str(a_request(body, *headers))):
        assert "secret" not in text
        assert said in text
        assert "POST /v1/chat/completions" in text
    assert "no body" in repr(a_request())


def test_what_was_decided_on_in_print_has_the_length_of_the_prompt_and_not_its_text() -> None:
    body = a_body()
    body["messages"] = [{"role": "user", "content": "a secret"}]
    text = repr(RequestContext.from_chat(body))
    assert "secret" not in text
    assert "8 characters" in text
