"""What is exported is what the verifier, which knows no database, takes: every log of an organisation, as far as it is
signed."""

import json
import os
import re
import subprocess
from itertools import islice
from pathlib import Path
from textwrap import dedent
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError, transaction

from audit.actors import system
from audit.errors import LogsChanged
from audit.evidence import bundles
from audit.log.notes import VerifyKey, open_checkpoint
from audit.log.verify import Found
from audit.log.verify import verify as verify_bundle
from audit.models import AuditEntry, Checkpoint
from audit.services import record
from audit.signing.epochs import open_epoch
from audit.signing.keys import add_key, known_keys
from tests.audit.build import ORG, TABLE, some, sql, without_triggers
from tests.audit.signing.build import LOG, cut, rewrite, signed

pytestmark = pytest.mark.django_db
BY = system("test")


def exported(tmp_path: Path, *, name: str = "bundle.zip", org: Any = ORG) -> Path:
    path = tmp_path / f"{uuid4()}-{name}"
    which = {"installation": True} if org is None else {"org": org}
    call_command("audit_export", path, **which)
    return path


def found_in(path: Path, **asked: Any) -> Found:
    return verify_bundle(path, known_keys(), **asked)


@pytest.mark.parametrize("name", ["bundle.zip", "folder"])
def test_an_export_is_verified_from_the_first_entry_to_the_last_that_is_signed(tmp_path: Path, name: str) -> None:
    some(30)
    signed()
    some(10)
    signed()
    some(5)
    found = found_in(exported(tmp_path, name=name))
    assert (found.verdict, found.logs[0].entries, found.logs[0].signed) == ("verified", 40, 40), found
    assert found.logs[0].checkpoints == 2
    assert found_in(exported(tmp_path, name=name, org=None)).verdict == "verified"


def test_payloads_go_with_their_entries(tmp_path: Path) -> None:
    some(3)
    signed()
    lines = (exported(tmp_path, name="folder") / "1" / "payloads.txt").read_bytes().splitlines()
    rows = AuditEntry.objects.of(ORG).in_order()
    assert lines == [bytes(row.salt or b"").hex().encode() + b" " + bytes(row.payload or b"") for row in rows]


def test_what_nobody_signed_is_exported_and_cannot_be_verified(tmp_path: Path) -> None:
    some(3)
    found = found_in(exported(tmp_path))
    assert (found.verdict, found.message) == ("cannot_verify", f"No known key signed a checkpoint of {LOG}.")


def test_a_blanked_payload_is_exported_with_the_entry_that_tells_of_it(tmp_path: Path) -> None:
    some(3)
    signed()
    with transaction.atomic():
        record(ORG, by=BY, action="audit.redacted", target=("entry", "1"), payload={"reason": "a name"})
        sql(f"UPDATE {TABLE} SET payload = NULL, salt = NULL WHERE seq = 1 AND org_id IS NOT NULL")
    assert found_in(exported(tmp_path)).message == f"Nobody signed the last entry of {LOG} yet."
    signed()
    found = found_in(exported(tmp_path))
    assert (found.verdict, found.logs[0].redacted) == ("verified", 1)


def test_whoever_has_an_older_checkpoint_sees_what_was_cut_or_rewritten(tmp_path: Path) -> None:
    some(8)
    signed()
    older = open_checkpoint(Checkpoint.objects.get(log=LOG).note, known_keys())
    rewrite(ORG, 3, action="test.forged")
    Checkpoint.objects.all().delete()
    rewritten = found_in(exported(tmp_path), since=older)
    assert (rewritten.verdict, rewritten.rule) == ("tampered", "rewritten")
    cut(ORG, 5)
    assert found_in(exported(tmp_path), since=older).rule == "cut"


def test_after_a_restore_both_logs_are_exported(tmp_path: Path) -> None:
    some(8)
    signed()
    older = open_checkpoint(Checkpoint.objects.get(log=LOG).note, known_keys())
    cut(ORG, 5)
    open_epoch(ORG, reason="restored the backup of 03:00", by=BY)
    some(2)
    signed()
    found = found_in(exported(tmp_path))
    assert [(one.log, one.entries, one.signed, one.lost, one.reason) for one in found.logs] == [
        (LOG, 5, 5, 8, "restored the backup of 03:00"), (f"{LOG}/e2", 3, 3, 0, ""),
    ]  # fmt: skip
    assert found.verdict == "verified"
    lost = found_in(exported(tmp_path), since=older)
    assert (lost.verdict, "restored the backup of 03:00" in lost.message) == ("cannot_verify", True)


def test_a_zip_file_comes_in_pieces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    some(40)
    signed()
    monkeypatch.setattr(bundles, "PIECE_BYTES", 500)
    pieces = list(bundles.bundle_of(ORG))
    assert len(pieces) > 2
    path = tmp_path / "bundle.zip"
    path.write_bytes(b"".join(pieces))
    assert found_in(path).verdict == "verified"


def test_nothing_is_overwritten_and_where_there_is_no_log_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no audit log yet"):
        exported(tmp_path)
    assert list(tmp_path.glob("*.zip")) == []
    some(1)
    for name in ("bundle.zip", "folder"):
        path = exported(tmp_path, name=name)
        with pytest.raises(CommandError, match="cannot be written"):
            call_command("audit_export", path, org=ORG)


@pytest.mark.parametrize("name", ["b.zip", "B.ZIP", "folder"])
def test_what_is_exported_is_there_whole_or_not_at_all_and_for_its_owner_alone(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some(3)
    signed()
    out = tmp_path / "out"
    out.mkdir()
    read = bundles._notes

    def fails(rows: Any) -> Any:
        raise OperationalError("the database went away")

    monkeypatch.setattr(bundles, "_notes", fails)
    with pytest.raises(CommandError) as caught:
        call_command("audit_export", out / name, org=ORG)
    assert (caught.value.returncode, list(out.iterdir())) == (2, [])
    monkeypatch.setattr(bundles, "_notes", read)
    call_command("audit_export", out / name, org=ORG)
    assert [one.name for one in out.iterdir()] == [name]
    assert (out / name).is_dir() == (name == "folder")
    assert all(one.stat().st_mode & 0o077 == 0 for one in out.glob("*"))
    assert found_in(out / name).verdict == "verified"


def test_an_export_beside_which_a_log_is_opened_is_made_again() -> None:
    some(3)
    signed()
    files = bundles.files_of(ORG)
    assert [name for name, lines in islice(files, 3) if list(lines)][-1] == "1/payloads.txt"
    open_epoch(ORG, reason="restored", by=BY, force=True)
    with pytest.raises(LogsChanged):
        next(files)


def test_what_was_forged_in_the_database_is_found_in_the_export(tmp_path: Path) -> None:
    some(8)
    signed()
    with without_triggers():
        sql(f"UPDATE {TABLE} SET payload = entry WHERE seq = 3")
    found = found_in(exported(tmp_path))
    assert (found.rule, found.bad_seq) == ("wrong_payload", 3)


def test_what_the_bundle_says_of_itself_is_so(tmp_path: Path) -> None:
    """With its own lines, in a shell, and no program of ours; while one key replaces another, with either."""
    some(5)
    signed()
    older = known_keys()[0]
    add_key(by=BY, reason="its time has come")
    some(6)
    signed()
    folder = exported(tmp_path, name="folder")
    text = (folder / "README.txt").read_text()
    leaf, tree, payload, note = re.findall(r"(?:^ {8}.*\n)+", text, re.MULTILINE)

    def ran(commands: str, key: VerifyKey = older) -> str:
        environment = {"PATH": os.environ["PATH"], "VKEY": str(key)}
        done = subprocess.run(
            ["/bin/sh", "-ec", dedent(commands)],
            cwd=folder / "1", env=environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        return done.stdout

    row = AuditEntry.objects.of(ORG).in_order()[0]
    assert ran(leaf).split()[0] == bytes(row.leaf_hash).hex()
    assert ran(payload).strip() == json.loads(bytes(row.entry))["payload_sha256"]
    assert len(known_keys()) == 2
    for key in known_keys():
        assert "Verified Successfully" in ran(note, key)
    assert (folder / "1" / "text").read_text().split("\n")[1:3] == ["11", ran(tree).strip()]
    (folder / "1" / "text").write_text((folder / "1" / "text").read_text().replace("\n11\n", "\n12\n"))
    with pytest.raises(subprocess.CalledProcessError):
        ran(note.splitlines()[-1])
    entries = (folder / "1" / "entries.jsonl").read_text().replace('"test.happened"', '"test.forgotten"', 1)
    (folder / "1" / "entries.jsonl").write_text(entries)
    with pytest.raises(subprocess.CalledProcessError):
        ran(tree)
