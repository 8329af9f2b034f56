"""Golden requests: what an organisation's routes must go on doing."""

from uuid import UUID

from django.db import models
from django.db.models import Q
from django.utils import timezone

from routes.orgs.models import Organization, new_id


class ExampleRequestQuerySet(models.QuerySet["ExampleRequest"]):
    def of(self, org: Organization | UUID | str) -> "ExampleRequestQuerySet":
        return self.filter(org=org)


class ExampleRequest(models.Model):
    """A request, and what must become of it. Written by `routes.examples.services` alone."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="examples")
    #: The example's identity in URLs.
    uid = models.UUIDField(default=new_id, editable=False)
    name = models.CharField(max_length=200)
    #: As `decide/` takes it: `context`, `chat`, or both; and `now`, the time of the request.
    request = models.JSONField()
    #: Any of `route` (a name, null for none), `target_model` and `reason`.
    expected = models.JSONField()
    #: Counts its changes.
    revision = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now, editable=False)

    objects = ExampleRequestQuerySet.as_manager()

    class Meta:
        ordering = ["org", "name"]
        constraints = [
            models.UniqueConstraint(fields=["org", "uid"], name="example_request_id_once_per_org"),
            models.UniqueConstraint(fields=["org", "name"], name="example_request_name_once_per_org"),
            models.CheckConstraint(condition=~Q(name=""), name="example_request_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name
