"""Columns of others as ours: mappings, constants, units and guesses."""

from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest

from plans.logs.columns import COLUMNS, MAPPED, REQUIRED
from plans.logs.formats import BadMapping, Item, Refusal, Row
from plans.logs.formats.mapping import _NAMES, Mapping, guess, mapped_rows
from plans.logs.formats.records import CsvRecords, JsonRecords
from plans.logs.words import GROUPS, WORDS

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


def rows(text: str, *maps: str, sets: tuple[str, ...] = ()) -> list[Item]:
    return list(mapped_rows(CsvRecords(BytesIO(text.encode())), Mapping.of_texts(maps, sets)))


def one(text: str, *maps: str, sets: tuple[str, ...] = ()) -> dict[str, Any]:
    (item,) = rows(text, *maps, sets=sets)
    assert isinstance(item, Row), item
    return item.values


def test_columns_are_renamed_left_out_and_set() -> None:
    found = one(
        "id,when,model,in,output_tokens,secret,provider\nr1,2026-05-01T12:00:00Z,m,1,2,x,\n",
        "id=request_id", "when=ts", "in=input_tokens", "secret=",
        sets=("provider=openai", "tag=batch"),
    )  # fmt: skip
    assert found == {
        "request_id": "r1", "ts": NOON, "model": "m", "requested_model": "m", "input_tokens": 1, "output_tokens": 2,
        "provider": "openai", "tag": "batch",
    }  # fmt: skip


def test_a_constant_stands_only_where_a_row_says_nothing() -> None:
    head = "request_id,ts,model,input_tokens,output_tokens,tag\n"
    first, second = rows(
        f"{head}r1,2026-05-01T12:00:00Z,m,1,2,\nr2,2026-05-01T12:00:00Z,m,1,2,own\n", sets=("tag=all",)
    )
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert (first.values["tag"], second.values["tag"]) == ("all", "own")


@pytest.mark.parametrize(
    ("column", "target", "cell", "expected"),
    [
        ("cost", "cost_usd", "0.00022500000000000002", ("cost_usd", Decimal("0.000225000"))),
        ("cost", "cost_usd", "0.0000000005", ("cost_usd", Decimal("0E-9"))),
        ("cost", "cost_usd", "0.0000000015", ("cost_usd", Decimal("0.000000002"))),
        ("cost", "cost_cents", "0.01", ("cost_usd", Decimal("0.0001"))),
        ("took", "latency_ms", "1234.5", ("latency_ms", 1234)),
        ("took", "latency_s", "1.2345", ("latency_ms", 1234)),
        ("took", "latency_s", "1.2355", ("latency_ms", 1236)),
        ("took", "upstream_latency_s", "2", ("upstream_latency_ms", 2000)),
        ("hit", "cached", "True", ("cached", True)),
        ("hit", "cached", "0", ("cached", False)),
        ("estimate", "fact_estimated_cost_usd_rounded", "3.75e-08", ("fact_estimated_cost_usd", Decimal("3.8E-8"))),
    ],
)
def test_a_column_of_somebody_else_is_rounded_and_brought_into_our_unit(
    column: str, target: str, cell: str, expected: tuple[str, Any]
) -> None:
    text = f"request_id,ts,model,input_tokens,output_tokens,{column}\nr1,2026-05-01T12:00:00Z,m,1,2,{cell}\n"
    name, value = expected
    assert one(text, f"{column}={target}")[name] == value


@pytest.mark.parametrize("cell", ["0.0000000015", "1.5e-09"])
def test_our_own_column_stays_exact_also_when_it_is_mapped_to_itself_and_rounds_where_that_is_said(cell: str) -> None:
    text = f"request_id,ts,model,input_tokens,output_tokens,cost_usd\nr1,2026-05-01T12:00:00Z,m,1,2,{cell}\n"
    for maps in ((), ("cost_usd=cost_usd",)):
        (item,) = rows(text, *maps)
        assert isinstance(item, Refusal)
        assert "has more than nine decimals; write nine, or map the column to what rounds" in item.reason
    assert one(text, "cost_usd=cost_usd_rounded")["cost_usd"] == Decimal("0.000000002")


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("2026-05-01 12:00:00", NOON),
        ("2026-05-01T14:00:00+02", NOON),
        ("2026-05-01 14:00:00.0+0200", NOON),
        ("2026-05-01T14:00:00+02:00", NOON),
        ("2026-05-01T12:00:00Z", NOON),
        ("1777636800", NOON),
        ("01.05.2026 12:00:00", NOON),
        ("01.05.2026 12:00", NOON),
        ("01.05.2026T12:00:00.000", NOON),
        ("32.05.2026 12:00:00", None),
        ("01.05.2026", None),
        ("05/01/2026 12:00:00", None),
        ("yesterday", None),
        ("2026-05-01 14:00:00+99", None),
    ],
)
def test_a_time_without_a_zone_is_utc_where_that_is_said(cell: str, expected: datetime | None) -> None:
    text = f"request_id,when,model,input_tokens,output_tokens\nr1,{cell},m,1,2\n"
    (item,) = rows(text, "when=ts_utc")
    assert isinstance(item, Refusal) if expected is None else isinstance(item, Row) and item.values["ts"] == expected


def test_every_column_and_conversion_has_words_once() -> None:
    named = [name for group in GROUPS.values() for name, _ in group]
    assert sorted(named) == sorted(MAPPED)
    assert len(set(WORDS.values())) == len(WORDS), "no two of them read alike"
    assert set(REQUIRED) <= {name for name, _ in GROUPS["Every row needs"]}


def test_a_column_that_has_the_name_of_a_unit_is_read_in_that_unit() -> None:
    for name in MAPPED:
        target = Mapping.of_texts([f"{name}={name}"], []).target(name)
        assert target is not None
        assert target[0] in COLUMNS


@pytest.mark.parametrize(
    ("maps", "sets", "reason"),
    [
        (("a",), (), "a is no mapping; write their_name=our_name"),
        (("a=price",), (), "a is mapped to price, which is no column"),
        (("a=body",), (), "a is mapped to body, which is no column"),
        ((), ("provider",), "provider sets nothing"),
        ((), ("provider=",), "provider= sets nothing"),
        ((), ("price=1",), "price is no column"),
        ((), ("status=ok",), 'status: "ok" is not a whole number'),
        ((), ("request_id=1",), "Each request has its own request_id"),
        (("a=tag", "a="), (), "a is mapped twice: to tag, and to nothing."),
        ((), ("tag=a", "tag=b"), "tag is set twice: to a, and to b."),
    ],
)
def test_a_mapping_that_means_nothing_is_refused(maps: tuple[str, ...], sets: tuple[str, ...], reason: str) -> None:
    with pytest.raises(BadMapping) as caught:
        Mapping.of_texts(maps, sets).values()
    assert caught.value.code == "bad_mapping"
    assert reason in str(caught.value)


def test_their_name_may_have_the_sign() -> None:
    assert Mapping.of_texts(["a=b=ts"], ["tag=a=b"]) == Mapping({"a=b": "ts"}, {"tag": "a=b"})


@pytest.mark.parametrize(
    ("header", "maps", "reason"),
    [
        ("request_id,ts,model,input_tokens,output_tokens,x", (), 'unknown column in the header: "x"'),
        ("request_id,ts,model,input_tokens,output_tokens", ("x=tag",), 'the mapping names "x", which the header lacks'),
        ("request_id,ts,when,model,input_tokens,output_tokens", ("when=ts",), 'two columns are ts: "ts", "when"'),
        ("request_id,ts,when,model,input_tokens,output_tokens", ("when=ts_utc",), "two columns are ts:"),
        ("request_id,ts,model,input_tokens,output_tokens", ("ts=",), "column missing in the header: ts"),
    ],
)
def test_a_header_that_does_not_fit_the_mapping_is_one_refusal(header: str, maps: tuple[str, ...], reason: str) -> None:
    (item,) = rows(header + "\n1,2,3\n", *maps)
    assert isinstance(item, Refusal)
    assert reason in item.reason


def test_json_objects_name_their_own_columns_each() -> None:
    text = (
        '{"id": "r1", "ts": 1777636800, "model": "m", "input_tokens": 1, "output_tokens": 2}\n'
        '{"ts": 1777636800, "id": "r2", "model": "m", "input_tokens": 1, "output_tokens": 2, "extra": 1}\n'
        '{"id": "r3", "request_id": "r4", "ts": 1777636800, "model": "m", "input_tokens": 1, "output_tokens": 2}\n'
    )
    first, second, third = mapped_rows(
        JsonRecords(BytesIO(text.encode()), is_one_text=False), Mapping({"id": "request_id"})
    )
    assert isinstance(first, Row)
    assert second == Refusal(2, 'unknown key: "extra"; map each to one of ours, or leave it out')
    assert isinstance(third, Refusal)
    assert 'two columns are request_id: "id", "request_id"' in third.reason


# --- Guesses --------------------------------------------------------------------------------------------------------


def test_common_names_are_guessed_and_nothing_twice() -> None:
    columns = [
        "Created-At",
        "prompt_tokens",
        "completionTokens",
        "session_id",
        "user",
        "spend",
        "latency",
        "duration_ms",
        "x",
    ]
    examples = {"Created-At": ["2026-05-01T12:00:00Z"], "prompt_tokens": ["1"], "duration_ms": ["12.5"]}
    assert guess(columns, examples, Mapping()) == {
        "Created-At": "ts",
        "prompt_tokens": "input_tokens",
        "completionTokens": "output_tokens",
        "user": "cluster_key",  # before the session
        "spend": "cost_usd",
        "duration_ms": "latency_ms",  # of `latency` nobody knows the unit
    }


def test_a_guess_yields_to_a_column_of_ours_to_a_mapping_and_to_the_examples() -> None:
    assert guess(["ts", "timestamp"], {}, Mapping()) == {}
    assert guess(["when", "timestamp"], {}, Mapping({"when": "ts_utc"})) == {}
    assert guess(["timestamp"], {"timestamp": ["2026-05-01 12:00:00"]}, Mapping()) == {"timestamp": "ts_utc"}
    assert guess(["timestamp"], {"timestamp": ["soon", "later"]}, Mapping()) == {}
    assert guess(["timestamp"], {"timestamp": ["2026-05-01T12:00:00Z", "?"]}, Mapping()) == {"timestamp": "ts"}


def test_our_own_names_are_guessed_in_another_case_or_with_blanks() -> None:
    columns = ["Request_ID", " ts", "Input Tokens", "Latency-S", "Cost_USD", "cost"]
    assert guess(columns, {}, Mapping()) == {
        "Request_ID": "request_id", " ts": "ts", "Input Tokens": "input_tokens", "Latency-S": "latency_s",
        "Cost_USD": "cost_usd",
    }  # fmt: skip


def test_every_guess_is_a_column_or_a_unit() -> None:
    assert set(_NAMES) <= set(MAPPED)
    names = [name for names in _NAMES.values() for name in names]
    assert len(names) == len(set(names))
