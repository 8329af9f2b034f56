"""Canonical JSON (RFC 8785): equal values have equal bytes, whoever writes them. Digests are taken over these bytes."""

from __future__ import annotations

from json.encoder import encode_basestring as _quoted
from math import isfinite
from typing import Any

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 200


class NotCanonical(ValueError):
    """The value has no canonical form: not JSON, not finite, beyond what every reader can hold, or nested too deep."""


def canonical_bytes(value: Any) -> bytes:
    """The RFC 8785 bytes of a JSON value (tuples count as lists).

    Keys are in the order of their UTF-16 code units, numbers as ECMAScript writes them. Raises `NotCanonical` for NaN
    and infinities, lone surrogates, integers beyond 2**53 - 1, keys that are no text, and more than 200 levels.
    """
    parts: list[str] = []
    _write(value, parts, 0)
    try:
        return "".join(parts).encode()
    except UnicodeEncodeError:
        raise NotCanonical("Text contains a lone surrogate.") from None


def _write(value: Any, parts: list[str], depth: int) -> None:
    if value is None:
        parts.append("null")
    elif value is True:
        parts.append("true")
    elif value is False:
        parts.append("false")
    elif isinstance(value, str):
        parts.append(_quoted(value))
    elif isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise NotCanonical("An integer is beyond 2**53 - 1.")
        parts.append(int.__repr__(value))
    elif isinstance(value, float):
        parts.append(number_text(value))
    elif depth >= MAX_DEPTH:
        raise NotCanonical(f"Nested deeper than {MAX_DEPTH} levels.")
    elif isinstance(value, dict):
        opening = "{"
        for key in _sorted_keys(value):
            parts.append(opening + _quoted(key) + ":")
            opening = ","
            _write(value[key], parts, depth + 1)
        parts.append("}" if value else "{}")
    elif isinstance(value, list | tuple):
        opening = "["
        for member in value:
            parts.append(opening)
            opening = ","
            _write(member, parts, depth + 1)
        parts.append("]" if value else "[]")
    else:
        raise NotCanonical(f"{type(value).__name__} is not a JSON value.")


def _sorted_keys(value: dict[Any, Any]) -> list[str]:
    if not all(isinstance(key, str) for key in value):
        raise NotCanonical("A key is not text.")
    if all(map(str.isascii, value)):
        return sorted(value)
    # Only above the basic plane does the order of code units differ from that of code points.
    return sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))


def number_text(value: float) -> str:
    """The number as ECMAScript's `Number::toString` writes it. Raises `NotCanonical` where it is not finite."""
    if not isfinite(value):
        raise NotCanonical("A number is not finite.")
    if value == 0:
        return "0"  # also for -0.0
    # repr gives the shortest digits that read back as the same number, which is what ECMAScript asks for as well; only
    # the layout differs. The number is 0.DIGITS times ten to the power of `point`.
    mantissa, _, exponent = float.__repr__(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = whole + fraction
    point -= len(digits) - len(digits.lstrip("0"))
    digits = digits.strip("0")
    count = len(digits)
    if count <= point <= 21:
        text = digits + "0" * (point - count)
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        tail = f".{digits[1:]}" if count > 1 else ""
        text = f"{digits[0]}{tail}e{point - 1:+d}"
    return f"-{text}" if value < 0 else text
