"""Plain counts and totals of the rows of a part of a log."""

from collections import Counter
from dataclasses import dataclass, field, fields

REASONS = ("failed", "repeated", "shadow", "unpriced")


def _reasons() -> Counter[str]:
    return Counter(dict.fromkeys(REASONS, 0))


@dataclass(slots=True)
class Counts:
    """Money is in nano-dollars. What is counted by name is counted in rows."""

    #: Rows read, and of these left out, by reason.
    rows: int = 0
    excluded: Counter[str] = field(default_factory=_reasons)
    sample_size: int = 0
    paid: int = 0
    baseline: int = 0
    current: int = 0
    projected: int = 0
    #: What supposed caches save of `current`.
    current_hits: int = 0
    #: Served by another model or provider than under today's routes; at another cost.
    rerouted: int = 0
    repriced: int = 0
    #: Refused by today's and by the proposed routes.
    refused_now: int = 0
    refused_then: int = 0
    #: What was paid stands on both sides.
    kept: int = 0
    #: Because of a case: for want of a price, or because nobody knows whether a route or a name decided who served.
    unpriceable: int = 0
    no_price: int = 0
    unclear: int = 0
    #: Above a ceiling; paid, but not by tokens.
    too_dear: int = 0
    no_tokens: int = 0
    #: Served under another name than was asked for, though no route says so, which no side changes.
    as_asked: int = 0
    unknown_prices: Counter[str] = field(default_factory=Counter)
    over_ceiling: Counter[str] = field(default_factory=Counter)
    #: By model that served, of a sample: rows, those with a bill far from the price, and both in all.
    compared: Counter[str] = field(default_factory=Counter)
    off: Counter[str] = field(default_factory=Counter)
    billed: Counter[str] = field(default_factory=Counter)
    listed: Counter[str] = field(default_factory=Counter)
    #: At the price of a provider that nobody named, though others ask for another, by model.
    guessed: Counter[str] = field(default_factory=Counter)
    #: Copies to shadow models that nobody gets today, by model.
    copied: Counter[str] = field(default_factory=Counter)
    no_baseline: int = 0
    #: Decided on the bill, by the fact that nobody logged.
    from_bill: Counter[str] = field(default_factory=Counter)
    facts_from_bill: int = 0
    #: Answered by the gateway's cache in truth: sent elsewhere by the proposed routes; kept from the cache by these alone.
    cached_rerouted: int = 0
    cache_disabled: int = 0
    #: Hits of the projected caches under the proposed routes.
    cache_hits: int = 0
    #: Rows without a digest, where an exact cache is projected.
    no_digest: int = 0
    #: Rows of unknown latency; those that keep theirs, because a target has none in the window, and by that model.
    no_latency: int = 0
    own_latency: int = 0
    no_history: Counter[str] = field(default_factory=Counter)
    #: Sent by the proposed routes to models that will be retired, by model.
    retiring: Counter[str] = field(default_factory=Counter)
    synthetic: Counter[str] = field(default_factory=Counter)
    #: Rows of which a fact is unknown, by fact.
    unknown: Counter[str] = field(default_factory=Counter)
    #: Rows that unknown facts might let another route take: how many, what they cost under today's routes, and the
    #: least and the most that the plan might save on them.
    open_rows: int = 0
    open_current: int = 0
    open_low: int = 0
    open_high: int = 0
    #: What the plan saves on them as they were decided.
    open_saved: int = 0
    #: Rows and what they cost by model: as they were served and paid, under today's, and under the proposed routes. What is
    #: refused is in none of them.
    served: Counter[str] = field(default_factory=Counter)
    served_paid: Counter[str] = field(default_factory=Counter)
    served_now: Counter[str] = field(default_factory=Counter)
    current_by_model: Counter[str] = field(default_factory=Counter)
    served_then: Counter[str] = field(default_factory=Counter)
    projected_by_model: Counter[str] = field(default_factory=Counter)
    #: By the number of a span of time (`plans.replay.series`), as text: names are texts also where they are stored.
    rows_at: Counter[str] = field(default_factory=Counter)
    current_at: Counter[str] = field(default_factory=Counter)
    projected_at: Counter[str] = field(default_factory=Counter)

    def merge(self, other: "Counts") -> None:
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, each.name, mine + theirs)
