"""Times: RFC 3339 text as documents write it, and `TimeWindow`, the hours and days of a condition."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any

from routes.engine.reading import ON_WRITE, Reading, below, shown

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

_RFC_3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,3}", re.ASCII)


def utc(value: datetime) -> datetime:
    """The time in UTC. Raises `ValueError` for one without a zone, and for the first and the last year that Python
    knows, where a conversion to another zone may not exist."""
    if value.utcoffset() is None:
        raise ValueError("A time has a zone.")
    try:
        value = value.astimezone(UTC)
    except OverflowError:
        raise ValueError("A time is between the years 2 and 9998.") from None
    if not 1 < value.year < 9999:
        raise ValueError("A time is between the years 2 and 9998.")
    return value


def read_time(raw: object) -> datetime:
    """The time of RFC 3339 text in UTC, to the microsecond. Raises `ValueError`."""
    match = _RFC_3339.fullmatch(raw) if isinstance(raw, str) else None
    if match is None:
        raise ValueError("A time reads like 2026-11-21T08:00:00.000000Z.")
    day, clock, fraction, zone = match.groups()
    try:
        value = datetime.fromisoformat(f"{day}T{clock}.{(fraction or '0')[:6]:0<6}{zone.upper()}")
    except (ValueError, OverflowError):
        raise ValueError("There is no such time.") from None
    return utc(value)


def write_time(value: datetime) -> str:
    """RFC 3339 in UTC with six digits and `Z`."""
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


# The library keeps eight of them, and to read one takes a tenth of a millisecond. An error is not kept.
@lru_cache(maxsize=1_024)
def zone_named(name: str) -> tzinfo:
    """The IANA zone of this name. Raises `LookupError` where this machine does not know it."""
    from zoneinfo import ZoneInfo  # only for those who use time windows

    try:
        if _ZONE.fullmatch(name):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # also for names that are folders, or files that are no zones
        pass
    raise LookupError(name)


@dataclass(frozen=True, slots=True)
class TimeWindow:
    """Hours of the wall clock in a zone: from `start` (inside) to `end` (not), "HH:MM"; equal means 24 hours.

    `days` are those on which the window starts, so that Friday's night may end on Saturday. The zone is looked up when
    an engine is built, not here.
    """

    start: str
    end: str
    tz: str
    days: tuple[str, ...] = DAYS

    def __post_init__(self) -> None:
        for text in (self.start, self.end):
            if not isinstance(text, str) or not _CLOCK.fullmatch(text):
                raise ValueError(f"An hour reads like 08:30, not {shown(text)}.")
        if not isinstance(self.tz, str):
            raise TypeError("tz is str.")
        if isinstance(self.days, str) or not self.days or not set(self.days) <= set(DAYS):
            raise ValueError(f"days are some of {', '.join(DAYS)}.")
        object.__setattr__(self, "days", tuple(day for day in DAYS if day in self.days))

    @classmethod
    def from_dict(cls, raw: object) -> TimeWindow:
        """The window of a JSON object. Raises `InvalidRoute` with all issues."""
        reading = Reading(ON_WRITE)
        window = read_window(raw, "", reading)
        reading.result(None)
        assert window is not None
        return window

    def to_dict(self) -> dict[str, Any]:
        """`days` (where they are not all seven), `from`, `to`, `tz`."""
        days = {} if self.days == DAYS else {"days": list(self.days)}
        return {**days, "from": self.start, "to": self.end, "tz": self.tz}

    def minutes(self) -> tuple[int, int]:
        """`start` and `end` in minutes since midnight."""
        return _minutes(self.start), _minutes(self.end)

    def contains(self, local: datetime) -> bool:
        """Whether the window is open at this time of the wall clock in its zone."""
        start, end = self.minutes()
        now = local.hour * 60 + local.minute
        if start < end:
            return start <= now < end and DAYS[local.weekday()] in self.days
        if now >= start:
            return DAYS[local.weekday()] in self.days
        return now < end and DAYS[(local - timedelta(days=1)).weekday()] in self.days


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def read_window(raw: object, path: str, reading: Reading) -> TimeWindow | None:
    """The window at this path of something bigger; issues go to `reading`, and then the answer is None."""
    before = reading.count
    values = reading.fields(raw, path, ("days", "from", "to", "tz"), ("from", "to", "tz"))
    for key in ("from", "to"):
        if key in values and not (isinstance(values[key], str) and _CLOCK.fullmatch(values[key])):
            code = "unsupported_value" if isinstance(values[key], str) else "wrong_type"
            reading.add(below(path, key), code, f"An hour reads like 08:30, not {shown(values[key])}.")
    days = reading.texts(values["days"], below(path, "days")) if "days" in values else DAYS
    if reading.count == before and not days:
        reading.add(below(path, "days"), "no_effect", "Name at least one day, or leave days out.")
    for index, day in enumerate(days):
        if day not in DAYS:
            reading.add(f"{below(path, 'days')}[{index}]", "unsupported_value", f"A day is one of {', '.join(DAYS)}.")
    if "tz" in values:
        zone = reading.text(values["tz"], below(path, "tz"))
        if zone:
            reading.zone(zone, below(path, "tz"))
    return TimeWindow(values["from"], values["to"], zone, days) if reading.count == before else None
