"""From refusals to HTTP: the one table, and the problem documents (RFC 9457) that the API answers with."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from math import ceil
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.db import OperationalError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from audit.errors import AlreadyBlanked, AuditError, LogDamaged, LogsChanged, NeverBlanked, NoSuchEntry, NotSigned
from plans.errors import PlansError
from plans.logs.api import TooManyRows
from plans.runs.api import plan_json
from plans.runs.errors import (
    ApprovalVoid,
    InvalidPlan,
    InvalidTime,
    MissedTime,
    NotAllowed,
    OwnPlan,
    PlanChanged,
    RevertConflict,
    StalePlan,
)
from plans.runs.services import etag as plan_etag
from plans.runs.states import InvalidState
from routes import engine
from routes.api import list_etag
from routes.catalog.api import import_json
from routes.catalog.listed import UnreadablePrices
from routes.catalog.services import PricesChanged, SinceTaken, TooManyPrices, UnknownProvider
from routes.engine.placements import BarrierPending
from routes.engine.reading import MAX_ISSUES, key_text
from routes.errors import (
    ApprovalRequired,
    DocumentTooLarge,
    NameTaken,
    NotFound,
    OrganizationFrozen,
    RoutesError,
    StaleVersion,
    TooManyRoutes,
    TooManyServices,
)
from routes.examples import api as examples
from routes.examples.services import InvalidExample, StaleExample, TooManyExamples
from routes.fleet.services import InvalidInstance, TooManyInstances
from routes.history.services import VersionRetired, changes_since
from routes.idempotency.services import AlreadyCreated, InProgress, OtherBody
from routes.orgs import api as orgs
from routes.orgs.keys import InvalidKey, PersonRequired, RoleTooHigh
from routes.orgs.members import AlreadyMember, LastAdmin, StaleMember, TooManyNames, UnknownPerson
from routes.orgs.policy import NoProposal, OwnProposal, ReasonRequired
from routes.orgs.services import InvalidOrganization, StaleOrganization
from routes.orgs.upstreams import StaleUpstreams
from routes.paths import api as paths
from routes.paths.hosts import HostTaken, StaleHosts
from routes.paths.services import SlugTaken, StaleService
from routes.paths.services import changed_since as services_changed_since
from routes.placements import api as placements
from routes.placements.services import InvalidPlacement, PlacedElsewhere, StalePlacement, TooManyPlacements
from routes.publish import DirectWrite, ExampleBroken
from routes.requests import InvalidRequest
from routes.rules import api as rules
from routes.rules.bulk import InvalidIds
from routes.rules.services import StaleDefault, StaleRoute, changed_since
from routes.transfer.services import InvalidImport
from routing_admin.logs.redaction import redact
from routing_admin.signin.errors import ProviderAway, SignInError

#: HTTP status of every refusal of the domain. The engine's errors carry their own, because a gateway has no such table.
STATUS: dict[type[Exception], int] = {
    NotFound: 404,
    NoSuchEntry: 404,
    NotSigned: 409,
    AlreadyBlanked: 409,
    NeverBlanked: 409,
    LogDamaged: 503,
    LogsChanged: 409,
    StaleVersion: 412,
    StaleRoute: 412,
    NameTaken: 422,
    TooManyRoutes: 422,
    TooManyServices: 422,
    StaleService: 412,
    SlugTaken: 422,
    StaleHosts: 412,
    HostTaken: 409,
    StaleUpstreams: 412,
    DocumentTooLarge: 422,
    InvalidOrganization: 422,
    InvalidRequest: 422,
    InvalidIds: 422,
    ExampleBroken: 409,
    InvalidExample: 422,
    StaleExample: 412,
    TooManyExamples: 422,
    InvalidPlacement: 422,
    StalePlacement: 412,
    PlacedElsewhere: 409,
    TooManyPlacements: 422,
    RoleTooHigh: 403,
    PersonRequired: 403,
    InvalidKey: 422,
    UnknownPerson: 422,
    TooManyNames: 429,
    AlreadyMember: 409,
    LastAdmin: 409,
    StaleMember: 412,
    StaleOrganization: 412,
    StaleDefault: 412,
    InvalidInstance: 422,
    TooManyInstances: 422,
    UnreadablePrices: 422,
    UnknownProvider: 422,
    TooManyPrices: 422,
    SinceTaken: 409,
    PricesChanged: 409,
    VersionRetired: 410,
    InvalidImport: 422,
    InProgress: 409,
    OtherBody: 422,
    AlreadyCreated: 409,
    TooManyRows: 413,
    InvalidPlan: 422,
    InvalidTime: 422,
    MissedTime: 409,
    NotAllowed: 403,
    PlanChanged: 412,
    OrganizationFrozen: 409,
    ReasonRequired: 422,
    NoProposal: 409,
    OwnProposal: 403,
    InvalidState: 409,
    OwnPlan: 403,
    ApprovalRequired: 409,
    ApprovalVoid: 409,
    StalePlan: 409,
    RevertConflict: 409,
    SignInError: 403,
    ProviderAway: 503,
}

TITLES = {
    400: "The request cannot be read",
    401: "Who are you?",
    403: "Not allowed",
    404: "Not found",
    405: "Not possible here",
    406: "Not available in this form",
    409: "In conflict with the present state",
    410: "No longer kept",
    412: "Changed in the meantime",
    411: "Length required",
    413: "Too large",
    415: "Unsupported media type",
    422: "Not acceptable",
    428: "Say what you saw",
    429: "Too many requests",
    500: "Our fault",
    503: "Not possible at the moment",
}
_CODES = {
    "parse_error": "malformed_body",
    "permission_denied": "forbidden",
    "authentication_failed": "unauthenticated",
    "not_authenticated": "unauthenticated",
}


#: So many are named in one answer: all that the engine names of one value.
MAX_ERRORS: Final = MAX_ISSUES + 1
_INDEX: Final = re.compile(r"\[(\d+)\]", re.ASCII)
#: Where a name of a path may end.
_END: Final = re.compile(r"\.|\[\d+\]|\Z", re.ASCII)


def status_of(error: Exception) -> int | None:
    """The HTTP status of a refusal, or None for what is no refusal."""
    if isinstance(error, engine.errors.RoutingError):
        return error.http_status
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)


def problem(error: Exception, context: dict[str, Any]) -> Response | None:
    """DRF's exception handler: every refusal as `application/problem+json`; None (a 500) for what nobody foresaw."""
    request = context["request"]
    headers: dict[str, str] = {}
    errors: Iterable[dict[str, str]] = ()
    extra: dict[str, Any] = {}
    if isinstance(error, Http404):
        error = NotFound("There is nothing here.")
    if isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if isinstance(error, RequestDataTooBig):
        error = engine.errors.PayloadTooLarge(f"A body may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE:,} bytes.")

    if isinstance(error, exceptions.ValidationError):
        code, http_status, detail = "invalid", 422, "Some fields are not acceptable; see errors."
        errors = _flatten(error.detail)
    elif isinstance(error, exceptions.APIException):
        http_status = error.status_code
        given = str(error.get_codes())
        code = _CODES.get(given, given)
        detail = str(error.detail)
        if (seconds := getattr(error, "wait", None)) is not None:
            headers["Retry-After"] = str(int(seconds) + 1)
        if auth := getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = auth
    elif isinstance(
        error,
        engine.errors.InvalidRoute
        | InvalidPlan
        | InvalidRequest
        | InvalidIds
        | InvalidExample
        | InvalidImport
        | InvalidPlacement,
    ):
        code, http_status = error.code, status_of(error) or 422
        detail = "Some fields are not acceptable; see errors."
        sent = getattr(request, "_full_data", None)  # what was read of it; to ask for `data` might refuse it again
        errors = (
            {"pointer": pointer(issue["path"], sent), "code": issue["code"], "detail": issue["message"]}
            for issue in error.issues
        )
    elif isinstance(error, RoutesError | PlansError | AuditError | SignInError | engine.errors.RoutingError):
        code, http_status, detail = error.code, status_of(error) or 422, str(error)
        if isinstance(error, InvalidOrganization):
            errors = _flatten(error.messages)
        if isinstance(error, InvalidKey):
            errors = [{"pointer": f"/{error.field}", "code": error.code, "detail": str(error)}]
        if isinstance(error, TooManyNames):
            headers["Retry-After"] = str(error.wait_seconds)
        if isinstance(error, BarrierPending):
            headers["Retry-After"] = str(ceil(error.remaining))
        if isinstance(error, LogDamaged):
            headers["Retry-After"] = "60"  # nothing but a person helps
        if isinstance(error, InvalidState):
            extra["state"] = error.state
        if isinstance(error, StalePlan):
            extra |= {"current": error.version, "difference": error.difference, "touched": error.touched}
        if isinstance(error, RevertConflict):
            extra["conflicts"] = error.names
        if isinstance(error, DirectWrite) and error.plan is not None:
            extra["plan"] = {"id": str(error.plan.pk), "name": error.plan.name}
        if isinstance(error, ExampleBroken):
            extra["broken"] = error.broken
        if isinstance(error, PricesChanged):
            extra["current"] = import_json(error.plan)
        extra |= _of_what_is_stale(error, headers, getattr(request, "org", None))
    elif isinstance(error, OperationalError):
        # Another writer held the lock for too long, or the database is away: then even of a commit nobody knows.
        is_read = getattr(request, "method", "") in ("GET", "HEAD")
        code, http_status, detail = "busy", 503, f"The database is busy or away. {_AGAIN if is_read else _LOOK}"
        headers["Retry-After"] = "2"
    else:
        return None

    body = problem_body(request, http_status, code, detail) | extra
    told = iter(errors)
    if found := list(islice(told, MAX_ERRORS)):
        if next(told, None) is not None:
            found.append({"pointer": "", "code": "too_many", "detail": "More things are wrong: mend these first."})
        body["errors"] = found
    response = Response(body, status=http_status, headers=headers)
    response.content_type = "application/problem+json"
    response.exception = True
    return response


def problem_body(request: Any, http_status: int, code: str, detail: str) -> dict[str, Any]:
    """The problem document of a refusal."""
    return {
        "type": "about:blank",
        "title": TITLES.get(http_status, "Refused"),
        "status": http_status,
        "code": code,
        "detail": detail,
        # Without the query, and keys in it: what people put there by mistake goes no further.
        "instance": redact(request.path),
        "request_id": getattr(request, "id", None),
    }


def _of_what_is_stale(error: Exception, headers: dict[str, str], org: Any) -> dict[str, Any]:
    """What a caller needs to go on who wrote to an object that had changed: `current`, as a GET answers it, with its ETag,
    and `difference` by field since the state that the caller saw, null where nobody knows it."""
    if isinstance(error, StaleVersion):
        headers["ETag"] = list_etag(error.current)
        return {"current": error.current, "difference": changes_since(org, error.expected)}
    if isinstance(error, StaleRoute):
        headers["ETag"] = rules.etag_of(error.row)
        return {"current": rules.route_json(error.row), "difference": changed_since(error.row, error.seen)}
    if isinstance(error, StaleMember):
        headers["ETag"] = orgs.member_etag(error.member)
        return {"current": orgs.member_json(error.member), "difference": None}
    if isinstance(error, StaleOrganization):
        headers["ETag"] = orgs.organization_etag(error.org)
        return {"current": orgs.organization_json(error.org), "difference": None}
    if isinstance(error, PlanChanged):
        headers["ETag"] = plan_etag(error.plan)
        return {"current": plan_json(error.plan), "difference": None}
    if isinstance(error, StaleExample):
        headers["ETag"] = examples.example_etag(error.example)
        return {"current": examples.example_json(error.example), "difference": None}
    if isinstance(error, StalePlacement) and error.placement is not None:
        headers["ETag"] = placements.placement_etag(error.placement, error.partition)
        return {"current": placements.placement_json(error.placement, error.partition), "difference": None}
    if isinstance(error, StaleService):
        headers["ETag"] = paths.etag_of(error.row)
        return {"current": paths.service_json(error.row), "difference": services_changed_since(error.row, error.seen)}
    if isinstance(error, StaleHosts):
        headers["ETag"] = paths.hosts_etag(error.hosts)
        return {"current": {"hosts": error.hosts}, "difference": None}
    if isinstance(error, StaleUpstreams):
        headers["ETag"] = paths.upstreams_etag(error.private_upstreams)
        return {"current": {"private_upstreams": error.private_upstreams}, "difference": None}
    if isinstance(error, StaleDefault):
        headers["ETag"] = rules.default_etag(error.default)
        return {"current": {"default": error.default}, "difference": None}
    return {}


_AGAIN: Final = "Ask again."
_LOOK: Final = "Look whether it was done before you send it again, or send it again with the same Idempotency-Key."


def pointer(path: str, body: Any = None) -> str:
    """`when.model_in[1]` as a JSON pointer (RFC 6901): `/when/model_in/1`. Names may have dots and brackets themselves: the
    `body` that the path leads into tells which are one. Of two names that the path may mean it is the longer."""
    parts: list[str] = []
    value = body
    # A name has a dot before it, an index its brackets.
    rest = f".{path}" if path and (isinstance(body, dict) or not _INDEX.match(path)) else path
    while rest:
        if found := _INDEX.match(rest):
            part, rest = found[1], rest[found.end() :]
            value = value[int(part)] if isinstance(value, list) and int(part) < len(value) else None
        else:
            part, rest = _name(rest[1:], value)
            value = value.get(part) if isinstance(value, dict) else None
        parts.append(part)
    return _joined(parts)


def _name(text: str, value: Any) -> tuple[str, str]:
    """The name of a member of `value` that the text begins with, and what follows it."""
    ends = [found.start() for found in _END.finditer(text)]
    if isinstance(value, dict):
        # Looked up, not looked for: a hostile object has a million names, and a thousand things are wrong with it. A path
        # is short, because the engine cuts names in it.
        for end in reversed(ends):
            if text[:end] in value:
                return text[:end], text[end:]
        if "…" in text or "\\" in text:  # the engine cut it, or wrote what cannot be printed as escapes
            for name in value:
                if text.startswith(written := key_text(name)) and len(written) in ends:
                    return name, text[len(written) :]
    return text[: ends[0]], text[ends[0] :]


def _joined(parts: Iterable[object]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def _flatten(detail: Any, at: tuple[object, ...] = ()) -> Iterator[dict[str, str]]:
    """The problems in the detail of a `ValidationError`, each with its pointer."""
    if isinstance(detail, dict):
        for key, value in detail.items():
            yield from _flatten(value, at if key == api_settings.NON_FIELD_ERRORS_KEY else (*at, key))
    elif isinstance(detail, list):
        for index, value in enumerate(detail):
            nested = isinstance(value, dict | list)
            yield from _flatten(value, (*at, index) if nested else at)
    else:
        yield {"pointer": _joined(at), "code": str(getattr(detail, "code", "invalid")), "detail": str(detail)}
