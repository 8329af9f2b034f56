"""Every statement of every act fails, in every way, on each database."""

from collections.abc import Callable

from tests.campaign._suite import ask


def run(seed: int, say: Callable[[str], None]) -> bool:
    return ask("tests/torn/test_statements.py", seed, say, told=" torn", counts={"DRAWN": 0})
