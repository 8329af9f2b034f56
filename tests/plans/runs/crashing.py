"""Workers that are killed at random moments: shared by the suite and `make campaign PART=kills`."""

import os
import random
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.db import connections
from django.utils import timezone

from plans.logs.source import DatabaseSource
from plans.runs import services as plans
from plans.runs import worker
from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from tests.build import BY, a_plan

ROUTE = {
    "id": "0190a000-0000-7000-8000-000000000001",
    "name": "short to mini",
    "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 100_000},
    "then": {"target_model": "gpt-4o-mini"},
}
BLOCK_ROWS = 100


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
        plan = _queued(org)
        found.plans += 1
        for attempt in range(5):
            # Mostly once, from the very beginning to just after the end.
            wait = chance.uniform(0, 1.1 * seconds) if attempt == 0 or chance.random() < 0.2 else None
            before = _rows_seen(plan)
            was_killed = _run_in_a_child(wait)
            found.killed += was_killed
            plan = PlanRun.objects.get(pk=plan.pk)
            if plan.state == "projected":
                break
            assert plan.state in ("queued", "running"), plan.failure
            assert _rows_seen(plan) >= before, "nothing that was written is lost"
            PlanRun.objects.filter(pk=plan.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        else:
            _run_in_a_child(None)
            plan = PlanRun.objects.get(pk=plan.pk)
        found.wrong += plan.result != expected
        if found.killed % 50 == 0:
            say(f"{found.killed} of {kills} killed, {found.wrong} wrong")
    return found


def _rows_seen(plan: PlanRun) -> tuple[int, int]:
    phases = ["", "survey", "projection", "result"]
    return phases.index(plan.phase), plan.rows_done


def _queued(org: Organization) -> PlanRun:
    plan = a_plan(org, routes=[ROUTE], iterations=1_000)
    plans.project(plan, by=BY)
    return plan


def _undisturbed(org: Organization) -> tuple[str, float]:
    plan = _queued(org)
    began = time.monotonic()
    _run_in_a_child(None)
    return PlanRun.objects.get(pk=plan.pk).result, time.monotonic() - began


def _run_in_a_child(kill_after: float | None) -> bool:
    """Run the next plan in a process of its own; whether it was killed before it ended by itself."""
    connections.close_all()  # a child must not share them
    child = os.fork()
    if child == 0:
        try:
            worker.source_of = lambda org_id, window: DatabaseSource(org_id, window, block_rows=BLOCK_ROWS)
            worker.CHECKPOINT_SHARE = float("inf")
            worker.run_next()
            connections.close_all()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return True
    assert status == 0, "the worker failed"
    return False
