"""The gateway on the wire: a real server in a process of its own, raw sockets on both sides."""

import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import randbits

import pytest

from tests.routes.gateway import stubs
from tests.routes.gateway.running import Gateway, proxying
from tests.routes.gateway.strangers import mistreat
from tests.routes.gateway.streaming import CLOSE, ROOM_KIB, events_one_by_one, leave_in_the_middle, up_and_down
from tests.routes.gateway.stubs import Upstream


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def _gateway(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with proxying(tmp_path_factory.mktemp("gateway"), upstream.url) as gateway:
        yield gateway


@pytest.fixture
def gateway(_gateway: Gateway, upstream: Upstream) -> Gateway:
    upstream.behaviour = stubs.ok
    upstream.seen.clear()
    upstream.partial.clear()
    upstream.gone.clear()
    return _gateway


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ")[1])


def test_a_request_and_its_answer_pass(gateway: Gateway, upstream: Upstream) -> None:
    upstream.behaviour = stubs.says(
        b"HTTP/1.1 201 Made\r\nX-A: 1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 3\r\nServer: up\r\n\r\n"
        b"\x00\xff\n"
    )
    answer = gateway.ask(b"PUT /a%20b?x=1&x=2 HTTP/1.1\r\n" + CLOSE + b"X-Q: 1\r\nContent-Length: 4\r\n\r\nbody")
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"http/1.1 201 created"
    assert body == b"\x00\xff\n"
    assert [line for line in lines if line.startswith((b"set-cookie", b"server", b"content-length", b"via"))] == [
        b"set-cookie: a=1", b"set-cookie: b=2", b"content-length: 3", b"server: up", b"via: 1.1 routing-gateway",
    ]  # fmt: skip
    assert b"x-route-version: 1" in lines
    (seen,) = upstream.seen
    assert (seen.line, seen.body) == ("PUT /a%20b?x=1&x=2 HTTP/1.1", b"body")
    assert seen.header("host") == f"127.0.0.1:{upstream.port}"
    assert seen.header("x-forwarded-for") == "127.0.0.1"
    assert seen.header("x-forwarded-host") == "gw.example"
    assert seen.header("connection") is None


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n", b""),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy", b"busy"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", b""),
    ],
)  # fmt: skip
def test_an_answer_of_any_kind_passes(gateway: Gateway, upstream: Upstream, raw: bytes, body: bytes) -> None:
    upstream.behaviour = stubs.says(raw)
    answer = gateway.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert status_of(answer) == status_of(raw)
    assert answer.partition(b"\r\n\r\n")[2] == body


def test_a_head_has_the_length_of_what_a_get_would_bring_and_no_body(gateway: Gateway, upstream: Upstream) -> None:
    upstream.behaviour = stubs.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n")
    answer = gateway.ask(b"HEAD / HTTP/1.1\r\n" + CLOSE + b"\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-length: 1234" in head.lower()
    assert body == b""


@pytest.mark.parametrize(
    ("behaviour", "status", "code"),
    [
        (stubs.resets, 502, b"upstream_failed"),
        (stubs.garbage, 502, b"upstream_failed"),
        (stubs.hangs, 504, b"upstream_timeout"),
        (
            stubs.says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
            502,
            b"upstream_failed",
        ),
        *(
            (stubs.says(b"HTTP/1.1 " + said + b"\r\nContent-Length: 2\r\n\r\nok"), 502, b"upstream_failed")
            for said in (
                b"000 X",
                b"099 X",
                b"1000 X",
                b"101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade",
                b"200 OK\r\nX-A: a\x01b",
                b"200 OK\r\nX-A: a\x7fb",
                b"200 OK\r\nX-A: a\x00b",
            )
        ),
    ],
)
def test_an_upstream_that_fails_is_an_answer_without_an_address(
    gateway: Gateway, upstream: Upstream, behaviour: stubs.Behaviour, status: int, code: bytes
) -> None:
    upstream.behaviour = behaviour
    answer = gateway.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert status_of(answer) == status
    assert code in answer
    upstream.behaviour = stubs.ok
    assert status_of(gateway.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n")) == 200  # it does not fall with the upstream
    assert b"127.0.0.1" not in answer
    assert str(upstream.port).encode() not in answer


def _answers(sock: socket.socket, count: int) -> list[bytes]:
    """So many answers, each with the length that it tells."""
    got, found = b"", []
    while len(found) < count:
        data = sock.recv(2**16)
        assert data, (got, found)
        got += data
        while b"\r\n\r\n" in got:
            head, _, rest = got.partition(b"\r\n\r\n")
            length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
            if len(rest) < length:
                break
            found.append(head)
            got = rest[length:]
    return found


def test_who_is_refused_before_the_body_came_hears_it_and_the_connection_goes_on(
    gateway: Gateway, upstream: Upstream
) -> None:
    refused = b"POST /broken HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 100000\r\n\r\n"
    with gateway.connect() as sock:
        for _ in range(3):
            sock.sendall(refused)
            time.sleep(0.05)
            sock.sendall(b"a" * 100_000)
            sock.sendall(b"GET / HTTP/1.1\r\nHost: gw.example\r\n\r\n")
            assert [status_of(head) for head in _answers(sock, 2)] == [500, 200]
    # Who asks first need not send it, and who never does is told all the same.
    for more in (b"Expect: 100-continue\r\n", b""):
        with gateway.connect() as sock:
            sock.sendall(refused[:-2] + more + b"\r\n")
            (head,) = _answers(sock, 1)
            assert status_of(head) == 500


def test_a_fault_of_our_own_is_500_and_tells_nothing_of_its_inside(gateway: Gateway) -> None:
    answer = gateway.ask(b"GET /broken HTTP/1.1\r\n" + CLOSE + b"\r\n")
    assert status_of(answer) == 500
    assert b"secret" not in answer


@pytest.mark.parametrize(
    "behaviour", [stubs.cut, stubs.cut_chunked, stubs.resets_in_the_answer], ids=lambda each: each.__name__
)
def test_an_answer_that_breaks_off_is_not_ended_by_us(
    gateway: Gateway, upstream: Upstream, behaviour: stubs.Behaviour
) -> None:
    upstream.behaviour = behaviour
    answer = gateway.ask(b"GET / HTTP/1.1\r\nHost: gw\r\n\r\n")  # closed by the gateway though the client would keep it
    assert status_of(answer) == 200
    assert not answer.endswith(b"0\r\n\r\n")
    assert answer.partition(b"\r\n\r\n")[2] in (b"abc", b"3\r\nabc\r\n", b"")


def test_an_upstream_may_answer_while_its_request_still_comes(tmp_path: Path) -> None:
    """Each piece of the answer hangs on one of the request, as where both talk."""
    got: list[bytes] = []

    def talk(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection:
            head = b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(2**16)
            connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            _, _, begun = head.partition(b"\r\n\r\n")
            while sum(map(len, got)) < 3:
                got.append(begun or connection.recv(1))
                begun = b""
                connection.sendall(b"1\r\n%b\r\n" % got[-1])
            connection.sendall(b"0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=talk, args=(server,), daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        with proxying(tmp_path, url) as gateway, gateway.connect() as sock:
            sock.sendall(b"POST / HTTP/1.1\r\nHost: gw.example\r\nContent-Length: 3\r\n\r\n")
            answer = b""
            for said, heard in ((b"a", b"1\r\na\r\n"), (b"b", b"1\r\nb\r\n"), (b"c", b"0\r\n\r\n")):
                sock.sendall(said)
                while not answer.endswith(heard):
                    data = sock.recv(2**16)
                    assert data, answer
                    answer += data
    assert got == [b"a", b"b", b"c"]


def test_events_pass_one_by_one(gateway: Gateway, upstream: Upstream) -> None:
    assert events_one_by_one(gateway, upstream, 3).endswith(b"0\r\n\r\n")


def test_a_client_that_goes_away_ends_the_upstreams_work(gateway: Gateway, upstream: Upstream) -> None:
    seed = randbits(32)
    random_ = random.Random(seed)
    for _ in range(6):  # in less than the gateway's own five seconds
        assert leave_in_the_middle(gateway, upstream, random_) is not None, f"seed {seed}"


def test_a_client_that_goes_away_in_the_middle_of_its_request_leaves_half_a_request_and_no_whole_one(
    gateway: Gateway, upstream: Upstream
) -> None:
    with gateway.connect() as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: gw\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000)
        time.sleep(0.3)
    assert upstream.gone.wait(5)
    assert upstream.seen == []


# --- Large bodies -----------------------------------------------------------------------------------------------------

SIZE = 64 * 2**20


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
def test_a_large_body_goes_up_and_comes_down_in_little_memory(
    gateway: Gateway, upstream: Upstream, is_chunked: bool
) -> None:
    passed = up_and_down(gateway, upstream, SIZE, is_chunked=is_chunked)
    assert (passed.up, passed.down) == (SIZE, SIZE)
    assert passed.grown_kib < ROOM_KIB


def test_a_slow_upstream_holds_back_a_fast_client(gateway: Gateway, upstream: Upstream) -> None:
    sent = 0
    upstream.pause.clear()
    before = gateway.peak_kib()
    with gateway.connect(60) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\n" + CLOSE + b"Content-Length: %d\r\n\r\n" % (4 * SIZE))
        sock.settimeout(1.0)
        try:
            while sent < 4 * SIZE:
                sent += sock.send(bytes(2**16))
        except TimeoutError:
            pass
        upstream.pause.set()
    assert sent < SIZE  # what the buffers of four sockets take
    assert gateway.peak_kib() - before < ROOM_KIB


def test_bad_clients_and_bad_upstreams_leave_nothing_behind(gateway: Gateway, upstream: Upstream) -> None:
    seed = randbits(32)
    random_ = random.Random(seed)
    mistreat(gateway, upstream, random_, 100)
    before = gateway.descriptors()
    counts = mistreat(gateway, upstream, random_, 500)
    assert counts["left"] > 50
    until = time.monotonic() + 5
    while gateway.descriptors() >= before + 15 and time.monotonic() < until:
        time.sleep(0.1)
    assert gateway.descriptors() < before + 15, f"seed {seed}: {counts}"
