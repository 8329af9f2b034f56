"""Bars side by side: each model before and after, each route's saving with its interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from plans.charts.marks import LINE, TEXT, Canvas, Chart, drawn, in_lines, length
from plans.charts.scales import Scale, known, linear

#: How wide names are at the left of a window; on a phone they stand above their bars.
_NAMES: Final = 190
_BAR: Final = 11
_GAP: Final = 12


@dataclass(frozen=True, slots=True)
class Pair:
    """A name with two counts, which are written beside their bars."""

    name: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class Saving:
    """What a route saves in dollars, and the ends of the interval; None where it is open, `interval` None where there is
    none. `said` is written beside it."""

    name: str
    saved: float
    interval: tuple[float | None, float | None] | None
    said: str


def pairs(title: str, description: str, *, names: tuple[str, str], rows: Sequence[Pair]) -> Chart:
    """Two bars each; `names` say what the first and the second ones are."""

    def draw(canvas: Canvas) -> float:
        most = max((count for row in rows for count in (row.before, row.after)), default=0)
        scale = linear(0, float(most), 3 if canvas.is_narrow else 6)
        right = canvas.width - 10 - max((length(f"{row.after:,}{row.before:,}") / 1.6 for row in rows), default=0)

        def bars(row: Pair, y: float, left: float) -> None:
            for count, kind, top in ((row.before, "chart-bar-now", y), (row.after, "chart-bar-then", y + _BAR + 3)):
                end = scale.at(float(count), left, right)
                canvas.bar(left, top, end - left, _BAR, kind)
                canvas.text(end + 5, top + _BAR - 1, f"{count:,}")

        x, y = 0.0, 4.0
        for name, kind in zip(names, ("chart-bar-now", "chart-bar-then"), strict=True):
            if x and x + 28 + length(name) > canvas.width:
                x, y = 0.0, y + LINE
            canvas.bar(x, y, 22, _BAR, kind)
            canvas.text(x + 28, y + _BAR - 1, name)
            x += 44 + length(name)
        told = [(row.name, row) for row in rows]
        return _rows(canvas, told, bars, scale, right, 2 * _BAR + 3, "Requests", y + 26, canvas.width)

    return drawn(title, description, draw)


def savings(title: str, description: str, *, rows: Sequence[Saving]) -> Chart:
    """A bar from zero to what is saved, and a line over it from one end of the interval to the other; an arrow where it is
    open."""

    def draw(canvas: Canvas) -> float:
        ends = [end for row in rows for end in known([row.saved, *(row.interval or ())])]
        scale = linear(min(ends, default=0), max(ends, default=0), 3 if canvas.is_narrow else 5, "$")
        said = 10 + max((length(row.said) for row in rows), default=0)
        right = canvas.width - (16 if canvas.is_narrow else max(min(said, 220), 16))
        room = canvas.width - min(said, canvas.width / 2)

        def bars(row: Saving, y: float, left: float) -> None:
            zero = scale.at(0.0, left, right)
            canvas.bar(zero, y, scale.at(row.saved, left, right) - zero, _BAR + 3, "chart-bar-now")
            if row.interval is not None:
                _whisker(canvas, row.interval, y + (_BAR + 3) / 2, scale, left, right)
            if canvas.is_narrow:
                canvas.text(canvas.width, y - 8, row.said, anchor="end", kind="chart-quiet", room=canvas.width / 2)
            else:
                canvas.text(right + 10, y + _BAR, row.said, room=canvas.width - right - 10)

        told = [(row.name, row) for row in rows]
        return _rows(canvas, told, bars, scale, right, _BAR + 3, "US dollars saved; negative is dearer", 8, room)

    return drawn(title, description, draw)


def _whisker(
    canvas: Canvas, interval: tuple[float | None, float | None], y: float, scale: Scale, left: float, right: float
) -> None:
    low, high = interval
    first = left if low is None else scale.at(low, left, right)
    last = right if high is None else scale.at(high, left, right)
    canvas.line(first, y, last, y, "chart-interval")
    for end, x, inward in ((low, first, 5), (high, last, -5)):
        if end is None:
            canvas.path([(x + inward, y - 4), (x, y), (x + inward, y + 4)], "chart-interval")
        else:
            canvas.line(x, y - 5, x, y + 5, "chart-interval")


def _rows[Row](
    canvas: Canvas,
    rows: Sequence[tuple[str, Row]],
    bars: Callable[[Row, float, float], None],
    scale: Scale,
    right: float,
    height: float,
    said: str,
    top: float,
    room: float,
) -> float:
    """The axis, and each row with its name; how high it became. `height` is that of one row without its name, `room` how
    wide a name may be that stands above its bars."""
    left = 8.0 if canvas.is_narrow else _NAMES + 10.0
    room = room if canvas.is_narrow else float(_NAMES)
    # A name in two lines takes one line more than it else would, of which a row beside it has a part already.
    extra = [float(LINE * (len(in_lines(name, room)) - 1)) for name, _ in rows]
    above = TEXT + 6 if canvas.is_narrow else 0
    if not canvas.is_narrow:
        extra = [max(0.0, TEXT + more - height) if more else 0.0 for more in extra]
    bottom = top + sum(above + height + _GAP + more for more in extra)
    for tick in scale.ticks if rows else ():
        x = scale.at(tick.value, left, right)
        canvas.line(x, top, x, bottom, "chart-zero" if not tick.value else "chart-grid")
        half = length(tick.label) / 2
        canvas.text(
            min(max(x, half), canvas.width - half), bottom + 17, tick.label, anchor="middle", kind="chart-quiet"
        )
    y = top + _GAP / 2
    for (name, row), more in zip(rows, extra, strict=True):
        if canvas.is_narrow:
            canvas.name(0, y + TEXT - 2 + more / 2, name, room=room)
            bars(row, y + above + more, left)
        else:
            canvas.name(_NAMES, y + (height + more) / 2 + 4, name, anchor="end", room=room)
            bars(row, y + more / 2, left)
        y += above + height + _GAP + more
    if not rows:
        bottom += 40
        canvas.text(canvas.width / 2, top + 24, "Nothing to show", anchor="middle", kind="chart-quiet")
    canvas.text(left, bottom + 36, said, kind="chart-quiet")
    return bottom + 42
