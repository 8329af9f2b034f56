"""`Finding`: one thing about an organisation's routes that is probably not as it was meant, in a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from routes.engine.frozen import FrozenDict, frozen, thawed
from routes.engine.linting.boxes import Key
from routes.engine.linting.steps import Reason
from routes.engine.reading import shown
from routes.engine.values import Route

Code = Literal["never_matches", "shadowed", "tie", "no_effect", "retired_target", "unknown_target"]
Severity = Literal["error", "warning", "info"]

#: So many routes are named in a sentence, and in a tie.
MAX_NAMED = 8


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding.

    `code`, and which `severity` it has:

    - `never_matches` (error): no request meets the conditions of the route.
    - `shadowed` (error): requests meet them, but each one is taken by a route that is asked before. `by` are these, in
      the order in which they are asked: the first one that does it alone, else together, and then none of them can be
      spared.
    - `tie` (warning; info where all do the same): routes of equal priority take some of the same requests, and only
      their order in the list decides. `route_ids` are the earlier ones, the first eight at most, and last the one that
      comes after them.
    - `no_effect` (info): every request that it takes goes on as it came. That may be meant, to keep later routes away.
    - `retired_target` (error), `unknown_target` (warning): it sends to a model that is retired, or in no catalogue. Where
      the default does, `route_ids` is empty.

    `witness` is a request that shows it: the facts that it must have, as JSON under the names that `RequestContext` has
    for them (`at` as RFC 3339 text; `context_of` reads it); what is not there may be anything, so also unknown or
    absent. For `shadowed` it meets the conditions of the route and of one of `by`, for `tie` those of the first and the
    last of `route_ids`. None for other codes, and where none can be given.

    `undecided` is None, or why it is not known whether the finding is true: `regex` and `pattern`, patterns that cannot
    be compared; `budget`, too many steps; `keywords` is reserved. Such a finding is an `info`, without a witness.
    """

    code: Code
    severity: Severity
    route_ids: tuple[str, ...]
    message: str
    by: tuple[str, ...] = ()
    witness: FrozenDict[str, Any] | None = None
    undecided: Reason | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object."""
        return {
            "code": self.code,
            "severity": self.severity,
            "route_ids": list(self.route_ids),
            "by": list(self.by),
            "witness": thawed(self.witness),
            "undecided": self.undecided,
            "message": self.message,
        }

    def __str__(self) -> str:
        return self.message


_REASONS: dict[Reason, str] = {
    "keywords": "its keywords cannot be compared with those of others",
    "pattern": "its model patterns overlap in too many ways",
    "regex": "no text was found that its patterns and those of others tell apart, and patterns cannot be compared",
    "budget": "its conditions and those of others overlap in too many ways",
}


def never_matches(route: Route, fact: Key | None) -> Finding:
    """`fact` is what it contradicts itself on, if that is one."""
    why = "no request meets all its conditions"
    if fact is not None:
        why = f"its conditions on {_fact_name(fact)} exclude each other"
    return Finding("never_matches", "error", (route.id,), f"Route {_name(route)} never matches: {why}.")


def never_matches_undecided(route: Route, reason: Reason) -> Finding:
    message = f"Whether route {_name(route)} ever matches could not be decided: {_REASONS[reason]}."
    if reason == "regex":
        message = (
            f"Whether route {_name(route)} ever matches could not be decided: no text was found in which its patterns"
            " are found as it wants."
        )
    return Finding("never_matches", "info", (route.id,), message, undecided=reason)


def shadowed(route: Route, by: Sequence[Route], witness: dict[str, Any] | None) -> Finding:
    together = " together" if len(by) > 1 else ""
    message = (
        f"Route {_name(route)} is never reached: {_names(by)}{together}, asked before, "
        f"{'take' if len(by) > 1 else 'takes'} every request that it would take."
    )
    ids = tuple(each.id for each in by)
    return Finding("shadowed", "error", (route.id,), message, ids, None if witness is None else frozen(witness))


def shadowed_undecided(route: Route, reason: Reason) -> Finding:
    message = f"Whether route {_name(route)} is ever reached could not be decided: {_REASONS[reason]}."
    return Finding("shadowed", "info", (route.id,), message, undecided=reason)


def tie(route: Route, before: Sequence[Route], has_more: bool, witness: dict[str, Any] | None) -> Finding:
    """`before` are the earlier ones, of which more exist than are named if `has_more`."""
    does_same = all((each.then, each.paused) == (route.then, route.paused) for each in before)
    others = _names(before) + (" and others" if has_more else "")
    message = (
        f"Route {_name(route)} has the same priority ({route.priority}) as {others}, and they take some of the same "
        "requests: only their order in the list decides which one is asked first."
    )
    ids = (*(each.id for each in before), route.id)
    shown_by = None if witness is None else frozen(witness)
    return Finding("tie", "info" if does_same else "warning", ids, message, witness=shown_by)


def tie_undecided(route: Route, before: Sequence[Route], has_more: bool, reason: Reason) -> Finding:
    """`before` is empty where the budget ended before any was found."""
    others = _names(before) + (" and others" if has_more else "") if before else "earlier ones"
    message = (
        f"Route {_name(route)} has the same priority ({route.priority}) as {others}; whether they take some of the "
        f"same requests could not be decided: {_REASONS[reason]}."
    )
    return Finding("tie", "info", (*(each.id for each in before), route.id), message, undecided=reason)


def no_effect(route: Route) -> Finding:
    why = "it changes nothing of the requests that it takes"
    if route.then.traffic_pct == 0:
        why = "its share of traffic is 0%"
    message = f"Route {_name(route)} has no effect: {why}. All it does is to keep later routes from taking them."
    return Finding("no_effect", "info", (route.id,), message)


def unknown_target(route: Route | None, does: str, model: str) -> Finding:
    """`route`: None for the default; `does`: what it does with requests, up to the name of the model."""
    return _of_target(
        "unknown_target", "warning", route, f"{does} {shown(model, 200)}, a model that the catalogue does not know"
    )


def retired_target(route: Route | None, does: str, model: str, since: str) -> Finding:
    return _of_target(
        "retired_target", "error", route, f"{does} {shown(model, 200)}, a model that is retired since {since}"
    )


def _of_target(code: Code, severity: Severity, route: Route | None, does: str) -> Finding:
    if route is None:
        return Finding(code, severity, (), f"The default, for requests that no route takes, {does}.")
    return Finding(code, severity, (route.id,), f"Route {_name(route)} {does}.")


def _name(route: Route) -> str:
    return shown(route.name, 200)


def _names(routes: Sequence[Route]) -> str:
    names = [_name(route) for route in routes[:MAX_NAMED]]
    if len(routes) > MAX_NAMED:
        return f"{', '.join(names)} and {len(routes) - MAX_NAMED:,} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


_FACTS = {
    "at": "its time",
    "estimated_cost_nano_usd": "the estimated cost",
    "has_audio": "audio",
    "has_documents": "documents",
    "has_images": "images",
    "has_tools": "tools",
    "headers": "the header",
    "input_tokens": "input tokens",
    "is_stream": "streaming",
    "model": "the requested model",
    "numbers": "the figure",
    "prompt": "the text",
    "tag": "the tag",
    "upstream_latency_ms_p95": "the latency upstream",
}


def _fact_name(fact: Key) -> str:
    name, part = fact
    return f"{_FACTS.get(name, name)} {shown(part)}" if part else _FACTS.get(name, name)
