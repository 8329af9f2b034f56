"""The routes of a draft, one by one."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from plans.runs.drafting import act_on_route, put_route
from plans.runs.errors import InvalidPlan, PlanChanged
from plans.runs.models import PlanRun, State
from plans.runs.proposals import content_of
from plans.runs.services import cancel, tag
from plans.runs.states import InvalidState
from routes import engine
from routes.document import document_of
from routes.errors import NotFound
from routes.orgs.models import Organization, new_id
from routes.rules.services import delete_route
from tests.build import BY, a_plan, a_route

pytestmark = pytest.mark.django_db


def a_document(name: str, **keys: Any) -> dict[str, Any]:
    raw = {"name": name, "when": {}, "then": {"target_model": "gpt-4o-mini"}, **keys}
    return engine.NewRoute.from_dict(raw).with_id(str(new_id())).to_dict()


def wanted(plan: PlanRun) -> list[dict[str, Any]]:
    """What would be live, were the plan applied."""
    plan = PlanRun.objects.get(pk=plan.pk)
    return content_of(plan, document_of(plan.org).content)["routes"]


def test_a_copy_begins_as_today_and_a_route_more_is_all_that_the_plan_keeps(org: Organization) -> None:
    a_route(org, "today")
    plan = a_plan(org, routes=[])
    assert [route["name"] for route in wanted(plan)] == ["today"]
    assert put_route(plan, a_document("new"), by=BY)
    assert [route["name"] for route in wanted(plan)] == ["today", "new"]
    plan.refresh_from_db()
    assert (plan.mode, [route["name"] for route in plan.proposed_routes]) == ("merge", ["new"])


def test_what_others_publish_meanwhile_stays(org: Organization) -> None:
    mine = a_route(org, "mine")
    plan = a_plan(org, routes=[])
    a_route(org, "theirs")
    act_on_route(plan, str(mine.uid), "pause", by=BY)
    assert {route["name"]: route.get("paused", False) for route in wanted(plan)} == {"mine": True, "theirs": False}
    assert plan.base_version == document_of(org).version


def test_removing_and_putting_back_is_nothing_at_all(org: Organization) -> None:
    rows = [a_route(org, name) for name in ("first", "second", "third")]
    plan = a_plan(org, routes=[])
    act_on_route(plan, str(rows[1].uid), "remove", by=BY)
    assert [route["name"] for route in wanted(plan)] == ["first", "third"]
    assert act_on_route(plan, str(rows[1].uid), "put_back", by=BY)
    assert [route["name"] for route in wanted(plan)] == ["first", "second", "third"]
    plan.refresh_from_db()
    assert (plan.mode, plan.proposed_routes) == ("merge", [])


def test_a_changed_route_is_put_back_as_it_is_today_and_a_new_one_is_left_out(org: Organization) -> None:
    row = a_route(org, "today")
    plan = a_plan(org, routes=[])
    new = a_document("new")
    put_route(plan, new, by=BY)
    put_route(plan, {**document_of(org).content["routes"][0], "name": "otherwise"}, by=BY)
    assert [route["name"] for route in wanted(plan)] == ["otherwise", "new"]
    act_on_route(plan, str(row.uid), "put_back", by=BY)
    act_on_route(plan, new["id"], "put_back", by=BY)
    assert wanted(plan) == document_of(org).content["routes"]


def test_the_same_act_twice_changes_nothing_the_second_time(org: Organization) -> None:
    row = a_route(org, "today")
    plan = a_plan(org, routes=[])
    assert [act_on_route(plan, str(row.uid), "pause", by=BY) for _ in range(2)] == [True, False]
    assert [act_on_route(plan, str(row.uid), "resume", by=BY) for _ in range(2)] == [True, False]


def test_what_cannot_be_done_is_refused_and_changes_nothing(org: Organization) -> None:
    row = a_route(org, "today")
    plan = a_plan(org, routes=[])
    seen = tag(plan)
    put_route(plan, a_document("new"), by=BY, seen=seen)
    before = wanted(plan)
    with pytest.raises(PlanChanged):
        act_on_route(plan, str(row.uid), "remove", by=BY, seen=seen)
    with pytest.raises(NotFound):
        act_on_route(plan, str(new_id()), "pause", by=BY)
    with pytest.raises(NotFound):
        act_on_route(plan, str(new_id()), "put_back", by=BY)
    with pytest.raises(InvalidPlan, match="two routes called “today”"):
        put_route(plan, a_document("today"), by=BY)
    assert wanted(plan) == before
    cancel(plan, by=BY)
    with pytest.raises(InvalidState):
        act_on_route(plan, str(row.uid), "remove", by=BY)


def test_a_route_that_is_gone_today_by_now_can_be_left_out(org: Organization) -> None:
    row = a_route(org, "today")
    plan = a_plan(org, routes=[])
    act_on_route(plan, str(row.uid), "pause", by=BY)
    delete_route(org, row.uid, by=BY, expected_revision=row.revision)
    assert [route["name"] for route in wanted(plan)] == ["today"]
    act_on_route(plan, str(row.uid), "put_back", by=BY)
    assert wanted(plan) == []
    assert PlanRun.objects.get(pk=plan.pk).state == State.DRAFT


def by_id(routes: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {route["id"]: {key: value for key, value in route.items() if value is not False} for route in routes}


def test_a_route_that_is_asked_earlier_now_is_still_kept_as_what_differs(org: Organization) -> None:
    for name in ("first", "second"):
        a_route(org, name)
    plan = a_plan(org, routes=[])
    put_route(plan, {**document_of(org).content["routes"][1], "priority": 500}, by=BY)
    assert [route["name"] for route in wanted(plan)] == ["second", "first"]
    plan.refresh_from_db()
    assert (plan.mode, len(plan.proposed_routes)) == ("merge", 1)


@pytest.mark.parametrize("seed", range(6))
def test_any_edits_one_after_the_other_lead_to_what_they_say(org: Organization, seed: int) -> None:
    chance = random.Random(f"edits {seed}")
    for number in range(4):
        a_route(org, f"route {number}", priority=100 * (number % 2))
    plan = a_plan(org, routes=[])
    today = document_of(org).content["routes"]
    expected = {route["id"]: route for route in today}
    for number in range(12):
        match chance.choice(["put", "new", "pause", "resume", "remove", "put_back"]):
            case "new":
                route = a_document(f"new {number}", priority=chance.choice([0, 100]))
                put_route(plan, route, by=BY)
                expected[route["id"]] = route
            case "put" if expected:
                route = {**chance.choice(list(expected.values())), "priority": chance.choice([0, 50, 100])}
                put_route(plan, route, by=BY)
                expected[route["id"]] = route
            case "put_back":
                route = chance.choice(today)
                act_on_route(plan, route["id"], "put_back", by=BY)
                expected[route["id"]] = route
            case act if expected and act != "put":
                uid = chance.choice(list(expected))
                act_on_route(plan, uid, act, by=BY)
                if act == "remove":
                    del expected[uid]
                else:
                    expected[uid] = {**expected[uid], "paused": act == "pause"}
        found = wanted(plan)
        assert by_id(found) == by_id(expected.values())
        assert [route["priority"] for route in found] == sorted((route["priority"] for route in found), reverse=True)
