"""`audit/{seq}/redact/`, of an organisation's log and of the installation's."""

from typing import Any

from django.urls import path
from rest_framework.request import Request
from rest_framework.response import Response

from routes.api import StrictSerializer, TextField, View, receipt_json
from routes.redaction.services import LONGEST_REASON, redact_entry
from routes.shapes import COUNT, RECEIPT, TEXT, or_null, written


class RedactInput(StrictSerializer):
    reason = TextField(lines=True, max_length=LONGEST_REASON)
    log = TextField(default="", allow_blank=True, max_length=300)


REDACTED = written("AuditRedacted", {"log": TEXT, "seq": COUNT, "receipt": or_null(RECEIPT)})


class Redact(View):
    """Blanks what an entry holds."""

    required_role: dict[str, str | tuple[str, ...]] = {"POST": "admin"}
    takes = {"POST": RedactInput}
    gives = {"POST": REDACTED}
    examples = {"POST": {"reason": "A customer's name stood in the note."}}
    refuses = (409,)

    def post(self, request: Request, seq: int, **_: Any) -> Response:
        """Blanks the payload of an entry, for ever. Who did what when to what stays, and another entry tells who blanked
        it, and why; the log verifies as before.

        `log` names an older log of the organisation, as lists and receipts do; without it the one that is written to is
        meant. What the log says of itself (`audit.…`) is never blanked, and nothing is while the organisation is frozen.
        """
        given = self.read(request)
        receipt = redact_entry(request.org, seq, by=request.actor, **given)
        return Response({"log": given["log"] or receipt.log, "seq": seq, "receipt": receipt_json(receipt)})


urlpatterns = [path("audit/<int:seq>/redact/", Redact.as_view(), name="audit_redact")]
outside = [
    path(
        "audit/<int:seq>/redact/",
        Redact.as_view(required_role={"POST": "installation"}),
        name="installation_audit_redact",
    )
]
