"""Times as the API and the documents write them."""

from datetime import UTC, datetime


def rfc3339(value: datetime | None) -> str | None:
    """`2026-01-02T03:04:05.678901Z`: UTC, always six digits, so that text order is time order. None stays None."""
    if value is None:
        return None
    # Not strftime: it writes years before 1000 with fewer digits.
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
