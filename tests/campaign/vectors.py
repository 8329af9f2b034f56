"""All vectors of hostile JSON and text at every write of the API, on each database: the code of the suite's own tests."""

from collections.abc import Callable

from tests.campaign._suite import ask


def run(seed: int, say: Callable[[str], None]) -> bool:
    """Nothing is drawn: the seed changes nothing."""
    return ask("tests/api/test_vectors.py", seed, say, told=" bodies of ", counts={"EVERYTHING": 1})
