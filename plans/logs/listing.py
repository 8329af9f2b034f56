"""Looking through request logs, newest first, a bounded number of them at a time whatever is looked for."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from django.db import connection
from django.db.models import Q, QuerySet
from django.db.models.fields.tuple_lookups import TupleLessThan

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
    Three queries, and none reads more than that. With a `request_id` that row alone, wherever it is."""
    rows = RequestLog.objects.of(org).order_by("-ts", "-request_id")
    # One condition at either end, the closer one: of two, SQLite begins, or ends, at whichever comes first.
    if before is not None and (until is None or before.ts < until):
        rows = rows.filter(TupleLessThan(_PLACE, before))
    elif until is not None:
        rows = rows.filter(ts__lt=until)
    if since is not None:
        rows = rows.filter(ts__gte=since)
    last = None
    if request_id:
        rows = rows.filter(wanted, request_id=request_id)  # which has an index of its own
    elif wanted:
        # Of the index alone: how far so many rows reach, and whether there are more.
        ends = list(rows.values_list("ts", "request_id")[looked_at - 1 : looked_at + 1])
        if len(ends) == 2:
            last = Place(*ends[0])
        rows = RequestLog.objects.filter(pk__in=_among(rows[:looked_at], wanted)).order_by("-ts", "-request_id")
    found = list(rows.values(*SHOWN)[: PAGE + 1])
    if len(found) > PAGE:
        end = found[PAGE - 1]
        return Found(found[:PAGE], Place(end["ts"], end["request_id"]), None)
    return Found(found, last, None if last is None else last.ts)


def _among(rows: QuerySet[RequestLog], wanted: Q) -> list[int]:
    """The numbers of the first of these rows that are as `wanted`, one more than are shown.

    The rows stand in place of the table, limited before anything is asked of them: left to itself, PostgreSQL reads a whole
    log for what it believes to be rare. Nothing of the text comes from outside.
    """
    table = connection.ops.quote_name(RequestLog._meta.db_table)
    inner, given = rows.values(*_ASKED).query.sql_with_params()
    asked = RequestLog.objects.filter(wanted).order_by("-ts", "-request_id").values_list("pk")[: PAGE + 1]
    outer, more = asked.query.sql_with_params()
    select, _, rest = outer.partition(f" FROM {table} ")
    assert rest, outer
    with connection.cursor() as cursor:
        cursor.execute(f"{select} FROM ({inner}) AS {table} {rest}", [*given, *more])
        return [number for (number,) in cursor.fetchall()]


_PLACE: Final = ("ts", "request_id")
#: What may be asked of the rows that are looked at.
_ASKED: Final = ("id", *_PLACE, "model", "tag", "matched_route_id", "status")
