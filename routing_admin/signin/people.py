"""Entries about people."""

from typing import Any, Final

from audit.services import record

#: What people may do at all; the rest are their roles.
ACCESS: Final = ("is_active", "is_staff", "is_superuser")


def record_person(person: Any, action: str, *, by: Any, **more: Any) -> None:
    """Record, in the caller's transaction, what was done to somebody, with what access the person has now."""
    payload = {"username": person.get_username(), **{name: getattr(person, name) for name in ACCESS}, **more}
    record(None, by=by, action=action, target=("user", str(person.pk)), payload=payload)
