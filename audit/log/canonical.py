"""RFC 8785 canonical JSON without floats: one text for one value, so that a hash names it.

Floats are refused, not written: no two libraries have to agree on how to print one.
"""

import json
from json.encoder import encode_basestring
from typing import Any

MAX_INTEGER = 2**53 - 1


class NotCanonical(ValueError):
    """This value has no canonical form here."""


def canonical_bytes(value: Any) -> bytes:
    """The canonical UTF-8 bytes of text, integers within ±(2^53 - 1), booleans, None, lists and dicts with text keys.

    Raises `NotCanonical` for anything else, floats and lone surrogates among them.
    """
    parts: list[str] = []
    _write(value, parts, 0)
    try:
        return "".join(parts).encode("utf-8")
    except UnicodeEncodeError as error:
        raise NotCanonical("Text with a lone surrogate has no canonical form.") from error


def _write(value: Any, parts: list[str], depth: int) -> None:
    if depth > 64:
        raise NotCanonical("Nested deeper than 64 levels.")
    if value is None:
        parts.append("null")
    elif isinstance(value, bool):
        parts.append("true" if value else "false")
    elif isinstance(value, str):
        parts.append(encode_basestring(value))  # which escapes exactly what RFC 8785 wants escaped, in its form
    elif isinstance(value, int):
        if abs(value) > MAX_INTEGER:
            raise NotCanonical("An integer is beyond what a double holds exactly; write it as text.")
        parts.append(str(value))
    elif isinstance(value, list | tuple):
        parts.append("[")
        for index, member in enumerate(value):
            if index:
                parts.append(",")
            _write(member, parts, depth + 1)
        parts.append("]")
    elif isinstance(value, dict):
        parts.append("{")
        if any(not isinstance(key, str) for key in value):
            raise NotCanonical("A key is not text.")
        for index, key in enumerate(sorted(value, key=_utf16)):
            if index:
                parts.append(",")
            parts.append(encode_basestring(key) + ":")
            _write(value[key], parts, depth + 1)
        parts.append("}")
    else:
        raise NotCanonical(f"{type(value).__name__} has no canonical form here; write it as text.")


def _utf16(key: str) -> bytes:
    # RFC 8785 sorts by UTF-16 code units, which differs from code points beyond the basic plane.
    return key.encode("utf-16-be", "surrogatepass")


def parse(data: bytes) -> Any:
    """The value of canonical bytes. Raises `NotCanonical` unless they are exactly the canonical form of their value."""
    try:
        value = json.loads(data.decode("utf-8"))
        again = canonical_bytes(value)
    except (ValueError, RecursionError) as error:
        raise NotCanonical(f"Not canonical JSON: {error}") from error
    if again != data:
        raise NotCanonical("Valid JSON, but not in its canonical form.")
    return value
