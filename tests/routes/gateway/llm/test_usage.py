"""Tokens are read from an answer while it passes, however it is cut into pieces."""

import json
from typing import Any

import pytest

from routes.gateway.llm.usage import MAX_KEPT_BYTES, MAX_LINE_BYTES, Usage, UsageReader, WithoutUsage

USAGE = {"prompt_tokens": 12, "completion_tokens": 7, "prompt_tokens_details": {"cached_tokens": 4}}
WHOLE = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": USAGE}
READ = Usage(12, 7, 4, "stop")
EVENTS: list[Any] = [
    {"choices": [{"delta": {"content": "h"}, "finish_reason": None}], "usage": None},
    {"choices": [{"delta": {"content": "usage"}}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": USAGE},
]
STREAM = b"".join(b"data: %s\n\n" % json.dumps(event).encode() for event in EVENTS) + b"data: [DONE]\n\n"


def read(data: bytes, size: int, *, is_stream: bool) -> Usage:
    reader = UsageReader(is_stream=is_stream)
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])
    return reader.usage()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
def test_an_answer_tells_its_tokens_whatever_pieces_it_comes_in(size: int) -> None:
    assert read(json.dumps(WHOLE).encode(), size, is_stream=False) == READ
    assert read(STREAM, size, is_stream=True) == READ
    assert read(STREAM.replace(b"\n", b"\r\n"), size, is_stream=True) == READ


def test_a_stream_without_a_last_line_end_is_read_to_its_end() -> None:
    cut = STREAM[: STREAM.index(b"\n\ndata: [DONE]")]
    assert read(cut, 5, is_stream=True) == READ


@pytest.mark.parametrize(
    "said",
    [
        b"", b"not JSON", b"[]", b"5", b'{"usage": 5}', b'{"usage": {"prompt_tokens": "12"}}', b'{"choices": [7]}',
        b'{"usage": {"prompt_tokens": true}}', b'{"usage": {"prompt_tokens": -1}}', b'{"choices": 7}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_what_tells_nothing_is_unknown(said: bytes) -> None:
    assert read(said, 50, is_stream=False) == Usage()
    assert read(b'data: {"usage" "finish_reason"' + said + b"\n\n", 50, is_stream=True) == Usage()


def test_an_answer_of_any_size_is_read_within_a_bound() -> None:
    reader = UsageReader(is_stream=False)
    for _ in range(20):
        reader.feed(b"x" * (MAX_KEPT_BYTES // 10))
        assert len(reader._kept) <= MAX_KEPT_BYTES
    assert reader.usage() == Usage()


def test_a_line_of_any_length_is_passed_over_and_the_next_one_is_read() -> None:
    reader = UsageReader(is_stream=True)
    for _ in range(5):
        reader.feed(b'"usage"' + b"x" * MAX_LINE_BYTES)
        assert len(reader._kept) <= 2 * MAX_LINE_BYTES
    reader.feed(b"end of it\n" + STREAM)
    assert reader.usage() == READ


# --- Tokens that the client did not ask for -----------------------------------------------------------------------------


def passed(data: bytes, size: int) -> bytes:
    events = WithoutUsage()
    pieces = [events.feed(data[start : start + size]) for start in range(0, len(data), size)]
    return b"".join([*pieces, events.rest()])


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_event_of_tokens_alone_is_left_out_and_nothing_else(size: int, end: bytes) -> None:
    said = [b"data: " + json.dumps(event).encode() for event in EVENTS]
    others = [line for line in said if b'"choices": []' not in line]
    assert len(others) == len(said) - 1
    whole, expected = (b"".join(line + end + end for line in [*lines, b"data: [DONE]"]) for lines in (said, others))
    assert passed(whole, size) == expected
    assert passed(whole.rstrip(), size) == expected.rstrip()


@pytest.mark.parametrize(
    "data",
    [
        b'{"error": {"usage": 1}}',
        b'data: {"choices": [], "usage": null}\n\n',
        b'data: {"choices": [], "usage"\n\n',
        b'data: {"choices": [{"delta": {"content": "\\"usage\\": 1"}}]}\n\n: comment\n\n',
        b"x" * (2 * MAX_LINE_BYTES) + b"\n\nend",
        b"",
    ],
)
def test_what_is_no_such_event_passes_byte_for_byte(data: bytes) -> None:
    for size in (1_000, 100_000, 10_000_000):
        assert passed(data, size) == data


def test_a_line_passes_as_soon_as_it_is_whole() -> None:
    events = WithoutUsage()
    assert events.feed(b"data: {}\n\nda") == b"data: {}\n\n"
    assert events.feed(b"ta: 2\n") == b"data: 2\n"
