"""How far the reading of a file is, for commands."""

from time import monotonic
from typing import Any

from plans.logs.formats import Reader

#: How often it is written: on a terminal in seconds, elsewhere in records.
EVERY_SECONDS = 0.2
EVERY_RECORDS = 10_000
BAR = 24


class ProgressLine:
    """The progress: on a terminal one line that is written again and again, elsewhere a line now and then."""

    def __init__(self, out: Any, reader: Reader) -> None:
        self._out = out
        self._reader = reader
        self._began = self._last = monotonic()
        self._phase = ""
        self._is_terminal = out.isatty()

    def show(self, records: int, phase: str) -> None:
        """So many records are `phase`, for example "read"."""
        if not self._is_terminal:
            if records % EVERY_RECORDS == 0:
                self._out.write(f"{records:,} records {phase}")
            return
        now = monotonic()
        if phase != self._phase:
            self._phase, self._began = phase, now
        elif now - self._last < EVERY_SECONDS:
            return
        self._last = now
        share = min(self._reader.bytes_read / max(self._reader.file.size, 1), 1.0)
        seconds = max(now - self._began, 1e-9)
        left = f"{_clock(seconds / share - seconds)} left" if share else ""
        bar = ("#" * round(BAR * share)).ljust(BAR)
        rate = f"{records / seconds:,.0f}/s" if seconds > EVERY_SECONDS else ""
        self._out.write(f"\r[{bar}] {share:4.0%} {records:,} records {phase} {rate} {left}\x1b[K", ending="")
        self._out.flush()

    def clear(self) -> None:
        """Make room on the terminal for what is written next."""
        if self._phase:
            self._out.write("\r\x1b[K", ending="")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
