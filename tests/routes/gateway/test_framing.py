"""Well-formed requests are read as they stand; everything that two servers could read differently is refused."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from routes.engine.errors import MalformedRequest, MethodNotAllowed, RoutingError, UnsafePath
from routes.gateway.framing import MAX_HEADER_BYTES, read_request
from routes.gateway.messages import Request


async def no_body() -> AsyncIterator[bytes]:
    return
    yield b""


def read(*headers: tuple[str, str], **scope: Any) -> Request:
    given = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    if not any(name.lower() == b"host" for name, _ in given) and not scope.pop("hostless", False):
        given.insert(0, (b"host", b"gw"))
    plain = {"method": "GET", "raw_path": b"/", "query_string": b"", "scheme": "http", "client": ("192.0.2.7", 5)}
    return read_request({**plain, **scope, "headers": given}, no_body(), "id-1")


def test_a_request_is_read_as_it_stands() -> None:
    read_ = read(("X-A", "1"), ("x-a", "2"), raw_path=b"/a%20b//c;d", query_string=b"a=1&&b=%zz+\"'<>", scheme="https")
    assert (read_.method, read_.path, read_.query) == ("GET", "/a%20b//c;d", "a=1&&b=%zz+\"'<>")
    assert read_.headers == [(b"host", b"gw"), (b"x-a", b"1"), (b"x-a", b"2")]
    assert (read_.peer, read_.scheme, read_.host, read_.request_id, read_.body) == (
        "192.0.2.7",
        "https",
        "gw",
        "id-1",
        None,
    )
    assert read(client=None).peer is None


@pytest.mark.parametrize(
    ("host", "known_as"),
    [("gw.example", "gw.example"), ("GW.Example:8080", "gw.example"), ("gw.example.", "gw.example"),
     ("127.0.0.1:80", "127.0.0.1"),
     ("[::1]:8080", "[::1]"), ("a_b-c", "a_b-c")],
)  # fmt: skip
def test_a_host_is_known_in_lower_case_without_its_port(host: str, known_as: str) -> None:
    assert read(("Host", host)).host == known_as


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "a/b", "a@b", "a,b", "a:b", "a:", "-a", "a..b", "a:123456", "[::1", "é", "x" * 300, "a\\b", "a#b"],
)
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(MalformedRequest):
        read(("Host", host))


def test_there_is_exactly_one_host() -> None:
    for given in [[("Host", "a"), ("Host", "b")], [("Host", "a"), ("host", "a")]]:
        with pytest.raises(MalformedRequest, match="has 2"):
            read(*given)
    with pytest.raises(MalformedRequest, match="has 0"):
        read(hostless=True)


@pytest.mark.parametrize(
    ("headers", "has_body"),
    [([], False), ([("Content-Length", "0")], False), ([("Content-Length", "00")], False), ([("Content-Length",
     "5")], True),
     ([("Transfer-Encoding", "chunked")], True), ([("Transfer-Encoding", " Chunked ")], True)],
)  # fmt: skip
def test_the_framing_says_whether_there_is_a_body(headers: list[tuple[str, str]], has_body: bool) -> None:
    assert (read(*headers, method="POST").body is not None) is has_body


@pytest.mark.parametrize(
    "headers",
    [
        [("Content-Length", "5"), ("Transfer-Encoding", "chunked")],
        [("Content-Length", "5"), ("Content-Length", "5")],
        *([("Content-Length", value)] for value in ("", "-1", "+5", "5, 5", "0x5", "5 ", "5.0", "٣", "9" * 16)),
        *([("Transfer-Encoding", value)] for value in ("", "gzip", "gzip, chunked", "chunked, chunked", "identity",
        "xchunked", "chunked;a=b")),
        [("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")],
    ],
)  # fmt: skip
def test_a_length_that_could_be_read_in_two_ways_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedRequest):
        read_request(
            {"method": "POST", "raw_path": b"/", "query_string": b"", "scheme": "http",
             "headers": [(b"host", b"gw"), *((name.encode(), value.encode()) for name, value in headers)]},
            no_body(), "id-1",
        )  # fmt: skip


@pytest.mark.parametrize(
    ("scope", "error"),
    [
        ({"raw_path": b"/a/../b"}, UnsafePath), ({"raw_path": b"/a/%2e%2E/b"}, UnsafePath),
         ({"raw_path": b"/a%2fb"}, UnsafePath),
        ({"raw_path": b"/a\\b"}, UnsafePath), ({"raw_path": b"*"}, UnsafePath), ({"raw_path": b""}, UnsafePath),
        ({"raw_path": b"http://evil/"}, UnsafePath), ({"raw_path": b"/\xc3\xa9"}, UnsafePath),
         ({"raw_path": b"/a%00"}, UnsafePath),
        ({"query_string": b"a#b"}, MalformedRequest), ({"query_string": b"a b"}, MalformedRequest),
        ({"query_string": b"\xc3"}, MalformedRequest), ({"query_string": b"a\x00"}, MalformedRequest),
        ({"method": "get"}, MalformedRequest), ({"method": "G T"}, MalformedRequest), ({"method": ""}, MalformedRequest),
        ({"method": "CONNECT"}, MethodNotAllowed), ({"method": "TRACE"}, MethodNotAllowed),
    ],
)  # fmt: skip
def test_what_an_upstream_could_take_for_something_else_is_refused(
    scope: dict[str, Any], error: type[RoutingError]
) -> None:
    with pytest.raises(error):
        read(**scope)


def test_headers_of_any_size_are_not_read() -> None:
    room = MAX_HEADER_BYTES - len("hostgw") - len("x-a")
    assert read(("x-a", "x" * room))
    with pytest.raises(MalformedRequest):
        read(("x-a", "x" * (room + 1)))
