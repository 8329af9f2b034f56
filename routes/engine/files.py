"""Small files: read within a bound, written in one step that lasts. Reading and writing raise `OSError`."""

from __future__ import annotations

import os
from contextlib import suppress
from stat import S_ISREG

_BINARY = getattr(os, "O_BINARY", 0)


def absolute_path(path: str | os.PathLike[str]) -> str:
    """The path from the root, so that it stays the same file when the process changes folders. Raises `ValueError` for
    what can be the name of none."""
    absolute = os.path.abspath(os.fspath(path))
    if "\0" in absolute:
        raise ValueError("A path holds no NUL character.")
    return absolute


def read_file(path: str, most: int) -> tuple[os.stat_result, bytes | None]:
    """How a file looked before it was read, and its bytes, of more than `most` not all; None for what is no regular
    file."""
    # Not blocking: the name may be that of a pipe.
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    try:
        stat = os.fstat(file)
        if not S_ISREG(stat.st_mode):
            return stat, None
        data = bytearray()
        while len(data) <= most and (part := os.read(file, 1 << 20)):
            data += part
        return stat, bytes(data)
    finally:
        os.close(file)


def write_file(folder: str, name: str, data: bytes, mode: int) -> None:
    """Put a file into a folder in one step: readers see the old one or the new one, also after a loss of power."""
    unfinished = os.path.join(folder, f".{name}.{os.urandom(8).hex()}.tmp")  # no other writer has this name
    try:
        # By hand: what a file object holds back is written a second time by whoever was forked meanwhile.
        file = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, mode)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        finally:
            os.close(file)
        os.replace(unfinished, os.path.join(folder, name))
    except OSError:
        with suppress(OSError):
            os.remove(unfinished)
        raise
    sync_folder(folder)


def sync_folder(path: str) -> None:
    """Make what happened to the names in a folder last, where folders can be opened."""
    if hasattr(os, "O_DIRECTORY"):
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
