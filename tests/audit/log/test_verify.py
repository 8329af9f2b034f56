"""What an auditor runs: honest bundles are verified, and whatever was done to one is found and named."""

import copy
import json
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from audit.log import bundle
from audit.log import verify as verifier
from audit.log.bundle import CHECKPOINTS, ENTRIES, MANIFEST, MAX_LINE_BYTES, PAYLOADS
from audit.log.canonical import canonical_bytes
from audit.log.check import Checker
from audit.log.entry import BadEntry
from audit.log.links import is_host
from audit.log.notes import SigningKey, sign
from audit.log.tree import leaf_hash
from audit.log.verify import main, read_receipt, verify
from tests.audit.log.build import LOG
from tests.audit.log.forging import (
    FIELDS,
    KEY,
    THIEF,
    Made,
    edit_field,
    edited,
    redacted,
    reopened,
    told,
    with_other,
    written,
    zipped,
)
from tests.campaign.forgeries import forge_and_verify
from tests.paths import ROOT

KEYS = [KEY.verify_key]
SIZE = 200


@pytest.fixture(scope="module")
def honest() -> Made:
    made = Made.honest(Random(7), SIZE)
    made.marks = [50, 120, SIZE]
    return made


def found_in(path: Path, **keys: Any) -> tuple[str, int | None]:
    found = verify(path, KEYS, **keys)
    return found.rule or found.verdict, found.bad_seq


# --- Attacks ----------------------------------------------------------------------------------------------------------


OWN_RULES = {
    "v": "wrong_shape",
    "log": "wrong_log",
    "seq": "wrong_seq",
    "payload_sha256": "wrong_payload",
    "prev": "wrong_prev",
}


def rule_broken(checker: Checker, data: bytes, payload: bytes | None, salt: bytes | None) -> str:
    try:
        checker.take(data, payload, salt)
    except BadEntry as error:
        return error.rule
    return ""


def own_rule(name: str, at: int, otherwise: str) -> str:
    """The first entry alone has no `prev`."""
    return "wrong_shape" if at == 0 and name in ("seq", "prev") else OWN_RULES.get(name, otherwise)


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_of_every_entry_breaks_a_rule_there_or_the_link_of_the_next(honest: Made, name: str) -> None:
    checker = Checker(LOG)
    for at in range(SIZE - 1):
        after = copy.deepcopy(checker)
        rule, is_here = rule_broken(after, with_other(honest.entries[at], name), *honest.payloads[at]), True
        if not rule:
            rule, is_here = rule_broken(after, honest.entries[at + 1], *honest.payloads[at + 1]), False
        assert rule == own_rule(name, at, "time_went_back" if is_here else "wrong_prev")
        assert is_here or name not in OWN_RULES
        checker.take(honest.entries[at], *honest.payloads[at])


@pytest.mark.parametrize("name", FIELDS)
def test_the_entry_with_a_changed_field_is_named(honest: Made, tmp_path: Path, name: str) -> None:
    """Of the last one, which no other follows, the first since the checkpoint before."""
    folder = written(tmp_path / "bundle", honest)
    for at in (0, 1, 49, 50, 119, SIZE - 2, SIZE - 1):
        entries = [*honest.entries]
        entries[at] = with_other(entries[at], name)
        (folder / "1" / ENTRIES).write_bytes(b"".join(data + b"\n" for data in entries))
        rule, seq = found_in(folder)
        if at == SIZE - 1 and rule == "wrong_root":
            assert name not in OWN_RULES
            assert seq == 120
        elif at == SIZE - 1 and name == "prev":
            assert (rule, seq) == ("wrong_prev", SIZE - 2)
        else:
            assert seq == at, (rule, seq, at)
            assert rule in {own_rule(name, at, "wrong_prev"), own_rule(name, at, "time_went_back")}


def test_whatever_forgers_do_is_found_and_what_is_honest_is_verified(tmp_path: Path) -> None:
    judged, faults = forge_and_verify(100, 20261122, tmp_path, largest=12)
    assert faults == []
    assert judged["honest ones accepted"] == 100
    assert len(judged) > 25


def test_a_forger_who_is_not_found_would_be_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Checker, "unexplained", None)
    _, faults = forge_and_verify(200, 20261122, tmp_path, largest=12)
    assert faults
    assert all("blank a payload: accepted" in fault for fault in faults)


def test_what_only_an_older_checkpoint_or_a_receipt_tells(honest: Made, tmp_path: Path) -> None:
    shorter = honest.copy()
    del shorter.entries[150:], shorter.payloads[150:]
    shorter.marks = [50, 120, 150]
    stolen = edit_field(honest, 60, "action").made.relinked()
    stolen.notes = None
    since, receipt = honest.state(180), honest.receipt(170)
    for forged in (shorter, stolen):
        assert found_in(written(tmp_path / "bundle", forged)) == ("verified", None), "by itself it cannot be told"
    assert found_in(written(tmp_path / "bundle", shorter), since=since) == ("cut", 150)
    assert found_in(tmp_path / "bundle", receipt=receipt) == ("cannot_verify", None), "or it is an older export"
    assert "ends before entry 170" in verify(tmp_path / "bundle", KEYS, receipt=receipt).message
    assert found_in(tmp_path / "bundle", since=honest.state(150), receipt=honest.receipt(149)) == ("verified", None)
    assert found_in(written(tmp_path / "bundle", stolen), since=since) == ("rewritten", None)
    assert found_in(tmp_path / "bundle", receipt=receipt) == ("other_receipt", 170)
    assert found_in(tmp_path / "bundle", since=honest.state(60), receipt=honest.receipt(59)) == ("verified", None)
    for only_hashes in (True, False):
        assert found_in(tmp_path / "bundle", receipt=honest.receipt(60), hashes_only=only_hashes) == (
            "other_receipt",
            60,
        )


def test_hashes_alone_tell_what_was_changed_and_no_more(honest: Made, tmp_path: Path) -> None:
    forged = edit_field(honest, 60, "action").made
    assert found_in(written(tmp_path / "bundle", forged), hashes_only=True) == ("wrong_root", 50)
    cut = honest.copy()
    cut.notes = honest.signed()
    del cut.entries[150:], cut.payloads[150:]
    assert found_in(written(tmp_path / "bundle", cut), hashes_only=True) == ("cut", 150)
    blank = honest.copy()
    blank.payloads[3] = (None, None)
    assert found_in(written(tmp_path / "bundle", blank), hashes_only=True) == ("verified", None)
    assert found_in(tmp_path / "bundle") == ("missing_payload", 3)


# --- Blanked payloads -------------------------------------------------------------------------------------------------


def test_a_payload_that_was_blanked_with_an_entry_is_counted(honest: Made, tmp_path: Path) -> None:
    made = honest.copy()
    redacted(made, 3)
    redacted(made, 100)
    found = verify(written(tmp_path / "bundle", made), KEYS)
    assert (found.verdict, found.logs[0].redacted, found.logs[0].entries) == ("verified", 2, SIZE + 2)


@pytest.mark.parametrize(
    "target", [("entry", "4"), ("entry", "03"), ("entry", "٣"), ("entry", "3 "), ("entry", "1.3"), ("route", "3")]
)
def test_an_entry_about_another_one_explains_nothing(honest: Made, tmp_path: Path, target: tuple[str, str]) -> None:
    made = honest.copy()
    made.payloads[3] = (None, None)
    told(made, "audit.redacted", target, {})
    made.marks.append(SIZE + 1)
    assert found_in(written(tmp_path / "bundle", made)) == ("missing_payload", 3)


def test_what_the_log_says_of_itself_is_not_blanked(honest: Made, tmp_path: Path) -> None:
    made = honest.copy()
    redacted(made, 3)
    redacted(made, SIZE)
    assert found_in(written(tmp_path / "bundle", made)) == ("missing_payload", SIZE)


# --- After a restore --------------------------------------------------------------------------------------------------


def test_a_new_log_tells_what_the_one_before_was_and_what_of_it_is_lost(honest: Made, tmp_path: Path) -> None:
    old, new = reopened(honest, 130)
    found = verify(written(tmp_path / "bundle", old, new), KEYS, since=honest.state(130), receipt=honest.receipt(129))
    assert found.verdict == "verified"
    assert [(one.entries, one.signed, one.lost, one.reason) for one in found.logs] == [
        (130, 130, 70, "the disk failed"), (2, 2, 0, ""),
    ]  # fmt: skip
    lost = verify(tmp_path / "bundle", KEYS, since=honest.state(131))
    assert (lost.verdict, lost.message) == (
        "cannot_verify",
        f"The older checkpoint is of what was lost of {LOG}, which is all after its first 130 entries, as the next log"
        " tells: the disk failed",
    )
    # Also of an entry that nobody had signed yet when the disk failed.
    for receipt in (honest.receipt(130), honest.receipt(199), replace(honest.receipt(199), seq=200)):
        lost = verify(tmp_path / "bundle", KEYS, receipt=receipt)
        assert (lost.verdict, "The receipt is of what was lost" in lost.message) == ("cannot_verify", True)
    # Of more than was signed nobody has a checkpoint, or of another history at the size that was.
    other = Made.honest(Random(9), SIZE)
    assert found_in(tmp_path / "bundle", since=other.state(SIZE)) == ("cut", 130)
    assert found_in(tmp_path / "bundle", since=other.state(100)) == ("rewritten", None)
    assert found_in(tmp_path / "bundle", receipt=other.receipt(129)) == ("other_receipt", 129)


def test_what_was_written_between_a_restore_and_the_new_log_is_no_forgery(honest: Made, tmp_path: Path) -> None:
    """Of 200 signed entries 130 came back, and before an operator came 100 others were written."""
    old, new = reopened(honest, 130)
    for number in range(100):
        told(old, "route.created", ("route", str(number)), {})
    payload = json.loads(new.payloads[0][0] or b"")
    payload["previous"] |= {"size": 230, "root": old.state(230).root.hex()}
    new.payloads[0] = (canonical_bytes(payload), new.payloads[0][1])
    new = replace(new.relinked(), notes=None)
    path = written(tmp_path / "bundle", replace(old, notes=honest.signed()[:1]), new)
    found = verify(path, KEYS)
    assert (found.verdict, [(one.entries, one.signed, one.lost) for one in found.logs]) == (
        "verified", [(230, 230, 70), (2, 2, 0)],
    )  # fmt: skip
    for mine in ({"since": honest.state(150)}, {"since": honest.state(200)}, {"receipt": honest.receipt(150)}):
        found = verify(path, KEYS, **mine)
        assert (found.verdict, "the disk failed" in found.message) == ("cannot_verify", True), mine
    assert found_in(path, since=honest.state(130), receipt=honest.receipt(129)) == ("verified", None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"log": "x"},
        {"size": 129},
        {"root": "00" * 32},
        {"signed_size": 199},
        {"signed_root": "00" * 32},
        {"signed_size": None},
        {"kept": True},
    ],
)
def test_a_new_log_that_tells_something_else_is_no_link(honest: Made, tmp_path: Path, wrong: dict[str, Any]) -> None:
    old, new = reopened(honest, 130)
    payload = json.loads(new.payloads[0][0] or b"")
    payload["previous"] |= wrong
    kept = canonical_bytes(payload)
    new.payloads[0] = (kept, new.payloads[0][1])
    rule, seq = found_in(written(tmp_path / "bundle", old, new.relinked()))
    assert (rule, seq) == (
        ("cut", 130) if wrong == {"signed_size": 199} or "signed_root" in wrong else ("not_linked", 0)
    )


def test_a_log_that_was_lost_whole_is_told(honest: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lost = Made.honest(Random(5), 7, f"{LOG}/e2")
    path = written(tmp_path / "bundle", *reopened(honest, SIZE, lost=[lost.state(7)]))
    found = verify(path, KEYS)
    assert (found.verdict, [(one.log, one.lost, one.is_lost) for one in found.logs]) == (
        "verified", [(LOG, 0, False), (f"{LOG}/e2", 7, True), (f"{LOG}/e3", 0, False)],
    )  # fmt: skip
    assert main([str(path), "--key", str(KEY.verify_key)]) == 0
    assert f"{LOG}/e2: LOST, with 7 entries that were signed: the disk failed\n" in capsys.readouterr().out
    for mine in ({"since": lost.state(3)}, {"receipt": lost.receipt(6)}):
        found = verify(path, KEYS, **mine)
        assert (found.verdict, "lost whole, as the next log tells: the disk failed" in found.message) == (
            "cannot_verify",
            True,
        )


def test_what_is_of_a_log_that_is_not_in_the_bundle_is_not_passed_over(honest: Made, tmp_path: Path) -> None:
    path = written(tmp_path / "bundle", honest)
    other = Made.honest(Random(5), 7, f"{LOG}/e2")
    for mine in ({"since": other.state(3)}, {"receipt": other.receipt(6)}):
        found = verify(path, KEYS, **mine)
        assert (found.verdict, "which is not in this bundle" in found.message) == ("cannot_verify", True)


@pytest.mark.parametrize(
    ("previous", "mine", "rule"),
    [
        # What it keeps is never more than there is, or than was signed.
        ({"kept": 131}, {}, "not_linked"),
        ({"signed_size": 129, "kept": 130}, {}, "not_linked"),
        # At the very size to which it is kept nothing is lost, and of all above, up to what was signed, everything.
        ({"kept": 60}, {"since": 60}, "rewritten"),
        ({"kept": 60}, {"since": 61}, "cannot_verify"),
        ({"kept": 60}, {"since": 199}, "cannot_verify"),
    ],
)
def test_where_what_is_kept_ends(
    honest: Made, tmp_path: Path, previous: dict[str, Any], mine: dict[str, int], rule: str
) -> None:
    """The signer's key is stolen: what the link says is signed."""
    old, new = reopened(honest, 130)
    payload = json.loads(new.payloads[0][0] or b"")
    payload["previous"] |= previous
    new.payloads[0] = (canonical_bytes(payload), new.payloads[0][1])
    path = written(tmp_path / "bundle", replace(old, notes=[]), replace(new.relinked(), notes=None))
    other = Made.honest(Random(9), SIZE)
    given = {name: other.state(size) for name, size in mine.items()}
    assert found_in(path, **given)[0] == rule


def test_a_first_log_does_not_go_on_for_another(honest: Made, tmp_path: Path) -> None:
    _, new = reopened(honest, 130)
    renamed = replace(new, log=LOG).relinked()
    assert found_in(written(tmp_path / "bundle", replace(renamed, notes=None))) == ("not_linked", 0)


@pytest.mark.parametrize("marks", [[120, 50, SIZE], [50, 50, SIZE]])
def test_checkpoints_stand_in_the_order_of_sizes_and_each_once(honest: Made, tmp_path: Path, marks: list[int]) -> None:
    made = honest.copy()
    made.notes = [sign(honest.state(size).text(), [KEY]) for size in marks]
    assert found_in(written(tmp_path / "bundle", made))[0] == "bad_checkpoint"


def test_a_link_that_says_that_nothing_is_lost_explains_no_other_root(honest: Made, tmp_path: Path) -> None:
    old, new = reopened(honest, 130)
    other, payload = Made.honest(Random(9), SIZE).state(130), json.loads(new.payloads[0][0] or b"")
    payload["previous"] |= {"kept": 130, "signed_size": 130, "signed_root": other.root.hex()}
    new.payloads[0] = (canonical_bytes(payload), new.payloads[0][1])
    path = written(tmp_path / "bundle", replace(old, notes=[]), replace(new.relinked(), notes=None))
    assert found_in(path, since=other) == ("rewritten", None)


def test_time_does_not_go_back(honest: Made) -> None:
    checker = Checker(LOG)
    for data, kept in zip(honest.entries[:3], honest.payloads, strict=False):
        checker.take(data, *kept)
    with pytest.raises(BadEntry) as caught:
        checker.take(edited(honest.entries[3], ts="2020-01-01T00:00:00.000000Z"), *honest.payloads[3])
    assert caught.value.rule == "time_went_back"


@pytest.mark.parametrize(
    ("target", "rule"), [("1.3", "verified"), ("2.3", "missing_payload"), ("3", "missing_payload")]
)
def test_a_later_log_tells_by_its_number_of_which_log_a_payload_was_blanked(
    honest: Made, tmp_path: Path, target: str, rule: str
) -> None:
    old, new = reopened(honest, SIZE)
    old.payloads[3] = (None, None)
    told(new, "audit.redacted", ("entry", target), {"reason": "held a name"})
    new.marks.append(3)
    assert found_in(written(tmp_path / "bundle", old, new))[0] == rule


def test_a_payload_too_many_or_too_few_is_found(honest: Made, tmp_path: Path) -> None:
    made = honest.copy()
    made.payloads.pop()
    assert found_in(written(tmp_path / "bundle", made)) == ("missing_payload", SIZE - 1)
    path = written(tmp_path / "bundle", honest)
    with (path / "1" / PAYLOADS).open("ab") as file:
        file.write(b"00" * 16 + b" {}\n")
    assert found_in(path) == ("missing_payload", SIZE)


def test_the_first_entry_of_a_later_log_says_that_it_was_opened(honest: Made, tmp_path: Path) -> None:
    old, new = reopened(honest, 130)
    new.entries[0] = with_other(new.entries[0], "action")
    path = written(tmp_path / "bundle", old, replace(new.relinked(), notes=None))
    assert found_in(path) == ("not_linked", 0)


def test_a_log_that_begins_otherwise_is_no_continuation(honest: Made, tmp_path: Path) -> None:
    old, _ = reopened(honest, 130)
    for other in (Made.honest(Random(8), 3, f"{LOG}/e2"), Made([], [], [], f"{LOG}/e2")):
        assert found_in(written(tmp_path / "bundle", old, other)) == ("not_linked", 0)
    for logs in ([f"{LOG}/e2"], [LOG, f"{LOG}/e3"]):
        written(tmp_path / "bundle", *(Made.honest(Random(9), 2, log) for log in logs))
        assert found_in(tmp_path / "bundle") == ("not_linked", 0)
    for logs in (
        [LOG, LOG],
        [LOG, "x/e2"],
        [LOG, f"{LOG[:-1]}b/e2"],
        [LOG, f"{LOG}/e2", f"{LOG}/e2"],
        [LOG, f"{LOG}/e1"],
        [LOG, f"{LOG}/e3", f"{LOG}/e2"],
        ["x"],
        [LOG + "é"],
    ):
        written(tmp_path / "bundle", *(Made.honest(Random(9), 2, log) for log in logs))
        assert verify(tmp_path / "bundle", KEYS).verdict == "cannot_verify"


def test_what_a_bundle_holds_does_not_move_the_cursor(honest: Made, tmp_path: Path) -> None:
    old, new = reopened(honest, 130)
    payload = json.loads(new.payloads[0][0] or b"")
    payload["reason"] = "\x1b[1A\x1b[2K all is well \u202e"
    new.payloads[0] = (canonical_bytes(payload), new.payloads[0][1])
    found = verify(written(tmp_path / "bundle", old, replace(new.relinked(), notes=None)), KEYS)
    assert found.verdict == "verified"
    said = verifier.told(found, hashes_only=False)
    assert "all is well" in said
    assert all(one.isprintable() or one == "\n" for one in said)


@pytest.mark.parametrize(
    "first",
    [
        b'{"previous":{"signed_size":1e999}}',
        b"[" * 100_000,
        b'{"previous":' + b"[" * 100_000,
        b"\xff",
        b"7",
        b'"\\ud800"',
    ],
)
def test_nothing_that_is_in_a_bundle_makes_it_fail(honest: Made, tmp_path: Path, first: bytes) -> None:
    old, new = reopened(honest, 130)
    new.payloads[0] = (first, new.payloads[0][1])
    found = verify(written(tmp_path / "bundle", old, new.relinked()), KEYS)
    assert (found.verdict, found.rule) == ("tampered", "not_linked")
    (tmp_path / "bundle" / MANIFEST).write_bytes(b'{"format": "routing-audit-bundle/1", "logs": ["\\ud800"]}\n')
    assert verify(tmp_path / "bundle", KEYS).verdict == "cannot_verify"


def test_of_a_zip_file_with_any_byte_changed_nothing_is_raised(tmp_path: Path) -> None:
    path = zipped(written(tmp_path / "bundle", Made.honest(Random(3), 3)))
    data, random = path.read_bytes(), Random(4)
    for _ in range(300):
        changed = bytearray(data)
        changed[random.randrange(len(data))] ^= 1 << random.randrange(8)
        path.write_bytes(changed)
        assert "It made the verifier fail" not in verify(path, KEYS).message


def test_two_files_of_one_name_are_no_bundle(honest: Made, tmp_path: Path) -> None:
    path = zipped(written(tmp_path / "bundle", honest))
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate name"):
        file.writestr("1/entries.jsonl", b"")
    assert "Two of its files have one name" in verify(path, KEYS).message


# --- What cannot be verified ------------------------------------------------------------------------------------------


def test_without_a_checkpoint_of_a_known_key_nothing_is_verified(honest: Made, tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle", honest)
    assert "No known key signed" in verify(folder, [THIEF.verify_key]).message
    assert verify(folder, []).verdict == "cannot_verify"
    (folder / "1" / CHECKPOINTS).write_bytes(b"")
    assert "No known key signed" in verify(folder, KEYS).message


def test_entries_that_nobody_signed_yet_are_said(honest: Made, tmp_path: Path) -> None:
    made = honest.copy()
    made.marks = [120]
    found = verify(written(tmp_path / "bundle", made), KEYS)
    assert (found.verdict, found.message) == (
        "cannot_verify",
        f"Nobody signed the last 80 entries of {LOG} yet.",
    )


def test_both_keys_count_while_one_replaces_the_other(honest: Made, tmp_path: Path) -> None:
    new = SigningKey("routing.example/audit", b"n" * 32)
    made = honest.copy()
    made.notes = [sign(honest.state(120).text(), [KEY]), sign(honest.state(SIZE).text(), [KEY, new])]
    written(tmp_path / "bundle", made)
    for known in ([KEY], [new], [KEY, new]):
        assert verify(tmp_path / "bundle", [key.verify_key for key in known]).verdict == "verified"


def _no_folder(folder: Path) -> Path:
    return folder / "nowhere"


def _no_zip(folder: Path) -> Path:
    return folder / MANIFEST


def _without(name: str) -> Any:
    def change(folder: Path) -> Path:
        (folder / name).unlink()
        return folder

    return change


def _with(name: str, data: bytes) -> Any:
    def change(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder

    return change


def _damaged_zip(folder: Path) -> Path:
    path = zipped(folder)
    data = bytearray(path.read_bytes())
    data[2_000:2_050] = b"x" * 50
    path.write_bytes(data)
    return path


def _encrypted(folder: Path) -> Path:
    path = zipped(folder)
    # The bit that says so, in the local headers and in the directory.
    path.write_bytes(
        path.read_bytes()
        .replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01")
        .replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    )
    return path


def _otherwise_compressed(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as file:
        file.write(folder / MANIFEST, MANIFEST)
    return path


@pytest.mark.parametrize(
    "change",
    [
        _no_folder, _no_zip, _without(MANIFEST), _without(f"1/{ENTRIES}"), _without(f"1/{PAYLOADS}"),
        _without(f"1/{CHECKPOINTS}"), _with(MANIFEST, b"{}\n"), _with(MANIFEST, b"[]\n"), _with(MANIFEST, b"{\n"),
        _with(MANIFEST, b'{"format": "routing-audit-bundle/2", "logs": ["a"]}\n'),
        _with(MANIFEST, b'{"format": "routing-audit-bundle/1", "logs": []}\n'),
        _with(MANIFEST, b'{"format": "routing-audit-bundle/1", "logs": [7]}\n'),
        _with(MANIFEST, b"[" * 100_000 + b"\n"), _with(f"1/{CHECKPOINTS}", b"{}\n"), _with(f"1/{CHECKPOINTS}", b"7\n"),
        _with(f"1/{CHECKPOINTS}", b'{"note": 7}\n'), _with(f"1/{PAYLOADS}", b"zz {}\n"), _with(f"1/{PAYLOADS}", b"\n"),
        _with(f"1/{ENTRIES}", b"x" * (MAX_LINE_BYTES + 2)), _with(f"1/{ENTRIES}", b"{}"), _damaged_zip, _encrypted,
        _otherwise_compressed,
    ],
)  # fmt: skip
def test_what_is_no_bundle_cannot_be_verified(honest: Made, tmp_path: Path, change: Any) -> None:
    found = verify(change(written(tmp_path / "bundle", honest)), KEYS)
    assert (found.verdict, found.code) == ("cannot_verify", 2), found
    assert found.message


# --- The command ------------------------------------------------------------------------------------------------------


def run(*arguments: object, capsys: Any) -> tuple[int, str, str]:
    try:
        code = main([str(argument) for argument in arguments])
    except SystemExit as error:
        code = int(error.code or 0)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_exit_code_and_the_words_say_what_was_found(honest: Made, tmp_path: Path, capsys: Any) -> None:
    path = zipped(written(tmp_path / "bundle", honest))
    since, receipt = tmp_path / "old.txt", tmp_path / "receipt.json"
    since.write_text(sign(honest.state(120).text(), [KEY]), encoding="utf-8")
    receipt.write_text(json.dumps({"version": 7, "receipt": vars_of(honest, 60)}), encoding="utf-8")
    known = ("--key", KEY.verify_key)
    code, out, _ = run(path, *known, "--since", since, "--receipt", receipt, capsys=capsys)
    assert (code, f"{LOG}: verified 200 entries, every rule, root" in out) == (0, True)
    assert "hashes and tree" in run(path, *known, "--hashes", capsys=capsys)[1]
    code, out, _ = run(path, *known, "--json", capsys=capsys)
    assert (code, json.loads(out)["verdict"], json.loads(out)["logs"][0]["signed"]) == (0, "verified", SIZE)
    forged = written(tmp_path / "forged", edit_field(honest, 60, "action").made)
    code, out, _ = run(forged, *known, capsys=capsys)
    assert (code, out) == (1, f"{LOG}: TAMPERED at entry 60 (wrong_prev): It is not the entry that entry 61 follows.\n")
    code, out, _ = run(path, "--key", THIEF.verify_key, capsys=capsys)
    assert (code, out.startswith("CANNOT VERIFY: No known key")) == (2, True)
    code, out, _ = run(path, "--key", THIEF.verify_key, "--since", since, capsys=capsys)
    assert (code, "older checkpoint cannot be trusted" in out) == (2, True)


def vars_of(made: Made, seq: int) -> dict[str, Any]:
    receipt = made.receipt(seq)
    return {"log": receipt.log, "seq": receipt.seq, "leaf_hash": receipt.leaf_hash}


@pytest.mark.parametrize(
    "arguments",
    [
        (), ("bundle",), ("bundle", "--key", "x"), ("bundle", "--key", KEY.verify_key, "--since", "nowhere"),
        ("bundle", "--key", KEY.verify_key, "--receipt", "nowhere"), ("bundle", "--key", KEY.verify_key, "--unknown"),
    ],
)  # fmt: skip
def test_a_wrong_call_is_told(arguments: tuple[object, ...], capsys: Any) -> None:
    code, out, err = run(*arguments, capsys=capsys)
    assert (code, out) == (3, "")
    assert err.startswith("usage: python -m audit.log.verify")


@pytest.mark.parametrize("text", ["", "7", "[]", "{}", '{"log": "a", "seq": -1, "leaf_hash": ""}', '{"receipt": null}'])
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"receipt|JSON|Expecting"):
        read_receipt(text)


def test_it_needs_neither_django_nor_settings(honest: Made, tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle", honest)
    program = (
        "import sys; sys.modules['django'] = None; sys.argv[0] = 'verify'; "
        "import runpy; runpy.run_module('audit.log.verify', run_name='__main__', alter_sys=True)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), "--key", str(KEY.verify_key)],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, "verified 200 entries" in done.stdout) == (0, True), done.stderr


def test_a_shell_makes_the_leaf_hash_of_an_entry(honest: Made, tmp_path: Path) -> None:
    """By the line of the documentation of bundles."""
    folder = written(tmp_path / "bundle", honest)
    (line,) = re.findall(r"^    (\(printf .*sha256sum)$", bundle.__doc__ or "", re.MULTILINE)
    done = subprocess.run(["/bin/sh", "-c", line], cwd=folder / "1", capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == leaf_hash(honest.entries[0]).hex()


def test_a_manifest_is_one_line_however_many_there_are(honest: Made, tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle", honest)
    with (folder / MANIFEST).open("ab") as file:
        file.write(b"x" * 100 + b"\n")
    assert verify(folder, KEYS).verdict == "verified"


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    import tracemalloc

    def peak(size: int) -> int:
        folder = written(tmp_path / "bundle", Made.honest(Random(3), size))
        tracemalloc.start()
        assert verify(folder, KEYS).verdict == "verified"
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    few = peak(100)
    assert peak(2_000) < few + 2_000 * 50


@pytest.mark.parametrize("error", ["ModuleNotFoundError", "ImportError"])
def test_without_the_package_that_it_needs_it_says_so_and_not_that_something_was_changed(
    tmp_path: Path, error: str
) -> None:
    (tmp_path / "cryptography.py").write_text(f"raise {error}(\"No module named 'cryptography'\")\n")
    done = subprocess.run(
        [sys.executable, "-m", "audit.log.verify", "x.zip", "--key", "x"],
        cwd=ROOT, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "CANNOT VERIFY: No module named 'cryptography'. Install it: pip install cryptography\n"


def test_what_was_looked_at_besides_is_said(honest: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, older = written(tmp_path / "bundle", honest), tmp_path / "older"
    older.write_text(honest.signed()[0].rstrip("\n"))  # as mail leaves it
    receipt = tmp_path / "receipt.json"
    receipt.write_text(json.dumps({"log": LOG, "seq": 7, "leaf_hash": honest.receipt(7).leaf_hash}))
    more = ["--since", str(older), "--receipt", str(receipt)]
    assert main([str(folder), "--key", str(KEY.verify_key), *more]) == 0
    said = capsys.readouterr().out
    assert "continues the checkpoint of 50 entries; has entry 7 of the receipt" in said
    receipt.write_text(receipt.read_text().upper())
    for wrong, option in ((more, f"--receipt {receipt}"), (["--since", str(tmp_path)], f"--since {tmp_path}")):
        with pytest.raises(SystemExit) as caught:
            main([str(folder), "--key", str(KEY.verify_key), *wrong])
        assert (caught.value.code, option in capsys.readouterr().err) == (3, True)


def test_one_key_signs_all_logs_so_whose_it_is_must_be_asked_for(honest: Made, tmp_path: Path, capsys: Any) -> None:
    path = written(tmp_path / "bundle", honest)
    for log in (LOG, LOG.rpartition("/")[2]):
        assert run(path, "--key", KEY.verify_key, "--log", log, capsys=capsys)[0] == 0
    for log in ("installation", f"{LOG}0", LOG[1:]):
        code, out, _ = run(path, "--key", KEY.verify_key, "--log", log, capsys=capsys)
        assert (code, out) == (2, f"CANNOT VERIFY: This is the log {LOG}, not {log}.\n")


def test_a_retired_key_counts_for_the_older_checkpoint_and_for_nothing_else(
    honest: Made, tmp_path: Path, capsys: Any
) -> None:
    new, older = SigningKey(KEY.name, b"n" * 32), tmp_path / "older"
    older.write_text(sign(honest.state(120).text(), [KEY]), encoding="utf-8")
    path = written(tmp_path / "bundle", replace(honest, key=new))
    asked = (path, "--key", new.verify_key, "--since", older)
    code, out, _ = run(*asked, capsys=capsys)
    assert (code, "retired by now, name that: --since-key" in out) == (2, True)
    code, out, _ = run(*asked, "--since-key", KEY.verify_key, capsys=capsys)
    assert (code, f"signed by {KEY.name}+{new.verify_key.key_id.hex()}; continues" in out) == (0, True)
    # Whoever stole it, once it was retired, signs nothing that is believed.
    written(tmp_path / "bundle", honest)
    assert run(*asked, "--since-key", KEY.verify_key, capsys=capsys)[0] == 2


@pytest.mark.parametrize("how", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}])
def test_what_a_terminal_cannot_show_is_no_other_verdict(honest: Made, tmp_path: Path, how: dict[str, str]) -> None:
    old, new = reopened(honest, 130)
    payload = json.loads(new.payloads[0][0] or b"")
    payload["reason"] = "ディスク故障"
    new.payloads[0] = (canonical_bytes(payload), new.payloads[0][1])
    folder = written(tmp_path / "bundle", old, replace(new.relinked(), notes=None))
    done = verified(folder, env={**os.environ, **how})
    assert (done.returncode, "\\u30c7\\u30a3" in done.stdout) == (0, True), done


def verified(folder: Path, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "audit.log.verify", str(folder), "--key", str(KEY.verify_key)],
        **{"cwd": ROOT, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "check": False, **more},
    )  # fmt: skip


def test_where_nothing_can_be_said_the_exit_code_is_not_that_of_a_forgery(honest: Made, tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle", honest)
    with open("/dev/full", "w") as full:
        assert verified(folder, stdout=full).returncode == 2
    ours, theirs = os.pipe()
    os.close(ours)
    with os.fdopen(theirs, "w") as closed:
        assert verified(folder, stdout=closed).returncode == 2


def test_it_is_not_run_where_the_files_of_the_bundle_would_be_its_own(honest: Made, tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle", honest)
    for inside in (folder, folder / "1"):
        done = verified(folder, cwd=inside, env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert (done.returncode, "run this from elsewhere" in done.stderr) == (3, True)


def test_a_bundle_of_pipes_or_of_very_many_files_is_none(honest: Made, tmp_path: Path) -> None:
    folder = written(tmp_path / "bundle", honest)
    (folder / "1" / ENTRIES).unlink()
    os.mkfifo(folder / "1" / ENTRIES)
    assert "is no file" in verify(folder, KEYS).message
    os.mkfifo(tmp_path / "pipe.zip")
    assert "neither a folder nor a file" in verify(tmp_path / "pipe.zip", KEYS).message
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as file:
        for number in range(5_000):
            file.writestr(str(number), b"")
    assert "more files than a bundle has" in verify(tmp_path / "many.zip", KEYS).message


@pytest.mark.parametrize(
    ("host", "fits"),
    [
        ("routing.example", True), ("localhost", True), ("a" * 200, True), ("routing.example:8000", True),
        ("a" * 201, False), ("", False), ("rückgrat.example", False), ("a b.example", False), ("a+b.example", False),
        ("a.example\n", False),
    ],
)  # fmt: skip
def test_logs_are_called_only_as_their_bundles_may_be(host: str, fits: bool) -> None:
    assert is_host(host) == fits


@pytest.mark.parametrize(
    "payload",
    [b'{"who":"eve","who":"jo"}', b'{"n": 1}', b'{"n":1.5}', b'{"n":"\\u0041"}', b'{"b":1,"a":2}', b'{"n":1}}'],
)
def test_before_anything_is_signed_payloads_are_read_too(payload: bytes) -> None:
    made = Made([], [], [])
    told(made, "route.created", ("route", "r"), {})
    made.payloads[0] = (payload, b"s" * 16)
    made = made.relinked()
    Checker(LOG).take(made.entries[0], *made.payloads[0])
    with pytest.raises(BadEntry, match="not canonical") as caught:
        Checker(LOG, reads_payloads=True).take(made.entries[0], *made.payloads[0])
    assert caught.value.rule == "bad_payload"
