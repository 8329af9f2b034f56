"""What was published is listed, compared and brought back."""

from typing import Any
from unittest.mock import patch

import pytest

from routes import engine
from routes.document import document_of
from routes.history.services import restore_version
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.orgs.services import update_organization
from routes.rules.services import delete_route, update_route
from routes.versions.models import RouteSetVersion
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import BY, a_route

pytestmark = pytest.mark.django_db


@pytest.fixture
def three(org: Organization) -> Organization:
    """A route; another priority; none."""
    row = a_route(org)
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 7}), by=BY)
    delete_route(org, row.uid, by=BY)
    return org


def retire(org: Organization, version: int) -> None:
    RouteSetVersion.objects.filter(org=org, version=version).update(content=None)


def restore(
    caller: Caller, version: int, body: Any = None, *, seen: str | None = "*", query: str = "", **more: Any
) -> Any:
    headers = {**more, **({} if seen is None else {"If-Match": seen})}
    return caller("post", f"versions/{version}/restore/{query}", {} if body is None else body, headers=headers)


# --- Looking ----------------------------------------------------------------------------------------------------------


def test_versions_are_listed_newest_first_without_their_content(viewer: Caller, three: Organization) -> None:
    retire(three, 1)
    found = viewer("get", "versions/").json()["results"]
    assert [(row["version"], row["cause"], row["is_kept"]) for row in found] == [
        (3, "route.deleted", True),
        (2, "route.updated", True),
        (1, "route.created", False),
    ]
    assert found[0]["author"] == {"type": "system", "id": "test", "name": "test"}
    assert all("content" not in row for row in found)
    page = viewer("get", "versions/?limit=2").json()
    assert [row["version"] for row in viewer("get", page["next"]).json()["results"]] == [1]
    assert [row["version"] for row in viewer("get", "versions/?ordering=version").json()["results"]] == [1, 2, 3]


def test_versions_are_narrowed(viewer: Caller, editor: Caller, three: Organization) -> None:
    restore(editor, 1, {"note": "Before the weekend"})

    def numbers(query: str) -> list[int]:
        return [row["version"] for row in viewer("get", f"versions/?{query}").json()["results"]]

    assert numbers("cause=route.updated") == [2]
    assert numbers("search=weekend") == [4]
    assert numbers("author=test") == [3, 2, 1]
    assert numbers("since=2999-01-01T00:00:00Z") == []
    assert viewer("get", "versions/?autor=test").status_code == 422


def test_a_version_has_what_it_published(viewer: Caller, three: Organization) -> None:
    found = viewer("get", "versions/2/").json()
    assert [route["priority"] for route in found["content"]["routes"]] == [7]
    retire(three, 2)
    found = viewer("get", "versions/2/").json()
    assert (found["content"], found["is_kept"], found["digest"][:7]) == (None, False, "sha256:")


@pytest.mark.parametrize("version", ["0", "4", "99999999999999999999999", "x", "-1", "1.0"])
def test_an_unknown_version_is_not_there(viewer: Caller, three: Organization, version: str) -> None:
    assert viewer("get", f"versions/{version}/").status_code == 404


# --- Comparing --------------------------------------------------------------------------------------------------------


def test_two_versions_differ_by_route_and_field(viewer: Caller, three: Organization) -> None:
    found = viewer("get", "versions/diff/?from=1&to=2").json()
    assert (found["from"], found["to"]) == (1, 2)
    (change,) = found["results"]
    assert (change["name"], change["change"]) == ("short", "changed")
    assert change["fields"] == [{"path": "/priority", "was": 100, "is": 7}]
    back = viewer("get", "versions/diff/?from=2&to=1").json()
    assert back["results"][0]["fields"] == [{"path": "/priority", "was": 7, "is": 100}]
    assert viewer("get", "versions/diff/?from=2&to=2").json()["results"] == []


def test_the_empty_version_can_be_compared_and_what_is_live_needs_no_number(
    viewer: Caller, three: Organization
) -> None:
    (added,) = viewer("get", "versions/diff/?from=0&to=2").json()["results"]
    assert (added["change"], added["fields"]) == ("added", [])
    found = viewer("get", "versions/diff/").json()
    assert (found["from"], found["to"], found["results"][0]["change"]) == (2, 3, "removed")
    assert viewer("get", "versions/diff/?from=3").json()["results"] == []
    assert viewer("get", "versions/diff/?to=1").json()["from"] == 0


def test_nothing_published_differs_in_nothing(viewer: Caller) -> None:
    assert viewer("get", "versions/diff/").json() == {"from": 0, "to": 0, "results": []}


def test_without_from_the_newest_that_is_kept_is_compared(viewer: Caller, three: Organization) -> None:
    for gone, before in ((2, 1), (1, 0)):
        retire(three, gone)
        found = viewer("get", "versions/diff/").json()
        assert (found["from"], found["to"]) == (before, 3)
    problem(viewer("get", "versions/diff/?to=2"), 410, "version_retired")
    problem(viewer("get", "versions/diff/?to=4"), 404, "not_found")


def test_what_cannot_be_compared_is_refused(viewer: Caller, three: Organization) -> None:
    problem(viewer("get", "versions/diff/?from=1&to=4"), 404, "not_found")
    retire(three, 1)
    body = problem(viewer("get", "versions/diff/?from=1&to=2"), 410, "version_retired")
    assert "version 1" in body["detail"]
    problem(viewer("get", "versions/diff/?from=2&to=1"), 410, "version_retired")
    assert viewer("get", "versions/diff/?from=2&to=3").status_code == 200
    for query in ("from=x", "from=-1", "to=1.0", "to=", "from=１", f"to={2**53}", "of=1", "from=1&from=2"):
        assert viewer("get", f"versions/diff/?{query}").status_code == 422, query


# --- Restoring --------------------------------------------------------------------------------------------------------


def test_restoring_publishes_the_version_once_more(editor: Caller, three: Organization) -> None:
    answer = restore(editor, 2, {"note": "It was right"}, seen='"3"')
    found = answer.json()
    assert (answer.status_code, answer["ETag"], found["version"], found["restored_version"]) == (200, '"4"', 4, 2)
    assert found["digest"] == RouteSetVersion.objects.get(org=three, version=2).digest
    assert found["receipt"]["seq"] > 0
    assert [change["change"] for change in found["difference"]] == ["added"]
    assert found["lint"] == []
    newest = editor("get", "versions/").json()["results"][0]
    assert (newest["cause"], newest["note"]) == ("version.restored", "It was right")


def test_restoring_needs_the_list_as_it_is(editor: Caller, three: Organization) -> None:
    problem(restore(editor, 1, seen=None), 428, "precondition_required")
    stale = restore(editor, 1, seen='"2"')
    body = problem(stale, 412, "stale_version")
    assert (body["current"], stale["ETag"]) == (3, '"3"')
    assert [(change["name"], change["change"]) for change in body["difference"]] == [("short", "removed")]
    assert problem(restore(editor, 1, seen='"r3"'), 412, "stale_version")["difference"] is None
    assert problem(restore(editor, 1, seen='W/"3"'), 412, "stale_version")["current"] == 3
    assert editor("get", "routes/")["ETag"] == '"3"'
    assert restore(editor, 1, seen='"3"').status_code == 200


def test_who_writes_between_the_look_and_the_lock_is_seen(editor: Caller, three: Organization) -> None:
    def slowly(*given: Any, **more: Any) -> Any:
        a_route(three, f"route {RouteSetVersion.objects.count()}")
        return restore_version(*given, **more)

    with patch("routes.history.api.restore_version", slowly):
        body = problem(restore(editor, 1, seen='"3"'), 412, "stale_version")
        assert (body["current"], body["difference"][0]["change"]) == (4, "added")
        assert restore(editor, 1, seen="*").status_code == 200, "whatever there is"


def test_the_checks_of_restoring_come_in_their_order(viewer: Caller, editor: Caller, three: Organization) -> None:
    problem(restore(viewer, 9, b"{", seen=None), 404, "not_found")
    problem(restore(viewer, 1, b"{", seen=None), 403, "forbidden")
    problem(restore(editor, 1, b"{", seen=None), 428, "precondition_required")
    problem(restore(editor, 1, b"{", seen='"1"'), 400, "malformed_body")
    problem(restore(editor, 1, {"not": 1}, seen='"1"'), 422, "invalid")
    problem(restore(editor, 1, {}, seen='"1"'), 412, "stale_version")
    retire(three, 1)
    problem(restore(editor, 1), 410, "version_retired")


def test_a_dry_run_of_restoring_tells_the_difference_and_writes_nothing(editor: Caller, three: Organization) -> None:
    before = document_of(three)
    answer = restore(editor, 1, query="?dry_run=1")
    found = answer.json()
    assert (found["dry_run"], found["receipt"], found["version"], "ETag" in answer) == (True, None, 4, False)
    assert [change["change"] for change in found["difference"]] == ["added"]
    assert document_of(three) == before


def test_a_restore_that_is_repeated_with_its_key_is_done_once(editor: Caller, three: Organization) -> None:
    """Though the second call names a version that is not the newest any more."""
    answers = [restore(editor, 1, seen='"3"', **{"Idempotency-Key": "once"}) for _ in range(3)]
    assert [answer.json()["version"] for answer in answers] == [4, 4, 4]
    assert answers[1]["Idempotency-Replayed"] == "true"
    problem(restore(editor, 1, seen='"3"', **{"Idempotency-Key": "other"}), 412, "stale_version")


def test_no_body_is_no_note(editor: Caller, three: Organization) -> None:
    answer = editor.client.generic("POST", f"{editor.base}versions/1/restore/", headers={"If-Match": '"3"'})
    assert answer.status_code == 200
    assert editor("get", "versions/4/").json()["note"] == ""


def test_where_direct_changes_are_refused_so_is_restoring(editor: Caller, three: Organization) -> None:
    update_organization(three, approval="all", by=BY)
    problem(restore(editor, 1), 409, "approval_required")
    freeze(three, reason="an incident", by=BY)
    problem(restore(editor, 1), 409, "organization_frozen")
