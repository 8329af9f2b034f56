"""Accounts at an OpenID provider. Second factors are rows of django-otp."""

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
