"""Imports prices from a file: shows what changes, asks, and then does it."""

import os
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from signal import SIGINT
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import system
from routes.catalog.comparison import FieldChange, ImportPlan, PriceChange
from routes.catalog.formats import MAX_BYTES, read_prices
from routes.catalog.listed import PriceList
from routes.catalog.services import import_prices, plan_import
from routes.engine.times import read_time
from routes.errors import RoutesError
from routes.orgs.access import named_org
from routes.orgs.models import Organization

#: Of a longer list so many are named; all of them are counted.
SHOWN = 20


def _time(text: str) -> datetime:
    try:
        return read_time(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{error} For example 2026-12-01T00:00:00Z") from None


class Command(BaseCommand):
    help = (
        "Import prices: the LiteLLM table as it is published (model_prices_and_context_window.json), or a JSON list or CSV"
        " of prices by the names of our columns. Shows what changes and asks before it does; former prices stay for the"
        " traffic of their time. Importing a file again is harmless."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, metavar="FILE")
        parser.add_argument(
            "--org", metavar="SLUG_OR_ID", help="prices negotiated by this organisation, not everybody's"
        )
        parser.add_argument(
            "--since",
            type=_time,
            metavar="TIME",
            help="when the prices start, for example 2026-12-01T00:00:00Z; without it changed ones start now, and those"
            " of models that are new hold since ever",
        )
        parser.add_argument(
            "--provider", action="append", default=[], metavar="NAME", help="only this provider; may be repeated"
        )
        parser.add_argument("--dry-run", action="store_true", help="show what would change, and change nothing")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        file: Path = options["file"]
        is_begun = False
        try:
            org = None if options["org"] is None else named_org(options["org"])
            chosen: dict[str, Any] = {"org": org, "since": options["since"], "providers": options["provider"]}
            listed = self._read(file)
            plan = plan_import(listed, **chosen)
            self._show(plan, org, is_wordy=options["verbosity"] > 1)
            if plan.refused and not listed.prices:
                raise CommandError("Nothing could be imported: every entry was refused.")
            if not plan.changes:
                self.stdout.write("Nothing would change.")
                return
            if options["dry_run"]:
                self.stdout.write("Nothing was changed: this was a dry run.")
                return
            if not options["yes"]:
                self._ask()
            is_begun = True
            done = import_prices(
                listed,
                by=system("import_prices"),
                source=listed.source(os.fsencode(file.name).decode(errors="replace")),
                expected=plan.digest,
                **chosen,
            )
        except RoutesError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            what = "importing the file again is harmless" if is_begun else "nothing was changed"
            raise CommandError(f"Interrupted; {what}.", returncode=128 + SIGINT) from None
        counts = done.plan.counts
        self.stdout.write(
            f"{counts['changed']:,} prices changed, {counts['added']:,} added, {counts['facts']:,} with other facts."
        )

    def _read(self, file: Path) -> PriceList:
        try:
            with file.open("rb") as stream:
                return read_prices(stream.read(MAX_BYTES + 1))
        except OSError as error:
            raise CommandError(f"{file} cannot be read: {error.strerror or error}") from error

    def _ask(self) -> None:
        if not sys.stdin.isatty():
            raise CommandError(
                "Nothing was changed: there is no terminal to ask at. Say --yes, or look with --dry-run."
            )
        try:
            said = input("Import these prices? [y/N] ")
        except EOFError:
            said = ""
        if said.strip().lower() not in ("y", "yes"):
            raise CommandError("Nothing was changed.")

    def _show(self, plan: ImportPlan, org: Organization | None, *, is_wordy: bool) -> None:
        counts = plan.counts
        whose = "everybody's prices" if org is None else f"the prices negotiated by {org}"
        self.stdout.write(f"{plan.file.format}: {len(plan.file.prices):,} prices, beside {whose}.")
        self._list(f"{counts['changed']:,} changed", [self._line(change) for change in plan.changed])
        self._list(f"{counts['added']:,} added", [self._line(change) for change in plan.added])
        self._list(f"{counts['facts']:,} with other facts", [self._line(change) for change in plan.facts])
        self._list(f"{counts['refused']:,} refused", [f"{refusal.name}: {refusal.reason}" for refusal in plan.refused])
        unlisted = f"{counts['unlisted']:,} no longer in the file, kept"
        if is_wordy:
            self._list(unlisted, [f"{provider}/{model}" for provider, model in plan.unlisted])
        elif plan.unlisted:
            self.stdout.write(f"{unlisted} (--verbosity 2 names them).")
        self.stdout.write(
            f"{counts['unchanged']:,} unchanged; {counts['left_out']:,} of other providers left out; "
            f"{counts['not_by_tokens']:,} not priced by tokens; {counts['repeated']:,} repeated under another name; "
            f"{counts['rounded']:,} rounded to nine decimals."
        )

    def _list(self, title: str, lines: Sequence[str]) -> None:
        if not lines:
            return
        self.stdout.write(f"{title}:")
        for line in lines[:SHOWN]:
            self.stdout.write(f"  {line}")
        if len(lines) > SHOWN:
            self.stdout.write(f"  … and {len(lines) - SHOWN:,} more")

    def _line(self, change: PriceChange) -> str:
        fields = [field for field in change.fields if change.kind != "added" or field in change.prices]
        told = ", ".join(self._field(field, change.kind) for field in fields)
        until = f" (until {change.until:%Y-%m-%d %H:%M}, when a later price takes over)" if change.until else ""
        return f"{change.provider}/{change.model}: {told}{until}"

    def _field(self, field: FieldChange, kind: str) -> str:
        name = field.field.removesuffix("_usd_per_million").replace("_", " ")
        if kind == "added":
            return f"{name} {_text(field.new)}"
        percent = "" if field.percent is None else f" ({field.percent:+.1f}%)"
        return f"{name} {_text(field.old)} → {_text(field.new)}{percent}"


def _text(value: object) -> str:
    if isinstance(value, Decimal):
        return format(value.normalize(), "f")
    if isinstance(value, bool | None):
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)
