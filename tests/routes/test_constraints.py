"""What the database itself holds of routes and prices, from both sides."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from routes.catalog.models import ModelPrice
from routes.examples.models import ExampleRequest
from routes.orgs.models import Membership, Organization
from routes.rules.models import Route
from routes.versions.models import RouteSetVersion
from tests.build import a_person, a_route, an_example, an_org

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def refused(name: str, make: Any) -> None:
    # SQLite names the columns of a unique index, not the index.
    with pytest.raises(IntegrityError, match=f"{name}|UNIQUE constraint failed"), transaction.atomic():
        make()


def test_a_route_s_name_and_id_are_its_own_within_the_organisation(org: Organization) -> None:
    row = a_route(org, "a")
    other = an_org("other")
    same = {"position": 9, "revision": 1}
    refused("route_name_once_per_org", lambda: Route.objects.create(org=org, name="a", **same))
    refused("route_id_once_per_org", lambda: Route.objects.create(org=org, name="b", uid=row.uid, **same))
    Route.objects.create(org=other, name="a", uid=row.uid, **same)


def test_a_route_has_a_name_and_ends_after_it_begins(org: Organization) -> None:
    rows = Route.objects.filter(pk=a_route(org).pk)
    refused("route_has_a_name", lambda: rows.update(name=""))
    refused("route_active_until_after_active_from", lambda: rows.update(active_from=NOW, active_until=NOW))
    rows.update(active_from=NOW, active_until=NOW + timedelta(seconds=1))


def test_an_example_s_name_and_id_are_its_own_within_the_organisation(org: Organization) -> None:
    row = an_example(org, "a")
    same = {"request": row.request, "expected": row.expected}
    make = ExampleRequest.objects.create
    refused("example_request_name_once_per_org", lambda: make(org=org, name="a", **same))
    refused("example_request_id_once_per_org", lambda: make(org=org, name="b", uid=row.uid, **same))
    refused("example_request_has_a_name", lambda: make(org=org, name="", **same))
    make(org=an_org("other"), name="a", uid=row.uid, **same)


def test_a_version_is_published_once(org: Organization) -> None:
    a_route(org)
    refused("route_set_version_once_per_org", lambda: RouteSetVersion.objects.create(org=org, version=1, digest="x"))
    RouteSetVersion.objects.create(org=an_org("other"), version=1, digest="x")


def test_a_person_has_one_role_in_an_organisation(org: Organization) -> None:
    person = a_person("edda", org, "editor")
    refused("membership_once_per_person_and_org", lambda: Membership.objects.create(org=org, user=person))
    Membership.objects.create(org=an_org("other"), user=person)


@pytest.mark.parametrize("since", [None, NOW])
@pytest.mark.every_case
@pytest.mark.parametrize("negotiated", [False, True])
def test_a_price_stands_once_for_each_start_and_organisation(org: Organization, since: Any, negotiated: bool) -> None:
    fields = {"provider": "p", "model": "m", "input_usd_per_million": 1, "output_usd_per_million": 1, "since": since}
    fields["org"] = org if negotiated else None
    ModelPrice.objects.create(**fields)
    refused("price_", lambda: ModelPrice.objects.create(**fields))
    ModelPrice.objects.create(**{**fields, "since": NOW + timedelta(days=1)})
    ModelPrice.objects.create(**{**fields, "org": an_org("other")})


def test_a_price_is_not_negative() -> None:
    fields = {"provider": "p", "model": "m", "output_usd_per_million": 1}
    refused("price_is_not_negative", lambda: ModelPrice.objects.create(input_usd_per_million=-1, **fields))
    ModelPrice.objects.create(input_usd_per_million=0, **fields)
