"""Hostile texts in every field: forty worlds on each database, so that each string stands in many places, and all strings
in each form."""

from collections.abc import Callable

from tests.campaign._suite import ask


def run(seed: int, say: Callable[[str], None]) -> bool:
    counts = {"ROUNDS": 40, "EACH": 1}
    return ask("tests/test_hostile_texts.py", seed % 540, say, told="strings", counts=counts)
