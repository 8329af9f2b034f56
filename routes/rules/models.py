"""Routes: the rules of an organisation, one row each."""

from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from routes.orgs.models import Organization, new_id
from routes.times import rfc3339


class RouteQuerySet(models.QuerySet["Route"]):
    def of(self, org: Organization | UUID | str) -> "RouteQuerySet":
        return self.filter(org=org)

    def in_order(self) -> "RouteQuerySet":
        """In the order in which the engine asks them."""
        return self.order_by("-priority", "position")


class Route(models.Model):
    """One rule: which requests it takes, and what happens to them. Written by `routes.rules.services` alone."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="routes")
    #: The route's identity in documents and URLs.
    uid = models.UUIDField(default=new_id, editable=False)
    name = models.CharField(max_length=200)
    priority = models.PositiveIntegerField(default=100)
    #: Settles equal priorities; lower is asked first.
    position = models.PositiveIntegerField()
    enabled = models.BooleanField(default=True)
    paused = models.BooleanField(default=False)
    active_from = models.DateTimeField(null=True, blank=True)
    active_until = models.DateTimeField(null=True, blank=True)
    conditions = models.JSONField(default=dict)
    target = models.JSONField(default=dict)
    meta = models.JSONField(default=dict)
    #: The organisation's version at which this route last changed.
    revision = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = RouteQuerySet.as_manager()

    class Meta:
        ordering = ["org", "-priority", "position"]
        indexes = [models.Index(F("org"), F("priority").desc(), F("position"), name="route_in_order")]
        constraints = [
            models.UniqueConstraint(fields=["org", "uid"], name="route_id_once_per_org"),
            models.UniqueConstraint(fields=["org", "name"], name="route_name_once_per_org"),
            models.CheckConstraint(condition=~Q(name=""), name="route_has_a_name"),
            models.CheckConstraint(
                condition=Q(active_from__isnull=True)
                | Q(active_until__isnull=True)
                | Q(active_until__gt=F("active_from")),
                name="route_active_until_after_active_from",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def as_document(self) -> dict[str, Any]:
        """The route as it stands in the row, in the document's keys and its canonical form, as far as the row has that;
        not yet checked by the engine."""
        document: dict[str, Any] = {
            "id": str(self.uid),
            "name": self.name,
            "priority": self.priority,
            "enabled": self.enabled,
        }
        if self.paused:
            document["paused"] = True
        for key, time in (("active_from", self.active_from), ("active_until", self.active_until)):
            if time is not None:
                document[key] = rfc3339(time)
        document |= {"when": self.conditions, "then": self.target}
        if self.meta:
            document["meta"] = self.meta
        return document
