"""A chat endpoint over real rules, with providers that answer as a test says."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from routes.engine import Action, Conditions, EngineCache, MemoryStore, Price, PriceTable, Route, Timeouts
from routes.engine.errors import StoreUnavailable
from routes.gateway.directory import Directory
from routes.gateway.llm.attempts import Attempts
from routes.gateway.llm.breaker import CircuitBreaker
from routes.gateway.llm.chat import Chat, Observed
from routes.gateway.llm.providers import Provider, Providers
from routes.gateway.messages import Request, Response
from routes.gateway.trace import Traces

ORG = "018f0000-0000-7000-8000-000000000001"
KEY, FORCING, EXPIRED = "rk_traffic_a_1", "rk_traffic_b_2", "rk_traffic_c_3"
AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
USAGE = {"prompt_tokens": 100, "completion_tokens": 20}


def answer(text: str = "hi", **more: Any) -> bytes:
    said = {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": USAGE, **more}
    return json.dumps(said).encode()


def a_route(name: str, number: int = 1, *, when: dict[str, Any] | None = None, **then: Any) -> Route:
    uid = f"018f0000-0000-7000-8000-00000000010{number}"
    return Route(id=uid, name=name, priority=100 - number, when=Conditions.from_dict(when or {}), then=Action(**then))


@dataclass
class Reply:
    """What a provider does: an error before the head, or a head and pieces; an exception among the pieces breaks off."""

    status: int = 200
    pieces: list[Any] = field(default_factory=lambda: [answer()])
    headers: list[tuple[bytes, bytes]] = field(default_factory=lambda: [(b"content-type", b"application/json")])
    error: BaseException | None = None


@dataclass
class Sent:
    url: str
    headers: list[tuple[bytes, bytes]]
    body: dict[str, Any]


class FakeClient:
    """Answers each call by the reply of the model that is asked for."""

    def __init__(self) -> None:
        self.replies: dict[str, Reply] = {}
        self.sent: list[Sent] = []
        self.closed = 0

    async def open(
        self,
        method: str,
        url: str,
        headers: list[tuple[bytes, bytes]],
        body: AsyncIterator[bytes] | bytes | None,
        *,
        timeouts: Timeouts,
        private_upstreams: None,
    ) -> Response:
        assert method == "POST"
        assert isinstance(body, bytes)
        data = body
        assert dict(headers)[b"content-length"] == b"%d" % len(data)
        asked = json.loads(data)
        self.sent.append(Sent(url, headers, asked))
        reply = self.replies.get(asked["model"], Reply())
        if reply.error is not None:
            raise reply.error
        return Response(reply.status, "", reply.headers, self._pieces(reply), self._close)

    async def _pieces(self, reply: Reply) -> AsyncIterator[bytes]:
        for piece in reply.pieces:
            if isinstance(piece, BaseException):
                raise piece
            if isinstance(piece, asyncio.Event):
                await piece.wait()
            else:
                yield piece

    async def _close(self) -> None:
        self.closed += 1


class DeadStore(MemoryStore):
    def versions(self, org_ids: Any) -> dict[str, int]:
        raise StoreUnavailable("down")

    def fetch(self, org_id: str) -> Any:
        raise StoreUnavailable("down")


class Scene:
    """Everything that a request meets. `rows` are what was recorded."""

    def __init__(self, *routes: Route, store: MemoryStore | None = None, **settings: Any) -> None:
        self.store = store or MemoryStore()
        if not isinstance(self.store, DeadStore):
            self.store.set_routes(ORG, routes)
        self.cache = EngineCache(self.store, poll_seconds=60)
        self.client = FakeClient()
        self.now = AT
        self.seconds = 0.0
        self.rows: list[dict[str, Any]] = []
        self.observed: list[Observed] = []
        self.directory: Directory | None = Directory.from_document({"schema": 1, "organizations": [_organization()]})
        self.attempts = Attempts(
            self.client,
            Providers(
                [
                    Provider(name="openai", base_url="https://openai.example/v1", key="sk-1"),
                    Provider(name="other", base_url="http://other.example"),
                ],
                {"gpt-*": "openai", "claude-*": "other"},
            ),
            takes_unknown_prices=settings.pop("takes_unknown_prices", False),
            new_breaker=lambda: CircuitBreaker(2, 30, clock=lambda: self.seconds),
        )
        self.traces = Traces()
        self.prices = PriceTable(
            [
                _price("openai", "gpt-4o", 2.5, 10),
                _price("openai", "gpt-4o-mini", 0.15, 0.6),
                _price("other", "claude-haiku", 1, 5),
            ]
        )
        self.chat = Chat(
            cache=self.cache,
            directory=lambda: self.directory,
            prices=self._prices,
            attempts=self.attempts,
            record=lambda org_id, row: self.rows.append({"org_id": org_id, **row}),
            observe=self.observed.append,
            traces=self.traces,
            now=lambda: self.now,
            **settings,
        )

    async def __call__(
        self,
        body: dict[str, Any] | bytes | None = None,
        *,
        key: str | None = KEY,
        headers: list[tuple[bytes, bytes]] | None = None,
        request_id: str = "018f0000-0000-7000-8000-0000000000ff",
    ) -> Response:
        data = body if isinstance(body, bytes) else json.dumps(body or a_body()).encode()
        sent = [
            (b"host", b"gw"),
            *([] if key is None else [(b"authorization", f"Bearer {key}".encode())]),
            *(headers or []),
        ]
        return await self.chat(
            Request("POST", "/v1/chat/completions", "", sent, _once(data), "192.0.2.1", "http", "gw", request_id)
        )

    async def _prices(self, org_id: str) -> PriceTable:
        assert org_id == ORG
        return self.prices

    async def ask(self, body: dict[str, Any] | bytes | None = None, **named: Any) -> "Answer":
        response = await self(body, **named)
        return Answer(response.status, response.headers, b"".join([part async for part in response.body]))

    @property
    def row(self) -> dict[str, Any]:
        (row,) = self.rows
        return row


@dataclass
class Answer:
    status: int
    headers: list[tuple[bytes, bytes]]
    data: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    def header(self, name: str) -> str | None:
        found = [value for each, value in self.headers if each == name.encode()]
        assert len(found) <= 1
        return found[0].decode() if found else None


def a_body(model: str = "gpt-4o", **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "x" * 400}], "max_tokens": 100, **more}


def _price(provider: str, model: str, input_usd: float, output_usd: float) -> Price:
    return Price(
        provider=provider,
        model=model,
        input_nano_per_million=round(input_usd * 10**9),
        output_nano_per_million=round(output_usd * 10**9),
    )


def _organization() -> dict[str, Any]:
    def a_key(text: str, **facts: Any) -> dict[str, Any]:
        plain = {"expires_at": None, "metadata": {}, "allows_force": False}
        return {"id": text.split("_")[2], "digest": sha256(text.encode()).hexdigest(), **plain, **facts}

    return {
        "org_id": ORG,
        "org_slug": "acme",
        "status": "active",
        "private_upstreams": [],
        "hosts": {},
        "traffic_keys": [
            a_key(KEY, metadata={"team": "blue"}),
            a_key(FORCING, allows_force=True),
            a_key(EXPIRED, expires_at="2026-11-23T12:00:00Z"),
        ],
    }


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
