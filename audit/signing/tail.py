"""What is not signed yet, of all logs."""

from typing import NamedTuple

from django.db.models import F, Max, Min, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from audit.models import AuditEntry, AuditHead, Checkpoint, Refusal


class Tail(NamedTuple):
    """Entries that no checkpoint covers, the age of the oldest of them in seconds, and how many logs are refused."""

    entries: int
    seconds: float
    refused: int


def _signed() -> Coalesce:
    """How many entries of the log of a row are signed."""
    found = Checkpoint.objects.filter(log=OuterRef("log")).order_by().values("log").annotate(most=Max("size"))
    return Coalesce(Subquery(found.values("most")), 0)


def unsigned_tail() -> Tail:
    """In three queries. A log that was closed is signed with the entry by which the next one begins."""
    heads = AuditHead.objects.filter(is_current=True).annotate(signed=_signed())
    behind = list(heads.filter(size__gt=F("signed")).values_list("log", "size", "signed"))
    # The first of each that is not signed. There are few such logs, unless nobody signs; then some of them will do.
    waiting = AuditEntry.objects.filter(log__in=[log for log, _, _ in behind[:1_000]], seq=_signed())
    oldest = waiting.aggregate(oldest=Min("ts"))["oldest"]
    seconds = 0.0 if oldest is None else max(0.0, (timezone.now() - oldest).total_seconds())
    return Tail(sum(size - signed for _, size, signed in behind), seconds, Refusal.objects.count())
