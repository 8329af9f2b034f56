"""Strict reading of JSON values: checks one at a time, and keeps every issue instead of stopping at the first."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from math import inf, isfinite
from typing import TYPE_CHECKING, Any

from routes.engine.canonical import MAX_INTEGER
from routes.engine.errors import InvalidRoute, Issue
from routes.engine.money import nano_usd, usd_number

if TYPE_CHECKING:
    from datetime import datetime

MAX_MEMBERS = 256
MAX_CHARACTERS = 512
MAX_NAME = 200
MAX_USD = 1_000_000
#: More unknown keys than this are reported as one issue, so that a hostile object cannot make a report of a gigabyte.
_MAX_KEYS = 100

#: So many issues of one value are kept, the last of which says how many there are: of one that is written, and of each
#: of the thousands that are loaded.
MAX_ISSUES, MAX_ISSUES_ON_LOAD = 1_000, 100
#: So many instructions the RE2 patterns of one value may be compiled to, on load those of a document: tenths of a second.
#: Most patterns take hundreds.
MAX_INSTRUCTIONS = 1_000_000

#: What a limit is multiplied by: on write as it stands; on load twice, so that a gateway reads what a slightly newer
#: control plane allows; nothing is too long when a value built in code is written out.
ON_WRITE, ON_LOAD, UNLIMITED = 1, 2, inf

_UNSUPPORTED = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def without_surrogates(text: str) -> str:
    """The text with every lone surrogate replaced by U+FFFD, so that it can be encoded, searched and hashed."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return _SURROGATES.sub("\ufffd", text)
    return text


def unsupported_in(text: str) -> bool:
    """Whether the text holds a control character, a line separator or a lone surrogate: what headers, logs and pages
    cannot carry."""
    return _UNSUPPORTED.search(text) is not None


def shown(value: object, longest: int = 60) -> str:
    """The value for a message: quoted, on one line, printable, and cut."""
    if isinstance(value, str):
        return repr(value) if len(value) <= longest else repr(value[:longest]) + "…"
    if isinstance(value, bool | None):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, int):
        # Python refuses to write integers of more than 4,300 digits.
        return str(value) if abs(value) < 10**longest else f"an integer of {value.bit_length():,} bits"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return type(value).__name__


class Patterns:
    """What is left of the instructions that patterns may be compiled to; below 0, nothing."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_INSTRUCTIONS


class Reading:
    """Reads the parts of one value and collects what is wrong with them.

    Every method takes the raw value and its path, answers the read value, and where it cannot adds an issue and answers
    a stand-in of the right type. The caller asks `result` at the end, which raises when there was any issue.
    """

    def __init__(self, scale: float = ON_WRITE, patterns: Patterns | None = None) -> None:
        """`patterns` is shared by what is read together."""
        self.issues: list[Issue] = []
        self.scale = scale
        self._max_members = MAX_MEMBERS * scale
        self._max_characters = MAX_CHARACTERS * scale
        self.patterns = Patterns() if patterns is None else patterns
        self._most_issues = MAX_ISSUES_ON_LOAD if scale == ON_LOAD else MAX_ISSUES
        #: How many issues there are, also of those that are not kept.
        self.count = 0
        self._lacks = False

    def add(self, path: str, code: str, message: str) -> None:
        # A member is a few bytes, an issue of it hundreds: not every one is kept.
        self.count += 1
        if len(self.issues) < self._most_issues or (code == "needs_extra" and not self._lacks):
            # What this machine lacks rejects a document as a whole, whatever else is wrong.
            self._lacks |= code == "needs_extra"
            self.issues.append({"path": path, "code": code, "message": message})

    def all_issues(self) -> list[Issue]:
        """Those that were kept, and one that says how many were not."""
        if self.count == len(self.issues):
            return self.issues
        more = f"{self.count - len(self.issues):,} more things are wrong: mend these first."
        return [*self.issues, {"path": "", "code": "too_many", "message": more}]

    def result[T](self, value: T) -> T:
        """The value, or `InvalidRoute` with all issues."""
        if self.issues:
            raise InvalidRoute(self.all_issues())
        return value

    def fields(self, raw: object, path: str, known: Collection[str], required: Collection[str] = ()) -> dict[str, Any]:
        """The known keys that the object holds. Unknown and missing ones become issues."""
        if not isinstance(raw, dict):
            self.add(path, "wrong_type", f"This is an object, not {shown(raw)}.")
            return {}
        unknown = [key for key in raw if key not in known]
        if len(unknown) > _MAX_KEYS:
            self.add(path, "too_many", f"This object has {len(unknown):,} unknown keys.")
        else:
            for key in unknown:
                self.add(below(path, key_text(key)), "unknown_key", _unknown_key(key, known))
        for key in required:
            if key not in raw:
                self.add(below(path, key), "missing", f"{key} is missing.")
        return {key: raw[key] for key in known if key in raw}

    def text(self, raw: object, path: str, *, longest: float | None = None) -> str:
        limit = self._max_characters if longest is None else longest
        if not isinstance(raw, str):
            self.add(path, "wrong_type", f"This is text, not {shown(raw)}.")
        elif not raw.strip():
            self.add(path, "blank_value", "This text is blank.")
        elif unsupported_in(raw):
            self.add(path, "unsupported_value", "Control characters, line separators and lone surrogates are refused.")
        elif len(raw) > limit:
            self.add(path, "out_of_range", f"At most {limit:,} characters; this has {len(raw):,}.")
        else:
            return raw
        return ""

    def texts(self, raw: object, path: str) -> tuple[str, ...]:
        """A list of texts without repetition."""
        if not isinstance(raw, list):
            self.add(path, "wrong_type", f"This is a list of texts, not {shown(raw)}.")
            return ()
        if len(raw) > self._max_members:
            self.add(path, "too_many", f"At most {self._max_members:,} members; this list has {len(raw):,}.")
            return ()
        seen: dict[str, None] = {}
        for index, member in enumerate(raw):
            before = self.count
            text = self.text(member, f"{path}[{index}]")
            if self.count > before:
                continue
            if text in seen:
                self.add(f"{path}[{index}]", "duplicate_value", f"{shown(text)} is in the list twice.")
            else:
                seen[text] = None
        return tuple(seen)

    def flag(self, raw: object, path: str) -> bool:
        if not isinstance(raw, bool):
            self.add(path, "wrong_type", f"This is true or false, not {shown(raw)}.")
            return False
        return raw

    def whole(self, raw: object, path: str, *, at_least: int = 0, at_most: int = MAX_INTEGER) -> int:
        """An integer, from 0 unless said otherwise. `True` and `100.0` are none."""
        if not isinstance(raw, int) or isinstance(raw, bool):
            code = "not_finite" if isinstance(raw, float) and not isfinite(raw) else "wrong_type"
            self.add(path, code, f"This is a whole number, not {shown(raw)}.")
        elif not at_least <= raw <= at_most:
            self.add(path, "out_of_range", f"From {at_least:,} to {at_most:,}; this is {shown(raw)}.")
        else:
            return raw
        return at_least

    def usd(self, raw: object, path: str, *, above_zero: bool = False) -> int | float:
        """An amount of USD with at most nine decimals, as the JSON number that `usd_number` writes."""
        if not isinstance(raw, int | float) or isinstance(raw, bool):
            self.add(path, "wrong_type", f"This is a number of US dollars, not {shown(raw)}.")
        elif not isfinite(raw) if isinstance(raw, float) else False:
            self.add(path, "not_finite", "An amount is finite.")
        elif not 0 <= raw <= MAX_USD:
            self.add(path, "out_of_range", f"From 0 to {MAX_USD:,} US dollars; this is {shown(raw)}.")
        elif (number := usd_number(nano_usd(raw))) != raw:
            self.add(path, "unsupported_value", f"An amount has at most 9 decimals; this is {shown(raw)}.")
        elif above_zero and raw == 0:
            self.add(path, "out_of_range", "This amount is above 0.")
        else:
            return number
        return 0

    def number(self, raw: object, path: str) -> int | float:
        """Any finite number; what is whole is read as an integer, so that it is written in one way."""
        if not isinstance(raw, int | float) or isinstance(raw, bool):
            self.add(path, "wrong_type", f"This is a number, not {shown(raw)}.")
        elif isinstance(raw, float) and not isfinite(raw):
            self.add(path, "not_finite", "A number is finite.")
        elif not -MAX_INTEGER <= raw <= MAX_INTEGER:
            self.add(path, "out_of_range", f"From {-MAX_INTEGER:,} to {MAX_INTEGER:,}; this is {shown(raw)}.")
        else:
            return int(raw) if raw == int(raw) else raw
        return 0

    def members[T](
        self, raw: object, path: str, read: Callable[[object, str], T], *, name_of: Callable[[str, str], str | None]
    ) -> dict[str, T]:
        """An object whose keys are chosen by people. `name_of` answers the accepted key, or None after an issue."""
        if not isinstance(raw, dict):
            self.add(path, "wrong_type", f"This is an object, not {shown(raw)}.")
            return {}
        if len(raw) > self._max_members:
            self.add(path, "too_many", f"At most {self._max_members:,} names; this object has {len(raw):,}.")
            return {}
        found = {}
        for key, value in raw.items():
            where = below(path, key_text(key))
            name = name_of(self.text(key, where), where)
            member = read(value, where)
            if name:
                found[name] = member
        return found

    def time(self, raw: object, path: str) -> datetime | None:
        """A time as RFC 3339 text, in UTC."""
        from routes.engine.times import read_time  # times itself reads by this module

        try:
            return read_time(raw)
        except ValueError as error:
            self.add(path, "unsupported_value" if isinstance(raw, str) else "wrong_type", str(error))
        return None

    def zone(self, name: str, path: str) -> None:
        """Check that this machine knows the zone. Where a document is loaded, it is the machine that lacks it."""
        from routes.engine.times import zone_named

        try:
            zone_named(name)
        except LookupError:
            if self.scale == ON_LOAD:
                self.add(path, "needs_extra", f"The time zone {shown(name)} is not known here: install tzdata.")
            elif self.scale == ON_WRITE:
                self.add(path, "unsupported_value", f"There is no time zone {shown(name)}. Write Europe/Berlin or UTC.")

    def optional[T](self, read: Callable[..., T], raw: object, path: str, **options: Any) -> T | None:
        """What `read` reads, or None where the value is null."""
        return None if raw is None else read(raw, path, **options)


def below(path: str, key: str) -> str:
    """The path of a key of the object at this path."""
    return f"{path}.{key}" if path else key


def key_text(key: object) -> str:
    """The key as paths have it: printable, and cut."""
    text = key if isinstance(key, str) else shown(key)
    if len(text) > 60:
        text = text[:60] + "…"
    return printable(text)


def printable(text: str) -> str:
    """The text, with what cannot be printed as escapes."""
    return text if text.isprintable() else repr(text)[1:-1]


def _unknown_key(key: object, known: Collection[str]) -> str:
    listed = f"Known: {', '.join(known)}."
    if isinstance(key, str) and len(key) <= 60:
        from difflib import get_close_matches  # only for a message; the import costs milliseconds

        if close := get_close_matches(key, known):
            listed = f"Did you mean {' or '.join(close)}? {listed}"
    return f"There is no key {shown(key)} here. {listed}"
