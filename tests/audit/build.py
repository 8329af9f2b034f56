"""Logs to test with, and the hands of somebody who owns the database."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction

from audit.actors import system
from audit.database import drop_triggers, make_triggers
from audit.models import AuditEntry
from audit.services import record

ORG = uuid.UUID("01900000-0000-7000-8000-00000000000a")
OTHER = uuid.UUID("01900000-0000-7000-8000-00000000000b")
TABLE = AuditEntry._meta.db_table


def some(count: int, org_id: uuid.UUID | None = ORG) -> None:
    """Record that many entries in one transaction."""
    with transaction.atomic():
        for n in range(count):
            record(org_id, by=system("test"), action="test.happened", target=("thing", str(n)), payload={"n": n})


@contextmanager
def without_triggers() -> Iterator[None]:
    """As whoever owns the database: nothing is prevented, so everything must be found."""
    drop_triggers(connection)
    try:
        yield
    finally:
        make_triggers(connection)


def sql(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def database_id(value: uuid.UUID) -> str:
    """An id as the columns of this database hold it."""
    return value.hex if connection.vendor == "sqlite" else str(value)
