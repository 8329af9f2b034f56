"""JSON files: lines, lists and envelopes; typed values; whatever the bytes are."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.logs.formats import Item, Refusal, Row
from plans.logs.formats.mapping import Mapping, mapped_rows
from plans.logs.formats.records import MAX_RECORD, JsonRecords, is_one_text

GOOD = {"request_id": "r1", "ts": "2026-05-01T12:00:00Z", "model": "m", "input_tokens": 1, "output_tokens": 2}


def read(data: bytes | str, *, is_one_text: bool = False) -> list[Item]:
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    return list(mapped_rows(JsonRecords(BytesIO(raw), is_one_text=is_one_text), Mapping()))


def line(**values: Any) -> str:
    return json.dumps({**GOOD, **values})


def values(text: str) -> dict[str, Any]:
    (item,) = read(text)
    assert isinstance(item, Row), item
    return item.values


def reason(text: bytes | str) -> str:
    (item,) = read(text)
    assert isinstance(item, Refusal), item
    return item.reason


def test_typed_values_become_columns() -> None:
    found = values(
        line(
            cost_usd=1e-9, cached=True, metadata={"a": [1, 2.5, None]}, synthetic=["tag"], embedding=[1, 0.5], tag=None
        )
    )
    assert found == {
        "request_id": "r1",
        "ts": datetime(2026, 5, 1, 12, tzinfo=UTC),
        "model": "m",
        "requested_model": "m",
        "input_tokens": 1,
        "output_tokens": 2,
        "cost_usd": Decimal("0.000000001"),
        "cached": True,
        "metadata": {"a": [1, 2.5, None]},
        "synthetic": ["tag"],
        "embedding": b"\x00\x00\x80?\x00\x00\x00?",
    }
    assert type(found["metadata"]["a"][0]) is int
    assert type(found["metadata"]["a"][1]) is float
    assert type(found["request_id"]) is str


def test_numbers_are_read_exactly_and_money_also_as_text() -> None:
    assert values(line(cost_usd=0).replace('"cost_usd": 0', '"cost_usd": 999999999.999999999'))["cost_usd"] == Decimal(
        "999999999.999999999"
    )
    assert values(line(cost_usd="0.000000001"))["cost_usd"] == Decimal("0.000000001")
    assert values(line(input_tokens=203.0))["input_tokens"] == 203
    assert values(line(cluster_key=42))["cluster_key"] == "42"
    assert values(line(ts=1777636800.25))["ts"] == datetime(2026, 5, 1, 12, 0, 0, 250000, tzinfo=UTC)


def test_metadata_that_nobody_logged_is_not_an_empty_object() -> None:
    assert "metadata" not in values(line())
    assert "metadata" not in values(line(metadata=None))
    assert values(line(metadata={}))["metadata"] == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (line(cost_usd=0).replace('"cost_usd": 0', '"cost_usd": 1e400'), 'cost_usd: "1e400" is not a decimal number'),
        (line(cost_usd=0.1234567891), "has more than nine decimals"),
        (line() + ",", "has more after its JSON, at character 104; write one object a line and nothing else"),
        (line(input_tokens="203.5"), 'input_tokens: "203.5" is not a whole number'),
        (line(input_tokens=1.5), 'input_tokens: "1.5" is not a whole number'),
        (line(input_tokens=True), 'input_tokens: "True" is not a whole number'),
        (line(input_tokens=[1]), "input_tokens: a list of 1 is not a whole number"),
        (line(tag=True), 'tag: "True" is not a text'),
        (line(tag={}), "tag: an object is not a text"),
        (line(tag="a\0b"), 'tag: "a\\x00b" has a control character'),
        (line(tag="\ud800"), 'tag: "\\ud800" is not UTF-8'),
        (line(metadata={"a": "\ud800"}), "has a character that no text may have"),
        (line(metadata=[]), "metadata: a list of 0 is not a JSON object"),
        (line(metadata={"a": 1}).replace(": 1}", ": 1" + "0" * 5000 + "}"), "has a number that is too long"),
        (line(metadata={"a": 1}).replace(": 1}", ": 1e999}"), "has a number that is not finite"),
        (line(body="x"), 'unknown key: "body"; map each to one of ours, or leave it out'),
        (line()[:-1], "cannot be read as JSON"),
        (line(tag=float("nan")), "cannot be read as JSON: NaN is not JSON; write null"),
        (
            '{"total": 1, "spend": [{}]}',
            'is no row, but has a list in "spend"; write what is in it one a line: jq -c \'.["spend"][]\'',
        ),
        ('{"total": 1, "spend": [1]}', 'unknown key: "total", "spend"; map each'),
        ('{"tag": "a", "spend": [{}]}', 'unknown key: "spend"; map each'),
        (line(input_tokens=None), "input_tokens: is empty, and has to be there"),
        ('{"a": 1, "a": 2}', 'has the key "a" twice'),
        (line(metadata={}).replace("{}", '{"b": 1, "b": 2}'), 'has the key "b" twice'),
        ("[" * 100_000, "is nested too deeply"),
        ('{"a":' * 100_000, "is nested too deeply"),
        ("[]", "is not a JSON object"),
        ("3", "is not a JSON object"),
        (json.dumps({str(n): n for n in range(301)}), "has 301 keys; 300 are possible"),
        (b'{"request_id": "caf\xe9"}', 'request_id: "caf\\xe9" is not UTF-8'),
        (b"\x1f\x8b\x08\x00", "cannot be read as JSON"),
    ],
)
def test_a_bad_line_is_refused_with_its_reason(text: bytes | str, expected: str) -> None:
    assert expected in reason(text)


def test_lines_are_counted_and_a_bad_one_leaves_the_others() -> None:
    text = "\ufeff" + line() + "\r\n\n{\n" + "x" * (3 * MAX_RECORD) + "\n" + line(request_id="r2")
    assert [(item.line, type(item)) for item in read(text)] == [(1, Row), (3, Refusal), (4, Refusal), (5, Row)]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("[", "]"),
        ('{"data": [', '], "total": 2, "page": 1}'),
        ('\ufeff {\n "data" : [\n', "\n]\n}"),
        ("[\n", "\n]\n"),
        ('{"total": 2, "links": {"next": [null, "é"]}, "tags": [1], "data": [', '], "has_more": false}\n'),
        ('{"object": "list", "results": [', "]}"),
    ],
)
def test_a_list_of_objects_is_read_too_bare_or_in_its_envelope(before: str, after: str) -> None:
    text = f"{before}{line()} ,\n {line(request_id='r2')}{after}"
    assert is_one_text(text.encode())
    found = read(text, is_one_text=True)
    assert [(item.line, item.values["request_id"]) for item in found if isinstance(item, Row)] == [(1, "r1"), (2, "r2")]
    assert len(found) == 2


def test_a_list_longer_than_its_buffer_is_read_whole() -> None:
    pad = "x" * 100_000
    texts = [line(request_id=f"r{n}", metadata={"pad": pad}) for n in range(60)]
    found = read("[" + ",".join(texts) + "]", is_one_text=True)
    assert [item.line for item in found if isinstance(item, Row)] == [*range(1, 61)]


def test_a_list_that_breaks_off_says_so() -> None:
    first, last = read("[" + line() + "," + line()[:20], is_one_text=True)
    assert isinstance(first, Row)
    assert isinstance(last, Refusal)
    assert last.line == 2
    assert "what comes after it was not read" in last.reason
    assert read("[" * 50_000, is_one_text=True)[0].line == 1


def test_a_row_that_has_a_list_of_objects_is_still_a_row() -> None:
    for text in (
        line(data=[{"a": 1}]),
        '{"body": [{"a": 1}]}',
        '{"id": 1, "data": [{}]}',
        '{"data": [1, 2]}',
        '{"data": ',
        '{"a" 1, "data": [{}]}',
    ):
        assert not is_one_text(text.encode())
    assert is_one_text(b'{"data": []}')
    assert read('{"total": 0, "data": []}', is_one_text=True) == []


def test_what_follows_after_a_list_is_not_lost_in_silence() -> None:
    page = '{"data": [' + line() + '], "page": 1}'
    for text in (page + "\n" + page, "[" + line() + "]\n[]", '{"data": [' + line() + '], "page": 1'):
        first, last = read(text, is_one_text=True)
        assert isinstance(first, Row)
        assert last == Refusal(2, "more follows after the list and was not read; only one list is read from a file")


def test_objects_over_several_lines_are_read_one_after_the_other() -> None:
    texts = [json.dumps({**GOOD, "request_id": f"r{n}"}, indent=2) for n in range(3)]
    assert is_one_text(texts[0].encode())
    found = read("\n".join(texts) + "\n", is_one_text=True)
    assert [(item.line, type(item)) for item in found] == [(1, Row), (2, Row), (3, Row)]
    *_, last = read(texts[0] + texts[1][:-1], is_one_text=True)
    assert isinstance(last, Refusal)
    assert "write them one a line: jq -c '.NAME[]'" in last.reason


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["embedding", "metadata", "synthetic", "cost_usd", "ts", "cached", "kind"]), JSON)
)
def test_any_json_as_cells_gives_a_row_or_a_refusal_in_print(more: dict[str, Any]) -> None:
    for item in [*read(json.dumps({**GOOD, **more})), *read(f"[{json.dumps({**GOOD, **more})}]", is_one_text=True)]:
        assert isinstance(item, Row) or item.reason.isprintable()


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_rows_or_refusals(data: bytes, is_one_text: bool) -> None:
    for item in read(data, is_one_text=is_one_text):
        assert isinstance(item, Row | Refusal)
