"""The signer at work, and the hands of somebody who owns the database and has the time to make everything fit."""

import json
from typing import Any
from uuid import UUID

from django.db import connection

from audit.log import tree
from audit.log.canonical import canonical_bytes
from audit.models import AuditEntry, AuditHead, Checkpoint
from audit.signing.signer import Round, Signer
from tests.audit.build import ORG, TABLE, database_id, sql, without_triggers

LOG = f"routing.example/audit/{ORG}"


def signed() -> Round:
    with Signer() as signer:
        return signer.round()


def rules() -> dict[str, str]:
    """By log why it is refused."""
    return {log: error.rule for log, error in signed().refused.items()}


def cut(org_id: UUID, size: int) -> None:
    """The log ends after so many entries, and its head says so."""
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE org_id = %s AND seq >= %s", database_id(org_id), size)
    refit(org_id)


def rewrite(org_id: UUID, seq: int, **changes: Any) -> None:
    """One entry says something else, and every link, hash and the head after it are made to fit."""
    with without_triggers():
        prev = None
        for row in AuditEntry.objects.filter(org_id=org_id).order_by("seq"):
            raw = {**json.loads(bytes(row.entry)), "prev": prev, **(changes if row.seq == seq else {})}
            data = canonical_bytes(raw)
            prev = tree.leaf_hash(data).hex()
            sql(
                f"UPDATE {TABLE} SET entry = %s, leaf_hash = %s, action = %s WHERE id = %s",
                data, bytes.fromhex(prev), raw["action"], row.pk,
            )  # fmt: skip
    refit(org_id)


def refit(org_id: UUID) -> None:
    """The head is made to fit the entries that there are."""
    edge: list[bytes] = []
    ts, last, size = "", None, 0
    for data, leaf in AuditEntry.objects.filter(org_id=org_id).order_by("seq").values_list("entry", "leaf_hash"):
        edge, last, ts = tree.append(size, edge, bytes(leaf)), bytes(leaf), json.loads(bytes(data))["ts"]
        size += 1
    AuditHead.objects.filter(org_id=org_id).update(
        size=size, last_leaf_hash=last, last_ts=ts, right_edge=tree.pack(edge)
    )


type Backup = dict[str, tuple[list[str], list[Any]]]


def backup() -> Backup:
    """All that the database has of the log, of every organisation, for `restore`."""
    kept: Backup = {}
    for model in (AuditHead, AuditEntry, Checkpoint):
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT * FROM "{model._meta.db_table}"')
            kept[model._meta.db_table] = ([column[0] for column in cursor.description], cursor.fetchall())
    return kept


def restore(kept: Backup) -> None:
    with without_triggers():
        for table, (columns, rows) in kept.items():
            sql(f'DELETE FROM "{table}"')
            for row in rows:
                marks = ", ".join(["%s"] * len(row))
                sql(f'INSERT INTO "{table}" ({", ".join(columns)}) VALUES ({marks})', *row)
