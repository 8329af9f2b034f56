"""Writes request logs as a Parquet dataset."""

from argparse import ArgumentParser
from datetime import UTC, datetime
from pathlib import Path
from signal import SIGINT
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from plans.logs.source import DatabaseSource
from plans.replay.columns.dataset import write_dataset
from routes.errors import NotFound
from routes.orgs.access import named_org


class Command(BaseCommand):
    help = (
        "Write an organisation's request logs as Parquet files to FOLDER/<its id>/, as far as plans read them (no texts of"
        " requests). With LOG_DATASETS=FOLDER its plans are replayed on these files instead of the database."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="FOLDER")
        parser.add_argument("--org", required=True, metavar="SLUG_OR_ID")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            org = named_org(options["org"])
        except NotFound as error:
            raise CommandError(str(error)) from None
        everything = (datetime(2, 1, 1, tzinfo=UTC), datetime(9998, 1, 1, tzinfo=UTC))
        folder: Path = options["folder"] / str(org.pk)
        try:
            rows = write_dataset(
                DatabaseSource(org.pk, everything), folder, lambda rows: self.stderr.write(f"{rows:,} rows written")
            )
        except ImportError:
            raise CommandError("Writing Parquet needs pyarrow: uv sync --group parquet") from None
        except FileExistsError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"Nothing more could be written, and plans do not see what was: {error}") from None
        except KeyboardInterrupt:
            raise CommandError(
                "Interrupted; plans do not see what was written, and the next export writes it anew.",
                returncode=128 + SIGINT,
            ) from None
        self.stdout.write(f"{rows:,} rows in {folder}.")
