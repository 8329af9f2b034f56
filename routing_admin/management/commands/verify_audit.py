"""Recomputes the audit logs from their stored bytes."""

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.models import Refusal
from audit.verification import logs, logs_of, verify
from routing_admin.audited import called, or_cannot_say, org_id_of


class Command(BaseCommand):
    help = (
        "Verify every audit log, or one. Exit code 0: verified. 1: the first bad entry is named, with the rule that it"
        " breaks, or a log that the signer refuses. 2: the database does not answer. 3: there is no such log."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--org", metavar="SLUG_OR_ID", help="the logs of one organisation")
        which.add_argument("--log", metavar="ORIGIN", help="one log by its name")
        parser.add_argument("--json", action="store_true")

    def handle(self, *args: Any, **options: Any) -> None:
        with or_cannot_say():
            found = [verify(log) for log in self._asked(options)]
            # Of all logs also those that the signer knows and the database does not: it may be an older one.
            asked = {one.log for one in found} if options["log"] or options["org"] else None
            refused = {one.log: one for one in Refusal.objects.all() if asked is None or one.log in asked}
            whose = called(one.log for one in found)
        if options["json"]:
            self.stdout.write(json.dumps([asdict(one) for one in found]))
        else:
            for one in found:
                if one.ok:
                    self.stdout.write(f"{whose[one.log]}: {one}")
        bad = [str(one) for one in found if not one.ok] + [
            f"{one.log}: the signer refuses it since {one.since:%Y-%m-%d %H:%M} UTC ({one.rule}): {one.message}"
            for one in refused.values()
        ]
        if bad:
            raise CommandError("\n".join(bad), returncode=1)

    def _asked(self, options: dict[str, Any]) -> list[str]:
        if log := options["log"]:
            if log not in logs():
                raise CommandError(f"There is no log {log}.", returncode=3)
            return [log]
        if options["org"] is None:
            return list(logs())
        if found := logs_of(org_id_of(options["org"])):
            return found
        # "Verified 0 entries" would hide a mistyped id.
        raise CommandError(f"There is no log of the organisation {options['org']}.", returncode=3)
