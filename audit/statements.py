"""The statements by which an entry is written, made once: the ORM would make them anew for each, which takes longer than
all else that writing an entry takes."""

from functools import cache
from typing import Any, NamedTuple
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import BinaryField, DateTimeField, UUIDField

from audit.errors import LogDamaged
from audit.models import AuditEntry, AuditHead, as_bytes

_HEAD, _ENTRY = AuditHead._meta.db_table, AuditEntry._meta.db_table
_COLUMNS = [field for field in AuditEntry._meta.concrete_fields if not field.primary_key]
#: What the databases do not take as it is.
_ADAPTED = {field.attname: field for field in _COLUMNS if isinstance(field, BinaryField | DateTimeField | UUIDField)}


_ORG_ID, _BYTES = AuditHead._meta.get_field("org_id"), AuditHead._meta.get_field("right_edge")


class Head(NamedTuple):
    """Where the log ends that is written to."""

    pk: int
    log: str
    epoch: int
    size: int
    last_ts: str
    last_leaf_hash: bytes | None
    right_edge: bytes


def locked(org_id: UUID | None) -> Head | None:
    """The head of the current log, locked by an UPDATE until the transaction ends: a writer that waits for it sees what the
    one before wrote. None where there is no log."""
    database = connections[DEFAULT_DB_ALIAS]
    org, given = ("IS NULL", []) if org_id is None else ("= %s", [_ORG_ID.get_db_prep_save(org_id, database)])
    with database.cursor() as cursor:
        cursor.execute(
            f'UPDATE "{_HEAD}" SET "size" = "size" WHERE "is_current" AND "org_id" {org}'  # noqa: S608  constants
            ' RETURNING "id", "log", "epoch", "size", "last_ts", "last_leaf_hash", "right_edge"',
            given,
        )
        row = cursor.fetchone()
    if row is None:
        return None
    *start, last, edge = row
    try:
        return Head(*start, None if last is None else as_bytes(last), as_bytes(edge))
    except TypeError as error:  # SQLite keeps text there too
        raise LogDamaged(start[1]) from error


def insert(**values: Any) -> None:
    """One entry, with a value for each column."""
    database = connections[DEFAULT_DB_ALIAS]
    for name, field in _ADAPTED.items():
        values[name] = field.get_db_prep_save(values[name], database)
    with database.cursor() as cursor:
        cursor.execute(_insertion(), [values[field.attname] for field in _COLUMNS])


def blank(pk: int) -> bool:
    """An entry without its payload; False where that was gone already."""
    with connections[DEFAULT_DB_ALIAS].cursor() as cursor:
        cursor.execute(
            f'UPDATE "{_ENTRY}" SET "payload" = NULL, "salt" = NULL WHERE "id" = %s AND "payload" IS NOT NULL',  # noqa: S608
            [pk],
        )
        return bool(cursor.rowcount)


def move(head: Head, *, ts: str, leaf: bytes, edge: bytes) -> None:
    """The head after one more entry."""
    database = connections[DEFAULT_DB_ALIAS]
    with database.cursor() as cursor:
        cursor.execute(
            f'UPDATE "{_HEAD}" SET "size" = %s, "last_ts" = %s, "last_leaf_hash" = %s, "right_edge" = %s WHERE "id" = %s',  # noqa: S608
            [head.size + 1, ts, *(_BYTES.get_db_prep_save(value, database) for value in (leaf, edge)), head.pk],
        )


@cache
def _insertion() -> str:
    columns = ", ".join(f'"{field.column}"' for field in _COLUMNS)
    return f'INSERT INTO "{_ENTRY}" ({columns}) VALUES ({", ".join(["%s"] * len(_COLUMNS))})'  # noqa: S608  constants
