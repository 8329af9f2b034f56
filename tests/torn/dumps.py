"""Everything that is in the database, to be compared and to be put back."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from typing import Any
from unittest.mock import patch
from uuid import UUID

from django.apps import apps
from django.db import connection, models, transaction

from audit.database import TABLE, drop_triggers, make_triggers

#: How often there is which row of which table, as text.
Dump = Counter[tuple[str, str]]
NOW = datetime.now(UTC)


@cache
def _tables() -> dict[str, list[str]]:
    """The columns of every table."""
    managed = [model._meta for model in apps.get_models(include_auto_created=True) if model._meta.managed]
    return {meta.db_table: [f'"{field.column}"' for field in meta.concrete_fields] for meta in managed}


@cache
def _question() -> str:
    """One, because a round trip takes longer than to read a small table."""
    selects = []
    for model in apps.get_models(include_auto_created=True):
        if model._meta.managed:
            told = [f'"{field.column}"' for field in model._meta.concrete_fields if not is_only_a_number(field)]
            quoted = " || ', ' || ".join(f"quote({column})" for column in told)
            row = f"ROW({', '.join(told)})::text" if connection.vendor == "postgresql" else quoted
            selects.append(f"SELECT '{model._meta.db_table}', {row} FROM \"{model._meta.db_table}\"")
    return " UNION ALL ".join(selects)


def is_only_a_number(field: Any) -> bool:
    """Whether the database gives it, and no other row refers to it: those of undone rows are used up."""
    return isinstance(field, models.AutoField | models.BigAutoField) and not field.model._meta.related_objects


def dump() -> Dump:
    """Every row of every table."""
    with connection.cursor() as cursor:
        cursor.execute(_question())
        return Counter(cursor.fetchall())


class Kept:
    """What is in the database now."""

    def __init__(self) -> None:
        self.dump = dump()
        self._rows = {}
        with connection.cursor() as cursor:
            for table, columns in _tables().items():
                cursor.execute(f'SELECT {", ".join(columns)} FROM "{table}"')
                self._rows[table] = cursor.fetchall()

    def put_back(self, now: Dump | None = None) -> None:
        """Make the database what it was. `now` is what is in it, where somebody knows."""
        now = dump() if now is None else now
        if not (changed := {table for table, _ in (now - self.dump) + (self.dump - now)}):
            return
        with transaction.atomic(), connection.cursor() as cursor, _no_triggers(cursor):
            for table in changed:
                cursor.execute(f'DELETE FROM "{table}"')
                columns = _tables()[table]
                places = ", ".join(["%s"] * len(columns))
                cursor.executemany(f'INSERT INTO "{table}" ({", ".join(columns)}) VALUES ({places})', self._rows[table])


@contextmanager
def _no_triggers(cursor: Any) -> Iterator[None]:
    """The log takes everything."""
    if connection.vendor == "postgresql":  # where they need not be made anew, which takes longer than all the rest
        cursor.execute(f"ALTER TABLE {TABLE} DISABLE TRIGGER audit_append_only")
        yield
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER audit_append_only")
        return
    drop_triggers(connection)
    yield
    make_triggers(connection)


@contextmanager
def standing_still() -> Iterator[Callable[[], None]]:
    """Clock and chance stand still, so that to do the same twice gives the same bytes. What is called lets the ids begin
    anew, as they are to be when the same is done again."""
    numbers = count(1)

    class Stopped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return (NOW + timedelta(hours=1)).astimezone(tz)

    def again() -> None:
        nonlocal numbers
        numbers = count(1_000_000)  # what was made before has lower ones

    def next_id() -> UUID:
        return UUID(int=next(numbers) | 7 << 76 | 2 << 62)

    with ExitStack() as stack:
        for name, stand_in in (
            ("django.utils.timezone.datetime", Stopped),
            ("routes.placements.services._now", lambda: NOW + timedelta(hours=1)),  # by the database's clock
            ("routes.orgs.models.uuid7", next_id),
            ("routes.catalog.services.uuid4", next_id),
            ("uuid.uuid4", lambda: UUID(int=7)),
            ("secrets.token_bytes", lambda size: b"\7" * size),
            ("secrets.token_hex", lambda size: "07" * size),
            ("secrets.choice", lambda of: of[next(numbers) % len(of)]),
        ):
            stack.enter_context(patch(name, stand_in))
        yield again
