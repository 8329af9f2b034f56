"""A partition placed and moved in a real browser, by an admin and by keyboard, with the seconds counted down."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from routes.engine.placements import DRAIN_SECONDS
from routes.orgs.models import Organization
from routes.placements.models import Placement
from tests.browser.conftest import Visitor
from tests.browser.test_services import looks
from tests.build import a_person, an_org

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    return an_org()


def row_of(org: Organization) -> Placement:
    return Placement.objects.of(org).get(partition="acme")


def test_an_admin_places_a_partition_and_moves_it_step_by_step(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    ada = visitor(a_person("ada", org, "admin"))
    page = ada.visit(f"/admin/o/{org.slug}/placements/")
    looks(page, "placements-none")
    page.get_by_role("link", name="Place a partition").click()
    page.get_by_label("Partition").fill("acme")
    page.get_by_label("Cluster").fill("eu-1")
    page.get_by_label("Resource").fill("orders")
    page.get_by_label("Base URL").fill("eu-1.example.com")
    page.get_by_role("button", name="Place it").click()
    looks(page, "placement-mistake")
    page.get_by_label("Base URL").fill("https://eu-1.example.com")
    page.get_by_label("Base URL").press("Enter")
    assert "“acme” is at eu-1/orders." in page.get_by_role("main").inner_text()

    page.get_by_role("link", name="Move … acme", exact=True).click()
    looks(page, "placement-begin")
    assert page.get_by_label("Resource").input_value() == "orders"
    page.get_by_label("Cluster").fill("us-2")
    page.get_by_label("Base URL").fill("https://us-2.example.com")
    page.get_by_role("button", name="Begin the move").click()
    assert row_of(org).phase == "draining"

    page.get_by_role("link", name="Cut over … acme").press("Enter")
    looks(page, "placement-cutover")
    page.get_by_role("button", name="Cut over: admit no writes").press("Enter")
    assert row_of(org).phase == "cutover"
    looks(page, "placements-cutover")
    told = page.get_by_text("s until it can be completed")
    before = int(told.inner_text().split()[0])
    page.wait_for_function(
        "before => parseInt(document.querySelector('[data-seconds]').innerText) < before", arg=before
    )

    page.get_by_role("link", name="Complete … acme").click()
    page.get_by_role("button", name="Complete the move").click()
    assert "Nothing was done. Writes from before the cutover may still be under way" in page.get_by_role(
        "alert"
    ).inner_text().replace("\n", " ")
    Placement.objects.of(org).update(cut_over_at=timezone.now() - timedelta(seconds=DRAIN_SECONDS - 3))
    page.goto(page.url)
    page.get_by_text("It can be completed now.").wait_for()
    page.get_by_role("button", name="Complete the move").click()
    row = row_of(org)
    assert (row.phase, row.cluster, row.epoch) == ("settled", "us-2", 4)
    page.get_by_role("link", name="All steps of acme").click()
    told = page.get_by_role("main").inner_text()
    for name in ("Partition placed", "ada"):
        assert name.lower() in told.lower()

    ada.visit(f"/admin/o/{org.slug}/placements/")
    page.get_by_role("link", name="Remove … acme").click()
    looks(page, "placement-remove")
    page.get_by_role("button", name="Remove the placement").click()
    assert "The placement was removed." in page.locator("body").inner_text()
    assert not Placement.objects.of(org).exists()
