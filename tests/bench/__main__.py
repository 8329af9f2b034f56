"""`make bench`: the measurements behind the figures of the README, each in processes of its own."""

import os
import platform
import subprocess
import sys

from tests.paths import ROOT


def main() -> int:
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}\n")
    failed = 0
    for title, module, environment in (
        ("Commit to first decision by the new version, another process, SQLite", "freshness", {}),
        ("The same on PostgreSQL", "freshness", {"TEST_DATABASE": "postgres"}),
        ("One decision, and one look at a warm cache", "decide", {}),
    ):
        print(title, flush=True)
        run = subprocess.run(
            [sys.executable, "-m", f"tests.bench.{module}"], cwd=ROOT, env={**os.environ, **environment}, check=False
        )
        failed += run.returncode != 0
        print(flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
