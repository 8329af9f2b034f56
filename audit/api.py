"""`audit/` of an organisation, or of the installation: its entries, newest first."""

from datetime import datetime
from typing import Any

from rest_framework import exceptions, generics
from rest_framework.request import Request
from rest_framework.response import Response

from audit.errors import LogDamaged
from audit.log.entry import time_text
from audit.models import AuditEntry, AuditEntryQuerySet, Unreadable, as_bytes, reading
from audit.services import payload_of
from audit.times import read_time
from audit.verification import logs_of

FILTERS = ("action", "actor", "target_type", "target_id", "since", "until")


_TEXT = {"type": "string"}
_TIME = {"type": "string", "format": "date-time"}
_VERSION = {"type": ["integer", "null"]}
#: As JSON Schema.
ENTRY: dict[str, Any] = {
    "title": "AuditEntry",
    "type": "object",
    "properties": {
        "log": {"type": "string", "description": "The origin of the log that it is an entry of."},
        "seq": {"type": "integer", "minimum": 0},
        "ts": {"type": "string", "format": "date-time"},
        "actor": {
            "type": "object",
            "properties": {"type": _TEXT, "id": _TEXT, "on_behalf_of": {"type": ["string", "null"]}},
            "required": ["type", "id", "on_behalf_of"],
            "additionalProperties": False,
        },
        "action": _TEXT,
        "target": {
            "type": "object",
            "properties": {"type": _TEXT, "id": _TEXT},
            "required": ["type", "id"],
            "additionalProperties": False,
        },
        "request_id": {"type": ["string", "null"]},
        "version_before": _VERSION,
        "version_after": _VERSION,
        "leaf_hash": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
        "payload": {"type": ["object", "null"], "description": "Null once it was blanked."},
    },
    "required": [
        "log", "seq", "ts", "actor", "action", "target", "request_id", "version_before", "version_after",
        "leaf_hash", "payload",
    ],
    "additionalProperties": False,
}  # fmt: skip


def entry_json(row: AuditEntry) -> dict[str, Any]:
    return {
        "log": row.log,
        "seq": row.seq,
        "ts": time_text(row.ts),
        "actor": {"type": row.actor_type, "id": row.actor_id, "on_behalf_of": row.on_behalf_of},
        "action": row.action,
        "target": {"type": row.target_type, "id": row.target_id},
        "request_id": row.request_id,
        "version_before": row.version_before,
        "version_after": row.version_after,
        "leaf_hash": as_bytes(row.leaf_hash).hex(),
        "payload": payload_of(row),
    }


def filtered(rows: AuditEntryQuerySet, given: dict[str, str]) -> AuditEntryQuerySet:
    """Entries that fit all filters that are filled in. Raises `ValidationError` naming the one that cannot be read."""
    for name in FILTERS:
        if "\0" in given.get(name, ""):
            # PostgreSQL refuses to compare with it; no entry holds it.
            raise exceptions.ValidationError({name: exceptions.ErrorDetail("Text with U+0000.", "bad_text")})
    columns = {name: given[name] for name in ("action", "target_type", "target_id") if given.get(name)}
    rows = rows.filter(**columns)
    if actor := given.get("actor"):
        # A person is also behind the acts of one's keys.
        rows = rows.filter(actor_id=actor) | rows.filter(on_behalf_of=actor)
    if since := given.get("since"):
        rows = rows.filter(ts__gte=_time("since", since))
    if until := given.get("until"):
        rows = rows.filter(ts__lt=_time("until", until))
    return rows


def _time(name: str, text: str) -> datetime:
    try:
        return read_time(text)
    except ValueError as error:
        raise exceptions.ValidationError({name: exceptions.ErrorDetail(str(error), "bad_time")}) from None


class AuditList(generics.GenericAPIView[AuditEntry]):
    """Entries, newest first; `until` is excluded, and an actor is also behind the acts of the actor's keys."""

    http_method_names = ["get", "head"]
    required_role = {"GET": "viewer"}
    gives = {"GET": ENTRY}
    #: By name their shapes; what is no filter is refused by those of all lists.
    filters = {name: _TIME if name in ("since", "until") else {**_TEXT, "minLength": 1} for name in FILTERS}
    orderings = {"": ("-epoch", "-seq"), "seq": ("epoch", "seq")}

    def get(self, request: Request, **_: Any) -> Response:
        org_id = None if request.org is None else request.org.id
        rows = filtered(self.filter_queryset(AuditEntry.objects.of(org_id)), request.query_params.dict())
        try:
            with reading():
                return self.get_paginated_response([entry_json(row) for row in self.paginate_queryset(rows) or []])
        except Unreadable as error:
            raise LogDamaged(logs_of(org_id)[-1]) from error


class InstallationAuditList(AuditList):
    """The log of the installation: people, how they sign in, keys and prices for all organisations."""

    required_role = {"GET": "installation"}
