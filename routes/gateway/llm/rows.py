"""The log row of a request, in the columns that the control plane's `request-logs/` reads."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from routes.engine import PriceTable, RequestContext, RouteDecision
from routes.engine.money import nano_usd
from routes.engine.prices import max_output_tokens
from routes.engine.times import write_time
from routes.gateway.llm.costs import cost_nano, usd_text
from routes.gateway.llm.usage import Usage

_FLAGS = ("has_images", "has_audio", "has_documents", "has_tools", "is_stream")


def row_of(
    request_id: str,
    at: datetime,
    context: RequestContext,
    decision: RouteDecision,
    body: dict[str, Any],
    *,
    prices: PriceTable,
    provider: str | None,
    model: str | None,
    kind: str,
    usage: Usage | None,
    status: int,
    latency_ms: int,
    upstream_latency_ms: int | None,
) -> dict[str, Any]:
    """What happened, with the version that decided and the facts as they were decided on.

    `provider` and `model` are who served, None where nobody did. Where the provider does not tell its tokens, the input is
    the estimate that was decided on and the output 0; both are then named in `synthetic`, and the cost is not known.
    """
    requested = body["model"]
    told = usage if usage is not None and usage.input_tokens is not None and usage.output_tokens is not None else None
    cost = baseline = None
    if told is not None:
        assert told.input_tokens is not None
        assert told.output_tokens is not None
        tokens = {
            "input_tokens": told.input_tokens,
            "output_tokens": told.output_tokens,
            "cached_tokens": told.cached_tokens or 0,
        }
        cost = cost_nano(prices, provider or "", model or requested, **tokens, at=at)
        baseline = cost_nano(prices, provider or "", requested, **tokens, at=at)
    else:
        tokens = {"input_tokens": context.input_tokens or 0, "output_tokens": 0, "cached_tokens": 0}
    estimate = context.estimated_cost_usd
    row: dict[str, Any] = {
        "request_id": request_id,
        "ts": write_time(at),
        "kind": kind,
        "provider": provider,
        "model": model or decision.model_for(requested),
        "requested_model": requested,
        **tokens,
        "max_output_tokens": _limit(body),
        "cost_usd": usd_text(cost),
        "baseline_cost_usd": usd_text(baseline),
        "matched_route_id": decision.route_id,
        "reason": decision.reason,
        "variant": None if decision.variant is None else str(decision.variant),
        "decided_version": decision.version,
        "latency_ms": latency_ms,
        "upstream_latency_ms": upstream_latency_ms,
        "status": status,
        "tag": context.tag,
        "metadata": context.metadata,
        "cluster_key": context.sticky_key,
        "finish_reason": None if usage is None or usage.finish_reason is None else usage.finish_reason[:50],
        **{name: getattr(context, name) for name in _FLAGS},
        "fact_input_tokens": context.input_tokens,
        "fact_estimated_cost_usd": None if estimate is None else usd_text(nano_usd(estimate)),
        "fact_sticky_key": context.sticky_key,
        "fact_upstream_latency_ms_p95": context.upstream_latency_ms_p95,
    }
    if told is None and provider is not None:
        row["synthetic"] = ["input_tokens", "output_tokens"]
    return {name: value for name, value in row.items() if value is not None}


def _limit(body: dict[str, Any]) -> int | None:
    """How many tokens the request allows, None where it says nothing of it."""
    if any(body.get(key) is not None for key in ("max_completion_tokens", "max_tokens")):
        return max_output_tokens(body)
    return None
