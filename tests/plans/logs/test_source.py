"""One log, three sources: SQLite, PostgreSQL and Parquet give the same blocks, and plans the same bytes."""

import shutil
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

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
from plans.runs.models import PlanRun
from routes.engine.canonical import canonical_bytes
from routes.orgs.models import Organization
from tests.build import an_org, projected, usual_prices
from tests.plans.logs.sources import START, WINDOW, digests, rows, stored
from tests.plans.replay.worlds import PRICES, routes, to

pytestmark = pytest.mark.django_db
pyarrow = pytest.importorskip("pyarrow")


@pytest.fixture
def logged(org: Organization) -> list[LogRow]:
    found = rows()
    stored(org, found[::-1])
    return found


@pytest.mark.every_case
@pytest.mark.parametrize("block_rows", [7, 64, 1_000])
def test_the_database_gives_the_blocks_that_the_rows_make(
    org: Organization, logged: list[LogRow], block_rows: int
) -> None:
    stored_rows = DatabaseSource(org.pk, WINDOW, block_rows=block_rows)
    assert stored_rows.count() == 300
    assert digests(stored_rows, COLUMNS) == digests(MemorySource(logged, block_rows=block_rows), COLUMNS)


@pytest.mark.parametrize("long_rows", [1, 13, 64])
def test_long_texts_are_read_few_at_a_time(
    org: Organization, logged: list[LogRow], long_rows: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prompts = {f"r{n}": None if n % 5 == 0 else f"prompt {n % 40}" for n in range(200)}
    bare = {"model": "m", "requested_model": "m", "input_tokens": 1, "output_tokens": 1, "embedding": bytes(8)}
    other = an_org("other")
    asked = [LogRow(request_id=id, ts=START, prompt=prompt, **bare) for id, prompt in prompts.items()]
    stored(other, asked)
    write_dataset(DatabaseSource(org.pk, WINDOW, block_rows=64), tmp_path / "log")
    monkeypatch.setattr("plans.logs.source.LONG_ROWS", long_rows)
    monkeypatch.setattr("plans.replay.columns.parquet.LONG_ROWS", long_rows)
    database = DatabaseSource(other.pk, WINDOW, block_rows=64)
    assert digests(database, COLUMNS) == digests(MemorySource(asked, block_rows=64), COLUMNS)
    files = ParquetSource(tmp_path / "log", WINDOW, block_rows=64)
    assert digests(files) == digests(MemorySource(logged, block_rows=64))


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
ANSWER = "c750e0307e50d70b0be60ba408ea23857be65b9c21224dc0619b0d1fe7107b7b"


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


@pytest.mark.every_case
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


def test_two_exports_at_once_are_one_and_a_refusal(org: Organization, logged: list[LogRow], tmp_path: Path) -> None:
    database, folder = DatabaseSource(org.pk, WINDOW, block_rows=50), tmp_path / str(org.pk)
    refused: list[str] = []

    def second(rows: int) -> None:
        with pytest.raises(FileExistsError, match="being written by another process") as caught:
            write_dataset(database, folder)
        refused.append(str(caught.value))

    assert write_dataset(database, folder, second) == 300
    assert refused
    with pytest.raises(FileExistsError, match="exists already"):
        write_dataset(database, folder)
    assert ParquetSource(folder, WINDOW).count() == 300
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


def test_files_that_lack_newer_rows_of_the_database_are_not_used_in_silence(
    org: Organization, logged: list[LogRow], tmp_path: Path
) -> None:
    from tests.build import a_plan

    usual_prices()
    plan = {"window_start": WINDOW[0], "window_end": WINDOW[1]}
    call_command("export_logs", str(tmp_path), "--org", org.slug, verbosity=0)
    stored(org, [replace(logged[0], request_id=f"newer {n}") for n in range(2)])
    with override_settings(LOG_DATASETS=str(tmp_path)):
        with pytest.raises(AssertionError, match="dataset_behind"):
            projected(a_plan(org, routes=[], **plan))
        failed = PlanRun.objects.get()
        assert failed.failure.startswith("dataset_behind: The files of this organisation lack 2 of the requests")
        before = (WINDOW[0] - timedelta(days=2), WINDOW[0] - timedelta(days=1))
        assert isinstance(source_of(org.pk, before), ParquetSource)
    with override_settings(LOG_DATASETS=str(tmp_path / "mistyped")), pytest.raises(UnreadableLog, match="no folder"):
        source_of(org.pk, WINDOW)


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


@pytest.mark.parametrize("place", range(8))
def test_a_page_that_was_damaged_is_refused_or_reads_the_same(
    org: Organization, logged: list[LogRow], tmp_path: Path, place: int
) -> None:
    """The same where the bit has no meaning, as some of page headers."""
    write_dataset(DatabaseSource(org.pk, WINDOW), tmp_path / "log")
    (file,) = (tmp_path / "log").iterdir()
    raw = bytearray(file.read_bytes())
    pages = len(raw) - 8 - int.from_bytes(raw[-8:-4], "little")
    raw[4 + place * (pages - 4) // 8] ^= 1
    file.write_bytes(raw)
    damaged, said = ParquetSource(tmp_path / "log", WINDOW), ""
    try:
        found = digests(damaged)
    except UnreadableLog as error:
        said = str(error)
    assert file.name in said or found == digests(DatabaseSource(org.pk, WINDOW))


def test_an_export_does_not_mix_with_files_that_are_there(
    org: Organization, logged: list[LogRow], tmp_path: Path
) -> None:
    call_command("export_logs", str(tmp_path), "--org", str(org.pk), verbosity=0)
    with pytest.raises(CommandError, match="already"):
        call_command("export_logs", str(tmp_path), "--org", org.slug, verbosity=0)
    with pytest.raises(CommandError, match="no such organisation"):
        call_command("export_logs", str(tmp_path), "--org", "nobody", verbosity=0)


def test_files_say_that_no_id_occurs_twice_as_long_as_they_are_those_that_were_written(
    org: Organization, logged: list[LogRow], tmp_path: Path
) -> None:
    import pyarrow.parquet as parquet

    write_dataset(DatabaseSource(org.pk, WINDOW), tmp_path / "log")
    (file,) = (tmp_path / "log").iterdir()
    assert ParquetSource(tmp_path / "log", WINDOW).has_unique_ids
    table = parquet.read_table(file)
    copied = shutil.copy(file, tmp_path / "log" / "1.parquet")
    assert not ParquetSource(tmp_path / "log", WINDOW).has_unique_ids
    Path(copied).unlink()
    parquet.write_table(pyarrow.concat_tables([table, table.slice(0, 1)]), file)
    assert not ParquetSource(tmp_path / "log", WINDOW).has_unique_ids
    write_dataset(MemorySource(logged), tmp_path / "other")
    assert not ParquetSource(tmp_path / "other", WINDOW).has_unique_ids, "nobody promised it"


def test_an_export_of_nothing_is_a_log_of_nothing(org: Organization, tmp_path: Path) -> None:
    assert write_dataset(DatabaseSource(org.pk, WINDOW), tmp_path / "log") == 0
    assert ParquetSource(tmp_path / "log", WINDOW).count() == 0
