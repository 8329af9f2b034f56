"""Bodies and answers too large to be held, events that must not wait for one another, and clients that do not stay for the
end: the suite asks for a little of each, a campaign for much."""

import http.client
import random
import threading
import time
from dataclasses import dataclass

from tests.routes.gateway import stubs
from tests.routes.gateway.running import Gateway
from tests.routes.gateway.stubs import Seen, Upstream, Writer

CLOSE = b"Host: gw.example\r\nConnection: close\r\n"
#: Of bodies however large a gateway may hold so much, in KiB.
ROOM_KIB = 24 * 2**10
_PIECE = bytes(2**20)


@dataclass
class Passed:
    """A body that went up, and one that came down: their sizes in bytes, how much more memory the gateway had at its worst
    than before, in KiB, and the seconds that it took."""

    up: int
    down: int
    grown_kib: int
    seconds: float


def up_and_down(gateway: Gateway, upstream: Upstream, size: int, *, is_chunked: bool = False) -> Passed:
    """Send a body of so many bytes, and be answered one. The client waits for a second before it reads, and the upstream
    before it does, so that what is not held back would pile up."""

    async def large(upstream: Upstream, seen: Seen, writer: Writer) -> None:
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size
        writer.write(b"HTTP/1.1 200 OK\r\n%s\r\n\r\n" % framing)
        for piece in _pieces(size, is_chunked):
            writer.write(piece)
            await writer.drain()

    upstream.behaviour = stubs.ok
    gateway.ask(b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n")
    gateway.forget_peak()
    before, began = gateway.peak_kib(), time.monotonic()
    upstream.seen.clear()
    upstream.behaviour = large
    upstream.pause.clear()
    with gateway.connect(60) as sock:
        framing = b"Transfer-Encoding: chunked" if is_chunked else b"Content-Length: %d" % size

        def send() -> None:
            sock.sendall(b"POST / HTTP/1.1\r\n" + CLOSE + framing + b"\r\n\r\n")
            for piece in _pieces(size, is_chunked):
                sock.sendall(piece)

        sender = threading.Thread(target=send)
        sender.start()
        time.sleep(1.0)
        upstream.pause.set()
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        time.sleep(1.0)
        down = 0
        while data := answer.read(2**20):
            down += len(data)
        sender.join()
    (seen,) = upstream.seen
    return Passed(seen.size, down, gateway.peak_kib() - before, time.monotonic() - began)


def answered_at_length(gateway: Gateway, upstream: Upstream, request: bytes, size: int) -> Passed:
    """Be answered events of so many bytes by the request's upstream; the client takes none of them for a second."""
    event = b"data: " + b"x" * (2**14 - 8) + b"\n\n"
    piece = event * (2**20 // len(event))

    async def talks(upstream: Upstream, seen: Seen, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(size // len(piece)):
            writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            await writer.drain()
        writer.write(b"0\r\n\r\n")

    upstream.behaviour = talks
    upstream.seen.clear()
    gateway.forget_peak()
    before, began = gateway.peak_kib(), time.monotonic()
    with gateway.connect(60) as sock:
        sock.sendall(request)
        answer = http.client.HTTPResponse(sock)
        answer.begin()
        time.sleep(1.0)
        down = 0
        while data := answer.read(2**20):
            down += len(data)
    return Passed(upstream.seen[0].size, down, gateway.peak_kib() - before, time.monotonic() - began)


def _pieces(size: int, is_chunked: bool) -> list[bytes]:
    framed = b"%x\r\n%s\r\n" % (len(_PIECE), _PIECE) if is_chunked else _PIECE
    return [framed] * (size // len(_PIECE)) + ([b"0\r\n\r\n"] if is_chunked else [])


def events_one_by_one(
    gateway: Gateway, upstream: Upstream, count: int, request: bytes = b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n"
) -> bytes:
    """Each event is there before the upstream sends the next. Raises `AssertionError` where one came early, and
    `TimeoutError` where one did not come. Answers what came in all."""
    upstream.behaviour = stubs.dripping(count)
    with gateway.connect() as sock:
        sock.sendall(request)
        got = b""
        for number in range(count):
            while b"data: %d\n\n" % number not in got[-2000:]:
                got += sock.recv(2**16)
            assert b"data: %d\n" % (number + 1) not in got
            upstream.go_on()
        while data := sock.recv(2**16):
            got += data
    return got


def leave_in_the_middle(
    gateway: Gateway,
    upstream: Upstream,
    random_: random.Random,
    request: bytes = b"GET / HTTP/1.1\r\n" + CLOSE + b"\r\n",
    *,
    seconds: float = 4.0,
) -> float | None:
    """How long after a client has gone, at some moment of its answer, the call of its upstream ended; None: not in so many
    seconds."""
    upstream.gone.clear()
    upstream.seen.clear()
    upstream.behaviour = random_.choice([stubs.hangs, stubs.drips, stubs.hangs_in_the_answer])
    with gateway.connect() as sock:
        sock.sendall(request)
        while not upstream.seen:
            time.sleep(0.002)
        time.sleep(random_.uniform(0, 0.05))
        if random_.random() < 0.5:  # at once, and not in peace
            stubs.reset_when_closed(sock)
    began = time.monotonic()
    return time.monotonic() - began if upstream.gone.wait(seconds) else None
