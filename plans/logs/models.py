"""What happened: one row for each attempt to serve a request."""

from datetime import datetime
from typing import Final
from uuid import UUID

from django.db import models
from django.db.models import F, Q

from routes.orgs.models import Organization

#: Rows are dealt to so many buckets, by a hash of their number: those of a few are a sample (`plans.matching.sampling`). A
#: square modulo a prime, because a plain remainder would take every n-th row of what comes in turns.
BUCKETS: Final = 4_096
_PRIME: Final = 2**31 - 1
_SPREAD: Final = (F("id") % _PRIME * 48_271) % _PRIME
_BUCKET: Final = (_SPREAD * _SPREAD % _PRIME) % BUCKETS
_SPREAD_SQL: Final = f'(("id" %% {_PRIME}) * 48271) %% {_PRIME}'
#: The same for a query with parameters. In the index it stands in these words, or SQLite would not know it again.
BUCKET_SQL: Final = f"((({_SPREAD_SQL}) * ({_SPREAD_SQL})) %% {_PRIME}) %% {BUCKETS}"


class RequestLogQuerySet(models.QuerySet["RequestLog"]):
    def of(self, org: Organization | UUID | str) -> "RequestLogQuerySet":
        return self.filter(org=org)

    def between(self, start: datetime, end: datetime) -> "RequestLogQuerySet":
        """Rows of the half-open window [start, end)."""
        return self.filter(ts__gte=start, ts__lt=end)

    def in_order(self) -> "RequestLogQuerySet":
        return self.order_by("ts", "request_id")


class RequestLog(models.Model):
    """A served (or failed) request. Written by `plans.logs.services` alone."""

    class Kind(models.TextChoices):
        PRIMARY = "primary"
        FALLBACK = "fallback"
        SHADOW = "shadow"

    request_id = models.CharField(max_length=200)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="request_logs")
    ts = models.DateTimeField()
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.PRIMARY)
    provider = models.CharField(max_length=100, blank=True)
    #: The model that served, and the one that was asked for.
    model = models.CharField(max_length=200)
    requested_model = models.CharField(max_length=200)
    input_tokens = models.PositiveBigIntegerField()
    output_tokens = models.PositiveBigIntegerField()
    cached_tokens = models.PositiveBigIntegerField(default=0)
    max_output_tokens = models.PositiveBigIntegerField(null=True)
    #: What was paid, and what it would have cost without any routing. Null where nobody knows.
    cost_usd = models.DecimalField(max_digits=18, decimal_places=9, null=True)
    baseline_cost_usd = models.DecimalField(max_digits=18, decimal_places=9, null=True)
    cached = models.BooleanField(default=False)
    cache_layer = models.CharField(max_length=10, blank=True)
    matched_route_id = models.UUIDField(null=True)
    reason = models.CharField(max_length=30, blank=True)
    variant = models.CharField(max_length=200, blank=True)
    decided_version = models.PositiveBigIntegerField(null=True)
    latency_ms = models.PositiveIntegerField(null=True)
    upstream_latency_ms = models.PositiveIntegerField(null=True)
    status = models.PositiveSmallIntegerField(default=200)
    tag = models.CharField(max_length=512, null=True)  # noqa: DJ001  null: the request had no tag, which is not ""
    #: Null: nobody logged it; {}: the request had none.
    metadata = models.JSONField(null=True)
    #: What requests are correlated by: user, session or key.
    cluster_key = models.CharField(max_length=200, null=True)  # noqa: DJ001  null: a cluster of its own
    request_digest = models.CharField(max_length=71, blank=True)
    finish_reason = models.CharField(max_length=50, blank=True)
    has_images = models.BooleanField(null=True)
    has_audio = models.BooleanField(null=True)
    has_documents = models.BooleanField(null=True)
    has_tools = models.BooleanField(null=True)
    is_stream = models.BooleanField(null=True)
    embedding = models.BinaryField(null=True)
    body = models.JSONField(null=True)
    response_body = models.JSONField(null=True)
    # The facts as decided on: a gateway decides on its own estimate, the log keeps the provider's bill.
    fact_input_tokens = models.PositiveBigIntegerField(null=True)
    fact_estimated_cost_usd = models.DecimalField(max_digits=18, decimal_places=9, null=True)
    fact_sticky_key = models.CharField(max_length=64, blank=True)
    fact_upstream_latency_ms_p95 = models.PositiveIntegerField(null=True)
    #: Names of the columns that were invented for this row (demo data, imported traces), and are shown as such.
    synthetic = models.JSONField(default=list)

    objects = RequestLogQuerySet.as_manager()

    class Meta:
        ordering = ["org", "-ts", "-request_id"]
        indexes = [
            models.Index(fields=["org", "ts", "request_id"], name="request_log_in_order"),
            models.Index(F("org"), _BUCKET, F("ts"), name="request_log_sample"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["org", "request_id"], name="request_id_once_per_org"),
            models.CheckConstraint(
                condition=(Q(cost_usd__isnull=True) | Q(cost_usd__gte=0))
                & (Q(baseline_cost_usd__isnull=True) | Q(baseline_cost_usd__gte=0)),
                name="request_log_cost_is_not_negative",
            ),
        ]

    def __str__(self) -> str:
        return self.request_id
