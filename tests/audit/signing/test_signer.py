"""The signer signs what continues that which it signed, and refuses whatever else is in the database."""

import stat
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction
from django.utils import timezone

from audit import services
from audit.actors import system
from audit.log.entry import time_text
from audit.log.notes import BadNote, SigningKey, open_checkpoint, open_note
from audit.log.notes import Checkpoint as Said
from audit.log.proofs import consistency_proof, verify_consistency
from audit.log.verify import verify as verify_bundle
from audit.models import AuditEntry, AuditHead, Checkpoint, Refusal
from audit.services import payload_of, record
from audit.signing import looking, signer
from audit.signing.epochs import NotRefused, open_epoch
from audit.signing.keys import BadKeys, add_key, key_file, known_keys, own_keys, retire_key
from audit.signing.signer import IDLE, keep_signing
from audit.signing.state import AnotherSigner, Memory, Signed, State, Turn
from audit.verification import logs, verify, verify_org
from tests.audit.build import ORG, OTHER, TABLE, some, sql, without_triggers
from tests.audit.signing.build import LOG, cut, rewrite, rules, signed
from tests.databases import ON_POSTGRES

pytestmark = pytest.mark.django_db
BY = system("test")
INSTALLATION = "routing.example/audit/installation"


def checkpoint(log: str = LOG) -> Said:
    """The newest one, signed by a known key."""
    return open_checkpoint(Checkpoint.objects.filter(log=log)[0].note, known_keys())


# --- What is signed ---------------------------------------------------------------------------------------------------


def test_what_was_added_is_signed_and_what_was_signed_stays() -> None:
    some(3)
    assert signed().signed == {LOG: 3, INSTALLATION: 1}
    first = checkpoint()
    assert (first.origin, first.size, first.root.hex()) == (LOG, 3, verify_org(ORG).root)
    assert signed().signed == {}, "nothing was added"
    some(5)
    assert signed().signed == {LOG: 8}
    leaves = [bytes(leaf) for leaf in AuditEntry.objects.of(ORG).in_order().values_list("leaf_hash", flat=True)]
    verify_consistency(3, 8, first.root, checkpoint().root, consistency_proof(3, 8, leaves))
    assert list(Checkpoint.objects.filter(log=LOG).values_list("size", flat=True)) == [8, 3]
    assert verify_org(ORG).ok


def test_every_organisation_has_checkpoints_of_its_own() -> None:
    some(2)
    some(1, OTHER)
    assert signed().signed == {LOG: 2, f"routing.example/audit/{OTHER}": 1, INSTALLATION: 1}


def test_a_log_to_which_nothing_is_added_is_looked_at_every_ten_minutes() -> None:
    some(2)
    signed()
    before = Checkpoint.objects.get(log=LOG)
    Checkpoint.objects.update(checked_at=timezone.now() - IDLE)
    assert signed().signed == {LOG: 2, INSTALLATION: 1}
    after = Checkpoint.objects.get(log=LOG)
    assert (after.note, after.signed_at) == (before.note, before.signed_at)
    assert timezone.now() - after.checked_at < timedelta(minutes=1)


def test_nothing_is_signed_of_what_is_not_committed() -> None:
    with transaction.atomic():
        some(2)
        transaction.set_rollback(True)
    assert signed().signed == {INSTALLATION: 1}


# --- What is refused --------------------------------------------------------------------------------------------------


def forged_action(seq: int) -> Any:
    return lambda: rewrite(ORG, seq, action="test.forged")


def by_sql(statement: str) -> Any:
    def run() -> None:
        with without_triggers():
            sql(statement)

    return run


def gone() -> None:
    by_sql(f"DELETE FROM {TABLE} WHERE org_id IS NOT NULL")()
    AuditHead.objects.filter(org_id=ORG).delete()


@pytest.mark.parametrize(
    ("attack", "rule"),
    [
        # Of what was signed: 5 entries.
        (lambda: cut(ORG, 4), "cut"),
        (lambda: cut(ORG, 0), "cut"),
        (gone, "no_head"),
        (forged_action(0), "wrong_prev"),
        (forged_action(4), "wrong_prev"),
        # Of what was added since: 3 more.
        (by_sql(f"UPDATE {TABLE} SET entry = leaf_hash WHERE seq = 6"), "bad_canonical"),
        (by_sql(f"UPDATE {TABLE} SET leaf_hash = salt WHERE seq = 6"), "wrong_leaf_hash"),
        (by_sql(f"UPDATE {TABLE} SET payload = entry WHERE seq = 6"), "wrong_payload"),
        (by_sql(f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE seq = 6"), "missing_payload"),
        (by_sql(f"UPDATE {TABLE} SET seq = 9 WHERE seq = 6"), "wrong_seq"),
        (by_sql(f"DELETE FROM {TABLE} WHERE seq = 6"), "wrong_seq"),
        (by_sql(f"DELETE FROM {TABLE} WHERE seq = 7"), "wrong_size"),
        (by_sql("UPDATE audit_audithead SET size = 6 WHERE org_id IS NOT NULL"), "wrong_head"),
        (by_sql("UPDATE audit_audithead SET last_ts = '2030-01-01T00:00:00.000000Z' WHERE size > 1"), "wrong_head"),
        (by_sql("UPDATE audit_audithead SET right_edge = last_leaf_hash WHERE size > 1"), "wrong_head"),
    ],
)  # fmt: skip
def test_what_does_not_continue_what_was_signed_is_refused(attack: Any, rule: str) -> None:
    some(5)
    signed()
    before = checkpoint()
    some(3)
    attack()
    found = signed()
    assert {log: error.rule for log, error in found.refused.items()} == {LOG: rule}
    assert found.signed == {}
    assert checkpoint() == before
    kept = Refusal.objects.get()
    assert (kept.log, kept.rule, kept.message) == (LOG, rule, str(found.refused[LOG]))
    assert signed().refused[LOG].rule == rule, "and the next time too"
    assert Refusal.objects.get().since == kept.since
    assert not verify(LOG).ok, "who verifies finds it too"


def test_one_log_that_is_refused_keeps_no_other_from_being_signed() -> None:
    some(2)
    some(2, OTHER)
    signed()
    some(1, OTHER)
    cut(ORG, 1)
    found = signed()
    assert set(found.refused) == {LOG}
    assert found.signed == {f"routing.example/audit/{OTHER}": 3}


def test_what_was_put_right_is_signed_again() -> None:
    some(3)
    signed()
    head = AuditHead.objects.get(org_id=ORG)
    AuditHead.objects.filter(org_id=ORG).update(size=2)
    assert rules() == {LOG: "cut"}
    head.save()
    assert rules() == {}
    assert not Refusal.objects.exists()


def test_a_log_of_which_nothing_is_left_but_checkpoints_is_found_by_who_verifies() -> None:
    some(3)
    signed()
    gone()
    assert LOG in logs()
    assert verify(LOG).rule == "no_head"


def test_a_signer_that_lost_its_memory_looks_at_its_own_checkpoints(folder: Path) -> None:
    some(5)
    signed()
    (folder / "state.sqlite3").unlink()
    some(1)
    assert signed().signed == {LOG: 6}
    for attack, rule in ((lambda: rewrite(ORG, 3, action="test.forged"), "rewritten"), (lambda: cut(ORG, 4), "cut")):
        (folder / "state.sqlite3").unlink()
        attack()
        assert rules() == {LOG: rule}


def test_a_payload_that_is_blanked_between_its_two_reads_is_looked_at_in_the_next_round() -> None:
    some(3)
    (head,) = (row for row in looking.heads() if row.log == LOG)
    with transaction.atomic():
        record(ORG, by=BY, action="audit.redacted", target=("entry", "1"), payload={"reason": "a name"})
        sql(f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE seq = 1 AND org_id IS NOT NULL")
    nothing = Memory("routing.example", {}, {}, {})
    assert looking.look(LOG, head, nothing, None) == Signed(LOG)
    assert signed().signed == {LOG: 4, INSTALLATION: 1}


# --- Kills ------------------------------------------------------------------------------------------------------------


def test_who_is_killed_before_it_is_published_signs_the_very_same_again() -> None:
    some(3)
    killed = patch.object(signer.Checkpoint.objects, "bulk_create", side_effect=OperationalError("killed"))
    with killed, pytest.raises(OperationalError):
        signed()
    assert not Checkpoint.objects.filter(log=LOG).exists()
    some(2)
    assert signed().signed[LOG] == 5


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_the_first_key_is_made_for_its_owner_alone_and_the_log_tells_of_it(folder: Path) -> None:
    some(1)
    signed()
    (key,) = own_keys()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if "turn" not in path.name} == {
        "keys": 0o600, "state.sqlite3": 0o600,
    }  # fmt: skip
    entry = AuditEntry.objects.get(action="audit.key_added")
    payload = payload_of(entry) or {}
    assert (payload["key"], entry.target_id, entry.org_id) == (str(key.verify_key), key.verify_key.key_id.hex(), None)
    assert key.verify_key.name == "routing.example/audit"
    assert known_keys() == [key.verify_key]
    assert key.secret_text() not in str([*AuditEntry.objects.values_list("payload", flat=True)])


def test_a_key_is_replaced_while_both_sign() -> None:
    some(2)
    signed()
    (old,) = own_keys()
    new = add_key(by=BY, reason="it is a year old")
    assert signed().signed == {INSTALLATION: 2}
    Checkpoint.objects.update(checked_at=timezone.now() - IDLE)
    signed()
    note = Checkpoint.objects.get(log=LOG).note
    for known in (old, new):
        assert open_note(note, [known.verify_key])[1] == [known.verify_key]
    retire_key(old.verify_key.key_id.hex(), by=BY, reason="replaced")
    assert (known_keys(), own_keys()) == ([new.verify_key], [new])
    some(1)
    signed()
    assert open_note(Checkpoint.objects.filter(log=LOG)[0].note, [old.verify_key, new.verify_key])[1] == [
        new.verify_key
    ]
    assert [payload_of(entry)["reason"] for entry in AuditEntry.objects.of(None).in_order()][1:] == [
        "it is a year old", "replaced",
    ]  # fmt: skip


def test_the_only_key_is_not_retired_and_neither_is_one_that_nobody_knows() -> None:
    signed()
    (key,) = own_keys()
    with pytest.raises(BadKeys, match="only key"):
        retire_key(key.verify_key.key_id.hex(), by=BY, reason="x")
    with pytest.raises(BadKeys, match="There is no key 00000000"):
        retire_key("00000000", by=BY, reason="x")
    assert own_keys() == [key]


def test_another_machine_makes_no_second_key_and_a_lost_one_is_retired_first() -> None:
    signed()
    (lost,) = own_keys()
    key_file().unlink()
    with pytest.raises(BadKeys, match="AUDIT_SIGNER=apart"):
        signed()
    assert not key_file().exists()
    retire_key(lost.verify_key.key_id.hex(), by=BY, reason="the disk failed")
    signed()
    assert [key.verify_key for key in own_keys()] == known_keys() != [lost.verify_key]


def test_a_key_that_was_written_before_the_database_went_away_is_told_of_later() -> None:
    with patch("audit.signing.keys.record", side_effect=OperationalError), pytest.raises(OperationalError):
        signed()
    (key,) = own_keys()
    assert known_keys() == []
    signed()
    assert known_keys() == [key.verify_key]


def test_a_key_file_that_others_read_or_that_holds_something_else_signs_nothing() -> None:
    signed()
    key_file().chmod(0o640)
    with pytest.raises(BadKeys, match="chmod 600"):
        signed()
    key_file().chmod(0o600)
    secret = key_file().read_text()
    for wrong in (secret[:-5], "x", secret.replace("PRIVATE", "SECRET")):
        key_file().write_text(wrong)
        with pytest.raises(BadKeys) as caught:
            signed()
        assert secret[40:60] not in str(caught.value)
    stranger = SigningKey.make("routing.example/audit")
    key_file().write_text(stranger.secret_text())
    # Who signed here before signs on; but not the log that tells of the other key.
    some(1)
    assert (signed().signed, rules()) == ({LOG: 1}, {INSTALLATION: "wrong_keys"})
    assert AuditEntry.objects.filter(action="audit.key_added").count() == 1


def test_a_key_that_the_log_says_is_retired_is_not_signed_with_wherever_it_stands() -> None:
    some(1)
    signed()
    (first,) = own_keys()
    add_key(by=BY, reason="to replace the first")
    with (
        patch("audit.signing.keys.write_private_keys", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        retire_key(first.verify_key.key_id.hex(), by=BY, reason="it was stolen")
    assert first in own_keys(), "killed before it was out of the file"
    some(1)
    assert signed().refused == {}
    assert first.verify_key not in known_keys()
    with pytest.raises(BadNote):
        open_checkpoint(Checkpoint.objects.filter(log=LOG)[0].note, [first.verify_key])
    assert AuditEntry.objects.filter(action="audit.key_added").count() == 2


def test_a_key_is_added_where_the_others_are(folder: Path, settings: Any, tmp_path: Path) -> None:
    signed()
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "another machine")
    with pytest.raises(BadKeys, match="add another one where it is"):
        add_key(by=BY, reason="here, by mistake")
    assert len(known_keys()) == 1


def test_a_backup_from_before_a_key_was_replaced_stops_one_log_alone() -> None:
    """That of the installation, which tells of the old key; until an operator says what is so."""
    some(1)
    signed()
    (first,) = own_keys()
    add_key(by=BY, reason="to replace the first")
    retire_key(first.verify_key.key_id.hex(), by=BY, reason="replaced")
    signed()
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE org_id IS NULL AND seq > 0")
    row = AuditEntry.objects.get(org_id=None)
    AuditHead.objects.filter(org_id=None).update(
        size=1, last_leaf_hash=row.leaf_hash, right_edge=row.leaf_hash, last_ts=time_text(row.ts)
    )
    some(2)
    found = signed()
    assert (found.signed, {log: error.rule for log, error in found.refused.items()}) == (
        {LOG: 3}, {INSTALLATION: "wrong_keys"},
    )  # fmt: skip
    retire_key(first.verify_key.key_id.hex(), by=BY, reason="replaced, again")
    assert rules().keys() == {INSTALLATION}
    call_command("audit_epoch", installation=True, reason="restored")
    signed()
    assert rules() == {}
    assert [key.verify_key for key in own_keys()] == known_keys()


@pytest.mark.every_case
@pytest.mark.parametrize(
    "change",
    [
        f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE action = 'audit.key_added'",
        *(
            []
            if ON_POSTGRES
            else [
                "UPDATE audit_audithead SET org_id = 'xx' WHERE size = 5",
                "UPDATE audit_audithead SET size = 'zz' WHERE size = 5",
                "UPDATE audit_audithead SET size = 99999999999999999999 WHERE size = 5",
                "UPDATE audit_audithead SET right_edge = 100000000000000 WHERE size = 5",
                "UPDATE audit_audithead SET last_ts = x'ff' WHERE size = 5",
                "UPDATE audit_audithead SET epoch = 'x' WHERE size = 5",
                f"UPDATE {TABLE} SET salt = 1 WHERE seq = 4",
                f"UPDATE {TABLE} SET salt = 'x' WHERE seq = 4",
                f"UPDATE {TABLE} SET entry = 'x' WHERE seq = 4",
                f"UPDATE {TABLE} SET leaf_hash = 'x' WHERE seq = 4",
                "UPDATE audit_audithead SET right_edge = 'x' WHERE size = 5",
                f"UPDATE {TABLE} SET payload = 7 WHERE action = 'audit.key_added'",
                f"UPDATE {TABLE} SET payload = x'5b375d' WHERE action = 'audit.key_added'",
            ]
        ),
    ],
)
def test_one_row_that_nobody_can_read_stops_no_other_log(change: str) -> None:
    some(3)
    signed()
    some(2)
    some(1, OTHER)
    with without_triggers():
        sql(change)
    found = signed()
    assert len(found.refused) == 1
    assert LOG.replace(str(ORG), str(OTHER)) in found.signed
    assert Refusal.objects.count() == 1
    assert not verify_org(None if "key_added" in change else ORG).ok


@pytest.mark.parametrize("change", ["checked_at = 'zz'", "size = 'zz'", "note = 7"])
def test_nor_does_a_checkpoint(change: str) -> None:
    if ON_POSTGRES:
        pytest.skip("a column of PostgreSQL holds what it is for")
    some(3)
    signed()
    some(2, OTHER)
    sql(f"UPDATE audit_checkpoint SET {change} WHERE log = %s", LOG)
    some(1)
    assert signed().signed[LOG.replace(str(ORG), str(OTHER))] == 2


# --- One at a time ----------------------------------------------------------------------------------------------------


def test_two_signers_of_a_folder_take_turns(folder: Path) -> None:
    turn = Turn(folder)
    with pytest.raises(AnotherSigner):
        signed()
    turn.close()
    signed()


def test_the_memory_is_on_the_disk_before_anything_is_signed(folder: Path) -> None:
    some(2)
    with State_spy() as puts:
        signed()
    assert puts == [(LOG, 0), (INSTALLATION, 0)]
    state = State(folder)
    assert state._file.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert state._file.execute("PRAGMA synchronous").fetchone() == (3,)
    state.close()


class State_spy:
    """How many checkpoints there were when each log was remembered."""

    def __enter__(self) -> list[tuple[str, int]]:
        self.puts: list[tuple[str, int]] = []
        put = State.put

        def noted(state: State, signed: Any, closed: Any) -> None:
            self.puts += [(one.log, Checkpoint.objects.filter(log=one.log).count()) for one in signed]
            put(state, signed, closed)

        self.patched = patch.object(State, "put", noted)
        self.patched.start()
        return self.puts

    def __exit__(self, *_: object) -> None:
        self.patched.stop()


# --- A new log after a restore ----------------------------------------------------------------------------------------


def test_after_a_restore_an_operator_opens_a_new_log_that_tells_of_the_old_one() -> None:
    some(5)
    signed()
    was = checkpoint()
    cut(ORG, 3)
    assert rules() == {LOG: "cut"}
    receipt = open_epoch(ORG, reason="restored the backup of 03:00", by=BY)
    assert (receipt.log, receipt.seq) == (f"{LOG}/e2", 0)
    entry = AuditEntry.objects.get(log=f"{LOG}/e2")
    payload = payload_of(entry) or {}
    assert payload["reason"] == "restored the backup of 03:00"
    old = AuditHead.objects.get(log=LOG)
    assert payload["previous"] == {
        "log": LOG, "size": 3, "root": verify(LOG).root, "signed_size": 5, "signed_root": was.root.hex(),
        "kept": 0, "lost": [],
    }  # fmt: skip
    assert (old.is_current, entry.epoch) == (False, 2)
    some(2)
    found = signed()
    assert (found.refused, found.signed) == ({}, {f"{LOG}/e2": 3})
    assert not Refusal.objects.exists()
    assert verify_org(ORG).ok
    assert list(AuditEntry.objects.of(ORG).in_order().values_list("epoch", "seq")) == [
        (1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2),
    ]  # fmt: skip


def test_a_third_log_follows_the_second() -> None:
    some(3)
    signed()
    for number in (2, 3):
        AuditHead.objects.filter(org_id=ORG, is_current=True).update(size=0)
        assert open_epoch(ORG, reason="again", by=BY).log == f"{LOG}/e{number}"
        assert signed().refused == {}
    assert AuditHead.objects.filter(org_id=ORG, is_current=True).count() == 1


@pytest.mark.parametrize("change", ["right_edge = ''", "size = 1", "last_leaf_hash = NULL", "last_ts = 'x'"])
def test_of_a_head_that_fits_nothing_the_closed_log_keeps_one_that_does(change: str, tmp_path: Path) -> None:
    some(5)
    signed()
    sql(f"UPDATE audit_audithead SET {change} WHERE org_id IS NOT NULL")
    assert set(rules()) == {LOG}
    open_epoch(ORG, reason="somebody wrote to the head", by=BY)
    some(1)
    assert signed().refused == {}
    assert verify_org(ORG).ok
    path = tmp_path / "bundle"
    call_command("audit_export", path, org=ORG)
    found = verify_bundle(path, known_keys())
    assert (found.verdict, [one.entries for one in found.logs]) == ("verified", [5, 2])


def test_a_log_that_goes_on_is_not_closed() -> None:
    some(3)
    signed()
    some(2)
    with pytest.raises(NotRefused, match="goes on as it is"):
        open_epoch(ORG, reason="tidy", by=BY)
    assert AuditHead.objects.get(org_id=ORG).is_current
    assert signed().signed == {LOG: 5}


def test_a_new_log_that_no_operator_opened_is_refused() -> None:
    some(3)
    signed()
    cut(ORG, 2)
    AuditHead.objects.filter(log=LOG).update(is_current=False)
    AuditHead.objects.create(org_id=ORG, log=f"{LOG}/e2", epoch=2)
    some(1)
    assert rules() == {LOG: "closed", f"{LOG}/e2": "not_linked"}


def test_the_log_of_the_installation_is_opened_anew_too() -> None:
    signed()
    add_key(by=BY, reason="one more")
    signed()
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE seq = 1")
    first = AuditEntry.objects.get(org_id=None)
    AuditHead.objects.filter(org_id=None).update(
        size=1, last_leaf_hash=first.leaf_hash, right_edge=first.leaf_hash, last_ts="2026-01-01T00:00:00.000000Z"
    )
    with pytest.raises(CommandError, match="Say why"):
        call_command("audit_epoch", installation=True, reason=" ")
    call_command("audit_epoch", installation=True, reason="restored")
    assert AuditHead.objects.get(org_id=None, is_current=True).log == f"{INSTALLATION}/e2"


# --- The commands -----------------------------------------------------------------------------------------------------


def test_one_round_says_what_was_signed_and_fails_where_something_is_refused(capsys: Any) -> None:
    some(2)
    call_command("audit_sign", once=True)
    assert f"{LOG}: signed 2 entries" in capsys.readouterr().out
    cut(ORG, 1)
    with pytest.raises(CommandError, match=r"REFUSED \(cut\): Of 2 entries that were signed 1 are left") as caught:
        call_command("audit_sign", once=True)
    assert caught.value.returncode == 1


def test_keys_are_listed_added_and_retired(capsys: Any) -> None:
    signed()
    call_command("audit_key", "add", "--reason", "new year")
    call_command("audit_key", "list")
    added, first, second = capsys.readouterr().out.split()
    assert (added, [str(key) for key in known_keys()]) == (second, [first, second])
    call_command("audit_key", "retire", first.split("+")[1], "--reason", "replaced")
    assert [str(key) for key in known_keys()] == [second]
    with pytest.raises(CommandError, match="only key"):
        call_command("audit_key", "retire", second.split("+")[1], "--reason", "x")


def test_without_a_folder_nothing_is_signed(settings: Any) -> None:
    settings.AUDIT_SIGNER_DIR = ""
    with pytest.raises(CommandError, match="AUDIT_SIGNER_DIR is not set"):
        call_command("audit_sign", once=True)


@pytest.mark.django_db(transaction=True)
def test_it_goes_on_through_an_outage_and_stops_when_told() -> None:
    some(2)
    stop = threading.Event()
    rounds = []

    def failing(self: Any, stop: Any) -> Any:
        rounds.append(1)
        if len(rounds) in (1, 2):
            raise OperationalError("away")
        if len(rounds) == 3:
            raise RuntimeError("something else")
        return real(self, stop)

    real = signer.Signer.round
    with patch.object(signer.Signer, "round", failing):
        thread = threading.Thread(target=keep_signing, args=(stop,), kwargs={"pause": 0.01})
        thread.start()
        until = time.monotonic() + 20
        while not Checkpoint.objects.filter(log=LOG).exists() and time.monotonic() < until:
            time.sleep(0.02)
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert checkpoint().size == 2


@pytest.mark.parametrize(
    "payload", [b'{"n":\n1}', b"", b'{"n":"' + b"x" * 600_000 + b'"}', b'{"who":"eve","who":"jo"}']
)
def test_a_payload_that_no_bundle_can_carry_is_not_signed(payload: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    signed()  # which tells the key
    monkeypatch.setattr(services, "_payload_bytes", lambda *_: payload)
    some(1)
    assert rules() == {LOG: "bad_payload"}
    assert verify_org(ORG).rule == "bad_payload"
