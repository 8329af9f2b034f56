"""The admin's session at the API, with the CSRF token that a browser sends: answered in the same order as a key."""

import json

import pytest
from django.test import Client

from routes.orgs.models import Organization
from tests.api.test_routes import NEW
from tests.api.test_who_may_what import TOKEN, signed_in
from tests.build import a_person, a_route, an_org
from tests.routes.catalog.build import own

pytestmark = pytest.mark.django_db


@pytest.fixture
def persons(org: Organization) -> dict[str, Client]:
    everybody = {role: signed_in(a_person(role, org, role)) for role in ("viewer", "editor", "admin")}
    foreign = signed_in(a_person("elsewhere", an_org("other"), "admin"))
    anonymous = Client(enforce_csrf_checks=True, headers={"X-CSRFToken": TOKEN})
    return everybody | {"foreign": foreign, "anonymous": anonymous}


@pytest.mark.parametrize("body", ["{", '{"name": NaN}', "\x00", "[" * 10_000])
def test_a_body_that_cannot_be_read_is_looked_at_last(org: Organization, persons: dict[str, Client], body: str) -> None:
    base = f"/api/v1/orgs/{org.slug}/"
    route = f"routes/{a_route(org).uid}/"
    asked = [
        ("anonymous", "POST", "routes/", 401),
        ("foreign", "POST", "routes/", 404),
        ("viewer", "POST", "routes/", 403),
        ("editor", "PUT", "routes/0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3e/", 404),
        ("viewer", "PATCH", route, 403),
        ("editor", "PATCH", route, 428),
        ("editor", "POST", "routes/", 400),
        ("editor", "POST", "request-logs/", 200),  # each line is refused for itself
    ]
    for name, method, path, status in asked:
        media_type = "application/x-ndjson" if path == "request-logs/" else "application/json"
        answer = persons[name].generic(method, base + path, body, content_type=media_type)
        assert answer.status_code == status, (name, method, path, answer.content)


def test_a_form_of_body_that_is_not_read_is_refused_after_who_may_not_send_it(
    org: Organization, persons: dict[str, Client]
) -> None:
    url = f"/api/v1/orgs/{org.slug}/routes/"
    for name, status in {"anonymous": 401, "foreign": 404, "viewer": 403, "editor": 415}.items():
        answer = persons[name].generic("POST", url, "{", content_type="text/plain")
        assert answer.status_code == status, (name, answer.content)


def test_a_repeat_of_what_was_sent_from_a_page_is_known_whatever_reads_the_body(
    org: Organization, persons: dict[str, Client]
) -> None:
    for path, body, status in (("prices/import/", [own()], 200), ("routes/", NEW, 201)):
        url, told = f"/api/v1/orgs/{org.slug}/{path}", []
        for _ in range(2):
            answer = persons["admin"].generic(
                "POST",
                url,
                json.dumps(body),
                content_type="application/json",
                headers={"X-CSRFToken": TOKEN, "Idempotency-Key": "one"},
            )
            assert answer.status_code == status, (path, answer.content)
            told.append((answer.content, answer.headers.get("Idempotency-Replayed")))
        assert told[0] == (told[1][0], None), path
        assert told[1][1] == "true"
