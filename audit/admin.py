"""The admin's pages about a log, an organisation's or the installation's: looking, verifying now. Nothing here edits."""

import re
from operator import itemgetter
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse
from django.views.decorators.http import require_POST
from rest_framework.exceptions import ValidationError

from audit.api import FILTERS, filtered
from audit.models import AuditEntry, AuditHead, Checkpoint, Refusal, Unreadable, as_bytes, reading
from audit.redaction import is_never_blanked, told_by
from audit.services import payload_of, payload_text
from audit.times import is_time
from audit.verification import logs_of, verify
from audit.words import TYPES, in_words

PAGE = 50
#: Where a page ends: the number of the log, and of the entry.
_PLACE = re.compile(r"([1-9]\d{0,8})\.(\d{1,18})", re.ASCII)
#: A time as a browser's own field writes it; callers of the API add the zone.
_PICKED = re.compile(r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?)Z?", re.ASCII)
_TIMES = (("since", "From (UTC)"), ("until", "Until, not with it (UTC)"))


def audit_list(request: HttpRequest, **found: Any) -> HttpResponse:
    """Entries, newest first, a page at a time by their number."""
    org = request.org
    org_id = None if org is None else org.id
    given = {name: request.GET.get(name, "").strip() for name in FILTERS}
    problem = ""
    rows = AuditEntry.objects.of(org_id)
    try:
        times = {name: _in_utc(given[name]) for name, _ in _TIMES}
        rows = filtered(rows, {**given, **times, "actor": _actor(given["actor"])})
    except ValidationError as error:
        problem = "; ".join(f"{name}: {said}" for name, said in error.detail.items())
    if place := _PLACE.fullmatch(request.GET.get("before", "")):
        epoch, seq = int(place[1]), int(place[2])
        rows = rows.filter(Q(epoch__lt=epoch) | Q(epoch=epoch, seq__lt=seq))
    try:
        with reading():
            page = list(rows.order_by("-epoch", "-seq")[: PAGE + 1])
            entries = _shown(page[:PAGE])
    except Unreadable:
        page, entries = [], []
        problem = "Some of these entries cannot be read: somebody wrote to the database. Verify the log to see where."
    last = page[PAGE - 1] if len(page) > PAGE else None
    older = last and urlencode({**{k: v for k, v in given.items() if v}, "before": f"{last.epoch}.{last.seq}"})
    head = AuditHead.objects.filter(org_id=org_id, is_current=True).first()
    known = AuditEntry.objects.of(org_id).order_by("action").values_list("action", flat=True).distinct()
    return render(
        request,
        "audit/list.html",
        {
            # The pages of an organisation have a shell of their own.
            **(admin.site.each_context(request) if org is None else {}),
            "shell": "admin/base_site.html" if org is None else "page.html",
            "title": "Audit log of the installation" if org is None else "Audit",
            "entries": entries,
            "may_blank": request.grant.may("installation" if org is None else "admin"),
            "given": given,
            "is_narrowed": any(given.values()),
            "whole": reverse("admin:installation_audit") if org is None else reverse("admin:audit", args=[org.slug]),
            "problem": problem,
            "older": older,
            "actions": sorted(({"name": name, "words": in_words(name)} for name in known), key=itemgetter("words")),
            "times": [_time_field(name, label, given[name]) for name, label in _TIMES],
            "head": head,
            "signed": head and Checkpoint.objects.filter(log=head.log).order_by("-size").first(),
            "refusals": Refusal.objects.filter(log__in=AuditHead.objects.filter(org_id=org_id).values("log")),
            "evidence": f"/api/v1/{f'orgs/{org.slug}/' if org else ''}audit/",
            **found,
        },
    )


def _actor(text: str) -> str:
    """The id of the person who is called so; else the text, which may be an id."""
    is_name = text and text.isprintable()
    people = get_user_model()._default_manager.filter(username__iexact=text) if is_name else ()
    return next((str(person.pk) for person in people), text)


def _in_utc(text: str) -> str:
    """What a browser's own field says of no zone is in UTC; else the text."""
    return f"{picked[1]}Z" if (picked := _PICKED.fullmatch(text)) else text


def _time_field(name: str, label: str, given: str) -> dict[str, str]:
    """A browser's own field, but for what it would empty: a time in another zone, a finer one, or none at all."""
    picked = _PICKED.fullmatch(given)
    is_its_own = not given or (picked is not None and is_time(_in_utc(given)))
    value = picked[1] if picked and is_its_own else given
    return {"name": name, "label": label, "type": "datetime-local" if is_its_own else "text", "value": value}


def _shown(rows: list[AuditEntry]) -> list[dict[str, Any]]:
    told, sizes = told_by(rows), {log: _signed(log) for log in {row.log for row in rows}}
    names = _names_of_plans(rows)
    return [
        {
            "row": row,
            "leaf": as_bytes(row.leaf_hash).hex(),
            "who": said.get("actor_name"),
            "kind": TYPES.get(row.target_type, row.target_type),
            "what": said.get("name") or said.get("username") or names.get(row.target_id),
            "payload": payload_text(row),
            "told_by": told.get(row.pk),
            "is_signed": row.seq < sizes[row.log],
            "may_be_blanked": row.payload is not None and not is_never_blanked(row),
        }
        for row, said in [(row, payload_of(row) or {}) for row in rows]
    ]


def _names_of_plans(rows: list[AuditEntry]) -> dict[str, str]:
    """What the plans that these entries are about were called when they were made: only that entry has it."""
    ids = {row.target_id for row in rows if row.target_type == "plan"}
    if not ids:
        return {}
    made = AuditEntry.objects.of(rows[0].org_id).filter(
        target_type="plan", target_id__in=ids, action="plan.proposed", payload__isnull=False
    )
    return {row.target_id: (payload_of(row) or {}).get("name", "") for row in made}


@require_POST
def audit_verify(request: HttpRequest) -> HttpResponse:
    org = request.org
    org_id = None if org is None else org.id
    found = [verify(log) for log in logs_of(org_id)]
    return audit_list(request, verified=[{"found": one, "signed": _signed(one.log)} for one in found])


def _signed(log: str) -> int:
    """How many entries of a log the newest checkpoint covers."""
    return Checkpoint.objects.filter(log=log).order_by("-size").values_list("size", flat=True).first() or 0


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
