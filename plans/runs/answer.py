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
    if result is None:
        return None
    totals: dict[str, Any] = result["aggregates"]
    saved = totals["projected_savings_usd"]
    percent = totals["projected_savings_pct"]
    verdict: str = result["verdict"]
    if not result["sample_size"]:
        return Answer("No request of the window could be replayed", verdict, "Choose a window that has traffic.")
    if not totals["requests_rerouted"] and not saved:
        return Answer(
            "Changes nothing", verdict, f"None of {result['sample_size']:,} requests would be served otherwise."
        )
    verb = "Saves" if saved >= 0 else "Costs"
    headline = f"{verb} {usd_text(abs(saved))}"
    if percent is not None:
        headline += f" ({abs(percent):.1f}%)"
    headline += f" on {result['sample_size']:,} requests"
    usd, pct = result["confidence_intervals"]["savings_usd_95"], result["confidence_intervals"]["savings_pct_95"]
    if usd is None or None in usd or None in pct:
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
