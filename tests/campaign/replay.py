"""Whether a replay says what is true: generated worlds against a replay written out plainly, figure by figure, and
generated routes and rows against `Engine.decide`, decision by decision. What differs is made small and shown."""

from collections.abc import Callable

from tests.plans.replay.agreement import Compared, compare_decisions, compare_worlds

WORLDS, DECISIONS = 8_000, 1_000_000


def run(seed: int, say: Callable[[str], None]) -> bool:
    worlds = compare_worlds(seed, WORLDS)
    held = _told("worlds", worlds, say)
    return _told("decisions", compare_decisions(seed, DECISIONS), say) and held


def _told(what: str, told: Compared, say: Callable[[str], None]) -> bool:
    say(f"{told.number:,} {what}: {', '.join(f'{name} {count:,}' for name, count in sorted(told.seen.items()))}")
    for fault in told.faults:
        say(f"FAULT {fault}")
    return not told.faults
