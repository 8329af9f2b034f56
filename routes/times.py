"""Times as the API and the documents write them."""

from datetime import UTC, datetime


def rfc3339(value: datetime | None) -> str | None:
    """`2026-01-02T03:04:05.678901Z`: UTC, always six digits, so that text order is time order. None stays None."""
    if value is None:
        return None
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
