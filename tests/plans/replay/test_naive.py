"""The replay against a second, deliberately naive implementation: every figure, to the nano-dollar."""

from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plans.replay import LogRow
from routes.engine.prices import Price, PriceTable
from tests.plans.replay import naive
from tests.plans.replay.worlds import PRICE_LISTS, RULES, WINDOW, caveats, logs, routes, run

#: Few keys, so that days are the units; and many, so that subsets are drawn.
KEYS: list[list[str | None]] = [[None], ["a", "b", "c"], [None, *(f"key {n}" for n in range(60))]]


def nano(usd: int | float) -> int:
    """A JSON number of USD, back as nano-dollars: it may not have more than nine decimals."""
    exact = Decimal(repr(usd)).scaleb(9)
    assert exact == int(exact)
    return int(exact)


def nano_of(costs: Any) -> int:
    total = sum(costs, Fraction(0)) * 10**9
    assert total.denominator == 1
    return total.numerator


@pytest.mark.parametrize("keys", KEYS, ids=["no keys", "three keys", "many keys"])
@settings(max_examples=60, deadline=None)
@given(data=st.data(), now=RULES, then=RULES, prices=PRICE_LISTS, seed=st.integers(0, 2**63 - 1))
def test_a_second_implementation_agrees_on_every_figure(
    keys: list[str | None],
    data: st.DataObject,
    now: list[dict[str, Any]],
    then: list[dict[str, Any]],
    prices: list[Price],
    seed: int,
) -> None:
    logged: list[LogRow] = data.draw(logs(keys))
    current, proposed = routes(*now), routes(*then)
    result = run(logged, proposed, current, prices=PriceTable(prices), seed=seed, iterations=120, window=WINDOW)
    rows, left_out = naive.replayed(logged, current, proposed, prices)

    assert result["sample_size"] == len(rows)
    assert result["excluded"] == left_out
    totals = result["aggregates"]
    spend, saved = nano_of(row.current for row in rows), nano_of(row.current - row.projected for row in rows)
    assert nano(totals["total_baseline_cost_usd"]) == nano_of(row.baseline for row in rows)
    assert nano(totals["total_current_cost_usd"]) == spend
    assert nano(totals["total_projected_cost_usd"]) == nano_of(row.projected for row in rows)
    assert nano(totals["projected_savings_usd"]) == saved
    assert totals["projected_savings_pct"] == (float(Fraction(100 * saved, spend)) if spend else None)
    assert totals["requests_rerouted"] == sum(row.rerouted for row in rows)
    assert totals["requests_unchanged"] == sum(not row.rerouted for row in rows)

    for code in ("unknown_price", "over_cost_ceiling"):
        models = [model for row in rows for why, model in row.kept if why == code]
        named = caveats(result).get(code, {"models": {}})["models"]
        assert named == {model: models.count(model) for model in models}
    refused = {name: sum(row.refused[side] for row in rows) for side, name in enumerate(("current", "proposed"))}
    assert caveats(result).get("refused", {"current": 0, "proposed": 0}) == refused
    copies = [row.copied_to for row in rows if row.copied_to is not None]
    assert caveats(result).get("shadow_copies", {"models": {}})["models"] == {
        model: copies.count(model) for model in copies
    }
    assert totals["requests_unprice_able"] == sum(any(why == "unknown_price" for why, _ in row.kept) for row in rows)

    for part in result["per_route_breakdown"]:
        mine = [row for row in rows if row.route == part["route_id"]]
        assert part["matched"] == len(mine)
        assert nano(part["baseline_cost_usd"]) == nano_of(row.baseline for row in mine)
        assert nano(part["current_cost_usd"]) == nano_of(row.current for row in mine)
        assert nano(part["projected_cost_usd"]) == nano_of(row.projected for row in mine)
        assert nano(part["savings_usd"]) == nano_of(row.current - row.projected for row in mine)
    assert sum(part["matched"] for part in result["per_route_breakdown"]) == len(rows)

    assert_the_same_certainty(result, rows, seed)


def assert_the_same_certainty(result: dict[str, Any], rows: list[naive.Row], seed: int) -> None:
    pct, usd = (result["confidence_intervals"][name] for name in ("savings_pct_95", "savings_usd_95"))
    certainty = result["probability_of_loss"], result["verdict"]
    if all(row.current == row.projected for row in rows):
        assert (pct, usd, certainty) == ([0, 0], [0, 0], (0, "undecided"))
        return
    kind, units = naive.units(rows, WINDOW)
    found = caveats(result)
    assert ("units_are_days" in found) == (kind == "days")
    assert ("too_few_units" in found) == (len(units) < 6)
    if len(units) < 6:
        assert (pct, usd, certainty) == (None, None, (None, "undecided"))
        return
    spend = sum((row.current for row in rows), Fraction(0))
    by_spend = [sum((row.current for row in unit), Fraction(0)) for unit in units]
    saved = [sum((row.current - row.projected for row in unit), Fraction(0)) for unit in units]
    *ends, losses = naive.interval(list(zip(saved, by_spend, strict=True)), seed, 120)
    assert pct == [None if end is None else float(end * 100) for end in ends]
    assert usd == [None if end is None else float(Decimal(round(end * spend * 10**9)).scaleb(-9)) for end in ends]
    low, high = ends
    verdict = "saves" if low is not None and low > 0 else "costs" if high is not None and high < 0 else "undecided"
    assert certainty == (float(losses), verdict)
    assert ("open_interval" in found) == (None in ends)
    effective = min(naive.effective(by_spend), naive.effective([len(unit) for unit in units]))
    assert ("few_effective_units" in found) == (effective < 20)


# --- What the second implementation stands on -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "block"),
    # The known answers of Random123 (D. E. Shaw Research), tests/kat_vectors, lines "philox4x64 10".
    [
        (0, 0, (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)),
        (
            2**64 - 1,
            2**64 - 1,
            (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
        ),
    ],
)
def test_philox_written_out_is_the_published_one(counter: int, key: int, block: tuple[int, ...]) -> None:
    assert naive.philox4x64((counter,) * 4, (key,) * 2) == block


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_raw_output_of_numpy_is_philox_counted_from_one(seed: int, r: int) -> None:
    words = np.random.Philox(key=np.array([seed, r], dtype=np.uint64)).random_raw(12).tolist()
    assert words == [word for block in (1, 2, 3) for word in naive.philox4x64((block, 0, 0, 0), (seed, r))]
