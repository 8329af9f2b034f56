"""Passwords of people who sign in with one. Who asks was proved before."""

from typing import Any

from django.db import transaction

from audit.services import record


def change(person: Any, password: str) -> None:
    """Give the person this password instead, by themselves; their sessions end."""
    with transaction.atomic():
        person.set_password(password)
        person.save(update_fields=["password"])
        payload = {"username": person.get_username()}
        record(None, by=person, action="password.changed", target=("user", str(person.pk)), payload=payload)
