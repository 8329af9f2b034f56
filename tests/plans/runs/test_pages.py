"""The pages about plans, as they answer: nothing that is sent to them is an error of the server."""

import json
import re
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any
from unittest.mock import Mock, patch

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from plans.runs.errors import InvalidPlan
from plans.runs.models import PlanRun, State
from plans.runs.services import apply, approve, cancel, edit, is_void, project, propose, schedule
from routes import engine
from routes.document import document_of
from routes.errors import TooManyRoutes
from routes.fleet.services import report
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.rules.services import update_route
from tests.build import (
    BY,
    START,
    a_person,
    a_plan,
    a_route,
    an_example,
    many_routes,
    projected,
    state_of,
    traffic,
    usual_prices,
)

pytestmark = pytest.mark.django_db
ROUTE: dict[str, Any] = {"name": "all", "then": {"target_model": "m"}}
FIELDS = {
    "name": "cheaper",
    "mode": "merge",
    "routes": json.dumps([ROUTE]),
    "window_start": "2026-05-01T00:00",
    "window_end": "2026-05-02T00:00",
}
TOO_MANY = [{**ROUTE, "name": str(number)} for number in range(1_001)]


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    return client


def url(org: Organization, path: str) -> str:
    return f"/admin/o/{org.slug}/plans/{path}"


def test_a_plan_is_made_of_what_the_form_says(client: Client, org: Organization) -> None:
    assert client.post(url(org, "new/json/"), FIELDS).status_code == 302
    plan = PlanRun.objects.get(org=org)
    assert (plan.state, plan.name, plan.window_start) == (State.QUEUED, "cheaper", START)
    assert [route["name"] for route in plan.proposed_routes] == ["all"]


@pytest.mark.parametrize(
    ("field", "text", "message"),
    [
        ("routes", "[" * 100_000, "nested deeper than"),
        ("routes", f"[{'1' * 5000}]", "is not JSON"),
        ("routes", '[{"name": "a", "name": "b", "then": {"target_model": "m"}}]', "same key twice"),
        ("routes", '[{"name": "\\ud800", "then": {"target_model": "m"}}]', "lone surrogates are refused"),
        ("routes", '[{"name": "a", "\\ud800": 1, "then": {"target_model": "m"}}]', "There is no key"),
        ("routes", "[NaN]", "NaN is not a JSON number"),
        ("routes", "", "Fill this in."),
        ("routes", "{}", "Write a list"),
        ("routes", '{"name": "a"}', "Write a list"),
        ("routes", '[{"name": "a"}]', "routes[0].then: then is missing"),
        ("window_start", "0001-01-01T00:00+05:00", "Write a day and a time of it"),
        ("window_end", "9999-12-31T23:59-05:00", "Write a day and a time of it"),
        ("window_end", "", "required"),
        ("window_end", "2026-04-01T00:00", "ends before it begins"),
        ("l1_ttl_seconds", "1_0", "Enter a number"),
        ("l2_ttl_seconds", "nan", "Enter a number"),
        ("l1_ttl_seconds", "0", "more than 0"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_mistake_in_a_plan_is_told_in_the_form(
    client: Client, org: Organization, field: str, text: str, message: str
) -> None:
    response = client.post(url(org, "new/json/"), {**FIELDS, field: text})
    assert response.status_code == 422
    assert message in response.content.decode()
    assert not PlanRun.objects.exists()


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_an_empty_list_of_routes_is_a_proposal(client: Client, org: Organization, mode: str) -> None:
    response = client.post(url(org, "new/json/"), {**FIELDS, "mode": mode, "routes": "[]"}, follow=True)
    assert response.status_code == 200
    assert PlanRun.objects.get(org=org).proposed_routes == []


def test_of_many_issues_a_sentence_names_five_and_the_form_all(client: Client, org: Organization) -> None:
    routes = [{"name": f"r{number}"} for number in range(100)]
    with pytest.raises(InvalidPlan) as caught:
        propose(org, name="a", routes=routes, window_start=START, window_end=START.replace(day=2), by=BY)
    assert str(caught.value).endswith("; and 95 more")
    assert str(caught.value).count("then is missing") == 5
    assert len(caught.value.issues) == 100
    response = client.post(url(org, "new/json/"), {**FIELDS, "routes": json.dumps(routes)})
    assert response.content.decode().count("then is missing") == 100


def test_two_routes_with_the_id_of_one_that_is_live_are_no_proposal(org: Organization) -> None:
    live = a_route(org).as_document()
    routes = [{**live, "name": "two"}, {**live, "name": "three"}]
    with pytest.raises(InvalidPlan, match="Several of these routes have the id"):
        a_plan(org, routes=routes)


def test_a_plan_that_could_never_be_applied_is_refused_when_it_is_made(client: Client, org: Organization) -> None:
    with pytest.raises(TooManyRoutes):
        propose(org, name="a", routes=TOO_MANY, window_start=START, window_end=START.replace(day=2), by=BY)
    response = client.post(url(org, "new/json/"), {**FIELDS, "mode": "replace", "routes": json.dumps(TOO_MANY)})
    assert response.status_code == 422
    assert "An organisation may have 1,000 routes" in response.content.decode()


def test_routes_that_no_gateway_would_load_are_told_when_the_plan_is_applied(
    client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    refused = engine.errors.DocumentRejected("This has the key unheard_of.")
    monkeypatch.setattr("routes.publish._accept", Mock(side_effect=refused))
    page = client.post(url(org, f"{plan.pk}/apply/"), follow=True).content.decode()
    assert "unheard_of" in page
    plan.refresh_from_db()
    assert plan.state == State.PROJECTED


def test_requests_on_which_what_was_paid_stands_are_figures_of_the_page(client: Client, org: Organization) -> None:
    """Also those above a ceiling, which have a price."""
    usual_prices()
    traffic(org)
    capped = {"name": "capped", "then": {"target_model": "gpt-4o-mini", "max_cost_usd": 1e-9}}
    plan = projected(a_plan(org, routes=[capped]))
    page = client.get(url(org, f"{plan.pk}/")).content.decode()
    kept = (plan.outcome or {})["aggregates"]["requests_kept"]
    assert kept > 0
    assert f"<dt>Count as unchanged</dt><dd>{kept}</dd>" in page
    assert f"{kept} of them count as unchanged, see the caveats" in page


def test_a_result_of_an_earlier_version_shows_what_it_has(client: Client, org: Organization) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    old = json.loads(plan.result)
    for name in ("interval_units", "coverage"):
        del old[name]
    old["provenance"]["engine_version"] = "2"
    totals, intervals = old["aggregates"], old["confidence_intervals"]
    old["aggregates"] = {
        name: totals[name] for name in totals if "latency" not in name and not name.startswith(("l2", "cache"))
    }
    old["confidence_intervals"] = {name: intervals[name] for name in intervals if name.startswith("savings")}
    for row in old["per_route_breakdown"]:
        del row["savings_usd_95"]
    PlanRun.objects.filter(pk=plan.pk).update(result=json.dumps(old))
    page = client.get(url(org, f"{plan.pk}/")).content.decode()
    assert "An earlier version of the replay (2) made this answer." in page
    assert "Saves $0.015" in page
    assert "over ." not in page
    assert "too few units" not in page
    assert client.get(url(org, "")).status_code == 200


def test_small_costs_are_shown_with_digits_that_say_something(client: Client, org: Organization) -> None:
    usual_prices()
    traffic(org, 1)
    page = client.get(url(org, f"{projected(a_plan(org)).pk}/")).content.decode()
    assert "Saves $0.00070" in page
    assert "<dd>$0.00075</dd>" in page
    assert "<dd>$0.000045</dd>" in page


@pytest.mark.parametrize(
    ("fields", "is_open"),
    [
        ({}, False),
        ({"interval_method": "random_subsets"}, False),
        ({"interval_method": "cluster_bootstrap"}, True),
        ({"l2_priced_threshold": "0.9"}, True),
        ({"l1_ttl_seconds": "60"}, True),
        ({"l2_ttl_seconds": "-1"}, True),
        ({"interval_method": "guess"}, True),
    ],
)
def test_settings_that_are_not_as_offered_are_not_folded_away(
    client: Client, org: Organization, fields: dict[str, str], is_open: bool
) -> None:
    refused = client.post(url(org, "new/json/"), {**FIELDS, "name": "", **fields})
    assert refused.status_code == 422
    assert ('<details class="more" open>' in refused.content.decode()) == is_open


def test_a_plan_that_cannot_be_applied_any_more_is_not_offered_for_approval(org: Organization, client: Client) -> None:
    usual_prices()
    traffic(org)
    Organization.objects.filter(pk=org.pk).update(approval="plans")
    plan = projected(a_plan(org))
    approve = url(org, f"{plan.pk}/approve/")
    assert approve in client.get(url(org, f"{plan.pk}/")).content.decode()
    a_route(org, "meanwhile")
    assert approve not in client.get(url(org, f"{plan.pk}/")).content.decode()


def test_a_draft_on_routes_that_changed_says_so_before_its_replay(org: Organization, client: Client) -> None:
    draft = a_plan(org)
    page = client.get(url(org, f"{draft.pk}/")).content.decode()
    assert "so it could not be applied" not in page
    assert "on today&#x27;s routes" not in page
    a_route(org, "meanwhile")
    page = client.get(url(org, f"{draft.pk}/")).content.decode()
    assert "so it could not be applied" in page
    assert "meanwhile" in page
    client.post(url(org, f"{draft.pk}/rebase/"), sent_back(page))
    assert PlanRun.objects.get(pk=draft.pk).state == State.CANCELLED
    assert PlanRun.objects.get(state=State.QUEUED).base_version == draft.base_version + 1


def test_a_step_that_would_break_an_example_shows_it_and_is_done_with_a_reason(
    client: Client, org: Organization
) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    for step, expected in (("apply", {"route": None}), ("revert", {"route": "short to mini"})):
        org.examples.all().delete()
        row = an_example(org, "guarded", expected=expected)
        answer = client.post(url(org, f"{plan.pk}/{step}/"))
        page = answer.content.decode()
        assert answer.status_code == 422
        assert "“guarded” expects:" in page
        assert "Save nevertheless, because" in page
        answer = client.post(url(org, f"{plan.pk}/{step}/"), {"accept_broken": "a\x07b"})
        assert (answer.status_code, "Control characters" in answer.content.decode()) == (422, True)
        assert client.post(url(org, f"{plan.pk}/{step}/"), {"accept_broken": "it saves"}).status_code == 422
        said = {"accept_broken": "it saves", "broken": str(row.uid)}
        assert client.post(url(org, f"{plan.pk}/{step}/"), said).status_code == 302
    plan.refresh_from_db()
    assert plan.state == State.REVERTED


# --- Somebody was faster ------------------------------------------------------------------------------------------------


def sent_back(page: str) -> dict[str, str]:
    """What a browser would send of the page's form, with nothing written into it."""
    form = PageForm()
    form.feed(page)
    return form.fields


class PageForm(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._within = ""
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name = given.get("name") or ""
        if tag == "input" and name and name != "csrfmiddlewaretoken":
            self.fields[name] = given.get("value") or ""
        elif tag == "textarea":
            self._within = name
            self.fields[name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given:
            self.fields[self._select] = given.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._within = ""

    def handle_data(self, data: str) -> None:
        if self._within:
            self.fields[self._within] += data


def test_a_new_name_from_the_page_leaves_a_draft_as_it_was(client: Client, org: Organization) -> None:
    window = {"window_start": START + timedelta(seconds=30), "window_end": START + timedelta(hours=1, microseconds=5)}
    plan = a_plan(org, mode="replace", l2_ttl_seconds=60, l2_priced_threshold=0.9, **window)
    # What is live by now would have this plan refused, were it to stand on that.
    a_route(org, "short to mini")
    before = PlanRun.objects.filter(pk=plan.pk).values().get()
    sent = sent_back(client.get(url(org, f"{plan.pk}/edit/")).content.decode())
    assert client.post(url(org, f"{plan.pk}/edit/"), {**sent, "name": "Renamed"}).status_code == 302
    assert PlanRun.objects.filter(pk=plan.pk).values().get() == {**before, "name": "Renamed"}


@pytest.mark.parametrize("state", ["queued", "cancelled"])
def test_what_was_written_into_a_draft_that_is_none_any_more_stays_in_sight(
    client: Client, org: Organization, state: str
) -> None:
    plan = a_plan(org)
    page = url(org, f"{plan.pk}/edit/")
    typed = {"name": "mine", "routes": '[{"name": "typed for an hour", "then": {"target_model": "m"}}]'}
    sent = {**sent_back(client.get(page).content.decode()), **typed}
    project(plan, by=BY) if state == "queued" else cancel(plan, by=BY)
    answer = client.post(page, sent)
    text = unescape(answer.content.decode())
    assert answer.status_code == 422
    assert "What else you wrote" in text
    assert typed["routes"] in text
    assert "Replay requests from" not in text, "that was left as it was"
    assert ("Only its name and note can be changed any more" in text) == (state == "queued")
    assert ("Nothing of it can be changed any more" in text) == (state == "cancelled")
    again = client.post(page, sent_back(text))
    plan.refresh_from_db()
    assert (again.status_code, plan.name) == ((302, "mine") if state == "queued" else (422, "save"))


def test_a_draft_that_is_queued_in_the_moment_of_saving_says_so_too(client: Client, org: Organization) -> None:
    plan = a_plan(org)
    page = url(org, f"{plan.pk}/edit/")
    sent = {**sent_back(client.get(page).content.decode()), "mode": "replace"}

    def late(run: PlanRun, **keys: Any) -> bool:
        project(PlanRun.objects.get(pk=plan.pk), by=BY)
        return edit(run, **keys)

    with patch("plans.runs.services.edit", late):
        text = client.post(page, sent).content.decode()
    assert "waiting for the worker now. Only its name and note can be changed any more" in text
    assert "<pre>replace</pre>" in text
    assert 'name="mode"' not in text


def test_who_only_renamed_a_draft_that_was_queued_meanwhile_saves_again(client: Client, org: Organization) -> None:
    plan = a_plan(org)
    page = url(org, f"{plan.pk}/edit/")
    sent = {**sent_back(client.get(page).content.decode()), "name": "mine"}
    project(plan, by=BY)
    text = client.post(page, sent).content.decode()
    assert "Your input is still below; save again to keep it" in text
    assert "What else you wrote" not in text
    PlanRun.objects.filter(pk=plan.pk).update(state=State.RUNNING, rows_total=9, rows_done=4)
    assert client.post(page, sent_back(text)).status_code == 302
    assert PlanRun.objects.get(pk=plan.pk).name == "mine"


def test_a_mistake_in_the_form_does_not_hide_that_somebody_was_faster(client: Client, org: Organization) -> None:
    plan = a_plan(org)
    page = url(org, f"{plan.pk}/edit/")
    sent = {**sent_back(client.get(page).content.decode()), "name": ""}
    edit(PlanRun.objects.get(pk=plan.pk), by=BY, note="theirs")
    text = client.post(page, sent).content.decode()
    assert "This field is required" in text
    assert "Somebody changed this plan" in client.post(page, {**sent_back(text), "name": "mine"}).content.decode()


def test_a_plan_that_replayed_nothing_is_changed_as_a_copy(org: Organization, client: Client) -> None:
    nothing = projected(a_plan(org))  # there are no logged requests
    page = client.get(url(org, f"{nothing.pk}/")).content.decode()
    assert "No request of the window could be replayed" in page
    assert '<button class="btn btn-primary" type="submit">Change a copy</button>' in page
    assert 'btn-primary" href' not in page, "nothing is to be decided first"
    told = client.post(url(org, f"{nothing.pk}/copy/"), sent_back(page), follow=True)
    copied = PlanRun.objects.get(state=State.DRAFT)
    assert told.redirect_chain[-1][0] == url(org, f"{copied.pk}/")
    assert f"This is a copy of “{nothing.name}” on today&#x27;s routes." in told.content.decode()
    traffic(org)
    some = projected(a_plan(org))
    page = client.get(url(org, f"{some.pk}/")).content.decode()
    assert '<button class="btn" type="submit">Change a copy</button>' in page
    assert 'btn-primary" href' in page
    viewer = Client()
    viewer.force_login(a_person("vera", org, "viewer"))
    assert "Change a copy" not in viewer.get(url(org, f"{some.pk}/")).content.decode()


@pytest.mark.parametrize(
    "step", ["project", "rebase", "cancel", "approve", "reject", "apply", "schedule", "call off", "revert"]
)
def test_a_step_is_taken_on_what_the_page_showed(client: Client, org: Organization, step: str) -> None:
    usual_prices()
    traffic(org)
    Organization.objects.filter(pk=org.pk).update(approval="plans")
    plan = a_plan(org) if step == "project" else projected(a_plan(org))
    if step == "rebase":
        a_route(org, "meanwhile")
    if step in ("apply", "schedule", "call off", "revert"):
        approve(plan, by=a_person("arno", org, "approver"))
    if step == "call off":
        schedule(plan, timezone.now() + timedelta(days=1), by=a_person("pia", org, "approver"))
    if step == "revert":
        apply(plan, by=BY)
    plan.refresh_from_db()
    before = state_of(org)
    path = step if step != "call off" else "schedule"
    typed = f"{timezone.now() + timedelta(days=2):%Y-%m-%dT%H:%M}"
    written = {"reject-reason": "too dear", "schedule-apply_at": typed, "call_off": "1"} if step != "schedule" else {}

    def sent(page: str) -> dict[str, Any]:
        forms = [part.partition("</form>")[0] for part in page.split("<form")[1:]]
        form = next(form for form in forms if f"{plan.pk}/{path}/" in form)
        return {**sent_back("<form" + form), **written, "schedule-apply_at": typed}

    # What is asked about first has a page of its own; the rest stands on the plan's.
    asks = step not in ("rebase", "call off")
    page = url(org, f"{plan.pk}/{f'{step}/' if asks else ''}")
    shown = sent(client.get(page).content.decode())
    PlanRun.objects.filter(pk=plan.pk).update(note="Do not, see ticket 7.")
    told = client.post(url(org, f"{plan.pk}/{path}/"), shown, follow=True).content.decode()
    assert "The plan was changed after you looked. Look again." in told
    assert {"reject": "too dear", "schedule": typed}.get(step, "") in told
    assert {**state_of(org), "plans": ...} == {**before, "plans": ...}
    assert PlanRun.objects.get(pk=plan.pk).state == plan.state
    again = client.post(url(org, f"{plan.pk}/{path}/"), sent(client.get(page).content.decode()), follow=True)
    assert (again.status_code, "was changed after you looked" in again.content.decode()) == (200, False)
    assert PlanRun.objects.get(pk=plan.pk).state != plan.state


def test_a_reason_that_came_too_late_is_still_shown(client: Client, org: Organization) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    form = sent_back(client.get(url(org, f"{plan.pk}/reject/")).content.decode())
    cancel(plan, by=BY)
    answer = client.post(url(org, f"{plan.pk}/reject/"), {**form, "reject-reason": "too <dear>"})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "The plan was changed after you looked. Look again. You wrote: “too &lt;dear&gt;”" in page
    assert "This plan is cancelled, so that cannot be done with it." in page
    assert "<textarea" not in page


def test_a_plan_that_is_not_what_was_approved_is_offered_for_approval_and_not_to_be_applied(
    client: Client, org: Organization
) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    approve(plan, by=a_person("arno", org, "approver"))
    steps = {step: url(org, f"{plan.pk}/{step}/") for step in ("approve", "apply", "schedule")}

    def offered() -> set[str]:
        page = client.get(url(org, f"{plan.pk}/")).content.decode()
        assert ("This plan is not what arno approved. It needs a new approval." in page) == is_void(plan)
        return {step for step, place in steps.items() if f'href="{place}"' in page}

    assert offered() == {"apply", "schedule"}
    PlanRun.objects.filter(pk=plan.pk).update(mode="replace")
    plan.refresh_from_db()
    assert offered() == {"approve"}
    client.post(steps["approve"])
    plan.refresh_from_db()
    assert offered() == {"apply", "schedule"}


# --- The page of a plan -------------------------------------------------------------------------------------------------


def test_the_page_has_each_chart_and_its_numbers_in_a_table(client: Client, org: Organization) -> None:
    usual_prices()
    traffic(org, latency_ms=700)
    plan = projected(a_plan(org))
    page = client.get(url(org, f"{plan.pk}/")).content.decode()
    for title in ("Saved by route", "Cost over time", "How long requests take", "Requests by model"):
        assert page.count(f">{title}</title>") == 2, "for a window and for a phone"
        assert f'<details class="more"><summary>{title}: the numbers</summary>' in page, "folded at first"
    series = (plan.outcome or {})["series"]["by_model"]["models"]
    assert {line["model"]: line["requests_projected"] for line in series} == {"gpt-4o": 31, "gpt-4o-mini": 9}
    assert '<td class="num" data-label="Proposed">31</td>' in page


def test_a_result_without_series_has_the_chart_that_it_can_have_and_says_why_not_others(
    client: Client, org: Organization
) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    old = json.loads(plan.result)
    del old["series"]
    old["provenance"]["engine_version"] = "5"
    PlanRun.objects.filter(pk=plan.pk).update(result=json.dumps(old))
    page = client.get(url(org, f"{plan.pk}/")).content.decode()
    assert "left out below, such as cost over time, latencies and requests by model; a new plan" in page
    assert ">Saved by route</title>" in page
    assert ">Cost over time</title>" not in page


def test_the_answer_is_told_between_its_bounds_in_the_time_of_the_window(client: Client, org: Organization) -> None:
    usual_prices()
    traffic(org, 400, clusters=40)
    plan = projected(a_plan(org))
    usd = (plan.outcome or {})["confidence_intervals"]["savings_usd_95"]
    page = client.get(url(org, f"{plan.pk}/")).content.decode()
    lead = page[page.index('"plan-lead"') :].partition("</p>")[0]
    assert re.search(r"Saves \$[0-9.]+ to \$[0-9.]+ a day \([0-9.]+% to [0-9.]+%\)", lead)
    assert f"${usd[0]:.4f}"[:6] in lead
    assert ">95% sure</span>" in lead


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("apply", ["1 route added", "1 → 2", "about 9 of 40 requests a day are served otherwise"]),
        ("approve", ["Nothing goes live: it may be applied from then on.", "1 route added"]),
        ("reject", ["It is over: test sees your reason", "1 route added never go live"]),
        ("schedule", ["1 → 2", "All is checked again at that time"]),
        ("cancel", ["It is over, and its answer stays to be read."]),
    ],
)
def test_a_step_says_in_numbers_what_it_will_do_before_it_is_done(
    client: Client, org: Organization, step: str, said: list[str]
) -> None:
    usual_prices()
    traffic(org)
    a_route(org, "today", when={"model_in": ["other"]})
    plan = projected(a_plan(org))
    if step == "schedule":
        approve(plan, by=a_person("arno", org, "approver"))
    before = state_of(org)
    page = unescape(client.get(url(org, f"{plan.pk}/{step}/")).content.decode())
    for text in said:
        assert text in page
    assert state_of(org) == before, "to look is not to do"


def test_a_revert_says_what_it_takes_back_and_what_is_in_its_way(client: Client, org: Organization) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    apply(plan, by=BY)
    where = url(org, f"{plan.pk}/revert/")
    page = unescape(client.get(where).content.decode())
    assert "1 route removed" in page
    assert "The plan's answer was: Saves $" in page
    assert "1 → 2" in page
    assert "In the way" not in page
    assert "What comes back" in page
    assert '<span class="badge badge-bad">removed</span></td><td data-label="Before">model is gpt-4o' in page
    row = Route.objects.get(org=org)
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 3}), by=BY)
    page = unescape(client.get(where).content.decode())
    assert "Changed again since: short to mini. That is overwritten." in page
    assert "priority 3" in page[page.index("What comes back") :], "as it is now, not as the plan left it"
    assert client.post(where, {"force-reason": "it fails"}).status_code == 302
    assert not Route.objects.filter(org=org).exists()


@pytest.mark.parametrize(
    ("role", "step", "why"),
    [
        ("editor", "approve", "This needs an approver."),
        ("approver", "revert", "This plan is projected, so that cannot be done with it."),
        ("approver", "apply", "Somebody other than its author has to approve this plan first."),
    ],
)
def test_a_step_that_is_not_possible_says_why(org: Organization, role: str, step: str, why: str) -> None:
    usual_prices()
    traffic(org)
    Organization.objects.filter(pk=org.pk).update(approval="plans")
    client = Client()
    client.force_login(a_person("someone", org, role))
    plan = projected(a_plan(org))
    page = client.get(url(org, f"{plan.pk}/{step}/")).content.decode()
    assert why in page
    assert f'action="{url(org, f"{plan.pk}/{step}/")}"' not in page


@pytest.mark.parametrize("step", ["approve", "reject", "schedule", "apply", "revert"])
def test_an_editor_who_sends_a_step_of_an_approver_does_nothing(org: Organization, step: str) -> None:
    usual_prices()
    traffic(org)
    client = Client()
    client.force_login(a_person("emil", org, "editor"))
    plan = projected(a_plan(org))
    if step == "revert":
        apply(plan, by=BY)
    before = state_of(org)
    answer = client.post(url(org, f"{plan.pk}/{step}/"), {"reject-reason": "no"}, follow=True)
    assert "This needs an approver." in answer.content.decode()
    assert state_of(org) == before


def test_afterwards_the_page_has_who_did_what_with_the_entry_the_version_and_the_gateways(
    client: Client, org: Organization
) -> None:
    usual_prices()
    traffic(org)
    plan = projected(a_plan(org))
    apply(plan, by=a_person("arno", org, "approver"))
    report(org, "eu-1", running=1, schema_max=1, engine="1")
    report(org, "eu-2", running=0, schema_max=1, engine="1")
    page = unescape(client.get(url(org, f"{plan.pk}/")).content.decode())
    assert [part.partition("<")[0] for part in page.split("<li><strong>")[1:]] == [
        "Made", "Sent to the worker", "Replayed", "Applied",
    ]  # fmt: skip
    assert "<strong>Applied</strong> by arno: version 1" in page
    assert "1 of 2 gateways run it" in page
    assert re.search(r'Receipt: <a href="[^"]*">entry [0-9]+</a> of the log <span class="mono">[^<]+</span>', page)
    version = re.search(r'Live since <a href="([^"]*)">version 1</a>', page)
    assert version is not None
    assert "save" in client.get(version[1]).content.decode()
    link = re.search(r'href="([^"]*before=1[^"]*)">entry ([0-9]+)</a></span></li>\s*</ol>', page)
    assert link is not None
    entry = client.get(link[1]).content.decode()
    assert entry[entry.index("<tbody>") :].partition("</tr>")[0].count("plan.applied") == 1, "it comes first there"
    report(org, "eu-2", running=1, schema_max=1, engine="1")
    assert "All 2 gateways run it" in client.get(url(org, f"{plan.pk}/")).content.decode()


def test_progress_is_a_part_of_a_page_that_says_when_it_is_over(client: Client, org: Organization) -> None:
    plan = a_plan(org)
    project(plan, by=BY)
    where = url(org, f"{plan.pk}/progress/")
    assert 'data-state="queued" data-told="Waiting for the worker">' in client.get(where).content.decode()
    fields = {
        "state": "running",
        "phase": "projection",
        "rows_total": 3_000,
        "rows_done": 1_250,
        "rows_per_second": 500,
    }
    PlanRun.objects.filter(pk=plan.pk).update(**fields)
    part = client.get(where).content.decode()
    assert "<html" not in part
    assert 'data-told="Step 2 of 3: Replaying requests, 40% done">' in part
    assert "1,250 of 3,000 requests, 500 a second, about 4 s left of this step" in part
    assert "data-done" not in part
    PlanRun.objects.filter(pk=plan.pk).update(state="failed", phase="")
    assert "data-done" in client.get(where).content.decode()


# --- The list -------------------------------------------------------------------------------------------------------------


def listed(client: Client, org: Organization, query: str = "") -> list[str]:
    page = client.get(url(org, query)).content.decode()
    return re.findall(r'<tr><td><a href="[^"]*">([^<]*)</a>', page)


def test_plans_are_found_by_state_and_name_and_none_is_out_of_reach(client: Client, org: Organization) -> None:
    for number in range(52):
        a_plan(org, name=f"plan {number}")
    cancel(PlanRun.objects.get(name="plan 7"), by=BY)
    assert listed(client, org) == [f"plan {number}" for number in range(51, 1, -1)]
    assert listed(client, org, "?page=2") == ["plan 1", "plan 0"]
    assert listed(client, org, "?state=over") == listed(client, org, "?state=cancelled") == ["plan 7"]
    assert listed(client, org, "?state=draft&q=plan+50") == ["plan 50"]
    assert len(listed(client, org, "?state=nonsense&page=x")) == 50
    for words in ("%00", "nobody"):
        assert client.get(url(org, f"?q={words}")).status_code == 200
    assert "No plan is like that" in client.get(url(org, "?q=nobody")).content.decode()


def test_the_list_says_who_waits_for_whom(client: Client, org: Organization) -> None:
    usual_prices()
    traffic(org)
    Organization.objects.filter(pk=org.pk).update(approval="plans")
    edda = a_person("edda", org, "editor")
    draft = a_plan(org, by=edda, name="draft")
    plan = projected(a_plan(org, by=edda, name="answered"))
    hers = Client()
    hers.force_login(edda)
    assert hers.get(url(org, "")).content.decode().count(">you</span>") == 1, "the draft"
    assert "an approver other than edda" in hers.get(url(org, "")).content.decode()
    theirs = client.get(url(org, "")).content.decode()
    assert theirs.count(">you</span>") == 1, "the answered one"
    assert "edda, to have it replayed" in theirs
    arno = a_person("arno", org, "approver")
    his = Client()
    his.force_login(arno)
    projected(a_plan(org, by=arno, name="his own"))
    assert his.get(url(org, "")).content.decode().count(">you</span>") == 1, "hers, not his own"
    approve(plan, by=arno)
    project(draft, by=edda)
    page = hers.get(url(org, "")).content.decode()
    assert "an approver, to apply it" in page
    assert "the worker" in page


def test_news_stand_on_the_list_until_they_are_seen(client: Client, org: Organization) -> None:
    edda = a_person("edda", org, "editor")
    cancel(a_plan(org, by=edda, name="hers"), by=BY)
    hers = Client()
    hers.force_login(edda)
    assert "Since you last looked" in hers.get(url(org, "")).content.decode()
    assert "Since you last looked" in hers.get(url(org, "")).content.decode(), "to look by chance is not to have seen"
    assert "Since you last looked" not in client.get(url(org, "")).content.decode()
    assert hers.post(url(org, "seen/"))["Location"] == url(org, "")
    assert hers.post(url(org, "seen/"), {"from": "home"})["Location"] == f"/admin/o/{org.slug}/"
    assert "Since you last looked" not in hers.get(url(org, "")).content.decode()


# --- However much there is ------------------------------------------------------------------------------------------------


def test_pages_take_as_many_queries_for_a_thousand_routes_as_for_one_and_are_bounded(
    client: Client, org: Organization
) -> None:
    usual_prices()
    traffic(org)
    seen = []
    for count in (1, 999):
        many_routes(org, count)
        today = document_of(org).content["routes"]
        routes = [{**route, "then": {"target_model": "gpt-4o-mini"}} for route in today]
        plan, draft = projected(a_plan(org, routes=routes)), a_plan(org, routes=routes)
        counts, sizes = [], []
        for path in (f"{plan.pk}/", f"{plan.pk}/apply/", f"{draft.pk}/", f"{draft.pk}/routes/{today[0]['id']}/", ""):
            client.get(url(org, path))
            with CaptureQueriesContext(connection) as found:
                sizes.append(len(client.get(url(org, path)).content))
            counts.append(len(found))
        seen.append((counts, sizes))
    assert seen[0][0] == seen[1][0]
    assert max(seen[1][1]) < 200_000
    assert "?all=routes" in client.get(url(org, f"{plan.pk}/")).content.decode()
    assert client.get(url(org, f"{plan.pk}/?all=changes")).content.decode().count(">changed</span>") == 1_000
    assert client.get(url(org, f"{draft.pk}/?all=draft")).content.decode().count(">Remove</button>") == 1_000
