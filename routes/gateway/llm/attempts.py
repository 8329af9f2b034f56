"""Target, then fallbacks, one after the other, until one answers: never two at a time, and never after the first byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from time import perf_counter
from typing import Any, Protocol

from routes.engine import PriceTable, RouteDecision, Timeouts
from routes.engine.errors import (
    BudgetExceeded,
    ProviderUnresolved,
    RoutingError,
    UpstreamFailed,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from routes.gateway.llm.body import asking_for_usage, with_model
from routes.gateway.llm.breaker import CircuitBreaker
from routes.gateway.llm.costs import ceiling_nano, cost_nano
from routes.gateway.llm.latencies import Latencies
from routes.gateway.llm.providers import Provider, Providers
from routes.gateway.messages import Response

#: Of an answer that is not passed on yet, because a fallback may do better, so much is kept.
_MAX_FAILURE_BYTES = 64 * 2**10
_TOO_MANY_REQUESTS = 429


class Client(Protocol):
    """What sends one request: `UpstreamClient`."""

    async def open(
        self,
        method: str,
        url: str,
        headers: list[tuple[bytes, bytes]],
        body: AsyncIterator[bytes] | bytes | None,
        *,
        timeouts: Timeouts,
        private_upstreams: None,
    ) -> Response: ...


@dataclass(slots=True)
class Served:
    """The answer that goes to the client, with its first bytes read, and who gave it."""

    response: Response
    first: bytes
    provider: Provider
    model: str
    #: 0 for the target, k for the k-th fallback.
    index: int
    upstream_ms: int
    #: Whether we asked for the event that tells the tokens, and the client did not.
    is_usage_ours: bool = False


@dataclass(slots=True)
class Attempt:
    """One model that was tried, or passed over, and what came of it: a code, or a status of HTTP."""

    model: str
    provider: str | None
    outcome: str
    ms: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return {"model": self.model, "provider": self.provider, "outcome": self.outcome, "ms": round(self.ms, 3)}


@dataclass(slots=True)
class Attempts:
    """What all requests of a gateway share in trying models."""

    client: Client
    providers: Providers
    #: Whether a model without a price may be asked under a ceiling.
    takes_unknown_prices: bool = False
    new_breaker: Callable[[], CircuitBreaker] = CircuitBreaker
    breakers: dict[str, CircuitBreaker] = field(default_factory=dict)
    latencies: Latencies = field(default_factory=Latencies)

    def breaker(self, provider: Provider) -> CircuitBreaker:
        breaker = self.breakers.get(provider.name)
        if breaker is None:
            breaker = self.breakers[provider.name] = self.new_breaker()
        return breaker

    async def run(
        self,
        decision: RouteDecision,
        *,
        requested: str,
        data: bytes,
        headers: list[tuple[bytes, bytes]],
        org_id: str,
        org_slug: str,
        prices: PriceTable,
        input_tokens: int,
        max_output_tokens: int,
        at: datetime,
        tried: list[Attempt],
        wants_usage: bool = False,
    ) -> Served:
        """The first good answer: of the decision's target, else of its fallbacks in order. What was tried is noted in
        `tried`.

        A model is passed over where no provider serves it, where its estimate is above the decision's ceiling, and where
        its provider's breaker is open. What cannot be reached, does not answer in time, breaks off before the first byte of
        its answer, or answers 429 or 5xx, is followed by the next. Of the last one such an answer is passed on as it is.
        `wants_usage` is for a stream whose client says nothing of it: providers that may be are asked for the tokens.
        Raises `BudgetExceeded` where the ceiling left nobody to ask, `UpstreamUnavailable`, `ProviderUnresolved`, and what
        the last attempt raised.
        """
        ceiling = ceiling_nano(decision.max_cost_usd)
        models = [decision.model_for(requested), *decision.fallbacks]
        refused: dict[type[RoutingError], RoutingError] = {}
        failed: Served | RoutingError | None = None
        for index, model in enumerate(models):
            named = decision.provider if index == 0 and decision.target_model is not None else None
            try:
                provider = self.providers.of(
                    model, org_id=org_id, org_slug=org_slug, requested=requested, named=named, prices=prices, at=at
                )
                self._check_ceiling(ceiling, provider, model, prices, input_tokens, max_output_tokens, at)
                era = self._enter(provider)
            except (ProviderUnresolved, BudgetExceeded, UpstreamUnavailable) as error:
                refused.setdefault(type(error), error)
                tried.append(Attempt(model, None, error.code))
                continue
            breaker = self.breaker(provider)
            began = perf_counter()
            try:
                sent = with_model(data, model) if model != requested else data
                is_usage_ours = wants_usage and provider.stream_usage
                if is_usage_ours:
                    sent = asking_for_usage(sent)
                served = await self._ask(provider, model, index, sent, headers)
                served.is_usage_ours = is_usage_ours
            except (UpstreamFailed, UpstreamTimeout) as error:
                breaker.failed(era)
                failed = error
                took = (perf_counter() - began) * 1000
                if isinstance(error, UpstreamTimeout):  # at least as slow as this
                    self.latencies.observe(model, round(took))
                tried.append(Attempt(model, provider.name, error.code, took))
                continue
            except BaseException:  # most of all, the client went away
                breaker.abandoned(era)
                raise
            status = served.response.status
            tried.append(Attempt(model, provider.name, str(status), served.upstream_ms))
            if status < 400:
                self.latencies.observe(model, served.upstream_ms)
            if status < 500 and status != _TOO_MANY_REQUESTS:
                breaker.succeeded(era)
                return served
            if status == _TOO_MANY_REQUESTS:
                breaker.abandoned(era)  # it is there, and has enough to do
            else:
                breaker.failed(era)
            failed = await _kept(served)
        if isinstance(failed, Served):
            return failed
        if failed is not None:
            raise failed
        for kind in (UpstreamUnavailable, BudgetExceeded, ProviderUnresolved):
            if kind in refused:
                raise refused[kind]
        raise AssertionError("A decision has a model to try.")

    def _check_ceiling(
        self,
        ceiling: int | None,
        provider: Provider,
        model: str,
        prices: PriceTable,
        input_tokens: int,
        output_tokens: int,
        at: datetime,
    ) -> None:
        if ceiling is None:
            return
        estimate = cost_nano(
            prices, provider.name, model, input_tokens=input_tokens, output_tokens=output_tokens, at=at
        )
        if estimate is None and not self.takes_unknown_prices:
            raise BudgetExceeded(
                "The route has a ceiling, and no price is known of a model that could serve this request."
            )
        if estimate is not None and estimate > ceiling:
            raise BudgetExceeded("Every model that could serve this request costs more than its route allows.")

    def _enter(self, provider: Provider) -> int:
        era = self.breaker(provider).enter()
        if era is None:
            raise UpstreamUnavailable("The provider failed several times in a row and is left alone for a while.")
        return era

    async def _ask(
        self,
        provider: Provider,
        model: str,
        index: int,
        sent: bytes,
        headers: list[tuple[bytes, bytes]],
    ) -> Served:
        """The answer of this provider, once its first bytes are there."""
        all_headers = [*headers, (b"content-length", b"%d" % len(sent)), *provider.key_headers()]
        began = perf_counter()
        response = await self.client.open(
            "POST", provider.url, all_headers, sent, timeouts=provider.timeouts, private_upstreams=None
        )
        try:
            first = await _first_bytes(response, provider.timeouts)
        except BaseException:
            await response.aclose()
            raise
        return Served(response, first, provider, model, index, round((perf_counter() - began) * 1000))


async def _first_bytes(response: Response, timeouts: Timeouts) -> bytes:
    seconds = timeouts.first_byte_seconds
    try:
        async with asyncio.timeout(30.0 if seconds is None else seconds):
            async for data in response.body:
                if data:
                    return data
    except TimeoutError:
        raise UpstreamTimeout("The provider began its answer and sent nothing of it in time.") from None
    return b""


async def _kept(served: Served) -> Served:
    """The same with its body read, as far as it is small, so that the connection is free for the next attempt."""
    response = served.response
    data = bytearray(served.first)
    try:
        async for part in response.body:
            data += part
            if len(data) > _MAX_FAILURE_BYTES:
                break
    except RoutingError:
        pass  # the status is what counts; the body was only to explain it
    finally:
        await response.aclose()
    kept = bytes(data[:_MAX_FAILURE_BYTES])
    headers = [(name, value) for name, value in response.headers if name != b"content-length"]
    headers.append((b"content-length", b"%d" % len(kept)))
    served.response = Response(response.status, response.reason, headers, _nothing())
    served.first = kept
    return served


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
