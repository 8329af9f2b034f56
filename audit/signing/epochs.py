"""A new log where the old one cannot go on, after a restore from a backup above all."""

from typing import Any
from uuid import UUID

from django.db import transaction

from audit.log import tree
from audit.log.check import EPOCH_OPENED
from audit.models import AuditHead
from audit.services import Receipt, locked_head, next_log, record
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
            old = AuditHead.objects.get(pk=locked_head(org_id).pk)
            new, signed = next_log(old.log), state.all().get(old.log) or Signed(old.log)
            try:
                continued(state, signed, old)
            except Refused:
                pass
            else:
                raise NotRefused(f"The signer does not refuse the log {old.log}: it goes on as it is.")
            # Before anything is committed: should this process end in between, the old log is refused as it was.
            state.allow(new)
            AuditHead.objects.filter(pk=old.pk).update(is_current=False)
            AuditHead.objects.create(org_id=org_id, epoch=old.epoch + 1, log=new)
            previous = {
                "log": old.log,
                "size": old.size,
                "root": tree.root(tree.unpack(bytes(old.right_edge))).hex(),
                "signed_size": signed.size,
                "signed_root": signed.root.hex(),
            }
            payload = {"reason": reason, "previous": previous}
            return record(org_id, by=by, action=EPOCH_OPENED, target=("log", new), payload=payload)
    finally:
        state.close()
