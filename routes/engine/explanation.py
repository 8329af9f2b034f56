"""`Explanation`: a decision with what every route saw and expected."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from routes.engine.conditions import Conditions, NumberRange
from routes.engine.context import UNKNOWN, RequestContext
from routes.engine.decision import RouteDecision
from routes.engine.meaning import Truth, field_holds, found_keyword, found_pattern, is_active, name_holds
from routes.engine.reading import shown, without_surrogates
from routes.engine.times import TimeWindow, write_time
from routes.engine.values import Route

Outcome = Literal["selected", "conditions", "disabled", "inactive", "shadowed"]
Result = Literal["true", "false", "unknown"]


#: What a header of these names holds is a secret; an explanation says only whether it held.
SECRET_HEADERS = frozenset({"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"})


@dataclass(frozen=True, slots=True)
class ConditionExplanation:
    """One condition: where it stands in the route (`when.model_in`), what it expects, what was seen, and the result.

    `any_of` and `not` are followed by what is inside them (`when.any_of[0].tag_equals`), each with its own result; of
    themselves they expect true and false, and see what the inside comes to. `seen` is None for what is unknown or
    absent. Of the prompt it is only the keyword or pattern that hit, never the text.
    """

    path: str
    expected: Any
    seen: Any
    result: Result

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "expected": self.expected, "seen": self.seen, "result": self.result}

    def __str__(self) -> str:
        name = self.path.removeprefix("when.")
        if name.endswith("any_of") and self.expected is True:
            return f"{name}: {_RESULTS_OF_ANY[self.result]}"
        if name.endswith("not") and self.expected is False:
            return f"{name}: {_RESULTS_OF_NOT[self.result]}"
        expected = _said(self.expected)
        if self.result == "unknown":
            return f"{name} {expected}: unknown for this request"
        if name.endswith(("prompt_contains_any_of", "prompt_matches_any_of")):
            return f"{name} {expected}: {'found ' + shown(self.seen) if self.seen is not None else 'found none'}"
        return f"{name} {expected}: saw {'none' if self.seen is None else _said(self.seen)}"


@dataclass(frozen=True, slots=True)
class RouteExplanation:
    """One route's part in the decision.

    `outcome`: `selected` won; `conditions` did not hold; `disabled` was not asked; `inactive`, the request is outside
    the time in which the route is active, or of unknown time; `shadowed` would have matched, but an earlier one won.
    Conditions are evaluated for every route, also for those that were not asked. `first_failed` is the path of the
    first one, of those that stand directly in the route, that does not hold, None where all do.
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
        if self.outcome == "inactive":
            return f"{said} is not active at the time of the request."
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
        return "\n".join([_sentence(self.decision), *map(str, self.routes)])


_RESULTS: dict[Truth, Result] = {True: "true", False: "false", None: "unknown"}
_RESULTS_OF_ANY = {"true": "at least one holds", "false": "none holds", "unknown": "none is known to hold"}
_RESULTS_OF_NOT = {
    "true": "what is inside does not hold",
    "false": "what is inside holds",
    "unknown": "what is inside is unknown",
}


def explain_routes(context: RequestContext, routes: Iterable[Route]) -> tuple[RouteExplanation, ...]:
    """What every route, given in the order in which they are asked, saw and expected."""
    has_winner = False
    explained = []
    for route in routes:
        conditions: list[ConditionExplanation] = []
        failed = None
        for path, own in _explained(route.when, "when", context):
            conditions.append(own)
            if failed is None and path and own.result != "true":
                failed = own.path
        outcome: Outcome
        if not route.enabled:
            outcome = "disabled"
        elif not is_active(route, context):
            outcome = "inactive"
        elif failed is not None:
            outcome = "conditions"
        elif has_winner:
            outcome = "shadowed"
        else:
            outcome, has_winner = "selected", True
        explained.append(RouteExplanation(route.id, route.name, route.priority, outcome, tuple(conditions), failed))
    return tuple(explained)


def _explained(
    conditions: Conditions, path: str, context: RequestContext, is_top: bool = True
) -> Iterator[tuple[bool, ConditionExplanation]]:
    """(whether it stands directly in the route, the condition), groups before what is inside them."""
    for field, value in conditions.given:
        if field in ("metadata", "headers", "numbers"):
            for name, wanted in value.items():
                truth = name_holds(field, name, wanted, context)
                own = ConditionExplanation(
                    f"{path}.{field}.{name}", _plain(wanted), _seen_name(field, name, context), _RESULTS[truth]
                )
                yield is_top, own
            continue
        truth = field_holds(field, value, context)
        if field == "any_of":
            yield is_top, ConditionExplanation(f"{path}.any_of", True, truth, _RESULTS[truth])
            for index, member in enumerate(value):
                yield from _explained(member, f"{path}.any_of[{index}]", context, False)
        elif field == "not_":
            inside = None if truth is None else not truth
            yield is_top, ConditionExplanation(f"{path}.not", False, inside, _RESULTS[truth])
            yield from _explained(value, f"{path}.not", context, False)
        else:
            seen = _seen(field, value, context)
            yield is_top, ConditionExplanation(f"{path}.{field}", _plain(value), seen, _RESULTS[truth])


#: Condition → the fact it looks at, where the names differ.
FACT_OF: Final = {
    "model_in": "model",
    "model_matches": "model",
    "input_tokens_lt": "input_tokens",
    "input_tokens_gt": "input_tokens",
    "tag_equals": "tag",
    "prompt_contains_any_of": "prompt",
    "prompt_matches_any_of": "prompt",
    "estimated_cost_gt": "estimated_cost_usd",
    "estimated_cost_lt": "estimated_cost_usd",
    "upstream_latency_ms_p95_gt": "upstream_latency_ms_p95",
    "time_window": "at",
}


def _seen(field: str, value: Any, context: RequestContext) -> Any:
    if field == "prompt_contains_any_of":
        return found_keyword(value, context)
    if field == "prompt_matches_any_of":
        return found_pattern(value, context)
    if field == "time_window":
        return None if context.at is None else write_time(context.at)
    fact = getattr(context, FACT_OF.get(field, field))
    if fact is UNKNOWN:
        return None
    return without_surrogates(fact) if isinstance(fact, str) else fact


def _seen_name(field: str, name: str, context: RequestContext) -> Any:
    found = getattr(context, field).get(name)
    if found is None or found is UNKNOWN:
        return None
    if field == "headers" and name in SECRET_HEADERS:
        return "(hidden)"
    if isinstance(found, tuple):
        return [without_surrogates(value) for value in found]
    return without_surrogates(found) if isinstance(found, str) else found


def _plain(value: Any) -> Any:
    """The expected value as JSON."""
    if isinstance(value, TimeWindow | NumberRange):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def _said(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(shown, value))
    if isinstance(value, dict):
        return " ".join(f"{key} {', '.join(part) if isinstance(part, list) else part}" for key, part in value.items())
    return shown(value)


def _sentence(decision: RouteDecision) -> str:
    version = f"(version {decision.version})"
    reason, target = decision.reason, decision.target_model
    went = "it goes on unchanged" if target is None else f"it goes to {shown(target)}"
    if reason == "no_match":
        return f"No route takes the request; it goes on unchanged {version}."
    if reason == "forced_not_found":
        return f"No enabled route has the name that was asked for; the request goes on unchanged {version}."
    name = f"Route {shown(decision.route_name, 200)}" if decision.route_name is not None else "The default"
    if decision.refusal is not None:
        return f"{name} refuses the request with {decision.refusal.status} {shown(decision.refusal.code)} {version}."
    if reason == "paused":
        return f"{name} takes the request, but is paused; it goes on unchanged {version}."
    if reason == "control":
        return f"{name} takes the request, but it is outside the share of traffic; it goes on unchanged {version}."
    if reason == "default":
        return f"No route takes the request; by the default {went} {version}."
    if reason == "forced":
        return f"{name} was asked for by name: {went} {version}."
    if target is None:
        return f"{name} takes the request and leaves its model as it is {version}."
    return f"{name} sends the request to {shown(target)} {version}."
