"""Publications of an organisation's routes."""

import json
import zlib
from typing import Any

from django.db import models
from django.db.models import Q
from django.utils import timezone

from routes.orgs.models import Organization


class RouteSetVersionQuerySet(models.QuerySet["RouteSetVersion"]):
    def of(self, org: Organization) -> "RouteSetVersionQuerySet":
        return self.filter(org=org)

    def brief(self) -> "RouteSetVersionQuerySet":
        """Without their content, of which `is_kept` says whether there is any."""
        return self.defer("content").annotate(is_kept=Q(content__isnull=False))


class RouteSetVersion(models.Model):
    """What one version published. Written by `routes.publish` alone, and never changed, but that retention takes the
    content of old ones away."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="versions")
    version = models.PositiveBigIntegerField()
    digest = models.CharField(max_length=71)
    #: The action that led to it, as in the audit log: `route.updated`, `plan.applied`, …
    cause = models.CharField(max_length=50)
    author_type = models.CharField(max_length=10)
    author_id = models.CharField(max_length=100)
    author_name = models.CharField(max_length=200, blank=True)
    #: What it was about, for people: names of routes, of a plan. Empty where it was about all, and for what is older.
    about = models.CharField(max_length=1_000, blank=True, default="", db_default="")
    note = models.TextField(blank=True)
    #: zlib of the content's canonical bytes. Bytes, because a JSON column would reorder keys and rewrite numbers. Null
    #: once retired.
    content = models.BinaryField(null=True)
    published_at = models.DateTimeField(default=timezone.now)

    objects = RouteSetVersionQuerySet.as_manager()

    class Meta:
        ordering = ["org", "-version"]
        constraints = [models.UniqueConstraint(fields=["org", "version"], name="route_set_version_once_per_org")]

    def __str__(self) -> str:
        return f"{self.org_id} version {self.version}"

    def unpacked(self) -> dict[str, Any] | None:
        """The content as published, or None where it was retired."""
        if self.content is None:
            return None
        content: dict[str, Any] = json.loads(zlib.decompress(self.content))
        return content
