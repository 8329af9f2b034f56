"""Times of candidates that race each other: in one process, in turns, so that what disturbs the machine hits all alike.

The clock counts what the processor spends on this process, which is the same however busy the machine is with others
(the time of day doubles where two share a core). A candidate that waits, or works in threads, wants the other clock.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

ROUNDS, BLOCK_SECONDS = 7, 0.04
#: For a look, not for a figure.
QUICK_ROUNDS, QUICK_BLOCK_SECONDS = 3, 0.01


class Fresh(NamedTuple):
    """A candidate that wants something new each time; making it is not timed."""

    make: Callable[[], Any]
    use: Callable[[Any], object]


type Candidate = Callable[[], object] | Fresh
type Clock = Callable[[], float]


def race(
    candidates: Mapping[str, Candidate], *, quick: bool = False, per: int = 1, clock: Clock = time.process_time
) -> dict[str, float]:
    """By name, the median over all rounds of the seconds for one call, divided by `per`: the calls of a candidate that
    goes through a list.

    Each round asks every candidate, in the order given, for as many calls as fill a block of time. A candidate that
    takes longer than the block is called once a round.
    """
    rounds, block = (QUICK_ROUNDS, QUICK_BLOCK_SECONDS) if quick else (ROUNDS, BLOCK_SECONDS)
    took: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, candidate in candidates.items():
            gc.collect()  # or one candidate would pay for what another left behind
            took[name].append(seconds_per_call(candidate, block, clock))
    return {name: statistics.median(times) / per for name, times in took.items()}


def seconds_per_call(candidate: Candidate, block: float, clock: Clock = time.process_time) -> float:
    """The mean over calls that together take at least this long."""
    if isinstance(candidate, Fresh):
        return _seconds_per_fresh_call(candidate, block, clock)
    calls = 1
    while True:
        start = clock()
        for _ in range(calls):
            candidate()
        took = clock() - start
        if took >= block:
            return took / calls
        # Twice as many, or at once about as many as are needed.
        calls = max(2 * calls, min(1_000 * calls, int(1.1 * calls * block / max(took, 1e-9))))


def _seconds_per_fresh_call(candidate: Fresh, block: float, clock: Clock) -> float:
    make, use = candidate
    took, calls = 0.0, 0
    while took < block:
        made = make()
        start = clock()
        use(made)
        took += clock() - start
        calls += 1
    return took / calls
