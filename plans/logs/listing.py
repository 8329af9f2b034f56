"""Looking through request logs, newest first, a bounded number of them at a time whatever is looked for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db.models import Q
from django.db.models.fields.tuple_lookups import TupleGreaterThanOrEqual, TupleLessThan

from plans.logs.models import RequestLog
from routes.orgs.models import Organization

#: So many are shown at once.
PAGE: Final = 100
#: So many are looked at for them: few of what is looked for, or none, may be among millions.
LOOKED_AT: Final = 20_000
SHOWN: Final = (
    "request_id", "ts", "kind", "requested_model", "model", "tag", "input_tokens", "output_tokens", "cost_usd",
    "latency_ms", "status", "matched_route_id", "reason", "synthetic",
)  # fmt: skip


class Place(NamedTuple):
    """Where a row stands in the order."""

    ts: datetime
    request_id: str


@dataclass(frozen=True, slots=True)
class Found:
    rows: list[dict[str, Any]]
    #: What is older begins after this one; None where there is nothing older.
    before: Place | None
    #: How far was looked where not all was found that there may be; None where the page is full, or the log at its end.
    looked_back_to: datetime | None


def look(
    org: Organization,
    wanted: Q,
    *,
    request_id: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    before: Place | None = None,
    looked_at: int = LOOKED_AT,
) -> Found:
    """At most `PAGE` rows of [since, until) that are as `wanted`, of the first `looked_at` that are older than `before`.
    Two queries, and neither reads more than that. With a `request_id` that row alone, wherever it is."""
    rows = RequestLog.objects.of(org).order_by("-ts", "-request_id")
    if request_id:
        rows = rows.filter(request_id=request_id)  # which has an index of its own
    # One condition at either end, the closer one: of two, SQLite begins, or ends, at whichever comes first.
    if before is not None and (until is None or before.ts < until):
        rows = rows.filter(TupleLessThan(_PLACE, before))
    elif until is not None:
        rows = rows.filter(ts__lt=until)
    all_since = rows if since is None else rows.filter(ts__gte=since)
    last = None
    if wanted and not request_id:
        # Of the index alone: how far so many rows reach, and whether there are more.
        ends = list(all_since.values_list("ts", "request_id")[looked_at - 1 : looked_at + 1])
        if len(ends) == 2:
            last = Place(*ends[0])
    rows = all_since if last is None else rows.filter(TupleGreaterThanOrEqual(_PLACE, last))
    found = list(rows.filter(wanted).values(*SHOWN)[: PAGE + 1])
    if len(found) > PAGE:
        end = found[PAGE - 1]
        return Found(found[:PAGE], Place(end["ts"], end["request_id"]), None)
    return Found(found, last, None if last is None else last.ts)


_PLACE: Final = ("ts", "request_id")
