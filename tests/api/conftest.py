from typing import Any

import pytest
from django.test import Client

from routes.orgs.keys import create_key
from routes.orgs.models import Organization
from tests.api.promised import check, document
from tests.build import a_person, an_org


class Caller:
    """A program with a management key of one role."""

    def __init__(self, org: Organization, role: str) -> None:
        self.person = a_person(f"{role}-of-{org.slug}", org, role)
        self.made = create_key(org, name=f"{role} key", role=role, by=self.person)
        self.client = Client(headers={"Authorization": f"Bearer {self.made.text}"})
        self.base = f"/api/v1/orgs/{org.slug}/"

    def __call__(
        self, method: str, path: str, body: Any = None, *, seen: str | None = "now", headers: Any = None
    ) -> Any:
        """`seen`: the ETag that a write of an object names, "now" for that which the object has, None for none."""
        url = path if path.startswith(("/", "http:")) else self.base + path
        sent = {**(headers or {})}
        if method in ("put", "patch", "delete") and seen == "now":
            seen = self.client.get(url.partition("?")[0]).headers.get("ETag")
        if method in ("put", "patch", "delete") and seen is not None:
            sent["If-Match"] = seen
        if method == "delete" and body is None:
            body = b""  # Django would send the word None
        return getattr(self.client, method)(url, body, content_type="application/json", headers=sent)


@pytest.fixture(autouse=True)
def promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks in these tests is answered as the OpenAPI document says."""
    document()  # once, before threads ask for it
    ask = Client.request

    def asked(client: Client, **request: Any) -> Any:
        response = ask(client, **request)
        path = request.get("PATH_INFO", "")
        if path.startswith("/api/v1/") and not response.streaming:
            check(request.get("REQUEST_METHOD", "GET"), path, response)
        return response

    monkeypatch.setattr(Client, "request", asked)


@pytest.fixture
def org(db: None) -> Organization:
    return an_org()


@pytest.fixture
def viewer(org: Organization) -> Caller:
    return Caller(org, "viewer")


@pytest.fixture
def editor(org: Organization) -> Caller:
    return Caller(org, "editor")


@pytest.fixture
def approver(org: Organization) -> Caller:
    return Caller(org, "approver")


@pytest.fixture
def admin(org: Organization) -> Caller:
    return Caller(org, "admin")
