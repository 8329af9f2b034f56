"""`POST /v1/chat/completions`: decides, asks the provider, passes its answer on, and notes what came of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from routes.engine import Engine, EngineCache, PriceTable, RequestContext, RouteDecision
from routes.engine.errors import AuthFailed, Forbidden, Internal, PayloadTooLarge, RoutingError, StoreUnavailable
from routes.engine.prices import max_output_tokens
from routes.engine.tokens import count_tokens
from routes.gateway.answers import json_answer, refusal
from routes.gateway.directory import Directory, TrafficKey
from routes.gateway.llm.attempts import Attempt, Attempts, Served
from routes.gateway.llm.body import MAX_BODY_BYTES, read_chat
from routes.gateway.llm.context import Counter, forced_route, read_context
from routes.gateway.llm.rows import row_of
from routes.gateway.llm.usage import UsageReader, without_usage
from routes.gateway.messages import Request, Response
from routes.gateway.trace import Trace, Traces

log = logging.getLogger(__name__)

_BEARER = b"bearer "
#: What of a client's headers a provider may see. Everything else is between the client and us: keys, cookies, addresses.
_PASSED = frozenset({b"accept", b"openai-beta", b"traceparent", b"tracestate", b"user-agent", b"idempotency-key"})
#: What a provider may not say in our name, and what belongs to its connection or its cookies.
_OWN = frozenset({
    b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"set-cookie", b"te", b"trailer",
    b"transfer-encoding", b"upgrade", b"x-request-id", b"x-route-id", b"x-route-version", b"x-served-model",
})  # fmt: skip
#: The status under which a request is logged whose client went away before its answer was whole.
CLIENT_GONE = 499
#: Of a model's name so much is told in a header.
_MAX_NAME_BYTES = 500
BROKEN_OFF = 502
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """A request when it is over: the route that took it and who served it, None where that was nobody; `upstream_ms` until
    the first bytes of the answer that went on."""

    route_id: str | None
    provider: str | None
    status: int
    total_ms: float
    upstream_ms: int | None


@dataclass(slots=True, kw_only=True)
class Chat:
    """The endpoint, as one process has it. `record` takes the row of each request, and is not waited for; None: nobody
    keeps rows, and none are made. `observe` takes what is counted of each."""

    cache: EngineCache
    directory: Callable[[], Directory | None]
    prices: Callable[[str], Awaitable[PriceTable]]
    attempts: Attempts
    record: Callable[[str, Row], None] | None
    observe: Callable[[Observed], None]
    traces: Traces
    count: Counter = count_tokens
    #: Whether requests of an organisation whose rules were never there pass unchanged, or are refused.
    passes_without_rules: bool = False
    max_shadows: int = 64
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _shadows: set[asyncio.Task[None]] = field(default_factory=set)
    dropped_shadows: int = 0

    async def __call__(self, request: Request) -> Response:
        """The answer, with its first bytes there, or a refusal as an answer. Raises nothing but what ends the task."""
        trace = Trace(
            request.request_id,
            kind="llm",
            client_request_id=_client_request_id(request),
            org_id=None,
        )
        self.traces.add(trace)
        call = _Call(self, request, trace)
        try:
            return await call.answer()
        except RoutingError as error:
            return call.refused(error)
        except asyncio.CancelledError:
            call.client_gone()
            raise
        except Exception:
            log.exception("request %s failed", request.request_id)
            return call.refused(Internal("The gateway failed. Its operator finds the request by its id."))

    async def aclose(self) -> None:
        """End what runs beside requests."""
        for task in self._shadows:
            task.cancel()
        await asyncio.gather(*self._shadows, return_exceptions=True)


class _Call:
    """One request on its way through."""

    def __init__(self, chat: Chat, request: Request, trace: Trace) -> None:
        self.chat = chat
        self.request = request
        self.trace = trace
        self.at = chat.now()
        self.began = perf_counter()
        self.key: TrafficKey | None = None
        self.decision: RouteDecision | None = None
        self.context: RequestContext | None = None
        self.prices = PriceTable()
        self.body: dict[str, Any] = {}
        self.data = b""
        self.tried: list[Attempt] = []
        self.served: Served | None = None
        self.is_recorded = False

    # --- The way through ------------------------------------------------------------------------------------------

    async def answer(self) -> Response:
        key = self.key = authenticated(self.chat.directory(), self.request, self.at)
        self.trace.document["org_id"] = key.org.org_id
        self.trace.stage("authenticate", key=key.id)
        self.data = await _whole(self.request)
        self.body = read_chat(self.data)
        self.trace.stage("read", bytes=len(self.data), model=self.body["model"])
        engine = await self._engine(key)
        prices = self.prices = await self.chat.prices(key.org.org_id)
        context = self.context = read_context(
            self.body,
            self.request.headers,
            org_id=key.org.org_id,
            key=key,
            header_names=engine.header_names,
            request_id=self.request.request_id,
            prices=prices,
            count=self.chat.count,
            at=self.at,
            upstream_latency_ms_p95=self.chat.attempts.latencies.p95(self.body["model"]),
        )
        decision = self.decision = engine.decide(context, force=forced_route(self.request.headers, key))
        self.trace.stage("decide", decision=decision)
        if decision.refusal is not None:
            return self._refusal()
        self._shadow()
        served = self.served = await self.chat.attempts.run(
            decision,
            requested=self.body["model"],
            data=self.data,
            headers=self._upstream_headers(),
            org_id=key.org.org_id,
            org_slug=key.org.org_slug,
            prices=prices,
            input_tokens=context.input_tokens or 0,
            max_output_tokens=max_output_tokens(self.body),
            at=self.at,
            tried=self.tried,
            wants_usage=self._wants_usage(),
        )
        self.trace.stage("dispatch", attempts=self.tried)
        response = served.response
        headers, body = _passed_back(response.headers), self._passing(served)
        if served.is_usage_ours:
            headers, body = without_usage(headers, body)
        return Response(response.status, response.reason, [*headers, *self._own_headers()], body, response.aclose)

    def _wants_usage(self) -> bool:
        """Whether somebody keeps rows of streams whose tokens the client does not ask for."""
        is_told = "stream_options" in self.body or self.body.get("stream") is not True
        return self.chat.record is not None and not is_told

    async def _engine(self, key: TrafficKey) -> Engine:
        try:
            return await self.chat.cache.aengine_for(key.org.org_id)
        except StoreUnavailable:
            if self.chat.passes_without_rules:
                self.trace.stage("no_rules")
                return Engine((), org_id=key.org.org_id)
            raise

    def _upstream_headers(self) -> list[tuple[bytes, bytes]]:
        passed = [(name, value) for name, value in self.request.headers if name in _PASSED]
        # As it is, because what it says of tokens is read on its way.
        return [*passed, (b"content-type", b"application/json"), (b"accept-encoding", b"identity")]

    async def _passing(self, served: Served) -> AsyncGenerator[bytes]:
        """The body as it comes; when it is whole, or broken off, the row is written."""
        # What an answer says of its tokens is for its row.
        reader = None if self.chat.record is None else UsageReader(is_stream=self.body.get("stream") is True)
        status = served.response.status
        try:
            if served.first:
                if reader is not None:
                    reader.feed(served.first)
                yield served.first
            async for data in served.response.body:
                if reader is not None:
                    reader.feed(data)
                yield data
        except RoutingError as error:
            status = BROKEN_OFF
            self.trace.failed(error)
            raise
        except (asyncio.CancelledError, GeneratorExit):
            status = CLIENT_GONE
            raise
        finally:
            self._record(status, served=served, reader=reader)
            self.trace.ended("ok" if status < 400 else "error")

    # --- Other ends ----------------------------------------------------------------------------------------------

    def refused(self, error: RoutingError) -> Response:
        """The answer that says why there is no other."""
        self.trace.failed(error)
        if self.tried:
            self.trace.stage("dispatch", attempts=self.tried)
        self._record(error.http_status)
        return refusal(error, self.request.request_id, self._own_headers())

    def client_gone(self) -> None:
        self.trace.ended("client_gone")
        self._record(CLIENT_GONE)

    def _refusal(self) -> Response:
        """The answer that the route gives instead of a model's."""
        assert self.decision is not None
        assert self.decision.refusal is not None
        said = self.decision.refusal
        self.trace.ended("refused")
        self._record(said.status)
        facts = {"error": said.code, "message": said.message, "retryable": False}
        return json_answer(said.status, {**facts, "request_id": self.request.request_id}, self._own_headers())

    # --- What is told of it ---------------------------------------------------------------------------------------

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        found = [(b"x-request-id", self.request.request_id.encode())]
        if self.decision is not None:
            found.append((b"x-route-version", b"%d" % self.decision.version))
            if self.decision.route_id is not None:
                found.append((b"x-route-id", self.decision.route_id.encode()))
        if self.served is not None:
            # A name comes from a client's body and may be anything; a header is short and visible ASCII.
            name = self.served.model.encode("unicode_escape")[:_MAX_NAME_BYTES]
            found.append((b"x-served-model", name))
        return found

    def _record(self, status: int, *, served: Served | None = None, reader: UsageReader | None = None) -> None:
        """One row for each request of which it is known whose it is and what it asks for."""
        if self.is_recorded or self.key is None or self.context is None or self.decision is None:
            return
        self.is_recorded = True
        provider = None if served is None else served.provider.name
        upstream_ms = None if served is None else served.upstream_ms
        total_ms = (perf_counter() - self.began) * 1000
        self.chat.observe(Observed(self.decision.route_id, provider, status, total_ms, upstream_ms))
        if self.chat.record is None:
            return
        org_id = self.key.org.org_id
        row = row_of(
            self.request.request_id,
            self.at,
            self.context,
            self.decision,
            self.body,
            prices=self.prices,
            provider=provider,
            model=None if served is None else served.model,
            kind="fallback" if served is not None and served.index else "primary",
            usage=None if reader is None else reader.usage(),
            status=status,
            latency_ms=round(total_ms),
            upstream_latency_ms=upstream_ms,
        )
        self.chat.record(org_id, row)

    # --- Beside it ------------------------------------------------------------------------------------------------

    def _shadow(self) -> None:
        assert self.decision is not None
        model = self.decision.shadow_model
        if model is None:
            return
        if len(self.chat._shadows) >= self.chat.max_shadows:
            self.chat.dropped_shadows += 1
            return
        task = asyncio.create_task(self._ask_shadow(model))
        self.chat._shadows.add(task)
        task.add_done_callback(self.chat._shadows.discard)

    async def _ask_shadow(self, model: str) -> None:
        """The same request to another model, whose answer nobody sees: for its row alone."""
        assert self.key is not None
        assert self.context is not None
        assert self.decision is not None
        began = perf_counter()
        org = self.key.org
        shadowed = RouteDecision(
            **{
                **{name: getattr(self.decision, name) for name in RouteDecision.__dataclass_fields__},
                "target_model": model,
                "provider": None,
                "fallbacks": (),
                "shadow_model": None,
            }
        )
        reader = UsageReader(is_stream=self.body.get("stream") is True)
        status, served = BROKEN_OFF, None
        try:
            served = await self.chat.attempts.run(
                shadowed,
                requested=self.body["model"],
                data=self.data,
                headers=self._upstream_headers(),
                org_id=org.org_id,
                org_slug=org.org_slug,
                prices=self.prices,
                input_tokens=self.context.input_tokens or 0,
                max_output_tokens=max_output_tokens(self.body),
                at=self.at,
                tried=[],
                wants_usage=self._wants_usage(),
            )
            try:
                reader.feed(served.first)
                async for data in served.response.body:
                    reader.feed(data)
                status = served.response.status
            finally:
                await served.response.aclose()
        except RoutingError as error:
            status = error.http_status
        except Exception:
            log.exception("the shadow of request %s failed", self.request.request_id)
        provider = None if served is None else served.provider.name
        upstream_ms = None if served is None else served.upstream_ms
        total_ms = (perf_counter() - began) * 1000
        self.chat.observe(Observed(self.decision.route_id, provider, status, total_ms, upstream_ms))
        if self.chat.record is None:
            return
        row = row_of(
            f"{self.request.request_id}.shadow",
            self.at,
            self.context,
            self.decision,
            self.body,
            prices=self.prices,
            provider=provider,
            model=model,
            kind="shadow",
            usage=reader.usage(),
            status=status,
            latency_ms=round(total_ms),
            upstream_latency_ms=upstream_ms,
        )
        self.chat.record(org.org_id, row)


def authenticated(directory: Directory | None, request: Request, at: datetime) -> TrafficKey:
    """The traffic key that a request came with. Raises `AuthFailed`, `Forbidden`, and `StoreUnavailable` where no key is
    known yet."""
    if directory is None:
        raise StoreUnavailable("The gateway does not know any keys yet. Try again in a moment.")
    given = [value for name, value in request.headers if name == b"authorization"]
    if len(given) != 1 or not given[0].lower().startswith(_BEARER):
        raise AuthFailed("Send a traffic key: Authorization: Bearer rk_traffic_…")
    key = directory.key(given[0][len(_BEARER) :].strip().decode("latin-1"), at)
    if key is None:
        raise AuthFailed("This is no valid traffic key of this gateway.")
    if key.org.status == "closed":
        raise Forbidden("This organisation is closed.")
    return key


async def _whole(request: Request) -> bytes:
    """The body, within its bound. Raises `PayloadTooLarge` before it is read, where its length is told."""
    for name, value in request.headers:
        if name == b"content-length" and int(value) > MAX_BODY_BYTES:
            raise _too_large()
    if request.body is None:
        return b""
    parts: list[bytes] = []
    size = 0
    async for data in request.body:
        size += len(data)
        if size > MAX_BODY_BYTES:
            raise _too_large()
        parts.append(data)
    return b"".join(parts)


def _too_large() -> PayloadTooLarge:
    return PayloadTooLarge(f"The body of a request has at most {MAX_BODY_BYTES:,} bytes.")


def _passed_back(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """A provider's headers without those of its connection, and without those that we write."""
    return [(name, value) for name, value in headers if name not in _OWN]


def _client_request_id(request: Request) -> str | None:
    """What the client calls its request: kept beside the id that was made here, which decides shares and names the row."""
    for name, value in request.headers:
        if name == b"x-request-id":
            return value.decode("utf-8", "replace")[:200]
    return None
