"""Bodies that are not wanted, or come in a form that nobody reads, are refused, and nothing is done."""

import gzip
import json
from typing import Any

import pytest
from django.test import Client

from plans.runs.models import PlanRun
from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from routing_admin.docs.document import document
from tests.api.conftest import Caller
from tests.api.test_refusals import told
from tests.api.test_who_may_what import filled, one_of_each
from tests.build import a_person, a_plan, state_of

pytestmark = pytest.mark.django_db


def without_body() -> list[tuple[str, str]]:
    """(path, method) of the writes that take no body."""
    return [
        (path.removeprefix("/api/v1/").replace("{", "<").replace("}", ">"), method.upper())
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        if method != "get" and "requestBody" not in operation and "/api-keys/" not in path
    ]


NOT_WANTED = [
    (b"[1", "application/json"),
    (b"[" * 100_000, "application/json"),
    (b"\xff" * 11 * 2**20, "text/plain"),
    (b'{"reason": 1}', "application/json"),
    (b'{"a":1,"a":NaN', "application/json"),
    (b" " * 5_000, "application/json"),
    (b"a=1", "application/x-www-form-urlencoded"),
    (b"null", "application/json"),
]


@pytest.mark.parametrize(("body", "media_type"), NOT_WANTED, ids=[repr(body[:12]) for body, _ in NOT_WANTED])
def test_a_body_is_refused_where_none_is_taken(org: Organization, admin: Caller, body: bytes, media_type: str) -> None:
    create_key(None, name="all", kind="gateway", by=a_person("staff", is_superuser=True))
    ids = one_of_each(org)
    before = state_of(org)
    assert len(without_body()) >= 10
    for path, method in without_body():
        answer = admin.client.generic(method, filled(path, ids), body, media_type, headers={"If-Match": "*"})
        assert "no body" in told(answer, 400, "unexpected_body")["detail"], (path, method)
    assert state_of(org) == before
    assert PlanRun.objects.get(pk=ids["plans"]).state == "draft"


@pytest.mark.parametrize("body", [b"", b"{}", b" { \n} ", b"\n"])
def test_a_body_that_says_nothing_is_none(org: Organization, editor: Caller, body: bytes) -> None:
    answer = editor.client.generic("POST", f"{editor.base}plans/{a_plan(org).pk}/cancel/", body, "application/json")
    assert answer.json()["state"] == "cancelled"


def test_a_form_that_django_read_is_refused_too(org: Organization, editor: Caller) -> None:
    """A session's POST is searched for the CSRF token in its body, whatever that is, before anything else looks at it."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(editor.person)
    client.cookies["csrftoken"] = "c" * 32
    url = f"{editor.base}plans/{a_plan(org).pk}/cancel/"
    answer = client.post(url, {"csrfmiddlewaretoken": "c" * 32}, headers={"X-CSRFToken": "c" * 32})
    assert (answer.status_code, answer.json()["code"]) in ((400, "unexpected_body"), (415, "unsupported_media_type"))
    assert PlanRun.objects.get().state == "draft"


def test_what_is_not_said_of_the_state_comes_before_what_is_said_in_vain(editor: Caller) -> None:
    told(editor("delete", "routes/default/", b"[1", seen=None), 428, "precondition_required")


@pytest.mark.parametrize("path", ["decide/", "plans/", "routes/", "prices/import/"])
@pytest.mark.parametrize(
    ("media_type", "headers"),
    [
        ("application/json", {"Content-Encoding": "gzip"}),
        ("application/json", {"Content-Encoding": "br, gzip"}),
        ("application/json; charset=utf-16", {}),
        ('application/json; charset="latin-1"', {}),
    ],
)
def test_a_body_that_says_that_it_is_packed_or_in_other_letters_is_not_read_as_if(
    admin: Caller, path: str, media_type: str, headers: dict[str, str]
) -> None:
    for body in (b"{}", gzip.compress(b"{}"), "{}".encode("utf-16")):
        answer = admin.client.generic("POST", admin.base + path, body, media_type, headers=headers)
        assert "Send the body" in told(answer, 415, "unsupported_media_type")["detail"]


@pytest.mark.parametrize("media_type", ["application/json; charset=UTF-8", "application/json;charset=us-ascii"])
def test_a_body_that_says_that_it_is_as_expected_is_read(editor: Caller, media_type: str) -> None:
    body: Any = json.dumps({"context": {"model": "x"}})
    headers = {"Content-Encoding": "identity"}
    answer = editor.client.generic("POST", f"{editor.base}decide/", body, media_type, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path"), [("post", "decide/"), ("post", "request-logs/"), ("delete", "routes/default/")]
)
def test_a_body_in_chunks_is_not_taken_for_none(editor: Caller, method: str, path: str) -> None:
    answer = editor.client.generic(
        method.upper(), editor.base + path, headers={"Transfer-Encoding": "chunked", "If-Match": "*"}
    )
    told(answer, 411, "length_required")
