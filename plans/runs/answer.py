"""A plan's result in words: the answer before the figures.

Results are kept for ever, so those of earlier versions of the replay are read as well: what they lack is left out.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from plans.replay.question import VERSION
from plans.runs.models import PlanRun
from routes.money import usd_range, usd_text


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


#: What a verdict is in one word: how sure it is, not how large.
SURE = {"saves": "95% sure", "costs": "95% sure", "undecided": "not decided"}


def lead(result: dict[str, Any], window: tuple[datetime, datetime]) -> str:
    """The answer as people remember it: between which bounds, in how long a time. "" where there are none: then the
    headline is all that can be said. The bounds are those of the window: the volume of another one is not guessed."""
    usd, pct = (result["confidence_intervals"].get(f"savings_{name}_95") for name in ("usd", "pct"))
    if not result["sample_size"] or _changes_nothing(result) or usd is None or pct is None or None in (*usd, *pct):
        return ""
    low, high = usd
    if low == high:
        return ""
    span = span_text(*window)
    if result["verdict"] == "undecided":
        percents = " to ".join(percent_text(end, signed=True) for end in pct)
        ends = " and ".join(usd_text(end, signed=True, finest=high - low) for end in usd)
        return f"Saves between {ends} {span} ({percents})"
    # Of a loss the smaller one first, too.
    sizes, shares = (sorted(map(abs, both)) for both in (usd, pct))
    verb = "Saves" if result["verdict"] == "saves" else "Costs"
    amounts = " to ".join(usd_text(end, finest=high - low) for end in sizes)
    more = "" if verb == "Saves" else " more"
    return f"{verb} {amounts}{more} {span} ({' to '.join(map(percent_text, shares))})"


def span_text(start: datetime, end: datetime) -> str:
    """How long a window is: `a day`, `a week`, `in 30 days`, `in 90 minutes`."""
    minutes = max(1, round((end - start) / timedelta(minutes=1)))
    if minutes in _NAMED_SPANS:
        return _NAMED_SPANS[minutes]
    for size, name in ((1440, "day"), (60, "hour")):
        if minutes >= 2 * size:
            return f"in {minutes / size:,.1f} {name}s".replace(".0 ", " ")
    return f"in {minutes:,} minute{'' if minutes == 1 else 's'}"


_NAMED_SPANS = {60: "an hour", 1440: "a day", 7 * 1440: "a week"}


def headline(plan: PlanRun) -> str:
    """The answer's headline, from what a list reads of a plan; "" before the plan is projected."""
    if plan.projected_at is None:
        return ""
    found = plan.summary or plan.outcome
    return headline_of(found) if found else ""


def summary_of(result: dict[str, Any]) -> dict[str, Any]:
    """What `headline_of` reads of a result."""
    totals, intervals = result["aggregates"], result["confidence_intervals"]
    return {
        "sample_size": result["sample_size"],
        "aggregates": {name: totals[name] for name in _SUMMED_UP if name in totals},
        "confidence_intervals": {"savings_usd_95": intervals.get("savings_usd_95")},
    }


_SUMMED_UP = (
    "requests_rerouted",
    "requests_kept",
    "requests_unprice_able",
    "projected_savings_usd",
    "projected_savings_pct",
)


def headline_of(result: dict[str, Any]) -> str:
    """One sentence, of a result or its summary."""
    if not result["sample_size"]:
        return "No request of the window could be replayed"
    return "Changes nothing" if _changes_nothing(result) else _headline(result)


def _changes_nothing(result: dict[str, Any]) -> bool:
    totals = result["aggregates"]
    return not totals["requests_rerouted"] and not totals["projected_savings_usd"]


def answer_of(result: dict[str, Any]) -> Answer:
    """What the result of a replay says."""
    said = headline_of(result)
    verdict: str = result["verdict"]
    rows: int = result["sample_size"]
    if not rows:
        return Answer(said, verdict, _why_nothing(result.get("excluded", {})))
    if _changes_nothing(result):
        would = "The 1 request would not" if rows == 1 else f"None of {rows:,} requests would"
        detail = f"{would} be served otherwise."
        if open_rows := result.get("coverage", {}).get("rows_open"):
            detail += f" Of {open_rows:,} nobody can know: their routes ask for facts that were not logged."
        return Answer(said, verdict, " ".join([detail, *_doubts(result)]))
    is_certain_loss = _is_certain_loss(result)
    detail = " ".join([_how_sure(result), *_doubts(result)])
    return Answer(said, "costs" if is_certain_loss else verdict, detail)


def _is_certain_loss(result: dict[str, Any]) -> bool:
    """Whether no request can become cheaper, which hangs on no sample."""
    totals = result["aggregates"]
    free = not totals["total_current_cost_usd"] and totals["projected_savings_usd"] < 0
    return free and not result.get("coverage", {}).get("rows_open")


def _why_nothing(left_out: dict[str, int]) -> str:
    if unpriced := left_out.get("unpriced"):
        whose = "the 1 request" if unpriced == 1 else f"{unpriced:,} requests"
        return f"Nobody logged what {whose} cost. Import logs that have cost_usd, or map a column to it."
    if others := sum(left_out.values()):
        return f"Of the {others:,} logged, all failed, were copies, or came twice."
    return "Choose a window that has traffic."


def _doubts(result: dict[str, Any]) -> list[str]:
    """What may be more wrong than the interval says."""
    found = []
    coverage = result.get("coverage", {})
    low, high = (coverage.get(f"savings_usd_{end}") for end in ("low", "high"))
    verdict = result["verdict"]
    if (
        coverage.get("rows_open")
        and low is not None
        and high is not None
        and ((verdict == "saves" and low <= 0) or (verdict == "costs" and high >= 0))
    ):
        ends = f"{usd_text(low, signed=True)} to {usd_text(high, signed=True)}"
        found.append(f"But it hangs on facts that were not logged: whatever they were, it saves {ends}.")
    return found + [caveat["message"] for caveat in result.get("caveats", []) if caveat["code"] in _GRAVE]


#: Caveats that stand beside the answer: the costs themselves may be wrong, or something has no cost that people mind.
_GRAVE = ("paid_differs_from_price", "current_differs_from_paid", "shadow_copies", "refused")


def _headline(result: dict[str, Any]) -> str:
    totals = result["aggregates"]
    saved, percent = totals["projected_savings_usd"], totals["projected_savings_pct"]
    unchanged = kept(totals)
    if saved:
        # As finely as the interval is told, so that it does not seem to lie outside.
        text = (
            f"{'Saves' if saved > 0 else 'Costs'} {usd_text(abs(saved), finest=_width(result['confidence_intervals']))}"
        )
        text += "" if percent is None else f" ({percent_text(abs(percent))})"
    else:
        text = "No known savings" if unchanged else "Costs the same"
    text += f" on {result['sample_size']:,} request{'' if result['sample_size'] == 1 else 's'}"
    if unchanged:
        text += f"; {unchanged:,} of them count{'s' if unchanged == 1 else ''} as unchanged, see the caveats"
    return text


def kept(totals: dict[str, Any]) -> int:
    """On how many requests what was paid stands on both sides."""
    rows: int = totals.get("requests_kept", totals["requests_unprice_able"])
    return rows


def _width(intervals: dict[str, Any]) -> float:
    """Of the interval in USD; 0 where there is none, or no end of it."""
    low, high = intervals.get("savings_usd_95") or (None, None)
    return 0 if low is None or high is None else high - low


def _how_sure(result: dict[str, Any]) -> str:
    totals, intervals = result["aggregates"], result["confidence_intervals"]
    saved = totals["projected_savings_usd"]
    usd, pct = intervals["savings_usd_95"], intervals["savings_pct_95"]
    if _is_certain_loss(result):
        return "Today's routes cost nothing here, so it is certain that this costs more; there is no percentage of nothing."
    if usd is None or usd == [None, None]:
        return "Too little independent traffic for a 95% interval; see the caveats."
    certainty = _CERTAINTY[result["verdict"]]
    if None in usd:
        return f"95% interval of the savings: {_ends_text(usd)}; this traffic bounds them on one side only. {certainty}"
    low, high = usd
    if low == high == 0 and not saved:
        if kept(totals):
            return "What would be served otherwise counts as unchanged: nobody knows what that would save or cost."
        return "Where another model would serve, it costs exactly as much."
    if low == high:
        units = result.get("interval_units")
        who = f"All {units['count']:,} {units['kind']}" if units else "All clusters"
        loses = "save" if low > 0 else "lose"
        return f"{who} {loses} the same share of what they cost today, so the 95% interval is one point. {certainty}"
    more = "" if saved >= 0 else "; negative means dearer"
    percents = " to ".join(percent_text(end, signed=True) for end in pct)
    return f"95% interval of the savings: {usd_range(low, high)} ({percents}{more}). {certainty}"


_CERTAINTY = {
    "saves": "The whole interval is a saving.",
    "costs": "The whole interval is a loss.",
    "undecided": "The interval contains zero: this traffic does not decide it.",
}


def percent_text(percent: float, *, signed: bool = False) -> str:
    """`21.0%`; below 1% as many decimals as say something: `0.40%`."""
    places = 1
    while percent and places < 9 and abs(percent) < 10 ** -(places - 1):
        places += 1
    return f"{percent:+.{places}f}%" if signed and percent else f"{percent:.{places}f}%"


def route_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """By proposed route, last what no route takes: `name`, `matched`, and `current`, `projected`, `saved`, `interval` as
    texts."""
    return [
        {
            "name": row["route_name"] or "no route",
            "matched": row["matched"],
            "current": usd_text(row["current_cost_usd"]),
            "projected": usd_text(row["projected_cost_usd"]),
            "saved": usd_text(row["savings_usd"], signed=True, finest=_width(row)),
            "interval": _route_interval(row, result),
        }
        for row in result["per_route_breakdown"]
    ]


def _route_interval(row: dict[str, Any], result: dict[str, Any]) -> str:
    if not row["matched"] or "savings_usd_95" not in row:
        return "–"
    ends = row["savings_usd_95"]
    if ends == [0, 0] and not row["savings_usd"]:
        # A request that counts as unchanged may well be one of this route.
        return "$0 as far as known" if kept(result["aggregates"]) else "exactly $0"
    return _ends_text(ends)


def _ends_text(ends: list[float | None] | None) -> str:
    """The ends of an interval in USD; what is missing or open is said."""
    if ends is None:
        return "too few units"
    low, high = ends
    if low is None and high is None:
        return "open on both sides"
    if low is None or high is None:
        return (
            f"at most {usd_text(high or 0, signed=True)}" if low is None else f"at least {usd_text(low, signed=True)}"
        )
    return f"{usd_text(low, signed=True)}, same share everywhere" if low == high else usd_range(low, high)


def cost_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What the window costs, as (what, US dollars)."""
    totals = result["aggregates"]
    return [
        (label, usd_text(totals[f"total_{name}_cost_usd"]))
        for name, label in (
            ("baseline", "Cost without routing"),
            ("current", "Cost with today's routes"),
            ("projected", "Cost with the proposed"),
        )
    ]


def unknowns(result: dict[str, Any]) -> dict[str, str] | None:
    """What hangs on facts that nobody logged: `share` of today's cost, and the savings from `low` to `high`. None where
    nothing does."""
    coverage = result.get("coverage")
    if not coverage or not coverage["rows_open"]:
        return None
    width = coverage["savings_usd_high"] - coverage["savings_usd_low"]
    low, high = (usd_text(coverage[f"savings_usd_{end}"], signed=True, finest=width) for end in ("low", "high"))
    return {"share": percent_text(100 * coverage["share_of_spend_open"]), "low": low, "high": high}


def earlier_version(result: dict[str, Any]) -> str | None:
    """The version of the replay that made the result, where it is not today's."""
    version = str(result.get("provenance", {}).get("engine_version", "unknown"))
    return None if version == VERSION else version


def latency_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """How long requests take, before and after; none where nobody logged it."""
    totals, intervals = result["aggregates"], result["confidence_intervals"]
    rows = []
    for name, label in (("p50", "Half of the requests within"), ("p95", "95% of the requests within")):
        now, then = (totals.get(f"{name}_latency_ms_{side}") for side in ("current", "projected"))
        if then is not None:
            interval = _ms_text(intervals.get(f"{name}_latency_ms_95"))
            rows.append({"label": label, "now": now, "then": then, "interval": interval})
    return rows


def _ms_text(ends: list[int | None] | None) -> str:
    if ends is None:
        return "too few units"
    low, high = ends
    if low is None or high is None:
        return "open on both sides" if low == high else f"at most {high:,}" if low is None else f"at least {low:,}"
    return f"{low:,} to {high:,}"
