"""Imports request logs from a file."""

from argparse import ArgumentParser
from dataclasses import replace
from logging import LogRecord
from pathlib import Path
from signal import SIGINT
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import InterfaceError, OperationalError

from audit.actors import system
from plans.errors import PlansError
from plans.logs.formats import AUTO, AZURE_SYNTHETIC, FORMATS, LogFile, Mapping, ReadAs
from plans.logs.preview import Preview, preview
from plans.logs.services import ImportRefused, Progress, import_rows, open_log
from plans.logs.services import log as services_log
from plans.management.files import log_file, say_guesses
from plans.management.progress import ProgressLine
from routes.engine.reading import printable
from routes.errors import NotFound
from routes.orgs.access import named_org
from routes.orgs.models import Organization

NO_ROWS = "The file has no rows."


class Command(BaseCommand):
    help = (
        "Import request logs: CSV or JSON with our columns or others mapped to them, Parquet, LiteLLM's spend logs, "
        "an Azure LLM trace. Importing a file again is harmless: rows that are there stay as they are. "
        f"Of an azure-llm-trace {', '.join(AZURE_SYNTHETIC)} are invented and marked as synthetic: --model served "
        "everything at its price, within 250 ms + 0.2 ms per input token + 15 ms per output token."
    )
    # They ask the database too, and blame the program where it is locked or away.
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument("--org", required=True, metavar="SLUG_OR_ID")
        parser.add_argument("--format", choices=[AUTO, *FORMATS], default=AUTO, help="auto (default): by the content")
        parser.add_argument("--model", help="the model that served a trace, for example gpt-4o or openai/gpt-4o")
        parser.add_argument(
            "--map",
            action="append",
            default=[],
            metavar="THEIRS=OURS",
            help="a column of the file is this one of ours; THEIRS= leaves it out. Beside our columns: ts_utc (a time "
            "without a zone), latency_s, upstream_latency_s (seconds), cost_cents, cost_usd_rounded (more than nine "
            "decimals; also of the other costs). Can be repeated",
        )
        parser.add_argument(
            "--set",
            action="append",
            default=[],
            metavar="OURS=VALUE",
            help="the value of a column where a row has none, for example provider=openai. Can be repeated",
        )
        parser.add_argument("--guess", action="store_true", help="map common names as --preview --guess shows them")
        parser.add_argument("--preview", action="store_true", help="show what would be stored, and store nothing")
        parser.add_argument(
            "--on-error",
            choices=["skip", "abort"],
            default="abort",
            help="abort (default): one refused record and nothing is imported; skip: import the others",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        file = log_file(options["file"])
        # Where the database is away, the import logs that it could not record its end. Here the last line says why.
        services_log.addFilter(_without_traceback)
        try:
            self._run(named_org(options["org"]), file, options)
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror or error}") from error
        except (PlansError, NotFound) as error:
            raise CommandError(str(error)) from error
        except (OperationalError, InterfaceError) as error:
            why = (str(error).splitlines() or ["it does not answer"])[0]
            raise CommandError(f"The database is busy, away or not migrated: {why}. {self._so_far()}") from error
        except KeyboardInterrupt:
            raise CommandError(f"Interrupted. {self._so_far()}", returncode=128 + SIGINT) from None
        finally:
            services_log.removeFilter(_without_traceback)

    def _run(self, org: Organization, file: LogFile, options: dict[str, Any]) -> None:
        mapping = Mapping.of_texts(options["map"], options["set"])
        how = ReadAs(options["format"], mapping, options["model"] or "")
        if options["preview"]:
            self._show(preview(org, file, how, guessing=options["guess"]))
            return
        if options["guess"]:
            seen = preview(org, file, how, guessing=True)
            how = replace(how, format=seen.format, mapping=seen.mapping)
            say_guesses(self.stderr, seen.columns)
        reader = open_log(org, file, how)
        self._numbered = reader.numbered
        line = ProgressLine(self.stderr, reader)

        def progress(step: Progress) -> None:
            self._step = step
            line.show(step.read, step.phase)

        try:
            report = import_rows(
                org,
                reader.items,
                on_error=options["on_error"],
                by=system("import_logs"),
                source=file.name,
                progress=progress,
            )
        except ImportRefused as error:
            line.clear()
            self._name(error.report.refused, error.report.refused_total)
            self._say_how_to_map(org, file, how, error.report.refused)
            raise
        finally:
            line.clear()
        self._name(report.refused, report.refused_total)
        self._say_how_to_map(org, file, how, report.refused)
        self.stdout.write(str(report))
        if not report.read:
            self.stdout.write(NO_ROWS)
        if report.refused_total and report.refused_total == report.read:
            raise CommandError(f"Nothing could be imported: every {self._numbered} was refused.")

    _numbered = "line"
    _step: Progress | None = None

    def _so_far(self) -> str:
        if self._step is None or self._step.phase == "checked":
            return "Nothing was stored; importing the file again is harmless."
        stored = f"{self._step.imported:,} rows were stored" if self._step.imported else "Nothing was stored"
        return f"{stored} at the last count; importing the file again is harmless and adds the rest."

    def _say_how_to_map(self, org: Organization, file: LogFile, how: ReadAs, refused: list[tuple[int, str]]) -> None:
        """How a command does what the refusals advise: to map a column."""
        if not any(" map " in reason for _, reason in refused):
            return
        seen = preview(org, file, how, guessing=True)
        guesses = [column for column in seen.columns if column.is_guess]
        if any(column.target for column in guesses):  # to leave out whatever a file has is no advice
            maps = ", ".join(f"{printable(column.name)}={column.target}" for column in guesses)
            self.stderr.write(f"Probably {maps}: --guess maps so, and --preview --guess shows it.")
        self.stderr.write(
            "A column is mapped with --map THEIRS=OURS, as --map ts=ts_utc, and left out with --map THEIRS="
        )

    def _name(self, refused: list[tuple[int, str]], total: int) -> None:
        """Write the refused records."""
        for number, reason in refused:
            self.stdout.write(f"{self._numbered} {number}: {reason}")
        if more := total - len(refused):
            self.stdout.write(f"… and {more:,} more")

    def _show(self, seen: Preview) -> None:
        self.stdout.write(f"Format: {seen.format}")
        for column in seen.columns:
            if column.target is None:
                taken = "unknown: --map it, or --guess"
            else:
                taken = (column.target or "left out") + (" (a guess; --guess takes it)" if column.is_guess else "")
            examples = ", ".join(column.examples) or "no values"
            self.stdout.write(f"Column {printable(column.name)} -> {taken}; {examples}")
        for name in seen.lacking:
            or_set = "" if name == "request_id" else ", or --set it"  # each request has its own
            self.stdout.write(f"Missing: {name}. --map a column to it{or_set}.")
        self._numbered = seen.numbered
        for number, values in seen.rows:
            said = ", ".join(f"{name}={value}" for name, value in values.items())
            self.stdout.write(f"{seen.numbered} {number}: {printable(said)}")
        self._name(seen.refused, len(seen.refused))
        if not seen.rows and not seen.refused:
            self.stdout.write(NO_ROWS)
        self.stdout.write("Nothing was stored: this is a preview of the first records.")


def _without_traceback(record: LogRecord) -> bool:
    record.exc_info = None
    return True
