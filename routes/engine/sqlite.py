"""`SQLiteStore`: reads the application's `gateway_*` views from its SQLite file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from routes.engine.document import Document
from routes.engine.errors import DocumentRejected, StoreUnavailable
from routes.engine.files import absolute_path
from routes.engine.ids import canonical_uuid
from routes.engine.store import ConnectedStore, document_of_row

if TYPE_CHECKING:
    import sqlite3

_TIMEOUT_SECONDS = 2.0
#: json_each keeps the statement one and the same for any number of ids; the lookups still use the index on org_id.
_VERSIONS = "SELECT org_id, version FROM gateway_versions WHERE org_id IN (SELECT value FROM json_each(?))"
_FETCH = "SELECT org_slug, status, version, published_at, digest, content FROM gateway_documents WHERE org_id = ?"


class SQLiteStore(ConnectedStore):
    """A reading store on a SQLite file, opened read-only.

    One connection, used under a lock and opened anew after an error and in a forked child. Ids are looked up in the
    file's own form, 32 hex digits, so that lookups use the index. Every error of the driver is a `StoreUnavailable`
    with its cause, and so is a file that is missing. A file that another one replaces under its name (a backup that is
    put back) is opened anew by the next read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        """Raises `ValueError` for what can be no file's name."""
        self._path = absolute_path(path)
        #: The file to which the connection belongs.
        self._opened: tuple[int, int] | None = None
        super().__init__()

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        rows = self._rows(_VERSIONS, json.dumps([_native(org_id) for org_id in org_ids]))
        return {canonical_uuid(org_id): version for org_id, version in rows}

    def fetch(self, org_id: str) -> Document | None:
        key = canonical_uuid(org_id)
        rows = self._rows(_FETCH, _native(key))
        if not rows:
            return None
        slug, status, version, published_at, digest, content = rows[0]
        return document_of_row(key, slug, status, version, _read_time(published_at), digest, content)

    def _rows(self, query: str, parameter: str) -> list[Any]:
        import sqlite3

        self._leave_to_parent()
        with self._lock:
            try:
                named = self._named()
                if named is None or named != self._opened:
                    self._drop()  # a connection goes on reading the file that it opened, also when that has no name left
                if self._connection is None:
                    # Noted as it was before the opening: one that is replaced meanwhile is opened again.
                    self._opened, self._connection = named, self._connect()
                rows: list[Any] = self._connection.execute(query, (parameter,)).fetchall()
                return rows
            except sqlite3.Error as error:
                self._drop()
                raise StoreUnavailable(f"SQLite: {error}") from error

    def _named(self) -> tuple[int, int] | None:
        """Device and inode of the file that has the name now; None where there is none."""
        try:
            stat = os.stat(self._path)
        except OSError:
            return None  # connecting says why
        return stat.st_dev, stat.st_ino

    def _connect(self) -> sqlite3.Connection:
        import sqlite3

        path = self._path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        return sqlite3.connect(
            f"file:{path}?mode=ro",
            uri=True,
            timeout=_TIMEOUT_SECONDS,
            isolation_level=None,
            check_same_thread=False,
        )


def _native(org_id: str) -> str:
    return canonical_uuid(org_id).replace("-", "")


def _read_time(raw: object) -> datetime | None:
    """The aware time of `YYYY-MM-DD HH:MM:SS[.ffffff]` in UTC."""
    if raw is None:
        return None
    try:
        value = datetime.fromisoformat(str(raw))
    except ValueError:
        raise DocumentRejected("published_at is not a time.") from None
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
