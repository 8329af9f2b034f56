"""Histories of 64 writers in 16 organisations, 50,000 commits on PostgreSQL and 10,000 on SQLite: each answer is what comes
of the acts one after the other, in the order of the versions."""

from collections.abc import Callable

from tests.campaign._suite import ask

WRITERS, ORGS = 64, 16
COMMITS = {"sqlite": 10_000, "postgres": 50_000}


def run(seed: int, say: Callable[[str], None]) -> bool:
    return ask(
        "tests/torn/test_history.py",
        seed,
        say,
        told=" anomalies",
        counts={"WRITERS": WRITERS, "ORGS": ORGS},
        of_database={database: {"COMMITS": commits} for database, commits in COMMITS.items()},
    )
