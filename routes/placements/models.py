"""Where the partitions of an organisation are."""

from dataclasses import replace
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils import timezone

from routes.engine import Placement as PlacementState
from routes.engine import Target
from routes.engine.placed import is_partition
from routes.engine.placements import DEFAULT, DRAIN_SECONDS, PHASES
from routes.orgs.models import Organization, new_id


class PlacementQuerySet(models.QuerySet["Placement"]):
    def of(self, org: Organization | UUID | str) -> "PlacementQuerySet":
        return self.filter(org=org)

    def named(self, org: Organization | UUID | str, partition: str) -> "Placement | None":
        """The placement of this very partition. What can be no name has none, and no database is asked about it."""
        if partition != DEFAULT and not is_partition(partition):
            return None
        return self.of(org).filter(partition=partition).first()

    def holding(self, org: Organization | UUID | str, partition: str) -> "Placement | None":
        """The partition's own placement, else the default's. One query: of two, the second may find what was never true of
        this partition, because it got one of its own in between."""
        if partition != DEFAULT and not is_partition(partition):
            return None
        found = {row.partition: row for row in self.of(org).filter(partition__in={partition, DEFAULT})}
        return found.get(partition, found.get(DEFAULT))


class Placement(models.Model):
    """Where one partition is, and where it moves. Written by `routes.placements.services` alone."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="placements")
    #: What the log calls it: a partition's name may be that of a customer.
    uid = models.UUIDField(default=new_id, editable=False)
    #: `*` for all that were not placed themselves.
    partition = models.CharField(max_length=200)
    cluster = models.CharField(max_length=200)
    resource = models.CharField(max_length=200)
    #: The base URL of the cluster.
    endpoint = models.CharField(max_length=500)
    phase = models.CharField(max_length=10, choices=[(phase, phase) for phase in PHASES], default="settled")
    to_cluster = models.CharField(max_length=200, blank=True, default="", db_default="")
    to_resource = models.CharField(max_length=200, blank=True, default="", db_default="")
    to_endpoint = models.CharField(max_length=500, blank=True, default="", db_default="")
    #: Of its own last step: a number of `Organization.placement_epoch`.
    epoch = models.PositiveBigIntegerField()
    #: For so long no write is admitted before a move is complete.
    drain_seconds = models.FloatField(default=DRAIN_SECONDS, db_default=DRAIN_SECONDS)
    #: By the clock of the database, and not before the cutover could be seen.
    cut_over_at = models.DateTimeField(null=True)
    moved_by_name = models.CharField(max_length=200, blank=True, default="", db_default="")
    moved_at = models.DateTimeField(default=timezone.now)

    objects = PlacementQuerySet.as_manager()

    class Meta:
        ordering = ["org", "partition"]
        constraints = [
            models.UniqueConstraint(fields=["org", "partition"], name="placement_of_partition_once_per_org"),
            models.UniqueConstraint(fields=["org", "epoch"], name="placement_epoch_once_per_org"),
            models.CheckConstraint(condition=Q(phase__in=PHASES), name="placement_has_a_phase"),
            models.CheckConstraint(condition=Q(epoch__gte=1), name="placement_epoch_from_1"),
            models.CheckConstraint(
                condition=(Q(phase="settled") & Q(to_cluster="")) | (~Q(phase="settled") & ~Q(to_cluster="")),
                name="placement_moves_somewhere_or_is_settled",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.partition} at {self.cluster}/{self.resource}"

    @property
    def is_default(self) -> bool:
        return self.partition == DEFAULT

    def state(self) -> PlacementState:
        """The placement as the engine has it."""
        to = Target(self.to_cluster, self.to_resource, self.to_endpoint) if self.to_cluster else None
        target = Target(self.cluster, self.resource, self.endpoint)
        return PlacementState(self.partition, target, self.epoch, self.phase, to)  # type: ignore[arg-type]


def placement_of(org: Organization | UUID | str, partition: str) -> PlacementState | None:
    """What holds for a partition now, its own placement or the default's, under its name."""
    row = Placement.objects.holding(org, partition)
    return None if row is None else replace(row.state(), partition=partition)
