"""A gateway whose router of placements does what the last part of the path says."""

import asyncio
import os
from pathlib import Path
from typing import Any

from routes.engine.placing import Placed
from routes.engine.spi import SpiDecision, Target
from routes.gateway.app import Gateway
from routes.gateway.config import read_configuration
from routes.gateway.placed import ServiceCall

ELSEWHERE = Placed("x", "settled", SpiDecision.passthrough(Target("eu", "x", "http://127.0.0.1:9"), "http1", 1))


class Panic(BaseException):
    """As extensions raise it that are written in Rust."""


class Misrouting:
    """Behaves in `placed` as the request says, and in `admit` where that is `admit-…`."""

    async def placed(self, call: ServiceCall) -> Any:
        how = call.params["how"]
        return Placed(how, "settled", ELSEWHERE.decision) if how.startswith("admit-") else await self._do(how)

    async def admit(self, partition: str, epoch: int) -> Any:
        return await self._do(partition.removeprefix("admit-"))

    async def _do(self, how: str) -> Any:
        match how:
            case "raises":
                raise ZeroDivisionError("secret")
            case "panics":
                raise Panic("secret")
            case "answers-the-shape-alone":
                return Placed("acme", "settled", object.__new__(SpiDecision))
            case "cancels":
                raise asyncio.CancelledError
            case "hangs":
                await asyncio.Event().wait()
            case "recurses":
                return await self._do(how)
        return {"nonsense": how}


class Impatient(Gateway):
    async def start(self) -> None:
        await super().start()
        self.router._placed._routing_seconds = 0.3


def application() -> Gateway:
    configuration = read_configuration(Path(os.environ["CONFIG"]).read_bytes(), os.environ)
    return Impatient(configuration, routing=lambda org_id: Misrouting())
