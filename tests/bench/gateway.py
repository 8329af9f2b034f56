"""A chat completion through a gateway: what it costs the processor, and how much longer it takes than without.

The same clients send the same body to the same provider, directly and through each contender: at a rate that all of them
can keep, and as fast as they can. In every round they come in another order, by a seed; figures are medians of the rounds,
and processor time that of all rounds together. Clients and provider have one core, the contender has another. Our gateway
looks a key up, reads the body, decides by a hundred routes, writes another model into the body and reads the answer's
tokens; nginx passes bytes on; Portkey and LiteLLM serve one provider and have no routes.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from secrets import randbits

from tests.bench.contenders import (
    CONTENDERS,
    DIRECT,
    LITELLM_NAME,
    NGINX,
    OURS,
    PORTKEY_NAME,
    ROUTES,
    Contender,
    started,
)
from tests.bench.load import ANSWER, Load, WrongAnswer, ask, end_of
from tests.bench.report import Row, held, microseconds, not_run, say, tell, times
from tests.bench.workload import ROOT, NotHereError
from tests.routes.gateway.running import free_port

RATE, CONNECTIONS, WARM_SECONDS = 50, 32, 1.0
ROUNDS, RATE_SECONDS, FULL_SECONDS = 5, 8.0, 3.0
QUICK_ROUNDS, QUICK_RATE_SECONDS, QUICK_FULL_SECONDS = 2, 2.0, 1.0
GOAL_US, GOAL_ADDED_MS = 250, 1.0
#: How many times less processor time than these.
GOALS = {PORTKEY_NAME: 5, LITELLM_NAME: 40}


@dataclass
class Found:
    """What the rounds of one contender gave: seconds, and at full speed requests a second."""

    steady: list[Load] = field(default_factory=list)
    full: list[Load] = field(default_factory=list)
    steady_cpu: float = 0.0
    full_cpu: float = 0.0

    def latency(self, share: float) -> float:
        """At the fixed rate."""
        return statistics.median(load.quantile(share) for load in self.steady)

    def full_latency(self, share: float) -> float:
        return statistics.median(load.quantile(share) for load in self.full)

    def per_second(self) -> float:
        return statistics.median(load.per_second for load in self.full)

    def cpu(self) -> float:
        """Processor time of a request at full speed."""
        return self.full_cpu / sum(len(load.latencies) for load in self.full)

    def cpu_steady(self) -> float:
        return self.steady_cpu / sum(len(load.latencies) for load in self.steady)

    def late(self) -> int:
        return sum(load.late for load in self.steady)


def main() -> int:
    quick = "--quick" in sys.argv
    seed = randbits(32)
    cores = sorted(os.sched_getaffinity(0))
    near, far = ({cores[0]}, {cores[-1]}) if len(cores) > 1 else (None, None)
    say(f"seed {seed}; clients and provider on core {near}, contenders on core {far}; load {os.getloadavg()[0]:.1f}")
    if near is not None:
        os.sched_setaffinity(0, near)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        provider = stack.enter_context(providing())
        contenders, absent = {DIRECT: Contender(DIRECT, provider)}, {}
        for name in CONTENDERS:
            try:
                contender = stack.enter_context(started(name, folder / name.replace(" ", "-"), provider, far))
                must_pass_on(contender)
            except NotHereError as error:
                if name == OURS:
                    raise
                absent[name] = str(error)
                continue
            contenders[name] = contender
        found = race(contenders, random.Random(seed), quick=quick)
        idle = idle_share(contenders)
        _say_all(found, contenders, idle)
    _tell_all(found, absent)
    return 0


@contextmanager
def providing() -> Iterator[int]:
    """The port of a provider in a process of its own."""
    port = free_port()
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.load", str(port)], cwd=ROOT)
    try:
        time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait()


def must_pass_on(contender: Contender) -> None:
    """Raises `NotHereError` where the provider's answer does not come back: its time would mean nothing."""
    import socket

    until, got = time.monotonic() + 60, b""
    while time.monotonic() < until:  # some listen before they can serve
        with socket.create_connection(("127.0.0.1", contender.port), timeout=20) as sock:
            sock.sendall(contender.request)
            got = b""
            while end_of(got) is None and (data := sock.recv(2**16)):
                got += data
        if got.startswith(b"HTTP/1.1 200"):
            break
        time.sleep(0.5)
    body = got.partition(b"\r\n\r\n")[2]
    start, end = body.find(b"{"), body.rfind(b"}") + 1
    try:
        said = json.loads(body[start:end])
        right = json.loads(ANSWER)
        same = said["choices"][0]["message"]["content"] == right["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError):
        same = False
    if not same:
        raise NotHereError(f"{contender.name} does not pass the answer on, but says {got[:200]!r}")


def race(contenders: dict[str, Contender], random_: random.Random, *, quick: bool) -> dict[str, Found]:
    """Every round in another order. Raises `WrongAnswer`."""
    rounds, steady, full = (
        (QUICK_ROUNDS, QUICK_RATE_SECONDS, QUICK_FULL_SECONDS) if quick else (ROUNDS, RATE_SECONDS, FULL_SECONDS)
    )
    found = {name: Found() for name in contenders}
    for _ in range(rounds):
        for name in random_.sample(sorted(contenders), len(contenders)):
            one, contender = found[name], contenders[name]
            try:
                ask(contender.port, contender.request, connections=8, seconds=WARM_SECONDS)
                before = contender.cpu_seconds()
                load = ask(contender.port, contender.request, connections=CONNECTIONS, seconds=steady, rate=RATE)
                between = contender.cpu_seconds()
                one.steady.append(load)
                one.full.append(ask(contender.port, contender.request, connections=CONNECTIONS, seconds=full))
                after = contender.cpu_seconds()
            except WrongAnswer as error:
                raise WrongAnswer(f"{name}: {error}") from None
            one.steady_cpu += between - before
            one.full_cpu += after - between
    return found


def idle_share(contenders: dict[str, Contender], seconds: float = 3.0) -> dict[str, float]:
    """What part of a core each needs while nobody asks."""
    before = {name: each.cpu_seconds() for name, each in contenders.items()}
    time.sleep(seconds)
    return {name: (each.cpu_seconds() - before[name]) / seconds for name, each in contenders.items()}


def _added(one: Found, direct: Found, share: float) -> float:
    """The quantile at the fixed rate beside that of asking the provider, in ms."""
    return (one.latency(share) - direct.latency(share)) * 1e3


def _say_all(found: dict[str, Found], contenders: dict[str, Contender], idle: dict[str, float]) -> None:
    direct = found[DIRECT]
    for name, one in found.items():
        added = ", ".join(
            f"p{share * 100:.0f} {one.latency(share) * 1e3:.2f} ms ({_added(one, direct, share):+.2f})"
            for share in (0.5, 0.99)
        )
        cpu = "" if name == DIRECT else f"{microseconds(one.cpu_steady())} CPU, "
        late = f"; {one.late()} DUE AND NOT SENT" if one.late() else ""
        say(f"{name}, {RATE} requests/s: {cpu}{added}{late}")
        cpu = "" if name == DIRECT else f"{microseconds(one.cpu())} CPU, "
        rss = "" if name == DIRECT else f"; {contenders[name].rss_mib():.0f} MiB, {idle[name]:.1%} of a core when idle"
        say(
            f"{name}, {CONNECTIONS} connections: {cpu}{one.per_second():,.0f} requests/s, "
            f"p50 {one.full_latency(0.5) * 1e3:.2f} ms, p99 {one.full_latency(0.99) * 1e3:.2f} ms{rss}"
        )


def _tell_all(found: dict[str, Found], absent: dict[str, str]) -> None:
    ours, direct = found[OURS], found[DIRECT]
    what = f"gateway, chat completion, {ROUTES} routes"
    others = ", ".join(f"{name} {microseconds(one.cpu())}" for name, one in found.items() if name not in (OURS, DIRECT))
    tell(
        Row(
            f"{what}, CPU of a request",
            f"<= {GOAL_US} us",
            f"{microseconds(ours.cpu())} at {ours.per_second():,.0f}/s, {microseconds(ours.cpu_steady())} at {RATE}/s; "
            f"{others}",
            times(ours.cpu() / found[NGINX].cpu()) + " nginx" if NGINX in found else "-",
            held(ours.cpu() * 1e6 <= GOAL_US),
        )
    )
    more = "; ".join(
        f"{name} {_added(one, direct, 0.5):.2f} ({_added(one, direct, 0.99):.2f})"
        for name, one in found.items()
        if name not in (OURS, DIRECT)
    )
    tell(
        Row(
            f"{what}, added to a request at {RATE}/s, p50 (p99)",
            f"<= {GOAL_ADDED_MS:.0f} ms",
            f"{_added(ours, direct, 0.5):.2f} ({_added(ours, direct, 0.99):.2f}) ms; {more}",
            times(ours.latency(0.5) / direct.latency(0.5)) + " direct",
            held(_added(ours, direct, 0.5) <= GOAL_ADDED_MS),
        )
    )
    for name in CONTENDERS:
        goal = f">= {GOALS[name]}x less CPU" if name in GOALS else "-"
        if name in absent:
            not_run(f"gateway beside {name}", goal, absent[name])
        elif name != OURS:
            one = found[name]
            ratio = one.cpu() / ours.cpu()
            tell(
                Row(
                    f"gateway beside {name}, {CONNECTIONS} connections",
                    goal,
                    f"{microseconds(ours.cpu())} and {microseconds(one.cpu())}; {ours.per_second():,.0f} and "
                    f"{one.per_second():,.0f} requests/s; p99 {ours.full_latency(0.99) * 1e3:.1f} and "
                    f"{one.full_latency(0.99) * 1e3:.1f} ms",
                    f"{times(ratio)} its CPU",
                    held(ratio >= GOALS[name]) if name in GOALS else "-",
                )
            )


if __name__ == "__main__":
    sys.exit(main())
