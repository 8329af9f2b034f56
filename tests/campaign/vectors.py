"""All vectors of hostile JSON and text at every write of the API, on each database: the code of the suite's own tests."""

import os
import subprocess
import sys
from collections.abc import Callable

from tests.paths import ROOT


def run(seed: int, say: Callable[[str], None]) -> bool:
    """Nothing is drawn: the seed changes nothing."""
    held = True
    for database in ("sqlite", "postgres"):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "--show-capture=no", "tests/api/test_vectors.py"],
            cwd=ROOT,
            env={**os.environ, "TEST_DATABASE": database, "EVERYTHING": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [
            line.lstrip(".") for line in done.stdout.splitlines() if " bodies of " in line and "print(" not in line
        ]
        for line in (lines if done.returncode == 0 else []) or done.stdout.splitlines()[-60:]:
            say(f"{database}: {line}")
        held = held and done.returncode == 0
    return held
