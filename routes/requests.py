"""Reads a request to try: facts by name, a chat body, or both."""

from collections.abc import Callable, Collection
from math import isfinite
from typing import Any

from routes import engine
from routes.engine.reading import below, key_text, shown
from routes.engine.times import read_time
from routes.errors import RoutesError, issue
from routes.times import rfc3339

#: Facts of which null and absence say that the request has none; `unknown` names those that nobody knows.
MAY_BE_UNKNOWN = ("tag", "metadata", "headers")
#: More unknown keys than this are one issue.
_MAX_UNKNOWN = 100


class InvalidRequest(RoutesError):
    """The request to try is not acceptable; `issues` says where and why."""

    code = "invalid_request"

    def __init__(self, issues: list[dict[str, str]]) -> None:
        super().__init__("; ".join(issue["message"] for issue in issues))
        self.issues = issues


def read_request(body: dict[str, Any]) -> tuple[engine.RequestContext, str | None]:
    """The engine's context, and the name of the route that is to take the request, or None.

    `context` holds facts by name, `chat` an OpenAI chat-completions body; facts win over the body. A fact that is absent
    or null is unknown, save for `tag`, `metadata` and `headers`, of which the request then has none:
    `"unknown": ["tag"]` says that it is not known. `force` is a route's name. Raises `InvalidRequest` with everything
    that is wrong.
    """
    known = ("context", "chat", "force")
    issues = _unknown("", "key", [key for key in body if key not in known], known)
    context, chat, force = body.get("context", {}), body.get("chat"), body.get("force")
    if force is not None and not isinstance(force, str):
        issues.append(issue("force", "wrong_type", "force is the name of a route, or null."))
    if chat is not None and not isinstance(chat, dict):
        issues.append(issue("chat", "wrong_type", "chat is an object: the body of a chat-completions request."))
    if not isinstance(context, dict):
        issues.append(issue("context", "wrong_type", "context is an object of facts by name."))
        context = {}
    issues += _unknown("context", "fact", [name for name in context if name not in FACTS], FACTS)
    facts: dict[str, Any] = {}
    for name, (wanted, read) in FACTS.items():
        if (value := context.get(name)) is not None:
            try:
                facts[name] = read(value)
            except (ValueError, TypeError, OverflowError):
                issues.append(issue(f"context.{name}", "wrong_type", f"{name} is {wanted}."))
    for name in dict.fromkeys(facts.pop("unknown", ())):
        if facts.get(name) is not None:
            issues.append(issue(f"context.{name}", "conflict", f"{name} is given, and named as unknown."))
        facts[name] = engine.UNKNOWN
    if issues:
        raise InvalidRequest(issues)
    if chat is not None:
        return engine.RequestContext.from_chat(chat, **facts), force
    return engine.RequestContext(facts.pop("model", None), **facts), force


def facts_of(context: engine.RequestContext) -> dict[str, Any]:
    """What is known of a request, by name: `read_request` makes the same request of it."""
    facts: dict[str, Any] = {}
    for name in FACTS:
        value = None if name == "unknown" else getattr(context, name)
        if value is None or value is engine.UNKNOWN or value == {}:
            continue
        if name == "at":
            value = rfc3339(value)
        elif name == "headers":
            value = {header: each if isinstance(each, str) else list(each) for header, each in value.items()}
        facts[name] = dict(value) if name in ("metadata", "numbers") else value
    unknown = [name for name in MAY_BE_UNKNOWN if getattr(context, name) is engine.UNKNOWN]
    return {**facts, **({"unknown": unknown} if unknown else {})}


# --- One fact: what it is, or ValueError ----------------------------------------------------------------------------


def _text(raw: Any) -> str:
    if not isinstance(raw, str):
        raise ValueError
    return raw


def _flag(raw: Any) -> bool:
    if not isinstance(raw, bool):
        raise ValueError
    return raw


def _whole(raw: Any) -> int:
    if not isinstance(raw, int) or isinstance(raw, bool) or not 0 <= raw < 2**53:
        raise ValueError
    return raw


def _number(raw: Any) -> int | float:
    if not isinstance(raw, int | float) or isinstance(raw, bool) or not isfinite(raw):
        raise ValueError
    return raw


def _usd(raw: Any) -> int | float:
    if not 0 <= _number(raw) <= 1_000_000:
        raise ValueError
    return _number(raw)


def _by_name[T](read: Callable[[Any], T]) -> Callable[[Any], dict[str, T]]:
    def read_all(raw: Any) -> dict[str, T]:
        return {name: read(value) for name, value in dict.items(raw)}  # a TypeError for what is no object

    return read_all


def _header(raw: Any) -> str | list[str]:
    return [_text(value) for value in raw] if isinstance(raw, list) else _text(raw)


def _names_of_facts(raw: Any) -> list[str]:
    if not isinstance(raw, list) or any(name not in MAY_BE_UNKNOWN for name in raw):
        raise ValueError
    return raw


_TEXT = ("text", _text)
_FLAG = ("true or false", _flag)
_WHOLE = ("a whole number from 0 to 9007199254740991", _whole)

#: Fact → (what it is, how it is read).
FACTS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "model": _TEXT,
    "input_tokens": _WHOLE,
    "tag": _TEXT,
    "prompt": _TEXT,
    "has_images": _FLAG,
    "has_audio": _FLAG,
    "has_documents": _FLAG,
    "has_tools": _FLAG,
    "is_stream": _FLAG,
    "estimated_cost_usd": ("a number of US dollars from 0 to 1000000", _usd),
    "upstream_latency_ms_p95": _WHOLE,
    "metadata": ("an object of texts by name", _by_name(_text)),
    "headers": ("an object of texts, or lists of texts, by name", _by_name(_header)),
    "numbers": ("an object of finite numbers by name", _by_name(_number)),
    "at": ("a time like 2026-11-21T08:00:00.000000Z", read_time),
    "request_id": _TEXT,
    "sticky_key": _TEXT,
    "unknown": (f"a list of some of {', '.join(MAY_BE_UNKNOWN)}", _names_of_facts),
}


def _unknown(path: str, what: str, names: list[str], known: Collection[str]) -> list[dict[str, str]]:
    if len(names) > _MAX_UNKNOWN:
        return [issue(path, "too_many", f"This object has {len(names):,} unknown keys.")]
    message = f"There is no {what} {{}}{' here' if what == 'key' else ''}. Known: {', '.join(known)}."
    return [issue(below(path, key_text(name)), "unknown_key", message.format(shown(name))) for name in names]
