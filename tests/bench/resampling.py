"""95% intervals of five figures by resampling, beside `scipy.stats.bootstrap` and a naive resampler in Rust.

Equal are the figures (what is saved, that as a share of what is spent, hit rate, p50 and p95 of latency), the rows, which
are independent of each other, and the number of iterations. Not equal is what is drawn: the peers draw as many rows as
there are, with replacement; we draw units, of which a coin keeps half, and here a unit is one of 16,384 sums of rows by
the hash of their place (for latencies one of 1,024 counts by bin). On 20,000 rows it is first seen that figures are equal,
and ends as near as chance lets them be.

Time is what the processor spends. The peers are too slow to run whole: few iterations are timed, of scipy also on fewer
rows, and taken times as many as there would be; with 10,000,000 rows they are slower than that, because less of them
fits into caches.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns.block import BLOCK_ROWS, Block
from plans.replay.figures import quantile
from plans.replay.sums.units import CURRENT, HITS, ROWS, SAVED, UnitSums
from plans.replay.sure import Draws, Interval, hit_rate_interval, latency_bin, latency_interval, ratio_interval
from tests.bench.environment import python_of, run_inside
from tests.bench.report import Row, held, not_run, say, tell, times
from tests.bench.rust import program_of, run_program
from tests.bench.timing import race
from tests.bench.workload import NotHereError, shared_module

SIZE, QUICK_SIZE = 10_000_000, 1_000_000
ITERATIONS = 2_000
#: Where all is compared, scipy runs whole.
CHECKED_ROWS = 20_000
PINNED = ["scipy==1.17.1", "numpy==2.5.5"]
SCIPY, RUST = "scipy.stats.bootstrap", "a naive resampler in Rust"
GOALS = {SCIPY: 2_000, RUST: 500}
#: Of scipy: rows, and iterations in which so many rows are drawn; it takes so many at once.
SCIPY_ROWS, SCIPY_DRAWN, SCIPY_AT_ONCE = 1_000_000, 20_000_000, 2_000_000
RUST_ITERATIONS, RUST_QUICK_ITERATIONS = 8, 4

#: Of each row: nano-dollars spent, and what they would be; milliseconds; whether a cache answers.
type Rows = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32], NDArray[np.bool_]]


class Found(NamedTuple):
    """A figure of all rows, and the ends of its interval."""

    value: float
    low: float
    high: float


SUM, SHARE, HIT_RATE, P50, P95 = "saved", "share saved", "hit rate", "p50", "p95"


# --- Ours -----------------------------------------------------------------------------------------------------------


def ours(rows: Rows, iterations: int = ITERATIONS) -> dict[str, Found]:
    """As a replay does it: sums by unit, then draws of the units."""
    current, projected, latencies, is_hit = rows
    units = UnitSums(routes=1)
    for start in range(0, len(current), BLOCK_ROWS):
        part = slice(start, start + BLOCK_ROWS)
        block = Block(start, len(current[part]), {})  # without keys each row is a cluster of its own
        places = units.of_clusters(block)
        units.add(np.zeros(block.rows, np.int64), places, current[part], projected[part], is_hit[part])
        units.add_latencies(places, latency_bin(latencies[part]).astype(np.intp))
    totals = units.in_order([])
    draws = Draws(totals.sums.shape[1], seed=1, iterations=iterations)
    sums = draws.sums(totals.sums.T)
    saved, spent, hits, count = (int(totals.sums[column].sum()) for column in (SAVED, CURRENT, HITS, ROWS))
    # The peers' resamples all have as many rows as there are; ours have not, so what is saved is taken by row.
    by_row = ratio_interval(sums[:, SAVED], sums[:, ROWS])
    share = ratio_interval(sums[:, SAVED], sums[:, CURRENT])
    rate = hit_rate_interval(sums[:, HITS], sums[:, ROWS], all_hits=hits, all_rows=count)
    found = {
        SUM: _found(saved, Interval(*(None if end is None else end * count for end in (by_row.low, by_row.high)))),
        SHARE: _found(saved / spent, share),
        HIT_RATE: _found(hits / count, rate),
    }
    by_bin, of_latencies = totals.latencies.sum(axis=0), draws.first(len(totals.latencies))
    for name, q in ((P50, (1, 2)), (P95, (19, 20))):
        ends = latency_interval(totals.latencies, of_latencies, q)
        found[name] = _found(quantile(by_bin, q), ends)
    return found


def _found(value: float | None, ends: Any) -> Found:
    if value is None or ends.low is None or ends.high is None:
        raise AssertionError("So many rows have a figure, and both ends")
    return Found(value, ends.low, ends.high)


# --- Do they agree? -------------------------------------------------------------------------------------------------


def disagreements(ours: Mapping[str, Found], theirs: Mapping[str, Found]) -> list[str]:
    """What differs by more than it may, in words. Ends of a quantile of 2,000 draws vary by 6% of a standard error, and
    ours of 1,024 units by 5% more; half a standard error is allowed. Latencies are rounded outward to bins less than 0.8%
    wide, and the high end of p95 is that of 99.5% on purpose."""
    wrong = []
    for name, (value, low, high) in theirs.items():
        mine = ours[name]
        error = (high - low) / (2 * 1.96)
        is_latency = name in (P50, P95)
        bin_width = 0.008 * value if is_latency else 0.0
        wider = (2.576 - 1.96) * error if name == P95 else 0.0
        if abs(mine.value - value) > (bin_width + 1 if is_latency else 1e-9 * abs(value)):
            wrong.append(f"{name} is {mine.value:.6g}, theirs {value:.6g}")
        if not -0.5 * error - bin_width <= mine.low - low <= 0.5 * error:
            wrong.append(f"the interval of {name} begins at {mine.low:.6g}, theirs at {low:.6g}")
        if not -0.5 * error <= mine.high - high <= 0.5 * error + bin_width + wider:
            wrong.append(f"the interval of {name} ends at {mine.high:.6g}, theirs at {high:.6g}")
    return wrong


# --- scipy, in an environment of its own ------------------------------------------------------------------------------


class Timed(NamedTuple):
    """Of scipy: seconds of all figures for so many iterations of so many rows."""

    seconds: float
    iterations: int
    rows: int


def _scipy(python: str, rows: int, iterations: int) -> tuple[dict[str, Found], Timed]:
    """What scipy answers. Raises `subprocess.CalledProcessError` where it fails."""
    run = run_inside(
        python, "tests.bench.resampling", "--inside", str(rows), str(iterations), stdout=subprocess.PIPE
    )  # fmt: skip
    run.check_returncode()
    found, timed = json.loads(run.stdout)
    return {name: Found(*ends) for name, ends in found.items()}, Timed(*timed)


def inside(rows: int, iterations: int) -> int:
    from scipy.stats import bootstrap

    current, projected, latencies, is_hit = shared_module("bench_bootstrap").data(rows)
    saved, spent = (current - projected).astype(np.float64), current.astype(np.float64)
    milliseconds, hits = latencies.astype(np.float64), is_hit.astype(np.float64)
    asked: dict[str, tuple[tuple[Any, ...], Callable[..., Any]]] = {
        SUM: ((saved,), lambda x, axis: x.sum(axis=axis)),
        SHARE: ((saved, spent), lambda x, y, axis: x.sum(axis=axis) / y.sum(axis=axis)),
        HIT_RATE: ((hits,), lambda x, axis: x.mean(axis=axis)),
        P50: ((milliseconds,), lambda x, axis: np.quantile(x, 0.5, axis=axis)),
        P95: ((milliseconds,), lambda x, axis: np.quantile(x, 0.95, axis=axis)),
    }
    found: dict[str, Found] = {}
    seconds = 0.0
    for name, (data, statistic) in asked.items():
        start = time.process_time()
        answer = bootstrap(
            data, statistic, n_resamples=iterations, method="percentile", vectorized=True, paired=len(data) > 1,
            batch=max(1, SCIPY_AT_ONCE // rows), rng=np.random.default_rng(1),
        )  # fmt: skip
        seconds += time.process_time() - start
        ends = answer.confidence_interval
        found[name] = Found(float(statistic(*data, axis=-1)), float(ends.low), float(ends.high))
    print(json.dumps([found, Timed(seconds, iterations, rows)]))
    return 0


# --- Rust -----------------------------------------------------------------------------------------------------------


def _rust_seconds(rows: int, iterations: int) -> float:
    """For one iteration with all five figures, on one thread."""
    told, share = run_program(program_of("boot_naive"), str(rows), str(iterations), "1")
    _, milliseconds, low, high = map(float, told.split())
    # It makes rows of its own, of which a quarter of the cost is saved: 1 - E(0.4 + 0.7 u).
    error = sqrt(2 * 0.7**2 / 12) / sqrt(rows)
    if max(abs(end - 0.25) for end in (low, high)) > 8 * error:
        raise AssertionError(f"The resampler in Rust finds {low} to {high} saved, not 0.25")
    return milliseconds * 1e-3 * share / iterations


# --- All ------------------------------------------------------------------------------------------------------------


def main() -> int:
    quick = "--quick" in sys.argv
    size = QUICK_SIZE if quick else SIZE
    try:
        data: Callable[[int], Rows] = shared_module("bench_bootstrap").data
    except NotHereError as error:
        for name, goal in GOALS.items():
            not_run(_what(size, name), f">= {goal:,}x", str(error))
        return 0
    say("equal: figures, rows, iterations; not equal: they draw rows, with replacement, we sums of rows, by coins")
    python = _checked_scipy(data)
    rows = data(size)
    seconds = race({"ours": lambda: ours(rows)}, quick=quick)["ours"]
    start = time.perf_counter()
    ours(rows)
    say(f"ours: {seconds:.2f} s of the processor, {time.perf_counter() - start:.2f} s of the day")
    _tell_scipy(size, seconds, python, quick=quick)
    _tell_rust(size, seconds, quick=quick)
    return 0


def _checked_scipy(data: Callable[[int], Rows]) -> str | NotHereError:
    """The Python that has scipy, with which ours agrees; or why there is none."""
    try:
        python = python_of("resampling", PINNED)
        theirs, _ = _scipy(python, CHECKED_ROWS, ITERATIONS)
    except NotHereError as error:
        return error
    if wrong := disagreements(ours(data(CHECKED_ROWS)), theirs):
        raise AssertionError("; ".join(wrong))
    return python


def _tell_scipy(size: int, seconds: float, python: str | NotHereError, *, quick: bool) -> None:
    against = f"{PINNED[0].replace('==', ' ')}, {SCIPY}"
    if isinstance(python, NotHereError):
        not_run(_what(size, against), f">= {GOALS[SCIPY]:,}x", str(python))
        return
    rows = min(size, SCIPY_ROWS) // (10 if quick else 1)
    _, timed = _scipy(python, rows, SCIPY_DRAWN // rows)
    whole = timed.seconds * ITERATIONS / timed.iterations * size / timed.rows
    scaled = f"of {timed.iterations:,} iterations of {timed.rows:,} rows"
    _tell(size, against, GOALS[SCIPY], seconds, whole, scaled)


def _tell_rust(size: int, seconds: float, *, quick: bool) -> None:
    iterations = RUST_QUICK_ITERATIONS if quick else RUST_ITERATIONS
    try:
        whole = _rust_seconds(size, iterations) * ITERATIONS
    except NotHereError as error:
        not_run(_what(size, RUST), f">= {GOALS[RUST]:,}x", str(error))
        return
    _tell(size, RUST, GOALS[RUST], seconds, whole, f"of {iterations} iterations")


def _what(size: int, against: str) -> str:
    return f"five figures with intervals, {ITERATIONS:,} iterations, {size:,} rows, against {against}"


def _tell(size: int, against: str, goal: int, seconds: float, whole: float, scaled: str) -> None:
    what, ratio = _what(size, against), whole / seconds
    figure = f"{seconds:.2f} s, theirs {whole:,.0f} s, scaled from those {scaled}"
    say(f"{what}: {figure}")
    is_goal = size == SIZE  # of fewer rows, our draws of units are most of the time
    wanted, kept = (f">= {goal:,}x", held(ratio >= goal)) if is_goal else ("-", "-")
    tell(Row(what, wanted, figure, f"{times(ratio)} faster", kept))


if __name__ == "__main__":
    sys.exit(inside(*map(int, sys.argv[2:])) if "--inside" in sys.argv else main())
