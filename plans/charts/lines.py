"""Lines over an axis: today's solid, the proposed one dashed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite
from typing import Final

from plans.charts.marks import TEXT, Canvas, Chart, drawn, length
from plans.charts.scales import Scale, Tick, known, linear, of_sizes, seconds, times

#: The first line, and the second.
_KINDS: Final = ("chart-now", "chart-then")
_HEIGHT: Final = 220
#: Percents that are written beside the axis.
_SHOWN: Final = (1, 10, 25, 50, 75, 90, 99)
_SHOWN_NARROW: Final = (1, 25, 50, 75, 99)


@dataclass(frozen=True, slots=True)
class Line:
    """One value for each place; None where there is none."""

    name: str
    values: Sequence[float | None]


def over_time(
    title: str, description: str, *, said: str, start: datetime, width: timedelta, lines: tuple[Line, Line]
) -> Chart:
    """Dollars in each of the spans that follow each other from `start` on, at the middle of their span. `said` stands above
    the axis: dollars in how long a time."""
    count = max(len(line.values) for line in lines)
    begin, step = seconds(start), width.total_seconds()
    places = [begin + (number + 0.5) * step for number in range(count)]
    # The last time that there is may be in the last span.
    last = begin + int(count * step)
    values = [value for line in lines for value in known(list(line.values))]

    def draw(canvas: Canvas) -> float:
        across = _until(start, last, 4 if canvas.is_narrow else 8)
        up = linear(min(values, default=0), max(values, default=0), 5, "$")
        return _draw(canvas, lines, places, across, up, said)

    return drawn(title, description, draw)


def _until(start: datetime, last: int, most: int) -> Scale:
    try:
        end = start + timedelta(seconds=last - seconds(start))
    except OverflowError:
        end = datetime.max.replace(tzinfo=start.tzinfo)
    return times(start, end, most)


def over_percents(title: str, description: str, *, percents: Sequence[int], lines: tuple[Line, Line]) -> Chart:
    """How many milliseconds so many percent of the requests take at most."""
    values = [value for line in lines for value in known(list(line.values))]

    def draw(canvas: Canvas) -> float:
        shown = _SHOWN_NARROW if canvas.is_narrow else _SHOWN
        ticks = tuple(Tick(float(percent), f"{percent}%") for percent in percents if percent in shown)
        across = Scale(0.0, 100.0, ticks)
        up = of_sizes(values, 5)
        said = f"Milliseconds{', in steps that multiply' if up.is_log else ''}"
        places = [float(percent) for percent in percents]
        return _draw(canvas, lines, places, across, up, said, has_dots=True)

    return drawn(title, description, draw)


def _draw(
    canvas: Canvas,
    lines: tuple[Line, Line],
    places: Sequence[float],
    across: Scale,
    up: Scale,
    said: str,
    *,
    has_dots: bool = False,
) -> float:
    """How high it became."""
    left = 12 + max(length(tick.label) for tick in up.ticks)
    # Names stand at the ends of their lines where there is room, else above.
    names = 0.0 if canvas.is_narrow else 12 + max(length(line.name) for line in lines)
    right = canvas.width - max(names, 14)
    canvas.text(0, TEXT, said, kind="chart-quiet")
    top = 2.0 * TEXT
    if canvas.is_narrow:
        x = 0.0
        for line, kind in zip(lines, _KINDS, strict=True):
            canvas.line(x, top + 4, x + 26, top + 4, kind)
            canvas.text(x + 32, top + 8, line.name)
            x += 44 + length(line.name)
        top += 2 * TEXT
    bottom = top + _HEIGHT
    for tick in up.ticks:
        y = up.at(tick.value, bottom, top)
        canvas.line(left, y, right, y, "chart-zero" if not tick.value else "chart-grid")
        canvas.text(left - 6, y + 4, tick.label, anchor="end", kind="chart-quiet")
    for tick in across.ticks:
        x = across.at(tick.value, left, right)
        canvas.line(x, bottom, x, bottom + 4, "chart-axis")
        canvas.text(_inside(x, tick.label, canvas.width), bottom + 20, tick.label, anchor="middle", kind="chart-quiet")
    canvas.line(left, bottom, right, bottom, "chart-axis")
    ends: list[float | None] = []
    for line, kind in zip(lines, _KINDS, strict=True):
        found = [
            (across.at(at, left, right), up.at(value, bottom, top))
            for at, value in zip(places, line.values, strict=False)
            if value is not None and isfinite(value)
        ]
        if len(found) > 1:
            canvas.path(found, kind)
        if has_dots or len(found) == 1:
            for x, y in found:
                canvas.dot(x, y, kind)
        ends.append(found[-1][1] if found else None)
    if not canvas.is_narrow:
        for line, kind, end in zip(lines, _KINDS, _apart(ends, top), strict=True):
            if end is not None:
                canvas.text(right + 8, end + 4, line.name, kind=f"{kind}-name")
    if all(end is None for end in ends):
        canvas.text((left + right) / 2, (top + bottom) / 2, "Nothing to show", anchor="middle", kind="chart-quiet")
    return bottom + 26


def _inside(x: float, label: str, width: int) -> float:
    half = length(label) / 2
    return min(max(x, half), width - half)


def _apart(ends: list[float | None], top: float) -> list[float | None]:
    """The same, so far from each other that two names can be read."""
    first, second = ends
    if first is None or second is None or abs(first - second) >= TEXT + 2:
        return ends
    middle, half = max((first + second) / 2, top + (TEXT + 2) / 2), (TEXT + 2) / 2
    return [middle - half, middle + half] if first <= second else [middle + half, middle - half]
