"""Services: the named entry points of an organisation with their paths, and the hosts at which they answer."""

from typing import Any
from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils import timezone

from routes.orgs.models import Organization


class ServiceQuerySet(models.QuerySet["Service"]):
    def of(self, org: Organization | UUID | str) -> "ServiceQuerySet":
        return self.filter(org=org)

    def in_order(self) -> "list[Service]":
        """By slug, as documents have them. Sorted here: databases differ in where a hyphen stands."""
        return sorted(self, key=lambda row: row.slug)


class Service(models.Model):
    """A named entry point: path patterns with the upstreams that serve them. Written by `routes.paths` alone."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="services")
    #: The service's identity in documents and URLs, and in the prefix `/s/<org>/<slug>` of a gateway.
    slug = models.CharField(max_length=63)
    enabled = models.BooleanField(default=True)
    #: Seconds by name, those that are set.
    timeouts = models.JSONField(default=dict)
    #: In the document's keys and its canonical form; their order settles what is equally specific.
    paths = models.JSONField(default=list)
    #: The organisation's version at which this service last changed.
    revision = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ServiceQuerySet.as_manager()

    class Meta:
        ordering = ["org", "slug"]
        constraints = [
            models.UniqueConstraint(fields=["org", "slug"], name="service_slug_once_per_org"),
            models.CheckConstraint(condition=~Q(slug=""), name="service_has_a_slug"),
        ]

    def __str__(self) -> str:
        return self.slug

    def as_document(self) -> dict[str, Any]:
        """The service as it stands in the row, in the document's keys; not checked by the engine here."""
        return {"slug": self.slug, "enabled": self.enabled, "timeouts": self.timeouts, "paths": self.paths}


class ServiceHostQuerySet(models.QuerySet["ServiceHost"]):
    def of(self, org: Organization | UUID | str) -> "ServiceHostQuerySet":
        return self.filter(org=org)


class ServiceHost(models.Model):
    """A host whose requests are a service's. Given by staff of the installation. Written by `routes.paths.hosts` alone.

    It names the service by its slug: a version or an import without the service leaves the host to it, and what brings the
    service back finds its hosts as they were. Who deletes the service itself frees them.
    """

    #: In lower case, without port, of a name that is not ASCII its A-label form.
    host = models.CharField(max_length=253, unique=True)
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="service_hosts")
    slug = models.CharField(max_length=63)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ServiceHostQuerySet.as_manager()

    class Meta:
        ordering = ["host"]
        indexes = [models.Index(fields=["org", "slug"], name="service_host_of")]
        constraints = [
            models.CheckConstraint(condition=~Q(host="") & ~Q(slug=""), name="service_host_names_both"),
        ]

    def __str__(self) -> str:
        return self.host
