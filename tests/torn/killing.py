"""Writers killed at random moments, and PostgreSQL stopped under them; `make campaign PART=writers` asks for thousands."""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connections

from routes.orgs.models import Organization
from tests.forks import forked, was_killed
from tests.servers import stop
from tests.torn.history import check
from tests.torn.writers import Writer, a_result, calls_in, facts_of, places, torn, unverified

WRITERS, ORGS = 3, 2
#: After so many of them all is looked at, and it begins anew in other organisations.
PER_LOOK = 100
#: A writer is up after 30 ms and does something every 10 ms or so.
PAUSE_SECONDS = (0.0, 0.05)
STOP_PAUSE_SECONDS = (0.1, 0.4)
Say = Callable[[str], None]


@dataclass
class Disturbed:
    """What came of it."""

    times: int = 0
    #: Of the acts, those that were answered, refused, and that nobody knows of because the writer died before the answer.
    acts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        told = ", ".join(f"{count:,} {what}" for what, count in sorted(self.acts.items()))
        return f"{self.times:,} times, {told}, {len(self.faults)} faults"


class _Writers:
    """As many processes as there were at first, whoever of them is killed."""

    def __init__(self, orgs: list[Organization], result: str, folder: Path) -> None:
        self.orgs, self._result, self._folder = orgs, result, folder
        self.alive: list[int] = []
        self._made = 0
        for _ in range(WRITERS):
            self.begin()

    def begin(self) -> None:
        self._made += 1
        name = f"{self.orgs[0].slug}-w{self._made}"
        writer = Writer(name, self.orgs, self._result, self._folder / f"{name}.notes")
        self.alive.append(forked(writer.write))

    def kill(self, number: int) -> None:
        child = self.alive.pop(number)
        os.kill(child, signal.SIGKILL)
        assert was_killed(child)

    def notes(self) -> list[Path]:
        return sorted(self._folder.glob(f"{self.orgs[0].slug}-w*.notes"))


@contextmanager
def _writing(found: Disturbed, result: str, folder: Path, slug: str) -> Iterator[_Writers]:
    """Writers at work in organisations of their own; at the end they are killed, and all they did is looked at."""
    writers = _Writers(places(ORGS, slug), result, folder)
    try:
        yield writers
    finally:
        while writers.alive:
            writers.kill(-1)
    calls = calls_in(writers.notes())
    for call in calls:
        if call.kind != "read":
            found.acts["refused" if call.refused else "done" if call.returned else "unknown"] += 1
    found.faults += [
        f"{kind}: {text}" for kind, text in check(calls, {str(org.pk): facts_of(org) for org in writers.orgs})
    ]
    found.faults += [fault for org in writers.orgs for fault in torn(org)] + unverified(writers.orgs)


def kill_writers(kills: int, seed: int, folder: Path, say: Say) -> Disturbed:
    """Kill one writer after another, each at a random moment, while the others go on."""
    chance, found, result = random.Random(seed), Disturbed(), a_result()
    while found.times < kills and not found.faults:
        with _writing(found, result, folder, f"kills-{found.times}") as writers:
            for _ in range(min(PER_LOOK, kills - found.times)):
                time.sleep(chance.uniform(*PAUSE_SECONDS))
                writers.kill(chance.randrange(WRITERS))
                found.faults += torn(chance.choice(writers.orgs))
                found.times += 1
                writers.begin()
        if found.times % 1_000 == 0:
            say(f"killed {found}")
    return found


def stop_server(server: Any, stops: int, seed: int, folder: Path, say: Say) -> Disturbed:
    """Stop PostgreSQL at once, as a crash does, and start it again, while writers write."""
    chance, found, result = random.Random(seed), Disturbed(), a_result()
    while found.times < stops and not found.faults:
        with _writing(found, result, folder, f"stops-{found.times}") as writers:
            for _ in range(min(PER_LOOK // 5, stops - found.times)):
                time.sleep(chance.uniform(*STOP_PAUSE_SECONDS))
                connections.close_all()
                stop(server)
                server.ensure_postgres_running()
                found.faults += torn(chance.choice(writers.orgs))
                found.times += 1
        say(f"stopped {found}")
    return found
