"""A log as a Parquet dataset: files whose names are in the order of their rows, which are sorted by (ts, request_id).

Columns have the names of the log's (`cost_usd`, not `cost_nano`) and natural types: timestamps, integers, decimals,
booleans, strings (dictionaries or not), `metadata` and `synthetic` as JSON text, `embedding` as lists of 32-bit floats.
Those that are absent count as unknown, or as their defaults. Needs pyarrow, which is imported when a dataset is read.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.block import BLOCK_ROWS, CODED, FLAGS, NUMBERS, TEXTS, Block, metadata_text, microseconds_of
from plans.replay.columns.column import UNKNOWN, Coded, Column, Numbers, Texts, Vocabulary
from plans.replay.columns.source import BEGINNING, Cursor
from routes.engine.canonical import canonical_bytes

#: By column of a block, that of the files.
FILED: Final = {
    "cost_nano": "cost_usd", "baseline_cost_nano": "baseline_cost_usd",
    "fact_estimated_cost_nano": "fact_estimated_cost_usd",
}  # fmt: skip
_REQUIRED: Final = ("request_id", "ts", "model", "requested_model", "input_tokens", "output_tokens")
_BATCH_ROWS: Final = 4 * BLOCK_ROWS
_MAX_TOKENS, _MAX_MS, _MAX_NANO = 10**9, 2**31 - 1, 10**18
_MOST: Final = {
    "input_tokens": _MAX_TOKENS, "output_tokens": _MAX_TOKENS, "cached_tokens": _MAX_TOKENS, "latency_ms": _MAX_MS,
    "cost_nano": _MAX_NANO, "baseline_cost_nano": _MAX_NANO, "fact_estimated_cost_nano": _MAX_NANO,
}  # fmt: skip


class UnreadableLog(Exception):
    """The dataset cannot be read as a log; the text says which file and why."""

    code = "unreadable_log"


class ParquetSource:
    """The rows of a dataset that lie in a window."""

    has_unique_ids = False

    def __init__(self, folder: Path, window: tuple[datetime, datetime], *, block_rows: int = BLOCK_ROWS) -> None:
        """`folder` holds the files, `*.parquet`. Raises `UnreadableLog` where there are none, or pyarrow is not there."""
        self._folder = folder
        self._window = tuple(map(microseconds_of, window))
        self._block_rows = block_rows
        self._found: list[tuple[Path, int, int, int]] | None = None
        self._files = sorted(folder.glob("*.parquet"))
        if not self._files:
            raise UnreadableLog(f"There is no *.parquet in {folder.name}.")
        try:
            import pyarrow.parquet  # noqa: F401
        except ImportError:
            raise UnreadableLog("Reading Parquet needs pyarrow: uv sync --group parquet") from None

    def count(self) -> int:
        return sum(stop - start for _, _, start, stop in self._pieces())

    def blocks(self, columns: frozenset[str], start: Cursor = BEGINNING) -> Iterator[Block]:
        reader = _Reader(columns)
        first, pending = start.rows, _Pending()
        for table in self._tables(columns, start.rows):
            pending.add(table)
            while pending.rows >= self._block_rows:
                yield reader.block(first, pending.take(self._block_rows))
                first += self._block_rows
        if pending.rows:
            yield reader.block(first, pending.take(pending.rows))

    def _tables(self, columns: frozenset[str], skip: int) -> Iterator[Any]:
        """The rows of the window after so many, in record batches."""
        for file, pieces in groupby(self._pieces(), key=lambda piece: piece[0]):
            left = []
            for _, group, start, stop in pieces:
                if skip < stop - start:
                    left.append((group, start + skip, stop))
                skip = max(0, skip - (stop - start))
            if left:
                yield from self._read(file, columns, left)

    def _read(self, file: Path, columns: frozenset[str], pieces: list[tuple[int, int, int]]) -> Iterator[Any]:
        with self._open(file) as opened:
            wanted = [FILED.get(name, name) for name in columns]
            read = sorted(set(wanted) & set(opened.schema_arrow.names))
            for group, start, stop in pieces:
                position = 0
                for batch in opened.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=read):
                    low, high = max(start - position, 0), min(stop - position, batch.num_rows)
                    position += batch.num_rows
                    if low < high:
                        yield batch.slice(low, high - low)

    def _pieces(self) -> list[tuple[Path, int, int, int]]:
        """(file, row group, first row, row after the last) of what lies in the window. Found by looking at the times
        themselves: pyarrow's statistics end the process where a footer is damaged."""
        if self._found is None:
            self._found = [piece for file in self._files for piece in self._pieces_of(file)]
        return self._found

    def _pieces_of(self, file: Path) -> Iterator[tuple[Path, int, int, int]]:
        with self._open(file) as opened:
            for group in range(opened.num_row_groups):
                ts = _times(opened.read_row_group(group, columns=["ts"]).column("ts"))
                if (np.diff(ts) < 0).any():
                    raise UnreadableLog(f"{file.name} is not in the order of ts. Sort it by (ts, request_id).")
                first, last = np.searchsorted(ts, self._window, side="left")
                if first < last:
                    yield file, group, int(first), int(last)

    def _open(self, file: Path) -> Any:
        import pyarrow
        import pyarrow.parquet as parquet

        try:
            schema = parquet.read_schema(file)
            texts = [
                name
                for name in schema.names
                if name in CODED and name != "embedding" and not pyarrow.types.is_null(schema.field(name).type)
            ]
            # Not as a memory map: a file that shrinks while it is read would end the process.
            opened = parquet.ParquetFile(file, read_dictionary=texts)
        except (OSError, pyarrow.ArrowException) as error:
            raise UnreadableLog(f"{file.name} cannot be read: {error}") from None
        if lacking := [name for name in _REQUIRED if name not in schema.names]:
            raise UnreadableLog(f"{file.name} lacks {', '.join(lacking)}.")
        if not pyarrow.types.is_timestamp(schema.field("ts").type):
            raise UnreadableLog(f"{file.name}: ts is {schema.field('ts').type}, and has to be a timestamp.")
        return opened


class _Pending:
    """Record batches that wait until they make a block."""

    def __init__(self) -> None:
        self._batches: list[Any] = []
        self.rows = 0

    def add(self, batch: Any) -> None:
        self._batches.append(batch)
        self.rows += batch.num_rows

    def take(self, rows: int) -> list[Any]:
        taken = []
        self.rows -= rows
        while rows:
            batch = self._batches.pop(0)
            if batch.num_rows > rows:
                self._batches.insert(0, batch.slice(rows))
                batch = batch.slice(0, rows)
            taken.append(batch)
            rows -= batch.num_rows
        return taken


class _Reader:
    """Makes blocks of record batches."""

    def __init__(self, columns: frozenset[str]) -> None:
        self._columns = columns
        #: By column the last dictionary, its vocabulary, and the codes there; at the end that of no text.
        self._vocabularies: dict[str, tuple[Any, Vocabulary, NDArray[np.int32]]] = {}
        self._last: tuple[int, str] | None = None

    def block(self, first: int, batches: list[Any]) -> Block:
        import pyarrow

        table = pyarrow.Table.from_batches(batches)
        columns: dict[str, Column] = {}
        for name in self._columns:
            filed = FILED.get(name, name)
            if filed not in table.column_names:
                continue
            try:
                columns[name] = self._column(name, table.column(filed))
            except (pyarrow.ArrowException, ValueError, TypeError) as error:
                raise UnreadableLog(f"Column {filed}, from row {first:,} on: {error}") from None
        block = Block(first, table.num_rows, columns)
        self._check_order(block)
        return block

    def _column(self, name: str, chunks: Any) -> Column:
        if name == "ts":
            return Numbers(_times(chunks))
        if name in FILED:
            return Numbers(_checked(name, _nano(chunks)))
        if name in NUMBERS:
            return Numbers(_checked(name, _integers(chunks, "int64")))
        if name in FLAGS:
            return Numbers(_integers(chunks, "int8"))
        if name in TEXTS:
            if name in _REQUIRED and chunks.null_count:
                raise ValueError("is empty in some rows")
            return _texts(chunks)
        if name == "embedding":
            return Coded.of([_embedding(value) for value in chunks.to_pylist()])
        return self._coded(name, chunks)

    def _coded(self, name: str, chunks: Any) -> Coded:
        import pyarrow

        if not pyarrow.types.is_dictionary(chunks.type):
            chunks = chunks.cast(pyarrow.string()).dictionary_encode()
        array = chunks.unify_dictionaries().combine_chunks()
        if isinstance(array, pyarrow.ChunkedArray):  # of no rows, or too many for one
            array = pyarrow.concat_arrays(array.chunks)
        known = self._vocabularies.get(name)
        if known is None or not known[0].equals(array.dictionary):
            texts = [_text(name, text) for text in array.dictionary.to_pylist()]
            # What reads alike is one text, and what is read as none, or lacks, is the column's default.
            listed = list(dict.fromkeys(text for text in (*texts, CODED[name]) if text is not None))
            place: dict[str | None, int] = {text: number for number, text in enumerate(listed)}
            place[None] = UNKNOWN
            codes = [place[text] for text in (*texts, CODED[name])]
            known = self._vocabularies[name] = array.dictionary, Vocabulary(listed), np.array(codes, np.int32)
        if name in _REQUIRED and array.null_count:
            raise ValueError("is empty in some rows")
        indices = array.indices.cast(pyarrow.int32()).fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
        return Coded(known[2][indices], known[1])

    def _check_order(self, block: Block) -> None:
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


def _times(chunks: Any) -> NDArray[np.int64]:
    import pyarrow

    if chunks.null_count:
        raise ValueError("is empty in some rows")
    # A timestamp without a zone is taken as UTC.
    micros = chunks.cast(pyarrow.timestamp("us", chunks.type.tz), safe=False).cast(pyarrow.int64())
    return np.asarray(micros.to_numpy(), np.int64)


def _integers(chunks: Any, kind: str) -> NDArray[np.int64]:
    values: NDArray[np.int64] = chunks.cast(kind).fill_null(UNKNOWN).to_numpy()
    return values


def _nano(chunks: Any) -> NDArray[np.int64]:
    """Nano-dollars of decimals, exactly; of doubles, the nearest."""
    import pyarrow

    if pyarrow.types.is_floating(chunks.type):
        values: NDArray[np.float64] = np.rint(chunks.cast("float64").fill_null(UNKNOWN * 1e-9).to_numpy() * 1e9)
        if len(values) and not np.abs(values).max() < 2.0**53:
            raise ValueError("a double cannot hold so much money to the nano-dollar; write a decimal")
        return values.astype(np.int64)
    nano = chunks.cast(pyarrow.decimal128(38, 9)).combine_chunks()
    if isinstance(nano, pyarrow.ChunkedArray):
        nano = pyarrow.concat_arrays(nano.chunks)
    words = np.frombuffer(nano.buffers()[1], "<i8").reshape(-1, 2)[nano.offset : nano.offset + len(nano)]
    if (words[:, 1] != words[:, 0] >> 63).any():
        raise ValueError("more than 64 bits of nano-dollars")
    known: NDArray[np.bool_] = nano.is_valid().to_numpy(zero_copy_only=False)
    return np.where(known, words[:, 0], np.int64(UNKNOWN))


def _checked(name: str, values: NDArray[np.int64]) -> NDArray[np.int64]:
    least = 0 if name in _REQUIRED else UNKNOWN
    if len(values) and not (values.min() >= least and values.max() <= _MOST.get(name, 2**53)):
        raise ValueError(f"has values outside of 0 to {_MOST.get(name, 2**53):,}, or none")
    return values


def _texts(chunks: Any) -> Texts:
    import pyarrow

    array = chunks.cast(pyarrow.large_string()).fill_null("").combine_chunks()
    if isinstance(array, pyarrow.ChunkedArray):
        array = pyarrow.concat_arrays(array.chunks)
    _, offsets, data = array.buffers()
    places = np.frombuffer(offsets, "<i8")[array.offset : array.offset + len(array) + 1]
    return Texts(places, np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8))


def _text(name: str, text: str | None) -> str | None:
    """A text as blocks have it."""
    if text is None or name not in _READ:
        return text
    return _READ[name](text)


_READ: Mapping[str, Callable[[str], str | None]] = {
    "metadata": lambda text: metadata_text(json.loads(text)),
    "synthetic": lambda text: canonical_bytes(json.loads(text)).decode(),
    "finish_reason": lambda text: text or None,
}


def _embedding(value: Sequence[float] | bytes | None) -> str | None:
    if value is None:
        return None
    raw = value if isinstance(value, bytes) else np.asarray(value, "<f4").tobytes()
    return raw.decode("latin-1")
