"""`Block`: consecutive rows of a log, column by column."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.column import UNKNOWN, Coded, Column, Numbers, Texts, Vocabulary, digest_of
from plans.replay.values import LogRow
from routes.engine import UNKNOWN as UNKNOWN_FACT
from routes.engine import RequestContext
from routes.engine.canonical import canonical_bytes

#: Rows of a block; only the last of a log has fewer. Data digests and partitions are made of whole blocks.
BLOCK_ROWS: Final = 65_536
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

#: By column, what every row has where the log lacks the column. Times are microseconds of the epoch, money is
#: nano-dollars, -1 stands for unknown.
NUMBERS: Final = {
    "ts": UNKNOWN, "input_tokens": UNKNOWN, "output_tokens": UNKNOWN, "cached_tokens": 0, "cost_nano": UNKNOWN,
    "baseline_cost_nano": UNKNOWN, "latency_ms": UNKNOWN, "status": 200, "fact_input_tokens": UNKNOWN,
    "fact_estimated_cost_nano": UNKNOWN, "fact_upstream_latency_ms_p95": UNKNOWN,
}  # fmt: skip
FLAGS: Final = {
    "routed": 0, "cached": 0, "has_images": UNKNOWN, "has_audio": UNKNOWN, "has_documents": UNKNOWN, "has_tools": UNKNOWN,
    "is_stream": UNKNOWN,
}  # fmt: skip
#: `metadata` and `synthetic` are canonical JSON (of metadata see `metadata_text`), `embedding` is in Latin-1.
CODED: Final[dict[str, str | None]] = {
    "kind": "primary", "provider": "", "model": None, "requested_model": None, "tag": None, "metadata": None,
    "cluster_key": None, "finish_reason": None, "embedding": None, "prompt": None, "synthetic": "[]",
}  # fmt: skip
#: An empty text is none.
TEXTS: Final = ("request_id", "request_digest", "fact_sticky_key")
COLUMNS: Final = (*NUMBERS, *FLAGS, *CODED, *TEXTS)


class Block:
    """Rows in the order of (ts, request_id). Not to be changed after it was built."""

    def __init__(self, first: int, rows: int, columns: Mapping[str, Column]) -> None:
        #: The place of its first row among all rows of the log, from 0.
        self.first = first
        self.rows = rows
        self._columns = dict(columns)
        self._made_up: set[str] = set()
        self._of: tuple[Block, NDArray[np.intp]] | None = None

    def taken(self, rows: NDArray[np.intp]) -> "Block":
        """Some of the rows, in their order. Columns are taken when they are asked for."""
        part = Block(self.first, len(rows), {})
        part._of = self, rows
        return part

    @cached_property
    def ordinals(self) -> NDArray[np.int64]:
        """The place of each row among all rows of the log."""
        if self._of is not None:
            whole, rows = self._of
            return whole.ordinals.take(rows)
        return np.arange(self.first, self.first + self.rows)

    def lacks(self, name: str) -> bool:
        """Whether the log has no such column, so that every row has the default."""
        if self._of is not None:
            return self._of[0].lacks(name)
        return name not in self._columns or name in self._made_up

    def numbers(self, name: str) -> Any:
        """The values of a column of numbers or flags."""
        column = self.column(name)
        assert isinstance(column, Numbers)
        return column.values

    def coded(self, name: str) -> Coded:
        column = self.column(name)
        assert isinstance(column, Coded)
        return column

    def texts(self, name: str) -> Texts:
        column = self.column(name)
        assert isinstance(column, Texts)
        return column

    def column(self, name: str) -> Column:
        """The column, or the default for every row where the log lacks it."""
        if name not in self._columns:
            if self._of is not None:
                whole, rows = self._of
                lacks = whole.lacks(name)
                self._columns[name] = absent(name, self.rows) if lacks else whole.column(name).taken(rows)
            else:
                self._columns[name] = absent(name, self.rows)
                self._made_up.add(name)
        return self._columns[name]

    def digest(self, name: str) -> bytes:
        """SHA-256 of the column's canonical bytes."""
        return _digest_of_default(name, self.rows) if self.lacks(name) else digest_of(self.column(name))

    def text(self, name: str, row: int) -> str | None:
        """A text of one row, None for none."""
        if self._of is not None and name not in self._columns:
            whole, rows = self._of
            return whole.text(name, int(rows[row]))
        column = self.column(name)
        if isinstance(column, Texts):
            return column[row] or None
        assert isinstance(column, Coded)
        code = int(column.codes[row])
        return None if code < 0 else column.vocabulary.texts[code]

    def number(self, name: str, row: int) -> int | None:
        """A number of one row, None where nobody knows."""
        value = int(self.numbers(name)[row])
        return None if value == UNKNOWN else value

    def flag(self, name: str, row: int) -> bool | None:
        value = int(self.numbers(name)[row])
        return None if value == UNKNOWN else bool(value)


@lru_cache(maxsize=256)
def _digest_of_default(name: str, rows: int) -> bytes:
    return digest_of(absent(name, rows))


def absent(name: str, rows: int) -> Column:
    """The column of this name where every row has its default."""
    # One element seen `rows` times: it takes no memory.
    if name in NUMBERS or name in FLAGS:
        if name in FLAGS:
            return Numbers(np.broadcast_to(np.int8(FLAGS[name]), rows))
        return Numbers(np.broadcast_to(np.int64(NUMBERS[name]), rows))
    if name in TEXTS:
        return Texts(np.broadcast_to(np.int64(0), rows + 1), np.empty(0, np.uint8))
    default = CODED[name]
    code = np.broadcast_to(np.int32(UNKNOWN if default is None else 0), rows)
    return Coded(code, Vocabulary([] if default is None else [default]))


def context_of(block: Block, row: int) -> RequestContext:
    """The request as it was decided on: the logged facts where they are, what was billed otherwise. What no log tells
    (headers, the gateway's own figures; text and metadata where they were not logged) is unknown."""
    estimate = block.number("fact_estimated_cost_nano", row)
    if estimate is None:
        # Before the answer the gateway could only estimate the requested model; that bill is the baseline.
        estimate = block.number("baseline_cost_nano", row)
    tokens = block.number("fact_input_tokens", row)
    context = RequestContext(
        block.text("requested_model", row),
        input_tokens=block.number("input_tokens", row) if tokens is None else tokens,
        tag=block.text("tag", row),
        has_images=block.flag("has_images", row),
        has_audio=block.flag("has_audio", row),
        has_documents=block.flag("has_documents", row),
        has_tools=block.flag("has_tools", row),
        is_stream=block.flag("is_stream", row),
        prompt=block.text("prompt", row),
        metadata=metadata_fact(block.text("metadata", row)),
        headers=UNKNOWN_FACT,
        at=time_of(int(block.numbers("ts")[row])),
        request_id=block.text("request_id", row),
        sticky_key=block.text("fact_sticky_key", row),
        upstream_latency_ms_p95=block.number("fact_upstream_latency_ms_p95", row),
    )
    context.estimated_cost_nano_usd = estimate  # as it is: the constructor would take dollars
    return context


def metadata_fact(text: str | None) -> Any:
    """What a gateway knew of the metadata in a column."""
    if text is None:
        return UNKNOWN_FACT
    return json.loads(text)


def time_of(ts: int) -> datetime:
    # Not fromtimestamp, which goes through a double.
    return EPOCH + _MICROSECOND * ts


_MICROSECOND = datetime.resolution


def microseconds_of(ts: datetime) -> int:
    """Of the epoch, for an aware time."""
    return (ts - EPOCH) // _MICROSECOND


def block_of(rows: Sequence[LogRow], first: int = 0) -> Block:
    """The block of these rows, which are in the order of (ts, request_id)."""
    columns: dict[str, Column] = {}
    for name in NUMBERS:
        read = microseconds_of_row if name == "ts" else _number(name)
        columns[name] = Numbers(np.fromiter(map(read, rows), np.int64, len(rows)))
    for name in FLAGS:
        columns[name] = Numbers(np.fromiter(map(_number(name), rows), np.int8, len(rows)))
    for name in CODED:
        columns[name] = Coded.of([_WRITTEN.get(name, _as_it_is)(getattr(row, name)) for row in rows])
    for name in TEXTS:
        columns[name] = Texts.of([getattr(row, name) for row in rows])
    return Block(first, len(rows), columns)


def microseconds_of_row(row: LogRow) -> int:
    return microseconds_of(row.ts)


def _number(name: str) -> Callable[[LogRow], int]:
    def read(row: LogRow) -> int:
        value = getattr(row, name)
        return UNKNOWN if value is None else int(value)

    return read


def _as_it_is(value: str | None) -> str | None:
    return value


def metadata_text(metadata: object) -> str | None:
    """Logged metadata as a column has it. Values that are no text cannot have been given to the engine as they are: with
    one of them nobody knows what was decided on."""
    if not isinstance(metadata, Mapping) or not all(isinstance(value, str) for value in metadata.values()):
        return None
    return canonical_bytes(dict(metadata)).decode()


def synthetic_text(names: object) -> str:
    """Names of made-up columns as a column has them; None is none. Raises `ValueError` for anything but a list of them."""
    if names is None:
        return "[]"
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ValueError("is not a list of names")
    return canonical_bytes(list(names)).decode()


_WRITTEN: dict[str, Callable[[Any], str | None]] = {
    "metadata": metadata_text,
    "finish_reason": lambda reason: reason or None,
    "synthetic": synthetic_text,
    "embedding": lambda raw: None if raw is None else raw.decode("latin-1"),
}
