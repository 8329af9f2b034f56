"""How often the 95% intervals of a replay contain what is true, on every published population.

Requests are drawn from populations of which the truth is known, and go through the product's own functions: units, draws,
exact sums, ratios, bins of latency. Three lines each: random subsets (the default), the bootstrap (the other method), and
random subsets with each row as a unit, as if requests were independent. The first is held to its band.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import sqrt
from multiprocessing import get_context
from statistics import median

from tests.paths import ROOT

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the work is split by repetitions; read when NumPy is imported

import numpy as np
from numpy.typing import NDArray

from plans.replay.sure import (
    MIN_UNITS,
    Draws,
    Method,
    hit_rate_interval,
    key_hash,
    latency_bin,
    latency_interval,
    ratio_intervals,
    splitmix64,
    unit_numbers,
)
from tests.plans.replay.sure.populations import POPULATIONS, Requests

#: Every population is repeated so often, and then on by the product's method while a figure lies near a border of its
#: band, on either side of it.
STEPS = [400, 1600, 3200]
ITERATIONS = 1000
#: Few clusters and so many days make days the units.
FEW_CLUSTERS, WEEK = 20, 7
LATENCY_UNITS = 1024
#: So many repetitions are one piece of work.
BATCH = 20

METRICS = ["percent", "usd", "hit rate", "p50", "p95", "route"]
#: Line → the method and whether each row is a unit.
LINES: dict[str, tuple[Method, bool]] = {
    "random subsets": ("random_subsets", False),
    "bootstrap": ("cluster_bootstrap", False),
    "rows": ("random_subsets", True),
}
PRODUCT = "random subsets"

Band = tuple[float, float]
BAND: Band = (0.92, 0.97)
P95_BAND: Band = (0.91, 0.98)
_ROUTE = "a route whose big clusters lose: about 88%"
_FEW_ROWS = "wider than promised where counts are small (hit rate, latency at 100 rows and fewer)"
_NO_END = "no upper end below 72 rows"
#: What the page itself names, and in which words: another lower end of the band, or none above.
NAMED: dict[tuple[str, str], tuple[Band, str]] = {
    ("ci1000", "route"): ((0.875, 0.97), _ROUTE),
    **{(name, "hit rate"): ((0.92, 1.0), _FEW_ROWS) for name in ("d30", "d50", "d100")},
    **{(name, "p50"): ((0.92, 1.0), _FEW_ROWS) for name in ("d30", "d50", "d100")},
    ("d30", "p95"): ((0.91, 1.0), _NO_END),
    ("d50", "p95"): ((0.91, 1.0), _NO_END),
    ("d100", "p95"): ((0.91, 1.0), _FEW_ROWS),
}


@dataclass(frozen=True)
class Found:
    """One interval: whether it contains the truth, its width in relation to the truth, and which ends are open."""

    covers: bool
    width: float | None
    open_low: bool
    open_high: bool


@dataclass
class Cell:
    """The intervals of one metric by one line on one population. A repetition may have none."""

    found: list[Found] = field(default_factory=list)
    none: int = 0

    @property
    def coverage(self) -> float | None:
        return sum(each.covers for each in self.found) / len(self.found) if self.found else None

    @property
    def width(self) -> float | None:
        """The median; None where half of the intervals are open."""
        widths = sorted(float("inf") if each.width is None else each.width for each in self.found)
        middle = median(widths) if widths else float("inf")
        return None if middle == float("inf") else middle

    def add(self, one: Found | None) -> None:
        if one is None:
            self.none += 1
        else:
            self.found.append(one)

    def __str__(self) -> str:
        if self.coverage is None:
            return "none"
        text = f"{100 * self.coverage:.1f} ({'open' if self.width is None else f'{self.width:.2f}'})"
        open_ends = sum(each.open_low or each.open_high for each in self.found) / len(self.found)
        if self.width is not None and open_ends > 0.005:
            text += f", {100 * open_ends:.0f}% open"
        if self.none:
            text += f", {100 * self.none / (self.none + len(self.found)):.0f}% none"
        return text


Cells = dict[str, Cell]


# --- One repetition, by the product's functions -----------------------------------------------------------------------


@cache
def _key_hashes(clusters: int) -> NDArray[np.uint64]:
    """Of as many names, in their order."""
    return np.array([key_hash(f"key {number:06}") for number in range(clusters)], dtype=np.uint64)


def units_of(requests: Requests, *, rows_alone: bool, single_rows: bool) -> tuple[NDArray[np.int64], int]:
    """The unit of each row, and how many there are."""
    rows = len(requests.cluster)
    if rows_alone or single_rows:
        return unit_numbers(splitmix64(np.arange(rows, dtype=np.uint64)))
    if requests.day is not None and requests.clusters < FEW_CLUSTERS:
        days = int(requests.day.max()) + 1
        if days >= WEEK:
            return requests.day, days
    numbers, count = unit_numbers(_key_hashes(requests.clusters))
    return numbers[requests.cluster], count


def intervals(
    requests: Requests, unit: NDArray[np.int64], units: int, seed: int, method: Method, iterations: int = ITERATIONS
) -> dict[str, Found | None]:
    """By metric; None where there are fewer than six units."""
    truth, on_route = requests.truth, requests.on_route

    def total(values: NDArray[np.int64]) -> NDArray[np.int64]:
        # In doubles, and exact: sums of nano-dollars here stay far below 2^53.
        return np.bincount(unit, values, units).astype(np.int64)

    one = np.ones(len(unit), dtype=np.int64)
    columns = np.stack(
        [
            total(requests.saved),
            total(requests.current),
            total(requests.saved * on_route),
            total(requests.current * on_route),
            total(requests.hit.astype(np.int64)),
            total(one),
        ],
        axis=1,
    )
    found: dict[str, Found | None] = dict.fromkeys(METRICS)
    if units < MIN_UNITS:
        return found
    draws = Draws(units, seed=seed, iterations=iterations, method=method)
    sums = draws.sums(columns)
    percent, route = ratio_intervals(sums[:, [0, 2]], sums[:, [1, 3]])
    found["percent"] = _judged(percent.low, percent.high, truth.percent)
    spend = int(columns[:, 1].sum())
    low, high = (None if end is None else float(Fraction(end) * spend) for end in (percent.low, percent.high))
    found["usd"] = _judged(low, high, truth.percent * spend)
    touched = int((total(on_route.astype(np.int64)) > 0).sum())
    found["route"] = _judged(route.low, route.high, truth.percent) if touched >= MIN_UNITS else None
    hit = hit_rate_interval(
        sums[:, 4], sums[:, 5], all_hits=int(columns[:, 4].sum()), all_rows=int(columns[:, 5].sum())
    )
    found["hit rate"] = _judged(hit.low, hit.high, truth.hit_rate)

    few = min(units, LATENCY_UNITS)
    bins = latency_bin(requests.latency_ms).astype(np.int64)
    width = int(bins.max()) + 1
    counts = np.bincount(unit % LATENCY_UNITS * width + bins, minlength=few * width).reshape(few, width)
    buckets = draws.first(few)
    for name, q, true in (("p50", (1, 2), truth.p50), ("p95", (95, 100), truth.p95)):
        ms = latency_interval(counts, buckets, q)
        found[name] = _judged(ms.low, ms.high, true)
    return found


def _judged(low: float | None, high: float | None, truth: float) -> Found:
    covers = (low is None or low <= truth) and (high is None or truth <= high)
    width = None if low is None or high is None else (high - low) / abs(truth)
    return Found(covers, width, low is None, high is None)


# --- Many -------------------------------------------------------------------------------------------------------------


def repetition(
    name: str, number: int, seed: int, lines: Sequence[str], iterations: int = ITERATIONS
) -> dict[str, dict[str, Found | None]]:
    """The intervals by line and metric; the same seed and number give the same requests to every line."""
    population = POPULATIONS[name]
    sequence = np.random.SeedSequence([seed, list(POPULATIONS).index(name), number])
    requests = population.draw(np.random.Generator(np.random.PCG64(sequence)))
    key = int(sequence.generate_state(1, np.uint64)[0])
    found = {}
    for line in lines:
        method, rows_alone = LINES[line]
        unit, units = units_of(requests, rows_alone=rows_alone, single_rows=population.single_rows)
        found[line] = intervals(requests, unit, units, key, method, iterations)
    return found


def lines_of(name: str) -> list[str]:
    """Rows as units are the clusters where each row is one."""
    return [line for line in LINES if line != "rows" or not POPULATIONS[name].single_rows]


def collected(
    results: Iterator[tuple[str, list[dict[str, dict[str, Found | None]]]]], cells: dict[tuple[str, str], Cells]
) -> None:
    for name, batch in results:
        for one in batch:
            for line, by_metric in one.items():
                row = cells.setdefault((name, line), {metric: Cell() for metric in METRICS})
                for metric, found in by_metric.items():
                    row[metric].add(found)


Work = tuple[str, int, int, int, list[str]]


def _work(work: Work) -> tuple[str, list[dict[str, dict[str, Found | None]]]]:
    name, start, stop, seed, lines = work
    return name, [repetition(name, number, seed, lines) for number in range(start, stop)]


def _pieces(name: str, start: int, stop: int, seed: int, lines: list[str]) -> list[Work]:
    return [(name, first, min(first + BATCH, stop), seed, lines) for first in range(start, stop, BATCH)]


# --- Against the bands ------------------------------------------------------------------------------------------------


def band_of(name: str, metric: str) -> Band:
    return NAMED[name, metric][0] if (name, metric) in NAMED else P95_BAND if metric == "p95" else BAND


def is_near_a_border(coverage: float, repetitions: int, band: Band) -> bool:
    """Within two standard errors of a coverage that is just inside."""
    return any(abs(coverage - border) <= 2 * sqrt(border * (1 - border) / repetitions) for border in band if border < 1)


def undecided(name: str, cells: Cells) -> list[str]:
    """The metrics for which more repetitions are needed."""
    return [
        metric
        for metric, cell in cells.items()
        if cell.coverage is not None and is_near_a_border(cell.coverage, len(cell.found), band_of(name, metric))
    ]


def outside(cells: dict[tuple[str, str], Cells]) -> list[str]:
    """What of the product's line is outside its band, in words."""
    told = []
    for (name, line), row in cells.items():
        for metric, cell in row.items():
            low, high = band_of(name, metric)
            if line == PRODUCT and cell.coverage is not None and not low <= cell.coverage <= high:
                error = 100 * sqrt(cell.coverage * (1 - cell.coverage) / len(cell.found))
                told.append(
                    f"OUTSIDE {name}, {metric}: {cell}, not in {100 * low:g} to {100 * high:g}%; "
                    f"standard error {error:.1f}"
                )
    return told


def table(cells: dict[tuple[str, str], Cells]) -> list[str]:
    """Markdown: coverage in % (median width in relation to the truth)."""
    lines = [f"| population | line | repetitions | {' | '.join(METRICS)} |", f"|{' --- |' * (3 + len(METRICS))}"]
    for name in POPULATIONS:
        for line in LINES:
            if (name, line) not in cells:
                continue
            row = cells[name, line]
            repetitions = max(len(cell.found) + cell.none for cell in row.values())
            shown = []
            for metric, cell in row.items():
                text = str(cell)
                if line == PRODUCT and cell.coverage is not None:
                    low, high = band_of(name, metric)
                    text += " *" if (name, metric) in NAMED else ""
                    text = text if low <= cell.coverage <= high else f"**{text}**"
                shown.append(text)
            lines.append(f"| {name} | {line} | {repetitions:,} | {' | '.join(shown)} |")
    return lines


def run(seed: int, say: Callable[[str], None]) -> bool:
    cells: dict[tuple[str, str], Cells] = {}
    # The largest first, so that no core waits for another at the end.
    names = sorted(POPULATIONS, key=lambda name: -int("".join(filter(str.isdigit, name))))
    cores = os.cpu_count() or 1
    with get_context("spawn").Pool(cores) as pool:
        first = [piece for name in names for piece in _pieces(name, 0, STEPS[0], seed, lines_of(name))]
        collected(pool.imap_unordered(_work, first), cells)
        say(f"{STEPS[0]} repetitions of {len(names)} populations, {ITERATIONS:,} iterations each")
        for done, more in pairwise(STEPS):
            near = {name: metrics for name in names if (metrics := undecided(name, cells[name, PRODUCT]))}
            say(
                f"to {more:,} by the product's method, within two standard errors of a border: "
                + "; ".join(f"{name} ({', '.join(metrics)})" for name, metrics in near.items())
            )
            rest = [piece for name in near for piece in _pieces(name, done, more, seed, [PRODUCT])]
            collected(pool.imap_unordered(_work, rest), cells)
            names = list(near)
    lines = table(cells)
    told = outside(cells)
    for line in [*lines, *told]:
        say(line)
    for why in dict.fromkeys(why for _, why in NAMED.values()):
        say(
            f"* {', '.join(f'{name} {metric}' for (name, metric), (_, reason) in NAMED.items() if reason == why)}: {why}"
        )
    report = ROOT / ".data" / "coverage.md"
    report.parent.mkdir(exist_ok=True)
    report.write_text(
        "\n".join([f"Seed {seed}; coverage in %, median width in relation to the truth.", "", *lines, ""])
    )
    return not told
