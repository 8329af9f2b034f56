"""What is at hand of routes that were shown is bounded; prepared queries are asked with values of their own."""

import threading
from typing import Any

import pytest
from django.db import connections

from routes.orgs.models import Organization
from routes.prepared import Prepared
from routes.rules import shown
from routes.rules.models import Route
from tests.build import an_org, many_routes

pytestmark = pytest.mark.django_db


def test_what_is_kept_is_bounded(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    many_routes(org, 30)
    monkeypatch.setattr(shown, "_kept", {})
    monkeypatch.setattr(shown, "_kept_bytes", 0)
    (first,) = shown.listed(Route.objects.of(org))[:1]
    size = shown._kept_bytes
    assert size > len(first.json), "the row by which it is found counts too"
    monkeypatch.setattr(shown, "MAX_KEPT_BYTES", 10 * size)
    for _ in range(3):
        rows = list(shown.listed(Route.objects.of(org)))
        assert [row.name for row in rows] == [row.name for row in Route.objects.of(org)]
        kept = sum(len(row.json) for row in shown._kept.values())
        assert 0 < kept < shown._kept_bytes <= 10 * size
        assert len(shown._kept) <= 10


def test_all_of_an_organisation_are_its_own(org: Organization) -> None:
    other = an_org("other")
    many_routes(org, 3)
    many_routes(other, 4)
    order = ("-priority", "position")
    for of, count in ((org, 3), (other, 4), (org, 3)):
        found = shown.AllListed(of).order_by(*order)[0:10]
        assert found == list(shown.listed(Route.objects.of(of).order_by(*order)))
        assert len(found) == count
    assert len(shown.AllListed(other).order_by(*order)[0:2]) == 2


@pytest.mark.django_db(transaction=True)
def test_a_prepared_query_is_asked_by_many_threads(org: Organization) -> None:
    many_routes(org, 5)
    query = Prepared(lambda: Route.objects.filter(name="").order_by("pk"))
    expected = [list(row) for row in Route.objects.filter(name="route 3").values_list()]
    found: list[Any] = []

    def ask() -> None:
        try:
            found.append(query.converted(query.read("route 3")))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4
    with pytest.raises(AssertionError, match="1 values open"):
        query.read("route 3", 1)
