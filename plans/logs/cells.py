"""One cell of a file of request logs: text, or a typed value, in; the value of a column out, or `Refused`."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Context, Decimal
from math import isfinite
from typing import Any, NoReturn
from uuid import UUID

import numpy as np

#: No request has more tokens; and with it, tokens times price of a whole log stay far from the end of 64 bits.
MAX_TOKENS = 1_000_000_000
MAX_MS = 2**31 - 1
MAX_USD = Decimal("999999999.999999999")
MAX_DEPTH = 64
MAX_EMBEDDING = 4_096
YEARS = range(2000, 2200)

NO_ZONE = "has no zone; write Z, or an offset as +02:00, or map the column to ts_utc if its times are UTC"
_NANO = Decimal("1e-9")
#: Holds every number that `_DECIMAL` or an Arrow decimal can be, to its last digit.
_EXACT = Context(prec=250, rounding=ROUND_HALF_EVEN)
_NOT_UTF8 = re.compile("[\ud800-\udfff]")
# Line and paragraph separators too: each id, model and tag is one line wherever it is shown.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_RFC3339 = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))?", re.ASCII
)
# PostgreSQL writes a whole hour as +02.
_SHORT_OFFSET = re.compile(r"(.*:\d\d(?:\.\d+)?[+-]\d\d)(\d\d)?", re.ASCII)
_DOTTED = re.compile(r"(\d\d)\.(\d\d)\.(\d{4})[ T]+(\d\d):(\d\d)(?::(\d\d))?(?:[.,](\d+))?", re.ASCII)
_EPOCH = re.compile(r"\d{9,19}(?:\.\d{1,20})?", re.ASCII)
# A column of whole numbers with gaps becomes one of doubles in many programs: 5.0.
_INTEGER = re.compile(r"(-?\d{1,19})(?:\.0{1,20})?", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,20}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,2})?", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: Seconds since 1970 of `YEARS`. In thousands, millions and billions of these no number lies in two of the ranges.
_EPOCH_SECONDS = range(946_684_800, 7_258_118_400)


class Refused(Exception):
    """The cell, or the record, cannot be stored. The text says why."""


class Number(str):
    """A number of a JSON file as it is written there, so that nothing is lost before its column reads it."""


class Unfit:
    """Stands for a value that no column holds and that was not even made; `reason` says why."""

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason


Cell = Callable[[Any], Any]
"""Reads a text as a CSV has it, or a value as JSON and Arrow have it. Raises `Refused`."""


def read(column: str, cell: Cell, given: Any) -> Any:
    """The value of one cell. Raises `Refused`, whose text names the column and shows how the cell begins."""
    if isinstance(given, Unfit):
        raise Refused(f"{column}: {given.reason}")
    try:
        if isinstance(given, str) and not given.isascii() and _NOT_UTF8.search(given):
            raise Refused("is not UTF-8")
        return cell(given)
    except Refused as refused:
        raise Refused(f"{column}: {shown(given)} {refused}") from None


def shown(given: Any) -> str:
    """The beginning of a text, quoted, with everything unprintable escaped; of a list or an object what it is."""
    if isinstance(given, list | np.ndarray):
        return f"a list of {len(given):,}"
    if isinstance(given, dict):
        return "an object"
    raw = str(given)
    head = "".join(char if char.isprintable() else _escaped(char) for char in raw[:40])
    return f'"{head}{"…" if len(raw) > 40 else ""}"'


def _escaped(char: str) -> str:
    # U+DC80 to U+DCFF stand for the single bytes that are not UTF-8.
    code = ord(char) - 0xDC00 if "\udc80" <= char <= "\udcff" else ord(char)
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


# --- Text -----------------------------------------------------------------------------------------------------------


def text(max_length: int) -> Cell:
    def read_text(given: Any) -> str:
        raw = _text(given)
        if _CONTROL.search(raw):
            raise Refused("has a control character")
        if len(raw) > max_length:
            raise Refused(f"has {len(raw)} characters; {max_length} are possible")
        if not raw.strip():
            raise Refused("is blank")
        return raw

    return read_text


def _text(given: Any) -> str:
    # A number is what people take for an id; a truth value, a time or a list is a column of something else.
    if isinstance(given, str) or (isinstance(given, int) and not isinstance(given, bool)):
        return str(given)
    raise Refused("is not a text")


def one_of(*allowed: str) -> Cell:
    def read_choice(given: Any) -> str:
        if not isinstance(given, str) or given not in allowed:
            raise Refused(f"is none of {', '.join(allowed)}")
        return str(given)

    return read_choice


def boolean(given: Any) -> bool:
    if isinstance(given, bool):
        return given
    if not isinstance(given, str) or (said := given.lower()) not in ("true", "false"):  # True, and TRUE of spreadsheets
        raise Refused("is neither true nor false")
    return said == "true"


def uuid(given: Any) -> UUID:
    if isinstance(given, UUID):
        return given
    if isinstance(given, bytes) and len(given) == 16:
        return UUID(bytes=given)
    if not isinstance(given, str) or not _UUID.fullmatch(given):
        raise Refused("is not a UUID")
    return UUID(given)


# --- Numbers --------------------------------------------------------------------------------------------------------


def integer(low: int, high: int) -> Cell:
    def read_integer(given: Any) -> int:
        if isinstance(given, str):
            if not (found := _INTEGER.fullmatch(given)):
                raise _no_number(given, "is not a whole number")
            number = int(found[1])
        else:
            number = _whole(given)
        if not low <= number <= high:
            raise Refused(f"is not between {low} and {high}")
        return number

    return read_integer


def _whole(given: Any) -> int:
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    if isinstance(given, float) and given.is_integer():
        return int(given)
    if isinstance(given, Decimal) and given.is_finite() and given == given.to_integral_value(context=_EXACT):
        return int(given)
    raise Refused("is not a whole number")


def _no_number(given: str, reason: str) -> Refused:
    has_commas = "," in given and given.strip("-").replace(",", "").replace(".", "").isdecimal()
    return Refused(f"{reason}; write a decimal point, and nothing between thousands" if has_commas else reason)


def money(given: Any) -> Decimal:
    """US dollars, from 0, exact: at most nine decimals, as the column has them.

    A double has no exact decimals: of it the shortest text that means it is rounded, half to even.
    """
    number = _number(given)
    usd = _usd(number.quantize(_NANO, context=_EXACT))
    if usd != number and not isinstance(given, float):
        raise Refused("has more than nine decimals; write nine, or map the column to what rounds, as cost_usd_rounded")
    return usd


def _usd(usd: Decimal) -> Decimal:
    if usd < 0:
        raise Refused("is negative")
    if usd > MAX_USD:
        raise Refused(f"is above {MAX_USD}")
    return usd.copy_abs()  # of -0


def _number(given: Any) -> Decimal:
    """Any finite number below 1e120, exactly."""
    if isinstance(given, str):
        if not _DECIMAL.fullmatch(given):
            raise _no_number(given, "is not a decimal number")
        return Decimal(given)
    if isinstance(given, bool) or not isinstance(given, int | float | Decimal):
        raise Refused("is not a decimal number")
    number = Decimal(repr(given)) if isinstance(given, float) else Decimal(given)
    if not number.is_finite() or number.adjusted() > 119:
        raise Refused("is not a decimal number")
    return number


tokens = integer(0, MAX_TOKENS)
milliseconds = integer(0, MAX_MS)


# --- Numbers and truths of somebody else ----------------------------------------------------------------------------


def rounded_money(given: Any) -> Decimal:
    """US dollars, rounded half to even to nine decimals."""
    return _usd(_number(given).quantize(_NANO, context=_EXACT))


def cents(given: Any) -> Decimal:
    return _usd((_EXACT.divide(_number(given), Decimal(100))).quantize(_NANO, context=_EXACT))


def rounded_milliseconds(given: Any) -> int:
    return int(milliseconds(_number(given).quantize(Decimal(1), context=_EXACT)))


def seconds(given: Any) -> int:
    return rounded_milliseconds(_EXACT.multiply(_number(given), Decimal(1000)))


def any_boolean(given: Any) -> bool:
    if (said := str(given).lower()) not in ("true", "1", "false", "0"):
        raise Refused("is neither true nor false, 1 nor 0")
    return said in ("true", "1")


# --- Times ----------------------------------------------------------------------------------------------------------


def time(given: Any) -> datetime:
    """A time with its zone, or a count since 1970 in seconds, milli-, micro- or nanoseconds; in UTC.

    Which unit it is, a number says by its size: only in one of them it is a time of `YEARS`. Digits beyond
    microseconds are cut off.
    """
    if isinstance(given, datetime):
        return _in_utc(given)
    if isinstance(given, date):
        raise Refused("is a day; when on that day it was has to be there too")
    if not isinstance(given, str) or _EPOCH.fullmatch(given):
        return _since_1970(_number(given))
    found = _RFC3339.fullmatch(given)
    if not found:
        raise Refused("is not a time as 2026-01-31T23:59:59.000Z")
    *digits, fraction, zulu, sign, hours, minutes = found.groups()
    if zulu:
        return instant(digits, fraction, UTC)
    if not sign:
        raise Refused(NO_ZONE)
    if int(hours) > 23 or int(minutes) > 59:
        raise Refused("has an impossible offset")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return instant(digits, fraction, timezone(-offset if sign == "-" else offset))


def utc_time(given: Any) -> datetime:
    """As `time`, but one without a zone is UTC, and an offset may be +02 or +0200, as databases write it. Spreadsheets
    write `31.01.2026 23:59:59`; with slashes nobody knows which of the two is the month."""
    if isinstance(given, datetime):
        return _in_utc(given if given.tzinfo else given.replace(tzinfo=UTC))
    if isinstance(given, str) and (found := _RFC3339.fullmatch(given)) and not found[8] and not found[9]:
        return instant(list(found.groups()[:6]), found[7], UTC)
    if isinstance(given, str) and (dotted := _DOTTED.fullmatch(given)):
        day, month, year, *clock, fraction = dotted.groups()
        return instant([year, month, day, *(part or "0" for part in clock)], fraction, UTC)
    if isinstance(given, str) and (short := _SHORT_OFFSET.fullmatch(given)):
        return time(f"{short[1]}:{short[2] or '00'}")
    return time(given)


def _in_utc(given: datetime) -> datetime:
    if given.tzinfo is None:
        raise Refused(NO_ZONE)
    if given.year not in YEARS:
        raise Refused(f"is not in the years {YEARS[0]} to {YEARS[-1]}")
    return given.astimezone(UTC)


def _since_1970(number: Decimal) -> datetime:
    for per_second in (1, 10**3, 10**6, 10**9):
        if _EPOCH_SECONDS.start * per_second <= number < _EPOCH_SECONDS.stop * per_second:
            micros = int(number * 1_000_000 / per_second)
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    raise Refused(f"is no time since 1970, in any unit, of the years {YEARS[0]} to {YEARS[-1]}")


def instant(digits: list[str], fraction: str | None, zone: timezone) -> datetime:
    """The time of (year, month, day, hour, minute, second) and digits of a second, in UTC. Raises `Refused`."""
    year, month, day, hour, minute, second = map(int, digits)
    if year not in YEARS:
        raise Refused(f"is not in the years {YEARS[0]} to {YEARS[-1]}")
    micros = int((fraction or "")[:6].ljust(6, "0"))
    try:
        return datetime(year, month, day, hour, minute, second, micros, zone).astimezone(UTC)
    except ValueError:
        raise Refused("is no time of any day") from None


# --- JSON -----------------------------------------------------------------------------------------------------------


def json_object(given: Any) -> dict[str, Any]:
    value = json_value(given) if isinstance(given, str) else _plain(given)
    if not isinstance(value, dict):
        raise Refused("is not a JSON object")
    return value


def embedding(given: Any) -> bytes:
    """A list of numbers as 32-bit floats, little-endian, one after the other."""
    value = json_value(given) if isinstance(given, str) else given
    if not isinstance(value, list | np.ndarray) or len(value) == 0:
        raise Refused("is not a list of numbers")
    if len(value) > MAX_EMBEDDING:
        raise Refused(f"has {len(value):,} numbers; {MAX_EMBEDDING:,} are possible")
    if isinstance(value, list):
        if not all(isinstance(n, Number | int | float) and not isinstance(n, bool) for n in value):
            raise Refused("is not a list of numbers")
        try:
            value = np.array([float(n) for n in value])
        except OverflowError:
            raise Refused("has a number that no 32-bit float holds") from None
    with np.errstate(over="ignore"):
        floats = value.astype("<f4")
    if not np.isfinite(floats).all():
        raise Refused("has a number that no 32-bit float holds")
    return bytes(floats.tobytes())


def json_value(raw: str) -> Any:
    """What a JSON text says, if both databases can store it."""
    try:
        value = _decoder.decode(raw)
    except RecursionError:
        raise Refused("is nested too deeply") from None
    except Repeated as repeated:
        raise Refused(f"has the key {shown(str(repeated))} twice") from None
    except ValueError:
        raise Refused("is not JSON") from None
    return _plain(value)


class Repeated(ValueError):
    """An object has a key twice, and nobody can say which value is meant."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        raise Repeated(next(name for name in made if names.count(name) > 1))
    return made


def _not_finite(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON; write null")


#: For records: numbers stay text. Raises `ValueError` with `Repeated`, and `RecursionError`.
RECORDS = json.JSONDecoder(object_pairs_hook=_unique, parse_float=Number, parse_int=Number, parse_constant=_not_finite)
_decoder = json.JSONDecoder(object_pairs_hook=_unique)


def _plain(value: Any, depth: int = 0) -> Any:
    """The value with its numbers read. PostgreSQL stores no NUL, neither stores a lone surrogate or an infinity."""
    if depth > MAX_DEPTH:
        raise Refused("is nested too deeply")
    if isinstance(value, Number):
        value = _json_number(value)
    if isinstance(value, dict):
        return {_plain(name): _plain(member, depth + 1) for name, member in value.items()}
    if isinstance(value, list):
        return [_plain(member, depth + 1) for member in value]
    if isinstance(value, str):
        if "\0" in value or _NOT_UTF8.search(value):
            raise Refused("has a character that no text may have")
    elif isinstance(value, float):
        if not isfinite(value):
            raise Refused("has a number that is not finite")
    elif not (value is None or isinstance(value, int)):
        raise Refused("is not JSON")
    return value


def _json_number(raw: str) -> int | float:
    try:
        return int(raw) if raw.lstrip("-").isdigit() else float(raw)
    except ValueError:  # Python refuses integers of more than 4,300 digits
        raise Refused("has a number that is too long") from None
