"""The request logs of an organisation as blocks for the replay, straight from the database: no objects in between."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import numpy as np
from django.conf import settings
from django.db import connection
from numpy.typing import NDArray

from plans.logs.models import RequestLog
from plans.replay.columns import BLOCK_ROWS, Block, Cursor, LogChanged, Source
from plans.replay.columns.block import CODED, FLAGS, NUMBERS, metadata_text, synthetic_text, time_of
from plans.replay.columns.column import UNKNOWN, Coded, Column, Numbers, Texts, Vocabulary
from plans.replay.columns.parquet import ParquetSource, UnreadableLog
from plans.replay.columns.source import BEGINNING
from plans.replay.columns.spooled import LONG, LONG_ROWS, SpooledColumn
from plans.replay.values import DECIDED, SET_ASIDE
from routes.engine import RequestContext

#: By column of a block, that of the table; the others have one name.
_STORED: Final = {
    "cost_nano": "cost_usd", "baseline_cost_nano": "baseline_cost_usd",
    "fact_estimated_cost_nano": "fact_estimated_cost_usd", "prompt": "body",
}  # fmt: skip
_MONEY: Final = frozenset({"cost_nano", "baseline_cost_nano", "fact_estimated_cost_nano"})

#: Values of a column that are remembered from block to block.
_MOST_CODES: Final = 2**17

#: By database, how microseconds of the epoch and nano-dollars are read, and in which order texts are.
_TIME: Final = {
    # Text as "2026-05-01 00:00:00.000001", which NumPy reads faster than SQLite, whose own functions also round. A bare
    # column would be made a `datetime`.
    "sqlite": "{0} || ''",
    "postgresql": "(EXTRACT(EPOCH FROM {0}) * 1000000)::bigint",
}
_NANO: Final = {
    # A double: the nearest integer is exact below two million dollars.
    "sqlite": "CAST(ROUND({0} * 1000000000) AS INTEGER)",
    "postgresql": "({0} * 1000000000)::bigint",
}
#: `is_routed`, in SQL.
_ROUTED: Final = f"(({{0}} IS NOT NULL AND {{1}} NOT IN {SET_ASIDE}) OR {{1}} IN {DECIDED})"
_FLAG: Final = {"sqlite": "{0}", "postgresql": "{0}::int"}
_JSON: Final = {"sqlite": "{0}", "postgresql": "{0}::text"}
_IN_BYTES: Final = {"sqlite": "{0}", "postgresql": '{0} COLLATE "C"'}


class DatasetBehind(UnreadableLog):
    """The files of an organisation were exported before some of its rows came."""

    code = "dataset_behind"


def source_of(org_id: UUID, window: tuple[datetime, datetime]) -> Source:
    """Where an organisation's rows of a half-open window are: its folder in `LOG_DATASETS`, if there is one, else the
    database. Raises `DatasetBehind`, and `UnreadableLog` where there is no folder to look into."""
    in_database = DatabaseSource(org_id, window)
    if not settings.LOG_DATASETS:
        return in_database
    folder = Path(settings.LOG_DATASETS)
    if not folder.is_dir():
        raise UnreadableLog("LOG_DATASETS names no folder. Correct it, or leave it empty: then the database is read.")
    if not (folder / str(org_id)).is_dir():
        return in_database
    source = ParquetSource(folder / str(org_id), window)
    # Files may hold more than the database, which forgets old rows; less is an export that newer rows are not in.
    if (lacking := in_database.count() - source.count()) > 0:
        raise DatasetBehind(
            f"The files of this organisation lack {lacking:,} of the requests that the database has in the window. Run"
            " manage.py export_logs again, or choose a window that ended before the last export."
        )
    return source


class DatabaseSource:
    """The rows of an organisation in a half-open window."""

    has_unique_ids = True  # a constraint sees to it
    is_slow = True
    state = "database"

    def __init__(self, org_id: UUID, window: tuple[datetime, datetime], *, block_rows: int = BLOCK_ROWS) -> None:
        self._org_id = org_id
        self._window = window
        self._block_rows = block_rows

    def count(self) -> int:
        return RequestLog.objects.of(self._org_id).between(*self._window).count()

    def has_changed(self) -> bool:
        return False  # no row is ever changed; those that come are noticed where they come

    def blocks(self, columns: frozenset[str], start: Cursor = BEGINNING) -> Iterator[Block]:
        names = ["ts", "request_id", *sorted(columns - {"ts", "request_id", *LONG})]
        long = sorted(columns & LONG)
        codings = {name: _Coding(_READ.get(name)) for name in names if name in CODED}
        first, after = start
        is_full = True
        while is_full:
            before = after
            rows = self._fetched(names, after, self._block_rows)
            is_full = len(rows) == self._block_rows
            if rows:
                after, count = _place(rows[-1]), len(rows)
                values = zip(names, zip(*rows, strict=True), strict=True)
                del rows
                made = {
                    name: codings[name](column) if name in codings else _column(name, column) for name, column in values
                }
                yield Block(first, count, {**made, **self._long(long, before, count)})
                first += count

    def _long(self, names: list[str], after: tuple[int, str] | None, count: int) -> dict[str, Coded]:
        """Columns of long texts of so many rows after this one, of which few are in memory at once."""
        columns = {name: SpooledColumn() for name in names}
        while names and count:
            rows = self._fetched(["ts", "request_id", *names], after, min(count, LONG_ROWS))
            if not rows:
                raise LogChanged("Rows went while the log was read. Replay a window that has ended.")
            for name, values in zip(names, list(zip(*rows, strict=True))[2:], strict=True):
                columns[name].add(_read_once(_READ[name], values))
            after, count = _place(rows[-1]), count - len(rows)
        return {name: column.column() for name, column in columns.items()}

    def _fetched(self, names: list[str], after: tuple[int, str] | None, limit: int) -> list[Any]:
        with connection.cursor() as cursor:
            cursor.execute(*self._query(", ".join(map(_selected, names)), after, limit))
            return cursor.fetchall()

    def _query(self, select: str, after: tuple[int, str] | None, limit: int) -> tuple[str, list[Any]]:
        """The next rows after this one. Both conditions on the time are what the index can begin and end at."""
        fields = RequestLog._meta
        org, ts, request_id = map(_quoted, ("org_id", "ts", "request_id"))
        in_bytes = _IN_BYTES[connection.vendor].format(request_id)
        start = self._window[0] if after is None else time_of(after[0])
        parameters = [
            fields.get_field("org").get_db_prep_value(self._org_id, connection),
            *(fields.get_field("ts").get_db_prep_value(time, connection) for time in (start, self._window[1])),
        ]
        where = f"{org} = %s AND {ts} >= %s AND {ts} < %s"
        if after is not None:
            where += f" AND ({ts} > %s OR {in_bytes} > %s)"
            parameters += [parameters[1], after[1]]
        table = connection.ops.quote_name(fields.db_table)
        # Only names of our own are written into it.
        return (
            f"SELECT {select} FROM {table} WHERE {where} ORDER BY {ts}, {in_bytes} LIMIT {limit}",  # noqa: S608
            parameters,
        )


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)


def _selected(name: str) -> str:
    """What is selected for a column of blocks: integers, -1 for unknown, or texts."""
    vendor = connection.vendor
    column = _quoted(_STORED.get(name, name))
    if name == "routed":
        column = _ROUTED.format(_quoted("matched_route_id"), _quoted("reason"))
    if name == "ts":
        return _TIME[vendor].format(column)
    if name in _MONEY:
        return f"COALESCE({_NANO[vendor].format(column)}, -1)"
    if name in FLAGS:
        return f"COALESCE({_FLAG[vendor].format(column)}, -1)"
    if name in NUMBERS:
        return f"COALESCE({column}, -1)"
    if name in _READ:
        return column if name in ("embedding", "finish_reason") else _JSON[vendor].format(column)
    return column


def _place(row: tuple[Any, ...]) -> tuple[int, str]:
    """(microseconds, request_id) of a row that begins with both."""
    return int(_times(row[:1])[0]), row[1]


def _times(values: tuple[Any, ...]) -> NDArray[np.int64]:
    if isinstance(values[0], str):
        return np.array(values, "datetime64[us]").view(np.int64)
    return np.fromiter(values, np.int64, len(values))


def _column(name: str, values: tuple[Any, ...]) -> Column:
    if name == "ts":
        return Numbers(_times(values))
    if name in FLAGS:
        return Numbers(np.fromiter(values, np.int8, len(values)))
    if name in NUMBERS:
        return Numbers(np.fromiter(values, np.int64, len(values)))
    return Texts.of(values)


class _Coding:
    """Codes of the values of one column, block after block, which share a vocabulary while nothing new is met."""

    def __init__(self, read: Callable[[Any], str | None] | None) -> None:
        self._read = read
        self._forget()

    def _forget(self) -> None:
        #: By value its code, and by text, because several values may mean one.
        self._codes: dict[Any, int] = {None: UNKNOWN}
        self._places: dict[str, int] = {}
        self._vocabulary = Vocabulary([])

    def __call__(self, values: tuple[Any, ...]) -> Coded:
        try:
            return self._coded(values)
        except KeyError:
            if len(self._codes) > _MOST_CODES:
                self._forget()
            for value in set(values) - self._codes.keys():
                text = value if self._read is None else self._read(value)
                place = UNKNOWN if text is None else self._places.setdefault(text, len(self._places))
                self._codes[value] = place
            self._vocabulary = Vocabulary(self._places)
            return self._coded(values)

    def _coded(self, values: tuple[Any, ...]) -> Coded:
        return Coded(np.fromiter(map(self._codes.__getitem__, values), np.int32, len(values)), self._vocabulary)


def _read_once(read: Callable[[Any], str | None], values: tuple[Any, ...]) -> list[str | None]:
    """Each different value is read once."""
    known = {value: None if value is None else read(value) for value in set(values)}
    return [known[value] for value in values]


_READ: Final[dict[str, Callable[[Any], str | None]]] = {
    "metadata": lambda text: metadata_text(json.loads(text)),
    "finish_reason": lambda text: text or None,
    "synthetic": lambda text: synthetic_text(json.loads(text)),
    "embedding": lambda raw: bytes(raw).decode("latin-1"),
    "prompt": lambda text: RequestContext.from_chat(json.loads(text)).prompt,
}
