"""The admin's pages about a log, an organisation's or the installation's: looking, verifying now. Nothing here edits."""

import json
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.views.decorators.http import require_POST
from rest_framework.exceptions import ValidationError

from audit.api import FILTERS, filtered
from audit.models import AuditEntry, AuditHead
from audit.services import payload_of
from audit.verification import verify_org

PAGE = 50


def audit_list(request: HttpRequest, **found: Any) -> HttpResponse:
    """Entries, newest first, a page at a time by their number."""
    org = request.org
    org_id = None if org is None else org.id
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
            # The pages of an organisation have a shell of their own.
            **(admin.site.each_context(request) if org is None else {}),
            "shell": "admin/base_site.html" if org is None else "page.html",
            "title": "Audit log of the installation" if org is None else "Audit",
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
    org = request.org
    return audit_list(request, verified=verify_org(None if org is None else org.id))


def installation_audit(request: HttpRequest) -> HttpResponse:
    return audit_list(request)


def installation_audit_verify(request: HttpRequest) -> HttpResponse:
    return audit_verify(request)


audit_list.required_role = "viewer"
audit_verify.required_role = "viewer"
installation_audit.required_role = installation_audit_verify.required_role = "installation"

INSTALLATION_PAGES = [
    path("audit/", installation_audit, name="installation_audit"),
    path("audit/verify/", installation_audit_verify, name="installation_audit_verify"),
]
PAGES = [
    path("audit/", audit_list, name="audit"),
    path("audit/verify/", audit_verify, name="audit_verify"),
]
