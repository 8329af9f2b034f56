"""The gateway as a service: a database, providers, and `python -m routes.gateway` in between."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from tests.routes.gateway.database import KEY, GatewayDatabase
from tests.routes.gateway.llm.scene import a_body
from tests.routes.gateway.running import Gateway, free_port, running
from tests.routes.gateway.stubs import Seen, Upstream, Writer

TOKEN = "let-me-in"


async def completes(upstream: Upstream, seen: Seen, writer: Writer) -> None:
    """A provider."""
    asked = json.loads(seen.body)
    said = {
        "model": asked["model"],
        "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20},
    }
    data = json.dumps(said).encode()
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data) + data)


class World:
    """A database, two providers, and a gateway in between."""

    def __init__(self, tmp_path: Path) -> None:
        self.path = tmp_path
        self.database = GatewayDatabase(tmp_path / "db.sqlite3")
        self.openai, self.other = Upstream(completes), Upstream(completes)

    @contextmanager
    def gateway(self, **more: str) -> Iterator[Gateway]:
        port = free_port()
        config = self.path / "gateway.toml"
        config.write_text(
            f"""
            listen = "127.0.0.1:{port}"
            admin_token_env = "TOKEN"
            [source]
            database_url = "{self.database.url}"
            snapshot_dir = "{self.path / "snapshots"}"
            poll_seconds = 0.2
            [logs]
            to = "database"
            database_url = "sqlite:///{self.path / "logs.sqlite3"}"
            batch_seconds = 0.1
            [timeouts]
            connect_seconds = 1
            first_byte_seconds = 2
            [llm]
            breaker_failures = 3
            breaker_seconds = 1
            [[providers]]
            name = "openai"
            base_url = "{self.openai.url}/v1"
            key_env = "OPENAI"
            [[providers]]
            name = "other"
            base_url = "{self.other.url}/v1"
            [models]
            "gpt-*" = "openai"
            "claude-*" = "other"
            """
        )
        environment = {"TOKEN": TOKEN, "OPENAI": "sk-1", **more}
        with running(self.path, ["routes.gateway", "--config", str(config)], port, **environment) as gateway:
            yield gateway

    def rows(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path / "logs.sqlite3")) as connection:
            return [
                json.loads(line) for (line,) in connection.execute("SELECT line FROM gateway_request_logs ORDER BY ts")
            ]


class Client:
    """Keeps its connection, as clients do."""

    def __init__(self, gateway: Gateway) -> None:
        self._connection = gateway.kept()

    def __call__(
        self, path: str = "/v1/chat/completions", body: Any = None, **headers: str
    ) -> tuple[int, dict[str, str], Any]:
        method = "GET" if body is None and path != "/v1/chat/completions" else "POST"
        data = json.dumps(body or a_body()) if method == "POST" else None
        given = {"Authorization": f"Bearer {KEY}", **{name.replace("_", "-"): value for name, value in headers.items()}}
        self._connection.request(method, path, data, given)
        answer = self._connection.getresponse()
        text = answer.read()
        said = {name.lower(): value for name, value in answer.getheaders()}
        if said.get("connection") == "close":
            self._connection.close()
        is_json = said.get("content-type", "").startswith("application/json")
        return answer.status, said, json.loads(text) if is_json else text

    def inside(self, page: str) -> Any:
        return self(f"/_gateway/{page}", Authorization=f"Bearer {TOKEN}")[2]


def a_stream(more: bytes = b"") -> bytes:
    """A request for events, as it goes over the wire."""
    data = json.dumps(a_body(stream=True)).encode()
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"Host: gw", b"Authorization: Bearer " + KEY.encode()]
    return b"\r\n".join([*lines, b"Content-Length: %d" % len(data), more + b"\r\n"]) + data


def eventually(true: Any, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until
        time.sleep(0.02)
