"""A SQLite file with what a gateway reads, written as the application does."""

import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from routes.engine import Route
from routes.engine.canonical import canonical_bytes
from routes.engine.document import content_of, digest_of

ORG = "018f0000-0000-7000-8000-000000000001"
KEY = "rk_traffic_abc_secret"
_TABLES = """
CREATE TABLE gateway_versions (org_id TEXT PRIMARY KEY, version INTEGER);
CREATE TABLE gateway_documents (org_id TEXT PRIMARY KEY, org_slug TEXT, status TEXT, version INTEGER, published_at TEXT,
                                digest TEXT, content BLOB);
CREATE TABLE gateway_directory (org_id TEXT PRIMARY KEY, org_slug TEXT, status TEXT, private_upstreams TEXT, hosts TEXT,
                                traffic_keys TEXT);
CREATE TABLE gateway_prices (org_id TEXT, provider TEXT, model TEXT, since TEXT, input_usd_per_million NUMERIC,
                             output_usd_per_million NUMERIC, cached_input_usd_per_million NUMERIC, max_input_tokens INTEGER,
                             max_output_tokens INTEGER, retires_on TEXT);
"""


class GatewayDatabase:
    """`publish` makes the next version live, as one row."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.version = 0
        with self._connected() as connection:
            connection.executescript(_TABLES)
        self.publish()
        self.say()
        self.prices(
            ("openai", "gpt-4o", 2.5, 10), ("openai", "gpt-4o-mini", 0.15, 0.6), ("other", "claude-haiku", 1, 5)
        )

    @property
    def url(self) -> str:
        return f"sqlite:///{self.path}"

    def publish(self, *routes: Route, services: list[dict[str, Any]] | None = None) -> int:
        self.version += 1
        content = {**content_of(routes), "services": services or []}
        row = (ORG.replace("-", ""), "acme", "active", self.version, "2026-11-23 12:00:00", digest_of(content))
        with self._connected() as connection:
            connection.execute("REPLACE INTO gateway_versions VALUES (?, ?)", (row[0], self.version))
            connection.execute(
                "REPLACE INTO gateway_documents VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*row, zlib.compress(canonical_bytes(content))),
            )
        return self.version

    def say(
        self,
        *,
        hosts: dict[str, str] | None = None,
        status: str = "active",
        keys: list[dict[str, Any]] | None = None,
        private_upstreams: list[dict[str, Any]] | None = None,
    ) -> None:
        """What the directory says of the organisation."""
        plain = {
            "id": "abc",
            "digest": sha256(KEY.encode()).hexdigest(),
            "expires_at": None,
            "metadata": {},
            "allows_force": False,
        }
        row = (
            ORG.replace("-", ""),
            "acme",
            status,
            json.dumps(private_upstreams or []),
            json.dumps(hosts or {}),
            json.dumps([plain] if keys is None else keys),
        )
        with self._connected() as connection:
            connection.execute("REPLACE INTO gateway_directory VALUES (?, ?, ?, ?, ?, ?)", row)

    def prices(self, *rows: tuple[str, str, float, float]) -> None:
        with self._connected() as connection:
            connection.execute("DELETE FROM gateway_prices")
            connection.executemany(
                "INSERT INTO gateway_prices (provider, model, input_usd_per_million, output_usd_per_million)"
                " VALUES (?, ?, ?, ?)",
                rows,
            )

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=10)) as connection, connection:
            yield connection
