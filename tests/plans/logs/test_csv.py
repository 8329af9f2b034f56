"""CSV files: lines, separators, and quotes that are never closed."""

from io import BytesIO

import pytest

from plans.logs.formats import Refusal, Row, records
from plans.logs.formats.records import MAX_RECORD, CsvRecords
from tests.plans.logs.test_formats import MINIMUM, own


def test_lines_are_counted_as_an_editor_does() -> None:
    data = (
        b"\xef\xbb\xbfrequest_id,ts,model,input_tokens,output_tokens,metadata\r\n"
        b'r1,2026-05-01T12:00:00Z,m,1,2,"{\r\n}"\r\n'  # lines 2 and 3
        b"\r\n"
        b"r2,2026-05-01T12:00:00Z,m,1\r\n"  # 5
        b'r3,2026-05-01T12:00:00Z,m,1,2,"{\n\n"\r\n'  # 6 to 8
        b'r4,2026-05-01T12:00:00Z,m,1,2,"x"y\r\n'  # 9
        b"r5,2026-05-01T12:00:00Z,m,1,2,\r\n"  # 10
        b'r6,2026-05-01T12:00:00Z,m,1,2,"never closed'  # 11
    )
    items = own(data)
    assert [(item.line, type(item)) for item in items] == [
        (2, Row), (5, Refusal), (6, Refusal), (9, Refusal), (10, Row), (11, Refusal),
    ]  # fmt: skip


def lines_of(count: int, **bad: str) -> bytes:
    """A CSV of so many rows, from line 2, but for the lines that are given, as `l7`."""
    good = (f"r{n},2026-05-01T12:00:00Z,m,1,2,{{}}" for n in range(2, count + 2))
    lines = [bad.get(f"l{n}", line) for n, line in enumerate(good, 2)]
    return "\n".join([",".join(MINIMUM) + ",metadata", *lines]).encode() + b"\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('"r7,2026-05-01T12:00:00Z,m,1,2,{}', "a quote that is opened is not closed; it would go on to line 3,001"),
        ('r7,2026-05-01T12:00:00Z,m,1,2,"{""a"": 1}', "so only this line is refused"),
    ],
)
def test_a_quote_that_is_not_closed_costs_its_own_line_alone(line: str, reason: str) -> None:
    items = own(lines_of(3_000, l7=line))
    assert len(items) == 3_000
    (refused,) = [item for item in items if isinstance(item, Refusal)]
    assert refused.line == 7
    assert reason in refused.reason
    assert [item.line for item in items] == [*range(2, 3_002)]


def test_neither_a_later_quote_nor_the_longest_record_hides_the_lines_between() -> None:
    later = own(lines_of(50, l7='"r7,2026-05-01T12:00:00Z,m,1,2,{}', l40='r40,2026-05-01T12:00:00Z,m,1,2,"{""a"": 1}"'))
    assert [item.line for item in later if isinstance(item, Refusal)] == [7]
    assert len(later) == 50
    far = own(lines_of(40_000, l7='"r7,2026-05-01T12:00:00Z,m,1,2,{}'))
    assert [item.line for item in far if isinstance(item, Refusal)] == [7]
    assert len(far) == 40_000


def test_a_whole_record_of_several_lines_with_too_few_cells_says_how_far_it_goes() -> None:
    items = own(lines_of(50, l7='r7,2026-05-01T12:00:00Z,"', l40='r40",1'))
    (refused,) = [item for item in items if isinstance(item, Refusal)]
    assert refused == Refusal(7, "has 4 cells, the header 6; the record goes from line 7 to line 40 (34 lines)")
    assert len(items) == 50 - 33


def test_a_file_of_unclosed_quotes_alone_does_not_take_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of its lines, read from its start or inside of quotes, ends inside of quotes."""
    monkeypatch.setattr(records, "MAX_AGAIN", 3 * MAX_RECORD)
    line = b'a",c,"' + b"b" * 1_000 + b"\n"
    found = [item for item in own(",".join(MINIMUM).encode() + b"\n" + line * 8_000) if isinstance(item, Refusal)]
    whole = [item for item in found if "it was left out whole" in item.reason]
    assert [item.line for item in found[:3]] == [2, 3, 4]
    assert "the record goes from line 6 to line 1,046 (1,041 lines)" in whole[0].reason
    assert len(found) < 20


@pytest.mark.parametrize("separator", [";", "\t", ","])
def test_the_header_says_what_separates_the_cells(separator: str) -> None:
    header = separator.join([*MINIMUM, "metadata"]) + "\n"
    row = separator.join([*MINIMUM.values(), '"{""a"": ""x;,""}"']) + "\n"
    (item,) = own(f"\ufeff\n{header}{row}".encode())
    assert isinstance(item, Row), item
    assert item.line == 3
    assert item.values["metadata"] == {"a": "x;,"}


def test_blanks_that_are_written_for_the_eye_belong_to_no_cell() -> None:
    header, values = ", ".join([*MINIMUM, "metadata"]), ", ".join([*MINIMUM.values(), '"{""a"": "" x""}"'])
    (item,) = own(f"{header}\n{values}\n".encode())
    assert isinstance(item, Row), item
    assert (item.values["model"], item.values["metadata"]) == ("m", {"a": " x"})
    (item,) = own((",".join(MINIMUM) + "\n" + ",".join({**MINIMUM, "model": " m"}.values())).encode())
    assert isinstance(item, Row), item
    assert item.values["model"] == " m", "where the header has none, a blank is part of its cell"


def test_a_comma_in_a_quoted_name_or_a_tie_leaves_the_separator_as_it_is() -> None:
    assert CsvRecords(BytesIO(b'"a,b,c";d\n')).header == ("a,b,c", "d")
    assert CsvRecords(BytesIO(b"a;b,c\n")).header == ("a;b", "c")
    assert CsvRecords(BytesIO(b"a\n")).header == ("a",)


def test_a_line_or_a_record_that_never_ends_is_refused_without_being_kept() -> None:
    head = ",".join(MINIMUM).encode() + b"\n"
    good = ",".join(MINIMUM.values()).encode() + b"\n"
    long = b"x" * (3 * MAX_RECORD) + b"\n"
    many = b'"' + b'\n","' * MAX_RECORD  # a quoted cell in each of its lines, a record that goes on
    assert [(item.line, type(item)) for item in own(head + good + long + good)] == [(2, Row), (3, Refusal), (4, Row)]
    items = own(head + good + many)
    assert isinstance(items[1], Refusal)
    assert items[1].line == 3
    assert items[1].reason.startswith(
        "is longer than 1 MiB, as where a quote that is opened is not closed; it would go on"
    )
    assert own(long) == [Refusal(1, "is longer than 1 MiB")]
    assert own(b"a," * 500 + b"b\n") == [Refusal(1, "the header has 501 columns; 300 are possible")]


def test_what_programs_write_for_a_missing_value_is_an_empty_cell_also_in_texts() -> None:
    """As `nan` for whoever made the request: a thousand people would be one."""
    header = "request_id,ts,model,input_tokens,output_tokens,requested_model,cluster_key,cost_usd,latency_ms\n"
    (row,) = own(f"{header}r1,2026-05-01T12:00:00Z,m,1,2,nan,NaN,nan,NaN\n".encode())
    assert isinstance(row, Row)
    assert row.values["requested_model"] == "m"
    assert not {"cluster_key", "cost_usd", "latency_ms"} & row.values.keys()
