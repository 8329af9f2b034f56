"""The facts of an LLM request: from its body, its headers and the key that it came with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from routes.engine import PriceTable, RequestContext
from routes.engine.prices import max_output_tokens

if TYPE_CHECKING:
    from routes.gateway.directory import TrafficKey

#: What counts the tokens of a body.
Counter = Callable[[dict[str, Any]], int]
TAG_HEADER = b"x-routing-tag"
FORCE_HEADER = b"x-routing-force"
STICKY_DIGITS = 32


def read_context(
    body: dict[str, Any],
    headers: Sequence[tuple[bytes, bytes]],
    *,
    org_id: str,
    key: TrafficKey,
    header_names: frozenset[str],
    request_id: str,
    prices: PriceTable,
    count: Counter,
    at: datetime,
    upstream_latency_ms_p95: int | None = None,
) -> RequestContext:
    """What the engine decides on.

    `metadata` are the texts of the body's object of that name; values that are fixed on the key win. `headers` are those
    that the routes' conditions name, and no others. Without a header of its own the request has no tag.
    `upstream_latency_ms_p95` is that of the model that is asked for, None where it is not known.
    """
    tokens = count(body)
    estimate = prices.estimate(body["model"], tokens, max_output_tokens(body), at)
    return RequestContext.from_chat(
        body,
        input_tokens=tokens,
        tag=_text(headers, TAG_HEADER),
        metadata=metadata_of(body, key.metadata),
        headers=_named(headers, header_names) if header_names else None,
        estimated_cost_usd=estimate,
        at=at,
        request_id=request_id,
        sticky_key=sticky_key(org_id, body.get("user"), key.id),
        upstream_latency_ms_p95=upstream_latency_ms_p95,
    )


def metadata_of(body: dict[str, Any], fixed: Mapping[str, str]) -> dict[str, str]:
    """The body's `metadata`, as far as it is text by name, under what is fixed on the key."""
    given = body.get("metadata")
    sent = {name: value for name, value in given.items() if isinstance(value, str)} if isinstance(given, dict) else {}
    return {**sent, **fixed}


def sticky_key(org_id: str, user: object, key_id: str) -> str:
    """What shares and splits are drawn by: 32 hex digits that stand for the body's `user` in this organisation, so that
    nobody's name gets into a log; without a user, the id of the key."""
    if not isinstance(user, str) or not user:
        return key_id
    text = f"{org_id}\n{user}".encode("utf-8", "replace")
    return hashlib.sha256(text).hexdigest()[:STICKY_DIGITS]


def forced_route(headers: Sequence[tuple[bytes, bytes]], key: TrafficKey) -> str | None:
    """The name of the route that is to take the request, from keys that may say so; from others it is not read."""
    return _text(headers, FORCE_HEADER) if key.allows_force else None


def _text(headers: Sequence[tuple[bytes, bytes]], name: bytes) -> str | None:
    for given, value in headers:
        if given == name:
            return value.decode("utf-8", "replace")
    return None


def _named(headers: Sequence[tuple[bytes, bytes]], names: frozenset[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for given, value in headers:
        name = given.decode("latin-1")
        if name in names:
            found.setdefault(name, []).append(value.decode("utf-8", "replace"))
    return found
