"""The admin's pages about the log: looking, and verifying now. Nothing here edits."""

import json
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_POST
from rest_framework.exceptions import ValidationError

from audit.api import FILTERS, filtered
from audit.models import AuditEntry, AuditHead
from audit.services import payload_of, verify_org

PAGE = 50


def audit_list(request: HttpRequest, **found: Any) -> HttpResponse:
    """Entries, newest first, a page at a time by their number."""
    org_id = request.org.id  # type: ignore[attr-defined]
    given = {name: request.GET.get(name, "").strip() for name in FILTERS}
    problem = ""
    rows = AuditEntry.objects.of(org_id)
    try:
        rows = filtered(rows, given)
    except ValidationError as error:
        problem = "; ".join(f"{name}: {' '.join(map(str, said))}" for name, said in error.detail.items())
    before = request.GET.get("before", "")
    if before.isdecimal() and len(before) < 19:
        rows = rows.filter(seq__lt=int(before))
    page = list(rows.order_by("-seq")[: PAGE + 1])
    older = (
        urlencode({**{k: v for k, v in given.items() if v}, "before": page[PAGE - 1].seq}) if len(page) > PAGE else ""
    )
    known = AuditEntry.objects.of(org_id).order_by("action").values_list("action", flat=True).distinct()
    return render(
        request,
        "audit/list.html",
        {
            "title": "Audit",
            "entries": [{"row": row, "payload": _pretty(row)} for row in page[:PAGE]],
            "given": given,
            "problem": problem,
            "older": older,
            "actions": known,
            "head": AuditHead.objects.filter(org_id=org_id).first(),
            **found,
        },
    )


def _pretty(row: AuditEntry) -> str:
    payload = payload_of(row)
    return "" if payload is None else json.dumps(payload, indent=2, ensure_ascii=False)


@require_POST
def audit_verify(request: HttpRequest) -> HttpResponse:
    return audit_list(request, verified=verify_org(request.org.id))  # type: ignore[attr-defined]


audit_list.required_role = "viewer"  # type: ignore[attr-defined]
audit_verify.required_role = "viewer"

PAGES = [
    path("audit/", audit_list, name="audit"),
    path("audit/verify/", audit_verify, name="audit_verify"),
]
