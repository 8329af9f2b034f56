"""`RequestProxy`: passes a request on to an upstream and its answer back, with nothing changed but what has to be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from routes.engine import Timeouts
from routes.engine.spi import HeaderOp
from routes.gateway.headers import Networks, to_client, to_upstream, with_header_op
from routes.gateway.messages import Headers, Request, Response
from routes.gateway.upstream import Guard, UpstreamClient


@dataclass(frozen=True, slots=True)
class Forwarding:
    """What is the same wherever a request of a service goes; `written` are headers of the answer."""

    timeouts: Timeouts
    private_upstreams: Guard
    written: Headers


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
        to: Forwarding,
        *,
        header_ops: Iterable[HeaderOp] = (),
        last_moment: float | None = None,
    ) -> Response:
        """The upstream's answer, handed over before its body is read; `header_ops` change what is sent. Whoever takes the
        answer closes it. `last_moment` is what `UpstreamClient.open` calls so, and raised is what that raises."""
        headers = to_upstream(request, trusted=self.trusted, forces_https=self.forces_https)
        for op in header_ops:
            headers = with_header_op(headers, op)
        response = await self.client.open(
            request.method,
            url,
            headers,
            request.body,
            timeouts=to.timeouts,
            private_upstreams=to.private_upstreams,
            last_moment=last_moment,
        )
        response.headers = to_client(response.headers, to.written)
        return response
