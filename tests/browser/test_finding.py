"""The way to anything, by keyboard."""

from collections.abc import Callable
from typing import Any

import pytest

from routes.orgs.models import Organization
from tests.browser.conftest import Visitor
from tests.browser.test_pages import COLORS, accessible, shot
from tests.build import a_person, a_route, an_org

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    org = an_org()
    a_route(org, "short ones")
    a_route(org, "<img src=x onerror=alert(1)>")
    return org


def test_a_route_is_reached_by_a_few_letters(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/audit/")
    page.keyboard.press("/")
    box = page.get_by_role("combobox", name="Search or jump to")
    page.get_by_role("option", name="Overview").wait_for()
    page.keyboard.type("onerror")
    page.get_by_role("option", name="<img src=x onerror=alert(1)>").wait_for()
    shot(page, "palette")
    accessible(page)
    page.emulate_media(color_scheme="dark")
    accessible(page, COLORS)
    page.emulate_media(color_scheme="light")
    box.fill("shrot")
    page.get_by_role("option", name="short ones").wait_for()
    assert (
        page.get_by_role("dialog").get_by_role("status").inner_text()
        == "Nothing here is called “shrot”. Names like it:"
    )
    shot(page, "palette-near")
    accessible(page)
    box.fill("zzzzzz")
    page.get_by_text("Nothing here is called “zzzzzz”.", exact=True).wait_for()
    shot(page, "palette-nothing")
    page.keyboard.press("Escape")
    assert not box.is_visible()
    page.keyboard.press("Control+k")
    page.keyboard.type("short")
    page.get_by_role("option", name="short ones").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/routes/*-*/")
    assert page.get_by_label("Name").input_value() == "short ones"
    page.get_by_label("Name").focus()
    page.keyboard.type("/")
    assert not box.is_visible(), "it is a letter like any other where one writes"
    edda.check()


def test_menus_close_and_the_search_works_on_a_phone(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/gateways/")
    page.set_viewport_size({"width": 390, "height": 800})
    menu = page.locator(".ra-user")
    menu.locator("summary").click()
    assert menu.get_by_text("Security").is_visible()
    page.keyboard.press("Escape")
    assert not menu.get_by_text("Security").is_visible()
    page.get_by_role("link", name="Search or jump to").click()
    page.get_by_role("option", name="Routes").click()
    page.wait_for_url("**/routes/")
    accessible(page)
    edda.check()
