"""What each logged request comes to, a second time, slowly and plainly: one row after the other, fractions of dollars,
lists and loops.

It shares with the replay only its input values, `Engine.decide` and the figures of prices.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from itertools import product

from plans.replay import LogRow, Question
from routes.engine import UNKNOWN, Action, Conditions, Engine, RequestContext, Route, RouteDecision
from routes.engine.ids import uuid7
from routes.engine.prices import Price
from tests.plans.replay.naive_caches import exact_hits, is_embedding, semantic_hits

WORD = 2**64
NANO = 10**9
LEVELS = 4096
#: The lowest and the highest millisecond of a bin of latencies.
Bin = tuple[int, int]
Served = tuple[str, str]


@dataclass
class Side:
    """One set of routes on one row. Costs are nano-dollars."""

    decision: RouteDecision
    #: (provider, model); None where nobody answers.
    served: Served | None
    cost: int
    #: (reason, model) of what could not be priced, and the price that was.
    kept: set[tuple[str, str]] = field(default_factory=set)
    price: Price | None = None
    #: Whether whoever served the row serves it here.
    same: bool = False
    #: The name asked for is not changed, and another model served under it.
    as_asked: bool = False
    #: At the price of a provider whom nobody named.
    guessed: bool = False
    hit: bool = False


@dataclass
class Row:
    """A row that counts."""

    log: LogRow
    #: Its place among all rows of the log, those left out included.
    ordinal: int
    now: Side
    then: Side
    origin: str
    #: Nano-dollars under both sets of routes, caches included.
    current: int = 0
    projected: int = 0
    #: What it may save at least and at most, whatever unknown facts were, and whether they may change its route.
    low: int = 0
    high: int = 0
    is_open: bool = False
    #: How long it takes under both, and the models that would serve it of which nothing says how fast they are.
    bins: tuple[Bin | None, Bin | None] = (None, None)
    lacks_history: set[str] = field(default_factory=set)

    @property
    def saved(self) -> int:
        return self.current - self.projected

    @property
    def is_rerouted(self) -> bool:
        return self.now.served != self.then.served

    @property
    def kept(self) -> set[tuple[str, str]]:
        return self.now.kept | self.then.kept

    @property
    def baseline(self) -> int:
        paid = self.log.cost_nano if self.log.baseline_cost_nano is None else self.log.baseline_cost_nano
        assert paid is not None
        return paid

    @property
    def key(self) -> tuple[int, str]:
        """The cluster: its hash, then its name."""
        if self.log.cluster_key is None:
            return splitmix(self.ordinal), f"\0{self.ordinal}"
        return int(sha256(self.log.cluster_key.encode()).hexdigest()[:16], 16), self.log.cluster_key

    @property
    def day(self) -> date:
        return self.log.ts.astimezone(UTC).date()


def splitmix(x: int) -> int:
    z = (x + 0x9E3779B97F4A7C15) % WORD
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ z >> 27) * 0x94D049BB133111EB % WORD
    return z ^ z >> 31


def usd(nano: int) -> float:
    return float(Fraction(nano, NANO))


def counted(logged: Sequence[LogRow]) -> tuple[list[tuple[int, LogRow]], dict[str, int]]:
    """The rows that count, by their place in the log, and how many were left out for which reason."""
    left_out = dict.fromkeys(("failed", "repeated", "shadow", "unpriced"), 0)
    ids: set[str] = set()
    taken = []
    for ordinal, row in enumerate(sorted(logged, key=lambda row: (row.ts, row.request_id))):
        if row.kind == "shadow":
            left_out["shadow"] += 1
        elif row.status >= 400:
            left_out["failed"] += 1
        elif row.cost_nano is None:
            left_out["unpriced"] += 1
        elif row.request_id in ids:
            left_out["repeated"] += 1
        else:
            ids.add(row.request_id)
            taken.append((ordinal, row))
    return taken, left_out


def replayed(logged: Sequence[LogRow], asked: Question) -> tuple[list[Row], dict[str, int], "Semantic"]:
    """The rows that count with all that comes of them, how many others there are, and the semantic cache."""
    taken, left_out = counted(logged)
    rows = []
    for ordinal, log in taken:
        now, then = asked.current.decide(context(log)), asked.proposed.decide(context(log))
        origin = origin_of(log, now)
        rows.append(Row(log, ordinal, side(log, now, asked, origin), side(log, then, asked, origin), origin))
    semantic = project_caches(rows, asked)
    for row in rows:
        row.current, row.projected = costs(row, row.now, row.then)
        bound(row, asked)
    place_latencies(rows)
    return rows, left_out, semantic


# --- One decision -----------------------------------------------------------------------------------------------------


def context(row: LogRow) -> RequestContext:
    estimate = row.baseline_cost_nano if row.fact_estimated_cost_nano is None else row.fact_estimated_cost_nano
    texts = row.metadata is not None and all(isinstance(value, str) for value in row.metadata.values())
    made = RequestContext(
        row.requested_model,
        input_tokens=row.input_tokens if row.fact_input_tokens is None else row.fact_input_tokens,
        tag=row.tag,
        has_images=row.has_images,
        has_audio=row.has_audio,
        has_documents=row.has_documents,
        has_tools=row.has_tools,
        is_stream=row.is_stream,
        prompt=row.prompt,
        estimated_cost_usd=None if estimate is None else Decimal(estimate) / NANO,
        upstream_latency_ms_p95=row.fact_upstream_latency_ms_p95,
        metadata=dict(row.metadata) if texts else UNKNOWN,
        headers=UNKNOWN,
        at=row.ts,
        request_id=row.request_id,
        sticky_key=row.fact_sticky_key,
    )
    assert made.estimated_cost_nano_usd == estimate
    return made


def origin_of(row: LogRow, now: RouteDecision) -> str:
    """Who decided who served: a route, as the log says (where today's does decide that) or as today's routes would have
    done; the name asked for; or nobody knows which, as today's routes would have done a third thing."""
    leaves_alone = now.reason in ("default", "forced", "matched") and now.target_model is None
    if row.routed and not leaves_alone:
        return "route"
    if now.target_model in (None, row.requested_model) or is_called(row.requested_model, row.model):
        return "name"
    return "route" if is_called(now.target_model, row.model) else "unclear"


def is_called(model: str | None, reported: str) -> bool:
    """Reported under this name, or this name and a date."""
    if model is None or not reported.startswith(model):
        return False
    rest = reported[len(model) :]
    digits = rest[1:].replace("-", "")
    return not rest or (
        rest[0] in "-@:"
        and all(digit in "0123456789" for digit in digits)
        and (len(rest), len(digits)) in ((5, 4), (9, 8), (11, 8), (10, 8))
    )


def side(row: LogRow, decision: RouteDecision, asked: Question, origin: str) -> Side:
    assert row.cost_nano is not None
    if decision.reason == "refused":
        return Side(decision, None, 0)
    if row.cached and not decision.disable_cache:
        return Side(decision, (row.provider, row.model), row.cost_nano, same=True)
    model, provider = decision.target_model or row.requested_model, decision.provider or row.provider
    served, by = (provider, model), (row.provider, row.model)
    # Nobody changed who answers to that name.
    is_answered_as_ever = model == row.requested_model and origin != "route"
    is_other = is_answered_as_ever and not is_called(model, row.model)
    if (is_called(model, row.model) or is_answered_as_ever) and (not row.provider or provider == row.provider):
        if is_other and origin == "unclear":
            return Side(decision, by, row.cost_nano, {("who_decided", row.model)}, same=True)
        if not row.cached:
            return Side(decision, by, row.cost_nano, same=True, as_asked=is_other)
        served, (provider, model) = by, by
    price = price_of(asked.prices.prices, provider, model, row.ts)
    if price is None:
        return Side(decision, served, row.cost_nano, {("unknown_price", model)})
    if row.input_tokens == row.output_tokens == 0 < row.cost_nano:
        guessed = price.provider not in (decision.provider, provider) and asks_differ(asked.prices.prices, model)
        return Side(decision, served, row.cost_nano, {("no_tokens", model)}, price, guessed=guessed)
    cost = priced(price, row)
    guessed = price.provider not in (decision.provider, provider) and asks_differ(asked.prices.prices, model)
    if decision.max_cost_usd is not None and Fraction(cost, NANO) > Fraction(str(decision.max_cost_usd)):
        return Side(decision, served, row.cost_nano, {("over_cost_ceiling", model)}, price, guessed=guessed)
    return Side(decision, served, cost, price=price, guessed=guessed)


def asks_differ(prices: Sequence[Price], model: str) -> bool:
    """Whether providers list the model differently, at any time."""
    by_provider: dict[str, list[object]] = {}
    for price in prices:
        if price.model == model:
            listed = by_provider.setdefault(price.provider, [])
            figures = price.input_nano_per_million, price.output_nano_per_million, price.cached_input_nano_per_million
            if (price.since, price.negotiated, figures) not in listed:
                listed.append((price.since, price.negotiated, figures))
    lists = list(by_provider.values())
    return any(len(one) != len(lists[0]) or any(each not in lists[0] for each in one) for one in lists)


def price_of(prices: Sequence[Price], wanted: str, model: str, at: datetime) -> Price | None:
    begun = [price for price in prices if price.model == model and (price.since is None or price.since <= at)]
    if not begun:
        return None
    providers = {price.provider for price in begun}
    provider = wanted if wanted in providers else min(providers)
    always = datetime.min.replace(tzinfo=UTC)
    return max(
        (price for price in begun if price.provider == provider),
        key=lambda price: (price.negotiated, price.since or always),
    )


def priced(price: Price, row: LogRow) -> int:
    cached = min(row.cached_tokens, row.input_tokens)
    input_price = Fraction(price.input_nano_per_million, 10**6)
    cached_price = price.cached_input_nano_per_million
    exact = (
        (row.input_tokens - cached) * input_price
        + cached * (input_price if cached_price is None else Fraction(cached_price, 10**6))
        + row.output_tokens * Fraction(price.output_nano_per_million, 10**6)
    )
    return round(exact)  # of a fraction, ties to the even one


def costs(row: Row, now: Side, then: Side) -> tuple[int, int]:
    """Nano-dollars of both sides. What cannot be priced on one stands as it was paid on both; where both are answered
    by a cache there is nothing to pay at all."""
    assert row.log.cost_nano is not None
    if row.now.hit and row.then.hit:
        return 0, 0
    if now.kept | then.kept:
        return row.log.cost_nano, row.log.cost_nano
    return 0 if row.now.hit else now.cost, 0 if row.then.hit else then.cost


# --- What unknown facts might change ----------------------------------------------------------------------------------


def bound(row: Row, asked: Question) -> None:
    """Go through all that unknown conditions may be, true or false each, the same under both sets of routes."""
    engines = asked.current, asked.proposed
    conditions = [condition for engine in engines for condition in conditions_of(engine)]
    known = {condition: truth(condition, row.log) for condition in conditions}
    first, second = (
        tuple((conditions.index(condition), known[condition]) for condition in conditions_of(engine))
        for engine in engines
    )
    row.low = row.high = row.saved
    for pair in pairs(first, second) - {(winner(first, {}), winner(second, {}))}:
        row.is_open = True
        now, then = (
            side(row.log, taken(engine, place).decide(context(row.log)), asked, row.origin)
            for engine, place in zip(engines, pair, strict=True)
        )
        current, projected = costs(row, now, then)
        row.low, row.high = min(row.low, current - projected), max(row.high, current - projected)


Condition = tuple[Conditions, datetime | None, datetime | None]
#: By route the number of its conditions, and whether they hold.
Truths = tuple[tuple[int, bool | None], ...]


@lru_cache(maxsize=10_000)
def pairs(first: Truths, second: Truths) -> set[tuple[int, int]]:
    """The places of the routes that may win together."""
    unknown = sorted({
        condition for side in (first, second) for condition, known in side[: winner(side, {})] if known is None
    })  # fmt: skip
    assigned = [dict(zip(unknown, values, strict=True)) for values in product((False, True), repeat=len(unknown))]
    return {(winner(first, each), winner(second, each)) for each in assigned}


def winner(truths: Truths, assigned: dict[int, bool]) -> int:
    """The place of the first route whose conditions hold; the number of routes where none do."""
    for place, (condition, known) in enumerate(truths):
        if known or (known is None and assigned.get(condition)):
            return place
    return len(truths)


def enabled(engine: Engine) -> list[Route]:
    return [route for route in engine.routes if route.enabled]


def conditions_of(engine: Engine) -> list[Condition]:
    return [(route.when, route.active_from, route.active_until) for route in enabled(engine)]


def truth(condition: Condition, row: LogRow) -> bool | None:
    """What the engine says of a route with these conditions, and of one with their opposite."""
    when, active_from, active_until = condition
    if matches(asking(when, active_from, active_until), row):
        return True
    if not matches(asking(Conditions(), active_from, active_until), row):
        return False
    return False if matches(asking(Conditions(not_=when), None, None), row) else None


def matches(engine: Engine, row: LogRow) -> bool:
    return engine.decide(context(row)).reason == "matched"


@lru_cache(maxsize=1_000)
def asking(when: Conditions, active_from: datetime | None, active_until: datetime | None) -> Engine:
    route = Route(id=uuid7(), name="r", when=when, then=Action("t"))
    return Engine([replace(route, active_from=active_from, active_until=active_until)])


@lru_cache(maxsize=1_000)
def taken(engine: Engine, place: int) -> Engine:
    """An engine in which the route at this place takes everything; nothing does where there is none."""
    routes = [
        replace(route, when=Conditions(), active_from=None, active_until=None)
        for route in enabled(engine)[place : place + 1]
    ]
    return Engine(routes, org_id=engine.org_id, version=engine.version, default=engine.default)


# --- Latencies --------------------------------------------------------------------------------------------------------


def bin_of(ms: int) -> Bin:
    """A millisecond up to 255; above, the seven bits after the leading one count."""
    dropped = max(0, ms.bit_length() - 8)
    low = ms >> dropped << dropped
    return low, low + 2**dropped - 1


def place_latencies(rows: list[Row]) -> None:
    """Under both sets of routes: the row's own, or that at its own rank of whoever serves it instead."""
    histories: dict[Served | str, list[Bin]] = {}
    for row in rows:
        if row.log.latency_ms is not None and not row.log.cached:
            for name in ((row.log.provider, row.log.model), row.log.model):
                histories.setdefault(name, []).append(bin_of(row.log.latency_ms))
    for history in histories.values():
        history.sort()
    for row in rows:
        row.bins = latency(row, row.now, histories), latency(row, row.then, histories)
        if row.log.latency_ms is not None and not row.log.cached and (row.log.provider, row.log.model) in histories:
            row.lacks_history = {
                side.served[1]
                for side in (row.now, row.then)
                if side.served is not None and not side.same and side.served[1] not in histories
            }


def latency(row: Row, side: Side, histories: dict[Served | str, list[Bin]]) -> Bin | None:
    """None where nobody knows, or nobody answers."""
    if row.log.latency_ms is None or side.served is None:
        return None
    own = bin_of(row.log.latency_ms)
    others = histories.get(side.served) or histories.get(side.served[1])
    if side.same or row.log.cached or others is None:
        return own
    mine = histories[row.log.provider, row.log.model]
    below, up_to = bisect_left(mine, own), bisect_right(mine, own)
    spread = Fraction(splitmix(row.ordinal) // 2**11, 2**53)
    level = int((below + (up_to - below) * spread) / len(mine) * LEVELS)
    return others[(2 * level + 1) * len(others) // (2 * LEVELS)]


# --- Caches -----------------------------------------------------------------------------------------------------------


@dataclass
class Semantic:
    """What is reported of the semantic cache, by threshold."""

    total: int = 0
    hits: list[int] = field(default_factory=list)
    poisoned: list[int] = field(default_factory=list)
    candidates: int = 0


def project_caches(rows: list[Row], asked: Question) -> Semantic:
    """Says of both sides which rows a cache answers."""
    reported = Semantic()
    for name in ("now", "then"):
        asking = [row for row in rows if asks_a_cache(getattr(row, name).decision)]
        logs = [row.log for row in asking]
        hits: list[int] = []
        if asked.l1_ttl_seconds is not None:
            hits += exact_hits(logs, asked.l1_ttl_seconds)
        if asked.l2_ttl_seconds is not None:
            sweep = asked.l2_threshold_sweep
            found = [dict(semantic_hits(logs, asked.l2_ttl_seconds, threshold)) for threshold in sweep]
            if asked.l2_priced_threshold is not None:
                hits += found[sweep.index(asked.l2_priced_threshold)]
            reported = Semantic(
                sum(log.embedding is not None and is_embedding(log.embedding) for log in logs),
                [len(places) for places in found],
                [sum(places.values()) for places in found],
                len({place for places in found for place, is_poisoned in places.items() if is_poisoned}),
            )
        for place in hits:
            getattr(asking[place], name).hit = True
    return reported


def asks_a_cache(decision: RouteDecision) -> bool:
    return not decision.disable_cache and decision.reason != "refused"
