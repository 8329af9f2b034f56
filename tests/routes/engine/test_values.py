"""The values of the engine, built in code: their parts, what cannot be built, and how they are written."""

import copy
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from routes.engine import Action, Conditions, NewRoute, NumberRange, Refusal, Route, SplitArm, TimeWindow
from routes.engine.errors import InvalidRoute
from routes.engine.times import DAYS
from tests.routes.engine.build import raw_route, route_id

INF, NAN = float("inf"), float("nan")


def test_defaults_are_left_out_save_for_those_that_people_look_for() -> None:
    raw = raw_route()
    raw["when"] = {
        "has_images": None, "prompt_contains_any_of": [], "estimated_cost_gt": None, "metadata": {}, "headers": {},
        "numbers": {}, "time_window": None, "any_of": [], "not": None,
    }  # fmt: skip
    raw["then"] |= {
        "fallbacks": [], "disable_cache": False, "max_cost_usd": None, "traffic_pct": None, "split": [], "refuse": None,
        "provider": None, "shadow_model": None,
    }  # fmt: skip
    raw |= {"paused": False, "active_from": None, "active_until": None, "meta": {}}
    del raw["priority"], raw["enabled"]
    assert Route.from_dict(raw).to_dict() == raw_route()
    assert NewRoute("n", Action("t")).to_dict() == {
        "name": "n",
        "priority": 100,
        "enabled": True,
        "when": {"model_in": [], "input_tokens_lt": None, "input_tokens_gt": None, "tag_equals": None},
        "then": {"target_model": "t"},
    }


def test_what_reading_would_refuse_is_not_written_either() -> None:
    unwritable: list[dict[str, Any]] = [
        {"prompt_contains_any_of": [""]},
        {"tag_equals": "a\n"},
        {"input_tokens_lt": -1},
        {"metadata": {"k": ()}},
        {"headers": {"X": ("a",)}},
        {"numbers": {"n": {"gt": 2**53}}},
        {"any_of": [Conditions(tag_equals=" ")]},
        {"not_": Conditions(model_in=("a", "a"))},
    ]
    for raw in unwritable:
        conditions = Conditions(**raw)
        with pytest.raises(InvalidRoute):
            conditions.to_dict()
        with pytest.raises(InvalidRoute):
            Route(id=route_id(1), name="r", when=conditions, then=Action("t")).to_dict()
    actions = [
        Action("t", fallbacks=("t",)), Action(), Action("t", refuse=Refusal(403, "c", "m")),
        Action(split=(SplitArm("a", 1),)), Action(split=(SplitArm("a", 10_001), SplitArm("b", 1))), Action(provider="p"),
        Action("t", traffic_pct=101), Action(refuse=Refusal(200, "c", "m")),
    ]  # fmt: skip
    for action in actions:
        with pytest.raises(InvalidRoute):
            action.to_dict()
        with pytest.raises(InvalidRoute):
            NewRoute("n", action).to_dict()


def test_what_is_too_long_to_be_read_can_be_written_when_it_was_built() -> None:
    deep = Conditions(tag_equals="t" * 2_000)
    for _ in range(20):
        deep = Conditions(any_of=[Conditions(not_=deep)])
    many = Conditions(model_in=[f"m{n}" for n in range(2_000)], any_of=[Conditions(has_tools=True)] * 200)
    assert deep.to_dict()["any_of"][0]["not"]["any_of"][0]["model_in"] == []
    assert len(many.to_dict()["any_of"]) == 200


def test_whole_numbers_of_the_callers_own_figures_are_written_as_integers() -> None:
    written = Conditions.from_dict({"numbers": {"n": {"gt": 5.0, "lt": 0.25}}}).to_dict()["numbers"]["n"]
    assert (type(written["gt"]), written) == (int, {"gt": 5, "lt": 0.25})


def test_times_are_written_in_utc_with_six_digits() -> None:
    raw = raw_route(active_from="2026-11-21T13:00:00.5+01:00", active_until="2026-11-21t12:00:00.500001999z")
    route = Route.from_dict(raw)
    assert route.active_from == datetime(2026, 11, 21, 12, 0, 0, 500_000, UTC)
    assert route.to_dict()["active_from"] == "2026-11-21T12:00:00.500000Z"
    assert route.to_dict()["active_until"] == "2026-11-21T12:00:00.500001Z"


def test_days_are_written_in_the_order_of_the_week_and_left_out_where_they_are_all() -> None:
    hours = {"from": "22:00", "to": "06:00", "tz": "UTC"}
    assert TimeWindow.from_dict({**hours, "days": ["sun", "mon"]}).to_dict() == {"days": ["mon", "sun"], **hours}
    assert TimeWindow.from_dict({**hours, "days": [*DAYS[1:], "mon"]}).to_dict() == hours
    assert TimeWindow.from_dict(hours).days == DAYS
    with pytest.raises(InvalidRoute):
        TimeWindow.from_dict({**hours, "days": []})


def test_meta_is_written_with_its_known_keys_first_and_names_in_their_order() -> None:
    raw = raw_route(
        meta={"x-b": {"d": [1, None], "c": True}, "x-a": 1, "link": "https://a", "owner": "o", "labels": {"k": "v"}}
    )
    route = Route.from_dict(raw)
    assert route.to_dict() == raw
    assert list(route.to_dict()["meta"]) == ["owner", "labels", "link", "x-a", "x-b"]
    assert hash(route) == hash(Route.from_dict(raw))
    with pytest.raises(TypeError):
        route.meta["x-b"]["d"] = 5
    route.to_dict()["meta"]["x-b"]["d"].append("the caller's own")
    assert route.to_dict() == raw


@pytest.mark.parametrize("large", [1e16, -(2.0**53), 1e22, 1e300])
def test_meta_has_no_number_that_a_database_would_write_as_an_integer_too_large(large: float) -> None:
    with pytest.raises(InvalidRoute) as caught:
        Route.from_dict(raw_route(meta={"x-a": {"b": [large]}}))
    assert [(issue["path"], issue["code"]) for issue in caught.value.issues] == [("meta.x-a", "out_of_range")]
    Route.from_dict(raw_route(meta={"x-a": {"b": [2.0**53 - 1, 1e-300]}}))


@pytest.mark.parametrize(
    "wrong",
    [{"model_in": "gpt-4o"}, {"model_in": [1]}, {"input_tokens_lt": "5"}, {"input_tokens_lt": True}, {"has_images": 1},
     {"tag_equals": 5}, {"estimated_cost_gt": "1"}, {"metadata": [("k", ["v"])]}, {"metadata": {5: ["v"]}},
     {"metadata": {"k": "v"}}, {"headers": {"x": [5]}}, {"numbers": ["n"]}, {"numbers": {5: {"gt": 1}}},
     {"numbers": {"n": {"gt": "1"}}}, {"numbers": {"n": {"gt": True}}}, {"numbers": {"n": {"eq": 1}}},
     {"time_window": "always"}, {"any_of": ["x"]}, {"not_": "x"}, {"not_": [Conditions()]}],
)  # fmt: skip
def test_conditions_of_a_wrong_type_cannot_be_built(wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Conditions(**wrong)


@pytest.mark.parametrize(
    "build",
    [
        lambda: NumberRange(),
        lambda: NumberRange(gt=NAN),
        lambda: NumberRange(lt=INF),
        lambda: Conditions(estimated_cost_lt=NAN),
        lambda: Conditions(estimated_cost_lt=10**31 * 1.0),
        lambda: TimeWindow("8:00", "09:00", "UTC"),
        lambda: TimeWindow("08:00", "24:00", "UTC"),
        lambda: TimeWindow("08:00", 9, "UTC"),
        lambda: TimeWindow("08:00", "09:00", "UTC", ()),
        lambda: TimeWindow("08:00", "09:00", "UTC", "mon"),
        lambda: TimeWindow("08:00", "09:00", "UTC", ("Mon",)),
        lambda: Action(split=(SplitArm("a", 0), SplitArm("b", 1))),
        lambda: Action("t", max_cost_usd=INF),
        lambda: Route(id="route-1", name="r", then=Action("t")),
        lambda: Route(id=5, name="r", then=Action("t")),
        lambda: Route(id=route_id(1), name="r", then=Action("t"), active_from=datetime(2026, 11, 21)),
        lambda: NewRoute("r", Action("t"), active_until=datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_value_beyond_what_a_decision_can_use_cannot_be_built(build: Any) -> None:
    with pytest.raises(ValueError):
        build()


@pytest.mark.parametrize(
    "build",
    [
        lambda: TimeWindow("08:00", "09:00", 5),
        lambda: Action("t", fallbacks="small"),
        lambda: Action("t", traffic_pct=True),
        lambda: Action("t", traffic_pct=50.0),
        lambda: Action(split=({"target_model": "a", "weight": True}, SplitArm("b", 1))),
        lambda: Action(split=(SplitArm("a", 1.0), SplitArm("b", 1))),
        lambda: Action("t", max_cost_usd="1"),
    ],
)
def test_a_value_of_a_wrong_type_cannot_be_built(build: Any) -> None:
    with pytest.raises(TypeError):
        build()


def test_parts_may_be_given_as_objects_in_the_keys_of_the_document() -> None:
    hours = {"from": "22:00", "to": "06:00", "tz": "UTC"}
    conditions = Conditions(
        time_window=hours, any_of=[{"has_tools": True}], not_={"tag_equals": "t"}, numbers={"n": {"gt": 1}},
        metadata={"k": ["v"]},
    )  # fmt: skip
    assert conditions == Conditions(
        time_window=TimeWindow("22:00", "06:00", "UTC"), any_of=(Conditions(has_tools=True),),
        not_=Conditions(tag_equals="t"), numbers={"n": NumberRange(gt=1)}, metadata={"k": ("v",)},
    )  # fmt: skip
    assert hash(conditions) == hash(Conditions.from_dict(conditions.to_dict()))
    action = Action(split=[{"target_model": "a", "weight": 1}, {"target_model": "b", "weight": 2}])
    assert action.split == (SplitArm("a", 1), SplitArm("b", 2))
    assert Action(refuse={"status": 403, "code": "c", "message": "m"}).refuse == Refusal(403, "c", "m")
    route = Route(
        id=UUID(route_id(1)), name="r", when={"has_tools": True}, then={"target_model": "t"}, meta={"owner": "o"}
    )
    assert route == NewRoute("r", Action("t"), when=Conditions(has_tools=True), meta={"owner": "o"}).with_id(
        route_id(1)
    )


def test_amounts_are_kept_as_whole_nano_dollars_rounded_half_to_even() -> None:
    for amount, kept in [(Decimal("0.0000000005"), 0), (Decimal("0.0000000015"), 2e-9), (2.0, 2), (0.1 + 0.2, 0.3)]:
        assert Conditions(estimated_cost_gt=amount).estimated_cost_gt == kept
        assert Action("t", max_cost_usd=amount).max_cost_usd == kept


def test_what_a_value_holds_by_name_cannot_be_changed_in_any_way() -> None:
    held = Conditions(metadata={"k": ["v"]}).metadata
    changes = [
        lambda: held.update(k=1), lambda: held.pop("k"), lambda: held.clear(), lambda: held.setdefault("x", ()),
        held.popitem, lambda: held.__delitem__("k"), lambda: held.__ior__({"x": ()}),
    ]  # fmt: skip
    for change in changes:
        with pytest.raises(TypeError, match="cannot be changed"):
            change()
    assert pickle.loads(pickle.dumps(held)) == held == copy.deepcopy(held)
    assert hash(pickle.loads(pickle.dumps(held))) == hash(held)


def test_values_are_immutable_and_compare_by_what_they_say() -> None:
    one, same = Route.from_dict(raw_route()), Route.from_dict(raw_route())
    assert one == same
    assert hash(one) == hash(same)
    with pytest.raises(AttributeError):
        one.name = "other"  # type: ignore[misc]


def test_a_new_route_takes_its_parts_as_objects_too() -> None:
    new = NewRoute("n", {"target_model": "t"}, when={"model_in": ["a"]})  # type: ignore[arg-type]
    assert new == NewRoute("n", Action("t"), when=Conditions(model_in=("a",)))
