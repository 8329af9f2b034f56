"""The worker: takes queued plans one at a time by a lease in the row, replays, stores the result.

A claim raises the row's fence number. Every later write of the worker asks for that number, so a worker that was
stopped for longer than its lease finds that it lost the plan and writes nothing. After each block of rows it writes how
far it is and, where that costs little beside the work, what it found, so that after a crash another one goes on there.
Where the database fails, the same worker does. Leases run by the database's clock, the one that all workers share.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import Error, close_old_connections, connections, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.db.utils import InterfaceError, InternalError, OperationalError
from django.utils import timezone

from audit.actors import system
from audit.services import record
from plans.errors import PlansError
from plans.logs.source import source_of
from plans.replay import Question, Source
from plans.replay.columns import Cursor, LogChanged
from plans.replay.columns.kept import kept
from plans.replay.columns.parquet import UnreadableLog
from plans.replay.projection import Projection
from plans.replay.replay import check
from plans.replay.result import result_of
from plans.replay.stored import NotStored, dump, load
from plans.replay.sums.partial import Partial
from plans.replay.survey import Survey, resumable, survey
from plans.runs.answer import summary_of
from plans.runs.failures import code_of, failure_text, in_one_line
from plans.runs.models import Phase, PlanRun, State
from plans.runs.proposals import content_of
from plans.runs.states import InvalidState, move
from routes import engine
from routes.catalog.services import price_table
from routes.document import content_at
from routes.engine.canonical import canonical_bytes
from routes.times import rfc3339

LEASE = timedelta(seconds=30)
HEARTBEAT_SECONDS = 10.0
#: Checkpoints may take this share of the time.
CHECKPOINT_SHARE = 0.2
#: A log that changes while it is read is read again so many times.
ATTEMPTS = 3
#: A plan that is begun so many times and gets no further is given up.
STARTS = 5
#: After a failure of the database, before the plan goes on; twice as long each time it gets no further.
PAUSE_SECONDS = 1.0
#: The database is away or busy, which says nothing about the plan, unless it is so each time this plan is begun.
AWAY = (OperationalError, InterfaceError, InternalError)
WORKER = system("worker")
log = logging.getLogger(__name__)


def log_of(plan: PlanRun) -> "logging.LoggerAdapter[logging.Logger]":
    """The log, whose lines say which plan they are about, and whose it is."""
    return logging.LoggerAdapter(log, {"plan": str(plan.pk), "org": str(plan.org_id)})


class LostLease(Exception):
    """The plan was cancelled, or another worker has it: this one stops and writes nothing."""


class Stopped(Exception):
    """The worker was asked to stop: the plan goes back to the queue, with what was found so far."""


class MissingVersion(PlansError):
    """The routes that the plan stands on are not kept any more."""

    code = "missing_version"


class NoProgress(PlansError):
    """The plan was begun time and again, and never got further."""

    code = "no_progress"

    def __init__(self, plan: PlanRun, why: str) -> None:
        where = "its beginning"
        if plan.phase and plan.rows_total is not None:
            where = f"row {plan.rows_done:,} of {plan.rows_total:,} ({Phase(plan.phase).label.lower()})"
        super().__init__(f"This plan was begun {STARTS} times and got no further than {where}. {why}")


def run_next(stop: threading.Event | None = None) -> PlanRun | None:
    """Claim the plan that waits longest, run it, and answer it; None where none waits. Once `stop` is set, the run ends
    after the block of rows it is at, and the plan waits for another worker.

    Raises the database's own error where it is away for longer than a lease: then the lease runs out, and the plan is
    taken up again from what was found.
    """
    plan = _claim()
    if plan is None:
        return None
    log_of(plan).info("plan %s is taken up", plan.pk)
    try:
        with _heartbeat(plan) as is_lost:
            _run(plan, is_lost, stop or threading.Event())
    except LostLease:
        log_of(plan).info("plan %s was taken away or cancelled", plan.pk)
        with suppress(PlanRun.DoesNotExist):
            plan.refresh_from_db(fields=["state"])
    except Stopped:
        with suppress(InvalidState):  # cancelled, or another worker's, by now
            plan.state = State.RUNNING
            fields = {"lease_until": None, "lease_owner": "", "rows_per_second": 0, "starts": 0}
            move(plan, State.QUEUED, fence=plan.fence, queued_at=timezone.now(), **fields)
    return plan


def _run(plan: PlanRun, is_lost: threading.Event, stop: threading.Event) -> None:
    """Run the plan to its end: its result, or why there is none."""
    result = ""
    try:
        if plan.starts > STARTS:
            raise NoProgress(
                plan,
                "The worker died each time, most likely for want of memory. Give it more, or replay a shorter window.",
            )
        while True:
            try:
                result = result or _replay(plan, is_lost, stop)
                found = {"result": result, "summary": summary_of(json.loads(result)), "projected_at": timezone.now()}
                _finish(plan, State.PROJECTED, "plan.projected", **found)
            except AWAY as error:
                if plan.starts >= STARTS:
                    raise NoProgress(
                        plan,
                        f"Have somebody look at the database, or replay a shorter window. It said: {in_one_line(error)}",
                    ) from error
                log_of(plan).warning("plan %s has to wait for the database: %s", plan.pk, in_one_line(error))
                _wait(plan, stop)
            else:
                return
    except (LostLease, Stopped, *AWAY):
        raise
    except Exception as error:
        # Whatever else is wrong is wrong with this plan, and must not keep the others waiting.
        why = failure_text(error)
        log_of(plan).error("plan %s failed: %s", plan.pk, why, exc_info=not code_of(error))
        _finish(plan, State.FAILED, "plan.failed", failure=why, failed_at=timezone.now())


def _wait(plan: PlanRun, stop: threading.Event) -> None:
    """Pause until the database answers and this worker still holds the plan, which counts as another start.

    Raises `Stopped`, `LostLease`, and the database's own error where it is away for longer than a lease.
    """
    pause = PAUSE_SECONDS * 2**plan.starts
    until = time.monotonic() + LEASE.total_seconds()
    while True:
        if stop.wait(pause):
            raise Stopped
        close_old_connections()
        try:
            return _report(plan, starts=plan.starts + 1)
        except AWAY:
            if time.monotonic() >= until:
                raise
            pause *= 2


def _claim() -> PlanRun | None:
    lost = PlanRun.objects.filter(state=State.RUNNING, lease_until__lt=Now())
    if lost.exists():  # seldom, and an UPDATE of no row would still wait for SQLite's one writer
        with transaction.atomic():
            lost.filter(pk__in=_free(lost)).update(state=State.QUEUED, queued_at=timezone.now())
    for plan in PlanRun.objects.brief().filter(state=State.QUEUED).order_by("created_at", "pk"):
        claim = {
            "state": State.RUNNING,
            "fence": plan.fence + 1,
            "starts": min(plan.starts, STARTS) + 1,
            "lease_owner": f"{socket.gethostname()}:{os.getpid()}"[:100],
            "started_at": timezone.now(),
            "rows_per_second": 0,
        }
        waiting = PlanRun.objects.filter(pk=plan.pk, state=State.QUEUED, fence=plan.fence)
        with transaction.atomic():
            is_mine = waiting.filter(pk__in=_free(waiting)).update(lease_until=Now() + LEASE, **claim)
        if is_mine:
            for name, value in claim.items():
                setattr(plan, name, value)
            return plan
    return None


def _free(rows: QuerySet[PlanRun]) -> list[UUID]:
    """Those of the plans that nobody writes to, locked; inside a transaction. The others are looked at the next time: what
    one organisation's people are about must not hold up the plans of others."""
    return list(rows.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))


# --- One plan -------------------------------------------------------------------------------------------------------


def _replay(plan: PlanRun, is_lost: threading.Event, stop: threading.Event) -> str:
    """The result, as canonical JSON."""
    today = _content_at(plan)
    live = content_of(plan, today)
    window = (plan.window_start, plan.window_end)
    question = Question(
        current=_engine(plan, today),
        proposed=_engine(plan, live),
        prices=price_table(plan.org),
        seed=plan.seed,
        iterations=plan.iterations,
        interval_method=plan.interval_method,
        window=window,
        l1_ttl_seconds=plan.l1_ttl_seconds,
        l2_ttl_seconds=plan.l2_ttl_seconds,
        l2_threshold_sweep=tuple(plan.l2_threshold_sweep),
        l2_priced_threshold=plan.l2_priced_threshold,
    )
    result = _asked(plan, question, is_lost, stop)
    if is_lost.is_set():
        raise LostLease
    result["proposed_routes"] = live["routes"]
    result["provenance"] |= {
        "base_version": plan.base_version,
        "base_digest": plan.base_digest,
        "window_start": rfc3339(plan.window_start),
        "window_end": rfc3339(plan.window_end),
    }
    return canonical_bytes(result).decode()


def _asked(plan: PlanRun, question: Question, is_lost: threading.Event, stop: threading.Event) -> dict[str, Any]:
    """The answer of the replay. Raises `LogChanged` where the log does not hold still, and `UnreadableLog`."""
    for attempt in range(1, ATTEMPTS + 1):
        # Opened anew, so that a dataset's files are those that there are.
        source = source_of(plan.org_id, (plan.window_start, plan.window_end))
        try:
            rows = source.count()
            # Rows that came since a checkpoint would be missing, and nobody would notice.
            key = question.key(f"{source.state} {rows}")
            begun = _begun(plan, key) if attempt == 1 else (None, None)
            source = kept(source, question.columns)
            progress = _Progress(plan, key, rows, is_lost, stop)
            found, sums = _passes(question, source, progress, *begun)
            check(found, sums, source)
        except (LogChanged, UnreadableLog) as error:
            if attempt == ATTEMPTS or not (isinstance(error, LogChanged) or source.has_changed()):
                raise
        else:
            _report(plan, phase=Phase.RESULT)
            return result_of(question, found, sums, alive=progress.alive)
    raise AssertionError("Every attempt answers or raises.")


def _passes(
    question: Question, source: Source, progress: "_Progress", begun: Survey | None, sums: Partial | None
) -> tuple[Survey, Partial]:
    if begun is None or sums is None:
        begun = resumable(question, source, begun)
        progress.begin(Phase.SURVEY, begun.rows)
        found = survey(
            question,
            source,
            begun=begun,
            on_block=lambda so_far: progress.reached(
                so_far.rows,
                # What nobody could go on from is not worth keeping, and no progress.
                lambda: dump(so_far, None) if resumable(question, source, so_far) is so_far else None,
            ),
            alive=progress.alive,
        )
    else:
        found = begun
    projection = Projection(question, found, sums)
    done = projection.partial.counts.rows
    progress.begin(Phase.PROJECTION, done)
    start = next((cursor for cursor in found.starts if cursor.rows == done), Cursor(found.rows, found.last))
    for block in source.blocks(question.columns, start):
        projection.add(block)
        progress.reached(projection.partial.counts.rows, lambda: dump(found, projection.partial))
    return found, projection.partial


def _begun(plan: PlanRun, key: bytes) -> tuple[Survey | None, Partial | None]:
    """What a worker before this one found, if it was asked the same of the same rows."""
    if plan.checkpoint is None:
        return None, None
    try:
        stored = bytes(plan.checkpoint)
        return load(stored[len(key) :]) if stored.startswith(key) else (None, None)
    except NotStored as error:
        log_of(plan).warning("plan %s begins again: %s", plan.pk, error)
        return None, None


class _Progress:
    """Writes how far the worker is, and what it found, into the plan's row."""

    def __init__(
        self, plan: PlanRun, key: bytes, rows_total: int, is_lost: threading.Event, stop: threading.Event
    ) -> None:
        self._plan = plan
        self._is_lost, self._stop = is_lost, stop
        self._key = key
        self._rows_total = rows_total
        self._phase = Phase.SURVEY
        self._began = self._saved = time.monotonic()
        self._before = 0
        self._cost = 0.0

    def begin(self, phase: Phase, rows_done: int) -> None:
        self._phase, self._before, self._began = phase, rows_done, time.monotonic()
        _report(self._plan, phase=phase, rows_done=rows_done, rows_total=self._rows_total, rows_per_second=0)

    def alive(self) -> None:
        """Within what may take long, a block or the result: to be stopped is not to wait for its end."""
        if self._is_lost.is_set():
            raise LostLease
        if self._stop.is_set():
            raise Stopped

    def reached(self, rows_done: int, found: Callable[[], bytes | None]) -> None:
        now = time.monotonic()
        rate = round((rows_done - self._before) / max(now - self._began, 0.001))
        more: dict[str, Any] = {"rows_done": rows_done, "rows_per_second": min(rate, 2**31 - 1)}
        is_last = self._stop.is_set()
        is_time = is_last or now - self._saved >= self._cost / CHECKPOINT_SHARE
        if is_time and (kept := found()) is not None:
            more |= {"checkpoint": self._key + kept, "starts": 0}
        _report(self._plan, **more)
        if is_time:
            self._saved = time.monotonic()
            self._cost = self._saved - now
        if is_last:
            raise Stopped


@contextmanager
def _heartbeat(plan: PlanRun) -> Iterator[threading.Event]:
    """Extends the lease while a block or the result takes long. Answers an event that tells that the plan was lost."""
    done, is_lost = threading.Event(), threading.Event()

    def beat() -> None:
        try:
            while not done.wait(HEARTBEAT_SECONDS):
                try:
                    _report(plan)
                except LostLease:
                    is_lost.set()
                    return
                except Error as error:
                    # The next one may get through; if none does, the lease runs out, as it should.
                    log_of(plan).warning("plan %s: no heartbeat: %s", plan.pk, in_one_line(error))
                    connections.close_all()
        finally:
            connections.close_all()

    thread = threading.Thread(target=beat, name=f"heartbeat {plan.pk}", daemon=True)
    thread.start()
    try:
        yield is_lost
    finally:
        done.set()
        thread.join()


def _content_at(plan: PlanRun) -> dict[str, Any]:
    """The content of the version that the plan stands on."""
    content = content_at(plan.org_id, plan.base_version)
    if content is None:
        raise MissingVersion(f"Version {plan.base_version} is not kept any more. Make a new plan on today's routes.")
    return content


def _engine(plan: PlanRun, content: dict[str, Any]) -> engine.Engine:
    """The engine that a gateway would load from this content; a route that it cannot read is skipped there too."""
    return engine.Engine.from_document(engine.Document.build(content, org_id=plan.org_id, version=plan.base_version))


def _report(plan: PlanRun, **progress: Any) -> None:
    """Extend the lease and write the progress, or stop: the plan is no longer this worker's."""
    mine = PlanRun.objects.filter(pk=plan.pk, state=State.RUNNING, fence=plan.fence)
    if not mine.update(lease_until=Now() + LEASE, **progress):
        raise LostLease
    for name, value in progress.items():
        setattr(plan, name, value)


def _finish(plan: PlanRun, to: State, action: str, **fields: Any) -> None:
    """End the run: with a result, or with why there is none."""
    payload: dict[str, Any] = {"rows": plan.rows_total}
    if "failure" in fields:
        payload["failure"] = fields["failure"]
    else:
        fields["rows_done"] = plan.rows_total
    fields |= {"lease_until": None, "lease_owner": "", "phase": "", "rows_per_second": 0, "checkpoint": None}
    try:
        with transaction.atomic():
            plan.state = State.RUNNING  # also where a first try was rolled back
            move(plan, to, fence=plan.fence, **fields)
            record(plan.org_id, by=WORKER, action=action, target=("plan", plan.pk), payload=payload)
    except InvalidState:
        log_of(plan).info("plan %s is no longer this worker's; its result is dropped", plan.pk)
