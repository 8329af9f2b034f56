"""What the footer of a Parquet file says of its parts: enough of Thrift's compact protocol to weigh them.

Own code, because pyarrow ends the whole process where it looks at the description of a column that is damaged (26.0:
`RowGroupMetaData.column` lets C++ exceptions through). Field numbers from parquet-format's `parquet.thrift`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

MAX_FOOTER = 16 * 1024 * 1024
MAX_DEPTH = 16
_MAGIC = b"PAR1"
_TRUE, _FALSE, _BYTE, _I64, _DOUBLE, _BINARY, _LIST, _SET, _MAP, _STRUCT = 1, 2, 3, 6, 7, 8, 9, 10, 11, 12


class BadFooter(ValueError):
    """The footer is not what a Parquet file ends with. The text says why."""


@dataclass(slots=True)
class Part:
    """One column of one row group. `path` is its name, with those of nested columns after dots."""

    path: str = ""
    values: int = 0
    unpacked: int = 0
    packed: int = 0


@dataclass(slots=True)
class Group:
    rows: int
    parts: list[Part]


def row_groups(stream: IO[bytes], size: int) -> list[Group]:
    """The row groups of a Parquet file of `size` bytes. Raises `BadFooter`."""
    if size < 12:
        raise BadFooter("the file is too short")
    stream.seek(size - 8)
    tail = stream.read(8)
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != _MAGIC or length > size - 12:
        raise BadFooter("the file does not end as a Parquet file does")
    if length > MAX_FOOTER:
        raise BadFooter(f"the footer has {length:,} bytes; {MAX_FOOTER:,} are possible")
    stream.seek(size - 8 - length)
    try:
        return _Reader(stream.read(length)).groups()
    except (IndexError, UnicodeDecodeError) as error:
        raise BadFooter("the footer breaks off") from error


class _Reader:
    """Reads what is asked for, and steps over everything else."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def groups(self) -> list[Group]:
        found: list[Group] = []
        self._struct({4: lambda kind: self._list(kind, lambda: found.append(self._group()))})
        return found

    def _group(self) -> Group:
        group = Group(0, [])
        self._struct(
            {
                1: lambda kind: self._list(kind, lambda: group.parts.append(self._part())),
                3: lambda kind: setattr(group, "rows", self._number(kind)),
            }
        )
        return group

    def _part(self) -> Part:
        part = Part()
        self._struct({3: lambda kind: self._described(kind, part)})
        return part

    def _described(self, kind: int, part: Part) -> None:
        names: list[str] = []
        self._expect(kind, _STRUCT)
        self._struct(
            {
                3: lambda kind: self._list(kind, lambda: names.append(self._text())),
                5: lambda kind: setattr(part, "values", self._number(kind)),
                6: lambda kind: setattr(part, "unpacked", self._number(kind)),
                7: lambda kind: setattr(part, "packed", self._number(kind)),
            }
        )
        part.path = ".".join(names)

    # --- The protocol -----------------------------------------------------------------------------------------------

    def _struct(self, fields: dict[int, Callable[[int], Any]], depth: int = 0) -> None:
        """A struct of which these fields are read, each by a function of its kind."""
        if depth > MAX_DEPTH:
            raise BadFooter("the footer is nested too deeply")
        number = 0
        while byte := self._byte():
            number = number + (byte >> 4) if byte >> 4 else self._zigzag()
            kind = byte & 15
            if number in fields:
                fields[number](kind)
            elif kind not in (_TRUE, _FALSE):  # which stand in the kind itself
                self._skip(kind, depth)

    def _list(self, kind: int, element: Callable[[], Any]) -> None:
        self._expect(kind, _LIST)
        _, count = self._list_head()
        for _ in range(count):
            element()

    def _list_head(self) -> tuple[int, int]:
        byte = self._byte()
        count = byte >> 4 if byte >> 4 < 15 else self._varint()
        if count > len(self._data):  # an element has a byte at least
            raise BadFooter("the footer breaks off")
        return byte & 15, count

    def _skip(self, kind: int, depth: int) -> None:
        if kind in (_TRUE, _FALSE, _BYTE):
            self._at += 1
        elif kind <= _I64:
            self._varint()
        elif kind == _DOUBLE:
            self._at += 8
        elif kind == _BINARY:
            length = self._varint()  # first, because it moves the place too
            self._at += length
        elif kind in (_LIST, _SET):
            of, count = self._list_head()
            self._repeat(count, (of,), depth)
        elif kind == _MAP:
            if count := self._varint():
                kinds = self._byte()
                self._repeat(count, (kinds >> 4, kinds & 15), depth)
        elif kind == _STRUCT:
            self._struct({}, depth + 1)
        else:
            raise BadFooter("the footer has a field of an unknown kind")

    def _repeat(self, count: int, kinds: tuple[int, ...], depth: int) -> None:
        if depth > MAX_DEPTH or count > len(self._data):
            raise BadFooter("the footer is nested too deeply")
        for _ in range(count):
            for kind in kinds:
                self._skip(kind, depth + 1)
            if self._at > len(self._data):
                raise BadFooter("the footer breaks off")

    def _expect(self, kind: int, wanted: int) -> None:
        if kind != wanted:
            raise BadFooter("the footer has a field of another kind")

    def _number(self, kind: int) -> int:
        self._expect(kind, _I64)
        return self._zigzag()

    def _text(self) -> str:
        length = self._varint()
        if length > len(self._data) - self._at:
            raise BadFooter("the footer breaks off")
        self._at += length
        return self._data[self._at - length : self._at].decode()

    def _byte(self) -> int:
        byte = self._data[self._at]
        self._at += 1
        return byte

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value
            if shift > 63:
                raise BadFooter("the footer has a number that is too long")

    def _zigzag(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
