"""Storing request logs. Only writer of `RequestLog`."""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from django.db import IntegrityError, connection, transaction

from audit.services import Receipt, record
from plans.errors import PlansError
from plans.logs.formats import Item, LogFile, ReadAs, Reader, Refusal
from plans.logs.models import RequestLog
from routes.catalog.services import price_table
from routes.orgs.models import Organization

#: Rows per transaction: 30,000 in one made an edit on SQLite wait 111 ms, in thousands 2 ms.
CHUNK = 1_000
#: Refusals that a report names; it counts all of them.
NAMED = 100
PROGRESS_EVERY = 1_000
OnError = Literal["skip", "abort"]
log = logging.getLogger(__name__)


@dataclass(slots=True)
class ImportReport:
    """What an import met. `read` is `imported` + `repeated` + `refused_total`, where it was not refused as a whole."""

    read: int = 0
    imported: int = 0
    #: Rows whose `request_id` the organisation had before, or that came earlier in the same input.
    repeated: int = 0
    #: (number, reason) of the first 100.
    refused: list[tuple[int, str]] = field(default_factory=list)
    refused_total: int = 0

    def __str__(self) -> str:
        return f"{self.imported:,} rows imported, {self.repeated:,} repeated, {self.refused_total:,} refused."

    @property
    def unnamed(self) -> int:
        """How many were refused beside those that are named."""
        return self.refused_total - len(self.refused)

    def refuse(self, refusal: Refusal) -> None:
        self.refused_total += 1
        if len(self.refused) < NAMED:
            self.refused.append((refusal.line, refusal.reason))


class ImportRefused(PlansError):
    """Records were refused and nothing of the input was imported; `report` names them."""

    code = "import_refused"

    def __init__(self, report: ImportReport) -> None:
        records = "1 record was" if report.refused_total == 1 else f"{report.refused_total:,} records were"
        super().__init__(f"{records} refused, so nothing was imported.")
        self.report = report


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: `phase` is "checked" or "imported", `read` counts its records."""

    phase: Literal["checked", "imported"]
    read: int
    imported: int
    repeated: int
    refused: int


def open_log(org: Organization, file: LogFile, how: ReadAs) -> Reader:
    """The file as it is to be read. Raises `UnknownFormat`, `BadMapping`, `NoModel`, `UnpricedModel`,
    `ParquetNotInstalled`, and `OSError`."""
    return Reader(file, how, lambda: price_table(org))


def import_rows(
    org: Organization,
    items: Callable[[], Iterable[Item]],
    *,
    on_error: OnError,
    by: Any,
    source: str = "",
    is_recorded: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> ImportReport:
    """`import_steps` to their end; `progress` is told each step."""
    steps = import_steps(org, items, on_error=on_error, by=by, source=source, is_recorded=is_recorded)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            report: ImportReport = end.value
            return report
        if progress is not None:
            progress(step)


def import_steps(
    org: Organization,
    items: Callable[[], Iterable[Item]],
    *,
    on_error: OnError,
    by: Any,
    source: str = "",
    is_recorded: bool = True,
) -> Generator[Progress, None, ImportReport]:
    """Store what `items` answers as request logs of the organisation, in transactions of 1,000 rows, and say after
    every 1,000 records how far it is.

    `skip` stores the good rows and reports the others. `abort` reads everything once before the first row is stored
    and raises `ImportRefused` if anything is wrong, so it calls `items` twice. Rows that are there already, by
    `request_id`, stay as they are and are counted: an import that was interrupted can simply be repeated.

    The audit log: `logs.imported` with the figures, in the transaction of the last rows. Where there are several
    transactions, the first that stores a row also records `logs.import_began`, so no row is ever without an entry. A
    generator that is closed, or that meets an error, records `logs.import_interrupted` with what is stored; a process
    that is killed leaves the first entry alone, which says the same. Two entries at most, however large the import.
    Without `is_recorded` there are none.
    """
    if on_error == "abort":
        yield from _refuse_if_any_is_wrong(items())
    report = ImportReport()
    pending: dict[str, dict[str, Any]] = {}
    began: Receipt | None = None

    def said(action: str, **payload: Any) -> Receipt | None:
        if not is_recorded:
            return None
        first = {} if began is None else {"began_at": began.seq}
        target = ("request_logs", org.pk)
        return record(org.pk, by=by, action=action, target=target, payload={"source": source, **payload, **first})

    try:
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
                        stored = _stored(org, pending)
                        receipt = said("logs.import_began") if began is None and stored else began
                    began = receipt
                    _count(report, stored, pending)
                pending[item.values["request_id"]] = item.values
            if report.read % PROGRESS_EVERY == 0:
                yield _progress("imported", report)
        with transaction.atomic():
            stored = _stored(org, pending)
            if stored or began:
                figures = {"imported": report.imported + stored, "repeated": report.repeated + len(pending) - stored}
                said("logs.imported", **figures, refused=report.refused_total)
        _count(report, stored, pending)
    except BaseException:  # also GeneratorExit and KeyboardInterrupt
        if began is not None:
            figures = {"imported": report.imported, "repeated": report.repeated, "refused": report.refused_total}
            try:
                with transaction.atomic():
                    said("logs.import_interrupted", **figures)
            except Exception:
                log.exception("the interruption of an import could not be recorded")
        raise
    return report


def count_rows(org: Organization, items: Iterable[Item]) -> ImportReport:
    """What `import_rows` would report that skips what is wrong, with nothing written. However long reading takes,
    there is no transaction around it: on SQLite that would keep everybody else from writing."""
    report = ImportReport()
    seen: set[str] = set()
    asked: list[str] = []

    def ask() -> None:
        known = RequestLog.objects.of(org).filter(request_id__in=asked).count()
        report.imported += len(asked) - known
        report.repeated += known
        asked.clear()

    for item in items:
        report.read += 1
        if isinstance(item, Refusal):
            report.refuse(item)
        elif (request_id := item.values["request_id"]) in seen:
            report.repeated += 1
        else:
            seen.add(request_id)
            asked.append(request_id)
            if len(asked) == CHUNK:
                ask()
    ask()
    return report


def _refuse_if_any_is_wrong(items: Iterable[Item]) -> Iterator[Progress]:
    report = ImportReport()
    for item in items:
        report.read += 1
        if isinstance(item, Refusal):
            report.refuse(item)
        if report.read % PROGRESS_EVERY == 0:
            yield _progress("checked", report)
    if report.refused_total:
        raise ImportRefused(report)


def _progress(phase: Literal["checked", "imported"], report: ImportReport) -> Progress:
    return Progress(phase, report.read, report.imported, report.repeated, report.refused_total)


def _count(report: ImportReport, stored: int, pending: dict[str, dict[str, Any]]) -> None:
    """Count what a transaction stored, after it."""
    report.imported += stored
    report.repeated += len(pending) - stored
    pending.clear()


def _stored(org: Organization, rows: dict[str, dict[str, Any]]) -> int:
    """Store those that the organisation does not have yet, and answer how many they are.

    Not `ignore_conflicts`: it does not say how many it ignored, and on SQLite it ignores every other constraint too.
    """
    while True:
        known = set(RequestLog.objects.of(org).filter(request_id__in=list(rows)).values_list("request_id", flat=True))
        # In one order for everybody, so that two imports of the same rows wait for each other but never in a circle.
        new = [rows[request_id] for request_id in sorted(rows.keys() - known)]
        try:
            with transaction.atomic():
                _insert(org, new)
        except IntegrityError:
            # Another import was faster with some of them, which are now to be seen; or something else is wrong.
            if RequestLog.objects.of(org).filter(request_id__in=[row["request_id"] for row in new]).exists():
                continue
            raise
        return len(new)


def _insert(org: Organization, rows: list[dict[str, Any]]) -> None:
    """One INSERT, with values bound row by row: for forty columns `bulk_create` takes three times as long."""
    fields = [field for field in RequestLog._meta.concrete_fields if not field.primary_key]
    quote = connection.ops.quote_name
    names = ", ".join(quote(field.column) for field in fields)
    marks = ", ".join(["%s"] * len(fields))
    # Both are names of our own, none of them from a file.
    sql = f"INSERT INTO {quote(RequestLog._meta.db_table)} ({names}) VALUES ({marks})"  # noqa: S608

    index = {field.name: (number, field.get_db_prep_save) for number, field in enumerate(fields)}
    values = {field.name: field.get_default() for field in fields} | {"org": org.pk}
    usual = [field.get_db_prep_save(values[field.name], connection) for field in fields]
    bound = []
    for row in rows:
        line = usual.copy()
        for name, value in row.items():
            number, prepared = index[name]
            line[number] = prepared(value, connection)
        bound.append(line)
    with connection.cursor() as cursor:
        cursor.executemany(sql, bound)
