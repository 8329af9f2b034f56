"""`CircuitBreaker`: an upstream that keeps failing is left alone for a while, then asked once."""

from collections.abc import Callable
from time import monotonic

DEFAULT_THRESHOLD = 5
DEFAULT_OPEN_SECONDS = 30.0


class CircuitBreaker:
    """Opens after `threshold` failures in a row; after `open_seconds` one request may pass as a probe, whose success
    closes it and whose failure opens it anew.

    Every attempt enters and says what came of it, with the era in which it entered: what began before the breaker
    opened says nothing of the upstream as it is now. For one event loop; not to be shared between threads.
    """

    __slots__ = ("_clock", "_era", "_failures", "_is_probing", "_opened_at", "open_seconds", "threshold")

    def __init__(
        self,
        threshold: int = DEFAULT_THRESHOLD,
        open_seconds: float = DEFAULT_OPEN_SECONDS,
        *,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """Raises `ValueError` for a threshold below 1 and a negative time."""
        if threshold < 1:
            raise ValueError(f"A breaker opens after at least one failure, not {threshold}.")
        if open_seconds < 0:
            raise ValueError(f"A breaker stays open for 0 seconds or more, not {open_seconds}.")
        self.threshold = threshold
        self.open_seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._is_probing = False
        self._era = 0

    @property
    def is_open(self) -> bool:
        """Whether requests are turned away, a probe apart."""
        return self._opened_at is not None

    @property
    def failures(self) -> int:
        """How many attempts failed in a row."""
        return self._failures

    def retry_after_seconds(self) -> float:
        """How long until a probe may pass; 0 where it may now."""
        if self._opened_at is None:
            return 0.0
        return max(0.0, self._opened_at + self.open_seconds - self._clock())

    def enter(self) -> int | None:
        """The era of an attempt that may be made, to be given back with its outcome; None: leave the upstream alone."""
        if self._opened_at is None:
            return self._era
        if self._is_probing or self._clock() - self._opened_at < self.open_seconds:
            return None
        self._is_probing = True
        return self._era

    def succeeded(self, era: int) -> None:
        if era != self._era:
            return
        self._failures = 0
        if self._opened_at is not None:
            self._opened_at = None
            self._is_probing = False
            self._era += 1

    def failed(self, era: int) -> None:
        if era != self._era:
            return
        self._failures += 1
        if self._opened_at is not None or self._failures >= self.threshold:
            self._opened_at = self._clock()
            self._is_probing = False
            self._era += 1

    def abandoned(self, era: int) -> None:
        """The attempt ended without telling anything of the upstream: the client went away."""
        if era == self._era:
            self._is_probing = False
