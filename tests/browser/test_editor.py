"""The editor in a real browser: by keyboard alone, mended from its messages alone, by two people at once, hostile text."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from plans.logs.models import RequestLog
from plans.matching import services as matching
from routes import engine
from routes.document import document_of
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.rules.services import update_route
from tests.browser.conftest import Visitor, add_condition, says
from tests.browser.test_pages import COLORS, LEVELS, RICH, accessible, shot
from tests.build import BY, a_person, a_route, an_org, traffic, usual_prices
from tests.paths import shared

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def org() -> Organization:
    matching._kept.clear()
    org = an_org(environment="production")
    usual_prices()
    return org


def when(org: Organization) -> Any:
    return [route["when"] for route in document_of(org).content["routes"]]


def panel(page: Any) -> Any:
    return page.get_by_role("complementary", name="Preview")


def panel_says(page: Any, text: Any) -> None:
    from playwright.sync_api import expect

    expect(panel(page)).to_contain_text(text, use_inner_text=True, timeout=30_000)


def test_the_first_route_is_made_by_keyboard_alone(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    keys = page.keyboard

    def tab_to(words: str, *, back: bool = False) -> None:
        for _ in range(60):
            keys.press("Shift+Tab" if back else "Tab")
            here = "(e => (e.labels?.[0] ?? e).textContent + ' ' + (e.name ?? ''))(document.activeElement)"
            if words in page.evaluate(here):
                return
        raise AssertionError(f"{words} is not reached")

    page.get_by_label("Name").focus()
    keys.type("short ones")
    tab_to("Add a condition")
    keys.press("Enter")
    keys.press("ArrowDown")
    keys.press("ArrowUp")
    keys.press("Enter")
    keys.type("gpt-4")
    keys.press("ArrowDown")  # into the list of the price table
    keys.press("Escape")
    keys.type("o")
    keys.press("Enter")
    says(page, "$2.50 in, $10.00 out per 1M tokens")
    tab_to("Add a condition")
    keys.press("ArrowDown")
    keys.type("inp")
    keys.press("Enter")
    keys.press("Tab")
    keys.type("1000")
    tab_to("Add a condition")
    keys.press("Enter")
    keys.type("tag")
    keys.press("Enter")
    tab_to("Remove: Tag is")
    keys.press("Enter")
    here = "document.activeElement.tagName + document.activeElement.textContent"
    assert page.evaluate(here) == "BUTTON× Remove: Input tokens", "the focus is not lost"
    tab_to("Add an exception")
    keys.press("Enter")
    assert page.evaluate("document.activeElement.textContent") == "Add a condition"
    keys.press("Enter")
    keys.type("has to")
    keys.press("Enter")
    keys.press("Escape")
    tab_to("Send to model")
    keys.type("gpt-4o-mini")
    says(page, "gpt-4o-mini: $0.15 in, $0.60 out per 1M tokens")
    panel_says(page, "model is gpt-4o and fewer than 1,000 input tokens and not (has tools) → gpt-4o-mini")
    panel_says(page, "It can be saved.")
    assert Route.objects.count() == 0
    shot(page, "editor-by-keyboard")
    tab_to("Save and publish")
    keys.press("Enter")
    says(page, "“short ones” is live as version 1.")
    (found,) = when(org)
    assert (found["model_in"], found["input_tokens_lt"], found["tag_equals"]) == (["gpt-4o"], 1000, None)
    assert found["not"]["has_tools"] is True
    edda.check()


def test_enter_in_a_field_publishes_nothing_and_with_ctrl_it_does(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    page.get_by_label("Name").fill("half written")
    target = page.get_by_label("Send to model")
    target.fill("gpt-4o-mini")
    add_condition(page, "Tag is").get_by_label("Tag is").fill("a")
    for field in (page.get_by_label("Name"), page.get_by_label("Tag is", exact=True), target):
        field.press("Enter")
    panel_says(page, "It can be saved.")
    assert Route.objects.count() == 0
    target.press("Control+Enter")
    says(page, "“half written” is live as version 1.")
    edda.check()


def test_models_are_written_with_commas_too(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    page.get_by_label("Name").fill("several")
    page.get_by_label("Send to model").fill("gpt-4o-mini")
    models = add_condition(page, "Requested model is one of").get_by_label("Requested model is one of", exact=True)
    models.fill("gpt-4o, gpt-4.1 ,")
    models.press("Enter")
    assert page.locator(".chip-text").all_inner_texts() == ["gpt-4o", "gpt-4.1"]
    models.fill("claude-haiku-4-5,gpt-4o-mini")
    panel_says(page, "model is gpt-4o, gpt-4.1, claude-haiku-4-5 or gpt-4o-mini → gpt-4o-mini")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "is live as version 1.")
    (found,) = when(org)
    assert found["model_in"] == ["gpt-4o", "gpt-4.1", "claude-haiku-4-5", "gpt-4o-mini"]
    edda.check()


def test_a_split_is_written_in_rows_that_say_each_share(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    page = visitor(a_person("edda", org, "editor")).visit(f"/admin/o/{org.slug}/routes/new/")
    page.get_by_label("Name").fill("halves")
    page.get_by_label("What happens to them").select_option("split")
    rows = page.get_by_role("group", name="Models and weights")
    for number, (model, weight) in enumerate((("gpt-4o", "90"), ("a=b", "30"), ("gpt-4o-mini", "x")), start=1):
        if number == 3:
            rows.get_by_role("button", name="Add a model").click()
            assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Model 3"
        rows.get_by_label(f"Model {number}", exact=True).fill(model)
        rows.get_by_label(f"Weight of model {number}").fill(weight)
    panel_says(page, "“x” is not a number.")
    accessible(page)
    page.get_by_role("button", name="Save and publish").click()
    # What was sent comes back in rows, and is put right there.
    page.get_by_role("main").get_by_role("link", name="Models and weights").click()
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Model 1"
    assert rows.get_by_label("Weight of model 3").input_value() == "x"
    rows.get_by_role("button", name="Remove model 3").click()
    assert [each.inner_text() for each in rows.locator(".arms-share").all()] == ["75%", "25%"]
    shot(page, "split")
    accessible(page)
    page.get_by_role("button", name="Save and publish").click()
    page.get_by_role("button", name="Publish nevertheless").click()  # nobody knows the model a=b
    assert document_of(org).content["routes"][0]["then"] == {
        "split": [{"target_model": "gpt-4o", "weight": 90}, {"target_model": "a=b", "weight": 30}]
    }


def test_what_is_wrong_is_put_right_from_the_messages_alone(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    from playwright.sync_api import expect

    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    add_condition(page, "Tag is")
    add_condition(page, "Input tokens").get_by_label("Fewer than").press_sequentially("e1")
    page.get_by_role("button", name="Add an alternative").click()
    add_condition(page.locator("fieldset.group"), "Request headers").locator("textarea").fill("X Customer")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "5 things to put right:")
    summary = page.locator("[data-mistakes]")
    assert page.evaluate("document.activeElement.textContent").strip().startswith("Not saved.")
    links = [each.inner_text() for each in summary.get_by_role("link").all()]
    assert links == ["Name", "Input tokens: fewer than", "Tag is", "Alternative 1: Request headers", "Send to model"]
    unlike = """[...document.querySelectorAll("[aria-invalid=true]")].filter((one) => {
        const told = getComputedStyle(one.closest(".field").querySelector(".errorlist li")).color;
        return getComputedStyle(one).borderTopColor !== told;
    }).map((one) => one.name)"""
    assert page.evaluate(unlike) == [], "what is wrong has the colour of what is said of it"
    assert page.locator("[aria-invalid=true]").count() == 5
    accessible(page)
    shot(page, "editor-refused")
    answers = {
        "Name": "eu", "Tag is": "a", "Input tokens: fewer than": "5", "Send to model": "gpt-4o-mini",
        "Alternative 1: Request headers": "x-customer = acme",
    }  # fmt: skip
    for label, text in answers.items():
        summary.get_by_role("link", name=label, exact=True).click()
        page.keyboard.press("Control+A")
        page.keyboard.type(text)
        expect(summary.get_by_role("link", name=label, exact=True)).to_be_hidden(timeout=30_000)
    says(page, "All of it is put right: save again.")
    expect(page.locator(".has-error")).to_have_count(0)
    panel_says(page, "It can be saved.")
    shot(page, "editor-put-right")
    page.get_by_label("Send to model").fill(" ")
    expect(summary.get_by_role("link", name="Send to model", exact=True)).to_be_visible(timeout=30_000)
    expect(page.locator(".has-error")).to_have_count(1)
    page.get_by_label("Send to model").fill("gpt-4o-mini")
    panel_says(page, "It can be saved.")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "“eu” is live as version 1.")
    (found,) = when(org)
    assert (found["tag_equals"], found["input_tokens_lt"]) == ("a", 5)
    assert found["any_of"][0]["headers"] == {"x-customer": ["acme"]}
    edda.check()


def test_a_route_that_would_be_of_no_use_is_asked_about_before_it_goes_live(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    page.get_by_label("Name").fill("never")
    page.get_by_label("Send to model").fill("gpt-5000")
    row = add_condition(page, "Input tokens")
    row.get_by_label("More than").fill("10")
    row.get_by_label("Fewer than").fill("10")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "Route 'never' never matches")
    assert page.evaluate("document.activeElement.textContent").strip().startswith("Not saved yet.")
    assert not Route.objects.exists()
    for scheme, width in (("light", 1280), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        accessible(page, LEVELS if scheme == "light" else COLORS)
        shot(page, f"editor-doubts-{scheme}-{width}")
    page.get_by_role("button", name="Publish nevertheless").click()
    says(page, "“never” is live as version 1.")
    edda.check()


def test_a_time_that_is_written_by_half_is_not_left_out_in_silence(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    page.get_by_label("Name").fill("late")
    page.get_by_label("Send to model").fill("m")
    page.get_by_text("Only for some time").click()
    page.get_by_label("Active until").focus()
    page.keyboard.type("0502")
    panel_says(page, "Active until (UTC): Write a day and a time of it")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "Active until (UTC): Write a day and a time of it")
    assert not Route.objects.exists()
    edda.check()


def test_the_panel_says_while_typing_what_is_said_findings_and_how_many_match(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    traffic(org)
    a_route(org, "all of them", priority=900, when={"input_tokens_lt": 2050})
    RequestLog.objects.update(matched_route_id=Route.objects.get().uid)
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    page.get_by_label("Name").fill("late")
    panel_says(page, "1 thing to put right before it can be saved")
    panel(page).get_by_role("link", name="Send to model").click()
    page.keyboard.type("gpt-4o-mini")
    row = add_condition(page, "Input tokens")
    row.get_by_label("Fewer than").fill("1050")
    panel_says(page, "fewer than 1,050 input tokens → gpt-4o-mini")
    panel_says(page, "is never reached: 'all of them', asked before, takes every request")
    panel_says(
        page, "10 of all 40 requests of the week until 2026-05-01 match (25.0%). All of them are taken by routes above."
    )
    shot(page, "editor-preview")
    for scheme, width in (("light", 1280), ("dark", 1280), ("light", 390), ("dark", 390)):
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width, "height": 800})
        page.get_by_role("button", name="Add a condition").click()
        accessible(page, LEVELS if (scheme, width) == ("light", 1280) else COLORS)
        edda.check()
        shot(page, f"editor-menu-{scheme}-{width}")
        page.keyboard.press("Escape")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_label("Priority").fill("901")
    panel_says(page, "10 of all 40 requests of the week until 2026-05-01 match (25.0%).")
    row.get_by_role("button", name="Remove").click()
    says(page, "Any request.")
    panel_says(page, "Route 'all of them' is never reached")
    edda.check()


def test_json_is_shown_pasted_and_used(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    page.get_by_label("Name").fill("typed")
    page.get_by_label("Send to model").fill("m")
    page.get_by_role("tab", name="In words").press("ArrowRight")
    text = page.get_by_label("JSON of this route")
    from playwright.sync_api import expect

    expect(text).to_have_value(
        json.dumps(engine.NewRoute("typed", engine.Action("m")).to_dict(), indent=2), timeout=30_000
    )
    accessible(page)
    text.fill("{")
    says(page, "You changed the JSON. Use it, or put it back, before you save.")
    accessible(page, COLORS)
    page.get_by_role("button", name="Use this", exact=True).click()
    says(page, "The JSON was not used: all is as you typed it.")
    assert page.get_by_label("Name").input_value() == "typed"
    assert text.input_value() == "{"
    accessible(page)
    shot(page, "editor-json-refused")
    text.fill(json.dumps(RICH))
    page.get_by_role("button", name="Save and publish").click()
    says(page, "what you changed is not in the form yet")
    page.get_by_role("tab", name="As JSON").click()
    page.get_by_role("button", name="Use this", exact=True).click()
    says(page, "The form is filled from the JSON. Nothing is saved yet.")
    assert page.get_by_label("Name").input_value() == RICH["name"]
    panel_says(page, "It can be saved.")
    accessible(page)
    shot(page, "editor-json-used")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "a model that the catalogue does not know")
    page.get_by_role("button", name="Publish nevertheless").click()
    says(page, "“nights and holidays” is live as version 1.")
    assert document_of(org).content["routes"][0]["when"] == engine.NewRoute.from_dict(RICH).to_dict()["when"]
    edda.check()


def test_of_two_editors_the_second_learns_what_the_first_did_and_loses_nothing(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    row = a_route(org, "shared", when={"tag_equals": "a", "input_tokens_lt": 1000})
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/{row.uid}/")
    page.get_by_label("Tag is").fill("mine")
    page.get_by_text("Description, owner, labels").click()
    page.get_by_label("Owner").fill("edda")
    theirs = {**row.as_document(), "priority": 7, "when": {"tag_equals": "theirs", "has_tools": True}}
    arno = a_person("arno", org, "editor")
    update_route(org, row.uid, engine.Route.from_dict(theirs), by=arno)
    page.get_by_role("button", name="Save and publish").click()
    says(page, "Not saved yet: arno changed this route while you wrote")
    table = page.get_by_role("region", name="What changed meanwhile")
    told = [
        [" ".join(cell.inner_text().split()) for cell in row.locator("td").all()] for row in table.locator("tr").all()
    ]
    assert told[1:] == [
        ["Priority", "100", "7", "100", "theirs you had not changed it"],
        ["Input tokens", "fewer than 1,000 input tokens", "no such condition", "fewer than 1,000 input tokens",
         "theirs you had not changed it"],
        ["Has tools", "no such condition", "has tools", "no such condition", "theirs you had not changed it"],
        ["Tag is", "tag is a", "tag is theirs", "tag is mine", "yours you both changed it"],
    ]  # fmt: skip
    assert page.get_by_label("Tag is").input_value() == "mine"
    assert page.get_by_label("Owner").input_value() == "edda"
    assert page.get_by_label("Priority").input_value() == "7"
    accessible(page)
    shot(page, "editor-merged")
    page.set_viewport_size({"width": 390, "height": 800})
    edda.check()
    shot(page, "editor-merged-phone")
    page.set_viewport_size({"width": 1280, "height": 900})
    page.get_by_role("button", name="Save and publish").click()
    says(page, "“shared” is live as version 3.")
    row.refresh_from_db()
    assert (row.priority, row.conditions["tag_equals"], row.conditions["has_tools"]) == (7, "mine", True)
    assert (row.conditions["input_tokens_lt"], row.meta) == (None, {"owner": "edda"})
    edda.check()


HOSTILE = "<img src=x onerror=alert(1)>'\"&lt;</textarea><script>alert(2)</script>"


def test_hostile_text_is_shown_and_never_executed(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    usual = json.loads(shared("vectors/naughty-strings.json").read_text(encoding="utf-8"))
    some = [
        text
        for text in dict.fromkeys(usual)
        if "<" in text and text.strip() == text and text.isprintable() and len(text) < 100
    ]
    lines = [HOSTILE, *some[:12]]
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.get_by_label("Name").fill(HOSTILE)
    for title, label in (
        ("Requested model is one of", None), ("Requested model matches one of", None), ("Text contains any of", None),
        ("Tag is", None), ("Metadata", None), ("Time of day and week", "Time zone"),
    ):  # fmt: skip
        row = add_condition(page, title)
        field = row.get_by_label(label or title, exact=True)
        if title == "Metadata":
            field.fill("\n".join(f"k{number} = {json.dumps(line)}" for number, line in enumerate(lines)))
        elif title.startswith("Requested model is"):
            for line in lines:
                field.fill(line)
                field.press("Enter")
        else:
            field.fill("\n".join(lines) if "any of" in title or "matches" in title else HOSTILE)
    page.get_by_text("Description, owner, labels").click()
    for label in ("Description", "Owner"):
        page.get_by_label(label, exact=True).fill(HOSTILE)
    page.get_by_label("Send to model").fill(HOSTILE)
    page.get_by_label("If that fails, try").fill(lines[1])
    page.get_by_label("If that fails, try").press("Enter")
    panel_says(page, f"tag is {HOSTILE}")
    panel_says(page, "Time of day and week: time zone")
    accessible(page)
    page.get_by_role("button", name="Save and publish").click()
    says(page, "There is no time zone")
    page.locator('[data-condition="time_window"]').get_by_role("button", name="Remove").click()
    panel_says(page, "It can be saved.")
    panel_says(page, "a model that the catalogue does not know")
    shot(page, "editor-hostile")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "a model that the catalogue does not know")
    page.get_by_role("button", name="Publish nevertheless").click()
    says(page, f"“{HOSTILE}” is live as version 1.")
    (found,) = when(org)
    assert found["model_in"] == lines
    assert found["metadata"] == {f"k{number}": [line] for number, line in enumerate(lines)}
    row = Route.objects.get()
    opened = edda.visit(f"/admin/o/{org.slug}/routes/{row.uid}/")
    panel_says(opened, f"tag is {HOSTILE}")
    other = {**row.as_document(), "name": HOSTILE + "2", "meta": {"owner": "<b>them</b>"}}
    update_route(org, row.uid, engine.Route.from_dict(other), by=BY)
    opened.get_by_label("Tag is").fill("<i>mine</i>")
    opened.get_by_role("button", name="Save and publish").click()
    says(opened, "<b>them</b>")
    assert dialogs == []
    assert page.locator("img[src=x]").count() == 0
    edda.check()


def test_without_scripts_conditions_are_added_changed_and_emptied(
    org: Organization, browser: Any, live_server: Any
) -> None:
    row = a_route(org, "there", when={"tag_equals": "a", "has_tools": False, "input_tokens_lt": 5})
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    context = browser.new_context(java_script_enabled=False)
    context.add_cookies([{"name": "sessionid", "value": client.cookies["sessionid"].value, "url": live_server.url}])
    page = context.new_page()
    page.goto(f"{live_server.url}/admin/o/{org.slug}/routes/{row.uid}/")
    assert page.get_by_role("button", name="Add a condition").count() == 0
    page.get_by_label("Tag is").fill("")
    page.get_by_label("Fewer than").first.fill("9")
    page.get_by_text("More conditions").click()
    page.get_by_label("Requested model is one of").fill("gpt-4o\ngpt-4.1")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "“there” is live as version 2.")
    (found,) = when(org)
    assert (found["tag_equals"], found["has_tools"], found["input_tokens_lt"]) == (None, False, 9)
    assert found["model_in"] == ["gpt-4o", "gpt-4.1"]
    page.goto(f"{live_server.url}/admin/o/{org.slug}/routes/{row.uid}/")
    page.get_by_label("JSON of this route").fill('{"name": "from json", "then": {"target_model": "m"}}')
    page.get_by_role("button", name="Use this", exact=True).click()
    says(page, "The form is filled from the JSON.")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "a model that the catalogue does not know")
    page.get_by_role("button", name="Publish nevertheless").click()
    says(page, "“from json” is live as version 3.")
    context.close()


def test_who_is_signed_out_while_writing_is_told(org: Organization, visitor: Callable[[Any], Visitor]) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    page = edda.visit(f"/admin/o/{org.slug}/routes/new/")
    page.context.clear_cookies()
    edda.expected |= {403}
    page.get_by_label("Name").fill("late")
    panel_says(page, "you are signed out")
    edda.check()


def test_what_is_written_is_not_left_by_accident_and_nothing_is_asked_without_need(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    row = a_route(org, "short", when={"model_in": ["gpt-4o"], "tag_equals": "a"})
    edda = visitor(a_person("edda", org, "editor"))
    asked: list[str] = []
    edda.page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.dismiss()))
    for path in ("routes/new/", f"routes/{row.uid}/"):
        page = edda.visit(f"/admin/o/{org.slug}/{path}")
        page.get_by_label("Name").click()
        page.wait_for_timeout(800)  # the preview has asked, and written what it knows
        page.get_by_role("link", name="Back without saving").click()
        says(page, "the first match wins")
    assert asked == []
    page = edda.visit(f"/admin/o/{org.slug}/routes/{row.uid}/")
    page.get_by_label("Name").fill("another")
    page.get_by_role("link", name="Logs").click(no_wait_after=True)
    page.wait_for_timeout(300)
    assert (asked, page.get_by_label("Name").input_value()) == (["beforeunload"], "another")
    page.get_by_role("button", name="Save and publish").click()
    says(page, "“another” is live")
    assert len(asked) == 1
    edda.check()


def test_on_a_phone_the_preview_stands_above_the_button_that_saves(
    org: Organization, visitor: Callable[[Any], Visitor]
) -> None:
    edda = visitor(a_person("edda", org, "editor"))
    a_route(org, "short ones")
    page = edda.visit(f"/admin/o/{org.slug}/routes/{Route.objects.get(name='short ones').uid}/")
    panel, save = page.locator(".route-preview"), page.get_by_role("button", name="Save and publish")
    says(page, "In words")

    def box(what: Any) -> dict[str, float]:
        found: dict[str, float] = what.bounding_box()
        return found

    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        shot(page, f"route-edit-order-{width}")
        edda.check()
        if width == 390:
            assert box(panel)["y"] + box(panel)["height"] <= box(save)["y"]
        else:
            assert box(panel)["x"] > box(save)["x"] + box(save)["width"], "beside the form"
        # By the keyboard it comes where it is seen.
        page.get_by_role("tab", name="In words").focus()
        reached = []
        for _ in range(3):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.textContent.trim()"))
        assert "Save and publish" in reached
    edda.check()
