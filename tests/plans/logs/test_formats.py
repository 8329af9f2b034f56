"""Reading files of request logs: rows, or refusals that name line, column and value."""

import struct
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from django.db.models import CharField
from hypothesis import given
from hypothesis import strategies as st

from plans.logs import cells, columns, formats
from plans.logs.formats import Item, Refusal, Row
from plans.logs.formats.mapping import Mapping, mapped_rows
from plans.logs.formats.records import CsvRecords
from plans.logs.formats.trace import trace_rows
from plans.logs.models import RequestLog
from routes.engine.prices import Price, PriceTable

GPT_4O = Price(
    provider="openai", model="gpt-4o", input_nano_per_million=2_500_000_000, output_nano_per_million=10_000_000_000
)
PRICES = PriceTable([GPT_4O])
MINIMUM = {"request_id": "r1", "ts": "2026-05-01T12:00:00Z", "model": "m", "input_tokens": "1", "output_tokens": "2"}


def trace(data: bytes, **options: Any) -> list[Item]:
    options = {"file_name": "t.csv", "provider": "openai", "model": "gpt-4o", "prices": PRICES, **options}
    return list(trace_rows(CsvRecords(BytesIO(data)), **options))


def trace_line(line: str) -> Item:
    (item,) = trace(b"TIMESTAMP,ContextTokens,GeneratedTokens\r\n" + line.encode("utf-8", "surrogateescape"))
    return item


def own(data: bytes) -> list[Item]:
    records = CsvRecords(BytesIO(data))
    return [records.problem] if records.problem else list(mapped_rows(records, Mapping()))


def own_cell(column: str, cell: str | bytes) -> Item:
    """One row that is good but for this cell."""
    raw = cell if isinstance(cell, bytes) else cell.encode("utf-8", "surrogatepass")
    values = {**{name: text.encode() for name, text in MINIMUM.items()}, column: b'"' + raw.replace(b'"', b'""') + b'"'}
    (item,) = own(",".join(values).encode() + b"\n" + b",".join(values.values()) + b"\n")
    return item


def value(column: str, cell: str) -> Any:
    item = own_cell(column, cell)
    assert isinstance(item, Row), item
    return item.values[column]


# --- The trace ------------------------------------------------------------------------------------------------------


def test_a_row_of_the_trace_costs_its_tokens_times_the_price() -> None:
    # By hand: 374 x 2.5 + 44 x 10 dollars per million = 0.001375; 250 + 374 // 5 + 15 x 44 = 984 ms.
    assert trace_line("2023-11-16 18:15:46.6805907,374,44\r\n") == Row(
        2,
        {
            "request_id": "t.csv:2",
            "ts": datetime(2023, 11, 16, 18, 15, 46, 680590, tzinfo=UTC),
            "provider": "openai",
            "model": "gpt-4o",
            "requested_model": "gpt-4o",
            "input_tokens": 374,
            "output_tokens": 44,
            "cost_usd": Decimal("0.001375000"),
            "baseline_cost_usd": Decimal("0.001375000"),
            "latency_ms": 984,
            "synthetic": ["model", "requested_model", "provider", "cost_usd", "baseline_cost_usd", "latency_ms"],
        },
    )


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("2023-11-16 18:15:46.6805900,374", "has 2 cells, the header 3"),
        ("2023-11-16 18:15:46.6805900,374,44,1", "has 4 cells, the header 3"),
        ("2023-11-16T18:15:46Z,374,44", 'TIMESTAMP: "2023-11-16T18:15:46Z" is not a time as'),
        ("2023-11-16 18:15:46+00:00,374,44", "TIMESTAMP:"),
        ("2023-02-30 18:15:46.1,374,44", 'TIMESTAMP: "2023-02-30 18:15:46.1" is no time of any day'),
        ("0023-02-03 18:15:46.1,374,44", "is not in the years 2000 to 2199"),
        ("2023-11-16 18:15:46,,44", 'ContextTokens: "" is not a whole number'),
        ("2023-11-16 18:15:46,3.5,44", 'ContextTokens: "3.5" is not a whole number'),
        ("2023-11-16 18:15:46,٣,44", "is not a whole number"),
        ("2023-11-16 18:15:46,-1,44", 'ContextTokens: "-1" is not between 0 and 1000000000'),
        ("2023-11-16 18:15:46,1,1000000001", 'GeneratedTokens: "1000000001" is not between'),
        ("2023-11-16 18:15:46,1,1000000000", "too many to have a cost and a latency"),
        ("2023-11-16 18:15:46,\udcff,44", 'ContextTokens: "\\xff" is not UTF-8'),
        ("2023-11-16 18:15:46,1\0,44", 'ContextTokens: "1\\x00" is not a whole number'),
    ],
)
def test_a_malformed_line_of_the_trace_is_refused_by_number_and_reason(line: str, reason: str) -> None:
    item = trace_line(line)
    assert isinstance(item, Refusal)
    assert item.line == 2
    assert reason in item.reason


@pytest.mark.parametrize(
    "data",
    [b"", b"\n\n", b"TIMESTAMP,ContextTokens\n1,2\n", b"\xff\xfeT\0", b'"', b"GeneratedTokens,ContextTokens"],
)
def test_a_trace_with_another_header_is_one_refusal_and_nothing_else(data: bytes) -> None:
    (item,) = trace(data)
    assert isinstance(item, Refusal)
    assert "TIMESTAMP,ContextTokens,GeneratedTokens" in item.reason


def test_a_row_from_before_any_price_is_refused() -> None:
    later = Price(
        provider="openai", model="gpt-4o", input_nano_per_million=1, output_nano_per_million=1,
        since=datetime(2024, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    data = b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-12-31 23:59:59.9999999,1,1\n2024-01-01 00:00:00.0,1,1\n"
    early, late = trace(data, prices=PriceTable([later]))
    assert early == Refusal(2, 'TIMESTAMP: "2023-12-31 23:59:59.9999999" is before any price of gpt-4o')
    assert isinstance(late, Row)


def test_a_file_name_that_makes_no_id_refuses_the_rows() -> None:
    data = b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.1,1,1\n"
    for name in ("a\nb", "x" * 300, "caf\udce9"):
        (item,) = trace(data, file_name=name)
        assert isinstance(item, Refusal)
        assert item.reason.startswith("request_id: ")


# --- Our own CSV ----------------------------------------------------------------------------------------------------


def test_the_columns_of_the_csv_are_those_of_the_table_with_its_lengths() -> None:
    fields = {field.name: field for field in RequestLog._meta.fields}
    assert set(columns.COLUMNS) == set(fields) - {"id", "org", "body", "response_body"}
    for name, field in fields.items():
        if isinstance(field, CharField) and name in columns.COLUMNS and not field.choices:
            columns.COLUMNS[name]("x" * field.max_length)
            with pytest.raises(cells.Refused):
                columns.COLUMNS[name]("x" * (field.max_length + 1))


def test_empty_cells_take_the_default_and_the_requested_model_is_the_one_that_served() -> None:
    (item,) = own(b"request_id,ts,model,input_tokens,output_tokens,tag,status\nr1,2026-05-01T12:00:00Z,m,1,2,,\n")
    assert item == Row(
        2,
        {
            "requested_model": "m",
            "request_id": "r1",
            "ts": datetime(2026, 5, 1, 12, tzinfo=UTC),
            "model": "m",
            "input_tokens": 1,
            "output_tokens": 2,
        },
    )


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("ts", "2026-05-01t14:30:00.1234567+02:30", datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        ("ts", "2026-05-01T09:30:00-02:30", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("ts", "2026-05-01 12:00:00-00:00", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("cost_usd", "0", Decimal(0)),
        ("cost_usd", "1.250000000000", Decimal("1.25")),
        ("cost_usd", "1e-9", Decimal("0.000000001")),
        ("cost_usd", "1.25e-07", Decimal("0.000000125")),
        ("input_tokens", "203.0", 203),
        ("input_tokens", "0.00", 0),
        ("decided_version", "9223372036854775807.0", 2**63 - 1),
        ("status", "200.0", 200),
        ("cost_usd", "999999999.999999999", Decimal("999999999.999999999")),
        ("cached", "true", True),
        ("has_images", "false", False),
        ("has_images", "True", True),
        ("has_images", "FALSE", False),
        ("metadata", '{"a":\n {"b": [1, 2.5, null, "é"]}}', {"a": {"b": [1, 2.5, None, "é"]}}),
        ("synthetic", '["tag", "cost_usd", "tag"]', ["cost_usd", "tag"]),
        ("kind", "shadow", "shadow"),
        ("requested_model", "other", "other"),
        ("tag", "größer, “so” \U0001f600", "größer, “so” \U0001f600"),
        ("decided_version", "9223372036854775807", 2**63 - 1),
        ("ts", "1777636800", datetime(2026, 5, 1, 12, tzinfo=UTC)),
        ("ts", "1777636800.5", datetime(2026, 5, 1, 12, 0, 0, 500000, tzinfo=UTC)),
        ("ts", "1777636800123", datetime(2026, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)),
        ("ts", "1777636800123456", datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        ("ts", "1777636800123456999", datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)),
        ("ts", "946684800", datetime(2000, 1, 1, tzinfo=UTC)),
        ("embedding", "[1, -0.5, 3e-3]", struct.pack("<3f", 1, -0.5, 0.003)),
        ("embedding", "[" + ",".join(["0.25"] * 4096) + "]", struct.pack("<4096f", *[0.25] * 4096)),
        ("metadata", "{}", {}),
    ],
)
def test_a_good_cell_becomes_the_value_of_its_column(column: str, cell: str, expected: Any) -> None:
    assert value(column, cell) == expected


@pytest.mark.parametrize(
    ("column", "cell", "reason"),
    [
        ("ts", "2026-05-01T12:00:00", "has no zone"),
        ("ts", "yesterday", "is not a time"),
        ("ts", "946684799", "is no time since 1970, in any unit, of the years 2000 to 2199"),
        ("ts", "7258118400", "is no time since 1970"),
        ("embedding", "[]", "is not a list of numbers"),
        ("embedding", "[true]", "is not a list of numbers"),
        ("embedding", '["1"]', "is not a list of numbers"),
        ("embedding", "[1e39]", "has a number that no 32-bit float holds"),
        ("embedding", "[1e999]", "has a number that is not finite"),
        ("embedding", "[" + "9" * 400 + "]", "has a number that no 32-bit float holds"),
        ("embedding", "[" + ",".join(["0"] * 4097) + "]", "has 4,097 numbers; 4,096 are possible"),
        ("metadata", '{"a": 1, "a": 2}', 'has the key "a" twice'),
        ("ts", "2026-05-01T12:00:60Z", "is no time of any day"),
        ("ts", "2026-05-01T12:00:00+24:00", "has an impossible offset"),
        ("ts", "9999-12-31T23:59:59-23:00", "is not in the years"),
        ("request_id", " ", "is blank"),
        ("request_id", "x" * 201, "has 201 characters; 200 are possible"),
        ("model", "a\nb", "has a control character"),
        ("tag", "a\0b", "has a control character"),
        ("tag", "a\x85b", "has a control character"),
        ("tag", "a\u2028b", "has a control character"),
        ("tag", "\ud800", "is not UTF-8"),
        ("tag", b"caf\xe9", "is not UTF-8"),
        ("metadata", b'{"a": "\xe9"}', "is not UTF-8"),
        ("input_tokens", "-1", "is not between 0 and 1000000000"),
        ("input_tokens", "1e3", "is not a whole number"),
        ("input_tokens", "203.5", "is not a whole number"),
        ("input_tokens", "203.", "is not a whole number"),
        ("input_tokens", "1000000001.0", "is not between"),
        ("input_tokens", "1,234", "is not a whole number; write a decimal point, and nothing between thousands"),
        ("cost_usd", "0,000075", "is not a decimal number; write a decimal point"),
        ("cost_usd", "3.75e-08", "has more than nine decimals; write nine, or map the column to what rounds"),
        ("cost_usd", "1,", "is not a decimal number"),
        ("input_tokens", "1" * 20, "is not a whole number"),
        ("latency_ms", "2147483648", "is not between"),
        ("decided_version", "9223372036854775808", "is not between"),
        ("status", "600", "is not between 100 and 599"),
        ("cost_usd", "-0.01", "is negative"),
        ("cost_usd", "0.0000000001", "has more than nine decimals"),
        ("cost_usd", "1000000000", "is above"),
        ("cost_usd", "1e999999999", "is not a decimal number"),
        ("cost_usd", "1,5", "is not a decimal number"),
        ("baseline_cost_usd", "-1", "is negative"),
        ("cached", "yes", "is neither true nor false"),
        ("has_tools", "1", "is neither true nor false"),
        ("kind", "retry", "is none of primary, fallback, shadow"),
        ("matched_route_id", "{01900000-0000-7000-8000-000000000001}", "is not a UUID"),
        ("metadata", "[]", "is not a JSON object"),
        ("metadata", "{", "is not JSON"),
        ("metadata", '{"a": "\\u0000"}', "has a character that no text may have"),
        ("metadata", '{"\\ud800": 1}', "has a character that no text may have"),
        ("metadata", '{"a": NaN}', "has a number that is not finite"),
        ("metadata", '{"a": 1e999}', "has a number that is not finite"),
        ("metadata", '{"a": ' + "9" * 5000 + "}", "is not JSON"),
        ("metadata", '{"a":' * 65 + "1" + "}" * 65, "is nested too deeply"),
        ("metadata", "[" * 100_000, "is nested too deeply"),
        ("synthetic", '["price"]', "is not a JSON list of names of columns"),
        ("synthetic", '"tag"', "is not a JSON list of names of columns"),
    ],
)
def test_a_bad_cell_is_refused_with_its_column_and_the_reason(column: str, cell: str | bytes, reason: str) -> None:
    item = own_cell(column, cell)
    assert isinstance(item, Refusal)
    assert item.line == 2
    assert item.reason.startswith(f'{column}: "')
    assert reason in item.reason
    assert len(item.reason) < 400
    assert item.reason.isprintable()


@pytest.mark.parametrize("column", columns.REQUIRED)
def test_what_is_required_must_not_be_empty(column: str) -> None:
    assert own_cell(column, "") == Refusal(2, f"{column}: is empty, and has to be there")


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (b"", "the file is empty"),
        (
            b"request_id,ts,model,input_tokens,output_tokens,price",
            'unknown column in the header: "price"; map each to one',
        ),
        (b"request_id,ts,model,input_tokens,output_tokens,body", 'unknown column in the header: "body"'),
        (b"request_id,ts,model,input_tokens,output_tokens,ts", 'column in the header twice: "ts"'),
        (b"request_id,ts,input_tokens", "column missing in the header: model, output_tokens"),
        (b"request_id|ts|model", 'unknown column in the header: "request_id|ts|model"'),
        (b"request_id;ts;model", "column missing in the header: input_tokens, output_tokens; map a column to each"),
        (b'"request_id', "a quote that is opened is not closed; the header would go on to line 2"),
        (b"request_id,ts\rr1", "a line ends in a carriage return alone"),
    ],
)
def test_a_header_that_cannot_be_used_is_the_only_answer(header: bytes, reason: str) -> None:
    (item,) = own(header + b"\nr1,2026-05-01T12:00:00Z,m,1,2,3\n" if header else b"")
    assert isinstance(item, Refusal)
    assert item.line == 1
    assert reason in item.reason


@given(st.binary(max_size=300))
def test_any_bytes_as_a_whole_file_give_rows_or_refusals(data: bytes) -> None:
    for item in [*own(data), *trace(data)]:
        assert isinstance(item, Row | Refusal)


CELL = st.one_of(
    st.binary(max_size=30),
    st.sampled_from(sorted(set(MINIMUM.values()))).map(str.encode),
    st.sampled_from(
        [b'"', b'""', b",", b"\n", b"\r", b"1e9", b"-0", b"{}", b'"[[[]]]"', b"true", b"NaN", b"\xed\xa0\x80"]
    ),
)


@given(
    st.lists(st.sampled_from(sorted(columns.COLUMNS)), unique=True), st.lists(st.lists(CELL, max_size=12), max_size=4)
)
def test_any_bytes_as_cells_give_rows_or_refusals(more: list[str], lines: list[list[bytes]]) -> None:
    names = [*columns.REQUIRED, *(name for name in more if name not in columns.REQUIRED)]
    data = ",".join(names).encode() + b"\n" + b"\n".join(b",".join(line) for line in lines)
    for item in own(data):
        assert isinstance(item, Row | Refusal)
        if isinstance(item, Refusal):
            assert item.reason.isprintable()


# --- Prices ---------------------------------------------------------------------------------------------------------


def a_price(provider: str, model: str) -> Price:
    return Price(provider=provider, model=model, input_nano_per_million=1, output_nano_per_million=1)


def test_a_model_is_found_by_its_name_or_with_its_provider() -> None:
    prices = PriceTable([GPT_4O, a_price("azure", "gpt-4.1"), a_price("openai", "gpt-4.1")])
    assert formats.priced_model(prices, "gpt-4o") == ("openai", "gpt-4o")
    assert formats.priced_model(prices, "azure/gpt-4.1") == ("azure", "gpt-4.1")
    with pytest.raises(formats.UnpricedModel, match=r"write azure/gpt-4\.1 or openai/gpt-4\.1"):
        formats.priced_model(prices, "gpt-4.1")


def test_an_unpriced_model_is_refused_with_similar_names() -> None:
    with pytest.raises(formats.UnpricedModel, match=r"gpt-40 has no price.*: gpt-4o"):
        formats.priced_model(PRICES, "gpt-40")
    with pytest.raises(formats.UnpricedModel, match="install_prices"):
        formats.priced_model(PriceTable([]), "gpt-4o")
