"""Plans: proposed changes of an organisation's routes, and what they would have cost."""

import json
from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from plans.replay.question import L2_THRESHOLDS
from routes.orgs.models import Organization, new_id


def default_sweep() -> list[float]:
    return list(L2_THRESHOLDS)


class State(models.TextChoices):
    DRAFT = "draft", "Draft"
    QUEUED = "queued", "Waiting for the worker"
    RUNNING = "running", "Running"
    PROJECTED = "projected", "Projected"
    APPROVED = "approved", "Approved"
    SCHEDULED = "scheduled", "Scheduled"
    APPLIED = "applied", "Applied"
    REVERTED = "reverted", "Reverted"
    REJECTED = "rejected", "Rejected"
    SUPERSEDED = "superseded", "Superseded"
    FAILED = "failed", "Failed"
    CANCELLED = "cancelled", "Cancelled"


class Mode(models.TextChoices):
    MERGE = "merge", "Add to today's routes, or replace those with the same id"
    REPLACE = "replace", "Exactly these routes, nothing else"


class Phase(models.TextChoices):
    """What a worker is at."""

    SURVEY = "survey", "Surveying the log"
    PROJECTION = "projection", "Replaying requests"
    RESULT = "result", "Working out how sure it is"


class IntervalMethod(models.TextChoices):
    RANDOM_SUBSETS = "random_subsets", "Random subsets of clusters"
    CLUSTER_BOOTSTRAP = "cluster_bootstrap", "Percentile bootstrap over clusters"


class PlanRunQuerySet(models.QuerySet["PlanRun"]):
    def of(self, org: Organization | UUID | str) -> "PlanRunQuerySet":
        return self.filter(org=org)

    def brief(self) -> "PlanRunQuerySet":
        """Without what is large and lists do not show."""
        return self.defer("proposed", "inverse", "checkpoint", "result")

    def versions(self) -> set[int]:
        """All that these plans refer to: what they stand on, what they made live or took back, and what was live before."""
        found: set[int] = set()
        for base, applied, reverted in self.values_list("base_version", "applied_version", "reverted_version"):
            found.add(base)
            found |= {applied, applied - 1} if applied else set()
            found |= {reverted, reverted - 1} if reverted else set()
        return found


class PlanRun(models.Model):
    """A plan. Written by `plans.runs.services` alone; its state moves by the table in `plans.runs.states`."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="plans")
    name = models.CharField(max_length=200)
    note = models.TextField(blank=True)
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    mode = models.CharField(max_length=10, choices=Mode, default=Mode.MERGE)
    #: The proposed routes: canonical JSON text, because a JSON column would rewrite what the plan's digest covers.
    proposed = models.TextField(default="[]")
    #: The same of the action for requests that no route takes; "" leaves today's.
    proposed_default = models.TextField(blank=True, default="", db_default="")
    base_version = models.PositiveBigIntegerField()
    base_digest = models.CharField(max_length=71)
    window_start = models.DateTimeField()
    window_end = models.DateTimeField()
    seed = models.PositiveBigIntegerField(default=1)
    iterations = models.PositiveIntegerField(default=10_000)
    interval_method = models.CharField(max_length=20, choices=IntervalMethod, default=IntervalMethod.RANDOM_SUBSETS)
    #: The caches that the replay supposes; null: none.
    l1_ttl_seconds = models.FloatField(null=True)
    l2_ttl_seconds = models.FloatField(null=True)
    l2_threshold_sweep = models.JSONField(default=default_sweep)
    l2_priced_threshold = models.FloatField(null=True)
    #: Opaque ids of people (`Actor.person`) and their names at the time. Text: a plan outlives accounts.
    created_by = models.CharField(max_length=100, blank=True)
    created_by_name = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    #: Who changed what the draft asks, by id their names: as little as its author they approve it.
    edited_by = models.JSONField(default=dict, db_default={})
    approved_by = models.CharField(max_length=100, blank=True)
    approved_by_name = models.CharField(max_length=200, blank=True)
    approved_at = models.DateTimeField(null=True)
    #: What was approved: the plan's digest at that moment.
    approved_digest = models.CharField(max_length=71, blank=True)
    rejected_reason = models.TextField(blank=True)
    #: The plan that is the same on newer routes, where there is one; text, as the log has it.
    superseded_by = models.CharField(max_length=36, blank=True, default="", db_default="")
    # The worker's claim: whose it is, until when, and the number that tells a worker that it lost it.
    lease_owner = models.CharField(max_length=100, blank=True)
    lease_until = models.DateTimeField(null=True)
    fence = models.PositiveIntegerField(default=0)
    #: How often it was begun since it last got further: a plan that takes its worker down each time is given up.
    starts = models.PositiveSmallIntegerField(default=0, db_default=0)
    rows_total = models.PositiveBigIntegerField(null=True)
    rows_done = models.PositiveBigIntegerField(default=0)
    phase = models.CharField(max_length=10, choices=Phase, blank=True)
    #: Rows that the worker gets through in this phase; 0 while it does not know.
    rows_per_second = models.PositiveIntegerField(default=0)
    #: What was found so far, for whoever goes on after a crash (`plans.replay.stored`); null when nothing is under way.
    checkpoint = models.BinaryField(null=True)
    #: Since when it waits for a worker; the last time, where it waited more than once.
    queued_at = models.DateTimeField(null=True)
    #: When a worker last took it up.
    started_at = models.DateTimeField(null=True)
    projected_at = models.DateTimeField(null=True)
    failed_at = models.DateTimeField(null=True)
    #: Canonical JSON text of the result; "" until projected.
    result = models.TextField(blank=True)
    #: Of the result what the one sentence of a list is made of (`plans.runs.answer`): of a thousand routes a result has
    #: half a megabyte. Empty until projected, and where a worker of an earlier release projected it.
    summary = models.JSONField(default=dict, db_default={})
    failure = models.TextField(blank=True)
    #: When it is to be applied, and for whom: by then that person must still be allowed to.
    apply_at = models.DateTimeField(null=True)
    scheduled_by = models.CharField(max_length=100, blank=True, default="", db_default="")
    scheduled_by_name = models.CharField(max_length=200, blank=True, default="", db_default="")
    #: Why it was not applied at its time.
    schedule_failure = models.TextField(blank=True, default="", db_default="")
    applied_at = models.DateTimeField(null=True)
    applied_version = models.PositiveBigIntegerField(null=True)
    #: Canonical JSON text of what undoes the applied change; "" until applied.
    inverse = models.TextField(blank=True)
    reverted_at = models.DateTimeField(null=True)
    reverted_version = models.PositiveBigIntegerField(null=True)

    objects = PlanRunQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["org", "-created_at"], name="plan_newest_first"),
            models.Index(fields=["state", "lease_until"], name="plan_waiting_for_worker"),
            # All that the metrics ask of plans: the rows themselves are large.
            models.Index(
                fields=["state", "queued_at", "created_at", "started_at", "projected_at", "failed_at"],
                name="plan_times",
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=Q(window_end__gt=F("window_start")), name="plan_window_is_not_empty"),
            models.CheckConstraint(
                condition=Q(approved_at__isnull=True, approved_by="")
                | (Q(approved_at__isnull=False) & ~Q(approved_by="")),
                name="plan_approved_at_and_by_together",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["applied", "reverted"]) | Q(applied_at__isnull=False),
                name="plan_applied_has_its_time",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["projected", "approved", "scheduled", "applied", "reverted"]) | ~Q(result=""),
                name="plan_projected_has_a_result",
            ),
            models.CheckConstraint(
                condition=~Q(state__in=["approved", "scheduled"])
                | (Q(approved_at__isnull=False) & ~Q(approved_digest="")),
                name="plan_approved_has_its_approval",
            ),
            models.CheckConstraint(
                condition=Q(state="scheduled", apply_at__isnull=False)
                | (~Q(state="scheduled") & Q(apply_at__isnull=True)),
                name="plan_scheduled_has_its_time",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def proposed_routes(self) -> list[dict[str, Any]]:
        routes: list[dict[str, Any]] = json.loads(self.proposed)
        return routes

    @property
    def seconds_left(self) -> int | None:
        """How long the phase goes on, by the rate so far; None where nobody knows."""
        if not self.rows_per_second or self.rows_total is None:
            return None
        return max(0, -(-(self.rows_total - self.rows_done) // self.rows_per_second))

    @property
    def outcome(self) -> dict[str, Any] | None:
        """The result of the projection, or None before it."""
        return json.loads(self.result) if self.result else None


class PlansSeen(models.Model):
    """Up to when somebody has seen what became of their plans. Written by `plans.runs.news` alone."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="+")
    #: An opaque id (`Actor.person`), as plans have them.
    person = models.CharField(max_length=100)
    seen_at = models.DateTimeField()

    class Meta:
        ordering = ["org", "person"]
        constraints = [models.UniqueConstraint(fields=["org", "person"], name="plans_seen_once_per_person")]

    def __str__(self) -> str:
        return f"{self.person} up to {self.seen_at:%Y-%m-%d %H:%M}"
