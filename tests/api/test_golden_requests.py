"""`examples/`, and `?accept_broken=` on what publishes."""

from typing import Any
from urllib.parse import quote

import pytest

from audit.models import AuditEntry
from audit.services import payload_of
from routes.examples.models import ExampleRequest
from routes.orgs.models import Organization
from routing_admin.docs.document import document
from tests.api.conftest import Caller
from tests.api.test_many_routes import listed
from tests.api.test_routes import problem
from tests.build import a_plan, a_route, an_example, projected, state_of, traffic, usual_prices

pytestmark = pytest.mark.django_db
ONE = {
    "name": "short",
    "request": {"context": {"model": "gpt-4o"}, "now": "2026-05-01T00:00:00Z"},
    "expected": {"route": None},
}
ALL = {"name": "all", "priority": 900, "then": {"target_model": "claude-haiku"}}


def test_an_example_is_made_read_changed_and_deleted(editor: Caller, viewer: Caller) -> None:
    made = editor("post", "examples/", ONE)
    assert made.status_code == 201
    body = made.json()
    assert (body["changed"], body["receipt"]["seq"] > 0, made["ETag"]) == (True, True, '"e1"')
    path = made["Location"]
    read = viewer("get", path)
    assert read.json() == body["example"] == {**body["example"], **ONE}
    assert viewer("get", path, headers={"If-None-Match": read["ETag"]}).status_code == 304
    put = editor("put", path, {**ONE, "expected": {"reason": "no_match"}}, seen=made["ETag"])
    assert (put.json()["changed"], put["ETag"]) == (True, '"e2"')
    stale = editor("put", path, ONE, seen=made["ETag"])
    assert problem(stale, 412, "stale_example")["current"] == put.json()["example"]
    assert stale["ETag"] == '"e2"'
    problem(editor("delete", path, seen=made["ETag"]), 412, "stale_example")
    problem(editor("delete", path, seen=None), 428, "precondition_required")
    problem(viewer("delete", path), 403, "forbidden")
    assert viewer("get", "examples/").json()["results"] == [put.json()["example"]]
    assert editor("put", f"{path}?dry_run=1", ONE).json()["dry_run"]
    assert editor("delete", path).json()["changed"]
    problem(viewer("get", path), 404, "not_found")


def test_what_is_wrong_with_an_example_has_its_pointers(editor: Caller) -> None:
    wrong = {"name": "x", "request": {"context": {"tokens": 3}, "now": 5}, "expected": {"reason": "maybe", "a/b": 1}}
    body = problem(editor("post", "examples/", wrong), 422, "invalid_example")
    assert {error["pointer"]: error["code"] for error in body["errors"]} == {
        "/request/now": "wrong_type",
        "/request/context/tokens": "unknown_key",
        "/expected/a~1b": "unknown_key",
        "/expected/reason": "unknown_value",
    }


def test_checking_says_of_every_example_what_becomes_of_it_now(
    viewer: Caller, org: Organization, django_assert_num_queries: Any
) -> None:
    a_route(org)
    good, bad = an_example(org, "a"), an_example(org, "b", expected={"route": "other", "reason": "matched"})
    viewer("post", "examples/check/")
    with django_assert_num_queries(2):  # the key with all that it takes, and the examples
        body = viewer("post", "examples/check/").json()
    found = {"route": "short", "target_model": "gpt-4o-mini", "reason": "matched"}
    assert body == {
        "version": 1,
        "passed": 1,
        "failed": 1,
        "results": [
            {"id": str(good.uid), "name": "a", "expected": good.expected, "is": found, "holds": True},
            {"id": str(bad.uid), "name": "b", "expected": bad.expected, "is": found, "holds": False},
        ],
    }


def test_a_write_that_breaks_an_example_is_told_so_and_done_with_a_reason(editor: Caller, org: Organization) -> None:
    row = a_route(org)
    example = an_example(org, expected={"route": "short"})
    before = state_of(org)
    for dry in ("", "?dry_run=1"):
        body = problem(editor("post", f"routes/{dry}", ALL), 409, "example_broken")
        (broken,) = body["broken"]
        assert (broken["id"], broken["name"], broken["route"]) == (str(example.uid), "short", "all")
        assert (broken["was"]["route"], broken["is"]["route"], broken["expected"]) == (
            "short",
            "all",
            {"route": "short"},
        )
        assert "“short”" in body["detail"]
        assert "“all”" in body["detail"]
    assert state_of(org) == before
    key = {"Idempotency-Key": "k"}
    problem(editor("post", "routes/", ALL, headers=key), 409, "example_broken")
    done = editor("post", f"routes/?accept_broken={quote('prices fell – Ünal')}", ALL, headers=key)
    assert done.status_code == 201
    payload = payload_of(AuditEntry.objects.filter(org_id=org.pk).order_by("-seq")[0]) or {}
    assert payload["accept_broken"] == "prices fell – Ünal"
    assert payload["broken"] == [{"id": str(example.uid), "name": "short", "route": "all"}]
    # The reason is of that call alone.
    assert editor("delete", f"routes/{done.json()['route']['id']}/").status_code == 200
    problem(editor("delete", f"routes/{row.uid}/"), 409, "example_broken")


@pytest.mark.parametrize("reason", ["", " ", "a%0Ab", "%00", "%E2%80%A8", "x" * 501])
def test_a_reason_is_one_line_of_at_most_five_hundred_characters(
    editor: Caller, org: Organization, reason: str
) -> None:
    problem(editor("post", f"routes/?accept_broken={reason}", ALL), 422, "invalid")
    assert editor("post", f"routes/?accept_broken={'x' * 500}", ALL).status_code == 201


def test_every_operation_that_publishes_takes_a_reason_and_no_other_does() -> None:
    found = {
        (method, path.removeprefix("/api/v1/orgs/{org}/"))
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        if any(parameter["name"] == "accept_broken" for parameter in operation["parameters"])
    }
    assert found == {
        ("post", "routes/"), ("put", "routes/{id}/"), ("patch", "routes/{id}/"), ("delete", "routes/{id}/"),
        ("post", "routes/{id}/pause/"), ("post", "routes/{id}/resume/"), ("post", "routes/reorder/"),
        ("post", "routes/bulk/"), ("put", "routes/default/"), ("delete", "routes/default/"),
        ("post", "routes/import/"), ("post", "versions/{id}/restore/"),
        ("post", "plans/{id}/apply/"), ("post", "plans/{id}/revert/"),
    }  # fmt: skip


def test_all_of_them_carry_it_to_the_entry(editor: Caller, approver: Caller, org: Organization) -> None:
    usual_prices()
    traffic(org)
    row = a_route(org)
    path, every = f"routes/{row.uid}/", {"ids": [str(row.uid)]}
    why = "?accept_broken=because"

    def breaks(holding: Any, caller: Caller, method: str, url: str, body: Any = None, **more: Any) -> None:
        """The write breaks an example that holds until then, and its entry says so."""
        ExampleRequest.objects.all().delete()
        an_example(org, expected=holding)
        answer = caller(method, url + why, body, **more)
        assert answer.status_code == 200, answer.content
        payload = payload_of(AuditEntry.objects.filter(org_id=org.pk).order_by("-seq")[0]) or {}
        assert (payload["accept_broken"], len(payload["broken"])) == ("because", 1)

    taken, by_none = {"reason": "matched", "route": "short"}, {"reason": "no_match"}
    breaks(taken, editor, "post", f"{path}pause/")
    breaks({"reason": "paused"}, editor, "post", f"{path}resume/")
    breaks(taken, editor, "post", "routes/bulk/", {"do": "disable", **every}, headers=listed(editor))
    breaks(by_none, editor, "patch", path, {"enabled": True})
    planned = {"name": "planned", "priority": 300, "when": {"model_in": ["gpt-4o"]}, "then": {"target_model": "mini"}}
    plan = f"plans/{projected(a_plan(org, routes=[planned], iterations=100)).pk}/"
    breaks(taken, approver, "post", f"{plan}apply/")
    breaks({"route": "planned"}, approver, "post", f"{plan}revert/")
    other = a_route(org, "other", priority=1)
    order = {"ids": [str(other.uid), str(row.uid)]}
    breaks(taken, editor, "post", "routes/reorder/", order, headers=listed(editor))
    breaks({"route": "other"}, editor, "delete", f"routes/{other.uid}/")
    away = {"name": "short", "when": {"tag_equals": "x"}, "then": {"target_model": "m"}}
    sent = {"mode": "merge", "content": {"routes": [away]}}
    org.refresh_from_db()
    breaks(taken, editor, "post", "routes/import/", sent, headers=listed(editor))
    breaks(by_none, editor, "post", f"versions/{org.version}/restore/", {}, headers=listed(editor))
    breaks(taken, editor, "delete", path)
    breaks(by_none, editor, "put", "routes/default/", {"target_model": "m"})
    breaks({"reason": "default"}, editor, "delete", "routes/default/")
