"""Storing request logs. Only writer of `RequestLog`."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db import IntegrityError, transaction

from audit.services import record
from plans.errors import PlansError
from plans.logs.formats import Item, Refusal
from plans.logs.models import RequestLog
from routes.orgs.models import Organization

#: Rows per transaction: 30,000 in one made an edit on SQLite wait 111 ms, in thousands 2 ms.
CHUNK = 1_000
#: Refusals that a report names; it counts all of them.
NAMED = 100
PROGRESS_EVERY = 10_000


@dataclass(slots=True)
class ImportReport:
    """What an import met. `read` is `imported` + `repeated` + `refused_total`, where it was not refused as a whole."""

    read: int = 0
    imported: int = 0
    #: Rows whose `request_id` the organisation had before, or that came earlier in the same input.
    repeated: int = 0
    #: (line, reason) of the first 100.
    refused: list[tuple[int, str]] = field(default_factory=list)
    refused_total: int = 0

    def refuse(self, refusal: Refusal) -> None:
        self.refused_total += 1
        if len(self.refused) < NAMED:
            self.refused.append((refusal.line, refusal.reason))


class ImportRefused(PlansError):
    """Lines were refused and nothing of the input was imported; `report` names them."""

    code = "import_refused"

    def __init__(self, report: ImportReport) -> None:
        lines = "1 line was" if report.refused_total == 1 else f"{report.refused_total:,} lines were"
        super().__init__(f"{lines} refused, so nothing was imported.")
        self.report = report


def import_rows(
    org: Organization,
    items: Callable[[], Iterable[Item]],
    *,
    on_error: Literal["skip", "abort"],
    by: Any,
    source: str = "",
    progress: Callable[[str, int], None] | None = None,
) -> ImportReport:
    """Store what `items` answers as request logs of the organisation, in transactions of 1,000 rows.

    `skip` stores the good rows and reports the others. `abort` reads everything once before the first row is stored
    and raises `ImportRefused` if anything is wrong, so it calls `items` twice. Rows that are there already, by
    `request_id`, stay as they are and are counted: an import that was interrupted can simply be repeated. `progress`
    is told "checked" or "imported" and the number of records so far, every 10,000.

    The last transaction carries the one entry of the audit log, so whoever finds all rows finds the entry too.
    """
    say = progress or (lambda what, records: None)
    if on_error == "abort":
        _refuse_if_any_is_wrong(items(), say)
    report = ImportReport()
    pending: dict[str, RequestLog] = {}
    for item in items():
        report.read += 1
        if isinstance(item, Refusal):
            # With "abort" there is none, unless somebody changed the input since it was checked.
            report.refuse(item)
        elif item.values["request_id"] in pending:
            report.repeated += 1
        else:
            # Only stored when the next row comes: the last chunk has to wait for its audit entry.
            if len(pending) == CHUNK:
                with transaction.atomic():
                    _store(org, pending, report)
                pending = {}
            pending[item.values["request_id"]] = RequestLog(org=org, **item.values)
        if report.read % PROGRESS_EVERY == 0:
            say("imported", report.read)
    with transaction.atomic():
        _store(org, pending, report)
        if report.imported:
            record(
                org.pk,
                by=by,
                action="logs.imported",
                target=("request_logs", org.pk),
                payload={
                    "source": source,
                    "imported": report.imported,
                    "repeated": report.repeated,
                    "refused": report.refused_total,
                },
            )
    return report


def _refuse_if_any_is_wrong(items: Iterable[Item], say: Callable[[str, int], None]) -> None:
    report = ImportReport()
    for item in items:
        report.read += 1
        if isinstance(item, Refusal):
            report.refuse(item)
        if report.read % PROGRESS_EVERY == 0:
            say("checked", report.read)
    if report.refused_total:
        raise ImportRefused(report)


def _store(org: Organization, rows: dict[str, RequestLog], report: ImportReport) -> None:
    """Store those that the organisation does not have yet, and count both kinds.

    Not `ignore_conflicts`: it does not say how many it ignored, and on SQLite it ignores every other constraint too.
    """
    while True:
        known = set(RequestLog.objects.of(org).filter(request_id__in=list(rows)).values_list("request_id", flat=True))
        # In one order for everybody, so that two imports of the same rows wait for each other but never in a circle.
        new = sorted((row for row in rows.values() if row.request_id not in known), key=lambda row: row.request_id)
        try:
            with transaction.atomic():
                RequestLog.objects.bulk_create(new)
        except IntegrityError:
            # Another import was faster with some of them, which are now to be seen; or something else is wrong.
            if RequestLog.objects.of(org).filter(request_id__in=[row.request_id for row in new]).exists():
                continue
            raise
        report.imported += len(new)
        report.repeated += len(known)
        return
