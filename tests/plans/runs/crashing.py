"""What disturbs a worker: what its tests put in its way, and processes killed at random moments, which
`make campaign PART=kills` asks for as well."""

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from unittest.mock import patch

from django.db import connections, transaction
from django.utils import timezone

from plans.logs.source import DatabaseSource
from plans.runs import services as plans
from plans.runs import worker
from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from tests.build import BY, a_plan, projected
from tests.forks import forked, was_killed

FIXED = {
    "id": "0190a000-0000-7000-8000-000000000001",
    "name": "short to mini",
    "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 1000},
    "then": {"target_model": "gpt-4o-mini"},
}

#: What a worker reports in four blocks: 1 that the first phase begins, 2 to 5 its blocks, 6 that the second does, 7 to 10
#: its blocks, 11 the result.
REPORTS = range(1, 12)

#: Of the processes that are killed: all requests.
ROUTE = {**FIXED, "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 100_000}}
BLOCK_ROWS = 100


def queued(org: Organization, **keys: Any) -> PlanRun:
    plan = a_plan(org, **keys)
    plans.project(plan, by=BY)
    return plan


@contextmanager
def held(act: Callable[[], Any]) -> Iterator[None]:
    """Somebody else does this, and leaves their transaction open."""
    is_done, may_end = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with transaction.atomic():
                act()
                is_done.set()
                may_end.wait(30)
        finally:
            connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert is_done.wait(30)
        yield
    finally:
        may_end.set()
        thread.join()


def undisturbed(org: Organization, **keys: Any) -> str:
    return projected(a_plan(org, routes=[FIXED], **keys)).result


def in_blocks(rows: int) -> Any:
    """Makes the worker read the database in blocks of so many rows, and write what it found after each of them."""
    return patch.multiple(
        "plans.runs.worker",
        source_of=lambda org_id, window: DatabaseSource(org_id, window, block_rows=rows),
        CHECKPOINT_SHARE=float("inf"),
    )


class Watched:
    """Stands between the worker and its reports. `at` is called before the n-th one is written."""

    def __init__(self, n: int, at: Callable[[], None]) -> None:
        self.n, self.at = n, at
        self.seen: list[dict[str, Any]] = []
        self._report = worker._report

    def __call__(self, plan: PlanRun, **progress: Any) -> None:
        self.seen.append(progress)
        if len(self.seen) == self.n:
            self.at()
        self._report(plan, **progress)


class Crash(BaseException):
    """As if the process had ended there."""


def crash() -> None:
    raise Crash


# --- Processes killed at random moments -----------------------------------------------------------------------------


@dataclass
class Killed:
    """What came of it."""

    plans: int = 0
    #: Of the workers, how many were killed before they were done.
    killed: int = 0
    #: Results that differ from that of an undisturbed run.
    wrong: int = 0


def campaign(org: Organization, kills: int, seed: int, say: Callable[[str], None] = lambda line: None) -> Killed:
    """Runs plans on the organisation's traffic and kills each one's worker once, or again while it recovers; compares
    every result with that of a run that nobody disturbed."""
    chance = random.Random(seed)
    expected, seconds = _undisturbed(org)
    found = Killed()
    while found.killed < kills:
        plan = queued(org, routes=[ROUTE])
        found.plans += 1
        # Seldom enough that no plan is given up, whatever chance brings.
        for attempt in range(worker.STARTS - 1):
            # Mostly once, from the very beginning to just after the end.
            wait = chance.uniform(0, 1.1 * seconds) if attempt == 0 or chance.random() < 0.2 else None
            before = _rows_seen(plan)
            was_killed = run_in_a_child(wait)
            found.killed += was_killed
            plan = PlanRun.objects.get(pk=plan.pk)
            if plan.state == "projected":
                break
            assert plan.state in ("queued", "running"), plan.failure
            assert _rows_seen(plan) >= before, f"{_rows_seen(plan)} rows after {before}: what was written is lost"
            PlanRun.objects.filter(pk=plan.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        else:
            run_in_a_child(None)
            plan = PlanRun.objects.get(pk=plan.pk)
        found.wrong += plan.result != expected
        if found.killed % 50 == 0:
            say(f"{found.killed} of {kills} killed, {found.wrong} wrong")
    return found


def _rows_seen(plan: PlanRun) -> int:
    """Of both passes: a worker that goes on at the end of the first one is where the second begins."""
    return plan.rows_done + (0 if plan.phase in ("", "survey") else plan.rows_total or 0)


def _undisturbed(org: Organization) -> tuple[str, float]:
    plan = queued(org, routes=[ROUTE])
    began = time.monotonic()
    run_in_a_child(None)
    return PlanRun.objects.get(pk=plan.pk).result, time.monotonic() - began


def run_in_a_child(kill_after: float | None) -> bool:
    """Run the next plan in a process of its own; whether it was killed before it ended by itself."""

    def work() -> None:
        worker.source_of = lambda org_id, window: DatabaseSource(org_id, window, block_rows=BLOCK_ROWS)
        worker.CHECKPOINT_SHARE = float("inf")
        worker.run_next()

    child = forked(work)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    return was_killed(child)
