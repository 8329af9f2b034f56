"""Records of Parquet files. The one module that knows pyarrow, and asks for it only when a file is read.

A Parquet file can claim anything in a few bytes: a billion rows that are one run of one value, a page that unpacks to a
thousand times its size. So the footer is weighed before anything is unpacked, texts are read as dictionaries (a long
text is then there once, however many rows have it), and lists and objects are measured before they become Python's.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import repeat
from typing import IO, Any

from plans.errors import PlansError
from plans.logs import cells
from plans.logs.formats.footer import Group, row_groups
from plans.logs.formats.items import Record, Refusal
from plans.logs.formats.records import MAX_COLUMNS, MAX_RECORD

BATCH = 1_000
#: A row takes more than a byte; an id alone does.
ROWS_PER_BYTE = 8
#: A part of a column (of one row group) may unpack to 256 MiB, and further to 100 times its packed size.
MAX_UNPACKED = 256 * 1024 * 1024
MAX_RATIO = 100
#: Values in the lists of a row group, beside one a row: embeddings of 1,536 numbers in 43,690 rows.
MAX_VALUES = 64 * 1024 * 1024
#: Values that the objects of a batch may be made of at once; where they are more, each row is made when it is needed.
MAX_WEIGHT = 1024 * 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST, _LAST = -62_135_596_800_000_000, 253_402_300_799_999_999  # microseconds of the years that Python has


class ParquetNotInstalled(PlansError):
    """The library that reads Parquet is not there."""

    code = "parquet_not_installed"


class ParquetRecords:
    """The rows of a Parquet file, numbered from 1; only columns that are wanted are unpacked.

    Cells are Python values: text, int, float (NaN, which is how a column of doubles says that something is missing, is
    None), Decimal, bool, datetime (naive where the column has no zone), date, bytes, lists (of numbers: arrays), and
    objects as JSON has them. `problem` is why the file cannot be read. Raises `ParquetNotInstalled`.
    """

    def __init__(self, stream: IO[bytes], size: int) -> None:
        try:
            import pyarrow  # noqa: F401  whether it is there
            from pyarrow.parquet import ParquetFile
        except ImportError as error:
            raise ParquetNotInstalled(
                "Parquet files are read with pyarrow, which is not installed here. Install it: uv sync --group parquet"
            ) from error
        self.header: tuple[str, ...] | None = None
        self.problem: Refusal | None = None
        #: Columns to unpack; None for all, where those of types that are not read have a word instead of their values.
        self.wanted: list[str] | None = None
        self.bytes_read = 0
        self._stream = stream
        self._size = size
        self._groups: list[Group] = []
        try:
            self._groups = row_groups(stream, size)
            stream.seek(0)
            first: Any = ParquetFile(stream)
            self._footer: Any = first.metadata
            self._schema: Any = first.schema_arrow
            self._texts = [
                leaf.path
                for leaf in map(first.schema.column, range(self._footer.num_columns))
                if leaf.physical_type == "BYTE_ARRAY"
            ]
            wrong = self._too_many()
        except _failures() as error:
            wrong = _broken(error)
        if wrong:
            self.problem = Refusal(1, wrong)
        else:
            self.header = tuple(self._schema.names)

    def _too_many(self) -> str | None:
        if self._footer.num_columns > 10 * MAX_COLUMNS or len(self._schema.names) > MAX_COLUMNS:
            return f"has {self._footer.num_columns} columns; {MAX_COLUMNS} are possible"
        self._rows = sum(group.rows for group in self._groups)
        if self._rows != self._footer.num_rows or any(group.rows < 0 for group in self._groups):
            return "cannot be read as Parquet: its parts do not have as many rows as the whole"
        if self._rows > ROWS_PER_BYTE * self._size:
            return f"claims {self._rows:,} rows in {self._size:,} bytes"
        return None

    def __iter__(self) -> Iterator[Record | Refusal]:
        if self.problem:
            yield self.problem
            return
        names = tuple(name for name in self._schema.names if self.wanted is None or name in self.wanted)
        unread = {}
        for name in names:
            if not _is_readable(kind := self._schema.field(name).type):
                unread[name] = f"is a column of {cells.shown(str(kind))}, which is not read"
        if unread and self.wanted is not None:
            name, reason = next(iter(unread.items()))
            yield Refusal(1, f"{cells.shown(name)} {reason}; leave it out, or write the file with another type")
            return
        row = 0
        try:
            for group, weighed in enumerate(self._groups):
                if wrong := _too_heavy(weighed, names):
                    yield Refusal(row + 1, f"{wrong} in row group {group + 1}; the file was read up to here")
                    return
                for batch in self._batches(group, names):
                    columns = (
                        repeat(cells.Unfit(unread[name]), batch.num_rows)
                        if name in unread
                        else _values(batch.column(name))
                        for name in names
                    )
                    for given in zip(*columns, strict=True):
                        row += 1
                        yield Record(row, names, given)
                    self.bytes_read = self._size * row // max(self._rows, 1)
        except _failures() as error:
            yield Refusal(row + 1, f"{_broken(error)}; the file was read up to here")

    def _batches(self, group: int, names: tuple[str, ...]) -> Iterator[Any]:
        from pyarrow.parquet import ParquetFile

        texts = [path for path in self._texts if _belongs(path, names)]
        self._stream.seek(0)
        # Buffered, so that a part of a column is unpacked page by page and never whole.
        file: Any = ParquetFile(
            self._stream, metadata=self._footer, read_dictionary=texts, buffer_size=64 * 1024, pre_buffer=False
        )
        yield from file.iter_batches(BATCH, row_groups=[group], columns=list(names), use_threads=False)


def _too_heavy(group: Group, names: Sequence[str]) -> str | None:
    """Why a row group is not unpacked, by what the footer says of its columns; None where it may be."""
    listed = 0
    for part in group.parts:
        if not _belongs(part.path, names):
            continue
        if part.unpacked > MAX_UNPACKED and part.unpacked > MAX_RATIO * part.packed:
            return f"{cells.shown(part.path)} would unpack from {part.packed:,} to {part.unpacked:,} bytes"
        listed += max(part.values - group.rows, 0)
        if listed > MAX_VALUES:
            return f"{cells.shown(part.path)} has {part.values:,} values, of {MAX_VALUES:,} (write fewer rows a group)"
    return None


def _belongs(path: str, names: Sequence[str]) -> bool:
    """Whether a column, or one that is nested in it, is among these."""
    return path in names or path.split(".")[0] in names


def _failures() -> tuple[type[BaseException], ...]:
    """What pyarrow raises at a file that is broken, or that it cannot hold."""
    from pyarrow import ArrowException

    return (ArrowException, OSError, ValueError, KeyError, OverflowError, MemoryError)


def _broken(error: BaseException) -> str:
    text = "".join(char for char in str(error).split("\n")[0] if char.isprintable())
    return f"cannot be read as Parquet: {text[:150]}"


def _is_readable(kind: Any, depth: int = 0) -> bool:
    import pyarrow.types as is_

    if hasattr(kind, "storage_type"):  # what Arrow calls an extension, for example a UUID
        kind = kind.storage_type
    if is_.is_dictionary(kind):
        kind = kind.value_type
    if depth > cells.MAX_DEPTH:
        return False
    if is_.is_map(kind):
        return _is_text(kind.key_type) and _is_readable(kind.item_type, depth + 1)
    if _is_list(kind):
        return _is_readable(kind.value_type, depth + 1)
    if is_.is_struct(kind):
        return all(_is_readable(member.type, depth + 1) for member in kind)
    if is_.is_fixed_size_binary(kind):
        return bool(kind.byte_width == 16)
    readable = (
        _is_text, is_.is_dictionary, is_.is_integer, is_.is_floating, is_.is_decimal, is_.is_boolean, is_.is_timestamp,
        is_.is_date, is_.is_null,
    )  # fmt: skip
    return any(matches(kind) for matches in readable)


def _is_text(kind: Any) -> bool:
    import pyarrow.types as is_

    return bool(is_.is_string(kind) or is_.is_large_string(kind) or is_.is_binary(kind) or is_.is_large_binary(kind))


def _is_list(kind: Any) -> bool:
    import pyarrow.types as is_

    return bool(is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind))


def _is_nested(kind: Any) -> bool:
    """Whether its cells are objects, or lists of objects or of lists."""
    import pyarrow.types as is_

    if _is_list(kind):
        return _is_nested(kind.value_type) or _is_list(kind.value_type)
    return bool(is_.is_struct(kind) or is_.is_map(kind))


def _values(column: Any) -> Iterable[Any]:
    """The cells of one column of a batch."""
    import pyarrow.types as is_

    kind = column.type
    if hasattr(kind, "storage_type"):
        return _values(column.storage)
    if is_.is_dictionary(kind):
        return _looked_up(column)
    if _is_nested(kind):
        return _nested(column) if _weight(column) <= MAX_WEIGHT else map(_nested_alone, _rows(column))
    if _is_list(kind):
        return _lists(column)
    if is_.is_timestamp(kind):
        return _times(column)
    if _is_text(kind):
        return _looked_up(column.dictionary_encode())
    found: list[Any] = column.to_pylist()
    if is_.is_floating(kind):
        return [None if value != value else value for value in found]
    return found


def _weight(column: Any) -> int:
    """How many values its cells are made of."""
    import pyarrow.types as is_

    if is_.is_struct(column.type):
        return len(column) + sum(map(_weight, column.flatten()))
    if is_.is_map(column.type):
        return len(column) + sum(_weight(entry.values) for entry in column if entry.is_valid)
    if _is_list(column.type):
        return len(column) + _weight(column.flatten())
    return len(column)


def _rows(column: Any) -> Iterator[Any]:
    return (column.slice(row, 1) for row in range(len(column)))


def _nested_alone(row: Any) -> Any:
    """The cell of a column with one row."""
    weight = _weight(row)
    if weight > MAX_WEIGHT:
        return cells.Unfit(f"has {weight:,} values; {MAX_WEIGHT:,} are possible")
    return _nested(row)[0]


def _nested(column: Any) -> list[Any]:
    if _is_list(column.type):
        return _lists(column)
    return [_as_json(made) for made in _objects(column)]


def _objects(column: Any) -> list[Any]:
    """Structs and maps as dictionaries. Members that are null are left out: Arrow gives each object of a column all the
    members that any of them has."""
    import pyarrow.types as is_

    if is_.is_map(column.type):
        return [_of_pairs(entry.values) if entry.is_valid else None for entry in column]
    names = [member.name for member in column.type]
    there = column.is_valid().to_pylist()
    members = zip(*map(_values, column.flatten()), strict=True) if names else repeat((), len(column))
    return [
        {name: value for name, value in zip(names, values, strict=True) if value is not None} if is_there else None
        for is_there, values in zip(there, members, strict=True)
    ]


def _of_pairs(pairs: Any) -> Any:
    keys = list(_values(pairs.field(0)))
    made = dict(zip(keys, _values(pairs.field(1)), strict=True))
    if len(made) < len(keys):
        return cells.Unfit("has a key twice")
    return {name: value for name, value in made.items() if value is not None}


def _as_json(value: Any) -> Any:
    """The object with members that JSON has: times and days as text, exact decimals as numbers. What is longer than a
    record, or has a member that no column holds, is `Unfit`."""
    left = MAX_RECORD

    def plain(value: Any) -> Any:
        nonlocal left
        left -= len(value) if isinstance(value, str) else 8
        if left < 0:
            raise _TooMuch(f"is longer than {MAX_RECORD // 1024 // 1024} MiB")
        if isinstance(value, cells.Unfit):
            raise _TooMuch(value.reason)
        if isinstance(value, dict):
            return {plain(name): plain(member) for name, member in value.items()}
        if isinstance(value, list):
            return [plain(member) for member in value]
        if isinstance(value, date):
            return value.isoformat().replace("+00:00", "Z")
        if isinstance(value, Decimal):
            return int(value) if value == value.to_integral_value() else float(value)
        return value.tolist() if hasattr(value, "tolist") else value

    try:
        return plain(value)
    except _TooMuch as too_much:
        return cells.Unfit(str(too_much))


class _TooMuch(Exception):
    """An object cannot be made. The text says why."""


def _looked_up(column: Any) -> list[Any]:
    """Cells of a dictionary: each value that occurs is made once."""
    import pyarrow as pa
    import pyarrow.types as is_

    used = column.indices.unique().drop_null()
    values = column.dictionary.take(used)
    if is_.is_string(values.type) or is_.is_large_string(values.type):
        values = values.cast(pa.large_binary())  # not as text: it may be none
    made = map(_text, values) if _is_text(values.type) else _values(values)
    known = dict(zip(used.to_pylist(), made, strict=True))
    return [None if index is None else known[index] for index in column.indices.to_pylist()]


def _text(value: Any) -> Any:
    if value.as_buffer() is None:
        return None
    if value.as_buffer().size > MAX_RECORD:
        return cells.Unfit(f"is longer than {MAX_RECORD // 1024 // 1024} MiB")
    return value.as_buffer().to_pybytes().decode("utf-8", "surrogateescape")


def _lists(column: Any) -> list[Any]:
    """Lists of numbers as arrays, others as lists; what is too long for any column is not made."""
    import pyarrow.compute as pc
    import pyarrow.types as is_

    inner = column.type.value_type
    numbers = is_.is_floating(inner) or is_.is_integer(inner)
    most = cells.MAX_EMBEDDING if numbers else MAX_COLUMNS
    found: list[Any] = []
    for row, length in enumerate(pc.list_value_length(column).to_pylist()):
        if length is None:
            found.append(None)
        elif length > most:
            found.append(cells.Unfit(f"has {length:,} values; {most:,} are possible"))
        elif numbers:
            found.append(column[row].values.to_numpy(zero_copy_only=False))
        else:
            found.append(list(_values(column[row].values)))
    return found


def _times(column: Any) -> list[Any]:
    """Times by their count since 1970, cut to microseconds; what Python has no year for is no time."""
    import pyarrow as pa

    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    zone = None if column.type.tz is None else UTC
    found: list[Any] = []
    for count in column.cast(pa.int64()).to_pylist():
        if count is None:
            found.append(None)
            continue
        micros = count * 1_000_000 // per_second
        if _FIRST <= micros <= _LAST:
            found.append((_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=zone))
        else:
            found.append(cells.Unfit("is no time of any year"))
    return found
