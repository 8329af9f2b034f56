"""What auditors and holders of receipts ask the API for."""

import json
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from audit.log.notes import open_checkpoint
from audit.log.proofs import verify_consistency, verify_inclusion
from audit.log.verify import read_receipt, verify
from audit.models import AuditEntry, AuditHead, Checkpoint
from audit.signing.epochs import open_epoch
from audit.signing.keys import known_keys
from routes.orgs.models import Organization
from tests.api.conftest import Caller, promised  # noqa: F401  every answer is as promised
from tests.audit.build import TABLE, sql, without_triggers
from tests.audit.signing.build import cut, signed
from tests.build import BY, a_person, a_route, an_org, sign_logs

pytestmark = pytest.mark.django_db


@pytest.fixture
def viewer(org: Organization) -> Caller:
    return Caller(org, "viewer")


def leaves(org: Organization) -> list[bytes]:
    rows = AuditEntry.objects.of(org.pk).in_order().values_list("leaf_hash", flat=True)
    return [bytes(leaf) for leaf in rows]


def test_a_receipt_is_shown_to_be_in_the_log_that_is_exported(org: Organization, tmp_path: Path) -> None:
    editor = Caller(org, "editor")
    route = {"name": "r", "then": {"target_model": "m"}}
    answer = editor("post", "routes/", route).json()
    sign_logs()
    receipt = read_receipt(json.dumps(answer))
    checkpoint = editor("get", "audit/checkpoint/")
    assert checkpoint["Content-Type"] == "text/plain; charset=utf-8"
    said = open_checkpoint(checkpoint.content.decode(), known_keys())
    assert (said.origin, said.size) == (receipt.log, len(leaves(org)))
    text = editor("get", f"audit/{receipt.seq}/proof/").content.decode()
    head, _, note = text.partition("\n\n")
    first, index, *hashes = head.split("\n")
    assert (first, index, note) == ("c2sp.org/tlog-proof@v1", f"index {receipt.seq}", checkpoint.content.decode())
    verify_inclusion(
        receipt.seq, said.size, bytes.fromhex(receipt.leaf_hash), [b64decode(one) for one in hashes], said.root
    )
    exported = editor("get", "audit/export/")
    assert exported["Content-Disposition"] == 'attachment; filename="audit-acme.zip"'
    path = tmp_path / "audit.zip"
    path.write_bytes(b"".join(exported))
    found = verify(path, known_keys(), since=said, receipt=receipt)
    assert found.verdict == "verified", found


def test_a_log_is_shown_to_have_only_grown(viewer: Caller, org: Organization) -> None:
    a_route(org, "a")
    sign_logs()
    old = open_checkpoint(viewer("get", "audit/checkpoint/").content.decode(), known_keys())
    a_route(org, "b")
    a_route(org, "c")
    Checkpoint.objects.all().delete()
    sign_logs()
    new = open_checkpoint(viewer("get", "audit/checkpoint/").content.decode(), known_keys())
    answer = viewer("get", f"audit/consistency/?from={old.size}&to={new.size}").json()
    assert (answer["log"], answer["from"], answer["to"]) == (old.origin, old.size, new.size)
    verify_consistency(old.size, new.size, old.root, new.root, [b64decode(one) for one in answer["hashes"]])


def test_what_is_not_signed_yet_is_a_conflict_that_passes(viewer: Caller, org: Organization) -> None:
    for path in ("checkpoint/", "0/proof/"):
        answer = viewer("get", f"audit/{path}")
        assert (answer.status_code, answer.json()["code"]) == (409, "not_signed"), path
    sign_logs()
    a_route(org)
    newest = AuditHead.objects.get(org_id=org.pk).size - 1
    answer = viewer("get", f"audit/{newest}/proof/")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_signed")
    assert f"covers {newest} entries" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("99/proof/", 404), (f"{2**53}/proof/", 404), (f"{10**30}/proof/", 404), ("x/proof/", 404), ("-1/proof/", 404),
        ("consistency/", 422), ("consistency/?from=1", 422), ("consistency/?from=0&to=1", 422),
        ("consistency/?from=2&to=1", 422), ("consistency/?from=1&to=1e3", 422), ("consistency/?from=%D9%A3&to=3", 422),
        ("consistency/?from=1&from=1&to=1", 422), ("consistency/?from=1&to=99", 404),
        (f"consistency/?from=1&to={2**53}", 422), ("checkpoint/?x=1", 422), ("export/?x=1", 422), ("0/proof/?x=1", 422),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused(viewer: Caller, path: str, status: int) -> None:
    sign_logs()
    answer = viewer("get", f"audit/{path}")
    assert (answer.status_code, answer["Content-Type"]) == (status, "application/problem+json"), answer.content


def test_a_refusal_is_json_whatever_was_asked_for(viewer: Caller) -> None:
    answer = viewer("get", "audit/checkpoint/", headers={"Accept": "text/plain"})
    assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")
    assert viewer("get", "audit/checkpoint/", headers={"Accept": "application/xml"}).status_code == 406


def test_the_installation_has_a_log_of_its_own(client: Any, tmp_path: Path) -> None:
    an_org()
    client.force_login(a_person("staff", is_superuser=True))
    assert client.get("/api/v1/audit/checkpoint/").json()["code"] in ("not_found", "not_signed")
    sign_logs()
    assert client.get("/api/v1/audit/0/proof/").content.startswith(b"c2sp.org/tlog-proof@v1\nindex 0\n")
    path = tmp_path / "audit.zip"
    path.write_bytes(BytesIO(b"".join(client.get("/api/v1/audit/export/"))).getvalue())
    assert verify(path, known_keys()).verdict == "verified"


def test_nobody_is_sent_a_proof_that_proves_nothing(viewer: Caller, org: Organization) -> None:
    a_route(org)
    sign_logs()
    with without_triggers():
        sql(f"UPDATE {TABLE} SET leaf_hash = salt WHERE seq = 0 AND org_id IS NOT NULL")
    for seq in (0, 1):
        answer = viewer("get", f"audit/{seq}/proof/")
        assert (answer.status_code, answer.json()["code"]) == (503, "log_damaged"), answer.content
    with without_triggers():
        sql(f"DELETE FROM {TABLE} WHERE seq = 1 AND org_id IS NOT NULL")
    size = AuditHead.objects.get(org_id=org.pk).size
    for path in ("1/proof/", f"consistency/?from=1&to={size}"):
        answer = viewer("get", f"audit/{path}")
        assert (answer.status_code, answer.json()["code"]) == (503, "log_damaged"), answer.content


def test_the_entries_of_an_older_log_are_shown_to_be_in_it(
    viewer: Caller, org: Organization, settings: Any, tmp_path: Path
) -> None:
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "signer")
    a_route(org)
    signed()
    log = AuditHead.objects.get(org_id=org.pk).log
    row, size = AuditEntry.objects.get(log=log, seq=1), AuditHead.objects.get(log=log).size
    open_epoch(org.pk, reason="restored", by=BY, force=True)
    signed()
    assert viewer("get", "audit/1/proof/").status_code == 404, "of the new log"
    text = viewer("get", f"audit/1/proof/?log={log}").content.decode()
    said = open_checkpoint(viewer("get", f"audit/checkpoint/?log={log}").content.decode(), known_keys())
    hashes = [b64decode(one) for one in text.partition("\n\n")[0].split("\n")[2:]]
    verify_inclusion(1, said.size, bytes(row.leaf_hash), hashes, said.root)
    answer = viewer("get", f"audit/consistency/?from=1&to={size}&log={log}").json()
    assert (answer["log"], answer["to"]) == (log, size)
    for wrong in ("nobody", "%00", f"routing.example/audit/{org.pk}/e9"):
        assert viewer("get", f"audit/checkpoint/?log={wrong}").status_code == 404


def test_of_a_closed_log_that_is_shown_which_is_there(
    viewer: Caller, org: Organization, settings: Any, tmp_path: Path
) -> None:
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "signer")
    for number in range(3):
        a_route(org, f"route {number}")
        signed()
    log = AuditHead.objects.get(org_id=org.pk).log
    size = AuditHead.objects.get(log=log).size
    cut(org.pk, size - 1)
    open_epoch(org.pk, reason="restored", by=BY)
    signed()
    assert (
        open_checkpoint(viewer("get", f"audit/checkpoint/?log={log}").content.decode(), known_keys()).size == size - 1
    )
    assert viewer("get", f"audit/0/proof/?log={log}").status_code == 200
    assert viewer("get", f"audit/{size - 1}/proof/?log={log}").status_code == 404
    a_route(org, "not signed yet")
    later = AuditHead.objects.get(org_id=org.pk, is_current=True)
    open_epoch(org.pk, reason="and closed", by=BY, force=True)
    answer = viewer("get", f"audit/{later.size - 1}/proof/?log={later.log}")
    assert (answer.status_code, answer.json()["code"]) == (409, "not_signed")
    assert "The first entry of the next log tells" in answer.json()["detail"]
