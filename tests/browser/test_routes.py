"""The list of routes and the examples in a real browser: chosen, moved by button and by dragging, kept and guarded."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from plans.logs.models import RequestLog
from plans.matching import services
from routes.document import document_of
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.rules.services import delete_route, pause_route
from tests.browser.conftest import Visitor, says
from tests.browser.test_pages import accessible, shot
from tests.build import BY, a_person, a_route, an_example, an_org, many_routes, traffic, usual_prices

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    org = an_org(environment="production")
    usual_prices()
    for name, priority in (("first", 300), ("second", 200), ("third", 200), ("fourth", 100)):
        a_route(org, name, priority=priority, when={"tag_equals": name})
    return org


def order(org: Organization) -> list[str]:
    return [route["name"] for route in document_of(org).content["routes"]]


def row(page: Any, name: str) -> Any:
    return page.locator(f'tr[data-name="{name}"]')


def test_routes_are_moved_by_the_keyboard_and_by_dragging_and_saved_at_once(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/")
    assert page.get_by_text("This order is not live yet.").is_hidden()
    up = page.get_by_role("button", name="Move “fourth” up")
    up.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.value").endswith(" up"), "the button that was pressed keeps the focus"
    assert "“fourth” is number 2 of 4. Not saved yet." in page.locator("[data-status]").inner_text()
    assert page.get_by_role("button", name="Pause “first”").is_disabled(), "another act would lose the order"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Move “fourth” down", (
        "still in its row"
    )
    assert up.is_disabled(), "it is the first"
    assert page.get_by_role("button", name="Move “first” up").is_enabled(), "it is not any more"
    page.keyboard.press("Enter")
    assert up.is_enabled()
    row(page, "third").locator("[data-handle]").drag_to(row(page, "first"), target_position={"x": 300, "y": 3})
    priorities = [row(page, name).locator("[data-priority]").inner_text() for name in ("third", "first", "fourth")]
    assert priorities == ["200 → 300", "300 → 200", "100 → 200"], "as they are when it is saved"
    accessible(page)
    shot(page, "routes-moved")
    assert order(org) == ["first", "second", "third", "fourth"]
    page.get_by_role("button", name="Save this order").click()
    says(page, "The new order is live as version 5.")
    assert order(org) == ["third", "first", "fourth", "second"]
    assert [row.priority for row in Route.objects.of(org).in_order()] == [300, 200, 200, 100]
    down = page.get_by_role("button", name="Move “third” down")
    down.click()
    page.get_by_role("button", name="Move “third” up").click()
    assert page.get_by_text("This order is not live yet.").is_hidden(), "it is as it was"
    edda.check()


def test_who_was_slower_is_told_and_keeps_the_order(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/")
    page.get_by_role("button", name="Move “fourth” up").click()
    delete_route(org, Route.objects.get(name="second").uid, by=BY)
    page.get_by_role("button", name="Save this order").click()
    says(page, "after you looked: version 5 is live now.")
    assert row(page, "fourth").locator("[data-priority]").inner_text() == "100 → 200"
    accessible(page)
    shot(page, "routes-stale")
    assert order(org) == ["first", "third", "fourth"]
    page.get_by_role("button", name="Save this order").click()
    says(page, "The new order is live as version 6.")
    assert order(org) == ["first", "fourth", "third"]
    edda.check()


def test_chosen_routes_are_switched_and_deleted(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/")
    bar = page.get_by_role("group", name="The chosen routes")
    assert bar.get_by_role("button", name="Disable").is_disabled(), "nothing is chosen"
    page.get_by_label("Choose all").check()
    says(page, "4 chosen routes:")
    page.get_by_label("Choose “first”").uncheck()
    page.keyboard.press("Enter")
    assert page.url.endswith("/routes/"), "Enter in a checkbox does nothing"
    shot(page, "routes-chosen")
    bar.get_by_role("button", name="Disable").click()
    says(page, "3 routes are disabled: version 5 is live.")
    page.get_by_role("button", name="Pause “first”").click()
    says(page, "“first” is paused: version 6 is live.")
    page.get_by_label("Choose “third”").check()
    page.get_by_label("Choose “fourth”").check()
    bar.get_by_role("button", name="Delete …").click()
    says(page, "Delete 2 routes?")
    says(page, "third: tag is third")
    accessible(page)
    shot(page, "routes-delete-many")
    page.get_by_role("button", name="Delete 2 routes").click()
    says(page, "2 routes are deleted: version 7 is live.")
    assert order(org) == ["first", "second"]
    page.get_by_role("link", name="first", exact=True).click()
    page.get_by_role("button", name="Resume this route now").click()
    says(page, "“first” is resumed: version 8 is live.")
    accessible(page)
    shot(page, "route-switch")
    edda.check()


def test_what_is_done_to_the_chosen_ones_is_in_sight_wherever_one_chooses(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    many_routes(org, 60)
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/")
    bar = page.get_by_role("group", name="The chosen routes")
    in_sight = "one => { const box = one.getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight; }"
    assert not bar.evaluate(in_sight)
    boxes = page.locator('input[name="ids"]')
    for width, dark in ((1280, False), (390, True)):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme="dark" if dark else "light")
        boxes.nth(3).check()
        assert bar.evaluate(in_sight)
        boxes.nth(30).evaluate("one => scrollBy(0, one.getBoundingClientRect().bottom - innerHeight + 9)")
        boxes.nth(30).focus()
        bottom = boxes.nth(30).evaluate("one => one.getBoundingClientRect().bottom")
        assert bottom <= bar.evaluate("one => one.getBoundingClientRect().top"), "what is focused is not behind it"
        edda.check()
        if not dark:
            accessible(page)
        shot(page, f"routes-chosen-bar-{width}")
        boxes.nth(3).uncheck()
        assert not bar.evaluate(in_sight)


def test_without_scripts_a_route_is_moved_and_chosen(org: Organization, browser: Any, live_server: Any) -> None:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/admin/o/{org.slug}/routes/")
    page.get_by_role("button", name="Move “second” up").click()
    says(page, "The new order is live as version 5.")
    page.get_by_label("Choose “third”").check()
    page.get_by_role("button", name="Pause", exact=True).click()
    says(page, "1 route is paused: version 6 is live.")
    assert order(org) == ["second", "first", "third", "fourth"]
    context.close()


def test_a_request_is_tried_kept_and_guarded(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    base = f"/admin/o/{org.slug}/"
    page = edda.visit(base + "try/")
    page.get_by_label("Requested model").fill("gpt-4o")
    page.get_by_label("Tag", exact=True).fill("first")
    page.get_by_role("button", name="Try", exact=True).click()
    says(page, "“first” takes it")
    shot(page, "try-keep")
    page.get_by_role("button", name="Keep this request as an example").click()
    assert page.get_by_label("Route", exact=True).input_value() == "=first"
    page.get_by_label("Name").fill("requests of the first tag")
    page.get_by_label("Reason").select_option("")
    accessible(page)
    shot(page, "example-new")
    page.get_by_role("button", name="Save").click()
    says(page, "it passes.")
    an_example(org, "an old hope", expected={"route": "second", "reason": "matched"})
    page.get_by_role("link", name="Check all again").click()
    says(page, "1 of 2 fails.")
    accessible(page)
    shot(page, "examples")
    page.get_by_role("link", name="an old hope", exact=True).click()
    says(page, "It fails.")
    accessible(page)
    shot(page, "example-edit")

    page = edda.visit(f"{base}routes/{Route.objects.get(name='first').uid}/")
    page.get_by_label("Tag is").fill("other")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "1 example that holds now would break:")
    accessible(page)
    shot(page, "route-breaks-example")
    page.get_by_label("Save nevertheless, because").fill("the tag was renamed")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "“first” is live as version 5.")
    page = edda.visit(base + "examples/")
    says(page, "2 of 2 fail.")
    page.get_by_role("link", name="Delete “an old hope”").click()
    page.get_by_role("button", name="Delete “an old hope”").click()
    says(page, "“an old hope” was deleted.")
    for scheme, width in (("dark", 1280), ("light", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        for name in ("examples/", "routes/"):
            page = edda.visit(base + name)
            edda.check()
            accessible(page)
            shot(page, f"{name.strip('/')}-{scheme}-{width}")
    edda.check()


def test_a_route_is_found_moved_past_those_out_of_sight_and_duplicated(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    many_routes(org, 60)  # their priorities are larger
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/")
    page.get_by_label("Find routes").fill("tag is f")
    page.keyboard.press("Enter")
    page.wait_for_url("**/routes/?q=tag+is+f")
    assert [row.get_attribute("data-name") for row in page.locator("tr[data-name]").all()] == ["first", "fourth"]
    assert row(page, "fourth").locator("[data-number]").inner_text() == "64"
    page.get_by_role("button", name="Move “fourth” up").click()
    assert row(page, "fourth").locator("[data-number]").inner_text() == "61"
    page.get_by_role("button", name="Move “fourth” down").click()
    assert row(page, "fourth").locator("[data-number]").inner_text() == "62", "behind its neighbour in sight"
    page.get_by_role("button", name="Save this order").click()
    says(page, "The new order is live as version 6.")
    assert page.url.endswith("?q=tag+is+f"), "what was looked for stands still"
    assert order(org)[-4:] == ["first", "fourth", "second", "third"]
    page.get_by_role("link", name="all 2", exact=True).wait_for()
    accessible(page)
    shot(page, "routes-found")
    page.get_by_role("link", name="Duplicate “fourth”").click()
    says(page, "A copy of “fourth”, with another name. Nothing is saved yet.")
    accessible(page)
    shot(page, "route-copied")
    page.get_by_label("Tag is").fill("fifth")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "“fourth (copy)” is live as version 7.")
    edda.check()


def test_an_order_that_is_not_saved_is_not_left_by_accident(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/")
    asked: list[str] = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    page.get_by_role("button", name="Move “fourth” up").click()
    page.get_by_role("link", name="History").click(no_wait_after=True)
    page.wait_for_timeout(300)
    assert (asked, page.url.endswith("/routes/")) == (["beforeunload"], True)
    page.get_by_role("link", name="Put it back").click()
    page.wait_for_load_state()
    page.get_by_role("link", name="History").click()
    says(page, "Every change of what is live is a version.")
    assert len(asked) == 1
    edda.check()


def test_what_the_log_says_of_each_route_comes_after_the_page(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    traffic(org)
    vera = visitor(a_person("vera", org, "viewer"))
    page = vera.visit(f"/admin/o/{org.slug}/routes/")
    says(page, "What today’s routes would take of all 40 requests")
    assert row(page, "first").locator("[data-hits]").inner_text() == "none"
    RequestLog.objects.filter(input_tokens__lte=1000).update(matched_route_id=Route.objects.get(name="first").uid)
    services._kept.clear()
    page.reload()
    says(page, "What each route took of all 40 requests")
    link = row(page, "first").get_by_role("link", name="25.0%")
    accessible(page)
    shot(page, "routes-hits")
    link.click()
    says(page, "first")
    assert page.locator("tbody tr").count() == 10
    pause_route(Route.objects.get(name="first"), by=BY)
    services._kept.clear()
    vera.visit(f"/admin/o/{org.slug}/routes/")
    link = row(page, "first").get_by_role("link", name="25.0%")
    link.wait_for()
    assert row(page, "first").locator("[data-hits]").inner_text().split() == ["25.0%", "unchanged"]
    assert link.get_attribute("class") == "muted", "not as of a route that works"
    assert "unchanged" not in row(page, "second").locator("[data-hits]").inner_text()
    accessible(page)
    shot(page, "routes-hits-paused")
    page.route("**/logs/hits/", lambda route: route.abort())
    page.reload()
    says(page, "The requests could not be counted now.")
    vera.complaints = [text for text in vera.complaints if "net::ERR_FAILED" not in text]
    vera.check()
