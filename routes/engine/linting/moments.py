"""When a request may still come, after times and hours of the week were required of it.

While no clock is put forward or back, the windows of all zones are sets of the 10,080 minutes of a week in UTC, and
such sets are compared exactly. Clocks are followed for thirty years: in these, every date of a change falls on every
day of the week. Requests of earlier times and later centuries, under other laws, are left out; those of an active time
that lies there wholly are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import pairwise

from routes.engine.compiled.rows import Literal
from routes.engine.linting.steps import Doubt, Steps
from routes.engine.times import DAYS, TimeWindow, zone_named

#: What a context can hold.
FIRST, END = datetime(2, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
#: While clocks are followed, unless an active time says otherwise.
SINCE, YEARS = datetime(2020, 1, 6, tzinfo=UTC), timedelta(days=30 * 365)
#: The example of a request that comes at any time.
USUAL = datetime(2026, 1, 5, tzinfo=UTC)

_MINUTE, _DAY, _WEEK = timedelta(minutes=1), timedelta(days=1), timedelta(days=7)
_DAY_MINUTES, _WEEK_MINUTES = 1440, 10_080
_WHOLE_WEEK = (1 << _WEEK_MINUTES) - 1
_MONDAY = datetime(2, 1, 7, tzinfo=UTC)

type Window = tuple[TimeWindow, bool]


@dataclass(frozen=True, slots=True)
class Moments:
    """From `low` (inside) to `high` (not), inside every window of `windows` that has True, outside every other one."""

    low: datetime = FIRST
    high: datetime = END
    windows: frozenset[Window] = frozenset()

    def met(self, literal: Literal, steps: Steps) -> Moments | None:
        low, high, windows = self.low, self.high, self.windows
        if literal.kind == "window":
            windows |= {(literal.value, literal.want)}
        else:
            comparison, bound = literal.value
            low, high = (max(low, bound), high) if comparison == ">=" else (low, min(high, bound))
        if (low, high, windows) == (self.low, self.high, self.windows):
            return self
        if low >= high:
            return None
        left = Moments(low, high, windows)
        if not windows:
            return left
        steps.spend(1 + len(windows))
        try:
            return None if _first(left) is None else left
        except LookupError:  # a zone that is not known here: nothing is known of its hours
            return left

    def example(self, steps: Steps) -> datetime:
        if not self.windows:
            if self.low > FIRST:
                return self.low
            return USUAL if self.high > USUAL else max(FIRST, self.high - _DAY)
        steps.spend(1 + len(self.windows))
        try:
            moment = _first(self)
        except LookupError:
            raise Doubt("budget") from None
        assert moment is not None  # or nothing would be left
        return moment


@lru_cache(maxsize=4096)
def _first(moments: Moments) -> datetime | None:
    """The first moment, or None. Raises `LookupError` for a zone that is not known here."""
    low, high = _followed(moments.low, moments.high)
    zones = tuple(sorted({window.tz for window, _ in moments.windows}))
    wanted = [_WHOLE_WEEK] * len(zones)
    for window, want in moments.windows:
        minutes = _minutes_of(window)
        wanted[zones.index(window.tz)] &= minutes if want else ~minutes
    in_utc: dict[tuple[int, ...], int] = {}
    for start, end, offsets in _steady(zones, low, high):
        minutes = in_utc.get(offsets, -1)
        if minutes < 0:
            minutes = _WHOLE_WEEK
            for local, offset in zip(wanted, offsets, strict=True):
                minutes &= _rotated(local, offset)
            in_utc[offsets] = minutes
        if minutes and (found := _first_of(minutes, start, end)) is not None:
            return found
    return None


def _followed(low: datetime, high: datetime) -> tuple[datetime, datetime]:
    """The part of this time in which clocks are followed."""
    if high <= SINCE:
        return (low if high - low <= YEARS else high - YEARS), high
    low = max(low, SINCE)
    return low, (high if high - low <= YEARS else low + YEARS)


def _first_of(minutes: int, start: datetime, end: datetime) -> datetime | None:
    """The first moment, from the one to before the other, that falls into these minutes of the week in UTC."""
    at = int((start - _MONDAY) % _WEEK // _MINUTE)
    turned = _rotated(minutes, at)
    ahead = (turned & -turned).bit_length() - 1
    found = max(start, start.replace(second=0, microsecond=0) + ahead * _MINUTE)
    return found if found < end else None


def _rotated(minutes: int, by: int) -> int:
    """The minutes of the week, each so many minutes earlier."""
    by %= _WEEK_MINUTES
    return (minutes >> by | minutes << (_WEEK_MINUTES - by)) & _WHOLE_WEEK


@lru_cache(maxsize=1024)
def _minutes_of(window: TimeWindow) -> int:
    """The minutes of the week on its own clock in which the window is open, as bits from Monday 00:00."""
    start, end = window.minutes()
    run = (1 << ((end - start) % _DAY_MINUTES or _DAY_MINUTES)) - 1
    minutes = 0
    for day in window.days:
        minutes |= run << (DAYS.index(day) * _DAY_MINUTES + start)
    return (minutes | minutes >> _WEEK_MINUTES) & _WHOLE_WEEK  # Sunday's night ends on Monday


def _steady(
    zones: tuple[str, ...], low: datetime, high: datetime
) -> Iterator[tuple[datetime, datetime, tuple[int, ...]]]:
    """The time in pieces in which no clock of these zones is changed: (start, end, minutes ahead of UTC by zone)."""
    every = [_changes(zone, low, high) for zone in zones]
    bounds = sorted({low, high, *(moment for changes in every for moment, _ in changes)})
    offsets = [changes[0][1] for changes in every]
    by_moment = [dict(changes) for changes in every]
    for start, end in pairwise(bounds):
        offsets = [changes.get(start, offset) for changes, offset in zip(by_moment, offsets, strict=True)]
        yield start, end, tuple(offsets)


@lru_cache(maxsize=256)
def _changes(zone: str, low: datetime, high: datetime) -> list[tuple[datetime, int]]:
    """(moment, minutes ahead of UTC from then on): first `low`, then every change of the zone's clock before `high`."""
    clock = zone_named(zone)

    def ahead(moment: datetime) -> int:
        offset = moment.astimezone(clock).utcoffset()
        assert offset is not None
        return offset // _MINUTE

    found = [(low, ahead(low))]
    before = low
    while before < high:
        after = min(before + _DAY, high)
        if ahead(after) != found[-1][1]:
            left, right = before, after
            while right - left > timedelta(microseconds=1):
                middle = left + (right - left) // 2
                if ahead(middle) == found[-1][1]:
                    left = middle
                else:
                    right = middle
            if right < high:
                found.append((right, ahead(right)))
        before = after
    return found
