"""What ended a person's sessions for good. Only writer of `SessionEnds`.

Who has a second factor, and may sign in, can become again what it was; a count of the changes cannot. A session notes the
counts of its beginning.
"""

from typing import Any

from django.db.models import F

from routing_admin.signin.models import SessionEnds

#: (times that the second factor came or went, times that the person might not sign in any more)
Ends = tuple[int, int]


def factor_changed(person: Any) -> None:
    """Sessions that a password opened end, also once the factor is again as they know it."""
    _count(person, "factor_changes")


def access_lost(person: Any) -> None:
    """All sessions end, also once the person may sign in again."""
    _count(person, "access_losses")


def ends_of(person: Any) -> Ends:
    """As they are now. No query for whoever the session's backend loaded."""
    if hasattr(person, "factor_changes"):
        return person.factor_changes or 0, person.access_losses or 0
    return ends_now(person)


def ends_now(person: Any) -> Ends:
    """The same, asked of the database."""
    found = SessionEnds.objects.filter(person=person.pk).values_list("factor_changes", "access_losses").first()
    return (0, 0) if found is None else found


def _count(person: Any, column: str) -> None:
    SessionEnds.objects.get_or_create(person_id=person.pk)
    SessionEnds.objects.filter(person=person.pk).update(**{column: F(column) + 1})
