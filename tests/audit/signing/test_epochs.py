"""Logs that were closed and logs that go on for them: what an operator opened is signed, and nothing else; what was lost is
told; and nothing of it is exchanged later."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction

from audit.actors import system
from audit.log import tree
from audit.log.canonical import canonical_bytes
from audit.log.entry import payload_hash
from audit.log.notes import Checkpoint as Said
from audit.log.notes import open_checkpoint
from audit.log.verify import Found, Receipt
from audit.log.verify import verify as verify_bundle
from audit.models import AuditEntry, AuditHead, Checkpoint, Refusal
from audit.redaction import redact
from audit.services import payload_of, record
from audit.signing.epochs import NotRefused, open_epoch
from audit.signing.keys import known_keys
from audit.signing.state import State
from audit.verification import verify, verify_org
from tests.audit.build import ORG, OTHER, TABLE, database_id, some, sql, without_triggers
from tests.audit.signing.build import LOG, cut, rules, signed
from tests.databases import ON_POSTGRES

pytestmark = pytest.mark.django_db
BY = system("test")
SECOND = f"{LOG}/e2"


def exported(folder: Path, **more: Any) -> Found:
    path = folder / f"bundle {len(list(folder.iterdir()))}"
    call_command("audit_export", path, org=ORG)
    return verify_bundle(path, known_keys(), **more)


def newest(log: str = LOG) -> Said:
    return open_checkpoint(Checkpoint.objects.filter(log=log)[0].note, known_keys())


def reopened(kept: int = 3) -> Said:
    """Of five signed entries so many come back, and an operator opens a new log; what was signed."""
    some(5)
    signed()
    was = newest()
    cut(ORG, kept)
    open_epoch(ORG, reason="restored", by=BY)
    return was


def planted(log: str, epoch: int) -> None:
    """A head, and under it an entry that says what an operator's would."""
    sql("UPDATE audit_audithead SET is_current = %s WHERE log = %s", False, LOG)
    AuditHead.objects.create(org_id=ORG, log=log, epoch=epoch)
    with transaction.atomic():
        root = verify(LOG).root
        previous = {"log": LOG, "size": 5, "root": root, "signed_size": 5, "signed_root": root, "kept": 5, "lost": []}
        payload = {"reason": "a test of the disk", "previous": previous}
        record(ORG, by=BY, action="audit.epoch_opened", target=("log", log), payload=payload)


@pytest.mark.every_case
@pytest.mark.parametrize(
    ("log", "epoch", "rule"),
    [
        (SECOND, 2, "not_linked"), (SECOND, 1, "wrong_name"), (f"{LOG}\u200b", 1, "wrong_name"),
        (f"{LOG}/e02", 2, "wrong_name"), (f"{LOG}/e3", 2, "wrong_name"), (LOG.replace("routing", "evil"), 1, "wrong_name"),
        (f"routing.example/audit/{OTHER}", 1, "wrong_name"), ("routing.example/audit/installation/e2", 2, "wrong_name"),
    ],
)  # fmt: skip
def test_a_log_that_somebody_adds_is_not_signed(log: str, epoch: int, rule: str) -> None:
    """With no more than the application itself may do; and not when its number is changed afterwards either."""
    some(5)
    signed()
    planted(log, epoch)
    for number in (epoch, 2, 1):
        sql("UPDATE audit_audithead SET epoch = %s WHERE log = %s", number, log)
        assert rules()[log] in (rule, "not_linked", "wrong_name")
        assert not Checkpoint.objects.filter(log=log).exists()
    assert rules()[LOG] == "closed"


def test_the_first_entry_of_a_new_log_is_the_one_that_the_operator_wrote() -> None:
    reopened()
    row = AuditEntry.objects.get(log=SECOND, seq=0)
    told = payload_of(row) or {}
    told["previous"] |= {"signed_size": 3, "signed_root": told["previous"]["root"], "kept": 3}
    kept, salt = canonical_bytes(told), bytes(row.salt or b"")
    data = canonical_bytes({**json.loads(bytes(row.entry)), "payload_sha256": payload_hash(salt, kept)})
    with without_triggers():
        sql(f"UPDATE {TABLE} SET payload = %s, entry = %s WHERE id = %s", kept, data, row.pk)
        sql(f"UPDATE {TABLE} SET leaf_hash = %s WHERE id = %s", tree.leaf_hash(data), row.pk)
    sql("DELETE FROM audit_audithead WHERE log = %s", SECOND)
    AuditHead.objects.create(org_id=ORG, log=SECOND, epoch=2)
    refit_one(SECOND)
    assert rules() == {SECOND: "not_linked"}


def refit_one(log: str) -> None:
    rows = AuditEntry.objects.filter(log=log).order_by("seq")
    leaves = [bytes(row.leaf_hash) for row in rows]
    AuditHead.objects.filter(log=log).update(
        size=len(leaves),
        last_leaf_hash=leaves[-1],
        last_ts=json.loads(bytes(rows[len(leaves) - 1].entry))["ts"],
        right_edge=tree.pack(tree.extend(0, [], leaves)),
    )


def test_what_was_allowed_to_an_operator_who_failed_is_allowed_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    some(5)
    signed()
    cut(ORG, 3)
    real = State.open

    def fails(self: State, *args: Any, **more: Any) -> None:
        real(self, *args, **more)
        raise RuntimeError

    monkeypatch.setattr(State, "open", fails)
    with pytest.raises(RuntimeError), transaction.atomic():
        open_epoch(ORG, reason="restored", by=BY)
    monkeypatch.undo()
    assert not AuditHead.objects.filter(log=SECOND).exists()
    assert AuditHead.objects.get(org_id=ORG).is_current
    planted(SECOND, 2)
    assert rules()[SECOND] == "not_linked"


def delete_it() -> None:
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE log = %s", LOG)
    sql("DELETE FROM audit_audithead WHERE log = %s", LOG)
    sql("DELETE FROM audit_checkpoint WHERE log = %s", LOG)


def rewrite_it() -> None:
    rows = AuditEntry.objects.filter(log=LOG).order_by("seq")
    data = canonical_bytes({**json.loads(bytes(rows[2].entry)), "action": "test.forged"})
    with without_triggers():
        sql(
            f"UPDATE {TABLE} SET entry = %s, leaf_hash = %s, action = 'test.forged' WHERE id = %s",
            data, tree.leaf_hash(data), rows[2].pk,
        )  # fmt: skip
    refit_one(LOG)
    sql("DELETE FROM audit_checkpoint WHERE log = %s", LOG)


@pytest.mark.every_case
@pytest.mark.parametrize(("change", "rule"), [(delete_it, "no_head"), (rewrite_it, "wrong_head")])
def test_a_closed_log_is_watched_by_everybody(change: Callable[[], None], rule: str, tmp_path: Path) -> None:
    reopened()
    signed()
    assert exported(tmp_path).verdict == "verified"
    change()
    assert rules() == {LOG: rule}
    assert verify_org(ORG).rule == "not_linked"
    assert exported(tmp_path).rule == "not_linked"


def test_entries_that_were_written_before_the_operator_came_are_no_forgery(tmp_path: Path) -> None:
    some(3)
    signed()
    some(2)
    signed()
    was, lost = newest(), AuditEntry.objects.get(org_id=ORG, seq=4)
    receipt = Receipt(LOG, 4, bytes(lost.leaf_hash).hex())
    cut(ORG, 3)
    some(4)
    open_epoch(ORG, reason="the disk failed", by=BY)
    signed()
    found = exported(tmp_path)
    assert (found.verdict, found.logs[0].entries, found.logs[0].lost) == ("verified", 7, 2)
    for more in ({"since": was}, {"receipt": receipt}):
        found = exported(tmp_path, **more)
        assert (found.verdict, "the disk failed" in found.message) == ("cannot_verify", True), more
    assert verify_org(ORG).ok


def test_a_log_that_the_backup_does_not_know_is_lost_and_another_one_is_opened(tmp_path: Path) -> None:
    some(5)
    signed()
    delete_it()
    assert rules() == {LOG: "no_head"}
    open_epoch(ORG, reason="a backup from before", by=BY)
    assert rules() == {}
    assert not Refusal.objects.exists()
    some(1)
    signed()
    found = exported(tmp_path)
    assert [(one.log, one.entries, one.lost) for one in found.logs] == [(LOG, 0, 5), (SECOND, 2, 0)]
    assert (found.verdict, verify_org(ORG).ok) == ("verified", True)
    with pytest.raises(NotRefused, match="no such log"):
        open_epoch(OTHER, reason="none", by=BY)


def test_after_a_restore_to_before_a_new_log_was_opened_the_lost_one_does_not_come_back(tmp_path: Path) -> None:
    reopened()
    some(2)
    signed()
    kept = {table: rows_of(table) for table in (TABLE, "audit_audithead")}
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE log = %s", SECOND)
    sql("DELETE FROM audit_audithead WHERE log = %s", SECOND)
    sql("UPDATE audit_audithead SET is_current = %s WHERE log = %s", True, LOG)
    assert rules() == {LOG: "wrong_head", SECOND: "no_head"}
    assert open_epoch(ORG, reason="restored once more", by=BY).log == f"{LOG}/e3"
    assert rules() == {}
    assert (payload_of(AuditEntry.objects.get(log=f"{LOG}/e3")) or {})["previous"]["lost"][0]["log"] == SECOND
    signed()
    # None of the first log can be shown to be what was signed, at five entries alone; the second is gone.
    assert [(one.log, one.lost) for one in exported(tmp_path).logs] == [(LOG, 5), (SECOND, 3), (f"{LOG}/e3", 0)]
    assert (exported(tmp_path).verdict, verify_org(ORG).ok) == ("verified", True)
    assert (verify(LOG).lost.entries, verify(LOG).lost.logs) == (5, {SECOND: 3})
    assert f"{SECOND}: LOST, with 3 entries that were signed: restored once more" in str(verify(LOG))
    head = next(row for row in kept["audit_audithead"] if row["log"] == SECOND)
    AuditHead.objects.create(**{**head, "is_current": False})
    assert rules() == {SECOND: "lost"}
    AuditHead.objects.get(log=SECOND).delete()
    # And once more, to before all of them.
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE log = %s", f"{LOG}/e3")
    sql("DELETE FROM audit_audithead WHERE log = %s", f"{LOG}/e3")
    sql("UPDATE audit_audithead SET is_current = %s WHERE log = %s", True, LOG)
    assert open_epoch(ORG, reason="a third time", by=BY).log == f"{LOG}/e4"
    assert rules() == {}
    some(2)
    open_epoch(ORG, reason="and a sound one", by=BY, force=True)
    with transaction.atomic():
        redact(ORG, 1, reason="a name", by=BY, log=f"{LOG}/e4")
    signed()
    found = exported(tmp_path)
    assert [(one.log, one.redacted, one.is_lost) for one in found.logs] == [
        (LOG, 0, False), (SECOND, 0, True), (f"{LOG}/e3", 0, True), (f"{LOG}/e4", 1, False), (f"{LOG}/e5", 0, False),
    ]  # fmt: skip
    assert (found.verdict, verify_org(ORG).ok, rules()) == ("verified", True, {})


def rows_of(table: str) -> list[dict[str, Any]]:
    model = AuditEntry if table == TABLE else AuditHead
    return [dict(row) for row in model.objects.filter(org_id=ORG).values()]


def test_a_signer_that_lost_its_memory_goes_on_where_its_checkpoints_are(folder: Path) -> None:
    reopened()
    some(2)
    signed()
    with transaction.atomic():
        redact(ORG, 1, reason="a name", by=BY, log=LOG)
    signed()
    (folder / "state.sqlite3").unlink()
    some(1)
    assert (rules(), newest(SECOND).size) == ({}, 5)
    (folder / "state.sqlite3").unlink()
    sql("DELETE FROM audit_checkpoint WHERE log = %s", SECOND)
    assert rules() == {LOG: "closed", SECOND: "not_linked"}
    open_epoch(ORG, reason="the folder of the signer is lost", by=BY)
    assert rules() == {}
    assert verify_org(ORG).ok


def test_an_operator_may_close_a_log_that_is_sound(folder: Path) -> None:
    some(2)
    signed()
    with pytest.raises(CommandError, match="goes on as it is"):
        call_command("audit_epoch", org=ORG, reason="the clock was ten years ahead")
    call_command("audit_epoch", org=ORG, reason="the clock was ten years ahead", force=True)
    assert (rules(), AuditHead.objects.get(org_id=ORG, is_current=True).log) == ({}, SECOND)


def test_a_log_that_is_closed_in_the_database_alone_is_refused() -> None:
    some(2)
    signed()
    sql("UPDATE audit_audithead SET is_current = %s WHERE org_id = %s", False, database_id(ORG))
    assert rules() == {LOG: "closed"}
    open_epoch(ORG, reason="somebody closed it", by=BY)
    assert (rules(), verify_org(ORG).ok) == ({}, True)


@pytest.mark.skipif(ON_POSTGRES, reason="PostgreSQL keeps the types of its columns")
@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        *((f"entry = {garbage}", "tampered") for garbage in ("'x'", "100000000000000", "x'00'")),
        ("payload = 100000000000000", "tampered"),
        *((f"salt = {garbage}", "cannot_verify") for garbage in ("'x'", "100000000000000")),
        # Columns for searching alone: nobody is given them.
        *((f"{column} = 'x'", "verified") for column in ("leaf_hash", "ts", "org_id", "epoch")),
    ],
)
def test_from_a_log_with_garbage_in_it_an_operator_gets_away(change: str, verdict: str, tmp_path: Path) -> None:
    some(5)
    signed()
    with without_triggers():
        sql(f"UPDATE {TABLE} SET {change} WHERE seq = 3")
    open_epoch(ORG, reason="somebody wrote to the table", by=BY, force=True)
    some(1)
    assert rules() == {}
    assert exported(tmp_path).verdict == verdict
