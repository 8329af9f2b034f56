"""A small share of `make campaign PART=coverage`: the campaign's own functions, fewer repetitions and iterations."""

import numpy as np
import pytest

from plans.replay.sure import MAX_UNITS
from tests.campaign import coverage
from tests.campaign.coverage import LINES, METRICS, PRODUCT, Cell, Found
from tests.plans.replay.sure.populations import MIX_MEAN, POPULATIONS, Requests, share_of_rows_above

SEED = 20261121


def measured(name: str, repetitions: int, lines: list[str]) -> dict[tuple[str, str], coverage.Cells]:
    cells: dict[tuple[str, str], coverage.Cells] = {}
    batch = [coverage.repetition(name, number, SEED, lines, iterations=400) for number in range(repetitions)]
    coverage.collected(iter([(name, batch)]), cells)
    return cells


def coverage_of(cell: Cell) -> float:
    assert cell.coverage is not None
    return cell.coverage


@pytest.mark.parametrize(
    ("name", "repetitions"),
    [("c100", 60), ("c300", 25), ("e12", 20), ("f7", 25), ("d100", 80)],
)
def test_intervals_of_units_contain_the_truth_and_those_of_rows_would_not(name: str, repetitions: int) -> None:
    """95% is promised. Three standard errors below the band are allowed here, so that only a real fault fails."""
    lines = [line for line in coverage.lines_of(name) if line != "bootstrap"]
    cells = measured(name, repetitions, lines)
    for metric in METRICS:
        cell = cells[name, PRODUCT][metric]
        assert len(cell.found) >= 0.9 * repetitions
        low, _ = coverage.band_of(name, metric)
        assert coverage_of(cell) >= low - 3 * (low * (1 - low) / repetitions) ** 0.5, metric
    if "rows" in lines:
        assert coverage_of(cells[name, "rows"]["percent"]) < 0.75
        assert coverage_of(cells[name, "rows"]["p95"]) < 0.8


def test_the_bootstrap_of_a_few_unequal_clusters_covers_less_than_random_subsets() -> None:
    cells = measured("e12", 30, [PRODUCT, "bootstrap"])
    narrow, wide = (cells["e12", line]["percent"] for line in ("bootstrap", PRODUCT))
    assert coverage_of(narrow) < coverage_of(wide)
    assert (narrow.width or 0) < (wide.width or 0)


def test_intervals_that_promise_too_much_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The campaign fails where the product's intervals are too narrow: here, of rows."""
    monkeypatch.setitem(coverage.LINES, PRODUCT, LINES["rows"])
    cells = measured("c100", 15, [PRODUCT])
    told = coverage.outside(cells)
    assert any(line.startswith("OUTSIDE c100, percent: ") for line in told)
    assert coverage.undecided("c100", cells["c100", PRODUCT]) == []
    assert any("**" in line for line in coverage.table(cells))


def test_days_are_units_where_clusters_are_few_and_buckets_where_they_are_many() -> None:
    chance = np.random.Generator(np.random.PCG64(1))
    days = POPULATIONS["f7"].draw(chance)
    assert coverage.units_of(days, rows_alone=False, single_rows=False)[1] == 7
    keys = POPULATIONS["e12"].draw(chance)
    assert coverage.units_of(keys, rows_alone=False, single_rows=False)[1] == 12
    assert coverage.units_of(keys, rows_alone=True, single_rows=False)[1] == 12_000
    rows = POPULATIONS["b20000"].draw(chance)
    assert MAX_UNITS / 2 < coverage.units_of(rows, rows_alone=False, single_rows=True)[1] < MAX_UNITS


@pytest.mark.parametrize("name", ["a2000", "b2000", "c1000", "ci1000", "e12", "f28"])
def test_what_is_called_true_is_what_many_requests_say(name: str) -> None:
    """The gap between truth and 30 windows, over the spread of that gap from window to window."""
    chance = np.random.Generator(np.random.PCG64(8))

    def gaps(requests: Requests) -> list[float]:
        truth, ms, rows = requests.truth, requests.latency_ms, len(requests.hit)
        return [
            float((requests.saved - truth.percent * requests.current).sum()),
            float((requests.hit - truth.hit_rate).sum()),
            float((ms < truth.p50).sum() + (ms == truth.p50).sum() / 2 - 0.5 * rows),
            float((ms < truth.p95).sum() + (ms == truth.p95).sum() / 2 - 0.95 * rows),
        ]

    found = np.array([gaps(POPULATIONS[name].draw(chance)) for _ in range(30)])
    assert (np.abs(found.mean(axis=0)) < 4 * found.std(axis=0) / 30**0.5).all()


def test_sizes_inform_where_they_should() -> None:
    """Clusters above 50 rows hold 54% of the rows, mostly lose and mostly hit."""
    assert 0.54 < share_of_rows_above(50) < 0.55
    truths = {
        name: POPULATIONS[name].draw(np.random.Generator(np.random.PCG64(1))).truth for name in ("c1000", "ci1000")
    }
    assert truths["c1000"].percent == MIX_MEAN
    assert truths["ci1000"].percent < 0.25
    assert truths["ci1000"].hit_rate > 0.6


def test_a_cell_tells_coverage_median_width_and_what_is_missing() -> None:
    cell = Cell()
    assert str(cell) == "none"
    for found in (
        Found(True, 0.5, False, False),
        Found(False, 0.25, False, False),
        Found(True, None, False, True),
        None,
    ):
        cell.add(found)
    assert str(cell) == "66.7 (0.50), 33% open, 25% none"
    cell.add(Found(True, None, False, True))
    cell.add(Found(True, None, False, True))
    assert str(cell).startswith("80.0 (open)")


@pytest.mark.parametrize(
    ("coverage_found", "is_near"), [(0.893, True), (0.947, True), (0.95, False), (0.954, True), (0.99, False)]
)
def test_what_lies_near_a_border_is_repeated(coverage_found: float, is_near: bool) -> None:
    """Standard errors of 400: 1.4 points at 92%, 0.9 at 97%."""
    assert coverage.is_near_a_border(coverage_found, 400, coverage.BAND) == is_near
