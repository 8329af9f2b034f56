"""A decision and its explanation for people: what came of a request, and which condition of which route said what."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from routes.engine import Conditions, Engine, Explanation, RequestContext, Route
from routes.engine.explanation import FACT_OF, RouteExplanation
from routes.engine.meaning import Truth, all_of, field_holds, holds, is_active, name_holds
from routes.engine.reading import without_surrogates
from routes.money import usd_text
from routes.rules.sentences import (
    activity,
    bounds_in_words,
    condition,
    lets_pass,
    moment,
    not_asked,
    visible,
    window_in_words,
)

#: Condition → how people are told of it; of metadata, headers and figures the name follows.
_LABELS = {
    "model_in": "Requested model is one of",
    "model_matches": "Requested model matches one of",
    "input_tokens_gt": "More input tokens than",
    "input_tokens_lt": "Fewer input tokens than",
    "tag_equals": "Tag is",
    "has_images": "Has images",
    "has_audio": "Has audio",
    "has_documents": "Has documents",
    "has_tools": "Has tools",
    "is_stream": "Is streamed",
    "prompt_contains_any_of": "Text contains any of",
    "prompt_matches_any_of": "Text matches any of",
    "estimated_cost_gt": "Estimated to cost more than",
    "estimated_cost_lt": "Estimated to cost less than",
    "metadata": "Metadata",
    "headers": "Header",
    "numbers": "Figure",
    "upstream_latency_ms_p95_gt": "Upstream p95 latency (ms) above",
    "time_window": "Time is",
    "any_of": "At least one of these holds",
    "not": "This does not hold",
}
#: Of routes that did not take a request so many are told of each kind, unless all are asked for.
MOST: Final = 20
#: So few are shown with their conditions, where no route takes it.
_FEW: Final = 3
#: Kind → (title, title of what is past) of the routes that did not take a request, in the order in which people want to
#: know.
_KINDS: Final = {
    "open": ("May take it", "May have taken it"),
    "shadowed": ("Would take it, but come later", "Would have taken it, but came later"),
    "conditions": ("Do not take it", "Did not take it"),
    "inactive": ("Not active at the time of the request", "Not active at the time of the request"),
    "disabled": ("Disabled", "Disabled at that time"),
}
_GROUP = re.compile(r"\.(?:any_of\[(\d+)\]|not)(?=\.)")


@dataclass(frozen=True, slots=True)
class Open:
    """What hangs on facts of a request that are not known: `condition`, in words, of what would have to hold, and `facts`,
    their names."""

    condition: str
    facts: tuple[str, ...]


def verdict(decision: dict[str, Any], requested: str | None, *, is_sure: bool = True) -> dict[str, Any]:
    """`headline`, one sentence, and `details`, a list of them, of a decision as JSON. `requested` is the model that was
    asked for, if that is known. `is_sure` is false where a fact that is not known could change it: the headline says so
    first."""
    reason, name = decision["reason"], decision["route_name"]
    model = decision["target_model"] or (None if requested is None else without_surrogates(requested))
    sent = f" → {model}" if model else ""
    if decision["provider"]:
        sent += f" at {decision['provider']}"
    refusal = decision["refusal"]
    share = f"“{name}” takes it, but it is outside its share of the requests"
    if name is None:
        share = "No route takes it, and it is outside the share of what is set for such requests"
    headlines = {
        "matched": f"“{name}” takes it{sent or ' and leaves its model as it is'}",
        "forced": f"“{name}” was asked for by name{sent or ' and leaves its model as it is'}",
        "paused": f"“{name}” takes it, but is paused: it passes unchanged{sent}",
        "control": f"{share}: it passes unchanged{sent}",
        "default": f"No route takes it: what is set for such requests happens{sent}",
        "no_match": f"No route takes it: it passes unchanged{sent}",
        "forced_not_found": f"No route of that name is enabled: it passes unchanged{sent}",
        "refused": "" if refusal is None else f"{'What is set for such requests' if name is None else f'“{name}”'} refuses"
        f" it with {refusal['status']} {refusal['code']}: “{refusal['message']}”",
    }  # fmt: skip
    details = [
        said
        for holds, said in (
            (decision["variant"] is not None, f"Drawn from its split: model {(decision['variant'] or 0) + 1} of the list."),
            (decision["fallbacks"], f"If that fails: {', then '.join(decision['fallbacks'])}."),
            (decision["max_cost_usd"] is not None, f"At most {usd_text(decision['max_cost_usd'] or 0)} a request."),
            (decision["disable_cache"], "Not answered from a cache."),
            (decision["shadow_model"], f"A copy goes to {decision['shadow_model']}."),
        )
        if holds
    ]  # fmt: skip
    headline = headlines[reason] if is_sure else f"As far as is known, {continued(headlines[reason])}"
    return {"headline": headline, "details": details}


def continued(headline: str) -> str:
    """A headline as it goes on within a sentence."""
    return headline[:1].lower() + headline[1:]


def left_open(routes: Engine, context: RequestContext) -> dict[str, Open]:
    """By id the routes that come before the one that takes the request, and of which it is not known whether they would:
    a fact that they ask for is unknown, and all else holds. In their order."""
    found = {}
    for route in routes.routes:
        if not route.enabled:
            continue
        active = _is_active(route, context)
        holding = all_of((active, holds(route.when, context)))
        if holding:
            break
        if holding is None:
            unknown = _unknown_of(route.when, context)
            words, facts = ([condition(unknown)] if unknown.given else []), list(_facts_of(unknown))
            if active is None:
                words.append(f"it was sent {activity(route.to_dict())}")
                facts.append("at")
            found[route.id] = Open(" and ".join(words), tuple(dict.fromkeys(facts)))
    return found


def _is_active(route: Route, context: RequestContext) -> Truth:
    """Whether the request falls into the time in which the route is active; None where its time decides, and is unknown."""
    return None if context.at is None and (route.active_from or route.active_until) else is_active(route, context)


def _unknown_of(conditions: Conditions, context: RequestContext) -> Conditions:
    """Of conditions of which it is unknown whether they hold those that make it so: all else holds."""
    found: dict[str, Any] = {}
    for field, value in conditions.given:
        if field in ("metadata", "headers", "numbers"):
            names = {name: wanted for name, wanted in value.items() if name_holds(field, name, wanted, context) is None}
            found |= {field: names} if names else {}
        elif field_holds(field, value, context) is None:
            if field == "any_of":
                value = tuple(_unknown_of(each, context) for each in value if holds(each, context) is None)
            found[field] = _unknown_of(value, context) if field == "not_" else value
    return Conditions(**found)


def _facts_of(conditions: Conditions) -> Iterator[str]:
    """The names of the facts that they look at."""
    for field, value in conditions.given:
        if field in ("any_of", "not_"):
            for inner in value if field == "any_of" else (value,):
                yield from _facts_of(inner)
        else:
            yield FACT_OF.get(field, field)


def told(
    explanation: Explanation,
    requested: str | None,
    routes: Iterable[dict[str, Any]],
    *,
    past: bool = False,
    opened: Mapping[str, Open] | None = None,
    most: int | None = MOST,
) -> dict[str, Any]:
    """An explanation as pages show it: `headline` and `details` as of `verdict`, `version`, `forced`, the `winner` in full
    (None where no route takes the request), and the others in `groups`, of each kind at most `most`; None for all of them.
    `routes` are those of the document that decided; `past` says it as of what happened.
    `opened` is `left_open`: `may` are the first of these, each with what of it is `open`, and `may_more` are so many more;
    none where a route was asked for by name, before which none comes."""
    decision = explanation.decision.to_dict()
    forced = decision["reason"] in ("forced", "forced_not_found")
    opened = opened or {}
    documents = {route["id"]: route for route in routes}

    def step(route: RouteExplanation, number: int) -> dict[str, Any]:
        return _step(route, number, documents[route.route_id], opened.get(route.route_id), past)

    mays = [] if forced else [route for route in explanation.routes if route.route_id in opened]
    found: dict[str, list[Any]] = {kind: [] for kind in _KINDS}
    winner = None
    for number, route in enumerate(explanation.routes, 1):
        if route.outcome == "selected":
            winner = {**step(route, number), "passing": lets_pass(documents[route.route_id], past=past)}
        else:
            found["open" if route.route_id in opened else route.outcome].append((route, number))
    groups = [
        {
            "kind": kind,
            "title": title_past if past else title,
            "count": len(found[kind]),
            "more": 0 if most is None else max(0, len(found[kind]) - most),
            "steps": [step(route, number) for route, number in found[kind][:most]],
        }
        for kind, (title, title_past) in _KINDS.items()
        if found[kind]
    ]
    if groups and winner is None and most is not None:
        # Where there is no winner to be shown first.
        groups[0] |= {"is_open": True, "is_full": len(groups[0]["steps"]) <= _FEW}
    return {
        **verdict(decision, requested, is_sure=not mays),
        "may": [{"name": route.name, "open": opened[route.route_id]} for route in mays[:_FEW]],
        "may_more": max(0, len(mays) - _FEW),
        "version": decision["version"],
        "forced": forced,
        "winner": winner,
        "groups": groups,
        "more": any(group["more"] for group in groups),
        "total": len(explanation.routes),
    }


def _step(
    route: RouteExplanation, number: int, document: dict[str, Any], opened: Open | None, past: bool
) -> dict[str, Any]:
    """One route: its place, and in one line why it was not asked, what of it is open, the first condition that does not
    hold, or, where all do, why what it takes would pass unchanged."""
    tree = conditions_as_tree([condition.to_dict() for condition in route.conditions])
    if opened is not None:
        why = f"would{' have' if past else ''}, if this {'held' if past else 'holds'}: {opened.condition}"
    elif route.outcome in ("disabled", "inactive"):
        why = not_asked(document, past=past)
    else:
        why = next(_failing(tree), lets_pass(document, past=past, takes_it=route.outcome != "shadowed"))
    return {"route_id": route.route_id, "name": route.name, "number": number, "tree": tree, "why": why}


def _failing(nodes: list[dict[str, Any]]) -> Iterator[str]:
    """Those that do not hold, in words; what is unknown after what is known to fail."""
    for result in ("false", "unknown"):
        for node in nodes:
            if node["result"] == result:
                yield f"{node['label']} {node['expected']}; seen {node['seen']}" if node["expected"] else node["label"]


def conditions_as_tree(conditions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conditions of one route of an explanation as JSON, those inside groups below them.

    Each is `{"label", "expected", "seen", "result", "children"}`; of groups only the label, the result and the children
    say something.
    """
    roots: list[dict[str, Any]] = []
    by_path: dict[str, list[dict[str, Any]]] = {"when": roots}
    for entry in conditions:
        path, end = "when", len("when")
        while step := _GROUP.match(entry["path"], end):
            group = entry["path"][: step.end()] if step[1] is None else f"{path}.any_of"
            path, end = entry["path"][: step.end()], step.end()
            if step[1] is not None and path not in by_path:
                by_path[path] = []
                label = f"Alternative {int(step[1]) + 1}"
                by_path[group].append({"label": label, "result": "", "children": by_path[path]})
        node = _node(entry, entry["path"][end + 1 :])
        by_path[path].append(node)
        if node["children"] is not None:
            by_path[entry["path"]] = node["children"]
    _judge_alternatives(roots)
    return roots


def _node(entry: dict[str, Any], name: str) -> dict[str, Any]:
    key, _, own_name = name.partition(".")
    is_group = key in ("any_of", "not")
    label = _LABELS.get(key, key)
    if key in ("metadata", "headers"):
        label = f"{label} {own_name} is one of"
    elif key == "numbers":
        label = f"{label} {own_name}"
    return {
        "label": label,
        "expected": "" if is_group else _in_words(key, entry["expected"]),
        "seen": "" if is_group else "unknown" if entry["result"] == "unknown" else _in_words(key, entry["seen"]),
        "result": entry["result"],
        "children": [] if is_group else None,
    }


def _judge_alternatives(nodes: list[dict[str, Any]]) -> None:
    """An alternative holds where all in it does."""
    for node in nodes:
        if node["children"] is not None:
            _judge_alternatives(node["children"])
            if not node["result"]:
                results = {child["result"] for child in node["children"]}
                node["result"] = next((result for result in ("false", "unknown") if result in results), "true")
            is_any = node["label"] == _LABELS["any_of"]
            if is_any and node["result"] == "true" and all(child["result"] != "true" for child in node["children"]):
                # An alternative without conditions has nothing that could be listed.
                node["children"].append({"label": "An alternative without conditions", "result": "true"})


def _in_words(key: str, value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return window_in_words(value) if key == "time_window" else bounds_in_words(value)
    if isinstance(value, list):
        return " or ".join(visible(str(member)) for member in value)
    if key == "time_window":
        return moment(value)
    if key.startswith("estimated_cost"):
        return usd_text(value)
    return f"{value:,}" if isinstance(value, int) else visible(str(value))
