"""Opens a new log for one that the signer refuses, after a restore from a backup."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.actors import system
from audit.errors import EntryRefused
from audit.signing.epochs import NotRefused, open_epoch
from audit.signing.keys import BadKeys
from audit.signing.state import BadState
from routing_admin.audited import add_whose, or_cannot_say, org_id_of


class Command(BaseCommand):
    help = (
        "Close a log that the signer refuses, and open the next one, whose first entry says what was signed of the old one,"
        " what is left, and why. To be run where the signer runs."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        add_whose(parser, what="the log")
        parser.add_argument("--force", action="store_true", help="also where the signer does not refuse the log")
        why = "why: the restored backup, its time, who decided; it stands in the log for ever"
        parser.add_argument("--reason", required=True, help=why)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with or_cannot_say():
                org_id, by = org_id_of(options["org"]), system("audit_epoch")
                receipt = open_epoch(org_id, reason=options["reason"], by=by, force=options["force"])
        except (NotRefused, BadKeys, BadState, EntryRefused) as error:
            raise CommandError(str(error)) from error
        if receipt is None:
            self.stdout.write("What fitted no log is put right. The log goes on; no other was opened.")
        else:
            self.stdout.write(f"Opened {receipt.log}.")
