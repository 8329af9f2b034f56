"""Plans in a real browser: made without JSON, watched, decided by two people, by keyboard alone; however much there is."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from plans.logs.models import RequestLog
from plans.runs import services as plans
from plans.runs.models import PlanRun, State
from plans.runs.worker import run_next
from routes.document import document_of
from routes.orgs.models import Organization
from tests.browser.conftest import Visitor, says
from tests.browser.test_pages import COLORS, accessible, shot
from tests.build import BY, a_person, a_plan, a_route, an_org, many_routes, projected, traffic, usual_prices
from tests.paths import shared

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    org = an_org(approval="plans", environment="production")
    usual_prices()
    traffic(org, 400, clusters=40, latency_ms=700)
    a_route(org, "short ones", when={"input_tokens_lt": 100})
    return org


class Keys:
    """Somebody without a mouse: goes from one thing to the next until the one that is named has the focus."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def to(self, name: str) -> "Keys":
        """The next link, button or field that is called so; it must be seen to have the focus."""
        for _ in range(150):
            self.page.keyboard.press("Tab")
            found = self.page.evaluate(
                """() => { const one = document.activeElement; if (!one || one === document.body) return ["", true];
                const label = one.labels?.[0]?.innerText ?? one.getAttribute("aria-label") ?? one.innerText ?? "";
                const style = getComputedStyle(one);
                return [label.trim(), style.outlineStyle !== "none" || style.boxShadow !== "none"
                    || style.borderStyle !== "none"]; }"""
            )
            if found[0].startswith(name):
                assert found[1], f"{name} does not show that it has the focus"
                return self
        raise AssertionError(f"There is no way to “{name}” by keyboard")

    def press(self, key: str = "Enter") -> "Keys":
        self.page.keyboard.press(key)
        return self

    def write(self, text: str) -> "Keys":
        self.page.keyboard.press("Control+A")
        self.page.keyboard.type(text)
        return self


def test_a_plan_from_a_copy_of_today_to_applied_and_reverted_by_keyboard_alone(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda, arno = visitor(a_person("edda", org, "editor")), visitor(a_person("arno", org, "approver"))
    base = f"/admin/o/{org.slug}/"
    keys = Keys(edda.visit(base + "plans/"))
    keys.to("New plan").press()
    keys.page.wait_for_url("**/plans/new/")
    keys.to("Name").write("cheaper").to("Begin with a copy").press()
    says(keys.page, "1. Routes: no route changes")
    says(keys.page, "fewer than 100 input tokens → gpt-4o-mini")
    keys.to("Edit short ones").press()
    says(keys.page, "This is the plan's copy")
    keys.to("Fewer than").write("20000").to("Keep in the plan").press()
    says(keys.page, "1. Routes: 1 route changed")
    assert document_of(org).content["routes"][0]["when"]["input_tokens_lt"] == 100
    shot(keys.page, "plan-draft-changed")
    keys.page.get_by_text("400 requests").first.wait_for()  # counted after the page
    keys.to("Start the replay").press()
    says(keys.page, "Waiting for the worker")
    keys.page.evaluate("window.isTheSamePage = true")
    run_next()
    keys.page.locator(".plan-lead").wait_for(timeout=15_000)
    assert keys.page.evaluate("window.isTheSamePage"), "the answer comes in place"
    says(keys.page, "Somebody else has to approve")
    says(keys.page, re.compile(r"Saves \$.* in 6.7 hours"))
    shot(keys.page, "plan-answered")
    where = keys.page.url.removeprefix(edda.base)
    edda.check()

    keys = Keys(arno.visit(base + "plans/"))
    says(keys.page, "you")
    keys.to("cheaper").press()
    says(keys.page, "What would change")
    keys.to("Approve …").press()
    says(keys.page, "Nothing goes live: it may be applied from then on.")
    keys.to("Approve").press()
    says(keys.page, "Approved by arno")
    keys.to("Apply …").press()
    says(keys.page, "2 → 3" if document_of(org).version == 2 else "→")
    says(keys.page, "requests an hour are served otherwise")
    shot(keys.page, "plan-apply")
    keys.to("Apply: 1 route changed").press()
    says(keys.page, "Audit receipt: entry")
    says(keys.page, "Live since version")
    says(keys.page, "No gateway has reported itself")
    keys.to("Revert …").press()
    says(keys.page, "1 route changed")
    keys.to("Revert").press()
    says(keys.page, "Taken back by version")
    arno.check()

    keys = Keys(edda.visit(base + "plans/"))
    says(keys.page, "cheaper was reverted by arno")
    shot(keys.page, "plans-news")
    keys.to("I have seen this").press()
    keys.page.locator(".plan-news").wait_for(state="detached")
    page = edda.visit(where)
    entry = page.locator(".plan-timeline a").last
    entry.click()
    assert page.locator("tbody tr").first.inner_text().count("plan.reverted") == 1
    edda.check()


def test_charts_are_clean_light_dark_and_on_a_phone(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    plan = projected(a_plan(org))
    ada = visitor(a_person("ada", org, "admin"))
    page = ada.visit(f"/admin/o/{org.slug}/plans/{plan.pk}/")
    assert page.locator("svg.chart:visible").count() == 4
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            accessible(page, COLORS if scheme == "dark" else ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"])
            shot(page, f"plan-charts-{width}-{scheme}")
        ada.check()
        assert page.locator("svg.chart:visible").count() == 4, "one of the two of each"
        sizes = page.evaluate(
            """() => [...document.querySelectorAll("svg.chart text")].filter(one => one.getClientRects().length)
            .map(one => parseFloat(getComputedStyle(one).fontSize) * one.getScreenCTM().a)"""
        )
        assert min(sizes) >= 10, "readable"
        assert page.locator(".plan-panel a, .plan-panel button").count() > 3
        inside = page.evaluate(
            """() => [...document.querySelectorAll("svg.chart")].filter(one => one.getClientRects().length).flatMap(svg =>
            [...svg.querySelectorAll("text")].filter(text => {
                const a = text.getBoundingClientRect(), b = svg.getBoundingClientRect();
                return a.left < b.left - 2 || a.right > b.right + 2; }).map(text => text.textContent))"""
        )
        assert inside == [], "nothing is cut off at the sides"


def test_progress_pauses_while_nobody_looks_and_tells_when_the_server_is_away(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    plan = a_plan(org)
    plans.project(plan, by=BY)
    ada = visitor(a_person("ada", org, "editor"))
    page = ada.visit(f"/admin/o/{org.slug}/plans/{plan.pk}/")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/progress/" in request.url else None)
    fields = {"state": "running", "phase": "projection", "rows_total": 1_000, "rows_done": 500, "rows_per_second": 100}
    PlanRun.objects.filter(pk=plan.pk).update(**fields)
    says(page, "500 of 1,000 requests, 100 a second, about 5 s left")
    assert page.locator("[aria-live=polite]").inner_text() == "Step 2 of 3: Replaying requests, 50% done"
    page.evaluate(
        "Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
        "document.dispatchEvent(new Event('visibilitychange'))"
    )
    page.wait_for_timeout(300)
    before = len(asked)
    page.wait_for_timeout(2_500)
    assert len(asked) == before, "nobody looks"
    page.route("**/progress/", lambda route: route.abort())
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    says(page, "The server did not answer. Looking again in 2 s.")
    says(page, "Looking again in 4 s.")
    page.unroute("**/progress/")
    plans.cancel(PlanRun.objects.get(pk=plan.pk), by=BY)
    says(page, "Cancelled")
    before = len(asked)
    page.wait_for_timeout(2_500)
    assert len(asked) == before, "it stops by itself"
    ada.complaints = [text for text in ada.complaints if "net::ERR_FAILED" not in text]
    ada.check()


def test_hostile_names_are_shown_and_never_executed(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    listed = json.loads(shared("vectors/naughty-strings.json").read_text(encoding="utf-8"))
    names = [name for name in listed if name.strip() == name and name.isprintable() and 0 < len(name) < 150]
    names = list(dict.fromkeys(name for name in names if "<" in name or "'" in name or '"' in name))[:40]
    routes = [
        {"name": name, "priority": 100 + n, "when": {"input_tokens_lt": 1 + 999 * n}, "then": {"target_model": name}}
        for n, name in enumerate(names)
    ]
    RequestLog.objects.of(org).filter(request_id="r1").update(model=names[0], requested_model=names[0])
    plan = projected(a_plan(org, name=names[0], note=names[1], routes=routes))
    draft = a_plan(org, name=names[2], routes=routes)
    ada = visitor(a_person("ada", org, "admin"))
    ada.page.add_init_script("window.alert = window.prompt = window.confirm = () => { window.wasExecuted = true; }")
    for path in ("", f"{plan.pk}/", f"{plan.pk}/approve/", f"{draft.pk}/", f"?q={'%3Cscript%3E'}"):
        page = ada.visit(f"/admin/o/{org.slug}/plans/{path}")
        assert page.evaluate("window.wasExecuted") is None
        ada.check()
    page = ada.visit(f"/admin/o/{org.slug}/plans/{draft.pk}/")
    page.set_viewport_size({"width": 390, "height": 900})
    for button in page.get_by_role("button", name=re.compile("^Remove")).all()[:3]:
        box = button.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= 358, "inside the card, without scrolling sideways"
    ada.check()
    page.set_viewport_size({"width": 1280, "height": 900})
    text = page.locator("main").inner_text()
    for name in names[:20]:
        assert " ".join(name.split()) in " ".join(text.split())


def test_a_plan_of_a_thousand_routes_is_shown_in_part_and_whole_where_that_is_asked_for(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    many_routes(org, 999)
    today = document_of(org).content["routes"]
    plan = projected(a_plan(org, routes=[{**route, "then": {"target_model": "gpt-4o-mini"}} for route in today]))
    ada = visitor(a_person("ada", org, "editor"))
    page = ada.visit(f"/admin/o/{org.slug}/plans/{plan.pk}/")
    first_byte = page.evaluate("performance.getEntriesByType('navigation')[0].responseStart")
    assert first_byte < 1_500, "a browser, a server and a database share two slow cores"
    assert page.locator("tbody tr").count() < 250
    page.get_by_text("Saved by route: the numbers").click()
    page.get_by_role("link", name=re.compile("Show all 1,00")).first.click()
    assert page.locator("details[open] tbody tr").first.is_visible(), "what was asked for is not folded away"
    page.wait_for_load_state()
    assert page.locator("tbody tr").count() >= 1_000
    ada.check()
    assert plan.state == State.PROJECTED
