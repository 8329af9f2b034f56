"""`PriceTable`: what tokens cost, exactly: integers all the way, rounded once per request.

The one place that looks prices up and multiplies them with tokens, so that the estimate a gateway decides on, the cost
it books and the cost a replay projects agree to the nano-dollar.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from routes.engine.canonical import MAX_INTEGER, canonical_bytes
from routes.engine.document import parse_json
from routes.engine.errors import DocumentRejected
from routes.engine.ids import canonical_uuid
from routes.engine.money import nano_usd, usd_number
from routes.engine.reading import ON_LOAD, ON_WRITE, Reading, below, shown
from routes.engine.times import read_time, utc, write_time

if TYPE_CHECKING:
    from uuid import UUID

SCHEMA = 1
PER = 1_000_000
#: The output that an estimate supposes where the request sets no limit.
DEFAULT_OUTPUT_TOKENS = 1_000
#: Of one document on write; a load accepts twice as many.
MAX_PRICES = 10_000

_MAX_DEPTH = 8  # a price document has three levels
_MAX_RAW_BYTES = 16 * 1024 * 1024
_ENVELOPE = ("schema", "org_id", "as_of", "digest", "prices")
_PRICE = (
    "provider", "model", "input_usd_per_million", "output_usd_per_million", "cached_input_usd_per_million", "since",
    "negotiated", "max_input_tokens", "max_output_tokens", "retires_on",
)  # fmt: skip
_is_day = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII).fullmatch


# --- Values ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Integer nano-dollars per million tokens. `since` (aware) None: in force since ever. `negotiated` is stronger.

    What the provider says of the model besides, None where nobody knows: `max_input_tokens`, `max_output_tokens`, and
    `retires_on`, the first day on which it serves no more. No cost depends on these three.
    """

    provider: str
    model: str
    input_nano_per_million: int
    output_nano_per_million: int
    cached_input_nano_per_million: int | None = None
    since: datetime | None = None
    negotiated: bool = False
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    retires_on: date | None = None

    def cost_nano(self, input_tokens: int, output_tokens: int, cached_tokens: int = 0) -> int:
        """Integer nano-dollars of a request, rounded half to even once.

        (input - cached) x input price + cached x cached price + output x output price, where cached is at most the input
        and costs the input price where there is no other.
        """
        cached = min(cached_tokens, input_tokens)
        cached_price = self.cached_input_nano_per_million
        if cached_price is None:
            cached_price = self.input_nano_per_million
        return half_even(
            (input_tokens - cached) * self.input_nano_per_million
            + cached * cached_price
            + output_tokens * self.output_nano_per_million,
            PER,
        )


def half_even(numerator: int, denominator: int) -> int:
    """The quotient rounded to the nearest integer, ties to the even one. `denominator` is positive."""
    whole, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and whole % 2):
        whole += 1
    return whole


def max_output_tokens(body: object) -> int:
    """How many output tokens to suppose for an OpenAI chat-completions body.

    `max_completion_tokens`, else `max_tokens`, else 1,000. What is no integer from 0 counts as not given; more than
    2**53 - 1 counts as that, because somebody who asks for absurdly much must not look cheap. Never raises.
    """
    if isinstance(body, Mapping):
        for key in ("max_completion_tokens", "max_tokens"):
            limit = body.get(key)
            if isinstance(limit, int) and not isinstance(limit, bool) and limit >= 0:
                return min(limit, MAX_INTEGER)
    return DEFAULT_OUTPUT_TOKENS


# --- Looking up -----------------------------------------------------------------------------------------------------


class PriceTable:
    """Prices to look up by provider, model and time. Not to be changed after it was built; threads may share it.

    `prices` are in the order of provider and model, and there from the weakest to the strongest; of several with the
    same provider, model, `since` and `negotiated` the last given counts (a document with such is refused). `org_id`
    says whom they hold for, None: for everybody; `as_of` (aware UTC or None) when they were read.
    """

    __slots__ = ("_by_model", "as_of", "org_id", "prices")

    def __init__(
        self, prices: Iterable[Price] = (), *, org_id: str | UUID | None = None, as_of: datetime | None = None
    ) -> None:
        self.prices = tuple(sorted(prices, key=_key))
        self.org_id = None if org_id is None else canonical_uuid(org_id)
        self.as_of = None if as_of is None else utc(as_of)
        found: dict[str, dict[str, list[Price]]] = {}
        for price in self.prices:
            found.setdefault(price.model, {}).setdefault(price.provider, []).append(price)
        #: By model the providers in the order of their names, and of each the prices from the strongest to the weakest.
        self._by_model = {
            model: {provider: tuple(reversed(listed)) for provider, listed in providers.items()}
            for model, providers in found.items()
        }

    @classmethod
    def from_document(cls, raw: object) -> PriceTable:
        """The table of a price document: JSON bytes in UTF-8, or the object that they stand for.

        `{"schema": 1, "org_id", "as_of", "digest", "prices": [...]}`. `org_id` is null for the prices of everybody,
        `as_of` RFC 3339, `digest` is `sha256:` and the hex SHA-256 of the RFC 8785 bytes of `prices`. A price has
        `provider`, `model`, `input_usd_per_million` and `output_usd_per_million`, and may have
        `cached_input_usd_per_million`, `since` (RFC 3339), `negotiated` (only where there is an `org_id`),
        `max_input_tokens`, `max_output_tokens` and `retires_on` (`2027-03-31`); null is the same as left out. Amounts
        are numbers of US dollars from 0 to 1,000,000 with at most nine decimals.

        Raises `DocumentRejected`, and nothing else, for everything that is not exactly this: a higher schema, unknown
        keys, a price that is there twice, a wrong digest. Prices are taken all or none: without one of them the next
        provider's would stand in, unnoticed.
        """
        if isinstance(raw, bytes | bytearray):
            raw = parse_json(bytes(raw), _MAX_DEPTH, _MAX_RAW_BYTES)
        envelope = _checked_envelope(raw)
        prices = _read_prices(envelope["prices"], ON_LOAD, negotiable=envelope["org_id"] is not None)
        if envelope["digest"] != _sha256(envelope["prices"]):
            raise DocumentRejected("The digest is not that of the prices.")
        try:
            return cls(prices, org_id=envelope["org_id"], as_of=read_time(envelope["as_of"]))
        except ValueError as error:
            raise DocumentRejected(f"org_id or as_of: {error}") from None

    def to_document(self) -> dict[str, Any]:
        """The price document, as `from_document` reads it; defaults are left out. Equal prices have equal digests,
        whoever they hold for and whenever they were read. Raises `DocumentRejected` where no engine would load it,
        and where `as_of` is not known."""
        if self.as_of is None:
            raise DocumentRejected("as_of is missing: when were these prices read?")
        prices = [_write_price(price) for price in self.prices]
        _read_prices(prices, ON_WRITE, negotiable=self.org_id is not None)
        return {
            "schema": SCHEMA,
            "org_id": self.org_id,
            "as_of": write_time(self.as_of),
            "digest": _sha256(prices),
            "prices": prices,
        }

    def price(self, provider: str, model: str, at: datetime) -> Price | None:
        """The price of this model at this time: of this provider, else of the first other that lists the model.

        Of several that began by then a negotiated one is stronger, and otherwise the latest. Providers are in the order
        of their names; one whose prices all begin later does not list the model yet. Raises `ValueError` for a time
        without a zone.
        """
        if at.tzinfo is None:
            # Said at once, and not only when the first price with a start joins the table.
            raise ValueError("A price is looked up at a time with a zone.")
        providers = self._by_model.get(model)
        if providers is None:
            return None
        for prices in (providers.get(provider, ()), *providers.values()):
            for price in prices:
                if price.since is None or price.since <= at:
                    return price
        return None

    def estimate(
        self, model: str | None, input_tokens: int | None, max_output_tokens: int | None, at: datetime
    ) -> int | float | None:
        """What a request for this model may cost, in USD, before anybody served it.

        Input x input price + output x output price of the **requested** model, rounded half to even once to whole
        nano-dollars; of several providers that list it, that of the first in the order of their names. Without
        `max_output_tokens` 1,000 are supposed; `prices.max_output_tokens` reads them from a chat body. None where there
        is no price, or model or input are unknown: no estimate.

        The answer is the JSON number of those nano-dollars, which `RequestContext(estimated_cost_usd=...)` turns back
        into exactly them (beyond eight million dollars into the nearest double, far above any threshold). Token counts
        that are no integers raise `TypeError`, beyond 0 to 2**53 - 1 `ValueError`.
        """
        output_tokens = DEFAULT_OUTPUT_TOKENS if max_output_tokens is None else max_output_tokens
        if model is None or input_tokens is None:
            return None
        for tokens in (input_tokens, output_tokens):
            if not isinstance(tokens, int) or tokens is True or tokens is False:
                raise TypeError(f"Tokens are counted as int, not {type(tokens).__name__}.")
            if not 0 <= tokens <= MAX_INTEGER:
                raise ValueError(f"Tokens are from 0 to 2**53 - 1, not {shown(tokens)}.")
        price = self.price("", model, at)
        return None if price is None else usd_number(price.cost_nano(input_tokens, output_tokens))

    def digest(self) -> str:
        """Names everything that costs depend on: equal figures, equal digest. What a replay gives as `prices_digest`.

        Not the digest of the document, which also covers what the provider says besides.
        """
        rows = [
            [
                price.provider, price.model, None if price.since is None else price.since.astimezone(UTC).isoformat(),
                price.negotiated, price.input_nano_per_million, price.output_nano_per_million,
                price.cached_input_nano_per_million,
            ]
            for price in self.prices
        ]  # fmt: skip
        return _sha256(rows)


def _key(price: Price) -> tuple[str, str, bool, float]:
    """By provider and model, and there from the weakest to the strongest."""
    since = float("-inf") if price.since is None else price.since.timestamp()
    return price.provider, price.model, price.negotiated, since


def _sha256(value: object) -> str:
    import hashlib  # at the first table that is named: its import costs milliseconds

    return f"sha256:{hashlib.sha256(canonical_bytes(value)).hexdigest()}"


# --- The document ---------------------------------------------------------------------------------------------------


def _checked_envelope(raw: object) -> dict[str, Any]:
    """The keys of a price document, each of its type; the prices are not read yet."""
    if not isinstance(raw, dict):
        raise DocumentRejected(f"A price document is an object, not {shown(raw)}.")
    schema = raw.get("schema")
    if isinstance(schema, int) and not isinstance(schema, bool) and schema > SCHEMA:
        # First, because a newer schema may have other keys.
        raise DocumentRejected(f"The price document has schema {shown(schema)}; this engine reads up to {SCHEMA}.")
    for wrong, said in ((set(_ENVELOPE) - set(raw), "lacks"), (set(raw) - set(_ENVELOPE), "has unknown")):
        if wrong:
            listed = ", ".join(sorted(shown(key) for key in sorted(wrong, key=str)[:5]))
            raise DocumentRejected(f"The price document {said} {listed}.")
    if isinstance(schema, bool) or schema != SCHEMA or not isinstance(schema, int):
        raise DocumentRejected(f"schema is {SCHEMA}, not {shown(schema)}.")
    if not isinstance(raw["org_id"], str | None):
        raise DocumentRejected("org_id is null or the text of a UUID.")
    if not isinstance(raw["prices"], list):
        raise DocumentRejected("prices is a list.")
    return raw


def _read_prices(rows: list[Any], scale: int, *, negotiable: bool) -> list[Price]:
    """The prices of the rows, or `DocumentRejected` with everything that is wrong with the first row that is refused."""
    if len(rows) > MAX_PRICES * scale:
        raise DocumentRejected(f"The document has more than {MAX_PRICES * scale:,} prices.")
    reading = Reading(scale)
    seen: dict[tuple[object, ...], int] = {}
    prices = []
    for index, row in enumerate(rows):
        path = f"prices[{index}]"
        price = _read_price(row, path, reading)
        if price is not None:
            first = seen.setdefault((price.provider, price.model, price.negotiated, price.since), index)
            if first != index:
                reading.add(path, "duplicate_value", f"This price is also at [{first}].")
            if price.negotiated and not negotiable:
                reading.add(below(path, "negotiated"), "conflict", "Negotiated with whom? org_id is null.")
            prices.append(price)
        if reading.issues:
            raise DocumentRejected("; ".join(f"{issue['path']}: {issue['message']}" for issue in reading.issues))
    return prices


def _read_price(raw: object, path: str, reading: Reading) -> Price | None:
    values = reading.fields(raw, path, _PRICE, _PRICE[:4])
    for key in ("provider", "model"):
        if key in values:
            values[key] = reading.text(values[key], below(path, key))
    for key in ("input", "output", "cached_input"):
        name = f"{key}_usd_per_million"
        if name in values:
            raw_usd, where = values.pop(name), below(path, name)
            optional = key == "cached_input"
            usd = reading.optional(reading.usd, raw_usd, where) if optional else reading.usd(raw_usd, where)
            values[f"{key}_nano_per_million"] = None if usd is None else nano_usd(usd)
    for key in ("max_input_tokens", "max_output_tokens"):
        values[key] = reading.optional(reading.whole, values.get(key), below(path, key))
    values["since"] = reading.optional(reading.time, values.get("since"), below(path, "since"))
    values["negotiated"] = reading.optional(reading.flag, values.get("negotiated"), below(path, "negotiated")) or False
    values["retires_on"] = _read_day(values.get("retires_on"), below(path, "retires_on"), reading)
    return None if reading.issues else Price(**values)


def _read_day(raw: object, path: str, reading: Reading) -> date | None:
    if isinstance(raw, str) and _is_day(raw):
        try:
            return date.fromisoformat(raw)
        except ValueError:
            reading.add(path, "unsupported_value", "There is no such day.")
    elif raw is not None:
        code = "unsupported_value" if isinstance(raw, str) else "wrong_type"
        reading.add(path, code, f"A day reads like 2027-03-31, not {shown(raw)}.")
    return None


def _write_price(price: Price) -> dict[str, Any]:
    written: dict[str, Any] = {
        "provider": price.provider,
        "model": price.model,
        "input_usd_per_million": usd_number(price.input_nano_per_million),
        "output_usd_per_million": usd_number(price.output_nano_per_million),
    }
    if price.cached_input_nano_per_million is not None:
        written["cached_input_usd_per_million"] = usd_number(price.cached_input_nano_per_million)
    if price.since is not None:
        written["since"] = write_time(price.since)
    if price.negotiated:
        written["negotiated"] = True
    for key in ("max_input_tokens", "max_output_tokens"):
        if (tokens := getattr(price, key)) is not None:
            written[key] = tokens
    if price.retires_on is not None:
        written["retires_on"] = price.retires_on.isoformat()
    return written
