"""What an import would do, seen from the first records of a file; nothing is stored."""

import json
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from plans.logs import cells
from plans.logs.columns import COLUMNS, MAPPED, REQUIRED
from plans.logs.formats import MAPPABLE, LogFile, Mapping, ReadAs, Reader, Record, Refusal
from plans.logs.formats.mapping import guess
from plans.logs.services import open_log
from routes.orgs.models import Organization

#: A preview ends after so many records, or when this much of the file was read.
RECORDS = 20
BYTES = 64 * 1024
EXAMPLES = 3
#: So many numbers of records are named with one reason.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class FileColumn:
    """A column of the file: some of its values, and what it is taken for. `""`: it is left out; None: nobody knows."""

    name: str
    examples: list[str]
    target: str | None
    is_guess: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """`format` and `mapping` are those that an import needs to store `rows` as they are shown.

    `rows` are (number, column → its value as text); `numbered` says what the numbers count, lines or rows.
    """

    format: str
    numbered: str
    mapping: Mapping
    columns: list[FileColumn] = field(default_factory=list)
    rows: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)

    @property
    def can_be_mapped(self) -> bool:
        return self.format in MAPPABLE

    @property
    def filled(self) -> list[str]:
        """The columns that some row has a value in, in the order of `COLUMNS`."""
        return [name for name in COLUMNS if any(name in values for _, values in self.rows)]

    @property
    def refusals(self) -> list[tuple[str, str]]:
        """Why records are refused, each reason once: (where, why)."""
        numbers: dict[str, list[int]] = {}
        for number, reason in self.refused:
            numbers.setdefault(reason, []).append(number)
        return [(_where(self.numbered, found), reason) for reason, found in numbers.items()]

    @property
    def lacking(self) -> list[str]:
        """What every row must have, and nothing of the file is taken for."""
        if not self.can_be_mapped:
            return []
        there = {MAPPED[column.target][0] for column in self.columns if column.target}
        return [name for name in REQUIRED if name not in there and name not in self.mapping.constants]


def preview(org: Organization, file: LogFile, how: ReadAs, *, guessing: bool) -> Preview:
    """The first 20 records, or those of the first 64 KiB, as they would be stored or refused.

    With `guessing`, a column that nobody mapped and that is not called as one of ours is taken for what it probably is,
    and left out where nothing is probable. Raises what `open_log` raises.
    """
    reader = open_log(org, file, how)
    found: list[FileColumn] = []
    if reader.format in MAPPABLE:
        columns, examples = _looked_at(reader)
        said = {name: name for name in columns if name in COLUMNS} | how.mapping.columns
        guessed: dict[str, str] = {}
        if guessing:
            guesses = guess(columns, examples, how.mapping)
            guessed = {name: guesses.get(name, "") for name in columns if name not in said}
            mapping = replace(how.mapping, columns={**how.mapping.columns, **guessed})
            reader = open_log(org, file, replace(how, format=reader.format, mapping=mapping))
        for name in columns:
            shown = [_short(value) for value in examples.get(name, [])[:EXAMPLES]]
            found.append(FileColumn(name, shown, said.get(name, guessed.get(name)), name in guessed))
    seen = Preview(reader.format, reader.numbered, reader.mapping, found)
    for item in islice(reader.items(), RECORDS):
        if isinstance(item, Refusal):
            seen.refused.append((item.line, item.reason))
        else:
            # In the order of the table, whatever the order of the file.
            seen.rows.append((item.line, {name: text(item.values[name]) for name in COLUMNS if name in item.values}))
        if reader.bytes_read >= BYTES:
            break
    return seen


def _where(numbered: str, numbers: list[int]) -> str:
    """`line 7`, `lines 2, 3 and 9`, `20 lines, the first is 2`."""
    if len(numbers) == 1:
        return f"{numbered} {numbers[0]}"
    if len(numbers) > _NAMED:
        return f"{len(numbers)} {numbered}s, the first is {numbers[0]}"
    return f"{numbered}s {', '.join(map(str, numbers[:-1]))} and {numbers[-1]}"


def _looked_at(reader: Reader) -> tuple[list[str], dict[str, list[Any]]]:
    """The columns of the file, in their order, and the first values of each that are not empty."""
    names = dict.fromkeys(reader.header() or ())
    examples: dict[str, list[Any]] = {}
    for record in islice(reader.records(), RECORDS):
        if isinstance(record, Record):
            for name, value in zip(record.columns, record.cells, strict=True):
                names.setdefault(name)
                if value is not None and not (isinstance(value, str) and value == ""):
                    examples.setdefault(name, []).append(value)
        if reader.bytes_read >= BYTES:
            break
    return list(names), examples


def _short(value: Any) -> str:
    if isinstance(value, cells.Unfit):
        return value.reason
    if isinstance(value, dict):
        with suppress(cells.Refused):
            return cells.shown(_as_json(cells.json_object(value)))
    return cells.shown(value)


def _as_json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def text(value: Any) -> str:
    """A value of a column as one reads it."""
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return f"{len(value) // 4:,} numbers"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, list):
        return ", ".join(value)
    said = _as_json(value) if isinstance(value, dict) else str(value)
    return cells.shown(said)[1:-1] if len(said) > 40 else said
