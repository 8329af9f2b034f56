"""A new log where the old one cannot go on, after a restore from a backup above all."""

from typing import Any
from uuid import UUID

from django.db import transaction

from audit.log import tree
from audit.log.check import EPOCH_OPENED
from audit.log.entry import BadEntry, Entry
from audit.models import AuditEntry, AuditHead
from audit.services import Receipt, next_log, record
from audit.signing.keys import signer_folder
from audit.signing.signer import Refused, continued
from audit.signing.state import Signed, State


class NotRefused(Exception):
    """The log goes on as it is."""

    code = "not_refused"


def open_epoch(org_id: UUID | None, *, reason: str, by: Any) -> Receipt:
    """Close the log of an organisation, or of the installation for None, which the signer refuses, and open the next one.

    Its first entry says what the old log is now, what of it was signed, and why. To be called where the signer's memory is:
    it signs no new log for an old one that was not opened there. Raises `NotRefused` for a log that can go on.
    """
    state = State(signer_folder())
    try:
        with transaction.atomic():
            # Locked as it is: it may not be one that can be written to.
            old = AuditHead.objects.select_for_update().filter(org_id=org_id, is_current=True).first()
            if old is None:
                raise NotRefused("There is no such log.")
            new, signed = next_log(old.log), state.all().get(old.log) or Signed(old.log)
            try:
                continued(state, signed, old)
            except Refused:
                pass
            else:
                raise NotRefused(f"The signer does not refuse the log {old.log}: it goes on as it is.")
            # Before anything is committed: should this process end in between, the old log is refused as it was.
            state.allow(new)
            size, root = _close(old)
            AuditHead.objects.create(org_id=org_id, epoch=old.epoch + 1, log=new)
            previous = {
                "log": old.log,
                "size": size,
                "root": root.hex(),
                "signed_size": signed.size,
                "signed_root": signed.root.hex(),
            }
            payload = {"reason": reason, "previous": previous}
            return record(org_id, by=by, action=EPOCH_OPENED, target=("log", new), payload=payload)
    finally:
        state.close()


def _close(head: AuditHead) -> tuple[int, bytes]:
    """The head of a log that ends here, made that of the entries that there are: their number, and their root."""
    size, edge, last = 0, list[bytes](), b""
    for (entry,) in AuditEntry.objects.filter(log=head.log).order_by("seq", "pk").values_list("entry").iterator(1_000):
        last = bytes(entry)
        edge = tree.append(size, edge, tree.leaf_hash(last))
        size += 1
    try:
        last_ts = Entry.from_bytes(last).ts
    except BadEntry:
        last_ts = head.last_ts  # nothing is added that would be compared with it
    head.is_current, head.size, head.right_edge, head.last_ts = False, size, tree.pack(edge), last_ts
    head.last_leaf_hash = tree.leaf_hash(last) if size else None
    head.save()
    return size, tree.root(edge)
