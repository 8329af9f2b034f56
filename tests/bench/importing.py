"""What a process pays once to import the engine, beside the modules of the standard library that it takes.

A candidate is a fresh interpreter that tells its own processor time, with compiled modules at hand, as where the engine
is installed.
"""

import os
import statistics
import subprocess
import sys
import tempfile

from tests.bench.report import Row, held, tell, times
from tests.paths import ROOT

GOAL_MS = 50
#: `tests/routes/engine/test_import.py` sees that it takes no others.
STANDARD = (
    "__future__, contextlib, dataclasses, datetime, enum, json, math, operator, re, threading, typing, uuid, warnings,"
    " zlib"
)
ENGINE = "routes.engine"


def main() -> None:
    took: dict[str, list[float]] = {STANDARD: [], ENGINE: []}
    with tempfile.TemporaryDirectory() as compiled:
        for _ in range(6 if "--quick" in sys.argv else 30):
            for modules, seconds in took.items():
                seconds.append(_seconds(modules, compiled))
    # Without the first of each, which compiled.
    standard, engine = (statistics.median(seconds[1:]) for seconds in took.values())
    what = "import of `routes.engine`, beside the standard library's modules that it takes"
    tell(Row(what, f"{GOAL_MS} ms", f"{engine * 1e3:.1f} ms", times(engine / standard), held(engine < GOAL_MS / 1_000)))


def _seconds(modules: str, compiled: str) -> float:
    program = f"import time; began = time.process_time(); import {modules}; print(time.process_time() - began)"
    environment = os.environ | {"PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


if __name__ == "__main__":
    main()
