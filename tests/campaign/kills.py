"""Workers killed at 200 random moments on each database: the suite's own test, asked for more."""

from collections.abc import Callable

from tests.campaign._suite import ask

KILLS = 200


def run(seed: int, say: Callable[[str], None]) -> bool:
    return ask("tests/plans/runs/test_kills.py", seed, say, told="results that differ", counts={"KILLS": KILLS})
