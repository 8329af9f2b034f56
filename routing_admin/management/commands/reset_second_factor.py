"""Takes a lost second factor away, so that its owner can sign in with the password and set up a new one."""

from argparse import ArgumentParser
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError

from audit.actors import system
from routing_admin.signin.errors import NoFactor
from routing_admin.signin.factors import remove


class Command(BaseCommand):
    help = (
        "Remove somebody's second factor and recovery codes, after they were lost. Ends the sessions that it opened, and"
        " writes an audit entry. Make sure first that it is really the owner who asks."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("username", metavar="USERNAME")

    def handle(self, *args: Any, **options: Any) -> None:
        person = get_user_model().objects.filter(username=options["username"]).first()
        if person is None:
            raise CommandError(f"There is nobody named {options['username']}.")
        try:
            remove(person, by=system("reset_second_factor"), action="second_factor.reset")
        except NoFactor:
            raise CommandError(f"{person} has no second factor; nothing was changed.") from None
        self.stdout.write(f"{person} has no second factor any more. Recorded in the audit log of the installation.")
