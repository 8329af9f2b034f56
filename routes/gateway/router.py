"""`RuntimeRouter`: which upstream serves a path of a service, by the rules that are live."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from routes.engine import EngineCache, Timeouts
from routes.engine.errors import RoutingError
from routes.gateway.answers import refusal
from routes.gateway.messages import Headers, Request, Response
from routes.gateway.placed import PlacedSink, ServiceCall, key_of, no_placements
from routes.gateway.proxy import Forwarding, RequestProxy
from routes.gateway.trace import Trace
from routes.gateway.upstream import FIRST_BYTE_SECONDS, Guard


@dataclass(frozen=True, slots=True)
class ServiceRef:
    """A service as a request names it, by its host or by a prefix of its path. `private_upstreams` are those of its
    organisation; None: no address is judged."""

    org_id: str
    slug: str
    private_upstreams: Guard = ()


class RuntimeRouter:
    """Matches a request against its service's paths and passes it on. The rules come from the cache, so that nothing here
    is older than what decides everywhere else."""

    def __init__(
        self,
        cache: EngineCache,
        client: RequestProxy,
        *,
        proxy_timeout: float = FIRST_BYTE_SECONDS,
        shows_targets: bool = False,
        placed: PlacedSink | None = None,
    ) -> None:
        """`proxy_timeout` is how long an upstream may take until its answer begins, in seconds, where its service says
        nothing; with `shows_targets` an error names the URL that failed, for people who debug their own upstreams.
        `placed` takes what leads to placements; without it that is refused."""
        self._cache = cache
        self._proxy = client
        self._timeouts = Timeouts(first_byte_seconds=proxy_timeout)
        self._shows_targets = shows_targets
        self._placed = placed or PlacedSink(no_placements)

    async def handle(self, service: ServiceRef, request: Request, trace: Trace | None = None) -> Response | None:
        """The answer, its body still to come; None where no path of the service fits, or the service is disabled or not
        there: the caller may have something of its own to answer.

        What the upstream does wrong is an answer too (502, 504). Raises `UnsafePath`, `MethodNotAllowed`, and
        `StoreUnavailable` where the rules were never there.
        """
        engine = await self._cache.aengine_for(service.org_id)
        found = engine.services.get(service.slug)
        if found is None or not found.enabled:
            return None
        headers = _by_name(request.headers)
        match = found.table.match(request.path, request.method, headers)
        if match is None:
            return None
        if trace is not None:
            trace.stage("match", version=engine.version, pattern=match.pattern, target=match.target_url)
        written = [(b"x-request-id", request.request_id.encode()), (b"x-route-version", b"%d" % engine.version)]
        url = match.url(request.query)
        to = Forwarding(_over(self._timeouts, found.timeouts), service.private_upstreams, written)
        try:
            key = key_of(match.target_url)
            if key is None:
                return await self._proxy.forward(request, url, to)
            call = ServiceCall(service.org_id, service.slug, request.method, headers, match.params, key)
            placed = await self._placed.place(call, match.url(request.query), request, trace)
            url = placed.url
            return await placed.send(self._proxy, to)
        except RoutingError as error:
            if trace is not None:
                trace.failed(error)
            target = url.partition("?")[0] if self._shows_targets else None
            return refusal(error, request.request_id, written, target=target)

    def status(self) -> dict[str, Any]:
        """`size`, how many organisations' rules are at hand; `age_seconds`, how long ago the store last confirmed the one
        that was confirmed longest ago (None: it never did); and what the cache says of itself."""
        status = self._cache.status()
        ages = [org["age_seconds"] for org in status["orgs"].values()]
        return {"size": len(ages), "age_seconds": None if None in ages else max(ages, default=0.0), **status}

    def invalidate(self, service: ServiceRef) -> None:
        """Look for newer rules at the next request of this service's organisation."""
        self._cache.invalidate(service.org_id)

    def clear(self) -> None:
        """Look for newer rules at the next request of every organisation."""
        for org_id in self._cache.status()["orgs"]:
            self._cache.invalidate(org_id)


def _over(defaults: Timeouts, given: Timeouts) -> Timeouts:
    return replace(defaults, **given.to_dict()) if given.to_dict() else defaults


def _by_name(headers: Headers) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return found
