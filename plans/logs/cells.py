"""One cell of a file of request logs: text in, the value of a column of `RequestLog` out, or `Refused`."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import isfinite
from typing import Any
from uuid import UUID

#: No request has more tokens; and with it, tokens times price of a whole log stay far from the end of 64 bits.
MAX_TOKENS = 1_000_000_000
MAX_MS = 2**31 - 1
MAX_USD = Decimal("999999999.999999999")
MAX_DEPTH = 64
YEARS = range(2000, 2200)

_NOT_UTF8 = re.compile("[\ud800-\udfff]")
# Line and paragraph separators too: each id, model and tag is one line wherever it is shown.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_TRACE_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d+))?", re.ASCII)
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))?", re.ASCII
)
_INTEGER = re.compile(r"-?\d{1,19}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,20}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class Refused(Exception):
    """The cell, or the record, cannot be stored. The text says why."""


Cell = Callable[[str], Any]


def read(column: str, cell: Cell, raw: str) -> Any:
    """The value of one cell. Raises `Refused`, whose text names the column and shows how the cell begins."""
    try:
        if _NOT_UTF8.search(raw):
            raise Refused("is not UTF-8")
        return cell(raw)
    except Refused as refused:
        raise Refused(f"{column}: {shown(raw)} {refused}") from None


def counted(found: list[str], wanted: int) -> list[str]:
    """The cells of a record, if it has as many as the header."""
    if len(found) != wanted:
        raise Refused(f"has {len(found)} cells, the header {wanted}")
    return found


def shown(raw: str) -> str:
    """The beginning of a text, quoted, with everything unprintable escaped."""
    head = "".join(char if char.isprintable() else _escaped(char) for char in raw[:40])
    return f'"{head}{"…" if len(raw) > 40 else ""}"'


def _escaped(char: str) -> str:
    # U+DC80 to U+DCFF stand for the single bytes that are not UTF-8.
    code = ord(char) - 0xDC00 if "\udc80" <= char <= "\udcff" else ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


# --- What a cell can be ---------------------------------------------------------------------------------------------


def text(max_length: int) -> Cell:
    def read_text(raw: str) -> str:
        if _CONTROL.search(raw):
            raise Refused("has a control character")
        if len(raw) > max_length:
            raise Refused(f"has {len(raw)} characters; {max_length} are possible")
        if not raw.strip():
            raise Refused("is blank")
        return raw

    return read_text


def one_of(*allowed: str) -> Cell:
    def read_choice(raw: str) -> str:
        if raw not in allowed:
            raise Refused(f"is none of {', '.join(allowed)}")
        return raw

    return read_choice


def integer(low: int, high: int) -> Cell:
    def read_integer(raw: str) -> int:
        if not _INTEGER.fullmatch(raw):
            raise Refused("is not a whole number")
        if not low <= int(raw) <= high:
            raise Refused(f"is not between {low} and {high}")
        return int(raw)

    return read_integer


def money(raw: str) -> Decimal:
    """US dollars, from 0, exact: at most nine decimals, as the column has them."""
    if not _DECIMAL.fullmatch(raw):
        raise Refused("is not a decimal number")
    nano = Fraction(raw) * 10**9
    if nano < 0:
        raise Refused("is negative")
    if nano.denominator != 1:
        raise Refused("has more than nine decimals")
    usd = Decimal(nano.numerator).scaleb(-9)
    if usd > MAX_USD:
        raise Refused(f"is above {MAX_USD}")
    return usd


def boolean(raw: str) -> bool:
    if raw not in ("true", "false"):
        raise Refused("is neither true nor false")
    return raw == "true"


def uuid(raw: str) -> UUID:
    if not _UUID.fullmatch(raw):
        raise Refused("is not a UUID")
    return UUID(raw)


def rfc3339_time(raw: str) -> datetime:
    """A time with its zone, in UTC. Digits beyond microseconds are cut off."""
    found = _RFC3339.fullmatch(raw)
    if not found:
        raise Refused("is not a time as 2026-01-31T23:59:59.000Z")
    *digits, fraction, zulu, sign, hours, minutes = found.groups()
    if zulu:
        return _time(digits, fraction, UTC)
    if not sign:
        raise Refused("has no zone; write Z, or an offset as +02:00")
    if int(hours) > 23 or int(minutes) > 59:
        raise Refused("has an impossible offset")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return _time(digits, fraction, timezone(-offset if sign == "-" else offset))


def trace_time(raw: str) -> datetime:
    """A time of the Azure traces: no zone, UTC. They have seven digits of a second; the seventh is cut off."""
    found = _TRACE_TIME.fullmatch(raw)
    if not found:
        raise Refused("is not a time as 2023-11-16 18:15:46.6805900")
    *digits, fraction = found.groups()
    return _time(digits, fraction, UTC)


def _time(digits: list[str], fraction: str | None, zone: timezone) -> datetime:
    year, month, day, hour, minute, second = map(int, digits)
    if year not in YEARS:
        raise Refused(f"is not in the years {YEARS[0]} to {YEARS[-1]}")
    micros = int((fraction or "")[:6].ljust(6, "0"))
    try:
        return datetime(year, month, day, hour, minute, second, micros, zone).astimezone(UTC)
    except ValueError:
        raise Refused("is no time of any day") from None


def json_object(raw: str) -> dict[str, Any]:
    value = _json(raw)
    if not isinstance(value, dict):
        raise Refused("is not a JSON object")
    return value


def column_names(raw: str) -> list[str]:
    value = _json(raw)
    if not isinstance(value, list) or not all(isinstance(name, str) and name in COLUMNS for name in value):
        raise Refused("is not a JSON list of names of columns")
    return sorted(set(value))


def _json(raw: str) -> Any:
    try:
        value = json.loads(raw)
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except ValueError:
        raise Refused("is not JSON") from None
    # Both databases store what is left: PostgreSQL no NUL, neither a lone surrogate or a number that is not finite.
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                below += [*part.keys(), *part.values()]
            elif isinstance(part, list):
                below += part
            elif isinstance(part, str) and ("\0" in part or _NOT_UTF8.search(part)):
                raise Refused("has a character that no text may have")
            elif isinstance(part, float) and not isfinite(part):
                raise Refused("has a number that is not finite")
        if not below:
            return value
        level = below
    raise Refused("is nested too deeply")


tokens = integer(0, MAX_TOKENS)
_milliseconds = integer(0, MAX_MS)

#: What can stand in a file, column by column. Embeddings and bodies are not part of it.
COLUMNS: dict[str, Cell] = {
    "request_id": text(200),
    "ts": rfc3339_time,
    "kind": one_of("primary", "fallback", "shadow"),
    "provider": text(100),
    "model": text(200),
    "requested_model": text(200),
    "input_tokens": tokens,
    "output_tokens": tokens,
    "cached_tokens": tokens,
    "max_output_tokens": tokens,
    "cost_usd": money,
    "baseline_cost_usd": money,
    "cached": boolean,
    "cache_layer": text(10),
    "matched_route_id": uuid,
    "reason": text(30),
    "variant": text(200),
    "decided_version": integer(0, 2**63 - 1),
    "latency_ms": _milliseconds,
    "upstream_latency_ms": _milliseconds,
    "status": integer(100, 599),
    "tag": text(512),
    "metadata": json_object,
    "cluster_key": text(200),
    "request_digest": text(71),
    "finish_reason": text(50),
    "has_images": boolean,
    "has_audio": boolean,
    "has_documents": boolean,
    "has_tools": boolean,
    "is_stream": boolean,
    "fact_input_tokens": tokens,
    "fact_estimated_cost_usd": money,
    "fact_sticky_key": text(64),
    "fact_upstream_latency_ms_p95": _milliseconds,
    "synthetic": column_names,
}
