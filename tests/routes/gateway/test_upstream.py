"""Asking upstreams: what goes out, what comes of those that fail, and where nothing goes at all."""

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from routes.engine import Timeouts
from routes.engine.egress import PrivateUpstream
from routes.engine.errors import EgressDenied, RoutingError, UpstreamFailed, UpstreamTimeout
from routes.gateway.messages import Headers, Response
from routes.gateway.upstream import UpstreamClient
from tests.routes.engine.test_egress import NEVER, NOT_PUBLIC, SPELLINGS
from tests.routes.gateway import stubs
from tests.routes.gateway.loops import in_a_loop
from tests.routes.gateway.stubs import Upstream, listening

FAST = Timeouts(connect_seconds=0.3, first_byte_seconds=0.3, idle_seconds=0.3)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def ask(
    client: UpstreamClient, url: str, *, method: str = "GET", headers: Headers | None = None, body: Any = None,
    timeouts: Timeouts = FAST, guard: Any = None,
) -> tuple[Response, bytes]:  # fmt: skip
    response = await client.open(method, url, headers or [], body, timeouts=timeouts, private_upstreams=guard)
    try:
        return response, b"".join([part async for part in response.body])
    finally:
        await response.aclose()


# --- What goes out, and what comes back -------------------------------------------------------------------------------


@in_a_loop
async def test_a_request_goes_out_as_it_is_and_its_answer_comes_back_as_it_is() -> None:
    raw = (
        b"HTTP/1.1 203 Fine By Me\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-A:  spaced \r\nContent-Length: 2\r\n\r\nhi"
    )
    with Upstream(stubs.says(raw)) as upstream:
        client = UpstreamClient()
        url = f"{upstream.url}/a%2Fb/%7Ec//d;x?q=%20+&&a=1&a=2"
        response, body = await ask(client, url, headers=[(b"x-b", b"1"), (b"x-a", b"2"), (b"x-b", b"3")])
        await client.aclose()
    assert (response.status, response.reason, body) == (203, "Fine By Me", b"hi")
    assert response.headers == [
        (b"set-cookie", b"a=1"),
        (b"set-cookie", b"b=2"),
        (b"x-a", b"spaced"),
        (b"content-length", b"2"),
    ]
    (seen,) = upstream.seen
    assert seen.line == "GET /a%2Fb/%7Ec//d;x?q=%20+&&a=1&a=2 HTTP/1.1"
    assert seen.headers == [("host", f"127.0.0.1:{upstream.port}"), ("x-b", "1"), ("x-a", "2"), ("x-b", "3")]


@pytest.mark.parametrize("length", [7, None])
@in_a_loop
async def test_a_body_goes_out_with_the_length_that_was_told_or_chunked(length: int | None) -> None:
    with Upstream() as upstream:
        client = UpstreamClient()
        headers = [] if length is None else [(b"content-length", b"7")]
        _, body = await ask(client, upstream.url, method="POST", headers=headers, body=pieces(b"abc", b"defg"))
        await client.aclose()
    (seen,) = upstream.seen
    assert (seen.body, body) == (b"abcdefg", b"ok")
    assert seen.header("content-length") == (None if length is None else "7")
    assert seen.header("transfer-encoding") == ("chunked" if length is None else None)


@pytest.mark.parametrize("parts", [(b"abc",), (b"abc", b"defgh")])
@in_a_loop
async def test_a_body_of_another_length_than_was_told_is_no_request(parts: tuple[bytes, ...]) -> None:
    with Upstream() as upstream:
        client = UpstreamClient()
        with pytest.raises(UpstreamFailed):
            await ask(client, upstream.url, method="POST", headers=[(b"content-length", b"7")], body=pieces(*parts))
        await client.aclose()
        assert [seen.body for seen in upstream.seen] in ([], [b"abcdefg"])


@in_a_loop
async def test_an_answer_that_begins_before_the_request_ends_breaks_neither() -> None:
    """Both are streamed at once: the upstream answers the first piece, and ends when it has the last one."""
    is_answered = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"first\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nearly")
            await reader.readuntil(b"third\r\n0\r\n\r\n")
            writer.write(b", so!")
        writer.close()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await is_answered.wait()
        yield b"second"
        await asyncio.sleep(0.05)
        yield b"third"

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    client = UpstreamClient()
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        response = await client.open("POST", url, [], pieces(), timeouts=FAST, private_upstreams=None)
        is_answered.set()
        assert b"".join([piece async for piece in response.body]) == b"early, so!"
        await response.aclose()
    finally:
        await client.aclose()
        server.close()


@in_a_loop
async def test_what_the_body_raises_is_what_is_raised() -> None:
    class ClientGone(Exception):
        pass

    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ClientGone

    with Upstream() as upstream:
        client = UpstreamClient()
        with pytest.raises(ClientGone):
            await ask(client, upstream.url, method="POST", body=broken())
        await client.aclose()
        assert upstream.seen == []


@in_a_loop
async def test_a_connection_is_kept_and_used_again() -> None:
    with Upstream() as upstream:
        client = UpstreamClient()
        for _ in range(5):
            await ask(client, upstream.url)
        await client.aclose()
    assert (len(upstream.seen), upstream.connections) == (5, 1)


@in_a_loop
async def test_a_packed_answer_stays_packed() -> None:
    with Upstream(stubs.bomb) as upstream:
        client = UpstreamClient()
        _, body = await ask(client, upstream.url, timeouts=Timeouts())
        await client.aclose()
    assert len(body) < 100_000
    assert len(gzip.decompress(body)) == 20_000_000


@in_a_loop
async def test_a_redirect_is_an_answer_and_cookies_are_nobodys() -> None:
    raw = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n"
    with Upstream(stubs.says(raw)) as upstream:
        client = UpstreamClient()
        response, _ = await ask(client, upstream.url)
        await ask(client, upstream.url)
        await client.aclose()
    assert response.status == 302
    assert [seen.header("cookie") for seen in upstream.seen] == [None, None]


# --- Those that fail --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (stubs.hangs, UpstreamTimeout),
        (stubs.hangs_in_the_answer, UpstreamTimeout),
        (stubs.resets, UpstreamFailed),
        (stubs.resets_in_the_answer, UpstreamFailed),
        (stubs.cut, UpstreamFailed),
        (stubs.cut_chunked, UpstreamFailed),
        (stubs.bad_chunk, UpstreamFailed),
        (stubs.garbage, UpstreamFailed),
        (stubs.nothing, UpstreamFailed),
        (stubs.endless_header, UpstreamFailed),
        (stubs.endless_headers, RoutingError),
        (stubs.early_hints_for_ever, UpstreamTimeout),
    ],
    ids=lambda given: getattr(given, "__name__", "says"),
)
@in_a_loop
async def test_an_upstream_that_fails_is_told_apart(behaviour: Any, error: type[Exception]) -> None:
    with Upstream(behaviour) as upstream:
        client = UpstreamClient()
        with pytest.raises(error) as caught:
            await ask(client, upstream.url)
        await client.aclose()
    assert "127.0.0.1" not in str(caught.value)


@in_a_loop
async def test_who_cannot_be_reached_failed_and_may_be_asked_again() -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    client = UpstreamClient()
    with pytest.raises(UpstreamFailed) as caught:
        await ask(client, f"http://127.0.0.1:{port}/")
    assert caught.value.retryable
    with pytest.raises(UpstreamFailed):
        await ask(client, "http://no-such-name.invalid/")
    await client.aclose()


@in_a_loop
async def test_who_does_not_take_the_connection_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as sock:
        port = sock.getsockname()[1]
        full = [socket.socket() for _ in range(4)]
        for each in full:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        client = UpstreamClient()
        with pytest.raises(UpstreamTimeout):
            await ask(client, f"http://127.0.0.1:{port}/")
        await client.aclose()
        for each in full:
            each.close()


@in_a_loop
async def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    with Upstream(tls=stubs.self_signed(tmp_path)) as upstream:
        client = UpstreamClient()
        with pytest.raises(UpstreamFailed):
            await ask(client, f"https://localhost:{upstream.port}/", timeouts=Timeouts())
        await client.aclose()
        await asyncio.sleep(0.25)  # of TLS the end is told to the other side first
        assert upstream.seen == []


@pytest.mark.parametrize("size", [1, 2**16, 2**16 + 1, 2**22])
@in_a_loop
async def test_a_body_that_is_at_hand_goes_out_whole(size: int) -> None:
    given = bytes(range(256)) * (size // 256) + bytes(size % 256)
    with Upstream() as upstream:
        client = UpstreamClient()
        _, body = await ask(
            client, upstream.url, method="POST", headers=[(b"content-length", b"%d" % size)], body=given
        )
        await client.aclose()
    assert body == b"ok"
    assert upstream.seen[0].body == given
    assert upstream.seen[0].header("content-length") == str(size)
    assert upstream.seen[0].header("transfer-encoding") is None


@in_a_loop
async def test_a_slow_sender_is_not_the_upstreams_fault_and_its_answer_may_take_as_long_after() -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(4):
            await asyncio.sleep(0.15)
            yield b"x"

    with Upstream() as upstream:
        client = UpstreamClient()
        _, body = await ask(client, upstream.url, method="POST", body=slow())
        await client.aclose()
    assert body == b"ok"


@in_a_loop
async def test_an_answer_may_take_for_ever_as_long_as_something_comes() -> None:
    with Upstream(stubs.drips) as upstream:
        client = UpstreamClient()
        response = await client.open("GET", upstream.url, [], None, timeouts=FAST, private_upstreams=None)
        got = []
        began = time.monotonic()
        for number in range(3):
            part = await anext(response.body)
            got.append(part)
            assert part == b"data: %d\n\n" % number  # before the next one is sent
            await asyncio.sleep(0.2)
            upstream.go_on()
        assert [part async for part in response.body] == []
        assert time.monotonic() - began > 2 * 0.3 * 0.9
        await response.aclose()
        await client.aclose()


@in_a_loop
async def test_an_answer_that_is_left_closes_its_connection() -> None:
    with Upstream(stubs.drips) as upstream:
        client = UpstreamClient()
        response = await client.open("GET", upstream.url, [], None, timeouts=FAST, private_upstreams=None)
        await anext(response.body)
        await response.aclose()
        await asyncio.to_thread(upstream.gone.wait, 5)
        assert upstream.gone.is_set()
        await client.aclose()


# --- Where nothing goes -----------------------------------------------------------------------------------------------


def names(answers: dict[str, list[str]]) -> Any:
    """A resolver that answers this."""

    async def lookup(host: str, port: int, family: int) -> list[tuple[int, str]]:
        found = answers.get(host)
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET6 if ":" in each else socket.AF_INET, each) for each in found]

    return lookup


def spelled(address: str) -> str:
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


@pytest.mark.parametrize("address", [*NEVER, *NOT_PUBLIC, *(each for each in SPELLINGS if each != "8.8.8.8")])
@in_a_loop
async def test_a_forbidden_address_is_not_connected_to_however_it_is_reached(address: str) -> None:
    with listening() as listener:
        plain = address.strip("[]").replace("%25", "%")
        client = UpstreamClient(lookup=names({"name.example": [plain], "both.example": ["127.0.0.1", plain]}))
        for host in (spelled(address), "name.example", "both.example"):
            with pytest.raises((EgressDenied, UpstreamFailed)) as caught:
                await ask(client, f"http://{host}:{listener.port}/", guard=())
            if host != "name.example" or plain in (*NEVER, *NOT_PUBLIC):
                assert isinstance(caught.value, EgressDenied)
        await client.aclose()
        assert listener.connections() == 0


@in_a_loop
async def test_localhost_by_name_is_found_out_by_the_real_resolver() -> None:
    with listening() as listener:
        client = UpstreamClient()
        with pytest.raises(EgressDenied):
            await ask(client, f"http://localhost:{listener.port}/", guard=())
        await client.aclose()
        assert listener.connections() == 0


@in_a_loop
async def test_a_name_that_answers_otherwise_at_the_second_time_is_connected_to_where_it_was_judged() -> None:
    asked: list[str] = []

    async def lookup(host: str, port: int, family: int) -> list[tuple[int, str]]:
        asked.append(host)
        return [(socket.AF_INET, "192.0.2.77" if len(asked) % 2 else "127.0.0.1")]

    with listening() as listener:
        # A documentation address, allowed for the test: nobody answers there, and that it was tried is all that counts.
        allowed = (PrivateUpstream("192.0.2.0/24", listener.port),)
        client = UpstreamClient(lookup=lookup)
        for _ in range(6):
            with pytest.raises((EgressDenied, UpstreamFailed, UpstreamTimeout)):
                await ask(client, f"http://rebinds.example:{listener.port}/", guard=allowed, timeouts=FAST)
        await client.aclose()
        assert listener.connections() == 0


@in_a_loop
async def test_a_connection_that_one_organisation_may_use_is_not_anothers() -> None:
    """Loopback is never allowed, so a provider's connection, which is not judged, stands for an allowed one."""
    with Upstream() as upstream:
        client = UpstreamClient(lookup=names({"up.example": ["127.0.0.1"]}))
        url = f"http://up.example:{upstream.port}/"
        await ask(client, url, guard=None)
        for guard in [(), (PrivateUpstream("10.0.0.0/8", upstream.port),)]:
            with pytest.raises(EgressDenied):
                await ask(client, url, guard=guard)
        await ask(client, url, guard=None)
        await client.aclose()
        assert (len(upstream.seen), upstream.connections) == (2, 1)


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    @in_a_loop
    async def run() -> None:
        with Upstream() as upstream:
            client = UpstreamClient()
            await ask(client, upstream.url)
            await client.aclose()
            assert len(upstream.seen) == 1

    with listening() as listener:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
        run()
        assert listener.connections() == 0


@pytest.mark.parametrize("url", ["http://user:pass@8.8.8.8/", "ftp://8.8.8.8/", "http:///x", "//8.8.8.8/"])
@in_a_loop
async def test_a_url_that_is_none_leads_nowhere(url: str) -> None:
    client = UpstreamClient()
    with pytest.raises(EgressDenied):
        await ask(client, url, guard=())
    await client.aclose()
