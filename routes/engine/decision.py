"""`RouteDecision`: the answer to one request. Every decision of a version is built at load and shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from routes.engine.action import Refusal

Reason = Literal[
    "matched", "default", "no_match", "paused", "control", "refused", "forced", "forced_not_found",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """What to do with a request, and which version of whose routes says so.

    `target_model` is None where nothing rewrites the model; `provider` is for the target alone; `fallbacks` are to be
    tried after it, in order; `max_cost_usd` is in USD; `variant` is the index of the split's arm that was drawn, None
    where nothing is split; `refusal` is the answer to give instead of asking a model.

    `reason`: `matched`; `default`, no route took the request and the default did; `no_match`, nothing did; `paused` (a
    route won, but is paused) and `control` (it won, but the request is outside its share of traffic), which leave the
    request unchanged save that `disable_cache` stays in force; `refused`; `forced`, taken by name;
    `forced_not_found`, no enabled route has that name. Where a route won, it is named, whatever came of it.
    """

    org_id: str | None
    version: int
    route_id: str | None
    route_name: str | None
    target_model: str | None
    provider: str | None
    fallbacks: tuple[str, ...]
    disable_cache: bool
    max_cost_usd: int | float | None
    shadow_model: str | None
    variant: int | None
    refusal: Refusal | None
    reason: Reason

    def model_for(self, requested: str) -> str:
        """The model to send, for a request that asked for `requested`."""
        return requested if self.target_model is None else self.target_model

    def to_dict(self) -> dict[str, Any]:
        """The decision as a JSON object, every field written."""
        return {
            "org_id": self.org_id,
            "version": self.version,
            "route_id": self.route_id,
            "route_name": self.route_name,
            "target_model": self.target_model,
            "provider": self.provider,
            "fallbacks": list(self.fallbacks),
            "disable_cache": self.disable_cache,
            "max_cost_usd": self.max_cost_usd,
            "shadow_model": self.shadow_model,
            "variant": self.variant,
            "refusal": None if self.refusal is None else self.refusal.to_dict(),
            "reason": self.reason,
        }
