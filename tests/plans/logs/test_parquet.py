"""Parquet files: natural types, numbers of rows, and files that claim or hide too much."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plans.logs.formats import (
    AUTO,
    Item,
    LogFile,
    Mapping,
    ParquetNotInstalled,
    ReadAs,
    Reader,
    Record,
    Refusal,
    Row,
    UnknownFormat,
    detect,
    parquet,
)  # fmt: skip
from plans.logs.formats.footer import BadFooter, Group, Part, row_groups
from routes.engine.prices import PriceTable

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: uv sync --group parquet")
pq = pytest.importorskip("pyarrow.parquet")
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def table(rows: int = 1, **columns: Any) -> Any:
    """A good table but for these columns; `None` leaves one out."""
    usual = {
        "request_id": pa.array([f"r{n}" for n in range(rows)]),
        "ts": pa.array([NOON] * rows, pa.timestamp("us", "UTC")),
        "model": pa.array(["m"] * rows),
        "input_tokens": pa.array([1] * rows, pa.int64()),
        "output_tokens": pa.array([2] * rows, pa.int32()),
    }
    return pa.table({name: column for name, column in {**usual, **columns}.items() if column is not None})


def written(made: Any, **options: Any) -> bytes:
    out = BytesIO()
    pq.write_table(made, out, **options)
    return out.getvalue()


def log_file(data: bytes, name: str = "a.parquet") -> LogFile:
    @contextmanager
    def opened() -> Iterator[BytesIO]:
        yield BytesIO(data)

    return LogFile(name, len(data), opened)


def read(data: bytes, mapping: Mapping | None = None, format: str = "parquet") -> list[Item]:
    how = ReadAs(format, mapping or Mapping())
    return list(Reader(log_file(data), how, lambda: PriceTable([])).items())


def value(column: str, array: Any, name: str | None = None) -> Any:
    mapping = Mapping({name: column} if name else {})
    (item,) = read(written(table(**{name or column: array})), mapping)
    assert isinstance(item, Row), item
    return item.values.get(column)


def reason(column: str, array: Any) -> str:
    (item,) = read(written(table(**{column: array})))
    assert isinstance(item, Refusal), item
    assert item.reason.isprintable()
    return item.reason


@pytest.mark.parametrize("format", ["csv", "jsonl", "azure-llm-trace"])
def test_a_file_that_is_read_as_something_else_is_said_to_be_parquet(format: str) -> None:
    for rows in (0, 1):
        with pytest.raises(UnknownFormat, match=f"The file is Parquet, not {format}. Read it as parquet."):
            read(written(table(rows)), format=format)


def test_a_column_may_be_called_as_a_parquet_file_begins() -> None:
    (item,) = read(b"PAR1,b\n1,2\n", format="csv")
    assert isinstance(item, Refusal)
    assert item.reason.startswith('unknown column in the header: "PAR1"')


@pytest.mark.parametrize(
    ("column", "array", "expected"),
    [
        ("ts", pa.array([NOON], pa.timestamp("s", "UTC")), NOON),
        ("ts", pa.array([NOON], pa.timestamp("ms", "Europe/Berlin")), NOON),
        ("ts", pa.array([1777636800123456789], pa.int64()).cast(pa.timestamp("ns", "UTC")),
         NOON + timedelta(microseconds=123456)),
        ("ts", pa.array([1777636800]), NOON),
        ("ts", pa.array([1777636800.25]), NOON + timedelta(milliseconds=250)),
        ("ts", pa.array(["2026-05-01T12:00:00Z"]), NOON),
        ("cost_usd", pa.array([Decimal("0.000000001")], pa.decimal128(18, 9)), Decimal("0.000000001")),
        ("cost_usd", pa.array([0.00022500000000000002]), Decimal("0.000225000")),
        ("cost_usd", pa.array([5e-10]), Decimal("0E-9")),
        ("cost_usd", pa.array([3]), Decimal(3)),
        ("cost_usd", pa.array(["0.5"]), Decimal("0.5")),
        ("input_tokens", pa.array([5.0]), 5),
        ("input_tokens", pa.array([5], pa.uint8()), 5),
        ("cached", pa.array([True]), True),
        ("provider", pa.array(["openai"]).dictionary_encode(), "openai"),
        ("provider", pa.array(["openai"], pa.large_string()), "openai"),
        ("provider", pa.array([b"openai"], pa.binary()), "openai"),
        ("provider", pa.array([None], pa.null()), None),
        ("provider", pa.array([""]), None),
        ("cluster_key", pa.array([42]), "42"),
        ("matched_route_id", pa.array([UUID(int=7).bytes], pa.binary(16)), UUID(int=7)),
        ("matched_route_id", pa.array([str(UUID(int=7))]), UUID(int=7)),
        ("metadata", pa.array(['{"a": 1}']), {"a": 1}),
        ("metadata", pa.array([None], pa.string()), None),
        ("metadata", pa.array([{"a": 1, "b": None}]), {"a": 1}),
        ("metadata", pa.array([None], pa.struct([("a", pa.int64())])), None),
        ("metadata", pa.array([{"a": {"b": [{"c": "é"}, None], "t": NOON, "d": NOON.date(), "n": float("nan")}}]),
         {"a": {"b": [{"c": "é"}, None], "t": "2026-05-01T12:00:00Z", "d": "2026-05-01"}}),
        ("metadata", pa.array([{"a": [1, 2], "n": Decimal("1.50"), "w": Decimal("2.00"), "l": [["x"]]}]),
         {"a": [1, 2], "n": 1.5, "w": 2, "l": [["x"]]}),
        ("metadata", pa.array([[("a", "x"), ("b", None)]], pa.map_(pa.string(), pa.string())), {"a": "x"}),
        ("metadata", pa.array([None], pa.map_(pa.string(), pa.int64())), None),
        ("cost_usd", pa.array([float("nan")]), None),
        ("latency_ms", pa.array([float("nan")], pa.float32()), None),
        ("synthetic", pa.array([["tag", "ts"]]), ["tag", "ts"]),
        ("synthetic", pa.array(['["tag"]']), ["tag"]),
        ("embedding", pa.array([[1.0, 0.5]], pa.list_(pa.float32())), b"\x00\x00\x80?\x00\x00\x00?"),
        ("embedding", pa.array([[1.0, 0.5]], pa.list_(pa.float64(), 2)), b"\x00\x00\x80?\x00\x00\x00?"),
        ("embedding", pa.array([None], pa.list_(pa.float32())), None),
        ("status", pa.array([404]).dictionary_encode(), 404),
    ],
)  # fmt: skip
def test_natural_types_become_columns(column: str, array: Any, expected: Any) -> None:
    assert value(column, array) == expected


@pytest.mark.parametrize(
    ("column", "array", "expected"),
    [
        ("ts", pa.array([NOON.replace(tzinfo=None)], pa.timestamp("us")), "has no zone"),
        ("ts", pa.array([2**50], pa.int64()).cast(pa.timestamp("s", "UTC")), "ts: is no time of any year"),
        ("ts", pa.array([0], pa.int64()).cast(pa.timestamp("s", "UTC")), "is not in the years 2000 to 2199"),
        ("ts", pa.array([NOON.date()]), 'ts: "2026-05-01" is a day; when on that day it was has to be there too'),
        ("tag", pa.array([{"a": 1}]), "tag: an object is not a text"),
        (
            "latency_ms",
            pa.array([timedelta(seconds=1)]),
            '"latency_ms" is a column of "duration[us]", which is not read; '
            "leave it out, or write the file with another type",
        ),
        ("metadata", pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64())), "metadata: has a key twice"),
        ("metadata", pa.array([{"a": "x" * 600_000, "b": "y" * 600_000}]), "metadata: is longer than 1 MiB"),
        ("metadata", pa.array([{"a": "x" * 1_100_000}]), "metadata: is longer than 1 MiB"),
        ("metadata", pa.array([[{"a": 1}]]), "metadata: a list of 1 is not a JSON object"),
        ("metadata", pa.array([{"a": float("inf")}]), "metadata: an object has a number that is not finite"),
        ("request_id", pa.array([b"x" * 20], pa.binary(20)), "which is not read"),
        ("cost_usd", pa.array([float("inf")]), "is not a decimal number"),
        ("cost_usd", pa.array([1e300]), "is not a decimal number"),
        ("cost_usd", pa.array([Decimal("1E-10")], pa.decimal128(20, 10)), "has more than nine decimals"),
        ("cost_usd", pa.array([True]), "is not a decimal number"),
        ("input_tokens", pa.array([5.5]), 'input_tokens: "5.5" is not a whole number'),
        ("input_tokens", pa.array([None], pa.int64()), "input_tokens: is empty, and has to be there"),
        ("cached", pa.array([1]), "is neither true nor false"),
        ("tag", pa.array([True]), "is not a text"),
        ("tag", pa.array([b"caf\xe9"], pa.binary()), 'tag: "caf\\xe9" is not UTF-8'),
        ("tag", pa.array(["a\0b"]), "has a control character"),
        ("metadata", pa.array(["{" + " " * 1024 * 1024 + "}"]), "metadata: is longer than 1 MiB"),
        ("embedding", pa.array([[0.0] * 4097]), "embedding: has 4,097 values; 4,096 are possible"),
        ("embedding", pa.array([[0.0, None]]), "has a number that no 32-bit float holds"),
        ("embedding", pa.array([[1e39]]), "has a number that no 32-bit float holds"),
        ("synthetic", pa.array([["price"]]), "is not a JSON list of names of columns"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_reason(column: str, array: Any, expected: str) -> None:
    assert expected in reason(column, array)


def test_a_required_number_that_is_missing_is_refused_as_empty() -> None:
    assert reason("input_tokens", pa.array([float("nan")])) == "input_tokens: is empty, and has to be there"


def test_a_look_at_the_records_shows_every_column_also_those_that_are_not_read() -> None:
    made = table(2, took=pa.array([timedelta(seconds=1)] * 2), meta=pa.array([{"a": 1}, None]))
    reader = Reader(log_file(written(made)), ReadAs("parquet"), lambda: PriceTable([]))
    first, second = reader.records()
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert first.cells[0] == "r0"
    assert first.cells[-2].reason == 'is a column of "duration[us]", which is not read'
    assert (first.cells[-1], second.cells[-1]) == ({"a": 1}, None)


def test_objects_of_many_values_are_made_row_by_row_and_the_largest_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(table(3, metadata=pa.array([{"a": [{"b": 1}] * 4}, {"a": [{"b": 1}] * 200}, {"a": []}])))
    whole = read(data)
    monkeypatch.setattr(parquet, "MAX_WEIGHT", 100)
    small, large, empty = read(data)
    assert [small, empty] == [whole[0], whole[2]]
    assert large == Refusal(2, "metadata: has 402 values; 100 are possible")


def test_other_columns_are_mapped_and_what_is_left_out_is_not_unpacked() -> None:
    made = table(
        request_id=None,
        ts=None,
        id=pa.array(["r9"]),
        at=pa.array([NOON.replace(tzinfo=None)]),
        body=pa.array([{"a": 1}]),
    )
    (item,) = read(written(made), Mapping({"id": "request_id", "at": "ts_utc", "body": ""}, {"provider": "openai"}))
    assert isinstance(item, Row)
    assert (item.values["request_id"], item.values["ts"], item.values["provider"]) == ("r9", NOON, "openai")
    (item,) = read(written(made))
    assert isinstance(item, Refusal)
    assert 'unknown column in the header: "id", "at", "body"' in item.reason


def test_rows_are_numbered_from_one_over_groups_and_batches() -> None:
    made = table(2500, status=pa.array([200] * 1700 + [7] + [200] * 799))
    found = read(written(made, row_group_size=600))
    assert [item.line for item in found] == [*range(1, 2501)]
    assert [item for item in found if isinstance(item, Refusal)] == [
        Refusal(1701, 'status: "7" is not between 100 and 599')
    ]


def test_the_content_says_what_it_is_and_litellm_may_be_in_it() -> None:
    assert detect(log_file(written(table()))) == "parquet"
    logs = pa.table(
        {
            "request_id": ["a"], "startTime": [NOON.replace(tzinfo=None)], "prompt_tokens": [1], "completion_tokens": [2],
            "model": ["m"], "messages": [{"never": "read"}], "spend": [0.1], "metadata": ["{}"],
        }
    )  # fmt: skip
    data = written(logs)
    assert detect(log_file(data)) == "litellm"
    (item,) = read(data, format=AUTO)
    assert isinstance(item, Row)
    assert (item.values["ts"], item.values["cost_usd"]) == (NOON, Decimal("0.1"))


def test_what_litellm_keeps_as_json_may_be_objects_of_parquet() -> None:
    said = {
        "spend_logs_metadata": {"team": "a"},
        "attempted_fallbacks": 1,
        "usage_object": {"cache_read_input_tokens": 7},
    }
    usual: dict[str, Any] = {
        "request_id": ["a"], "startTime": [NOON], "prompt_tokens": [1], "completion_tokens": [2], "model": ["m"],
    }  # fmt: skip
    as_objects = pa.table({**usual, "metadata": [said], "request_tags": [["batch"]]})
    as_texts = pa.table({**usual, "metadata": [json.dumps(said)], "request_tags": ['["batch"]']})
    (item,) = read(written(as_objects), format=AUTO)
    assert isinstance(item, Row)
    assert [item] == read(written(as_texts), format=AUTO)
    assert (item.values["metadata"], item.values["cached_tokens"], item.values["tag"]) == ({"team": "a"}, 7, "batch")


# --- Hostile files --------------------------------------------------------------------------------------------------


def test_a_file_that_would_unpack_to_a_thousand_times_its_size_is_refused_unopened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Six texts of 5 MiB are a few KiB when packed."""
    monkeypatch.setattr(parquet, "MAX_UNPACKED", 25 * 1024 * 1024)
    data = written(table(6, tag=pa.array(["x" * 5 * 1024 * 1024] * 6)), compression="zstd", use_dictionary=False)
    assert len(data) < 20_000
    before = pa.total_allocated_bytes()
    (item,) = read(data)
    assert isinstance(item, Refusal)
    assert '"tag" would unpack from' in item.reason
    assert pa.total_allocated_bytes() - before < 1024 * 1024


def test_a_long_text_that_every_row_has_is_there_once() -> None:
    data = written(table(200, metadata=pa.array(['{"a": "' + "x" * 500_000 + '"}'] * 200)), compression="zstd")
    before = pa.total_allocated_bytes()
    records = iter(parquet.ParquetRecords(BytesIO(data), len(data)))
    first, second = next(records), next(records)
    assert isinstance(first, Record)
    assert isinstance(second, Record)
    assert first.cells[-1] is second.cells[-1]
    assert pa.total_allocated_bytes() - before < 20_000_000, "two hundred copies are 100 MB"


def test_a_billion_rows_in_a_kibibyte_are_not_counted_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS_PER_BYTE", 1)
    data = written(pa.table({"request_id": pa.array(["a"] * 100_000)}))
    (item,) = read(data)
    assert item == Refusal(1, f"claims 100,000 rows in {len(data):,} bytes")


def test_lists_of_very_many_numbers_are_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_VALUES", 1_000)
    (item,) = read(written(table(embedding=pa.array([[0.5] * 2_000]))))
    assert isinstance(item, Refusal)
    assert "has 2,000 values, of 1,000 (write fewer rows a group) in row group 1" in item.reason


def test_too_many_columns_are_refused() -> None:
    (item,) = read(written(pa.table({f"c{n}": [1] for n in range(301)})))
    assert item == Refusal(1, "has 301 columns; 300 are possible")


GOOD = written(table(50, metadata=pa.array(['{"a": 1}'] * 50), embedding=pa.array([[0.5, 1.0]] * 50)))


@pytest.mark.parametrize(
    "data", [b"", b"PAR1", b"PAR1PAR1", GOOD[:-1], GOOD[:200], GOOD[4:], b"PAR1" + b"\xff" * 100 + b"PAR1"]
)
def test_a_broken_file_is_one_refusal(data: bytes) -> None:
    (item,) = read(data)
    assert isinstance(item, Refusal)
    assert item.line == 1
    assert item.reason.startswith("cannot be read as Parquet: ")


@settings(max_examples=150)
@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_any_damage_gives_rows_or_refusals(damage: list[tuple[int, int]]) -> None:
    data = bytearray(GOOD)
    for at, byte in damage:
        data[at] = byte
    for item in read(bytes(data)):
        assert isinstance(item, Row) or item.reason.isprintable()


def test_without_pyarrow_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ParquetNotInstalled, match="uv sync --group parquet") as caught:
        detect(log_file(GOOD))
    assert caught.value.code == "parquet_not_installed"


def test_a_zone_far_from_utc_is_the_same_instant() -> None:
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    assert value("ts", pa.array([tokyo], pa.timestamp("us", "Asia/Tokyo"))) == NOON


# --- The footer -----------------------------------------------------------------------------------------------------


def test_the_footer_is_weighed_as_pyarrow_reads_it() -> None:
    made = table(700, nested=pa.array([{"a": [n, n], "b": {"c": "x"}} for n in range(700)]), tag=pa.array(["t"] * 700))
    for options in ({"compression": "zstd"}, {"use_dictionary": False, "data_page_version": "2.0", "version": "1.0"}):
        data = written(made.replace_schema_metadata({"k": "v" * 1000}), row_group_size=300, **options)
        whole = pq.read_metadata(BytesIO(data))
        theirs = []
        for number in range(whole.num_row_groups):
            group = whole.row_group(number)
            columns = [group.column(n) for n in range(group.num_columns)]
            parts = [
                Part(c.path_in_schema, c.num_values, c.total_uncompressed_size, c.total_compressed_size)
                for c in columns
            ]
            theirs.append(Group(group.num_rows, parts))
        assert row_groups(BytesIO(data), len(data)) == theirs


@given(st.binary(max_size=60))
def test_any_bytes_as_a_footer_are_read_or_refused(footer: bytes) -> None:
    data = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with suppress(BadFooter):
        row_groups(BytesIO(data), len(data))


@pytest.mark.parametrize(
    "footer", [b"\x1c" * 100_000, b"\x19" * 100_000, b"\x1b\xff\xff\xff\xff\x0f\xcc", b"\x18\xff\xff\x7f"]
)
def test_a_footer_that_nests_or_claims_too_much_is_refused(footer: bytes) -> None:
    data = b"PAR1" + footer + len(footer).to_bytes(4, "little") + b"PAR1"
    with pytest.raises(BadFooter):
        row_groups(BytesIO(data), len(data))
