"""Proofs made of what is kept in memory are those of the definition."""

from base64 import b64decode
from pathlib import Path
from typing import Any

import pytest

from audit.evidence import subtrees
from audit.evidence.proofs import consistency_of, proof_of
from audit.log.proofs import consistency_proof, inclusion_proof
from audit.models import AuditEntry, Checkpoint
from tests.audit.build import ORG, some
from tests.audit.signing.build import LOG, refit, rewrite, signed

pytestmark = pytest.mark.django_db
SIZE = 45


@pytest.fixture(autouse=True)
def small(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.AUDIT_SIGNER_DIR = str(tmp_path / "signer")
    monkeypatch.setattr(subtrees, "WIDTH", 4)
    subtrees._blocks.clear()


def leaves() -> list[bytes]:
    return [bytes(row.leaf_hash) for row in AuditEntry.objects.of(ORG).in_order()]


def shown(seq: int) -> list[bytes]:
    return [b64decode(line) for line in proof_of(ORG, seq).partition("\n\n")[0].split("\n")[2:]]


def test_every_proof_of_a_log_that_grows_is_that_of_the_definition() -> None:
    for size in (1, 3, 4, 5, 8, 17, SIZE):
        some(size - AuditEntry.objects.of(ORG).count())
        signed()
        hashes = leaves()
        for seq in range(size):
            assert shown(seq) == inclusion_proof(seq, size, hashes), (seq, size)
        for old in range(1, size + 1):
            assert [b64decode(one) for one in consistency_of(ORG, old, size)] == consistency_proof(old, size, hashes)
    assert len(subtrees._blocks[LOG]) == SIZE // 4


def test_what_is_kept_of_another_history_is_not_used(settings: Any) -> None:
    some(SIZE)
    signed()
    before = shown(3)
    rewrite(ORG, 20, action="test.forged")
    refit(ORG)
    Checkpoint.objects.all().delete()
    (Path(settings.AUDIT_SIGNER_DIR) / "state.sqlite3").unlink()
    signed()
    assert shown(3) == inclusion_proof(3, SIZE, leaves()) != before
    assert [b64decode(one) for one in consistency_of(ORG, 7, SIZE)] == consistency_proof(7, SIZE, leaves())


def test_of_few_logs_something_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subtrees, "LOGS", 2)
    for number in range(4):
        subtrees._whole(f"log {number}", 0)
    assert list(subtrees._blocks) == ["log 2", "log 3"]
