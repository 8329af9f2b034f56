"""Writes what an auditor checks."""

import os
import shlex
from argparse import ArgumentParser
from contextlib import ExitStack
from errno import EEXIST
from itertools import chain
from os import strerror
from pathlib import Path
from secrets import token_hex
from shutil import rmtree
from typing import IO, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit.errors import LogsChanged, NoSuchEntry
from audit.evidence.bundles import bundle_of, files_of
from routing_admin.audited import add_whose, or_cannot_say, org_id_of


class Command(BaseCommand):
    help = (
        "Write the audit logs of an organisation, or of the installation, with payloads and checkpoints, to a ZIP file or,"
        " where the name does not end with .zip, to a folder. `python -m audit.log.verify` checks either."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("path", type=Path, help="the file or folder, which must not be there yet")
        add_whose(parser, what="the logs")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["path"]
        with or_cannot_say():
            org_id = org_id_of(options["org"])
            self._export(path, org_id)
        whose = "installation" if org_id is None else org_id
        self.stdout.write(
            f"Wrote {path}, with all payloads: for its reader alone. It is checked with\n"
            f"python -m audit.log.verify {shlex.quote(str(path))} --log {whose} --key …"
        )

    def _export(self, path: Path, org_id: UUID | None) -> None:
        unfinished = path.with_name(f"{path.name}.{token_hex(4)}.unfinished")
        try:
            if path.exists():
                raise FileExistsError(EEXIST, strerror(EEXIST))
            with ExitStack() as undo:
                if path.suffix.lower() == ".zip":
                    self._write_zip(unfinished, org_id, undo)
                else:
                    self._write_folder(unfinished, org_id, undo)
                unfinished.rename(path)
                undo.pop_all()
        except (NoSuchEntry, LogsChanged) as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error

    def _write_zip(self, path: Path, org_id: UUID | None, undo: ExitStack) -> None:
        pieces = bundle_of(org_id)
        with _private(path) as file:
            undo.callback(path.unlink)
            file.writelines(pieces)

    def _write_folder(self, path: Path, org_id: UUID | None, undo: ExitStack) -> None:
        files = files_of(org_id)
        first = next(files)
        path.mkdir(mode=0o700, parents=True)
        undo.callback(rmtree, path)
        for name, lines in chain([first], files):
            (path / name).parent.mkdir(exist_ok=True)
            with _private(path / name) as file:
                file.writelines(lines)


def _private(path: Path) -> IO[bytes]:
    """A new file that its owner alone reads."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
