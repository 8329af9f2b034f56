"""What a page costs the database does not grow with what there is of anything."""

from datetime import timedelta

import pytest

from plans.matching import services as matching
from tests.api.test_query_counts import FILLED, queries
from tests.databases import EVERY_CASE, ON_POSTGRES
from tests.pages import NOBODY, addresses, answer, client_of, is_page, is_part
from tests.world import VISITORS, World

pytestmark = [
    pytest.mark.django_db,
    # Half a minute, for the same queries on both.
    pytest.mark.skipif(not (ON_POSTGRES or EVERY_CASE), reason="PostgreSQL is asked as often"),
]
#: Each of these takes long: a page of them and some more. First, while there are few routes.
DEAR = {"orgs/<org>/versions/": 55, "orgs/<org>/plans/": 55}
#: What a page may ask in all, the session and who comes included.
MOST = 40


def fill(world: World, count: int) -> None:
    """So many more of everything that lists show: organisations, members, keys, routes, examples, versions, gateways, rows
    of the log, plans, entries, prices."""
    for path in sorted(FILLED, key=lambda path: path not in DEAR):
        FILLED[path](world.org, min(count, DEAR.get(path, count)))


def asked(world: World) -> dict[str, int]:
    """By page how often it asks the database, once what it keeps in memory is there."""
    clients = {who: client_of(world, who) for who in (NOBODY, *VISITORS)}
    found = {}
    for address in addresses(world):
        client = clients[address.page.visitors[-1]]
        if not address.state or (address.page.name == "plan" and address.state in world.plans):
            got = answer(client, address)
            if is_page(got) or is_part(got) or got.status_code == 200:
                found[address.label] = queries(lambda one=address, client=client: answer(client, one))
    return found


def test_a_page_asks_as_often_with_a_hundred_of_everything_as_with_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "_LIFE", timedelta(days=1))  # else it ends between two calls now and then
    matching._kept.clear()
    world = World()
    fill(world, 10)
    few = asked(world)
    fill(world, 100)
    matching._kept.clear()
    many = asked(world)
    assert len(few) > 60
    assert {label: (few[label], count) for label, count in many.items() if count > few[label]} == {}
    assert {label: count for label, count in many.items() if count > MOST} == {}
