"""Names that people write in the admin keep the rule that the API has for them: they come into logs, headers and pages."""

from typing import Any

import pytest
from django.test import Client

from plans.runs.models import PlanRun
from routes.examples.models import ExampleRequest
from routes.orgs.models import ApiKey, Organization
from tests.build import a_person, a_plan, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db

ROUTES = '[{"name": "all", "then": {"target_model": "m"}}]'
WINDOW = {"window_start": "2026-05-01T00:00", "window_end": "2026-05-02T00:00"}
#: URL, the form as it is accepted, and its fields that people write, each with whether it may have several lines.
FORMS: list[tuple[str, dict[str, Any], dict[str, bool]]] = [
    (
        "/admin/organizations/new/",
        {"slug": "new", "name": "New", "environment": "eu", "approval": "none"},
        {"name": False, "environment": False},
    ),
    (
        "/admin/o/acme/access/organization/",
        {"names-name": "Acme", "names-environment": "eu"},
        {"names-name": False, "names-environment": False},
    ),
    ("/admin/o/acme/access/keys/", {"key-name": "dashboard", "key-kind": "gateway"}, {"key-name": False}),
    ("/admin/gateway-keys/new/", {"key-name": "edge"}, {"key-name": False}),
    (
        "/admin/o/acme/plans/new/",
        {"name": "cheaper", "mode": "merge", "routes": ROUTES, "note": "why", **WINDOW},
        {"name": False, "note": True},
    ),
    ("/admin/o/acme/plans/{plan}/edit/", {"name": "cheaper", "note": "why"}, {"name": False, "note": True}),
    ("/admin/o/acme/plans/{plan}/reject/", {"reject-reason": "dear"}, {"reject-reason": True}),
    ("/admin/o/acme/access/freeze/", {"freeze-reason": "audit"}, {"freeze-reason": True}),
    (
        "/admin/o/acme/examples/new/",
        {"name": "kept", "tag": "x", "expected_model": "m"},
        {"name": False, "expected_model": False},
    ),
]


@pytest.fixture
def staff(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("staff", org, "admin", is_superuser=True))
    return client


def rows() -> list[Any]:
    return [list(model.objects.order_by("pk").values()) for model in (Organization, ApiKey, ExampleRequest, PlanRun)]


@pytest.mark.parametrize(("url", "form", "written"), FORMS, ids=[url for url, _, _ in FORMS])
def test_control_characters_are_refused_and_several_lines_where_there_is_one(
    org: Organization, staff: Client, url: str, form: dict[str, Any], written: dict[str, bool]
) -> None:
    usual_prices()
    traffic(org)
    url = url.format(plan=projected(a_plan(org)).pk)
    before = rows()
    for field, has_lines in written.items():
        for sign in ("\x07", "\u2028", "\x9b", *([] if has_lines else ["\n", "\t"])):
            answer = staff.post(url, {**form, field: f"a{sign}b"}, follow=True)
            assert "Control characters, line separators and lone surrogates are refused" in answer.content.decode()
            assert rows() == before
    lines = {field: "one\r\n\ttwo" for field, has_lines in written.items() if has_lines}
    assert staff.post(url, {**form, **lines}).status_code in (200, 302)
    assert rows() != before
