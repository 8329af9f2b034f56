"""Imports request logs from a file."""

import os
from argparse import ArgumentParser
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import IO, Any, cast
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit.actors import system
from plans.errors import PlansError
from plans.logs.formats import AUTO, AZURE_SYNTHETIC, FORMATS, LogFile, Mapping, ReadAs, Reader
from plans.logs.preview import Preview, preview
from plans.logs.services import ImportRefused, Progress, import_rows, open_log
from routes.orgs.models import Organization

#: How often the line of progress is written: on a terminal in seconds, elsewhere in records.
EVERY_SECONDS = 0.2
EVERY_RECORDS = 10_000
BAR = 24


class Command(BaseCommand):
    help = (
        "Import request logs: CSV or JSON lines with our columns or others mapped to them, Parquet, LiteLLM's spend logs, "
        "an Azure LLM trace. Importing a file again is harmless: rows that are there stay as they are. "
        f"Of an azure-llm-trace {', '.join(AZURE_SYNTHETIC)} are invented and marked as synthetic: --model served "
        "everything at its price, within 250 ms + 0.2 ms per input token + 15 ms per output token."
    )

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
            "without a zone), latency_s, upstream_latency_s (seconds), cost_cents. Can be repeated",
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
        file = _log_file(options["file"])
        try:
            self._run(self._org(options["org"]), file, options)
        except OSError as error:
            raise CommandError(f"{options['file']} cannot be read: {error.strerror or error}") from error
        except ImportRefused as error:
            self._name(error.report.refused, error.report.refused_total)
            raise CommandError(str(error)) from error
        except PlansError as error:
            raise CommandError(str(error)) from error

    def _run(self, org: Organization, file: LogFile, options: dict[str, Any]) -> None:
        mapping = Mapping.of_texts(options["map"], options["set"])
        how = ReadAs(options["format"], mapping, options["model"] or "")
        if options["preview"]:
            self._show(preview(org, file, how, guessing=options["guess"]))
            return
        if options["guess"]:
            seen = preview(org, file, how, guessing=True)
            how = replace(how, format=seen.format, mapping=seen.mapping)
            for column in seen.columns:
                if column.is_guess:
                    self.stderr.write(f"{column.name}: {column.target or 'left out'}")
        reader = open_log(org, file, how)
        self._numbered = reader.numbered
        line = _Line(self.stderr, reader)
        report = import_rows(
            org,
            reader.items,
            on_error=options["on_error"],
            by=system("import_logs"),
            source=file.name,
            progress=line.show,
        )
        line.clear()
        self._name(report.refused, report.refused_total)
        self.stdout.write(str(report))
        if report.refused_total and report.refused_total == report.read:
            raise CommandError(f"Nothing could be imported: every {self._numbered} was refused.")

    def _org(self, ref: str) -> Organization:
        try:
            org = Organization.objects.filter(pk=UUID(ref)).first()
        except ValueError:
            org = Organization.objects.filter(slug=ref).first()
        if org is None:
            raise CommandError(f"There is no organisation {ref}.")
        return org

    _numbered = "line"

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
            self.stdout.write(f"Column {column.name} -> {taken}; {', '.join(column.examples) or 'no values'}")
        for name in seen.lacking:
            self.stdout.write(f"Missing: {name}. --map a column to it, or --set it.")
        self._numbered = seen.numbered
        for number, values in seen.rows:
            self.stdout.write(f"{seen.numbered} {number}: " + ", ".join(f"{name}={v}" for name, v in values.items()))
        self._name(seen.refused, len(seen.refused))
        self.stdout.write("Nothing was stored: this is a preview of the first records.")


class _Line:
    """The progress: on a terminal one line that is written again and again, elsewhere a line now and then."""

    def __init__(self, out: Any, reader: Reader) -> None:
        self._out = out
        self._reader = reader
        self._began = self._last = monotonic()
        self._phase = ""
        self._is_terminal = out.isatty()

    def show(self, step: Progress) -> None:
        if not self._is_terminal:
            if step.read % EVERY_RECORDS == 0:
                self._out.write(f"{step.read:,} records {step.phase}")
            return
        now = monotonic()
        if step.phase != self._phase:
            self._phase, self._began = step.phase, now
        elif now - self._last < EVERY_SECONDS:
            return
        self._last = now
        share = min(self._reader.bytes_read / max(self._reader.file.size, 1), 1.0)
        seconds = max(now - self._began, 1e-9)
        left = f"{_clock(seconds / share - seconds)} left" if share else ""
        bar = ("#" * round(BAR * share)).ljust(BAR)
        rate = f"{step.read / seconds:,.0f}/s" if seconds > EVERY_SECONDS else ""
        self._out.write(f"\r[{bar}] {share:4.0%} {step.read:,} records {step.phase} {rate} {left}\x1b[K", ending="")
        self._out.flush()

    def clear(self) -> None:
        if self._phase:
            self._out.write("\r\x1b[K", ending="")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _log_file(path: Path) -> LogFile:
    def opened() -> AbstractContextManager[IO[bytes]]:
        return cast("AbstractContextManager[IO[bytes]]", path.open("rb"))

    size = path.stat().st_size if path.is_file() else 0
    return LogFile(os.fsencode(path.name).decode(errors="replace"), size, opened)
