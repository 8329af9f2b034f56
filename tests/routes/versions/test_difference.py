"""What differs between two contents: everything is told, nothing else is, and of moves as few as possible."""

from copy import deepcopy
from itertools import combinations, pairwise
from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routes.document import EMPTY_CONTENT, content_with
from routes.engine.canonical import canonical_bytes
from routes.engine.document import digest_of
from routes.rules.compared import compared
from routes.versions.difference import changes_between, fields_between
from tests.routes.rules.generate import CANONICAL_ACTIONS, NEW_ROUTES

SOME = settings(max_examples=60, suppress_health_check=list(HealthCheck))
IDS = [f"0190a000-0000-7000-8000-00000000000{number}" for number in range(8)]


def a_content(order: list[str]) -> dict[str, Any]:
    routes = [{"id": uid, "name": uid, "priority": 1, "enabled": True, "when": {}, "then": {}} for uid in order]
    return content_with(routes, default=None, services=())


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """Two contents that have routes in common: some alike, some with other values, in other orders."""
    routes = draw(st.lists(NEW_ROUTES, min_size=1, max_size=5))
    known = [{"id": uid, **route} for uid, route in zip(IDS, routes, strict=False)]
    others = {route["id"]: {**draw(st.sampled_from(known)), "id": route["id"]} for route in known}

    def one() -> dict[str, Any]:
        chosen = draw(st.lists(st.sampled_from(known), unique_by=lambda route: route["id"]))
        mixed = [others[route["id"]] if draw(st.booleans()) else route for route in chosen]
        return content_with(deepcopy(mixed), default=draw(st.none() | CANONICAL_ACTIONS), services=())

    return one(), one()


def applied(was: dict[str, Any], changes: list[dict[str, Any]], now: dict[str, Any]) -> dict[str, Any]:
    """What the changes make of a content. Of `now` they need what was added, which they only name."""
    routes = {route["id"]: deepcopy(route) for route in was["routes"]}
    default, places = was["default"], {}
    after = {route["id"]: (place, route) for place, route in enumerate(now["routes"])}
    for change in changes:
        uid = change["route_id"]
        if uid is None:
            default = change["fields"][0]["is"]
        elif change["change"] == "removed":
            del routes[uid]
        elif change["change"] == "added":
            places[uid], routes[uid] = after[uid]
        for field in change["fields"] if uid else ():
            if field["path"] == "/position":
                assert was["routes"][field["was"]]["id"] == uid
                places[uid] = field["is"]
            else:
                put(routes[uid], field["path"], field["is"], after[uid][1])
    order = [uid for uid in routes if uid not in places]
    for uid, place in sorted(places.items(), key=lambda item: item[1]):
        order.insert(place, uid)
    return content_with([routes[uid] for uid in order], default=default, services=())


def put(route: dict[str, Any], pointer: str, value: Any, now: dict[str, Any]) -> None:
    *outer, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer[1:].split("/"))
    for part in outer:
        route, now = route[part], now[part]
    if last in now:
        route[last] = value
    else:  # null and gone are told alike
        assert value is None
        del route[last]


@SOME
@given(pairs())
def test_the_changes_make_the_one_content_of_the_other(pair: Any) -> None:
    was, now = pair
    changes = changes_between(was, now)
    assert canonical_bytes(applied(was, changes, now)) == canonical_bytes(now)
    assert (changes == []) == (digest_of(was) == digest_of(now))
    assert all(change["fields"] or change["change"] in ("added", "removed") for change in changes)
    assert len(compared(was, now)) == len(changes), "in words as many"


@SOME
@given(pairs())
def test_backwards_the_same_is_told_the_other_way_round(pair: Any) -> None:
    opposite = {"added": "removed", "removed": "added", "changed": "changed", "moved": "moved"}

    def told(changes: Any, turn: bool) -> Any:
        # Which of the routes that changed places are told as moved is a choice, and another one backwards.
        return sorted(
            (
                str(change["route_id"]),
                opposite[change["change"]] if turn else change["change"],
                [
                    canonical_bytes(
                        [field["path"], *([field["is"], field["was"]] if turn else [field["was"], field["is"]])]
                    )
                    for field in sorted(change["fields"], key=lambda field: field["path"])
                    if field["path"] != "/position"
                ],
            )
            for change in changes
            if change["change"] != "moved"
        )

    was, now = pair
    assert told(changes_between(was, now), False) == told(changes_between(now, was), True)


def longest_common_order(was: list[str], now: list[str]) -> int:
    """By trying every choice."""
    place = {uid: index for index, uid in enumerate(now)}
    for size in range(len(was), 0, -1):
        for some in combinations(was, size):
            if all(place[left] < place[right] for left, right in pairwise(some)):
                return size
    return 0


def test_as_few_routes_as_possible_are_told_as_moved() -> None:
    chance = Random(1)
    for _ in range(300):
        was = chance.sample(IDS, chance.randint(0, 8))
        now = chance.sample(IDS, chance.randint(0, 8))
        both = [uid for uid in was if uid in now]
        moved = [c for c in changes_between(a_content(was), a_content(now)) if c["change"] == "moved"]
        assert len(moved) == len(both) - longest_common_order(both, [uid for uid in now if uid in both])
        for change in moved:
            assert change["fields"] == [
                {"path": "/position", "was": was.index(change["route_id"]), "is": now.index(change["route_id"])}
            ]


def test_one_that_goes_to_the_top_of_a_thousand_is_the_only_one_that_moved() -> None:
    order = [f"0190a000-0000-7000-8000-{number:012d}" for number in range(1_000)]
    (change,) = changes_between(a_content(order), a_content([order[-1], *order[:-1]]))
    assert (change["route_id"], change["change"]) == (order[-1], "moved")


def test_what_stands_behind_an_added_or_a_removed_route_did_not_move() -> None:
    changes = changes_between(a_content(IDS[:4]), a_content([IDS[5], *IDS[1:4]]))
    assert [(change["route_id"], change["change"]) for change in changes] == [(IDS[5], "added"), (IDS[0], "removed")]


def test_from_nothing_everything_is_added_in_its_order() -> None:
    changes = changes_between(EMPTY_CONTENT, a_content(IDS))
    assert [(change["route_id"], change["change"], change["fields"]) for change in changes] == [
        (uid, "added", []) for uid in IDS
    ]
    assert changes_between(EMPTY_CONTENT, EMPTY_CONTENT) == []


def test_a_key_that_came_with_nothing_in_it_is_a_difference_and_so_is_true_for_one() -> None:
    assert fields_between({"meta": {}}, {"meta": {"x-a": None}}) == [{"path": "/meta/x-a", "was": None, "is": None}]
    assert fields_between({"meta": {"x/~": 1}}, {"meta": {"x/~": True}}) == [
        {"path": "/meta/x~1~0", "was": 1, "is": True}
    ]
    assert fields_between({"then": {"a": 1}}, {"then": {"a": 1.0}}) == [], "one number, in JSON"


def test_a_default_is_told_under_no_name() -> None:
    action = {"target_model": "small"}
    (change,) = changes_between(EMPTY_CONTENT, content_with([], default=action, services=()))
    assert change == {
        "route_id": None,
        "name": None,
        "change": "changed",
        "fields": [{"path": "", "was": None, "is": action}],
    }
