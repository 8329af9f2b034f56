"""What a step with a plan will do, in numbers and words, before it is done."""

import json
from collections import Counter
from datetime import timedelta
from typing import Any, Final

from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from routes.rules.content import conflicts, undone

_ORDER: Final = ("added", "changed", "removed", "moved")


def in_numbers(changes: list[dict[str, Any]]) -> str:
    """Of changes as `changes_between` has them: `2 routes added, 1 changed`."""
    counts = Counter(change["change"] for change in changes if change["route_id"] is not None)
    parts = [f"{counts[kind]:,} {kind}" for kind in _ORDER if counts[kind]]
    if parts:
        first, _, rest = parts[0].partition(" ")
        parts[0] = f"{first} route{'' if first == '1' else 's'} {rest}"
    if sum(counts.values()) < len(changes):
        parts.append(f"{'and ' if parts else ''}what happens to requests that no route takes")
    return ", ".join(parts) or "no route changes"


def an_hour(plan: PlanRun, result: dict[str, Any]) -> str:
    """How many requests are served otherwise, at the rate of the window: `about 1,204 of 8,300 requests an hour`."""
    hours = (plan.window_end - plan.window_start) / timedelta(hours=1)
    rows, other = result["sample_size"], result["aggregates"]["requests_rerouted"]
    if not rows:
        return "nobody knows how many requests it is for: none of the window could be replayed"
    for size, unit in ((hours, "an hour"), (hours / 24, "a day"), (hours / 24 / 7, "a week")):
        if other / size >= 1 or unit == "a week":
            return f"about {other / size:,.0f} of {rows / size:,.0f} requests {unit} are served otherwise"
    raise AssertionError("The last unit is taken whatever the rate.")


def reverted(plan: PlanRun, today: dict[str, Any]) -> dict[str, Any]:
    """The content that a revert makes of today's. Only of an applied plan."""
    return undone(today, json.loads(plan.inverse))


def in_the_way(org: Organization, plan: PlanRun) -> list[str]:
    """What was changed again since the plan was applied, by name: a revert overwrites it."""
    return conflicts(org, json.loads(plan.inverse))
