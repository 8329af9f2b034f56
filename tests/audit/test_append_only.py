"""What the database refuses, and how its triggers come back; on both databases."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.db.models import signals

from audit.actors import system
from audit.database import drop_triggers, make_triggers, missing_triggers
from audit.models import AppendOnly, AuditEntry
from audit.services import record
from audit.verification import verify_org
from tests.audit.build import ORG, TABLE, some, sql
from tests.databases import ON_POSTGRES

pytestmark = pytest.mark.django_db
BY = system("test")
KEPT = "id, log, org_id, seq, ts, actor_type, actor_id, target_type, target_id, entry, leaf_hash"
UPSERT = f"INSERT INTO {TABLE} ({KEPT}, action) SELECT {KEPT}, 'forged' FROM {TABLE}"


#: By itself, and with what is allowed.
CHANGES = [
    "payload = NULL",
    "salt = NULL",
    "payload = salt",
    *(
        f"payload = NULL, salt = NULL, {column} = {column} + 1"
        for column in ("seq", "epoch", "id", "version_after", "version_before")
    ),
    *(f"payload = NULL, salt = NULL, {column} = 'x'" for column in ("log", "actor_type", "actor_id", "on_behalf_of")),
    *(
        f"payload = NULL, salt = NULL, {column} = 'x'"
        for column in ("action", "target_type", "target_id", "request_id")
    ),
    *(f"payload = NULL, salt = NULL, {column} = salt" for column in ("entry", "leaf_hash")),
    "payload = NULL, salt = NULL, ts = '2026-01-01 00:00:00Z'",
    "payload = NULL, salt = NULL, org_id = NULL",
]


def of_sqlite(statement: str) -> Any:
    return pytest.param(statement, marks=pytest.mark.skipif(ON_POSTGRES, reason="REPLACE is SQLite's"))


@pytest.mark.every_case
@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {TABLE} SET action = 'forged'",
        *(f"UPDATE {TABLE} SET {change}" for change in CHANGES),
        f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE action = 'audit.redacted'",
        f"DELETE FROM {TABLE}",
        f"{UPSERT} WHERE true ON CONFLICT (id) DO UPDATE SET action = 'forged'",
        f"{UPSERT} WHERE true ON CONFLICT (log, seq) DO UPDATE SET action = 'forged'",
        of_sqlite(UPSERT.replace("INSERT INTO", "INSERT OR REPLACE INTO")),
        of_sqlite(UPSERT.replace("INSERT INTO", "REPLACE INTO")),
        # Under a new id, over the same place in the log.
        of_sqlite(UPSERT.replace("INSERT INTO", "REPLACE INTO").replace("id, log", "log")),
    ],
)
def test_the_database_refuses_to_change_or_remove_entries(statement: str) -> None:
    some(3)
    with transaction.atomic():
        record(ORG, by=BY, action="test.versioned", target=("entry", "9"), version_before=1, version_after=2)
        if "audit." in statement:
            record(ORG, by=BY, action="audit.redacted", target=("entry", "9"))
    before = list(AuditEntry.objects.order_by("seq").values_list("pk", "action", "target_id"))
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        sql(statement)
    assert list(AuditEntry.objects.order_by("seq").values_list("pk", "action", "target_id")) == before
    assert verify_org(ORG).ok


def test_a_payload_may_be_blanked_with_its_salt_and_nothing_brings_it_back() -> None:
    some(2)
    sql(f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE seq = 1")
    assert list(AuditEntry.objects.order_by("seq").values_list("payload", flat=True))[1] is None
    assert refused(f"UPDATE {TABLE} SET payload = entry, salt = leaf_hash WHERE seq = 1")
    found = verify_org(ORG)
    assert (found.rule, found.bad_seq) == ("missing_payload", 1)


def test_every_column_is_compared() -> None:
    compared = {column for change in CHANGES for column in re.findall(r"(\w+) =", change)}
    assert compared == {field.column for field in AuditEntry._meta.concrete_fields}


def test_triggers_that_are_not_there_are_named() -> None:
    assert missing_triggers(connection) == []
    drop_triggers(connection)
    names = {"sqlite": ["audit_no_update", "audit_no_delete", "audit_no_replace"], "postgresql": ["audit_append_only"]}
    assert missing_triggers(connection) == names[connection.vendor]
    make_triggers(connection)
    if connection.vendor == "postgresql":
        sql(f"ALTER TABLE {TABLE} DISABLE TRIGGER audit_append_only")
    else:
        sql("DROP TRIGGER audit_no_replace")
    assert missing_triggers(connection) == names[connection.vendor][-1:]


@pytest.mark.parametrize(
    "attempt",
    [
        lambda row: row.save(),
        lambda row: row.delete(),
        lambda row: AuditEntry.objects.update(action="forged"),
        lambda row: AuditEntry.objects.all().delete(),
        lambda row: AuditEntry.objects.bulk_update([row], ["action"]),
        lambda row: AuditEntry.objects.bulk_create([row]),
        lambda row: AuditEntry.objects.update_or_create(pk=row.pk, defaults={"action": "forged"}),
    ],
)
def test_the_orm_refuses_too(attempt: Callable[[AuditEntry], Any]) -> None:
    some(1)
    row = AuditEntry.objects.get()
    row.action = "forged"
    with pytest.raises(AppendOnly):
        attempt(row)
    assert AuditEntry.objects.get().action == "test.happened"


def refused(statement: str) -> bool:
    try:
        with transaction.atomic():
            sql(statement)
            transaction.set_rollback(True)
    except DatabaseError:
        return True
    return False


UPDATE = f"UPDATE {TABLE} SET action = 'forged'"


@pytest.mark.django_db(transaction=True)
def test_migrate_makes_missing_triggers_again() -> None:
    some(1)
    drop_triggers(connection)
    assert not refused(UPDATE), "else this test could not fail"
    call_command("migrate", verbosity=0)
    assert refused(UPDATE)
    assert refused(f"DELETE FROM {TABLE}")


@pytest.mark.django_db(transaction=True)
def test_migrate_makes_them_again_after_a_table_was_rebuilt() -> None:
    some(2)
    field = AuditEntry._meta.get_field("action")
    wider = field.clone()
    wider.max_length = 60
    wider.set_attributes_from_name("action")
    wider.model = AuditEntry
    with connection.schema_editor() as editor:
        editor.alter_field(AuditEntry, field, wider)
        editor.alter_field(AuditEntry, wider, field)
    if connection.vendor == "sqlite":
        assert not refused(UPDATE), "SQLite drops the triggers with the old table"
    call_command("migrate", verbosity=0)
    assert refused(UPDATE)
    assert verify_org(ORG).ok
    some(1)
    assert verify_org(ORG).size == 3


@pytest.mark.django_db(transaction=True)
def test_migrations_go_back_and_forth_with_the_entries_that_there_are() -> None:
    some(2)
    call_command("migrate", "audit", "0001", verbosity=0)
    call_command("migrate", "audit", verbosity=0)
    assert missing_triggers(connection) == []
    assert verify_org(ORG).size == 2
    some(1)
    assert verify_org(ORG).ok


@pytest.mark.django_db(transaction=True)
def test_a_release_without_a_migration_of_the_log_leaves_the_triggers_alone() -> None:
    def named(sender: Any, **_: Any) -> None:
        if sender.name == "audit":
            found.append(missing_triggers(connection))

    found: list[list[str]] = []
    signals.pre_migrate.connect(named)
    try:
        call_command("migrate", "audit", verbosity=0)
    finally:
        signals.pre_migrate.disconnect(named)
    assert found == [[]]


def test_making_and_dropping_triggers_twice_does_no_harm() -> None:
    some(1)
    make_triggers(connection)
    make_triggers(connection)
    assert refused(UPDATE)
    drop_triggers(connection)
    drop_triggers(connection)
    assert not refused(UPDATE)
    make_triggers(connection)


@pytest.mark.skipif(not ON_POSTGRES, reason="replication roles are PostgreSQL's")
def test_a_session_that_plays_a_replica_is_refused_too() -> None:
    some(1)
    with connection.cursor() as cursor:
        cursor.execute("SELECT tgenabled FROM pg_trigger WHERE tgname = 'audit_append_only'")
        assert cursor.fetchall() == [("A",)]
    sql("SET LOCAL session_replication_role = replica")
    assert refused(UPDATE)
