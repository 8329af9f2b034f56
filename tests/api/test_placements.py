"""`placements/`: what a gateway reads of them, and steps that are sent again."""

from typing import Any

import pytest
from django.db import connection

from routes.engine import Target
from routes.orgs.models import Organization
from routes.placements.models import Placement
from routes.placements.services import begin_move, set_placement
from tests.api.conftest import Caller
from tests.build import BY, EU, US, a_placement

pytestmark = pytest.mark.django_db


def test_what_holds_is_read_at_one_moment(viewer: Caller, org: Organization) -> None:
    """A partition that gets a placement of its own, before the default is elsewhere, was never where that is then."""
    set_placement(org, "*", EU, by=BY)
    answer = viewer("get", "placements/acme/").json()
    assert (answer["partition"], answer["is_default"], answer["epoch"]) == ("acme", True, 1)
    is_done = False

    def moves(execute: Any, sql: str, *given: Any) -> Any:
        nonlocal is_done
        found = execute(sql, *given)
        if not is_done and 'FROM "routes_placement"' in sql:
            is_done = True
            begin_move(org, "acme", US, by=BY)
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
    set_placement(org, "*", EU, by=BY)
    tag = admin("get", "placements/acme/").headers["ETag"]
    assert admin("get", "placements/acme/", headers={"If-None-Match": tag}).status_code == 304
    set_placement(org, "*", US, by=BY)
    assert admin("get", "placements/acme/", headers={"If-None-Match": tag}).status_code == 200
    place = {"cluster": "eu", "resource": "orders", "endpoint": "https://eu.example"}
    assert admin("put", "placements/acme/", place).status_code == 200
    assert admin("put", "placements/acme/", place, seen=tag).status_code == 412
