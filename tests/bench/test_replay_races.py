"""What the figures of the replay rest on: the same rows everywhere, of which nothing is known yet, and right answers."""

import pytest

from plans.replay import MemorySource, replay
from tests.bench import replay as replay_race
from tests.bench import replay_data
from tests.bench.replay_data import check, fill, in_memory, log_blocks, question, sample_of
from tests.bench.resampling import HIT_RATE, P95, SHARE, SUM, Found, disagreements, ours
from tests.bench.workload import shared_module
from tests.paths import shared

# --- The replay -------------------------------------------------------------------------------------------------------


def test_a_longer_log_begins_with_the_rows_of_a_shorter_one():
    shared("bench")
    few, many = (list(log_blocks(rows, block_rows=100)) for rows in (200, 450))
    names = ("ts", "request_id", "model", "tag", "cluster_key", "cost_nano", "status", "has_audio")
    assert [[block.digest(name) for name in names] for block in few] == [
        [block.digest(name) for name in names] for block in many[:2]
    ]
    assert [block.rows for block in many] == [100, 100, 100, 100, 50]
    assert many[4].text("request_id", 49) == "0000000000000449"


@pytest.mark.parametrize("targets_known", [False, True])
def test_the_replay_that_is_raced_counts_and_prices_as_the_plain_loop_does(targets_known):
    shared("bench")
    sample = sample_of(log_blocks(2_000, block_rows=300), 7)
    ids = [block.texts("request_id")[row] for block in sample for row in range(block.rows)]
    assert list(map(int, ids)) == list(range(0, 2_000, 7))
    assert [block.first for block in sample] == [0, 43, 86, 129, 172, 215, 258]
    assert check(sample, question(iterations=40, targets_known=targets_known)) == 286


@pytest.mark.parametrize("figure", ["matched", "projected_cost_usd"])
def test_a_replay_that_differs_from_the_plain_loop_is_not_timed(monkeypatch, figure):
    shared("bench")

    def wrong(source, asked):
        result = replay(source, asked)
        result["per_route_breakdown"][-1][figure] += 1
        return result

    monkeypatch.setattr(replay_data, "replay", wrong)
    with pytest.raises(AssertionError, match="plain loop"):
        check(list(log_blocks(500)), question(iterations=40))


def test_every_replay_reads_rows_of_which_nothing_is_known_yet():
    shared("bench")
    blocks = list(log_blocks(300, block_rows=100))
    first, second = in_memory(blocks), in_memory(blocks)
    for block in first.blocks(frozenset()):
        block.digest("model")
    for block in (*blocks, *second.blocks(frozenset())):
        assert not {"hashes", "order"} & vars(block.coded("model").vocabulary).keys()
    vocabularies = [block.coded("model").vocabulary for block in second.blocks(frozenset())]
    assert len(set(map(id, vocabularies))) == 1  # shared among blocks, as before


def test_memory_and_files_give_one_answer_and_another_answer_is_no_race(monkeypatch, tmp_path):
    shared("bench")
    monkeypatch.setattr(replay_race, "RUNS", 1)
    pytest.importorskip("pyarrow")
    measured = replay_race._MEASURED
    one = replay_race.Inside(2_000, question(iterations=40), tmp_path / "log")
    assert measured["written"](one) == 2_000
    found = [measured[place](one) for place in ("memory", "promised", "parquet")]
    replay_race._must_be_one_answer(found)
    run = found[0].runs[0]
    assert run.seconds == pytest.approx(run.survey + run.projection + run.intervals)
    assert min(run) > 0
    other = measured["memory"](one._replace(rows=2_001))
    with pytest.raises(AssertionError, match="2 answers"):
        replay_race._must_be_one_answer([*found, other])


@pytest.mark.django_db
def test_tables_hold_the_rows_that_memory_has():
    shared("bench")
    from plans.logs.source import DatabaseSource
    from tests.build import an_org

    org, asked = an_org(), question(iterations=40)
    # The last row of a block is one of a whole second, which SQLite writes in another way.
    fill(org, log_blocks(1_500, block_rows=401))
    stored = replay(DatabaseSource(org.pk, replay_data.WINDOW, block_rows=401), asked)
    assert stored == replay(in_memory(log_blocks(1_500, block_rows=401)), asked)
    assert stored != replay(MemorySource.of_blocks(list(log_blocks(1_499, block_rows=401))), asked)


# --- Resampling -------------------------------------------------------------------------------------------------------


def test_our_intervals_are_those_of_a_naive_resampler():
    shared("bench")
    prototype = shared_module("bench_bootstrap")
    rows = prototype.data(5_000)
    ends = iter(prototype.naive(*rows, 2_000))
    mine = ours(rows)
    theirs = {name: Found(found.value, next(ends), next(ends)) for name, found in mine.items()}
    assert disagreements(mine, theirs) == []
    current, projected, latencies, is_hit = rows
    assert mine[SUM].value == (current - projected).sum()
    assert mine[HIT_RATE].value == is_hit.mean()
    assert mine[P95].value == pytest.approx(sorted(latencies)[4749], rel=0.004)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"value": 0.2501}, "share saved is"),
        ({"low": 0.24 - 0.004}, "begins"),
        ({"low": 0.24 + 0.004}, "begins"),
        ({"high": 0.26 + 0.004}, "ends"),
        ({"high": 0.26 - 0.004}, "ends"),
    ],
)
def test_a_figure_or_an_end_that_is_elsewhere_is_said(change, said):
    right = {SHARE: Found(0.25, 0.24, 0.26)}
    near = {SHARE: Found(0.25, 0.241, 0.259)}
    assert disagreements(right, right) == disagreements(near, right) == []
    (wrong,) = disagreements({SHARE: right[SHARE]._replace(**change)}, right)
    assert said in wrong


def test_the_high_end_of_p95_is_further_out_and_no_other():
    theirs = Found(2_000.0, 1_900.0, 2_100.0)
    mine = theirs._replace(high=2_160.0)
    assert disagreements({P95: mine}, {P95: theirs}) == []
    assert "ends" in disagreements({SUM: mine}, {SUM: theirs})[0]
