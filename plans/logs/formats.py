"""Reading request logs from files: bytes in, rows or refusals out. Pure: no database, no settings.

A reader is a generator over a binary stream. It answers a `Row` or a `Refusal` for every record and raises nothing for
whatever the bytes are. A header that cannot be used is one refusal of line 1, and then the end.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import IO, Any

from plans.errors import PlansError
from plans.logs import cells
from routes.engine.prices import Price, PriceTable

AZURE_COLUMNS = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
#: The columns of a row that the Azure traces do not have.
AZURE_SYNTHETIC = ("model", "requested_model", "provider", "cost_usd", "baseline_cost_usd", "latency_ms")
REQUIRED = ("request_id", "ts", "model", "input_tokens", "output_tokens")


@dataclass(frozen=True, slots=True)
class Row:
    """A record that can be stored. `values` are columns of `RequestLog`; absent ones take their default there."""

    line: int
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A record that cannot be stored. `line` is where it begins, as an editor counts: the header is line 1."""

    line: int
    reason: str


Item = Row | Refusal


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


def read_azure_trace(
    stream: IO[bytes], *, file_name: str, provider: str, model: str, prices: PriceTable
) -> Iterator[Item]:
    """The rows of an Azure LLM inference trace of 2023: `TIMESTAMP,ContextTokens,GeneratedTokens`, times in UTC.

    What the trace lacks is invented by fixed rules and named in `synthetic`: `model` served everything, at its price
    in force at the row's time (a row from before any price is refused), within `invented_latency_ms`. The id of a row
    is `<file name>:<line>`, so importing a file again repeats the same ids.
    """
    records = _records(stream)
    header = next(records, None)
    if header is None or isinstance(header, Refusal) or tuple(header[1]) != AZURE_COLUMNS:
        yield _no_header(header, f"the header of an Azure trace is exactly {','.join(AZURE_COLUMNS)}")
        return
    for record in records:
        if isinstance(record, Refusal):
            yield record
            continue
        line, found = record
        try:
            at, context, generated = cells.counted(found, len(AZURE_COLUMNS))
            ts = cells.read("TIMESTAMP", cells.trace_time, at)
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


def read_csv(stream: IO[bytes]) -> Iterator[Item]:
    """The rows of our own CSV: UTF-8, a header of `cells.COLUMNS` in any order, of which `REQUIRED` must be there.

    An empty cell is the column's default; `requested_model` without a value is the model that served.
    """
    records = _records(stream)
    header = next(records, None)
    if header is None or isinstance(header, Refusal):
        yield _no_header(header, f"the first line names the columns, at least {', '.join(REQUIRED)}")
        return
    columns = header[1]
    if wrong := _wrong_columns(columns):
        yield Refusal(header[0], wrong)
        return
    for record in records:
        if isinstance(record, Refusal):
            yield record
            continue
        line, found = record
        try:
            given = zip(columns, cells.counted(found, len(columns)), strict=True)
            values = {name: cells.read(name, cells.COLUMNS[name], cell) for name, cell in given if cell != ""}
            if lacking := [name for name in REQUIRED if name not in values]:
                raise cells.Refused(f"{lacking[0]}: is empty, and has to be there")
        except cells.Refused as refused:
            yield Refusal(line, str(refused))
        else:
            yield Row(line, {"requested_model": values["model"], **values})


def _records(stream: IO[bytes]) -> Iterator[tuple[int, list[str]] | Refusal]:
    """Each record with the line where it begins. Blank lines are no records."""
    # Bytes that are not UTF-8 come through as lone surrogates, so that a single cell can be refused for them.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    reader = csv.reader(text, strict=True)
    try:
        while True:
            line = reader.line_num + 1
            try:
                record = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                # The reader goes on with the line after the one at which it gave up.
                yield Refusal(line, f"cannot be read as CSV: {error}")
                continue
            if record:
                yield line, record
    finally:
        text.detach()  # whoever opened the stream closes it


def _no_header(found: tuple[int, list[str]] | Refusal | None, wanted: str) -> Refusal:
    if found is None:
        return Refusal(1, f"the file is empty; {wanted}")
    if isinstance(found, Refusal):
        return Refusal(found.line, f"{found.reason}; {wanted}")
    return Refusal(found[0], f"{wanted}, not {cells.shown(','.join(found[1]))}")


def _wrong_columns(columns: list[str]) -> str | None:
    """Why these cannot be the columns of a file, or None."""
    if unknown := [name for name in columns if name not in cells.COLUMNS]:
        names = ", ".join(cells.shown(name) for name in unknown[:5])
        return f"unknown column in the header: {names}; known are {', '.join(cells.COLUMNS)}"
    if twice := sorted({name for name in columns if columns.count(name) > 1}):
        return f"column in the header twice: {', '.join(twice)}"
    if lacking := [name for name in REQUIRED if name not in columns]:
        return f"column missing in the header: {', '.join(lacking)}"
    return None
