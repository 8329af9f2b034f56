"""Gateways, as they report themselves."""

from django.db import models

from routes.orgs.models import Organization


class GatewayInstance(models.Model):
    """What one gateway runs for one organisation. Written by `routes.fleet.services` alone."""

    org = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="gateways")
    #: The gateway's own name, such as a host's.
    instance = models.CharField(max_length=100)
    #: The version by which it decides.
    running = models.PositiveBigIntegerField()
    #: `{"version", "code", "detail"}` of the document that it would not load; null where it loaded the last it saw.
    rejected = models.JSONField(null=True)
    #: The newest form of documents that it reads; its engine's version, and the engine's extras that it has.
    schema_max = models.PositiveSmallIntegerField()
    engine = models.CharField(max_length=50)
    extras = models.JSONField(default=list)
    reported_at = models.DateTimeField()

    class Meta:
        ordering = ["org", "instance"]
        constraints = [models.UniqueConstraint(fields=["org", "instance"], name="gateway_instance_once_per_org")]

    def __str__(self) -> str:
        return f"{self.instance} at version {self.running}"
