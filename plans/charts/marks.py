"""What charts are made of: an SVG of one width, piece by piece."""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Final, Literal

#: For a window, and for a phone, where a pixel of the drawing is one of the screen.
WIDE: Final = 720
NARROW: Final = 326
#: Of a text in pixels: its size, and about how wide a letter is.
TEXT: Final = 13
_LETTER: Final = 8.2
#: From one line of a text to its next.
LINE: Final = 15
type Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart in both widths, as SVG, and what it shows in a sentence."""

    title: str
    description: str
    wide: str
    narrow: str


class Canvas:
    """An SVG that grows. Coordinates have two decimals."""

    def __init__(self, width: int) -> None:
        self.width = width
        self._marks: list[str] = []

    @property
    def is_narrow(self) -> bool:
        return self.width < WIDE

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        ends = f'x1="{place(x1)}" y1="{place(y1)}" x2="{place(x2)}" y2="{place(y2)}"'
        self._marks.append(f'<line class="{kind}" {ends}/>')

    def bar(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """From `x` on; a negative width is one to the left."""
        left, size = (x, width) if width >= 0 else (x + width, -width)
        where = f'x="{place(left)}" y="{place(y)}" width="{place(size)}" height="{place(height)}"'
        self._marks.append(f'<rect class="{kind}" {where}/>')

    def dot(self, x: float, y: float, kind: str) -> None:
        self._marks.append(f'<circle class="{kind}" cx="{place(x)}" cy="{place(y)}" r="3.5"/>')

    def path(self, points: Iterable[tuple[float, float]], kind: str) -> None:
        """Through all of them, straight."""
        way = "L".join(f"{place(x)} {place(y)}" for x, y in points)
        self._marks.append(f'<path class="{kind}" d="M{way}"/>')

    def text(self, x: float, y: float, said: str, *, anchor: Anchor = "start", kind: str = "", room: float = 0) -> None:
        """On the line `y`. What is longer than `room` is cut, and whole where one points at it."""
        shown = said if not room else cut(said, room)
        more = "" if shown == said else f"<title>{escape(said)}</title>"
        kinds = f' class="{kind}"' if kind else ""
        self._marks.append(
            f'<text{kinds} x="{place(x)}" y="{place(y)}" text-anchor="{anchor}">{escape(shown)}{more}</text>'
        )

    def name(self, x: float, y: float, said: str, *, anchor: Anchor = "start", room: float) -> None:
        """In one line at `y`, or in two around it. What is longer than those is cut, and whole where one points at it."""
        lines = in_lines(said, room)
        if len(lines) == 1:
            self.text(x, y, said, anchor=anchor)
            return
        more = "" if not lines[1].endswith("…") else f"<title>{escape(said)}</title>"
        parts = "".join(
            f'<tspan x="{place(x)}" y="{place(y + step * LINE)}">{escape(line)}</tspan>'
            for step, line in zip((-0.5, 0.5), lines, strict=True)
        )
        self._marks.append(f'<text text-anchor="{anchor}">{parts}{more}</text>')

    def whole(self, height: float, title: str, description: str) -> str:
        """The SVG. Its ids come from what it shows, so that two on a page differ."""
        name = "chart-" + sha256(f"{self.width} {title} {description}".encode("utf-8", "replace")).hexdigest()[:12]
        kind = "chart-narrow" if self.is_narrow else "chart-wide"
        size = f'viewBox="0 0 {self.width} {place(height)}" width="{self.width}" height="{place(height)}"'
        return (
            f'<svg class="chart {kind}" {size} role="img" aria-labelledby="{name}-t {name}-d">'
            f'<title id="{name}-t">{escape(title)}</title><desc id="{name}-d">{escape(description)}</desc>'
            f"{''.join(self._marks)}</svg>"
        )


def drawn(title: str, description: str, draw: Callable[[Canvas], float]) -> Chart:
    """The chart in both widths; `draw` answers how high it became."""
    pictures = []
    for width in (WIDE, NARROW):
        canvas = Canvas(width)
        pictures.append(canvas.whole(draw(canvas), title, description))
    return Chart(title, description, *pictures)


def place(value: float) -> str:
    """A coordinate with two decimals at most."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def length(text: str) -> float:
    """About how many pixels a text takes."""
    return sum(_LETTER * (2 if unicodedata.east_asian_width(letter) in "WF" else 1) for letter in text)


def in_lines(text: str, room: float) -> list[str]:
    """A text in one line or two, broken at a space where there is one, the second one cut where it has to be."""
    text = " ".join(text.split())
    if length(text) <= room:
        return [text]
    end = _fitting(text, room)
    if text[end] != " " and " " in text[:end]:
        end = text.rindex(" ", 0, end)
    return [text[:end].rstrip(), cut(text[end:].lstrip(), room)]


def cut(text: str, room: float) -> str:
    """As much of a text as has room, and then three dots."""
    # Whoever gave it the room that it takes, and summed that, may be off by a rounding.
    return text if length(text) <= room + 0.5 else text[: _fitting(text, room - _LETTER)].rstrip() + "…"


def _fitting(text: str, room: float) -> int:
    """How many letters of a text have room, one at least."""
    end = 1
    while end < len(text) and length(text[: end + 1]) <= room:
        end += 1
    return end
