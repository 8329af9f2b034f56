"""The gateway as one process has it: what is asked for goes to a service, to a model, or to the gateway's own pages."""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import signal
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from time import perf_counter
from typing import Any

from routes.engine import EngineCache, PlacementRouter
from routes.engine.document import SCHEMA as DOCUMENT_SCHEMA
from routes.engine.errors import AuthFailed, Internal, MethodNotAllowed, NoRoute, RoutingError, StoreUnavailable
from routes.gateway.answers import json_answer
from routes.gateway.config import Configuration
from routes.gateway.directory import Directory, DirectoryOrganization
from routes.gateway.feeds import Feed
from routes.gateway.http import IDLE_SECONDS, ClientGone, Receive, Scope, Send, serve
from routes.gateway.llm.attempts import Attempts
from routes.gateway.llm.breaker import CircuitBreaker
from routes.gateway.llm.chat import Chat, Observed
from routes.gateway.llm.models import list_models
from routes.gateway.logs.queue import RowQueue, Sink
from routes.gateway.messages import Request, Response
from routes.gateway.metrics import Metrics
from routes.gateway.placed import PlacedSink, Routing, ServiceCall, SourceHealth, SourcePlacements
from routes.gateway.prices import PriceBook
from routes.gateway.proxy import RequestProxy
from routes.gateway.router import RuntimeRouter, ServiceRef
from routes.gateway.sources import Source, source_of
from routes.gateway.trace import Trace, Traces
from routes.gateway.upstream import FIRST_BYTE_SECONDS, UpstreamClient

log = logging.getLogger(__name__)

DIRECTORY_POLL_SECONDS = 2.0
REPORT_SECONDS = 15.0
#: Rows of the log that wait at the end have so long to be written.
LAST_ROWS_SECONDS = 10.0
#: So many placements are read at a time.
PLACEMENT_READERS = 16
_PREFIX = "/s/"
_INSIDE = "/_gateway/"
_BEARER = b"bearer "


class NotEnabled(RoutingError):
    """This is there and switched off: no admin token is configured."""

    http_status = 404


class NoService(RoutingError):
    """No service answers at this host or prefix."""

    http_status = 404


class UnknownRequestId(RoutingError):
    """None of the last requests has this id."""

    http_status = 404


class Gateway:
    """Everything of one process. An ASGI application: begins with the lifespan, and ends with it."""

    def __init__(
        self,
        configuration: Configuration,
        *,
        source: Source | None = None,
        sink: Sink | None = None,
        routing: Routing | None = None,
    ) -> None:
        """`source` and `sink` stand in for those of the configuration; `routing` for what the source says of placements."""
        self.configuration = configuration
        told = configuration.source
        self.source = source or source_of(told.database_url, told.api_url, told.key)
        folder = told.snapshot_dir
        self.cache = EngineCache(
            self.source.store,
            poll_seconds=told.poll_seconds,
            snapshot_dir=None if folder is None else os.path.join(folder, "rules"),
        )
        self.directory: Feed[Directory] = Feed(
            "the directory",
            self.source.directory,
            Directory.from_document,
            poll_seconds=DIRECTORY_POLL_SECONDS,
            file=None if folder is None else os.path.join(folder, "directory.json"),
        )
        self.prices = PriceBook(self.source.prices, folder=None if folder is None else os.path.join(folder, "prices"))
        self.metrics = Metrics()
        self.traces = Traces()
        self.is_draining = False
        self._idle_seconds = configuration.timeouts.idle_seconds or IDLE_SECONDS
        self._sink = sink
        self._routing = routing
        self._readers = ThreadPoolExecutor(PLACEMENT_READERS, thread_name_prefix="gateway-placements")
        self._placements_read = SourceHealth()
        self._tasks: list[asyncio.Task[None]] = []

    # --- ASGI -----------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await serve(scope, receive, send, self.handle, idle_seconds=self._idle_seconds)
        else:  # no WebSockets: what would be passed on there, nobody could frame or log
            await send({"type": "websocket.close", "code": 1003})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as error:
            log.exception("the gateway cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def start(self) -> None:
        """Inside the event loop, and before the first request."""
        told = self.configuration
        self.client = UpstreamClient(defaults=told.timeouts)
        proxy = RequestProxy(client=self.client, trusted=told.trusted_proxies, forces_https=told.forces_https)
        self.router = RuntimeRouter(
            self.cache,
            proxy,
            proxy_timeout=told.timeouts.first_byte_seconds or FIRST_BYTE_SECONDS,
            shows_targets=told.shows_targets,
            placed=PlacedSink(self._routing or self._placements),
        )
        sink = self._sink or _sink_of(told)
        self.rows = None if sink is None else RowQueue(
            sink, most=told.logs.queue_rows, batch_rows=told.logs.batch_rows, batch_seconds=told.logs.batch_seconds
        )  # fmt: skip
        self.attempts = Attempts(
            self.client,
            told.providers,
            takes_unknown_prices=told.takes_unknown_prices,
            new_breaker=lambda: CircuitBreaker(told.breaker_failures, told.breaker_seconds),
        )
        self.chat = Chat(
            cache=self.cache,
            directory=lambda: self.directory.value,
            prices=self.prices.of,
            attempts=self.attempts,
            record=None if self.rows is None else self.rows.put,
            observe=self._observe,
            traces=self.traces,
            count=told.count,
            passes_without_rules=told.passes_without_rules,
        )
        await asyncio.to_thread(self.directory.start)
        self.prices.start()
        if self.rows is not None:
            self.rows.start()
        self._tasks.append(asyncio.create_task(self._report(), name="gateway-report"))
        with suppress(
            NotImplementedError, ValueError, RuntimeError
        ):  # not in the main thread: nobody sends signals there
            asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.drain)

    async def stop(self) -> None:
        """When the last request is answered."""
        for task in self._tasks:
            task.cancel()
        self.directory.stop()
        self.prices.stop()
        await self.chat.aclose()
        if self.rows is not None:
            await self.rows.aclose(LAST_ROWS_SECONDS)
        await self.client.aclose()
        self._readers.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self.cache.close)
        await asyncio.to_thread(self.source.close)

    def drain(self) -> None:
        """From now on every answer is the last one of its connection, so that clients come back to another process."""
        self.is_draining = True

    # --- Requests -------------------------------------------------------------------------------------------------

    async def handle(self, request: Request) -> Response:
        """The answer to any request. Raises `RoutingError` where it is a refusal."""
        response = await self._answer(request)
        if self.is_draining:
            response.headers = [*response.headers, (b"connection", b"close")]
        return response

    async def _answer(self, request: Request) -> Response:
        directory = self.directory.value
        hosted = None if directory is None else directory.service_of_host(request.host)
        if hosted is not None:
            return await self._service(hosted.org, hosted.slug, request)
        path = request.path
        if path.startswith(_PREFIX):
            return await self._prefixed(directory, request)
        if path == "/v1/chat/completions":
            _check_method(request, "POST")
            return await self._chat(request)
        if path == "/v1/models":
            _check_method(request, "GET")
            return await list_models(self.chat, request)
        if path.startswith(_INSIDE):
            return self._inside(request, path.removeprefix(_INSIDE))
        if directory is None:
            raise StoreUnavailable("The gateway does not know any services yet. Try again in a moment.")
        raise NoService("No service answers at this host, and the path begins with no /s/organisation/service/.")

    async def _chat(self, request: Request) -> Response:
        return await self.chat(request)

    async def _prefixed(self, directory: Directory | None, request: Request) -> Response:
        if directory is None:
            raise StoreUnavailable("The gateway does not know any services yet. Try again in a moment.")
        org_slug, _, rest = request.path.removeprefix(_PREFIX).partition("/")
        slug, slash, rest = rest.partition("/")
        org = directory.organization(org_slug)
        if org is None or not slug:
            raise NoService("No organisation has this name.")
        return await self._service(org, slug, replace(request, path=f"{slash or '/'}{rest}"))

    async def _service(self, org: DirectoryOrganization, slug: str, request: Request) -> Response:
        began = perf_counter()
        trace = Trace(request.request_id, kind="http", org_id=org.org_id, service=slug, method=request.method)
        self.traces.add(trace)
        try:
            if org.status == "closed":
                raise NoService("This organisation is closed.")
            response = await self.router.handle(ServiceRef(org.org_id, slug, org.private_upstreams), request, trace)
            if response is None:
                raise NoRoute("No path of this service fits, or it is disabled.")
        except RoutingError as error:
            trace.failed(error)
            self.metrics.request("http", None, slug, error.http_status)
            raise
        except ClientGone:
            trace.ended("client_gone")
            raise
        except Exception:  # ours: what is answered is said where it is logged
            trace.failed(Internal("The gateway failed. Its log says more."))
            self.metrics.request("http", None, slug, Internal.http_status)
            raise
        self.metrics.request("http", None, slug, response.status)
        self.metrics.stage("http", "upstream", perf_counter() - began)
        trace.ended("ok" if response.status < 400 else "error")
        return response

    def _placements(self, org_id: str) -> PlacementRouter[ServiceCall]:
        store = SourcePlacements(self.source.placement, org_id, self._readers, self._placements_read)
        return PlacementRouter(store, lambda call: call.partition)

    def _observe(self, seen: Observed) -> None:
        self.metrics.request("llm", seen.route_id, seen.provider, seen.status)
        self.metrics.stage("llm", "total", seen.total_ms / 1000)
        if seen.upstream_ms is not None:
            self.metrics.stage("llm", "upstream", seen.upstream_ms / 1000)

    # --- Its own pages --------------------------------------------------------------------------------------------

    def _inside(self, request: Request, page: str) -> Response:
        _check_method(request, "GET")
        if page == "healthz":
            return json_answer(200, {"status": "ok"})
        if page == "readyz":
            ready = self.directory.value is not None and not self.is_draining
            said = "draining" if self.is_draining else "ok" if ready else "no directory yet"
            return json_answer(200 if ready else 503, {"status": said})
        token = self.configuration.admin_token
        if token is None:
            raise NotEnabled("No admin token is configured (admin_token_env), so this is switched off.")
        self._check_token(request, token)
        if page == "status":
            return json_answer(200, self.status())
        if page == "metrics":
            self._take_figures()
            text = self.metrics.text()
            headers = [(b"content-type", b"text/plain; version=0.0.4"), (b"content-length", b"%d" % len(text))]
            return Response(200, "", headers, _once(text))
        if page.startswith("explain/"):
            found = self.traces.get(page.removeprefix("explain/"))
            if found is None:
                raise UnknownRequestId("None of the last requests of this process has this id.")
            return json_answer(200, found)
        raise NoRoute("The gateway has status, metrics, explain/<request id>, healthz and readyz.")

    @staticmethod
    def _check_token(request: Request, token: str) -> None:
        given = next((value for name, value in request.headers if name == b"authorization"), b"")
        scheme, text = given[: len(_BEARER)].lower(), given[len(_BEARER) :]
        if scheme != _BEARER or not hmac.compare_digest(text, token.encode()):
            raise AuthFailed("Send the gateway's admin token: Authorization: Bearer …")

    def status(self) -> dict[str, Any]:
        """For people: what runs, how old it is, and what is wrong."""
        directory = self.directory.value
        return {
            "instance": self.configuration.instance,
            "engine": _engine_version(),
            "draining": self.is_draining,
            "organizations": 0 if directory is None else len(directory.organizations),
            "directory": self.directory.status(),
            "rules": self.router.status(),
            "prices": self.prices.status(),
            "logs": None if self.rows is None else self.rows.status(),
            "providers": {
                name: {"open": breaker.is_open, "failures": breaker.failures}
                for name, breaker in self.attempts.breakers.items()
            },
            "shadows_dropped": self.chat.dropped_shadows,
        }

    def _take_figures(self) -> None:
        directory = self.directory.status()["age_seconds"]
        if directory is not None:
            self.metrics.gauge("directory_age_seconds", "Since the directory was last confirmed.", directory)
        rules = self.router.status()
        self.metrics.gauge("organizations_loaded", "Organisations whose rules are at hand.", rules["size"])
        if rules["age_seconds"] is not None:
            self.metrics.gauge("rules_age_seconds", "Since the oldest rules were last confirmed.", rules["age_seconds"])
        rejected = sum(1 for org in rules["orgs"].values() if org["rejected"] is not None)
        self.metrics.gauge("rules_rejected", "Organisations whose newest rules could not be loaded.", rejected)
        if self.rows is not None:
            rows = self.rows.status()
            self.metrics.gauge("log_rows_waiting", "Rows of the request log that wait to be written.", rows["waiting"])
            self.metrics.gauge("log_rows_dropped", "Rows that were dropped or refused so far.", rows["dropped"])
        is_open = sum(breaker.is_open for breaker in self.attempts.breakers.values())
        self.metrics.gauge("breakers_open", "Providers that are left alone at the moment.", is_open)

    async def _report(self) -> None:
        """Tells the control plane, again and again, what runs here."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            for org_id, said in self._reports().items():
                try:
                    await asyncio.to_thread(self.source.report, org_id, self.configuration.instance, said)
                except Exception as error:  # of whatever kind: it is told again in a moment
                    log.info("the control plane was not told what runs here: %s", error)
                    break

    def _reports(self) -> dict[str, dict[str, Any]]:
        return {
            org_id: {
                "running": org["version"] or 0,
                "rejected": org["rejected"],
                "schema_max": DOCUMENT_SCHEMA,
                "engine": _engine_version(),
                "extras": list(_extras()),
            }
            for org_id, org in self.cache.status()["orgs"].items()
            if org["version"] is not None
        }


def _check_method(request: Request, *methods: str) -> None:
    if request.method not in methods:
        raise MethodNotAllowed(f"This takes {', '.join(methods)}.", methods)


def _sink_of(told: Configuration) -> Sink | None:
    if told.logs.to == "api":
        from routes.gateway.logs.api import ApiSink

        assert told.source.api_url is not None
        assert told.source.key is not None
        return ApiSink(told.source.api_url, told.source.key)
    if told.logs.to == "parquet":
        from routes.gateway.logs.parquet import ParquetSink

        assert told.logs.folder is not None
        return ParquetSink(told.logs.folder)
    if told.logs.to == "database":
        from routes.gateway.logs.database import DatabaseSink

        assert told.logs.database_url is not None
        return DatabaseSink(told.logs.database_url)
    return None


@cache
def _engine_version() -> str:
    try:
        return version("routing-engine")
    except PackageNotFoundError:  # run from a checkout
        return "checkout"


@cache
def _extras() -> tuple[str, ...]:
    """What this machine can load beyond the standard library. Nothing is loaded: that would stop all requests meanwhile."""
    modules = (("postgres", "psycopg"), ("http", "httpx"), ("keywords", "ahocorasick_rs"), ("regex", "re2"))
    return tuple(name for name, module in modules if find_spec(module) is not None)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
