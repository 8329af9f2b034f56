"""Parts that are the suite's own tests, asked for more."""

import os
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.paths import ROOT

DATABASES = ("sqlite", "postgres")


def ask(
    test: str,
    seed: int,
    say: Callable[[str], None],
    *,
    told: str,
    counts: Mapping[str, object],
    of_database: Mapping[str, Mapping[str, object]] | None = None,
    at_once: bool = False,
    databases: Sequence[str] = DATABASES,
) -> bool:
    """Run a file of tests on these databases, one after the other or at once, with these counts in its environment, where
    nobody asks for others (`make campaign PART=… KILLS=100`). Says the lines with `told` and, where it failed, its last
    ones."""

    def on(database: str) -> bool:
        wanted = {**counts, **(of_database or {}).get(database, {})}
        asked = {name: os.environ.get(name, str(count)) for name, count in wanted.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-s", "--show-capture=no", test],
            cwd=ROOT,
            env={**os.environ, **asked, "TEST_DATABASE": database, "SEED": str(seed)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert process.stdout is not None
        last = deque[str](maxlen=60)
        for line in process.stdout:
            last.append(line.rstrip())
            if told in line and "print(" not in line:
                say(f"{database}: {line.strip().lstrip('.')}")
        if process.wait():
            for line in last:
                say(f"{database}: {line}")
        return process.returncode == 0

    with ThreadPoolExecutor(len(databases) if at_once else 1) as pool:
        return all(list(pool.map(on, databases)))
