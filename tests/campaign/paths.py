"""Compiled path tables against the obvious matcher of the suite, on a hundred times as many tables."""

import random
from collections import Counter
from collections.abc import Callable

TABLES = 40_000


def run(seed: int, say: Callable[[str], None]) -> bool:
    from tests.routes.engine.test_paths_agree import disagreement

    chance, seen = random.Random(seed), Counter[str]()
    for number in range(1, TABLES + 1):
        if found := disagreement(chance, seen):
            say(found)
            return False
        if number % 10_000 == 0:
            say(f"{number:,} tables: {', '.join(f'{count:,} {kind}' for kind, count in seen.most_common())}")
    return True
