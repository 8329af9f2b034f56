"""How fast a request would have been under another model: at its own rank.

A row has a place in the latencies of the model that served it in the window, and takes what stands at that place in those
of the model that would serve it. To give every such row the other model's median would flatten the tail.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from plans.replay.sure import BINS, splitmix64

#: The other model's latencies are read off at so many ranks.
LEVELS: Final = 4_096
#: An index of models without latencies.
NO_HISTORY: Final = -1


class Histories:
    """The latencies of each model in the window."""

    def __init__(self, latencies: Mapping[tuple[str, str], NDArray[np.int64]]) -> None:
        """By (provider, model), rows by bin."""
        together: dict[tuple[str | None, str], NDArray[np.int64]] = {}
        for (provider, model), counts in sorted(latencies.items()):
            if counts.any():
                together[provider, model] = counts
                together[None, model] = together.get((None, model), 0) + counts
        self._places = {served: place for place, served in enumerate(together)}
        rows = np.array(list(together.values()), np.int64).reshape(-1, BINS)
        totals = rows.sum(axis=1, keepdims=True)
        below = np.cumsum(rows, axis=1) - rows
        #: By history and bin: the share of its rows in lower bins, and in this one.
        self._low = below / np.maximum(totals, 1)
        self._width = rows / np.maximum(totals, 1)
        self._at = np.zeros((len(rows), LEVELS), np.int64)
        for place, counts in enumerate(rows):
            total = int(totals[place, 0])
            index = (2 * np.arange(LEVELS) + 1) * total // (2 * LEVELS)
            self._at[place] = np.searchsorted(np.cumsum(counts), index, side="right")

    def place(self, provider: str, model: str) -> int:
        """The history of a model: with this provider if there is one, else with all; `NO_HISTORY` without any."""
        place = self._places.get((provider, model))
        return self._places.get((None, model), NO_HISTORY) if place is None else place

    def own(self, provider: str, model: str) -> int:
        """The history that a row served by them is part of."""
        return self._places.get((provider, model), NO_HISTORY)

    def moved(
        self, bins: NDArray[np.intp], own: NDArray[np.int64], other: NDArray[np.int64], ordinals: NDArray[np.uint64]
    ) -> NDArray[np.intp]:
        """The bins of rows in another history, at the rank they have in their own.

        Rows of one bin lie in the order of the hashes of their ordinals, as if spread evenly over it.
        """
        spread = (splitmix64(ordinals) >> np.uint64(11)) * 2.0**-53
        flat = own * BINS + bins
        ranks = self._low.reshape(-1).take(flat) + self._width.reshape(-1).take(flat) * spread
        # A rank just below 1 may be rounded up to it.
        levels = np.minimum((ranks * LEVELS).astype(np.intp), LEVELS - 1)
        return self._at.reshape(-1).take(other * LEVELS + levels)
