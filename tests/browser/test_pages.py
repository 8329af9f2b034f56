"""What people do on the pages, in a real browser: the main story, groups of conditions, long words, a phone."""

import os
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client

from plans.runs.worker import run_next
from routes.engine import Action
from routes.orgs.keys import create_key
from routes.orgs.members import add_member
from routes.orgs.models import Organization
from routes.orgs.services import create_organization
from routes.rules.models import Route
from routes.rules.services import set_default
from tests.browser.conftest import Visitor, add_condition, says
from tests.build import BY, a_person, a_plan, a_route, an_example, an_org, prices, projected, traffic, usual_prices

pytestmark = pytest.mark.django_db(transaction=True)
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
SHOTS = os.environ.get("SCREENSHOTS")


@pytest.fixture
def org() -> Organization:
    org = an_org(approval="plans", environment="production")
    usual_prices()
    prices(**{"gpt-4.1": ("2", "8")})
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


#: A route with something of everything.
RICH: dict[str, Any] = {
    "name": "nights and holidays",
    "priority": 40,
    "paused": True,
    "active_from": "2026-05-01T00:00:00.123456Z",
    "active_until": "2030-01-01T00:00:00.500000Z",
    "when": {
        "model_matches": ["gpt-*", "o?-*"],
        "input_tokens_gt": 0,
        "tag_equals": " batch ",
        "is_stream": False,
        "prompt_matches_any_of": [r"(?i)\bsalary\b", " x "],
        "estimated_cost_gt": 0.000000001,
        "estimated_cost_lt": 999999.999999999,
        "metadata": {"team": ["search", "ads, all", ' "x" '], "a = b": ["c"]},
        "headers": {"x-customer": ["acme"]},
        "numbers": {"budget_share": {"gt": 0.2, "lt": 0.8}, "5": {"gt": -1.5}},
        "time_window": {"days": ["mon", "tue", "fri"], "from": "22:00", "to": "06:00", "tz": "Europe/Berlin"},
        "any_of": [
            {"tag_equals": "a", "has_images": True},
            {"any_of": [{"has_audio": True}, {"not": {"has_documents": True}}]},
            {},
        ],
        "not": {"model_in": ["gpt-4o", " gpt-4o "]},
    },
    "then": {
        "split": [{"target_model": "gpt-4o", "weight": 90}, {"target_model": "gpt-4o-mini", "weight": 10}],
        "fallbacks": ["gpt-4.1"],
        "max_cost_usd": 0.000000001,
        "traffic_pct": 0,
        "shadow_model": "claude-haiku",
    },
    "meta": {
        "description": "Cheaper at night.",
        "owner": "platform",
        "labels": {"stage": "trial"},
        "link": "https://issues.example/7",
        "x-budget": {"monthly": 2.5e-7, "by": ["a", None]},
    },
}


TO_MINI = {"target_model": "gpt-4o-mini"}


LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
#: What is in order is neither described nor sent, which would take as long as finding it.
FINDINGS = """async ([only, where]) => {
    await Promise.all(document.getAnimations().map(each => each.finished)); // a colour on its way is none of ours
    const found = await axe.run(document.querySelector(where), {runOnly: only, resultTypes: ["violations"]});
    return found.violations.map(each => [each.id, each.nodes.map(node => node.html.slice(0, 150))]);
}"""
COLORS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}


def accessible(page: Any, only: Any = LEVELS, where: str = "html") -> None:
    """`only` `COLORS`, where nothing else changed since it was looked at; `where` it did."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE)
    assert page.evaluate(FINDINGS, [only, where]) == []


def shot(page: Any, name: str) -> None:
    if SHOTS:
        page.screenshot(path=str(Path(SHOTS) / f"{name}.png"), full_page=True)


def test_roles_are_changed_and_keys_revoked_on_a_phone(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    ada = a_person("ada", org, "admin")
    a_person("a.person.with.a.long.name@company.example", org, "approver")
    create_key(org, name="dashboard", role="viewer", by=ada)
    someone = visitor(ada)
    page = someone.visit(f"/admin/o/{org.slug}/access/")
    shot(page, "access-filled")
    accessible(page)
    for width in (390, 360):
        page.set_viewport_size({"width": width, "height": 800})
        someone.check()
        shot(page, f"access-filled-{width}")
        buttons = [
            *page.get_by_role("button", name="Change", exact=True).all(),
            *page.get_by_role("link", name=re.compile("^(Remove|Revoke) ")).all(),
        ]
        assert len(buttons) == 5
        for button in buttons:
            box = button.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= width, "without scrolling sideways"
            assert box["height"] < 45, "one line"
        key = page.locator("td .mono.whole").bounding_box()
        assert key is not None
        assert key["height"] < 60, "two lines"
    assert [each.inner_text() for each in page.get_by_role("heading", level=3).all()] == ["Add a member", "Make a key"]
    page.set_viewport_size({"width": 390, "height": 800})
    page.get_by_role("link", name="Revoke “dashboard”").click()
    says(page, "It cannot be brought back; to replace it, make another one first.")
    accessible(page)
    someone.check()
    shot(page, "key-revoke-390")
    page.get_by_role("button", name="Revoke “dashboard”").click()
    page.get_by_text("“dashboard” does not work any more.").wait_for()
    page.get_by_role("link", name="Remove a.person.with.a.long.name@company.example").click()
    says(page, "can neither see nor change anything of Acme then.")
    someone.check()
    page.get_by_role("button", name="Remove a.person.with.a.long.name@company.example").click()
    says(page, "has no role here any more.")
    someone.check()


def test_installation_staff_make_a_key_for_gateways_of_all(visitor: Callable[[Any], Visitor]) -> None:
    staff = visitor(a_person("root", is_superuser=True))
    page = staff.visit("/admin/")
    accessible(page)
    page.get_by_role("link", name="Keys of gateways for all organisations").click()
    page.get_by_label("Name").fill("edge")
    page.get_by_role("button", name="Make a key").click()
    assert page.locator("#new-key").inner_text().startswith("rk_gateway_")
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        staff.check()
        accessible(page, LEVELS if scheme == "light" else COLORS)
        shot(page, f"installation-keys-{scheme}-{width}")
    page.get_by_role("link", name="Revoke “edge”").click()
    accessible(page)
    page.get_by_role("button", name="Revoke “edge”").click()
    page.get_by_text("“edge” does not work any more.").wait_for()
    staff.check()
    person = a_person("ada")
    AccessAttempt.objects.create(username="ada", ip_address="203.0.113.9", failures_since_start=5)
    people = "/admin/auth/user/"
    pages = {
        "people": people, "person-new": f"{people}add/", "person": f"{people}{person.pk}/change/",
        "installation-audit": "/admin/audit/",
    }  # fmt: skip
    for name, path in pages.items():
        page = staff.visit(path)
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            staff.check()
            shot(page, f"{name}-{width}")
        accessible(page)


def test_long_words_make_no_page_wider_than_the_window(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    long = "m" * 512
    when = {"tag_equals": long, "metadata": {long: [long]}, "any_of": [{"model_in": [long]}]}
    meta = {"owner": long, "labels": {long: long}}
    row = a_route(org, "n" * 200, when=when, then={"target_model": long, "fallbacks": ["f" * 512]}, meta=meta)
    set_default(org, Action(long), by=BY)
    an_example(org, "n" * 200, request={"context": {"tag": long}}, expected={"route": "n" * 200, "target_model": long})
    edda = visitor(a_person("edda", org, "editor"))
    for width in (1280, 390):
        for path in (
            "routes/",
            f"routes/{row.uid}/",
            f"routes/{row.uid}/delete/",
            "routes/default/",
            "examples/",
            "try/",
        ):
            page = edda.visit(f"/admin/o/{org.slug}/{path}")
            page.set_viewport_size({"width": width, "height": 800})
            edda.check()
        page.get_by_label("Requested model").fill(long)
        page.get_by_role("button", name="Try").click()
        page.locator(".ra-explained").wait_for()
        edda.check()


def test_every_figure_of_a_plan_is_in_sight_and_no_condition_is_broken(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    when = {"input_tokens_gt": 1000, "metadata": {"team": ["a"]}, "upstream_latency_ms_p95_gt": 5}
    routes = [{"name": name, "when": when, "then": TO_MINI} for name in ("long ones of a team", "m" * 150)]
    plan = projected(a_plan(org, routes=routes))
    someone = visitor(a_person("vera", org, "viewer"))
    for width in (1280, 390):
        for path in (f"plans/{plan.pk}/", "plans/"):
            page = someone.visit(f"/admin/o/{org.slug}/{path}")
            page.set_viewport_size({"width": width, "height": 800})
            cells = page.locator(".stacked td").all()
            assert len(cells) > 4
            assert max(box["x"] + box["width"] for cell in cells if (box := cell.bounding_box())) <= width
            for condition in page.locator("td.mono").all():
                assert condition.bounding_box()["height"] < 60, f"{condition.inner_text()} is broken into lines"
            someone.check()


def test_from_the_first_route_to_a_reverted_plan(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda, arno = visitor(a_person("edda", org, "editor")), visitor(a_person("arno", org, "approver"))
    base = f"/admin/o/{org.slug}/"

    # A route, with a mistake that the message alone explains.
    page = edda.visit(base + "routes/new/")
    page.get_by_label("Name").fill("long ones")
    add_condition(page, "Input tokens").get_by_label("Fewer than").fill("50000")
    page.get_by_label("Send to model").fill("gpt-4.1")
    page.get_by_label("If that fails, try").fill("gpt-4.1")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "Not saved.")
    assert page.locator(".has-error").count() == 1
    shot(page, "route-refused")
    page.get_by_role("button", name="Remove gpt-4.1").click()
    page.get_by_label("If that fails, try").fill("gpt-4o")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "“long ones” is live as version 3.")
    says(page, "fewer than 50,000 input tokens")
    edda.check()

    # Why did this request go there?
    page = edda.visit(base + "try/")
    page.get_by_label("Requested model").fill("gpt-4o")
    page.get_by_label("Input tokens").fill("999")
    page.get_by_role("button", name="Try").click()
    says(page, "“short ones” takes it → gpt-4o-mini")
    shot(page, "try-answer")
    edda.check()

    # A plan, made as it is offered.
    page = edda.visit(base + "plans/new/json/")
    page.get_by_label("Name").fill("cheaper")
    page.get_by_label("Proposed routes").fill(
        '[{"name": "all to mini", "priority": 900, "then": {"target_model": "gpt-4o-mini"}}]'
    )
    page.get_by_role("button", name="Start the replay").click()
    says(page, "Waiting for the worker")
    shot(page, "plan-waiting")
    run_next()
    page.get_by_text("Saves $").first.wait_for(timeout=5_000)  # the page looks again by itself
    says(page, "Somebody else has to approve")
    assert page.get_by_role("link", name="Approve").count() == 0
    url = page.url.removeprefix(edda.base)
    edda.check()

    page = arno.visit(url)
    page.get_by_role("link", name="Approve …").click()
    page.get_by_role("button", name="Approve").click()
    page.get_by_role("link", name="Apply …").click()
    page.get_by_role("button", name="Apply: 1 route added").click()
    says(page, "Live as version 4. Audit receipt")
    shot(page, "plan-applied")
    page.get_by_role("link", name="Revert …").click()
    page.get_by_role("button", name="Revert").click()
    says(page, "Reverted: version 5 is live.")
    page = arno.visit(base + "audit/")
    page.get_by_role("button", name="Verify").click()
    says(page, "Verified:")
    shot(page, "audit-verified")
    arno.check()


def test_a_browser_that_opens_and_saves_a_route_changes_nothing(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    rich = a_route(org, **RICH)
    was = rich.as_document()
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/{rich.uid}/")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "Nothing was different.")
    rich.refresh_from_db()
    assert rich.as_document() == was
    edda.check()


def test_groups_are_added_and_removed_and_an_action_shows_what_belongs_to_it(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    page.get_by_label("Name").fill("careful")
    add = page.get_by_role("button", name="Add an alternative")
    for _ in range(3):
        add.click()
    groups = page.locator("fieldset.group")
    add_condition(groups.nth(0), "Tag is").get_by_label("Tag is").fill("a")
    add_condition(groups.nth(1), "Tag is").get_by_label("Tag is").fill("gone")
    groups.nth(1).get_by_role("button", name="Remove this group").click()
    add_condition(groups.nth(1), "Input tokens").get_by_label("Fewer than").fill("9")
    page.get_by_role("button", name="Add an exception").click()
    assert page.get_by_role("button", name="Add an exception").count() == 0, "there is one at most"
    models = add_condition(groups.nth(2), "Requested model is one of").get_by_label(
        "Requested model is one of", exact=True
    )
    for _ in range(2):
        models.fill("gpt-4o")
        models.press("Enter")
    page.get_by_label("Send to model").fill("left behind")
    page.get_by_label("What happens to them").select_option("refuse")
    assert page.get_by_label("Send to model").is_hidden()
    page.get_by_label("HTTP status").fill("403")
    page.get_by_label("Code").fill("not_allowed")
    accessible(page)
    page.get_by_role("button", name="Save and publish").click()

    says(page, "no. 2: 'gpt-4o' is in the list twice.")
    assert page.locator(".has-error").count() == 2
    shot(page, "route-groups-refused")
    accessible(page)
    groups.nth(2).get_by_role("button", name="Remove gpt-4o").last.click()
    page.get_by_label("Message").fill("Ask your admin.")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "(tag is a or fewer than 9 input tokens) and not (model is gpt-4o)")
    says(page, "→ refused with 403 not_allowed: “Ask your admin.”")
    edda.check()


def test_a_route_with_as_many_alternatives_as_it_may_have_can_be_edited(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    row = a_route(org, "many", when={"any_of": [{"tag_equals": str(number)} for number in range(64)]})
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/{row.uid}/")
    page.get_by_label("Priority").fill("7")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "“many” is live as version 4.")
    row.refresh_from_db()
    assert (row.priority, [group["tag_equals"] for group in row.conditions["any_of"]]) == (7, [*map(str, range(64))])
    edda.check()


def test_without_scripts_a_group_is_removed_by_its_checkbox(org: Organization, browser: Any, live_server: Any) -> None:
    row = a_route(
        org, "grouped", when={"any_of": [{"tag_equals": "a"}, {"tag_equals": "b"}], "not": {"tag_equals": "c"}}
    )
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/admin/o/{org.slug}/routes/{row.uid}/")
    assert page.get_by_role("button", name="Add an alternative").count() == 0
    page.get_by_label("Remove this group when saving").first.check()
    page.get_by_label("If that fails, try").fill("gpt-4.1")
    page.get_by_role("button", name="Save and publish").click()
    row.refresh_from_db()
    assert row.conditions["any_of"] == [{**row.conditions["any_of"][0], "tag_equals": "b"}]
    assert row.conditions["not"]["tag_equals"] == "c"
    assert row.target["fallbacks"] == ["gpt-4.1"]
    context.close()


def test_what_happens_to_the_rest_is_chosen_on_the_page_of_routes(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/")
    says(page, "What happens to requests that no route takes: unchanged")
    page.get_by_role("link", name="Change").click()
    page.get_by_label("What happens to them").select_option("send")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "Name the model.")
    page.get_by_label("Send to model").fill("gpt-4o-mini")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "What happens to requests that no route takes: gpt-4o-mini")
    page.get_by_role("link", name="Change").click()
    page.get_by_label("What happens to them").select_option("")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "What happens to requests that no route takes: unchanged")
    edda.check()


def test_trying_a_request_shows_nested_conditions_and_takes_every_fact(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    a_route(org, **{**RICH, "paused": False})
    edda = visitor(a_person("edda", org, "viewer"))
    page = edda.visit(f"/admin/o/{org.slug}/try/")
    page.get_by_label("Requested model").fill("gpt-5")
    page.get_by_label("Tag", exact=True).fill("a")
    page.get_by_label("Time of the request (UTC)").fill("2026-06-01T21:30")
    page.get_by_text("More facts").click()
    page.get_by_label("Metadata", exact=True).fill("team = search\na = b = c")
    page.get_by_label("Request headers").fill("x-customer = acme")
    page.get_by_label("The gateway's own figures").fill("budget_share = 0.5")
    page.get_by_role("button", name="Try").click()
    says(page, "No route takes it: it passes unchanged → gpt-5")
    says(page, "Time is between 22:00 and 06:00 (Europe/Berlin) beginning on Mon, Tue, Fri; seen 2026-06-01 21:30 UTC")
    assert page.locator(".tree .tree .tree li").count() > 2
    accessible(page)
    shot(page, "try-nested")
    page.get_by_label("Ask for a route by name").select_option("nights and holidays")
    page.get_by_role("button", name="Try").click()
    says(page, "“nights and holidays” was asked for by name → gpt-4o")
    page.get_by_label("Request headers").fill("nonsense")
    page.get_by_role("button", name="Try").click()
    says(page, "There is no = in it.")
    edda.check()


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
    says(second, "last changed at version 3")
    assert second.get_by_label("Priority").input_value() == "7", "one's own input is still there"
    second.get_by_role("button", name="Save and publish").click()
    says(second, "is live as version")
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
    says(page, "Name and password do not fit")
    page.get_by_label("Username").fill("edda")
    page.get_by_label("Password").fill("correct horse battery")
    page.get_by_role("button", name="Log in").click()
    says(page, "Acme")
    shot(page, "signed-in")
    page.close()


def test_a_name_of_an_organisation_is_whole_where_there_is_room_and_in_two_lines_else(
    visitor: Callable[[Any], Visitor],
) -> None:
    ada = a_person("ada")
    words = "The Amalgamated Laboratories of Northern Hemisphere Research"
    for slug, name in (("beta", "Beta Labs"), ("long", words)):
        org = create_organization(slug=slug, name=name, environment="staging-in-the-north", by=BY)
        add_member(org, ada, role="viewer", by=BY)
    someone = visitor(ada)
    for slug in ("beta", "long"):
        page = someone.visit(f"/admin/o/{slug}/")
        name = page.locator(".ra-org .ra-name")
        for width in (1280, 390):
            page.set_viewport_size({"width": width, "height": 900})
            someone.check()
            shot(page, f"name-{slug}-{width}")
            if slug == "beta":
                assert name.evaluate(
                    "one => one.scrollHeight <= one.clientHeight && one.scrollWidth <= one.clientWidth"
                )
            else:
                box = name.bounding_box()
                assert box is not None
                assert box["width"] > 100, "it can be read"
                assert box["height"] < 45, "two lines"
                assert name.get_attribute("title") == words
