"""`RouteDecision`: the answer to one request. Every decision of a version is built at load and shared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class RouteDecision:
    """What to do with a request, and which version of whose routes says so.

    `target_model` is None where nothing rewrites the model; `max_cost_usd` is in USD. `reason` is `matched`, or
    `no_match` where no route took the request, which then goes on unchanged.
    """

    org_id: str | None
    version: int
    route_id: str | None
    route_name: str | None
    target_model: str | None
    fallbacks: tuple[str, ...]
    disable_cache: bool
    max_cost_usd: int | float | None
    reason: Literal["matched", "no_match"]

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
            "fallbacks": list(self.fallbacks),
            "disable_cache": self.disable_cache,
            "max_cost_usd": self.max_cost_usd,
            "reason": self.reason,
        }
