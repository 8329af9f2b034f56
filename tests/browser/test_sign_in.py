"""Signing in as people do it: password, code, recovery code, provider; every page clean in light, dark and on a phone."""

import time
from base64 import b32decode
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django_otp.plugins.otp_totp.models import TOTPDevice

from tests.browser.conftest import Visitor, says
from tests.browser.test_pages import COLORS, LEVELS, accessible, shot
from tests.signin.conftest import openid, openid_server, quick_passwords  # noqa: F401  fixtures of those tests
from tests.signin.people import PASSWORD, code_at, person_with_password, with_factor
from tests.signin.provider import Provider

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stranger(browser: Any, live_server: Any) -> Iterator[Callable[[], Visitor]]:
    """Somebody who is not signed in, in a browser of their own."""
    contexts = []

    def arrives() -> Visitor:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True)
        contexts.append(context)
        return Visitor(context.new_page(), live_server.url)

    yield arrives
    for context in contexts:
        context.close()


def looks_good(visitor: Visitor, name: str, *, is_variant: bool = False) -> None:
    """Clean, accessible and narrow enough, in light, dark and on a phone. Of a variant the colours were seen already."""
    page = visitor.page
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 900})
        visitor.check()
        if width == 1280 and not (is_variant and scheme == "dark"):
            accessible(page, LEVELS if scheme == "light" else COLORS)
        shot(page, f"signin-{name}-{scheme}-{width}")
    page.set_viewport_size({"width": 1280, "height": 900})


def give_password(visitor: Visitor) -> None:
    page = visitor.visit("/admin/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    with page.expect_navigation():
        page.keyboard.press("Enter")


@pytest.mark.usefixtures("quick_passwords")
def test_a_second_factor_from_the_first_scan_to_the_lost_phone(stranger: Callable[[], Visitor], settings: Any) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    person_with_password("ada")
    ada = stranger()
    page = ada.page
    give_password(ada)
    # Led there before anything else.
    assert page.url.endswith("/admin/security/second-factor/")
    assert page.get_by_role("img", name="QR code").bounding_box()["width"] > 150
    looks_good(ada, "set-up")
    key = b32decode(page.locator(".ra-secret").inner_text().replace(" ", "")).hex()
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_label("Code").fill("000000")
    page.keyboard.press("Enter")
    page.get_by_text("This is not the code of the moment").wait_for()
    looks_good(ada, "set-up-refused", is_variant=True)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_label("Code").fill(code_at(key, time.time()))
    page.keyboard.press("Enter")
    codes = page.locator(".ra-codes").inner_text().split()
    assert len(codes) == 10
    looks_good(ada, "codes")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download them").click()
    assert download.value.path().read_text().split() == codes
    page.get_by_role("link", name="I have kept them").click()
    ada.choose("Security")
    page.get_by_role("button", name="Remove the second factor").wait_for()
    looks_good(ada, "security")
    ada.choose("Log out")

    TOTPDevice.objects.update(last_t=-1)  # as if half a minute had passed
    give_password(ada)
    assert page.url.endswith("/admin/login/code/")
    assert page.evaluate("document.activeElement.name") == "code"
    looks_good(ada, "code")
    page.get_by_label("Code").fill("not a code")
    page.keyboard.press("Enter")
    page.get_by_text("neither the code of the moment nor an unused recovery code").wait_for()
    looks_good(ada, "code-refused", is_variant=True)
    page.get_by_label("Code").fill(code_at(key, time.time()))
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("You belong to no organisation yet").wait_for()
    looks_good(ada, "no-organisation")
    ada.choose("Log out")

    # The phone is lost: a recovery code, and away with the factor.
    give_password(ada)
    page.get_by_label("Code").fill(codes[0])
    page.keyboard.press("Enter")
    page.get_by_text("9 are left").wait_for()
    ada.choose("Security")
    page.locator("#id_remove-code").fill(codes[1])
    page.get_by_role("button", name="Remove the second factor").click()
    page.wait_for_url("**/second-factor/")
    assert not TOTPDevice.objects.exists()
    ada.check()


@pytest.mark.usefixtures("quick_passwords")
def test_an_account_at_a_provider_is_connected_and_signs_in(
    stranger: Callable[[], Visitor],
    openid: Provider,  # noqa: F811
) -> None:
    person_with_password("ada")
    ada = stranger()
    page = ada.page
    ada.visit("/admin/login/?next=/admin/security/")
    looks_good(ada, "login")
    ada.expected.add(403)
    page.get_by_role("link", name="Sign in with Example ID").click()
    page.get_by_text("No active person here belongs to this account").wait_for()
    looks_good(ada, "refused")
    give_password(ada)
    ada.choose("Security")
    page.get_by_role("button", name="Connect an account").wait_for()
    looks_good(ada, "security-off", is_variant=True)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_role("button", name="Connect an account").click()
    says(page, "Continue to Example ID")
    looks_good(ada, "connect", is_variant=True)
    page.get_by_role("link", name="Continue to Example ID").click()
    page.get_by_text("from now on this account signs you in").wait_for()
    ada.choose("Log out")
    ada.visit("/admin/login/?next=/admin/security/")
    page.get_by_role("link", name="Sign in with Example ID").focus()
    page.keyboard.press("Enter")
    page.get_by_text("It opened this session").wait_for()
    looks_good(ada, "connected", is_variant=True)
    ada.check()
    get_user_model().objects.update(password="!")
    ada.visit("/admin/login/provider/?next=/admin/password_change/")
    page.get_by_text("You have no password here").wait_for()
    looks_good(ada, "no-password")


@pytest.mark.usefixtures("quick_passwords")
def test_a_password_is_changed_with_a_code(stranger: Callable[[], Visitor]) -> None:
    key, _ = with_factor(person_with_password("ada"))
    ada = stranger()
    page = ada.page
    give_password(ada)
    page.get_by_label("Code").fill(code_at(key, time.time()))
    page.get_by_role("button", name="Sign in").click()
    ada.choose("Change password")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_label("New password", exact=False).first.fill("a longer horse battery")
    page.get_by_label("New password confirmation").fill("another")
    page.get_by_label("Code").fill(code_at(key, time.time() + 30))
    ada.expected.add(422)
    page.keyboard.press("Enter")
    says(page, "match")
    looks_good(ada, "password-refused", is_variant=True)
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_label("New password", exact=False).first.fill("a longer horse battery")
    page.get_by_label("New password confirmation").fill("a longer horse battery")
    page.get_by_role("button", name="Change my password").click()
    page.get_by_text("Your password is changed").wait_for()
    ada.check()


@pytest.mark.usefixtures("quick_passwords")
def test_who_is_locked_out_sees_a_page_that_says_so(stranger: Callable[[], Visitor], settings: Any) -> None:
    settings.AXES_ENABLED, settings.AXES_FAILURE_LIMIT = True, 1
    someone = stranger()
    someone.expected.add(429)
    page = someone.visit("/admin/login/")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Too many attempts").wait_for()
    looks_good(someone, "locked")


@pytest.mark.usefixtures("quick_passwords")
def test_whoever_has_to_sign_in_again_or_may_not_come_in_sees_why(
    stranger: Callable[[], Visitor], visitor: Callable[[Any], Visitor], settings: Any
) -> None:
    ada = person_with_password("ada")
    someone = visitor(ada)
    someone.expected |= {403, 429}
    page = someone.visit("/admin/audit/")
    says(page, "This is for the staff of this installation.")
    looks_good(someone, "forbidden")
    page = someone.visit("/admin/security/second-factor/")
    page.evaluate("document.querySelector('main [name=csrfmiddlewaretoken]').value = 'x'.repeat(64)")
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_label("Code").fill("000000")
    page.keyboard.press("Enter")
    says(page, "Go back, and send it once more.")
    looks_good(someone, "csrf")
    page.go_back()
    page.get_by_label("Your password").fill(PASSWORD)
    page.get_by_label("Code").fill("000000")
    page.keyboard.press("Enter")
    says(page, "This is not the code of the moment")
    page.context.clear_cookies(name="sessionid")
    page.get_by_role("button", name="Set it up").evaluate("button => button.form.noValidate = true")
    page.get_by_role("button", name="Set it up").click()
    says(page, "nothing was saved. Sign in, and send it once more.")
    looks_good(someone, "unsaved")
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/security/second-factor/")
    someone.choose("Log out")
    says(page, "You are signed out")
    looks_good(someone, "signed-out")
    settings.SIGN_IN_FAILURE_RATE = 0
    give_password(someone)
    says(page, "Too many sign-ins")
    looks_good(someone, "throttled")
