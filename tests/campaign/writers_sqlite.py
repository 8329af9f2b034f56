"""The same on SQLite, which has no server to stop: half an hour is not enough for both."""

from collections.abc import Callable

from tests.campaign._suite import ask
from tests.campaign.writers import KILLS


def run(seed: int, say: Callable[[str], None]) -> bool:
    counts = {"KILLS": KILLS, "STOPS": 0}
    return ask("tests/torn/test_writers.py", seed, say, told=" faults", counts=counts, databases=["sqlite"])
