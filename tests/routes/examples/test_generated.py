"""For any routes, examples and changes: a change is refused exactly for those that held before and do not after."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routes import engine
from routes.examples import accepted
from routes.orgs.models import Organization
from routes.publish import ExampleBroken
from routes.rules.models import Route
from routes.rules.services import create_route, delete_route, pause_route, update_route
from tests.build import BY, an_example, an_org, state_of

pytestmark = pytest.mark.django_db
TAGS = ("a", "b")
NAMES = ("r0", "r1", "r2", "new")
ROUTES = st.fixed_dictionaries(
    {
        "priority": st.integers(0, 3),
        "enabled": st.booleans(),
        "when": st.sampled_from([{}, *({"tag_equals": tag} for tag in TAGS)]),
        "then": st.sampled_from([{"target_model": "x"}, {"target_model": "y"}]),
    }
)
EXPECTED = st.fixed_dictionaries(
    {},
    optional={
        "route": st.sampled_from([None, *NAMES]),
        "target_model": st.sampled_from([None, "x", "y"]),
        "reason": st.sampled_from(["matched", "no_match", "paused"]),
    },
).filter(bool)
EXAMPLES = st.lists(st.tuples(st.sampled_from([*TAGS, None]), EXPECTED), max_size=4)


def decided(org: Organization, tag: str | None) -> dict[str, Any]:
    """By plain reading of the rows, without the engine."""
    for row in Route.objects.of(org).in_order():
        if row.enabled and row.conditions.get("tag_equals") in (None, tag):
            model = None if row.paused else row.target["target_model"]
            return {"route": row.name, "target_model": model, "reason": "paused" if row.paused else "matched"}
    return {"route": None, "target_model": None, "reason": "no_match"}


def test_what_is_refused_is_what_held_and_would_not(db: None) -> None:
    number = count()

    @settings(max_examples=40, database=None)
    @given(
        st.lists(ROUTES, min_size=1, max_size=3), EXAMPLES, ROUTES, st.sampled_from(["new", "edit", "delete", "pause"])
    )
    def keeps_its_word(routes: Any, examples: Any, other: Any, act: str) -> None:
        org = an_org(f"org-{next(number)}")
        rows = [
            create_route(org, engine.NewRoute.from_dict({**keys, "name": f"r{index}"}), by=BY)[0]
            for index, keys in enumerate(routes)
        ]
        for index, (tag, expected) in enumerate(examples):
            an_example(org, f"e{index}", request={"context": {"tag": tag}}, expected=expected)

        def change() -> None:
            if act == "new":
                create_route(org, engine.NewRoute.from_dict({**other, "name": "new"}), by=BY)
            elif act == "edit":
                update_route(
                    org, rows[0].uid, engine.Route.from_dict({**other, "id": str(rows[0].uid), "name": "r0"}), by=BY
                )
            elif act == "delete":
                delete_route(org, rows[0].uid, by=BY)
            else:
                pause_route(rows[0], by=BY)

        def holding() -> set[str]:
            return {
                f"e{index}"
                for index, (tag, expected) in enumerate(examples)
                if all(decided(org, tag)[key] == value for key, value in expected.items())
            }

        before, held = state_of(org), holding()
        try:
            change()
            broken: set[str] = set()
        except ExampleBroken as error:
            broken = {one["name"] for one in error.broken}
            assert state_of(org) == before
            with accepted.bind("for the test"):
                change()
        assert broken == held - holding()

    keeps_its_word()
