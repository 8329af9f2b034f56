"""Paths that lead to wherever a partition is placed: asking where that is, and the gate before every write."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from types import NoneType
from typing import Final

from routes.engine.errors import Internal, PlacementUnavailable, RoutingError, UnsupportedEndpoint, UpstreamTimeout
from routes.engine.placed import SAFE, PartitionKey, partition_key, placed_url
from routes.engine.placements import DRAIN_SECONDS, Placement
from routes.engine.placing import Placed, PlacedRouting
from routes.engine.spi import HeaderOp, SpiDecision, answer_of
from routes.gateway.messages import Request, Response
from routes.gateway.proxy import Forwarding, RequestProxy
from routes.gateway.trace import Trace

log = logging.getLogger(__name__)

#: A router that takes longer is none.
ROUTING_SECONDS: Final = 10.0
#: A placement is asked for anew by each request; the store has so long for one answer.
STORE_SECONDS: Final = 3.0
#: From the gate on a write has so long until its answer begins. Shorter than any barrier by what a step of a placement may
#: take to be seen, so that no write which passed before a cutover arrives after the move.
WRITE_SECONDS: Final = DRAIN_SECONDS - 5.0


@dataclass(frozen=True, slots=True, repr=False)
class ServiceCall:
    """What a router may look at: `headers` by lower-case name, `params` those of the path, `key` where the target says that
    the partition stands."""

    org_id: str
    service: str
    method: str
    headers: Mapping[str, Sequence[str]]
    params: Mapping[str, str]
    key: PartitionKey

    @property
    def partition(self) -> str:
        """Raises `PartitionUnresolved`."""
        return self.key.read(self.headers, self.params)

    def __repr__(self) -> str:
        """Without headers and parameters, which may name anybody."""
        return f"<ServiceCall {self.method} of {self.service}>"


def key_of(target_url: str) -> PartitionKey | None:
    """Where the target says that the partition stands; None for one that leads to a place of its own. Raises
    `UnsupportedEndpoint`."""
    try:
        return partition_key(target_url)
    except ValueError as error:
        raise UnsupportedEndpoint(str(error)) from None


class SourceHealth:
    """Whether placements can be read, told to the log when that changes and not at every request of an outage."""

    def __init__(self) -> None:
        self._failures = 0

    def failed(self, why: str) -> None:
        if not self._failures:
            log.warning("placements cannot be read, so nothing is served that is placed: %s", why)
        self._failures += 1

    def answered(self) -> None:
        if self._failures:
            log.info("placements are read again, after %d failures", self._failures)
        self._failures = 0


class SourcePlacements:
    """The placements of one organisation as a source of the gateway reads them, in threads."""

    def __init__(
        self,
        read: Callable[[str, str], Placement | None],
        org_id: str,
        threads: Executor,
        health: SourceHealth,
        seconds: float = STORE_SECONDS,
    ) -> None:
        """`health` is that of the source, which organisations share."""
        self._read, self._org_id, self._threads, self._seconds = read, org_id, threads, seconds
        self._health = health

    async def placement(self, partition: str) -> Placement | None:
        asked = asyncio.get_running_loop().run_in_executor(self._threads, self._read, self._org_id, partition)
        try:
            async with asyncio.timeout(self._seconds):
                found = await asked
        except PlacementUnavailable as error:
            self._health.failed(str(error))
            raise
        except (RoutingError, TypeError, ValueError, LookupError):
            raise  # an answer, or one that is no placement: the next one would be no better
        except TimeoutError:
            self._health.failed(f"no answer in {self._seconds:g} seconds")
            raise PlacementUnavailable("Where this partition is could not be read in time.") from None
        except Exception as error:  # of whatever driver
            self._health.failed(f"{type(error).__name__}: {error}")
            raise PlacementUnavailable("Where this partition is cannot be read at the moment.") from error
        self._health.answered()
        return found


Routing = Callable[[str], PlacedRouting[ServiceCall]]


def no_placements(org_id: str) -> PlacedRouting[ServiceCall]:
    raise UnsupportedEndpoint("This gateway does not know of placements.")


class PlacedSink:
    """Sends requests to where their partitions are, writes through the gate."""

    def __init__(
        self,
        routing: Routing,
        *,
        routing_seconds: float = ROUTING_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        """`routing` is that of an organisation, by its id."""
        self._routing = routing
        self._routing_seconds, self._write_seconds = routing_seconds, write_seconds

    async def place(self, call: ServiceCall, url: str, request: Request, trace: Trace | None) -> PlacedRequest:
        """Where the request goes for which the target's URL is this, and a write that was admitted. Raises `RoutingError`
        and nothing else, whatever the router does."""
        try:
            router = self._routing(call.org_id)
        except RoutingError:
            raise
        except Exception as error:
            raise Internal(f"The routing of placements failed with {type(error).__name__}.") from error
        placed = await answer_of(router, lambda: router.placed(call), Placed, timeout_seconds=self._routing_seconds)
        partition, decision = placed.partition, placed.decision
        _note(trace, "placement", partition, decision, phase=placed.phase)
        endpoint = decision.target.endpoint
        if endpoint is None or decision.protocol != "http1" or decision.body_transform is not None:
            raise UnsupportedEndpoint("This gateway sends what is placed by HTTP/1.1, and its body as it is.")
        there = PlacedRequest(placed_url(url, endpoint), request, decision.header_ops)
        if request.method in SAFE:
            return there
        # From before the gate is asked, not after: what it says may be old when it arrives here.
        deadline = asyncio.get_running_loop().time() + self._write_seconds
        await answer_of(
            router,
            lambda: router.admit(partition, decision.epoch),
            NoneType,
            timeout_seconds=self._routing_seconds,
        )
        _note(trace, "gate", partition, decision)
        body = None if request.body is None else _until(deadline, request.body)
        return replace(there, request=replace(request, body=body), deadline=deadline)


@dataclass(frozen=True, slots=True)
class PlacedRequest:
    """A request on its way to a placement. `deadline`, by the event loop's clock, is that of a write that was admitted."""

    url: str
    request: Request
    header_ops: tuple[HeaderOp, ...]
    deadline: float | None = None

    async def send(self, proxy: RequestProxy, to: Forwarding) -> Response:
        """The upstream's answer. Raises what `RequestProxy.forward` raises, and `UpstreamTimeout` at the deadline."""
        try:
            async with asyncio.timeout_at(self.deadline):
                return await proxy.forward(
                    self.request, self.url, to, header_ops=self.header_ops, last_moment=self.deadline
                )
        except TimeoutError:
            raise _too_late() from None


async def _until(deadline: float, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The body, but nothing of it after the deadline: an upstream may answer before it has all of it."""
    async for piece in body:
        if asyncio.get_running_loop().time() > deadline:
            raise _too_late()
        yield piece


def _too_late() -> UpstreamTimeout:
    return UpstreamTimeout("A write to what may be moved has to be done in less than half a minute.")


def _note(trace: Trace | None, stage: str, partition: str, decision: SpiDecision, **more: str) -> None:
    if trace is not None:
        trace.stage(stage, partition=partition, target=str(decision.target), epoch=decision.epoch, **more)
