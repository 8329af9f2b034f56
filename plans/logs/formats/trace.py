"""The Azure LLM inference traces of 2023: three columns, and rules for what they lack."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from difflib import get_close_matches

from plans.errors import PlansError
from plans.logs import cells
from plans.logs.formats.items import Item, Refusal, Row
from plans.logs.formats.records import CsvRecords
from routes.engine.prices import Price, PriceTable

AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
#: The columns of a row that the Azure traces do not have.
AZURE_SYNTHETIC = ("model", "requested_model", "provider", "cost_usd", "baseline_cost_usd", "latency_ms")
_TRACE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d+))?", re.ASCII)


class UnpricedModel(PlansError):
    """No price, or no single provider's price, belongs to the name of a model."""

    code = "unpriced_model"


def priced_model(prices: PriceTable, name: str) -> tuple[str, str]:
    """(provider, model) of `gpt-4o`, or of `openai/gpt-4o` where several providers list it. Raises `UnpricedModel`."""
    listed = sorted({(price.provider, price.model) for price in prices.prices})
    found = [pair for pair in listed if name in (pair[1], "/".join(pair))]
    if len(found) == 1:
        return found[0]
    if found:
        choices = " or ".join("/".join(pair) for pair in found)
        raise UnpricedModel(f"{name} is priced for {len(found)} providers; write {choices}.")
    models = sorted({model for _, model in listed})
    if not models:
        raise UnpricedModel(f"{name} has no price, nor has any model. Add those shipped: manage.py install_prices")
    close = get_close_matches(name, models, n=5, cutoff=0.4) or models[:5]
    raise UnpricedModel(f"{name} has no price. Of the {len(models)} models that have one: {', '.join(close)}.")


def cost_usd(price: Price, input_tokens: int, output_tokens: int) -> Decimal:
    """US dollars with nine decimals, from the exact integer nano-dollars."""
    return Decimal(price.cost_nano(input_tokens, output_tokens)).scaleb(-9)


def invented_latency_ms(input_tokens: int, output_tokens: int) -> int:
    """The latency of a request of a trace without any: 250 ms + 0.2 ms per input and 15 ms per output token.

    An invention, not a measurement: a fixed rule, so that the same trace always gives the same rows. Rows that have it
    name `latency_ms` in `synthetic`.
    """
    return 250 + input_tokens // 5 + 15 * output_tokens


def trace_rows(records: CsvRecords, *, file_name: str, provider: str, model: str, prices: PriceTable) -> Iterator[Item]:
    """The rows of an Azure LLM inference trace of 2023: `TIMESTAMP,ContextTokens,GeneratedTokens`, times in UTC.

    What the trace lacks is invented by fixed rules and named in `synthetic`: `model` served everything, at its price
    in force at the row's time (a row from before any price is refused), within `invented_latency_ms`. The id of a row
    is `<file name>:<line>`, so importing a file again repeats the same ids.
    """
    if records.header != AZURE_COLUMNS:
        wanted = f"the header of an Azure trace is exactly {','.join(AZURE_COLUMNS)}"
        if records.header is None:
            reason = records.problem.reason if records.problem else "is empty"
            yield Refusal(1, f"{reason}; {wanted}")
        else:
            yield Refusal(1, f"{wanted}, not {cells.shown(','.join(records.header))}")
        return
    for record in records:
        if isinstance(record, Refusal):
            yield record
            continue
        line = record.line
        try:
            at, context, generated = record.cells
            ts = cells.read("TIMESTAMP", _time, at)
            input_tokens = cells.read("ContextTokens", cells.tokens, context)
            output_tokens = cells.read("GeneratedTokens", cells.tokens, generated)
            price = prices.price(provider, model, ts)
            if price is None:
                raise cells.Refused(f"TIMESTAMP: {cells.shown(at)} is before any price of {model}")
            cost = cost_usd(price, input_tokens, output_tokens)
            latency_ms = invented_latency_ms(input_tokens, output_tokens)
            if cost > cells.MAX_USD or latency_ms > cells.MAX_MS:
                raise cells.Refused("ContextTokens, GeneratedTokens: too many to have a cost and a latency")
            values = {
                "request_id": cells.read("request_id", cells.text(200), f"{file_name}:{line}"),
                "ts": ts,
                "provider": price.provider,
                "model": model,
                "requested_model": model,
                "input_tokens": input_tokens,
                "output_tokens": output_tokens,
                "cost_usd": cost,
                "baseline_cost_usd": cost,
                "latency_ms": latency_ms,
                "synthetic": list(AZURE_SYNTHETIC),
            }
        except cells.Refused as refused:
            yield Refusal(line, str(refused))
        else:
            yield Row(line, values)


def _time(raw: str) -> datetime:
    """A time of the Azure traces: no zone, UTC. They have seven digits of a second; the seventh is cut off."""
    found = _TRACE_TIME.fullmatch(raw)
    if not found:
        raise cells.Refused("is not a time as 2023-11-16 18:15:46.6805900")
    *digits, fraction = found.groups()
    return cells.instant(digits, fraction, UTC)
