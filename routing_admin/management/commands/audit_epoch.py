"""Opens a new log for one that the signer refuses, after a restore from a backup."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import system
from audit.errors import EntryRefused
from audit.signing.epochs import NotRefused, open_epoch
from audit.signing.keys import BadKeys
from routing_admin.audited import add_whose, or_cannot_say, org_id_of


class Command(BaseCommand):
    help = (
        "Close a log that the signer refuses, and open the next one, whose first entry says what was signed of the old one,"
        " what is left, and why. To be run where the signer runs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_whose(parser, what="the log")
        parser.add_argument("--force", action="store_true", help="also where the signer does not refuse the log")
        parser.add_argument("--reason", required=True, help="why; it stands in the log for ever")

    def handle(self, *args: Any, **options: Any) -> None:
        if not options["reason"].strip():
            raise CommandError("--reason says why: the restored backup, its time, who decided.")
        try:
            with or_cannot_say():
                org_id, by = org_id_of(options["org"]), system("audit_epoch")
                receipt = open_epoch(org_id, reason=options["reason"], by=by, force=options["force"])
        except (NotRefused, BadKeys, EntryRefused) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Opened {receipt.log}.")
