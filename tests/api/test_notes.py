"""`?note=` on what changes routes: the history and the audit log say why."""

from typing import Any
from urllib.parse import quote

import pytest

from audit.models import AuditEntry
from audit.services import payload_of
from routes.orgs.models import Organization
from routes.versions.models import RouteSetVersion
from routing_admin.docs.document import document
from tests.api.conftest import Caller
from tests.api.test_many_routes import listed
from tests.api.test_routes import problem
from tests.build import a_route

pytestmark = pytest.mark.django_db
ROUTE = {"name": "a", "then": {"target_model": "m"}}


def test_each_of_them_carries_it_to_the_version_and_the_entry(editor: Caller, org: Organization) -> None:
    row = a_route(org, "there", when={"tag_equals": "a"})
    path = f"routes/{row.uid}/"

    def is_noted(method: str, url: str, body: Any = None, **more: Any) -> Any:
        why = f"because of {url}"
        answer = editor(method, f"{url}?note={quote(why)}", body, **more)
        assert answer.status_code in (200, 201), answer.content
        newest = RouteSetVersion.objects.of(org).order_by("-version")[0]
        assert newest.note == why
        entry = AuditEntry.objects.filter(org_id=org.pk).order_by("-seq")[0]
        assert (payload_of(entry) or {})["note"] == why
        return answer

    made = is_noted("post", "routes/", ROUTE).json()["route"]["id"]
    is_noted("put", path, {**ROUTE, "name": "there"})
    is_noted("patch", path, {"priority": 3})
    is_noted("post", f"{path}pause/")
    is_noted("post", f"{path}resume/")
    is_noted("post", "routes/bulk/", {"do": "disable", "ids": [made]}, headers=listed(editor))
    is_noted("post", "routes/reorder/", {"ids": [str(row.uid), made]}, headers=listed(editor))
    is_noted("delete", path)
    is_noted("put", "routes/default/", {"target_model": "m"})
    is_noted("delete", "routes/default/")
    # The note is of that call alone.
    editor("patch", f"routes/{made}/", {"priority": 5})
    assert RouteSetVersion.objects.of(org).order_by("-version")[0].note == ""


@pytest.mark.parametrize("note", ["", " ", "a%0Ab", "%00", "x" * 501])
def test_a_note_in_a_url_is_one_line_of_at_most_five_hundred_characters(
    editor: Caller, org: Organization, note: str
) -> None:
    problem(editor("post", f"routes/?note={note}", ROUTE), 422, "invalid")
    assert not RouteSetVersion.objects.of(org).filter(version__gt=0).exists()
    assert editor("post", f"routes/?note={'x' * 500}", ROUTE).status_code == 201


def test_what_has_a_note_in_its_body_takes_none_in_its_url(editor: Caller, org: Organization) -> None:
    a_route(org)
    problem(editor("post", "versions/1/restore/?note=a", {"note": "b"}, headers=listed(editor)), 422, "invalid")
    found = {
        (method, path.removeprefix("/api/v1/orgs/{org}/"))
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        if any(parameter["name"] == "note" and parameter["in"] == "query" for parameter in operation["parameters"])
    }
    assert found == {
        ("post", "routes/"), ("put", "routes/{id}/"), ("patch", "routes/{id}/"), ("delete", "routes/{id}/"),
        ("post", "routes/{id}/pause/"), ("post", "routes/{id}/resume/"), ("post", "routes/reorder/"),
        ("post", "routes/bulk/"), ("put", "routes/default/"), ("delete", "routes/default/"),
        ("post", "services/"), ("put", "services/{id}/"), ("patch", "services/{id}/"), ("delete", "services/{id}/"),
        ("put", "services/{id}/paths/"),
    }  # fmt: skip
