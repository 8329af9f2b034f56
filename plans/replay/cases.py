"""Numbering what occurs together, so that what depends on few combinations is worked out once for each."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: So many possible combinations are looked up, more are sorted.
_TABLE = 1 << 22


class Codes(NamedTuple):
    """A number for each row, from 0 and below `size`."""

    values: NDArray[np.int64]
    size: int


class Combinations:
    """Combinations of codes, numbered in the order in which they are met."""

    def __init__(self) -> None:
        #: The combinations that the numbers stand for.
        self.met: list[tuple[int, ...]] = []
        self._numbers: dict[tuple[int, ...], int] = {}
        self._sizes: tuple[int, ...] = ()
        self._table = np.empty(0, np.int32)

    def of(self, columns: Sequence[Codes]) -> NDArray[np.int64]:
        """The number of each row's combination."""
        sizes = tuple(column.size for column in columns)
        possible = 1
        for size in sizes:
            possible *= size
        if possible > 2**62:
            raise ValueError("There are too many combinations to number.")
        combined = columns[0].values
        for column in columns[1:]:
            combined = combined * column.size
            combined += column.values
        if possible > _TABLE:
            found, places = np.unique(combined, return_inverse=True)
            return np.array([self._number(int(key), sizes) for key in found], np.int64)[places]
        if sizes != self._sizes:
            self._sizes, self._table = sizes, np.full(possible, -1, np.int32)
        numbers = self._table.take(combined)
        if numbers.min(initial=0) < 0:
            for key in np.unique(combined[numbers < 0]).tolist():
                self._table[key] = self._number(key, sizes)
            numbers = self._table.take(combined)
        return numbers.astype(np.int64)

    def _number(self, key: int, sizes: tuple[int, ...]) -> int:
        combination: list[int] = []
        for size in reversed(sizes):
            key, code = divmod(key, size)
            combination.append(code)
        met = tuple(reversed(combination))
        number = self._numbers.get(met)
        if number is None:
            number = self._numbers[met] = len(self.met)
            self.met.append(met)
        return number


class Names:
    """Texts, numbered in the order in which they are met."""

    def __init__(self) -> None:
        self.met: list[str] = []
        self._numbers: dict[str, int] = {}

    def number(self, text: str) -> int:
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.met)
            self.met.append(text)
        return number
