"""Pausing, another order, and changes of many routes at once."""

from typing import Any

import pytest

from audit.models import AuditEntry
from audit.services import payload_of
from routes.document import document_of
from routes.orgs.models import Organization
from routes.rules.models import Route
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import a_route, an_org, state_of

pytestmark = pytest.mark.django_db
UNKNOWN = "0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3e"


@pytest.fixture
def ids(org: Organization) -> dict[str, str]:
    """By name, in the order in which they are asked."""
    priorities = {"a": 9, "b": 5, "c": 5, "d": 1}
    return {name: str(a_route(org, name, priority=priority).uid) for name, priority in priorities.items()}


def order(org: Organization) -> list[tuple[str, int]]:
    return [(route["name"], route["priority"]) for route in document_of(org).content["routes"]]


def last_entry(org: Organization) -> tuple[str, dict[str, Any]]:
    entry = AuditEntry.objects.filter(org_id=org.pk).order_by("-seq")[0]
    return entry.action, payload_of(entry) or {}


def listed(caller: Caller) -> dict[str, str]:
    return {"If-Match": caller("get", "routes/")["ETag"]}


# --- Pausing ----------------------------------------------------------------------------------------------------------


def test_a_route_is_paused_and_resumed_and_to_repeat_it_changes_nothing(editor: Caller, org: Organization) -> None:
    row = a_route(org)
    for step, paused, version in (("pause", True, 2), ("resume", False, 3)):
        body = editor("post", f"routes/{row.uid}/{step}/").json()
        assert (body["changed"], body["version"], body["route"]["paused"]) == (True, version, paused)
        assert last_entry(org) == (f"route.{step}d", {"name": "short", "digest": body["digest"]} | _by(editor))
        before = state_of(org)
        again = editor("post", f"routes/{row.uid}/{step}/")
        assert (again.json()["changed"], again["ETag"]) == (False, f'"r{version}"')
        assert state_of(org) == before


def _by(caller: Caller) -> dict[str, str]:
    return {"actor_name": f"{caller.person.get_username()}, by key {caller.made.key.name}"}


def test_pausing_needs_no_state_and_minds_one_that_is_sent(editor: Caller, org: Organization) -> None:
    path = f"routes/{a_route(org).uid}/pause/"
    body = problem(editor("post", path, headers={"If-Match": '"r0"'}), 412, "stale_route")
    assert body["current"]["paused"] is False
    assert editor("post", path, headers={"If-Match": '"r1"'}).json()["changed"]
    problem(editor("post", path, headers={"If-Match": '"r1"'}), 412, "stale_route")


def test_a_route_that_is_not_there_is_not_paused(editor: Caller, org: Organization) -> None:
    foreign = a_route(an_org("other"))
    for uid in (UNKNOWN, foreign.uid):
        problem(editor("post", f"routes/{uid}/pause/"), 404, "not_found")


def test_where_every_change_is_a_plan_pausing_alone_is_direct(editor: Caller, org: Organization) -> None:
    row, other = a_route(org), a_route(org, "other")
    Organization.objects.update(approval="all")
    assert editor("post", f"routes/{row.uid}/pause/").json()["changed"]
    problem(editor("post", f"routes/{row.uid}/resume/"), 409, "approval_required")
    many = {"ids": [str(row.uid), str(other.uid)]}
    refused = editor("post", "routes/bulk/", {"do": "resume", **many}, headers=listed(editor))
    problem(refused, 409, "approval_required")
    assert editor("post", "routes/bulk/", {"do": "pause", **many}, headers=listed(editor)).json()["changed"]
    assert set(Route.objects.values_list("paused", flat=True)) == {True}


# --- Another order ----------------------------------------------------------------------------------------------------


def test_a_new_order_hands_the_priorities_in_use_out_anew(editor: Caller, org: Organization, ids: Any) -> None:
    now = [ids[name] for name in "dacb"]
    answer = editor("post", "routes/reorder/", {"ids": now}, headers=listed(editor))
    assert (answer.status_code, answer.json()["version"], answer["ETag"]) == (200, 5, '"5"')
    assert order(org) == [("d", 9), ("a", 5), ("c", 5), ("b", 1)]
    assert last_entry(org)[0] == "routes.reordered"
    assert last_entry(org)[1]["is"] == now
    revisions = {row.name: row.revision for row in Route.objects.of(org)}
    assert revisions == {"a": 5, "b": 5, "c": 3, "d": 5}, "what a route says itself did not change in c"


def test_the_present_order_changes_nothing(editor: Caller, org: Organization, ids: Any) -> None:
    Route.objects.filter(name="b").update(position=2)
    Route.objects.filter(name="c").update(position=7)
    before = state_of(org)
    answer = editor("post", "routes/reorder/", {"ids": list(ids.values())}, headers=listed(editor))
    assert answer.json()["changed"] is False
    assert state_of(org) == before


def test_an_order_names_every_route_once(editor: Caller, org: Organization, ids: Any) -> None:
    sent = {"ids": [ids["a"], UNKNOWN, ids["b"], ids["a"].upper()]}
    before = state_of(org)
    body = problem(editor("post", "routes/reorder/", sent, headers=listed(editor)), 422, "invalid_ids")
    assert [(error["pointer"], error["code"]) for error in body["errors"]] == [
        ("/ids/1", "unknown_route"),
        ("/ids/3", "duplicate_value"),
        ("/ids", "missing_route"),
        ("/ids", "missing_route"),
    ]
    told = " ".join(error["detail"] for error in body["errors"])
    assert all(name in told for name in (UNKNOWN, "“a”", "“c”", "“d”"))
    assert state_of(org) == before


@pytest.mark.parametrize("path", ["reorder", "bulk"])
def test_what_changes_many_needs_the_list_that_was_seen(
    editor: Caller, viewer: Caller, org: Organization, ids: Any, path: str
) -> None:
    body = {"ids": [ids[name] for name in "dcba"], **({"do": "disable"} if path == "bulk" else {})}
    url = f"routes/{path}/"
    before = state_of(org)
    problem(viewer("post", url, body), 403, "forbidden")
    problem(editor("post", url, b"{"), 428, "precondition_required")
    stale = {"If-Match": '"3"'}
    problem(editor("post", url, b"{", headers=stale), 400, "malformed_body")
    problem(editor("post", url, {**body, "ids": ["x"]}, headers=stale), 422, "invalid")
    for seen in ('"3"', 'W/"4"', '"x"', "4"):
        told = problem(editor("post", url, body, headers={"If-Match": seen}), 412, "stale_version")
        assert told["current"] == 4
    assert state_of(org) == before
    assert editor("post", f"{url}?dry_run=1", body, headers={"If-Match": '"4"'}).json()["changed"]
    assert state_of(org) == before
    assert editor("post", url, body, headers={"If-Match": '"3", "4"'}).json()["changed"]


# --- The same with many -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("do", "undo", "column", "value"),
    [("disable", "enable", "enabled", False), ("pause", "resume", "paused", True)],
)
def test_many_are_switched_as_one_version_with_one_entry(
    editor: Caller, org: Organization, ids: Any, do: str, undo: str, column: str, value: bool
) -> None:
    some = [ids["d"], ids["b"]]
    for act, is_so in ((do, value), (undo, not value)):
        entries = AuditEntry.objects.count()
        body = editor("post", "routes/bulk/", {"do": act, "ids": some}, headers=listed(editor)).json()
        assert body["changed"]
        assert AuditEntry.objects.count() == entries + 1
        assert set(Route.objects.filter(uid__in=some).values_list(column, flat=True)) == {is_so}
        assert set(Route.objects.exclude(uid__in=some).values_list(column, flat=True)) == {not value}
        action, payload = last_entry(org)
        assert action == f"routes.{act}d"
        assert payload["routes"] == [{"id": ids["d"], "name": "d"}, {"id": ids["b"], "name": "b"}]
    assert editor("post", "routes/bulk/", {"do": undo, "ids": some}, headers=listed(editor)).json()["changed"] is False
    assert set(Route.objects.filter(uid__in=some).values_list("revision", flat=True)) == {6}


def test_many_are_deleted_at_once(editor: Caller, org: Organization, ids: Any) -> None:
    body = {"do": "delete", "ids": [ids["a"], ids["c"]]}
    assert editor("post", "routes/bulk/", body, headers=listed(editor)).json()["version"] == 5
    assert order(org) == [("b", 5), ("d", 1)]
    assert last_entry(org)[0] == "routes.deleted"


def test_one_that_is_not_there_refuses_all(editor: Caller, org: Organization, ids: Any) -> None:
    foreign = str(a_route(an_org("other")).uid)
    before = state_of(org)
    for wrong, code in ((UNKNOWN, "unknown_route"), (foreign, "unknown_route"), (ids["a"], "duplicate_value")):
        sent = {"do": "delete", "ids": [ids["a"], wrong]}
        body = problem(editor("post", "routes/bulk/", sent, headers=listed(editor)), 422, "invalid_ids")
        (error,) = body["errors"]
        assert (error["pointer"], error["code"]) == ("/ids/1", code)
        assert wrong in error["detail"]
    problem(editor("post", "routes/bulk/", {"do": "delete", "ids": []}, headers=listed(editor)), 422, "invalid_ids")
    problem(editor("post", "routes/bulk/", {"do": "burn", "ids": [ids["a"]]}, headers=listed(editor)), 422, "invalid")
    assert state_of(org) == before
