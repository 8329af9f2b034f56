"""Two acts on one organisation in every order of all their steps, each of them against each, and two hundred callers of the
API who apply one plan at once, on each database."""

from collections.abc import Callable

from tests.campaign._suite import ask

ALL = {"PAIRS": 0, "DRAWN": 1_000}
CALLERS = 200


def run(seed: int, say: Callable[[str], None]) -> bool:
    meet = ask("tests/torn/test_orders.py", seed, say, told=" meetings", counts=ALL)
    apply = ask("tests/torn/test_at_once.py", seed, say, told=" at once", counts={"API_CALLERS": CALLERS})
    return meet and apply
