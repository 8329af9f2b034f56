"""A source whose first rows are kept in memory, so that the second pass need not read them again."""

from collections.abc import Iterator
from typing import Any, Final

from plans.replay.columns.block import Block
from plans.replay.columns.column import Coded, Column, Texts
from plans.replay.columns.source import BEGINNING, Cursor, Source
from plans.replay.columns.spooled import LONG

#: Of columns; a million rows of a table take about 150 MiB.
MOST_BYTES: Final = 2**28
#: What a text of a vocabulary takes, about.
_TEXT_BYTES: Final = 100


def kept(source: Source, columns: frozenset[str], most_bytes: int = MOST_BYTES) -> Source:
    """The same log, of which the first rows are kept, with these columns, once they were read from the beginning on; where
    it is slow. Long texts, which lie in files, are not kept."""
    return source if columns & LONG or not source.is_slow else _Kept(source, columns, most_bytes)


class _Kept:
    def __init__(self, source: Source, columns: frozenset[str], room: int) -> None:
        self.has_unique_ids, self.is_slow, self.state = source.has_unique_ids, False, source.state
        self._source = source
        self._columns = columns
        #: Bytes; and the first blocks, what comes after them, and the vocabularies that they share.
        self._room = room
        self._blocks: list[Block] = []
        self._end = BEGINNING
        self._vocabularies: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        # Another process would have to be sent the rows: it reads its part itself.
        return self.__dict__ | {"_room": 0, "_blocks": [], "_end": BEGINNING}

    def count(self) -> int:
        return self._source.count()

    def has_changed(self) -> bool:
        return self._source.has_changed()

    def blocks(self, columns: frozenset[str], start: Cursor = BEGINNING) -> Iterator[Block]:
        for block in list(self._blocks):
            if block.first >= start.rows:
                start = _after(block)
                yield block
        if start == self._end and self._room > 0:
            for block in self._source.blocks(columns | self._columns, start):
                self._keep(block)
                start = self._end
                yield block
                if self._room <= 0:
                    break
            else:
                return
        yield from self._source.blocks(columns, start)

    def _keep(self, block: Block) -> None:
        self._room -= sum(self._bytes(block.column(name)) for name in self._columns if not block.lacks(name))
        self._blocks.append(block)
        self._end = _after(block)

    def _bytes(self, column: Column) -> int:
        if isinstance(column, Coded):
            is_new = id(column.vocabulary) not in self._vocabularies
            self._vocabularies.add(id(column.vocabulary))
            return column.codes.nbytes + is_new * len(column.vocabulary) * _TEXT_BYTES
        if isinstance(column, Texts):
            return column.offsets.nbytes + int(column.offsets[-1] - column.offsets[0])
        return column.values.nbytes


def _after(block: Block) -> Cursor:
    last = int(block.numbers("ts")[-1]), block.texts("request_id")[block.rows - 1]
    return Cursor(block.first + block.rows, last)
