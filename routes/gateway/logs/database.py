"""Rows to a table of SQLite or PostgreSQL, for whoever wants them beside their own data."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from routes.gateway.logs.queue import Entry

_CREATE = """
    CREATE TABLE IF NOT EXISTS gateway_request_logs (
        org_id TEXT NOT NULL,
        request_id TEXT NOT NULL,
        ts TEXT NOT NULL,
        line TEXT NOT NULL,
        PRIMARY KEY (org_id, request_id)
    )
"""
_INSERT = "INSERT INTO gateway_request_logs (org_id, request_id, ts, line) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"


class DatabaseSink:
    """Keeps each row as the line of NDJSON that `request-logs/` and `import_logs` read, in a table of its own, which it
    makes where it is missing. A row that was there already is left as it is. The tables of the application are never
    written: what may go into them only the application decides."""

    def __init__(self, url: str) -> None:
        """`sqlite:///file`, or `postgresql://…` with the extra `postgres`."""
        self._url = url
        self._connection: Any = None

    async def write(self, entries: list[Entry]) -> None:
        await asyncio.to_thread(self._write, entries)

    async def aclose(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _write(self, entries: list[Entry]) -> None:
        rows = [(org_id, row["request_id"], row["ts"], json.dumps(row)) for org_id, row in entries]
        try:
            connection = self._connected()
            cursor = connection.cursor()
            cursor.executemany(_INSERT.replace("?", "%s") if self._is_postgres else _INSERT, rows)
            connection.commit()
        except BaseException:
            # A connection that failed once may stand in the middle of a transaction: the next batch begins anew.
            broken, self._connection = self._connection, None
            if broken is not None:
                broken.close()
            raise

    @property
    def _is_postgres(self) -> bool:
        return re.match("postgres(ql)?://", self._url) is not None

    def _connected(self) -> Any:
        if self._connection is None:
            if self._is_postgres:
                import psycopg

                self._connection = psycopg.connect(self._url, connect_timeout=5)
            else:
                import sqlite3

                self._connection = sqlite3.connect(
                    self._url.removeprefix("sqlite:///"), timeout=5, check_same_thread=False
                )
            self._connection.execute(_CREATE)
            self._connection.commit()
        return self._connection
