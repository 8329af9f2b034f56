"""The replay a second time, slowly and plainly: fractions of dollars, lists, loops, and Philox written out.

It shares with the replay only its input values and `Engine.decide`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from itertools import cycle, product

from plans.replay import LogRow
from routes.engine import UNKNOWN, Engine, RequestContext, RouteDecision
from routes.engine.prices import Price

WORD = 2**64
NANO = 10**9
End = Fraction | None


@dataclass
class Row:
    """A replayed row: its unit and its costs in USD."""

    key: tuple[int, str]
    day: datetime
    baseline: Fraction
    current: Fraction
    projected: Fraction
    rerouted: bool
    #: Whether today's and the proposed routes refuse it, and where the proposed ones copy it to.
    refused: tuple[bool, bool]
    copied_to: str | None
    #: (reason, model) of every decision that could not be priced.
    kept: set[tuple[str, str]]
    route: str | None


def replayed(
    rows: list[LogRow], current: Engine, proposed: Engine, prices: Sequence[Price]
) -> tuple[list[Row], dict[str, int]]:
    """The rows that count, and how many were left out for which reason."""
    left_out = Counter(failed=0, shadow=0, repeated=0, unpriced=0)
    ids: list[str] = []
    taken = []
    for ordinal, row in enumerate(rows):
        if row.kind == "shadow":
            left_out["shadow"] += 1
        elif row.status >= 400:
            left_out["failed"] += 1
        elif row.request_id in ids:
            left_out["repeated"] += 1
        elif row.cost_nano is None:
            left_out["unpriced"] += 1
        else:
            ids.append(row.request_id)
            now, then = current.decide(context(row)), proposed.decide(context(row))
            (cost_now, kept_now), (cost_then, kept_then) = cost(row, now, prices), cost(row, then, prices)
            paid = Fraction(row.cost_nano, NANO)
            if kept_now | kept_then:
                cost_now = cost_then = paid
            taken.append(
                Row(
                    key=key_of(row, ordinal),
                    day=row.ts.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0),
                    baseline=paid if row.baseline_cost_nano is None else Fraction(row.baseline_cost_nano, NANO),
                    current=cost_now,
                    projected=cost_then,
                    rerouted=served_by(row, now) != served_by(row, then),
                    refused=(now.reason == "refused", then.reason == "refused"),
                    copied_to=then.shadow_model,
                    kept=kept_now | kept_then,
                    route=then.route_id,
                )
            )
    return taken, dict(left_out)


def context(row: LogRow) -> RequestContext:
    estimate = row.baseline_cost_nano if row.fact_estimated_cost_nano is None else row.fact_estimated_cost_nano
    return RequestContext(
        row.requested_model,
        input_tokens=row.input_tokens if row.fact_input_tokens is None else row.fact_input_tokens,
        tag=row.tag,
        has_images=row.has_images,
        has_audio=row.has_audio,
        has_documents=row.has_documents,
        has_tools=row.has_tools,
        is_stream=row.is_stream,
        estimated_cost_usd=None if estimate is None else Decimal(estimate) / NANO,
        upstream_latency_ms_p95=row.fact_upstream_latency_ms_p95,
        metadata=UNKNOWN,
        headers=UNKNOWN,
        at=row.ts,
        request_id=row.request_id,
        sticky_key=row.fact_sticky_key,
    )


def served_by(row: LogRow, decision: RouteDecision) -> str:
    if decision.reason == "refused":
        return "nobody"
    return f"{decision.target_model or row.requested_model} at {decision.provider or row.provider}"


def cost(row: LogRow, decision: RouteDecision, prices: Sequence[Price]) -> tuple[Fraction, set[tuple[str, str]]]:
    """USD, and why the paid cost stays."""
    assert row.cost_nano is not None
    paid = Fraction(row.cost_nano, NANO)
    if decision.reason == "refused":
        return Fraction(0), set()
    model = decision.target_model or row.requested_model
    if model == row.model and (not row.provider or decision.provider in (None, row.provider)):
        return paid, set()
    begun = [price for price in prices if price.model == model and (price.since is None or price.since <= row.ts)]
    if not begun:
        return paid, {("unknown_price", model)}
    providers = {price.provider for price in begun}
    wanted = decision.provider or row.provider
    provider = wanted if wanted in providers else min(providers)
    always = datetime.min.replace(tzinfo=UTC)
    price = max(
        (price for price in begun if price.provider == provider),
        key=lambda price: (price.negotiated, price.since or always),
    )
    cached = min(row.cached_tokens, row.input_tokens)
    input_price = Fraction(price.input_nano_per_million, 10**6)
    cached_price = price.cached_input_nano_per_million
    exact = (
        (row.input_tokens - cached) * input_price
        + cached * (input_price if cached_price is None else Fraction(cached_price, 10**6))
        + row.output_tokens * Fraction(price.output_nano_per_million, 10**6)
    )
    usd = Fraction(round(exact), NANO)  # `round` of a fraction takes ties to the even one
    if decision.max_cost_usd is not None and usd > Fraction(str(decision.max_cost_usd)):
        return paid, {("over_cost_ceiling", model)}
    return usd, set()


def key_of(row: LogRow, ordinal: int) -> tuple[int, str]:
    if row.cluster_key is None:
        z = (ordinal + 0x9E3779B97F4A7C15) % WORD
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 % WORD
        z = (z ^ z >> 27) * 0x94D049BB133111EB % WORD
        return z ^ z >> 31, f"row {ordinal}"
    return int(sha256(row.cluster_key.encode()).hexdigest()[:16], 16), row.cluster_key


def units(rows: list[Row], window: tuple[datetime, datetime] | None) -> tuple[str, list[list[Row]]]:
    """ "clusters" in the order of hash and key, or "days" in their order."""
    clusters = [[row for row in rows if row.key == key] for key in sorted({row.key for row in rows})]
    days = sorted({row.day for row in rows})
    whole = [day for day in days if window and window[0] <= day and day + timedelta(days=1) <= window[1]]
    if len(clusters) < 20 and len(whole) >= 7:
        return "days", [[row for row in rows if row.day == day] for day in days]
    return "clusters", clusters


def interval(
    sums: Sequence[tuple[int | Fraction, int | Fraction]], seed: int, iterations: int
) -> tuple[End, End, Fraction]:
    """(low, high, share of subsets that lose) for (saved, current) of each unit: the definition, subset by subset."""
    ratios: list[Fraction | float] = []
    losses = 0
    unbounded = cycle([float("-inf"), float("inf")])
    masks = every_mask(len(sums)) if len(sums) <= 13 else drawn_masks(len(sums), seed, iterations)
    for mask in masks:
        saved = sum((unit[0] for unit, keep in zip(sums, mask, strict=True) if keep), Fraction(0))
        current = sum((unit[1] for unit, keep in zip(sums, mask, strict=True) if keep), Fraction(0))
        ratios.append(saved / current if current else next(unbounded))
        losses += saved < 0
    ratios.sort()
    k = (len(ratios) + 1) // 40
    low, high = (ratios[k - 1], ratios[-k]) if k else (None, None)
    return (
        low if isinstance(low, Fraction) else None,
        high if isinstance(high, Fraction) else None,
        Fraction(losses, len(ratios)),
    )


def every_mask(count: int) -> Iterator[Sequence[int]]:
    return (mask for mask in product((0, 1), repeat=count) if any(mask))


def drawn_masks(count: int, seed: int, iterations: int) -> Iterator[Sequence[int]]:
    for r in range(iterations // 2):
        words: list[int] = []
        for block in range(1, 2 + count // 256):  # NumPy's generator counts up before it draws, so from one on
            words += philox4x64((block, 0, 0, 0), (seed, r))
        mask = [words[j // 64] >> j % 64 & 1 for j in range(count)]
        yield mask
        yield [1 - bit for bit in mask]


def philox4x64(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """A block of Philox4x64-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3")."""
    a, b, c, d = counter
    left, right = key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = second // WORD ^ b ^ left, second % WORD, first // WORD ^ d ^ right, first % WORD
        left, right = (left + 0x9E3779B97F4A7C15) % WORD, (right + 0xBB67AE8584CAA73B) % WORD
    return a, b, c, d


def effective(sizes: Sequence[int | Fraction]) -> Fraction:
    squares = sum((Fraction(size) ** 2 for size in sizes), Fraction(0))
    return Fraction(sum(sizes)) ** 2 / squares if squares else Fraction(0)
