"""What to keep in mind with a result: `{code, message, values}` each."""

from collections import Counter
from typing import Any

from plans.replay.sums.counts import Counts


def caveat(code: str, message: str, **values: Any) -> dict[str, Any]:
    return {"code": code, "message": message, "values": values}


def caveats_of(counts: Counts) -> list[dict[str, Any]]:
    """What the counts alone give reason to say."""
    return [*_of_models(counts), *_of_rows(counts), *_of_names(counts)]


def _of_models(counts: Counts) -> list[dict[str, Any]]:
    found = []
    if counts.unknown_prices:
        text = (
            f"No price is known for {_listed(counts.unknown_prices)}: {_requests(counts.unpriceable)} what they cost."
        )
        found.append(caveat("unknown_price", text, models=_sorted(counts.unknown_prices)))
    if counts.over_ceiling:
        text = (
            f"{counts.too_dear:,} requests would cost more than their route allows on {_listed(counts.over_ceiling)};"
            " they keep what they cost."
        )
        found.append(caveat("over_cost_ceiling", text, models=_sorted(counts.over_ceiling)))
    if counts.no_history:
        text = (
            f"Nothing in the window says how fast {_listed(counts.no_history)} would be:"
            f" {_requests(counts.no_history.total())} their own latency."
        )
        found.append(caveat("no_latency_history", text, models=_sorted(counts.no_history)))
    if counts.retiring:
        dates = {name.rsplit(" ", 1)[0]: name.rsplit(" ", 1)[1] for name in sorted(counts.retiring)}
        text = "The proposed routes send requests to models that retire: "
        text += ", ".join(f"{model} on {day}" for model, day in dates.items()) + "."
        rows: Counter[str] = Counter()
        for name, number in counts.retiring.items():
            rows[name.rsplit(" ", 1)[0]] += number
        values = {model: {"retires_on": day, "requests": rows[model]} for model, day in dates.items()}
        found.append(caveat("retiring_model", text, models=values))
    if counts.copied:
        text = (
            f"Copies of {counts.copied.total():,} requests would go to {_listed(counts.copied)}: what they cost is not"
            " counted."
        )
        found.append(caveat("shadow_copies", text, models=_sorted(counts.copied)))
    return found


def _of_rows(counts: Counts) -> list[dict[str, Any]]:
    found = []
    if counts.refused_now or counts.refused_then:
        text = (
            f"The proposed routes refuse {counts.refused_then:,} requests, today's {counts.refused_now:,}: they cost"
            " nothing, and nobody gets an answer."
        )
        found.append(caveat("refused", text, current=counts.refused_now, proposed=counts.refused_then))
    for code, count, message in (
        ("no_baseline", counts.no_baseline, "lack a cost without routing; what was paid stands in."),
        ("unpriced", counts.excluded["unpriced"], "have no known cost and are left out."),
        (
            "served_from_cache",
            counts.cached_rerouted,
            "that the proposed routes send elsewhere were answered by the gateway's cache; they are priced as if not.",
        ),
        ("no_latency", counts.no_latency, "lack a latency; they are not in the latency figures."),
    ):
        if count:
            found.append(caveat(code, f"{count:,} requests {message}", rows=count))
    if counts.facts_from_bill:
        text = (
            f"{counts.facts_from_bill:,} requests were decided on the bill, in part or whole: the gateway's own figures"
            " are not logged."
        )
        found.append(caveat("facts_from_bill", text, rows=counts.facts_from_bill, facts=_sorted(counts.from_bill)))
    if counts.open_rows:
        text = (
            f"Conditions look at facts that the log lacks: {counts.open_rows:,} requests might have taken another route."
            " See what that could change."
        )
        found.append(caveat("unknown_facts", text, rows=counts.open_rows))
    return found


def _of_names(counts: Counts) -> list[dict[str, Any]]:
    if not counts.synthetic:
        return []
    text = f"Not measured but made up: {_listed(counts.synthetic)}."
    return [caveat("synthetic_columns", text, columns=_sorted(counts.synthetic))]


def _listed(names: Counter[str]) -> str:
    return ", ".join(sorted(names))


def _sorted(names: Counter[str]) -> dict[str, int]:
    return dict(sorted(names.items()))


def _requests(count: int) -> str:
    return f"{count:,} requests keep" if count != 1 else "1 request keeps"
