"""What differs between two contents, told in words: nothing untrue, and nothing that says nothing."""

from json import dumps
from random import Random
from typing import Any

import pytest

from routes.document import content_with
from routes.rules import compared as told
from routes.rules.compared import compared
from routes.versions.difference import changes_between

#: Letters stand for routes.
Order = str


def in_order(order: Order, **more: Any) -> dict[str, Any]:
    routes = [
        {"id": uid, "name": uid, "priority": 1, "enabled": True, "when": {}, "then": {"target_model": "m"}, **more}
        for uid in order
    ]
    return content_with(routes, default=None, services=())


def split(*weights: int) -> dict[str, Any]:
    return {"split": [{"target_model": f"m{index}", "weight": weight} for index, weight in enumerate(weights)]}


UNSAID = "what the sentence leaves out differs: see by field"


@pytest.mark.parametrize(
    ("was", "now"),
    [(split(1, 1), split(50, 50)), ({"split": 1}, {"split": 2})],
    ids=["the same shares", "what nobody can read"],
)
def test_where_the_sentences_are_equal_the_row_points_to_the_fields(was: Any, now: Any) -> None:
    for left, right in (
        (content_with([], default=was, services=()), content_with([], default=now, services=())),
        (in_order("a", then=was), in_order("a", then=now)),
    ):
        (row,) = compared(left, right)
        assert row["is"] == f"{row['was']}; {UNSAID}"
        (field,) = row["fields"]
        assert field["path"].removeprefix("then/") == "split"
        assert (field["was"], field["is"]) == (dumps(was["split"]), dumps(now["split"]))


def test_beside_what_is_said_what_is_not_said_is_pointed_to() -> None:
    models = [f"m{number}" for number in range(8)]
    was, now = in_order("a", when={"model_in": models}), in_order("a", when={"model_in": [*models[:-1], "x"]})
    now["routes"][0] |= {"name": "b", "priority": 2}
    (row,) = compared(was, now)
    assert row["is"].endswith(f"priority 2; name: a → b; {UNSAID}")
    (row,) = compared(was, in_order("a", when={"model_in": ["x"]}))
    assert row["is"] == "model is x → m, priority 1"


def test_a_default_is_told_by_its_keys() -> None:
    was = {"target_model": "a", "fallbacks": ["b"]}
    (row,) = compared(
        content_with([], default=was, services=()), content_with([], default={"target_model": "a"}, services=())
    )
    assert (row["name"], row["was"], row["is"]) == ("Requests that no route takes", "a, else b", "a")
    assert row["fields"] == [{"path": "fallbacks", "was": '["b"]', "is": "null"}]
    (row,) = compared(
        content_with([], default=None, services=()), content_with([], default={"target_model": "a"}, services=())
    )
    assert (row["was"], row["is"]) == ("unchanged", "a")
    assert row["fields"] == [{"path": "target_model", "was": "null", "is": '"a"'}]


def test_in_an_order_turned_round_the_middle_one_did_not_move() -> None:
    rows = {row["name"]: row for row in compared(in_order("abc"), in_order("cba"))}
    assert sorted(rows) == ["a", "c"]
    assert rows["a"]["was"].endswith("priority 1, asked as number 1")
    assert rows["a"]["is"].endswith("priority 1, asked as number 3")


def test_one_that_moved_and_has_its_number_is_told_by_whom_it_passed() -> None:
    """Two before it became two others: to leave c where it is, all of them would have to be told."""
    rows = {row["name"]: row for row in compared(in_order("abcde"), in_order("decab"))}
    assert sorted(rows) in (["a", "b", "c"], ["c", "d", "e"])
    line = "any request → m, priority 1"
    assert (rows["c"]["was"], rows["c"]["is"]) in (
        (f"{line}, asked before “d”", f"{line}, asked after “d”"),
        (f"{line}, asked after “a”", f"{line}, asked before “a”"),
    )


def test_whatever_moved_both_sides_of_its_row_differ_and_are_true() -> None:
    chance = Random(12)
    for _ in range(500):
        letters = "abcdefgh"
        was, now = (chance.sample(letters, chance.randint(2, 8)) for _ in range(2))
        for row in compared(in_order("".join(was)), in_order("".join(now))):
            if row["change"] != "moved":
                continue
            for order, side in ((was, row["was"]), (now, row["is"])):
                kind, what = side.rpartition("asked ")[2].split(" ", 1)
                place = order.index(row["name"])
                if kind == "as":
                    assert what == f"number {place + 1}"
                else:
                    assert (order.index(what.strip("“”")) < place) is (kind == "after")
            assert row["was"] != row["is"]


def test_rather_those_with_another_number_are_told_as_moved() -> None:
    for order in ("cba", "edcba", "bacd", "cbad"):
        was = "".join(sorted(order))
        for change in changes_between(in_order(was), in_order(order)):
            (place,) = change["fields"]
            assert place["was"] != place["is"]


def test_what_differs_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(told, "changes_between", lambda *both: calls.append(both) or changes_between(*both))
    assert len(compared(in_order("ab"), in_order("ba"))) == 1
    assert len(calls) == 1
