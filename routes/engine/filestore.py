"""`FileStore`: documents that are shipped as files, one `<org_id>.json` for each organisation in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable
from time import time_ns
from typing import NamedTuple

from routes.engine.document import MAX_CONTENT_BYTES, Document
from routes.engine.errors import DocumentRejected, StoreUnavailable
from routes.engine.files import absolute_path, read_file, write_file
from routes.engine.ids import canonical_uuid
from routes.engine.store import ReadingStore

#: As much as `Document.from_bytes` parses.
_MAX_BYTES = 2 * MAX_CONTENT_BYTES
#: A file that changed so short a time before it was read may change again without looking different: file systems have
#: coarse clocks (the coarsest in use count in steps of two seconds).
_UNSETTLED_NS = 2_000_000_000
#: How many documents are kept between `versions` and the `fetch` that follows; beyond, files are read twice.
_MAX_KEPT = 100


class _State(NamedTuple):
    """How a file looks: by this one state of it is told from another."""

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> _State:
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


class _Seen(NamedTuple):
    """What is known of one organisation's file."""

    state: _State
    #: Whether a file that still looks the same is the same.
    is_settled: bool
    #: The version of the last good document, 0 where none was read yet.
    good_version: int
    #: Whether the file holds something else by now.
    is_bad: bool

    @property
    def version(self) -> int:
        return self.good_version + self.is_bad


class FileStore(ReadingStore):
    """A reading store on a folder of documents as `Document.to_bytes` writes them, for rules that are shipped as files.

    A file that looks as it did (device, inode, size, both times) is not read again; one that has only just changed is,
    until its times can be trusted. A file caught half-written, or bad in another way, is `DocumentRejected` for its own
    organisation and leaves the others alone; it counts as the version after the last good one, so that whoever polls
    fetches it and learns what is wrong. A missing file is an unknown organisation; a folder that is missing, or from
    which nothing can be read, is `StoreUnavailable`.

    File names are made of canonical ids, so no id leads out of the folder. Files may be symbolic links, which is how
    container platforms mount them. Here as everywhere a change is a higher version: its author sees to that.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Raises `ValueError` for what can be no folder's name."""
        self._folder = absolute_path(folder)
        # Every access is one operation on a dict, which threads may share and a fork copies whole: no lock is needed.
        self._seen: dict[str, _Seen] = {}
        #: What `versions` read and nobody fetched yet.
        self._kept: dict[str, tuple[_State, Document]] = {}

    def versions(self, org_ids: Iterable[str]) -> dict[str, int]:
        """The versions of these organisations. Reads the files that changed, and keeps their documents for `fetch`."""
        found: dict[str, int] = {}
        failed: dict[str, OSError] = {}
        for org_id in map(canonical_uuid, org_ids):
            try:
                version = self._version(org_id)
            except OSError as error:
                failed[org_id] = error
                continue
            if version is not None:
                found[org_id] = version
        if failed and not found:
            reason = next(iter(failed.values()))
            raise _unavailable(reason) from reason
        for org_id in failed:
            # Its fetch says why; the files that can be read are not held up by those that cannot.
            seen = self._seen.get(org_id)
            found[org_id] = 1 if seen is None else seen.good_version + 1
        return found

    def fetch(self, org_id: str) -> Document | None:
        key = canonical_uuid(org_id)
        kept = self._kept.pop(key, None)
        try:
            state = self._look(key)
            if state is None:
                return None
            seen = self._seen.get(key)
            if kept is not None and kept[0] == state and seen is not None and seen.is_settled:
                return kept[1]
            return self._read(key)[1]
        except FileNotFoundError:
            self._note_missing(key)  # gone since it was looked at
            return None
        except OSError as error:
            raise _unavailable(error) from error

    def write(self, document: Document) -> None:
        """Put the document into the folder in one step: readers see the old file or the new one, also after a loss of
        power. Raises `StoreUnavailable`, and leaves nothing half-done."""
        name = _name(document.org_id)
        try:
            write_file(self._folder, name, document.to_bytes(), 0o666)
        except OSError as error:
            raise _unavailable(error) from error

    def _path(self, org_id: str) -> str:
        return os.path.join(self._folder, _name(org_id))

    def _version(self, org_id: str) -> int | None:
        state = self._look(org_id)
        if state is None:
            return None
        seen = self._seen.get(org_id)
        if seen is not None and seen.is_settled and seen.state == state:
            return seen.version
        try:
            read = self._read(org_id)
        except FileNotFoundError:
            self._note_missing(org_id)
            return None
        except DocumentRejected:
            return self._seen[org_id].version
        if len(self._kept) >= _MAX_KEPT:
            self._kept.clear()
        self._kept[org_id] = read
        return read[1].version

    def _look(self, org_id: str) -> _State | None:
        """How the file looks now, None where there is none. Raises `OSError` and `StoreUnavailable`."""
        try:
            return _State.of(os.stat(self._path(org_id)))
        except FileNotFoundError:
            self._note_missing(org_id)
            return None

    def _note_missing(self, org_id: str) -> None:
        try:
            os.stat(self._folder)
        except OSError as error:
            # A folder that is not mounted must not read as "nobody has rules".
            raise _unavailable(error) from error
        self._seen.pop(org_id, None)
        self._kept.pop(org_id, None)

    def _read(self, org_id: str) -> tuple[_State, Document]:
        """Read the file and note what it holds. Raises `DocumentRejected` and `OSError`."""
        stat, data = read_file(self._path(org_id), _MAX_BYTES)
        state, before = _State.of(stat), self._seen.get(org_id)
        is_settled = time_ns() - max(state.modified_ns, state.changed_ns) > _UNSETTLED_NS
        try:
            if data is None:
                raise DocumentRejected("The document is not a regular file.")
            document = Document.from_bytes(data)
            if document.org_id != org_id:
                raise DocumentRejected(f"The file of {org_id} holds the document of {document.org_id}.")
        except DocumentRejected:
            good_version = 0 if before is None else before.good_version
            self._seen[org_id] = _Seen(state, is_settled, good_version, is_bad=True)
            raise
        self._seen[org_id] = _Seen(state, is_settled, document.version, is_bad=False)
        return state, document


def _name(org_id: str) -> str:
    return f"{canonical_uuid(org_id)}.json"


def _unavailable(error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"Files: {error}")
