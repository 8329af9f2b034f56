"""The worker: takes queued plans one at a time by a lease in the row, replays, stores the result.

A claim raises the row's fence number. Every later write of the worker asks for that number, so a worker that was
stopped for longer than its lease finds that it lost the plan and writes nothing.
"""

import logging
import os
import socket
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F
from django.utils import timezone

from audit.actors import system
from audit.services import record
from plans.errors import PlansError
from plans.logs.models import RequestLog
from plans.replay import LogRow, replay
from plans.runs.change import would_be_live
from plans.runs.models import PlanRun, State
from plans.runs.states import InvalidState, move
from routes import engine
from routes.catalog.services import price_table
from routes.document import EMPTY_CONTENT, content_with
from routes.engine.canonical import canonical_bytes
from routes.times import rfc3339
from routes.versions.models import RouteSetVersion

LEASE = timedelta(seconds=30)
WORKER = system("worker")
log = logging.getLogger(__name__)


class LostLease(Exception):
    """The plan was cancelled, or another worker has it: this one stops and writes nothing."""


class MissingVersion(PlansError):
    """The routes that the plan stands on are not kept any more."""

    code = "missing_version"


def run_next() -> PlanRun | None:
    """Claim the plan that waits longest, run it, and answer it; None where none waits."""
    plan = _claim()
    if plan is None:
        return None
    fence = plan.fence
    try:
        result = _replay(plan)
    except LostLease:
        log.info("plan %s was taken away or cancelled", plan.pk)
        return plan
    except (OperationalError, InterfaceError):
        # The database is away, which says nothing about the plan: the lease runs out, and it is taken up again.
        raise
    except Exception as error:
        # Whatever else is wrong is wrong with this plan, and must not keep the others waiting.
        log.exception("plan %s failed", plan.pk)
        _finish(plan, fence, State.FAILED, "plan.failed", failure=f"{type(error).__name__}: {error}"[:2000])
        return plan
    _finish(plan, fence, State.PROJECTED, "plan.projected", result=result, projected_at=timezone.now())
    return plan


def _claim() -> PlanRun | None:
    now = timezone.now()
    for lost in PlanRun.objects.filter(state=State.RUNNING, lease_until__lt=now):
        PlanRun.objects.filter(pk=lost.pk, state=State.RUNNING, fence=lost.fence).update(state=State.QUEUED)
    for plan in PlanRun.objects.filter(state=State.QUEUED).order_by("created_at", "pk"):
        claimed = PlanRun.objects.filter(pk=plan.pk, state=State.QUEUED, fence=plan.fence).update(
            state=State.RUNNING,
            fence=F("fence") + 1,
            lease_owner=f"{socket.gethostname()}:{os.getpid()}"[:100],
            lease_until=now + LEASE,
            started_at=now,
            rows_done=0,
        )
        if claimed:
            plan.refresh_from_db()
            return plan
    return None


def _replay(plan: PlanRun) -> str:
    rows = RequestLog.objects.of(plan.org_id).between(plan.window_start, plan.window_end)
    _report(plan, rows_total=rows.count())
    today = _content_at(plan)
    live = would_be_live(today["routes"], plan.proposed_routes, plan.mode)
    result = replay(
        log_rows(rows),
        current=_engine(plan, today),
        proposed=_engine(plan, content_with(live, default=today["default"])),
        prices=price_table(plan.org),
        seed=plan.seed,
        iterations=plan.iterations,
        window=(plan.window_start, plan.window_end),
        on_progress=lambda done: _report(plan, rows_done=done),
    )
    result["proposed_routes"] = live
    result["provenance"] |= {
        "base_version": plan.base_version,
        "base_digest": plan.base_digest,
        "window_start": rfc3339(plan.window_start),
        "window_end": rfc3339(plan.window_end),
    }
    return canonical_bytes(result).decode()


def _content_at(plan: PlanRun) -> dict[str, Any]:
    """The content of the version that the plan stands on."""
    if plan.base_version == 0:
        return EMPTY_CONTENT
    published = RouteSetVersion.objects.filter(org=plan.org_id, version=plan.base_version).first()
    content = published.unpacked() if published else None
    if content is None:
        raise MissingVersion(f"Version {plan.base_version} is not kept any more. Make a new plan on today's routes.")
    return content


def _engine(plan: PlanRun, content: dict[str, Any]) -> engine.Engine:
    """The engine that a gateway would load from this content; a route that it cannot read is skipped there too."""
    return engine.Engine.from_document(engine.Document.build(content, org_id=plan.org_id, version=plan.base_version))


def _report(plan: PlanRun, **progress: int) -> None:
    """Extend the lease and write the progress, or stop: the plan is no longer this worker's."""
    mine = PlanRun.objects.filter(pk=plan.pk, state=State.RUNNING, fence=plan.fence)
    if not mine.update(lease_until=timezone.now() + LEASE, **progress):
        raise LostLease


def _finish(plan: PlanRun, fence: int, to: State, action: str, **fields: Any) -> None:
    payload: dict[str, Any] = {"rows": plan.rows_total}
    if "failure" in fields:
        payload["failure"] = fields["failure"]
    try:
        with transaction.atomic():
            plan.state = State.RUNNING
            move(plan, to, fence=fence, lease_until=None, lease_owner="", rows_done=F("rows_total"), **fields)
            record(plan.org_id, by=WORKER, action=action, target=("plan", plan.pk), payload=payload)
    except InvalidState:
        log.info("plan %s is no longer this worker's; its result is dropped", plan.pk)
    plan.refresh_from_db()


COLUMNS = (
    "request_id", "ts", "kind", "provider", "model", "requested_model", "input_tokens", "output_tokens",
    "cached_tokens", "cost_usd", "baseline_cost_usd", "status", "tag", "cluster_key", "has_images", "has_audio",
    "has_documents", "has_tools", "is_stream", "fact_input_tokens", "fact_estimated_cost_usd",
    "fact_upstream_latency_ms_p95", "fact_sticky_key", "synthetic",
)  # fmt: skip
_CONVERTED = {"cost_usd", "baseline_cost_usd", "fact_estimated_cost_usd", "fact_sticky_key", "synthetic"}


def log_rows(rows: Any) -> Iterator[LogRow]:
    """The request logs as the values that the replay reads, in order, a chunk in memory at a time."""
    for row in rows.in_order().values(*COLUMNS).iterator(chunk_size=2_000):
        yield LogRow(
            **{name: row[name] for name in COLUMNS if name not in _CONVERTED},
            cost_nano=_nano(row["cost_usd"]),
            baseline_cost_nano=_nano(row["baseline_cost_usd"]),
            fact_estimated_cost_nano=_nano(row["fact_estimated_cost_usd"]),
            fact_sticky_key=row["fact_sticky_key"] or None,
            synthetic=tuple(row["synthetic"]),
        )


def _nano(usd: Decimal | None) -> int | None:
    return None if usd is None else int(usd.scaleb(9))  # exact: nine decimals in the column
