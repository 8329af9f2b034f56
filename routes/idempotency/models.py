"""Answers kept for repeats."""

from django.db import models
from django.utils import timezone


class IdempotencyKey(models.Model):
    """The answer to a request that named a key, for whoever repeats it. Written by `routes.idempotency.services` alone, in
    the transaction of what the request did: an answer is there if and only if its effect is."""

    #: SHA-256 of caller, method, path and key.
    digest = models.CharField(primary_key=True, max_length=64)
    body_sha256 = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField(default=dict)
    #: Null where the answer held a secret.
    answer = models.BinaryField(null=True)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    def __str__(self) -> str:
        return f"{self.digest[:12]} of {self.created_at:%Y-%m-%d %H:%M}"
