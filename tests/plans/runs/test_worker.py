"""The worker: one plan at a time, by a lease that can be lost."""

import itertools
import threading
import time
import zlib
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.db.models import F
from django.utils import timezone

from audit.models import AuditEntry
from audit.services import payload_of
from plans.replay.columns import LogChanged
from plans.replay.columns.parquet import UnreadableLog
from plans.runs import services as plans
from plans.runs import worker
from plans.runs.models import PlanRun
from routes.catalog.models import ModelPrice
from routes.orgs.models import Organization
from tests.build import BY, START, a_plan, an_org, projected, traffic, usual_prices
from tests.databases import ON_POSTGRES
from tests.plans.runs.crashing import FIXED, REPORTS, Crash, Watched, crash, held, in_blocks, queued, undisturbed

pytestmark = pytest.mark.django_db


@pytest.fixture
def org(db: None) -> Organization:
    org = an_org()
    usual_prices()
    traffic(org)
    return org


def test_nothing_to_do_is_nothing_done(org: Organization) -> None:
    a_plan(org)  # a draft does not run by itself
    assert worker.run_next() is None


def test_plans_run_in_the_order_of_their_making(org: Organization) -> None:
    first, second = queued(org, name="first"), queued(org, name="second")
    ran = [worker.run_next(), worker.run_next()]
    assert [plan.pk for plan in ran if plan] == [first.pk, second.pk]


@pytest.mark.skipif(not ON_POSTGRES, reason="SQLite has one writer, whoever's plan it is")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_lost", [False, True])
def test_a_plan_that_somebody_is_writing_to_holds_up_nobody_else(is_lost: bool) -> None:
    first, second = queued(an_org("first")), queued(an_org("second"))
    if is_lost:
        PlanRun.objects.update(state="running", fence=1, lease_until=timezone.now() - timedelta(hours=1))
    with held(lambda: plans.edit(PlanRun.objects.get(pk=first.pk), by=BY, note="slow")):
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '1s'")
        ran = [worker.run_next(), worker.run_next()]
        connection.close()  # with its short patience
    assert [plan and plan.pk for plan in ran] == [second.pk, None]
    later = worker.run_next()
    assert later is not None
    assert later.pk == first.pk


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (LogChanged("It grew. Wait."), "log_changed: It grew. Wait."),
        (UnreadableLog("a.parquet lacks ts."), "unreadable_log: a.parquet lacks ts."),
        (
            MemoryError("Unable to allocate 8.00 GiB"),
            "out_of_memory: The worker lacks the memory for this plan. Give it more, or replay a shorter window.",
        ),
        (ValueError("it says \0 and \ud800"), "ValueError: it says \N{REPLACEMENT CHARACTER} and ?"),
    ],
    ids=["unforeseen", "log changed", "unreadable log", "memory", "what no database stores"],
)
def test_a_plan_that_cannot_be_replayed_fails_with_its_reason_and_an_entry(
    org: Organization, error: Exception, failure: str
) -> None:
    plan = queued(org)
    with patch("plans.runs.worker.survey", side_effect=error):
        worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, plan.failure) == ("failed", failure)
    entry = AuditEntry.objects.get(org_id=org.pk, action="plan.failed")
    assert (payload_of(entry) or {})["failure"] == failure
    assert worker.run_next() is None


def test_a_plan_that_was_lost_waits_anew_and_one_that_fails_has_its_time(org: Organization) -> None:
    plan, old = queued(org), timezone.now() - timedelta(hours=1)
    PlanRun.objects.filter(pk=plan.pk).update(state="running", lease_until=old, queued_at=old)
    with patch("plans.runs.worker.survey", side_effect=ValueError("broken")):
        worker.run_next()
    plan.refresh_from_db()
    assert plan.state == "failed"
    assert old < plan.queued_at <= plan.started_at <= plan.failed_at


def test_a_plan_on_a_version_that_is_not_kept_says_what_to_do(org: Organization) -> None:
    plan = queued(org)
    PlanRun.objects.filter(pk=plan.pk).update(base_version=99)
    worker.run_next()
    plan.refresh_from_db()
    expected = "missing_version: Version 99 is not kept any more. Make a new plan on today's routes."
    assert (plan.state, plan.failure) == ("failed", expected)


@pytest.mark.parametrize("report", [1, 2, 5, 8])
def test_a_plan_cancelled_while_it_runs_stops_within_a_block_and_leaves_no_result(
    org: Organization, report: int
) -> None:
    plan = queued(org)
    watched = Watched(report, lambda: plans.cancel(PlanRun.objects.get(pk=plan.pk), by=BY))
    with in_blocks(10), patch("plans.runs.worker._report", watched):
        worker.run_next()
    assert len(watched.seen) == report, "it did not go on"
    plan.refresh_from_db()
    assert (plan.state, plan.result) == ("cancelled", "")


def test_progress_tells_the_phase_the_rows_and_the_rate(org: Organization) -> None:
    plan = queued(org)
    watched = Watched(0, lambda: None)
    with in_blocks(10), patch("plans.runs.worker._report", watched):
        worker.run_next()
    rows = [(progress.get("phase", ""), progress["rows_done"]) for progress in watched.seen if "rows_done" in progress]
    blocks = [("", done) for done in (10, 20, 30, 40)]
    assert rows == [("survey", 0), *blocks, ("projection", 0), *blocks]
    assert watched.seen[-1] == {"phase": "result"}
    assert all(progress["rows_per_second"] > 0 for progress in watched.seen if "phase" not in progress)
    plan.refresh_from_db()
    assert (plan.phase, plan.rows_done, plan.rows_total, plan.rows_per_second) == ("", 40, 40, 0)
    assert plan.checkpoint is None


def test_the_time_left_is_that_of_the_rows_left_at_the_rate_so_far() -> None:
    assert PlanRun(rows_done=40, rows_total=100, rows_per_second=25).seconds_left == 3
    assert PlanRun(rows_done=40, rows_total=100).seconds_left is None
    assert PlanRun(rows_per_second=25).seconds_left is None
    assert PlanRun(rows_done=150, rows_total=100, rows_per_second=25).seconds_left == 0, "the log grew"


@pytest.mark.parametrize("caches", [{}, {"l1_ttl_seconds": 90}], ids=["no cache", "a cache"])
@pytest.mark.parametrize("report", REPORTS)
def test_after_a_crash_another_worker_goes_on_and_the_result_is_the_same(
    org: Organization, report: int, caches: dict[str, Any]
) -> None:
    with in_blocks(10):
        expected = undisturbed(org, **caches)
        plan = queued(org, routes=[FIXED], **caches)
        with patch("plans.runs.worker._report", Watched(report, crash)), pytest.raises(Crash):
            worker.run_next()
        PlanRun.objects.filter(pk=plan.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        watched = Watched(0, lambda: None)
        with patch("plans.runs.worker._report", watched):
            worker.run_next()
    plan.refresh_from_db()
    assert plan.result == expected
    begun = [(progress["phase"], progress.get("rows_done")) for progress in watched.seen if "phase" in progress]
    if report >= 8:
        assert begun[0] == ("projection", 10 * (report - 7)), "no block that was written is read again"
    elif not caches and report >= 3:
        assert begun[0] == ("survey", 10 * (min(report, 6) - 2))


def test_a_checkpoint_of_other_prices_or_that_nobody_can_read_is_not_used(org: Organization) -> None:
    for spoil in ("price", "bytes", "version"):
        with in_blocks(10):
            plan = queued(org, routes=[FIXED])
            with patch("plans.runs.worker._report", Watched(9, crash)), pytest.raises(Crash):
                worker.run_next()
            plan.refresh_from_db()
            assert plan.checkpoint is not None
            if spoil == "price":
                ModelPrice.objects.filter(model="gpt-4o-mini").update(input_usd_per_million="0.3")
            else:
                raw = bytes(plan.checkpoint)
                body = b"nothing" if spoil == "bytes" else zlib.compress((2).to_bytes(8, "little") + b"{}")
                PlanRun.objects.filter(pk=plan.pk).update(checkpoint=raw[:32] + body)
            PlanRun.objects.filter(pk=plan.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
            worker.run_next()
            plan.refresh_from_db()
            assert plan.result == undisturbed(org)


#: As where the log does not fit into memory, so that it is read twice.
NOTHING_KEPT = patch("plans.runs.worker.kept", lambda source, columns: source)


def test_a_log_that_grows_while_it_is_read_is_read_again(org: Organization) -> None:
    plan = queued(org)

    def late() -> None:
        traffic(org, rows=1, request_id="late", ts=START + timedelta(minutes=3, seconds=30))

    with in_blocks(10), patch("plans.runs.worker._report", Watched(6, late)), NOTHING_KEPT:
        worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, (plan.outcome or {})["sample_size"]) == ("projected", 41)


def test_a_log_that_never_holds_still_fails_with_what_to_do(org: Organization) -> None:
    plan = queued(org)
    count = itertools.count()

    def late(plan: PlanRun, **progress: Any) -> None:
        if progress.get("phase") == "projection":
            traffic(org, rows=1, request_id=f"late {next(count)}", ts=START + timedelta(minutes=3))

    with in_blocks(10), patch("plans.runs.worker._report", late), NOTHING_KEPT:
        worker.run_next()
    plan.refresh_from_db()
    assert plan.state == "failed"
    assert plan.failure.startswith("log_changed: ")
    assert "Replay a window that has ended" in plan.failure


def test_a_long_step_keeps_its_lease_by_a_heartbeat(org: Organization) -> None:
    beats: list[dict[str, Any]] = []
    plan = queued(org)
    plan.refresh_from_db()
    with (
        patch("plans.runs.worker.HEARTBEAT_SECONDS", 0.01),
        patch("plans.runs.worker._report", lambda plan, **progress: beats.append(progress)),
        worker._heartbeat(plan) as is_lost,
    ):
        while len(beats) < 3:
            time.sleep(0.01)
        assert not is_lost.is_set()
    assert set(map(len, beats)) == {0}
    count = len(beats)
    time.sleep(0.05)
    assert len(beats) == count, "it ended with the run"


def test_a_heartbeat_that_finds_the_plan_lost_says_so(org: Organization) -> None:
    plan = queued(org)

    def lost(plan: PlanRun, **progress: Any) -> None:
        raise worker.LostLease

    with (
        patch("plans.runs.worker.HEARTBEAT_SECONDS", 0.01),
        patch("plans.runs.worker._report", lost),
        worker._heartbeat(plan) as is_lost,
    ):
        assert is_lost.wait(5)


def test_a_lost_worker_is_replaced_and_its_late_result_is_refused(org: Organization) -> None:
    plan = queued(org)
    original = worker._replay

    def slow(running: PlanRun, *events: Any) -> str:
        result = original(running, *events)
        # The lease ends while this worker sleeps; another one takes the plan and finishes it.
        PlanRun.objects.filter(pk=plan.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
        with patch("plans.runs.worker._replay", original):
            other = worker.run_next()
        assert other is not None
        assert other.state == "projected"
        return result.replace("projected", "forged")

    with patch("plans.runs.worker._replay", slow):
        worker.run_next()
    plan.refresh_from_db()
    assert plan.fence == 2
    assert plan.state == "projected"
    assert "forged" not in plan.result
    assert AuditEntry.objects.filter(org_id=org.pk, action="plan.projected").count() == 1


def test_a_worker_whose_plan_another_one_is_running_writes_nothing(org: Organization) -> None:
    plan = queued(org)
    original = worker._replay

    def overtaken(running: PlanRun, *events: Any) -> str:
        result = original(running, *events)
        PlanRun.objects.filter(pk=plan.pk).update(fence=F("fence") + 1)
        return result

    with patch("plans.runs.worker._replay", overtaken):
        worker.run_next()
    plan.refresh_from_db()
    assert (plan.state, plan.result) == ("running", "")
    assert not AuditEntry.objects.filter(org_id=org.pk, action="plan.projected").exists()


def test_a_running_plan_with_a_living_lease_is_left_alone(org: Organization) -> None:
    plan = queued(org)
    PlanRun.objects.filter(pk=plan.pk).update(state="running", lease_until=timezone.now() + timedelta(seconds=30))
    assert worker.run_next() is None


def test_only_the_organisation_s_own_rows_of_the_window_count(org: Organization) -> None:
    other = an_org("other")
    traffic(other, rows=7)
    assert (projected(a_plan(org)).outcome or {})["sample_size"] == 40
    assert (projected(a_plan(other)).outcome or {})["sample_size"] == 7


def test_an_unknown_price_is_counted_and_never_a_saving(org: Organization) -> None:
    to_nowhere = [{"name": "r", "then": {"target_model": "nobody-knows-me"}}]
    outcome = projected(a_plan(org, routes=to_nowhere)).outcome
    assert outcome is not None
    assert outcome["aggregates"]["requests_unprice_able"] == 40
    assert outcome["aggregates"]["projected_savings_usd"] == 0
    assert any("nobody-knows-me" in caveat["message"] for caveat in outcome["caveats"])


@pytest.mark.parametrize("report", [2, 4, 7, 9])
def test_a_worker_that_is_asked_to_stop_gives_the_plan_back_with_what_it_found(org: Organization, report: int) -> None:
    with in_blocks(10):
        expected = undisturbed(org)
        plan = queued(org, routes=[FIXED])
        stop = threading.Event()
        # Even where checkpoints are seldom.
        with (
            patch("plans.runs.worker._report", Watched(report - 1, stop.set)),
            patch("plans.runs.worker.CHECKPOINT_SHARE", 1e-9),
        ):
            worker.run_next(stop)
        plan.refresh_from_db()
        assert (plan.state, plan.lease_until, plan.checkpoint is None) == ("queued", None, False)
        watched = Watched(0, lambda: None)
        with patch("plans.runs.worker._report", watched):
            assert worker.run_next() is not None
    plan.refresh_from_db()
    assert plan.result == expected
    begun = next(progress for progress in watched.seen if "phase" in progress)
    assert begun["rows_done"] == {2: 10, 4: 30, 7: 10, 9: 30}[report]


def test_a_worker_that_is_asked_to_stop_while_it_draws_gives_the_plan_back(org: Organization) -> None:
    expected = undisturbed(org)
    plan = queued(org, routes=[FIXED])
    stop, drawn = threading.Event(), []
    heard = worker._Progress.alive

    def alive(progress: Any) -> None:
        drawn.append(PlanRun.objects.get(pk=plan.pk).phase)
        if len(drawn) == 2:
            stop.set()
        heard(progress)

    with patch("plans.replay.sure.draws._DRAWS_TILE", 100), patch.object(worker._Progress, "alive", alive):
        worker.run_next(stop)
    plan.refresh_from_db()
    assert (plan.state, drawn) == ("queued", ["result", "result"])
    worker.run_next()
    plan.refresh_from_db()
    assert plan.result == expected
