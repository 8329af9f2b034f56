"""Schemathesis over the whole OpenAPI document, 20,000 cases on each database: the suite's own test, asked for more."""

from collections.abc import Callable

from tests.campaign._suite import ask

CASES = 20_000


def run(seed: int, say: Callable[[str], None]) -> bool:
    return ask("tests/api/test_schemathesis.py", seed, say, told=" cases for ", counts={"CASES": CASES})
