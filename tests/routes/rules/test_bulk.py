"""Another order, for any priorities: what is decided by it, and that it invents nothing."""

import threading
from itertools import count
from typing import Any

import pytest
from django.db import connections
from hypothesis import given, settings
from hypothesis import strategies as st

from routes import engine
from routes.document import document_of
from routes.errors import StaleVersion
from routes.orgs.models import Organization
from routes.rules.bulk import reorder_routes
from routes.rules.models import Route
from routes.versions.models import RouteSetVersion
from tests.build import BY, a_route, an_org, state_of

pytestmark = pytest.mark.django_db
MODELS = ("a", "b", "c")
#: Of each route its priority, and the models that it takes.
LISTS = st.lists(
    st.tuples(st.integers(0, 4), st.lists(st.sampled_from(MODELS), unique=True, max_size=2)), min_size=1, max_size=7
)


def test_a_new_order_is_the_one_in_which_routes_decide_and_the_present_one_is_nothing_new(db: None) -> None:
    number = count()

    @settings(max_examples=20, database=None)
    @given(LISTS, st.data())
    def keeps_its_word(routes: Any, data: Any) -> None:
        org = an_org(f"org-{next(number)}")
        for index, (priority, models) in enumerate(routes):
            a_route(
                org, f"r{index}", priority=priority, when={"model_in": models}, then={"target_model": f"to {index}"}
            )
        present = in_order(org)
        before = state_of(org)
        assert reorder_routes(org, [row.uid for row in present], by=BY).changed is False
        assert state_of(org) == before

        wanted = data.draw(st.permutations(present))
        change = reorder_routes(org, [row.uid for row in wanted], by=BY)
        assert [row.uid for row in in_order(org)] == [row.uid for row in wanted]
        assert [row.priority for row in in_order(org)] == sorted((row.priority for row in present), reverse=True)
        assert change.changed is (document_of(org).digest != change.base_digest)

        # A list of routes without priorities is asked from its first to its last.
        listed = engine.Engine([engine.Route.from_dict({**row.as_document(), "priority": 0}) for row in wanted])
        live = engine.Engine.from_document(document_of(org))
        for model in (*MODELS, "other", None):
            context = engine.RequestContext(model)
            assert live.decide(context).route_id == listed.decide(context).route_id

    keeps_its_word()


def in_order(org: Organization) -> list[Route]:
    return list(Route.objects.of(org).in_order())


@pytest.mark.django_db(transaction=True)
def test_of_several_who_reorder_what_they_saw_one_is_first_and_the_others_are_told() -> None:
    org = an_org()
    ids = [a_route(org, name).uid for name in "abcd"]
    org.refresh_from_db()
    told: list[object] = []

    def reorder(turn: int) -> None:
        try:
            told.append(reorder_routes(org, ids[turn:] + ids[:turn], by=BY, expected=org.version).version)
        except StaleVersion as error:
            told.append(error.current)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=reorder, args=(turn,)) for turn in (1, 2, 3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [5, 5, 5]
    assert RouteSetVersion.objects.filter(org=org, cause="routes.reordered").count() == 1
