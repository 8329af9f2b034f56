"""Routers for partitions that have placements: asking the store, with a few repeats, and one for tests that is pinned."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from routes.engine.errors import Internal, PartitionUnresolved, PlacementMissing, PlacementUnavailable, RoutingError
from routes.engine.placements import DEFAULT, PHASES, Phase, Placement, check_write
from routes.engine.reading import shown
from routes.engine.spi import NEVER_PLACED, SpiDecision, Target, UpstreamProtocol

Sleep = Callable[[float], Awaitable[Any]]


class PlacementStore(Protocol):
    """Where placements are read, anew each time. No answer of it may be kept: a write is admitted by what it says."""

    async def placement(self, partition: str) -> Placement | None:
        """None for a partition that was never placed. Raises `PlacementUnavailable` where it cannot be asked."""
        ...


@dataclass(frozen=True, slots=True)
class Retry:
    """How a store that cannot be asked is asked again: `attempts` in all, the first pause `base_seconds`, each next twice
    as long, none longer than `cap_seconds`. Answers are never asked for again. Raises `ValueError`."""

    attempts: int = 3
    base_seconds: float = 0.05
    cap_seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or not 0 <= self.base_seconds <= self.cap_seconds:
            raise ValueError("There is one attempt at least, and no pause is below 0 or above the longest.")

    def pause(self, failures: int) -> float:
        """Seconds to wait after so many failures, from 1."""
        return min(self.cap_seconds, self.base_seconds * 2.0 ** min(failures - 1, 30))


class Retrying:
    """A store asked with `retry`. Whatever it raises beside `RoutingError` is `Internal`, and is not asked again."""

    def __init__(self, store: PlacementStore, retry: Retry | None = None, *, sleep: Sleep = asyncio.sleep) -> None:
        self._store, self._retry, self._sleep = store, retry or Retry(), sleep

    async def placement(self, partition: str) -> Placement | None:
        failures = 0
        while True:
            try:
                found = await self._store.placement(partition)
            except PlacementUnavailable:
                failures += 1
                if failures >= self._retry.attempts:
                    raise
            except RoutingError:
                raise
            except Exception as error:
                raise Internal(f"{type(self._store).__name__} failed with {type(error).__name__}.") from error
            else:
                if found is not None and (not isinstance(found, Placement) or found.partition != partition):
                    raise Internal(f"{type(self._store).__name__} answered something else than the placement.")
                return found
            await self._sleep(self._retry.pause(failures))


@dataclass(frozen=True, slots=True)
class Placed:
    """A decision with the partition that it is about and the phase its placement was in. Raises `TypeError` and
    `ValueError` for what is none of these."""

    partition: str
    phase: Phase
    decision: SpiDecision

    def __post_init__(self) -> None:
        if not isinstance(self.partition, str):
            raise TypeError(f"partition is str, not {type(self.partition).__name__}.")
        if self.phase not in PHASES:
            raise ValueError(f"A phase is {', '.join(PHASES)}, not {shown(self.phase)}.")
        if not isinstance(self.decision, SpiDecision):
            raise TypeError(f"decision is SpiDecision, not {type(self.decision).__name__}.")


class PlacedRouting[Context](Protocol):
    """A router of partitions with its gate: `RoutingSpi` for whoever writes."""

    async def placed(self, ctx: Context) -> Placed:
        """Where this request goes, as `RoutingSpi.route` says, with the partition and the phase of its placement."""
        ...

    async def admit(self, partition: str, epoch: int) -> None:
        """Called right before a write is sent. Raises `StaleEpoch` for one that must not be."""
        ...


class PlacementRouter[Context]:
    """Sends each request to where its partition is. `partition_of` reads the partition of a request; None: it has none.

    Decisions have the epoch of the placement that they were read from, so that `admit` refuses what became stale.
    """

    def __init__(
        self,
        store: PlacementStore,
        partition_of: Callable[[Context], str | None],
        *,
        protocol: UpstreamProtocol = "http1",
        retry: Retry | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._store = Retrying(store, retry, sleep=sleep)
        self._partition_of = partition_of
        self._protocol: UpstreamProtocol = protocol

    async def route(self, ctx: Context) -> SpiDecision:
        return (await self.placed(ctx)).decision

    async def placed(self, ctx: Context) -> Placed:
        """Raises `PartitionUnresolved`, `PlacementMissing` and `PlacementUnavailable`."""
        partition = self._partition_of(ctx)
        if partition is None:
            raise PartitionUnresolved("The request does not say which partition it belongs to.")
        found = await self._store.placement(partition)
        if found is None:
            raise PlacementMissing("The partition of this request was never placed.")
        decision = SpiDecision.passthrough(found.target, self._protocol, found.epoch)
        return Placed(partition, found.phase, decision)

    async def admit(self, partition: str, epoch: int) -> None:
        """The gate before a write is sent, by what the store says now. Raises `StaleEpoch`, and `PlacementUnavailable`
        where nobody can tell: such a write is not sent."""
        check_write(await self._store.placement(partition), epoch)


class PinnedRouter:
    """Sends everything to one target: for tests, and for what is never moved."""

    def __init__(self, target: Target, protocol: UpstreamProtocol = "http1") -> None:
        self._decision = SpiDecision.passthrough(target, protocol, NEVER_PLACED)

    async def route(self, ctx: object) -> SpiDecision:
        return self._decision

    async def placed(self, ctx: object) -> Placed:
        return Placed(DEFAULT, "settled", self._decision)

    async def admit(self, partition: str, epoch: int) -> None:
        """Everything is: nothing here ever takes a step."""
