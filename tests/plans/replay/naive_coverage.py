"""What a replay stands on, a second time: which facts were known, and what the others might change."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

from plans.replay import LogRow, Question
from routes.engine import Conditions
from tests.plans.replay.naive_rows import Row, enabled, usd

#: By condition, whether nobody knows the fact that it looks at; where it is not here, somebody always does.
UNKNOWN: dict[str, Callable[[LogRow], bool]] = {
    **{name: lambda row, name=name: getattr(row, name) is None for name in
       ("has_images", "has_audio", "has_documents", "has_tools", "is_stream")},
    **dict.fromkeys(("prompt_contains_any_of", "prompt_matches_any_of"), lambda row: row.prompt is None),
    **dict.fromkeys(
        ("estimated_cost_gt", "estimated_cost_lt"),
        lambda row: row.fact_estimated_cost_nano is None and row.baseline_cost_nano is None,
    ),
    "metadata": lambda row: row.metadata is None or not all(isinstance(text, str) for text in row.metadata.values()),
    "headers": lambda row: True,
    "numbers": lambda row: True,
    "upstream_latency_ms_p95_gt": lambda row: row.fact_upstream_latency_ms_p95 is None,
}  # fmt: skip


def coverage(rows: list[Row], asked: Question) -> dict[str, Any]:
    used = {
        name for engine in (asked.current, asked.proposed) for route in enabled(engine) for name in names(route.when)
    }
    lacking = {name: sum(UNKNOWN.get(name, lambda row: False)(row.log) for row in rows) for name in used}
    current = sum(row.current for row in rows)
    return {
        "conditions": [
            {"condition": name, "rows_exact": len(rows) - lacking[name], "rows_unknown": lacking[name]}
            for name in sorted(used)
        ],
        "rows_open": sum(row.is_open for row in rows),
        "share_of_spend_open": (
            float(Fraction(sum(row.current for row in rows if row.is_open), current)) if current else 0
        ),
        "savings_usd_low": usd(sum(row.low for row in rows)),
        "savings_usd_high": usd(sum(row.high for row in rows)),
    }


def names(conditions: Conditions) -> Iterator[str]:
    """Of the conditions that are given, groups looked into."""
    for field, value in conditions.given:
        if field == "any_of":
            for member in value:
                yield from names(member)
        elif field == "not_":
            yield from names(value)
        else:
            yield field
