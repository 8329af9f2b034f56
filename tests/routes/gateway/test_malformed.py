"""Whatever comes, an upstream sees well-formed requests, those that a message holds by the book, or none."""

from pathlib import Path
from secrets import randbits

import pytest

from tests.routes.gateway import malformed
from tests.routes.gateway.malformed import CHUNKED, GOOD, SECOND
from tests.routes.gateway.running import proxying
from tests.routes.gateway.smuggling import bodies_in, messages, send_all
from tests.routes.gateway.stubs import Upstream

SHARE = 260


def test_malformed_and_smuggled_messages_reach_no_upstream_but_as_well_formed_requests(tmp_path: Path) -> None:
    seed = randbits(32)
    assert 150 < len(malformed.known()) < SHARE
    with Upstream() as upstream, proxying(tmp_path, upstream.url) as gateway:
        try:
            counts = send_all(gateway, upstream, messages(seed, SHARE))
        except AssertionError as error:
            pytest.fail(f"seed {seed}: {error}")
        assert b"HTTP/1.1 200" in gateway.ask(GOOD.replace(b"gw", b"gw\r\nConnection: close"))
    assert counts["messages"] == SHARE
    assert 0 < counts["passed on as a request"] < SHARE
    assert counts["passed on as two"] > 0
    assert counts["answered"] > SHARE // 2


@pytest.mark.parametrize(
    ("raw", "bodies"),
    [
        (GOOD, [b"abc"]),
        (CHUNKED + SECOND, [b"abc", b""]),
        (GOOD + SECOND, [b"abc", b""]),
        (GOOD.replace(b"\r\n", b"\n") + SECOND, [b"abc", b""]),
        (GOOD.replace(b": 3", b": 4"), []),
        (GOOD.replace(b": 3", b": +3") + SECOND, []),
        (GOOD.replace(b"\r\nContent", b"\r\nContent-Length: 3\r\nContent"), [b"abc"]),
        (GOOD.replace(b"\r\nContent", b"\r\nContent-Length: 4\r\nContent") + SECOND, []),
        (GOOD.replace(b"\r\nContent", b"\r\nConnection: close\r\nContent") + SECOND, [b"abc"]),
        (GOOD.replace(b"\r\nContent", b"\r\nConnection: x, Close\r\nContent") + SECOND, [b"abc"]),
        (GOOD.replace(b"\r\nContent", b"\r\nConnection: closed\r\nContent") + SECOND, [b"abc", b""]),
        (GOOD.replace(b"1.1", b"1.0") + SECOND, [b"abc"]),
        (CHUNKED.replace(b"Host", b"Content-Length: 9\r\nHost") + SECOND, [b"abc"]),
        (CHUNKED.replace(b"chunked", b"gzip, chunked") + SECOND, []),
        (CHUNKED.replace(b"3\r\nabc", b"3;x=1\r\nabc").replace(b"0\r\n\r\n", b"0\r\nX: 1\r\n\r\n") + SECOND, [b"abc", b""]),
        (CHUNKED.replace(b"abc", b"abcd") + SECOND, []),
        (b"\r\n\r\n" + SECOND, [b""]),
        (b"GET / HTTP/1.1\r\nHost: gw\r\n", []),
    ],
)  # fmt: skip
def test_a_message_holds_the_requests_that_the_book_says(raw: bytes, bodies: list[bytes]) -> None:
    assert bodies_in(raw) == bodies
