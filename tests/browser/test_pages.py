"""Every page in a real browser: no error, no policy report, no accessibility finding, and the main story."""

import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from plans.runs.worker import run_next
from routes.orgs.models import Organization
from routes.rules.models import Route
from tests.browser.conftest import Visitor
from tests.build import a_person, a_plan, a_route, an_org, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db(transaction=True)
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
SHOTS = os.environ.get("SCREENSHOTS")


@pytest.fixture
def org() -> Organization:
    org = an_org(approval="plans", environment="production")
    usual_prices()
    traffic(org)
    a_route(org, "short ones")
    a_route(
        org,
        "pictures",
        when={"has_images": True},
        then={"target_model": "gpt-4o", "fallbacks": ["gpt-4.1"]},
        enabled=False,
    )
    return org


def accessible(page: Any) -> None:
    page.evaluate(AXE)
    findings = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']})")[
        "violations"
    ]
    assert [(f["id"], [node["html"][:150] for node in f["nodes"]]) for f in findings] == []


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def test_every_page_is_clean_light_dark_and_on_a_phone(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    admin = a_person("ada", org, "admin")
    plan = projected(a_plan(org, by=a_person("edda", org, "editor")))
    draft = a_plan(org, name="draft")
    someone = visitor(admin)
    route = Route.objects.of(org).in_order().first()
    assert route is not None
    base = f"/admin/o/{org.slug}/"
    pages = {
        "index": "/admin/", "home": base, "routes": base + "routes/", "route-new": base + "routes/new/",
        "route-edit": f"{base}routes/{route.uid}/", "route-delete": f"{base}routes/{route.uid}/delete/",
        "try": base + "try/", "plans": base + "plans/", "plan-new": base + "plans/new/",
        "plan": f"{base}plans/{plan.pk}/", "plan-draft": f"{base}plans/{draft.pk}/",
        "audit": base + "audit/", "logs": base + "logs/",
        "prices": base + "prices/", "access": base + "access/",
    }  # fmt: skip
    for name, path in pages.items():
        page = someone.visit(path)
        assert page.title()
        someone.check()
        accessible(page)
        shot(page, name)
        page.emulate_media(color_scheme="dark")
        accessible(page)
        shot(page, f"{name}-dark")
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 390, "height": 800})
        someone.check()
        shot(page, f"{name}-phone")
        page.set_viewport_size({"width": 1280, "height": 900})


def test_from_the_first_route_to_a_reverted_plan(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda, arno = visitor(a_person("edda", org, "editor")), visitor(a_person("arno", org, "approver"))
    base = f"/admin/o/{org.slug}/"

    # A route, with a mistake that the message alone explains.
    page = edda.visit(base + "routes/new/")
    page.get_by_label("Name").fill("long ones")
    page.get_by_label("Fewer input tokens than").fill("50000")
    page.get_by_label("Send to model").fill("gpt-4.1")
    page.get_by_label("If that fails, try").fill("gpt-4.1")
    page.get_by_role("button", name="Save and publish").click()
    assert "Not saved." in page.inner_text("main")
    assert page.locator(".has-error").count() == 1
    shot(page, "route-refused")
    page.get_by_label("If that fails, try").fill("gpt-4o")
    page.get_by_role("button", name="Save and publish").click()
    assert "“long ones” is live as version 3." in page.inner_text("main")
    assert "fewer than 50,000 input tokens" in page.inner_text("main")
    edda.check()

    # Why did this request go there?
    page = edda.visit(base + "try/")
    page.get_by_label("Requested model").fill("gpt-4o")
    page.get_by_label("Input tokens").fill("999")
    page.get_by_role("button", name="Try").click()
    assert "“short ones” takes it → gpt-4o-mini" in page.inner_text("main")
    shot(page, "try-answer")
    edda.check()

    # A plan, made as it is offered.
    page = edda.visit(base + "plans/new/")
    page.get_by_label("Name").fill("cheaper")
    page.get_by_label("Proposed routes").fill(
        '[{"name": "all to mini", "priority": 900, "then": {"target_model": "gpt-4o-mini"}}]'
    )
    page.get_by_role("button", name="Start the replay").click()
    assert "Waiting for the worker" in page.inner_text("main")
    shot(page, "plan-waiting")
    run_next()
    page.get_by_text("Saves $").first.wait_for(timeout=5_000)  # the page looks again by itself
    assert "Somebody else has to approve" in page.inner_text("main")
    assert page.get_by_role("button", name="Approve").count() == 0
    url = page.url.removeprefix(edda.base)
    edda.check()

    page = arno.visit(url)
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("button", name="Apply: change 1 route").click()
    assert "Live as version 4. Audit receipt" in page.inner_text("main")
    shot(page, "plan-applied")
    page.get_by_role("button", name="Revert").click()
    assert "Reverted: version 5 is live." in page.inner_text("main")
    page = arno.visit(base + "audit/")
    page.get_by_role("button", name="Verify").click()
    assert "verified" in page.inner_text("main").lower()
    shot(page, "audit-verified")
    arno.check()


def test_two_people_edit_one_route_and_the_second_loses_nothing(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    route = Route.objects.of(org).get(name="short ones")
    one, two = visitor(a_person("edda", org, "editor")), visitor(a_person("emil", org, "editor"))
    path = f"/admin/o/{org.slug}/routes/{route.uid}/"
    first, second = one.visit(path), two.visit(path)
    first.get_by_label("Priority").fill("300")
    second.get_by_label("Priority").fill("7")
    first.get_by_role("button", name="Save and publish").click()
    second.get_by_role("button", name="Save and publish").click()
    text = second.inner_text("main")
    assert "was changed at version 3" in text
    assert second.get_by_label("Priority").input_value() == "7", "one's own input is still there"
    second.get_by_role("button", name="Save and publish").click()
    route.refresh_from_db()
    assert route.priority == 7


def test_a_viewer_reads_and_is_offered_nothing_else(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    someone = visitor(a_person("vera", org, "viewer"))
    page = someone.visit(f"/admin/o/{org.slug}/routes/")
    assert page.get_by_role("link", name="New route").count() == 0
    page = someone.visit(f"/admin/o/{org.slug}/plans/")
    assert page.get_by_role("link", name="New plan").count() == 0


def test_signing_in_and_a_wrong_password(org: Organization, browser: Any, live_server: Any) -> None:
    user = a_person("edda", org, "editor")
    user.set_password("correct horse battery")
    user.save()
    page = browser.new_page()
    page.goto(live_server.url + "/")
    page.get_by_label("Username").fill("edda")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()
    assert "correct username and password" in page.inner_text("body")
    page.get_by_label("Username").fill("edda")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Log in").click()
    assert "Acme" in page.inner_text("main")
    shot(page, "signed-in")
    page.close()
