"""A semantic cache: a request is answered by the cache where one with a near embedding filled it shortly before.

Per (provider, model), by cosine similarity, the nearest entry alone; one independent cache for each threshold. A hit
whose answer seems to be another one than that of the entry's request is a candidate for poisoning.

Similarities decide, so they may not depend on how a machine adds: matrix products only say which entries may be the
nearest, and those few are compared by sums that are rounded once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import fsum, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns import Block

type Vector = NDArray[np.float32]

#: Far more than a matrix product of 32-bit numbers of this length may be off.
_SLACK = 1e-3
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


@dataclass(slots=True)
class _Entries:
    """The cache of one threshold for one (provider, model)."""

    vectors: list[Vector] = field(default_factory=list)
    #: (microseconds, finish reason, output tokens) of the requests that filled them.
    filled: list[tuple[int, str | None, int]] = field(default_factory=list)
    #: Unit vectors by row, with room to grow; from `start` on they are alive.
    matrix: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    start: int = 0

    def expire(self, before: int) -> None:
        while self.start < len(self.filled) and self.filled[self.start][0] < before:
            self.start += 1
        if self.start > 1_000 and self.start > len(self.filled) // 2:
            self.matrix = self.matrix[self.start : len(self.filled)].copy()
            del self.vectors[: self.start], self.filled[: self.start]
            self.start = 0

    def nearest(self, vector: Vector, unit: Vector) -> tuple[np.float32, int] | None:
        """The highest similarity and its entry; of equal ones the earliest."""
        if self.start == len(self.filled):
            return None
        alike = self.matrix[self.start : len(self.filled)] @ unit
        near = np.flatnonzero(alike >= alike.max() - _SLACK) + self.start
        return max(((cosine(self.vectors[place], vector), -place) for place in near.tolist()), default=None)

    def fill(self, vector: Vector, unit: Vector, of: tuple[int, str | None, int]) -> None:
        if len(self.filled) == len(self.matrix):
            room = np.zeros((max(64, 2 * len(self.matrix)), len(unit)), np.float32)
            if len(self.matrix):
                room[: len(self.matrix)] = self.matrix
            self.matrix = room
        self.matrix[len(self.filled)] = unit
        self.vectors.append(vector)
        self.filled.append(of)


class L2:
    """Fed with rows in their order; rows without an embedding do not ask."""

    def __init__(self, ttl_seconds: float, thresholds: Sequence[float]) -> None:
        self._ttl = round(ttl_seconds * 1_000_000)
        self._given = list(thresholds)
        self._thresholds = [np.float32(threshold) for threshold in thresholds]
        #: By (threshold's place, provider, model, length of vectors).
        self._caches: dict[tuple[int, str | None, str | None, int], _Entries] = {}
        self.total = 0
        self.hits = [0 for _ in thresholds]
        self.poisoned = [0 for _ in thresholds]
        #: Rows that are a candidate at any threshold.
        self.candidates = 0

    def add(self, block: Block, rows: Sequence[int], priced: int | None) -> list[int]:
        """Those of these rows that the cache of the threshold at place `priced` answers."""
        answered: list[int] = []
        ts, tokens = block.numbers("ts"), block.numbers("output_tokens")
        for row in rows:
            raw = block.text("embedding", row)
            if raw is None:
                continue
            vector = np.frombuffer(raw.encode("latin-1"), "<f4")
            of = int(ts[row]), block.text("finish_reason", row), int(tokens[row])
            served = block.text("provider", row), block.text("model", row)
            hits, poisoned = self._ask(vector, of, served)
            self.total += 1
            self.candidates += any(poisoned)
            for place, (hit, poison) in enumerate(zip(hits, poisoned, strict=True)):
                self.hits[place] += hit
                self.poisoned[place] += poison
            if priced is not None and hits[priced]:
                answered.append(row)
        return answered

    def _ask(
        self, vector: Vector, of: tuple[int, str | None, int], served: tuple[str | None, str | None]
    ) -> tuple[list[bool], list[bool]]:
        """By threshold, whether the cache answers and whether what it answers seems wrong."""
        length = float(np.sqrt(np.square(vector, dtype=np.float64).sum()))
        unit = (vector / length if length else vector).astype(np.float32)
        hits, poisoned = [], []
        for place, threshold in enumerate(self._thresholds):
            entries = self._caches.setdefault((place, *served, len(vector)), _Entries())
            entries.expire(of[0] - self._ttl)
            found = entries.nearest(vector, unit)
            hit = found is not None and bool(found[0] >= threshold)
            hits.append(hit)
            if found is not None and hit:
                _, finish_reason, tokens = entries.filled[-found[1]]
                poisoned.append(diverged(finish_reason, tokens, of[1], of[2]))
            else:
                poisoned.append(False)
                entries.fill(vector, unit, of)
        return hits, poisoned

    def aggregates(self) -> list[dict[str, Any]]:
        """By threshold; none where no row had an embedding."""
        if not self.total:
            return []
        return [
            {
                "threshold": threshold,
                "total": self.total,
                "hits": hits,
                "rate": hits / self.total,
                "poisoning_candidates": poisoned,
            }
            for threshold, hits, poisoned in zip(self._given, self.hits, self.poisoned, strict=True)
        ]
