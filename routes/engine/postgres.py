"""`PostgresStore`: reads the application's `gateway_*` views from PostgreSQL, with the extra `postgres` (psycopg)."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import Any, Self

from routes.engine.document import Document
from routes.engine.errors import StoreUnavailable
from routes.engine.ids import canonical_uuid
from routes.engine.store import ReadingStore, document_of_row

_CONNECT_SECONDS = 2
_VERSIONS = "SELECT org_id::text, version FROM gateway_versions WHERE org_id = ANY(%s::uuid[])"
_FETCH = """
    SELECT org_slug, status, version, published_at, digest, content FROM gateway_documents WHERE org_id = %s::uuid
"""


class PostgresStore(ReadingStore):
    """A reading store on PostgreSQL. `dsn` is a libpq connection string or URI.

    One connection in autocommit, used under a lock, made at the first read and anew after an error and in a forked
    child; a connection that died while idle costs no failed read. Every error of the driver is a `StoreUnavailable`
    with its cause. A server that hangs on an established connection hangs the read: `EngineCache` bounds how long its
    callers wait.
    """

    _lock: threading.Lock
    #: A `psycopg.Connection`; the name is not imported here, not even for the type.
    _connection: Any
    #: The process that made the connection.
    _pid: int

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._forget()

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        return dict(self._rows(_VERSIONS, [canonical_uuid(org_id) for org_id in org_ids]))

    def fetch(self, org_id: str) -> Document | None:
        key = canonical_uuid(org_id)
        rows = self._rows(_FETCH, key)
        return document_of_row(key, *rows[0]) if rows else None

    def close(self) -> None:
        """Close the connection; the next read makes another one."""
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._connection = None
        self._pid = os.getpid()

    def _drop(self) -> None:
        if self._connection is not None and self._pid == os.getpid():
            self._connection.close()
        self._connection = None

    def _rows(self, query: str, parameter: object) -> list[Any]:
        try:
            import psycopg
        except ImportError as error:
            raise ImportError("PostgresStore needs psycopg: install routing-engine[postgres].") from error
        if self._pid != os.getpid():
            # Closing it here would end the parent's session: both processes hold the same socket.
            _left_behind.append(self._connection)
            self._forget()
        with self._lock:
            try:
                if self._connection is not None:
                    try:
                        return self._execute(self._connection, query, parameter)
                    except psycopg.OperationalError:
                        self._drop()  # it may have died while idle; a new one tells
                self._connection = psycopg.connect(
                    self._dsn,
                    autocommit=True,
                    connect_timeout=_CONNECT_SECONDS,
                    prepare_threshold=None,  # poolers between here and the server lose prepared statements
                )
                return self._execute(self._connection, query, parameter)
            except psycopg.Error as error:
                self._drop()
                raise StoreUnavailable(f"PostgreSQL: {error}") from error

    @staticmethod
    def _execute(connection: Any, query: str, parameter: object) -> list[Any]:
        return list(connection.execute(query, (parameter,)))


_left_behind: list[Any] = []
