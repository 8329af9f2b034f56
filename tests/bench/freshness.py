"""How long after a commit another process decides by the new version."""

import os
import random
import subprocess
import sys
import time

from tests import databases  # sets the environment, and starts PostgreSQL where asked for
from tests.build_env import application

CHANGES = 40
POLL_SECONDS = 0.5

READER = """
import sys, time
from routes.engine import EngineCache, PostgresStore, RequestContext, SQLiteStore
url, org_id, poll = sys.argv[1], sys.argv[2], float(sys.argv[3])
store = PostgresStore(url) if url.startswith("postgres") else SQLiteStore(url)
context, seen = RequestContext("gpt-4o"), None
with EngineCache(store, poll_seconds=poll) as cache:
    while True:
        version = cache.engine_for(org_id).decide(context).version
        if version != seen:
            seen = version
            print(version, time.monotonic_ns(), flush=True)
        time.sleep(0.0005)
"""


def main() -> None:
    application()
    from routes import engine
    from routes.rules.services import update_route
    from tests.build import BY, a_route, an_org
    from tests.paths import ROOT

    org = an_org("bench")
    row = a_route(org, when={}, then={"target_model": "m"})
    url = os.environ["DATABASE_URL"] if databases.ON_POSTGRES else os.environ["DATABASE_URL"].removeprefix("sqlite:///")
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, url, str(org.pk), str(POLL_SECONDS)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert reader.stdout is not None
    delays = []
    chance = random.Random(1)
    try:
        reader.stdout.readline()
        for n in range(CHANGES):
            time.sleep(chance.uniform(0.1, 0.1 + POLL_SECONDS))  # no step with the reader's poll
            changed = engine.Route.from_dict({**row.as_document(), "priority": 1000 + n})
            _, change = update_route(org, row.uid, changed, by=BY)
            committed = time.monotonic_ns()
            while True:
                version, seen = (int(part) for part in reader.stdout.readline().split())
                if version >= change.version:
                    break
            delays.append((seen - committed) / 1e6)
    finally:
        reader.kill()
    delays.sort()
    p50, p99 = delays[len(delays) // 2], delays[-1]
    print(f"  {CHANGES} changes, poll {POLL_SECONDS} s: median {p50:.0f} ms, largest {p99:.0f} ms")


if __name__ == "__main__":
    main()
