"""Accounts at an OpenID provider, and what ends sessions. Second factors are rows of django-otp."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class ProviderAccount(models.Model):
    """An account at an OpenID provider that signs a person in, known by what the provider never gives to another."""

    issuer = models.CharField(max_length=500)
    #: `sub`: at most 255 characters, compared exactly.
    subject = models.CharField(max_length=255)
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="provider_accounts")
    connected_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["connected_at"]
        constraints = [
            models.UniqueConstraint(fields=["issuer", "subject"], name="provider_account_signs_one_person_in"),
            models.UniqueConstraint(fields=["issuer", "person"], name="provider_account_once_per_person_and_issuer"),
        ]

    def __str__(self) -> str:
        return f"{self.person} at {self.issuer}"


class SessionEnds(models.Model):
    """How often something happened to a person that ends sessions. A session notes the counts, which never return."""

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, primary_key=True, related_name="session_ends"
    )
    factor_changes = models.PositiveBigIntegerField(default=0)
    #: Times that the person was deactivated, or might not sign in any more.
    access_losses = models.PositiveBigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "session ends"

    def __str__(self) -> str:
        return f"{self.person}: {self.factor_changes}, {self.access_losses}"
