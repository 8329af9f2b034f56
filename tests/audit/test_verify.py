"""Verifying finds whatever the owner of the database changes, and raises no false alarm; on both databases."""

import gc
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction
from django.utils import timezone

from audit.actors import system
from audit.log import tree
from audit.log.entry import Entry
from audit.models import AuditEntry, AuditEntryQuerySet, AuditHead, Refusal
from audit.services import record
from audit.verification import logs, verify, verify_org
from tests.audit.build import ORG, OTHER, TABLE, database_id, some, sql, without_triggers
from tests.databases import ON_POSTGRES

pytestmark = pytest.mark.django_db

# A value of each column that no entry of these tests has.
COLUMNS = {
    "ts": "2020-01-01 00:00:00+00:00",
    "actor_type": "user",
    "actor_id": "9",
    "on_behalf_of": "9",
    "action": "forged",
    "target_type": "x",
    "target_id": "x",
    "request_id": "x",
    "version_before": 7,
    "version_after": 7,
}


@pytest.mark.every_case
@pytest.mark.parametrize("column", COLUMNS)
def test_a_changed_column_is_found_at_its_entry(column: str) -> None:
    some(6)
    with without_triggers():
        sql(f"UPDATE {TABLE} SET {column} = %s WHERE seq = 3", COLUMNS[column])
    found = verify_org(ORG)
    assert (found.ok, found.bad_seq, found.rule) == (False, 3, "wrong_column")
    assert column in found.message


@pytest.mark.parametrize(
    ("statement", "bad_seq", "rule"),
    [
        (f"DELETE FROM {TABLE} WHERE seq = 2", 3, "wrong_seq"),
        (f"DELETE FROM {TABLE} WHERE seq = 5", 5, "wrong_size"),
        (f"DELETE FROM {TABLE}", 0, "wrong_size"),
        (f"UPDATE {TABLE} SET payload = salt WHERE seq = 4", 4, "wrong_payload"),
        (f"UPDATE {TABLE} SET salt = payload WHERE seq = 4", 4, "wrong_payload"),
        (f"UPDATE {TABLE} SET salt = leaf_hash WHERE seq = 4", 4, "wrong_payload"),
        (f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE seq = 4", 4, "missing_payload"),
        (f"UPDATE {TABLE} SET leaf_hash = payload WHERE seq = 4", 4, "wrong_leaf_hash"),
        (f"UPDATE {TABLE} SET seq = 9 WHERE seq = 4", 5, "wrong_seq"),
        (f"UPDATE {TABLE} SET seq = 9 WHERE seq = 5", 9, "wrong_column"),
        (f"UPDATE {TABLE} SET org_id = NULL WHERE seq = 4", 4, "wrong_org"),
        (f"UPDATE {TABLE} SET log = 'elsewhere' WHERE seq = 4", 5, "wrong_seq"),
        ("UPDATE audit_audithead SET last_leaf_hash = right_edge", 5, "wrong_head"),
        ("UPDATE audit_audithead SET right_edge = last_leaf_hash", 5, "wrong_head"),
        ("UPDATE audit_audithead SET size = 7", 6, "wrong_size"),
        ("UPDATE audit_audithead SET size = 5", 5, "wrong_size"),
        ("UPDATE audit_audithead SET last_ts = ''", 5, "wrong_head"),
        ("DELETE FROM audit_audithead", 0, "no_head"),
    ],
)
def test_what_is_missing_or_moved_is_found(statement: str, bad_seq: int, rule: str) -> None:
    some(6)
    with without_triggers():
        sql(statement)
    found = verify_org(ORG)
    assert (found.ok, found.bad_seq, found.rule) == (False, bad_seq, rule)


def test_entries_that_changed_places_are_found() -> None:
    some(6)
    with without_triggers():
        sql(f"UPDATE {TABLE} SET seq = 100 WHERE seq = 2")
        sql(f"UPDATE {TABLE} SET seq = 2 WHERE seq = 3")
        sql(f"UPDATE {TABLE} SET seq = 3 WHERE seq = 100")
    found = verify_org(ORG)
    assert (found.bad_seq, found.rule) == (2, "wrong_seq")


def test_an_entry_of_another_organisation_is_found() -> None:
    some(2)
    some(3, OTHER)
    with without_triggers():
        log = AuditHead.objects.get(org_id=ORG).log
        sql(f"UPDATE {TABLE} SET log = %s WHERE seq = 2", log)
    found = verify(log)
    assert (found.bad_seq, found.rule) == (2, "wrong_log")


@pytest.mark.parametrize("position", range(0, 400, 37))
def test_one_byte_of_an_entry_changed_is_found(position: int) -> None:
    some(5)
    row = AuditEntry.objects.get(seq=2)
    data = bytearray(bytes(row.entry))
    data[position % len(data)] ^= 1
    with without_triggers():
        sql(f"UPDATE {TABLE} SET entry = %s WHERE seq = 2", bytes(data))
    found = verify_org(ORG)
    assert not found.ok
    assert found.bad_seq == 2


def test_the_command_verifies_all_logs_and_fails_on_the_bad_one() -> None:
    some(3)
    some(2, OTHER)
    out = StringIO()
    call_command("verify_audit", stdout=out)
    assert out.getvalue().count("verified") == 2
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE seq = 1 AND log LIKE %s", f"%{ORG}")
    out = StringIO()
    with pytest.raises(CommandError, match=f"{ORG}: TAMPERED at entry 2") as caught:
        call_command("verify_audit", "--json", stdout=out)
    assert caught.value.returncode == 1
    assert {one["log"]: one["ok"] for one in json.loads(out.getvalue())} == {
        f"routing.example/audit/{ORG}": False,
        f"routing.example/audit/{OTHER}": True,
    }
    call_command("verify_audit", "--org", str(OTHER), stdout=StringIO())
    for wrong in (["--org", "nonsense"], ["--org", str(uuid.uuid4())], ["--log", "unknown"]):
        with pytest.raises(CommandError) as caught:
            call_command("verify_audit", *wrong)
        assert caught.value.returncode == 3


# A value of each field that makes other bytes which are still an entry.
FIELDS: dict[str, Any] = {
    "log": "routing.example/audit/installation",
    "seq": 4,
    "ts": "2999-01-01T00:00:00.000000Z",
    "actor_type": "user",
    "actor_id": "9",
    "on_behalf_of": "9",
    "action": "forged",
    "target_type": "x",
    "target_id": "x",
    "request_id": "x",
    "version_before": 7,
    "version_after": 7,
    "payload_sha256": "00" * 32,
    "prev": "00" * 32,
}
RULES = {"log": "wrong_log", "seq": "wrong_seq", "prev": "wrong_prev", "payload_sha256": "wrong_payload"}


def forge(at: int, changes: dict[str, Any]) -> None:
    """Rewrite an entry's bytes, and its hash and its columns to fit them."""
    row = AuditEntry.objects.get(seq=at)
    data = replace(Entry.from_bytes(bytes(row.entry)), **changes).to_bytes()
    columns = {name: value for name, value in changes.items() if name in COLUMNS}
    columns |= {"entry": data, "leaf_hash": tree.leaf_hash(data)}
    with without_triggers():
        sets = ", ".join(f"{name} = %s" for name in columns)
        sql(f"UPDATE {TABLE} SET {sets} WHERE seq = %s", *columns.values(), at)


@pytest.mark.parametrize("field", FIELDS)
def test_a_forged_field_is_found_although_hash_and_column_fit_it(field: str) -> None:
    some(6)
    forge(3, {field: FIELDS[field]})
    found = verify_org(ORG)
    # What an entry cannot say of itself shows at once; everything else breaks the link of the next one to it.
    assert (found.ok, found.bad_seq, found.rule) == (
        False,
        *((3, RULES[field]) if field in RULES else (4, "wrong_prev")),
    )


def test_a_forged_last_entry_is_found_by_the_head() -> None:
    some(6)
    forge(5, {"action": "forged"})
    found = verify_org(ORG)
    assert (found.ok, found.bad_seq, found.rule) == (False, 5, "wrong_head")


def test_an_entry_inserted_after_the_last_is_found() -> None:
    some(3)
    last = AuditEntry.objects.get(seq=2)
    data = replace(Entry.from_bytes(bytes(last.entry)), seq=3, prev=bytes(last.leaf_hash).hex()).to_bytes()
    last.pk, last._state.adding = None, True
    last.seq, last.entry, last.leaf_hash = 3, data, tree.leaf_hash(data)
    last.save()  # an INSERT: no trigger can know that it is forged
    found = verify_org(ORG)
    assert (found.ok, found.bad_seq, found.rule) == (False, 3, "wrong_size")


def test_an_entry_that_stands_twice_is_found() -> None:
    some(4)
    row = AuditEntry.objects.get(seq=1)
    row.pk, row._state.adding, row.seq = None, True, 4
    row.save()
    found = verify_org(ORG)
    assert (found.ok, found.bad_seq, found.rule) == (False, 4, "wrong_seq")


def test_two_organisations_that_changed_logs_are_found() -> None:
    some(2)
    some(2, OTHER)
    here, there, nowhere = database_id(ORG), database_id(OTHER), "00000000000000000000000000000000"
    with without_triggers():
        for table in (TABLE, "audit_audithead"):
            for was, becomes in ((here, nowhere), (there, here), (nowhere, there)):
                sql(f"UPDATE {table} SET org_id = %s WHERE org_id = %s", becomes, was)
    for org_id in (ORG, OTHER):
        found = verify_org(org_id)
        assert (found.ok, found.rule) == (False, "wrong_org")


@pytest.fixture
def cleared() -> Iterator[None]:
    """Django's cursor over rows that it cannot read is closed by the garbage collector alone, which must not come when the
    database of another test is gone."""
    yield
    gc.collect()


sqlite_keeps = pytest.mark.skipif(ON_POSTGRES, reason="PostgreSQL keeps the types of its columns")


@sqlite_keeps
@pytest.mark.parametrize("column", ["org_id", "seq", "ts", "version_before", "entry", "leaf_hash", "payload", "salt"])
@pytest.mark.usefixtures("cleared")
def test_garbage_that_sqlite_keeps_is_a_finding_and_no_crash(column: str) -> None:
    some(4)
    with without_triggers():
        sql(f"UPDATE {TABLE} SET {column} = 'garbage' WHERE seq = 2")
    found = verify_org(ORG)
    assert not found.ok
    assert found.rule in {"unreadable", "wrong_column", "wrong_seq"}
    # Text sorts after every number: the gap at 2 shows when 3 comes.
    assert found.bad_seq == (3 if column == "seq" else 2)


@sqlite_keeps
@pytest.mark.parametrize("column", ["org_id", "size", "last_leaf_hash", "right_edge"])
@pytest.mark.usefixtures("cleared")
def test_garbage_in_the_head_is_a_finding_and_no_crash(column: str) -> None:
    some(2)
    log = AuditHead.objects.get().log
    sql(f"UPDATE audit_audithead SET {column} = 'garbage'")
    assert not verify(log).ok


def test_entries_written_while_verifying_are_no_alarm() -> None:
    some(3)
    stored = AuditEntryQuerySet.iterator

    def while_others_write(rows: AuditEntryQuerySet, **options: Any) -> Iterator[AuditEntry]:
        some(2)  # after the head was read, before the entries are
        return stored(rows, **options)

    with patch.object(AuditEntryQuerySet, "iterator", while_others_write):
        found = verify_org(ORG)
    assert found.ok, found.message
    assert found.size == 5
    assert found == verify_org(ORG)


def test_a_head_forged_to_hide_behind_a_writer_is_found() -> None:
    some(3)
    sql("UPDATE audit_audithead SET last_ts = ''")
    stored = AuditEntryQuerySet.iterator

    def while_others_write(rows: AuditEntryQuerySet, **options: Any) -> Iterator[AuditEntry]:
        some(1)
        return stored(rows, **options)

    with patch.object(AuditEntryQuerySet, "iterator", while_others_write):
        found = verify_org(ORG)
    assert (found.ok, found.bad_seq, found.rule) == (False, 2, "wrong_head")


def test_a_log_without_entries_is_verified_and_one_without_head_is_still_listed() -> None:
    assert list(logs()) == []
    empty = verify_org(ORG)
    assert (empty.ok, empty.size, empty.root) == (True, 0, tree.EMPTY_ROOT.hex())
    some(2)
    some(1, None)
    sql("DELETE FROM audit_audithead WHERE org_id IS NULL")
    assert len(list(logs())) == 2
    assert [verify(log).rule for log in logs()] == ["", "no_head"]


@pytest.mark.parametrize("target", [("entry", "1"), ("entry", "1.2"), ("route", "2")])
def test_an_entry_about_another_one_explains_no_blanked_payload(target: tuple[str, str]) -> None:
    some(3)
    with transaction.atomic():
        record(ORG, by=system("test"), action="audit.redacted", target=target)
    sql(f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE seq = 2")
    found = verify_org(ORG)
    assert (found.rule, found.bad_seq) == ("missing_payload", 2)


@pytest.mark.parametrize(
    "command", [("verify_audit",), ("audit_key", "list"), ("audit_export", "/nowhere/x.zip", "--installation"),
                ("audit_epoch", "--installation", "--reason", "x")],
)  # fmt: skip
def test_a_database_that_is_away_is_no_tampering(command: tuple[str, ...], settings: Any, tmp_path: Path) -> None:
    settings.AUDIT_SIGNER_DIR = str(tmp_path)
    away = patch("django.db.backends.utils.CursorWrapper.execute", side_effect=OperationalError("away\nwith details"))
    with away, pytest.raises(CommandError) as caught:
        call_command(*command, stdout=StringIO())
    assert (caught.value.returncode, "\n" in str(caught.value)) == (2, False)


def test_a_log_that_the_signer_refuses_is_not_called_verified() -> None:
    some(2)
    log = AuditHead.objects.get(org_id=ORG).log
    Refusal.objects.create(log=log, since=timezone.now(), rule="cut", message="Of 3 entries 2 are left.")
    with pytest.raises(CommandError, match="the signer refuses it since") as caught:
        call_command("verify_audit", stdout=StringIO())
    assert caught.value.returncode == 1


def test_an_organisation_is_named_by_its_slug_or_its_id(org: Any) -> None:
    for ref in (org.slug, str(org.pk)):
        out = StringIO()
        call_command("verify_audit", org=ref, stdout=out)
        assert out.getvalue().startswith(f"{org.slug}: ")
    with pytest.raises(CommandError, match="no organisation nobody") as caught:
        call_command("verify_audit", org="nobody")
    assert caught.value.returncode == 3
