"""Plans and their results, as JSON Schema."""

from plans.runs.models import IntervalMethod, Mode, State
from routes.rules.shapes import ACTION, DOCUMENT_ROUTE, NEW_ROUTE
from routes.shapes import (
    CHANGE,
    COUNT,
    DIGEST,
    FLAG,
    NUMBER,
    OBJECT,
    TEXT,
    TIME,
    USD,
    UUID,
    WHOLE,
    Shape,
    described,
    listed,
    one_of,
    or_null,
    thing,
    written,
)

_INTERVAL = or_null(listed(NUMBER, minItems=2, maxItems=2))
_SAVED = "Positive: the plan costs less."

_SERVED = {
    "requests_served": described(COUNT, "As it was."),
    "requests_current": described(COUNT, "Under today's routes."),
    "requests_projected": described(COUNT, "Under the plan's."),
    "paid_cost_usd": USD,
    "current_cost_usd": USD,
    "projected_cost_usd": USD,
}
_SERIES = thing(
    "PlanSeries",
    {
        "cost_over_time": described(
            thing(
                "PlanCostOverTime",
                {
                    "start": described(or_null(TIME), "Of the first span; null where there is none."),
                    "seconds": described(COUNT, "How long each span is: whole minutes, hours or days."),
                    "requests": listed(COUNT, maxItems=200),
                    "current_cost_usd": listed(USD, maxItems=200),
                    "projected_cost_usd": listed(USD, maxItems=200),
                },
            ),
            "By span of time, one after the other.",
        ),
        "by_model": thing(
            "PlanByModel",
            {
                "models": described(
                    listed(thing("PlanModel", {"model": TEXT, **_SERVED}), maxItems=20), "Those that cost most, first."
                ),
                "other": or_null(
                    thing("PlanOtherModels", {"models": described(COUNT, "How many they are."), **_SERVED})
                ),
                "refused": thing("PlanRefused", {"requests_current": COUNT, "requests_projected": COUNT}),
            },
        ),
        "latency_ms": thing(
            "PlanLatencies",
            {
                "percents": described(listed(COUNT), "So many percent of the requests are within."),
                "current": listed(or_null(COUNT)),
                "projected": listed(or_null(COUNT)),
            },
        ),
    },
)

RESULT = thing(
    "PlanResult",
    {
        "sample_size": described(COUNT, "Requests that count."),
        "verdict": one_of("saves", "costs", "undecided"),
        "probability_of_loss": described(or_null(NUMBER), "That the plan costs more, from 0 to 1."),
        "aggregates": thing(
            "PlanAggregates",
            {
                "total_baseline_cost_usd": described(USD, "Without any routing."),
                "total_current_cost_usd": described(USD, "With today's routes."),
                "total_projected_cost_usd": described(USD, "With the plan's."),
                "projected_savings_usd": described(USD, _SAVED),
                "projected_savings_pct": described(or_null(NUMBER), _SAVED),
                "cache_hit_rate_projected": or_null(NUMBER),
                "p50_latency_ms_current": or_null(NUMBER),
                "p50_latency_ms_projected": or_null(NUMBER),
                "p95_latency_ms_current": or_null(NUMBER),
                "p95_latency_ms_projected": or_null(NUMBER),
                "requests_rerouted": COUNT,
                "requests_unchanged": COUNT,
                "requests_kept": described(COUNT, "On which what was paid stands."),
                "requests_unprice_able": COUNT,
                "l2_projections": listed(OBJECT),
                "l2_poisoning_candidates": COUNT,
            },
        ),
        "confidence_intervals": thing(
            "PlanIntervals",
            {
                "savings_usd_95": _INTERVAL,
                "savings_pct_95": _INTERVAL,
                "cache_hit_rate_95": _INTERVAL,
                "p50_latency_ms_95": _INTERVAL,
                "p95_latency_ms_95": _INTERVAL,
            },
        ),
        "interval_method": TEXT,
        "interval_units": thing("PlanUnits", {"kind": TEXT, "count": COUNT}),
        "per_route_breakdown": listed(
            thing(
                "PlanRouteResult",
                {
                    "route_id": described(or_null(UUID), "Null: what no route took."),
                    "route_name": or_null(TEXT),
                    "matched": COUNT,
                    "baseline_cost_usd": USD,
                    "current_cost_usd": USD,
                    "projected_cost_usd": USD,
                    "savings_usd": USD,
                    "savings_usd_95": _INTERVAL,
                    "savings_pct_95": _INTERVAL,
                },
            )
        ),
        "series": described(_SERIES, "What charts are drawn of. Not there in results of earlier versions."),
        "caveats": listed(thing("PlanCaveat", {"code": TEXT, "message": TEXT, "values": OBJECT})),
        "excluded": described({"type": "object", "additionalProperties": COUNT}, "Rows left out, by reason."),
        "coverage": described(
            OBJECT, "Of each condition how many rows were decided exactly, and what hangs on the rest."
        ),
        "proposed_routes": listed(DOCUMENT_ROUTE),
        "provenance": described(OBJECT, "What the result was made of: version, digests, seed, iterations."),
    },
    optional=("series",),
)

_BRIEF: dict[str, Shape] = {
    "id": UUID,
    "name": TEXT,
    "note": TEXT,
    "state": one_of(*State.values),
    "mode": one_of(*Mode.values),
    "base_version": COUNT,
    "base_digest": DIGEST,
    "window_start": TIME,
    "window_end": TIME,
    "seed": WHOLE,
    "iterations": COUNT,
    "interval_method": one_of(*IntervalMethod.values),
    "l1_ttl_seconds": or_null(NUMBER),
    "l2_ttl_seconds": or_null(NUMBER),
    "l2_threshold_sweep": listed(NUMBER),
    "l2_priced_threshold": or_null(NUMBER),
    "created_by": TEXT,
    "created_at": TIME,
    "edited_by": described(listed(TEXT), "Who else changed what it asks: as little as its author they approve it."),
    "approved_by": or_null(TEXT),
    "approved_at": or_null(TIME),
    "rejected_reason": or_null(TEXT),
    "superseded_by": described(or_null(UUID), "The same plan on newer routes."),
    "apply_at": described(or_null(TIME), "When it is to be applied."),
    "scheduled_by": or_null(TEXT),
    "schedule_failure": described(or_null(TEXT), "Why it was not applied at its time."),
    "progress": thing(
        "PlanProgress",
        {
            "phase": or_null(TEXT),
            "rows_done": COUNT,
            "rows_total": or_null(COUNT),
            "rows_per_second": or_null(NUMBER),
            "seconds_left": or_null(NUMBER),
        },
    ),
    "failure": or_null(TEXT),
    "projected_at": or_null(TIME),
    "applied_at": or_null(TIME),
    "applied_version": or_null(COUNT),
    "reverted_at": or_null(TIME),
    "reverted_version": or_null(COUNT),
}
_WHOLE: dict[str, Shape] = {
    **_BRIEF,
    "proposed_routes": listed(DOCUMENT_ROUTE),
    "proposed_default": described(
        or_null(ACTION), "What is to happen to requests that no route takes. Not there where that stays."
    ),
    "result": described(or_null(RESULT), "Null until it is projected."),
}
_OPTIONAL = ("proposed_default",)
BRIEF = thing("PlanBrief", _BRIEF)
PLAN = thing("Plan", _WHOLE, optional=_OPTIONAL)
PLAN_MADE = written("PlanMade", _WHOLE, optional=_OPTIONAL)
PLAN_EDITED = written("PlanEdited", {**_WHOLE, "changed": FLAG}, optional=_OPTIONAL)
STEPPED = written("PlanStepped", {**_WHOLE, **CHANGE}, optional=(*_OPTIONAL, *CHANGE))
PROPOSED = listed(NEW_ROUTE)
