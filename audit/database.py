"""The triggers that make entries append-only, on both databases: nothing of an entry changes, but its payload may be
blanked, together with its salt.

They are made anew after every migrate and never in a migration: SQLite drops a table's triggers in silence when it
rebuilds the table. Whoever owns the database can drop them; what that person changes afterwards, verifying finds.
"""

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from audit.models import AuditEntry

TABLE = AuditEntry._meta.db_table
_KEPT = [field.column for field in AuditEntry._meta.concrete_fields if field.column not in ("payload", "salt")]
_REFUSE = "BEGIN SELECT RAISE(ABORT, 'audit entries are append-only'); END"

_SQLITE = {
    "audit_no_update": (
        f"BEFORE UPDATE ON {TABLE} WHEN NEW.payload IS NOT NULL OR NEW.salt IS NOT NULL OR OLD.action LIKE 'audit.%'"
        f" OR {' OR '.join(f'NEW.{column} IS NOT OLD.{column}' for column in _KEPT)} {_REFUSE}"
    ),
    "audit_no_delete": f"BEFORE DELETE ON {TABLE} {_REFUSE}",
    # INSERT OR REPLACE deletes the old row without firing the delete trigger.
    "audit_no_replace": (
        f"BEFORE INSERT ON {TABLE} WHEN EXISTS"  # noqa: S608  the name is a constant
        f" (SELECT 1 FROM {TABLE} WHERE id = NEW.id OR (log = NEW.log AND seq = NEW.seq)) {_REFUSE}"
    ),
}
_POSTGRESQL = "audit_append_only"
_FUNCTION = f"""
CREATE OR REPLACE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE blanked {TABLE}%ROWTYPE;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        blanked := OLD;
        blanked.payload := NULL;
        blanked.salt := NULL;
        IF NEW IS NOT DISTINCT FROM blanked AND OLD.action NOT LIKE 'audit.%' THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'audit entries are append-only' USING ERRCODE = 'integrity_constraint_violation';
END $$
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
            cursor.execute(f"DROP TRIGGER IF EXISTS {_POSTGRESQL} ON {TABLE}")


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
                f"CREATE TRIGGER {_POSTGRESQL} BEFORE UPDATE OR DELETE ON {TABLE}"
                " FOR EACH ROW EXECUTE FUNCTION audit_append_only()"
            )
            # ALWAYS: also in a session that plays a replica.
            cursor.execute(f"ALTER TABLE {TABLE} ENABLE ALWAYS TRIGGER {_POSTGRESQL}")


def missing_triggers(connection: BaseDatabaseWrapper) -> list[str]:
    """The names of the triggers that are not there, or not always on."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = %s", [TABLE])
            wanted = list(_SQLITE)
        else:
            cursor.execute("SELECT tgname FROM pg_trigger WHERE tgrelid = to_regclass(%s) AND tgenabled = 'A'", [TABLE])
            wanted = [_POSTGRESQL]
        there = {name for (name,) in cursor.fetchall()}
    return [name for name in wanted if name not in there]
