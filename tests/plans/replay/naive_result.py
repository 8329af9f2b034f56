"""The whole answer of a replay a second time, from the rows of `naive_rows`; all but digests and the texts of caveats."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from fractions import Fraction
from itertools import cycle, pairwise
from typing import Any

from plans.replay import LogRow, Question
from routes.engine.prices import Price
from tests.plans.replay import naive
from tests.plans.replay.naive_coverage import coverage
from tests.plans.replay.naive_rows import Bin, Row, Side, enabled, price_of, priced, replayed, usd

MAX_UNITS, LATENCY_UNITS = 16_384, 1_024
Json = dict[str, Any]
#: The quantile of the normal distribution at 97.5%, as the design has it.
Z = Decimal("1.959964")
P50, P95 = (1, 2), (19, 20)


def answer(logged: Sequence[LogRow], asked: Question) -> Json:
    """What `replay` gives; caveats without their messages, provenance without digests."""
    rows, left_out, semantic = replayed(logged, asked)
    kind, units, buckets = units_of(rows, asked)
    sure = Sureness(rows, units, buckets, asked)
    current, projected = sum(row.current for row in rows), sum(row.projected for row in rows)
    low, high, loss = sure.savings()
    is_loss = high < 0 if high is not None else loss is not None and loss > 0.975
    verdict = "saves" if low is not None and low > 0 else "costs" if is_loss else "undecided"
    bins = [[row.bins[side] for row in rows] for side in (0, 1)]
    return {
        "sample_size": len(rows),
        "aggregates": {
            "total_baseline_cost_usd": usd(sum(row.baseline for row in rows)),
            "total_current_cost_usd": usd(current),
            "total_projected_cost_usd": usd(projected),
            "projected_savings_usd": usd(current - projected),
            "projected_savings_pct": float(Fraction(100 * (current - projected), current)) if current else None,
            "cache_hit_rate_projected": (
                sum(row.then.hit for row in rows) / len(rows) if rows and has_caches(asked) else None
            ),
            "p50_latency_ms_current": middle(bins[0], P50),
            "p95_latency_ms_current": middle(bins[0], P95),
            "p50_latency_ms_projected": middle(bins[1], P50),
            "p95_latency_ms_projected": middle(bins[1], P95),
            "requests_rerouted": sum(row.is_rerouted for row in rows),
            "requests_unchanged": sum(not row.is_rerouted for row in rows),
            "requests_unprice_able": sum(any(why != "over_cost_ceiling" for why, _ in row.kept) for row in rows),
            "requests_kept": sum(bool(row.kept) for row in rows),
            "l2_projections": [
                {
                    "threshold": threshold,
                    "total": semantic.total,
                    "hits": hits,
                    "rate": hits / semantic.total,
                    "poisoning_candidates": poisoned,
                }
                for threshold, hits, poisoned in zip(
                    asked.l2_threshold_sweep, semantic.hits, semantic.poisoned, strict=True
                )
            ]
            if semantic.total
            else [],
            "l2_poisoning_candidates": semantic.candidates,
        },
        "confidence_intervals": {
            **money(low, high, sure.has_savings, current),
            "cache_hit_rate_95": sure.hit_rate(),
            "p50_latency_ms_95": sure.latency(P50, 40),
            "p95_latency_ms_95": sure.latency(P95, 200),
        },
        "probability_of_loss": loss,
        "verdict": verdict,
        "interval_method": asked.interval_method,
        "interval_units": {"kind": kind, "count": len(units)},
        "per_route_breakdown": list(by_route(rows, sure, asked)),
        "caveats": list(
            caveats(
                rows,
                left_out,
                kind,
                units,
                sure,
                time_without_rows(rows, asked),
                asked.prices.prices,
                asked.l1_ttl_seconds is not None,
            )
        ),
        "series": {
            "cost_over_time": over_time(rows, asked),
            "by_model": by_model(rows),
            "latency_ms": {
                "percents": [1, 5, 10, 25, 50, 75, 90, 95, 99],
                **{
                    side: [middle(found, (percent, 100)) for percent in (1, 5, 10, 25, 50, 75, 90, 95, 99)]
                    for side, found in zip(("current", "projected"), bins, strict=True)
                },
            },
        },
        "excluded": left_out,
        "coverage": coverage(rows, asked),
        "provenance": {
            "engine_version": "6",
            "seed": asked.seed,
            "iterations": asked.iterations,
            "caches": {
                "l1_ttl_seconds": asked.l1_ttl_seconds,
                "l2_ttl_seconds": asked.l2_ttl_seconds,
                "l2_threshold_sweep": list(asked.l2_threshold_sweep),
                "l2_priced_threshold": asked.l2_priced_threshold,
            },
            "units": {"money": "USD", "pct": "percent", "shares": "0 to 1", "latency": "ms"},
        },
    }


def has_caches(asked: Question) -> bool:
    return asked.l1_ttl_seconds is not None or (
        asked.l2_ttl_seconds is not None and asked.l2_priced_threshold is not None
    )


def middle(bins: Sequence[Bin | None], q: tuple[int, int]) -> int | None:
    low = naive.quantile([found[0] for found in bins if found is not None], q)
    return None if low is None else next(sum(found) // 2 for found in bins if found is not None and found[0] == low)


# --- Series -----------------------------------------------------------------------------------------------------------


def over_time(rows: list[Row], asked: Question) -> Json:
    times = [*(asked.window or ()), *(row.log.ts for row in rows), *(row.log.ts + MICROSECOND for row in rows)]
    if not times:
        return {"start": None, "seconds": 60, "requests": [], "current_cost_usd": [], "projected_cost_usd": []}
    first, end = min(times).astimezone(UTC), max(times)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    minutes = [1, 2, 5, 10, 15, 20, 30, *(60 * hours for hours in (1, 2, 3, 4, 6, 8, 12)), *range(1440, 10**7, 1440)]
    for width in (timedelta(minutes=each) for each in minutes):
        start = midnight if width >= DAY else midnight + (first - midnight) // width * width
        if end <= start + 200 * width:
            break
    spans: list[list[Row]] = [[] for _ in range(-((start - end) // width))]
    for row in rows:
        spans[(row.log.ts - start) // width].append(row)
    return {
        "start": start.isoformat().replace("+00:00", "Z"),
        "seconds": int(width.total_seconds()),
        "requests": [len(span) for span in spans],
        "current_cost_usd": [usd(sum(row.current for row in span)) for span in spans],
        "projected_cost_usd": [usd(sum(row.projected for row in span)) for span in spans],
    }


DAY, MICROSECOND = timedelta(days=1), timedelta(microseconds=1)


def by_model(rows: list[Row]) -> Json:
    """Requests and nano-dollars of each model on three sides; a model that answers nobody has no line."""
    found: dict[str, list[int]] = {}
    for row in rows:
        assert row.log.cost_nano is not None
        sides = (row.log.provider, row.log.model), row.now.served, row.then.served
        for side, served, cost in zip(range(3), sides, (row.log.cost_nano, row.current, row.projected), strict=True):
            if served is not None:
                line = found.setdefault(served[1], [0] * 6)
                line[side] += 1
                line[3 + side] += cost
    ranked = sorted(found, key=lambda model: (-sum(found[model][3:]), -sum(found[model][:3]), model))

    def told(models: Sequence[str]) -> Json:
        lines = [sum(column) for column in zip(*(found[model] for model in models), strict=True)]
        names = ("requests_served", "requests_current", "requests_projected")
        money = ("paid_cost_usd", "current_cost_usd", "projected_cost_usd")
        return dict(zip((*names, *money), [*lines[:3], *map(usd, lines[3:])], strict=True))

    return {
        "models": [{"model": model, **told([model])} for model in ranked[:20]],
        "other": {"models": len(ranked) - 20, **told(ranked[20:])} if len(ranked) > 20 else None,
        "refused": {
            f"requests_{name}": sum(side.served is None for side in sides)
            for name, sides in (("current", [row.now for row in rows]), ("projected", [row.then for row in rows]))
        },
    }


# --- Units ------------------------------------------------------------------------------------------------------------


def units_of(rows: list[Row], asked: Question) -> tuple[str, list[list[Row]], list[list[Row]]]:
    """Whether clusters or days are independent of each other, and the rows of each; once more for latencies."""
    clusters, days = gathered((row.key, row) for row in rows), gathered(((day_number(row), ""), row) for row in rows)
    if len(clusters) < 20 and sum(is_whole(number, asked) for number, _ in days) >= 7:
        return "days", *limited(days)
    return "clusters", *limited(clusters)


Name = tuple[int, str]


def gathered(named: Iterable[tuple[Name, Row]]) -> dict[Name, list[Row]]:
    found: dict[Name, list[Row]] = {}
    for name, row in named:
        found.setdefault(name, []).append(row)
    return found


def limited(units: dict[Name, list[Row]]) -> tuple[list[list[Row]], list[list[Row]]]:
    """In the order of hash and name; where they are too many, as buckets by their hash."""
    each = [units[name] for name in sorted(units)]
    timed = {name: [row for row in rows if row.bins[1] is not None] for name, rows in units.items()}
    few = each if len(units) <= LATENCY_UNITS else buckets(timed, LATENCY_UNITS)
    return each if len(units) <= MAX_UNITS else buckets(units, MAX_UNITS), few


def buckets(units: dict[Name, list[Row]], count: int) -> list[list[Row]]:
    found: dict[int, list[Row]] = {}
    for (number, _), rows in units.items():
        if rows:
            found.setdefault(number % count, []).extend(rows)
    return [found[number] for number in sorted(found)]


def day_number(row: Row) -> int:
    return row.day.toordinal() - date(1970, 1, 1).toordinal()


def is_whole(day: int, asked: Question) -> bool:
    begin = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return asked.window is not None and asked.window[0] <= begin and begin + timedelta(days=1) <= asked.window[1]


# --- How sure ---------------------------------------------------------------------------------------------------------

Ends = tuple[float | None, float | None]


class Sureness:
    def __init__(self, rows: list[Row], units: list[list[Row]], buckets: list[list[Row]], asked: Question) -> None:
        self._rows, self._units, self._buckets, self._asked = rows, units, buckets, asked
        self.is_enough = len(units) >= 6
        self._draws = self._drawn(len(units)) if self.is_enough else []

    def _drawn(self, units: int) -> list[Sequence[int]]:
        return naive.weights(self._asked.interval_method, units, self._asked.seed, self._asked.iterations)

    @property
    def has_savings(self) -> bool:
        return self.is_enough or not any(row.saved for row in self._rows)

    def savings(self) -> tuple[float | None, float | None, float | None]:
        """(low, high, probability of loss); all None without enough units."""
        if not any(row.saved for row in self._rows):
            return 0, 0, 0
        if not self.is_enough:
            return None, None, None
        return self._of(self._units)

    def of_route(self, mine: set[int]) -> Ends | None:
        """Of the rows with these ordinals."""
        rows = [row for row in self._rows if row.ordinal in mine]
        if not any(row.saved for row in rows):
            return 0, 0
        units = [[row for row in unit if row.ordinal in mine] for unit in self._units]
        if not self.is_enough or sum(map(bool, units)) < 6:
            return None
        return self._of(units)[:2]

    def _of(self, units: list[list[Row]]) -> tuple[float | None, float | None, float]:
        saved = naive.summed(self._draws, [sum(row.saved for row in unit) for unit in units])
        spent = naive.summed(self._draws, [sum(row.current for row in unit) for unit in units])
        low, high = ends_of_ratios(saved, spent)
        return low, high, sum(one < 0 for one in saved) / len(saved)

    def hit_rate(self) -> list[float | None] | None:
        if not self.is_enough or not has_caches(self._asked):
            return None
        hits = naive.summed(self._draws, [sum(row.then.hit for row in unit) for unit in self._units])
        rows = naive.summed(self._draws, [len(unit) for unit in self._units])
        low, high = ends_of_ratios(hits, rows)
        least, most = wilson(sum(row.then.hit for row in self._rows), len(self._rows))
        return [None if low is None else min(low, least), None if high is None else max(high, most)]

    def latency(self, q: tuple[int, int], upper: int) -> list[int | None] | None:
        """`upper`: one draw in so many lies above the interval."""
        timed = [[row.bins[1] for row in unit if row.bins[1] is not None] for unit in self._buckets]
        everything = sorted(found for unit in timed for found in unit)
        if not self.is_enough or len(timed) < 6 or not everything:
            return None
        draws = self._draws if len(timed) == len(self._units) else self._drawn(len(timed))
        found: list[int | None] = []
        in_order = sorted((found[0], number) for number, unit in enumerate(timed) for found in unit)
        for draw in draws:
            rows = [low for low, number in in_order for _ in range(draw[number])]
            found.append(naive.quantile(rows, q))
        # Too few for so far an end: the largest of them, if they are enough for the other.
        low, high = naive.ends(found, 40, max(40, min(upper, len(found) + 1)))
        first, last = binomial_ranks(len(everything), q)
        tops = dict(everything)
        return [
            None if low is None or first is None else min(int(low), everything[first - 1][0]),
            None if high is None or last is None else max(tops[int(high)], everything[last - 1][1]),
        ]


def ends_of_ratios(above: Sequence[int], below: Sequence[int]) -> Ends:
    """The k-th smallest and the k-th largest; where nothing is below, it is beyond both ends in turn."""
    beyond = cycle([float("-inf"), float("inf")])
    ratios = sorted(one / other if other > 0 else next(beyond) for one, other in zip(above, below, strict=True))
    k = (len(ratios) + 1) // 40
    low, high = (ratios[k - 1], ratios[-k]) if k else (None, None)
    return None if low in (float("-inf"), float("inf")) else low, None if high in (
        float("-inf"),
        float("inf"),
    ) else high


def wilson(hits: int, rows: int) -> tuple[float, float]:
    share, spread = Decimal(hits) / rows, Z * Z / rows
    half = Z * (share * (1 - share) / rows + spread / (4 * rows)).sqrt()
    return (
        float(max(Decimal(0), (share + spread / 2 - half) / (1 + spread))) if hits else 0.0,
        float(min(Decimal(1), (share + spread / 2 + half) / (1 + spread))) if hits < rows else 1.0,
    )


def binomial_ranks(rows: int, q: tuple[int, int]) -> tuple[int | None, int | None]:
    """From 1 on, by the Cornish-Fisher expansion; beyond all rows an end is that row if that is sure enough."""
    a, b = q
    with localcontext(prec=50):
        share = Decimal(a) / b
        half = Z * (share * (1 - share) / rows).sqrt()
        shift = (1 - 2 * share) * (Z * Z - 1) / (6 * rows)
        low = int((rows * (share - half + shift)).to_integral_value(ROUND_FLOOR))
        high = int((rows * (share + half + shift)).to_integral_value(ROUND_CEILING)) + 1
    all_above, all_below = (1 - Fraction(a, b)) ** rows, Fraction(a, b) ** rows
    return (
        low if low >= 1 else 1 if all_above <= Fraction(1, 40) else None,
        high if high <= rows else rows if all_below <= Fraction(1, 40) else None,
    )


def money(low: float | None, high: float | None, known: bool, current: int) -> Json:
    if not known:
        return {"savings_usd_95": None, "savings_pct_95": None}
    return {
        "savings_usd_95": [None if end is None else usd(round(Fraction(end) * current)) for end in (low, high)],
        "savings_pct_95": [None if end is None else 100 * end for end in (low, high)],
    }


# --- By route ---------------------------------------------------------------------------------------------------------


def by_route(rows: list[Row], sure: Sureness, asked: Question) -> Iterator[Json]:
    for route_id, name in [*((route.id, route.name) for route in enabled(asked.proposed)), (None, None)]:
        mine = [row for row in rows if row.then.decision.route_id == route_id]
        current, projected = sum(row.current for row in mine), sum(row.projected for row in mine)
        ends = sure.of_route({row.ordinal for row in mine})
        yield {
            "route_id": route_id,
            "route_name": name,
            "matched": len(mine),
            "baseline_cost_usd": usd(sum(row.baseline for row in mine)),
            "current_cost_usd": usd(current),
            "projected_cost_usd": usd(projected),
            "savings_usd": usd(current - projected),
            **money(*(ends or (None, None)), ends is not None, current),
        }


# --- Caveats ----------------------------------------------------------------------------------------------------------


def time_without_rows(rows: list[Row], asked: Question) -> list[Json]:
    if not rows or asked.window is None:
        return []
    start, end = asked.window
    edges = [start, *sorted(row.log.ts for row in rows), end]
    gaps = list(pairwise(edges))
    # Of equal ones that at the beginning, then the first within.
    since, until = max(gaps, key=lambda gap: gap[1] - gap[0])
    if (until - since) / (end - start) <= 0.1:
        return []
    texts = [time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f").removesuffix(".000000") for time in (since, until)]
    return [{"code": "window_not_covered", "values": {"since": f"{texts[0]}Z", "until": f"{texts[1]}Z"}}]


def caveats(
    rows: list[Row],
    left_out: dict[str, int],
    kind: str,
    units: list[list[Row]],
    sure: Sureness,
    ends: list[Json],
    prices: Sequence[Price],
    has_l1: bool,
) -> Iterator[Json]:
    """Those that apply, in their order."""
    logs = [row.log for row in rows]
    bill = {
        "estimated_cost_usd": [row.fact_estimated_cost_nano is None and row.baseline_cost_nano is not None for row in logs],
        "input_tokens": [row.fact_input_tokens is None for row in logs],
    }  # fmt: skip
    sent = [
        price_of(prices, *row.then.served, row.log.ts)
        for row in rows
        if row.then.served is not None and row.then.decision.target_model is not None
    ]
    retiring = [(price.model, price.retires_on) for price in sent if price is not None]
    dates = {model: min(day for other, day in retiring if other == model and day) for model, day in retiring if day}
    refused = [sum(side.served is None for side in sides) for sides in ([r.now for r in rows], [r.then for r in rows])]
    names = {
        "unknown_price": counts(model for row in rows for why, model in row.kept if why == "unknown_price"),
        "over_cost_ceiling": counts(model for row in rows for why, model in row.kept if why == "over_cost_ceiling"),
        "no_latency_history": counts(model for row in rows for model in row.lacks_history),
        "provider_guessed": counts(
            model
            for row in rows
            for model in {side.served[1] for side in (row.now, row.then) if side.guessed and side.served}
        ),
        "retiring_model": {
            model: {"retires_on": str(day), "requests": sum(m == model and d is not None for m, d in retiring)}
            for model, day in dates.items()
        },
        "shadow_copies": counts(
            row.then.decision.shadow_model
            for row in rows
            if row.then.decision.shadow_model not in (None, row.now.decision.shadow_model)
        ),
    }
    odd = odd_bills(rows, prices)
    names = dict(list(names.items())[:3]) | {"paid_differs_from_price": odd} | dict(list(names.items())[3:])
    for code, models in names.items():
        if models:
            yield {"code": code, "values": {"models": models}}
    paid = sum(log.cost_nano or 0 for log in logs)
    today = sum((row.log.cost_nano or 0) if row.kept else row.now.cost for row in rows)
    if abs(today - paid) > Fraction(paid, 20):
        yield {"code": "current_differs_from_paid", "values": {"paid_usd": usd(paid), "current_usd": usd(today)}}
    if any(refused):
        yield {"code": "refused", "values": {"current": refused[0], "proposed": refused[1]}}
    for code, number in (
        ("no_tokens", sum({"no_tokens"} == {why for why, _ in row.kept if why != "over_cost_ceiling"} for row in rows)),
        ("served_as_asked", sum(row.now.as_asked or row.then.as_asked for row in rows)),
        ("who_decided", sum(any(why == "who_decided" for why, _ in row.kept) for row in rows)),
        ("no_baseline", sum(row.baseline_cost_nano is None for row in logs)),
        ("unpriced", left_out["unpriced"]),
        ("served_from_cache", sum(row.log.cached and sent_to(row.now) != sent_to(row.then) for row in rows)),
        (
            "cache_disabled",
            sum(
                row.log.cached and row.then.decision.disable_cache and not row.now.decision.disable_cache
                for row in rows
            ),
        ),
        ("alike_by_size", sum(not log.request_digest for log in logs) if has_l1 else 0),
        ("latency_of_hits", sum(row.then.hit for row in rows)),
        ("no_latency", sum(row.latency_ms is None for row in logs)),
    ):
        if number:
            yield {"code": code, "values": {"rows": number}}
    if any(map(any, bill.values())):
        both = sum(map(any, zip(*bill.values(), strict=True)))
        facts = {name: sum(found) for name, found in bill.items() if any(found)}
        yield {"code": "facts_from_bill", "values": {"rows": both, "facts": facts}}
    if any(row.is_open for row in rows):
        yield {"code": "unknown_facts", "values": {"rows": sum(row.is_open for row in rows)}}
    if made_up := counts(name for row in logs for name in row.synthetic):
        yield {"code": "synthetic_columns", "values": {"columns": made_up}}
    yield from caveats_of_units(rows, kind, units, sure, ends)


def caveats_of_units(
    rows: list[Row], kind: str, units: list[list[Row]], sure: Sureness, ends: list[Json]
) -> Iterator[Json]:
    sizes_of_units = [sum(row.current for row in unit) for unit in units], [len(unit) for unit in units]
    sizes = min((sizes for sizes in sizes_of_units if any(sizes)), key=naive.effective, default=[])
    effective = naive.effective(sizes)
    if not sure.is_enough and rows:
        yield {"code": "too_few_units", "values": {"units": len(units)}}
    elif sizes and effective < 20:
        largest = max(sizes) / sum(sizes)
        values = {"effective_units": round(float(effective), 3), "largest_share": round(largest, 6)}
        yield {"code": "few_effective_units", "values": values}
    if kind == "days":
        yield {"code": "units_are_days", "values": {"clusters": len({row.key for row in rows}), "days": len(units)}}
    yield from ends
    if sure.has_savings and None in sure.savings():
        yield {"code": "open_interval", "values": {}}


def odd_bills(rows: list[Row], prices: Sequence[Price]) -> Json:
    """By model, where of a sample more than every twentieth bill is a tenth off its price, and a millionth of a dollar."""
    bills: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        log = row.log
        price = price_of(prices, log.provider, log.model, log.ts)
        if price is None or log.cost_nano is None or log.cached or log.input_tokens == log.output_tokens == 0:
            continue
        if row.ordinal < 4096 or row.ordinal % 64 == 0:
            bills.setdefault(log.model, []).append((log.cost_nano, priced(price, log)))
    found = {}
    for model, pairs in bills.items():
        off = sum(abs(paid - cost) > max(cost // 10, 1000) for paid, cost in pairs)
        if 20 * off > len(pairs):
            cost = sum(cost for _, cost in pairs)
            factor = float(f"{float(Fraction(sum(paid for paid, _ in pairs), cost)):.6g}") if cost else None
            found[model] = {"factor": factor, "share_off": float(f"{off / len(pairs):.6g}")}
    return found


def sent_to(side: Side) -> tuple[str | None, str | None]:
    return side.decision.target_model, side.decision.provider


def counts(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names))
