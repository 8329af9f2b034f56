"""The audit log: verifying a bundle of a million entries, and appending on each database beside the same statements sent
bare.

A bundle is verified in a process of its own, whose memory is what the system says of it. An append is a transaction with
one entry; beside it the very statements that it sent, with their parameters made before, so that what is left is what
writing an entry takes in Python. The clock is that of the wall, because half of a commit is waiting.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

from tests.bench.report import Row, held, say, tell, times
from tests.paths import ROOT

ENTRIES, QUICK_ENTRIES = 1_000_000, 50_000
GOAL_HASHES_SECONDS, GOAL_RULES_SECONDS, GOAL_MIB = 3, 30, 100
APPENDS, QUICK_APPENDS = 1_500, 300
GOAL_RATIO = 0.9
GOAL_PER_SECOND = {"sqlite": 1_000, "postgres": 300}


def main() -> int:
    if "TEST_DATABASE" in os.environ:
        _appends(quick="--quick" in sys.argv)
        return 0
    if "--verify" in sys.argv:
        _verify(Path(sys.argv[2]), hashes_only="--hashes" in sys.argv)
        return 0
    _verifications(quick="--quick" in sys.argv)
    failed = 0
    for database in GOAL_PER_SECOND:
        run = subprocess.run(
            [sys.executable, "-m", "tests.bench.audit", *sys.argv[1:]],
            cwd=ROOT, env={**os.environ, "TEST_DATABASE": database}, check=False,
        )  # fmt: skip
        failed += run.returncode != 0
    return 1 if failed else 0


# --- Verifying --------------------------------------------------------------------------------------------------------


def _verifications(*, quick: bool) -> None:
    entries = QUICK_ENTRIES if quick else ENTRIES
    with TemporaryDirectory() as folder:
        path = Path(folder) / "bundle"
        _bundle(path, entries)
        for name, goal, flags in (
            ("hashes and tree", GOAL_HASHES_SECONDS, ["--hashes"]),
            ("every rule", GOAL_RULES_SECONDS, []),
        ):
            run = subprocess.run(
                [sys.executable, "-m", "tests.bench.audit", "--verify", str(path), *flags],
                cwd=ROOT, capture_output=True, text=True, check=True,
            )  # fmt: skip
            found = json.loads(run.stdout)
            seconds, mib = found["seconds"] * ENTRIES / entries, found["mib"]
            tell(
                Row(
                    f"audit, {entries:,} entries verified, {name}, for a million",
                    f"<= {goal} s, {GOAL_MIB} MiB",
                    f"{seconds:.1f} s, {mib:.0f} MiB",
                    f"{times(found['seconds'] / found['bare'])} reading and hashing each line",
                    held(seconds <= goal and mib <= GOAL_MIB),
                )
            )


def _bundle(folder: Path, size: int) -> None:
    """A folder with one log of so many entries, written as they are made."""
    from audit.log.bundle import CHECKPOINTS, ENTRIES, MANIFEST, PAYLOADS, checkpoint_line, manifest, payload_line
    from audit.log.notes import Checkpoint, sign
    from audit.log.tree import append, leaf_hash, root
    from tests.audit.log.build import LOG, chain
    from tests.audit.log.forging import KEY

    (folder / "1").mkdir(parents=True)
    (folder / MANIFEST).write_bytes(manifest([LOG]))
    edge: list[bytes] = []
    one = folder / "1"
    with (one / ENTRIES).open("wb") as entries, (one / PAYLOADS).open("wb") as payloads:
        for number, line in enumerate(chain(Random(1), size)):
            entries.write(line.data + b"\n")
            payloads.write(payload_line(line.payload, line.salt))
            edge = append(number, edge, leaf_hash(line.data))
    note = sign(Checkpoint(LOG, size, root(edge)).text(), [KEY])
    (one / CHECKPOINTS).write_bytes(checkpoint_line(note, "2026-01-01T00:00:00.000000Z"))


def _verify(folder: Path, *, hashes_only: bool) -> None:
    import resource
    from hashlib import sha256

    from audit.log.bundle import ENTRIES
    from audit.log.verify import verify
    from tests.audit.log.forging import KEY

    began = time.process_time()
    found = verify(folder, [KEY.verify_key], hashes_only=hashes_only)
    seconds = time.process_time() - began
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if found.verdict != "verified":
        raise SystemExit(found.message)
    began = time.process_time()
    with (folder / "1" / ENTRIES).open("rb") as lines:
        for line in lines:
            sha256(line).digest()
    print(json.dumps({"seconds": seconds, "mib": mib, "bare": time.process_time() - began}))


# --- Appending --------------------------------------------------------------------------------------------------------


def _appends(*, quick: bool) -> None:
    from tests import databases  # sets the environment, and starts PostgreSQL where asked for
    from tests.build_env import application

    application()
    from django.conf import settings
    from django.db import connection, transaction

    settings.DEBUG = False  # or every statement is kept
    if databases.ON_POSTGRES:
        with connection.cursor() as cursor:  # as it is installed: the tests' server does not wait for the disk
            for name in ("fsync", "synchronous_commit", "full_page_writes"):
                cursor.execute(f"ALTER SYSTEM SET {name} = on")
            cursor.execute("SELECT pg_reload_conf()")
    from audit.actors import system
    from audit.models import AuditEntry
    from audit.services import record
    from audit.verification import verify_org
    from tests.audit.build import ORG, OTHER

    by, number = system("bench"), QUICK_APPENDS if quick else APPENDS
    sent: list[tuple[str, Any]] = []

    def noted(execute: Any, statement: str, parameters: Any, many: bool, context: Any) -> Any:
        if statement.startswith(("INSERT", "UPDATE", "SELECT")):
            sent.append((statement, parameters))
        return execute(statement, parameters, many, context)

    def append(seq: int, org: UUID = ORG) -> None:
        with transaction.atomic():
            record(
                org, by=by, action="bench.appended", target=("thing", str(seq)), payload={"n": seq, "note": "x" * 200}
            )

    append(0, OTHER)
    with connection.execute_wrapper(noted):
        append(1, OTHER)
    statements = list(sent)
    insert = next(place for place, (statement, _) in enumerate(statements) if statement.startswith("INSERT"))
    columns = [field.column for field in AuditEntry._meta.concrete_fields if not field.primary_key]

    def bare(seq: int) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            for place, (statement, parameters) in enumerate(statements):
                if place == insert:
                    parameters = list(parameters)  # another place in another log, and nothing is computed
                    parameters[columns.index("seq")] = seq
                    parameters[columns.index("log")] = "bare"
                cursor.execute(statement, parameters)

    # One after the other, and the median of each: a disk that others use is slow for both.
    took: dict[Any, list[float]] = {append: [], bare: []}
    for seq in range(10, 10 + number):
        for act, times_ in took.items():
            began = time.perf_counter()
            act(seq)
            times_.append(time.perf_counter() - began)
    mine, theirs = (sorted(times_)[len(times_) // 2] for times_ in took.values())
    database, name = ("postgres", "PostgreSQL") if databases.ON_POSTGRES else ("sqlite", "SQLite")
    say(f"{len(statements)} statements; append {mine * 1e3:.2f} ms, the same sent bare {theirs * 1e3:.2f} ms")
    if not verify_org(ORG).ok:
        raise SystemExit("what was appended does not verify")
    goal = GOAL_PER_SECOND[database]
    tell(
        Row(
            f"audit, an append with its transaction beside its statements sent bare, {name}",
            f">= {GOAL_RATIO}x, {goal:,} a second",
            f"{1 / mine:,.0f} a second",
            times(theirs / mine),
            held(theirs / mine >= GOAL_RATIO and 1 / mine >= goal),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
