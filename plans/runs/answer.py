"""A plan's result in words: the answer before the figures."""

from dataclasses import dataclass
from typing import Any

from plans.runs.models import PlanRun
from routes.money import usd_text


@dataclass(frozen=True, slots=True)
class Answer:
    #: One sentence: what the plan saves or costs, and between which bounds.
    headline: str
    #: `saves`, `costs` or `undecided`.
    verdict: str
    #: How sure, and about what.
    detail: str


def answer(plan: PlanRun) -> Answer | None:
    """None before the plan is projected."""
    result = plan.outcome
    return None if result is None else answer_of(result)


def answer_of(result: dict[str, Any]) -> Answer:
    """What the result of a replay says."""
    totals: dict[str, Any] = result["aggregates"]
    saved = totals["projected_savings_usd"]
    percent = totals["projected_savings_pct"]
    verdict: str = result["verdict"]
    if not result["sample_size"]:
        return Answer("No request of the window could be replayed", verdict, "Choose a window that has traffic.")
    if not totals["requests_rerouted"] and not saved:
        detail = f"None of {result['sample_size']:,} requests would be served otherwise."
        if open_rows := result.get("coverage", {}).get("rows_open"):
            detail += f" Of {open_rows:,} nobody can know: their routes ask for facts that were not logged."
        return Answer("Changes nothing", verdict, detail)
    verb = "Saves" if saved >= 0 else "Costs"
    headline = f"{verb} {usd_text(abs(saved))}"
    if percent is not None:
        headline += f" ({abs(percent):.1f}%)"
    headline += f" on {result['sample_size']:,} requests"
    if unpriced := totals["requests_unprice_able"]:
        headline += f"; {unpriced:,} of them have no known price and count as unchanged"
    usd, pct = result["confidence_intervals"]["savings_usd_95"], result["confidence_intervals"]["savings_pct_95"]
    if usd is None or None in usd or None in pct:
        if not totals["total_current_cost_usd"]:
            return Answer(headline, verdict, "Today's routes cost nothing here, and there is no percentage of nothing.")
        return Answer(headline, verdict, "Too little independent traffic for a 95% interval; see the caveats.")
    more = "" if saved >= 0 else "; negative means dearer"
    detail = (
        f"95% interval of the savings: {usd_text(usd[0], signed=True)} to {usd_text(usd[1], signed=True)}"
        f" ({pct[0]:+.1f}% to {pct[1]:+.1f}%{more}). {_CERTAINTY[verdict]}"
    )
    return Answer(headline, verdict, detail)


_CERTAINTY = {
    "saves": "The whole interval is a saving.",
    "costs": "The whole interval is a loss.",
    "undecided": "The interval contains zero: this traffic does not decide it.",
}


def ends_text(ends: list[float | None] | None) -> str:
    """The ends of an interval in USD; what is missing or open is said."""
    if ends is None:
        return "too few units"
    low, high = ends
    if low == high == 0:
        return "exactly $0"
    if low is None and high is None:
        return "open on both sides"
    if low is None or high is None:
        return (
            f"at most {usd_text(high or 0, signed=True)}" if low is None else f"at least {usd_text(low, signed=True)}"
        )
    return f"{usd_text(low, signed=True)} to {usd_text(high, signed=True)}"


def latency_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """How long requests take, before and after; none where nobody logged it."""
    totals, intervals = result["aggregates"], result["confidence_intervals"]
    rows = []
    for name, label in (("p50", "Half of the requests within"), ("p95", "95% of the requests within")):
        # Results of an earlier version of the replay lack them.
        now, then = (totals.get(f"{name}_latency_ms_{side}") for side in ("current", "projected"))
        ends = intervals.get(f"{name}_latency_ms_95")
        if then is not None:
            rows.append({"label": label, "now": now, "then": then, "interval": _ms_text(ends)})
    return rows


def _ms_text(ends: list[int | None] | None) -> str:
    if ends is None:
        return "too few units"
    low, high = ("open" if end is None else f"{end:,}" for end in ends)
    return f"{low} to {high}"
