"""Reads a request to try: facts by name, a chat body, or both."""

from typing import Any

from routes import engine
from routes.errors import RoutesError

#: Fact → (kind, what it is), in the order in which people are asked for them.
FACTS: dict[str, tuple[str, str]] = {
    "model": ("text", "Requested model"),
    "input_tokens": ("integer", "Input tokens"),
    "tag": ("text", "Tag"),
    "prompt": ("text", "User and system text"),
    "has_images": ("flag", "Has images"),
    "has_audio": ("flag", "Has audio"),
    "has_documents": ("flag", "Has documents"),
    "estimated_cost_usd": ("money", "Estimated cost (USD)"),
    "upstream_latency_ms_p95": ("integer", "Upstream p95 latency (ms)"),
}


class InvalidRequest(RoutesError):
    """The request to try is not acceptable; `issues` says where and why."""

    code = "invalid_request"

    def __init__(self, issues: list[dict[str, str]]) -> None:
        super().__init__("; ".join(issue["message"] for issue in issues))
        self.issues = issues


def read_context(context: Any, chat: Any = None) -> engine.RequestContext:
    """The engine's context from facts by name and an OpenAI chat-completions body; facts win over the body.

    A fact that is absent or null is unknown. Raises `InvalidRequest`.
    """
    issues: list[dict[str, str]] = []
    if chat is not None and not isinstance(chat, dict):
        issues.append(_issue("chat", "wrong_type", "chat is an object: the body of a chat-completions request."))
    if not isinstance(context, dict):
        issues.append(_issue("context", "wrong_type", "context is an object of facts by name."))
        context = {}
    facts = {}
    for name, value in context.items():
        if name not in FACTS:
            known = ", ".join(FACTS)
            issues.append(_issue(f"context.{name}", "unknown_key", f"There is no fact {name!r}. Known: {known}."))
        elif value is not None and not _fits(FACTS[name][0], value):
            issues.append(_issue(f"context.{name}", "wrong_type", f"{name} is {_WANTED[FACTS[name][0]]}."))
        elif value is not None:
            facts[name] = value
    if issues:
        raise InvalidRequest(issues)
    if chat is not None:
        return engine.RequestContext.from_chat(chat, **facts)
    return engine.RequestContext(facts.pop("model", None), **facts)


_WANTED = {
    "text": "text",
    "integer": "a whole number from 0 to 9007199254740991",
    "flag": "true or false",
    "money": "a number of US dollars from 0 to 1000000",
}


def _fits(kind: str, value: Any) -> bool:
    if kind == "text":
        return isinstance(value, str)
    if kind == "flag":
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if kind == "integer":
        return isinstance(value, int) and 0 <= value < 2**53
    return isinstance(value, int | float) and 0 <= value <= 1_000_000


def _issue(path: str, code: str, message: str) -> dict[str, str]:
    return {"path": path, "code": code, "message": message}
