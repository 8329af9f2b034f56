"""An exact cache: a request is answered by the cache where an equal one filled it shortly before."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns import Block
from plans.replay.columns.column import Coded
from plans.replay.sure import splitmix64

#: Entries that expired are forgotten once they are so many times those that did not.
_STALE: Final = 2


class L1:
    """Fed with rows in their order. A hit does not refresh its entry; an entry is that of the row that filled it, for
    `ttl_seconds`, the last of them included."""

    def __init__(self, ttl_seconds: float) -> None:
        self._ttl = round(ttl_seconds * 1_000_000)
        #: By key, when the entry was filled, in microseconds.
        self._filled: dict[int, int] = {}
        self._kept = 1_000

    def add(self, block: Block, keys: NDArray[np.uint64], asks: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """By row whether the cache answers it. Rows that do not ask neither hit nor fill."""
        hits = np.zeros(block.rows, bool)
        filled, ttl = self._filled, self._ttl
        rows = np.flatnonzero(asks)
        for row, key, ts in zip(rows.tolist(), keys[rows].tolist(), block.numbers("ts")[rows].tolist(), strict=True):
            at = filled.get(key)
            if at is not None and ts - at <= ttl:
                hits[row] = True
            else:
                filled[key] = ts
        if len(filled) > _STALE * self._kept and len(rows):
            now = int(block.numbers("ts")[-1])
            self._filled = {key: at for key, at in filled.items() if now - at <= ttl}
            self._kept = max(len(self._filled), 1_000)
        return hits


def keys_of(block: Block) -> NDArray[np.uint64]:
    """By row 64 bits that equal requests share: of the digest of the request, else of who served it, how many tokens went
    in, and its tag."""
    digests = block.texts("request_digest")
    keys = digests.hashes()
    lacking = digests.lengths == 0
    if lacking.any():
        mixed = splitmix64(block.numbers("input_tokens").astype(np.uint64))
        for name in ("provider", "model", "tag"):
            mixed = splitmix64(mixed ^ _hashes(block.coded(name)))
        keys = np.where(lacking, mixed, keys)
    return keys


def _hashes(column: Coded) -> NDArray[np.uint64]:
    return np.append(column.vocabulary.hashes, np.uint64(0))[column.codes]
