"""A log as a Parquet dataset: files whose names are in the order of their rows, which are sorted by (ts, request_id).

Columns have the names of the log's (`cost_usd`, not `cost_nano`) and natural types: timestamps, integers, decimals,
booleans, strings (dictionaries or not), `metadata` and `synthetic` as JSON text, `embedding` as lists of 32-bit floats.
Those that are absent, of some files or of all, count as unknown, or as their
defaults. Needs pyarrow, which is imported when a dataset is read.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, groupby
from pathlib import Path
from typing import Any, Final

import numpy as np

from plans.replay.columns.arrow import MONEY, REQUIRED, Columns, times
from plans.replay.columns.block import BLOCK_ROWS, CODED, COLUMNS, Block, absent, microseconds_of
from plans.replay.columns.column import Column, joined
from plans.replay.columns.source import BEGINNING, Cursor
from plans.replay.columns.spooled import LONG, LONG_ROWS, joined_long

#: By column of a block, those of the files.
FILED: Final[dict[str, tuple[str, ...]]] = {
    **{name: (name,) for name in COLUMNS},
    **{name: (name.removesuffix("nano") + "usd",) for name in MONEY},
    "routed": ("matched_route_id", "reason"),
}
#: In the metadata of a file, see `claim_of`.
UNIQUE: Final = "routing_admin.unique_request_ids"


def claim_of(dataset: str, file: str, rows: int) -> str:
    """Says that a file is one of a dataset in which no request_id occurs twice. It names the file and its rows, because
    programs copy the metadata of what they read into what they write."""
    return f"{dataset} {file} {rows}"


class UnreadableLog(Exception):
    """The dataset cannot be read as a log; the text says which file, which column, and why."""

    code = "unreadable_log"


class ParquetSource:
    """The rows of a dataset that lie in a window."""

    is_slow = False

    def __init__(self, folder: Path, window: tuple[datetime, datetime], *, block_rows: int = BLOCK_ROWS) -> None:
        """`folder` holds the files, `*.parquet`. Raises `UnreadableLog` where there are none, or pyarrow is not there."""
        self._folder = folder
        self._window = tuple(map(microseconds_of, window))
        self._block_rows = block_rows
        self._found: list[_Piece] | None = None
        self.state = self._listed()
        self._files = sorted(folder.glob("*.parquet"))
        if not self._files:
            raise UnreadableLog(f"There is no *.parquet in {folder.name}.")
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise UnreadableLog("Reading Parquet needs pyarrow: uv sync --group parquet") from None
        self.has_unique_ids = self._are_of_one_export()

    def count(self) -> int:
        return sum(stop - start for _, _, start, stop in self._pieces())

    def has_changed(self) -> bool:
        return self.state != self._listed()

    def _listed(self) -> str:
        """The names, sizes and times of change of the files, as they are now."""
        found = ((file.name, file.stat()) for file in sorted(self._folder.glob("*.parquet")))
        return repr([(name, stat.st_size, stat.st_mtime_ns) for name, stat in found])

    def blocks(self, columns: frozenset[str], start: Cursor = BEGINNING) -> Iterator[Block]:
        pending, order = _Pending(columns, start.rows), _Order()
        for part in _ahead(self._parts(columns, start.rows)):
            pending.add(part)
            while pending.rows >= self._block_rows:
                yield order.checked(pending.take(self._block_rows))
        if pending.rows:
            yield order.checked(pending.take(pending.rows))

    def _are_of_one_export(self) -> bool:
        """Whether all files say that they are of one dataset in which no id occurs twice."""
        datasets = set()
        for file in self._files:
            with self._open(file) as opened:
                claim = (opened.metadata.metadata or {}).get(UNIQUE.encode(), b"").decode(errors="replace")
                dataset = claim.partition(" ")[0]
                datasets.add(dataset if claim == claim_of(dataset, file.name, opened.metadata.num_rows) else "")
        return len(datasets) == 1 and "" not in datasets

    def _parts(self, columns: frozenset[str], skip: int) -> Iterator["_Part"]:
        """The rows of the window after so many."""
        made = Columns()
        for file, pieces in groupby(self._pieces(), key=lambda piece: piece[0]):
            left = []
            for _, group, start, stop in pieces:
                if skip < stop - start:
                    left.append((group, start + skip, stop))
                skip = max(0, skip - (stop - start))
            if left:
                yield from self._read(file, columns, left, made)

    def _read(
        self, file: Path, columns: frozenset[str], pieces: list[tuple[int, int, int]], made: Columns
    ) -> Iterator["_Part"]:
        with self._open(file) as opened:
            present = set(opened.schema_arrow.names)
            filed = {name: [theirs for theirs in FILED[name] if theirs in present] for name in sorted(columns)}
            read = list(chain.from_iterable(filed.values()))
            for group, start, stop in pieces:
                position = 0
                size = LONG_ROWS if columns & LONG else BLOCK_ROWS
                batches = opened.iter_batches(batch_size=size, row_groups=[group], columns=read)
                while (batch := _next(batches, file)) is not None:
                    low, high = max(start - position, 0), min(stop - position, batch.num_rows)
                    position += batch.num_rows
                    if low < high:
                        part = _part(file, batch.slice(low, high - low), filed, made)
                        del batch  # it would be held while the next one is read; as would `part`
                        yield part
                        del part

    def _pieces(self) -> list["_Piece"]:
        """What lies in the window. Found by looking at the times themselves: pyarrow's statistics end the process where a
        footer is damaged."""
        if self._found is None:
            self._found = [piece for file in self._files for piece in self._pieces_of(file)]
        return self._found

    def _pieces_of(self, file: Path) -> Iterator["_Piece"]:
        with self._open(file) as opened:
            for group in range(opened.num_row_groups):
                with _said_of(file, "ts"):
                    ts = times(opened.read_row_group(group, columns=["ts"]).column("ts"))
                if (np.diff(ts) < 0).any():
                    raise UnreadableLog(f"{file.name} is not in the order of ts. Sort it by (ts, request_id).")
                first, last = np.searchsorted(ts, self._window, side="left")
                if first < last:
                    yield file, group, int(first), int(last)

    def _open(self, file: Path) -> Any:
        import pyarrow
        import pyarrow.parquet as parquet

        with _said_of(file):
            schema = parquet.read_schema(file)
            twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
            if twice:
                raise UnreadableLog(f"{file.name} has {', '.join(twice)} twice.")
            if lacking := [name for name in REQUIRED if name not in schema.names]:
                raise UnreadableLog(f"{file.name} lacks {', '.join(lacking)}.")
            texts = [
                name for name in schema.names if name in CODED and pyarrow.types.is_string(schema.field(name).type)
            ]
            # Not as a memory map: a file that shrinks while it is read would end the process.
            return parquet.ParquetFile(file, read_dictionary=texts, page_checksum_verification=True)


#: File, row group, the first row in it, the row after the last.
type _Piece = tuple[Path, int, int, int]


def _part(file: Path, batch: Any, filed: Mapping[str, list[str]], made: Columns) -> "_Part":
    """The rows of a record batch; `filed` has their columns by ours."""
    columns: dict[str, Column] = {}
    for name, theirs in filed.items():
        if theirs:
            with _said_of(file, ", ".join(theirs)):
                columns[name] = made.column(name, {column: batch.column(column) for column in theirs})
    return _Part(batch.num_rows, columns)


def _ahead[T](items: Iterator[T]) -> Iterator[T]:
    """The same, each made while the one before is used: decompressing and decoding need no interpreter."""
    with ThreadPoolExecutor(1) as aside:
        coming = aside.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = aside.submit(next, items, None)
            yield item


def _next(batches: Iterator[Any], file: Path) -> Any:
    with _said_of(file):
        return next(batches, None)


@contextmanager
def _said_of(file: Path, column: str | None = None) -> Iterator[None]:
    """Whatever pyarrow, or a value, does not allow is an `UnreadableLog` that says where."""
    import pyarrow

    try:
        yield
    except (OSError, pyarrow.ArrowException, ValueError, TypeError, OverflowError, RecursionError) as error:
        where = f"{file.name} cannot be read" if column is None else f"{file.name}, column {column}"
        raise UnreadableLog(f"{where}: {str(error) or type(error).__name__}") from None


class _Part:
    """Rows in a row as columns, of which some may be absent."""

    def __init__(self, rows: int, columns: Mapping[str, Column]) -> None:
        self.rows = rows
        self.columns = columns

    def cut(self, start: int, stop: int) -> "_Part":
        return _Part(stop - start, {name: column.cut(start, stop) for name, column in self.columns.items()})


class _Pending:
    """Parts that wait until they make a block."""

    def __init__(self, columns: frozenset[str], first: int) -> None:
        self._columns = columns
        self._first = first
        self._parts: list[_Part] = []
        self.rows = 0

    def add(self, part: _Part) -> None:
        self._parts.append(part)
        self.rows += part.rows

    def take(self, rows: int) -> Block:
        """The next block, of so many rows."""
        parts, missing = [], rows
        while missing:
            part = self._parts.pop(0)
            if part.rows > missing:
                self._parts.insert(0, part.cut(missing, part.rows))
                part = part.cut(0, missing)
            parts.append(part)
            missing -= part.rows
        columns = {}
        for name in self._columns:
            if any(name in part.columns for part in parts):
                of_parts: list[Any] = [part.columns.get(name) or absent(name, part.rows) for part in parts]
                columns[name] = joined_long(of_parts) if name in LONG else joined(of_parts)
        block = Block(self._first, rows, columns)
        self._first += rows
        self.rows -= rows
        return block


class _Order:
    """Sees to it that blocks are in the order of (ts, request_id)."""

    def __init__(self) -> None:
        self._last: tuple[int, str] | None = None

    def checked(self, block: Block) -> Block:
        ts, ids = block.numbers("ts"), block.texts("request_id")
        steps = np.diff(ts)
        ties = np.flatnonzero(steps == 0).tolist()
        pairs = [((int(ts[row]), ids[row]), (int(ts[row + 1]), ids[row + 1])) for row in ties]
        if self._last is not None:
            pairs.append((self._last, (int(ts[0]), ids[0])))
        if (steps < 0).any() or any(one > other for one, other in pairs):
            raise UnreadableLog(
                f"Rows {block.first:,} and after are not in the order of (ts, request_id). Sort the dataset by them."
            )
        self._last = int(ts[-1]), ids[block.rows - 1]
        return block
