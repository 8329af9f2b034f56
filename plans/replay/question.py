"""What a replay is asked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Final, get_args

from plans.replay.columns.block import microseconds_of
from plans.replay.deciding.decisions import draws
from plans.replay.deciding.facts import COLUMNS_OF_FACTS
from plans.replay.deciding.matches import facts_of_engines
from plans.replay.sure import Method
from routes.engine import Action, Engine
from routes.engine.prices import PriceTable

#: Of the replay: changes when the same input may give another result.
VERSION: Final = "6"
#: Similarities, from -1 to 1, at which a semantic cache is tried unless others are asked for.
L2_THRESHOLDS: Final = (0.85, 0.90, 0.92, 0.95)
METHODS: Final[tuple[str, ...]] = get_args(Method)
#: Read whatever is asked.
_ALWAYS: Final = frozenset({
    "ts", "request_id", "kind", "status", "provider", "model", "requested_model", "input_tokens", "output_tokens",
    "cached_tokens", "cost_nano", "baseline_cost_nano", "cluster_key", "latency_ms", "cached", "routed",
    "fact_input_tokens", "fact_estimated_cost_nano", "synthetic",
})  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Had `proposed` been live instead of `current`, what would the rows have cost and how fast would they have been?"""

    current: Engine
    proposed: Engine
    #: Prices in force at each row's time.
    prices: PriceTable
    seed: int = 1
    #: Draws of an interval.
    iterations: int = 10_000
    interval_method: Method = "random_subsets"
    #: [start, end): says which UTC days are whole, and so whether days may be the units; without it they are not.
    window: tuple[datetime, datetime] | None = None
    #: How long an answer is kept; None: no such cache.
    l1_ttl_seconds: float | None = None
    l2_ttl_seconds: float | None = None
    l2_threshold_sweep: tuple[float, ...] = L2_THRESHOLDS
    #: One of the sweep at which hits cost nothing; None: they are only counted.
    l2_priced_threshold: float | None = None
    columns: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        """Raises `ValueError` for what cannot be asked."""
        if self.iterations < 2:
            raise ValueError("A subset and its complement are two iterations; there are none in fewer.")
        if not 0 <= self.seed < 2**64:
            raise ValueError("The seed is a whole number from 0 to 2^64 - 1.")
        if self.interval_method not in METHODS:
            raise ValueError(f"The method of the intervals is {' or '.join(METHODS)}.")
        if self.window is not None and any(edge.tzinfo is None for edge in self.window):
            raise ValueError("The edges of the window are times with a zone.")
        for ttl in (self.l1_ttl_seconds, self.l2_ttl_seconds):
            if ttl is not None and not 0 < ttl <= 10**9:
                raise ValueError("A time to live is from 0 to a billion seconds, or None.")
        if not all(-1 <= threshold <= 1 for threshold in self.l2_threshold_sweep):
            raise ValueError("A similarity is from -1 to 1.")
        if self.l2_priced_threshold is not None and self.l2_priced_threshold not in self.l2_threshold_sweep:
            raise ValueError("The threshold that is priced is one of those that are tried.")
        object.__setattr__(self, "columns", self._columns())

    def _columns(self) -> frozenset[str]:
        columns = set(_ALWAYS)
        for fact in facts_of_engines([self.current, self.proposed]):
            columns.update(COLUMNS_OF_FACTS.get(fact, ()))
        if any(map(draws, self._actions)):
            columns.add("fact_sticky_key")
        if self.l1_ttl_seconds is not None:
            columns |= {"request_digest", "tag"}
        if self.l2_ttl_seconds is not None:
            columns |= {"embedding", "finish_reason"}
        return frozenset(columns)

    def key(self, state: str) -> bytes:
        """Names everything that the sums over rows depend on, with the state of their source; 32 bytes. Sums of questions
        with one key go together."""
        prices = [(price.provider, price.model, price.retires_on) for price in self.prices.prices]
        asked = (
            VERSION, state, self.current.digest, self.proposed.digest, self.prices.digest(), prices, self.window,
            self.l1_ttl_seconds, self.l2_ttl_seconds, self.l2_threshold_sweep, self.l2_priced_threshold,
        )  # fmt: skip
        return sha256(repr(asked).encode()).digest()

    @property
    def _actions(self) -> Iterator[Action]:
        for engine in (self.current, self.proposed):
            yield from (route.then for route in engine.routes if route.enabled)
            if engine.default is not None:
                yield engine.default

    @property
    def may_disable_cache(self) -> bool:
        """Whether a cache's hits depend on what is decided."""
        return any(action.disable_cache or action.refuse is not None for action in self._actions)

    @property
    def supposes_caches(self) -> bool:
        """Whether a cache is projected at all."""
        return self.l1_ttl_seconds is not None or self.l2_ttl_seconds is not None

    @property
    def has_caches(self) -> bool:
        """Whether some requests cost nothing because a projected cache answers them."""
        return self.l1_ttl_seconds is not None or self._prices_l2

    @property
    def _prices_l2(self) -> bool:
        return self.l2_ttl_seconds is not None and self.l2_priced_threshold is not None

    @property
    def whole_days(self) -> range:
        """The UTC days, counted from 1970, that lie entirely inside the window."""
        if self.window is None:
            return range(0)
        day = 86_400_000_000
        start, end = map(microseconds_of, self.window)
        return range(-(-start // day), end // day)
