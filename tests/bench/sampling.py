"""The sample of a week's log that the pages about routes ask for, of a million rows, beside one that the database shuffles.

As a server does each minute: sampled anew, with nothing at hand, and then the figures for one route. The work of the
database is counted: the clock is that of the day. Named by TEST_DATABASE, a database is measured alone.
"""

import os
import sys
import time
from datetime import timedelta
from typing import Any

from tests.bench.environment import in_each_database
from tests.bench.replay_data import WINDOW, fill, log_blocks
from tests.bench.report import Row, held, say, tell, times
from tests.bench.timing import race

ROWS, QUICK_ROWS, GOAL_MS = 1_000_000, 100_000, 200
SAMPLE, SHUFFLED, DRAFT = "sample", "ORDER BY random()", "one route, sample at hand"


def main() -> int:
    if "TEST_DATABASE" in os.environ:
        _measure(quick="--quick" in sys.argv)
        return 0
    return in_each_database("tests.bench.sampling")


def _measure(*, quick: bool) -> None:
    from tests.build_env import application

    application()
    from django.conf import settings
    from django.db import connection

    from plans.logs.models import RequestLog
    from plans.matching import services
    from plans.matching.sampling import MOST, sample_of
    from routes.engine import Action, Conditions, Route
    from routes.orgs.models import Organization, new_id

    settings.DEBUG = False  # else every statement is kept
    rows = QUICK_ROWS if quick else ROWS
    org = Organization.objects.create(slug="bench", name="Bench")
    fill(org, log_blocks(rows))
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")  # which it would do by itself in a while
    now = WINDOW[0] + timedelta(days=3)
    window = now - timedelta(days=7), now
    asked = Route(id=str(new_id()), name="short", when=Conditions(input_tokens_lt=1000), then=Action("m"))

    def sampled() -> Any:
        return sample_of(org.pk, now)

    def shuffled() -> Any:
        return list(RequestLog.objects.of(org).between(*window).order_by("?").values("pk")[:MOST])

    def drafted() -> Any:
        return services.matching(org.pk, asked, [asked], now=now)

    found = sampled()
    assert len(found.rows) == MOST
    assert abs(found.total / rows - 1) < 0.1, found.total
    database = "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"
    say(f"{database}: {drafted()['words']}")
    took = race({SAMPLE: sampled, SHUFFLED: shuffled, DRAFT: drafted}, quick=quick, clock=time.perf_counter)
    say(", ".join(f"{name} {seconds * 1e3:.1f} ms" for name, seconds in took.items()))
    tell(
        Row(
            f"sample of {MOST:,} of a week of {rows:,} log rows, beside ORDER BY random(), {database}",
            f"<= {GOAL_MS} ms",
            f"{took[SAMPLE] * 1e3:.0f} and {took[SHUFFLED] * 1e3:,.0f} ms; matches of one route {took[DRAFT] * 1e3:.0f} ms",
            times(took[SAMPLE] / took[SHUFFLED]),
            held(took[SAMPLE] * 1e3 <= GOAL_MS),
        )
    )


if __name__ == "__main__":
    sys.exit(main())
