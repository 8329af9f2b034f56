"""Two people changed one route: what one of them did alone is in both, and every field that the first touched is told."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from routes.engine import Route
from routes.rules.merging import merged
from tests.routes.rules.generate import NEW_ROUTES

UID = "00000000-0000-0000-0000-000000000001"
BASE: dict[str, Any] = {
    "name": "a", "when": {"tag_equals": "t", "input_tokens_lt": 5}, "then": {"target_model": "m"}, "meta": {"owner": "o"},
}  # fmt: skip


def route(**keys: Any) -> dict[str, Any]:
    return Route.from_dict({"id": UID, **BASE, **keys}).to_dict()


def told(base: Any, theirs: Any, mine: Any) -> list[tuple[str, str, str, str, str]]:
    return [(one.label, one.was, one.theirs, one.mine, one.kept) for one in merged(base, theirs, mine)[1]]


def test_what_only_one_changed_is_taken_and_what_both_changed_stays_mine() -> None:
    theirs = route(priority=7, when={"tag_equals": "theirs", "has_tools": False}, meta={})
    mine = route(
        name="b", when={"tag_equals": "mine", "input_tokens_lt": 5}, meta={"owner": "o", "link": "https://a.b"}
    )
    together, _ = merged(route(), theirs, mine)
    assert Route.from_dict({"id": UID, **together}).to_dict() == route(
        name="b", priority=7, when={"tag_equals": "mine", "has_tools": False}, meta={"link": "https://a.b"}
    )
    assert told(route(), theirs, mine) == [
        ("Priority", "100", "7", "100", "theirs"),
        ("Input tokens", "fewer than 5 input tokens", "no such condition", "fewer than 5 input tokens", "theirs"),
        ("Has tools", "no such condition", "has no tools", "no such condition", "theirs"),
        ("Tag is", "tag is t", "tag is theirs", "tag is mine", "mine"),
        ("Owner", "o", "none", "o", "theirs"),
    ]


def test_an_action_is_taken_whole() -> None:
    theirs, mine = route(then={"target_model": "m", "fallbacks": ["f"]}), route(then={"target_model": "n"})
    together, differences = merged(route(), theirs, mine)
    assert together["then"] == {"target_model": "n"}
    assert [(one.theirs, one.kept) for one in differences] == [("m, else f", "mine")]
    assert merged(route(), theirs, route())[0]["then"] == theirs["then"]


def test_the_same_change_of_both_is_told_as_such() -> None:
    same = route(priority=7, active_from="2026-05-01T00:00:00Z", paused=True)
    assert [(label, kept) for label, *_, kept in told(route(), same, same)] == [
        ("Priority", "both"), ("Paused", "both"), ("Active from", "both"),
    ]  # fmt: skip


def test_without_what_was_opened_mine_stays_and_every_difference_is_told() -> None:
    theirs, mine = route(priority=7), route(name="b")
    together, differences = merged(None, theirs, mine)
    assert {"id": UID, **together} == mine
    assert [(one.label, one.was, one.theirs, one.mine, one.kept) for one in differences] == [
        ("Name", "", "a", "b", "mine"), ("Priority", "", "7", "100", "mine"),
    ]  # fmt: skip


def test_what_no_engine_would_read_together_is_not_put_together() -> None:
    theirs = route(active_until="2026-05-02T00:00:00Z")
    mine = route(active_from="2026-05-03T00:00:00Z")
    together, differences = merged(route(), theirs, mine)
    assert {"id": UID, **together} == mine
    assert [(one.label, one.kept) for one in differences] == [("Active until", "mine")]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(NEW_ROUTES, NEW_ROUTES)
def test_who_changed_nothing_has_what_the_other_has(base: dict[str, Any], other: dict[str, Any]) -> None:
    with_id = {**other, "id": UID}
    assert merged(base, with_id, base)[0] == other
    together, differences = merged(base, base, with_id)
    assert ({**together, "id": UID}, differences) == (with_id, [])


def test_null_that_a_program_keeps_is_not_the_same_as_nothing() -> None:
    theirs = route(meta={"owner": "o", "x-a": None, "labels": {"stage": "trial"}})
    together, differences = merged(route(), theirs, route(name="b"))
    assert together["meta"] == theirs["meta"]
    assert [(one.label, one.was, one.theirs) for one in differences] == [
        ("Labels", "none", "stage = trial"), ("X-a", "none", "null"),
    ]  # fmt: skip


@pytest.mark.parametrize("key", ["when", "meta"])
def test_of_a_row_that_no_engine_reads_merging_does_not_fail(key: str) -> None:
    merged(route(), {**route(), key: 5}, route(name="b"))
