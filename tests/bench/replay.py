"""A replay of 10,000,000 rows by 100 routes, with all intervals: from memory and from Parquet; a tenth of them from SQLite
and from PostgreSQL.

Each in a process of its own, because a peak of memory is one of a process. The time is that of day, because reading waits
and hashing has a thread of its own: of three replays the median. Every replay reads rows that nothing is known of yet. All
of the same rows must answer with the same bytes.
"""

import argparse
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import psutil

from plans.replay import Question, Source, replay
from plans.replay.columns.dataset import write_dataset
from plans.replay.columns.parquet import ParquetSource
from plans.replay.executors import Executor, Part, Serial, Work
from plans.replay.memory import keep_freed_memory
from plans.replay.sums.partial import Partial
from routes.engine.canonical import canonical_bytes
from tests.bench.replay_data import ITERATIONS, ROUTES, WINDOW, check, fill, in_memory, log_blocks, question, sample_of
from tests.bench.report import Row, held, not_run, say, tell
from tests.bench.workload import ROOT, NotHereError, shared_module

ROWS, QUICK_ROWS = 10_000_000, 1_000_000
#: Of these, tables have one in so many.
TABLES = 10
RUNS = 3
CHECKED_ROWS = 20_000
GIB = 2**30


class Case(NamedTuple):
    """What is raced, and its goals."""

    what: str
    seconds: float | None
    gib: float | None
    #: Where rows are: a key of `_MEASURED`.
    place: str
    of_tables: bool = False
    #: Rows take latencies of models that are in the log, which they else do not.
    targets_known: bool = False


CASES = [
    Case("in memory", 1.2, 0.4, "memory"),
    Case("in memory, ids known to be unique", 1.2, 0.4, "promised"),
    Case("from Parquet", 2.0, 0.4, "parquet"),
    Case("in memory, to models of the log", None, None, "memory", targets_known=True),
    Case("from SQLite", 10.0, 0.5, "sqlite", of_tables=True),
    Case("from PostgreSQL", 10.0, 0.5, "postgres", of_tables=True),
]


class Inside(NamedTuple):
    """What is measured in a process of its own."""

    rows: int
    asked: Question
    #: Of the dataset.
    folder: Path


class Run(NamedTuple):
    """Seconds of the day for one replay, and of these for each part; `spent` is what the processor worked."""

    seconds: float
    spent: float
    survey: float
    projection: float
    intervals: float


class Measured(NamedTuple):
    runs: list[Run]
    #: The most memory the process had, beyond what it had before its first replay.
    peak_bytes: int
    #: Digests of the canonical bytes of the answer, and of the data as the answer tells it.
    answer: str
    data: str

    @property
    def seconds(self) -> float:
        return median(run.seconds for run in self.runs)


# --- All ------------------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", type=int)
    parser.add_argument("--inside", choices=_MEASURED, help="measure this, in this process")
    parser.add_argument("--folder", type=Path, default=Path(), help="where the dataset is")
    parser.add_argument("--targets-known", action="store_true")
    given = parser.parse_args(arguments)
    rows = given.rows or (QUICK_ROWS if given.quick else ROWS)
    if given.inside:
        inside = Inside(rows, question(targets_known=given.targets_known), given.folder)
        print(json.dumps(_MEASURED[given.inside](inside)))
        return 0
    try:
        shared_module("rules_workload")
    except NotHereError as error:
        for case in CASES:
            if case.seconds is not None:
                not_run(_what(case, rows), f"<= {case.seconds} s", str(error))
        return 0
    with tempfile.TemporaryDirectory(prefix="ra-") as folder:
        dataset = Path(folder) / "log"
        began = time.perf_counter()
        _alone("written", rows, "--folder", str(dataset))
        size = sum(file.stat().st_size for file in dataset.iterdir())
        say(f"{rows:,} rows written to {size / 2**20:,.0f} MiB of Parquet in {time.perf_counter() - began:.0f} s")
        found = {case: _measure(case, rows, dataset) for case in CASES}
    # So that the tables' answer is compared with that of another place, too.
    tenth = _of_line(_alone("memory", rows // TABLES))
    _must_be_one_answer([found[case] for case in CASES if not case.of_tables and not case.targets_known])
    _must_be_one_answer([tenth, *(found[case] for case in CASES if case.of_tables)])
    for case, measured in found.items():
        if rows != ROWS:  # goals are for so many
            case = case._replace(seconds=None, gib=None)
        _tell(case, rows // TABLES if case.of_tables else rows, measured)
    return 0


def _measure(case: Case, rows: int, dataset: Path) -> Measured:
    arguments = ["--folder", str(dataset)]
    if case.targets_known:
        arguments.append("--targets-known")
    return _of_line(_alone(case.place, rows // TABLES if case.of_tables else rows, *arguments))


def _alone(place: str, rows: int, *arguments: str) -> str:
    """The last line of a process of its own."""
    command = [sys.executable, "-m", "tests.bench.replay", "--inside", place, "--rows", str(rows), *arguments]
    environment = dict(os.environ)
    if place in ("sqlite", "postgres"):
        environment["TEST_DATABASE"] = place
    run = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.splitlines()[-1]


def _of_line(line: str) -> Measured:
    runs, *others = json.loads(line)
    return Measured([Run(*run) for run in runs], *others)


def _must_be_one_answer(measured: Iterable[Measured]) -> None:
    """Raises `AssertionError` where one differs: its time would mean nothing."""
    answers = {(one.data, one.answer) for one in measured}
    if len(answers) > 1:
        raise AssertionError(f"The same rows have {len(answers)} answers: {sorted(answers)}")


def _what(case: Case, rows: int) -> str:
    return f"replay, {rows:,} rows x {ROUTES} routes, {ITERATIONS:,} iterations, {case.what}"


def _tell(case: Case, rows: int, measured: Measured) -> None:
    what, gib = _what(case, rows), measured.peak_bytes / GIB
    run = sorted(measured.runs)[len(measured.runs) // 2]
    parts = {"survey": run.survey, "projection": run.projection, "intervals": run.intervals}
    shares = ", ".join(f"{name} {seconds / run.seconds:.0%}" for name, seconds in parts.items())
    all_runs = " / ".join(f"{one.seconds:.2f}" for one in measured.runs)
    say(f"{what}: {all_runs} s, {run.spent:.2f} s of the processor; {shares}; {gib:.2f} GiB")
    speed = f"{rows / run.seconds / 1e6:.1f} million rows/s, {run.seconds / rows * 1e9:.0f} ns a row"
    figure = f"{run.seconds:.2f} s, {run.spent:.2f} s of the processor"
    if case.seconds is None:
        tell(Row(what, "-", figure, speed))
    else:
        tell(Row(what, f"<= {case.seconds} s", figure, speed, held(run.seconds <= case.seconds)))
    if case.gib is not None:
        tell(Row(f"{what}: peak of memory", f"<= {case.gib} GiB", f"{gib:.2f} GiB", held=held(gib <= case.gib)))


# --- In a process of its own ------------------------------------------------------------------------------------------


def measure(fresh: Callable[[], Source], asked: Question) -> Measured:
    """Replay what `fresh` gives, the making of which is not timed, so many times."""
    keep_freed_memory()  # as the worker does
    took: list[Run] = []
    answers: set[tuple[str, str]] = set()
    before = None
    for _ in range(RUNS):
        source = fresh()
        gc.collect()
        if before is None:
            _forget_peak()
            before = psutil.Process().memory_info().rss
        watched = _Watched(Serial())
        start, spent = time.perf_counter(), time.process_time()
        result = replay(source, asked, executor=watched)
        end, spent = time.perf_counter(), time.process_time() - spent
        took.append(Run(end - start, spent, watched.began - start, watched.ended - watched.began, end - watched.ended))
        answers.add((sha256(canonical_bytes(result)).hexdigest(), result["provenance"]["data_digest"]))
    if len(answers) > 1:
        raise AssertionError(f"The same rows have {len(answers)} answers, one after the other")
    assert before is not None
    return Measured(took, _peak() - before, *answers.pop())


class _Watched:
    """An executor, and when it began and ended: what lies before is the survey, what lies after are the intervals."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.began = self.ended = 0.0

    def map(self, work: Work, parts: Iterable[Part]) -> Iterator[Partial]:
        self.began = time.perf_counter()
        return self._executor.map(work, parts)

    def merge(self, partials: Iterable[Partial]) -> Partial:
        merged = self._executor.merge(partials)
        self.ended = time.perf_counter()
        return merged


def _forget_peak() -> None:
    """Where this is not Linux, what was needed to make the rows stays in the peak."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """The most memory this process had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _memory(inside: Inside, *, promised: bool = False) -> Measured:
    blocks = list(log_blocks(inside.rows))
    check(sample_of(blocks, max(1, inside.rows // CHECKED_ROWS)), inside.asked)
    return measure(lambda: in_memory(blocks, has_unique_ids=promised), inside.asked)


def _promised(inside: Inside) -> Measured:
    return _memory(inside, promised=True)


def _written(inside: Inside) -> int:
    # As from a table, so that the files say that no id occurs twice.
    return write_dataset(in_memory(log_blocks(inside.rows), has_unique_ids=True), inside.folder)


def _parquet(inside: Inside) -> Measured:
    return measure(lambda: ParquetSource(inside.folder, WINDOW), inside.asked)


def _table(inside: Inside) -> Measured:
    from tests.build_env import application

    application()
    from django.conf import settings
    from django.db import connection

    from plans.logs.source import DatabaseSource
    from routes.orgs.models import Organization

    settings.DEBUG = False  # else every statement is kept
    org = Organization.objects.create(slug="bench", name="Bench")
    fill(org, log_blocks(inside.rows))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")  # which it would do by itself in a while, perhaps during a replay
    return measure(lambda: DatabaseSource(org.pk, WINDOW), inside.asked)


_MEASURED: dict[str, Callable[[Inside], Any]] = {
    "memory": _memory, "promised": _promised, "written": _written, "parquet": _parquet, "sqlite": _table,
    "postgres": _table,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
