"""Partitions that are moved under load by real processes: no write is lost, doubled, or stale."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from routes.database import make_views
from routes.engine.placements import DRAIN_SECONDS
from routes.placements.models import Placement
from tests.api.test_who_may_what import signed_in
from tests.build import a_person, an_org
from tests.databases import ON_POSTGRES
from tests.loop.moving import UNDER_WAY_SECONDS, World, a_world, explained, move

pytestmark = pytest.mark.django_db(transaction=True)


def as_if_waited(world: World) -> None:
    """The barrier of half a minute, by setting the time back at which it began; as long as anything is really under way."""
    time.sleep(UNDER_WAY_SECONDS)
    since = F("cut_over_at") - timedelta(seconds=DRAIN_SECONDS)
    Placement.objects.of(world.org).filter(phase="cutover").update(cut_over_at=since)


def wait_for_real(world: World) -> None:
    time.sleep(world.admin("get", "placements/moves/").json()["seconds_left"])


@contextmanager
def broken() -> Iterator[None]:
    """Nobody can read placements, neither a gateway nor the application."""
    with connection.cursor() as cursor:
        cursor.execute("DROP VIEW gateway_placements")
        cursor.execute("ALTER TABLE routes_placement RENAME TO away")
    yield
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE away RENAME TO routes_placement")
    make_views(connection)


#: `make campaign PART=placements` moves so many, with the real barrier.
MOVES, WRITES, SEED = (
    int(os.environ.get(*each)) for each in (("MOVES", "0"), ("WRITES", "2000"), ("SEED", "20261123"))
)


@pytest.mark.skipif(not MOVES, reason="make campaign PART=placements waits for real barriers")
def test_moves_with_real_barriers(tmp_path: Path) -> None:
    staff = signed_in(a_person("staff", is_superuser=True))
    for number in range(MOVES):
        org = an_org(f"moved-{number}")
        with a_world(tmp_path, org, staff) as world:
            moved = move(world, WRITES, wait_for_real, pause=0.005, aborts=number % 4, seed=SEED + number)
        print(f"move {number + 1} of {MOVES}: {moved}")
        assert moved.faults == []


def test_a_partition_moves_under_two_thousand_writes_and_each_is_at_exactly_one_cluster(tmp_path: Path) -> None:
    org, staff = an_org(), signed_in(a_person("staff", is_superuser=True))
    with a_world(tmp_path, org, staff) as world:
        moved = move(world, WRITES, as_if_waited, aborts=2, seed=SEED)
        assert moved.faults == []
        assert moved.stale > 0
        # Who asks why is told which partition, where, at which epoch, and in which phase.
        ask = world.gateways[0].kept()
        ask.request("POST", "/s/acme/orders/w/x", "1", {"X-Tenant": "moves"})
        answer = ask.getresponse()
        assert (answer.status, answer.read()) == (201, b"new")
        document = explained(world, (world.gateways[0].port, answer.headers["X-Request-Id"]))
        org.refresh_from_db()
        placed = next(stage for stage in document["stages"] if stage["stage"] == "placement")
        assert {key: placed[key] for key in ("partition", "target", "epoch", "phase")} == {
            "partition": "moves", "target": "new/orders", "epoch": org.placement_epoch, "phase": "settled",
        }  # fmt: skip


def test_without_its_database_a_gateway_neither_reads_nor_writes_what_is_placed(tmp_path: Path) -> None:
    """What nobody can tell is not guessed: an old placement could be wrong by now."""
    org, staff = an_org(), signed_in(a_person("staff", is_superuser=True))
    with a_world(tmp_path, org, staff) as world:
        connections = [gateway.kept() for gateway in world.gateways]

        def said() -> list[Any]:
            found = []
            for ask in connections:
                for method in ("GET", "POST"):
                    ask.request(method, "/s/acme/orders/w", "1", {"X-Tenant": "moves"})
                    answer = ask.getresponse()
                    text = answer.read()
                    found.append(text.decode() if answer.status == 201 else (answer.status, json.loads(text)["error"]))
            return found

        assert said() == ["old"] * 4
        before = len(world.old.got)
        with broken():
            assert said() == [(503, "placement_backend_unavailable")] * 4
        assert len(world.old.got) == before
        assert said() == ["old"] * 4


@pytest.mark.skipif(not ON_POSTGRES, reason="SQLite has no server that could hang")
def test_a_line_to_the_database_that_hangs_costs_a_moment_and_no_request(tmp_path: Path) -> None:
    org, staff = an_org(), signed_in(a_person("staff", is_superuser=True))
    with a_world(tmp_path, org, staff) as world:
        ask = world.gateways[0].kept()

        def status() -> int:
            ask.request("POST", "/s/acme/orders/w", "1", {"X-Tenant": "moves"})
            answer = ask.getresponse()
            answer.read()
            return answer.status

        assert status() == 201
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_stat_activity"
                " WHERE query LIKE '%FROM gateway_placements%' AND pid <> pg_backend_pid()"
            )
            frozen = [pid for (pid,) in cursor.fetchall()]
        assert frozen
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            assert [status() for _ in range(3)] == [201, 201, 201]
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
