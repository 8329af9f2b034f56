"""A slow source is read once, as far as its rows fit into memory."""

import pickle
from collections.abc import Iterator

import pytest

from plans.replay import MemorySource, Question, replay
from plans.replay.columns import Block, Cursor, Source
from plans.replay.columns.kept import kept
from plans.replay.columns.source import BEGINNING
from plans.replay.executors import Part
from plans.replay.replay import parts_of, project
from plans.replay.survey import survey
from routes.engine.canonical import canonical_bytes
from tests.plans.replay.worlds import NOTHING, PRICES, routes, row, to

ROWS = [row(n) for n in range(60)]
QUESTION = Question(current=NOTHING, proposed=routes(to("small", tag_equals="a")), prices=PRICES, iterations=40)


class Slow:
    """Says which blocks were asked for, and which columns of each."""

    has_unique_ids = True
    is_slow = True
    state = "slow"

    def __init__(self) -> None:
        self.read: list[tuple[int, frozenset[str]]] = []
        self._source = MemorySource(ROWS, block_rows=10)

    def count(self) -> int:
        return 60

    def has_changed(self) -> bool:
        return False

    def blocks(self, columns: frozenset[str], start: Cursor = BEGINNING) -> Iterator[Block]:
        for block in self._source.blocks(columns, start):
            self.read.append((block.first, columns))
            yield Block(block.first, block.rows, {name: block.column(name) for name in columns})


def answer(source: Source, parts: int = 1) -> bytes:
    return canonical_bytes(replay(source, QUESTION, parts=parts))


@pytest.mark.parametrize("room", [0, 1, 8_000, 10**9])
@pytest.mark.parametrize("parts", [1, 3])
def test_what_fits_is_read_once_and_the_rest_twice_and_the_answer_is_the_same(room: int, parts: int) -> None:
    slow = Slow()
    assert answer(kept(slow, QUESTION.columns, room), parts) == answer(MemorySource(ROWS, block_rows=10))
    twice = 6 - {0: 0, 1: 1, 8_000: 3, 10**9: 6}[room]
    firsts = [first for first, _ in slow.read]
    assert len(firsts) >= 6 + twice
    assert sorted({first for first in firsts if firsts.count(first) == 1}) == list(range(0, 10 * (6 - twice), 10))


def test_reading_begins_among_kept_rows_and_goes_on_behind_them() -> None:
    source = kept(Slow(), QUESTION.columns, 8_000)
    found = survey(QUESTION, source)
    for start in range(6):
        firsts = [block.first for block in source.blocks(QUESTION.columns, found.starts[start])]
        assert firsts == list(range(10 * start, 60, 10))


def test_another_process_is_sent_no_rows_and_reads_them_itself() -> None:
    slow = Slow()
    source = kept(slow, QUESTION.columns, 10**9)
    found = survey(QUESTION, source)
    sent = pickle.loads(pickle.dumps(source))
    assert len(pickle.dumps(source)) < 1.1 * len(pickle.dumps(slow))
    (part,) = parts_of(found, 1)
    again, here = project(QUESTION, found, sent, part), project(QUESTION, found, source, Part(Cursor(), 6))
    assert again.counts == here.counts


def test_what_is_in_memory_or_lies_in_files_is_not_kept() -> None:
    memory = MemorySource(ROWS)
    slow = Slow()
    assert kept(memory, QUESTION.columns) is memory
    assert kept(slow, QUESTION.columns | {"prompt"}) is slow
