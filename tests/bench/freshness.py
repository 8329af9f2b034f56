"""How long after a commit other processes decide by the new version: 20 readers, 200 changes.

`tests.campaign.freshness` measures; here each database gets a process of its own, because Django is set up once in one.
Named by TEST_DATABASE, a database is measured alone.
"""

import os
import random
import subprocess
import sys

from tests.bench.report import Row, held, say, tell
from tests.paths import ROOT

QUICK_CHANGES = 40


def main() -> int:
    if "TEST_DATABASE" in os.environ:
        _measure()
        return 0
    failed = 0
    for database in ("sqlite", "postgres"):
        run = subprocess.run(
            [sys.executable, "-m", "tests.bench.freshness", *sys.argv[1:]],
            cwd=ROOT, env={**os.environ, "TEST_DATABASE": database}, check=False,
        )  # fmt: skip
        failed += run.returncode != 0
    return 1 if failed else 0


def _measure() -> None:
    from tests import databases  # sets the environment, and starts PostgreSQL where asked for
    from tests.build_env import application
    from tests.campaign.freshness import CHANGES, GOALS_MS, POLL_SECONDS, READERS, measure

    application()
    changes = QUICK_CHANGES if "--quick" in sys.argv else CHANGES
    url = os.environ["DATABASE_URL"].removeprefix("sqlite:///")
    for how in GOALS_MS if databases.ON_POSTGRES else ("poll",):
        found = measure(url, how, readers=READERS, changes=changes, chance=random.Random(1))
        if found.faults:
            raise SystemExit("\n".join(found.faults))
        name, goal_ms = "PostgreSQL" if databases.ON_POSTGRES else "SQLite", GOALS_MS[how]
        way = f"{POLL_SECONDS * 1000:.0f} ms poll" if how == "poll" else "NOTIFY"
        what = f"commit to first decision by the new version, {READERS} processes, {changes} changes, {name}, {way}"
        figure = f"p50 {found.ms(0.5):.0f} ms, p99 {found.ms(0.99):.0f} ms"
        say(f"{what}: {figure}")
        tell(Row(what, f"p99 < {goal_ms} ms", figure, held=held(found.ms(0.99) < goal_ms)))


if __name__ == "__main__":
    sys.exit(main())
