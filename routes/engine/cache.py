"""`EngineCache`: the engine of every organisation asked for, kept fresh behind the callers' backs."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Generator, Iterable
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Any, Self, cast

from routes.engine.document import Document
from routes.engine.engine import Engine
from routes.engine.entries import LOOKS, Entries, Entry, Flight
from routes.engine.errors import DocumentRejected, ManagementUnsupported, StoreUnavailable
from routes.engine.freshness import HURRY_SECONDS, Poller, Shared
from routes.engine.ids import canonical_uuid
from routes.engine.store import ManagedStore, Store
from routes.engine.values import NewRoute, Route

if TYPE_CHECKING:
    from uuid import UUID

    from routes.engine.disk import DiskThread
    from routes.engine.notices import Listener

#: How long a call into the store may take before callers stop waiting for it: a store that hangs is as good as down.
PATIENCE_SECONDS = 2.0
#: Callers look up this often to see whether waiting still makes sense.
_LOOK_SECONDS = 0.1

#: What a caller that is not warm waits for, and how long before it looks again.
type Steps[T] = Generator[tuple[Flight, float], None, T]


class EngineCache:
    """Engines by organisation. `engine_for` is a dict lookup where it is warm: no lock, no I/O.

    Daemon threads, started by the first call in each process (also after a fork), do all reading. The poller asks the
    store every `poll_seconds`, jittered, for the versions of the organisations asked for in the last ten minutes, and
    loads those that differ. A store that announces changes (`PostgresStore`) is listened to: announced organisations
    are looked at once, and all of them every 30 s only, until the line breaks. The same engine object serves while a
    version stands; an older version never replaces a newer one. Where the store is down or a document is rejected, the
    last good engine serves and `status` says why; retries back off with full jitter up to 60 s. About `max_orgs`
    engines are kept at most, least recently used out.

    With `snapshot_dir` a third thread writes every document that was put to use to that folder, three versions an
    organisation, and reads them where the store is down at the start: an organisation of which nothing is known waits
    250 ms for the store, or not at all where that is known to be down, and is then served from the newest good
    document on disk, while the store is tried on behind. A disk that fails shows in `status` and nowhere else.

    The cache is itself a store: management goes to the inner one and, when it changed something, makes the next
    `engine_for` of that organisation load. Closing the cache closes a store that can be closed.
    """

    def __init__(
        self,
        store: Store,
        *,
        poll_seconds: float = 1.0,
        max_orgs: int = 5000,
        snapshot_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        if isinstance(store, type) or not all(callable(getattr(store, name, None)) for name in ("versions", "fetch")):
            raise TypeError(
                f"store is an object like PostgresStore(dsn), with `versions` and `fetch`; not {store!r:.200}."
            )
        if not poll_seconds > 0 or max_orgs < 1:
            raise ValueError("poll_seconds is above 0 and max_orgs at least 1.")
        self._store = store
        self._poll_seconds = poll_seconds
        self._max_orgs = max_orgs
        self._snapshot_dir = None if snapshot_dir is None else os.path.abspath(os.fspath(snapshot_dir))
        self._uses = count()
        #: What may be answered without a look at anything else. A subset of `_entries`.
        self._warm: dict[str, Entry] = {}
        self._entries = Entries()
        self._closed = False
        self._begin()
        _caches.add(self)

    def engine_for(self, org_id: str | UUID) -> Engine:
        """The newest engine known of the organisation; an empty one of version 0 where there is no such organisation.

        Cold, it waits for the store, a hundred callers for one load: as long as the store makes progress, but not over
        2 s for one call of it, and 250 ms at most where the store is down. Raises `StoreUnavailable` where the store
        does not answer and `DocumentRejected` where its document cannot be loaded, both only where no good engine is at
        hand, and `ValueError` for text that is no id.
        """
        entry = self._warm.get(org_id)  # type: ignore[arg-type]  # a UUID is just never found here
        if entry is not None:
            entry.used = next(self._uses)
            return entry.engine  # type: ignore[return-value]  # what is warm has one, and cast() costs a call
        steps = self._steps(canonical_uuid(org_id))
        while True:
            try:
                flight, seconds = next(steps)
            except StopIteration as end:
                return cast(Engine, end.value)
            flight.done.wait(seconds)

    async def aengine_for(self, org_id: str | UUID) -> Engine:
        """The same for programs on asyncio: where it waits, the event loop goes on."""
        entry = self._warm.get(org_id)  # type: ignore[arg-type]
        if entry is not None:
            entry.used = next(self._uses)
            return entry.engine  # type: ignore[return-value]
        from routes.engine.waiting import wait  # imports asyncio, which costs more than all of the engine

        steps = self._steps(canonical_uuid(org_id))
        while True:
            try:
                flight, seconds = next(steps)
            except StopIteration as end:
                return cast(Engine, end.value)
            await wait(flight, seconds)

    def invalidate(self, org_id: str | UUID, at_least: int | None = None) -> None:
        """Make the next call for the organisation load, because it changed; with `at_least`, to this version or a newer
        one, unless that is in use already.

        Nothing is dropped: the call waits 2 s at most, and where the load fails or brings less, the last good engine
        serves, `status` says so, and the poller goes on looking. What nobody asked for yet needs no mark.
        """
        key = canonical_uuid(org_id)
        if at_least is not None and (type(at_least) is not int or at_least < 0):
            raise ValueError("at_least is a version.")
        with self._lock:
            entry = self._entries.get(key)
            if entry is None or (at_least is not None and entry.has(at_least)):
                return
            entry.mark(at_least or 0)
            self._warm.pop(key, None)
            self._poller.hasten()

    def status(self) -> dict[str, Any]:
        """How fresh everything is, for people and metrics.

        `poller`: `alive`, `last_error`, `busy_seconds` (how long the store has been answering the present call; None:
        none is under way). `listener`, None where the store announces nothing: `alive`, `listening`, `last_error`.
        `disk`, None without `snapshot_dir`: `alive`, `waiting` (documents still to be written), `last_error`.

        `orgs`, by id: `version` and `source` (`store` or `disk`) of the engine that runs; `age_seconds` since the store
        last confirmed that this version is its newest (None: never); `last_error`; `rejected`, None or the `version`,
        `code` and `detail` of a document that could not be loaded; `marked`, whether the next call loads; `at_least`,
        the version that was announced and is not in use yet, else None.
        """
        now = monotonic()
        poller, listener, disk = self._poller, self._listener, self._disk
        with self._lock:
            orgs = {org_id: entry.status(now) for org_id, entry in self._entries.items()}
        return {
            "poller": {
                "alive": poller.is_alive(),
                "last_error": poller.last_error,
                "busy_seconds": poller.busy_seconds(),
            },
            "listener": None if listener is None else listener.status(),
            "disk": None if disk is None else disk.status(),
            "orgs": orgs,
        }

    def close(self) -> None:
        """Stop the threads, once the disk has what it takes, and close the store, where it has a `close`. Waits 2 s at
        most; a store that hangs for longer is closed when it answers. Engines handed out, and those at hand, remain
        usable."""
        until = monotonic() + PATIENCE_SECONDS
        with self._lock:
            self._closed = True
            self._warm.clear()
        threads = [thread for thread in (self._poller, self._listener, self._disk) if thread is not None]
        for thread in threads:
            thread.stop()
        for thread in threads:
            thread.join(max(0.0, until - monotonic()))
        close = getattr(self._store, "close", None)
        if close is not None:
            self._poller.end_with(close)

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
        self.invalidate(org_id)
        return route

    def get_route(self, org_id: str, route_id: str) -> Route | None:
        return self._managed().get_route(org_id, route_id)

    def update_route(
        self, org_id: str, route: Route, *, by: object = None, expected: int | None = None
    ) -> Route | None:
        updated = self._managed().update_route(org_id, route, by=by, expected=expected)
        if updated is not None:
            self.invalidate(org_id)
        return updated

    def delete_route(self, org_id: str, route_id: str, *, by: object = None, expected: int | None = None) -> bool:
        deleted = self._managed().delete_route(org_id, route_id, by=by, expected=expected)
        if deleted:
            self.invalidate(org_id)
        return deleted

    def _managed(self) -> ManagedStore:
        if not hasattr(self._store, "create_route"):
            raise ManagementUnsupported(f"{type(self._store).__name__} only reads.")
        return cast(ManagedStore, self._store)

    # --- Where it is not warm -----------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """What belongs to one process: its lock, its threads, and what is known to be fresh."""
        # One that is taken again by a signal handler which calls `invalidate` or `status`.
        self._lock = threading.RLock()
        self._warm = {}
        self._disk: DiskThread | None = None
        self._listener: Listener | None = None
        if self._snapshot_dir is not None:
            from routes.engine.disk import DiskThread, Snapshots

            self._disk = DiskThread(Snapshots(self._snapshot_dir), self._lock)
        shared = Shared(self._lock, self._entries, self._warm)
        loaded = None if self._disk is None else self._disk.save
        self._poller = Poller(self._store, self._poll_seconds, shared, loaded)
        if hasattr(self._store, "listen"):
            from routes.engine.notices import Listener, ListeningStore

            self._listener = Listener(cast(ListeningStore, self._store), self._poller)
        for thread in (self._poller, self._listener, self._disk):
            if thread is not None:
                weakref.finalize(self, thread.stop)  # for caches that nobody closed

    def _steps(self, org_id: str) -> Steps[Engine]:
        """What to wait for, until the engine is returned or what is wrong is raised."""
        began = monotonic()
        with self._lock:
            entry = self._entry(org_id)
            if self._closed:
                if entry.engine is None:
                    raise StoreUnavailable("The cache is closed.")
                return entry.engine
            self._poller.ensure_running()
            if self._listener is not None:
                self._listener.ensure_running()
            if entry.engine is not None and not entry.is_due(began, self._poller.poll_seconds):
                self._keep_warm(org_id, entry)
                return entry.engine
            flight = None
            if self._poller.is_stuck(PATIENCE_SECONDS):
                self._poller.hasten()  # nothing is queued behind a call that hangs: the queue would only grow
            elif not self._poller.is_resting(entry, began):
                flight = self._poller.request(org_id, entry)
        if entry.engine is not None:
            yield from self._wait_for_store(flight, began, PATIENCE_SECONDS, gives_up=True)
        else:
            yield from self._wait_cold(org_id, entry, flight, began)
        with self._lock:
            if entry.engine is not None:
                present = self._entries.get(org_id)
                if present is not None and present is not entry:
                    # Else callers of this one could see less than what is answered here: a read of the disk that began
                    # before the load ended brings what was newest then.
                    present.take_over(entry)
                self._keep_warm(org_id, entry)
                while len(self._entries) > self._max_orgs:
                    self._drop_one()
                return entry.engine
            refusal = entry.refusal()
        error = flight.error if flight is not None and flight.done.is_set() else None
        if isinstance(error, DocumentRejected):
            raise DocumentRejected(str(error)) from error
        raise (StoreUnavailable(str(error)) if error else refusal) from error

    def _wait_cold(self, org_id: str, entry: Entry, flight: Flight | None, began: float) -> Steps[None]:
        """Wait for the store, and for the disk where the store does not answer soon."""
        disk = self._disk
        if disk is None or disk.is_stuck(PATIENCE_SECONDS) or not entry.may_be_on_disk(began):
            yield from self._wait_for_store(flight, began, math.inf)
            return
        yield from self._wait_for_store(flight, began, 0.0 if self._poller.is_down else HURRY_SECONDS)
        if entry.engine is None:
            read = disk.request(org_id, entry)
            while not read.done.is_set() and not disk.is_stuck(PATIENCE_SECONDS) and disk.is_alive():
                yield read, _LOOK_SECONDS
        if entry.engine is None:
            yield from self._wait_for_store(flight, began, math.inf)

    def _wait_for_store(
        self, flight: Flight | None, began: float, seconds: float, *, gives_up: bool = False
    ) -> Steps[None]:
        """Wait for a load while that makes sense and is not over: while the store makes progress, however long the
        queue of other loads is; not for a call that hangs, and not long where the store is down."""
        poller = self._poller
        while flight is not None and not flight.done.is_set() and not (gives_up and flight.is_given_up):
            limit = min(seconds, HURRY_SECONDS) if poller.is_down else seconds
            patience = HURRY_SECONDS if poller.is_down else PATIENCE_SECONDS
            left = began + limit - monotonic()
            if left <= 0 or poller.is_stuck(patience) or not poller.is_alive():
                # Whoever has an engine to fall back on waits no longer than others did for the same load.
                flight.is_given_up |= gives_up
                return
            yield flight, min(left, _LOOK_SECONDS)

    def _entry(self, org_id: str) -> Entry:
        entry = self._entries.get(org_id)
        if entry is None:
            entry = Entry()
            if self._closed:
                return entry
            # It takes a good engine's place once it has one itself: where the store is down, most never do.
            if len(self._entries) >= self._max_orgs + LOOKS:
                self._drop_one()
            self._entries[org_id] = entry
            entry.used = entry.placed = next(self._uses)
        else:
            entry.used = next(self._uses)
        return entry

    def _drop_one(self) -> None:
        if not self._poller.is_down or self._entries.evict_cold() is None:
            self._warm.pop(self._entries.evict(), None)

    def _keep_warm(self, org_id: str, entry: Entry) -> None:
        # Not an organisation that is unknown (that is remembered for seconds only), nor one evicted while it was
        # loaded, nor one whose last change has not been looked for.
        is_current = self._entries.get(org_id) is entry and not entry.is_marked
        if entry.is_known and is_current and not self._closed:
            self._warm[org_id] = entry


_caches: weakref.WeakSet[EngineCache] = weakref.WeakSet()


def _begin_in_child() -> None:
    # A fork copies no thread but the one that forked: the poller is gone, and a lock that another thread held at that
    # moment would never be freed. Engines survive; each is looked at again by the first call for it.
    for cache in list(_caches):
        cache._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_in_child)
