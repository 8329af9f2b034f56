"""What comes of a route that won: one decision, or a choice among a few by share and split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

from routes.engine.action import Action
from routes.engine.context import RequestContext
from routes.engine.decision import RouteDecision
from routes.engine.values import Route

BUCKETS = 10_000
#: What the default's share and split are drawn with: it has no id of its own.
_NO_ID = bytes(16)

#: A decision that holds for every request, or a function that draws one.
type Outcome = RouteDecision | Callable[[RequestContext], RouteDecision]


class Outcomes:
    """Builds the outcomes of one version."""

    def __init__(self, org_id: str | None, version: int) -> None:
        self._org_id = org_id
        self._version = version

    def no_match(self, default: Action | None) -> Outcome:
        """What comes of a request that no route takes."""
        if default is None:
            return self._unchanged(None, "no_match", disable_cache=False)
        return self._of_action(None, default, "default")

    def forced_not_found(self) -> RouteDecision:
        return self._unchanged(None, "forced_not_found", disable_cache=False)

    def of(self, route: Route, reason: Literal["matched", "forced"] = "matched") -> Outcome:
        """What comes of a request that this route takes. A forced one is inside every share."""
        if route.paused:
            return self._unchanged(route, "paused", disable_cache=route.then.disable_cache)
        return self._of_action(route, route.then, reason)

    def _of_action(self, route: Route | None, then: Action, reason: Literal["matched", "forced", "default"]) -> Outcome:
        if then.refuse is not None:
            return self._decision(route, then, None, None, "refused")
        arms = (
            [self._decision(route, then, arm.target_model, index, reason) for index, arm in enumerate(then.split)]
            if then.split
            else [self._decision(route, then, then.target_model, None, reason)]
        )
        control = None
        if then.traffic_pct is not None and reason != "forced":
            control = self._unchanged(route, "control", disable_cache=then.disable_cache)
        if control is None and len(arms) == 1:
            return arms[0]
        return _draw(route, then, arms, control)

    def _decision(
        self,
        route: Route | None,
        then: Action,
        target: str | None,
        variant: int | None,
        reason: Literal["matched", "forced", "default", "refused"],
    ) -> RouteDecision:
        return RouteDecision(
            self._org_id,
            self._version,
            None if route is None else route.id,
            None if route is None else route.name,
            target,
            then.provider,
            # An arm may be the fallback of another one; to try the same model again is no fallback.
            then.fallbacks if variant is None else tuple(model for model in then.fallbacks if model != target),
            then.disable_cache,
            then.max_cost_usd,
            then.shadow_model,
            variant,
            then.refuse,
            reason,
        )

    def _unchanged(
        self,
        route: Route | None,
        reason: Literal["no_match", "forced_not_found", "paused", "control"],
        disable_cache: bool,
    ) -> RouteDecision:
        return RouteDecision(
            self._org_id,
            self._version,
            None if route is None else route.id,
            None if route is None else route.name,
            None,
            None,
            (),
            disable_cache,
            None,
            None,
            None,
            None,
            reason,
        )


class Forced:
    """Takes the enabled route of a name. Its outcomes are built when first asked for, which is seldom."""

    def __init__(self, routes: Iterable[Route], outcomes: Outcomes) -> None:
        # Not the engine itself: that would be a cycle, and a replaced version would wait for the garbage collector.
        self._routes = routes
        self._outcomes = outcomes
        self._by_name: dict[str, Outcome] = {}

    def __call__(self, context: RequestContext, name: str) -> RouteDecision:
        outcome = self._by_name.get(name)
        if outcome is None:
            route = next((route for route in self._routes if route.enabled and route.name == name), None)
            if route is None:
                return self._outcomes.forced_not_found()
            outcome = self._by_name[name] = self._outcomes.of(route, "forced")
        return outcome if isinstance(outcome, RouteDecision) else outcome(context)


def _draw(
    route: Route | None, then: Action, arms: list[RouteDecision], control: RouteDecision | None
) -> Callable[[RequestContext], RouteDecision]:
    """A function from a request to its arm, or to the control outside the share.

    One hash of the route's id and the request's key gives two independent buckets of 10,000, so that a growing share
    keeps who was in, and says nothing of the arm. Without a key: the control, else the first arm.
    """
    from hashlib import blake2b  # only for routes that draw; its import costs milliseconds

    seed = _NO_ID if route is None else bytes.fromhex(route.id.replace("-", ""))
    share = 100 * (100 if then.traffic_pct is None else then.traffic_pct)
    total = sum(arm.weight for arm in then.split)
    cumulated = 0
    bounds: list[int] = []
    for arm in then.split[:-1]:
        cumulated += arm.weight
        bounds.append(BUCKETS * cumulated // total)
    first = arms[0] if control is None else control

    def draw(context: RequestContext) -> RouteDecision:
        key = context.split_key()
        if key is None:
            return first
        hashed = blake2b(seed + key, digest_size=16).digest()
        if control is not None and int.from_bytes(hashed[:8]) % BUCKETS >= share:
            return control
        bucket = int.from_bytes(hashed[8:]) % BUCKETS
        index = 0
        for bound in bounds:  # ten at most
            if bucket < bound:
                break
            index += 1
        return arms[index]

    return draw
