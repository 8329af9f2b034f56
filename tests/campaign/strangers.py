"""40,000 requests of clients that leave, to upstreams that break off, lie or send nonsense, after which the gateway holds
what it held before; and 10,000 connections that say nothing, beside which everybody else is served."""

import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.routes.gateway.running import proxying
from tests.routes.gateway.serving import Client, World
from tests.routes.gateway.strangers import Held, mistreat
from tests.routes.gateway.stubs import Upstream

ROUNDS, REQUESTS, IDLE = 4, 10_000, 10_000
#: How much more a gateway may hold than after its first round.
MORE_KIB, MORE_DESCRIPTORS = 8 * 2**10, 30


def run(seed: int, say: Callable[[str], None]) -> bool:
    random_ = random.Random(seed)
    held: list[Held] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        Upstream() as upstream,
        proxying(Path(folder), upstream.url) as gateway,
    ):
        for number in range(1, ROUNDS + 1):
            counts = mistreat(gateway, upstream, random_, REQUESTS)
            time.sleep(2)
            held.append(now := Held.of(gateway))
            told = ", ".join(f"{status}: {count:,}" for status, count in counts.most_common())
            say(f"{number * REQUESTS:,} requests ({told}): {now.kib / 1024:.1f} MiB, {now.descriptors} descriptors")
    good = held[-1].kib - held[0].kib < MORE_KIB and held[-1].descriptors - held[0].descriptors < MORE_DESCRIPTORS
    return good and _idle(say)


def _idle(say: Callable[[str], None]) -> bool:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = IDLE if hard == resource.RLIM_INFINITY else min(IDLE, hard // 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 1_000), hard))
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        with world.openai, world.other, world.gateway() as gateway:
            before = Held.of(gateway)
            idle = [gateway.connect(10, f"127.0.2.{number % 200 + 1}") for number in range(count)]
            status = Client(gateway)()[0]
            during = Held.of(gateway)
            say(
                f"{count:,} silent connections: a client is answered {status}; {before.kib / 1024:.1f} to "
                f"{during.kib / 1024:.1f} MiB, {during.descriptors:,} descriptors"
            )
            until = time.monotonic() + 60
            while gateway.descriptors() > before.descriptors + MORE_DESCRIPTORS and time.monotonic() < until:
                time.sleep(1)
            left = gateway.descriptors()
            say(f"a minute later: {left} descriptors")
            for sock in idle:
                sock.close()
    return count == IDLE and status == 200 and left <= before.descriptors + MORE_DESCRIPTORS
