"""A new log where the old one cannot go on, after a restore from a backup above all."""

from contextlib import suppress
from itertools import accumulate
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction

from audit.log import notes, tree
from audit.log.check import EPOCH_OPENED
from audit.log.entry import BadEntry, Entry
from audit.models import AuditEntry, AuditHead, Checkpoint, raw
from audit.services import Receipt, place_of, record
from audit.signing.keys import key_name, own_keys, signer_folder
from audit.signing.signer import Refused, continued, heads, look_at_own
from audit.signing.state import Closed, Signed, State


class NotRefused(Exception):
    """The log goes on as it is."""

    code = "not_refused"


def open_epoch(org_id: UUID | None, *, reason: str, by: Any, force: bool = False) -> Receipt:
    """Close the log of an organisation, or of the installation for None, which the signer refuses, and open the next one.

    Its first entry says what the old log is now, what of it was signed, how much of that is there, and why. To be called
    where the signer's memory is: it signs no new log for an old one that was not opened there, with this very entry. Raises
    `NotRefused` for a log that can go on, unless `force` is given.
    """
    state = State(signer_folder())
    try:
        with transaction.atomic():
            known = state.all()
            old = _closing(org_id, known)
            signed = known.get(old.log) or Signed(old.log)
            if not force:
                _refuse_sound(old.log, signed, state)
            ended = _close(old, {**_within(signed), **state.marks(old.log), **_own_marks(old.log)})
            new, epoch, lost = _next(org_id, old.epoch, known)
            AuditHead.objects.create(org_id=org_id, epoch=epoch, log=new)
            previous = {
                "log": old.log,
                "size": ended.size,
                "root": tree.root(ended.edge).hex(),
                "signed_size": signed.size,
                "signed_root": signed.root.hex(),
                "kept": ended.kept,
                "lost": [{"log": one.log, "size": one.size, "root": one.root.hex()} for one in lost],
            }
            payload = {"reason": reason, "previous": previous}
            receipt = record(org_id, by=by, action=EPOCH_OPENED, target=("log", new), payload=payload)
            # Before anything is committed: should this process end in between, the old log is refused as it was.
            closed = Closed(old.log, ended.size, tree.pack(ended.edge))
            state.open(new, bytes.fromhex(receipt.leaf_hash), closed=closed, lost=[one.log for one in lost])
            return receipt
    finally:
        state.close()


def _closing(org_id: UUID | None, known: dict[str, Signed]) -> AuditHead:
    """The head of the log that is closed, locked as it is: it may not be one that can be written to. Where the database
    does not know a log that was signed, because the backup is older, it has no entries."""
    # Where somebody closed all of them, the newest.
    heads = AuditHead.objects.select_for_update().filter(org_id=org_id)
    head = heads.filter(is_current=True).first() or heads.order_by("-epoch").first()
    if head is not None:
        return head
    first = key_name().removesuffix("/audit") + place_of(org_id)
    if first not in known:
        raise NotRefused("There is no such log.")
    return AuditHead.objects.create(org_id=org_id, log=first, is_current=False)


def _refuse_sound(log: str, signed: Signed, state: State) -> None:
    (row,) = [row for row in heads() if row.log == log]
    if log in state.closed() or not row.is_current:
        return
    with suppress(Refused):
        if not signed.size:
            look_at_own(log, own_keys(), state.opened().get(log))
        continued(signed, row)
        raise NotRefused(f"The signer does not refuse the log {log}: it goes on as it is.")


def _next(org_id: UUID | None, epoch: int, known: dict[str, Signed]) -> tuple[str, int, list[Signed]]:
    """Name and number of the new log, and those that were signed after the old one and are lost: a backup may be from
    before they were opened."""
    host, lost = key_name().removesuffix("/audit"), []
    while (name := host + place_of(org_id, epoch + 1)) in known:
        lost.append(known[name])
        epoch += 1
    return name, epoch + 1, lost


class _Ended(NamedTuple):
    """What a log is at its end. `kept`: so many of its first entries are those that were signed."""

    size: int
    edge: list[bytes]
    kept: int


def _close(head: AuditHead, marks: dict[int, bytes]) -> _Ended:
    """Makes the head of a log that ends here that of the entries that there are. `marks`: by size what was signed."""
    size, edge, last, kept = 0, list[bytes](), b"", 0
    rows = AuditEntry.objects.filter(log=head.log).order_by("seq", "pk")
    for (entry,) in rows.values_list(raw("entry")).iterator(1_000):
        last = bytes(entry)
        edge = tree.append(size, edge, tree.leaf_hash(last))
        size += 1
        if size in marks and marks[size] == tree.root(edge):
            kept = size
    try:
        last_ts = Entry.from_bytes(last).ts
    except BadEntry:
        last_ts = head.last_ts  # nothing is added that would be compared with it
    head.is_current, head.size, head.right_edge, head.last_ts = False, size, tree.pack(edge), last_ts
    head.last_leaf_hash = tree.leaf_hash(last) if size else None
    head.save()
    return _Ended(size, edge, kept)


def _within(signed: Signed) -> dict[int, bytes]:
    """The roots of the smaller trees that the signer knows, because they are the left of the one that it signed."""
    widths = [1 << bit for bit in reversed(range(signed.size.bit_length())) if signed.size >> bit & 1]
    return {size: tree.root(signed.edge[:number]) for number, size in enumerate(accumulate(widths), 1)}


def _own_marks(log: str) -> dict[int, bytes]:
    """What the database still has of the signer's own checkpoints."""
    keys, found = [key.verify_key for key in own_keys()], {}
    for note in Checkpoint.objects.filter(log=log).values_list("note", flat=True).iterator():
        with suppress(notes.BadNote):
            one = notes.open_checkpoint(note, keys)
            found[one.size] = one.root
    return found
