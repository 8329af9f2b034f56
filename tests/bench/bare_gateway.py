"""What a gateway on granian and aiohttp cannot do without: a body read, sent on, and its answer sent back. No keys, no
rules, no checks, no clocks: the floor under the figures of ours."""

import os
from typing import Any

import aiohttp

_URL = f"http://127.0.0.1:{os.environ.get('BENCH_PROVIDER', '')}/v1/chat/completions"
_HEADERS = {"Content-Type": "application/json", "Authorization": "Bearer sk-x"}
_session: list[aiohttp.ClientSession] = []


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    data = b""
    while True:
        message = await receive()
        data += message.get("body", b"")
        if not message.get("more_body"):
            break
    if not _session:
        connector = aiohttp.TCPConnector(limit=0)
        _session.append(aiohttp.ClientSession(connector=connector, auto_decompress=False, trust_env=False))
    async with _session[0].post(_URL, data=data, headers=_HEADERS) as answer:
        body = await answer.read()
        await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.raw_headers)})
    await send({"type": "http.response.body", "body": body})
