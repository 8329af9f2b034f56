"""`RequestProxy`: passes a request on to an upstream and its answer back, with nothing changed but what has to be."""

from __future__ import annotations

from dataclasses import dataclass

from routes.engine import Timeouts
from routes.gateway.headers import Networks, to_client, to_upstream
from routes.gateway.messages import Headers, Request, Response
from routes.gateway.upstream import Guard, UpstreamClient


@dataclass(slots=True, kw_only=True)
class RequestProxy:
    """`trusted` are the proxies in front of this gateway, whose word on clients counts."""

    client: UpstreamClient
    trusted: Networks = ()
    forces_https: bool = False

    async def forward(
        self,
        request: Request,
        url: str,
        *,
        timeouts: Timeouts,
        private_upstreams: Guard,
        written: Headers,
    ) -> Response:
        """The upstream's answer, handed over before its body is read, with the headers `written` here. Whoever takes it
        closes it. Raises what `UpstreamClient.open` raises."""
        headers = to_upstream(request, trusted=self.trusted, forces_https=self.forces_https)
        response = await self.client.open(
            request.method, url, headers, request.body, timeouts=timeouts, private_upstreams=private_upstreams
        )
        response.headers = to_client(response.headers, written)
        return response
