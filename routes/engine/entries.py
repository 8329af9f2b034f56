"""What `EngineCache` knows of each organisation (`Entry`, `Entries`), and what callers wait for (`Flight`).

Plain classes: decorating dataclasses would be a tenth of what importing the engine may cost.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Any, Literal, NamedTuple

from routes.engine.engine import Engine
from routes.engine.errors import DocumentRejected, RoutingError, StoreUnavailable

#: An organisation that nobody asked for so long is polled no more; its next call looks at the store first.
WATCHED_SECONDS = 600.0
#: How long an organisation that the store does not know is answered with an empty engine.
UNKNOWN_SECONDS = 5.0
#: For so long at least, and with every failure for longer, a failed load of an organisation that has no engine answers
#: its callers, before one of them tries again; at most for so long.
REST_SECONDS, MAX_REST_SECONDS = 0.25, 5.0
#: How many entries at most are looked at to find one that may go, and how many more than the bound there may be while
#: the store is down.
LOOKS = 16


class Rejected(NamedTuple):
    """A document that could not be loaded; `version` is None where it was not known beforehand."""

    version: int | None
    code: str
    detail: str


class Entry:
    """What is known of one organisation. Changed under the cache's lock, save for `used`; times are `monotonic`."""

    __slots__ = (
        "_failed_at",
        "_not_on_disk_at",
        "_seen_at",
        "_seen_used",
        "at_least",
        "checked_at",
        "engine",
        "failures",
        "is_behind",
        "is_known",
        "last_error",
        "marked",
        "placed",
        "rejected",
        "retry_at",
        "source",
        "tried_mark",
        "used",
    )

    def __init__(self) -> None:
        #: The last good engine, and where it came from.
        self.engine: Engine | None = None
        self.source: Literal["store", "disk"] | None = None
        #: False while the engine only stands for an organisation that the store does not know.
        self.is_known = False
        #: Grows with every use: the order for eviction, and how the poller sees that somebody asked.
        self.used = 0
        #: What `used` was when the entry was put where it is in the order of eviction.
        self.placed = 0
        self._seen_used = -1
        self._seen_at = 0.0
        #: When the store last confirmed that the engine's version is its newest; None: never.
        self.checked_at: float | None = None
        #: Whether the store was last seen to have something newer than the engine.
        self.is_behind = False
        #: Grows with every change that was heard of; the poller notes the mark up to which it tried to load.
        self.marked = 0
        self.tried_mark = 0
        #: The highest version that was announced.
        self.at_least = 0
        self.last_error: str | None = None
        self.rejected: Rejected | None = None
        self.failures = 0
        self.retry_at = 0.0
        self._failed_at: float | None = None
        self._not_on_disk_at: float | None = None

    @property
    def is_marked(self) -> bool:
        return self.marked != self.tried_mark

    @property
    def is_short(self) -> bool:
        """Whether a version was announced that is not in use yet."""
        return self.at_least > (-1 if self.engine is None else self.engine.version)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is to be expected but what will be announced."""
        return self.engine is not None and self.source == "store" and not self.is_behind and not self.is_short

    def has(self, version: int) -> bool:
        """Whether this version, or a newer one, is in use."""
        return self.engine is not None and self.engine.version >= version

    def mark(self, at_least: int) -> None:
        """Note that something changed."""
        self.marked += 1
        self.at_least = max(self.at_least, at_least)

    def is_due(self, now: float, poll_seconds: float) -> bool:
        """Whether a call that is not warm must ask the store before it answers with the engine."""
        if self.is_marked or self.checked_at is None:
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

    def is_resting(self, now: float) -> bool:
        """Whether the last load failed so recently that callers without a good engine are told so, and no other
        begins."""
        if self.is_known or self._failed_at is None or self.is_marked:
            return False
        if self.rejected is not None:
            return not self.may_retry(now)
        return now - self._failed_at < min(REST_SECONDS * 2.0 ** min(self.failures - 1, 30), MAX_REST_SECONDS)

    def may_be_on_disk(self, now: float) -> bool:
        return self._not_on_disk_at is None or now - self._not_on_disk_at >= UNKNOWN_SECONDS

    def note_not_on_disk(self, now: float) -> None:
        self._not_on_disk_at = now

    def refusal(self) -> RoutingError:
        """What to raise where there is no engine."""
        if self.rejected is not None:
            return DocumentRejected(self.rejected.detail)
        return StoreUnavailable(self.last_error or "The store does not answer.")

    def note_older(self, version: int) -> None:
        """Note that a load brought less than the store had said there is: it lags behind itself."""
        self.is_behind = True
        self.last_error = f"The store said version {version:,}, and answered with an older one."

    def note_version(self, version: int | None, now: float) -> bool:
        """Take in what the store says is the newest version; whether that has to be loaded."""
        engine = self.engine
        if version is None:
            if engine is not None and self.is_known:
                self.last_error = "The store no longer knows this organisation."
            return False
        # One from disk is compared with the store's in full, once: after a restored backup the same version may say
        # something else.
        is_unchecked = self.source == "disk" and engine is not None and version == engine.version
        self.is_behind = engine is None or not self.is_known or version > engine.version or is_unchecked
        if self.is_behind:
            return self.may_retry(now) or (self.rejected is not None and self.rejected.version != version)
        self._compare(version, now)
        return False

    def install(self, engine: Engine, is_known: bool, now: float) -> bool:
        """Take in what was loaded from the store, unless what serves is as new or newer, or was known while this is
        not. Whether it serves now."""
        self.failures, self.retry_at, self.rejected, self.is_behind, self._failed_at = 0, 0.0, None, False, None
        old = self.engine
        if not is_known and self.is_known:
            self.last_error = "The store no longer knows this organisation."
            return False
        is_newer = old is None or not self.is_known or engine.version > old.version
        if is_newer or (self.source == "disk" and old is not None and _is_other_publication(engine, old)):
            self._use(engine, "store", is_known)
            self.checked_at, self.last_error = now, None
            return True
        if old is not None and engine.version == old.version:
            self.source = "store"
        self._compare(engine.version, now)
        return False

    def install_from_disk(self, engine: Engine) -> None:
        """Take in what was found on disk, unless anything serves that is known to the store."""
        if self.engine is None:
            self._use(engine, "disk", is_known=True)

    def take_over(self, dropped: Entry) -> None:
        """Take in what another entry of the same organisation brought, which was dropped while it was loaded."""
        if dropped.is_known and dropped.engine is not None and not (self.is_known and self.has(dropped.engine.version)):
            self._use(dropped.engine, dropped.source, is_known=True)
            self.checked_at = dropped.checked_at

    def fail(self, error: Exception, version: int | None, backoff_seconds: float, now: float) -> None:
        self.failures += 1
        self.retry_at = now + backoff_seconds
        self._failed_at = now
        self.last_error = str(error)
        if isinstance(error, DocumentRejected):
            self.rejected = Rejected(version, error.code, str(error))

    def status(self, now: float) -> dict[str, Any]:
        rejected = self.rejected
        return {
            "version": None if self.engine is None else self.engine.version,
            "source": self.source,
            "age_seconds": None if self.checked_at is None else now - self.checked_at,
            "last_error": self.last_error,
            "rejected": None if rejected is None else rejected._asdict(),
            "marked": self.is_marked,
            "at_least": self.at_least if self.is_short and self.at_least else None,
        }

    def _use(self, engine: Engine, source: Literal["store", "disk"] | None, is_known: bool) -> None:
        self.engine, self.source, self.is_known = engine, source, is_known

    def _compare(self, version: int, now: float) -> None:
        """Take in a version of the store that is not newer than the engine's."""
        assert self.engine is not None
        if version == self.engine.version:
            self.checked_at, self.last_error, self.rejected, self.failures = now, None, None, 0
        else:
            self.last_error = f"The store has version {version}, older than {self.engine.version} in use."


def _is_other_publication(engine: Engine, old: Engine) -> bool:
    return engine.version == old.version and engine.digest != old.digest


class Entries(OrderedDict[str, Entry]):
    """The entries by organisation, in the order in which they are looked at for eviction.

    Uses only count up, because a warm call takes no lock; where an entry stands is put right when it comes to the head
    and was used since. So the least recently used goes first, unless many at the head were all used: then the least
    recent of the first few goes, and no eviction costs more than these.
    """

    def evict(self) -> str:
        """Take out one that was not used for long, and say whose it was."""
        seen: list[tuple[int, str]] = []
        while len(seen) < min(LOOKS, len(self)):
            org_id, entry = next(iter(self.items()))
            used = entry.used
            if used == entry.placed:
                del self[org_id]
                return org_id
            entry.placed = used
            self.move_to_end(org_id)
            seen.append((used, org_id))
        org_id = min(seen)[1]
        del self[org_id]
        return org_id

    def evict_cold(self) -> str | None:
        """Take out one of the latest that has no good engine, and say whose it was; None where there is none."""
        for org_id in islice(reversed(self), LOOKS):
            if not self[org_id].is_known:
                del self[org_id]
                return org_id
        return None


class Flight:
    """One load that any number of callers wait for."""

    __slots__ = ("_callbacks", "done", "entry", "error", "is_given_up", "mark", "org_id")

    def __init__(self, org_id: str, entry: Entry) -> None:
        self.org_id = org_id
        self.entry = entry
        #: The entry's mark when the load began: a later change is not in it.
        self.mark = 0
        self.done = threading.Event()
        self.error: Exception | None = None
        #: Whether somebody who had an engine to fall back on waited as long as one does: once is enough.
        self.is_given_up = False
        self._callbacks: list[Callable[[], None]] = []

    def finish(self, error: Exception | None = None) -> None:
        self.error = error
        self.done.set()
        for callback in list(self._callbacks):
            callback()

    def when_done(self, callback: Callable[[], None]) -> None:
        """Have this called, from any thread, at least once after the load ended."""
        self._callbacks.append(callback)
        if self.done.is_set():
            callback()

    def forget(self, callback: Callable[[], None]) -> None:
        """Nobody waits for this any more."""
        self._callbacks.remove(callback)
