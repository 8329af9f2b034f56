"""Clients and upstreams that are the worst there are: what is left of them in a gateway afterwards must be nothing."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.routes.gateway import stubs
from tests.routes.gateway.running import Gateway
from tests.routes.gateway.stubs import Seen, Upstream, Writer

AT_A_TIME = 10
_GET = b"GET /x HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n"
#: To be answered the beginning of an answer, whose end never comes.
_ENDLESS = b"GET /endless HTTP/1.1\r\nHost: gw\r\n\r\n"
_HALF = b"POST /x HTTP/1.1\r\nHost: gw\r\nContent-Length: 100\r\n\r\nabc"
_UPSTREAMS = (
    stubs.ok, stubs.ok, stubs.resets, stubs.cut, stubs.garbage, stubs.nothing, stubs.resets_in_the_answer, stubs.bad_chunk,
    stubs.cut_chunked, stubs.redirects, stubs.says(b"HTTP/1.1 099 X\r\n\r\n"), stubs.endless_header,
    stubs.says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nmore"),
)  # fmt: skip


@dataclass
class Held:
    """What the serving process has: memory in KiB, files and sockets."""

    kib: int
    descriptors: int

    @classmethod
    def of(cls, gateway: Gateway) -> "Held":
        status = Path(f"/proc/{gateway.worker()}/status").read_text()
        kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        return cls(kib, gateway.descriptors())


def mistreat(gateway: Gateway, upstream: Upstream, random_: random.Random, count: int) -> Counter[str]:
    """So many requests, every seventh by a client that leaves in the middle; the upstream changes its ways all the time.
    Answers the statuses, counted; those that broke off before one are `none`."""

    behaviour = stubs.ok

    async def behave(upstream: Upstream, seen: Seen, writer: Writer) -> None:
        await (stubs.hangs_in_the_answer if "/endless" in seen.line else behaviour)(upstream, seen, writer)

    upstream.behaviour = behave

    def ask(number: int) -> str:
        nonlocal behaviour
        if number % 40 == 0:
            behaviour = random_.choice(_UPSTREAMS)
        if number % 7:
            answer = gateway.ask(_GET, seconds=5)
            return answer.split(b" ")[1].decode() if answer else "none"
        with gateway.connect(5) as sock:
            sock.sendall(request := random_.choice([_GET, _HALF, _ENDLESS]))
            if request == _ENDLESS:
                sock.recv(1_000)
            if random_.random() < 0.5:
                stubs.reset_when_closed(sock)
        return "left"

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        counts = Counter(pool.map(ask, range(count)))
    upstream.behaviour = stubs.ok
    assert gateway.ask(_GET).startswith(b"HTTP/1.1 200 ")
    return counts
