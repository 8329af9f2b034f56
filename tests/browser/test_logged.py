"""Somebody wonders why a request went where it did."""

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest

from plans.logs.listing import look
from routes.orgs.models import Organization
from routes.rules.services import delete_route
from tests.browser.conftest import Visitor, says
from tests.browser.test_pages import COLORS, accessible, shot
from tests.build import BY, a_person, a_route, an_org, many_routes, traffic, usual_prices

pytestmark = pytest.mark.django_db(transaction=True)
ODD = "req_1/../a?b=c&d#e"
HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture
def org() -> Organization:
    org = an_org()
    usual_prices()
    route = a_route(org, "short ones")
    traffic(org, 30, decided_version=1, reason="no_match", fact_input_tokens=4000)
    taken = {"matched_route_id": route.uid, "reason": "matched", "decided_version": 1, "model": "gpt-4o-mini"}
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "What is\nmy salary?"}]}
    same = {"request_digest": "sha256:" + "a" * 64, "metadata": {"team": "a"}, "has_tools": True}
    traffic(org, 1, **taken, **same, request_id=ODD, tag="surprising", fact_input_tokens=90, body=body, latency_ms=700)
    traffic(org, 1, **taken, **same, request_id="copy", kind="shadow")
    return org


def in_every_look(someone: Visitor, name: str) -> None:
    """Light, dark and on a phone: nothing is too wide, and axe finds nothing."""
    page = someone.page
    someone.check()
    accessible(page)
    shot(page, name)
    page.emulate_media(color_scheme="dark")
    accessible(page, COLORS)
    shot(page, f"{name}-dark")
    page.emulate_media(color_scheme="light")
    page.set_viewport_size({"width": 390, "height": 800})
    accessible(page)
    someone.check()
    shot(page, f"{name}-phone")
    page.set_viewport_size({"width": 1280, "height": 900})


def test_a_surprising_request_is_understood_and_the_rule_put_right(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/logs/")
    page.get_by_label("Tag").fill("surprising")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("tbody tr").count() == 1
    page.get_by_role("link", name=ODD).click()
    says(page, "Then: “short ones” took it, served by gpt-4o-mini")
    says(page, "Now: “short ones” takes it → gpt-4o-mini")
    says(page, "Fewer input tokens than 1,000; seen 90")
    assert page.get_by_role("link", name="copy", exact=True).is_visible(), "the other attempt"
    in_every_look(edda, "logged")
    here = page.url

    page.get_by_role("link", name="short ones").first.click()
    page.get_by_label("Fewer than").fill("50")
    page.get_by_role("button", name="Save and publish").click()
    # Whoever came from the request is back at it, and sees what happens to it now.
    says(page, "“short ones” is live as version 2.")
    assert page.url == here
    says(page, "Then: “short ones” took it, served by gpt-4o-mini")
    says(page, "Now: no route takes it: it passes unchanged → gpt-4o")
    says(page, "“short ones” was changed in version 2: its conditions do not fit any more.")
    says(page, "fewer than 50 input tokens")
    in_every_look(edda, "logged-changed")

    page.get_by_role("button", name="Try it with changes").click()
    says(page, "No route takes it: it passes unchanged → gpt-4o")
    assert "my salary?" in page.get_by_label("Chat-completions body").input_value()
    in_every_look(edda, "logged-tried")
    page.get_by_label("Input tokens").fill("49")
    page.get_by_role("button", name="Try", exact=True).click()
    says(page, "“short ones” takes it → gpt-4o-mini")
    in_every_look(edda, "tried-taken")

    page.goto(here)
    page.get_by_role("button", name="Keep as an example").click()
    page.get_by_label("Name").fill("the surprising one")
    page.get_by_role("button", name="Save").click()
    says(page, "“the surprising one” is kept.")
    edda.check()


def test_the_log_is_searched_by_everything_and_says_how_far_it_looked(
    org: Organization, visitor: Callable[[Any], Visitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    vera = visitor(a_person("vera", org, "viewer"))
    page = vera.visit(f"/admin/o/{org.slug}/logs/")
    in_every_look(vera, "logs")
    page.get_by_text("Route, status, time").click()
    page.get_by_label("Route that took it").select_option("short ones")
    page.get_by_label("Status").select_option("good")
    page.get_by_label("From (UTC)").fill("2026-05-01T00:00")
    page.get_by_role("button", name="Filter").click()
    assert page.locator("tbody tr").count() == 2
    assert page.get_by_label("Route that took it").is_visible(), "what narrows stays in sight"
    in_every_look(vera, "logs-narrowed")
    page.get_by_label("Until, not with it (UTC)").fill("2026-05-01T00:00")
    page.get_by_role("button", name="Filter").click()
    says(page, "No such request: the whole log of that time was looked at.")
    in_every_look(vera, "logs-nothing")
    page.get_by_role("link", name="Show all requests.").click()
    assert page.locator("tbody tr").count() == 32
    vera.visit(f"/admin/o/{org.slug}/logs/?route=nonsense")
    says(page, "Nothing was looked for.")
    in_every_look(vera, "logs-mistaken")
    monkeypatch.setattr("plans.logs.admin.look", partial(look, looked_at=20))
    vera.visit(f"/admin/o/{org.slug}/logs/?tag=surprising")
    says(page, "No such request so far.")
    in_every_look(vera, "logs-looked")
    page.get_by_role("link", name="Go on from there").click()
    page.get_by_role("link", name=ODD).click()
    says(page, "Without its text, which editors see.")
    assert page.get_by_role("button", name="Keep as an example").count() == 0
    vera.check()


def test_an_id_leads_from_the_palette_and_from_trying(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    vera = visitor(a_person("vera", org, "viewer"))
    page = vera.visit(f"/admin/o/{org.slug}/")
    page.keyboard.press("/")
    page.keyboard.type(ODD)
    page.get_by_role("option", name=ODD).wait_for()
    page.keyboard.press("Enter")
    says(page, "Then: “short ones” took it")
    vera.visit(f"/admin/o/{org.slug}/try/")
    in_every_look(vera, "try-empty")
    page.get_by_label("A request that was logged: its id").fill(ODD)
    page.get_by_role("button", name="Why did it go there?").click()
    says(page, "Then: “short ones” took it")
    vera.expected.add(404)
    vera.visit(f"/admin/o/{org.slug}/logs/request/?id={quote(HOSTILE)}")
    says(page, "No request with this id is in the log of this organisation.")
    in_every_look(vera, "logged-missing")
    page.get_by_label("Id of the request").fill("copy")
    page.keyboard.press("Enter")
    says(page, "Request copy")
    vera.check()


def test_what_is_doubtful_hostile_and_much_is_told_calmly(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    gone = a_route(org, HOSTILE, when={"tag_equals": HOSTILE})
    a_route(org, "vip", priority=5000, when={"headers": {"x-tier": ["gold"]}})
    traffic(
        org, 1, request_id=HOSTILE, tag=HOSTILE, metadata={HOSTILE: HOSTILE}, matched_route_id=gone.uid, reason="matched",
        decided_version=3, model=HOSTILE, provider=HOSTILE, synthetic=["tag", "input_tokens"], cluster_key="x" * 200,
    )  # fmt: skip
    many_routes(org, 300)
    delete_route(org, str(gone.uid), by=BY, expected_revision=gone.revision)
    vera = visitor(a_person("vera", org, "viewer"))
    page = vera.visit(f"/admin/o/{org.slug}/logs/request/?id={quote(HOSTILE)}")
    says(page, "it comes out otherwise than the log says.")
    says(page, "“vip” may have taken it: what it asks for is not in the log (request headers).")
    says(page, f"“{HOSTILE}”, which took it by the log, was deleted in version 5.")
    says(page, f"“{HOSTILE}”, which was deleted in version 5.")
    assert page.locator(".ra-steps > li").first.is_hidden(), "folded"
    in_every_look(vera, "logged-doubtful")
    page.locator("summary", has_text="Do not take it").click()
    assert page.locator(".ra-steps > li:visible").count() == 20
    page.get_by_role("link", name="Show all").first.click()
    page.locator("summary", has_text="Do not take it").click()
    assert page.locator(".ra-steps > li:visible").count() > 200
    vera.check()


def test_a_log_without_requests_says_how_to_get_some(visitor: Callable[[Any], Visitor]) -> None:
    org = an_org("empty")
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit("/admin/o/empty/logs/")
    says(page, "No requests yet.")
    in_every_look(edda, "logs-empty")
    page.get_by_role("link", name="import a file").click()
    says(page, "Import logs")
    edda.check()
