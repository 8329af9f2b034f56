"""What a race tells: lines for whoever watches, and rows of the table of goals.

A row is a line `ROW<tab>what<tab>goal<tab>figure<tab>ratio<tab>held`, so that a race may be any program. A goal that is
missed is a row like any other; a race fails only where it could not measure, or where answers differ.
"""

from collections.abc import Iterable
from typing import NamedTuple, Self

_START = "ROW\t"


class Row(NamedTuple):
    what: str
    goal: str
    figure: str
    #: Beside what it is measured against, in the same run.
    ratio: str = "-"
    #: `yes`, `no`, or why there is no figure.
    held: str = "-"

    @classmethod
    def of_line(cls, line: str) -> Self | None:
        """The row of a line, None for any other line. Raises `ValueError` for a row of another number of fields."""
        if not line.startswith(_START):
            return None
        fields = line.rstrip("\n").split("\t")[1:]
        if len(fields) != len(cls._fields):
            raise ValueError(f"A row has {len(cls._fields)} fields: {line!r}")
        return cls(*fields)

    def line(self) -> str:
        return _START + "\t".join(self)


def say(text: str) -> None:
    """A line for whoever watches."""
    print(f"  {text}", flush=True)


def tell(row: Row) -> None:
    """A row of the table."""
    print(row.line(), flush=True)


def not_run(what: str, goal: str, reason: str) -> None:
    """A row of the table for what cannot be measured here."""
    say(f"{what}: not run, {reason}")
    tell(Row(what, goal, "-", held=f"not run: {reason}"))


def held(is_held: bool) -> str:
    return "yes" if is_held else "no"


def microseconds(seconds: float) -> str:
    """With three digits that tell something."""
    us = seconds * 1e6
    return f"{us:,.0f} us" if us >= 100 else f"{us:.1f} us" if us >= 10 else f"{us:.2f} us"


def times(ratio: float) -> str:
    """How many times as much: with two digits that tell something."""
    return f"{ratio:,.0f}x" if ratio >= 20 else f"{ratio:.1f}x" if ratio >= 2 else f"{ratio:.2g}x"


def markdown(rows: Iterable[Row]) -> str:
    """The table of all rows."""
    head = [("what", "goal", "figure", "ratio", "held?"), ("---",) * 5]
    return "\n".join("| " + " | ".join(cell.replace("|", r"\|") for cell in row) + " |" for row in [*head, *rows])
