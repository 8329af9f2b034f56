"""`make bench`: every race in a process of its own, and at the end the table of goals that the README carries.

It fails where a race could not be run or answers differed, not where a goal is missed. A run of all races also writes
the table to `.data/bench.md`.
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.report import Row, markdown

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / ".data" / "bench.md"
#: What `tests.campaign.coverage` found when it last ran: half an hour's work, which is not done here.
COVERAGE = ROOT / ".data" / "coverage.md"
#: By module, what it races.
RACES = {
    "decide": "One decision by the number of routes",
    "keywords": "One decision where prompts are searched for keywords",
    "peers": "One decision beside the engines of the package index",
    "warm": "The engine of an organisation from a warm cache",
    "importing": "The import of the engine",
    "loading": "A new version: compiling, reading, memory",
    "paths": "Matching paths",
    "freshness": "A change until other processes decide by it",
    "api": "Answers of the API",
    "gateway": "A chat completion through gateways",
    "audit": "The audit log",
    "replay": "A replay of a long log",
    "resampling": "Intervals by resampling",
    "sampling": "The sample of a long log that pages ask for",
    "pages": "The first byte of every page",
}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=RACES, default=list(RACES), metavar="NAME", help=", ".join(RACES))
    parser.add_argument("--quick", action="store_true", help="a minute or two, for a look; figures are rougher")
    given = parser.parse_args(arguments)
    machine = (
        f"{_processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d}"
    )
    print(f"{machine}; load {os.getloadavg()[0]:.1f}\n", flush=True)
    rows: list[Row] = []
    failed: list[str] = []
    for name in given.only:
        print(RACES[name], flush=True)
        began = time.monotonic()
        found, code = run(name, ["--quick"] if given.quick else [])
        rows += found
        if code:
            failed.append(name)
        print(f"  {'FAILED' if code else 'done'} after {time.monotonic() - began:.0f} s\n", flush=True)
    table = f"{machine}{', quick' if given.quick else ''}\n\n{markdown(rows)}\n"
    print(table)
    if COVERAGE.exists():
        print(f"How often intervals contain what is true, as measured before\n\n{COVERAGE.read_text(encoding='utf-8')}")
    if given.only == list(RACES):
        TABLE.parent.mkdir(exist_ok=True)
        TABLE.write_text(table, encoding="utf-8")
    if failed:
        print(f"failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


def run(name: str, arguments: list[str]) -> tuple[list[Row], int]:
    """The rows of a race and its exit code, 1 where a row is malformed. Its other lines are printed as they come."""
    rows: list[Row] = []
    malformed = False
    command = [sys.executable, "-m", f"tests.bench.{name}", *arguments]
    # As the settings of the application have it.
    environment = {"OPENBLAS_NUM_THREADS": "1", **os.environ}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                row = Row.of_line(line)
            except ValueError as error:
                print(f"  {error}", flush=True)
                malformed = True
                continue
            if row is None:
                print(line, end="", flush=True)
            else:
                rows.append(row)
    return rows, process.returncode or int(malformed)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
