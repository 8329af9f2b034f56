"""Records of CSV and JSON files: bytes in, `Record` or `Refusal` out, in bounded memory whatever the bytes are."""

import codecs
import csv
import json
import re
from collections import deque
from collections.abc import Iterator
from typing import IO, Any

from plans.logs import cells
from plans.logs.formats.items import Record, Refusal

#: A record is this long at most. A line that is longer is refused, and nothing of it is kept while it passes.
MAX_RECORD = 1024 * 1024
MAX_COLUMNS = 300
#: Lines behind quotes that are never closed are read once more; in all so many bytes of them, so that a file of such
#: quotes alone does not take for ever.
MAX_AGAIN = 64 * 1024 * 1024

# The length of a record is what bounds a cell, not the module's 128 KiB: logged prompts are longer.
csv.field_size_limit(MAX_RECORD)

_BOM = b"\xef\xbb\xbf"
#: The first that a header has most of is what separates the cells.
_SEPARATORS = ",;\t"
_QUOTED = re.compile('"[^"]*"?')
_LIST = re.compile(r"\[(?=[ \t\r\n]*[{\]])")
_SPACE = re.compile(r"[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,?[ \t\r\n]*")
#: Under which names the answers of APIs have their lists of rows, and what a single row would have had before it.
_LISTS = frozenset({"data", "entries", "items", "logs", "records", "requests", "results", "rows"})
_OF_A_ROW = frozenset({"id", "request_id", "startTime", "ts", "timestamp", "model", "prompt_tokens", "input_tokens"})


class TooLong(Exception):
    """A record is longer than `MAX_RECORD`."""


class _Lines:
    """The lines of a stream, with their ends. Raises `TooLong`, and goes on after the record for which it did.

    `number` counts the lines that were given. The lines of a record are kept until the next one begins, so that some
    of them can be given again.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._left = MAX_RECORD
        self._given: list[bytes] = []
        self._again: deque[bytes] = deque()
        self.number = 0
        self.bytes_read = 0

    def begin_record(self) -> None:
        self._left = MAX_RECORD
        self._given.clear()

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._next_bytes()
        if not line:
            raise StopIteration
        if len(line) > self._left:
            if self._given:
                self._again.appendleft(line)
            else:
                self.number += 1
            raise TooLong
        self.number += 1
        self._left -= len(line)
        self._given.append(line)
        # Bytes that are not UTF-8 come through as lone surrogates, so that a single cell can be refused for them.
        return (line.removeprefix(_BOM) if self.number == 1 else line).decode("utf-8", "surrogateescape")

    def _next_bytes(self) -> bytes:
        """The next line; of one that is longer than any record its beginning."""
        line = self._stream.readline(MAX_RECORD + 1)
        self.bytes_read += len(line)
        if len(line) > MAX_RECORD:
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = self._stream.readline(64 * 1024)
                self.bytes_read += len(rest)
        return line

    @property
    def bytes_done(self) -> int:
        return self.bytes_read - sum(map(len, self._again))

    def give_again(self, after: int) -> int:
        """Give those lines of the record once more that come after so many of it; answer their bytes."""
        lines = self._given[after:]
        self._again.extendleft(reversed(lines))
        self.number -= len(lines)
        return sum(map(len, lines))


def _too_long(line: int) -> Refusal:
    return Refusal(line, f"is longer than {MAX_RECORD // 1024 // 1024} MiB")


#: What programs write in a CSV where a number is missing, and then in columns of texts, too.
_NONE = ("nan", "NaN")


class CsvRecords:
    """A CSV file: UTF-8, a header, quotes doubled inside quotes; cells are separated by commas, or by the semicolons or
    tabs that the header has more of. `problem` is why the header cannot be one.

    A quote that is not closed costs its own line: what seemed to be inside is read again, as lines of their own.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines = _Lines(stream)
        self._again = MAX_AGAIN
        self.header: tuple[str, ...] | None = None
        self.problem: Refusal | None = None
        self._reader = csv.reader(self._lines, strict=True, **self._separation())
        first = None if self.problem else next(self._records(), None)
        if self.problem:
            pass
        elif first is None:
            self.problem = Refusal(1, "the file is empty")
        elif isinstance(first, Refusal):
            self.problem = first
        elif len(first[1]) > MAX_COLUMNS:
            self.problem = Refusal(first[0], f"the header has {len(first[1])} columns; {MAX_COLUMNS} are possible")
        else:
            self.header = tuple(first[1])

    @property
    def bytes_read(self) -> int:
        return self._lines.bytes_done

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
            if len(given) == len(self.header):
                yield Record(line, self.header, ["" if cell in _NONE else cell for cell in given])
            else:
                yield Refusal(line, f"has {len(given)} cells, the header {len(self.header)}{self._span(line)}")

    def _separation(self) -> dict[str, Any]:
        """What separates the cells of the first line that is not blank, which is then given again; also blanks after
        it, which somebody wrote for the eye."""
        try:
            while True:
                self._lines.begin_record()
                line = next(self._lines, None)
                if line is None:
                    return {}
                if line.strip("\r\n"):
                    self._lines.give_again(0)
                    bare = _QUOTED.sub("", line)
                    separator = max(_SEPARATORS, key=bare.count)
                    return {"delimiter": separator, "skipinitialspace": f"{separator} " in bare}
        except TooLong:
            self.problem = _too_long(self._lines.number)
            return {}

    def _records(self) -> Iterator[tuple[int, list[str]] | Refusal]:
        while True:
            self._lines.begin_record()
            line = self._lines.number + 1
            try:
                given = next(self._reader)
            except StopIteration:
                return
            except TooLong:
                long = _too_long(line)
                yield self._unclosed(line, f"{long.reason}, as where a quote that is opened is not closed") or long
            except csv.Error as error:
                # The reader goes on with the line after the one at which it gave up.
                wrong = f"cannot be read as CSV: {_in_words(error)}"
                yield self._unclosed(line, wrong) or Refusal(line, wrong)
            else:
                if given:
                    yield line, given

    def _unclosed(self, line: int, reason: str) -> Refusal | None:
        """The refusal of a record of several lines, of which those after the first are read again. None of one line."""
        end = self._lines.number
        if end <= line:
            return None
        if self.header is None:
            return Refusal(line, f"{reason}; the header would go on to line {end:,}")
        if self._again <= 0:
            return Refusal(line, f"{reason}{self._span(line)}; it was left out whole, like others before")
        self._again -= self._lines.give_again(1)
        return Refusal(line, f"{reason}; it would go on to line {end:,}, so only this line is refused")

    def _span(self, line: int) -> str:
        end = self._lines.number
        return f"; the record goes from line {line:,} to line {end:,} ({end - line + 1:,} lines)" if end > line else ""


def _in_words(error: csv.Error) -> str:
    """What is wrong, for people who have only seen the file."""
    said = str(error)
    if "expected after" in said:
        return "a quote is not closed, or one inside of quotes is not written twice"
    if "unexpected end" in said:
        return "a quote that is opened is not closed"
    if "new-line character" in said:
        return "a line ends in a carriage return alone; save the file with line ends of Unix or Windows"
    return said


class JsonRecords:
    """A JSON file: one object a line; or a list of objects, also as a member of an object (an API's answer); or objects
    over several lines, one after the other.

    Cells are JSON values whose numbers are still text (`cells.Number`). But for lines, `line` is the number of the
    object, and what comes after a fault in the syntax cannot be read.
    """

    def __init__(self, stream: IO[bytes], *, is_one_text: bool) -> None:
        self.header: tuple[str, ...] | None = None
        self._is_one_text = is_one_text
        self._stream = stream
        self._lines = _Lines(stream)
        self._bytes_of_text = self._unread = 0
        self._text = ""
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode

    @property
    def bytes_read(self) -> int:
        return self._bytes_of_text - self._unread if self._is_one_text else self._lines.bytes_read

    def __iter__(self) -> Iterator[Record | Refusal]:
        return self._objects() if self._is_one_text else self._lines_of_objects()

    def _lines_of_objects(self) -> Iterator[Record | Refusal]:
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
            if error.msg == "Extra data":
                return Refusal(
                    line,
                    f"has more after its JSON, at character {error.pos + 1}; write one object a line and nothing else",
                )
            return Refusal(line, f"cannot be read as JSON: {error.msg} at character {error.pos + 1}")
        except ValueError as error:
            return Refusal(line, f"cannot be read as JSON: {error}")

    def _objects(self) -> Iterator[Record | Refusal]:
        at = self._filled(0)
        start = _start_of_list(self._text)
        is_bare = self._text.lstrip().startswith("[")
        at = start or 0
        number = 0
        while True:
            at = self._filled(at)
            at = _past(_COMMA if number and start else _SPACE, self._text, at)
            at = self._filled(at)
            number += 1
            if start and self._text.startswith("]", at):
                if not self._ends(at + 1, is_bare=is_bare):
                    yield Refusal(
                        number, "more follows after the list and was not read; only one list is read from a file"
                    )
                return
            if not start and at == len(self._text):
                return
            try:
                value, at = cells.RECORDS.raw_decode(self._text, at)
            except (ValueError, RecursionError):
                way_out = (
                    "" if start else ". If the rows are a list inside of it, write them one a line: jq -c '.NAME[]'"
                )
                reason = "cannot be read as JSON, or is longer than 1 MiB; what comes after it was not read"
                yield Refusal(number, reason + way_out)
                return
            self._unread = len(self._text) - at
            yield _record(number, value)

    def _ends(self, at: int, *, is_bare: bool) -> bool:
        """Whether nothing comes after a list but the rest of the object that it is in."""
        at = self._filled(at)
        if not is_bare:
            begun = '{"": 0'
            try:
                at += cells.RECORDS.raw_decode(begun + self._text[at:])[1] - len(begun)
            except (ValueError, RecursionError):
                return False
        at = self._filled(at)
        return not self._text[at:].strip()

    def _filled(self, at: int) -> int:
        """The same place, once the text goes on after it for a whole record or to the end of the file."""
        if len(self._text) - at < MAX_RECORD:
            parts = [self._text[at:]]
            missing = MAX_RECORD
            while missing > 0 and (data := self._stream.read(MAX_RECORD)):
                self._bytes_of_text += len(data)
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


def is_one_text(head: bytes) -> bool:
    """Whether a JSON file that begins so is one text, a list of records or records over several lines, and not lines."""
    text = head.removeprefix(_BOM).decode("utf-8", "replace")
    return text.lstrip().partition("\n")[0].strip() == "{" or _start_of_list(text) is not None


def _start_of_list(text: str) -> int | None:
    """Where in a JSON text the first element of its list of records is: of the list that it is, or of a member that is
    called as one of `_LISTS` and begins with an object. None where there is none, or where a row stands around it."""
    at = _past(_SPACE, text, 0)
    if text.startswith("[", at):
        return at + 1
    decoder = json.JSONDecoder()
    opening = "{"
    while text.startswith(opening, at):
        try:
            name, at = decoder.raw_decode(text, _past(_SPACE, text, at + 1))
            at = _past(_SPACE, text, at)
            if not isinstance(name, str) or name in _OF_A_ROW or not text.startswith(":", at):
                return None
            at = _past(_SPACE, text, at + 1)
            if name in _LISTS and (found := _LIST.match(text, at)):
                return found.end()
            at = _past(_SPACE, text, decoder.raw_decode(text, at)[1])
        except (ValueError, RecursionError):
            return None
        opening = ","
    return None


def _past(signs: re.Pattern[str], text: str, at: int) -> int:
    """Where the text goes on after these signs, of which there may be none."""
    found = signs.match(text, at)
    return found.end() if found else at
