"""Checkpoints, and proofs about the log that an organisation, or the installation, writes to."""

from base64 import b64encode
from uuid import UUID

from audit.errors import LogDamaged, NoSuchEntry, NotSigned
from audit.evidence.subtrees import forget, root_of
from audit.log.notes import unverified
from audit.log.proofs import consistency_ranges, inclusion_ranges, verify_inclusion
from audit.models import AuditEntry, AuditHead, Checkpoint


def log_of(org_id: UUID | None, log: str = "") -> AuditHead:
    """The head of this log of an organisation; without a name of the one that is written to. Raises `NoSuchEntry`."""
    heads = AuditHead.objects.filter(org_id=org_id)
    # PostgreSQL refuses to compare with U+0000.
    head = None if "\0" in log else (heads.filter(log=log) if log else heads.filter(is_current=True)).first()
    if head is None:
        raise NoSuchEntry(f"There is no log {log} here." if log else "There is no audit log yet.")
    return head


def newest_checkpoint(head: AuditHead) -> Checkpoint:
    """What was signed last of a log, of a closed one so far as it is there. Raises `NotSigned`."""
    rows = Checkpoint.objects.filter(log=head.log)
    found = (rows if head.is_current else rows.filter(size__lte=head.size)).order_by("-size").first()
    if found is None:
        raise NotSigned("Nothing of this log is signed yet. The signer does so within ten seconds, where it runs.")
    return found


def proof_of(org_id: UUID | None, seq: int, log: str = "") -> str:
    """That an entry is in the log, as C2SP writes it (c2sp.org/tlog-proof): its place, the hashes from it to the root, and
    the newest checkpoint. Raises `NoSuchEntry`, `NotSigned` and `LogDamaged`."""
    head = log_of(org_id, log)
    leaf = AuditEntry.objects.filter(log=head.log, seq=seq).values_list("leaf_hash", flat=True).first()
    if seq >= head.size:
        raise NoSuchEntry(f"The log has {head.size:,} entries, from 0 on.")
    newest = newest_checkpoint(head)
    if seq >= newest.size and not head.is_current:
        raise NotSigned(
            f"The log was closed before entry {seq:,} was signed. The first entry of the next log tells how large this one"
            " was, and its root."
        )
    if seq >= newest.size:
        raise NotSigned(f"Entry {seq:,} is not signed yet: the newest checkpoint covers {newest.size:,} entries.")
    try:
        _look_whether_kept(head.log, newest)
        hashes = [root_of(head.log, *one) for one in inclusion_ranges(seq, newest.size)]
        # Nobody is sent a proof that proves nothing.
        verify_inclusion(seq, newest.size, bytes(leaf or b""), hashes, unverified(newest.note).root)
    except (ValueError, TypeError) as error:
        raise LogDamaged(head.log) from error
    lines = ["c2sp.org/tlog-proof@v1", f"index {seq}", *map(_base64, hashes)]
    return "\n".join(lines) + "\n\n" + newest.note


def consistency_of(org_id: UUID | None, old: int, new: int, log: str = "") -> list[str]:
    """The hashes, in base64, that show the first `old` entries of the log to be the beginning of the first `new`. Raises
    `NoSuchEntry` and `LogDamaged`, and `ValueError` unless 0 < old <= new."""
    head = log_of(org_id, log)
    if new > head.size:
        raise NoSuchEntry(f"The log has {head.size:,} entries.")
    if not 0 < old <= new:
        raise ValueError("The old tree is empty, or the larger one.")
    try:
        if newest := Checkpoint.objects.filter(log=head.log, size__lte=head.size).order_by("-size").first():
            _look_whether_kept(head.log, newest)
        return [_base64(root_of(head.log, *one)) for one in consistency_ranges(old, new)]
    except (ValueError, TypeError) as error:
        raise LogDamaged(head.log) from error


def _look_whether_kept(log: str, newest: Checkpoint) -> None:
    """What is kept in memory of a log must be of what is signed: after a restore it is of another history."""
    if root_of(log, 0, newest.size) != unverified(newest.note).root:
        forget(log)


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
