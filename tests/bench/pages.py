"""The first byte of every page where there is much: 1,000 routes and 1,000,000 rows of the log, which ends now.

The pages are those of the resolver (`tests.pages`), asked for by Django's own client, as somebody who may most: no socket,
and the whole page, of which the first byte is the last that is made. Beside what `make test` looks at, plans of these
routes. Named by TEST_DATABASE, a database is measured alone.
"""

import io
import logging
import os
import statistics
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.bench.environment import in_each_database
from tests.bench.replay_data import STEP_MICROSECONDS, fill, log_blocks
from tests.bench.report import Row, held, say, tell

ROUTES, ROWS, QUICK_ROWS, GOAL_MS = 1_000, 1_000_000, 100_000, 200
TIMES, QUICK_TIMES = 9, 3


def main() -> int:
    if "TEST_DATABASE" in os.environ:
        _measure(quick="--quick" in sys.argv)
        return 0
    return in_each_database("tests.bench.pages")


def _measure(*, quick: bool) -> None:
    from tests.build_env import application

    application()
    from django.conf import settings
    from django.db import connection
    from django.test.utils import setup_test_environment

    from plans.runs.worker import run_next
    from routing_admin.logs.format import json_lines
    from tests.build import a_plan, many_routes, projected
    from tests.pages import NOBODY, addresses, client_of, is_page
    from tests.world import VISITORS, World

    settings.DEBUG = False  # else every statement is kept
    logging.getLogger("django.request").setLevel(logging.CRITICAL)  # some addresses are refused
    # A page's line of the log is part of its time, and not what is to be read here.
    logging.getLogger().handlers = [lines := logging.StreamHandler(io.StringIO())]
    lines.setFormatter(json_lines())
    setup_test_environment()
    rows = QUICK_ROWS if quick else ROWS
    world = World()
    many_routes(world.org, ROUTES - 1 - world.org.routes.count())  # one more is in the plans
    end = datetime.now(UTC)
    fill(world.org, log_blocks(rows, start=end - timedelta(microseconds=rows * STEP_MICROSECONDS)))
    window = {"window_start": end - timedelta(minutes=10), "window_end": end}
    world.plans["draft"] = a_plan(world.org, name="draft of all routes", **window)
    run_next()  # the plan that waits in the world
    world.plans["projected"] = projected(a_plan(world.org, name="all routes", **window))
    world.named["plans/", "id"] |= {state: world.plans[state].pk for state in ("draft", "projected")}
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")  # which it would do by itself in a while
    database = "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"
    clients = {who: client_of(world, who) for who in (NOBODY, *VISITORS)}
    took: dict[str, float] = {}
    for address in addresses(world):
        client = clients[address.page.visitors[-1]]
        if address.sent is None and not address.is_of_one_of_many and _is_told(client.get(address.url), is_page):
            took[address.label] = _milliseconds(client, address.url, QUICK_TIMES if quick else TIMES)
    slowest = sorted(took, key=took.__getitem__, reverse=True)
    for label in slowest[:15]:
        say(f"{database}: {label} {took[label]:,.0f} ms")
    missed = [f"{label} {took[label]:,.0f} ms" for label in slowest if took[label] > GOAL_MS]
    tell(
        Row(
            f"first byte of each of {len(took)} pages, {ROUTES:,} routes, {rows:,} rows of the log, {database}",
            f"<= {GOAL_MS} ms",
            f"{slowest[0]} {took[slowest[0]]:,.0f} ms, half of them {statistics.median(took.values()):,.0f} ms and less",
            f"{len(missed)} above",
            held(not missed),
        )
    )


def _is_told(response: Any, is_page: Any) -> bool:
    return is_page(response) or response.headers.get("Content-Type", "").startswith("application/json")


def _milliseconds(client: Any, url: str, times: int) -> float:
    """The median; what is kept in memory is there by now, as it is on a server that was asked a minute ago."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        client.get(url)
        found.append((time.perf_counter() - start) * 1e3)
    return statistics.median(found)


if __name__ == "__main__":
    sys.exit(main())
