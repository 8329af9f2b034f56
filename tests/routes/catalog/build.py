"""Price files as teams have them, and what comes of importing them."""

import json
from datetime import UTC, datetime
from typing import Any

from routes.catalog.formats import read_prices
from routes.catalog.listed import ListedPrice, PriceList
from routes.catalog.services import Imported, import_prices, price_table
from routes.orgs.models import Organization
from tests.build import BY

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
DECEMBER = datetime(2026, 12, 1, tzinfo=UTC)

#: The first entry of the published table: prose in place of values.
SAMPLE_SPEC = {
    "deprecation_date": "the day in the form YYYY-MM-DD",
    "input_cost_per_token": 0.0,
    "output_cost_per_token": 0.0,
    "litellm_provider": "one of the providers",
    "max_input_tokens": "as many as the provider says",
    "mode": "one of: chat, embedding",
    "supports_vision": True,
}


def entry(input: Any = "2.5e-06", output: Any = "1e-05", **keys: Any) -> str:
    """An entry of the LiteLLM table as JSON; costs are given as they are written."""
    given = {"litellm_provider": "openai", "mode": "chat", **keys}
    costs = {"input_cost_per_token": input, "output_cost_per_token": output}
    written = [f'"{name}": {cost}' for name, cost in costs.items() if cost is not None]
    return "{" + ", ".join([*written, *(f'"{key}": {json.dumps(value)}' for key, value in given.items())]) + "}"


def table(**entries: str) -> bytes:
    """A LiteLLM table of these entries, behind its sample."""
    named = [f'"{name}": {written}' for name, written in entries.items()]
    return ("{" + ",\n".join([f'"sample_spec": {json.dumps(SAMPLE_SPEC)}', *named]) + "}").encode()


def litellm(**entries: str) -> PriceList:
    return read_prices(table(**entries))


def own(model: str = "gpt-4o", input: float = 2.5, output: float = 10, **columns: Any) -> dict[str, Any]:
    return {
        "provider": "openai",
        "model": model,
        "input_usd_per_million": input,
        "output_usd_per_million": output,
        **columns,
    }


def own_list(*rows: Any) -> PriceList:
    return read_prices(json.dumps(rows).encode())


def by_model(file: PriceList) -> dict[str, ListedPrice]:
    return {f"{price.provider}/{price.model}": price for price in file.prices}


def do(file: PriceList, **options: Any) -> Imported:
    return import_prices(file, by=BY, source="test", **options)


def cost(model: str, at: datetime, org: Organization | None = None, provider: str = "openai") -> int | None:
    """Nano-dollars of a million input tokens, as a replay prices them."""
    price = price_table(org).price(provider, model, at)
    return None if price is None else price.cost_nano(1_000_000, 0)
