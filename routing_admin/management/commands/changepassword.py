"""Django's command to set somebody's password, with an audit entry."""

import getpass
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.management.commands import changepassword
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.management.base import CommandError
from django.db import transaction

from audit.actors import system
from routing_admin.signin.people import record_person

BY = system("changepassword")
TRIES = 3


class Command(changepassword.Command):
    help = "Set somebody's password, which ends the sessions that the old one opened. Writes an audit entry."

    def handle(self, *args: Any, **options: Any) -> str:
        name = options["username"] or getpass.getuser()
        person = get_user_model().objects.filter(username=name).first()
        if person is None:
            raise CommandError(f"There is nobody named {name}.")
        password = self._asked(person)
        with transaction.atomic():
            person.set_password(password)
            person.save(update_fields=["password"])
            record_person(person, "password.reset", by=BY)
        return f"{person} has a new password. Recorded in the audit log of the installation."

    def _asked(self, person: Any) -> str:
        """Typed twice, and as good as everybody's has to be. Raises `CommandError` after three tries."""
        self.stdout.write(f"A new password for {person}.")
        for _ in range(TRIES):
            first, second = self._get_pass(), self._get_pass("Password (again): ")
            try:
                if first != second:
                    raise ValidationError("They are not the same.")
                validate_password(first, person)
            except ValidationError as error:
                self.stderr.write("\n".join(error.messages))
            else:
                return str(first)
        raise CommandError(f"The password was not changed, after {TRIES} tries.")
