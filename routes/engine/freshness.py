"""Behind `EngineCache`: the thread that does all reading (`Poller`), what is known of an organisation (`Entry`).

Plain classes: decorating dataclasses would be a tenth of what importing the engine may cost.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic
from typing import Any, NamedTuple

from routes.engine.engine import Engine
from routes.engine.errors import DocumentRejected, StoreUnavailable
from routes.engine.store import Store

#: An organisation that nobody asked for so long is polled no more; its next call looks at the store first.
WATCHED_SECONDS = 600.0
#: How long an organisation that the store does not know is answered with an empty engine.
UNKNOWN_SECONDS = 5.0
MAX_BACKOFF_SECONDS = 60.0


class Rejected(NamedTuple):
    """A document that could not be loaded; `version` is None where it was not known beforehand."""

    version: int | None
    code: str
    detail: str


class Entry:
    """What is known of one organisation. Changed under the cache's lock, save for `used`; times are `monotonic`."""

    __slots__ = (
        "_seen_at",
        "_seen_used",
        "checked_at",
        "engine",
        "failures",
        "is_known",
        "last_error",
        "marked",
        "rejected",
        "retry_at",
        "tried_mark",
        "used",
    )

    def __init__(self) -> None:
        #: The last good engine.
        self.engine: Engine | None = None
        #: False while the engine only stands for an organisation that the store does not know.
        self.is_known = False
        #: Grows with every use: the order for eviction, and how the poller sees that somebody asked.
        self.used = 0
        self._seen_used = -1
        self._seen_at = 0.0
        #: When the store last confirmed that the engine's version is its newest.
        self.checked_at = 0.0
        #: Grows with every change made through the cache; the poller notes the mark up to which it tried to load.
        self.marked = 0
        self.tried_mark = 0
        self.last_error: str | None = None
        self.rejected: Rejected | None = None
        self.failures = 0
        self.retry_at = 0.0

    def is_due(self, now: float, poll_seconds: float) -> bool:
        """Whether a call that is not warm must ask the store before it answers with the engine."""
        if self.marked != self.tried_mark:
            return True
        if not self.is_known:
            return now - self.checked_at >= UNKNOWN_SECONDS
        return now - self.checked_at > 5 * poll_seconds

    def is_watched(self, now: float) -> bool:
        if self.used != self._seen_used:
            self._seen_used, self._seen_at = self.used, now
        return now - self._seen_at <= WATCHED_SECONDS

    def may_retry(self, now: float) -> bool:
        return now >= self.retry_at

    def note_version(self, version: int | None, now: float) -> bool:
        """Take in what the store says is the newest version; whether that has to be loaded."""
        if version is None:
            if self.engine is not None:
                self.last_error = "The store no longer knows this organisation."
            return False
        if self.engine is None or version > self.engine.version:
            return self.may_retry(now) or (self.rejected is not None and self.rejected.version != version)
        if version == self.engine.version:
            self.checked_at, self.last_error, self.rejected, self.failures = now, None, None, 0
        else:
            self.last_error = f"The store has version {version}, older than {self.engine.version} in use."
        return False

    def install(self, engine: Engine, is_known: bool, now: float) -> None:
        """Take an engine in, unless what serves is as new or newer, or was known while this one is not."""
        self.failures, self.retry_at, self.rejected = 0, 0.0, None
        if not is_known and self.is_known:
            self.last_error = "The store no longer knows this organisation."
        elif self.engine is None or not self.is_known or engine.version > self.engine.version:
            self.engine, self.is_known, self.checked_at, self.last_error = engine, is_known, now, None
        else:
            self.note_version(engine.version, now)

    def fail(self, error: Exception, version: int | None, backoff_seconds: float, now: float) -> None:
        self.failures += 1
        self.retry_at = now + backoff_seconds
        self.last_error = str(error)
        if isinstance(error, DocumentRejected):
            self.rejected = Rejected(version, error.code, str(error))

    def status(self, now: float) -> dict[str, Any]:
        rejected = self.rejected
        return {
            "version": None if self.engine is None else self.engine.version,
            "age_seconds": None if self.engine is None else now - self.checked_at,
            "last_error": self.last_error,
            "rejected": None if rejected is None else rejected._asdict(),
        }


class Flight:
    """One load that any number of callers wait for."""

    __slots__ = ("done", "entry", "error", "mark", "org_id")

    def __init__(self, org_id: str, entry: Entry) -> None:
        self.org_id = org_id
        self.entry = entry
        #: The entry's mark when the load began: a later change is not in it.
        self.mark = 0
        self.done = threading.Event()
        self.error: Exception | None = None


class Poller:
    """The thread: serves requested loads first come first served, and polls for new versions in between.

    Because it alone calls the store, a store that hangs hangs this thread and no caller, and no two loads of one
    organisation can overtake each other. `entries`, `warm` and `lock` belong to the cache.
    """

    def __init__(
        self, store: Store, poll_seconds: float, entries: dict[str, Entry], warm: dict[str, Entry], lock: threading.Lock
    ) -> None:
        self._store = store
        self._poll_seconds = poll_seconds
        self._entries = entries
        self._warm = warm
        self._lock = lock
        self._wake = threading.Condition(lock)
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._queue: dict[str, Flight] = {}
        self._current: Flight | None = None
        self._busy_since: float | None = None
        self._failures = 0
        #: Whether the last call of the store failed.
        self.is_down = False
        self.last_error: str | None = None

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def is_stuck(self, seconds: float) -> bool:
        """Whether the store has been answering one and the same call for longer than this."""
        since = self._busy_since
        return since is not None and monotonic() - since > seconds

    def ensure_running(self) -> None:
        """Start the thread where there is none: at first, in a forked child, or after it died. Under the lock."""
        if not self.is_alive():
            self._current = self._busy_since = None  # of a thread that died
            self._thread = threading.Thread(target=self._run, name="routes-engine-poller", daemon=True)
            self._thread.start()

    def request(self, org_id: str, entry: Entry) -> Flight:
        """The load to wait for; one that began before the organisation's last mark does not count. Under the lock."""
        flight = self._queue.get(org_id)
        if flight is None and (current := self._current) is not None and current.entry is entry:
            flight = current if current.mark == entry.marked else None
        if flight is None:
            flight = self._queue[org_id] = Flight(org_id, entry)
            self._wake.notify()
        return flight

    def stop(self) -> None:
        """Takes no lock, so that it can be called from a finalizer; the thread notices when it next wakes."""
        self._stopped = True

    def join(self, seconds: float) -> None:
        with self._lock:
            self._wake.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)

    def _run(self) -> None:
        next_poll = monotonic() + self._pause_seconds()
        while True:
            with self._wake:
                while not self._stopped and not self._queue and (left := next_poll - monotonic()) > 0:
                    self._wake.wait(left)
            if self._stopped:
                return
            self._serve_one()
            if monotonic() >= next_poll:
                self._poll()
                next_poll = monotonic() + self._pause_seconds()

    def _pause_seconds(self) -> float:
        return self._backoff_seconds(self._failures) if self._failures else self._poll_seconds * _chance(0.8, 1.2)

    def _backoff_seconds(self, failures: int) -> float:
        # Full jitter: gateways that lost the store together do not come back together.
        return _chance(0.0, min(MAX_BACKOFF_SECONDS, self._poll_seconds * 2.0 ** min(failures, 30)))

    def _serve_one(self) -> bool:
        with self._lock:
            if not self._queue:
                return False
            flight = self._queue.pop(next(iter(self._queue)))
            flight.mark = flight.entry.marked
            self._current = flight
        flight.error = self._load(flight.org_id, flight.entry, None)
        with self._lock:
            self._current = None
        flight.done.set()
        return True

    def _poll(self) -> None:
        now = monotonic()
        with self._lock:
            watched = {}
            for org_id, entry in list(self._entries.items()):
                if entry.engine is not None and not entry.is_known:
                    if entry.is_due(now, self._poll_seconds):
                        del self._entries[org_id]
                elif entry.is_watched(now):
                    watched[org_id] = entry
                else:
                    self._warm.pop(org_id, None)
        if not watched:
            return
        try:
            versions = self._call(lambda: self._store.versions(list(watched)))
        except Exception as error:
            self._failures += 1
            self.last_error = str(error)
            return
        self._failures, self.last_error = 0, None
        for org_id, entry in watched.items():
            with self._lock:
                version = versions.get(org_id)
                is_new = entry.note_version(version, now)
            if is_new:
                self._load(org_id, entry, version)
                while not self._stopped and self._serve_one():
                    pass  # those who wait go before those who are served by their last good engine

    def _load(self, org_id: str, entry: Entry, version: int | None) -> Exception | None:
        """Load the organisation into its entry; the error where that failed."""
        mark = entry.marked
        try:
            engine, is_known = self._call(lambda: self._read(org_id))
        except Exception as error:
            with self._lock:
                entry.fail(error, version, self._backoff_seconds(entry.failures + 1), monotonic())
                entry.tried_mark = mark
            return error
        with self._lock:
            entry.install(engine, is_known, monotonic())
            entry.tried_mark = mark
        return None

    def _read(self, org_id: str) -> tuple[Engine, bool]:
        document = self._store.fetch(org_id)
        if document is None:
            return Engine((), org_id=org_id), False
        if document.org_id != org_id:
            raise DocumentRejected("The store answered with the document of another organisation.")
        return Engine.from_document(document), True

    def _call[T](self, call: Callable[[], T]) -> T:
        """Call the store. Whatever else it raises is a `StoreUnavailable`: this thread must live on."""
        self._busy_since = monotonic()
        try:
            answer = call()
        except DocumentRejected:
            self.is_down = False
            raise
        except StoreUnavailable:
            self.is_down = True
            raise
        except Exception as error:
            self.is_down = True
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            self._busy_since = None
        self.is_down = False
        return answer


def _chance(low: float, high: float) -> float:
    from random import uniform  # in the thread, because the import costs milliseconds

    return uniform(low, high)  # noqa: S311 (spreads load, guards nothing)
