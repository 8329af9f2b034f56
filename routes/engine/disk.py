"""The last good documents on disk: files (`Snapshots`), and the thread that writes and reads them (`DiskThread`)."""

from __future__ import annotations

import os
import re
import threading
from contextlib import suppress
from functools import partial
from time import monotonic, time
from typing import Any

from routes.engine.document import MAX_CONTENT_BYTES, Document
from routes.engine.engine import Engine
from routes.engine.entries import Entry, Flight
from routes.engine.errors import DocumentRejected
from routes.engine.files import read_file, sync_folder, write_file

GENERATIONS = 3
#: As much as `Document.from_bytes` parses, and the header.
_MAX_BYTES = 2 * MAX_CONTENT_BYTES + 100
_HEADER = re.compile(rb"routing-snapshot 1 sha256:([0-9a-f]{64})\n")
_NAME = re.compile(r"([0-9]{1,16})\.snapshot", re.ASCII)
#: Unfinished files older than this were left behind by a process that was killed.
_ABANDONED_SECONDS = 3600.0
#: Between attempts to write while the disk refuses; doubled each time, up to a minute.
_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 60.0
#: How many organisations' errors are remembered.
_MAX_ERRORS = 100


class Snapshots:
    """Files `<folder>/<org_id>/<version>.snapshot`: a line with a format number and the SHA-256 of what follows, then
    the canonical bytes of the document.

    A file is written under another name, synced, and renamed, so that a name only ever stands for a whole file; of each
    organisation the three newest versions are kept. Any number of processes may share the folder: they write the same
    files. The folder is made readable by its owner alone, as far as it is ours.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = os.path.abspath(os.fspath(folder))

    def write(self, document: Document) -> None:
        """Make this one of the generations, unless it is there, and remove those that are too old. Raises `OSError`, and
        leaves nothing half-done."""
        folder, name = os.path.join(self._folder, document.org_id), f"{document.version}.snapshot"
        data = _with_checksum(document.to_bytes())
        _make_folder(self._folder)
        _make_folder(folder)
        if _read(os.path.join(folder, name)) != data:
            write_file(folder, name, data, 0o600)
            self._remove_old(folder, name)

    def read(self, org_id: str) -> tuple[Engine | None, list[str]]:
        """The engine of the newest generation that can be loaded, and what is wrong with newer ones. Raises `OSError`
        where it cannot be seen what there is."""
        folder = os.path.join(self._folder, org_id)
        problems: list[str] = []
        for version, name in _generations(folder):
            try:
                data = _read(os.path.join(folder, name))
                if data is None:
                    continue  # removed just now, or no file
                document = Document.from_bytes(_body(data))
                if (document.org_id, document.version) != (org_id, version):
                    raise DocumentRejected("The document is another one than its name says.")
                return Engine.from_document(document), problems
            except Exception as error:  # whatever it is, an older one may be good
                problems.append(f"{org_id}, version {version}: {error}")
        return None, problems

    @staticmethod
    def _remove_old(folder: str, written: str) -> None:
        # One that is damaged is no generation: three of them with high versions would leave no place for good ones.
        kept = 1
        for _, name in _generations(folder):
            path = os.path.join(folder, name)
            if name != written and kept < GENERATIONS and _is_whole(path):
                kept += 1
            elif name != written:
                _remove(path)
        for entry in os.scandir(folder):
            with suppress(FileNotFoundError):
                if entry.name.endswith(".tmp") and time() - entry.stat().st_mtime > _ABANDONED_SECONDS:
                    _remove(entry.path)


class DiskThread:
    """Writes documents that were put to use, and reads them for callers whose store is down, who go first.

    Nobody waits for a write. One that fails is tried again, with growing pauses, until a newer version of the same
    organisation takes its place; until then the document at hand is what a read finds.
    """

    def __init__(self, snapshots: Snapshots, cache_lock: threading.RLock) -> None:
        self._snapshots = snapshots
        self._cache_lock = cache_lock
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopped = False
        self._reads: dict[Entry, Flight] = {}
        self._writes: dict[str, Document] = {}
        self._failures = 0
        self._retry_at = 0.0
        self._busy_since: float | None = None
        #: By organisation, the latest last; a write that succeeds ends its own.
        self._errors: dict[str, str] = {}

    def is_alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def is_stuck(self, seconds: float) -> bool:
        """Whether the disk has been busy with one file for longer than this."""
        since = self._busy_since
        return since is not None and monotonic() - since > seconds

    def status(self) -> dict[str, Any]:
        with self._wake:
            last_error = next(reversed(self._errors.values()), None)
            return {"alive": self.is_alive(), "waiting": len(self._writes), "last_error": last_error}

    def save(self, document: Document) -> None:
        """Have the document written, some time soon."""
        with self._wake:
            self._writes[document.org_id] = document
            self._ensure_running()
            self._wake.notify()

    def request(self, org_id: str, entry: Entry) -> Flight:
        """The read to wait for: it puts the newest good generation into the entry, where that has no engine."""
        with self._wake:
            flight = self._reads.get(entry)
            if flight is None:
                flight = self._reads[entry] = Flight(org_id, entry)
                self._ensure_running()
                self._wake.notify()
            return flight

    def stop(self) -> None:
        """Takes no lock, so that it can be called from a finalizer; the thread notices when it next wakes."""
        self._stopped = True

    def join(self, seconds: float) -> None:
        """Wait until what is at hand is written, or until the disk refuses, or so long."""
        with self._wake:
            self._retry_at = 0.0
            self._wake.notify()
        if self._thread is not None and self.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _ensure_running(self) -> None:
        if not self.is_alive():
            self._busy_since = None  # of a thread that died
            self._thread = threading.Thread(target=self._run, name="routes-engine-disk", daemon=True)
            with suppress(RuntimeError):  # no thread is to be had: the next call tries again
                self._thread.start()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._reads and not (self._writes and monotonic() >= self._retry_at):
                    if self._stopped:
                        return
                    left = self._retry_at - monotonic()
                    self._wake.wait(left if self._writes and left > 0 else _MAX_RETRY_SECONDS)
                if self._reads:
                    work = partial(self._read, next(iter(self._reads.values())))
                else:
                    work = partial(self._write, next(iter(self._writes.values())))
            self._busy_since = monotonic()
            work()
            self._busy_since = None

    def _read(self, flight: Flight) -> None:
        engine: Engine | None = None
        problems: list[str] = []
        try:
            if flight.entry.engine is None:  # else it came from elsewhere in the meantime
                waiting = self._writes.get(flight.org_id)
                if waiting is None:
                    engine, problems = self._snapshots.read(flight.org_id)
                else:
                    engine = Engine.from_document(waiting)
        except Exception as error:  # of whatever kind: this thread must live on
            problems.append(f"{flight.org_id}: {type(error).__name__}: {error}")
        with self._cache_lock:
            if engine is None:
                flight.entry.note_not_on_disk(monotonic())
            else:
                flight.entry.install_from_disk(engine)
        with self._wake:
            del self._reads[flight.entry]
            if problems:
                self._note_error(flight.org_id, "; ".join(problems))
        flight.finish()

    def _write(self, document: Document) -> None:
        org_id = document.org_id
        try:
            self._snapshots.write(document)
        except Exception as error:  # of whatever kind: this thread must live on
            with self._wake:
                self._note_error(org_id, f"{org_id}: {error}")
                self._retry_at = monotonic() + min(_MAX_RETRY_SECONDS, _RETRY_SECONDS * 2.0 ** min(self._failures, 30))
                self._failures += 1
                if self._writes.get(org_id) is document:
                    self._writes[org_id] = self._writes.pop(org_id)  # others first: it may be this one alone
            return
        with self._wake:
            self._failures, self._retry_at = 0, 0.0
            self._errors.pop(org_id, None)
            if self._writes.get(org_id) is document:
                del self._writes[org_id]

    def _note_error(self, org_id: str, said: str) -> None:
        self._errors.pop(org_id, None)
        self._errors[org_id] = said
        while len(self._errors) > _MAX_ERRORS:
            del self._errors[next(iter(self._errors))]


def _generations(folder: str) -> list[tuple[int, str]]:
    """Version and name of an organisation's files, the newest first. Raises `OSError`."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(((int(match[1]), name) for name in names if (match := _NAME.fullmatch(name))), reverse=True)


def _with_checksum(body: bytes) -> bytes:
    return b"routing-snapshot 1 sha256:" + _sha256(body) + b"\n" + body


def _body(data: bytes) -> bytes:
    """What follows the header. Raises `DocumentRejected` where that is not what the header says."""
    header = _HEADER.match(data)
    if header is None:
        raise DocumentRejected("This is not a whole snapshot.")
    body = data[header.end() :]
    if _sha256(body) != header[1]:
        raise DocumentRejected("The checksum is not that of the document.")
    return body


def _is_whole(path: str) -> bool:
    try:
        return bool(_body(_read(path) or b""))
    except (DocumentRejected, OSError):
        return False


def _sha256(data: bytes) -> bytes:
    import hashlib

    return hashlib.sha256(data).hexdigest().encode()


def _read(path: str) -> bytes | None:
    """The bytes of a regular file, of too many not all; None where there is none. Raises `OSError`."""
    try:
        return read_file(path, _MAX_BYTES)[1]
    except FileNotFoundError:
        return None


def _make_folder(path: str) -> None:
    """See to it that the folder is there, and for its owner alone."""
    try:
        os.makedirs(path, 0o700)
    except FileExistsError:
        stat = os.stat(path)
        if stat.st_mode & 0o077 and hasattr(os, "geteuid") and stat.st_uid == os.geteuid():
            os.chmod(path, 0o700)
    else:
        sync_folder(os.path.dirname(path))


def _remove(path: str) -> None:
    with suppress(FileNotFoundError):  # another process was faster
        os.remove(path)
