"""The worker and a log that changes: while it is read, and while a plan waits for another worker."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.test import override_settings

from plans.replay import LogRow, MemorySource
from plans.replay.columns import Block
from plans.replay.columns.dataset import write_dataset
from plans.replay.columns.parquet import ParquetSource
from plans.runs import worker
from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from tests.build import START, a_plan, an_org, projected, traffic, usual_prices
from tests.plans.replay import worlds
from tests.plans.runs.crashing import FIXED, Crash, Watched, crash, in_blocks, queued

pytestmark = pytest.mark.django_db


@pytest.fixture
def org(db: None) -> Organization:
    org = an_org()
    usual_prices()
    return org


def rows(first: int, last: int) -> list[LogRow]:
    return [
        worlds.row(n, ts=START + timedelta(minutes=n), model="gpt-4o", requested_model="gpt-4o", input_tokens=100)
        for n in range(first, last)
    ]


@pytest.fixture
def folder(org: Organization, tmp_path: Path) -> Iterator[Path]:
    """The dataset of the organisation, a file of 40 rows, and another one beside it that is no part of it yet."""
    pytest.importorskip("pyarrow")
    folder = tmp_path / "logs" / str(org.pk)
    folder.parent.mkdir()
    write_dataset(MemorySource(rows(0, 40)), folder)
    write_dataset(MemorySource(rows(40, 100)), tmp_path / "more")
    with override_settings(LOG_DATASETS=str(folder.parent)):
        yield folder


def meanwhile(what: Any) -> Any:
    """Something that happens once, while the first block is read."""
    read, happened = ParquetSource.blocks, []

    def blocks(self: ParquetSource, *given: Any) -> Iterator[Block]:
        for block in read(self, *given):
            if not happened:
                happened.append(what())
            yield block

    return patch.object(ParquetSource, "blocks", blocks)


def sample_size(plan: PlanRun) -> int:
    plan.refresh_from_db()
    assert plan.state == "projected", plan.failure
    size: int = (plan.outcome or {})["sample_size"]
    assert plan.rows_done == plan.rows_total
    return size


def test_a_file_that_comes_while_a_dataset_is_read_is_read_too(org: Organization, folder: Path, tmp_path: Path) -> None:
    more = tmp_path / "more" / "000000000000.parquet"
    plan = queued(org, routes=[FIXED])
    with meanwhile(lambda: shutil.copy(more, folder / "000000000040.parquet")):
        worker.run_next()
    assert sample_size(plan) == 100
    assert plan.result == projected(a_plan(org, routes=[FIXED], name="fresh")).result


def test_a_file_that_gets_another_name_while_it_is_read_does_not_fail_the_plan(
    org: Organization, folder: Path, tmp_path: Path
) -> None:
    second = shutil.copy(tmp_path / "more" / "000000000000.parquet", folder / "000000000040.parquet")
    plan = queued(org, routes=[FIXED])
    with meanwhile(lambda: Path(second).rename(folder / "000000000041.parquet")):
        worker.run_next()
    assert sample_size(plan) == 100


def test_rows_that_came_while_a_plan_waited_for_another_worker_are_in_its_result(org: Organization) -> None:
    """They lie before the place from which it would go on."""
    traffic(org)
    plan = queued(org, routes=[FIXED])
    with in_blocks(10), patch("plans.runs.worker._report", Watched(8, crash)), pytest.raises(Crash):
        worker.run_next()
    plan.refresh_from_db()
    assert plan.checkpoint is not None
    for n in range(7):
        traffic(org, rows=1, request_id=f"late {n}", ts=START + timedelta(minutes=3, seconds=30))
    PlanRun.objects.update(lease_until=START)
    with in_blocks(10):
        worker.run_next()
    assert sample_size(plan) == 47


def test_a_stop_is_heard_also_where_repeated_rows_make_the_worker_count_again(org: Organization, folder: Path) -> None:
    logged = rows(0, 100)
    logged[50] = replace(logged[50], request_id=logged[49].request_id)
    shutil.rmtree(folder)
    write_dataset(MemorySource(logged), folder)
    stop, passes = threading.Event(), []
    read = ParquetSource.blocks

    def blocks(self: ParquetSource, *given: Any) -> Iterator[Block]:
        self._block_rows = 10
        passes.append(0)
        for block in read(self, *given):
            passes[-1] += 1
            if passes == [10, 1]:
                stop.set()
            yield block

    plan = queued(org, routes=[FIXED])
    with patch.object(ParquetSource, "blocks", blocks):
        worker.run_next(stop)
    plan.refresh_from_db()
    assert (plan.state, passes) == ("queued", [10, 1])


@pytest.mark.parametrize("what", ["stop", "lost"])
def test_a_semantic_cache_that_takes_long_hears_within_a_block_that_it_is_to_stop(
    org: Organization, folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That the plan was cancelled, or is another worker's, is what the heartbeat finds."""
    logged = [replace(one, embedding=bytes([n, 0, 128, 63] * 2)) for n, one in enumerate(rows(0, 100))]
    shutil.rmtree(folder)
    write_dataset(MemorySource(logged), folder)
    stop, lost, called = threading.Event(), threading.Event(), []
    heard = worker._Progress.alive

    def alive(progress: Any) -> None:
        called.append(1)
        if len(called) == 2:
            {"stop": stop, "lost": lost}[what].set()
        heard(progress)

    monkeypatch.setattr("plans.replay.caches.l2._BATCH", 10)
    monkeypatch.setattr(worker, "_heartbeat", lambda plan: nullcontext(lost))
    monkeypatch.setattr(worker._Progress, "alive", alive)
    plan = queued(org, routes=[FIXED], l2_ttl_seconds=10**6)
    worker.run_next(stop)
    plan.refresh_from_db()
    assert (plan.state, len(called)) == ({"stop": "queued", "lost": "running"}[what], 2)
