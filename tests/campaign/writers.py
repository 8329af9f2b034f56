"""Writers that edit, apply and revert, killed at 10,000 random moments on PostgreSQL, and the server stopped under them 200
times: nothing is torn, nothing lost that was answered. It is about borders of transactions, not about power loss."""

from collections.abc import Callable

from tests.campaign._suite import ask

KILLS, STOPS = 10_000, 200


def run(seed: int, say: Callable[[str], None]) -> bool:
    counts = {"KILLS": KILLS, "STOPS": STOPS}
    return ask("tests/torn/test_writers.py", seed, say, told=" faults", counts=counts, databases=["postgres"])
