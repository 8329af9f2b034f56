"""A worker whose database goes away, and plans that take their workers down."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
    connection,
)
from django.db.models import F
from django.utils import timezone

from audit.models import AuditEntry
from plans.runs import worker
from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from tests.build import an_org, traffic, usual_prices
from tests.plans.runs.crashing import FIXED, REPORTS, Crash, Watched, crash, in_blocks, queued, undisturbed

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def short_pauses() -> Iterator[None]:
    with patch("plans.runs.worker.PAUSE_SECONDS", 0.01):
        yield


@pytest.fixture
def org(db: None) -> Organization:
    org = an_org()
    usual_prices()
    traffic(org)
    return org


def lose_lease(plan: PlanRun) -> None:
    PlanRun.objects.filter(pk=plan.pk).update(lease_until=timezone.now() - timedelta(seconds=1))


def entries(org: Organization) -> list[str]:
    actions = AuditEntry.objects.filter(org_id=org.pk).order_by("seq").values_list("action", flat=True)
    return [action for action in actions if action in ("plan.projected", "plan.failed")]


def heartbeats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("heartbeat")]


@contextmanager
def an_outage() -> Iterator[Callable[[], None]]:
    """What ends this thread's connection to PostgreSQL, as an operator does, or locks the SQLite file for a moment."""
    locks: list[threading.Timer] = []

    def strike() -> None:
        if connection.vendor == "postgresql":
            with suppress(Error), connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
            return
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA busy_timeout = 1")
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        locks.append(threading.Timer(0.1, other.close))
        locks[-1].start()

    yield strike
    for lock in locks:
        lock.join()
    connection.close()  # with its short patience


@pytest.mark.parametrize("report", REPORTS)
def test_the_same_worker_goes_on_from_what_it_found_when_the_database_is_back(org: Organization, report: int) -> None:
    with in_blocks(10):
        expected = undisturbed(org)
        plan = queued(org, routes=[FIXED])
        with an_outage() as strike:
            watched = Watched(report, strike)
            with patch("plans.runs.worker._report", watched):
                ran = worker.run_next()
    assert ran is not None
    plan.refresh_from_db()
    assert (ran.state, plan.state, plan.result, plan.fence) == ("projected", "projected", expected, 1)
    assert entries(org) == ["plan.projected"] * 2
    assert heartbeats() == []
    # The reports: 1: the first phase begins; 2 to 5: its blocks; 6: the second begins; 7 to 10: its blocks; 11: the result.
    begun = [
        progress["rows_done"] for progress in watched.seen[report:] if progress.get("phase") not in (None, "result")
    ]
    assert begun[0] == 10 * [0, 0, 1, 2, 3, 4, 4, 1, 2, 3, 4][report - 1]


def test_a_result_that_the_database_does_not_take_at_once_is_not_worked_out_again(org: Organization) -> None:
    plan = queued(org)
    with an_outage() as strike:
        record, seen = worker.record, []

        def interrupted(*args: Any, **keys: Any) -> Any:
            seen.append(keys["action"])
            if len(seen) == 1:
                if connection.vendor == "postgresql":
                    strike()
                else:
                    raise OperationalError("disk I/O error")
            return record(*args, **keys)

        with (
            patch("plans.runs.worker.record", interrupted),
            patch("plans.runs.worker.result_of", wraps=worker.result_of) as result_of,
        ):
            worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, plan.fence, plan.checkpoint, result_of.call_count) == ("projected", 1, None, 1)
    assert (seen, entries(org)) == (["plan.projected"] * 2, ["plan.projected"])


def test_a_worker_that_lost_the_plan_during_an_outage_writes_nothing(org: Organization) -> None:
    plan = queued(org)

    def away(*_: Any, **__: Any) -> None:
        PlanRun.objects.filter(pk=plan.pk).update(fence=F("fence") + 1)
        raise OperationalError("server closed the connection")

    with patch("plans.runs.worker.survey", side_effect=away) as survey:
        worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, plan.fence, plan.starts, survey.call_count) == ("running", 2, 1, 1)
    assert entries(org) == []


def test_a_database_that_fails_after_every_block_delays_a_plan_and_does_not_end_it(org: Organization) -> None:
    report, failed = worker._report, []

    def reluctant(plan: PlanRun, **progress: Any) -> None:
        report(plan, **progress)
        if "checkpoint" in progress:
            failed.append(progress["rows_done"])
            raise InternalError("cannot execute UPDATE in a read-only transaction")

    with in_blocks(10):
        expected = undisturbed(org)
        plan = queued(org, routes=[FIXED])
        with patch("plans.runs.worker._report", reluctant):
            worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, plan.result, plan.fence) == ("projected", expected, 1)
    assert failed == [10, 20, 30, 40] * 2


@pytest.mark.parametrize("error", [OperationalError, InterfaceError, InternalError])
def test_a_plan_at_which_the_database_fails_time_and_again_is_given_up_with_what_it_said(
    org: Organization, error: type[Exception]
) -> None:
    plan, other = queued(org), queued(org)
    with patch("plans.runs.worker.survey", side_effect=error("canceling statement\ndue to timeout")) as survey:
        worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, survey.call_count) == ("failed", worker.STARTS)
    assert plan.failure == (
        "no_progress: This plan was begun 5 times and got no further than row 0 of 40 (surveying the log). Have"
        " somebody look at the database, or replay a shorter window. It said: canceling statement due to timeout"
    )
    assert entries(org) == ["plan.failed"]
    ran = worker.run_next()
    assert ran is not None
    assert (ran.pk, ran.state) == (other.pk, "projected")


def test_a_database_that_is_away_for_longer_than_a_lease_fails_no_plan(org: Organization) -> None:
    plan = queued(org)
    gone = OperationalError("server closed the connection")
    with (
        patch("plans.runs.worker.LEASE", timedelta(seconds=0.05)),
        patch("plans.runs.worker.survey", side_effect=gone),
        patch("plans.runs.worker._report", side_effect=[None, *[gone] * 20]),
        pytest.raises(OperationalError),
    ):
        worker.run_next()
    assert heartbeats() == []
    plan.refresh_from_db()
    assert plan.state == "running"
    time.sleep(0.1)
    again = worker.run_next()
    assert again is not None
    assert (again.pk, again.state) == (plan.pk, "projected")


def test_a_worker_that_is_asked_to_stop_while_it_waits_for_the_database_gives_the_plan_back(org: Organization) -> None:
    plan, stop = queued(org), threading.Event()

    def away(*_: Any, **__: Any) -> None:
        stop.set()
        raise OperationalError("server closed the connection")

    with patch("plans.runs.worker.survey", side_effect=away):
        ran = worker.run_next(stop)
    assert ran is not None
    plan.refresh_from_db()
    assert (ran.state, plan.state, plan.lease_until, plan.starts) == ("queued", "queued", None, 0)


@pytest.mark.parametrize("error", [DataError, IntegrityError, ProgrammingError, DatabaseError])
@pytest.mark.every_case
@pytest.mark.parametrize("where", ["survey", "record"])
def test_what_the_database_refuses_of_a_plan_fails_the_plan_at_once(
    org: Organization, where: str, error: type[Exception]
) -> None:
    plan = queued(org)
    record = worker.record

    def refusing(*args: Any, **keys: Any) -> Any:
        if where == "survey" or keys["action"] == "plan.projected":
            raise error("value too long")
        return record(*args, **keys)

    with patch(f"plans.runs.worker.{where}", refusing):
        worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, plan.failure, plan.result) == ("failed", f"{error.__name__}: value too long", "")
    assert entries(org) == ["plan.failed"]
    assert worker.run_next() is None


def test_a_heartbeat_outlives_every_error_of_the_database(org: Organization) -> None:
    plan = queued(org)
    beaten = threading.Event()
    said = [OperationalError("away"), InternalError("read-only"), ProgrammingError("no such table"), DatabaseError("?")]

    def beat(plan: PlanRun, **progress: Any) -> None:
        if said:
            raise said.pop()
        beaten.set()

    with (
        patch("plans.runs.worker.HEARTBEAT_SECONDS", 0.01),
        patch("plans.runs.worker._report", beat),
        worker._heartbeat(plan) as is_lost,
    ):
        assert beaten.wait(5)
    assert not is_lost.is_set()
    assert heartbeats() == []


def die_at(report: int) -> None:
    with patch("plans.runs.worker._report", Watched(report, crash)), pytest.raises(Crash):
        worker.run_next()
    running = PlanRun.objects.get(state="running")
    lose_lease(running)


#: 1 is before the first block. With caches a survey cannot go on, so that its blocks are no progress.
@pytest.mark.parametrize(
    ("report", "caches", "where"),
    [
        (1, {}, "its beginning"),
        (4, {"l1_ttl_seconds": 90}, "row 20 of 40 (surveying the log)"),
        (11, {}, "row 40 of 40 (replaying requests)"),
    ],
)
def test_a_plan_that_takes_its_worker_down_time_and_again_is_given_up(
    org: Organization, report: int, caches: dict[str, Any], where: str
) -> None:
    plan, other = queued(org, **caches), queued(org)
    with in_blocks(10):
        if report == 11:
            die_at(report)
            report = 2  # the projection that goes on begins, and then the result
        for _ in range(worker.STARTS):
            die_at(report)
        ran = worker.run_next()
    assert ran is not None
    plan.refresh_from_db()
    assert (ran.state, plan.state, plan.fence) == ("failed", "failed", ran.fence)
    assert plan.failure == (
        f"no_progress: This plan was begun 5 times and got no further than {where}. The worker died each time, most"
        " likely for want of memory. Give it more, or replay a shorter window."
    )
    assert (plan.checkpoint, plan.lease_until, plan.phase, entries(org)) == (None, None, "", ["plan.failed"])
    assert worker.run_next() == other
    assert entries(org) == ["plan.failed", "plan.projected"]


def test_a_plan_that_gets_further_between_deaths_is_finished_however_many(org: Organization) -> None:
    with in_blocks(10):
        expected = undisturbed(org)
        plan = queued(org, routes=[FIXED])
        die_at(4)
        for _ in range(3):
            for _ in range(worker.STARTS - 1):
                die_at(1)
            die_at(4)
        worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, plan.result, plan.fence) == ("projected", expected, 1 + 3 * worker.STARTS + 1)


def test_a_plan_that_workers_give_back_is_never_given_up(org: Organization) -> None:
    plan = queued(org, l1_ttl_seconds=90)  # whose survey begins again each time
    for _ in range(2 * worker.STARTS):
        stop = threading.Event()
        with in_blocks(10), patch("plans.runs.worker._report", Watched(1, stop.set)):
            worker.run_next(stop)
        plan.refresh_from_db()
        assert (plan.state, plan.starts, plan.checkpoint) == ("queued", 0, None)
    worker.run_next()
    plan.refresh_from_db()
    assert plan.state == "projected"


def test_a_plan_whose_failure_cannot_be_written_does_not_keep_the_others_from_running(org: Organization) -> None:
    plan, other = queued(org), queued(org)
    PlanRun.objects.filter(pk=plan.pk).update(starts=32_767)  # the most that the column holds
    with (
        patch("plans.runs.worker.record", side_effect=IntegrityError("it cannot be recorded")),
        pytest.raises(IntegrityError),
    ):
        worker.run_next()
    plan.refresh_from_db()
    assert plan.state == "running"
    assert worker.run_next() == other


def test_a_worker_whose_clock_is_ahead_leaves_a_living_lease_alone(org: Organization) -> None:
    plan = queued(org)
    with patch("plans.runs.worker._run"):
        worker.run_next()
    later = timezone.now() + timedelta(hours=1)
    with patch("django.utils.timezone.now", lambda: later):
        assert worker.run_next() is None
    plan.refresh_from_db()
    assert plan.state == "running"
