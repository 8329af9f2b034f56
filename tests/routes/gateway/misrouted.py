"""A gateway whose routers misbehave, in a process of its own: the path says which."""

import asyncio
import os
from typing import Any

from routes.engine.placing import PinnedRouter, Placed
from routes.engine.spi import SpiDecision, Target
from routes.gateway.app import Gateway
from routes.gateway.config import read_configuration
from routes.gateway.placed import ServiceCall


class Panic(BaseException):
    """As extensions raise it that are written in Rust."""


class Misrouted:
    """Does what the parameter `:how` says; pinned to the upstream where it says nothing of these."""

    def __init__(self) -> None:
        self._fine = PinnedRouter(Target("here", "x", os.environ["UPSTREAM"]))

    async def placed(self, call: ServiceCall) -> Any:
        how = call.params["how"]
        if how == "raises":
            raise ZeroDivisionError("secret")
        if how == "panics":
            raise Panic("secret")
        if how == "is-cancelled":
            raise asyncio.CancelledError
        if how == "hangs":
            await asyncio.Event().wait()
        if how == "answers-nothing":
            return None
        if how == "answers-nonsense":
            return Placed(7, "lost", "there")  # type: ignore[arg-type]
        if how == "answers-a-hollow-decision":
            return Placed("acme", "settled", object.__new__(SpiDecision))
        return await self._fine.placed(call)

    async def admit(self, partition: str, epoch: int) -> Any:
        return "yes" if epoch else await self._fine.admit(partition, epoch)


def _routing(org_id: str) -> Any:
    return Misrouted()


told = f'[source]\ndatabase_url = "{os.environ["DATABASE"]}"\npoll_seconds = 0.2\n'
app = Gateway(read_configuration(told.encode(), os.environ), routing=_routing)
