"""What tokens cost, exactly: integers all the way, rounded once per request."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256

from routes.engine.canonical import canonical_bytes

PER = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """Integer nano-dollars per million tokens. `since` None: in force since ever. `negotiated` is stronger."""

    provider: str
    model: str
    input_nano_per_million: int
    output_nano_per_million: int
    cached_input_nano_per_million: int | None = None
    since: datetime | None = None
    negotiated: bool = False

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


class PriceList:
    """Prices to look up by provider, model and time."""

    def __init__(self, prices: Iterable[Price]) -> None:
        self.prices = tuple(sorted(prices, key=_key))
        self._by_model: dict[str, dict[str, list[Price]]] = {}
        for price in self.prices:
            self._by_model.setdefault(price.model, {}).setdefault(price.provider, []).append(price)

    def find(self, provider: str, model: str, at: datetime) -> Price | None:
        """The price of this model at this time: of this provider, else of the first other that lists the model.

        Of several that began by then a negotiated one is stronger, and otherwise the latest.
        """
        providers = self._by_model.get(model, {})
        for name in (provider, *sorted(providers)):
            found = None
            for price in providers.get(name, ()):  # weakest first
                if price.since is None or price.since <= at:
                    found = price
            if found is not None:
                return found
        return None

    def digest(self) -> str:
        """Names the whole list: equal prices, equal digest."""
        rows = [
            [
                price.provider, price.model, None if price.since is None else price.since.astimezone(UTC).isoformat(),
                price.negotiated, price.input_nano_per_million, price.output_nano_per_million,
                price.cached_input_nano_per_million,
            ]
            for price in self.prices
        ]  # fmt: skip
        return "sha256:" + sha256(canonical_bytes(rows)).hexdigest()


def _key(price: Price) -> tuple[str, str, bool, float]:
    """By provider and model, and there from the weakest to the strongest."""
    since = float("-inf") if price.since is None else price.since.timestamp()
    return price.provider, price.model, price.negotiated, since
