"""One request over ASGI: read, handed to a handler, answered piece by piece; given up when its client is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from routes.engine.errors import Internal, RoutingError
from routes.engine.ids import uuid7
from routes.gateway.answers import refusal
from routes.gateway.framing import read_request
from routes.gateway.messages import Headers, Request, Response

log = logging.getLogger(__name__)

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Handler = Callable[[Request], Awaitable[Response]]

#: How long a client may leave us waiting.
IDLE_SECONDS = 60.0
#: Answers that take longer are watched for clients that go away. For the others a watch would cost more than it saves.
_WATCHED_AFTER_SECONDS = 0.02
#: Of a body that nobody reads so much is read before the answer, and for so long.
_LONGEST_LEFT = 2**20
_LEFT_SECONDS = 2.0
#: Methods and statuses whose answers have no body, whatever their headers say.
_NO_BODY = frozenset({204, 304})


class RequestTimeout(RoutingError):
    """The client stopped in the middle of its request."""

    http_status = 408
    retryable = True


class ClientGone(Exception):
    """The client broke off before its request was whole."""


class AnswerBrokenOff(Exception):
    """The answer ends in the middle. What serves the connection closes it then without the mark of an end, by which the
    client knows."""


async def serve(
    scope: Scope, receive: Receive, send: Send, handler: Handler, *, idle_seconds: float = IDLE_SECONDS
) -> None:
    """Answer one request. What the handler raises beside `RoutingError` is our fault: 500. After the head was sent an error
    breaks the connection off. A client that sends nothing of its body, or takes nothing of its answer, for `idle_seconds`
    is not waited for."""
    request_id = uuid7()
    client = _Client(receive, idle_seconds)
    is_read = False
    try:
        request = read_request(scope, client.body(), request_id)
        is_read = True
        if request.body is None:
            client.has_sent_all()
        response = await handler(request)
    except RoutingError as error:
        headers = [(b"x-request-id", request_id.encode())]
        if not is_read:
            # Where a request is not well-formed, what follows on its connection may be part of it.
            headers.append((b"connection", b"close"))
        response = refusal(error, request_id, headers)
    except ClientGone:
        return
    except asyncio.CancelledError:
        if not client.is_gone:
            raise
        return
    except Exception:
        log.exception("request %s failed", request_id)
        fault = Internal("The gateway failed. Its operator finds the request by its id.")
        response = refusal(fault, request_id, [(b"x-request-id", request_id.encode())])
    try:
        if is_read and response.closing is None:  # else an upstream may still read
            await client.take_the_rest(scope)
        await _answer(scope, send, response, idle_seconds)
    except (RoutingError, ClientGone, TimeoutError) as error:
        raise AnswerBrokenOff(f"request {request_id}: {error}") from None
    except asyncio.CancelledError:
        if not client.is_gone:
            raise
    finally:
        client.leave()
        await response.aclose()


async def _answer(scope: Scope, send: Send, response: Response, idle_seconds: float) -> None:
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    if scope["method"] == "HEAD" or response.status in _NO_BODY:
        await send({"type": "http.response.body", "body": b""})
        return
    left = _length(response.headers)
    async for data in response.body:
        # The last piece is known by the length, where one is told, and then the end need not be sent apart.
        left = None if left is None else left - len(data)
        if left == 0:
            await send({"type": "http.response.body", "body": data})
        else:
            async with asyncio.timeout(idle_seconds):
                await send({"type": "http.response.body", "body": data, "more_body": True})
    if left != 0:
        await send({"type": "http.response.body", "body": b""})


def _length(headers: Headers) -> int | None:
    """What an answer says of its own length; None where that is nothing, or not to be relied on."""
    told = [value for name, value in headers if name == b"content-length"]
    return int(told[0]) if len(told) == 1 and told[0].isdigit() and told[0] != b"0" else None


class _Client:
    """Whoever sends the request: its body while it comes, and after that whether it is still there."""

    __slots__ = ("_idle_seconds", "_is_begun", "_receive", "_task", "_timer", "_watch", "is_gone")

    def __init__(self, receive: Receive, idle_seconds: float) -> None:
        self._receive = receive
        self._idle_seconds = idle_seconds
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watch: asyncio.Task[None] | None = None
        self._is_begun = False
        self.is_gone = False

    async def body(self) -> AsyncIterator[bytes]:
        """The pieces as they come. Raises `ClientGone` and `RequestTimeout`."""
        self._is_begun = True
        while True:
            try:
                async with asyncio.timeout(self._idle_seconds):
                    message = await self._receive()
            except TimeoutError:
                raise RequestTimeout("Nothing more came of the request. Send it again.") from None
            if message["type"] != "http.request":
                self._gone()
                raise ClientGone("The client went away before its request was whole.")
            if data := message.get("body"):
                yield data
            if not message.get("more_body"):
                self.has_sent_all()
                return

    async def take_the_rest(self, scope: Scope) -> None:
        """Read what nobody asked for of a short body, so that the answer, mostly a refusal, is heard: a connection on which
        something is left unread is closed, and a client that still writes sees that and no answer. One that waits for a 100
        has not begun."""
        if self._is_begun or any(name == b"expect" for name, _ in scope["headers"]):
            return
        left = _LONGEST_LEFT
        with suppress(TimeoutError, ClientGone, RequestTimeout):
            async with asyncio.timeout(_LEFT_SECONDS):
                async for data in self.body():
                    left -= len(data)
                    if left < 0:
                        return

    def has_sent_all(self) -> None:
        """From now on the only thing to come from the client is that it goes."""
        self._is_begun = True
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WATCHED_AFTER_SECONDS, self._begin_to_watch)

    def leave(self) -> None:
        """The request is over; nobody need be watched."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watch is not None:
            self._watch.cancel()

    def _begin_to_watch(self) -> None:
        self._watch = asyncio.create_task(self._wait_for_end())

    async def _wait_for_end(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._gone()

    def _gone(self) -> None:
        if not self.is_gone:
            self.is_gone = True
            if self._task is not None and self._task is not asyncio.current_task():
                self._task.cancel()
