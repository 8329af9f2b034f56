"""`EngineCache`: the engine of every organisation asked for, kept fresh behind the callers' backs."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterable
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, cast

from routes.engine.document import Document
from routes.engine.engine import Engine
from routes.engine.errors import DocumentRejected, ManagementUnsupported, StoreUnavailable
from routes.engine.freshness import Entry, Flight, Poller
from routes.engine.ids import canonical_uuid
from routes.engine.store import ManagedStore, Store
from routes.engine.values import NewRoute, Route

if TYPE_CHECKING:
    from uuid import UUID

#: How long a call into the store may take before callers stop waiting for it: a store that hangs is as good as down.
PATIENCE_SECONDS = 2.0


class EngineCache:
    """Engines by organisation. `engine_for` is a dict lookup where it is warm: no lock, no I/O.

    One daemon thread per process, started by the first call (also after a fork), does all reading: every
    `poll_seconds`, jittered, it asks the store for the versions of the organisations asked for in the last ten
    minutes, and loads those that differ. The same engine object serves while a version stands; an older version never
    replaces a newer one. Where the store is down or a document is rejected, the last good engine serves and `status`
    says why; retries back off with full jitter up to 60 s. At most `max_orgs` engines are kept, least recently used
    out.

    The cache is itself a store: management goes to the inner one and, when it changed something, makes the next
    `engine_for` of that organisation load. Closing the cache closes a store that can be closed.
    """

    def __init__(self, store: Store, *, poll_seconds: float = 1.0, max_orgs: int = 5000) -> None:
        if poll_seconds <= 0 or max_orgs < 1:
            raise ValueError("poll_seconds is above 0 and max_orgs at least 1.")
        self._store = store
        self._poll_seconds = poll_seconds
        self._max_orgs = max_orgs
        self._uses = count()
        #: What may be answered without a look at anything else. A subset of `_entries`.
        self._warm: dict[str, Entry] = {}
        self._entries: dict[str, Entry] = {}
        self._closed = False
        self._begin()
        _caches.add(self)

    def engine_for(self, org_id: str | UUID) -> Engine:
        """The newest engine known of the organisation; an empty one of version 0 where there is no such organisation.

        Cold, it waits for the store, a hundred callers for one load. Raises `StoreUnavailable` where the store does not
        answer and `DocumentRejected` where its document cannot be loaded, both only where no good engine is at
        hand, and `ValueError` for text that is no id.
        """
        entry = self._warm.get(org_id)  # type: ignore[arg-type]  # a UUID is just never found here
        if entry is not None:
            entry.used = next(self._uses)
            return cast(Engine, entry.engine)
        return self._engine_for_cold(canonical_uuid(org_id))

    def status(self) -> dict[str, Any]:
        """How fresh everything is: `{"poller": {"alive", "last_error"}, "orgs": {org_id: {"version", "age_seconds",
        "last_error", "rejected"}}}`.

        `age_seconds` is the time since the store last confirmed that `version` is its newest (None: never loaded);
        `rejected` is `{"version", "code", "detail"}` of a document that could not be loaded, or None.
        """
        now = monotonic()
        with self._lock:
            return {
                "poller": {"alive": self._poller.is_alive(), "last_error": self._poller.last_error},
                "orgs": {org_id: entry.status(now) for org_id, entry in self._entries.items()},
            }

    def close(self) -> None:
        """Stop the poller and close the store, where it has a `close`. Engines handed out remain usable."""
        with self._lock:
            self._closed = True
            self._warm.clear()
            self._poller.stop()
        self._poller.join(PATIENCE_SECONDS)
        close = getattr(self._store, "close", None)
        if close is not None and not self._poller.is_alive():
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- A store itself -----------------------------------------------------------------------------------------------

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        return self._store.versions(org_ids)

    def fetch(self, org_id: str) -> Document | None:
        return self._store.fetch(org_id)

    def list_for_org(self, org_id: str) -> list[Route]:
        return self._managed().list_for_org(org_id)

    def list_all_for_org(self, org_id: str) -> list[Route]:
        return self._managed().list_all_for_org(org_id)

    def create_route(self, org_id: str, new: NewRoute, *, by: object = None, expected: int | None = None) -> Route:
        route = self._managed().create_route(org_id, new, by=by, expected=expected)
        self._mark(org_id)
        return route

    def get_route(self, org_id: str, route_id: str) -> Route | None:
        return self._managed().get_route(org_id, route_id)

    def update_route(
        self, org_id: str, route: Route, *, by: object = None, expected: int | None = None
    ) -> Route | None:
        updated = self._managed().update_route(org_id, route, by=by, expected=expected)
        if updated is not None:
            self._mark(org_id)
        return updated

    def delete_route(self, org_id: str, route_id: str, *, by: object = None, expected: int | None = None) -> bool:
        deleted = self._managed().delete_route(org_id, route_id, by=by, expected=expected)
        if deleted:
            self._mark(org_id)
        return deleted

    def _managed(self) -> ManagedStore:
        if not hasattr(self._store, "create_route"):
            raise ManagementUnsupported(f"{type(self._store).__name__} only reads.")
        return cast(ManagedStore, self._store)

    def _mark(self, org_id: str | UUID) -> None:
        """Make the next call load. The last good engine stays at hand for the case that it cannot."""
        key = canonical_uuid(org_id)
        with self._lock:
            self._warm.pop(key, None)
            if entry := self._entries.get(key):
                entry.marked += 1

    # --- Where it is not warm -----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """What belongs to one process: its lock, its thread, and what is known to be fresh."""
        self._lock = threading.Lock()
        self._warm = {}
        self._poller = Poller(self._store, self._poll_seconds, self._entries, self._warm, self._lock)
        weakref.finalize(self, self._poller.stop)  # for caches that nobody closed

    def _engine_for_cold(self, org_id: str) -> Engine:
        with self._lock:
            if not self._closed:
                self._poller.ensure_running()
            entry = self._entry(org_id)
            now = monotonic()
            if entry.engine is not None and (self._closed or not entry.is_due(now, self._poll_seconds)):
                self._keep_warm(org_id, entry)
                return entry.engine
            if self._closed:
                raise StoreUnavailable("The cache is closed.")
            if entry.rejected is not None and entry.engine is None and not entry.may_retry(now):
                raise DocumentRejected(entry.rejected.detail)
            # Nothing is queued behind a call that hangs: the queue would only grow.
            flight = None if self._poller.is_stuck(PATIENCE_SECONDS) else self._poller.request(org_id, entry)
        if flight is not None:
            self._wait(flight)
        with self._lock:
            if entry.engine is not None:
                self._keep_warm(org_id, entry)
                return entry.engine
        error = flight.error if flight is not None and flight.done.is_set() else None
        if isinstance(error, DocumentRejected):
            raise DocumentRejected(str(error)) from error
        raise StoreUnavailable(str(error) if error else "The store does not answer.") from error

    def _entry(self, org_id: str) -> Entry:
        entry = self._entries.get(org_id)
        if entry is None:
            while len(self._entries) >= self._max_orgs:
                oldest = min(self._entries, key=lambda key: self._entries[key].used)
                del self._entries[oldest]
                self._warm.pop(oldest, None)
            entry = self._entries[org_id] = Entry()
        entry.used = next(self._uses)
        return entry

    def _keep_warm(self, org_id: str, entry: Entry) -> None:
        # Not an organisation that is unknown (that is remembered for seconds only), nor one evicted while it was
        # loaded, nor one whose last change has not been looked for.
        is_current = self._entries.get(org_id) is entry and entry.marked == entry.tried_mark
        if entry.is_known and is_current and not self._closed:
            self._warm[org_id] = entry

    def _wait(self, flight: Flight) -> None:
        """Wait while the store makes progress, however long the queue of other loads is; not for a call that hangs, and
        not long where calls fail."""
        poller, patient_until = self._poller, monotonic() + PATIENCE_SECONDS
        while not poller.is_stuck(PATIENCE_SECONDS) and not flight.done.wait(0.1):
            if not poller.is_alive() or (poller.is_down and monotonic() > patient_until):
                return


_caches: weakref.WeakSet[EngineCache] = weakref.WeakSet()


def _begin_in_child() -> None:
    # A fork copies no thread but the one that forked: the poller is gone, and a lock that another thread held at that
    # moment would never be freed. Engines survive; each is looked at again by the first call for it.
    for cache in list(_caches):
        cache._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
