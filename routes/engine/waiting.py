"""Waiting for a load on an event loop. Apart, because importing asyncio costs more than all of the engine."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from routes.engine.entries import Flight


async def wait(flight: Flight, seconds: float) -> None:
    """Wait until the load is done, at most so long, while the loop goes on."""
    loop = asyncio.get_running_loop()
    landed = asyncio.Event()

    def tell() -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(landed.set)

    flight.when_done(tell)
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(landed.wait(), seconds)
    finally:
        flight.forget(tell)
