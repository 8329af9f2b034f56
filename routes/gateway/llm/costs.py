"""What a request may cost before it is sent, and what it cost."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from routes.engine import PriceTable
from routes.engine.money import nano_usd


def ceiling_nano(max_cost_usd: int | float | None) -> int | None:
    """A decision's ceiling in nano-dollars."""
    return None if max_cost_usd is None else nano_usd(max_cost_usd)


def cost_nano(
    prices: PriceTable,
    provider: str,
    model: str,
    *,
    input_tokens: int,
    output_tokens: int,
    cached_tokens: int = 0,
    at: datetime,
) -> int | None:
    """Nano-dollars by the price of this provider, else of the first other that lists the model; None without a price."""
    price = prices.price(provider, model, at)
    return None if price is None else price.cost_nano(input_tokens, output_tokens, cached_tokens)


def usd_text(nano: int | None) -> str | None:
    """US dollars with nine decimals, as logs are sent, so that no double stands in between."""
    return None if nano is None else f"{Decimal(nano).scaleb(-9):.9f}"
