"""Prices of the replay: the engine's, so that what a gateway estimates is what a replay computes."""

import json
from datetime import UTC, datetime
from decimal import Decimal

from routes.engine.prices import Price, PriceTable
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
        **more,
    )


def test_the_shared_cost_cases() -> None:
    cases = json.loads(shared("cases/plans.json").read_text())["cost"]
    assert cases
    for case in cases:
        given, (tokens_in, tokens_out, cached) = case["in"]["price"], case["in"]["tok"]
        own = price(input=given["input"], output=given["output"], cached_input_nano_per_million=nano(given["cached"]))
        assert own.cost_nano(tokens_in, tokens_out, cached) == nano(case["out"]["usd"])


def test_cached_tokens_cost_the_input_price_where_there_is_no_other() -> None:
    assert price(input=2).cost_nano(10, 0, 10) == price(input=2).cost_nano(10, 0, 0)


def test_more_cached_tokens_than_input_cost_as_much_as_all_of_it() -> None:
    own = price(input=2, cached_input_nano_per_million=nano(1))
    assert own.cost_nano(10, 0, 11) == own.cost_nano(10, 0, 10) == 10_000


def test_the_lookup_tries_the_row_s_own_provider_first() -> None:
    table = PriceTable([price("a"), price("b")])
    assert table.price("b", "m", NOW) == price("b")
    assert table.price("", "m", NOW) == price("a")
    assert table.price("a", "unknown", NOW) is None


def test_the_digest_names_the_prices_whatever_their_order() -> None:
    one, two = price("a"), price("b")
    assert PriceTable([one, two]).digest() == PriceTable([two, one]).digest()
    assert PriceTable([one]).digest() != PriceTable([two]).digest()
