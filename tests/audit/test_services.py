"""Recording, verifying, and what the database refuses; on both databases."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, connections, transaction

from audit import request_id
from audit.actors import Actor, as_actor, system
from audit.database import drop_triggers, make_triggers
from audit.log import tree
from audit.log.entry import Entry
from audit.models import AppendOnly, AuditEntry, AuditHead
from audit.services import EntryRefused, NoTransaction, payload_of, record, verify, verify_org

pytestmark = pytest.mark.django_db
ORG = uuid.UUID("01900000-0000-7000-8000-00000000000a")
OTHER = uuid.UUID("01900000-0000-7000-8000-00000000000b")
TABLE = AuditEntry._meta.db_table


def some(count: int, org_id: uuid.UUID | None = ORG) -> None:
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


# --- Recording --------------------------------------------------------------------------------------------------------


def test_an_entry_holds_exactly_what_was_said() -> None:
    with transaction.atomic(), request_id.bind("req-1"):
        receipt = record(
            ORG,
            by=Actor("api_key", "k1", "7", "ci"),
            action="plan.applied",
            target=("plan", ORG),
            payload={
                "at": datetime(2026, 1, 2, tzinfo=UTC),
                "usd": Decimal("1.50"),
                "id": ORG,
                "list": (1, None),
                "f": 1e-7,
            },
            version_before=4,
            version_after=5,
        )
    row = AuditEntry.objects.get()
    entry = Entry.from_bytes(bytes(row.entry))
    assert (receipt.log, receipt.seq) == (f"routing.example/audit/{ORG}", 0)
    assert receipt.leaf_hash == tree.leaf_hash(bytes(row.entry)).hex()
    assert (entry.actor_type, entry.actor_id, entry.on_behalf_of) == ("api_key", "k1", "7")
    assert (entry.version_before, entry.version_after, entry.request_id, entry.prev) == (4, 5, "req-1", None)
    assert payload_of(row) == {
        "actor_name": "ci",
        "at": "2026-01-02T00:00:00.000000Z",
        "f": "0.0000001",
        "id": str(ORG),
        "list": [1, None],
        "usd": "1.50",
    }
    assert b"ci" not in bytes(row.entry), "names stand in the payload, where they can be blanked"


def test_equal_payloads_have_different_hashes() -> None:
    some(1)
    some(1, OTHER)
    hashes = {Entry.from_bytes(bytes(row.entry)).payload_sha256 for row in AuditEntry.objects.all()}
    assert len(hashes) == 2, "without a salt a blanked payload could be guessed"


def test_every_organisation_has_a_log_of_its_own_and_the_installation_too() -> None:
    some(2)
    some(1, OTHER)
    some(1, None)
    assert dict(AuditHead.objects.values_list("log", "size")) == {
        f"routing.example/audit/{ORG}": 2,
        f"routing.example/audit/{OTHER}": 1,
        "routing.example/audit/installation": 1,
    }


def test_the_origin_is_chosen_once(settings: Any) -> None:
    some(1)
    settings.AUDIT_ORIGIN = "moved.example"
    some(1)
    assert set(AuditEntry.objects.values_list("log", flat=True)) == {f"routing.example/audit/{ORG}"}
    assert verify_org(ORG).ok


@pytest.mark.django_db(transaction=True)
def test_outside_a_transaction_nothing_is_recorded() -> None:
    with pytest.raises(NoTransaction):
        record(ORG, by=system("test"), action="x.y", target=("x", "y"))
    assert not AuditHead.objects.exists()


def test_an_entry_goes_with_its_transaction() -> None:
    some(1)

    def half_done() -> None:
        with transaction.atomic():
            record(ORG, by=system("test"), action="x.y", target=("x", "y"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        half_done()
    assert AuditHead.objects.get().size == AuditEntry.objects.count() == 1


def test_time_never_goes_back_even_if_the_clock_does() -> None:
    some(1)
    earlier = datetime.now(UTC) - timedelta(days=1)
    with patch("audit.services.timezone.now", return_value=earlier):
        some(1)
    first, second = AuditEntry.objects.order_by("seq")
    assert second.ts == first.ts
    assert verify_org(ORG).ok


@pytest.mark.parametrize("wrong", [{"action": "x" * 20_000}, {"payload": {"a": {1, 2}}}, {"payload": {"a": "\ud800"}}])
def test_what_cannot_be_recorded_is_refused_before_anything_is_written(wrong: dict[str, Any]) -> None:
    fields: dict[str, Any] = {"action": "x.y", "target": ("x", "y"), **wrong}
    with pytest.raises(EntryRefused), transaction.atomic():
        record(ORG, by=system("test"), **fields)
    assert not AuditEntry.objects.exists()


def test_a_huge_payload_is_replaced_by_its_digest_and_size() -> None:
    with transaction.atomic():
        record(ORG, by=system("test"), action="x.y", target=("x", "y"), payload={"much": "x" * 300_000})
    payload = payload_of(AuditEntry.objects.get())
    assert payload is not None
    assert set(payload) == {"sha256", "bytes", "keys"}
    assert payload["bytes"] > 300_000
    assert verify_org(ORG).ok


def test_nobody_acts_anonymously_by_accident() -> None:
    from django.contrib.auth.models import AnonymousUser

    for nobody in (None, "edda", AnonymousUser()):
        with pytest.raises(TypeError):
            as_actor(nobody)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("begun", [False, True], ids=["first entry of the log", "later"])
def test_writers_at_once_leave_no_gap(begun: bool) -> None:
    if begun:
        some(1)
    errors: list[BaseException] = []
    barrier = threading.Barrier(6)

    def write() -> None:
        try:
            barrier.wait()
            for _ in range(5):
                some(1)
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = verify_org(ORG)
    assert found.ok, found.message
    assert found.size == 30 + begun


# --- What the database refuses ----------------------------------------------------------------------------------------

KEPT = "id, log, org_id, seq, ts, actor_type, actor_id, target_type, target_id, entry, leaf_hash"
UPSERT = f"INSERT INTO {TABLE} ({KEPT}, action) SELECT {KEPT}, 'forged' FROM {TABLE}"


@pytest.mark.parametrize(
    "statement",
    [
        f"UPDATE {TABLE} SET action = 'forged'",
        f"UPDATE {TABLE} SET payload = NULL, salt = NULL",
        f"DELETE FROM {TABLE}",
        f"{UPSERT} WHERE true ON CONFLICT (id) DO UPDATE SET action = 'forged'",
        f"{UPSERT} WHERE true ON CONFLICT (log, seq) DO UPDATE SET action = 'forged'",
        UPSERT.replace("INSERT INTO", "INSERT OR REPLACE INTO"),
        UPSERT.replace("INSERT INTO", "REPLACE INTO"),
    ],
)
def test_the_database_refuses_to_change_or_remove_entries(statement: str) -> None:
    if "REPLACE" in statement and connection.vendor != "sqlite":
        pytest.skip("REPLACE is SQLite's")
    some(3)
    before = list(AuditEntry.objects.order_by("seq").values_list("pk", "action", "target_id"))
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        sql(statement)
    assert list(AuditEntry.objects.order_by("seq").values_list("pk", "action", "target_id")) == before
    assert verify_org(ORG).ok


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


# --- Verifying --------------------------------------------------------------------------------------------------------

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
        (f"UPDATE {TABLE} SET leaf_hash = payload WHERE seq = 4", 4, "wrong_leaf_hash"),
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
    for wrong in (["--org", "nonsense"], ["--log", "unknown"]):
        with pytest.raises(CommandError) as caught:
            call_command("verify_audit", *wrong)
        assert caught.value.returncode == 3
