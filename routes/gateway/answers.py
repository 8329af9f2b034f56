"""Answers of the gateway's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from json import dumps
from typing import Any

from routes.engine.errors import MethodNotAllowed, RoutingError
from routes.gateway.messages import Headers, Response


def json_answer(status: int, said: Mapping[str, Any], headers: Sequence[tuple[bytes, bytes]] = ()) -> Response:
    """An answer of one JSON object."""
    data = dumps(said).encode()
    all_headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(data)), *headers]
    return Response(status, "", all_headers, _once(data))


def refusal(error: RoutingError, request_id: str, headers: Headers, *, target: str | None = None) -> Response:
    """The answer to a request that is not served: a code, whether the same request may be sent again, and its id; never an
    address of ours, unless `target` is given for people who debug their own upstreams."""
    said = {"error": error.code, "message": str(error), "retryable": error.retryable, "request_id": request_id}
    if target is not None:
        said["target"] = target
    if isinstance(error, MethodNotAllowed):
        headers = [*headers, (b"allow", ", ".join(error.allow).encode())]
    return json_answer(error.http_status, said, headers)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
