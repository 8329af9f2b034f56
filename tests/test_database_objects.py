"""Views and triggers come back after a migration that rebuilds their tables."""

import sqlite3
import uuid

import pytest
from django.apps import apps
from django.core.management.sql import emit_post_migrate_signal, emit_pre_migrate_signal
from django.db import DatabaseError, connection, models, transaction

from audit.models import AuditEntry
from routes.orgs.models import Organization
from routes.versions.models import RouteSetVersion
from tests.build import a_route, an_org

pytestmark = pytest.mark.django_db(transaction=True)


def rebuild(model: type[models.Model], name: str) -> None:
    """What a migration that alters a column does: SQLite makes the table anew, PostgreSQL alters it in place."""
    old = model._meta.get_field(name)
    new = old.clone()
    new.max_length = (old.max_length or 0) + 10
    new.set_attributes_from_name(name)
    new.model = model
    with connection.schema_editor() as editor:
        editor.alter_field(model, old, new)
        editor.alter_field(model, new, old)


def views() -> dict[str, list[tuple[object, ...]]]:
    with connection.cursor() as cursor:
        found = {}
        for name in ("gateway_versions", "gateway_documents"):
            cursor.execute(f"SELECT * FROM {name}")
            found[name] = [
                tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in cursor.fetchall()
            ]
        return found


def refuses_changes() -> bool:
    entry = AuditEntry.objects.first()
    assert entry is not None
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"UPDATE {AuditEntry._meta.db_table} SET action = 'forged'")
    except DatabaseError:
        return True
    return False


def test_views_and_triggers_survive_a_migration_that_rebuilds_their_tables() -> None:
    org = an_org()
    a_route(org)
    before = views()
    assert len(before["gateway_documents"]) == 1
    assert refuses_changes()
    # As `migrate` does: the signals around the operations.
    emit_pre_migrate_signal(verbosity=0, interactive=False, db="default", apps=apps, plan=[])
    with pytest.raises(DatabaseError), transaction.atomic():
        views()
    for model, column in ((Organization, "name"), (RouteSetVersion, "cause"), (AuditEntry, "action")):
        rebuild(model, column)
    emit_post_migrate_signal(verbosity=0, interactive=False, db="default", apps=apps, plan=[])
    assert views() == before
    assert refuses_changes()


def test_the_views_show_one_row_an_organisation_with_version_and_content_together() -> None:
    empty, full = an_org("empty"), an_org("full")
    a_route(full)
    a_route(full, "second")
    rows = {uuid.UUID(str(row[0])): row for row in views()["gateway_documents"]}
    assert rows[empty.pk][1:4] == ("empty", "active", 0)
    assert rows[empty.pk][5:] == (None, None)
    version = RouteSetVersion.objects.get(org=full, version=2)
    assert rows[full.pk][3] == 2
    assert rows[full.pk][5] == version.digest
    assert rows[full.pk][6] == bytes(version.content or b"")


def test_sqlite_writes_ahead_and_takes_its_lock_when_a_transaction_begins() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("settings of SQLite")
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA journal_mode")
        assert cursor.fetchone() == ("wal",)
    assert connection.settings_dict["OPTIONS"]["transaction_mode"] == "IMMEDIATE"
    with transaction.atomic():
        other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None, timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        other.close()
