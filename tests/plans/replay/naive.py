"""Draws and intervals a second time, slowly and plainly: fractions, lists, loops, and Philox written out.

Beside it `naive_rows`, what each row comes to, and `naive_result`, the whole answer of a replay.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import cycle, product

WORD = 2**64
End = Fraction | None


def interval(
    sums: Sequence[tuple[int | Fraction, int | Fraction]], seed: int, iterations: int
) -> tuple[End, End, Fraction]:
    """(low, high, share of subsets that lose) for (saved, current) of each unit: the definition, subset by subset."""
    ratios: list[Fraction | float] = []
    losses = 0
    unbounded = cycle([float("-inf"), float("inf")])
    masks = every_mask(len(sums)) if len(sums) <= 13 else drawn_masks(len(sums), seed, iterations)
    for mask in masks:
        saved = sum((unit[0] for unit, keep in zip(sums, mask, strict=True) if keep), Fraction(0))
        current = sum((unit[1] for unit, keep in zip(sums, mask, strict=True) if keep), Fraction(0))
        ratios.append(saved / current if current else next(unbounded))
        losses += saved < 0
    ratios.sort()
    k = (len(ratios) + 1) // 40
    low, high = (ratios[k - 1], ratios[-k]) if k else (None, None)
    return (
        low if isinstance(low, Fraction) else None,
        high if isinstance(high, Fraction) else None,
        Fraction(losses, len(ratios)),
    )


def every_mask(count: int) -> Iterator[Sequence[int]]:
    return (mask for mask in product((0, 1), repeat=count) if any(mask))


def drawn_masks(count: int, seed: int, iterations: int) -> Iterator[Sequence[int]]:
    for r in range(iterations // 2):
        words: list[int] = []
        for block in range(1, 2 + count // 256):  # NumPy's generator counts up before it draws, so from one on
            words += philox4x64((block, 0, 0, 0), (seed, r))
        mask = [words[j // 64] >> j % 64 & 1 for j in range(count)]
        yield mask
        yield [1 - bit for bit in mask]


def weights(method: str, count: int, seed: int, iterations: int) -> list[Sequence[int]]:
    """How often each unit is in each draw."""
    if method == "cluster_bootstrap":
        return list(drawn_again(count, seed, iterations))
    return list(every_subset(count) if count <= 13 else drawn_masks(count, seed, iterations))


def every_subset(count: int) -> Iterator[Sequence[int]]:
    """In the order of the binary numbers whose lowest digit is the first unit."""
    return ([number >> unit & 1 for unit in range(count)] for number in range(1, 2**count))


def drawn_again(count: int, seed: int, iterations: int) -> Iterator[Sequence[int]]:
    """With replacement: of the raw words, the lower half and then the upper one, as a place among all units."""
    for r in range(iterations):
        words: list[int] = []
        for block in range(1, 2 + count // 8):
            words += philox4x64((block, 0, 0, 0), (seed, r))
        halves = [half for word in words for half in (word % 2**32, word // 2**32)][:count]
        places = [half * count // 2**32 for half in halves]
        yield [places.count(unit) for unit in range(count)]


def summed(drawn: Sequence[Sequence[int]], values: Sequence[int]) -> list[int]:
    return [sum(times * value for times, value in zip(draw, values, strict=True)) for draw in drawn]


def ends(found: Sequence[Fraction | int | None], low: int = 40, high: int = 40) -> tuple[End, End]:
    """The k-th smallest and the k-th largest of what was found; None is below and above everything in turn."""
    unbounded = cycle([float("-inf"), float("inf")])
    ordered = sorted(next(unbounded) if one is None else one for one in found)
    below, above = (len(ordered) + 1) // low, (len(ordered) + 1) // high
    chosen = (ordered[below - 1] if below else None, ordered[-above] if above else None)
    lowest, highest = (None if isinstance(end, float) or end is None else Fraction(end) for end in chosen)
    return lowest, highest


def quantile(rows: Sequence[int], q: tuple[int, int]) -> int | None:
    a, b = q
    return sorted(rows)[(2 * a * (len(rows) - 1) + b) // (2 * b)] if rows else None


def philox4x64(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """A block of Philox4x64-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3")."""
    a, b, c, d = counter
    left, right = key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = second // WORD ^ b ^ left, second % WORD, first // WORD ^ d ^ right, first % WORD
        left, right = (left + 0x9E3779B97F4A7C15) % WORD, (right + 0xBB67AE8584CAA73B) % WORD
    return a, b, c, d


def effective(sizes: Sequence[int | Fraction]) -> Fraction:
    squares = sum((Fraction(size) ** 2 for size in sizes), Fraction(0))
    return Fraction(sum(sizes)) ** 2 / squares if squares else Fraction(0)
