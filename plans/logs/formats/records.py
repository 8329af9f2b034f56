"""Records of CSV and JSON files: bytes in, `Record` or `Refusal` out, in bounded memory whatever the bytes are."""

import codecs
import csv
import json
import re
from collections.abc import Iterator
from typing import IO

from plans.logs import cells
from plans.logs.formats.items import Record, Refusal

#: A record is this long at most. A line that is longer is refused, and nothing of it is kept while it passes.
MAX_RECORD = 1024 * 1024
MAX_COLUMNS = 300

# The length of a record is what bounds a cell, not the module's 128 KiB: logged prompts are longer.
csv.field_size_limit(MAX_RECORD)

_BOM = b"\xef\xbb\xbf"
#: Where a list of records begins, bare or in the envelope that LiteLLM's paged endpoints put around it.
_LIST = re.compile(rb'\s*(?:\[|\{\s*"data"\s*:\s*\[)')
_SPACE = re.compile(r"[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")


class TooLong(Exception):
    """A record is longer than `MAX_RECORD`."""


class _Lines:
    """The lines of a stream, with their ends. Raises `TooLong`, and goes on after the line at which it did."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = MAX_RECORD
        self.number = 0
        self.bytes_read = 0

    def begin_record(self) -> None:
        self._left = MAX_RECORD

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.next_bytes()
        # Bytes that are not UTF-8 come through as lone surrogates, so that a single cell can be refused for them.
        return line.decode("utf-8", "surrogateescape")

    def next_bytes(self) -> bytes:
        line = self._stream.readline(self._left + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.bytes_read += len(line)
        if len(line) > self._left:
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(64 * 1024)
                self.bytes_read += len(line)
            raise TooLong
        self._left -= len(line)
        return line.removeprefix(_BOM) if self.number == 1 else line


def _too_long(line: int) -> Refusal:
    return Refusal(line, f"is longer than {MAX_RECORD // 1024 // 1024} MiB")


class CsvRecords:
    """A CSV file: UTF-8, a header, quotes doubled inside quotes. `problem` is why the header cannot be one."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines = _Lines(stream)
        self._reader = csv.reader(self._lines, strict=True)
        self.header: tuple[str, ...] | None = None
        self.problem: Refusal | None = None
        first = next(self._records(), None)
        if first is None:
            self.problem = Refusal(1, "the file is empty")
        elif isinstance(first, Refusal):
            self.problem = first
        elif len(first[1]) > MAX_COLUMNS:
            self.problem = Refusal(first[0], f"the header has {len(first[1])} columns; {MAX_COLUMNS} are possible")
        else:
            self.header = tuple(first[1])

    @property
    def bytes_read(self) -> int:
        return self._lines.bytes_read

    def __iter__(self) -> Iterator[Record | Refusal]:
        """Each record with the line where it begins. Blank lines are no records."""
        if self.header is None:
            if self.problem:
                yield self.problem
            return
        for found in self._records():
            if isinstance(found, Refusal):
                yield found
                continue
            line, given = found
            try:
                yield Record(line, self.header, cells.counted(given, len(self.header)))
            except cells.Refused as refused:
                yield Refusal(line, str(refused))

    def _records(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        while True:
            self._lines.begin_record()
            line = self._lines.number + 1
            try:
                given = next(self._reader)
            except StopIteration:
                return
            except TooLong:
                yield _too_long(line)
            except csv.Error as error:
                # The reader goes on with the line after the one at which it gave up.
                yield Refusal(line, f"cannot be read as CSV: {error}")
            else:
                if given:
                    yield line, given


class JsonRecords:
    """A JSON file: one object a line, or a list of objects, also in an envelope `{"data": [...], ...}`.

    Cells are JSON values whose numbers are still text (`cells.Number`). In a list, `line` is the number of the
    element, and what comes after a fault in its syntax cannot be read.
    """

    def __init__(self, stream: IO[bytes], *, is_list: bool) -> None:
        self.header: tuple[str, ...] | None = None
        self.is_list = is_list
        self._stream = stream
        self._lines = _Lines(stream)
        self._bytes_of_list = 0
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode

    @property
    def bytes_read(self) -> int:
        return self._bytes_of_list if self.is_list else self._lines.bytes_read

    def __iter__(self) -> Iterator[Record | Refusal]:
        return self._elements() if self.is_list else self._objects()

    def _objects(self) -> Iterator[Record | Refusal]:
        while True:
            self._lines.begin_record()
            line = self._lines.number + 1
            try:
                text = next(self._lines)
            except StopIteration:
                return
            except TooLong:
                yield _too_long(line)
                continue
            if text.strip():
                yield self._one(line, text)

    def _one(self, line: int, text: str) -> Record | Refusal:
        try:
            return _record(line, cells.RECORDS.decode(text))
        except RecursionError:
            return Refusal(line, "is nested too deeply")
        except cells.Repeated as repeated:
            return Refusal(line, f"has the key {cells.shown(str(repeated))} twice")
        except json.JSONDecodeError as error:
            return Refusal(line, f"cannot be read as JSON: {error.msg} at character {error.pos + 1}")
        except ValueError as error:
            return Refusal(line, f"cannot be read as JSON: {error}")

    def _elements(self) -> Iterator[Record | Refusal]:
        at = self._filled(0)
        opening = _LIST.match(self._text.encode("utf-8", "surrogateescape"))
        if opening is None:  # only where somebody said that it is a list
            yield Refusal(1, "is not a JSON list")
            return
        at = opening.end()
        number = 0
        while True:
            at = self._filled(at)
            at = (_COMMA if number else _SPACE).match(self._text, at).end()  # type: ignore[union-attr]
            at = self._filled(at)
            number += 1
            if self._text.startswith("]", at):
                return
            try:
                value, at = cells.RECORDS.raw_decode(self._text, at)
            except (ValueError, RecursionError):
                reason = "cannot be read as JSON, or is longer than 1 MiB; what comes after it was not read"
                yield Refusal(number, reason)
                return
            yield _record(number, value)

    def _filled(self, at: int) -> int:
        """The same place, once the text goes on after it for a whole record or to the end of the file."""
        if len(self._text) - at < MAX_RECORD:
            parts = [self._text[at:]]
            missing = MAX_RECORD
            while missing > 0 and (data := self._stream.read(MAX_RECORD)):
                self._bytes_of_list += len(data)
                parts.append(self._decode(data))
                missing -= len(parts[-1])
            if missing > 0:
                parts.append(self._decode(b"", True))
            self._text, at = "".join(parts), 0
        return at


def _record(line: int, value: object) -> Record | Refusal:
    if not isinstance(value, dict):
        return Refusal(line, "is not a JSON object")
    if len(value) > MAX_COLUMNS:
        return Refusal(line, f"has {len(value)} keys; {MAX_COLUMNS} are possible")
    return Record(line, tuple(value), list(value.values()))


def is_json_list(head: bytes) -> bool:
    """Whether a JSON file that begins so is a list of records, bare or in its envelope."""
    return _LIST.match(head.removeprefix(_BOM)) is not None
