"""Importing the prices that one organisation negotiated."""

from datetime import UTC, datetime, timedelta

import pytest

from audit.models import AuditEntry
from routes.catalog.services import plan_import
from routes.orgs.models import Organization
from tests.build import an_org
from tests.routes.catalog.build import DECEMBER, LONG_AGO, cost, do, own, own_list

pytestmark = pytest.mark.django_db


def test_negotiated_prices_stay_in_their_organisation(org: Organization) -> None:
    other = an_org("other")
    do(own_list(own(input=5)))
    do(own_list(own(input=2)), org=org, since=DECEMBER)
    do(own_list(own(input=3)), org=org, since=DECEMBER + timedelta(days=1))
    at = DECEMBER + timedelta(days=2)
    assert [cost("gpt-4o", at, whose) for whose in (org, other, None)] == [3 * 10**9, 5 * 10**9, 5 * 10**9]
    entries = AuditEntry.objects.filter(action="prices.imported").order_by("org_id", "seq")
    assert sorted((entry.org_id is None, entry.target_id) for entry in entries) == [
        (False, "negotiated"), (False, "negotiated"), (True, "everybody"),
    ]  # fmt: skip


def test_a_negotiated_price_is_compared_with_negotiated_ones_alone(org: Organization) -> None:
    do(own_list(own(input=2), own("b")))
    plan = plan_import(own_list(own(input=2)), org=org)
    assert [change.kind for change in plan.changes] == ["added"]
    assert plan.unlisted == ()
    do(own_list(own(input=2)), org=org)
    do(own_list(own(input=4)))
    assert not plan_import(own_list(own(input=2)), org=org).changes


def test_a_negotiated_price_does_not_reach_back_to_traffic_that_everybody_s_price_held_for(org: Organization) -> None:
    do(own_list(own(input=5)))
    before = datetime.now(UTC)
    do(own_list(own(input=2), own("ours alone", 1)), org=org)
    assert cost("gpt-4o", before, org) == 5 * 10**9
    assert cost("gpt-4o", datetime.now(UTC), org) == 2 * 10**9
    assert cost("ours alone", LONG_AGO, org) == 10**9
