"""`Explanation`: a decision with what every route saw and expected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from routes.engine.atoms import Atom
from routes.engine.context import RequestContext
from routes.engine.decision import RouteDecision
from routes.engine.reading import shown
from routes.engine.values import Route

Outcome = Literal["selected", "conditions", "disabled", "shadowed"]
Result = Literal["true", "false", "unknown"]


@dataclass(frozen=True, slots=True)
class ConditionExplanation:
    """One condition: where it stands in the route (`when.model_in`), what it expects, what was seen, and the result.

    `seen` is None for what is unknown or absent. Of the prompt it is only the keyword that hit, never the text.
    """

    path: str
    expected: Any
    seen: Any
    result: Result

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "expected": self.expected, "seen": self.seen, "result": self.result}

    def __str__(self) -> str:
        name = self.path.removeprefix("when.")
        expected = ", ".join(map(shown, self.expected)) if isinstance(self.expected, list) else shown(self.expected)
        if self.result == "unknown":
            return f"{name} {expected}: unknown for this request"
        if name == "prompt_contains_any_of":
            return f"{name} {expected}: {'found ' + shown(self.seen) if self.seen is not None else 'found none'}"
        return f"{name} {expected}: saw {'none' if self.seen is None else shown(self.seen)}"


@dataclass(frozen=True, slots=True)
class RouteExplanation:
    """One route's part in the decision.

    `outcome`: `selected` won; `conditions` did not hold; `disabled` was not asked; `shadowed` would have matched, but
    an earlier one won. Conditions are evaluated for every route, also for those that were not asked. `first_failed` is
    the path of the first one that does not hold, None where all do.
    """

    route_id: str
    name: str
    priority: int
    outcome: Outcome
    conditions: tuple[ConditionExplanation, ...]
    first_failed: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "route_id": self.route_id,
            "name": self.name,
            "priority": self.priority,
            "outcome": self.outcome,
            "conditions": [condition.to_dict() for condition in self.conditions],
            "first_failed": self.first_failed,
        }

    def __str__(self) -> str:
        said = f"{shown(self.name, 200)} (priority {self.priority})"
        held = "; ".join(map(str, self.conditions)) or "it has no conditions"
        if self.outcome == "selected":
            return f"{said} takes the request: {held}."
        if self.outcome == "shadowed":
            return f"{said} would take it, but an earlier route did."
        if self.outcome == "disabled":
            return f"{said} is disabled."
        failed = "; ".join(str(condition) for condition in self.conditions if condition.result != "true")
        return f"{said} does not take it: {failed}."


@dataclass(frozen=True, slots=True)
class Explanation:
    """The decision for one context, and every route in the order in which it was asked."""

    decision: RouteDecision
    routes: tuple[RouteExplanation, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"decision": self.decision.to_dict(), "routes": [route.to_dict() for route in self.routes]}

    def __str__(self) -> str:
        """Sentences for people, the decision first, then a line for each route."""
        decision = self.decision
        if decision.route_name is None:
            first = f"No route takes the request; it goes on unchanged (version {decision.version})."
        else:
            name, target = shown(decision.route_name, 200), shown(decision.target_model)
            first = f"Route {name} sends the request to {target} (version {decision.version})."
        return "\n".join([first, *map(str, self.routes)])


_RESULTS: dict[bool | None, Result] = {True: "true", False: "false", None: "unknown"}


def explain(
    context: RequestContext,
    compiled: Iterable[tuple[Route, tuple[Atom, ...], RouteDecision]],
    no_match: RouteDecision,
) -> Explanation:
    """The explanation over compiled routes in the order in which they are asked."""
    decision = no_match
    explained = []
    for route, atoms, matched in compiled:
        conditions = tuple(
            ConditionExplanation(f"when.{atom.key}", atom.expected, atom.seen(context), _RESULTS[atom.test(context)])
            for atom in atoms
        )
        failed = next((condition.path for condition in conditions if condition.result != "true"), None)
        outcome: Outcome
        if not route.enabled:
            outcome = "disabled"
        elif failed is not None:
            outcome = "conditions"
        elif decision is not no_match:
            outcome = "shadowed"
        else:
            outcome, decision = "selected", matched
        explained.append(RouteExplanation(route.id, route.name, route.priority, outcome, conditions, failed))
    return Explanation(decision, tuple(explained))
