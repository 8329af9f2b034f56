"""The newest week of an organisation in a few figures: how many requests, what they cost, how many failed, which models."""

from collections import Counter, defaultdict
from datetime import datetime
from decimal import Decimal
from math import sqrt
from typing import Any, Final

from plans.logs.models import RequestLog
from plans.matching.sampling import Sample
from plans.matching.services import newest_week
from plans.matching.words import about, of_week, percent, until
from routes.catalog.services import prices_for
from routes.money import usd_text
from routes.orgs.models import Organization

#: So many models are named, those that served most; the others together are one line.
MODELS: Final = 5
#: Of a normal distribution, for 95%.
_Z: Final = 1.96


def week_of(org: Organization, *, now: datetime) -> dict[str, Any] | None:
    """None where nothing is logged. Of a sampled week requests and cost are estimates and say so."""
    found = newest_week(org.pk, now)
    if found is None:
        return None
    sample = found.sample
    if not sample.rows:
        return {"figures": [], "models": [], "words": f"There are no requests in the week {until(sample)}."}
    rows = _rows(sample)
    costs = [row["cost_usd"] for row in rows if row["cost_usd"] is not None]
    failed = sum(row["status"] is not None and row["status"] >= 400 for row in rows)
    figures = [
        ("Requests", f"{sample.total:,}" if sample.is_whole else f"about {about(sample.total)}"),
        ("Cost", _cost(sample, costs) if costs else "not logged"),
        ("Failed", percent(failed / len(rows))),
    ]
    return {
        "figures": figures,
        "models": _by_model(rows),
        "words": _words(sample, len(rows) - len(costs)),
        "unpriced": _unpriced(org, rows),
    }


def _unpriced(org: Organization, rows: list[dict[str, Any]]) -> str:
    """The models of which nobody knows a price, those that served most first; empty where there are none."""
    counts = Counter(row["model"] for row in rows if row["model"])
    known = set(prices_for(org).filter(model__in=counts).order_by().values_list("model", flat=True))
    names = sorted(counts.keys() - known, key=lambda name: (-counts[name], name))
    more = f" and {len(names) - MODELS} more" if len(names) > MODELS else ""
    return ", ".join(names[:MODELS]) + more


def _rows(sample: Sample) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for start in range(0, len(sample.ids), 500):  # SQLite takes no list of any length
        some = RequestLog.objects.filter(pk__in=sample.ids[start : start + 500]).order_by()
        found += some.values("model", "cost_usd", "status")
    return found


def _cost(sample: Sample, costs: list[Decimal]) -> str:
    """The sum; of a sampled week the estimate with the 95% interval of a mean of independent requests."""
    if sample.is_whole:
        return usd_text(sum(costs, Decimal(0)))
    size, share = len(costs), len(costs) / len(sample.rows)
    numbers = [float(cost) for cost in costs]
    mean = sum(numbers) / size
    off = _Z * sqrt(sum((cost - mean) ** 2 for cost in numbers) / max(1, size - 1) / size)
    estimate, width = (value * sample.total * share for value in (mean, off))
    return f"about {usd_text(estimate, finest=width)} ± {usd_text(width)}"


def _by_model(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """By model, most requests first: its share of them, and of the cost where that is known."""
    counts: dict[str, int] = defaultdict(int)
    costs: dict[str, Decimal] = defaultdict(Decimal)
    for row in rows:
        counts[row["model"]] += 1
        costs[row["model"]] += row["cost_usd"] or 0
    names = sorted(counts, key=lambda name: (-counts[name], name))
    lines = [(name, counts[name], costs[name]) for name in names[:MODELS]]
    if rest := names[MODELS:]:
        others = f"{len(rest)} other{'s'[: len(rest) != 1]}"
        lines.append((others, sum(counts[name] for name in rest), sum((costs[name] for name in rest), Decimal(0))))
    spent = sum(costs.values(), Decimal(0))
    return [
        {
            "name": name or "(no name)",
            "share": percent(count / len(rows)),
            "cost": percent(float(cost / spent)) if spent else "–",
        }
        for name, count, cost in lines
    ]


def _words(sample: Sample, without: int) -> str:
    which = (
        f"All {len(sample.rows):,} requests {of_week(sample)}"
        if sample.is_whole
        else f"From {len(sample.rows):,} sampled requests {of_week(sample)}"
    )
    lacking = f" {without:,} of them have no cost." if without else ""
    return f"{which}, each by its first attempt.{lacking}"
