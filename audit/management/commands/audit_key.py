"""The keys that checkpoints are signed with: which there are, one more, one less."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import Error

from audit.actors import system
from audit.errors import EntryRefused
from audit.signing.keys import BadKeys, add_key, known_keys, retire_key, told_keys

BY = system("audit_key")


class Command(BaseCommand):
    help = (
        "List the keys whose signatures count, for auditors; add one, with which checkpoints are then signed too; or"
        " retire one. To replace a key, add one, give it to the auditors, and retire the old one."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        steps = parser.add_subparsers(dest="step", required=True)
        which = steps.add_parser("list", help="print the keys to verify with")
        which.add_argument(
            "--all", action="store_true", help="those that were retired too, which signed older checkpoints"
        )
        more = steps.add_parser("add", help="make one more key, in the signer's folder")
        less = steps.add_parser("retire", help="sign with this key no more")
        less.add_argument("id", help="its id: the eight digits between the plus signs")
        for step in (more, less):
            step.add_argument("--reason", required=True, help="why; the log of the installation keeps it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            match options["step"]:
                case "list":
                    for key in known_keys():
                        self.stdout.write(str(key))
                    for key in sorted(told_keys().retired, key=str) if options["all"] else ():
                        self.stdout.write(f"{key}  retired")
                case "add":
                    self.stdout.write(str(add_key(by=BY, reason=options["reason"]).verify_key))
                case "retire":
                    self.stdout.write(f"Retired {retire_key(options['id'], by=BY, reason=options['reason'])}")
        except (BadKeys, EntryRefused) as error:
            raise CommandError(str(error)) from error
        except Error as error:
            raise CommandError(f"The database does not answer: {str(error).splitlines()[0]}", returncode=2) from error
