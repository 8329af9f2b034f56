"""A semantic cache: a request is answered by the cache where one with a near embedding filled it shortly before.

Per (provider, model), by cosine similarity, the nearest entry alone; one independent cache for each threshold. A hit
whose answer seems to be another one than that of the entry's request is a candidate for poisoning.

Similarities decide, so they may not depend on how a machine adds. Three steps, each for what the one before leaves open:
products of 32-bit matrices say which entries may be the nearest, and whether they may be near enough; products of 64-bit
numbers say how near, where all that they may be off rounds to one 32-bit number; `cosine` is exact, and slow.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, batched
from math import fsum, inf, sqrt
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plans.replay.columns import Block

type Vector = NDArray[np.float32]
type Flags = NDArray[np.bool_]

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
        columns: list[Any] = [column[rows] for column in self]
        return _Page(*columns)

    def joined(self, other: "_Page") -> "_Page":
        columns: Iterable[Any] = zip(self, other, strict=True)
        return _Page(*map(np.concatenate, columns))

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


def _embeddings(block: Block, rows: Sequence[int], length: int) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """The rows whose embedding has finite numbers only, and these."""
    raw = b"".join((block.text("embedding", row) or "").encode("latin-1") for row in rows)
    vectors = np.frombuffer(raw, "<f4").reshape(len(rows), length).astype(np.float32)
    finite = np.isfinite(vectors).all(axis=1)
    return np.array(rows)[finite], vectors[finite]


def _page_of(block: Block, rows: NDArray[np.intp], vectors: NDArray[np.float32], thresholds: int) -> _Page:
    """Requests with these embeddings, that filled nothing so far."""
    lengths, exponents = np.frexp(_lengths(vectors.astype(np.float64)))
    scaled = np.ldexp(vectors, -exponents[:, None])
    originals = np.full(len(rows), None, object)
    for row in np.flatnonzero((np.ldexp(scaled, exponents[:, None]) != vectors).any(axis=1)).tolist():
        originals[row] = vectors[row].copy()
    return _Page(
        vectors=scaled,
        factors=np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0).astype(np.float32),
        originals=originals,
        ts=block.numbers("ts")[rows],
        finish_reasons=np.array([block.text("finish_reason", row) for row in rows.tolist()], object),
        output_tokens=block.numbers("output_tokens")[rows],
        filled=np.zeros((len(rows), thresholds), bool),
    )


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    return found


class _Pages:
    """Several pages as if they were one."""

    def __init__(self, pages: Sequence[_Page]) -> None:
        self._pages = pages
        self.starts = [0, *accumulate(len(page.ts) for page in pages)]

    def at(self, place: int) -> tuple[_Page, int]:
        """The page, and the row of it."""
        number = bisect_right(self.starts, place) - 1
        return self._pages[number], place - self.starts[number]

    def cosines(self, places: NDArray[np.intp], vector: Vector, off: float) -> NDArray[np.float32]:
        """What `cosine` gives for each of these, which ascend. `off`: of sums of 64-bit numbers."""
        numbers = np.searchsorted(self.starts, places, side="right") - 1
        others = np.concatenate(
            [
                self._pages[number].vectors[places[numbers == number] - self.starts[number]]
                for number in np.unique(numbers)
            ]
        ).astype(np.float64)
        one = vector.astype(np.float64)
        lengths = _lengths(others) * _lengths(one[None])
        about = np.divide(others @ one, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        offs = np.where(lengths > 0, off, 0)
        found, highest = (about - offs).astype(np.float32), (about + offs).astype(np.float32)
        for number in np.flatnonzero(found != highest).tolist():
            page, row = self.at(int(places[number]))
            found[number] = cosine(page.embedding(row), vector)
        return found


class _Near(NamedTuple):
    """Entries by their places among all, and about how alike they are; of row `n` those from `bounds[n]` on."""

    bounds: list[int]
    places: NDArray[np.intp]
    alike: NDArray[np.float32]


class _Entries:
    """The caches of one (provider, model, length of embeddings). A request that filled several is kept once."""

    def __init__(self, length: int, thresholds: Sequence[np.float32]) -> None:
        self._thresholds = [float(threshold) for threshold in thresholds]
        #: Twice what a sum of so many products may be off, in whatever order a machine adds (Higham, Accuracy and
        #: Stability of Numerical Algorithms, 2002, section 3.1), of 32-bit numbers and of 64-bit ones.
        self._off, self._off_64 = (length + 8) * 2.0**-23, (length + 8) * 2.0**-51
        #: A request that has nothing as near as that hits nowhere.
        self._least = min(self._thresholds, default=inf) - self._off
        self.pages: list[_Page] = []

    def ask(self, asked: _Page, ttl: int) -> tuple[Flags, Flags]:
        """By row and threshold, whether the cache answers and whether what it answers seems wrong."""
        before = asked.ts - ttl
        self.pages = [page for page in self.pages if page.ts[-1] >= before[0]]
        pages = _Pages([*self.pages, asked])
        units = asked.vectors * asked.factors[:, None]
        near, may_hit = self._near(units, before)
        among = asked.alike(units, before)
        among[np.triu_indices(len(units))] = _NONE  # only earlier ones answer
        may_hit |= among.max(axis=1) >= self._least
        asked.filled[~may_hit] = True
        hits, poisoned = np.zeros_like(asked.filled), np.zeros_like(asked.filled)
        for row in np.flatnonzero(may_hit).tolist():
            for number, threshold in enumerate(self._thresholds):
                of_row = slice(*near[number].bounds[row : row + 2])
                earlier = np.flatnonzero(asked.filled[:, number] & (among[row] >= threshold - self._off))
                alike = np.concatenate([near[number].alike[of_row], among[row, earlier]])
                places = np.concatenate([near[number].places[of_row], earlier + pages.starts[-2]])
                found = self._nearest(pages, places, alike, threshold, asked.embedding(row))
                if found is None:
                    asked.filled[row, number] = True
                else:
                    page, place = pages.at(found)
                    hits[row, number] = True
                    poisoned[row, number] = diverged(*page.answer(place), *asked.answer(row))
        self._keep(asked.taken(asked.filled.any(axis=1)))
        return hits, poisoned

    def _near(self, units: NDArray[np.float32], before: NDArray[np.int64]) -> tuple[list[_Near], Flags]:
        """By threshold, which entries may be the nearest and near enough; by row, whether there are any."""
        tops = np.full((len(self._thresholds), len(units)), _NONE)
        empty = np.empty(0, np.intp)
        parts = [[(empty, empty, np.empty(0, np.float32))] for _ in self._thresholds]
        start = 0
        for page in self.pages:
            alike = page.alike(units, before)
            rows = np.flatnonzero(alike.max(axis=1) >= self._least)
            alike = alike[rows]
            for number, threshold in enumerate(self._thresholds if len(rows) else []):
                of_this = np.where(page.filled[:, number], alike, _NONE)
                tops[number, rows] = np.maximum(tops[number, rows], of_this.max(axis=1))
                enough = np.maximum(tops[number, rows] - 2 * self._off, threshold - self._off)
                which, places = np.nonzero(of_this >= enough[:, None])
                parts[number].append((rows[which], places + start, of_this[which, places]))
            start += len(page.ts)
        near = []
        for part in parts:
            rows, places, alike = map(np.concatenate, zip(*part, strict=True))
            order = np.argsort(rows, kind="stable")  # of a row the earlier ones first, as they were found
            bounds = np.searchsorted(rows[order], np.arange(len(units) + 1)).tolist()
            near.append(_Near(bounds, places[order], alike[order]))
        return near, (tops >= self._least).any(axis=0)

    def _nearest(
        self, pages: _Pages, places: NDArray[np.intp], alike: NDArray[np.float32], threshold: float, vector: Vector
    ) -> int | None:
        """The place of the entry that answers, of those that may and are about so much alike: the nearest, of equal ones
        the earliest. None where that is not near enough."""
        if not len(places):
            return None
        top = float(alike.max())
        places = places[alike >= top - 2 * self._off]
        if len(places) == 1 and abs(top - threshold) > self._off:
            return int(places[0]) if top > threshold else None
        exactly = pages.cosines(places, vector, self._off_64)
        best = int(exactly.argmax())
        return int(places[best]) if exactly[best] >= threshold else None

    def _keep(self, page: _Page) -> None:
        """Every page but the last is nearly full."""
        if self.pages and len(self.pages[-1].ts) + len(page.ts) <= _PAGE:
            page = self.pages.pop().joined(page)
        if len(page.ts):
            self.pages.append(page)


class L2:
    """Fed with rows in their order. Rows without an embedding do not ask; one with a number that is not finite, or of
    bytes that are no whole number of 32-bit numbers, is none."""

    def __init__(self, ttl_seconds: float, thresholds: Sequence[float]) -> None:
        self._ttl = round(ttl_seconds * 1_000_000)
        self._given = list(thresholds)
        self._thresholds = [np.float32(threshold) for threshold in thresholds]
        #: By (provider, model, bytes of an embedding).
        self._caches: dict[tuple[str | None, str | None, int], _Entries] = {}
        self.total = 0
        self.hits = [0 for _ in thresholds]
        self.poisoned = [0 for _ in thresholds]
        #: Rows that are a candidate at any threshold.
        self.candidates = 0

    def add(
        self, block: Block, rows: Sequence[int], priced: int | None, *, alive: Callable[[], None] | None = None
    ) -> list[int]:
        """Those of these rows that the cache of the threshold at place `priced` answers. `alive` is called every few
        hundred rows; what it raises ends the pass."""
        asking: dict[tuple[str | None, str | None, int], list[int]] = {}
        for row in rows:
            raw = block.text("embedding", row)
            if raw is not None and len(raw) % 4 == 0:
                asking.setdefault((block.text("provider", row), block.text("model", row), len(raw)), []).append(row)
        answered: list[int] = []
        since = 0
        for key, of_key in asking.items():
            length = key[2] // 4
            if key not in self._caches:
                self._caches[key] = _Entries(length, self._thresholds)
            for batch in batched(of_key, _BATCH, strict=False):
                since += len(batch)
                if alive is not None and since >= _BATCH:
                    since = 0
                    alive()
                places, vectors = _embeddings(block, batch, length)
                if not len(places):
                    continue
                asked = _page_of(block, places, vectors, len(self._thresholds))
                hits, poisoned = self._caches[key].ask(asked, self._ttl)
                self._count(hits, poisoned)
                if priced is not None:
                    answered += places[hits[:, priced]].tolist()
        return sorted(answered)

    def _count(self, hits: Flags, poisoned: Flags) -> None:
        self.total += len(hits)
        self.hits = [sum(two) for two in zip(self.hits, hits.sum(axis=0).tolist(), strict=True)]
        self.poisoned = [sum(two) for two in zip(self.poisoned, poisoned.sum(axis=0).tolist(), strict=True)]
        self.candidates += int(poisoned.any(axis=1).sum())

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
