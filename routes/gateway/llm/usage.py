"""What an answer says of its tokens, read while it passes, without holding it up and within a bound of memory."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from routes.gateway.messages import Headers

#: Of an answer that is no stream so much is kept to be read at its end; of a larger one the tokens stay unknown.
MAX_KEPT_BYTES = 4 * 2**20
#: A line of a stream that is longer is not looked at.
MAX_LINE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as the provider counts them; None where it does not say."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    finish_reason: str | None = None


class UsageReader:
    """Is fed the bytes of an answer as they pass; `usage()` at the end is what they said."""

    __slots__ = ("_finish", "_is_stream", "_is_too_much", "_kept", "_seen")

    def __init__(self, *, is_stream: bool) -> None:
        self._is_stream = is_stream
        self._kept = bytearray()
        self._is_too_much = False
        self._seen: Any = None
        self._finish: Any = None

    def feed(self, data: bytes) -> None:
        self._kept += data
        if not self._is_stream:
            if len(self._kept) > MAX_KEPT_BYTES:
                self._kept.clear()
                self._is_too_much = True
            elif self._is_too_much:
                self._kept.clear()
            return
        if b"\n" not in data:
            if len(self._kept) > MAX_LINE_BYTES:
                self._kept.clear()
                self._is_too_much = True
            return
        *lines, rest = self._kept.split(b"\n")
        self._kept = bytearray(rest)
        for line in lines:
            if self._is_too_much:  # the end of a line whose beginning is gone
                self._is_too_much = False
            elif b'"usage"' in line or b'"finish_reason"' in line:
                self._read_event(bytes(line))

    def usage(self) -> Usage:
        if not self._is_stream and not self._is_too_much:
            self._take(_json(bytes(self._kept)))
        elif self._is_stream and self._kept:
            self._read_event(bytes(self._kept))
        seen = self._seen if isinstance(self._seen, dict) else {}
        details = seen.get("prompt_tokens_details")
        return Usage(
            _count(seen.get("prompt_tokens")),
            _count(seen.get("completion_tokens")),
            _count(details.get("cached_tokens")) if isinstance(details, dict) else None,
            self._finish if isinstance(self._finish, str) else None,
        )

    def _read_event(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._take(_json(line[5:]))

    def _take(self, said: Any) -> None:
        if not isinstance(said, dict):
            return
        if said.get("usage") is not None:
            self._seen = said["usage"]
        choices = said.get("choices")
        if isinstance(choices, list) and choices and isinstance(choices[0], dict):
            self._finish = choices[0].get("finish_reason") or self._finish


class WithoutUsage:
    """Is fed the bytes of a stream of events, and answers them without the event that tells of tokens alone, for clients
    who did not ask for it. What passes passes unchanged, as soon as its line is whole."""

    __slots__ = ("_gave_up", "_kept", "_skips_blank")

    def __init__(self) -> None:
        self._kept = bytearray()
        self._skips_blank = False
        self._gave_up = False

    def feed(self, data: bytes) -> bytes:
        if self._gave_up:
            return data
        self._kept += data
        end = self._kept.rfind(b"\n") + 1
        if len(self._kept) - end > MAX_LINE_BYTES:  # no event is so long, so there is nothing to look for
            self._gave_up = True
            end = len(self._kept)
        whole = bytes(self._kept[:end])
        del self._kept[:end]
        if b'"usage"' not in whole and not self._skips_blank:
            return whole
        *lines, rest = whole.split(b"\n")
        return b"".join(line + b"\n" for line in lines if self._passes(line)) + rest

    def rest(self) -> bytes:
        """What was still kept at the end of the stream."""
        rest, self._kept = bytes(self._kept), bytearray()
        return rest if self._passes(rest) else b""

    def _passes(self, line: bytes) -> bool:
        if self._skips_blank:
            self._skips_blank = False
            if not line.strip():
                return False  # it would end the event that is not there
        if line.startswith(b"data:") and b'"usage"' in line:
            said = _json(line[5:])
            if isinstance(said, dict) and said.get("usage") is not None and said.get("choices") == []:
                self._skips_blank = True
                return False
        return True


def without_usage(headers: Headers, body: AsyncGenerator[bytes]) -> tuple[Headers, AsyncGenerator[bytes]]:
    """An answer without the event that tells of tokens alone; what is no stream of events is left as it is."""
    if not any(name == b"content-type" and value.lower().startswith(b"text/event-stream") for name, value in headers):
        return headers, body
    return [(name, value) for name, value in headers if name != b"content-length"], _others(body)


async def _others(body: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    events = WithoutUsage()
    async with aclosing(body):
        async for data in body:
            if passed := events.feed(data):
                yield passed
        if rest := events.rest():
            yield rest


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else None
