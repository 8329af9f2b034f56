"""The triggers that make entries append-only, on both databases.

They are made anew after every migrate and never in a migration: SQLite drops a table's triggers in silence when it
rebuilds the table. Whoever owns the database can drop them; what that person changes afterwards, verifying finds.
"""

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

TABLE = "audit_auditentry"

_SQLITE = {
    "audit_no_update": f"BEFORE UPDATE ON {TABLE} BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END",
    "audit_no_delete": f"BEFORE DELETE ON {TABLE} BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END",
    # INSERT OR REPLACE deletes the old row without firing the delete trigger.
    "audit_no_replace": (
        f"BEFORE INSERT ON {TABLE} WHEN EXISTS"  # noqa: S608  the name is a constant
        f" (SELECT 1 FROM {TABLE} WHERE id = NEW.id OR (log = NEW.log AND seq = NEW.seq))"
        " BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END"
    ),
}
_FUNCTION = """
CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'audit entries are append-only' USING ERRCODE = 'integrity_constraint_violation'; END $$
"""


def drop_triggers(connection: BaseDatabaseWrapper) -> None:
    """Drop the triggers; harmless where they are not there."""
    if TABLE not in connection.introspection.table_names():
        return
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            for name in _SQLITE:
                cursor.execute(f"DROP TRIGGER IF EXISTS {name}")
        else:
            cursor.execute(f"DROP TRIGGER IF EXISTS audit_append_only ON {TABLE}")


def make_triggers(connection: BaseDatabaseWrapper) -> None:
    """Make the triggers anew, unless their table is gone (`migrate audit zero`)."""
    if TABLE not in connection.introspection.table_names():
        return
    # In one transaction: no writer may meet the table without them.
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        drop_triggers(connection)
        if connection.vendor == "sqlite":
            for name, body in _SQLITE.items():
                cursor.execute(f"CREATE TRIGGER {name} {body}")
        else:
            cursor.execute(_FUNCTION)
            cursor.execute(
                f"CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON {TABLE}"
                " FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
            )
            # ALWAYS: also in a session that plays a replica.
            cursor.execute(f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER audit_append_only")
