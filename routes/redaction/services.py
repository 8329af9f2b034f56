"""Blanking what an entry of the audit log holds beside its bare facts."""

from collections.abc import Callable
from typing import Any, Final

from django.db import transaction

from audit.redaction import redact
from audit.services import Receipt
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.orgs.policy import ReasonRequired
from routes.transactions import repeated
from routes.versions.models import RouteSetVersion

LONGEST_REASON = 1_000
#: By action what else holds what such an entry held, and is emptied with it, by what it was about: rooms that this one does
#: not know add theirs.
ALSO_EMPTIED: Final[dict[str, Callable[[Organization, str], None]]] = {}


@repeated
def redact_entry(org: Organization | None, seq: int, *, reason: str, by: Any, log: str = "") -> Receipt:
    """Blank the payload of an entry of the organisation's log, or of the installation's for None, the note of the version
    that it published and what that was about, and what `ALSO_EMPTIED` names; see `audit.redaction.redact`, and what that
    raises.

    In a frozen organisation nothing is blanked: whoever froze it may be about to read. Raises `OrganizationFrozen` and
    `ReasonRequired`.
    """
    if not reason.strip():
        raise ReasonRequired("Say why: whoever verifies the log will read it.")
    with transaction.atomic():
        if org is not None:
            locked(org.pk)
        done = redact(None if org is None else org.pk, seq, reason=reason, by=by, log=log)
        if done.version is not None:
            # What was published stays; the note beside it, and the names, are those that the entry held.
            RouteSetVersion.objects.filter(org=org, version=done.version).update(note="", about="")
        if org is not None and (empty := ALSO_EMPTIED.get(done.action)):
            empty(org, done.target_id)
        return done.receipt
