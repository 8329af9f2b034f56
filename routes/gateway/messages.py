"""Requests and answers as the parts of the gateway hand them on: heads as values, bodies as streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True, repr=False)
class Request:
    """A request as it came: path and query raw as on the wire, names of headers in lower case, order and repetition kept.

    `body` is None where there is none. `host` is in lower case and without its port; `peer` the address of whoever is at
    the other end of the connection, None where that is not known.
    """

    method: str
    path: str
    query: str
    headers: Headers
    body: AsyncIterator[bytes] | None
    peer: str | None
    scheme: str
    host: str
    request_id: str

    def __repr__(self) -> str:
        """Without query, headers and body, in which anybody's secret may stand."""
        told = next((value.decode("latin-1") for name, value in self.headers if name == b"content-length"), None)
        body = "no body" if self.body is None else "a body of unknown length" if told is None else f"{told} bytes"
        return f"<Request {self.request_id}: {self.method} {self.path} of {self.host}, {body}>"


@dataclass(slots=True)
class Response:
    """An answer whose head is there and whose body is still to come. Whoever takes it reads it to its end, or closes it."""

    status: int
    reason: str
    headers: Headers
    body: AsyncIterator[bytes]
    closing: Callable[[], Awaitable[None]] | None = None

    async def aclose(self) -> None:
        """Leave what was not read, and free the connection. May be called again."""
        if self.closing is not None:
            closing, self.closing = self.closing, None
            await closing()
