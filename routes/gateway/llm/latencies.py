"""How slow each model is at the moment, as this process sees it: the fact `upstream_latency_ms_p95`."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil
from time import monotonic

#: The last so many answers of a model count, and none that is older: a model that nobody asks any more because it was slow
#: is not held to be slow for ever.
WINDOW, SECONDS = 200, 300.0
#: With fewer nothing is said: the slowest of three is no percentile.
LEAST = 20
#: Models that are watched at a time; the one that was not served for longest makes room.
MOST_MODELS = 500


class Latencies:
    """Milliseconds until the first bytes of an answer, by model. `clock` is in seconds and never goes back."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def observe(self, model: str, milliseconds: int) -> None:
        window = self._windows.get(model)
        if window is None:
            window = self._windows[model] = _Window()
            if len(self._windows) > MOST_MODELS:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(model)
        window.add(self._clock(), milliseconds)

    def p95(self, model: str) -> int | None:
        """The 95th percentile, by the nearest rank; None while too little is known."""
        window = self._windows.get(model)
        return None if window is None else window.p95(self._clock())


class _Window:
    __slots__ = ("_arrived", "_sorted")

    def __init__(self) -> None:
        self._arrived: deque[tuple[float, int]] = deque()
        self._sorted: list[int] = []

    def add(self, now: float, milliseconds: int) -> None:
        if len(self._arrived) >= WINDOW:
            self._drop()
        self._arrived.append((now, milliseconds))
        insort(self._sorted, milliseconds)

    def p95(self, now: float) -> int | None:
        while self._arrived and self._arrived[0][0] < now - SECONDS:
            self._drop()
        if len(self._sorted) < LEAST:
            return None
        return self._sorted[ceil(0.95 * len(self._sorted)) - 1]

    def _drop(self) -> None:
        _, milliseconds = self._arrived.popleft()
        del self._sorted[bisect_left(self._sorted, milliseconds)]
