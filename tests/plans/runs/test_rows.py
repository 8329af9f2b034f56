"""A file's rows as blocks: the same that rows in memory make, whatever the order of the file."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from plans.logs.formats import Row
from plans.replay import LogRow, MemorySource
from plans.runs import rows as module
from plans.runs.rows import blocks_of, days_of

START = datetime(2026, 5, 1, tzinfo=UTC)
COLUMNS = frozenset(
    {"ts", "request_id", "model", "tag", "cost_nano", "latency_ms", "cluster_key", "routed", "metadata", "synthetic"}
)


def values(number: int) -> dict[str, Any]:
    """Of a row of a file; three rows have one time, and some say less than others."""
    return {
        "request_id": f"r{number * 7 % 50:02}é" if number % 3 else f"r{number % 5}",
        "ts": START + timedelta(microseconds=number // 3),
        "model": f"m{number % 4}",
        "requested_model": "m",
        "input_tokens": number,
        "output_tokens": 1,
        "cost_usd": Decimal(number) / 1000,
        **({"latency_ms": number, "tag": f"t{number}", "metadata": {"n": str(number % 6)}} if number % 2 else {}),
        **({"cluster_key": f"u{number % 9}", "reason": "default"} if number > 20 else {}),
        **({"synthetic": ["latency_ms"]} if number == 7 else {}),
    }


def in_memory(number: int) -> LogRow:
    given = values(number)
    given |= {
        "cost_nano": int(given.pop("cost_usd").scaleb(9)),
        "routed": given.pop("reason", "") == "default",
        "synthetic": tuple(given.get("synthetic", ())),
    }
    return LogRow(**given)


@pytest.mark.parametrize("objects", [3, 8_192])
@pytest.mark.parametrize("seed", [None, 1, 2])
def test_rows_of_a_file_in_any_order_make_the_blocks_of_rows_in_memory(
    monkeypatch: pytest.MonkeyPatch, objects: int, seed: int | None
) -> None:
    monkeypatch.setattr(module, "_OBJECTS", objects)
    numbers = list(range(50))
    if seed is not None:
        Random(seed).shuffle(numbers)
    found = blocks_of((Row(number, values(number)) for number in numbers), COLUMNS, block_rows=8)
    expected = list(MemorySource([in_memory(number) for number in numbers], block_rows=8).blocks(COLUMNS))
    assert [(block.first, block.rows) for block in found] == [(block.first, block.rows) for block in expected]
    for one, other in zip(found, expected, strict=True):
        assert [one.text("request_id", row) for row in range(one.rows)] == [
            other.text("request_id", row) for row in range(other.rows)
        ]
        assert {name: one.digest(name) for name in COLUMNS} == {name: other.digest(name) for name in COLUMNS}


def test_few_rows_are_objects_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OBJECTS", 4)
    made = 0
    most = 0

    def given() -> Iterator[Row]:
        nonlocal made, most
        for number in range(40):
            made += 1
            most = max(most, made)
            yield Row(number, values(number))

    real = module.block_of

    def counted(rows: Any) -> Any:
        nonlocal made
        made -= len(rows)
        return real(rows)

    monkeypatch.setattr(module, "block_of", counted)
    assert sum(block.rows for block in blocks_of(given(), COLUMNS)) == 40
    assert most <= 5


def test_a_log_is_about_whole_days_and_an_empty_one_about_none() -> None:
    rows = [Row(1, {**values(1), "ts": START + timedelta(days=days, hours=23)}) for days in (2, 0)]
    source = MemorySource.of_blocks(blocks_of(rows, COLUMNS))
    assert days_of(source) == (START, START + timedelta(days=3))
    assert days_of(MemorySource.of_blocks(blocks_of([], COLUMNS))) is None
