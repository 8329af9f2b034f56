"""`PostgresStore`: reads the application's `gateway_*` views from PostgreSQL, with the extra `postgres` (psycopg)."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable
from functools import cache
from time import monotonic
from typing import Any

from routes.engine.document import Document
from routes.engine.errors import StoreUnavailable
from routes.engine.ids import canonical_uuid
from routes.engine.store import ConnectedStore, document_of_row

#: On which every publication announces its organisation, once it is committed.
CHANNEL = "routing_versions"

_CONNECT_SECONDS = 2
#: How long the server may take for one answer, without a byte and in all. A server that was stopped, or a line that was
#: cut without a word, would be waited for without end.
_SILENT_SECONDS = 3.0
_ANSWER_SECONDS = 15.0
#: A line on which nothing was announced for so long is asked whether it still is one.
_CHECK_SECONDS = 2.0
_VERSIONS = "SELECT org_id::text, version FROM gateway_versions WHERE org_id = ANY(%s::uuid[])"
_FETCH = """
    SELECT org_slug, status, version, published_at, digest, content FROM gateway_documents WHERE org_id = %s::uuid
"""


class PostgresStore(ConnectedStore):
    """A reading store on PostgreSQL. `dsn` is a libpq connection string or URI.

    One connection in autocommit, used under a lock, made at the first read and anew after an error and in a forked
    child; a connection that died while idle costs no failed read. Every error of the driver is a `StoreUnavailable`
    with its cause. A read is given up when the server says nothing for 3 s, or after 15 s. A `dsn` that libpq cannot
    read is noticed at the first read, as `StoreUnavailable` without a cause: libpq's own words repeat parts of it.

    `listen` opens another connection, on which changes are announced. It has to lead to the server itself: behind a
    pooler that lends server connections out (PgBouncer) it is refused, and `EngineCache` polls.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        super().__init__()

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        return dict(self._rows(_VERSIONS, [canonical_uuid(org_id) for org_id in org_ids]))

    def fetch(self, org_id: str) -> Document | None:
        key = canonical_uuid(org_id)
        rows = self._rows(_FETCH, key)
        return document_of_row(key, *rows[0]) if rows else None

    def listen(self) -> PostgresNotices:
        """A line on which the organisations of all publications from now on are announced. Raises `StoreUnavailable`."""
        psycopg = _psycopg()
        try:
            connection = connected(self._dsn)
            try:
                return PostgresNotices(connection)
            except BaseException:
                connection.close()
                raise
        except psycopg.Error as error:
            raise StoreUnavailable(f"PostgreSQL: {error}") from error

    def _rows(self, query: str, parameter: object) -> list[Any]:
        psycopg = _psycopg()
        self._leave_to_parent()
        with self._lock:
            try:
                if self._connection is not None:
                    try:
                        return self._execute(self._connection, query, parameter)
                    except psycopg.OperationalError:
                        self._drop()  # it may have died while idle; a new one tells
                self._connection = connected(self._dsn)
                return self._execute(self._connection, query, parameter)
            except psycopg.Error as error:
                self._drop()
                raise StoreUnavailable(f"PostgreSQL: {error}") from error

    @staticmethod
    def _execute(connection: Any, query: str, parameter: object) -> list[Any]:
        return list(connection.execute(query, (parameter,)))


class PostgresNotices:
    """The line that `PostgresStore.listen` opens; `routes.engine.notices.Notices` says what it does."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        connection.execute(f"LISTEN {CHANNEL}")
        ((backend,),) = connection.execute("SELECT pg_backend_pid()")
        if backend != connection.info.backend_pid:
            raise StoreUnavailable("PostgreSQL: a pooler stands before the server, so notices may get lost.")
        self._heard_at = monotonic()
        _listening.add(connection)

    def wait(self, seconds: float) -> list[str]:
        psycopg = _psycopg()
        try:
            notices = self._connection.notifies(timeout=min(seconds, _CHECK_SECONDS), stop_after=1)
            announced = [notice.payload for notice in notices]
            if not announced and monotonic() - self._heard_at >= _CHECK_SECONDS:
                # What is announced meanwhile is kept for the next call.
                if not list(self._connection.execute("SELECT pg_listening_channels()")):
                    raise StoreUnavailable("PostgreSQL: the server no longer announces anything here.")
                self._heard_at = monotonic()
        except psycopg.Error as error:
            raise StoreUnavailable(f"PostgreSQL: {error}") from error
        if announced:
            self._heard_at = monotonic()
        return announced

    def close(self) -> None:
        _listening.discard(self._connection)
        self._connection.close()


def connected(dsn: str, *, to_primary: bool = False) -> Any:
    """A connection in autocommit on which no answer is waited for without end; `to_primary` refuses a replica, which may
    be behind. Raises the driver's errors, and `StoreUnavailable` for a `dsn` that is none."""
    _check_dsn(dsn)
    return _bounded_connection().connect(
        dsn,
        **({"target_session_attrs": "primary"} if to_primary else {}),
        autocommit=True,
        connect_timeout=_CONNECT_SECONDS,
        prepare_threshold=None,  # poolers between here and the server lose prepared statements
    )


def _psycopg() -> Any:
    try:
        import psycopg
    except ImportError as error:
        raise ImportError("PostgresStore needs psycopg: install routing-engine[postgres].") from error
    return psycopg


def _check_dsn(dsn: str) -> None:
    """Raises `StoreUnavailable` for a DSN that would show a part of its password in the driver's errors."""
    psycopg = _psycopg()
    try:
        parts = psycopg.conninfo.conninfo_to_dict(dsn)
    except (psycopg.Error, ValueError):
        raise StoreUnavailable("PostgreSQL: dsn is no connection string that libpq can read.") from None
    # After a password with a bare "@" or "/", the rest of it is read as the host or the port. A leading "@" is a socket's.
    hosts, ports = str(parts.get("host", "")).split(","), str(parts.get("port", "")).split(",")
    if any("@" in host[1:] for host in hosts) or not all(re.fullmatch(r"\s*[0-9]*\s*", port) for port in ports):
        raise StoreUnavailable(
            "PostgreSQL: dsn has no such host or port; in a URI, a password has to be percent-encoded."
        )


@cache
def _bounded_connection() -> Any:
    """The driver's class of connections, with an end to waiting for answers."""
    psycopg = _psycopg()
    base: Any = psycopg.Connection

    class BoundedConnection(base):  # type: ignore[misc]  # known at run time only
        def wait(self, generator: Any, *args: Any, **options: Any) -> Any:
            return super().wait(_bounded(generator, psycopg.OperationalError), *args, **options)

    return BoundedConnection


def _bounded(generator: Any, error: type[Exception]) -> Generator[Any, Any, Any]:
    """The steps of an exchange with the server, as the driver makes them, until it takes too long. The driver resumes
    them with what is ready, and every 100 ms with nothing."""
    silent_since = began = monotonic()
    try:
        wanted = next(generator)
        while True:
            ready = yield wanted
            now = monotonic()
            silent_since = now if ready else silent_since
            if now - silent_since > _SILENT_SECONDS or now - began > _ANSWER_SECONDS:
                raise error("the server does not answer")
            wanted = generator.send(ready)
    except StopIteration as end:
        return end.value


#: Connections of a parent: dropping them here, which closes them, would end the parent's sessions.
#: Of this process, and in a forked child of its parent.
_listening: set[Any] = set()
