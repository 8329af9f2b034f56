"""`Feed`: a value that is read again and again in a thread of its own, and kept on disk for a start without its source."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable
from random import SystemRandom
from time import monotonic
from typing import Any

from routes.engine.files import read_file, write_file

log = logging.getLogger(__name__)

_MAX_BYTES = 256 * 2**20
_MAX_PAUSE_SECONDS = 60.0
#: Has no state that somebody else might have seeded.
_CHANCE = SystemRandom()


class Feed[Value]:
    """The newest good value of a source.

    `read` answers the JSON object that the source has now, or None where it is what was answered before; whatever it raises
    leaves the last good value where it is, and the next attempt comes later each time, up to a minute. `build` makes the
    value; what it refuses is as good as no answer. With a `file`, each new object is written there, behind its SHA-256,
    and stands in at a start at which the source does not answer.
    """

    def __init__(
        self,
        name: str,
        read: Callable[[], dict[str, Any] | None],
        build: Callable[[Any], Value],
        *,
        poll_seconds: float,
        file: str | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.name = name
        self._read = read
        self._build = build
        self._poll_seconds = poll_seconds
        self._file = None if file is None else os.path.abspath(file)
        self._clock = clock
        self._value: Value | None = None
        self._read_at: float | None = None
        self._is_from_disk = False
        self._last_error: str | None = None
        self._failures = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def value(self) -> Value | None:
        """None until there is one."""
        return self._value

    def start(self) -> None:
        """Read once, so that the first request finds something; then go on in a thread."""
        self.read_first()
        self._thread = threading.Thread(target=self._run, name=f"gateway-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()

    def read_first(self) -> None:
        """Ask the source, and the disk where that does not answer."""
        if not self.read_once() and self._value is None:
            self._read_file()

    def read_once(self) -> bool:
        """Ask the source now; whether it answered."""
        try:
            raw = self._read()
            if raw is not None:
                self._value = self._build(raw)
                self._is_from_disk = False
        except Exception as error:  # of whatever kind: the last good value stands, and the thread lives on
            self._failures += 1
            said = f"{type(error).__name__}: {error}"
            if said != self._last_error:  # once, not at every poll of an outage
                log.warning("%s cannot be read; the last one stands: %s", self.name, said)
            self._last_error = said
            return False
        if self._failures:
            log.info("%s is read again", self.name)
        self._failures = 0
        self._last_error = None
        self._read_at = self._clock()
        if raw is not None:
            self._write_file(raw)
        return True

    def status(self) -> dict[str, Any]:
        """Its age in seconds since the source last answered, None: it did not yet; whether the value is from disk; the last
        error, None after a good answer."""
        return {
            "age_seconds": None if self._read_at is None else round(self._clock() - self._read_at, 3),
            "from_disk": self._is_from_disk,
            "last_error": self._last_error,
        }

    def _run(self) -> None:
        while not self._stop.wait(self._pause()):
            self.read_once()

    def _pause(self) -> float:
        if self._failures:
            most = min(_MAX_PAUSE_SECONDS, self._poll_seconds * 2 ** min(self._failures, 16))
            return _CHANCE.uniform(self._poll_seconds, max(self._poll_seconds, most))
        return self._poll_seconds * _CHANCE.uniform(0.9, 1.1)

    def _write_file(self, raw: dict[str, Any]) -> None:
        if self._file is None:
            return
        folder, name = os.path.split(self._file)
        data = json.dumps(raw, separators=(",", ":")).encode()
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            write_file(folder, name, hashlib.sha256(data).hexdigest().encode() + b"\n" + data, 0o600)
        except OSError as error:
            log.warning("%s cannot be kept on disk: %s", self.name, error)

    def _read_file(self) -> None:
        if self._file is None:
            return
        try:
            _, data = read_file(self._file, _MAX_BYTES)
            digest, _, body = (data or b"").partition(b"\n")
            if hashlib.sha256(body).hexdigest().encode() != digest:
                raise ValueError("the checksum is not that of the content")
            self._value = self._build(json.loads(body))
        except FileNotFoundError:
            return
        except Exception as error:
            log.warning("%s on disk cannot be used: %s", self.name, error)
            return
        self._is_from_disk = True
        log.info("%s was read from disk", self.name)
