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
from plans.logs.formats.records import MAX_RECORD, JsonRecords, is_json_list

GOOD = {"request_id": "r1", "ts": "2026-05-01T12:00:00Z", "model": "m", "input_tokens": 1, "output_tokens": 2}


def read(data: bytes | str, *, is_list: bool = False) -> list[Item]:
    raw = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    return list(mapped_rows(JsonRecords(BytesIO(raw), is_list=is_list), Mapping()))


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
        (line(body="x"), 'unknown key: "body"'),
        (line()[:-1], "cannot be read as JSON"),
        (line(tag=float("nan")), "cannot be read as JSON: NaN is not JSON"),
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
    [("[", "]"), ('{"data": [', '], "total": 2, "page": 1}'), ('\ufeff {\n "data" : [\n', "\n]\n}"), ("[\n", "\n]\n")],
)
def test_a_list_of_objects_is_read_too_bare_or_in_its_envelope(before: str, after: str) -> None:
    text = f"{before}{line()} ,\n {line(request_id='r2')}{after}"
    assert is_json_list(text.encode())
    found = read(text, is_list=True)
    assert [(item.line, item.values["request_id"]) for item in found if isinstance(item, Row)] == [(1, "r1"), (2, "r2")]
    assert len(found) == 2


def test_a_list_longer_than_its_buffer_is_read_whole() -> None:
    pad = "x" * 100_000
    texts = [line(request_id=f"r{n}", metadata={"pad": pad}) for n in range(60)]
    found = read("[" + ",".join(texts) + "]", is_list=True)
    assert [item.line for item in found if isinstance(item, Row)] == [*range(1, 61)]


def test_a_list_that_breaks_off_says_so() -> None:
    first, last = read("[" + line() + "," + line()[:20], is_list=True)
    assert isinstance(first, Row)
    assert isinstance(last, Refusal)
    assert last.line == 2
    assert "what comes after it was not read" in last.reason
    assert read("[" * 50_000, is_list=True)[0].line == 1


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from(["embedding", "metadata", "synthetic", "cost_usd", "ts", "cached", "kind"]), JSON)
)
def test_any_json_as_cells_gives_a_row_or_a_refusal_in_print(more: dict[str, Any]) -> None:
    for item in [*read(json.dumps({**GOOD, **more})), *read(f"[{json.dumps({**GOOD, **more})}]", is_list=True)]:
        assert isinstance(item, Row) or item.reason.isprintable()


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_give_rows_or_refusals(data: bytes, is_list: bool) -> None:
    for item in read(data, is_list=is_list):
        assert isinstance(item, Row | Refusal)
