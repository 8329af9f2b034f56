"""A provider that always answers the same, and clients that ask it, directly or through somebody: raw sockets and one epoll
each, so that as little as possible of what is measured is theirs.

`python -m tests.bench.load PORT` is the provider.
"""

import json
import math
import re
import select
import socket
import sys
import time
from collections import deque
from dataclasses import dataclass, field

ANSWER = json.dumps({
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": "gpt-4o-mini",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello. Nobody thought about this answer."},
                 "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 21, "completion_tokens": 14, "total_tokens": 35},
}).encode()  # fmt: skip
_SAID = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(ANSWER) + ANSWER
_length_in = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE).search
_is_chunked = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE).search
_CONNECT_SECONDS = 10.0


class WrongAnswer(AssertionError):
    """What came back is not what the provider says, so that its time would mean nothing."""


def end_of(data: bytes) -> int | None:
    """Where the first message of these bytes ends; None: not within them. A length is told, or chunks have no trailers."""
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return None
    if found := _length_in(data, 0, head):
        end = head + 4 + int(found[1])
        return end if len(data) >= end else None
    if _is_chunked(data, 0, head):
        end = data.find(b"0\r\n\r\n", head)  # no chunk of these answers ends in a zero
        return None if end < 0 else end + 5
    return head + 4


def provide(port: int) -> None:
    """Answer for ever, on 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    polled = select.epoll()
    polled.register(listener, select.EPOLLIN)
    clients: dict[int, tuple[socket.socket, bytearray]] = {}
    while True:
        for number, _ in polled.poll():
            if number == listener.fileno():
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                clients[sock.fileno()] = sock, bytearray()
                polled.register(sock, select.EPOLLIN)
                continue
            sock, got = clients[number]
            try:
                data = sock.recv(2**16)
            except ConnectionError:
                data = b""
            got += data
            if not data:
                polled.unregister(sock)
                sock.close()
                del clients[number]
            elif (end := end_of(got)) is not None:
                del got[:end]
                sock.send(_SAID)


@dataclass
class Load:
    """How requests went: seconds of each, and how long all of them took."""

    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0
    #: Requests that were due and not sent when the time was over.
    late: int = 0

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """By nearest rank, in seconds."""
        ordered = sorted(self.latencies)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@dataclass(slots=True)
class _Client:
    sock: socket.socket
    got: bytearray = field(default_factory=bytearray)
    began: float = 0.0


def ask(port: int, request: bytes, *, connections: int, seconds: float, rate: float | None = None) -> Load:
    """Send the request again and again over so many connections: `rate` times a second, or as soon as the last one is
    answered.

    A request that is due while every connection waits, waits too, and that counts as its latency; how exactly the system
    wakes us for the next one does not. Raises `WrongAnswer` for any answer but the provider's.
    """
    load, clock = Load(), time.perf_counter
    polled = select.epoll()
    clients: dict[int, _Client] = {}
    try:
        for _ in range(connections):
            sock = socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_SECONDS)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            clients[sock.fileno()] = _Client(sock)
            polled.register(sock, select.EPOLLIN)
        idle, waiting = deque(clients.values()), deque[float]()
        start, sent = clock(), 0
        end = start + seconds
        while (now := clock()) < end:
            if rate is None:
                waiting.extend([now] * len(idle))
            else:
                while start + sent / rate <= now:
                    waiting.append(now)
                    sent += 1
            while idle and waiting:
                client = idle.popleft()
                client.began = waiting.popleft()
                client.sock.send(request)
            next_at = end if rate is None else start + sent / rate
            for number, _ in polled.poll(max(0.0, min(next_at, end) - clock())):
                client = clients[number]
                if _is_whole(client):
                    load.latencies.append(clock() - client.began)
                    idle.append(client)
        load.late = len(waiting) if rate is not None else 0
        load.seconds = clock() - start
        # What is under way is let finish, so that nothing of it falls into the next time.
        left = {number for number, client in clients.items() if client not in idle}
        until = clock() + _CONNECT_SECONDS
        while left and clock() < until:
            for number, _ in polled.poll(0.5):
                if number in left and _is_whole(clients[number]):
                    left.discard(number)
    finally:
        for client in clients.values():
            client.sock.close()
        polled.close()
    return load


def _is_whole(client: _Client) -> bool:
    """Whether the answer is there. Takes what came of it."""
    data = client.sock.recv(2**16)
    if not data:
        raise WrongAnswer("The connection was closed in the middle.")
    client.got += data
    if end_of(client.got) is None:
        return False
    if not client.got.startswith(b"HTTP/1.1 200 ") or b'"chatcmpl-1"' not in client.got:
        raise WrongAnswer(f"Not the provider's answer: {bytes(client.got[:500])!r}")
    client.got.clear()
    return True


if __name__ == "__main__":
    provide(int(sys.argv[1]))
