"""Reading request logs from files: bytes in, rows or refusals out. Pure: no database, no settings.

A file is opened by its container (CSV, JSON, Parquet), which gives records, and read by its format, which makes rows of
them. Whatever the bytes are, reading answers a `Row` or a `Refusal` for every record and raises nothing. Beside
problems of the file there are those of the request to read it: `UnknownFormat`, `BadMapping`, `NoModel`,
`UnpricedModel`, `ParquetNotInstalled`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO

from plans.errors import PlansError
from plans.logs.formats import litellm
from plans.logs.formats.items import Item, Record, Records, Refusal, Row
from plans.logs.formats.mapping import BadMapping, Mapping, mapped_rows
from plans.logs.formats.parquet import ParquetNotInstalled, ParquetRecords
from plans.logs.formats.records import CsvRecords, JsonRecords, is_one_text
from plans.logs.formats.trace import (
    AZURE_COLUMNS,
    AZURE_SYNTHETIC,
    UnpricedModel,
    cost_usd,
    invented_latency_ms,
    priced_model,
    trace_rows,
)
from routes.engine.prices import PriceTable

__all__ = [
    "AUTO", "AZURE_SYNTHETIC", "FORMATS", "MAPPABLE", "TRACE", "BadMapping", "Item", "LogFile", "Mapping", "NoModel",
    "ParquetNotInstalled", "ReadAs", "Reader", "Record", "Records", "Refusal", "Row", "UnknownFormat", "UnpricedModel",
    "cost_usd", "detect", "invented_latency_ms", "priced_model",
]  # fmt: skip

AUTO = "auto"
TRACE = "azure-llm-trace"
FORMATS = ("csv", "jsonl", "parquet", "litellm", TRACE)
#: Formats whose columns can be mapped.
MAPPABLE = ("csv", "jsonl", "parquet")
_HEAD = 64 * 1024
_PACKED = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


class UnknownFormat(PlansError):
    """The beginning of a file is of no format that is read."""

    code = "unknown_format"


class NoModel(PlansError):
    """A trace does not say which model served it, and nobody else did; or somebody did who should not."""

    code = "no_model"


@dataclass(frozen=True, slots=True)
class LogFile:
    """A file that can be opened again and again, each time at its beginning. `size` is in bytes."""

    name: str
    size: int
    open: Callable[[], AbstractContextManager[IO[bytes]]]


@dataclass(frozen=True, slots=True)
class ReadAs:
    """How a file is to be read. `auto` is found out by its content; `model` served a trace. With `by_line` each line of
    JSON is a record, whatever the first ones look like: in a file people may have a list, a program says what it sends."""

    format: str = AUTO
    mapping: Mapping = field(default_factory=Mapping)
    model: str = ""
    by_line: bool = False


class Reader:
    """A file read in one way: `items()` begins at the front each time.

    `format` is never `auto`. `numbered` says what the numbers of refusals count: lines, or rows. `bytes_read` is how far
    the last `items()` came. Raises `OSError` where the file cannot be opened.
    """

    def __init__(self, file: LogFile, how: ReadAs, prices: Callable[[], PriceTable]) -> None:
        self.file = file
        self.mapping = how.mapping
        self._records: Records | None = None
        self.format = detect(file, how.format)
        with file.open() as stream:
            head = stream.read(_HEAD)
        self._container = _container(head) if self.format == "litellm" else _container_of(self.format)
        # A column may be called so, but no text has a zero byte.
        if self._container != "parquet" and not how.by_line and head.startswith(b"PAR1") and b"\0" in head:
            raise UnknownFormat(f"The file is Parquet, not {self.format}. Read it as parquet.")
        self._is_one_text = self._container == "json" and not how.by_line and is_one_text(head)
        self.numbered = "row" if self._is_one_text or self._container == "parquet" else "line"
        if self.format not in MAPPABLE and (how.mapping.columns or how.mapping.constants):
            raise BadMapping(
                f"Columns of {self.format} have fixed meanings; only those of {', '.join(MAPPABLE)} are mapped."
            )
        self.mapping.values()
        self._price: tuple[str, str, PriceTable] | None = None
        if self.format == TRACE:
            if not how.model:
                raise NoModel("A trace does not say which model served it: name one, for example gpt-4o.")
            table = prices()
            self._price = (*priced_model(table, how.model), table)
        elif how.model:
            raise NoModel(f"A {self.format} file names the model in each row; only of {TRACE} it has to be said.")

    @property
    def bytes_read(self) -> int:
        return self._records.bytes_read if self._records else 0

    def items(self) -> Iterator[Item]:
        with self.file.open() as stream:
            records = self._records = self._opened(stream)
            if isinstance(records, CsvRecords) and self._price:
                provider, model, prices = self._price
                yield from trace_rows(records, file_name=self.file.name, provider=provider, model=model, prices=prices)
            elif (problem := getattr(records, "problem", None)) is not None:
                yield problem
            elif self.format == "litellm":
                if isinstance(records, ParquetRecords):
                    records.wanted = [name for name in records.header or () if name in litellm.READ]
                yield from litellm.litellm_rows(records)
            else:
                if isinstance(records, ParquetRecords):
                    records.wanted = self.mapping.wanted(records.header or ())
                yield from mapped_rows(records, self.mapping)

    def records(self) -> Iterator[Record | Refusal]:
        """The records as they stand in the file, for looking at."""
        with self.file.open() as stream:
            self._records = self._opened(stream)
            yield from self._records

    def header(self) -> tuple[str, ...] | None:
        """The columns that the file names for all of its records, if it does."""
        with self.file.open() as stream:
            return self._opened(stream).header

    def _opened(self, stream: IO[bytes]) -> Records:
        return _opened(stream, self._container, self._is_one_text, self.file.size)


def detect(file: LogFile, format: str = AUTO) -> str:
    """The format of a file: the one that is said, or for `auto` by its content. Raises `UnknownFormat`, `OSError`."""
    if format != AUTO:
        return format
    with file.open() as stream:
        head = stream.read(_HEAD)
        container = _container(head)
        stream.seek(0)
        records = _opened(stream, container, container == "json" and is_one_text(head), file.size)
        columns = records.header
        if container == "json":
            first = next(iter(records), None)
            columns = first.columns if isinstance(first, Record) else None
    if columns == AZURE_COLUMNS:
        return TRACE
    if columns and set(litellm.REQUIRED) <= set(columns):
        return "litellm"
    return "jsonl" if container == "json" else container


def _opened(stream: IO[bytes], container: str, is_one_text: bool, size: int) -> Records:
    if container == "parquet":
        return ParquetRecords(stream, size)
    if container == "json":
        return JsonRecords(stream, is_one_text=is_one_text)
    return CsvRecords(stream)


def _container_of(format: str) -> str:
    return {"jsonl": "json", "parquet": "parquet"}.get(format, "csv")


def _container(head: bytes) -> str:
    """What the bytes are, by how they begin. Raises `UnknownFormat`."""
    if head.startswith(b"PAR1"):
        return "parquet"
    for magic, packer in _PACKED.items():
        if head.startswith(magic):
            way_out = "Unpack it, or save the sheet of a workbook as CSV" if packer == "zip" else "Unpack it first"
            raise UnknownFormat(f"The file is packed with {packer}. {way_out}.")
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UnknownFormat("The file is UTF-16. Save it as UTF-8.")
    return "json" if head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"{", b"[") else "csv"
