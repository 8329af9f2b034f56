"""Partitions moved under load with the real barrier, some of the moves called off before, on both databases."""

from collections.abc import Callable

from tests.campaign._suite import ask

MOVES, WRITES = 12, 4_000


def run(seed: int, say: Callable[[str], None]) -> bool:
    return ask(
        "tests/loop/test_placements_loop.py", seed, say, told="writes", counts={"MOVES": MOVES, "WRITES": WRITES}
    )
