"""Requests and answers as the parts of the gateway hand them on: heads as values, bodies as streams."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

Headers = list[tuple[bytes, bytes]]


@dataclass(slots=True)
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
