"""Times as callers write them to narrow a list."""

from datetime import UTC, datetime

from django.utils.dateparse import parse_datetime


def read_time(text: str) -> datetime:
    """A moment in RFC 3339 with its zone, in UTC: without one it would mean something else to every reader. Raises
    `ValueError`, with what to write."""
    try:
        found = parse_datetime(text)
        if found is not None and found.tzinfo is not None:
            return found.astimezone(UTC)
    except OverflowError:
        raise ValueError("A time is between the years 1 and 9999 in UTC.") from None
    except ValueError:
        pass  # a day that does not exist
    raise ValueError("Write a time with its zone, like 2026-11-21T08:00:00Z.")


def is_time(text: str) -> bool:
    """Whether `read_time` reads it."""
    try:
        read_time(text)
    except ValueError:
        return False
    return True
