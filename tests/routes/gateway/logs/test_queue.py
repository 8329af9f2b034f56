"""Rows wait within a bound, go out in batches, and never hold anybody up."""

import asyncio

import pytest

from routes.gateway.logs import queue
from routes.gateway.logs.queue import Entry, RowQueue, RowsRefused
from tests.routes.gateway.loops import in_a_loop

ORG = "018f0000-0000-7000-8000-000000000001"


class FakeSink:
    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.batches: list[list[int]] = []
        self.is_closed = False

    async def write(self, entries: list[Entry]) -> None:
        self.batches.append([row["n"] for _, row in entries])
        if self.failures:
            raise self.failures.pop(0)

    async def aclose(self) -> None:
        self.is_closed = True


class HungSink(FakeSink):
    async def write(self, entries: list[Entry]) -> None:
        await asyncio.Event().wait()


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "_FIRST_PAUSE_SECONDS", 0.001)


def a_queue(sink: FakeSink, *rows: int, most: int = 100, batch_rows: int = 3) -> RowQueue:
    made = RowQueue(sink, most=most, batch_rows=batch_rows, batch_seconds=0.01)
    for number in rows:
        made.put(ORG, {"n": number})
    return made


@in_a_loop
async def test_rows_go_out_in_order_in_batches() -> None:
    sink = FakeSink()
    rows = a_queue(sink, *range(7))
    rows.start()
    await rows.aclose(5)
    assert sink.batches == [[0, 1, 2], [3, 4, 5], [6]]
    assert (rows.written, rows.dropped, sink.is_closed) == (7, 0, True)


@in_a_loop
async def test_a_few_rows_go_out_after_a_while() -> None:
    sink = FakeSink()
    rows = a_queue(sink, 1)
    rows.start()
    for _ in range(500):
        if sink.batches:
            break
        await asyncio.sleep(0.01)
    assert sink.batches == [[1]]
    rows.put(ORG, {"n": 2})
    await rows.aclose(5)
    assert sink.batches == [[1], [2]]


@in_a_loop
async def test_beyond_the_bound_rows_are_dropped_and_counted_and_nobody_waits() -> None:
    rows = a_queue(FakeSink(), *range(10), most=4)
    assert rows.status() == {"waiting": 4, "written": 0, "dropped": 6, "last_error": None}
    rows.start()
    await rows.aclose(5)
    assert (rows.written, rows.dropped) == (4, 6)


@in_a_loop
async def test_what_could_not_be_written_is_tried_again_in_order() -> None:
    sink = FakeSink(OSError("down"), OSError("down"))
    rows = a_queue(sink, *range(4))
    rows.start()
    await rows.aclose(5)
    assert sink.batches == [[0, 1, 2], [0, 1, 2], [0, 1, 2], [3]]
    assert (rows.written, rows.dropped, rows.last_error) == (4, 0, None)


@in_a_loop
async def test_what_is_refused_for_good_is_counted_and_not_tried_again() -> None:
    sink = FakeSink(RowsRefused(2, "no such organisation"))
    rows = a_queue(sink, *range(4))
    rows.start()
    await rows.aclose(5)
    assert sink.batches == [[0, 1, 2], [3]]
    assert (rows.written, rows.dropped) == (2, 2)


@in_a_loop
async def test_an_end_does_not_wait_for_a_sink_that_hangs() -> None:
    sink = HungSink()
    rows = a_queue(sink, *range(4))
    rows.start()
    await rows.aclose(0.05)
    assert (rows.dropped, sink.is_closed) == (4, True)
