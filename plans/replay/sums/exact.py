"""Integer totals that never overflow."""

from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAX = 2.0**62
_LOW = np.int64(2**32 - 1)


class Exact:
    """A table of integers to add to: (groups, places, columns). Each value is below 2^62; their sums may be as large as
    they like. It takes memory where something is added."""

    def __init__(self, groups: int, places: int, columns: int) -> None:
        self.shape = (groups, places, columns)
        #: 64-bit arrays, each filled only as far as it cannot overflow; together they are the totals.
        self.layers: list[NDArray[np.int64]] = []
        self._filled = inf

    @classmethod
    def of_layers(cls, shape: tuple[int, int, int], layers: list[NDArray[np.int64]]) -> "Exact":
        """As it was."""
        answer = cls(*shape)
        answer.layers = layers
        if layers:
            answer._filled = _largest(layers[-1])
        return answer

    def add(self, places: NDArray[np.intp], values: NDArray[np.int64]) -> None:
        """Add a value to each of these places of the flattened array; several may go to one."""
        if not len(values):
            return
        more = _bound(values)
        if more > _MAX / 2 and len(values) > 1:
            half = len(values) // 2
            self.add(places[:half], values[:half])
            self.add(places[half:], values[half:])
            return
        if self._filled + more > _MAX:
            self.layers.append(np.zeros(self.shape, np.int64))
            self._filled = 0.0
        self._filled += more
        np.add.at(self.layers[-1].reshape(-1), places, values)

    def moved(self, to: NDArray[np.intp], places: int) -> "Exact":
        """The totals with so many places: what was at place i is added at `to[i]`; what lies beyond `to` is left out."""
        groups, _, columns = self.shape
        answer = Exact(groups, places, columns)
        answer.add_moved(self, to)
        return answer

    def add_moved(self, other: "Exact", to: NDArray[np.intp]) -> None:
        """Add the totals of another, whose places go to these places of this one's."""
        _, places, columns = self.shape
        for layer in other.layers:
            table = layer[:, : len(to)]
            for group in np.flatnonzero(table.any(axis=(1, 2))):
                used = np.flatnonzero(table[group].any(axis=1))
                flat = (int(group) * places + to[used]) * columns
                for column in range(columns):
                    self.add(flat + column, table[group, used, column])

    def totals(self) -> NDArray[Any]:
        """Integers of 64 bits, or Python's where those would not do."""
        if not self.layers:
            return np.zeros(self.shape, np.int64)
        if len(self.layers) == 1:
            return self.layers[0]
        if sum(map(_largest, self.layers)) <= _MAX:
            return np.sum(self.layers, axis=0, dtype=np.int64)
        return sum((layer.astype(object) for layer in self.layers[1:]), self.layers[0].astype(object))


def total(values: NDArray[np.int64]) -> int:
    """The exact sum."""
    if _bound(values) > _MAX:
        return sum(values.tolist())
    return int(values.sum())


def totals_by(numbers: NDArray[np.int64], values: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """The exact sums of the values that have each number below `size`, as (2, size): the lower 32 bits, and the rest. For
    the rows of a block."""
    if _bound(values) <= 2.0**53:  # then also as a double each sum is exact
        sums = np.bincount(numbers, weights=values, minlength=size).astype(np.int64)
        return np.array([sums & _LOW, sums >> 32])
    return np.array(
        [np.bincount(numbers, weights=part, minlength=size).astype(np.int64) for part in (values & _LOW, values >> 32)]
    )


def _largest(values: NDArray[np.int64]) -> float:
    return float(max(int(values.max()), -int(values.min())))


def _bound(values: NDArray[np.int64]) -> float:
    """What the sum of all sizes does not exceed."""
    return _largest(values) * len(values) if len(values) else 0.0
