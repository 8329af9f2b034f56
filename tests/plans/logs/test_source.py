"""One log, three sources: SQLite, PostgreSQL and Parquet give the same blocks, and plans the same bytes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from plans.logs.models import RequestLog
from plans.logs.source import DatabaseSource, source_of
from plans.replay import LogRow, MemorySource, Question, replay
from plans.replay.columns import Cursor
from plans.replay.columns.block import COLUMNS
from plans.replay.columns.dataset import WRITTEN, write_dataset
from plans.replay.columns.parquet import ParquetSource, UnreadableLog
from routes.engine.canonical import canonical_bytes
from routes.orgs.models import Organization
from tests.build import an_org, projected, usual_prices
from tests.plans.replay.worlds import PRICES, routes, to

pytestmark = pytest.mark.django_db
START = datetime(2026, 5, 1, tzinfo=UTC)
WINDOW = (START, START + timedelta(days=3))
pyarrow = pytest.importorskip("pyarrow")


def rows() -> list[LogRow]:
    """Every column with every kind of value, unknown ones too, and ids whose order depends on how they are compared."""
    chance = np.random.Generator(np.random.PCG64(7))
    found = []
    for n in range(300):
        some = int(chance.integers(0, 1_000_000))
        ts = START + timedelta(seconds=n // 3, microseconds=0 if n % 2 else some)
        found.append(
            LogRow(
                request_id=f"{'aBé-_Z'[n % 6]}{n}",
                ts=ts,
                kind=["primary", "fallback", "shadow"][n % 17 % 3],
                provider=["openai", "", "azure"][n % 3],
                model=["big", "small", "größer"][n % 3],
                requested_model=["big", "small"][n % 2],
                input_tokens=some % 5_000,
                output_tokens=some % 77,
                cached_tokens=some % 11,
                cost_nano=None if n % 19 == 0 else some * 1_000_003 % 10**15,
                baseline_cost_nano=None if n % 5 == 0 else some,
                cached=n % 7 == 0,
                latency_ms=None if n % 13 == 0 else some % 60_000,
                status=[200, 200, 429][n % 3],
                tag=[None, "a", "größe"][n % 3],
                metadata=[None, {}, {"team": "a", "b": "c"}, {"n": 1.5}][n % 4],
                cluster_key=None if n % 4 == 0 else f"user {n % 23}",
                request_digest="" if n % 3 else f"sha256:{n % 9}",
                finish_reason=["stop", "length"][n % 2],
                has_images=[None, True, False][n % 3],
                has_audio=n % 2 == 0,
                is_stream=None,
                embedding=None if n % 2 else np.array([some % 7, 1.5, -2], "<f4").tobytes(),
                fact_input_tokens=None if n % 6 == 0 else some % 4_999,
                fact_estimated_cost_nano=None if n % 8 == 0 else some * 7,
                fact_upstream_latency_ms_p95=None if n % 9 == 0 else some % 900,
                fact_sticky_key=None if n % 3 == 0 else f"key {n % 31}",
                synthetic=() if n % 2 else ("model", "tag"),
            )
        )
    return found


def stored(org: Organization, logged: list[LogRow]) -> None:
    def usd(nano: int | None) -> Decimal | None:
        return None if nano is None else Decimal(nano).scaleb(-9)

    RequestLog.objects.bulk_create(
        RequestLog(
            org=org,
            **{
                name: getattr(row, name)
                for name in LogRow.__dataclass_fields__
                if not name.endswith("_nano")
                and name not in ("prompt", "finish_reason", "fact_sticky_key", "synthetic")
            },
            cost_usd=usd(row.cost_nano),
            baseline_cost_usd=usd(row.baseline_cost_nano),
            fact_estimated_cost_usd=usd(row.fact_estimated_cost_nano),
            finish_reason=row.finish_reason or "",
            fact_sticky_key=row.fact_sticky_key or "",
            synthetic=list(row.synthetic),
            body=None if row.prompt is None else {"messages": [{"role": "user", "content": row.prompt}]},
        )
        for row in logged
    )


@pytest.fixture
def logged(org: Organization) -> list[LogRow]:
    found = rows()
    stored(org, found[::-1])
    return found


def digests(source: Any, columns: tuple[str, ...] = WRITTEN) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for block in source.blocks(frozenset(columns)):
        for column in columns:
            found.setdefault(column, []).append(block.digest(column).hex())
    return found


@pytest.mark.parametrize("block_rows", [7, 64, 1_000])
def test_the_database_gives_the_blocks_that_the_rows_make(
    org: Organization, logged: list[LogRow], block_rows: int
) -> None:
    stored_rows = DatabaseSource(org.pk, WINDOW, block_rows=block_rows)
    assert stored_rows.count() == 300
    assert digests(stored_rows, COLUMNS) == digests(MemorySource(logged, block_rows=block_rows), COLUMNS)


@pytest.mark.parametrize("block_rows", [7, 64, 1_000])
def test_a_dataset_gives_the_blocks_of_the_database(
    org: Organization, logged: list[LogRow], block_rows: int, tmp_path: Path
) -> None:
    database = DatabaseSource(org.pk, WINDOW, block_rows=100)
    assert write_dataset(database, tmp_path / "log") == 300
    files = ParquetSource(tmp_path / "log", WINDOW, block_rows=block_rows)
    assert files.count() == 300
    assert digests(files) == digests(DatabaseSource(org.pk, WINDOW, block_rows=block_rows))


def test_reading_begins_anywhere_and_ends_with_the_window(
    org: Organization, logged: list[LogRow], tmp_path: Path
) -> None:
    database = DatabaseSource(org.pk, WINDOW, block_rows=50)
    write_dataset(database, tmp_path / "log")
    window = (START + timedelta(seconds=11), START + timedelta(seconds=61, microseconds=500_000))
    inside = [row for row in rows() if window[0] <= row.ts < window[1]]
    assert 100 < len(inside) < 200
    expected = digests(MemorySource(inside, block_rows=50))
    for source in (
        DatabaseSource(org.pk, window, block_rows=50),
        ParquetSource(tmp_path / "log", window, block_rows=50),
    ):
        assert source.count() == len(inside)
        assert digests(source) == expected
        blocks = list(source.blocks(frozenset(WRITTEN)))
        last = int(blocks[0].numbers("ts")[-1]), blocks[0].texts("request_id")[49]
        (second, *_) = source.blocks(frozenset(WRITTEN), Cursor(50, last))
        assert (second.first, second.digest("ts")) == (50, blocks[1].digest("ts"))


def test_a_plan_has_the_same_bytes_from_every_source(org: Organization, logged: list[LogRow], tmp_path: Path) -> None:
    """SQLite and PostgreSQL run this test each; what both must give is written here."""
    proposed = routes(
        {"id": "0190a000-0000-7000-8000-000000000001", **to("small", tag_equals="a", input_tokens_lt=4_000)}
    )
    question = Question(
        current=routes(), proposed=proposed, prices=PRICES, iterations=400, window=WINDOW, l1_ttl_seconds=30,
        l2_ttl_seconds=60, l2_priced_threshold=0.9,
    )  # fmt: skip
    database = DatabaseSource(org.pk, WINDOW)
    write_dataset(database, tmp_path / "log")
    answers = {
        canonical_bytes(replay(source, question))
        for source in (database, ParquetSource(tmp_path / "log", WINDOW), MemorySource(logged))
    }
    assert len(answers) == 1
    assert sha256(answers.pop()).hexdigest() == ANSWER


#: Of the canonical bytes. Changes with what a replay answers, and then with `VERSION` of the replay.
ANSWER = "f6f6f53d0726c413e8b1697f743b3e2227b954ae7ba8779b4ffb5bdb9c88efa3"


def test_money_and_times_arrive_to_the_last_digit(org: Organization) -> None:
    exact = LogRow(
        request_id="r", ts=START + timedelta(microseconds=1), model="m", requested_model="m", input_tokens=1,
        output_tokens=1, cost_nano=1, baseline_cost_nano=123_456_123_456_789, fact_estimated_cost_nano=10**15 - 1,
    )  # fmt: skip
    stored(org, [exact])
    (block,) = DatabaseSource(org.pk, WINDOW).blocks(frozenset(COLUMNS))
    names = ("cost_nano", "baseline_cost_nano", "fact_estimated_cost_nano")
    assert [int(block.numbers(name)[0]) for name in names] == [1, 123_456_123_456_789, 10**15 - 1]
    assert int(block.numbers("ts")[0]) % 1_000_000 == 1


@pytest.mark.parametrize("fraction", [0, 1, 499_999, 999_499, 999_500, 999_999])
def test_a_time_is_read_as_it_was_stored_and_no_row_is_skipped(org: Organization, fraction: int) -> None:
    """SQLite's own functions round to milliseconds; a block that ended with such a row lost those after it."""
    at = START + timedelta(microseconds=fraction)
    bare = {"model": "m", "requested_model": "m", "input_tokens": 1, "output_tokens": 1}
    logged = [LogRow(request_id=f"r{n}", ts=at + timedelta(milliseconds=n // 2), **bare) for n in range(8)]
    stored(org, logged)
    source = DatabaseSource(org.pk, WINDOW, block_rows=3)
    assert digests(source, ("ts", "request_id")) == digests(MemorySource(logged, block_rows=3), ("ts", "request_id"))


def test_an_export_that_was_interrupted_is_seen_by_nobody_and_written_anew(
    org: Organization, logged: list[LogRow], tmp_path: Path
) -> None:
    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    database = DatabaseSource(org.pk, WINDOW, block_rows=50)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(database, tmp_path / str(org.pk), stop)
    with override_settings(LOG_DATASETS=str(tmp_path)):
        assert isinstance(source_of(org.pk, WINDOW), DatabaseSource)
        assert write_dataset(database, tmp_path / str(org.pk)) == 300
        assert source_of(org.pk, WINDOW).count() == 300
    assert [path.name for path in tmp_path.iterdir()] == [str(org.pk)]


def test_the_prompt_is_read_where_bodies_are_stored(org: Organization) -> None:
    row = rows()[0]
    stored(org, [LogRow(**{name: getattr(row, name) for name in row.__dataclass_fields__} | {"prompt": "who?"})])
    (block,) = DatabaseSource(org.pk, WINDOW).blocks(frozenset({"prompt"}))
    assert block.text("prompt", 0) == "who?"


def test_an_organisation_sees_no_rows_of_another(org: Organization, logged: list[LogRow]) -> None:
    other = an_org("other")
    assert DatabaseSource(other.pk, WINDOW).count() == 0
    assert list(DatabaseSource(other.pk, WINDOW).blocks(frozenset(COLUMNS))) == []


def test_plans_read_the_dataset_of_their_organisation_where_there_is_one(
    org: Organization, logged: list[LogRow], tmp_path: Path
) -> None:
    from tests.build import a_plan

    usual_prices()
    plan = {"window_start": WINDOW[0], "window_end": WINDOW[1]}
    expected = projected(a_plan(org, routes=[], **plan)).outcome
    call_command("export_logs", str(tmp_path), "--org", org.slug, verbosity=0)
    RequestLog.objects.all().delete()
    with override_settings(LOG_DATASETS=str(tmp_path)):
        assert isinstance(source_of(org.pk, WINDOW), ParquetSource)
        assert isinstance(source_of(an_org("other").pk, WINDOW), DatabaseSource)
        assert projected(a_plan(org, routes=[], **plan)).outcome == expected


# --- Datasets that others wrote ---------------------------------------------------------------------------------------

MINIMAL: dict[str, list[Any]] = {
    "request_id": ["a", "b"],
    "ts": [START, START + timedelta(seconds=1)],
    "model": ["m", "m"],
    "requested_model": ["m", "m"],
    "input_tokens": [1, 2],
    "output_tokens": [3, 4],
}


def written(folder: Path, **columns: Any) -> ParquetSource:
    import pyarrow.parquet

    given = {name: values for name, values in {**MINIMAL, **columns}.items() if values is not None}
    pyarrow.parquet.write_table(pyarrow.table(given), folder / "a.parquet")
    return ParquetSource(folder, WINDOW)


def test_columns_that_a_dataset_lacks_have_their_defaults(tmp_path: Path) -> None:
    source = written(tmp_path, cost_usd=[0.25, None])
    bare = [
        LogRow(
            request_id=MINIMAL["request_id"][n], ts=MINIMAL["ts"][n], model="m", requested_model="m",
            input_tokens=n + 1, output_tokens=n + 3, cost_nano=[250_000_000, None][n],
        )
        for n in range(2)
    ]  # fmt: skip
    assert digests(source) == digests(MemorySource(bare))


def test_texts_that_mean_the_same_give_the_same_digest_however_they_are_written(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    spaced = {"metadata": ['{"a":"1"}', '{"a": "1"}'], "provider": [None, ""], "finish_reason": ["", None]}
    alike = {"metadata": ['{"a": "1"}'] * 2, "provider": ["", ""]}
    assert digests(written(one, **spaced)) == digests(written(other, **alike))


def test_metadata_that_no_engine_could_be_given_is_unknown(tmp_path: Path) -> None:
    (block,) = written(tmp_path, metadata=['{"n": 123456789012345678901}', "{}"]).blocks(frozenset({"metadata"}))
    assert [block.text("metadata", row) for row in (0, 1)] == [None, "{}"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"model": None}, "lacks model"),
        ({"model": ["m", None]}, "model.*is empty"),
        ({"ts": [START + timedelta(seconds=1), START]}, "order"),
        ({"ts": [START, START], "request_id": ["b", "a"]}, "order"),
        ({"ts": ["2026-05-01", "2026-05-02"]}, "timestamp"),
        ({"input_tokens": [1, -5]}, "outside of 0 to 1,000,000,000"),
        ({"input_tokens": [1, None]}, "outside of 0 to 1,000,000,000"),
        ({"input_tokens": ["x", "y"]}, "input_tokens"),
        ({"latency_ms": [2**31, 1]}, "latency_ms"),
        ({"cost_usd": [1e9 + 1, 1]}, "cost_usd"),
        ({"metadata": ["{", "{}"]}, "metadata"),
        ({"request_id": ["a", None]}, "request_id.*is empty"),
    ],
)
def test_what_is_wrong_with_a_dataset_is_said_by_column(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    with pytest.raises(UnreadableLog, match=message):
        list(written(tmp_path, **columns).blocks(frozenset(COLUMNS)))


def test_a_folder_without_files_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableLog, match="There is no"):
        ParquetSource(tmp_path, WINDOW)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(UnreadableLog, match=r"a\.parquet cannot be read"):
        ParquetSource(tmp_path, WINDOW).count()


def test_an_export_does_not_mix_with_files_that_are_there(
    org: Organization, logged: list[LogRow], tmp_path: Path
) -> None:
    call_command("export_logs", str(tmp_path), "--org", str(org.pk), verbosity=0)
    with pytest.raises(CommandError, match="already"):
        call_command("export_logs", str(tmp_path), "--org", org.slug, verbosity=0)
    with pytest.raises(CommandError, match="no organisation"):
        call_command("export_logs", str(tmp_path), "--org", "nobody", verbosity=0)
