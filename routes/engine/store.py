"""What a store offers (`Store`, `ManagedStore`), and what reading stores share."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol, Self

from routes.engine.document import MAX_CONTENT_BYTES, MAX_DEPTH, Document, parse_json
from routes.engine.errors import DocumentRejected, ManagementUnsupported
from routes.engine.reading import shown
from routes.engine.values import NewRoute, Route

EMPTY_CONTENT: dict[str, Any] = {"default": None, "routes": [], "services": []}


class Store(Protocol):
    """Where documents come from. Ids are canonical UUID strings. Raises `StoreUnavailable` where it cannot answer."""

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        """The newest version of each of these organisations; unknown ones are left out. Cheap: one indexed read."""
        ...

    def fetch(self, org_id: str) -> Document | None:
        """The newest document, None for an unknown organisation. Raises `DocumentRejected` where that is unloadable."""
        ...


class ManagedStore(Store, Protocol):
    """A store through which routes are managed. Everything is scoped by organisation: a foreign id reads as absent.

    `by` is who does it, for stores that keep a record; `expected` the version that the caller looked at, refused where
    it is not the present one.
    """

    def list_for_org(self, org_id: str) -> list[Route]:
        """The enabled routes in the order in which they are asked."""
        ...

    def list_all_for_org(self, org_id: str) -> list[Route]:
        """All routes in the order in which they are asked."""
        ...

    def create_route(self, org_id: str, new: NewRoute, *, by: object = None, expected: int | None = None) -> Route: ...

    def get_route(self, org_id: str, route_id: str) -> Route | None: ...

    def update_route(
        self, org_id: str, route: Route, *, by: object = None, expected: int | None = None
    ) -> Route | None:
        """Replace the route that has the same id; None where there is none."""
        ...

    def delete_route(self, org_id: str, route_id: str, *, by: object = None, expected: int | None = None) -> bool:
        """Whether there was such a route, which is now gone."""
        ...


class ReadingStore:
    """Base of stores that only read: every method of management raises `ManagementUnsupported`."""

    def list_for_org(self, org_id: str) -> list[Route]:
        raise _unsupported(self)

    def list_all_for_org(self, org_id: str) -> list[Route]:
        raise _unsupported(self)

    def create_route(self, org_id: str, new: NewRoute, *, by: object = None, expected: int | None = None) -> Route:
        raise _unsupported(self)

    def get_route(self, org_id: str, route_id: str) -> Route | None:
        raise _unsupported(self)

    def update_route(
        self, org_id: str, route: Route, *, by: object = None, expected: int | None = None
    ) -> Route | None:
        raise _unsupported(self)

    def delete_route(self, org_id: str, route_id: str, *, by: object = None, expected: int | None = None) -> bool:
        raise _unsupported(self)


class ConnectedStore(ReadingStore):
    """Base of reading stores that keep a connection: made at the first read, used under a lock, and made anew in a forked
    child. `close` closes it, and the next read makes another one."""

    def __init__(self) -> None:
        self._forget()

    def close(self) -> None:
        """Close the connection; the next read makes another one. In a forked child the parent's stays open."""
        self._leave_to_parent()
        with self._lock:
            self._drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        #: Of whatever kind the store has; drivers are not imported here, not even for the type.
        self._connection: Any = None
        #: The process that made the connection.
        self._pid = os.getpid()

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _leave_to_parent(self) -> None:
        """To be called before each use. After a fork both processes hold the same socket or file: to use the connection
        in the child, and even to close it there, would disturb the parent; and the lock is as the fork found it, held
        for ever if another thread was reading."""
        if self._pid != os.getpid():
            _left_behind.append(self._connection)
            self._forget()


#: Connections of a parent: kept, because to collect one would close it.
_left_behind: list[object] = []


def _unsupported(store: object) -> ManagementUnsupported:
    return ManagementUnsupported(f"{type(store).__name__} only reads; manage routes through the application.")


def check_write(expected: object, value: object = None, kind: type | None = None) -> None:
    """Raises `TypeError` where what is written is not of this kind, or `expected` is no version."""
    if kind is not None and not isinstance(value, kind):
        raise TypeError(f"What is written is a {kind.__name__}, not {type(value).__name__}.")
    if expected is not None and (not isinstance(expected, int) or isinstance(expected, bool)):
        raise TypeError(f"expected is the number of a version or None, not {type(expected).__name__}.")


def document_of_row(
    org_id: str,
    org_slug: object,
    status: object,
    version: object,
    published_at: datetime | None,
    digest: object,
    content: object,
) -> Document:
    """The document of a row of `gateway_documents`; `org_id` canonical, `content` zlib-compressed canonical bytes, NULL
    where nothing was published yet. Raises `DocumentRejected`, whatever the row holds."""
    if content is None:
        if version != 0:
            raise DocumentRejected(f"The content of version {shown(version)} is not there.")
        raw: Any = EMPTY_CONTENT
    elif isinstance(content, bytes):
        raw = parse_json(_decompressed(content), MAX_DEPTH - 1, MAX_CONTENT_BYTES)
    else:
        raise DocumentRejected("The content is not binary.")
    if not isinstance(version, int) or not isinstance(org_slug, str) or not isinstance(status, str):
        raise DocumentRejected("A column of the document has a wrong type.")
    document = Document.build(raw, org_id, org_slug, version, published_at, status)
    if content is not None and document.digest != digest:
        raise DocumentRejected("The digest is not that of the content.")
    return document


def _decompressed(data: bytes) -> bytes:
    """At most MAX_CONTENT_BYTES: a few kilobytes of zlib can stand for gigabytes."""
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(data, MAX_CONTENT_BYTES + 1)
    except zlib.error as error:
        raise DocumentRejected(f"The content cannot be decompressed: {error}") from None
    if len(plain) > MAX_CONTENT_BYTES:
        raise DocumentRejected(f"The content has more than {MAX_CONTENT_BYTES:,} bytes.")
    if not unpacking.eof or unpacking.unused_data:
        raise DocumentRejected("The content is cut, or something follows it.")
    return plain
