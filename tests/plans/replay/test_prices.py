"""Money: integers all the way, rounded once."""

import json
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plans.replay.prices import Price, PriceList, half_even
from tests.paths import shared

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def nano(usd: float | str) -> int:
    return int(Decimal(str(usd)).scaleb(9))


def price(provider: str = "p", model: str = "m", input: float = 1, output: float = 1, **more: object) -> Price:
    return Price(
        provider=provider,
        model=model,
        input_nano_per_million=nano(input),
        output_nano_per_million=nano(output),
        **more,  # type: ignore[arg-type]
    )


def test_the_shared_cost_cases() -> None:
    cases = json.loads(shared("cases/plans.json").read_text())["cost"]
    assert cases
    for case in cases:
        given, (tokens_in, tokens_out, cached) = case["in"]["price"], case["in"]["tok"]
        own = price(input=given["input"], output=given["output"], cached_input_nano_per_million=nano(given["cached"]))
        assert own.cost_nano(tokens_in, tokens_out, cached) == nano(case["out"]["usd"])


@given(*[st.integers(0, 10**7)] * 3, *[st.integers(0, 10**12)] * 3)
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
    exact = (
        (tokens_in - hit) * Decimal(price_in) + hit * Decimal(price_cached) + tokens_out * Decimal(price_out)
    ) / 10**6
    assert own.cost_nano(tokens_in, tokens_out, cached) == exact.quantize(Decimal(1), ROUND_HALF_EVEN)


@pytest.mark.parametrize(("numerator", "expected"), [(5, 0), (15, 2), (25, 2), (-5, 0), (-15, -2), (14, 1), (16, 2)])
def test_ties_go_to_the_even_one(numerator: int, expected: int) -> None:
    assert half_even(numerator, 10) == expected == round(Fraction(numerator, 10))


def test_cached_tokens_cost_the_input_price_where_there_is_no_other() -> None:
    assert price(input=2).cost_nano(10, 0, 10) == price(input=2).cost_nano(10, 0, 0)


def test_the_row_s_own_provider_is_tried_first_then_the_others_by_name() -> None:
    table = PriceList([price("a"), price("b"), price("c", "other")])
    assert getattr(table.find("b", "m", NOW), "provider", None) == "b"
    assert getattr(table.find("c", "m", NOW), "provider", None) == "a"
    assert getattr(table.find("", "m", NOW), "provider", None) == "a"
    assert table.find("a", "unknown", NOW) is None


def test_the_latest_price_that_had_begun_counts_and_a_negotiated_one_is_stronger() -> None:
    day = timedelta(days=1)
    table = PriceList(
        [
            price(input=3, since=NOW + day),
            price(input=1),
            price(input=2, since=NOW - day),
            price(input=9, negotiated=True, since=NOW + 2 * day),
        ]
    )
    found = [table.find("p", "m", at) for at in (NOW - 2 * day, NOW, NOW + day, NOW + 3 * day)]
    assert [getattr(one, "input_nano_per_million", 0) // 10**9 for one in found] == [1, 2, 3, 9]


def test_a_price_that_begins_later_is_no_price_yet() -> None:
    later = price(since=NOW + timedelta(seconds=1))
    assert PriceList([later]).find("p", "m", NOW) is None
    fallback = PriceList([later, price("q")]).find("p", "m", NOW)
    assert fallback is not None
    assert fallback.provider == "q"


def test_the_digest_names_the_prices_whatever_their_order() -> None:
    one, two = price("a"), price("b")
    assert PriceList([one, two]).digest() == PriceList([two, one]).digest()
    assert PriceList([one]).digest() != PriceList([two]).digest()
