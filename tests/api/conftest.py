from typing import Any

import pytest
from django.test import Client

from routes.orgs.access import create_key
from routes.orgs.models import Organization
from tests.build import a_person, an_org


class Caller:
    """A program with a management key of one role."""

    def __init__(self, org: Organization, role: str) -> None:
        self.person = a_person(f"{role}-of-{org.slug}", org, role)
        self.made = create_key(org, name=f"{role} key", role=role, by=self.person)
        self.client = Client(headers={"Authorization": f"Bearer {self.made.text}"})
        self.base = f"/api/v1/orgs/{org.slug}/"

    def __call__(self, method: str, path: str, body: Any = None, **extra: Any) -> Any:
        url = path if path.startswith("/") else self.base + path
        return getattr(self.client, method)(url, body, content_type="application/json", **extra)


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
