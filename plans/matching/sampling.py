"""A uniform sample of the requests of an organisation's last week, without reading the week.

Rows are in buckets by a hash of their number (`BUCKETS` of them), and an index has the times by organisation and bucket.
All rows of a few buckets are a sample in which each row of the week is as likely as any other, whatever the time between
them (a walk from random moments would prefer what comes after a pause). How many rows the week has follows from how many
they hold. A week of few rows is listed whole.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import sqrt
from random import Random
from typing import Any, Final
from uuid import UUID

import numpy as np
from django.db import connection

from plans.logs.models import BUCKET_SQL, BUCKETS, RequestLog
from plans.replay import LogRow
from plans.replay.sure import splitmix64
from routes.engine import RequestContext

#: So many requests at most. More would say little more: of these a share is known to two points.
MOST: Final = 2_000
WEEK: Final = timedelta(days=7)
#: A week of so many rows at most is listed whole: their numbers alone are read.
_LISTED: Final = 20_000
#: So many are looked at, where few are first attempts.
_READ: Final = 20_000

#: What is read of a row to know what it was decided on.
DECIDED_ON: Final = (
    "request_id", "ts", "model", "requested_model", "input_tokens", "output_tokens", "baseline_cost_usd", "tag", "metadata",
    "has_images", "has_audio", "has_documents", "has_tools", "is_stream", "matched_route_id", "fact_input_tokens",
    "fact_estimated_cost_usd", "fact_sticky_key", "fact_upstream_latency_ms_p95", "synthetic",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sample:
    """Requests of one week, each by its first attempt, also those that failed or were refused."""

    #: Half-open.
    window: tuple[datetime, datetime]
    #: Whether it is the week that ends now, not that before the newest row.
    is_last_week: bool
    #: In the order of (ts, request_id), with what the replay knows of each; without texts.
    rows: tuple[LogRow, ...]
    #: Of each row the route that took it, as the log says.
    taken_by: tuple[UUID | None, ...]
    #: By row where it stands in the table.
    ids: tuple[int, ...]
    #: How many there are in the window; an estimate unless `is_whole`.
    total: int
    is_whole: bool


def window_of(org_id: UUID, now: datetime) -> tuple[tuple[datetime, datetime], bool] | None:
    """The seven days until now (the minute), or until the newest row where that is older, or is yet to come; and whether it
    is the first. None where there are no rows."""
    newest = RequestLog.objects.of(org_id).order_by("-ts", "-request_id").values_list("ts", flat=True).first()
    if newest is None:
        return None
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    is_last_week = end - WEEK <= newest < end
    if not is_last_week:
        end = newest + datetime.resolution
    return (end - WEEK, end), is_last_week


def sample_of(org_id: UUID, now: datetime, *, most: int = MOST, listed: int = _LISTED) -> Sample | None:
    """At most `most` requests of the week of `window_of`, each as likely as any other, and all where there are no more;
    None where there are no rows. What two weeks of one day share is drawn alike, so that a figure hardly wavers while
    somebody types. `listed` is for tests."""
    found = window_of(org_id, now)
    if found is None:
        return None
    window, is_last_week = found
    random = Random(f"{org_id} {window[1].astimezone(UTC):%Y-%m-%d}")  # noqa: S311  chance, not secrecy
    seed = random.getrandbits(63)
    ids = _drawn(_listed(org_id, window, listed + 1), seed)
    buckets = list(range(BUCKETS))
    asked = BUCKETS
    if len(ids) > listed:
        random.shuffle(buckets)
        ids, asked = [], 0
    rows: list[dict[str, Any]] = []
    read = 0
    while len(rows) < most:
        if read >= _READ or (read == len(ids) and asked == BUCKETS):
            break
        if read == len(ids):
            # Of the first bucket it is known how many a few of them will have, give or take three deviations.
            missing = most - len(rows)
            wanted = 1 if not asked else 1 + round((missing + 3 * sqrt(missing) + 3) * asked / max(1, len(rows)))
            some = buckets[asked : asked + min(wanted, 1_000)]
            ids, asked = ids + _drawn(_in_buckets(org_id, window, some), seed), asked + len(some)
        chunk = ids[read : read + most]
        read += len(chunk)
        rows += _primary(chunk)
    # Of those that were looked at, so many were first attempts.
    total = round(len(rows) / max(1, read) * len(ids) * BUCKETS / asked)
    is_whole = asked == BUCKETS and read == len(ids) and len(rows) <= most
    rows = sorted(rows[:most], key=lambda row: (row["ts"], row["request_id"]))
    return Sample(
        window,
        is_last_week,
        tuple(map(log_row, rows)),
        tuple(row["matched_route_id"] for row in rows),
        tuple(row["id"] for row in rows),
        len(rows) if is_whole else total,
        is_whole,
    )


def texts_of(sample: Sample) -> dict[str, str]:
    """By request the text of those whose bodies are stored."""
    found: dict[str, str] = {}
    for start in range(0, len(sample.ids), 500):
        bodies = RequestLog.objects.filter(pk__in=sample.ids[start : start + 500], body__isnull=False)
        for request_id, body in bodies.values_list("request_id", "body"):
            prompt = RequestContext.from_chat(body).prompt
            if prompt is not None:
                found[request_id] = prompt
    return found


def _drawn(ids: list[int], seed: int) -> list[int]:
    """In an order by chance, in which two rows stay as they are whichever others come and go."""
    numbers = np.array(ids, np.int64)
    drawn: list[int] = numbers[np.argsort(splitmix64(numbers.astype(np.uint64) ^ np.uint64(seed)))].tolist()
    return drawn


def _primary(ids: list[int]) -> list[dict[str, Any]]:
    """Of these rows the first attempts, in the order of `ids`: the first of them are no other sample than all."""
    found: dict[int, dict[str, Any]] = {}
    for start in range(0, len(ids), 500):  # SQLite takes no list of any length
        rows = RequestLog.objects.filter(pk__in=ids[start : start + 500], kind=RequestLog.Kind.PRIMARY)
        found |= {row["id"]: row for row in rows.values("id", *DECIDED_ON)}
    return [found[each] for each in ids if each in found]


def _listed(org_id: UUID, window: tuple[datetime, datetime], limit: int) -> list[int]:
    """The numbers of so many rows of the window, the earliest."""
    return list(
        RequestLog.objects.of(org_id).between(*window).order_by("ts", "request_id").values_list("pk", flat=True)[:limit]
    )


def _in_buckets(org_id: UUID, window: tuple[datetime, datetime], buckets: Iterable[int]) -> list[int]:
    """The numbers of all rows of the window in these buckets, by way of the index."""
    fields = RequestLog._meta
    values = [
        fields.get_field("org").get_db_prep_value(org_id, connection),
        *(fields.get_field("ts").get_db_prep_value(time, connection) for time in window),
    ]
    # The bucket in the very words of the index, or SQLite does not see that it has one. Nothing of it comes from outside.
    sql = (
        f'SELECT "id" FROM "{fields.db_table}" WHERE "org_id" = %s'  # noqa: S608
        f" AND {BUCKET_SQL} IN ({', '.join(map(str, buckets))})"
        ' AND "ts" >= %s AND "ts" < %s'
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [number for (number,) in cursor.fetchall()]


def log_row(row: dict[str, Any]) -> LogRow:
    """What a replay reads of a row of the table, of which `DECIDED_ON` are given; without its text."""

    def nano(name: str) -> int | None:
        return None if row[name] is None else int(row[name].scaleb(9))

    same = {
        name: row[name]
        for name in DECIDED_ON
        if name not in ("baseline_cost_usd", "fact_estimated_cost_usd", "matched_route_id", "synthetic")
    }
    return LogRow(
        **{**same, "fact_sticky_key": row["fact_sticky_key"] or None},
        baseline_cost_nano=nano("baseline_cost_usd"),
        fact_estimated_cost_nano=nano("fact_estimated_cost_usd"),
        synthetic=tuple(row["synthetic"]),
    )
