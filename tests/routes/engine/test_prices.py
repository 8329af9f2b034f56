"""Prices: looked up by provider, model and time; multiplied exactly; read from a document strictly and totally."""

import copy
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest
import rfc8785
from hypothesis import example, given
from hypothesis import strategies as st

from routes.engine import RequestContext
from routes.engine.canonical import canonical_bytes
from routes.engine.errors import DocumentRejected
from routes.engine.money import nano_usd
from routes.engine.prices import (
    DEFAULT_OUTPUT_TOKENS,
    MAX_PRICES,
    Price,
    PriceTable,
    _sha256,
    half_even,
    max_output_tokens,
)
from tests.paths import shared

NOW = datetime(2026, 5, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ORG = "00000000-0000-7000-8000-00000000000a"


def price(provider: str = "p", model: str = "m", input: int | str = 1, output: int | str = 1, **more: Any) -> Price:
    """USD per million."""
    return Price(
        provider=provider,
        model=model,
        input_nano_per_million=nano_usd(Decimal(input)),
        output_nano_per_million=nano_usd(Decimal(output)),
        **more,
    )


# --- Cost -----------------------------------------------------------------------------------------------------------


@given(*[st.integers(0, 10**7)] * 3, *[st.integers(0, 10**15)] * 3)
def test_a_cost_is_the_exact_one_rounded_once(
    tokens_in: int, tokens_out: int, cached: int, price_in: int, price_out: int, price_cached: int
) -> None:
    own = Price(
        provider="p",
        model="m",
        input_nano_per_million=price_in,
        output_nano_per_million=price_out,
        cached_input_nano_per_million=price_cached,
    )
    hit = min(cached, tokens_in)
    exact = Fraction((tokens_in - hit) * price_in + hit * price_cached + tokens_out * price_out, 10**6)
    assert own.cost_nano(tokens_in, tokens_out, cached) == round(exact)  # half to even, by the Fraction's own rule


@pytest.mark.parametrize(("numerator", "expected"), [(5, 0), (15, 2), (25, 2), (-5, 0), (-15, -2), (14, 1), (16, 2)])
def test_ties_go_to_the_even_one(numerator: int, expected: int) -> None:
    assert half_even(numerator, 10) == expected


# --- Looking up -----------------------------------------------------------------------------------------------------


def provider_of(found: Price | None) -> str | None:
    return None if found is None else found.provider


def test_the_named_provider_is_tried_first_then_the_others_by_name() -> None:
    table = PriceTable([price("b"), price("c", "other"), price("a")])
    assert provider_of(table.price("b", "m", NOW)) == "b"
    assert provider_of(table.price("c", "m", NOW)) == "a"
    assert provider_of(table.price("", "m", NOW)) == "a"
    assert table.price("a", "M", NOW) is None


def test_the_latest_price_that_had_begun_counts_and_a_negotiated_one_is_stronger() -> None:
    table = PriceTable(
        [
            price(input=3, since=NOW + DAY),
            price(input=9, negotiated=True, since=NOW + 2 * DAY),
            price(input=1),
            price(input=4, since=NOW + 3 * DAY),
            price(input=2, since=NOW - DAY),
        ]
    )
    moments = [
        NOW - 2 * DAY, NOW - DAY, NOW + DAY - timedelta(microseconds=1), NOW + DAY, NOW + 2 * DAY, NOW + 4 * DAY,
    ]  # fmt: skip
    found = [table.price("p", "m", at) for at in moments]
    assert [None if one is None else one.input_nano_per_million // 10**9 for one in found] == [1, 2, 2, 3, 9, 9]


def test_a_price_that_begins_later_is_no_price_yet() -> None:
    later = price("a", since=NOW + timedelta(microseconds=1))
    assert PriceTable([later]).price("a", "m", NOW) is None
    assert provider_of(PriceTable([later, price("q")]).price("a", "m", NOW)) == "q"
    assert provider_of(PriceTable([later, price("q")]).price("a", "m", NOW + DAY)) == "a"


def test_a_time_counts_as_the_instant_it_is_whatever_its_zone() -> None:
    east = timezone(timedelta(hours=14))
    table = PriceTable([price(since=NOW.astimezone(east))])
    assert table.price("p", "m", NOW - DAY) is None
    assert table.price("p", "m", NOW) is not None


def test_a_time_without_a_zone_is_refused_also_where_no_price_has_a_start() -> None:
    table = PriceTable([price()])
    for ask in (lambda at: table.price("p", "m", at), lambda at: table.estimate("m", 1, 1, at)):
        with pytest.raises(ValueError, match="zone"):
            ask(datetime(2026, 5, 1))


PRICES = st.builds(
    price,
    provider=st.sampled_from("abc"),
    model=st.sampled_from("mn"),
    input=st.integers(0, 5),
    since=st.none() | st.integers(-3, 3).map(lambda days: NOW + days * DAY),
    negotiated=st.booleans(),
)


@given(
    st.lists(PRICES, max_size=12, unique_by=lambda one: (one.provider, one.model, one.negotiated, one.since)),
    st.sampled_from(["a", "b", "c", ""]),
    st.integers(-4, 4),
)
def test_the_lookup_finds_what_a_plain_search_finds(prices: list[Price], provider: str, days: int) -> None:
    at = NOW + days * DAY
    begun = [one for one in prices if one.model == "m" and (one.since is None or one.since <= at)]
    wanted = min(
        begun,
        key=lambda one: (
            one.provider != provider,
            one.provider,
            not one.negotiated,
            float("inf") if one.since is None else -one.since.timestamp(),
        ),
        default=None,
    )
    assert PriceTable(prices).price(provider, "m", at) is wanted


# --- Estimates ------------------------------------------------------------------------------------------------------


def test_the_shared_estimates() -> None:
    cases = json.loads(shared("cases/routing.json").read_text(encoding="utf-8"))
    cases = [case for case in cases if case["kind"] == "cost_estimate"]
    assert cases
    for case in cases:
        asked, context = case["request"], case["context"]
        row = {f"{side}_usd_per_million": context[f"{side}_per_million"] for side in ("input", "output")}
        table = PriceTable.from_document(document({"provider": "p", "model": "m", **row}))
        found = table.estimate("m", asked["input_tokens"], max_output_tokens(asked), NOW)
        assert found == case["expected"]["usd"]
        assert found == table.estimate("m", asked["input_tokens"], asked["max_tokens"], NOW)


def test_an_estimate_is_at_the_price_in_force_of_the_first_provider_by_name() -> None:
    table = PriceTable(
        [price("b", input=7), price("a", input=1), price("a", input=2, since=NOW), price("0", input=9, since=NOW + DAY)]
    )
    assert table.estimate("m", 10**6, 0, NOW - DAY) == 1
    assert table.estimate("m", 10**6, 0, NOW) == 2
    assert table.estimate("m", 10**6, 0, NOW + DAY) == 9


def test_input_and_output_have_their_own_prices_and_cached_input_is_not_supposed() -> None:
    table = PriceTable([price(input=2, output=8, cached_input_nano_per_million=0)])
    assert table.estimate("m", 500_000, 250_000, NOW) == 3


def test_without_a_limit_a_thousand_output_tokens_are_supposed() -> None:
    table = PriceTable([price(input=0, output=5)])
    assert table.estimate("m", 10, None, NOW) == 0.005
    assert table.estimate("m", 10, 0, NOW) == 0


def test_without_a_price_a_model_or_a_count_there_is_no_estimate() -> None:
    table = PriceTable([price(), price(model="later", since=NOW + DAY)])
    assert table.estimate("unknown", 10, 10, NOW) is None
    assert table.estimate("later", 10, 10, NOW) is None
    assert table.estimate(None, 10, 10, NOW) is None
    assert table.estimate("m", None, 10, NOW) is None
    assert PriceTable().estimate("m", 10, 10, NOW) is None


@pytest.mark.parametrize(
    "tokens",
    [True, False, 1.0, "1", Decimal(1), [1], -1, 2**53, pytest.param(10**5000, id="huge")],
)
def test_what_counts_no_tokens_is_refused(tokens: Any) -> None:
    table = PriceTable([price()])
    for counts in ((tokens, 1), (1, tokens)):
        with pytest.raises((TypeError, ValueError), match="Tokens"):
            table.estimate("m", *counts, NOW)


@given(st.integers(0, 8 * 10**6 * 10**9))
@example(8 * 10**15)
@example(8 * 10**15 - 1)
@example(1)
@example(999_999_999_999_999)
def test_a_context_takes_an_estimate_without_a_second_rounding(nano: int) -> None:
    # A million tokens at this price cost exactly so much.
    table = PriceTable([Price(provider="p", model="m", input_nano_per_million=nano, output_nano_per_million=0)])
    estimate = table.estimate("m", 10**6, 0, NOW)
    assert RequestContext("m", estimated_cost_usd=estimate).estimated_cost_nano_usd == nano


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**12), st.integers(0, 10**12))
def test_an_estimate_is_what_the_same_tokens_cost(tokens_in: int, tokens_out: int, cost_in: int, cost_out: int) -> None:
    own = Price(provider="p", model="m", input_nano_per_million=cost_in, output_nano_per_million=cost_out)
    exact = (Decimal(tokens_in * cost_in + tokens_out * cost_out) / 10**6).quantize(Decimal(1), ROUND_HALF_EVEN)
    estimate = PriceTable([own]).estimate("m", tokens_in, tokens_out, NOW)
    assert estimate is not None
    assert nano_usd(estimate) == exact == own.cost_nano(tokens_in, tokens_out)


def test_an_absurd_estimate_is_still_a_number_that_a_context_takes() -> None:
    table = PriceTable([price(input=10**6, output=10**6)])
    estimate = table.estimate("m", 2**53 - 1, 2**53 - 1, NOW)
    assert RequestContext("m", estimated_cost_usd=estimate).estimated_cost_usd == estimate


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"max_completion_tokens": 7, "max_tokens": 9}, 7),
        ({"max_tokens": 9}, 9),
        ({"max_completion_tokens": None, "max_tokens": 9}, 9),
        ({"max_completion_tokens": 0, "max_tokens": 9}, 0),
        ({"max_completion_tokens": "7", "max_tokens": 9}, 9),
        ({"max_completion_tokens": -1}, 1000),
        ({"max_completion_tokens": True, "max_tokens": False}, 1000),
        ({"max_tokens": 9.0}, 1000),
        ({"max_tokens": float("nan")}, 1000),
        ({"max_tokens": [9]}, 1000),
        ({"max_output_tokens": 9}, 1000),
        ({"max_tokens": 2**53}, 2**53 - 1),
        ({"max_tokens": 10**5000}, 2**53 - 1),
        ({}, 1000),
        (None, 1000),
        ([], 1000),
        ("max_tokens", 1000),
    ],
    ids=range(17),
)
def test_the_limit_of_output_is_read_from_a_chat_body(body: object, expected: int) -> None:
    assert max_output_tokens(body) == expected
    assert DEFAULT_OUTPUT_TOKENS == 1000


# --- The document ---------------------------------------------------------------------------------------------------

ROW: dict[str, Any] = {
    "provider": "openai",
    "model": "gpt-4o",
    "input_usd_per_million": 2.5,
    "output_usd_per_million": 10,
    "cached_input_usd_per_million": 1.25,
    "since": "2026-05-01T00:00:00.000000Z",
    "negotiated": True,
    "max_input_tokens": 128_000,
    "max_output_tokens": 16_384,
    "retires_on": "2027-03-31",
}
PLAIN: dict[str, Any] = {
    "provider": "azure", "model": "gpt-4o", "input_usd_per_million": 2.75, "output_usd_per_million": 0.000000001,
}  # fmt: skip


def document(*rows: Any, **envelope: Any) -> dict[str, Any]:
    """A price document with a right digest."""
    prices = list(rows)
    try:
        digest = _sha256(prices)
    except ValueError:
        digest = "sha256:"  # what has no canonical bytes is refused before anybody asks
    return {
        "schema": 1, "org_id": ORG, "as_of": "2026-11-20T08:00:00.000000Z", "digest": digest, "prices": prices, **envelope,
    }  # fmt: skip


def test_a_document_gives_a_table_and_the_table_the_document() -> None:
    given = document(PLAIN, ROW)
    table = PriceTable.from_document(given)
    assert table.to_document() == given
    assert (table.org_id, table.as_of) == (ORG, datetime(2026, 11, 20, 8, tzinfo=UTC))
    assert table.prices == (
        Price(provider="azure", model="gpt-4o", input_nano_per_million=2_750_000_000, output_nano_per_million=1),
        Price(
            provider="openai",
            model="gpt-4o",
            input_nano_per_million=2_500_000_000,
            output_nano_per_million=10_000_000_000,
            cached_input_nano_per_million=1_250_000_000,
            since=NOW,
            negotiated=True,
            max_input_tokens=128_000,
            max_output_tokens=16_384,
            retires_on=date(2027, 3, 31),
        ),
    )


def test_bytes_are_read_as_what_they_stand_for() -> None:
    given = document(PLAIN, ROW)
    for data in (json.dumps(given, indent=2).encode(), bytearray(canonical_bytes(given))):
        assert PriceTable.from_document(data).to_document() == given


def test_reading_changes_nothing_in_what_was_given() -> None:
    given = document({**PLAIN, "since": None}, ROW)
    before = copy.deepcopy(given)
    PriceTable.from_document(given)
    assert given == before


def test_the_digest_is_that_of_the_canonical_bytes_of_the_prices_alone() -> None:
    from hashlib import sha256

    given = document(PLAIN, ROW)
    assert given["digest"] == "sha256:" + sha256(rfc8785.dumps(given["prices"])).hexdigest()
    later = PriceTable(PriceTable.from_document(given).prices, org_id=UUID(int=7), as_of=NOW).to_document()
    assert later["digest"] == given["digest"]
    assert later["org_id"] == str(UUID(int=7))


def test_null_is_the_same_as_left_out_and_order_does_not_matter() -> None:
    optional = dict.fromkeys(ROW.keys() - PLAIN.keys())
    table = PriceTable.from_document(document(ROW, {**PLAIN, **optional}))
    assert table.prices == PriceTable.from_document(document(PLAIN, ROW)).prices
    assert table.to_document() == document(PLAIN, ROW)


def test_a_document_may_hold_for_everybody_and_may_be_empty() -> None:
    table = PriceTable.from_document(document(PLAIN, org_id=None))
    assert table.org_id is None
    assert table.to_document() == document(PLAIN, org_id=None)
    assert PriceTable.from_document(document()).prices == ()


def test_an_organisation_is_written_in_lower_case_and_a_time_in_utc() -> None:
    table = PriceTable.from_document(document(PLAIN, org_id=ORG.upper(), as_of="2026-11-20T10:00:00+02:00"))
    assert table.to_document() == document(PLAIN)


@pytest.mark.parametrize("usd", [0, 1, 0.1, 0.000000001, 2.5, 5.0, 999_999.999999999, 1_000_000])
def test_an_amount_has_at_most_nine_decimals_and_is_read_exactly(usd: float) -> None:
    table = PriceTable.from_document(document({**PLAIN, "input_usd_per_million": usd}))
    assert table.prices[0].input_nano_per_million == int(Decimal(repr(usd)).scaleb(9))
    assert table.to_document()["prices"][0]["input_usd_per_million"] == usd


@given(st.integers(0, 10**15))
@example(999_999_999_999_999)
def test_every_price_of_whole_nano_dollars_survives_the_document(nano: int) -> None:
    own = Price(provider="p", model="m", input_nano_per_million=nano, output_nano_per_million=0)
    data = canonical_bytes(PriceTable([own], as_of=NOW).to_document())
    assert PriceTable.from_document(data).prices == (own,)


def rejected(raw: object, match: str | None = None) -> None:
    with pytest.raises(DocumentRejected, match=match):
        PriceTable.from_document(raw)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"schema": 2}, "schema 2; this engine reads up to 1"),
        ({"schema": 2, "currency": "EUR"}, "schema 2; this engine reads up to 1"),
        ({"schema": 10**5000}, "this engine reads up to 1"),
        ({"schema": 0}, "schema is 1"),
        ({"schema": -1}, "schema is 1"),
        ({"schema": True}, "schema is 1"),
        ({"schema": 1.0}, "schema is 1"),
        ({"schema": "1"}, "schema is 1"),
        ({"schema": None}, "schema is 1"),
        ({"currency": "EUR"}, "unknown 'currency'"),
        ({5: 5}, "unknown 5"),
        ({"org_id": 7}, "org_id"),
        ({"org_id": "acme"}, "org_id"),
        ({"org_id": ""}, "org_id"),
        ({"org_id": UUID(ORG)}, "org_id"),
        ({"as_of": None}, "as_of"),
        ({"as_of": "2026-11-20"}, "as_of"),
        ({"as_of": "2026-11-20T08:00:00"}, "as_of"),
        ({"as_of": "2026-02-30T08:00:00Z"}, "as_of"),
        ({"as_of": 1_700_000_000}, "as_of"),
        ({"digest": "sha256:" + 64 * "0"}, "digest"),
        ({"digest": None}, "digest"),
        ({"digest": ""}, "digest"),
        ({"prices": {}}, "prices is a list"),
        ({"prices": None}, "prices is a list"),
        ({"prices": "azure"}, "prices is a list"),
    ],
    ids=range(26),
)
def test_another_envelope_is_rejected(change: dict[Any, Any], match: str) -> None:
    rejected({**document(PLAIN), **change}, match)


@pytest.mark.parametrize("key", ["schema", "org_id", "as_of", "digest", "prices"])
def test_an_envelope_without_one_of_its_keys_is_rejected(key: str) -> None:
    given = document(PLAIN)
    del given[key]
    rejected(given, f"lacks '{key}'")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"provider": ""}, r"prices\[1\]\.provider: This text is blank"),
        ({"provider": None}, r"prices\[1\]\.provider: This is text"),
        ({"provider": "open\nai"}, "Control characters"),
        ({"model": " "}, r"prices\[1\]\.model: This text is blank"),
        ({"model": 4}, r"prices\[1\]\.model: This is text"),
        ({"model": "gpt\ud800"}, "lone surrogates"),
        ({"model": 1025 * "m"}, "At most 1,024"),
        ({"input_usd_per_million": None}, r"prices\[1\]\.input_usd_per_million: This is a number of US dollars"),
        ({"input_usd_per_million": "2.5"}, "This is a number of US dollars"),
        ({"input_usd_per_million": True}, "This is a number of US dollars"),
        ({"input_usd_per_million": Decimal("2.5")}, "This is a number of US dollars"),
        ({"input_usd_per_million": -1}, "From 0 to 1,000,000"),
        ({"input_usd_per_million": 1_000_000.5}, "From 0 to 1,000,000"),
        ({"input_usd_per_million": 10**5000}, "From 0 to 1,000,000"),
        ({"input_usd_per_million": float("nan")}, "An amount is finite"),
        ({"output_usd_per_million": float("inf")}, r"prices\[1\]\.output_usd_per_million: An amount is finite"),
        ({"output_usd_per_million": 0.0000000001}, "at most 9 decimals"),
        ({"output_usd_per_million": 1.0000000005}, "at most 9 decimals"),
        ({"cached_input_usd_per_million": -0.1}, r"prices\[1\]\.cached_input_usd_per_million: From 0"),
        ({"cached_input_usd_per_million": False}, "This is a number of US dollars"),
        ({"since": "2026-05-01"}, r"prices\[1\]\.since"),
        ({"since": "2026-05-01T00:00:00"}, r"prices\[1\]\.since"),
        ({"since": 0}, r"prices\[1\]\.since"),
        ({"since": ""}, r"prices\[1\]\.since"),
        ({"negotiated": 1}, r"prices\[1\]\.negotiated: This is true or false"),
        ({"negotiated": "yes"}, r"prices\[1\]\.negotiated: This is true or false"),
        ({"max_input_tokens": -1}, r"prices\[1\]\.max_input_tokens: From 0"),
        ({"max_input_tokens": 1.0}, r"prices\[1\]\.max_input_tokens: This is a whole number"),
        ({"max_output_tokens": True}, r"prices\[1\]\.max_output_tokens: This is a whole number"),
        ({"max_output_tokens": 2**53}, r"prices\[1\]\.max_output_tokens: From 0"),
        ({"retires_on": "31.3.2027"}, r"prices\[1\]\.retires_on: A day reads like"),
        ({"retires_on": "20270331"}, r"prices\[1\]\.retires_on: A day reads like"),
        ({"retires_on": "2027-W13-3"}, r"prices\[1\]\.retires_on: A day reads like"),
        ({"retires_on": "2027-02-29"}, r"prices\[1\]\.retires_on: There is no such day"),
        ({"retires_on": "2027-03-31T00:00:00Z"}, r"prices\[1\]\.retires_on: A day reads like"),
        ({"retires_on": "2027-03-31\n"}, r"prices\[1\]\.retires_on: A day reads like"),
        ({"retires_on": 20270331}, r"prices\[1\]\.retires_on: A day reads like"),
        ({"retires_on": False}, r"prices\[1\]\.retires_on: A day reads like"),
        ({"input_usd_per_milion": 1}, r"prices\[1\]\.input_usd_per_milion.*Did you mean input_usd_per_million"),
        ({"batch_input_usd_per_million": 1}, "batch_input_usd_per_million"),
        ({1: 1}, "There is no key 1 here"),
    ],
    ids=range(41),
)
def test_a_row_that_is_not_exactly_a_price_rejects_the_whole_document(change: dict[Any, Any], match: str) -> None:
    rejected(document(PLAIN, {**ROW, **change}), match)


@pytest.mark.parametrize("key", ["provider", "model", "input_usd_per_million", "output_usd_per_million"])
def test_a_row_without_one_of_its_keys_is_rejected(key: str) -> None:
    rejected(document({name: value for name, value in ROW.items() if name != key}), f"{key} is missing")


@pytest.mark.parametrize("row", [None, [], "azure", 1, [PLAIN]])
def test_a_row_that_is_no_object_is_rejected(row: Any) -> None:
    rejected(document(row), r"prices\[0\]: This is an object")


def test_everything_that_is_wrong_with_a_row_is_said_and_of_several_rows_the_first() -> None:
    with pytest.raises(DocumentRejected) as caught:
        PriceTable.from_document(document(PLAIN, {**ROW, "model": "", "since": 1}, {**ROW, "negotiated": 5}))
    assert "prices[1].model" in str(caught.value)
    assert "prices[1].since" in str(caught.value)
    assert "prices[2]" not in str(caught.value)


@pytest.mark.parametrize(
    "again",
    [
        {}, {"input_usd_per_million": 9}, {"since": "2026-05-01T02:00:00+02:00"}, {"max_input_tokens": None},
        {"since": "2026-05-01T00:00:00.0000009Z"},
    ],
)  # fmt: skip
def test_a_price_that_is_there_twice_is_rejected_also_where_the_figures_differ(again: dict[str, Any]) -> None:
    rejected(document(ROW, PLAIN, {**ROW, **again}), r"prices\[2\]: This price is also at \[0\]")


@pytest.mark.parametrize(
    "other",
    [
        {"provider": "azure"},
        {"model": "gpt-4"},
        {"since": None},
        {"since": "2026-05-01T00:00:01Z"},
        {"negotiated": False},
    ],
)
def test_prices_that_differ_in_what_they_are_looked_up_by_stand_side_by_side(other: dict[str, Any]) -> None:
    assert len(PriceTable.from_document(document(ROW, {**ROW, **other})).prices) == 2


def test_a_negotiated_price_of_nobody_is_rejected() -> None:
    rejected(document(ROW, org_id=None), r"prices\[0\]\.negotiated: Negotiated with whom")


def test_a_changed_price_breaks_the_digest() -> None:
    for key, value in {"input_usd_per_million": 2.500000001, "max_output_tokens": 1, "retires_on": None}.items():
        given = document(ROW)
        given["prices"][0] = {**ROW, key: value}
        rejected(given, "digest")


def test_a_document_has_a_bound() -> None:
    row = {**PLAIN, "since": None}
    rows = [{**row, "model": f"m{n}"} for n in range(2 * MAX_PRICES + 1)]
    assert len(PriceTable.from_document(document(*rows[:-1])).prices) == 2 * MAX_PRICES
    rejected(document(*rows), "more than 20,000 prices")


def test_bytes_have_a_bound_before_they_are_parsed() -> None:
    rejected(b" " * (16 * 1024 * 1024 + 1), "bytes")


@pytest.mark.parametrize(
    "data",
    [
        b"", b" ", b"null", b"[]", b"1", b'"x"', b"{", b"{}", b"\xff\xfe", b"\x00", b"\xef\xbb\xbf{}", b"NaN",
        b"[" * 100_000, b'{"a":' * 100_000, b'{"schema":' + 5000 * b"9" + b"}", b'{"schema":1,"schema":1}',
        b'{"schema":1e999}', b'{"schema":NaN}', b'{"schema":"\\ud800"}',
    ],
    ids=range(19),
)  # fmt: skip
def test_bytes_that_are_no_price_document_are_rejected(data: bytes) -> None:
    rejected(data)


def test_a_key_that_is_there_twice_is_rejected() -> None:
    data = canonical_bytes(document(PLAIN))
    twice = data.replace(b'"model":"gpt-4o"', b'"model":"gpt-4o","model":"gpt-4o"')
    assert twice != data
    rejected(twice, "twice")


@pytest.mark.parametrize("raw", [None, 1, 10**5000, "{}", [], [("schema", 1)], object(), PriceTable()], ids=range(8))
def test_what_is_neither_bytes_nor_an_object_is_rejected(raw: object) -> None:
    rejected(raw, "object")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from([*ROW, "schema", "org_id", "as_of", "digest", "prices", "more"]), JSON)
def test_whatever_value_stands_at_whatever_key_there_is_a_table_or_a_rejection(key: str, value: Any) -> None:
    raw = document({**ROW, key: value}) if key in ROW else {**document(ROW), key: value}
    for form in (raw, json.dumps(raw).encode()):
        try:
            table = PriceTable.from_document(form)
        except DocumentRejected:
            continue
        assert PriceTable.from_document(table.to_document()).prices == table.prices


@given(st.binary(max_size=30), st.integers(0, 600), st.integers(0, 30))
def test_whatever_bytes_come_there_is_a_table_or_a_rejection(junk: bytes, start: int, cut: int) -> None:
    data = canonical_bytes(document(PLAIN, ROW))
    start %= len(data)
    with suppress(DocumentRejected):
        PriceTable.from_document(data[:start] + junk + data[start + cut :])


# --- Written --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: PriceTable([price()]), "as_of"),
        (lambda: PriceTable([price(), price()], as_of=NOW), "also at"),
        (lambda: PriceTable([price(negotiated=True)], as_of=NOW), "Negotiated with whom"),
        (lambda: PriceTable([price("")], as_of=NOW), "blank"),
        (lambda: PriceTable([price(cached_input_nano_per_million=-1)], as_of=NOW), "From 0"),
        (lambda: PriceTable([price(max_input_tokens=-1)], as_of=NOW), "From 0"),
        (lambda: PriceTable([price(model=f"m{n}") for n in range(MAX_PRICES + 1)], as_of=NOW), "more than 10,000"),
    ],
    ids=["as_of", "twice", "negotiated", "blank", "negative", "limit", "many"],
)
def test_no_document_is_written_that_would_not_be_read(build: Callable[[], PriceTable], match: str) -> None:
    with pytest.raises(DocumentRejected, match=match):
        build().to_document()


def test_equal_prices_give_equal_documents_whatever_their_order() -> None:
    one, two, three = price("b"), price("a", since=NOW), price("a", negotiated=True)
    documents = [
        PriceTable(prices, org_id=ORG, as_of=NOW).to_document() for prices in ([one, two, three], [three, one, two])
    ]
    assert documents[0] == documents[1]
    assert [row["provider"] for row in documents[0]["prices"]] == ["a", "a", "b"]


@pytest.mark.parametrize("as_of", [datetime(2026, 5, 1), datetime(1, 1, 1, tzinfo=UTC)])
def test_a_table_is_of_a_time_that_everybody_can_read(as_of: datetime) -> None:
    with pytest.raises(ValueError, match="time"):
        PriceTable(as_of=as_of)


def test_a_table_is_of_an_organisation_with_an_id() -> None:
    with pytest.raises(ValueError, match="UUID"):
        PriceTable(org_id="acme")


# --- The digest of the figures --------------------------------------------------------------------------------------


def test_the_digest_of_the_figures_is_the_one_that_stored_results_name() -> None:
    # Both taken from the code of version 1 of the replay; results in the database name digests like these.
    noon = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    table = PriceTable(
        [
            price("openai", "gpt-4o", "2.5", 10, cached_input_nano_per_million=1_250_000_000),
            price("openai", "gpt-4o", 2, 8, since=noon),
            price("openai", "gpt-4o", "0.000000001", 0, since=datetime(2026, 1, 1, tzinfo=UTC), negotiated=True),
            price("azure", "gpt-4o – ü", "999999.999999999", "0.000000003"),
        ]
    )
    assert table.digest() == "sha256:1f592c4122be926f3263fb3d9eba7938cce9143bfbde589d8080155fe07a046c"
    assert PriceTable().digest() == "sha256:4f53cda18c2baa0c0354bb5f9a3ecbe5ed12ab4d8e11ba873c2f11161202b945"


def test_the_digest_of_the_figures_depends_on_everything_that_costs_depend_on_and_on_nothing_else() -> None:
    def digest(**more: Any) -> str:
        return PriceTable([price(**more)]).digest()

    names: list[dict[str, Any]] = [
        {"provider": "q"}, {"model": "n"}, {"input": 2}, {"output": 2}, {"cached_input_nano_per_million": 10**9},
        {"since": NOW}, {"negotiated": True},
    ]  # fmt: skip
    assert len({digest(), *(digest(**more) for more in names)}) == len(names) + 1
    assert digest(max_input_tokens=1, max_output_tokens=2, retires_on=date(2027, 1, 1)) == digest()
    assert PriceTable([price()], org_id=ORG, as_of=NOW).digest() == digest()
