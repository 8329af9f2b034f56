"""What no view of the API answers is answered as its views answer: a problem, never a page."""

from typing import Any

import pytest
from django.test import Client

from tests.api.conftest import Caller

pytestmark = pytest.mark.django_db


def told(response: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response["Content-Type"] == "application/problem+json"
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["request_id"] == response["X-Request-Id"]
    return body


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", ["/api/", "/api/v2/orgs/", "/api/v1/nothing/", "/api/v1/orgs/acme/nothing/\x00"])
def test_what_is_no_url(settings: Any, debug: bool, method: str, path: str) -> None:
    settings.DEBUG = debug
    told(Client(enforce_csrf_checks=True).generic(method, path), 404, "not_found")


def test_a_url_without_its_slash_says_so() -> None:
    assert "end with a slash" in told(Client().post("/api/v1/orgs"), 404, "not_found")["detail"]


def test_what_nobody_foresaw(viewer: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("routes.rules.api.findings_of", fail)
    viewer.client.raise_request_exception = False
    body = told(viewer("get", "routes/lint/"), 500, "internal_error")
    assert "planted" not in str(body)


def test_a_host_that_is_not_ours() -> None:
    told(Client(SERVER_NAME="evil.example").get("/api/v1/orgs/"), 400, "bad_request")


def test_pages_stay_pages() -> None:
    answer = Client().get("/nothing/")
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")
