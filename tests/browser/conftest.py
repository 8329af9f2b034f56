"""A real Chromium, driven by Playwright. Without it the tests skip and name the package; under CI they fail."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.test import Client

#: Two pages of its own that Chromium makes for what is typed into each new window's address, and a process in advance:
#: two thirds of what a new visitor takes.
_IN_ADVANCE = ["WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "SpareRendererForSitePerProcess"]
#: The last list is the one that counts, so that those of Playwright's that matter on Linux are here too.
_PLAYWRIGHT = [
    "AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable", "LensOverlay", "MediaRouter", "PaintHolding", "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect", "OptimizationHints", "NetworkTimeServiceQuerying", "AimEnabled",
    "PreconnectToSearch",
]  # fmt: skip
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    f"--disable-features={','.join([*_PLAYWRIGHT, *_IN_ADVANCE])}",
]


# Not longer than for these tests: while Playwright is there, its event loop runs in this thread, and no other can.
@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    path = shutil.which("chromium")
    if path is None:
        message = "Chromium is not installed; on Debian: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    from playwright.sync_api import Locator, sync_playwright

    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "true")  # Django refuses its database where a loop runs
        patch.setattr(StaticFilesHandler, "serve", _kept_by_browsers(StaticFilesHandler.serve))
        for act in ("click", "press"):
            patch.setattr(Locator, act, _until_the_page_is_there(getattr(Locator, act)))
        chromium = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield chromium
        chromium.close()


def _kept_by_browsers(serve: Callable[..., Any]) -> Callable[..., Any]:
    """As in production, where their names change with them: else half the time of a page is for files seen before."""

    def serves(handler: Any, request: Any) -> Any:
        response = serve(handler, request)
        response["Cache-Control"] = "max-age=3600"
        return response

    return serves


def _until_the_page_is_there(act: Callable[..., None]) -> Callable[..., None]:
    """Playwright waits until the next page has begun. What is counted on it then may not have come yet."""

    def acts(locator: Any, *args: Any, **options: Any) -> None:
        act(locator, *args, **options)
        locator.page.wait_for_load_state()

    return acts


def says(page: Any, text: Any) -> None:
    """The page says so, now or as soon as it is there: `text` is a string or a pattern."""
    from playwright.sync_api import expect

    expect(page.locator("main")).to_contain_text(text, use_inner_text=True, timeout=30_000)


def add_condition(where: Any, title: str) -> Any:
    """Adds a condition to the route, or to the group of conditions, that `where` is; answers its row."""
    where.get_by_role("button", name=re.compile("^Add a condition")).first.click()
    where.get_by_role("menuitem", name=title, exact=True).click()
    return where.locator("[data-rows] > [data-condition]").filter(has_text=title).first


class Visitor:
    """A signed-in person with a browser. Remembers what the console and the content policy complained about."""

    def __init__(self, page: Any, base: str) -> None:
        self.page = page
        self.base = base
        self.complaints: list[str] = []
        #: Statuses of pages that are shown on purpose: 422 is a refused form.
        self.expected = {422}
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.add_init_script(
            "window.cspReports = []; addEventListener('securitypolicyviolation',"
            " e => window.cspReports.push(e.violatedDirective + ' ' + e.blockedURI))"
        )

    def visit(self, path: str) -> Any:
        self.page.goto(self.base + path)
        return self.page

    def choose(self, name: str) -> None:
        """In the menu of one's account."""
        self.page.locator(".ra-user > summary").click()
        self.page.locator(".ra-user").get_by_text(name, exact=True).click()

    def check(self) -> None:
        """No error, no report, nothing wider than the window."""
        expected = [f"the server responded with a status of {status} " for status in self.expected]
        assert [text for text in self.complaints if not any(known in text for known in expected)] == []
        assert self.page.evaluate("window.cspReports") == []
        overflow = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert overflow <= 0, f"{self.page.url} is {overflow}px too wide"


@pytest.fixture
def visitor(browser: Any, live_server: Any) -> Iterator[Callable[[Any], Visitor]]:
    contexts = []

    def signed_in(user: Any) -> Visitor:
        client = Client()
        client.force_login(user)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        contexts.append(context)
        cookie = client.cookies["sessionid"].value
        context.add_cookies([{"name": "sessionid", "value": cookie, "url": live_server.url}])
        return Visitor(context.new_page(), live_server.url)

    yield signed_in
    for context in contexts:
        context.close()
