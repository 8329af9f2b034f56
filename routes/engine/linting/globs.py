"""Sets of texts described by patterns in which only `*` is special: what two have in common, and one inside another.

Characters are without end, so that one which no pattern mentions always exists. With it, a pattern lies inside a union
of others only if it lies inside a single one of them: the one that matches it with that character put for every `*`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from itertools import chain, count

from routes.engine.meaning import pattern_matches

#: Up to so many cells of the table, and so many patterns in the answer, an intersection is worked out.
MAX_CELLS = 40_000
MAX_FOUND = 64


def normal(pattern: str) -> str:
    """The pattern with runs of stars as one."""
    while "**" in pattern:
        pattern = pattern.replace("**", "*")
    return pattern


def filled(pattern: str, text: str) -> str:
    """The pattern with the text for every star: one of the texts that it matches."""
    return pattern.replace("*", text)


#: In the order in which people would like to see them; then whatever is no surrogate and has no lower case.
_FOR_PEOPLE = "xyzwvutsrqponmlkjihgfedcba0123456789_-"


def unused_character(texts: Collection[str], among: str = _FOR_PEOPLE) -> str:
    """A character that stands in none of them, one of these if there is one."""
    others = (chr(code) for code in count(0xA1) if not 0xD800 <= code < 0xE000 and chr(code).lower() == chr(code))
    return next(letter for letter in chain(among, others) if not any(letter in text for text in texts))


@lru_cache(maxsize=16_384)
def lies_inside(pattern: str, other: str) -> bool:
    """Whether everything that the pattern matches is matched by the other one."""
    return pattern_matches(other, filled(pattern, unused_character((pattern, other), among="\ue000")))


def cost(left: str, right: str) -> int:
    """The cells of the table that `common` fills."""
    return (len(left) + 1) * (len(right) + 1)


@lru_cache(maxsize=4096)
def common(left: str, right: str) -> tuple[str, ...] | None:
    """Patterns that together match exactly what both match, in the order of the alphabet; none if there is nothing.
    None where they are more than is worth working out.

    Both are walked from their ends. Where two stars meet, one of them ends first; where a star meets a letter, it ends
    or takes the letter.
    """
    left, right = normal(left), normal(right)
    if cost(left, right) > MAX_CELLS:
        return None
    below: list[frozenset[str]] = []
    for i in range(len(left), -1, -1):
        row: list[frozenset[str]] = [frozenset()] * (len(right) + 1)
        for j in range(len(right), -1, -1):
            if i == len(left) or j == len(right):
                ends = left[i:] in ("", "*") and right[j:] in ("", "*")
                # Here one of the two is used up, so a star of the other one has nothing left to take.
                row[j] = frozenset({""}) if ends else frozenset()
                continue
            a, b = left[i], right[j]
            if a == "*" and b == "*":
                found = frozenset("*" + rest.lstrip("*") for rest in below[j] | row[j + 1])
            elif a == "*":
                found = below[j] | {b + rest for rest in row[j + 1]}
            elif b == "*":
                found = row[j + 1] | {a + rest for rest in below[j]}
            else:
                found = frozenset(a + rest for rest in below[j + 1]) if a == b else frozenset()
            if len(found) > MAX_FOUND:
                return None
            row[j] = found
        below = row
    return tuple(sorted(below[0]))
