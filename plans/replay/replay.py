"""The replay: had these routes been live, what would the logged requests have cost?

Row by row through `Engine.decide`, the gateway's own code, with exact integer money.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from hashlib import sha256
from typing import Any

from plans.replay.intervals import Clusters, Interval, Unit, effective_units, interval
from plans.replay.values import LogRow
from routes.engine import UNKNOWN, Engine, RequestContext, RouteDecision
from routes.engine.canonical import canonical_bytes
from routes.engine.prices import PriceTable, half_even

#: Of the replay: changes when the same input may give another result.
ENGINE_VERSION = "2"
INTERVAL_METHOD = "random_subsets"
#: With fewer clusters than this, and at least so many whole days, days are the units.
FEW_CLUSTERS, WHOLE_DAYS = 20, 7
FEW_EFFECTIVE = 20
PROGRESS_EVERY = 1_000


@dataclass(slots=True)
class _Route:
    """Totals of the requests that one proposed route takes."""

    route_id: str | None
    route_name: str | None
    matched: int = 0
    baseline: int = 0
    current: int = 0
    projected: int = 0


@dataclass(slots=True)
class _Totals:
    sample_size: int = 0
    baseline: int = 0
    current: int = 0
    projected: int = 0
    rerouted: int = 0
    #: Requests whose cost differs between the two sets of routes.
    repriced: int = 0
    unpriceable: int = 0
    too_dear: int = 0
    #: Requests that the current and the proposed routes refuse.
    refused_now: int = 0
    refused_then: int = 0
    #: Requests of which the proposed routes send a copy, by its model.
    copied: Counter[str] = field(default_factory=Counter)
    excluded: Counter[str] = field(default_factory=Counter)
    unknown_prices: Counter[str] = field(default_factory=Counter)
    over_ceiling: Counter[str] = field(default_factory=Counter)
    no_baseline: int = 0
    facts_from_bill: int = 0
    synthetic: Counter[str] = field(default_factory=Counter)
    routes: dict[str | None, _Route] = field(default_factory=dict)


def replay(
    rows: Iterable[LogRow],
    *,
    current: Engine,
    proposed: Engine,
    prices: PriceTable,
    seed: int,
    iterations: int = 10_000,
    window: tuple[datetime, datetime] | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """What the rows would have cost under `proposed`, against what they would have cost under `current`.

    `rows` come in the order of (ts, request_id), all of one organisation. A decision that names the model, and no other
    provider than that, which served a row keeps its paid cost, on both sides; only what changed is priced, at the price in
    force at the row's time. A refused request costs nothing, and is counted. Conservative: without a price, or above a
    route's ceiling, on either side, the paid cost stands on both, and is counted. Copies to
    a shadow model are counted, not priced.

    Answers a JSON object (see the design of plans): USD are numbers with at most nine decimals, percents are percents,
    savings are signed. `on_progress` hears the number of rows read, every 1,000; what it raises ends the replay.
    `window` says which UTC days are whole, and so whether days may be the units; without it they are not.
    """
    totals = _Totals(excluded=Counter(failed=0, shadow=0, repeated=0, unpriced=0))
    clusters, days = Clusters(), _Days()
    data = sha256()
    seen: set[str] = set()
    for ordinal, row in enumerate(rows):
        data.update(canonical_bytes(_digested(row)) + b"\n")
        if on_progress is not None and (ordinal + 1) % PROGRESS_EVERY == 0:
            on_progress(ordinal + 1)
        if reason := _reason_to_leave_out(row, seen):
            totals.excluded[reason] += 1
            continue
        seen.add(row.request_id)
        saved, cost = _take(row, totals, current, proposed, prices)
        clusters.add(row.cluster_key, ordinal, saved, cost)
        days.add(row.ts, saved, cost)
    caveats = _caveats(totals)
    found, pct_known = _interval(totals, clusters, days, window, seed, iterations, caveats)
    return {
        "sample_size": totals.sample_size,
        "aggregates": {
            "total_baseline_cost_usd": usd(totals.baseline),
            "total_current_cost_usd": usd(totals.current),
            "total_projected_cost_usd": usd(totals.projected),
            "projected_savings_usd": usd(totals.current - totals.projected),
            "projected_savings_pct": _percent(totals.current - totals.projected, totals.current),
            "requests_rerouted": totals.rerouted,
            "requests_unchanged": totals.sample_size - totals.rerouted,
            "requests_unprice_able": totals.unpriceable,
        },
        "confidence_intervals": pct_known,
        "probability_of_loss": None if found is None else found.probability_of_loss,
        "verdict": _verdict(found),
        "interval_method": INTERVAL_METHOD,
        "per_route_breakdown": [_route_json(route) for route in _in_order(totals, proposed)],
        "caveats": caveats,
        "excluded": dict(sorted(totals.excluded.items())),
        "provenance": {
            "engine_version": ENGINE_VERSION,
            "data_digest": f"sha256:{data.hexdigest()}",
            "prices_digest": prices.digest(),
            "seed": seed,
            "iterations": iterations,
            "units": {"money": "USD", "pct": "percent", "shares": "0 to 1"},
        },
    }


# --- One row --------------------------------------------------------------------------------------------------------


def _reason_to_leave_out(row: LogRow, seen: set[str]) -> str:
    if row.kind == "shadow":
        return "shadow"
    if row.status >= 400:
        return "failed"
    if row.request_id in seen:
        return "repeated"
    if row.cost_nano is None:
        return "unpriced"
    return ""


def context_of(row: LogRow) -> RequestContext:
    """The request as it was decided on: the logged facts where they are, what was billed otherwise. What no log tells
    (the text, metadata, headers, the gateway's own figures) is unknown."""
    estimate = row.fact_estimated_cost_nano
    if estimate is None:
        # Before the answer the gateway could only estimate the requested model; that bill is the baseline.
        estimate = row.baseline_cost_nano
    return RequestContext(
        row.requested_model,
        input_tokens=row.input_tokens if row.fact_input_tokens is None else row.fact_input_tokens,
        tag=row.tag,
        has_images=row.has_images,
        has_audio=row.has_audio,
        has_documents=row.has_documents,
        has_tools=row.has_tools,
        is_stream=row.is_stream,
        estimated_cost_usd=None if estimate is None else Decimal(estimate).scaleb(-9),
        metadata=UNKNOWN,
        headers=UNKNOWN,
        at=row.ts,
        request_id=row.request_id,
        sticky_key=row.fact_sticky_key,
        upstream_latency_ms_p95=row.fact_upstream_latency_ms_p95,
    )


def _take(row: LogRow, totals: _Totals, current: Engine, proposed: Engine, prices: PriceTable) -> tuple[int, int]:
    """Add the row to the totals; answers (saved, current cost)."""
    assert row.cost_nano is not None
    context = context_of(row)
    now, then = current.decide(context), proposed.decide(context)
    cost_now, kept_now = _cost(row, now, prices)
    cost_then, kept_then = _cost(row, then, prices)
    if kept_now[0] or kept_then[0]:
        # The paid cost against a priced one would show a difference that nobody knows, and often as a saving.
        cost_now = cost_then = row.cost_nano
    baseline = row.baseline_cost_nano
    if baseline is None:
        baseline = row.cost_nano
        totals.no_baseline += 1
    totals.sample_size += 1
    totals.baseline += baseline
    totals.current += cost_now
    totals.projected += cost_then
    totals.rerouted += _served_by(row, now) != _served_by(row, then)
    totals.refused_now += now.refusal is not None
    totals.refused_then += then.refusal is not None
    if then.shadow_model is not None:
        totals.copied[then.shadow_model] += 1
    totals.repriced += cost_now != cost_then
    # A set: the same trouble with the same model on both sides is still one request.
    kept = {(why, model) for why, model in (kept_now, kept_then) if why}
    totals.unknown_prices.update(model for why, model in kept if why == "unknown_price")
    totals.over_ceiling.update(model for why, model in kept if why == "over_cost_ceiling")
    totals.unpriceable += any(why == "unknown_price" for why, _ in kept)
    totals.too_dear += any(why == "over_cost_ceiling" for why, _ in kept)
    totals.facts_from_bill += row.fact_input_tokens is None or (
        row.fact_estimated_cost_nano is None and row.baseline_cost_nano is not None
    )
    totals.synthetic.update(row.synthetic)
    route = totals.routes.setdefault(then.route_id, _Route(then.route_id, then.route_name))
    route.matched += 1
    route.baseline += baseline
    route.current += cost_now
    route.projected += cost_then
    return cost_now - cost_then, cost_now


def _cost(row: LogRow, decision: RouteDecision, prices: PriceTable) -> tuple[int, tuple[str, str]]:
    """What the row costs under a decision, in nano-dollars, and (why it keeps the paid cost, the decided model).

    The reason is "" for a cost that is known.
    """
    assert row.cost_nano is not None
    served = _served_by(row, decision)
    if served is None:
        return 0, ("", "")
    provider, model = served
    # Where nobody logged who served the row, no provider is known to be another one.
    if model == row.model and row.provider in ("", provider):
        return row.cost_nano, ("", model)
    price = prices.price(provider, model, row.ts)
    if price is None:
        return row.cost_nano, ("unknown_price", model)
    cost = price.cost_nano(row.input_tokens, row.output_tokens, row.cached_tokens)
    if decision.max_cost_usd is not None and cost > Decimal(str(decision.max_cost_usd)).scaleb(9):
        return row.cost_nano, ("over_cost_ceiling", model)
    return cost, ("", model)


def _served_by(row: LogRow, decision: RouteDecision) -> tuple[str, str] | None:
    """(provider, model) under a decision, None where it is refused. Where the decision names no provider, the row's own
    is taken to serve the other model too, or whoever lists it."""
    if decision.refusal is not None:
        return None
    return decision.provider or row.provider, decision.model_for(row.requested_model)


def _digested(row: LogRow) -> list[Any]:
    """Everything of the row that the result depends on."""
    return [
        row.request_id, row.ts.astimezone(UTC).isoformat(), row.kind, row.provider, row.model, row.requested_model,
        row.input_tokens, row.output_tokens, row.cached_tokens, row.cost_nano, row.baseline_cost_nano, row.status,
        row.tag, row.cluster_key, row.has_images, row.has_audio, row.has_documents, row.has_tools, row.is_stream,
        row.fact_input_tokens, row.fact_estimated_cost_nano, row.fact_upstream_latency_ms_p95, row.fact_sticky_key,
        list(row.synthetic),
    ]  # fmt: skip


# --- How sure -------------------------------------------------------------------------------------------------------


class _Days:
    """Totals by UTC day, for the case of few clusters and many days."""

    def __init__(self) -> None:
        self._by_day: dict[date, list[int]] = {}

    def add(self, at: datetime, saved: int, current: int) -> None:
        totals = self._by_day.setdefault(at.astimezone(UTC).date(), [0, 0, 0])
        totals[0] += saved
        totals[1] += current
        totals[2] += 1

    def whole(self, window: tuple[datetime, datetime] | None) -> int:
        """How many days with traffic lie entirely inside the window."""
        if window is None:
            return 0
        start, end = (edge.astimezone(UTC) for edge in window)
        midnight = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in self._by_day]
        return sum(start <= begin and begin + timedelta(days=1) <= end for begin in midnight)

    def units(self) -> list[Unit]:
        return [Unit(*self._by_day[day]) for day in sorted(self._by_day)]


def _interval(
    totals: _Totals,
    clusters: Clusters,
    days: _Days,
    window: tuple[datetime, datetime] | None,
    seed: int,
    iterations: int,
    caveats: list[dict[str, Any]],
) -> tuple[Interval | None, dict[str, Any]]:
    """The interval of the savings as a share of the current cost, and as the result shows it."""
    units = clusters.units()
    if not totals.repriced:
        return Interval(Fraction(0), Fraction(0), 0.0), {"savings_usd_95": [0, 0], "savings_pct_95": [0, 0]}
    kind = "clusters"
    if len(units) < FEW_CLUSTERS and days.whole(window) >= WHOLE_DAYS:
        units, kind = days.units(), "days"
        caveats.append(
            _caveat(
                "units_are_days",
                f"Only {len(clusters)} users or keys: the interval is about other days of these, not about others.",
                clusters=len(clusters),
                days=len(units),
            )
        )
    found = interval(units, seed=seed, iterations=iterations)
    if found is None:
        caveats.append(
            _caveat(
                "too_few_units", f"Only {len(units)} independent {kind}: too few for an interval.", units=len(units)
            )
        )
        return None, {"savings_usd_95": None, "savings_pct_95": None}
    _warn_of_uneven_units(units, kind, caveats)
    ends = (found.low, found.high)
    if None in ends:
        caveats.append(_caveat("open_interval", "The traffic does not bound the savings on every side."))
    return found, {
        "savings_usd_95": [
            None if end is None else usd(half_even(end.numerator * totals.current, end.denominator)) for end in ends
        ],
        "savings_pct_95": [None if end is None else float(end * 100) for end in ends],
    }


def _warn_of_uneven_units(units: list[Unit], kind: str, caveats: list[dict[str, Any]]) -> None:
    by_spend, by_rows = [unit.current for unit in units], [unit.rows for unit in units]
    sizes = min(by_spend, by_rows, key=effective_units)
    effective = effective_units(sizes)
    if effective < FEW_EFFECTIVE:
        largest = max(sizes) / sum(sizes) if sum(sizes) else 0.0
        caveats.append(
            _caveat(
                "few_effective_units",
                f"The traffic is as uneven as {float(effective):.1f} equal {kind}: the largest has {largest:.0%} of it.",
                effective_units=round(float(effective), 3),
                largest_share=round(largest, 6),
            )
        )


def _verdict(found: Interval | None) -> str:
    if found is not None and found.low is not None and found.low > 0:
        return "saves"
    if found is not None and found.high is not None and found.high < 0:
        return "costs"
    return "undecided"


# --- As JSON --------------------------------------------------------------------------------------------------------


def usd(nano: int) -> int | float:
    """Nano-dollars as a JSON number of USD: the double nearest to the exact nine decimals, an integer where it is whole."""
    whole, rest = divmod(nano, 10**9)
    return whole if rest == 0 else float(Decimal(nano).scaleb(-9))


def _percent(part: int, whole: int) -> float | int | None:
    if whole == 0:
        return None
    return 0 if part == 0 else float(Fraction(part * 100, whole))


def _route_json(route: _Route) -> dict[str, Any]:
    return {
        "route_id": route.route_id,
        "route_name": route.route_name,
        "matched": route.matched,
        "baseline_cost_usd": usd(route.baseline),
        "current_cost_usd": usd(route.current),
        "projected_cost_usd": usd(route.projected),
        "savings_usd": usd(route.current - route.projected),
    }


def _in_order(totals: _Totals, proposed: Engine) -> list[_Route]:
    """The proposed routes in evaluation order, also those without a request; last, what no route takes."""
    listed = [totals.routes.get(route.id, _Route(route.id, route.name)) for route in proposed.routes if route.enabled]
    return [*listed, totals.routes.get(None, _Route(None, None))]


def _caveats(totals: _Totals) -> list[dict[str, Any]]:
    found = []
    if totals.unknown_prices:
        models = ", ".join(sorted(totals.unknown_prices))
        found.append(
            _caveat(
                "unknown_price",
                f"No price is known for {models}: {totals.unpriceable:,} requests keep what they cost.",
                models=dict(sorted(totals.unknown_prices.items())),
            )
        )
    if totals.over_ceiling:
        models = ", ".join(sorted(totals.over_ceiling))
        found.append(
            _caveat(
                "over_cost_ceiling",
                f"{totals.too_dear:,} requests would cost more than their route allows on {models};"
                " they keep what they cost.",
                models=dict(sorted(totals.over_ceiling.items())),
            )
        )
    if totals.refused_now or totals.refused_then:
        found.append(
            _caveat(
                "refused",
                f"The proposed routes refuse {totals.refused_then:,} requests, today's {totals.refused_now:,}: they cost"
                " nothing, and nobody gets an answer.",
                current=totals.refused_now,
                proposed=totals.refused_then,
            )
        )
    if totals.copied:
        models = ", ".join(sorted(totals.copied))
        found.append(
            _caveat(
                "shadow_copies",
                f"Copies of {totals.copied.total():,} requests would go to {models}: what they cost is not counted.",
                models=dict(sorted(totals.copied.items())),
            )
        )
    for code, count, message in (
        ("no_baseline", totals.no_baseline, "lack a cost without routing; what was paid stands in."),
        ("unpriced", totals.excluded["unpriced"], "have no known cost and are left out."),
        (
            "facts_from_bill",
            totals.facts_from_bill,
            "were decided on the bill, in part or whole: the gateway's own figures are not logged.",
        ),
    ):
        if count:
            found.append(_caveat(code, f"{count:,} requests {message}", rows=count))
    if totals.synthetic:
        columns = ", ".join(sorted(totals.synthetic))
        found.append(
            _caveat(
                "synthetic_columns",
                f"Not measured but made up: {columns}.",
                columns=dict(sorted(totals.synthetic.items())),
            )
        )
    return found


def _caveat(code: str, message: str, **values: Any) -> dict[str, Any]:
    return {"code": code, "message": message, "values": values}
