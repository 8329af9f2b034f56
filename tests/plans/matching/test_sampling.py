"""The sample of a week: each request as likely as any other, of this organisation and week alone, by way of the index."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from plans.logs.models import BUCKETS, RequestLog
from plans.logs.source import DatabaseSource
from plans.matching import sampling
from plans.matching.counting import contexts_of
from plans.matching.sampling import sample_of, texts_of, window_of
from plans.replay.columns.block import COLUMNS, context_of
from routes.engine import RequestContext
from routes.orgs.models import Organization
from tests.build import an_org

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 5, 8, 12, 30, 15, tzinfo=UTC)
END = datetime(2026, 5, 8, 12, 31, tzinfo=UTC)


def rows(org: Organization, times: list[datetime], name: str = "r", **columns: Any) -> None:
    RequestLog.objects.bulk_create(
        RequestLog(
            org=org, request_id=f"{name}{number}", ts=ts, model="m", requested_model="m", input_tokens=number,
            output_tokens=1, **columns,
        )
        for number, ts in enumerate(times)
    )  # fmt: skip


def every(seconds: float, count: int, first: datetime = NOW - timedelta(days=6)) -> list[datetime]:
    return [first + timedelta(seconds=seconds * number) for number in range(count)]


def names(sample: Any) -> list[str]:
    return [row.request_id for row in sample.rows]


def test_the_window_is_the_last_week_or_the_newest_that_has_rows(org: Organization) -> None:
    assert window_of(org.pk, NOW) is None
    assert sample_of(org.pk, NOW) is None
    rows(org, [NOW - timedelta(days=30)], "old")
    newest = NOW - timedelta(days=30)
    assert window_of(org.pk, NOW) == (
        (newest + datetime.resolution - timedelta(days=7), newest + datetime.resolution),
        False,
    )
    rows(org, [END - timedelta(days=7, microseconds=1)], "just not")
    assert window_of(org.pk, NOW) == ((END - timedelta(days=14), END - timedelta(days=7)), False)
    rows(org, [END - timedelta(days=7)], "just so")
    assert window_of(org.pk, NOW) == ((END - timedelta(days=7), END), True)
    assert names(sample_of(org.pk, NOW)) == ["just so0"]


def test_a_clock_that_is_ahead_does_not_hide_the_log(org: Organization) -> None:
    rows(org, [NOW + timedelta(days=1)])
    sample = sample_of(org.pk, NOW)
    assert sample is not None
    assert (names(sample), sample.is_last_week) == (["r0"], False)


def test_a_small_week_is_whole_and_holds_first_attempts_of_this_organisation_alone(org: Organization) -> None:
    rows(org, every(60, 30))
    rows(org, every(60, 30), "copy", kind="shadow")
    rows(org, every(60, 30), "again", kind="fallback")
    rows(org, every(60, 5), "failed", status=500)
    rows(an_org("other"), every(60, 30), "foreign")
    sample = sample_of(org.pk, NOW)
    assert sample is not None
    assert sorted(names(sample)) == sorted([f"r{n}" for n in range(30)] + [f"failed{n}" for n in range(5)])
    assert (sample.total, sample.is_whole) == (35, True)
    order = [(row.ts, row.request_id) for row in sample.rows]
    assert order == sorted(order)


def test_of_more_than_a_sample_takes_so_many_are_taken_and_the_rest_estimated(org: Organization) -> None:
    rows(org, every(1, 600))
    listed = sample_of(org.pk, NOW, most=200)
    assert listed is not None
    assert (len(listed.rows), listed.total, listed.is_whole) == (200, 600, False)
    walked = sample_of(org.pk, NOW, most=200, listed=100)
    assert walked is not None
    assert len(set(names(walked))) == 200
    assert not walked.is_whole
    assert abs(walked.total - 600) < 150


def test_a_walk_through_all_buckets_finds_every_row_once(org: Organization) -> None:
    rows(org, every(1, 300))
    sample = sample_of(org.pk, NOW, most=1000, listed=100)
    assert sample is not None
    assert sorted(names(sample)) == sorted(f"r{n}" for n in range(300))
    assert (sample.total, sample.is_whole) == (300, True)


@pytest.mark.parametrize("listed", [10, 1_000], ids=["walked", "listed"])
@pytest.mark.every_case
def test_each_request_is_as_likely_whatever_came_before_it(org: Organization, listed: int) -> None:
    """Bursts and pauses, kinds in turns, two organisations mixed: what a walk from random moments, or every n-th row, gets
    wrong. Of 90 samples each row should be in a third."""
    other = an_org("other")
    burst = every(0.001, 200, NOW - timedelta(days=5))
    for part in range(4):
        rows(org, burst[part * 50 : part * 50 + 50], f"burst{part}-")
        rows(other, burst[:37], f"other{part}-")
    rows(org, every(40_000, 10), "lonely")
    rows(org, every(3, 190), "steady")
    taken: Counter[str] = Counter()
    sizes = 0
    for day in range(90):
        sample = _of_seed(org, day, listed)
        assert sample is not None
        taken.update(names(sample))
        sizes += len(sample.rows)
    assert sizes == 90 * 130
    for name, members in {"burst": 200, "lonely": 10, "steady": 190}.items():
        share = sum(count for each, count in taken.items() if each.startswith(name)) / (90 * members)
        # Three standard deviations of a third of 90 draws of so many.
        assert abs(share - 130 / 400) < 3 * (0.22 / (90 * members)) ** 0.5 + 0.01, (name, share)
    turns = [sum(taken[f"steady{number}"] for number in range(start, 190, 2)) / (90 * 95) for start in (0, 1)]
    assert abs(turns[0] - turns[1]) < 0.03, "nor does it matter whether its number is even"


def _of_seed(org: Organization, seed: int, listed: int) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling, "Random", lambda text, made=sampling.Random: made(f"{text} {seed}"))
        return sample_of(org.pk, NOW, most=130, listed=listed)


@pytest.mark.parametrize("listed", [10, 1_000], ids=["walked", "listed"])
def test_a_sample_hardly_changes_while_the_log_grows(org: Organization, listed: int) -> None:
    rows(org, every(1, 400, NOW - timedelta(hours=1)))
    first = sample_of(org.pk, NOW, most=100, listed=listed)
    rows(org, every(1, 20, NOW + timedelta(minutes=2)), "new")
    later = sample_of(org.pk, NOW + timedelta(minutes=7), most=100, listed=listed)
    assert first is not None
    assert later is not None
    assert len(set(names(first)) & set(names(later))) > 85
    another_day = sample_of(org.pk, NOW + timedelta(days=1), most=100, listed=listed)
    assert another_day is not None
    assert len(set(names(first)) & set(names(another_day))) < 60


def test_where_few_are_first_attempts_the_walk_ends(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "_READ", 150)
    rows(org, every(1, 400), "copy", kind="shadow")
    rows(org, every(100, 4))
    sample = sample_of(org.pk, NOW, most=100, listed=10)
    assert sample is not None
    assert len(sample.rows) <= 4
    assert not sample.is_whole


def test_the_walk_goes_through_the_index(org: Organization) -> None:
    rows(org, every(1, 300))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("ANALYZE plans_requestlog")
            cursor.execute("SET LOCAL enable_seqscan = off")
    with CaptureQueriesContext(connection) as queries:
        sampling._in_buckets(org.pk, (NOW - timedelta(days=7), NOW), range(3))
    (query,) = queries.captured_queries
    with connection.cursor() as cursor:
        explain = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
        cursor.execute(explain + query["sql"])
        plan = str(cursor.fetchall())
    assert "request_log_sample" in plan
    if connection.vendor == "sqlite":
        assert "org_id=? AND <expr>=? AND ts>? AND ts<?" in plan


def test_it_takes_a_few_queries_however_long_the_log(org: Organization) -> None:
    counts = []
    for count in (200, 400, 800):
        rows(org, every(1, count), f"{count}-")
        with CaptureQueriesContext(connection) as queries:
            sample_of(org.pk, NOW, most=100, listed=50)
        counts.append(len(queries))
    assert max(counts) <= 12, counts


def test_buckets_are_filled_alike_even_by_numbers_in_turns(org: Organization) -> None:
    prime, spread = 2**31 - 1, 48_271
    for step in (1, 2, 64, 1_024, BUCKETS):
        numbers = range(5, 5 + 200_000 * step, step)
        buckets = Counter((number % prime * spread % prime) ** 2 % prime % BUCKETS for number in numbers)
        mean = 200_000 / BUCKETS
        deviation = sum((buckets[bucket] - mean) ** 2 for bucket in range(BUCKETS)) / BUCKETS / mean
        assert 0.2 < deviation < 3, (step, deviation)


def test_a_request_has_the_very_facts_that_a_replay_decides_on(org: Organization) -> None:
    facts: list[dict[str, Any]] = [
        {}, {"tag": "a", "metadata": {"k": "v"}, "has_images": True, "is_stream": False}, {"metadata": {"k": 5}},
        {"fact_input_tokens": 7, "fact_sticky_key": "s", "fact_upstream_latency_ms_p95": 900},
        {"baseline_cost_usd": "0.000000123", "metadata": {}, "has_tools": False},
        {"baseline_cost_usd": "1.5", "fact_estimated_cost_usd": "0.25", "requested_model": "other"},
        {"body": {"model": "m", "messages": [{"role": "user", "content": "hello"}]}, "has_audio": True},
    ]  # fmt: skip
    for number, columns in enumerate(facts):
        rows(org, [NOW - timedelta(minutes=number)], f"r{number}-")
        RequestLog.objects.filter(request_id=f"r{number}-0").update(**columns)
    sample = sample_of(org.pk, NOW)
    assert sample is not None
    (block,) = DatabaseSource(org.pk, sample.window).blocks(frozenset(COLUMNS))
    replayed = [context_of(block, row) for row in range(block.rows)]
    sampled = contexts_of(sample.rows, texts_of(sample))
    names = [name for name in RequestContext.__slots__ if not name.startswith("_")]
    assert len(names) > 10
    for one, other in zip(sampled, replayed, strict=True):
        assert {name: getattr(one, name) for name in names} == {name: getattr(other, name) for name in names}
    assert [row.request_id for row in sample.rows] == [f"r{number}-0" for number in reversed(range(len(facts)))]


def test_texts_are_read_of_the_sampled_requests_alone(org: Organization) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
    rows(org, every(60, 3))
    RequestLog.objects.filter(request_id="r1").update(body=body)
    sample = sample_of(org.pk, NOW)
    assert sample is not None
    assert texts_of(sample) == {"r1": "hello"}
