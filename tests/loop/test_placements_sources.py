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

from routes.orgs.keys import create_key, revoke_key
from tests.api.test_another_process import Server, url_of_test_database
from tests.api.test_who_may_what import signed_in
from tests.build import a_person, an_org
from tests.databases import ON_POSTGRES
from tests.loop.moving import World, a_world, move
from tests.loop.test_gateway_loop import eventually
from tests.loop.test_placements_loop import as_if_waited
from tests.routes.engine.test_postgres_store import Cut

pytestmark = pytest.mark.django_db(transaction=True)
AWAY = (503, "placement_backend_unavailable", True)


def write(world: World, number: int) -> Any:
    """201, or what is said instead, of a write through one of the gateways on a connection of its own."""
    connection = world.gateways[number % len(world.gateways)].kept()
    connection.request("POST", f"/s/acme/orders/w/{number}", "1", {"X-Tenant": "moves"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    said = {} if answer.status == 201 else json.loads(text)
    return (answer.status, said["error"], said["retryable"]) if said else answer.status


def test_a_partition_moves_while_its_gateways_read_placements_over_the_api(tmp_path: Path) -> None:
    org, staff = an_org(), signed_in(a_person("staff", is_superuser=True))
    ada = a_person("ada", org, "admin")
    made = create_key(org, name="gateways", kind="gateway", by=ada)
    with Server() as application:
        source = f'api_url = "http://127.0.0.1:{application.port}"\nkey_env = "GATEWAY_KEY"'
        with a_world(tmp_path, org, staff, source, GATEWAY_KEY=made.text) as world:
            moved = move(world, 400, as_if_waited, aborts=1, seed=1)
            assert moved.faults == []
            assert moved.stale > 0
            assert write(world, 1000) == 201
            assert "/w/1000" in world.new.writes()
            # A partition that has the default's placement, and one that has none.
            before = len(world.new.got)
            assert ask_for(world, "other") == (404, "placement_missing", False)
            assert world.admin("put", "placements/*/", world.new.place(), seen=None).status_code == 200
            assert ask_for(world, "other") == 201
            assert len(world.new.got) == before + 1
            # Who may not ask any more writes nothing.
            revoke_key(made.key, by=ada)
            assert write(world, 1001) == AWAY
            assert "/w/1001" not in world.new.writes()


def ask_for(world: World, tenant: str) -> Any:
    connection = world.gateways[0].kept()
    connection.request("POST", "/s/acme/orders/other", "1", {"X-Tenant": tenant})
    answer = connection.getresponse()
    text = answer.read()
    said = {} if answer.status == 201 else json.loads(text)
    return (answer.status, said["error"], said["retryable"]) if said else answer.status


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
        world = stack.enter_context(a_world(tmp_path, org, staff, f'database_url = "{line.dsn}"'))

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
