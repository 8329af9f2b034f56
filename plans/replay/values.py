"""What the replay reads of a logged request."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

#: Of a log's `reason`: a route, or the default, decided who serves, also where no route is named.
DECIDED: Final = ("default", "forced", "matched")
#: The route that is named won, but was paused, or the request was outside its share.
SET_ASIDE: Final = ("control", "paused")


def is_routed(matched_route_id: object, reason: str | None) -> bool:
    """Whether a route, or the default, decided who served a row of which the log says this."""
    return reason in DECIDED or (matched_route_id is not None and reason not in SET_ASIDE)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRow:
    """One attempt to serve a request. Money is integer nano-dollars, `ts` is aware, None is what nobody knows."""

    request_id: str
    ts: datetime
    #: `primary`, `fallback` or `shadow`.
    kind: str = "primary"
    provider: str = ""
    #: The model that served, and the one asked for.
    model: str
    requested_model: str
    input_tokens: int
    output_tokens: int
    cached_tokens: int = 0
    #: Paid, and what it would have cost without any routing.
    cost_nano: int | None = None
    baseline_cost_nano: int | None = None
    #: A route, or the default, decided who serves it.
    routed: bool = False
    #: Answered by the gateway's own cache.
    cached: bool = False
    latency_ms: int | None = None
    status: int = 200
    tag: str | None = None
    #: None: nobody logged it, which is not the same as a request without any.
    metadata: Mapping[str, object] | None = None
    #: What requests are correlated by: user, session or key. None: a cluster of its own.
    cluster_key: str | None = None
    #: Equal for requests that a cache would answer alike; "" where nobody logged it.
    request_digest: str = ""
    finish_reason: str | None = None
    has_images: bool | None = None
    has_audio: bool | None = None
    has_documents: bool | None = None
    has_tools: bool | None = None
    is_stream: bool | None = None
    #: Of the prompt: 32-bit floats, little-endian.
    embedding: bytes | None = None
    #: The user and system text, where the organisation has bodies stored.
    prompt: str | None = None
    # The facts as decided on, where the gateway logged them.
    fact_input_tokens: int | None = None
    fact_estimated_cost_nano: int | None = None
    fact_upstream_latency_ms_p95: int | None = None
    #: What shares and splits were drawn from; without one they are drawn from the request's id.
    fact_sticky_key: str | None = None
    #: Names of columns that were invented for this row.
    synthetic: tuple[str, ...] = ()
