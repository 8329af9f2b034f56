"""Making keys in a real browser: what is asked of each kind, and taking the key along."""

from collections.abc import Callable
from typing import Any

import pytest

from routes.orgs.models import ApiKey
from tests.browser.conftest import Visitor, says
from tests.browser.test_prices import look
from tests.build import a_person, an_org

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_key_is_made_and_copied_by_the_keyboard(visitor: Callable[[Any], Visitor]) -> None:
    org = an_org(environment="staging")
    ada = visitor(a_person("ada", org, "admin"))
    page = ada.visit(f"/admin/o/{org.slug}/access/")
    form = page.locator("form[data-new-key]")
    kind, role = form.get_by_label("Kind"), form.get_by_label("Role")
    assert role.is_visible()
    fixed, force = form.get_by_label("Fixed metadata"), form.get_by_label("Requests may say which route takes them")
    assert fixed.is_hidden()
    kind.select_option("traffic")
    assert role.is_hidden(), "a key for traffic has none"
    fixed.fill("team")
    force.check()
    look(ada, "access-traffic")
    kind.select_option("management")
    assert role.is_visible()
    assert fixed.is_hidden(), "and what was written there is not sent"
    look(ada, "access")
    form.get_by_label("Name").fill("dashboard")
    kind.select_option("gateway")
    form.get_by_role("button", name="Make a key").click()

    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    copy = page.get_by_role("button", name="Copy the key")
    copy.focus()
    page.keyboard.press("Enter")
    page.get_by_role("status").get_by_text("Copied", exact=True).wait_for()
    shown = page.locator("#new-key").inner_text()
    assert shown.startswith(f"rk_gateway_{ApiKey.objects.get().pk}_")
    assert page.evaluate("navigator.clipboard.readText()") == shown
    look(ada, "access-new-key")

    # Where the browser forbids it, the key is there to be copied by hand.
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }")
    copy.click()
    says(page, "The key is selected: copy it by hand.")
    assert page.evaluate("getSelection().toString()") == shown
    ada.check()


def test_without_a_script_a_key_is_copied_by_hand_and_the_role_says_when_it_counts(
    browser: Any, visitor: Callable[[Any], Visitor]
) -> None:
    org = an_org()
    ada = visitor(a_person("ada", org, "admin"))
    plain = browser.new_context(java_script_enabled=False)
    plain.add_cookies(ada.page.context.cookies())
    page = plain.new_page()
    page.goto(f"{ada.base}/admin/o/{org.slug}/access/")
    form = page.locator("form[data-new-key]")
    assert "The others have none." in form.inner_text()
    form.get_by_label("Name").fill("edge")
    form.get_by_label("Kind").select_option("traffic")
    form.get_by_role("button", name="Make a key").click()
    assert page.locator("#new-key").inner_text().startswith("rk_traffic_")
    assert page.get_by_role("button", name="Copy the key").count() == 0
    plain.close()
