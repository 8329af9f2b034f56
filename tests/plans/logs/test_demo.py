"""Demo traffic: shaped like the measured quantiles, the same for a seed, and marked as made up."""

import csv
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from plans.logs import demo
from plans.logs.formats import UnpricedModel
from plans.logs.models import RequestLog
from routes.catalog.services import install_shipped_prices
from routes.engine.prices import Price, PriceTable
from routes.orgs.models import Organization
from tests.build import BY
from tests.paths import shared

END = datetime(2026, 11, 21, 12, 30, tzinfo=UTC)
PRICES = PriceTable(
    Price(provider=f"of-{model}", model=model, input_nano_per_million=2 * 10**9, output_nano_per_million=8 * 10**9)
    for model in demo.MODELS
)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return list(demo.demo_rows(prices=PRICES, end=END))


def quantile(values: list[int], level: float) -> int:
    ordered = sorted(values)
    return ordered[round(level * (len(ordered) - 1) / 100)]


@pytest.mark.parametrize(("file", "shape"), [("conv", demo.CHAT), ("code", demo.CODE)])
def test_the_table_holds_the_quantiles_of_the_real_trace(file: str, shape: demo.Shape) -> None:
    with shared(f"data/azure-llm-2023-{file}.csv").open(newline="") as lines:
        trace = list(csv.DictReader(lines))
    for column, table in (("ContextTokens", shape.context_tokens), ("GeneratedTokens", shape.generated_tokens)):
        ordered = sorted(int(row[column]) for row in trace)
        assert table == tuple(ordered[(2 * level * (len(ordered) - 1) + 100) // 200] for level in demo.LEVELS)
    first, last = (datetime.fromisoformat(trace[n]["TIMESTAMP"]) for n in (0, -1))
    assert (shape.requests, shape.seconds) == (len(trace), (last - first).total_seconds())


@pytest.mark.parametrize(("is_code", "shape"), [(False, demo.CHAT), (True, demo.CODE)])
def test_the_tokens_follow_the_table(rows: list[dict[str, Any]], is_code: bool, shape: demo.Shape) -> None:
    some = [row for row in rows if (row["tag"] == "code") is is_code and row["status"] == 200]
    assert len(some) > 3_000
    for column, table in (("input_tokens", shape.context_tokens), ("output_tokens", shape.generated_tokens)):
        values = [row[column] for row in some]
        # An empirical quantile of n values lies between those of the levels 4.5 standard errors to either side.
        for level, expected in zip(demo.LEVELS, table, strict=True):
            error = 4.5 * (level * (100 - level) / len(values)) ** 0.5
            low, high = quantile(values, max(level - error, 0)), quantile(values, min(level + error, 100))
            if 0 < level < 100:
                assert low <= expected <= high, (column, level)
        assert table[0] <= min(values)
        assert max(values) <= table[-1]


def test_a_seed_gives_the_same_rows_and_another_seed_others(rows: list[dict[str, Any]]) -> None:
    assert list(demo.demo_rows(prices=PRICES, end=END)) == rows
    assert [row["ts"] for row in demo.demo_rows(prices=PRICES, end=END, seed=2)] != [row["ts"] for row in rows]


def test_the_rows_are_of_the_window_in_order_with_days_and_nights(rows: list[dict[str, Any]]) -> None:
    times = [row["ts"] for row in rows]
    assert times == sorted(times)
    assert END - timedelta(days=14) <= times[0] <= times[-1] < END
    hours = Counter(ts.hour for ts in times)
    assert hours[10] > 5 * hours[2]
    days = Counter(ts.weekday() for ts in times)
    assert max(days[5], days[6]) < min(days[day] for day in range(5))


def test_the_mix_is_uneven_as_stated(rows: list[dict[str, Any]]) -> None:
    models = Counter(row["requested_model"] for row in rows)
    assert set(models) == set(demo.MODELS)
    assert models.most_common(1)[0][0] == "gpt-4o"
    assert {row["tag"] for row in rows} == {"support", "summarize", "code", None}
    users = Counter(row["cluster_key"] for row in rows)
    assert len(users) == demo.USERS
    assert max(users.values()) > 20 * min(users.values())
    failed = [row for row in rows if row["status"] != 200]
    assert {row["status"] for row in failed} == {429, 500}
    assert 0.005 < len(failed) / len(rows) < 0.02
    assert all(row["cost_usd"] == 0 == row["output_tokens"] for row in failed)
    assert 0.02 < sum(row["has_images"] for row in rows) / len(rows) < 0.05


def test_a_row_costs_its_tokens_and_everything_about_it_is_marked(rows: list[dict[str, Any]]) -> None:
    for row in rows[:500]:
        assert set(row["synthetic"]) == set(row) - {"synthetic"}
        assert row["provider"] == f"of-{row['model']}"
        if row["status"] == 200:
            assert row["cost_usd"] * 10**6 == 2 * row["input_tokens"] + 8 * row["output_tokens"]


def test_without_a_price_there_is_no_demo() -> None:
    with pytest.raises(UnpricedModel):
        list(demo.demo_rows(prices=PriceTable([]), end=END))


@pytest.mark.django_db
def test_the_demo_is_installed_and_again_changes_nothing(org: Organization) -> None:
    install_shipped_prices(by=BY)
    report = demo.install(org, end=END, by=BY, rows=1_500)
    assert (report.imported, report.refused_total) == (1_500, 0)
    assert RequestLog.objects.of(org).filter(cost_usd=None).count() == 0
    assert demo.install(org, end=END, by=BY, rows=1_500).repeated == 1_500
