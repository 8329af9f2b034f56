"""The signer killed at 200 random moments on each database: all that it signed is of one history."""

from collections.abc import Callable

from tests.campaign._suite import ask


def run(seed: int, say: Callable[[str], None]) -> bool:
    return ask("tests/audit/signing/test_kills.py", seed, say, told="the signer killed", counts={"KILLS": 200})
