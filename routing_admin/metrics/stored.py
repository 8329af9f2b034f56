"""What the database knows, alike for whichever process is asked: eight queries, and none for a few seconds after."""

import logging
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from django.db import Error
from django.db.models import Case, Count, DurationField, ExpressionWrapper, F, Min, Q, Sum, Value, When
from django.db.models.functions import Coalesce
from django.utils import timezone
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from audit.models import AuditHead
from audit.signing.tail import unsigned_tail
from plans.runs.models import PlanRun, State
from routes.fleet.models import GatewayInstance
from routes.orgs.models import Organization

#: So long figures are answered again without asking.
KEPT_SECONDS: Final = 5.0
#: A gateway that was not heard of for so long is not counted: it was switched off, or cannot reach us.
SILENT: Final = timedelta(minutes=5)
#: Upper bounds of how long a plan took.
BUCKETS_SECONDS: Final = (1, 5, 15, 60, 300, 900, 3600)
log = logging.getLogger(__name__)


class Stored:
    """The figures, kept for a moment; an outage is kept as long, so that scrapes do not wait for it one after the other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._figures: list[Metric] = []
        self._until = 0.0

    def collect(self) -> Iterable[Metric]:
        """`routing_admin_database_up`, and the figures where it is 1."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._figures = _asked()
                self._until = time.monotonic() + KEPT_SECONDS
            return self._figures


def _asked() -> list[Metric]:
    up = GaugeMetricFamily("routing_admin_database_up", "1 where the database answered, 0 where it did not.")
    try:
        figures = [*_organizations(), *_plans(), _plan_times(), *_audit(), _gateways()]
    except Error as error:
        log.warning("the database gave no figures: %s", error)
        up.add_metric([], 0)
        return [up]
    up.add_metric([], 1)
    return [up, *figures]


def _organizations() -> Iterable[Metric]:
    found = Organization.objects.aggregate(number=Count("pk"), versions=Sum("version", default=0))
    yield GaugeMetricFamily("routing_admin_organizations", "Organisations.", found["number"])
    # Every number that the counter of an organisation took is a publication.
    yield CounterMetricFamily("routing_admin_versions_published", "Versions published, ever.", found["versions"])


def _plans() -> Iterable[Metric]:
    # Queued by what ran before the column was there: such a plan waits since it was made, at most.
    waits = Min(Coalesce("queued_at", "created_at"))
    found = {
        state: (number, oldest)
        for state, number, oldest in PlanRun.objects.order_by()
        .values("state")
        .annotate(number=Count("*"), oldest=waits)
        .values_list("state", "number", "oldest")
    }
    plans = GaugeMetricFamily("routing_admin_plans", "Plans by state; queued ones wait for a worker.", labels=["state"])
    for state in State.values:
        plans.add_metric([state], found.get(state, (0, None))[0])
    yield plans
    _, oldest = found.get(State.QUEUED, (0, None))
    age = max(0.0, (timezone.now() - oldest).total_seconds()) if oldest else 0.0
    yield GaugeMetricFamily(
        "routing_admin_plan_oldest_waiting_seconds",
        "How long the plan waits that waits longest; 0 where none does.",
        age,
    )


def _plan_times() -> Metric:
    ended = Coalesce("projected_at", "failed_at")
    took = ExpressionWrapper(ended - F("started_at"), output_field=DurationField())
    rows = (
        PlanRun.objects.order_by()
        .annotate(ended=ended)
        .filter(started_at__isnull=False, ended__isnull=False)
        .annotate(
            took=took,
            outcome=Case(When(projected_at__isnull=False, then=Value("projected")), default=Value("failed")),
            bucket=Case(
                *(
                    When(took__lte=timedelta(seconds=most), then=Value(number))
                    for number, most in enumerate(BUCKETS_SECONDS)
                ),
                default=Value(len(BUCKETS_SECONDS)),
            ),
        )
        .values("outcome", "bucket")
        .annotate(number=Count("*"), total=Sum("took"))
    )
    times = HistogramMetricFamily(
        "routing_admin_plan_duration_seconds",
        "How long plans took, from when a worker last took them up to their result or failure.",
        labels=["outcome"],
    )
    outcomes: dict[str, list[Any]] = {"projected": [], "failed": []}
    for row in rows.values("outcome", "bucket", "number", "total"):
        outcomes[row["outcome"]].append(row)
    bounds = [*(f"{most:.1f}" for most in BUCKETS_SECONDS), "+Inf"]
    for outcome, found in outcomes.items():
        up_to = [
            (bound, sum(row["number"] for row in found if row["bucket"] <= number))
            for number, bound in enumerate(bounds)
        ]
        seconds = sum((row["total"] for row in found), timedelta()).total_seconds()
        times.add_metric([outcome], up_to, seconds)
    return times


def _audit() -> Iterable[Metric]:
    entries = AuditHead.objects.aggregate(number=Sum("size", default=0))["number"]
    yield CounterMetricFamily("routing_admin_audit_entries", "Entries of all audit logs.", entries)
    tail = unsigned_tail()
    yield GaugeMetricFamily(
        "routing_admin_audit_unsigned_entries", "Entries of audit logs that no checkpoint covers yet.", tail.entries
    )
    yield GaugeMetricFamily(
        "routing_admin_audit_unsigned_seconds", "How long the oldest of them waits; 0 where none does.", tail.seconds
    )
    yield GaugeMetricFamily(
        "routing_admin_audit_refused_logs", "Audit logs that the signer refuses to sign.", tail.refused
    )
    if tail.looked is not None:
        yield GaugeMetricFamily(
            "routing_admin_audit_looked_seconds",
            "How long ago the signer looked at a log last, which it does at least every ten minutes.",
            tail.looked,
        )


def _gateways() -> Metric:
    behind = Q(running__lt=F("org__version"))
    heard = GatewayInstance.objects.filter(reported_at__gte=timezone.now() - SILENT)
    found = heard.aggregate(behind=Count("pk", filter=behind), number=Count("pk"))
    gateways = GaugeMetricFamily(
        "routing_admin_gateways",
        "Gateways heard of in the last five minutes, by whether they run an older version than their organisation's.",
        labels=["version"],
    )
    gateways.add_metric(["behind"], found["behind"])
    gateways.add_metric(["current"], found["number"] - found["behind"])
    return gateways
