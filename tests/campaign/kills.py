"""Workers killed at 200 random moments on each database: the suite's own test, asked for more."""

import os
import subprocess
import sys
from collections.abc import Callable

from tests.paths import ROOT

KILLS = 200


def run(seed: int, say: Callable[[str], None]) -> bool:
    held = True
    for database in ("sqlite", "postgres"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "tests/plans/runs/test_kills.py"],
            cwd=ROOT,
            env={**os.environ, "TEST_DATABASE": database, "KILLS": str(KILLS), "SEED": str(seed)},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if "results that differ" in line or "rror" in line]
        for line in lines or done.stdout.splitlines()[-5:]:
            say(f"{database}: {line}")
        held = held and done.returncode == 0
    return held
