"""What passes between the stages of reading: records of a file, then rows or refusals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it stands in the file: `cells` belong to `columns` of the file, one to one."""

    line: int
    columns: tuple[str, ...]
    cells: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Row:
    """A record that can be stored. `values` are columns of `RequestLog`; absent ones take their default there."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that cannot be stored.

    `line` is where it begins, as an editor counts: the header is line 1. Where there are no lines (a Parquet file, a
    JSON list) it is the number of the record, from 1.
    """

    line: int
    reason: str


Item = Row | Refusal


class Records(Protocol):
    """The records of one container, read once from the front to the end.

    `header` is None where records name their own columns. `bytes_read` grows towards the size of the file.
    """

    header: tuple[str, ...] | None

    @property
    def bytes_read(self) -> int: ...

    def __iter__(self) -> Iterator[Record | Refusal]: ...
