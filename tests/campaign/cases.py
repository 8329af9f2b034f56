"""The suite's tests of what touches the database, every case of theirs on SQLite and on PostgreSQL: in the suite each case
of a test with more than two of them runs on one."""

from collections.abc import Callable

from tests.campaign._suite import ask


def run(seed: int, say: Callable[[str], None]) -> bool:
    return ask("tests", seed, say, told=" passed", counts={"TEST_EVERY_CASE": 1})
