"""What projected caches would answer: `Caches`, and behind it

l1      an exact cache: equal requests
l2      a semantic cache: requests whose embeddings are near
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plans.replay.caches.l1 import L1, keys_of
from plans.replay.caches.l2 import L2
from plans.replay.columns import Block
from plans.replay.deciding.decisions import Decider
from plans.replay.question import Question
from routes.engine import RouteDecision

__all__ = ["Caches"]

type Hits = NDArray[np.bool_]


class Caches:
    """The caches that a question supposes, under today's and under the proposed routes. Fed with rows in their order.

    Both sides have the same caches, so that only what the routes do is contrasted; they differ where a route disables
    the cache for its requests.
    """

    def __init__(self, question: Question) -> None:
        self._decider = Decider(question.current, question.proposed) if question.may_disable_cache else None
        sides = 1 if self._decider is None else 2
        ttl = question.l1_ttl_seconds
        self._l1 = [] if ttl is None else [L1(ttl) for _ in range(sides)]
        ttl, sweep = question.l2_ttl_seconds, question.l2_threshold_sweep
        priced = question.l2_priced_threshold
        self._priced = None if priced is None else sweep.index(priced)
        # Without a price only the proposed routes' cache is reported.
        of_l2 = sides if self._priced is not None else 1
        self._l2 = [] if ttl is None else [L2(ttl, sweep) for _ in range(of_l2)]

    def add(self, block: Block, *, alive: Callable[[], None] | None = None) -> tuple[Hits, Hits]:
        """By row whether a cache answers it under today's and under the proposed routes. All rows of the block count.

        `alive` is called now and then while that lasts; what it raises ends the pass.
        """
        asks = [np.ones(block.rows, bool)]
        if self._decider is not None:
            decided = self._decider(block)
            asks = [
                np.array([asks_a_cache(decision) for decision in outcomes.decisions], bool)[numbers]
                for outcomes, numbers in ((self._decider.current, decided.now), (self._decider.proposed, decided.then))
            ]
        hits = [np.zeros(block.rows, bool) for _ in asks]
        if self._l1:
            keys = keys_of(block)
            for side, cache in enumerate(self._l1):
                hits[side] |= cache.add(block, keys, asks[side])
        for side, semantic in zip(range(len(asks))[-len(self._l2) :], self._l2, strict=False):
            hits[side][semantic.add(block, np.flatnonzero(asks[side]).tolist(), self._priced, alive=alive)] = True
        return hits[0], hits[-1]

    def l2_aggregates(self) -> dict[str, Any]:
        """What is reported of the semantic cache."""
        if not self._l2:
            return {"l2_projections": [], "l2_poisoning_candidates": 0}
        return {
            "l2_projections": self._l2[-1].aggregates(),
            "l2_poisoning_candidates": self._l2[-1].candidates,
        }


def asks_a_cache(decision: RouteDecision) -> bool:
    """Whether requests with this decision may be answered from a cache, and fill it: not where a route disables it, and
    not where nobody answers at all."""
    return not decision.disable_cache and decision.refusal is None
