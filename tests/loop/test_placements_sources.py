"""Where gateways read placements: the application's API with a key of theirs, and a database that stands still."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from routes.orgs.keys import revoke_key
from tests.api.test_another_process import url_of_test_database
from tests.api.test_who_may_what import signed_in
from tests.build import a_person, an_org
from tests.databases import ON_POSTGRES
from tests.loop.moving import World, a_world
from tests.loop.test_gateway_loop import eventually
from tests.routes.engine.test_postgres_store import Cut

pytestmark = pytest.mark.django_db(transaction=True)
AWAY = (503, "placement_backend_unavailable", True)


def write(world: World, number: int, tenant: str = "moves") -> Any:
    """201, or what is said instead, of a write through one of the gateways on a connection of its own."""
    connection = world.gateways[number % len(world.gateways)].kept()
    connection.request("POST", f"/s/acme/orders/w/{number}", "1", {"X-Tenant": tenant})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    said = {} if answer.status == 201 else json.loads(text)
    return (answer.status, said["error"], said["retryable"]) if said else answer.status


def test_who_has_the_default_goes_there_and_a_key_that_was_revoked_writes_nothing(tmp_path: Path) -> None:
    """The first gateway reads the database, the second asks the API."""
    org, staff = an_org(), signed_in(a_person("staff", is_superuser=True))
    with a_world(tmp_path, org, staff) as world:
        assert [write(world, number, "other") for number in (0, 1)] == [(404, "placement_missing", False)] * 2
        assert world.admin("put", "placements/*/", world.new.place(), seen=None).status_code == 200
        assert [write(world, number, "other") for number in (2, 3)] == [201, 201]
        assert set(world.new.writes()) == {"/w/2", "/w/3"}
        revoke_key(world.key, by=world.admin.person)
        assert [write(world, number) for number in (4, 5)] == [201, AWAY]
        assert set(world.old.writes()) == {"/w/4"}


@contextmanager
def standing_still() -> Iterator[None]:
    """Every process of PostgreSQL is stopped: it takes connections, and answers nothing."""
    from tests.databases import server

    main = int((server.pgdata / "postmaster.pid").read_text().split()[0])
    stopped = [main]
    os.kill(main, signal.SIGSTOP)  # first: it starts no more
    try:
        for child in Path(f"/proc/{main}/task/{main}/children").read_text().split():
            os.kill(int(child), signal.SIGSTOP)
            stopped.append(int(child))
        yield
    finally:
        for each in reversed(stopped):
            os.kill(each, signal.SIGCONT)


@pytest.mark.skipif(not ON_POSTGRES or not Path("/proc/self/task").exists(), reason="there are no such processes here")
def test_while_postgresql_stands_still_writes_are_refused_and_afterwards_none_is_missed(tmp_path: Path) -> None:
    """More writes than a gateway has threads for the store, whose clients wait for 20 seconds at most. The lines that they
    had to the server never answer again, and nobody is told."""
    org, staff = an_org(), signed_in(a_person("staff", is_superuser=True))
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory(prefix="cut-"))  # a socket's path is short
        line = stack.enter_context(closing(Cut(url_of_test_database(), folder)))
        clients = stack.enter_context(ThreadPoolExecutor(200))
        world = stack.enter_context(a_world(tmp_path, org, staff, database_url=line.dsn))

        def all_of(numbers: range) -> Counter[Any]:
            return Counter(clients.map(lambda number: write(world, number), numbers))

        assert all_of(range(100)) == {201: 100}
        workers = [gateway.worker() for gateway in world.gateways]
        with standing_still():
            assert all_of(range(100, 300)) == {AWAY: 200}
            assert all_of(range(300, 310)) == {AWAY: 10}
            line.cut_before = line.accepted
        eventually(lambda: write(world, 310) == 201)
        assert all_of(range(311, 511)) == {201: 200}
        assert [gateway.worker() for gateway in world.gateways] == workers
        assert set(world.old.writes()) == {f"/w/{number}" for number in (*range(100), *range(310, 511))}
