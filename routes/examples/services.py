"""Keeping golden requests. Only writer of `ExampleRequest`."""

import json
import re
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from audit.services import Receipt, record
from routes.engine.canonical import MAX_INTEGER, NotCanonical, canonical_bytes
from routes.engine.reading import key_text, shown
from routes.errors import NameTaken, NotFound, RoutesError, issue
from routes.examples.deciding import REASONS, read_example_request
from routes.examples.models import ExampleRequest
from routes.orgs.locks import locked
from routes.orgs.models import Organization
from routes.requests import InvalidRequest
from routes.texts import one_line
from routes.transactions import repeated

#: Of an organisation: all are decided whenever its routes change.
MAX_EXAMPLES: Final = 200
MAX_NAME: Final = 200
#: Of a request, as canonical JSON.
MAX_BYTES: Final = 64 * 1024
EXPECTED: Final = ("route", "target_model", "reason")
#: So many unknown keys are named.
_MAX_UNKNOWN: Final = 100
#: U+0000 in JSON, which PostgreSQL refuses.
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


class InvalidExample(RoutesError):
    """The example is not acceptable; `issues` says where and why."""

    code = "invalid_example"

    def __init__(self, issues: list[dict[str, str]]) -> None:
        super().__init__("; ".join(issue["message"] for issue in issues))
        self.issues = issues


class StaleExample(RoutesError):
    """Somebody changed the example since the caller looked."""

    code = "stale_example"

    def __init__(self, example: ExampleRequest) -> None:
        """`example` as it is now."""
        super().__init__(f"“{example.name}” was changed after you looked. Look again.")
        self.example = example


class TooManyExamples(RoutesError):
    """An organisation may have 200 examples."""

    code = "too_many_examples"


@repeated
def create_example(
    org: Organization, *, name: str, request: Any, expected: Any, by: Any
) -> tuple[ExampleRequest, Receipt]:
    """Keep a request and what must become of it. Whether that happens now is not asked.

    Raises `InvalidExample`, `NameTaken`, `TooManyExamples` and `OrganizationFrozen`.
    """
    _check(name, request, expected)
    with transaction.atomic():
        org = locked(org.pk)
        if ExampleRequest.objects.of(org).count() >= MAX_EXAMPLES:
            raise TooManyExamples(f"An organisation may have {MAX_EXAMPLES} examples. Delete one that says little.")
        _check_name(org, name)
        row = ExampleRequest.objects.create(org=org, name=name, request=request, expected=expected)
        return row, _record(row, by=by, action="example.created", **_told(row))


@repeated
def update_example(
    row: ExampleRequest, *, name: str, request: Any, expected: Any, by: Any, expected_revision: int | None = None
) -> tuple[ExampleRequest, Receipt | None]:
    """Replace an example; the receipt is None where nothing was different.

    Raises `NotFound`, `StaleExample`, and what `create_example` raises.
    """
    _check(name, request, expected)
    with transaction.atomic():
        row = _locked(row, expected_revision)
        was = _told(row)
        row.name, row.request, row.expected = name, request, expected
        if _told(row) == was:
            return row, None
        _check_name(row.org, name, except_pk=row.pk)
        row.revision += 1
        row.updated_at = timezone.now()
        row.save()
        return row, _record(row, by=by, action="example.updated", was=was, **{"is": _told(row)})


@repeated
def delete_example(row: ExampleRequest, *, by: Any, expected_revision: int | None = None) -> Receipt:
    """Keep it no longer. Raises `NotFound`, `StaleExample` and `OrganizationFrozen`."""
    with transaction.atomic():
        row = _locked(row, expected_revision)
        receipt = _record(row, by=by, action="example.deleted", **_told(row))
        row.delete()
    return receipt


def get_example(org: Organization, uid: UUID | str) -> ExampleRequest:
    """The organisation's example with this id. Raises `NotFound`, alike for unknown and for foreign ids."""
    try:
        row = ExampleRequest.objects.of(org).filter(uid=UUID(str(uid))).first()
    except ValueError:
        row = None
    if row is None:
        raise NotFound("There is no such example in this organisation.")
    return row


def _locked(row: ExampleRequest, expected_revision: int | None) -> ExampleRequest:
    """As it is now that its organisation is locked."""
    row = get_example(locked(row.org_id), row.uid)
    if expected_revision is not None and row.revision != expected_revision:
        raise StaleExample(row)
    return row


def _check_name(org: Organization, name: str, *, except_pk: int | None = None) -> None:
    if ExampleRequest.objects.of(org).filter(name=name).exclude(pk=except_pk).exists():
        raise NameTaken(f"Another example of this organisation is called “{name}”. Choose another name.")


def _told(row: ExampleRequest) -> dict[str, Any]:
    """What the log says of it: of the request, which may hold what a person wrote, the digest."""
    digest = sha256(canonical_bytes(row.request)).hexdigest()
    return {"name": row.name, "expected": row.expected, "request_sha256": digest}


def _record(row: ExampleRequest, *, by: Any, action: str, **payload: Any) -> Receipt:
    return record(row.org_id, by=by, action=action, target=("example", row.uid), payload=payload)


# --- What an example may say ------------------------------------------------------------------------------------------


def _check(name: str, request: Any, expected: Any) -> None:
    issues = [*_about_name(name), *_about_request(request), *_about_expected(expected)]
    if issues:
        raise InvalidExample(issues)


def _about_name(name: str) -> list[dict[str, str]]:
    if not name.strip():
        return [issue("name", "blank_value", "Give it a name.")]
    if len(name) > MAX_NAME:
        return [issue("name", "too_long", f"A name has at most {MAX_NAME} characters.")]
    return _about_text("name", name)


def _about_text(path: str, text: str) -> list[dict[str, str]]:
    try:
        one_line(text)
    except ValidationError as error:
        return [issue(path, str(error.code), error.message)]
    return []


def _about_request(request: Any) -> list[dict[str, str]]:
    try:
        read_example_request(request)
        data = canonical_bytes(request)
        json.loads(data, parse_int=_bounded, parse_float=_bounded)
    except InvalidRequest as error:
        return [{**found, "path": ".".join(filter(None, ("request", found["path"])))} for found in error.issues]
    except NotCanonical as error:
        return [issue("request", "unsupported_value", f"This cannot be kept: {error}")]
    if _NUL.search(data):
        return [issue("request", "unsupported_value", "This cannot be kept: text contains U+0000.")]
    if len(data) > MAX_BYTES:
        message = f"A request may take {MAX_BYTES:,} bytes; this takes {len(data):,}. Leave out what no route looks at."
        return [issue("request", "too_long", message)]
    return []


def _bounded(text: str) -> float:
    value = float(text)
    if abs(value) > MAX_INTEGER:  # PostgreSQL gives a double of 1e30 back as an integer, which has no canonical form
        raise NotCanonical("A number is beyond 2**53 - 1.")
    return value


def _about_expected(expected: Any) -> list[dict[str, str]]:
    if not isinstance(expected, dict):
        return [issue("expected", "wrong_type", "expected is an object of route, target_model and reason.")]
    issues = []
    for key in [key for key in expected if key not in EXPECTED][:_MAX_UNKNOWN]:
        message = f"There is no {shown(key)} here. Known: {', '.join(EXPECTED)}."
        issues.append(issue(f"expected.{key_text(key)}", "unknown_key", message))
    if not expected:
        issues.append(issue("expected", "missing_key", "Say at least one of route, target_model and reason."))
    for key in ("route", "target_model"):
        if (text := expected.get(key)) is None:
            continue
        if not isinstance(text, str):
            issues.append(issue(f"expected.{key}", "wrong_type", f"{key} is text, or null for none."))
        elif not 1 <= len(text) <= 512:
            issues.append(issue(f"expected.{key}", "too_long", f"{key} has 1 to 512 characters."))
        else:
            issues += _about_text(f"expected.{key}", text)
    # As a list: what was sent may have no hash.
    if "reason" in expected and expected["reason"] not in list(REASONS):
        issues.append(issue("expected.reason", "unknown_value", f"reason is one of {', '.join(REASONS)}."))
    return issues
