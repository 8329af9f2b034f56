"""What charts are drawn of: cost over time, requests by model, how long requests take. Bounded, whatever the log holds."""

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns import Block
from plans.replay.columns.block import microseconds_of, time_of
from plans.replay.figures import quantile, usd
from plans.replay.sums.counts import Counts
from plans.replay.survey import Survey

#: At most so many points over time, and models beside "other".
MOST_SPANS: Final = 200
MOST_MODELS: Final = 20
#: At which latencies are told.
PERCENTS: Final = (1, 5, 10, 25, 50, 75, 90, 95, 99)
_MINUTE: Final = 60 * 10**6
_DAY: Final = 1440 * _MINUTE
#: Minutes: each divides a day, so that spans begin at full hours or parts of one that people count in.
_WIDTHS: Final = (1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 480, 720)


class Spans(NamedTuple):
    """The time of a log, cut into spans of one width: whole minutes, hours or days in UTC. In microseconds since 1970."""

    start: int
    width: int
    number: int

    @classmethod
    def of(cls, window: tuple[datetime, datetime] | None, survey: Survey) -> "Spans":
        """The narrowest, at most `MOST_SPANS`, that hold the window and all rows that count."""
        edges = [] if window is None else [microseconds_of(edge) for edge in window]
        if survey.counted is not None:
            first, last = survey.counted
            edges += [first, last + 1]
        if not edges:
            return cls(0, _MINUTE, 0)
        start, end = min(edges), max(edges)
        for minutes in _WIDTHS:
            width = minutes * _MINUTE
            begins = start // width * width
            if end - begins <= MOST_SPANS * width:
                return cls(begins, width, -(-(end - begins) // width))
        begins = start // _DAY * _DAY
        width = -(-(end - begins) // (MOST_SPANS * _DAY)) * _DAY
        return cls(begins, width, -(-(end - begins) // width))

    def parts(self, block: Block) -> Iterator[tuple[str, int, int]]:
        """The number of each span that the block has rows in, as text, with its first row and the one after its last.
        Times rise within a block."""
        ts = block.numbers("ts")
        first, last = ((int(ts[place]) - self.start) // self.width for place in (0, -1))
        edges = self.start + self.width * np.arange(first + 1, last + 1)
        ends = [0, *np.searchsorted(ts, edges).tolist(), len(ts)]
        for number, (begin, end) in enumerate(pairwise(ends), first):
            if end > begin:
                yield str(number), begin, end


def series_of(spans: Spans, counts: Counts, current: NDArray[np.int64], projected: NDArray[np.int64]) -> dict[str, Any]:
    """`series` of a result. `current` and `projected`: rows by bin of latency, before and after."""
    return {
        "cost_over_time": _over_time(spans, counts),
        "by_model": _by_model(counts),
        "latency_ms": {
            "percents": list(PERCENTS),
            "current": [quantile(current, (percent, 100)) for percent in PERCENTS],
            "projected": [quantile(projected, (percent, 100)) for percent in PERCENTS],
        },
    }


def _over_time(spans: Spans, counts: Counts) -> dict[str, Any]:
    numbers = [str(number) for number in range(spans.number)]
    start = time_of(spans.start).isoformat().removesuffix("+00:00") + "Z" if spans.number else None
    return {
        "start": start,
        "seconds": spans.width // 10**6,
        "requests": [counts.rows_at[number] for number in numbers],
        "current_cost_usd": [usd(counts.current_at[number]) for number in numbers],
        "projected_cost_usd": [usd(counts.projected_at[number]) for number in numbers],
    }


def _by_model(counts: Counts) -> dict[str, Any]:
    """The models with the most cost, those of all three sides together; of equal ones those with the most requests."""
    rows = [counts.served, counts.served_now, counts.served_then]
    costs = [counts.served_paid, counts.current_by_model, counts.projected_by_model]
    ranked = sorted(
        {model for each in rows for model in each},
        key=lambda model: (-sum(each[model] for each in costs), -sum(each[model] for each in rows), model),
    )
    top, rest = ranked[:MOST_MODELS], ranked[MOST_MODELS:]

    def figures(models: list[str]) -> dict[str, Any]:
        sides = [f"requests_{side}" for side in ("served", "current", "projected")]
        money = [f"{side}_cost_usd" for side in ("paid", "current", "projected")]
        return {
            **{name: sum(each[model] for model in models) for name, each in zip(sides, rows, strict=True)},
            **{name: usd(sum(each[model] for model in models)) for name, each in zip(money, costs, strict=True)},
        }

    return {
        "models": [{"model": model, **figures([model])} for model in top],
        "other": {"models": len(rest), **figures(rest)} if rest else None,
        "refused": {"requests_current": counts.refused_now, "requests_projected": counts.refused_then},
    }
