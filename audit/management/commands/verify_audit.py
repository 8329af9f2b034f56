"""Recomputes the audit logs from their stored bytes."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from audit.models import AuditEntry, AuditHead
from audit.verification import Verification, logs, verify, verify_org


class Command(BaseCommand):
    help = "Verify every audit log, or one. Exit code 1 names the first bad entry and the rule it breaks."

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--org", metavar="ID", help="the log of one organisation")
        which.add_argument("--log", metavar="ORIGIN", help="one log by its name")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        found = self._verified(options)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(one) for one in found]))
        else:
            for one in found:
                if one.ok:
                    self.stdout.write(str(one))
        if bad := [str(one) for one in found if not one.ok]:
            raise CommandError("\n".join(bad), returncode=1)

    def _verified(self, options: dict[str, Any]) -> list[Verification]:
        if options["log"]:
            if options["log"] not in logs():
                raise CommandError(f"There is no log {options['log']}.", returncode=3)
            return [verify(options["log"])]
        if options["org"]:
            try:
                org_id = UUID(options["org"])
            except ValueError as error:
                raise CommandError("--org is the id of an organisation.", returncode=3) from error
            if not (AuditHead.objects.filter(org_id=org_id).exists() or AuditEntry.objects.of(org_id).exists()):
                # "Verified 0 entries" would hide a mistyped id.
                raise CommandError(f"There is no log of the organisation {org_id}.", returncode=3)
            return [verify_org(org_id)]
        return [verify(log) for log in logs()]
