"""Files of request logs, for commands."""

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, cast

from django.core.management.base import CommandError

from plans.logs.formats import LogFile
from plans.logs.preview import FileColumn
from routes.engine.reading import printable


def log_file(path: Path) -> LogFile:
    """The file at this path. Raises `CommandError` for a pipe or a device: each time it is opened, it goes on where it
    was left. Whether there is one that can be read shows where it is opened."""

    def opened() -> AbstractContextManager[IO[bytes]]:
        return cast("AbstractContextManager[IO[bytes]]", path.open("rb"))

    if path.exists() and not path.is_file() and not path.is_dir():
        raise CommandError(f"{path} is a pipe or a device, which cannot be read twice: write it to a file first.")
    size = path.stat().st_size if path.is_file() else 0
    return LogFile(os.fsencode(path.name).decode(errors="replace"), size, opened)


def say_guesses(out: Any, columns: Iterable[FileColumn]) -> None:
    """Write what the columns that nobody mapped were taken for."""
    for column in columns:
        if column.is_guess:
            out.write(f"{printable(column.name)}: {column.target or 'left out'}")
