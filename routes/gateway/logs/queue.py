"""`RowQueue`: rows wait here, within a bound, until a task hands them to their sink."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from itertools import islice
from typing import Any, Protocol

log = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 30.0

#: The id of an organisation, and a row of its log.
Entry = tuple[str, dict[str, Any]]


class Sink(Protocol):
    """Takes batches. Writing a batch again, because it was not known to have arrived, must do no harm."""

    async def write(self, entries: list[Entry]) -> None:
        """Raises `RowsRefused` for what will never be taken, and anything else for what may be tried again."""
        ...

    async def aclose(self) -> None: ...


class RowsRefused(Exception):
    """The sink will not take these rows, however often they come. `count` of them are lost."""

    def __init__(self, count: int, said: str) -> None:
        super().__init__(said)
        self.count = count


class RowQueue:
    """Holds at most `most` rows; beyond, new ones are dropped and counted, because a request is worth more than its row."""

    def __init__(self, sink: Sink, *, most: int, batch_rows: int, batch_seconds: float) -> None:
        self._sink = sink
        self._most = most
        self._batch_rows = batch_rows
        self._batch_seconds = batch_seconds
        self._waiting: deque[Entry] = deque()
        self._wake = asyncio.Event()
        self._is_ending = False
        self._task: asyncio.Task[None] | None = None
        self.written = 0
        #: For want of room, or refused by the sink.
        self.dropped = 0
        self.last_error: str | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="gateway-logs")

    def put(self, org_id: str, row: dict[str, Any]) -> None:
        """Never waits, and never raises."""
        if len(self._waiting) >= self._most:
            self.dropped += 1
            return
        self._waiting.append((org_id, row))
        if len(self._waiting) >= self._batch_rows:
            self._wake.set()

    async def aclose(self, seconds: float) -> None:
        """Hand on what waits, for so long at most; what is left then is dropped and counted."""
        self._is_ending = True
        self._wake.set()
        if self._task is not None:
            try:
                async with asyncio.timeout(seconds):
                    await self._task
            except TimeoutError:
                self.dropped += len(self._waiting)
                log.warning("%d rows of the request log were not written before the end", len(self._waiting))
                self._waiting.clear()
        await self._sink.aclose()

    def status(self) -> dict[str, Any]:
        return {
            "waiting": len(self._waiting),
            "written": self.written,
            "dropped": self.dropped,
            "last_error": self.last_error,
        }

    async def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            if len(self._waiting) < self._batch_rows and not self._is_ending:
                try:
                    async with asyncio.timeout(self._batch_seconds):
                        await self._wake.wait()
                except TimeoutError:
                    pass
            self._wake.clear()
            if not self._waiting:
                if self._is_ending:
                    return
                continue
            batch = list(islice(self._waiting, self._batch_rows))
            try:
                await self._sink.write(batch)
            except RowsRefused as error:
                self.dropped += error.count
                self.written += len(batch) - error.count
                log.warning("%d rows of the request log were refused: %s", error.count, error)
                self.last_error = str(error)
            except Exception as error:  # of whatever kind: the rows stay, and are tried again
                said = f"{type(error).__name__}: {error}"
                if said != self.last_error:
                    log.warning("the request log cannot be written, and waits: %s", said)
                self.last_error = said
                await asyncio.sleep(pause)
                pause = min(pause * 2, _MAX_PAUSE_SECONDS)
                continue
            else:
                self.written += len(batch)
                self.last_error = None
            pause = _FIRST_PAUSE_SECONDS
            for _ in batch:
                self._waiting.popleft()
