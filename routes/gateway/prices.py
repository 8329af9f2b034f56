"""`PriceBook`: what models cost each organisation, at hand when a request asks, and looked at again in the background."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from routes.engine import PriceTable
from routes.gateway.feeds import Feed

POLL_SECONDS = 60.0
#: An organisation that nobody asked for in so long is not looked at.
IDLE_SECONDS = 600.0
#: How long a first request waits for prices. Without them ceilings refuse, and costs are not known.
_FIRST_WAIT_SECONDS = 2.0
_NOTHING = PriceTable()


class PriceBook:
    """Prices of the organisations that are asked for."""

    def __init__(
        self,
        read: Callable[[str], dict[str, Any] | None],
        *,
        folder: str | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._read = read
        self._folder = folder
        self._clock = clock
        self._feeds: dict[str, Feed[PriceTable]] = {}
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._asked_at: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    async def of(self, org_id: str) -> PriceTable:
        """The prices at hand. A first call waits for them, two seconds at most; without any the table is empty."""
        self._asked_at[org_id] = self._clock()
        feed = self._feeds.get(org_id)
        if feed is None:
            feed = self._feeds[org_id] = self._feed(org_id)
        if feed.value is None:
            loading = self._loading.get(org_id)
            if loading is None:  # a hundred that wait cause one reading
                loading = self._loading[org_id] = asyncio.create_task(asyncio.to_thread(feed.read_first))
                loading.add_done_callback(lambda _: self._loading.pop(org_id, None))
            await asyncio.wait({loading}, timeout=_FIRST_WAIT_SECONDS)
        return feed.value or _NOTHING

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="gateway-prices", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def look_again(self) -> None:
        """Read the prices of those that were asked for lately."""
        oldest = self._clock() - IDLE_SECONDS
        for org_id, feed in list(self._feeds.items()):
            if self._asked_at[org_id] >= oldest:
                feed.read_once()

    def status(self) -> dict[str, Any]:
        """By organisation, as `Feed.status`."""
        return {org_id: feed.status() for org_id, feed in list(self._feeds.items())}

    def _feed(self, org_id: str) -> Feed[PriceTable]:
        file = None if self._folder is None else os.path.join(self._folder, f"{org_id}.json")
        return Feed(
            f"prices of {org_id}",
            lambda: self._read(org_id),
            PriceTable.from_document,
            poll_seconds=POLL_SECONDS,
            file=file,
            clock=self._clock,
        )

    def _run(self) -> None:
        while not self._stop.wait(POLL_SECONDS):
            self.look_again()
