"""Behind `EngineCache`: the thread that reads the store (`Poller`)."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from routes.engine.document import Document
from routes.engine.engine import Engine
from routes.engine.entries import Entries, Entry, Flight
from routes.engine.errors import DocumentRejected, StoreUnavailable
from routes.engine.store import Store

MAX_BACKOFF_SECONDS = 60.0
#: How often all versions are asked for while the store announces changes by itself.
LISTENING_POLL_SECONDS = 30.0
#: A store whose last call failed after more than this is down, and callers wait no longer than this for it.
HURRY_SECONDS = 0.25
#: As many calls must fail at once, one after the other, before that is the store and not one organisation.
_FAILURES_OF_ALL = 3
#: A document that was rejected may be mended at any time, and to look costs little.
_REJECTED_SECONDS = 5.0
#: So many organisations are asked for in one call, so that a cold caller waits for no more than that.
_POLLED_AT_ONCE = 500


class Shared(NamedTuple):
    """What the cache and its threads have in common."""

    #: One that a signal handler may take while its thread holds it.
    lock: threading.RLock
    #: All of this under the lock, save for looking something up in `warm`, a subset of `entries`.
    entries: Entries
    warm: dict[str, Entry]


class Poller:
    """The thread: serves requested loads first come first served, and polls for new versions in between.

    Because it alone reads the store, a store that hangs hangs this thread and no caller, and no two loads of one
    organisation can overtake each other.
    """

    def __init__(
        self, store: Store, poll_seconds: float, shared: Shared, loaded: Callable[[Document], None] | None = None
    ) -> None:
        """`loaded` is told of every document whose engine was put to use."""
        self._store = store
        self._poll_seconds = poll_seconds
        self._shared = shared
        self._lock = shared.lock
        self._loaded = loaded
        self._wake = threading.Condition(shared.lock)
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._has_ended = False
        self._last: Callable[[], object] | None = None
        self._queue: dict[Entry, Flight] = {}
        self._current: Flight | None = None
        self._next_poll = 0.0
        #: What was announced since it was last looked for; all, where a notice may have been missed.
        self._announced: set[str] = set()
        self._is_all_announced = False
        self._is_listening = False
        self._busy_since: float | None = None
        #: Failed polls, and failed calls of any kind, one after the other.
        self._failures = 0
        self._failed_calls = 0
        #: Whether the store as a whole was last seen to fail.
        self.is_down = False
        self.last_error: str | None = None

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def is_stuck(self, seconds: float) -> bool:
        """Whether the store has been answering one and the same call for longer than this."""
        busy_seconds = self.busy_seconds()
        return busy_seconds is not None and busy_seconds > seconds

    def busy_seconds(self) -> float | None:
        """For how long the store has been answering a call; None: there is none under way."""
        since = self._busy_since
        return None if since is None else monotonic() - since

    @property
    def poll_seconds(self) -> float:
        """How often a healthy store is asked for all versions."""
        return max(self._poll_seconds, LISTENING_POLL_SECONDS) if self._is_listening else self._poll_seconds

    def ensure_running(self) -> None:
        """Start the thread where there is none: at first, in a forked child, or after it died. Under the lock."""
        if not self.is_alive():
            self._current = self._busy_since = None  # of a thread that died
            self._has_ended = False
            self._thread = threading.Thread(target=self._run, name="routes-engine-poller", daemon=True)
            with suppress(RuntimeError):  # no thread is to be had: the next miss tries again
                self._thread.start()

    def is_resting(self, entry: Entry, now: float) -> bool:
        """Whether callers without a good engine are told at once that there is none: the store is down, and the next
        poll tells whether it still is; or the organisation's last load failed just now. Under the lock."""
        if entry.is_known or entry.is_marked:
            return False
        return (self.is_down and entry.failures > 0 and now < self._next_poll) or entry.is_resting(now)

    def request(self, org_id: str, entry: Entry) -> Flight:
        """The load to wait for; one that began before the organisation's last mark does not count. Under the lock."""
        flight = self._queue.get(entry)
        if flight is None and (current := self._current) is not None and current.entry is entry:
            flight = current if current.mark == entry.marked else None
        if flight is None:
            flight = self._queue[entry] = Flight(org_id, entry)
            self._wake.notify()
        return flight

    def announce(self, org_ids: Iterable[str]) -> None:
        """Look for new versions of these now, as far as they are watched."""
        with self._lock:
            self._announced.update(org_id for org_id in org_ids if org_id in self._shared.entries)
            self._wake.notify()

    def set_listening(self, is_listening: bool) -> None:
        """Whether changes are announced from now on. What was announced before may have been missed."""
        pause_seconds = self._poll_seconds * _chance(0.0, 1.0)  # gateways that lost one server do not ask all at once
        with self._lock:
            self._is_listening = is_listening
            if is_listening:
                self._is_all_announced = True
                self._wake.notify()
            else:
                self.hasten(pause_seconds)

    def hasten(self, seconds: float | None = None) -> None:
        """Poll within `poll_seconds` (or as many as given), also where changes are announced; but not before it is time
        where polls fail. Under the lock."""
        if not self._failures:
            self._next_poll = min(self._next_poll, monotonic() + (self._poll_seconds if seconds is None else seconds))
            self._wake.notify()

    def stop(self) -> None:
        """Takes no lock, so that it can be called from a finalizer; the thread notices when it next wakes."""
        self._stopped = True

    def join(self, seconds: float) -> None:
        with self._lock:
            self._wake.notify()
            thread = self._thread
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            thread.join(seconds)

    def end_with(self, last: Callable[[], object]) -> None:
        """Have this called by the thread when it ends, or now where it has ended."""
        with self._lock:
            if self.is_alive() and not self._has_ended:
                self._last = last
                return
        last()

    def _run(self) -> None:
        try:
            self._serve()
        finally:
            with self._lock:
                self._has_ended = True
                last = self._last
                # Where it died: the next call of each organisation is not warm, and starts another one.
                self._shared.warm.clear()
            if last is not None:
                last()

    def _serve(self) -> None:
        with self._lock:
            self._next_poll = monotonic() + self._pause_seconds(is_settled=False)
        while True:
            with self._wake:
                while not self._has_work() and (left := self._next_poll - monotonic()) > 0:
                    self._wake.wait(min(left, MAX_BACKOFF_SECONDS))
                watched = self._to_look_at()
            if self._stopped:
                return
            self._serve_one()
            if watched is not None:
                self._look(watched)

    def _has_work(self) -> bool:
        return bool(self._stopped or self._queue or self._announced or self._is_all_announced)

    def _to_look_at(self) -> dict[str, Entry] | None:
        """What to ask the versions of now: all that is watched, what was announced of it, or None."""
        now, entries, warm = monotonic(), self._shared.entries, self._shared.warm
        announced, self._announced = self._announced, set()
        for org_id in announced:
            if (entry := entries.get(org_id)) and not entry.is_watched(now):
                # It is not looked at now; its next call does.
                entry.mark(0)
                warm.pop(org_id, None)
        if not self._is_all_announced and now < self._next_poll:
            # Also what was unknown so far: it may be new.
            return {
                org_id: entry for org_id in announced if (entry := entries.get(org_id)) and entry.is_watched(now)
            } or None
        self._is_all_announced = False
        self._next_poll = math.inf  # until this one is done
        watched = {}
        for org_id, entry in entries.items():
            if entry.engine is not None and not entry.is_known and org_id not in announced and not self.is_down:
                continue
            if entry.is_watched(now):
                watched[org_id] = entry
            else:
                warm.pop(org_id, None)
        return watched

    def _look(self, watched: dict[str, Entry]) -> None:
        """Ask for the versions of these, and load what is new."""
        had_failed = self._failures > 0
        org_ids = list(watched)
        for start in range(0, len(org_ids), _POLLED_AT_ONCE):
            asked, now = org_ids[start : start + _POLLED_AT_ONCE], monotonic()
            try:
                versions = self._call(self._versions, asked)
            except Exception as error:
                self._failures += 1
                self.is_down, self.last_error = True, str(error)
                break
            self._failures, self.last_error = 0, None
            with self._lock:
                new = [org_id for org_id in asked if watched[org_id].note_version(versions.get(org_id), now)]
            self._serve_all()
            for org_id in new:
                flight = Flight(org_id, watched[org_id])
                with self._lock:
                    self._take_off(flight)
                self._fly(flight, versions[org_id])
                self._serve_all()
        self._plan(watched, had_failed)

    def _plan(self, watched: dict[str, Entry], had_failed: bool) -> None:
        """When to ask for all versions next."""
        now = monotonic()
        with self._lock:
            if self._failures:
                self._next_poll = now + self.backoff_seconds(self._failures)
                return
            # What was unknown seconds ago needs no memory; but while the store is down, it is the last that is known.
            # Where nothing was asked for just now, nobody knows whether it is.
            for org_id, entry in list(self._shared.entries.items()) if watched else ():
                if entry.engine is not None and not entry.is_known and entry.is_due(now, self._poll_seconds):
                    del self._shared.entries[org_id]
            if self._next_poll == math.inf:
                is_settled = all(entry.is_settled for entry in watched.values())
                self._next_poll = now + self._pause_seconds(is_settled)
            elif had_failed:
                self._next_poll = now  # the store is back, and others may have changed meanwhile

    def _pause_seconds(self, is_settled: bool) -> float:
        return (self.poll_seconds if is_settled else self._poll_seconds) * _chance(0.8, 1.2)

    def backoff_seconds(self, failures: int) -> float:
        # Full jitter: gateways that lost the store together do not come back together.
        return _chance(0.0, min(MAX_BACKOFF_SECONDS, self._poll_seconds * 2.0 ** min(failures, 30)))

    def _serve_all(self) -> None:
        # Those who wait go before those who are served by their last good engine.
        while not self._stopped and self._serve_one():
            pass

    def _serve_one(self) -> bool:
        with self._lock:
            if not self._queue:
                return False
            flight = self._queue.pop(next(iter(self._queue)))
            self._take_off(flight)
        self._fly(flight, None)
        return True

    def _take_off(self, flight: Flight) -> None:
        """From now on callers join this flight. Under the lock, and under the same one that took it from the queue."""
        flight.mark = flight.entry.marked
        self._current = flight

    def _fly(self, flight: Flight, version: int | None) -> None:
        """Load the organisation; `version` is the one that is expected, where it is known."""
        error = self._load(flight, version)
        with self._lock:
            self._current = None
            if error is None and self._failures:
                self._failures = 0  # the store is back: time to look at all the others
                self.hasten()
            elif not flight.entry.is_settled:
                self.hasten()
        flight.finish(error)

    def _load(self, flight: Flight, version: int | None) -> Exception | None:
        entry = flight.entry
        try:
            document, engine = self._read(flight.org_id)
        except Exception as error:
            seconds = self.backoff_seconds(entry.failures + 1)
            if isinstance(error, DocumentRejected):
                seconds = min(seconds, _REJECTED_SECONDS)
            with self._lock:
                entry.fail(error, version, seconds, monotonic())
                entry.tried_mark = flight.mark
            return error
        with self._lock:
            is_in_use = entry.install(engine, document is not None, monotonic())
            entry.tried_mark = flight.mark
            if version is not None and engine.version < version and not entry.has(version):
                entry.note_older(version)
            if is_in_use and document is not None and self._loaded is not None:
                # Before anybody can drop the entry: what was served once is found from then on.
                self._loaded(document)
        return None

    def _read(self, org_id: str) -> tuple[Document | None, Engine]:
        document = self._call(self._store.fetch, org_id)
        if document is None:
            return None, Engine((), org_id=org_id)
        try:
            if not isinstance(document, Document) or type(document.version) is not int or document.version < 0:
                raise DocumentRejected("The store answered with something that is no document.")
            if document.org_id != org_id:
                raise DocumentRejected("The store answered with the document of another organisation.")
            return document, Engine.from_document(document)
        except DocumentRejected:
            raise
        except Exception as error:
            raise DocumentRejected(f"The document cannot be loaded: {type(error).__name__}: {error}") from error

    def _versions(self, org_ids: list[str]) -> dict[str, int]:
        versions = self._store.versions(org_ids)
        if not all(type(version) is int for version in versions.values()):
            raise StoreUnavailable("The store answered with versions that are no integers.")
        return versions

    def _call[A, T](self, call: Callable[[A], T], argument: A) -> T:
        """Call the store. Whatever else it raises, also to end a program, is a `StoreUnavailable`: this thread must live
        on."""
        self._busy_since = began = monotonic()
        try:
            answer = call(argument)
        except DocumentRejected:
            self.is_down, self._failed_calls = False, 0
            raise
        except BaseException as error:
            self._failed_calls += 1
            is_slow = monotonic() - began > HURRY_SECONDS
            self.is_down = self.is_down or is_slow or self._failed_calls >= _FAILURES_OF_ALL
            if isinstance(error, StoreUnavailable):
                raise
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from error
        finally:
            self._busy_since = None
        self.is_down, self._failed_calls = False, 0
        return answer


def _chance(low: float, high: float) -> float:
    # Without a state: a gateway that seeded `random` gets the numbers that it counts on.
    from random import SystemRandom  # in the thread, because the import costs milliseconds

    return SystemRandom().uniform(low, high)
