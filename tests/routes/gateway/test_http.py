"""One request over ASGI: what the server is told, message by message."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from routes.engine.errors import NoRoute
from routes.gateway.http import AnswerBrokenOff, Handler, serve
from routes.gateway.messages import Request, Response
from tests.routes.gateway.loops import in_a_loop


def scope(**more: Any) -> dict[str, Any]:
    return {
        "type": "http", "method": "GET", "raw_path": b"/a", "query_string": b"", "headers": [(b"host", b"gw")],
        "client": ("192.0.2.1", 1), "scheme": "http", **more,
    }  # fmt: skip


async def told(handler: Handler, **more: Any) -> tuple[dict[str, Any], list[tuple[bytes, bool]]]:
    """The head, and each piece with whether another one is announced."""
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    await serve(scope(**more), receive, send, handler)
    return messages[0], [(each["body"], each.get("more_body", False)) for each in messages[1:]]


def answering(*pieces: bytes, length: bytes | None) -> Handler:
    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    async def handler(request: Request) -> Response:
        headers = [] if length is None else [(b"content-length", length)]
        return Response(200, "", headers, body())

    return handler


@pytest.mark.parametrize(
    ("pieces", "length", "sent"),
    [
        ([b"abc"], b"3", [(b"abc", False)]),
        ([b"a", b"bc"], b"3", [(b"a", True), (b"bc", False)]),
        ([b"a", b"bc"], None, [(b"a", True), (b"bc", True), (b"", False)]),
        ([b"a"], b"3", [(b"a", True), (b"", False)]),
        ([], b"0", [(b"", False)]),
        ([], None, [(b"", False)]),
        ([b"a"], b"x", [(b"a", True), (b"", False)]),
    ],
)
@in_a_loop
async def test_the_end_of_an_answer_is_told_with_its_last_piece_where_its_length_says_which_that_is(
    pieces: list[bytes], length: bytes | None, sent: list[tuple[bytes, bool]]
) -> None:
    _, told_of = await told(answering(*pieces, length=length))
    assert told_of == sent


@in_a_loop
async def test_what_is_not_well_formed_is_the_last_request_of_its_connection() -> None:
    async def refuses(request: Request) -> Response:
        raise NoRoute("There is none.")

    head, _ = await told(refuses, headers=[(b"host", b"gw"), (b"host", b"evil")])
    assert head["status"] == 400
    assert (b"connection", b"close") in head["headers"]
    head, _ = await told(refuses)
    assert head["status"] == 404
    assert (b"connection", b"close") not in head["headers"]


# --- Clients that leave us waiting ------------------------------------------------------------------------------------


@in_a_loop
async def test_a_client_that_stops_in_the_middle_of_its_request_is_told_so() -> None:
    sent: list[dict[str, Any]] = []
    pieces = [{"type": "http.request", "body": b"a", "more_body": True}] * 3

    async def receive() -> dict[str, Any]:
        if not pieces:
            await asyncio.Event().wait()
        await asyncio.sleep(0.03)
        return pieces.pop()

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    got: list[bytes] = []

    async def reads(request: Request) -> Response:
        assert request.body is not None
        async for data in request.body:
            got.append(data)
        raise AssertionError("it never ends")

    given = scope(method="POST", headers=[(b"host", b"gw"), (b"content-length", b"9")])
    await serve(given, receive, send, reads, idle_seconds=0.1)
    assert got == [b"a"] * 3  # who is slow and goes on is not meant
    assert sent[0]["status"] == 408
    assert b"request_timeout" in sent[1]["body"]


@in_a_loop
async def test_an_answer_that_its_client_does_not_take_is_given_up() -> None:
    closed: list[bool] = []

    async def send(message: dict[str, Any]) -> None:
        if message.get("body") == b"c":
            await asyncio.Event().wait()
        await asyncio.sleep(0.03)

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def body() -> AsyncIterator[bytes]:
        for piece in (b"a", b"b", b"c", b"d"):
            yield piece

    async def close() -> None:
        closed.append(True)

    async def handler(request: Request) -> Response:
        return Response(200, "", [], body(), close)

    with pytest.raises(AnswerBrokenOff):
        await serve(scope(), receive, send, handler, idle_seconds=0.1)
    assert closed == [True]
