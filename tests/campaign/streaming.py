"""1 GiB up and 1 GiB down through a gateway in a process of its own, with a length and in chunks, within a bound of memory;
10,000 events one by one; 500 clients that go away in the middle; and the same of a model's answers, through the gateway as
operators start it."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.routes.gateway.running import Gateway, proxying
from tests.routes.gateway.serving import World, a_stream
from tests.routes.gateway.streaming import (
    Passed,
    answered_at_length,
    events_one_by_one,
    leave_in_the_middle,
    up_and_down,
)
from tests.routes.gateway.stubs import Upstream

SIZE, EVENTS, CLIENTS = 2**30, 10_000, 500
#: How much more memory than before a gateway may have at its worst, in KiB.
ROOM_KIB = 64 * 2**10
#: A call that nobody waits for ends within so many seconds, which is before any timeout of the gateway's.
GONE_SECONDS = 2.0


def run(seed: int, say: Callable[[str], None]) -> bool:
    random_ = random.Random(seed)

    def held(what: str, passed: Passed, up: int = SIZE) -> bool:
        say(
            f"{what}: {passed.up / 2**20:,.0f} MiB up, {passed.down / 2**20:,.0f} MiB down in {passed.seconds:.0f} s, "
            f"memory {passed.grown_kib / 1024:+.1f} MiB at its worst (bound: {ROOM_KIB / 1024:.0f})"
        )
        return (passed.up, passed.down) == (up, SIZE) and passed.grown_kib <= ROOM_KIB

    with tempfile.TemporaryDirectory() as folder:
        with Upstream(keeps_bodies=False) as upstream, proxying(Path(folder), upstream.url) as gateway:
            good = held("a service, by length", up_and_down(gateway, upstream, SIZE))
            good &= held("a service, in chunks", up_and_down(gateway, upstream, SIZE, is_chunked=True))
            good &= _events_and_clients("a service", gateway, upstream, None, random_, say)
        world = World(Path(folder))
        with world.openai as provider, world.other, world.gateway() as gateway:
            request = a_stream(b"Connection: close\r\n")
            good &= held(
                "a model, as events", passed := answered_at_length(gateway, provider, request, SIZE), passed.up
            )
            good &= _events_and_clients("a model", gateway, provider, request, random_, say)
    return good


def _events_and_clients(
    what: str,
    gateway: Gateway,
    upstream: Upstream,
    request: bytes | None,
    random_: random.Random,
    say: Callable[[str], None],
) -> bool:
    given = () if request is None else (request,)
    before = gateway.descriptors()
    whole = events_one_by_one(gateway, upstream, EVENTS, *given).endswith(b"0\r\n\r\n")
    say(f"{what}: {EVENTS:,} events, each there before the next was sent{'' if whole else ', and NO END'}")
    took = [leave_in_the_middle(gateway, upstream, random_, *given, seconds=GONE_SECONDS) for _ in range(CLIENTS)]
    ended = sorted(seconds for seconds in took if seconds is not None)
    more = gateway.descriptors() - before
    slowest = (
        f"half of them within {ended[len(ended) // 2] * 1000:.0f} ms, all of these within {ended[-1] * 1000:.0f} ms"
        if ended
        else ""
    )
    say(
        f"{what}: {len(ended):,} of {CLIENTS:,} calls ended when their clients had gone, "
        f"{slowest}; {more} more descriptors open"
    )
    return whole and len(ended) == CLIENTS and more < 20
