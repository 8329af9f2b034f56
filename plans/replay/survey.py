"""The first pass: what has to be known of the whole log before any row can be replayed.

Which rows count, how fast each model was in the window, where blocks begin, and what the projected caches answer: all of
it depends on rows that lie far apart, so it is found in one pass in order; the second pass can then begin anywhere.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from plans.replay.caches import Caches
from plans.replay.cases import Codes, Combinations, Names
from plans.replay.columns import Block, Cursor, LogChanged, Source
from plans.replay.question import Question
from plans.replay.sure import BINS, latency_bin

#: Why rows do not count, by the number that stands for it; 0 for those that do.
WHY: Final = ("", "shadow", "failed", "unpriced", "repeated")
SHADOW, FAILED, UNPRICED, REPEATED = range(1, 5)
#: Of the columns, those that the first pass reads, whatever is asked.
COLUMNS: Final = frozenset(
    {"ts", "request_id", "kind", "status", "cost_nano", "provider", "model", "latency_ms", "cached"}
)


@dataclass(slots=True)
class Survey:
    """What the first pass finds."""

    rows: int = 0
    #: (microseconds, request_id) of the last row read.
    last: tuple[int, str] | None = None
    #: Microseconds: the first and the last row that counts, and the ends of the longest time between two of them.
    counted: tuple[int, int] | None = None
    longest: tuple[int, int] = (0, 0)
    #: Where each block begins.
    starts: list[Cursor] = field(default_factory=list)
    #: By (provider, model) that served, the rows by bin of latency; those that the gateway's cache answered are not in.
    latencies: dict[tuple[str, str], NDArray[np.int64]] = field(default_factory=dict)
    #: Ordinals of the rows whose request was counted before, ascending.
    repeated: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    #: By the first row of a block, which rows caches answer under today's and under the proposed routes, as packed bits.
    hits: dict[int, tuple[NDArray[np.uint8], NDArray[np.uint8]]] = field(default_factory=dict)
    #: `l2_projections` and `l2_poisoning_candidates` of the result.
    l2: dict[str, Any] = field(default_factory=lambda: {"l2_projections": [], "l2_poisoning_candidates": 0})

    def have(self, ts: NDArray[np.int64]) -> None:
        """The times of more rows that count, ascending."""
        first, last = int(ts[0]), int(ts[-1])
        began, before = (first, first) if self.counted is None else self.counted
        steps = np.diff(ts, prepend=before)
        widest = int(steps.argmax())
        if steps[widest] > self.longest[1] - self.longest[0]:
            self.longest = int(ts[widest] - steps[widest]), int(ts[widest])
        self.counted = began, last

    def must_have(self, block: Block) -> None:
        """Raises `LogChanged` unless the block lies between the rows between which this one found it."""
        number = bisect_left(self.starts, block.first, key=lambda start: start.rows)
        begins = self.starts[number : number + 1]
        (ends, *_) = [*self.starts[number + 1 : number + 2], Cursor(self.rows, self.last)]
        last = int(block.numbers("ts")[-1]), block.texts("request_id")[block.rows - 1]
        if not begins or begins[0].rows != block.first or ends != Cursor(block.first + block.rows, last):
            raise LogChanged("Rows came or went while the log was read. Replay a window that has ended.")

    def hits_of(self, block: Block) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        """By row whether a cache answers it on either side; None where no caches are supposed."""
        found = self.hits.get(block.first)
        if found is None:
            return None
        now, then = (np.unpackbits(bits, count=block.rows).astype(bool) for bits in found)
        return now, then

    def why_left_out(self, block: Block) -> NDArray[np.int8]:
        """By row why it does not count, as the number in `WHY`."""
        kinds = block.coded("kind")
        why = np.where(block.numbers("cost_nano") < 0, np.int8(UNPRICED), np.int8(0))
        why[block.numbers("status") >= 400] = FAILED
        why[kinds.per_row([text == "shadow" for text in kinds.vocabulary.texts], 0) > 0] = SHADOW
        first, last = np.searchsorted(self.repeated, (block.first, block.first + block.rows))
        why[self.repeated[first:last] - block.first] = REPEATED
        return why


def survey(
    question: Question,
    source: Source,
    *,
    begun: Survey | None = None,
    on_block: Callable[[Survey], None] | None = None,
    alive: Callable[[], None] | None = None,
) -> Survey:
    """The first pass over all rows. `on_block` hears of each block that was read, `alive` is called now and then while
    caches go through one; what they raise ends the pass.

    `begun` is one that was interrupted and may go on, see `resumable`.
    """
    columns = columns_of(question)
    begun = Survey() if begun is None else begun
    found = Surveyor(question, begun, looks_for_repeats=not source.has_unique_ids)
    for block in source.blocks(columns, Cursor(begun.rows, begun.last)):
        found.add(block, alive)
        if on_block is not None:
            on_block(found.survey)
    repeated = found.repeated()
    if len(repeated):
        # They are few, and seldom: what was counted with them is counted again without them.
        found = Surveyor(question, Survey(repeated=repeated), looks_for_repeats=False)
        for block in source.blocks(columns):
            found.add(block, alive)
            if on_block is not None:
                on_block(found.survey)
    return found.survey


def resumable(question: Question, source: Source, begun: Survey | None) -> Survey:
    """The survey to go on with: the one that was begun, where that is possible. What repeats, and what caches hold,
    depends on all rows before, which a survey does not keep, so with these it begins again."""
    if begun is None or question.supposes_caches or not source.has_unique_ids:
        return Survey()
    return begun


def columns_of(question: Question) -> frozenset[str]:
    """What the first pass reads."""
    return question.columns if question.supposes_caches else COLUMNS


class Surveyor:
    """Makes a survey of blocks in their order."""

    def __init__(self, question: Question, survey: Survey, *, looks_for_repeats: bool) -> None:
        self.survey = survey
        self._caches = Caches(question) if question.supposes_caches else None
        self._looks_for_repeats = looks_for_repeats
        self._before = dict(survey.latencies)  # of a survey that goes on
        self._ids: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []
        self._texts = Names()
        self._served = Combinations()
        self._bins = np.zeros((16, BINS), np.int64)

    def add(self, block: Block, alive: Callable[[], None] | None = None) -> None:
        """The next block."""
        survey = self.survey
        survey.starts.append(Cursor(survey.rows, survey.last))
        survey.rows += block.rows
        ids, ts = block.texts("request_id"), block.numbers("ts")
        survey.last = int(ts[-1]), ids[block.rows - 1]
        counted = np.flatnonzero(survey.why_left_out(block) == 0)
        if len(counted):
            survey.have(ts[counted])
        if self._looks_for_repeats:
            self._ids.append((ids.hashes()[counted], block.first + counted))
        latencies = block.numbers("latency_ms")[counted]
        fresh = np.flatnonzero((latencies >= 0) & (block.numbers("cached")[counted] == 0))
        self._count(block, counted[fresh], latencies[fresh])
        if self._caches is not None:
            hits = np.zeros((2, block.rows), bool)
            hits[:, counted] = self._caches.add(block.taken(counted), alive=alive)
            now, then = np.packbits(hits, axis=1)
            survey.hits[block.first] = now, then
            survey.l2 = self._caches.l2_aggregates()

    def _count(self, block: Block, rows: NDArray[np.intp], latencies: NDArray[np.int64]) -> None:
        columns = []
        for name in ("provider", "model"):
            column = block.coded(name)
            numbers = column.per_row([self._texts.number(text) for text in column.vocabulary.texts], 0)
            columns.append(numbers[rows])
        size = 1 << len(self._texts.met).bit_length()
        served = self._served.of([Codes(column, size) for column in columns])
        while len(self._bins) < len(self._served.met):
            self._bins = np.concatenate([self._bins, np.zeros_like(self._bins)])
        flat = served * BINS + latency_bin(latencies)
        np.add.at(self._bins.reshape(-1), flat, np.ones(len(flat), np.int64))
        for number, (provider, model) in enumerate(self._served.met):
            by = self._texts.met[provider], self._texts.met[model]
            before = self._before.get(by)
            self.survey.latencies[by] = self._bins[number] if before is None else self._bins[number] + before

    def repeated(self) -> NDArray[np.int64]:
        """The ordinals of rows whose id was counted before."""
        if not self._ids:
            return np.empty(0, np.int64)
        hashes = np.concatenate([part for part, _ in self._ids])
        in_order = np.sort(hashes)
        if not (in_order[1:] == in_order[:-1]).any():
            return np.empty(0, np.int64)
        # Equal ones stay in their order, so that all but the first of each are repeated.
        order = np.argsort(hashes, kind="stable")
        again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1]) + 1
        ordinals = np.concatenate([part for _, part in self._ids])
        return np.sort(ordinals[order[again]])
