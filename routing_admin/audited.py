"""What the commands about audit logs share: whose log is meant, and an exit code of its own for a database that is away."""

from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from uuid import UUID

from django.core.management.base import CommandError
from django.db import DataError, Error, IntegrityError, ProgrammingError

from routes.orgs.models import Organization


def add_whose(parser: ArgumentParser, *, what: str) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--org", metavar="SLUG_OR_ID", help=f"{what} of one organisation")
    which.add_argument("--installation", action="store_true", help=f"{what} of the installation")


def org_id_of(ref: str | UUID | None) -> UUID | None:
    """Of the organisation with this slug or id; an id need be nobody's any more. None for none. Raises `CommandError`."""
    if ref is None:
        return None
    try:
        return UUID(str(ref))
    except ValueError:
        pass
    # Not the whole row: the signer's role may read no more of it.
    found: UUID | None = Organization.objects.filter(slug=ref).values_list("pk", flat=True).first()
    if found is None:
        raise CommandError(f"There is no organisation {ref}: give its slug or its id.", returncode=3)
    return found


def called(logs: Iterable[str]) -> dict[str, str]:
    """By log whose it is, for people: as its name says, for its head may say anything."""
    names = {str(pk): slug for pk, slug in Organization.objects.values_list("pk", "slug")}
    names["installation"] = "the installation"
    places = {log: log.rpartition("/audit/")[2].partition("/")[0] for log in logs}
    return {log: names.get(place, place) for log, place in places.items()}


@contextmanager
def or_cannot_say() -> Iterator[None]:
    """Exit code 2, in one line, where the database does not answer: nothing was verified, and nothing found."""
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError) as error:
        raise CommandError(f"The database refuses: {str(error).splitlines()[0]}", returncode=2) from error
    except Error as error:
        raise CommandError(f"The database does not answer: {str(error).splitlines()[0]}", returncode=2) from error
