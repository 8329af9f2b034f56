"""What the signer signed last of each log, in a SQLite file of its own: the database that it watches does not have it."""

import fcntl
import os
import sqlite3
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from audit.log import tree


class AnotherSigner(Exception):
    """Another process signs with this folder."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What a log was when it was signed last. `edge`: the right edge of its tree."""

    log: str
    size: int = 0
    last_leaf: bytes | None = None
    last_ts: str = ""
    edge: tuple[bytes, ...] = ()

    @property
    def root(self) -> bytes:
        return tree.root(self.edge)


class State:
    """The memory of the signer in this folder. Each change is on the disk when the call returns."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        path = folder / "state.sqlite3"
        path.touch(mode=0o600)
        self._file = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        self._file.execute("PRAGMA journal_mode = DELETE")
        self._file.execute("PRAGMA synchronous = EXTRA")  # and the folder, which names the journal
        self._file.execute(
            "CREATE TABLE IF NOT EXISTS signed (log TEXT PRIMARY KEY, size INTEGER NOT NULL, last_leaf BLOB,"
            " last_ts TEXT NOT NULL, edge BLOB NOT NULL) STRICT"
        )
        self._file.execute("CREATE TABLE IF NOT EXISTS allowed (log TEXT PRIMARY KEY) STRICT")

    def all(self) -> dict[str, Signed]:
        rows = self._file.execute("SELECT log, size, last_leaf, last_ts, edge FROM signed").fetchall()
        return {log: Signed(log, size, leaf, ts, tuple(tree.unpack(edge))) for log, size, leaf, ts, edge in rows}

    def put(self, signed: Signed) -> None:
        self._file.execute(
            "INSERT OR REPLACE INTO signed VALUES (?, ?, ?, ?, ?)",
            (signed.log, signed.size, signed.last_leaf, signed.last_ts, tree.pack(signed.edge)),
        )

    def allow(self, log: str) -> None:
        """This log, which goes on for an older one, may be signed; the older one is not any more."""
        self._file.execute("INSERT OR IGNORE INTO allowed VALUES (?)", (log,))

    def is_allowed(self, log: str) -> bool:
        return self._file.execute("SELECT 1 FROM allowed WHERE log = ?", (log,)).fetchone() is not None

    def close(self) -> None:
        self._file.close()


class Turn:
    """That this process signs with the folder, until it is closed or the process ends, however it does."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        self._file: IO[str] = (folder / "turn").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise AnotherSigner(f"Another process signs with {folder}.") from error

    def close(self) -> None:
        self._file.close()


def private_folder(folder: Path) -> None:
    """Make the folder where it is not, for its owner alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace a file that its owner alone reads, in one step, and have it on the disk."""
    new = path.with_name(path.name + ".new")
    with suppress(FileNotFoundError):
        new.unlink()
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
