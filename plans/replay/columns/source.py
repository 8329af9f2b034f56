"""Where blocks come from."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from plans.replay.columns.block import BLOCK_ROWS, Block, block_of
from plans.replay.values import LogRow


class Cursor(NamedTuple):
    """A place between two rows, where reading begins: so many rows, the last of them this one, were before."""

    rows: int = 0
    #: (microseconds, request_id) of the last row before; None at the beginning.
    after: tuple[int, str] | None = None


BEGINNING = Cursor()


class LogChanged(Exception):
    """Rows came, or went, while the log was read; what was read so far does not belong together."""

    code = "log_changed"


class Source(Protocol):
    """A log in the order of (ts, request_id), in blocks of `BLOCK_ROWS` rows. Can be pickled for other processes."""

    #: Whether no request_id occurs twice, so that nobody has to look.
    has_unique_ids: bool
    #: Whether it takes so long to read rows again that they are better kept.
    is_slow: bool

    def count(self) -> int:
        """How many rows there are, for progress."""
        ...

    @property
    def state(self) -> str:
        """What it was when it was opened: another one where other rows may stand in the place of those that were read."""
        ...

    def has_changed(self) -> bool:
        """Whether it is in another state by now. Then it has to be opened anew."""
        ...

    def blocks(self, columns: frozenset[str], start: Cursor = BEGINNING) -> Iterator[Block]:
        """The blocks from there on, with these columns at least; others may be absent."""
        ...


class MemorySource:
    """Rows that are in memory already."""

    has_unique_ids = False
    is_slow = False
    state = "memory"

    def __init__(self, rows: Sequence[LogRow] = (), *, block_rows: int = BLOCK_ROWS) -> None:
        """`rows` in any order; `block_rows` is for tests."""
        rows = sorted(rows, key=lambda row: (row.ts, row.request_id))
        self._block_rows = block_rows
        self._blocks = [block_of(rows[start : start + block_rows], start) for start in range(0, len(rows), block_rows)]

    @classmethod
    def of_blocks(cls, blocks: Sequence[Block]) -> "MemorySource":
        source = cls()
        source._blocks = list(blocks)
        return source

    def count(self) -> int:
        return sum(block.rows for block in self._blocks)

    def has_changed(self) -> bool:
        return False

    def blocks(self, columns: frozenset[str], start: Cursor = BEGINNING) -> Iterator[Block]:
        return (block for block in self._blocks if block.first >= start.rows)
