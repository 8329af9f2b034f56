"""What is independent of the others: clusters in the order of their hashes, or as many buckets of them as are needed."""

from collections.abc import Iterable
from fractions import Fraction
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

#: More clusters than this are gathered into as many buckets.
MAX_UNITS = 16_384
#: Fewer units than this give no interval: all their subsets are too few for one of 95%.
MIN_UNITS = 6


def splitmix64(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The first output of the SplitMix64 generator (Steele, Lea and Flood 2014) seeded with each x: a good 64-bit hash."""
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def key_hash(key: str) -> int:
    """The first 8 bytes of SHA-256 of the key in UTF-8, big-endian."""
    return int.from_bytes(sha256(key.encode("utf-8", "replace")).digest()[:8], "big")


def unit_numbers(hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], int]:
    """The unit of each cluster, and how many units there are, where all are known: `sums.units` finds the same as it meets
    them.

    `hashes` has one entry per cluster, in the order of the clusters' names, which decides between equal hashes. Up to
    16,384 clusters are a unit each, in the order of their hashes; of more, those with the same hash modulo 16,384 make
    one, and units without any cluster do not count.
    """
    numbers = np.empty(len(hashes), dtype=np.int64)
    if len(hashes) <= MAX_UNITS:
        numbers[np.argsort(hashes, kind="stable")] = np.arange(len(hashes))
        return numbers, len(hashes)
    buckets = (hashes % np.uint64(MAX_UNITS)).astype(np.int64)
    occupied = np.zeros(MAX_UNITS, dtype=np.int64)
    occupied[buckets] = 1
    numbers = (np.cumsum(occupied) - 1)[buckets]
    return numbers, int(occupied.sum())


def effective_units(sizes: Iterable[int]) -> Fraction:
    """(sum x)^2 / sum x^2: how many equal units would be as uneven together. 0 for nothing. Takes arrays too."""
    exact = [int(size) for size in (sizes.tolist() if isinstance(sizes, np.ndarray) else sizes)]
    squares = sum(size * size for size in exact)
    return Fraction(sum(exact) ** 2, squares) if squares else Fraction(0)
