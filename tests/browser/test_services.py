"""A service in a real browser: made in its form, changed, moved, tried and deleted, on a screen and on a phone."""

from collections.abc import Callable
from typing import Any

import pytest

from routes.orgs.models import Organization
from routes.paths.models import Service
from tests.browser.conftest import Visitor
from tests.browser.test_pages import accessible, shot
from tests.build import PATHS, a_person, a_service, an_org

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    return an_org()


def patterns(org: Organization, slug: str) -> list[str]:
    return [path["pattern"] for path in Service.objects.of(org).get(slug=slug).paths]


def looks(page: Any, name: str) -> None:
    """In both themes, on a screen and on a phone: accessible, and nothing is too wide."""
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            shot(page, f"{name}-{scheme}-{width}")
            accessible(page)
            too_wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
            assert not too_wide, (name, scheme, width)
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_service_is_made_in_its_form_and_a_path_is_tried(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    someone = visitor(a_person("edda", org, "editor"))
    page = someone.visit(f"/admin/o/{org.slug}/services/")
    page.get_by_role("link", name="New service").click()
    page.get_by_label("Slug").fill("billing")
    first = page.get_by_role("group", name="Path 1")
    first.get_by_label("Path pattern").fill("/invoices/*")
    first.get_by_label("Target URL").fill("ftp://invoices.example.com/v1")
    page.get_by_role("button", name="Add a path").click()
    second = page.get_by_role("group", name="Path 2")
    second.get_by_label("Path pattern").fill("invoices")
    second.get_by_label("Target URL").fill("https://people.example.com")
    second.get_by_label("Methods").fill("get, post")
    page.get_by_role("button", name="Save and publish").click()
    alert = page.get_by_role("alert")
    assert "2 things to put right" in alert.inner_text()
    looks(page, "service-mistakes")
    alert.get_by_role("link", name="Path 2, path pattern").click()
    assert page.evaluate("document.activeElement.name") == "path-1-pattern"
    second.get_by_label("Path pattern").fill("/invoices/:id")
    first.get_by_label("Target URL").fill("https://invoices.example.com/v1")
    page.get_by_role("button", name="Save and publish").click()
    page.get_by_text("is live as version 1").wait_for()
    assert patterns(org, "billing") == ["/invoices/*", "/invoices/:id"]
    rows = page.get_by_role("region", name="Paths").get_by_role("row").all_inner_texts()
    assert ["/invoices/:id" in row for row in rows[1:]] == [True, False]
    page.get_by_label("Path", exact=True).fill("https://billing.example.com/invoices/42?full=1")
    page.get_by_role("button", name="Try it").click()
    told = page.get_by_role("status").inner_text()
    assert "/invoices/:id takes it" in told
    assert "GET https://people.example.com?full=1" in told
    looks(page, "service")
    someone.check()


def test_paths_are_moved_removed_and_kept_in_their_order(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    a_service(org, "s1", paths=[{"pattern": f"/{name}", "target_url": "https://a.example"} for name in "abc"])
    someone = visitor(a_person("edda", org, "editor"))
    page = someone.visit(f"/admin/o/{org.slug}/services/s1/edit/")
    looks(page, "service-edit")

    def press(number: int, name: str) -> None:
        page.get_by_role("group", name=f"Path {number}").get_by_role("button", name=name).click()

    press(1, "Down with this path")
    press(3, "Up with this path")
    shown = [each.input_value() for each in page.get_by_label("Path pattern").all()]
    assert shown == ["/b", "/c", "/a"]
    press(2, "Remove this path")
    page.get_by_role("button", name="Add a path").click()
    assert page.evaluate("document.activeElement.name") == "path-3-pattern"
    page.get_by_role("button", name="Save and publish").click()
    page.get_by_text("is live as version 2").wait_for()
    assert patterns(org, "s1") == ["/b", "/a"]
    someone.check()


def test_deleting_says_what_stops_and_the_list_shows_what_is_left(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    a_service(org, hosts=["api.acme.example", "www.acme.example"])
    a_service(org, "other", enabled=False, paths=PATHS[:1])
    someone = visitor(a_person("root", is_superuser=True))
    page = someone.visit(f"/admin/o/{org.slug}/services/")
    looks(page, "services")
    page.get_by_role("link", name="users", exact=True).click()
    page.get_by_role("link", name="Delete …").click()
    assert "2 paths, at 2 hosts (api.acme.example, www.acme.example)" in page.locator("#content").inner_text()
    looks(page, "service-delete")
    page.get_by_role("button", name="Delete “users”").click()
    page.get_by_text("was deleted in version 3").wait_for()
    page.get_by_role("link", name="other", exact=True).click()
    page.get_by_role("link", name="Change hosts …").click()
    page.get_by_label("Hosts").fill("api.acme.example\nhttps://nowhere")
    page.get_by_role("button", name="Save").click()
    assert "Line 2: A host is a name like api.example.com" in page.locator("#content").inner_text()
    looks(page, "service-hosts")
    page.get_by_label("Hosts").fill("api.acme.example")
    page.get_by_role("button", name="Save").click()
    page.get_by_text("Gateways learn of the hosts of “other” within seconds.").wait_for()
    someone.check()
