"""What happens to operators: backups of all ages, lost folders, damaged rows, and what somebody who owns the database leads
them to do. After what the README says is to be done, every log is signed again, and who verifies is told the truth."""

import json
import shutil
import threading
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import transaction
from django.utils import timezone

from audit import statements
from audit.actors import system
from audit.errors import EntryRefused, LogDamaged
from audit.log import tree
from audit.log.canonical import canonical_bytes
from audit.log.entry import Entry, payload_hash
from audit.log.notes import Checkpoint as Said
from audit.log.notes import SigningKey, open_checkpoint
from audit.log.verify import Found
from audit.log.verify import verify as verify_bundle
from audit.models import AuditEntry, AuditHead, Checkpoint, Refusal
from audit.services import host_of_logs, payload_of, record
from audit.signing import looking, signer
from audit.signing.epochs import open_epoch
from audit.signing.keys import MAX_KEYS, BadKeys, add_key, known_keys, own_keys, retire_key, told_keys
from audit.signing.looking import witness_of
from audit.signing.state import BadState, Memory, State, at_work
from audit.signing.tail import unsigned_tail
from audit.verification import verify, verify_org
from tests.audit.build import ORG, OTHER, TABLE, some, sql, without_triggers
from tests.audit.signing.build import LOG, Backup, backup, cut, restore, rewrite, rules, signed
from tests.databases import ON_POSTGRES

pytestmark = pytest.mark.django_db
BY = system("test")
SECOND, THIRD = f"{LOG}/e2", f"{LOG}/e3"
INSTALLATION = "routing.example/audit/installation"


def exported(folder: Path, **more: Any) -> Found:
    path = folder / f"bundle {len(list(folder.iterdir()))}"
    call_command("audit_export", path, org=ORG)
    return verify_bundle(path, [*known_keys(), *told_keys().retired], **more)


def newest(log: str = LOG) -> Said:
    return open_checkpoint(Checkpoint.objects.filter(log=log)[0].note, [*known_keys(), *told_keys().retired])


def opened(**more: Any) -> str:
    receipt = open_epoch(ORG, reason="the disk failed", by=BY, **more)
    assert receipt is not None
    return receipt.log


def forget(folder: Path) -> None:
    (folder / "state.sqlite3").unlink()


# --- The signer's folder is older than the database, or gone ----------------------------------------------------------


@pytest.fixture
def older(folder: Path) -> None:
    """The memory is of three entries, the database and its checkpoints have eight."""
    some(3)
    signed()
    shutil.copy(folder / "state.sqlite3", folder / "kept")
    some(5)
    signed()
    shutil.copy(folder / "kept", folder / "state.sqlite3")


@pytest.mark.usefixtures("older")
def test_a_signer_with_an_older_memory_goes_on(tmp_path: Path) -> None:
    some(1)
    assert rules() == {}
    assert exported(tmp_path).verdict == "verified"


@pytest.mark.usefixtures("older")
def test_what_an_older_memory_does_not_know_its_own_checkpoint_tells(tmp_path: Path) -> None:
    was = newest()
    rewrite(ORG, 6, action="test.forged")
    assert rules() == {LOG: "rewritten"}
    Checkpoint.objects.update(checked_at=timezone.now() - timedelta(hours=1))
    assert rules() == {LOG: "rewritten"}
    assert newest() == was, "and it is not written over"
    assert opened() == SECOND
    some(1)
    assert rules() == {}
    found = exported(tmp_path)
    assert (found.verdict, found.logs[0].lost) == ("verified", 5), found
    assert exported(tmp_path, since=was).verdict == "cannot_verify"


@pytest.mark.usefixtures("older")
def test_nor_is_it_led_to_sign_less_than_it_did(tmp_path: Path) -> None:
    cut(ORG, 5)
    assert rules() == {LOG: "cut"}
    opened()
    assert rules() == {}
    assert [(one.entries, one.lost) for one in exported(tmp_path).logs] == [(5, 5), (1, 0)]


@pytest.mark.parametrize("attack", [lambda: cut(ORG, 4), lambda: rewrite(ORG, 2, action="test.forged")])
def test_without_its_folder_it_goes_by_what_a_key_that_was_retired_signed(
    attack: Callable[[], None], folder: Path, tmp_path: Path
) -> None:
    some(6)
    signed()
    lost, note = own_keys()[0].verify_key, Checkpoint.objects.get(log=LOG).note
    shutil.rmtree(folder)
    retire_key(lost.key_id.hex(), by=BY, reason="the folder is lost")
    attack()
    assert rules() == {LOG: "cut" if AuditHead.objects.get(org_id=ORG).size == 4 else "rewritten"}
    assert Checkpoint.objects.get(log=LOG).note == note
    opened()
    assert rules() == {}
    assert exported(tmp_path).verdict == "verified"


@pytest.mark.parametrize("change", ["", f"UPDATE audit_audithead SET right_edge = {'%s'} WHERE org_id IS NOT NULL"])
def test_where_the_folder_is_lost_and_the_log_is_damaged_too(change: str, folder: Path, tmp_path: Path) -> None:
    some(3)
    signed()
    some(2)
    signed()
    forget(folder)
    if change:
        sql(change, b"x")
    else:
        cut(ORG, 4)
    assert set(rules()) == {LOG}
    opened()
    some(1)
    assert rules() == {}
    found = exported(tmp_path)
    assert (found.verdict, found.logs[0].lost) == ("verified", 0 if change else 2), found


def test_closed_logs_are_watched_again_by_a_signer_that_lost_its_memory(folder: Path) -> None:
    some(3)
    signed()
    opened(force=True)
    opened(force=True)
    signed()
    forget(folder)
    assert rules() == {}
    state = State(folder)
    assert set(state.read("").closed) == {LOG, SECOND}
    state.close()
    sql(f"UPDATE audit_audithead SET right_edge = {'%s'} WHERE log = %s", b"x" * 32, LOG)
    assert rules() == {LOG: "wrong_head"}
    forget(folder)
    with without_triggers():
        sql(f"UPDATE {TABLE} SET entry = entry || %s WHERE log = %s AND seq = 1", b" ", LOG)
    assert rules() == {LOG: "closed"}


def test_what_was_lost_does_not_come_back_to_a_signer_that_lost_its_memory(folder: Path) -> None:
    closed_once()
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE log = %s", SECOND)
    sql("DELETE FROM audit_audithead WHERE log = %s", SECOND)
    sql("UPDATE audit_audithead SET is_current = %s WHERE log = %s", True, LOG)
    assert opened() == THIRD
    assert rules() == {}
    forget(folder)
    assert rules() == {}
    AuditHead.objects.create(org_id=ORG, log=SECOND, epoch=2, is_current=False)
    assert rules() == {SECOND: "lost"}


def test_a_key_that_was_retired_opens_no_new_log(folder: Path) -> None:
    closed_once()
    lost = own_keys()[0].verify_key
    shutil.rmtree(folder)
    retire_key(lost.key_id.hex(), by=BY, reason="the folder is lost")
    assert rules() == {LOG: "closed", SECOND: "not_linked"}
    assert opened() == THIRD
    assert rules() == {}


def test_what_a_retired_key_signed_is_signed_by_the_new_one(folder: Path) -> None:
    some(3)
    signed()
    lost = own_keys()[0].verify_key
    shutil.rmtree(folder)
    retire_key(lost.key_id.hex(), by=BY, reason="the folder is lost")
    assert signed().signed[LOG] == 3
    assert open_checkpoint(Checkpoint.objects.get(log=LOG).note, known_keys()).size == 3


@pytest.mark.usefixtures("older")
def test_what_is_refused_by_its_own_checkpoint_is_so_in_every_round() -> None:
    rewrite(ORG, 6, action="test.forged")
    with signer.Signer() as one:
        assert [one.round().refused[LOG].rule for _ in range(3)] == ["rewritten"] * 3


def test_what_is_signed_is_not_signed_again() -> None:
    with signer.Signer() as one:
        for _ in range(3):
            some(1)
            assert LOG in one.round().signed
        assert one.round().signed == {}


def test_a_memory_that_others_may_read_or_that_is_none_is_not_used(folder: Path) -> None:
    signed()
    (folder / "state.sqlite3").chmod(0o644)
    with pytest.raises(BadState, match="chmod 600"):
        signed()
    (folder / "state.sqlite3").chmod(0o600)
    (folder / "state.sqlite3").write_bytes(b"this is no database of any kind" * 100)
    with pytest.raises(BadState, match="cannot be read"):
        signed()
    for command in (["audit_sign", "--once"], ["audit_epoch", "--installation", "--reason", "x"]):
        with pytest.raises(CommandError, match="cannot be read"):
            call_command(*command)


def test_a_signer_that_remembers_nothing_says_so(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    some(1)
    signed()
    forget(folder)
    signed()
    assert "the signer remembers nothing" in caplog.text


# --- What the operator's command puts right ---------------------------------------------------------------------------


def closed_once() -> None:
    some(3)
    signed()
    opened(force=True)
    some(2)
    signed()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ("size = 7", "wrong_head"), ("right_edge = last_leaf_hash", "wrong_head"), ("epoch = 7", "wrong_name"),
        (f"org_id = '{OTHER if ON_POSTGRES else OTHER.hex}'", "wrong_name"), (f"log = '{LOG}x'", "no_head"),
        ("", "no_head"),
    ],
)  # fmt: skip
def test_the_head_of_a_closed_log_is_made_again_from_its_entries(change: str, rule: str) -> None:
    closed_once()
    if change:
        sql(f"UPDATE audit_audithead SET {change} WHERE log = %s", LOG)
    else:
        sql("DELETE FROM audit_audithead WHERE log = %s", LOG)
    assert rules()[LOG] == rule
    out = StringIO()
    call_command("audit_epoch", org=ORG, reason="somebody wrote to the heads", stdout=out)
    assert "no other was opened" in out.getvalue()
    assert rules() == {}
    assert verify_org(ORG).ok
    assert AuditHead.objects.get(org_id=ORG, is_current=True).log == SECOND


@pytest.mark.parametrize(
    "change", ["epoch = 7", f"org_id = '{OTHER if ON_POSTGRES else OTHER.hex}'", f"log = '{LOG}x'", "size = 1", "gone"]
)
def test_a_damaged_head_of_the_log_that_is_written_to_is_left_behind(change: str, tmp_path: Path) -> None:
    some(3)
    signed()
    if change == "gone":
        sql("DELETE FROM audit_audithead WHERE log = %s", LOG)
    else:
        sql(f"UPDATE audit_audithead SET {change} WHERE log = %s", LOG)
    assert LOG in rules()
    assert opened() == SECOND
    some(1)
    assert rules() == {}
    assert verify_org(ORG).ok
    assert exported(tmp_path).verdict == "verified"


def test_a_closed_log_of_which_entries_are_gone_stays_refused_and_who_asks_is_told() -> None:
    closed_once()
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE log = %s AND seq = 2", LOG)
    sql("UPDATE audit_audithead SET size = 2 WHERE log = %s", LOG)
    assert rules() == {LOG: "wrong_head"}
    with pytest.raises(CommandError, match="goes on as it is"):
        call_command("audit_epoch", org=ORG, reason="restored")
    assert rules() == {LOG: "wrong_head"}


def test_one_entry_about_a_key_that_cannot_be_read_is_left_behind_with_its_log() -> None:
    signed()
    with without_triggers():
        sql(f"UPDATE {TABLE} SET payload = salt WHERE action = 'audit.key_added'")
    add = pytest.raises(BadKeys, match="names no key")
    with add:
        add_key(by=BY, reason="another")
    assert set(rules()) == {INSTALLATION}
    open_epoch(None, reason="a damaged row", by=BY)
    assert rules() == {}
    assert known_keys() == [key.verify_key for key in own_keys()], "told of again in the new log"
    add_key(by=BY, reason="another")


def test_a_long_host_leaves_room_for_the_name_of_a_new_log(settings: Any) -> None:
    settings.AUDIT_ORIGIN = "routing-admin.production.eu-central-1.platform.corporation.example"
    some(2)
    signed()
    receipt = open_epoch(ORG, reason="restored", by=BY, force=True)
    assert receipt is not None
    assert (rules(), AuditEntry.objects.get(log=receipt.log).target_id) == ({}, f"{ORG}/e2")


def test_a_round_and_an_operator_wait_for_each_other(folder: Path) -> None:
    some(1)
    signed()
    order: list[str] = []

    def round_made() -> None:
        order.append("waits")
        with at_work(folder):
            order.append("works")

    with at_work(folder):
        thread = threading.Thread(target=round_made)
        thread.start()
        while not order:
            pass
        thread.join(0.1)
        order.append("done")
    thread.join(10)
    assert order == ["waits", "done", "works"]
    for taken in ("audit.signing.signer.at_work", "audit.signing.epochs.at_work"):
        with patch(taken, side_effect=InterruptedError), pytest.raises(InterruptedError):
            signed() if "signer" in taken else opened()


@pytest.mark.parametrize("reason", ["", "  \n", "x" * 1_001, "\ud800"])
def test_a_reason_is_given_and_is_short(reason: str) -> None:
    signed()
    before = (own_keys(), AuditEntry.objects.count())
    acts = (
        lambda: open_epoch(None, reason=reason, by=BY, force=True),
        lambda: add_key(by=BY, reason=reason),
        lambda: retire_key(own_keys()[0].verify_key.key_id.hex(), by=BY, reason=reason),
    )
    for act in acts:
        with pytest.raises(EntryRefused):
            act()
    with pytest.raises(CommandError):
        call_command("audit_key", "add", "--reason", reason)
    assert (own_keys(), AuditEntry.objects.count()) == before


def test_there_are_never_more_keys_than_a_note_has_room_for() -> None:
    signed()
    for number in range(MAX_KEYS - 1):
        add_key(by=BY, reason=f"key {number}")
    with pytest.raises(BadKeys, match="Retire one first"):
        add_key(by=BY, reason="one too many")
    assert len(known_keys()) == MAX_KEYS
    first = own_keys()[0].verify_key
    retire_key(first.key_id.hex(), by=BY, reason="old")
    assert (payload_of(AuditEntry.objects.get(org_id=None, seq=0)) or {})["reason"] == "There was none."


def ended_twice() -> tuple[Backup, Backup]:
    """Two backups of one log: before another was opened for it, and when it and the other had grown. Then the older one was
    restored, so that what came after it is lost."""
    some(2)
    signed()
    early = backup()
    some(3)
    signed()
    assert opened(force=True) == SECOND
    some(4)
    signed()
    late = backup()
    restore(early)
    assert opened() == THIRD
    some(1)
    assert rules() == {}
    return early, late


def test_a_newer_backup_after_an_older_one_is_taken_as_it_is(folder: Path, tmp_path: Path) -> None:
    _early, late = ended_twice()
    restore(late)
    assert rules() == {LOG: "wrong_head", SECOND: "lost", THIRD: "no_head"}
    assert opened() == f"{LOG}/e4"
    some(1)
    assert rules() == {}
    assert verify_org(ORG).ok
    told = (payload_of(AuditEntry.objects.get(log=f"{LOG}/e4", seq=0)) or {})["previous"]
    assert (told["log"], told["size"], told["kept"]) == (SECOND, 5, 5), "all that was signed of it is there"
    assert [one["log"] for one in told["lost"]] == [THIRD]
    found = exported(tmp_path)
    assert (found.verdict, [(one.log, one.lost, one.is_lost) for one in found.logs]) == (
        "verified", [(LOG, 0, False), (SECOND, 0, False), (THIRD, 2, True), (f"{LOG}/e4", 0, False)],
    )  # fmt: skip
    # What is remembered now of the first is how it ended in the backup that is there.
    sql("UPDATE audit_audithead SET size = 2 WHERE log = %s", LOG)
    assert rules() == {LOG: "wrong_head"}


@pytest.mark.parametrize("is_current", [True, False])
def test_the_head_of_a_log_that_was_lost_is_taken_away_again(is_current: bool) -> None:
    ended_twice()
    AuditHead.objects.create(org_id=ORG, log=SECOND, epoch=7, is_current=False)
    sql("UPDATE audit_audithead SET epoch = 2, is_current = %s WHERE log = %s", False, SECOND)
    if is_current:
        sql("UPDATE audit_audithead SET is_current = %s WHERE log = %s", False, THIRD)
        sql("UPDATE audit_audithead SET is_current = %s WHERE log = %s", True, SECOND)
    assert rules()[SECOND] == "lost"
    if is_current:
        assert opened() == f"{LOG}/e4", "the third was closed, and no operator did that"
    else:
        out = StringIO()
        call_command("audit_epoch", org=ORG, reason="a head came back", stdout=out)
        assert "no other was opened" in out.getvalue()
    some(1)
    assert rules() == {}
    assert verify_org(ORG).ok
    assert not AuditHead.objects.filter(log=SECOND).exists()


# --- What somebody with the database alone does -----------------------------------------------------------------------


def forged_link(log: str, before: str, epoch: int) -> None:
    """A head, and under it an entry that says what an operator's would, of what the log before is now."""
    AuditHead.objects.create(org_id=ORG, log=log, epoch=epoch)
    found = verify(before)
    previous = {
        "log": before, "size": found.size, "root": found.root, "signed_size": found.size, "signed_root": found.root,
        "kept": found.size, "lost": [],
    }  # fmt: skip
    with transaction.atomic():
        payload = {"reason": "a test of the disk", "previous": previous}
        record(ORG, by=BY, action="audit.epoch_opened", target=("log", log), payload=payload)


def test_an_operator_is_not_led_to_vouch_for_a_forged_history(tmp_path: Path) -> None:
    some(5)
    signed()
    was = newest()
    rewrite(ORG, 2, action="test.forged")
    sql("DELETE FROM audit_checkpoint WHERE log = %s", LOG)
    sql("UPDATE audit_audithead SET is_current = %s WHERE log = %s", False, LOG)
    forged_link(SECOND, LOG, 2)
    assert rules() == {LOG: "closed", SECOND: "not_linked"}
    assert opened() == THIRD
    assert rules() == {}
    told = (payload_of(AuditEntry.objects.get(log=THIRD)) or {})["previous"]
    assert (told["log"], told["signed_root"], told["kept"]) == (LOG, was.root.hex(), 0)
    assert [one["log"] for one in told["lost"]] == [SECOND]
    found = exported(tmp_path)
    assert (found.verdict, [(one.log, one.lost, one.is_lost) for one in found.logs]) == (
        "verified", [(LOG, 5, False), (SECOND, 0, True), (THIRD, 0, False)],
    )  # fmt: skip
    assert verify_org(ORG).ok
    assert verify(SECOND).lost.reason == "the disk failed", "its entries are there still, and nobody's"


def test_no_log_is_closed_in_the_database_alone_whichever_it_is() -> None:
    closed_once()
    some(2)
    signed()
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE log = %s AND seq > 1", SECOND)
    rows = AuditEntry.objects.filter(log=SECOND).order_by("seq")
    leaves = [bytes(row.leaf_hash) for row in rows]
    AuditHead.objects.filter(log=SECOND).update(
        size=2, last_leaf_hash=leaves[-1], last_ts=json.loads(bytes(rows[1].entry))["ts"],
        right_edge=tree.pack(tree.extend(0, [], leaves)), is_current=False,
    )  # fmt: skip
    assert rules() == {SECOND: "closed"}
    assert verify(SECOND).rule == "cut"


def test_a_head_that_somebody_adds_is_refused_and_an_operator_takes_it_away(tmp_path: Path) -> None:
    some(3)
    signed()
    AuditHead.objects.create(org_id=ORG, log=SECOND, epoch=2, is_current=False)
    AuditHead.objects.create(org_id=ORG, log=f"evil{LOG}", epoch=9, is_current=False)
    assert rules() == {SECOND: "closed", f"evil{LOG}": "wrong_name"}
    assert open_epoch(ORG, reason="somebody added heads", by=BY) is None
    assert rules() == {}
    assert exported(tmp_path).verdict == "verified"


def test_new_logs_are_called_as_the_others_whatever_stands_first(settings: Any) -> None:
    some(1)
    sql("UPDATE audit_audithead SET id = 1000 + id")
    AuditHead.objects.create(pk=-1, org_id=OTHER, log=f"evil/audit/{OTHER}", epoch=5, is_current=False)
    assert host_of_logs() == "routing.example"
    settings.AUDIT_ORIGIN = "moved.example"
    AuditHead.objects.filter(pk=-1).update(log="no name of a log")
    assert host_of_logs() == "routing.example"


def rows_of_a_key(key: SigningKey, action: str, **more: Any) -> None:
    """A row that says of itself that it tells of a key."""
    payload, salt = canonical_bytes({"key": str(key.verify_key)}), b"s" * 16
    entry = Entry(
        log="x", seq=0, ts="2026-01-01T00:00:00.000000Z", actor_type="system", actor_id="x", on_behalf_of=None,
        action=action, target_type="x", target_id="x", request_id=None, version_before=None, version_after=None,
        payload_sha256=payload_hash(salt, payload), prev=None,
    )  # fmt: skip
    columns: dict[str, Any] = {
        "log": "x", "epoch": 99, "seq": 0, "ts": timezone.now(), "actor_type": "system", "actor_id": "x",
        "action": action, "target_type": "x", "target_id": "x", "entry": entry.to_bytes(), "payload": payload, "salt": salt,
        "leaf_hash": b"x" * 32,
    }  # fmt: skip
    more = {"on_behalf_of": None, "request_id": None, "version_before": None, "version_after": None, **more}
    statements.insert(org_id=None, **{**columns, **more})


def test_keys_are_told_by_entries_of_a_log_and_by_no_other_row() -> None:
    some(1)
    signed()
    mine, evil = own_keys()[0], SigningKey.make("routing.example/audit")
    with without_triggers():
        rows_of_a_key(evil, "audit.key_added")
        rows_of_a_key(mine, "audit.key_retired", seq=1)
        rows_of_a_key(evil, "audit.key_added", log=INSTALLATION, epoch=1, seq=50)
    some(1)
    assert (known_keys(), rules()) == ([mine.verify_key], {})
    assert own_keys() == [mine]


def test_a_note_about_another_log_is_no_word_about_this_one() -> None:
    some(3)
    signed()
    note = Checkpoint.objects.get(log=LOG).note
    now = timezone.now()
    Checkpoint.objects.create(log=SECOND, size=9, note=note, signed_at=now, checked_at=now)
    assert witness_of(SECOND, known_keys(), []) is None
    found = witness_of(LOG, known_keys(), [])
    assert found is not None
    assert found.checkpoint.size == 3


def test_nor_is_it_told_as_what_was_signed_of_it() -> None:
    some(3)
    some(9, OTHER)
    signed()
    note, now = Checkpoint.objects.get(log=LOG.replace(str(ORG), str(OTHER))).note, timezone.now()
    Checkpoint.objects.create(log=LOG, size=9, note=note, signed_at=now, checked_at=now)
    opened(force=True)
    assert (payload_of(AuditEntry.objects.get(log=SECOND)) or {})["previous"]["signed_size"] == 3


def test_a_payload_that_is_gone_is_not_excused_by_an_entry_about_another() -> None:
    some(3)
    (head,) = (row for row in looking.heads() if row.log == LOG)
    with transaction.atomic():
        record(ORG, by=BY, action="audit.redacted", target=("entry", "2"), payload={"reason": "a name"})
    with without_triggers():
        sql(f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE seq = 1 AND org_id IS NOT NULL")
    with pytest.raises(looking.Refused) as caught:
        looking.look(LOG, head, Memory("routing.example", {}, {}, {}), None)
    assert caught.value.rule == "missing_payload"


def test_of_two_own_notes_the_newer_one_counts(folder: Path) -> None:
    some(3)
    signed()
    some(3)
    signed()
    found = witness_of(LOG, known_keys(), [])
    assert found is not None
    assert found.checkpoint.size == 6
    forget(folder)
    rewrite(ORG, 4, action="test.forged")
    assert rules() == {LOG: "rewritten"}


def test_where_there_is_a_closed_log_alone_nothing_is_recorded() -> None:
    some(1)
    AuditHead.objects.filter(org_id=ORG).update(is_current=False)
    with pytest.raises(LogDamaged, match="audit_epoch"):
        some(1)


@pytest.mark.skipif(ON_POSTGRES, reason="PostgreSQL takes no text that is none")
@pytest.mark.parametrize(
    "change",
    [
        f"UPDATE {TABLE} SET entry = CAST(x'ff' AS TEXT) WHERE seq = 4",
        "UPDATE audit_checkpoint SET note = CAST(x'ff' AS TEXT) WHERE size = 3",
    ],
)
def test_what_the_database_itself_cannot_read_stops_no_other_log(change: str) -> None:
    some(3)
    signed()
    some(2)
    some(1, OTHER)
    with without_triggers():
        sql(change)
    found = signed()
    assert LOG.replace(str(ORG), str(OTHER)) in found.signed
    assert Refusal.objects.count() == len(found.refused) <= 1
    assert {error.rule for error in found.refused.values()} <= {"unreadable"}
    assert ("entry" in change) == bool(found.refused)
    assert (verify_org(ORG).rule, LOG in found.signed) == ("unreadable", "note" in change)


def test_who_verifies_is_told_of_logs_that_the_restored_database_does_not_know() -> None:
    some(1)
    some(2, OTHER)
    signed()
    gone = LOG.replace(str(ORG), str(OTHER))
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE log = %s", gone)
    for table in ("audit_audithead", "audit_checkpoint"):
        sql(f"DELETE FROM {table} WHERE log = %s", gone)
    assert rules() == {gone: "no_head"}
    with pytest.raises(CommandError, match=rf"{gone}: the signer refuses it"):
        call_command("verify_audit", stdout=StringIO())
    call_command("verify_audit", org=ORG, stdout=StringIO())


# --- Clocks, and many logs --------------------------------------------------------------------------------------------


def test_a_clock_that_was_ahead_leaves_nothing_unlooked_at() -> None:
    some(1)
    signed()
    Checkpoint.objects.update(checked_at=timezone.now() + timedelta(days=3650))
    assert unsigned_tail().looked is None
    assert set(signed().signed) == {LOG, INSTALLATION}
    looked = unsigned_tail().looked
    assert looked is not None
    assert looked < 60


@pytest.mark.parametrize("ts", ["x", ""])
def test_a_time_that_is_none_stops_nobody_who_asks_how_it_is(ts: str) -> None:
    some(1)
    AuditHead.objects.filter(org_id=ORG).update(last_ts=ts)
    assert unsigned_tail().ahead == 0.0


def test_of_what_is_idle_those_are_looked_at_first_that_waited_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signer, "IDLE_AT_ONCE", 1)
    some(1)
    signed()
    for log, hours in ((LOG, 2), (INSTALLATION, 3)):
        Checkpoint.objects.filter(log=log).update(checked_at=timezone.now() - timedelta(hours=hours))
    assert [set(signed().signed) for _ in range(3)] == [{INSTALLATION}, {LOG}, set()]


def test_what_is_refused_as_before_is_not_written_again() -> None:
    some(2)
    signed()
    cut(ORG, 1)
    assert rules() == {LOG: "cut"}
    with patch.object(Refusal.objects, "create", side_effect=AssertionError):
        assert rules() == {LOG: "cut"}
    since = Refusal.objects.get().since
    cut(ORG, 0)
    assert rules() == {LOG: "cut"}
    assert (Refusal.objects.get().since, "0 are left" in Refusal.objects.get().message) == (since, True)


def test_who_is_told_to_stop_leaves_the_rest_for_later() -> None:
    some(2)
    some(2, OTHER)
    signed()
    some(1)
    cut(OTHER, 1)
    with signer.Signer() as one:
        assert len(one.round().refused) == 1
        some(1)
        stop = threading.Event()
        stop.set()
        assert (one.round(stop).signed, Refusal.objects.count()) == ({}, 1)
        assert set(one.round().signed) == {LOG}


@pytest.mark.parametrize(("kept", "shown"), [(6, 6), (5, 4), (3, 2), (1, 0)])
def test_a_backup_that_kept_the_first_part_of_what_was_signed_shows_it(kept: int, shown: int) -> None:
    """By what was signed at two, and by the trees of four and of six that the one of seven is made of."""
    some(2)
    signed()
    some(5)
    signed()
    sql("DELETE FROM audit_checkpoint WHERE log = %s", LOG)
    cut(ORG, kept)
    opened()
    told = (payload_of(AuditEntry.objects.get(log=SECOND, seq=0)) or {})["previous"]
    assert (told["signed_size"], told["kept"]) == (7, shown)
