"""Imports request logs from a file."""

import os
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit.actors import system
from plans.logs.formats import AZURE_SYNTHETIC, Item, UnpricedModel, priced_model, read_azure_trace, read_csv
from plans.logs.services import ImportRefused, ImportReport, import_rows
from routes.catalog.services import price_table
from routes.orgs.models import Organization


class Command(BaseCommand):
    help = (
        "Import request logs. Importing a file again is harmless: rows that are there stay as they are. "
        f"Of an azure-llm-trace {', '.join(AZURE_SYNTHETIC)} are invented and marked as synthetic: --model served "
        "everything at its price, within 250 ms + 0.2 ms per input token + 15 ms per output token."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--org", required=True, metavar="SLUG_OR_ID")
        parser.add_argument("--format", required=True, choices=["azure-llm-trace", "csv"])
        parser.add_argument("--model", help="the model that served a trace, for example gpt-4o or openai/gpt-4o")
        parser.add_argument(
            "--on-error",
            choices=["skip", "abort"],
            default="abort",
            help="abort (default): one refused line and nothing is imported; skip: import the others",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        org = self._org(options["org"])
        reader = self._reader(org, file, options["format"], options["model"])

        def items() -> Iterator[Item]:
            with file.open("rb") as stream:
                yield from reader(stream)

        try:
            report = import_rows(
                org,
                items,
                on_error=options["on_error"],
                by=system("import_logs"),
                source=os.fsencode(file.name).decode(errors="replace"),
                progress=lambda what, records: self.stderr.write(f"{records:,} records {what}"),
            )
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror or error}") from error
        except ImportRefused as error:
            self._name(error.report)
            raise CommandError(str(error)) from error
        self._name(report)
        self.stdout.write(
            f"{report.imported:,} rows imported, {report.repeated:,} repeated, {report.refused_total:,} refused."
        )
        if report.refused_total and report.refused_total == report.read:
            raise CommandError("Nothing could be imported: every line was refused.")

    def _org(self, ref: str) -> Organization:
        try:
            org = Organization.objects.filter(pk=UUID(ref)).first()
        except ValueError:
            org = Organization.objects.filter(slug=ref).first()
        if org is None:
            raise CommandError(f"There is no organisation {ref}.")
        return org

    def _reader(
        self, org: Organization, file: Path, format: str, model: str | None
    ) -> Callable[[IO[bytes]], Iterator[Item]]:
        if format == "csv":
            if model is not None:
                raise CommandError("--model is for azure-llm-trace; a csv names the model in each row.")
            return read_csv
        if model is None:
            raise CommandError("A trace does not say which model served it. Say it: --model gpt-4o")
        prices = price_table(org)
        try:
            provider, name = priced_model(prices, model)
        except UnpricedModel as error:
            raise CommandError(str(error)) from error
        return partial(read_azure_trace, file_name=file.name, provider=provider, model=name, prices=prices)

    def _name(self, report: ImportReport) -> None:
        """Write the refused lines."""
        for line, reason in report.refused:
            self.stdout.write(f"line {line}: {reason}")
        if more := report.refused_total - len(report.refused):
            self.stdout.write(f"… and {more:,} more")
