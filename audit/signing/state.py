"""What the signer signed last of each log, in a SQLite file of its own: the database that it watches does not have it."""

import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from audit.log import tree


class AnotherSigner(Exception):
    """Another process signs with this folder."""


class BadState(Exception):
    """The memory of the signer cannot be read, or is not its own."""

    code = "bad_state"


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


LOST = -1


class Closed(NamedTuple):
    """What a log was when it ended. `edge`: the packed right edge of its tree. `size` is `LOST` for one that is gone."""

    log: str
    size: int
    edge: bytes


@dataclass(frozen=True, slots=True)
class Memory:
    """All that the signer remembers, by the names of logs. `opened`: the hash of the first entry of a log that an operator
    opened. `host`: with what the names of its logs begin."""

    host: str
    signed: dict[str, Signed]
    closed: dict[str, Closed]
    opened: dict[str, bytes]


_TABLES = """
CREATE TABLE IF NOT EXISTS signed (log TEXT PRIMARY KEY, size INTEGER NOT NULL, last_leaf BLOB, last_ts TEXT NOT NULL,
    edge BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS marks (log TEXT, size INTEGER, root BLOB NOT NULL, PRIMARY KEY (log, size))
    STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS opened (log TEXT PRIMARY KEY, leaf BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS closed (log TEXT PRIMARY KEY, size INTEGER NOT NULL, edge BLOB NOT NULL) STRICT;
"""


class State:
    """The memory of the signer in this folder. Each change is on the disk when the call returns. Raises `BadState`."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        path = folder / "state.sqlite3"
        path.touch(mode=0o600)
        if path.stat().st_mode & 0o077:
            raise BadState(f"Others may read {path}, or write it, which is the memory of the signer: chmod 600 {path}")
        self._file = sqlite3.connect(path, isolation_level=None, timeout=30, check_same_thread=False)
        try:
            self._file.execute("PRAGMA journal_mode = DELETE")
            self._file.execute("PRAGMA synchronous = EXTRA")  # and the folder, which names the journal
            self._file.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            self._file.close()
            raise BadState(
                f"{path}, the memory of the signer, cannot be read: {error}. Put its folder back from a backup; without one"
                " move the file away, and the signer goes by the checkpoints that the database has."
            ) from error

    def read(self, host: str) -> Memory:
        rows = self._file.execute("SELECT log, size, last_leaf, last_ts, edge FROM signed").fetchall()
        signed = {log: Signed(log, size, leaf, ts, tuple(tree.unpack(edge))) for log, size, leaf, ts, edge in rows}
        closed = {row[0]: Closed(*row) for row in self._file.execute("SELECT log, size, edge FROM closed")}
        return Memory(host, signed, closed, dict(self._file.execute("SELECT log, leaf FROM opened")))

    def has_signed(self) -> bool:
        return self._file.execute("SELECT 1 FROM signed LIMIT 1").fetchone() is not None

    def put(self, signed: Iterable[Signed], closed: Iterable[Closed] = ()) -> None:
        with self._at_once() as file:
            for one in signed:
                values = (one.log, one.size, one.last_leaf, one.last_ts, tree.pack(one.edge))
                file.execute("INSERT OR REPLACE INTO signed VALUES (?, ?, ?, ?, ?)", values)
                file.execute("INSERT OR REPLACE INTO marks VALUES (?, ?, ?)", (one.log, one.size, one.root))
            file.executemany("INSERT OR REPLACE INTO closed VALUES (?, ?, ?)", closed)

    def marks(self, log: str) -> dict[int, bytes]:
        """By size the roots of a log that were signed."""
        return dict(self._file.execute("SELECT size, root FROM marks WHERE log = ?", (log,)))

    def open(self, log: str, leaf: bytes, closed: Iterable[Closed]) -> None:
        """A log that an operator opened, by the hash of its first entry, for those that are closed now: what is lost must
        not come back."""
        with self._at_once() as file:
            file.execute("INSERT OR REPLACE INTO opened VALUES (?, ?)", (log, leaf))
            for one in closed:
                file.execute("INSERT OR REPLACE INTO closed VALUES (?, ?, ?)", one)
                if one.size == LOST:
                    file.execute("DELETE FROM opened WHERE log = ?", (one.log,))

    @contextmanager
    def _at_once(self) -> Iterator[sqlite3.Connection]:
        self._file.execute("BEGIN IMMEDIATE")
        try:
            yield self._file
        except BaseException:
            self._file.execute("ROLLBACK")
            raise
        self._file.execute("COMMIT")

    def close(self) -> None:
        self._file.close()


class Turn:
    """That this process signs with the folder, until it is closed or the process ends, however it does."""

    def __init__(self, folder: Path) -> None:
        private_folder(folder)
        self._file = open_private(folder / "turn")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise AnotherSigner(f"Another process signs with {folder}.") from error

    def close(self) -> None:
        self._file.close()


@contextmanager
def at_work(folder: Path) -> Iterator[None]:
    """A round of the signer, or an operator who opens a log: one after the other, each on what the other left."""
    private_folder(folder)
    with open_private(folder / "work.turn") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def private_folder(folder: Path) -> None:
    """Make the folder where it is not, for its owner alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def open_private(path: Path) -> IO[str]:
    """A file that its owner alone reads, made where it is not."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w")


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
