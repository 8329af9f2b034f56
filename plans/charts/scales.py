"""From values to places on an axis, and the round numbers that are written beside it."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import ceil, floor, isfinite, log10
from typing import Final, NamedTuple

_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY: Final = 86_400
#: Seconds between ticks: people count in these.
_STEPS: Final = (
    60,
    120,
    300,
    600,
    900,
    1_800,
    3_600,
    7_200,
    10_800,
    21_600,
    43_200,
    _DAY,
    2 * _DAY,
    7 * _DAY,
    14 * _DAY,
)
_SMALL: Final = Decimal(10) ** -9
_LETTERS: Final = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "k"))
#: Beyond these many times the smallest value, the axis is one of powers.
_FAR: Final = 20


class Tick(NamedTuple):
    value: float
    label: str


class Scale(NamedTuple):
    """An axis from `low` to `high`, which lie at the places `start` and `end`."""

    low: float
    high: float
    ticks: tuple[Tick, ...]
    is_log: bool = False

    def at(self, value: float, start: float, end: float) -> float:
        """The place of a value; of one beyond the ends that of the end."""
        low, high = (log10(self.low), log10(self.high)) if self.is_log else (self.low, self.high)
        number = log10(max(value, self.low)) if self.is_log else value
        share = (number / 2 - low / 2) / (
            high / 2 - low / 2
        )  # halves, because the whole may be more than a float holds
        return start + min(max(share, 0.0), 1.0) * (end - start)


def linear(low: float, high: float, most: int, unit: str = "") -> Scale:
    """From one round number to another, at most so many steps apart, zero included. `unit` stands before the numbers."""
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = 1.0
    step = _step(Decimal(high) - Decimal(low), most)
    first, last = floor(Decimal(low) / step), ceil(Decimal(high) / step)
    ticks = tuple(Tick(float(number * step), compact(number * step, unit)) for number in range(first, last + 1))
    return Scale(ticks[0].value, ticks[-1].value, ticks)


def _step(width: Decimal, most: int) -> Decimal:
    """The smallest of 1, 2, 5, 10, 20, 50, … (and tenths of them) of which so many make the width."""
    power = Decimal(10) ** (width / most).adjusted()
    return next(step for factor in (1, 2, 5, 10) if (step := factor * power) * most >= width)


def logarithmic(low: float, high: float, most: int) -> Scale:
    """Between powers of ten; of values above zero."""
    first, last = floor(log10(max(low, 1e-9))), ceil(log10(max(high, 1e-9)))
    last = max(last, first + 1)
    each = -(-(last - first) // most)
    factors = (1, 2, 5) if 3 * (last - first) <= most else (1,)
    powers = [
        factor * Decimal(10) ** power
        for power in range(first, last + 1, each)
        for factor in factors
        if power < last or factor == 1
    ]
    return Scale(10.0**first, 10.0**last, tuple(Tick(float(power), compact(power)) for power in powers), is_log=True)


def of_sizes(values: list[float], most: int) -> Scale:
    """Of values that are not negative: an axis of powers where the largest is many times the smallest."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > _FAR * min(positive):
        return logarithmic(min(positive), max(positive), most)
    return linear(0, max(values, default=0), most)


def compact(value: Decimal | float, unit: str = "") -> str:
    """In few letters: `950`, `1.2k`, `$3.4M`, `−$0.0005`."""
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    size, sign = abs(number), "−" if number < 0 else ""
    for limit, letter in _LETTERS:
        if size >= limit:
            return f"{sign}{unit}{_short(size / limit)}{letter}"
    return f"{sign}{unit}{_short(size)}"


def _short(size: Decimal) -> str:
    """With three figures that count; with an exponent beyond thousands, and below what a nano-dollar is."""
    if not size:
        return "0"
    if not _SMALL <= size < 1_000:
        return f"{size.normalize():.3g}".replace("e+", "e")
    return f"{round(size, 2 - size.adjusted()).normalize():f}"


# --- Time -------------------------------------------------------------------------------------------------------------


def times(start: datetime, end: datetime, most: int) -> Scale:
    """From one time to another, in seconds since 1970, with full hours, days, months or years beside it, in UTC."""
    low, high = seconds(start), seconds(end)
    if high <= low:
        high = low + 60
    ticks = tuple(_ticks(low, high, most))
    return Scale(float(low), float(high), ticks)


def seconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(seconds=1)


def _ticks(low: int, high: int, most: int) -> Iterator[Tick]:
    width = high - low
    step = next((step for step in _STEPS if width <= step * most), None)
    if step is not None:
        for at in range(-(-low // step) * step, high + 1, step):
            yield Tick(float(at), _clock(at) if at % _DAY else _day(at))
        return
    first, last = (_EPOCH + timedelta(seconds=edge) for edge in (low, high))
    months = (last.year - first.year) * 12 + last.month - first.month
    every = next((every for every in (1, 2, 3, 6, 12) if months <= every * most), None)
    if every is None:
        every = 12 * int(_step(Decimal(months) / 12, most).to_integral_value())
    begin = first.year * 12 + first.month - 1
    for number in range(-(-begin // every) * every, last.year * 12 + last.month, every):
        year, month = divmod(number, 12)
        if not 1 <= year <= 9999:
            continue
        at = seconds(datetime(year, month + 1, 1, tzinfo=UTC))
        if low <= at <= high:
            yield Tick(float(at), str(year) if every % 12 == 0 else f"{_MONTHS[month]} {year}")


def _clock(at: int) -> str:
    return f"{at % _DAY // 3600:02}:{at % 3600 // 60:02}"


def _day(at: int) -> str:
    day = _EPOCH + timedelta(seconds=at)
    return f"{day.day} {_MONTHS[day.month - 1]}"


def known(values: list[float | None]) -> list[float]:
    """Those that are numbers."""
    return [value for value in values if value is not None and isfinite(value)]
