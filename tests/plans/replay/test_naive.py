"""The replay against a second, deliberately naive one: every figure of its answer, to the nano-dollar; and every decision
against the engine's. The campaign `replay` compares a hundred times as much."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.plans.replay import naive
from tests.plans.replay.agreement import Compared, compare_decisions, compare_worlds
from tests.routes.engine.worlds import SHAPES

PARTS, WORLDS, DECISIONS = 2, 20, 4_000


@cache
def worlds(part: int) -> Compared:
    return compare_worlds(f"suite {part}", WORLDS)


@cache
def decisions(part: int) -> Compared:
    return compare_decisions(f"suite {part}", DECISIONS)


@pytest.mark.parametrize("part", range(PARTS))
def test_a_second_implementation_agrees_on_every_figure(part: int) -> None:
    told = worlds(part)
    assert not told.faults, "\n\n".join(told.faults)
    assert told.number == WORLDS


@pytest.mark.parametrize("part", range(2))
def test_every_row_is_decided_as_the_engine_decides_it_and_may_go_where_it_might(part: int) -> None:
    told = decisions(part)
    assert not told.faults, "\n\n".join(told.faults)
    assert told.number >= DECISIONS


def test_the_worlds_reach_every_caveat_verdict_and_kind_of_interval() -> None:
    seen = set().union(*(worlds(part).seen for part in range(PARTS)))
    assert seen >= {
        "unknown_price", "over_cost_ceiling", "no_latency_history", "retiring_model", "shadow_copies", "refused",
        "no_baseline", "unpriced", "served_from_cache", "no_latency", "facts_from_bill", "unknown_facts",
        "synthetic_columns", "current_differs_from_paid", "served_as_asked", "no_tokens", "paid_differs_from_price",
        "who_decided", "cache_disabled", "provider_guessed",
        "alike_by_size", "window_not_covered", "few_effective_units", "too_few_units", "units_are_days", "open_interval",
        "saves", "costs", "undecided", "clusters", "days", "random_subsets", "cluster_bootstrap",
        "savings with an interval", "a loss in some draws", "a route with an interval", "cache hits", "near hits",
        "poisoning", "another p50", "p95 up to", "bounds apart", "money beyond 64 bits",
    }  # fmt: skip


def test_the_decisions_reach_every_shape_reason_and_several_words_of_routes() -> None:
    seen = set(decisions(0).seen) | set(decisions(1).seen)
    assert seen >= {*SHAPES, "trees"}
    assert seen >= {"matched", "default", "no_match", "paused", "control", "refused"}
    assert seen >= {f"{words} times 64 routes" for words in (1, 2, 4, 5)}


def test_a_figure_that_differs_is_found_and_its_world_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """One nano-dollar too much, of the rows of one model."""
    from plans.replay import pricing

    def dear(*given: object) -> object:
        costs = honest(*given)
        return costs + 1

    honest = pricing._products
    monkeypatch.setattr(pricing, "_products", dear)
    told = compare_worlds("suite 0", WORLDS, most_faults=1)
    assert len(told.faults) == 1
    assert told.faults[0].count("LogRow(") == 1


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
