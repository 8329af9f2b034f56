"""Takes the content of old versions away, in every organisation or in one."""

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import system
from plans.runs.models import PlanRun
from routes.errors import OrganizationFrozen
from routes.history.services import AT_ONCE, retire_versions
from routes.orgs.models import Organization

BY = system("retire_versions")


class Command(BaseCommand):
    help = (
        "Retire old versions: what they published is not kept any more, who published it and when is. Versions that are"
        " live, that were restored, that a plan stands on, made or replaced, or of which the log does not tell what was"
        " taken away stay whole, and so do the newest ones."
        " Each organisation gets an audit entry; nothing of a frozen or closed one is taken away."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--org", metavar="SLUG", help="only this organisation")
        parser.add_argument("--keep", type=_count, default=500, help="so many of the newest stay whole (500)")
        parser.add_argument("--days", type=_count, default=90, help="what is younger stays whole (90)")
        parser.add_argument("--dry-run", action="store_true", help="list what would be retired, and leave it")

    def handle(self, *args: Any, **options: Any) -> None:
        orgs = Organization.objects.order_by("slug")
        if (slug := options["org"]) is not None:
            orgs = orgs.filter(slug=slug)
            if not orgs.exists():
                raise CommandError(f"There is no organisation {slug}.")
        total = 0
        for org in orgs.iterator():
            try:
                total += self._retire(org, options)
            except OrganizationFrozen:
                self.stdout.write(f"{org.slug}: {org.status}, left as it is")
        would = "would be " if options["dry_run"] else ""
        self.stdout.write(f"{total:,} version{'' if total == 1 else 's'} {would}retired.")

    def _retire(self, org: Organization, options: dict[str, Any]) -> int:
        asked = {name: options[name] for name in ("keep", "days", "dry_run")}
        count = 0
        while True:
            found = retire_versions(org, referred=_of_plans, by=BY, **asked)
            count += len(found.versions)
            if found.versions:
                entry = "" if found.receipt is None else f", audit entry {found.receipt.seq}"
                self.stdout.write(f"{org.slug}: {_told(found.ranges)}{entry}")
            if len(found.versions) < AT_ONCE or options["dry_run"]:
                return count


def _of_plans(org: Organization) -> set[int]:
    return PlanRun.objects.of(org).versions()


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ArgumentTypeError("a whole number below 100,000")
    return int(text)


def _told(ranges: Iterable[Iterable[int]]) -> str:
    """`1-40, 42`."""
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)
