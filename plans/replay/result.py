"""The result of a replay as JSON: USD are numbers with at most nine decimals, percents are percents, savings are signed."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from fractions import Fraction
from hashlib import sha256
from typing import Any, Final

import numpy as np

from plans.replay.caveats import caveat, caveats_of
from plans.replay.columns.block import time_of
from plans.replay.deciding.facts import fact_of
from plans.replay.figures import percent, quantile, usd
from plans.replay.question import VERSION, Question
from plans.replay.series import Spans, series_of
from plans.replay.sums.partial import FEW_CLUSTERS, Partial
from plans.replay.sums.units import (
    CURRENT,
    HITS,
    ROUTE_CURRENT,
    ROUTE_PROJECTED,
    ROUTE_ROWS,
    ROWS,
    SAVED,
    Totals,
    UnitSums,
)
from plans.replay.sure import (
    MIN_UNITS,
    Draws,
    Ratio,
    effective_units,
    hit_rate_interval,
    latency_interval,
    ratio_interval,
    ratio_intervals,
)
from plans.replay.survey import Survey
from routes.engine import Conditions, Engine
from routes.engine.canonical import canonical_bytes
from routes.engine.compiled.rows import GROUPS, LITERALS
from routes.engine.prices import half_even

WHOLE_DAYS: Final = 7
FEW_EFFECTIVE: Final = 20
P50, P95 = (1, 2), (19, 20)
#: Routes whose intervals are drawn together: bounds memory.
_ROUTES_AT_ONCE = 64
_NEARLY_ALL = 0.975
#: Of the window: a share that is long.
_LONG = 0.1
_SURE_OF_NOTHING = Ratio(0.0, 0.0, 0.0)


def result_of(
    question: Question, survey: Survey, partial: Partial, *, alive: Callable[[], None] | None = None
) -> dict[str, Any]:
    """The whole answer, once all rows are in `partial`. A JSON object, see the design of plans. `alive` is called now and
    then; what it raises ends the work."""
    counts = partial.counts
    units, kind = _units(question, partial)
    routes = _Routes(question, partial, units)
    totals = units.in_order(routes.matching)
    caveats = caveats_of(counts)
    number = totals.sums.shape[1]
    draws = None
    if number >= MIN_UNITS:
        draws = Draws(
            number, seed=question.seed, iterations=question.iterations, method=question.interval_method, alive=alive
        )
        _warn_of_uneven_units(totals, kind, caveats)
    elif counts.sample_size:
        text = f"Only {number} independent {kind if number > 1 else kind[:-1]}: too few for an interval."
        caveats.append(caveat("too_few_units", text, units=number))
    if kind == "days":
        text = f"Only {len(partial.clusters)} users or keys: the intervals are about other days of these, not about others."
        caveats.append(caveat("units_are_days", text, clusters=len(partial.clusters), days=number))
    if question.window is not None and survey.counted is not None:
        _warn_of_a_time_without_rows(question.window, survey, caveats)
    savings = _savings(counts.repriced, draws, totals)
    if savings is not None and None in (savings.low, savings.high):
        caveats.append(caveat("open_interval", "The traffic does not bound the savings on every side."))
    latencies = totals.latencies.sum(axis=0)
    saved = counts.current - counts.projected
    return {
        "sample_size": counts.sample_size,
        "aggregates": {
            "total_baseline_cost_usd": usd(counts.baseline),
            "total_current_cost_usd": usd(counts.current),
            "total_projected_cost_usd": usd(counts.projected),
            "projected_savings_usd": usd(saved),
            "projected_savings_pct": percent(saved, counts.current),
            "cache_hit_rate_projected": _hit_rate(question, partial),
            "p50_latency_ms_current": quantile(partial.current_latencies, P50),
            "p95_latency_ms_current": quantile(partial.current_latencies, P95),
            "p50_latency_ms_projected": quantile(latencies, P50),
            "p95_latency_ms_projected": quantile(latencies, P95),
            "requests_rerouted": counts.rerouted,
            "requests_unchanged": counts.sample_size - counts.rerouted,
            "requests_unprice_able": counts.unpriceable + counts.no_tokens,
            "requests_kept": counts.kept,
            **survey.l2,
        },
        "confidence_intervals": {
            **_money(savings, counts.current),
            "cache_hit_rate_95": _hit_rate_95(question, draws, totals),
            "p50_latency_ms_95": _latency_95(draws, totals, P50),
            "p95_latency_ms_95": _latency_95(draws, totals, P95),
        },
        "probability_of_loss": None if savings is None else savings.probability_of_loss,
        "verdict": verdict(savings),
        "interval_method": question.interval_method,
        "interval_units": {"kind": kind, "count": number},
        "per_route_breakdown": routes.breakdown(draws, totals),
        "series": series_of(Spans.of(question.window, survey), counts, partial.current_latencies, latencies),
        "caveats": caveats,
        "excluded": dict(sorted(counts.excluded.items())),
        "coverage": _coverage(question, partial),
        "provenance": {
            "engine_version": VERSION,
            "data_digest": _data_digest(question, partial),
            "prices_digest": question.prices.digest(),
            "seed": question.seed,
            "iterations": question.iterations,
            "caches": {
                "l1_ttl_seconds": question.l1_ttl_seconds,
                "l2_ttl_seconds": question.l2_ttl_seconds,
                "l2_threshold_sweep": list(question.l2_threshold_sweep),
                "l2_priced_threshold": question.l2_priced_threshold,
            },
            "units": {"money": "USD", "pct": "percent", "shares": "0 to 1", "latency": "ms"},
        },
    }


# --- Verdict -----------------------------------------------------------------------------------------------------------


def verdict(savings: Ratio | None) -> str:
    """`saves`, `costs` or `undecided`: on which side of zero the interval is. Where it has no upper end, because nothing
    or next to nothing is paid today, nearly all draws have to lose."""
    if savings is None:
        return "undecided"
    if savings.low is not None and savings.low > 0:
        return "saves"
    if savings.probability_of_loss > _NEARLY_ALL if savings.high is None else savings.high < 0:
        return "costs"
    return "undecided"


# --- How sure -------------------------------------------------------------------------------------------------------


def _units(question: Question, partial: Partial) -> tuple[UnitSums, str]:
    if partial.days is not None and len(partial.clusters) < FEW_CLUSTERS:
        whole = sum(day in question.whole_days for day in partial.days.hashes)
        if whole >= WHOLE_DAYS:
            return partial.days, "days"
    return partial.clusters, "clusters"


def _savings(repriced: int, draws: Draws | None, totals: Totals) -> Ratio | None:
    if not repriced:
        return _SURE_OF_NOTHING
    if draws is None:
        return None
    sums = draws.sums(totals.sums[[SAVED, CURRENT]].T)
    return ratio_interval(sums[:, 0], sums[:, 1])


def _money(ratio: Ratio | None, current: int) -> dict[str, Any]:
    """The ends in USD are the shares of the current cost that was observed: the volume of another window is not guessed."""
    if ratio is None:
        return {"savings_usd_95": None, "savings_pct_95": None}
    ends = (ratio.low, ratio.high)
    return {
        "savings_usd_95": [None if end is None else usd(_share(end, current)) for end in ends],
        "savings_pct_95": [None if end is None else _number(100 * end) for end in ends],
    }


def _share(end: float, of: int) -> int:
    exact = Fraction(end) * of
    return half_even(exact.numerator, exact.denominator)


def _number(value: float) -> float | int:
    return int(value) if value == 0 else value


def _hit_rate(question: Question, partial: Partial) -> float | int | None:
    if not question.has_caches or not partial.counts.sample_size:
        return None
    return float(Fraction(partial.counts.cache_hits, partial.counts.sample_size))


def _hit_rate_95(question: Question, draws: Draws | None, totals: Totals) -> list[float | None] | None:
    if draws is None or not question.has_caches:
        return None
    sums = draws.sums(totals.sums[[HITS, ROWS]].T)
    hits, rows = (int(totals.sums[column].sum()) for column in (HITS, ROWS))
    found = hit_rate_interval(sums[:, 0], sums[:, 1], all_hits=hits, all_rows=rows)
    return [found.low, found.high]


def _latency_95(draws: Draws | None, totals: Totals, q: tuple[int, int]) -> list[int | None] | None:
    units = len(totals.latencies)
    if draws is None or units < MIN_UNITS or not totals.latencies.any():
        return None
    found = latency_interval(totals.latencies, draws.first(units), q)
    return [found.low, found.high]


def _warn_of_uneven_units(totals: Totals, kind: str, caveats: list[dict[str, Any]]) -> None:
    columns = [totals.sums[column].tolist() for column in (CURRENT, ROWS)]
    sizes: list[int] = min((column for column in columns if any(column)), key=effective_units, default=[])
    effective = effective_units(sizes)
    if sizes and effective < FEW_EFFECTIVE:
        largest = max(sizes) / sum(sizes)
        text = f"The traffic is as uneven as {float(effective):.1f} equal {kind}: the largest has {largest:.0%} of it."
        values = {"effective_units": round(float(effective), 3), "largest_share": round(largest, 6)}
        caveats.append(caveat("few_effective_units", text, **values))


def _warn_of_a_time_without_rows(
    window: tuple[datetime, datetime], survey: Survey, caveats: list[dict[str, Any]]
) -> None:
    """Where no row counts for a good part of the window, at its ends or within: the log may lack them."""
    assert survey.counted is not None
    start, end = (ts.astimezone(UTC) for ts in window)
    first, last = map(time_of, survey.counted)
    within = time_of(survey.longest[0]), time_of(survey.longest[1])
    since, until = max([(start, first), within, (last, end)], key=lambda gap: gap[1] - gap[0])
    share = (until - since) / (end - start)
    if share > _LONG:
        text = (
            f"No request counts from {since:%Y-%m-%d %H:%M} to {until:%Y-%m-%d %H:%M} UTC, {share:.0%} of the window."
        )
        ends = [f"{ts.isoformat().removesuffix('+00:00')}Z" for ts in (since, until)]
        caveats.append(caveat("window_not_covered", text, since=ends[0], until=ends[1]))


# --- By route -------------------------------------------------------------------------------------------------------


class _Routes:
    """The proposed routes in evaluation order, also those without a request; last, what no route takes."""

    def __init__(self, question: Question, partial: Partial, units: UnitSums) -> None:
        self._names: list[tuple[str | None, str | None]] = [
            *((route.id, route.name) for route in question.proposed.routes if route.enabled),
            (None, None),
        ]
        self._totals = units.route_totals()
        self._baselines = partial.baselines.totals()[0, :, 0]
        self.matching = np.flatnonzero(self._totals[ROUTE_ROWS]).tolist()

    def breakdown(self, draws: Draws | None, totals: Totals) -> list[dict[str, Any]]:
        intervals = self._intervals(draws, totals)
        answer = []
        for place, (route_id, name) in enumerate(self._names):
            rows, current, projected = (int(column[place]) for column in self._totals)
            answer.append(
                {
                    "route_id": route_id,
                    "route_name": name,
                    "matched": rows,
                    "baseline_cost_usd": usd(int(self._baselines[place])),
                    "current_cost_usd": usd(current),
                    "projected_cost_usd": usd(projected),
                    "savings_usd": usd(current - projected),
                    **_money(intervals.get(place, None if rows else _SURE_OF_NOTHING), current),
                }
            )
        return answer

    def _intervals(self, draws: Draws | None, totals: Totals) -> dict[int, Ratio]:
        """By place; of routes that too few units touch there is none."""
        found: dict[int, Ratio] = {}
        asked: list[tuple[int, int]] = []
        for index, place in enumerate(self.matching):
            saved = totals.routes[ROUTE_CURRENT, index] - totals.routes[ROUTE_PROJECTED, index]
            if not saved.any():
                found[place] = _SURE_OF_NOTHING
            elif draws is not None and np.count_nonzero(totals.routes[ROUTE_ROWS, index]) >= MIN_UNITS:
                asked.append((index, place))
        for start in range(0, len(asked), _ROUTES_AT_ONCE):
            part = asked[start : start + _ROUTES_AT_ONCE]
            assert draws is not None
            indices = [index for index, _ in part]
            current, projected = totals.routes[ROUTE_CURRENT, indices], totals.routes[ROUTE_PROJECTED, indices]
            sums = draws.sums(np.concatenate([current - projected, current]).T)
            ratios = ratio_intervals(sums[:, : len(part)], sums[:, len(part) :])
            found.update({place: ratio for (_, place), ratio in zip(part, ratios, strict=True)})
        return found


# --- What it stands on ----------------------------------------------------------------------------------------------


def _coverage(question: Question, partial: Partial) -> dict[str, Any]:
    """By condition, of how many rows its fact is known; and what the others might change."""
    counts = partial.counts
    saved = counts.current - counts.projected
    fixed = saved - counts.open_saved
    return {
        "conditions": [
            {
                "condition": condition,
                "rows_exact": counts.sample_size - counts.unknown[fact],
                "rows_unknown": counts.unknown[fact],
            }
            for condition, fact in sorted(_conditions([question.current, question.proposed]).items())
        ],
        "rows_open": counts.open_rows,
        "share_of_spend_open": (float(Fraction(counts.open_current, counts.current)) if counts.current else 0.0),
        "savings_usd_low": usd(fixed + counts.open_low),
        "savings_usd_high": usd(fixed + counts.open_high),
    }


def _conditions(engines: Iterable[Engine]) -> dict[str, str]:
    """By the key of a condition that enabled routes have, the name of the fact that it looks at."""
    found: dict[str, str] = {}

    def look(conditions: Conditions) -> None:
        for field, value in conditions.given:
            if field not in GROUPS:
                found[field] = fact_of(LITERALS[field](value)[0])
        for member in (*conditions.any_of, *([] if conditions.not_ is None else [conditions.not_])):
            look(member)

    for engine in engines:
        for route in engine.routes:
            if route.enabled:
                look(route.when)
    return found


def _data_digest(question: Question, partial: Partial) -> str:
    """SHA-256 over the digests of all columns that were read, each over those of its blocks."""
    columns = []
    for column in sorted(question.columns):
        by_block = partial.digests.get(column, {})
        digest = sha256(b"".join(by_block[first] for first in sorted(by_block)))
        columns.append([column, digest.hexdigest()])
    return f"sha256:{sha256(canonical_bytes(columns)).hexdigest()}"
