"""Every service that is repeated, given up at each of its statements, on each database."""

from collections.abc import Callable

from tests.campaign._suite import ask


def run(seed: int, say: Callable[[str], None]) -> bool:
    return ask("tests/torn/test_repeated.py", seed, say, told=" given up once", counts={"STATEMENTS": 0})
