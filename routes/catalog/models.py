"""What models cost, since when, and what they can do."""

from django.db import models
from django.db.models import Q

from routes.orgs.models import Organization


class ModelPrice(models.Model):
    """A price in USD per million tokens. Of several for a model, the latest that began before a request counts."""

    provider = models.CharField(max_length=100)
    model = models.CharField(max_length=200)
    #: Null: everybody's. Set: negotiated for this organisation, and stronger.
    org = models.ForeignKey(Organization, on_delete=models.PROTECT, null=True, blank=True, related_name="prices")
    #: Null: in force since ever.
    since = models.DateTimeField(null=True, blank=True)
    input_usd_per_million = models.DecimalField(max_digits=15, decimal_places=9)
    output_usd_per_million = models.DecimalField(max_digits=15, decimal_places=9)
    cached_input_usd_per_million = models.DecimalField(max_digits=15, decimal_places=9, null=True, blank=True)
    batch_input_usd_per_million = models.DecimalField(max_digits=15, decimal_places=9, null=True, blank=True)
    batch_output_usd_per_million = models.DecimalField(max_digits=15, decimal_places=9, null=True, blank=True)
    flex_input_usd_per_million = models.DecimalField(max_digits=15, decimal_places=9, null=True, blank=True)
    flex_output_usd_per_million = models.DecimalField(max_digits=15, decimal_places=9, null=True, blank=True)
    max_input_tokens = models.PositiveIntegerField(null=True, blank=True)
    max_output_tokens = models.PositiveIntegerField(null=True, blank=True)
    supports_images = models.BooleanField(null=True)
    supports_audio = models.BooleanField(null=True)
    supports_tools = models.BooleanField(null=True)
    supports_reasoning = models.BooleanField(null=True)
    retires_on = models.DateField(null=True, blank=True)
    #: Where the figures come from, for people.
    source = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["provider", "model", "since"]
        # NULLs are distinct in a unique index, so each combination of absent columns has an index of its own.
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "model"],
                condition=Q(org__isnull=True, since__isnull=True),
                name="price_for_everybody_always_once",
            ),
            models.UniqueConstraint(
                fields=["provider", "model", "since"],
                condition=Q(org__isnull=True, since__isnull=False),
                name="price_for_everybody_since_once",
            ),
            models.UniqueConstraint(
                fields=["org", "provider", "model"],
                condition=Q(org__isnull=False, since__isnull=True),
                name="price_negotiated_always_once",
            ),
            models.UniqueConstraint(
                fields=["org", "provider", "model", "since"],
                condition=Q(org__isnull=False, since__isnull=False),
                name="price_negotiated_since_once",
            ),
            models.CheckConstraint(
                condition=Q(input_usd_per_million__gte=0, output_usd_per_million__gte=0), name="price_is_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.provider}/{self.model}"


class PriceEdition(models.Model):
    """Names what the table says, for everybody or for one organisation: another one with every change.

    So that who asks again is answered without looking at the prices. A random name and no number: a table that came back
    from a backup counts on from where others went on.
    """

    EVERYBODY = "everybody"

    #: `everybody`, or the id of the organisation whose negotiated prices these are.
    scope = models.CharField(max_length=36, primary_key=True)
    edition = models.UUIDField()
    changed_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.scope}, {self.edition}"
