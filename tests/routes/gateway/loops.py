"""Tests that are coroutines."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any


def in_a_loop[**Given](
    test: Callable[Given, Coroutine[Any, Any, None]], factory: Callable[[], asyncio.AbstractEventLoop] | None = None
) -> Callable[Given, None]:
    """Runs in an event loop of its own, for a minute at most."""

    @wraps(test)
    def run(*args: Given.args, **kwargs: Given.kwargs) -> None:
        async def bounded() -> None:
            async with asyncio.timeout(60):
                await test(*args, **kwargs)
            for _ in range(3):  # connections that were closed just now are gone after a turn of the loop or two
                await asyncio.sleep(0)

        asyncio.run(bounded(), loop_factory=factory)

    return run
