"""A partition moved under load: two gateways in processes of their own, of which one asks the database and one the API, two
upstreams that record, and writers that never stop.

The suite moves one, `make campaign PART=placements` many, with the real barrier.
"""

import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.test import Client

from routes.orgs.keys import create_key
from routes.orgs.models import ApiKey, Organization
from tests.api.conftest import Caller
from tests.api.test_another_process import url_of_test_database
from tests.api.test_services import put
from tests.loop.addresses import own_address
from tests.routes.gateway.running import Gateway, free_port, running
from tests.routes.gateway.stubs import Seen, Upstream, Writer

TOKEN = "let-me-in"
WRITERS, READERS = 8, 2
#: Of so many writes one is for a partition that stays where it is.
STAYING = 5
#: A write that passed the gate just before a step arrives within this time on any machine that still works.
UNDER_WAY_SECONDS = 2.0


class Cluster:
    """An upstream that records when which request came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.got: list[tuple[float, str, str]] = []
        self.upstream = Upstream(self._answers, own_address())

    async def _answers(self, upstream: Upstream, seen: Seen, writer: Writer) -> None:
        method, path, _ = seen.line.split(" ")
        self.got.append((time.monotonic(), method, path))
        said = self.name.encode()
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(said) + said)

    def place(self) -> dict[str, str]:
        return {"cluster": self.name, "resource": "orders", "endpoint": f"{self.upstream.url}/{self.name}"}

    def writes(self) -> dict[str, float]:
        """By path without that of the cluster, when it came. Raises `AssertionError` where one came twice."""
        found = [(path.removeprefix(f"/{self.name}"), at) for at, method, path in self.got if method != "GET"]
        assert len(dict(found)) == len(found), "a write came twice"
        return dict(found)


@dataclass
class Told:
    """What clients were told."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    #: By path of the write, where it was taken.
    done: dict[str, str] = field(default_factory=dict)
    #: By path, how often it was refused with `stale_epoch`, and when last.
    stale: dict[str, list[float]] = field(default_factory=dict)
    #: When asked, when answered, by whom.
    reads: list[tuple[float, float, str]] = field(default_factory=list)
    wrong: list[Any] = field(default_factory=list)
    #: Ids of requests that were refused, with the port of the gateway.
    refused_ids: list[tuple[int, str]] = field(default_factory=list)


class Clients:
    """Write what there is to write, each write until it is taken, and read all the time."""

    def __init__(self, org: Organization, gateways: list[Gateway], writes: int, pause: float) -> None:
        self.told = Told()
        self._service = f"/s/{org.slug}/orders"
        self._gateways, self._pause = gateways, pause
        self._left = iter(range(writes))
        self._is_over = threading.Event()
        self._writers = [threading.Thread(target=self._run, args=(self._write, n)) for n in range(WRITERS)]
        self._readers = [threading.Thread(target=self._run, args=(self._read, n)) for n in range(READERS)]

    def __enter__(self) -> "Clients":
        for thread in (*self._writers, *self._readers):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in (*self._writers, *self._readers):
            thread.join(30)

    def wait_for_writers(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        for thread in self._writers:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, act: Callable[[Gateway, Any], bool], number: int) -> None:
        gateway = self._gateways[number % len(self._gateways)]
        try:
            connection = gateway.kept()
            while not self._is_over.is_set() and act(gateway, connection):
                time.sleep(self._pause)
        except Exception as error:
            self.told.wrong.append(error)

    def _write(self, gateway: Gateway, connection: Any) -> bool:
        with self.told.lock:
            number = next(self._left, None)
        if number is None:
            return False
        path = f"/w/{number}"
        tenant = "stays" if number % STAYING == 0 else "moves"
        while not self._is_over.is_set():
            method = ("POST", "PUT", "DELETE")[number % 3]
            body = None if method == "DELETE" else f"{number}"
            connection.request(method, f"{self._service}{path}", body, {"Host": "gw", "X-Tenant": tenant})
            answer = connection.getresponse()
            text = answer.read().decode()
            if answer.status == 201:
                self.told.done[path] = text
                return True
            said = json.loads(text)
            if (answer.status, said["error"], said["retryable"]) != (409, "stale_epoch", True):
                self.told.wrong.append((path, answer.status, said))
                return False
            with self.told.lock:
                self.told.stale.setdefault(f"{tenant} {path}", []).append(time.monotonic())
                self.told.refused_ids.append((gateway.port, said["request_id"]))
            time.sleep(0.02)
        return False

    def _read(self, gateway: Gateway, connection: Any) -> bool:
        began = time.monotonic()
        connection.request("GET", f"{self._service}/r", headers={"Host": "gw", "X-Tenant": "moves"})
        answer = connection.getresponse()
        text = answer.read().decode()
        self.told.reads.append((began, time.monotonic(), text))
        if answer.status != 201:
            self.told.wrong.append((answer.status, text))
        return True


@dataclass
class World:
    """An organisation whose service `orders` follows its placements, gateways, and two clusters."""

    org: Organization
    admin: Caller
    old: Cluster
    new: Cluster
    gateways: list[Gateway]
    #: With which the second gateway asks the API.
    key: ApiKey

    def step(self, name: str, body: Any = None, status: int = 200) -> Any:
        answer = self.admin("post", f"placements/moves/{name}/", body)
        assert answer.status_code == status, answer.json()
        return answer.json()


@contextmanager
def a_world(tmp_path: Path, org: Organization, staff: Client, *, database_url: str | None = None) -> Iterator[World]:
    """One gateway reads the database, the other asks the API; with `database_url` both read the database there."""
    with ExitStack() as stack:
        old, new = Cluster("old"), Cluster("new")
        for cluster in (old, new):
            stack.enter_context(cluster.upstream)
        opened = [{"network": f"{own_address()}/32", "port": each.upstream.port} for each in (old, new)]
        assert put(staff, org, "private-upstreams/", {"private_upstreams": opened}).status_code == 200
        admin = Caller(org, "admin")
        paths = [{"pattern": "/**", "target_url": "http://x-tenant.header.placement.invalid"}]
        assert admin("post", "services/", {"slug": "orders", "paths": paths}).status_code == 201
        for tenant in ("moves", "stays"):
            assert admin("put", f"placements/{tenant}/", old.place(), seen=None).status_code == 200
        port = free_port()
        command = ["granian", "--interface", "wsgi", "--port", str(port), "routing_admin.wsgi:application"]
        folders = [tmp_path / f"{org.slug}-{name}" for name in ("web", "by-database", "by-api")]
        for folder in folders:
            folder.mkdir()
        stack.enter_context(running(folders[0], command, port, DATABASE_URL=url_of_test_database()))
        by_database = f'database_url = "{database_url or url_of_test_database()}"'
        by_api = f'api_url = "http://127.0.0.1:{port}"\nkey_env = "KEY"'
        made = create_key(org, name="gw", kind="gateway", by=admin.person)
        sources = (by_database, by_api if database_url is None else by_database)
        gateways = [
            stack.enter_context(a_gateway(folder, source, made.text))
            for folder, source in zip(folders[1:], sources, strict=True)
        ]
        yield World(org, admin, old, new, gateways, made.key)


@contextmanager
def a_gateway(folder: Path, source: str, key: str) -> Iterator[Gateway]:
    port = free_port()
    config = folder / "gateway.toml"
    config.write_text(
        f"""
        listen = "127.0.0.1:{port}"
        admin_token_env = "TOKEN"
        [source]
        {source}
        poll_seconds = 0.1
        """
    )
    command = ["routes.gateway", "--config", str(config)]
    with running(folder, command, port, TOKEN=TOKEN, KEY=key) as gateway:
        yield gateway


@dataclass
class Moved:
    """What is to be looked at of one move."""

    writes: int
    stale: int
    reads: int
    seconds_without_writes: float
    faults: list[str]

    def __str__(self) -> str:
        return (
            f"{self.writes:,} writes, {self.stale:,} times refused as stale, {self.reads:,} reads,"
            f" {self.seconds_without_writes:.1f} s without writes, {len(self.faults)} faults"
        )


def move(
    world: World, writes: int, wait: Callable[[World], None], *, pause: float = 0.0, aborts: int = 0, seed: int = 0
) -> Moved:
    """Move the partition `moves` from the old cluster to the new one under load, after it was called off so many times.
    `wait` is called in cutover, until the move can be completed."""
    chance = random.Random(seed)
    with Clients(world.org, world.gateways, writes, pause) as clients:
        told = clients.told
        _wait_until(lambda: told.wrong or len(told.done) >= writes // 5)
        for _ in range(aborts):
            world.step("begin", {"to": world.new.place()})
            if chance.random() < 0.5:
                world.step("cutover")
            time.sleep(chance.uniform(0.0, 0.1))
            world.step("abort")
        world.step("begin", {"to": world.new.place()})
        _wait_until(lambda: told.wrong or len(told.done) >= writes * 2 // 5)
        cut_at = time.monotonic()
        world.step("cutover")
        was_cut_at = time.monotonic()
        refused = sum(map(len, told.stale.values()))
        _wait_until(
            lambda: told.wrong or sum(map(len, told.stale.values())) >= refused + 10 * WRITERS,
            "writes are refused in cutover",
        )
        assert world.step("complete", status=409)["code"] == "barrier_pending"
        wait(world)
        flips_at = time.monotonic()
        world.step("complete")
        flipped_at = time.monotonic()
        clients.wait_for_writers(60)
        _wait_until(lambda: told.wrong or told.reads[-1][0] > flipped_at)
    faults = [repr(each) for each in told.wrong]
    old, new = world.old.writes(), world.new.writes()
    every = {f"/w/{number}" for number in range(writes)}
    moving = {f"/w/{number}" for number in range(writes) if number % STAYING}
    faults += [f"{path} is nowhere" for path in every - set(old) - set(new)]
    faults += [f"{path} is at both" for path in set(old) & set(new)]
    faults += [
        f"{path} was taken and is elsewhere"
        for path, at in told.done.items()
        if path not in (old if at == "old" else new)
    ]
    faults += [f"{path} does not move, and is at the new cluster" for path in set(new) - moving]
    faults += [f"{path} does not move, and was refused" for path in told.stale if path.startswith("stays")]
    late = {path: at for path, at in old.items() if path in moving and at > was_cut_at + UNDER_WAY_SECONDS}
    faults += [f"{path} came to the old cluster {at - was_cut_at:.3f} s after the cutover" for path, at in late.items()]
    faults += [f"{path} came to the new cluster before the flip" for path, at in new.items() if at < flips_at]
    for began, ended, where in told.reads:
        if (where == "new" and ended < flips_at) or (where == "old" and began > flipped_at):
            faults.append(
                f"a read of {began - flips_at:.3f} to {ended - flips_at:.3f} s about the flip was from {where}"
            )
    if len(moving & set(old)) == len(moving) or not set(new):
        faults.append("the load ended before the move")
    return Moved(writes, sum(map(len, told.stale.values())), len(told.reads), flips_at - cut_at, faults)


def explained(world: World, told: tuple[int, str]) -> Any:
    """What the gateway says of a request."""
    port, request_id = told
    gateway = next(each for each in world.gateways if each.port == port)
    connection = gateway.kept()
    connection.request("GET", f"/_gateway/explain/{request_id}", headers={"Authorization": f"Bearer {TOKEN}"})
    return json.loads(connection.getresponse().read())


def _wait_until(true: Callable[[], Any], what: str = "so much was written", seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.005)
