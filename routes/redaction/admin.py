"""The page on which an entry of a log is blanked, an organisation's or the installation's."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import path

from audit.errors import AuditError, NoSuchEntry
from audit.redaction import get_entry, is_never_blanked
from audit.services import payload_text
from routes.errors import RoutesError
from routes.redaction.services import LONGEST_REASON, redact_entry
from routes.texts import several_lines


class RedactForm(forms.Form):
    reason = forms.CharField(
        label="Why",
        max_length=LONGEST_REASON,
        validators=[several_lines],
        widget=forms.Textarea(attrs={"rows": 2, "class": "ra-prose"}),
        help_text="It stays in the log for ever, for everybody who reads it: do not repeat what has to go.",
    )


def redact(request: HttpRequest, seq: int) -> HttpResponse:
    org = request.org
    log = request.GET.get("log", "")
    try:
        row = get_entry(None if org is None else org.pk, log, seq)
    except NoSuchEntry as error:
        raise Http404(str(error)) from error
    form = RedactForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            receipt = redact_entry(org, seq, by=request.actor, log=log, **form.cleaned_data)
        except (RoutesError, AuditError) as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, f"What entry {seq} held is blanked. {receipt}")
            return redirect("admin:installation_audit") if org is None else redirect("admin:audit", org.slug)
    context: dict[str, Any] = {
        **(admin.site.each_context(request) if org is None else {}),
        "shell": "admin/base_site.html" if org is None else "page.html",
        "title": f"Blank entry {seq}",
        "row": row,
        "payload": payload_text(row),
        "is_possible": row.payload is not None and not is_never_blanked(row),
        "form": form,
    }
    return render(request, "audit/redact.html", context, status=422 if form.errors else 200)


def installation_redact(request: HttpRequest, seq: int) -> HttpResponse:
    return redact(request, seq)


redact.required_role = "admin"
installation_redact.required_role = "installation"

INSTALLATION_PAGES = [path("audit/<int:seq>/redact/", installation_redact, name="installation_audit_redact")]
PAGES = [path("audit/<int:seq>/redact/", redact, name="audit_redact")]
