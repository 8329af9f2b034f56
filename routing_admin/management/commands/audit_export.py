"""Writes what an auditor checks."""

from argparse import ArgumentParser
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit.errors import NoSuchEntry
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
            self._export(path, org_id_of(options["org"]))
        self.stdout.write(f"Wrote {path}. Check it with: python -m audit.log.verify {path} --key …")

    def _export(self, path: Path, org_id: UUID | None) -> None:
        try:
            if path.suffix == ".zip":
                pieces = bundle_of(org_id)
                with path.open("xb") as file:
                    file.writelines(pieces)
            else:
                files = files_of(org_id)
                first = next(files)
                path.mkdir(parents=True)
                for name, lines in chain([first], files):
                    (path / name).parent.mkdir(exist_ok=True)
                    with (path / name).open("xb") as file:
                        file.writelines(lines)
        except NoSuchEntry as error:
            raise CommandError(str(error)) from error
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}") from error
