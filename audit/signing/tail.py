"""What is not signed yet, of all logs."""

from datetime import datetime
from typing import NamedTuple

from django.db.models import F, Max, Min, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from audit.models import AuditEntry, AuditHead, Checkpoint, Refusal


class Tail(NamedTuple):
    """Entries that no checkpoint covers, the age of the oldest of them in seconds, and how many logs are refused."""

    entries: int
    seconds: float
    refused: int
    #: How long ago the signer looked at a log last, in seconds; None where it never did.
    looked: float | None
    #: How far the newest entry of all is ahead of the clock here, in seconds.
    ahead: float


def _signed() -> Coalesce:
    """How many entries of the log of a row are signed."""
    # Not the largest of all: the index is read from its end. A size that the log never had covers nothing.
    found = Checkpoint.objects.filter(log=OuterRef("log"), size__lte=OuterRef("size")).order_by("-size")
    return Coalesce(Subquery(found.values("size")[:1]), 0)


def unsigned_tail() -> Tail:
    """In a few queries. A log that was closed is signed with the entry by which the next one begins."""
    now = timezone.now()
    heads = AuditHead.objects.filter(is_current=True).annotate(signed=_signed())
    behind = list(heads.filter(size__gt=F("signed")).values_list("log", "size", "signed"))
    # The first of each that is not signed. There are few such logs, unless nobody signs; then some of them will do.
    firsts = Q(*(Q(log=log, seq=signed) for log, _, signed in behind[:200]), _connector=Q.OR)
    oldest = AuditEntry.objects.filter(firsts).aggregate(oldest=Min("ts"))["oldest"] if behind else None
    seconds = 0.0 if oldest is None else max(0.0, (now - oldest).total_seconds())
    # A clock may have been ahead.
    looked = Checkpoint.objects.filter(checked_at__lte=now).aggregate(last=Max("checked_at"))["last"]
    return Tail(
        sum(size - signed for _, size, signed in behind),
        seconds,
        Refusal.objects.count(),
        None if looked is None else max(0.0, (now - looked).total_seconds()),
        _ahead(now),
    )


def _ahead(now: datetime) -> float:
    newest = AuditHead.objects.order_by("-last_ts").values_list("last_ts", flat=True).first()
    try:
        return max(0.0, (datetime.fromisoformat(newest) - now).total_seconds()) if newest else 0.0
    except (ValueError, TypeError):
        return 0.0  # it is no time: the signer refuses that log
