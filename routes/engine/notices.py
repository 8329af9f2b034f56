"""Stores that announce changes by themselves, and the thread that listens to them (`Listener`)."""

from __future__ import annotations

import threading
from contextlib import suppress
from time import monotonic
from typing import Any, Protocol

from routes.engine.freshness import LISTENING_POLL_SECONDS, Poller
from routes.engine.store import Store

#: How long the thread waits for notices before it sees that it is to end.
_STEP_SECONDS = 0.25


class Notices(Protocol):
    """A line on which changes are announced, open until it is closed. For one thread."""

    def wait(self, seconds: float) -> list[str]:
        """The ids of organisations announced since the last call, as soon as there are any and at the latest after so
        many seconds. Raises `StoreUnavailable` once the line is dead, within seconds also where it died silently, as
        long as somebody keeps calling."""
        ...

    def close(self) -> None: ...


class ListeningStore(Store, Protocol):
    """A store that announces changes by itself."""

    def listen(self) -> Notices:
        """A new line on which everything that changes from now on is announced. Raises `StoreUnavailable`."""
        ...


class Listener:
    """The thread: keeps a line to the store open, passes notices on, and tells the poller whether it may rely on them.

    Where the line breaks the poller goes back to its own pace; the line is tried again with the same backoff as polls.
    """

    def __init__(self, store: ListeningStore, poller: Poller) -> None:
        self._store = store
        self._poller = poller
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._ended = threading.Event()
        self.is_listening = False
        self.last_error: str | None = None

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def status(self) -> dict[str, Any]:
        return {"alive": self.is_alive(), "listening": self.is_listening, "last_error": self.last_error}

    def ensure_running(self) -> None:
        """Start the thread where there is none. Under the cache's lock."""
        if not self.is_alive():
            self._thread = threading.Thread(target=self._run, name="routes-engine-listener", daemon=True)
            with suppress(RuntimeError):  # no thread is to be had: the next miss tries again
                self._thread.start()

    def stop(self) -> None:
        """Takes no lock, so that it can be called from a finalizer; the thread notices when it next wakes."""
        self._stopped = True

    def join(self, seconds: float) -> None:
        self._ended.set()
        if self._thread is not None and self.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _run(self) -> None:
        failures, began = 0, monotonic()
        while not self._stopped:
            try:
                notices = self._store.listen()
                began = monotonic()
                try:
                    self._set_listening(True)
                    self.last_error = None
                    while not self._stopped:
                        if announced := notices.wait(_STEP_SECONDS):
                            self._poller.announce(announced)
                except Exception as error:
                    self.last_error = _said(error)  # first: who sees that nobody listens any more asks why
                    raise
                finally:
                    self._set_listening(False)
                    notices.close()
            except Exception as error:  # of whatever kind: this thread must live on
                failures = 1 if monotonic() - began > LISTENING_POLL_SECONDS else failures + 1
                self.last_error = _said(error)
                self._ended.wait(self._poller.backoff_seconds(failures))

    def _set_listening(self, is_listening: bool) -> None:
        self.is_listening = is_listening
        self._poller.set_listening(is_listening)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
