"""A request that is repeated with the same key has its effect once, and gets the same answer. Only writer of its table."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Final

from django.db import connection, transaction
from django.utils import timezone

from routes.engine.canonical import canonical_bytes
from routes.errors import RoutesError
from routes.idempotency.models import IdempotencyKey
from routes.transactions import repeated

KEPT: Final = timedelta(hours=24)
#: So many expired answers are removed whenever one is kept.
_REMOVED_AT_ONCE: Final = 100


class InProgress(RoutesError):
    """The same request is still running."""

    code = "in_progress"


class OtherBody(RoutesError):
    """The key was used for a request with another body or other parameters."""

    code = "idempotency_key_reused"


class AlreadyCreated(RoutesError):
    """The request was carried out; its answer held a secret, and so was not kept."""

    code = "already_created"


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    has_secret: bool = False
    is_repeated: bool = False


@repeated
def once(
    *, caller: str, method: str, path: str, key: str, body: bytes, act: Callable[[], Answer], query: str = ""
) -> Answer:
    """What `act` answers, or what it answered when the same caller sent this key to the same place in the last 24 hours.

    `act` runs in the transaction that keeps its answer, and again where the database gave that up. What it raises keeps
    nothing, so that a request that was refused can be sent again. Raises `InProgress` (on PostgreSQL; SQLite waits for the
    one write lock), `OtherBody` and `AlreadyCreated`.
    """
    digest = sha256(canonical_bytes([caller, method, path, key])).hexdigest()
    body_sha256 = sha256(body).hexdigest()
    if query:
        body_sha256 = sha256(canonical_bytes([query, body_sha256])).hexdigest()
    with transaction.atomic():
        _lock(digest)
        known = IdempotencyKey.objects.filter(pk=digest).first()
        if known is not None and timezone.now() - known.created_at < KEPT:
            if known.body_sha256 != body_sha256:
                raise OtherBody(
                    "This Idempotency-Key was used for a request with another body or other parameters. Choose a new one."
                )
            if known.answer is None:
                raise AlreadyCreated("This was done already. Its answer held a secret, which is shown only once.")
            return Answer(known.status, bytes(known.answer), known.headers, is_repeated=True)
        answer = act()
        kept = None if answer.has_secret else answer.body
        IdempotencyKey(
            digest=digest, body_sha256=body_sha256, status=answer.status, headers=answer.headers, answer=kept
        ).save()
        expired = IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEPT)
        IdempotencyKey.objects.filter(pk__in=list(expired.values_list("pk", flat=True)[:_REMOVED_AT_ONCE])).delete()
    return answer


def _lock(digest: str) -> None:
    """Until the transaction ends. On SQLite it has the write lock since its begin."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [int(digest[:16], 16) - 2**63])
            if not cursor.fetchone()[0]:
                raise InProgress("The same request is still running. Ask again in a moment.")
