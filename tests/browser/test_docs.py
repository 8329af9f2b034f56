"""The page of the API, and the explorer, in a real browser."""

from collections.abc import Callable
from typing import Any

import pytest

from routes.orgs.models import Organization
from tests.browser.conftest import Visitor
from tests.browser.test_pages import accessible, shot
from tests.build import a_person, an_org

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    return an_org()


def test_the_page_of_the_api(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    someone = visitor(a_person("vera", org))
    page = someone.visit("/admin/")
    someone.choose("API")
    assert page.get_by_role("heading", name="Request logs").is_visible()
    page.locator("main summary").first.click()
    shot(page, "api")
    someone.check()
    accessible(page)
    page.emulate_media(color_scheme="dark")
    page.set_viewport_size({"width": 390, "height": 844})
    shot(page, "api-phone-dark")
    someone.check()
    accessible(page)


def test_the_explorer_calls_with_the_session(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    someone = visitor(a_person("vera", org))
    page = someone.visit("/api/docs/explorer/")
    page.locator("#operations-Organisations-get_orgs button.opblock-summary-control").click()
    page.get_by_role("button", name="Try it out").click()
    page.get_by_role("button", name="Execute").click()
    page.locator(".responses-table.live-responses-table .microlight").get_by_text('"acme"').first.wait_for()
    shot(page, "api-explorer")
    someone.check()
