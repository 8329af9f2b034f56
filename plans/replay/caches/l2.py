"""A semantic cache: a request is answered by the cache where one with a near embedding filled it shortly before.

Per (provider, model), by cosine similarity, the nearest entry alone; one independent cache for each threshold. A hit
whose answer seems to be another one than that of the entry's request is a candidate for poisoning.

Similarities decide, so they may not depend on how a machine adds. Three steps, each for what the one before leaves open:
products of 32-bit matrices say which entries may be the nearest, and whether they may be near enough; products of 64-bit
numbers say how near, where all that they may be off rounds to one 32-bit number; `cosine` is exact, and slow.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from math import fsum, inf, sqrt
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns import Block

type Vector = NDArray[np.float32]
type Flags = NDArray[np.bool_]
type Places = NDArray[np.intp]

#: So many requests are compared at once with so many entries.
_BATCH: Final = 256
_PAGE: Final = 1_024
#: Less than any similarity.
_NONE: Final = np.float32(-2)
#: Answers whose lengths differ by more than so many tokens, or by more than this share of the longer one, are not alike.
_TOKENS, _SHARE = 20, 4


def cosine(one: Vector, other: Vector) -> np.float32:
    """The cosine of the angle between two vectors, each sum rounded once, as a 32-bit number; 0 where one has no
    direction or they are of different lengths."""
    if len(one) != len(other):
        return np.float32(0)
    left, right = one.astype(np.float64).tolist(), other.astype(np.float64).tolist()
    product = fsum(a * b for a, b in zip(left, right, strict=True))  # of 32-bit numbers, so each term is exact
    lengths = sqrt(fsum(a * a for a in left)) * sqrt(fsum(b * b for b in right))
    return np.float32(product / lengths) if lengths else np.float32(0)


def diverged(finish_reason: str | None, tokens: int, other_finish_reason: str | None, other_tokens: int) -> bool:
    """Whether two answers do not seem to be the same: other reasons to end, or lengths too far apart."""
    if finish_reason is not None and other_finish_reason is not None and finish_reason != other_finish_reason:
        return True
    return abs(tokens - other_tokens) > max(_TOKENS, max(tokens, other_tokens) / _SHARE)


class _Page(NamedTuple):
    """Requests in their order, row by row: some that filled caches, or some that ask."""

    #: Embeddings, times a power of two: from a half to 1 long, or 0.
    vectors: NDArray[np.float32]
    #: What makes them 1 long; 0 where they are 0.
    factors: NDArray[np.float32]
    #: The embedding where that power of two cost digits, else None.
    originals: NDArray[np.object_]
    #: Microseconds.
    ts: NDArray[np.int64]
    finish_reasons: NDArray[np.object_]
    output_tokens: NDArray[np.int64]
    #: By threshold, whether the request filled its cache.
    filled: Flags

    def taken(self, rows: Flags) -> "_Page":
        return _Page(*(column[rows] for column in self))

    def joined(self, other: "_Page") -> "_Page":
        return _Page(*(np.concatenate(columns) for columns in zip(self, other, strict=True)))

    def embedding(self, row: int) -> Vector:
        """Exact, but for a power of two."""
        original: Vector | None = self.originals[row]
        return self.vectors[row] if original is None else original

    def answer(self, row: int) -> tuple[str | None, int]:
        return self.finish_reasons[row], int(self.output_tokens[row])

    def alike(self, units: NDArray[np.float32], before: NDArray[np.int64]) -> NDArray[np.float32]:
        """About how alike each of these vectors of length 1 is to each row; nothing to those of earlier than `before`."""
        found: NDArray[np.float32] = units @ self.vectors.T
        found *= self.factors
        if self.ts[0] < before[-1]:
            found[self.ts < before[:, None]] = _NONE
        return found


class _Near(NamedTuple):
    """Entries by their places among all, and about how alike they are to a request."""

    places: Places
    alike: NDArray[np.float32]


class _Entries:
    """The caches of one (provider, model, length of embeddings). A request that filled several is kept once."""

    def __init__(self, length: int, thresholds: Sequence[np.float32]) -> None:
        self._thresholds = [float(threshold) for threshold in thresholds]
        #: Twice what a similarity by sums of so many products may be off, in whatever order a machine adds (Higham,
        #: Accuracy and Stability of Numerical Algorithms, 2002, section 3.1), of 32-bit numbers and of 64-bit ones.
        self._off, self._off_64 = (length + 8) * 2.0**-23, (length + 8) * 2.0**-51
        #: Who has nothing as near as that hits nowhere.
        self._least = min(self._thresholds, default=inf) - self._off
        self.pages: list[_Page] = []

    def ask(self, asked: _Page, ttl: int) -> tuple[Flags, Flags]:
        """By row and threshold, whether the cache answers and whether what it answers seems wrong."""
        before = asked.ts - ttl
        self.pages = [page for page in self.pages if page.ts[-1] >= before[0]]
        pages = [*self.pages, asked]
        starts = list(accumulate(len(page.ts) for page in pages[:-1]))
        starts.insert(0, 0)
        units = asked.vectors * asked.factors[:, None]
        near, may_hit = self._near(units, before)
        among = asked.alike(units, before)
        among[np.triu_indices(len(units))] = _NONE  # only earlier ones answer
        may_hit |= among.max(axis=1) >= self._least
        asked.filled[~may_hit] = True
        hits, poisoned = np.zeros_like(asked.filled), np.zeros_like(asked.filled)
        for row in np.flatnonzero(may_hit).tolist():
            for number, threshold in enumerate(self._thresholds):
                others = np.flatnonzero(asked.filled[:, number] & (among[row] >= threshold - self._off))
                places, alike = near[number][row]
                places = np.concatenate([places, others + starts[-1]])
                alike = np.concatenate([alike, among[row, others]])
                ...
        return hits, poisoned
