"""`placements/`: reading one as a gateway does, each step and its refusals, and what is said of a base URL."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from audit.models import AuditEntry
from routes.engine import Target
from routes.orgs.models import Organization
from routes.placements.models import Placement
from routes.placements.services import begin_move, set_placement
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import BY, a_placement, a_service
from tests.build import EU as HERE
from tests.build import US as THERE

pytestmark = pytest.mark.django_db
EU = {"cluster": "eu", "resource": "orders", "endpoint": "https://eu.example"}
US = {"cluster": "us", "resource": "orders", "endpoint": "https://us.example"}


@pytest.fixture
def admin(org: Organization) -> Caller:
    return Caller(org, "admin")


def step(admin: Caller, name: str, body: Any = None, *, seen: int | None = None) -> Any:
    headers = {} if seen is None else {"If-Match": f'"e{seen}"'}
    return admin("post", f"placements/acme/{name}/", body, headers=headers)


def test_a_partition_is_placed_and_moved_and_each_answer_says_what_is_next(admin: Caller) -> None:
    problem(admin("get", "placements/acme/"), 404, "not_found")
    placed = admin("put", "placements/acme/", EU, seen=None)
    assert (placed.status_code, placed["ETag"]) == (200, '"e1"')
    assert (placed.json()["steps"], placed.json()["findings"]) == (["set", "begin"], [])
    begun = step(admin, "begin", {"to": US, "drain_seconds": 31}, seen=1).json()
    assert (begun["phase"], begun["to"], begun["steps"]) == ("draining", US, ["cutover", "abort"])
    cut = step(admin, "cutover").json()
    assert (cut["phase"], cut["target"], cut["epoch"]) == ("cutover", EU, 3)
    assert 29 < cut["seconds_left"] <= 31
    problem(step(admin, "complete"), 409, "barrier_pending")
    Placement.objects.update(cut_over_at=timezone.now() - timedelta(seconds=32))
    moved = step(admin, "complete").json()
    assert (moved["phase"], moved["target"], moved["to"], moved["epoch"]) == ("settled", US, None, 4)
    receipts = [answer["receipt"]["seq"] for answer in (placed.json(), begun, cut, moved)]
    assert receipts == list(range(receipts[0], receipts[0] + 4))


def test_a_step_names_the_state_that_it_is_taken_from_or_is_refused(admin: Caller, org: Organization) -> None:
    a_placement(org, "acme")
    problem(step(admin, "begin", {"to": US}, seen=7), 412, "stale_placement")
    problem(admin("put", "placements/acme/", US, seen=None), 428, "precondition_required")
    for name, code in (("cutover", "not_migrating"), ("complete", "not_migrating"), ("abort", "not_migrating")):
        problem(step(admin, name), 409, code)
    problem(admin("post", "placements/ghost/cutover/"), 404, "unknown_partition")
    assert step(admin, "begin", {"to": US}).status_code == 200
    problem(step(admin, "begin", {"to": US}), 409, "already_migrating")
    problem(step(admin, "complete"), 409, "not_cutover")
    assert step(admin, "cutover").status_code == 200
    problem(step(admin, "cutover"), 409, "not_draining")


def test_a_placement_is_removed_where_the_default_is(admin: Caller, org: Organization) -> None:
    a_placement(org, "*")
    assert admin("put", "placements/acme/", US, seen='"d1"').status_code == 200
    elsewhere = problem(admin("delete", "placements/acme/", seen='"e2"'), 409, "placed_elsewhere")
    assert "acme is at us/orders, and * at eu/orders" in elsewhere["detail"]
    assert admin("put", "placements/acme/", EU, seen='"e2"').status_code == 200
    problem(admin("delete", "placements/acme/", seen='"e2"'), 412, "stale_placement")
    problem(admin("delete", "placements/acme/", seen=None), 428, "precondition_required")
    removed = admin("delete", "placements/acme/", seen='"e3"')
    assert removed.json()["receipt"]["seq"] == AuditEntry.objects.get(action="placement.removed").seq
    assert admin("get", "placements/acme/").json()["is_default"] is True
    problem(admin("delete", "placements/acme/", seen='"d1"'), 404, "unknown_partition")
    problem(admin("delete", "placements/ghost/", seen='"d1"'), 404, "unknown_partition")


def test_what_has_no_placement_of_its_own_has_the_defaults_in_one_query(
    admin: Caller, org: Organization, django_assert_num_queries: Any
) -> None:
    a_placement(org, "*")
    a_placement(org, "acme", "draining")
    told = admin("get", "placements/other/")
    assert (told.json()["partition"], told.json()["is_default"], told["ETag"]) == ("other", True, '"d1"')
    problem(admin("put", "placements/other/", EU, seen='"e1"'), 412, "stale_placement")
    assert admin("put", "placements/third/", EU).json()["epoch"] == 4
    assert admin("get", "placements/acme/").json()["is_default"] is False
    for partition in ("other", "acme"):
        with django_assert_num_queries(2):  # who asks, and what holds
            admin("get", f"placements/{partition}/")
    problem(admin("get", "placements/a%00b/"), 404, "not_found")


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ({**US, "endpoint": "https://10.0.0.1"}, "endpoint"),
        ({**US, "endpoint": "https://user:pw@us.example"}, "endpoint"),
        ({**US, "cluster": "c" * 200, "endpoint": "https://placement.invalid"}, "endpoint"),
    ],
)
def test_what_is_wrong_with_a_place_is_said_where_it_stands(
    admin: Caller, org: Organization, place: dict[str, str], path: str
) -> None:
    refused = problem(admin("put", "placements/new/", place, seen=None), 422, "invalid_placement")
    assert [error["pointer"] for error in refused["errors"]] == [f"/{path}"]
    a_placement(org, "acme")
    refused = problem(step(admin, "begin", {"to": place}), 422, "invalid_placement")
    assert [error["pointer"] for error in refused["errors"]] == [f"/to/{path}"]


def test_a_name_that_leads_nowhere_or_inside_is_a_warning(
    admin: Caller, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"eu.example": [], "us.example": ["10.0.0.1"]}
    monkeypatch.setattr("routes.orgs.lookup.addresses_of", known.__getitem__)
    (found,) = admin("put", "placements/acme/", EU, seen=None).json()["findings"]
    assert (found["code"], found["path"], found["severity"]) == ("upstream_unknown", "endpoint", "warning")
    (found,) = step(admin, "begin", {"to": US}).json()["findings"]
    assert (found["code"], found["path"]) == ("upstream_forbidden", "to.endpoint")
    assert step(admin, "cutover").json()["findings"] == []


def test_what_holds_is_read_at_one_moment(viewer: Caller, org: Organization) -> None:
    """A partition that gets a placement of its own, before the default is elsewhere, was never where that is then."""
    set_placement(org, "*", HERE, by=BY)
    answer = viewer("get", "placements/acme/").json()
    assert (answer["partition"], answer["is_default"], answer["epoch"]) == ("acme", True, 1)
    is_done = False

    def moves(execute: Any, sql: str, *given: Any) -> Any:
        nonlocal is_done
        found = execute(sql, *given)
        if not is_done and 'FROM "routes_placement"' in sql:
            is_done = True
            begin_move(org, "acme", THERE, by=BY)
            set_placement(org, "*", Target("far", "orders", "https://far.example"), by=BY)
        return found

    with connection.execute_wrapper(moves):
        answer = viewer("get", "placements/acme/").json()
    assert is_done
    assert answer["target"]["cluster"] == "eu"
    assert viewer("get", "placements/acme/").json()["epoch"] == 2


def test_who_asks_to_complete_with_a_key_of_idempotency_begins_the_time_as_well(
    admin: Caller, org: Organization
) -> None:
    """Nobody noted since when it is in cutover; what is refused leaves no trace in the transaction that it was in."""
    a_placement(org, "acme", "cutover")
    Placement.objects.update(cut_over_at=None)
    answer = admin("post", "placements/acme/complete/", headers={"Idempotency-Key": "1"})
    assert (answer.status_code, answer.json()["code"]) == (409, "barrier_pending")
    assert Placement.objects.get().cut_over_at is not None


def test_the_state_of_one_that_has_the_default_is_named_and_changes_with_it(admin: Caller, org: Organization) -> None:
    set_placement(org, "*", HERE, by=BY)
    tag = admin("get", "placements/acme/").headers["ETag"]
    assert admin("get", "placements/acme/", headers={"If-None-Match": tag}).status_code == 304
    set_placement(org, "*", THERE, by=BY)
    assert admin("get", "placements/acme/", headers={"If-None-Match": tag}).status_code == 200
    place = {"cluster": "eu", "resource": "orders", "endpoint": "https://eu.example"}
    assert admin("put", "placements/acme/", place).status_code == 200
    assert admin("put", "placements/acme/", place, seen=tag).status_code == 412


# --- Trying a path that follows placements ----------------------------------------------------------------------------

FOLLOWS = [
    {"pattern": "/h/**", "target_url": "https://x-tenant.header.placement.invalid/v1"},
    {"pattern": "/t/:tenant/*", "target_url": "http://tenant.path.placement.invalid"},
]


@pytest.mark.parametrize(
    ("asked", "url", "partition", "detail"),
    [
        ({"path": "/h/1", "headers": {"X-Tenant": "acme"}}, "https://eu.example/v1/1", "acme", ""),
        ({"path": "/t/acme/1", "method": "POST"}, "https://eu.example/1", "acme", ""),
        ({"path": "/h/1"}, None, None, "answer 400"),
        ({"path": "/h/1", "headers": {"x-tenant": ["acme", "acme"]}}, None, None, "answer 400"),
        ({"path": "/t/ghost/1"}, None, "ghost", "answer 404"),
        ({"path": "/t/moved/1"}, "https://eu.example/1", "moved", ""),
        ({"path": "/t/moved/1", "method": "PATCH"}, None, "moved", "answer 409"),
    ],
)
def test_a_tried_path_that_follows_a_placement_says_where_that_is(
    admin: Caller, org: Organization, asked: dict[str, Any], url: str | None, partition: str | None, detail: str
) -> None:
    a_placement(org, "acme")
    a_placement(org, "moved", "cutover")
    a_service(org, paths=FOLLOWS)
    told = admin("post", "services/users/match/", asked).json()
    assert (told["reason"], told["url"], told["placement"]["partition"]) == ("matched", url, partition)
    said = told["placement"]["detail"]
    assert detail in said if detail else said == ""
    if told["placement"]["cluster"]:
        assert told["placement"]["phase"] == ("cutover" if partition == "moved" else "settled")


@pytest.mark.parametrize(
    "target",
    ["https://placement.invalid:8443", "https://x.placement.invalid", "https://org.path.placement.invalid"],
)
def test_a_path_that_follows_placements_without_saying_how_is_refused(admin: Caller, target: str) -> None:
    paths = [{"pattern": "/t/:tenant/*", "target_url": target}]
    refused = problem(admin("post", "services/", {"slug": "orders", "paths": paths}), 422, "invalid_route")
    assert [error["pointer"] for error in refused["errors"]] == ["/paths/0/target_url"]


def test_what_leads_to_placements_is_looked_up_nowhere(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("routes.orgs.lookup.addresses_of", lambda name: asked.append(name) or [])
    answer = admin("post", "services/", {"slug": "orders", "paths": FOLLOWS})
    assert (answer.status_code, answer.json()["findings"], asked) == (201, [], [])
