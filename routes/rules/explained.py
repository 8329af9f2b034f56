"""A decision and its explanation for people: what came of a request, and which condition of which route said what."""

import re
from typing import Any

from routes.engine.reading import without_surrogates
from routes.money import usd_text
from routes.rules.sentences import bounds_in_words, moment, visible, window_in_words

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
_GROUP = re.compile(r"\.(?:any_of\[(\d+)\]|not)(?=\.)")


def verdict(decision: dict[str, Any], requested: str | None) -> dict[str, Any]:
    """`headline`, one sentence, and `details`, a list of them, of a decision as JSON. `requested` is the model that was
    asked for, if that is known."""
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
        "forced_not_found": f"No route of that name is on: it passes unchanged{sent}",
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
    return {"headline": headlines[reason], "details": details}


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
