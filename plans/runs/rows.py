"""A file of request logs as a log that can be replayed, without a database: what `manage.py replay` reads."""

from collections.abc import Iterable
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import batched
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plans.logs.formats import Row
from plans.logs.models import RequestLog
from plans.replay import LogRow, MemorySource
from plans.replay.columns import BLOCK_ROWS, Block, block_of
from plans.replay.columns.block import time_of
from plans.replay.columns.column import UNKNOWN, Coded, Column, Numbers, Texts, Vocabulary, joined
from plans.replay.values import is_routed

#: Of a row for the replay, what is computed from columns with other names, or empty there for None.
_COMPUTED = {
    "cost_nano", "baseline_cost_nano", "fact_estimated_cost_nano", "routed", "prompt", "finish_reason",
    "fact_sticky_key", "synthetic",
}  # fmt: skip
_SAME = [field.name for field in fields(LogRow) if field.name not in _COMPUTED]
#: What the table would hold where a row says nothing. A model's instance for each row would take half of the time.
_DEFAULTS = {field.attname: field.get_default() for field in RequestLog._meta.concrete_fields}
_NO_TEXTS = Vocabulary([])
#: Rows that are objects at a time.
_OBJECTS = 8_192


def blocks_of(rows: Iterable[Row], columns: frozenset[str], *, block_rows: int = BLOCK_ROWS) -> list[Block]:
    """The blocks of rows in any order, with these columns alone; `block_rows` is for tests.

    Few rows are objects at a time: a row is 100 bytes in columns and 900 as an object.
    """
    gathered = {name: _Gathered() for name in columns | {"ts", "request_id"}}
    for some in batched(map(_log_row, (row.values for row in rows)), min(_OBJECTS, block_rows), strict=False):
        block = block_of(some)
        for name, pieces in gathered.items():
            pieces.add(block.column(name))
    times, ids = (gathered.pop(name).joined() for name in ("ts", "request_id"))
    if times is None or ids is None:
        return []
    order = _order(times, ids)
    starts = range(0, len(order), block_rows)
    parts: list[dict[str, Column]] = [{} for _ in starts]

    def cut(name: str, whole: Column | None) -> None:
        for start, part in zip(starts, parts, strict=True):
            if whole is not None:
                part[name] = _packed(whole.taken(order[start : start + block_rows]))

    cut("ts", times)
    cut("request_id", ids)
    del times, ids
    while gathered:  # one column after the other, so that only one is there twice
        name, pieces = gathered.popitem()
        cut(name, pieces.joined())
    return [Block(start, len(part["ts"]), part) for start, part in zip(starts, parts, strict=True)]


def days_of(source: MemorySource) -> tuple[datetime, datetime] | None:
    """The whole UTC days that a log in order is about; None for an empty one."""
    blocks = list(source.blocks(frozenset({"ts"})))
    if not blocks:
        return None
    first, last = (time_of(int(block.numbers("ts")[row])) for block, row in ((blocks[0], 0), (blocks[-1], -1)))
    start, end = (datetime(time.year, time.month, time.day, tzinfo=UTC) for time in (first, last))
    return start, end + timedelta(days=1)


class _Gathered:
    """A column that grows. All of its pieces share the texts that codes stand for."""

    def __init__(self) -> None:
        self._pieces: list[Column] = []
        self._numbers: dict[str, int] = {}

    def add(self, piece: Column) -> None:
        if isinstance(piece, Coded):
            numbers = [self._numbers.setdefault(text, len(self._numbers)) for text in piece.vocabulary.texts]
            piece = Coded(piece.per_row(numbers, UNKNOWN).astype(np.int32), _NO_TEXTS)
        self._pieces.append(_packed(piece))

    def joined(self) -> Column | None:
        """The whole column, None where nothing was added."""
        if not self._pieces:
            return None
        whole = joined(self._pieces)
        return Coded(whole.codes, Vocabulary(self._numbers)) if isinstance(whole, Coded) else whole


def _order(times: Column, ids: Column) -> NDArray[np.intp]:
    """The places of all rows in the order of (ts, request_id); rows that are alike stay as they were."""
    assert isinstance(times, Numbers)
    assert isinstance(ids, Texts)
    order = np.argsort(times.values, kind="stable")
    values = times.values[order]
    begins = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
    sizes = np.diff(begins, append=len(values))
    for begin, size in zip(begins[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        order[begin : begin + size] = sorted(order[begin : begin + size].tolist(), key=ids.__getitem__)
    return order


def _packed(column: Column) -> Column:
    """The same; of values that are all equal only one is kept."""
    if isinstance(column, Numbers) and (column.values == column.values[0]).all():
        return Numbers(np.broadcast_to(column.values[0], len(column)))
    if isinstance(column, Coded) and (column.codes == column.codes[0]).all():
        return Coded(np.broadcast_to(column.codes[0], len(column)), column.vocabulary)
    return column


def _log_row(values: dict[str, Any]) -> LogRow:
    """What would be stored, as the replay reads it."""
    row = {**_DEFAULTS, **values}

    def nano(usd: Decimal | None) -> int | None:
        return None if usd is None else int(usd.scaleb(9))

    return LogRow(
        **{name: row[name] for name in _SAME},
        cost_nano=nano(row["cost_usd"]),
        baseline_cost_nano=nano(row["baseline_cost_usd"]),
        fact_estimated_cost_nano=nano(row["fact_estimated_cost_usd"]),
        # As plans read it from the database.
        routed=is_routed(row["matched_route_id"], row["reason"]),
        finish_reason=row["finish_reason"] or None,
        fact_sticky_key=row["fact_sticky_key"] or None,
        synthetic=tuple(row["synthetic"]),
    )
