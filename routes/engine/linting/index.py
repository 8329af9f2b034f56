"""Finds the boxes that may overlap a box, without looking at each of a thousand."""

from __future__ import annotations

from collections.abc import Iterator

from routes.engine.linting.boxes import Box, Key, Region
from routes.engine.linting.facts import Flag, Models, Texts


class Index:
    """Boxes in the order in which they are added, as bits of integers."""

    def __init__(self) -> None:
        self.boxes: list[Box] = []
        self._by_value: dict[tuple[Key, object], int] = {}
        #: By fact, the boxes that take a few values of it only, which are all in `_by_value`.
        self._listed: dict[Key, int] = {}
        self._by_known: dict[frozenset[Key], int] = {}

    def add(self, box: Box) -> None:
        bit = 1 << len(self.boxes)
        self.boxes.append(box)
        self._by_known[box.known] = self._by_known.get(box.known, 0) | bit
        for key, values in _listed(box.region):
            self._listed[key] = self._listed.get(key, 0) | bit
            for value in values:
                self._by_value[key, value] = self._by_value.get((key, value), 0) | bit

    def near(self, region: Region, among: int) -> Iterator[Box]:
        """Of the boxes with these bits, in order, those that may overlap the region."""
        for key, values in _listed(region):
            if listed := self._listed.get(key, 0):
                fitting = 0
                for value in values:
                    fitting |= self._by_value.get((key, value), 0)
                among &= fitting | ~listed
        while among:
            lowest = among & -among
            yield self.boxes[lowest.bit_length() - 1]
            among ^= lowest

    def all(self) -> int:
        """The bits of all boxes."""
        return (1 << len(self.boxes)) - 1

    def knowing_no_more(self, known: frozenset[Key]) -> int:
        """The bits of those that require something of no other fact than these."""
        bits = 0
        for own, boxes in self._by_known.items():
            if own <= known:
                bits |= boxes
        return bits


def _listed(region: Region) -> Iterator[tuple[Key, frozenset[object]]]:
    """The facts of which a few values are left, with these."""
    for key, fact in region.items():
        if isinstance(fact, Texts | Models):
            if fact.allowed is not None:
                yield key, fact.allowed
        elif isinstance(fact, Flag):
            yield key, frozenset((fact.value,))
