"""5,000 random walks of edits, applies and reverts beside a model, half of them on each database."""

from collections.abc import Callable

from tests.campaign._suite import ask

WALKS, STEPS = 2_500, 20


def run(seed: int, say: Callable[[str], None]) -> bool:
    counts = {"WALKS": WALKS, "STEPS": STEPS}
    return ask("tests/torn/test_walks.py", seed, say, told="as the model says", counts=counts, at_once=True)
