"""A gateway of one service, in a process of its own: whatever path is asked for goes to `UPSTREAM`."""

import os
from typing import Any

from routes.engine import EngineCache, Timeouts
from routes.gateway.answers import json_answer
from routes.gateway.http import Receive, Scope, Send, serve
from routes.gateway.messages import Request, Response
from routes.gateway.proxy import RequestProxy
from routes.gateway.router import RuntimeRouter, ServiceRef
from routes.gateway.upstream import UpstreamClient
from tests.routes.gateway.services import ORG, ServicesStore, a_service

STORE = ServicesStore(a_service(paths={"/**": os.environ["UPSTREAM"]}))
CACHE = EngineCache(STORE)
state: dict[str, Any] = {}


async def handler(request: Request) -> Response:
    if "router" not in state:
        timeouts = Timeouts(connect_seconds=2, first_byte_seconds=5, idle_seconds=5)
        proxy = RequestProxy(client=UpstreamClient(defaults=timeouts))
        state["router"] = RuntimeRouter(CACHE, proxy, proxy_timeout=5)
    if request.path == "/broken":
        raise ZeroDivisionError("secret")
    # The test's upstream is on this machine, where no organisation's services may lead.
    service = ServiceRef(ORG, "web", None)
    response = await state["router"].handle(service, request)
    return response or json_answer(404, {"error": "no_route"})


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await serve(scope, receive, send, handler)
