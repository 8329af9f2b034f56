"""How long after a commit other processes decide by the new version: readers forked from one prepared parent, one writer
through the application's services, on PostgreSQL, by polling alone and with NOTIFY.

No reader may see a version go down, and each must come to the last one.
"""

import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from routes.engine import EngineCache, PostgresStore, RequestContext, SQLiteStore
from tests.paths import ROOT
from tests.routes.engine.build import eventually

READERS, CHANGES, POLL_SECONDS = 20, 200, 0.5
#: Goals for the 99th percentile in ms: by polling every 500 ms, and with NOTIFY.
GOALS_MS = {"poll": 1000, "notify": 100}
#: Between two changes: no step with the polls, and sometimes several changes within one.
PAUSE_SECONDS = (0.02, 0.4)
#: A reader decides this often, which is how exactly it knows the moment.
STEP_SECONDS = 0.002


@dataclass
class Freshness:
    """Delays in ms, one for each reader and version: from the commit to its first decision by that version or a newer
    one."""

    delays: list[float] = field(default_factory=list)
    #: What should not have happened, in words.
    faults: list[str] = field(default_factory=list)

    def ms(self, share: float) -> float:
        """The quantile by nearest rank."""
        ordered = sorted(self.delays)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def measure(
    url: str,
    how: str,
    *,
    readers: int,
    changes: int,
    chance: random.Random,
    poll_seconds: float = POLL_SECONDS,
    pause_seconds: tuple[float, float] = PAUSE_SECONDS,
) -> Freshness:
    """Make that many changes while as many readers look. `url` is a libpq connection string or the path of a SQLite
    file, on which Django is set up in this process; `how` is `poll` or `notify`."""
    from django.db import transaction

    from routes import engine
    from routes.rules.services import update_route
    from tests.build import BY, a_route, an_org

    org = an_org(f"{how}-{chance.getrandbits(32):08x}")
    row = a_route(org, when={}, then={"target_model": "m"})
    committed: dict[int, int] = {}
    with _readers(url, str(org.pk), how, readers, poll_seconds) as seen:
        for priority in range(changes):
            time.sleep(chance.uniform(*pause_seconds))
            changed = engine.Route.from_dict({**row.as_document(), "priority": 1000 + priority})
            moments: list[int] = []
            with transaction.atomic():
                # The first thing after the commit: before the notice, and before any reader can know.
                transaction.on_commit(lambda moments=moments: moments.append(time.monotonic_ns()))
                row, change = update_route(org, row.uid, changed, by=BY)
            committed[change.version] = moments[0]
        seen.wait_for(change.version, 10)
    found = Freshness(faults=seen.errors)
    for reader, told in sorted(seen.told.items()):
        versions = [version for version, _ in told]
        if versions != sorted(versions):
            found.faults.append(f"reader {reader} saw versions go down: {versions}")
        for version, at in committed.items():
            first = next((moment for decided_by, moment in told if decided_by >= version), None)
            if first is None:
                found.faults.append(f"reader {reader} never came to version {version}")
            else:
                found.delays.append((first - at) / 1e6)
    return found


class _Seen:
    """What the readers say: `<reader> <version> <monotonic ns>` each time that one decides by another version."""

    def __init__(self, lines: Any) -> None:
        self.told: dict[int, list[tuple[int, int]]] = {}
        self.errors: list[str] = []
        self._thread = threading.Thread(target=self._take, args=(lines,))
        self._thread.start()

    def wait_for(self, version: int, seconds: float) -> None:
        """Wait until every reader decides by this version, or so long."""
        until = time.monotonic() + seconds
        while not all(told and told[-1][0] >= version for told in list(self.told.values())):
            if time.monotonic() > until:
                return
            time.sleep(0.01)

    def join(self) -> None:
        self._thread.join()

    def _take(self, lines: Any) -> None:
        for line in lines:
            reader, version, moment = line.split(maxsplit=2)
            if version == "error":
                self.errors.append(f"reader {reader}: {moment.strip()}")
            else:
                self.told[int(reader)].append((int(version), int(moment)))


@contextmanager
def _readers(url: str, org_id: str, how: str, count: int, poll_seconds: float) -> Iterator[_Seen]:
    """Readers that are ready, until the block ends."""
    arguments = [url, org_id, how, str(count), str(poll_seconds)]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "tests.campaign.freshness", "read", *arguments],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    seen = _Seen(process.stdout)
    seen.told = {reader: [] for reader in range(count)}
    try:
        seen.wait_for(0, 30)
        yield seen
    finally:
        process.stdin.close()  # which is how they learn that it is over
        process.wait(20)
        seen.join()
        process.stdout.close()


# --- The readers' side, a program without Django ----------------------------------------------------------------------


def _read(url: str, org_id: str, how: str, count: int, poll_seconds: float) -> None:
    """Prepare a cache, warm and polling, as a server does that preloads; fork the readers, which go on with it."""
    store: Any = PostgresStore(url) if url.startswith(("postgres", "host=")) else SQLiteStore(url)
    cache = EngineCache(_Polled(store) if how == "poll" else store, poll_seconds=poll_seconds)
    cache.engine_for(org_id)
    children = []
    for reader in range(count):
        child = os.fork()
        if child == 0:
            try:
                _decide(cache, org_id, reader)
            except BaseException as error:
                _tell(reader, "error", f"{type(error).__name__}: {error}")
            finally:
                os._exit(0)
        children.append(child)
    sys.stdin.read()
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def _decide(cache: EngineCache, org_id: str, reader: int) -> None:
    parent, seen, context = os.getppid(), None, RequestContext("gpt-4o")
    cache.engine_for(org_id)  # starts the threads of this process
    listener = cache.status()["listener"]
    if listener is not None and not eventually(lambda: cache.status()["listener"]["listening"], 10):
        raise RuntimeError(f"does not listen: {listener['last_error']}")
    while os.getppid() == parent:
        version = cache.engine_for(org_id).decide(context).version
        if version != seen:
            seen = version
            _tell(reader, version, time.monotonic_ns())
        time.sleep(STEP_SECONDS)


def _tell(reader: int, *words: object) -> None:
    os.write(1, f"{reader} {' '.join(map(str, words))}\n".encode())  # short enough to be whole in a shared pipe


class _Polled:
    """A store without its notices."""

    def __init__(self, store: Any) -> None:
        self.versions, self.fetch, self.close = store.versions, store.fetch, store.close


# --- By itself --------------------------------------------------------------------------------------------------------


def run(seed: int, say: Callable[[str], None]) -> bool:
    """Both ways, in a process of its own: Django is set up once a process, and other parts want other databases."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.campaign.freshness", "write", str(seed)],
        cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, "TEST_DATABASE": "postgres"},
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        say(line.rstrip())
    return process.wait() == 0


def _write(seed: int) -> int:
    from tests.build_env import application

    application()
    faults = []
    for how, goal_ms in GOALS_MS.items():
        chance = random.Random(seed)
        found = measure(os.environ["DATABASE_URL"], how, readers=READERS, changes=CHANGES, chance=chance)
        print(
            f"{how}: {READERS} readers, {CHANGES} changes, commit to first decision p50 {found.ms(0.5):.0f} ms,"
            f" p99 {found.ms(0.99):.0f} ms (goal {goal_ms} ms), largest {found.ms(1):.0f} ms",
            flush=True,
        )
        faults += found.faults
    for fault in faults:
        print(f"FAULT {fault}", flush=True)
    return 1 if faults else 0


if __name__ == "__main__":
    if sys.argv[1] == "read":
        _read(*sys.argv[2:5], int(sys.argv[5]), float(sys.argv[6]))
    else:
        sys.exit(_write(int(sys.argv[2])))
