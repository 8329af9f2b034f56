"""Schemathesis over the whole OpenAPI document, 20,000 cases on each database: the suite's own test, asked for more."""

import os
import subprocess
import sys
from collections.abc import Callable

from tests.paths import ROOT

CASES = 20_000


def run(seed: int, say: Callable[[str], None]) -> bool:
    held = True
    for database in ("sqlite", "postgres"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "--show-capture=no", "tests/api/test_schemathesis.py"],
            cwd=ROOT,
            env={**os.environ, "TEST_DATABASE": database, "CASES": str(CASES), "SEED": str(seed)},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [line for line in done.stdout.splitlines() if " cases for " in line and "print(" not in line]
        for line in (lines if done.returncode == 0 else []) or done.stdout.splitlines()[-60:]:
            say(f"{database}: {line}")
        held = held and done.returncode == 0
    return held
