"""What differs between two states of a document, by field."""

from typing import Any

from routes.engine.canonical import canonical_bytes

#: Of these members of a route the fields are compared; every other value is compared whole.
_OPENED = ("when", "then", "meta")


def fields_between(was: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """`[{"path", "was", "is"}]` of two routes in the document's keys. `path` is a JSON pointer; a key that is missing on
    one side has null there."""
    found = []
    for key in _keys(was, now):
        left, right = was.get(key), now.get(key)
        if key in _OPENED and isinstance(left, dict) and isinstance(right, dict):
            for inner in _keys(left, right):
                found += _between(f"/{_escaped(key)}/{_escaped(inner)}", left.get(inner), right.get(inner))
        else:
            found += _between(f"/{_escaped(key)}", left, right)
    return found


def _keys(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    return list(dict.fromkeys([*was, *now]))


def _between(path: str, was: Any, now: Any) -> list[dict[str, Any]]:
    # By their bytes: to Python 1 and True are equal, to whoever reads the document they are not.
    return [] if canonical_bytes(was) == canonical_bytes(now) else [{"path": path, "was": was, "is": now}]


def _escaped(key: str) -> str:
    """As a part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")
