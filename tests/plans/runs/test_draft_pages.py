"""Making a plan without JSON: a copy of today's routes, changed one by one, and the requests to replay."""

from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.test import Client

from plans.logs.models import RequestLog
from plans.runs.forms import usual_windows
from plans.runs.models import PlanRun, State
from plans.runs.pages import drafts
from plans.runs.proposals import content_of
from plans.runs.services import cancel, edit, tag
from routes.document import document_of
from routes.orgs.models import Organization
from tests.build import BY, START, a_person, a_plan, a_route, projected, traffic, usual_prices
from tests.plans.runs.test_pages import sent_back
from tests.routes.rules.test_route_form import Controls

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    return client


def url(org: Organization, path: str) -> str:
    return f"/admin/o/{org.slug}/plans/{path}"


def page(client: Client, where: str) -> str:
    answer = client.get(where)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def wanted(plan: PlanRun) -> list[dict[str, Any]]:
    plan = PlanRun.objects.get(pk=plan.pk)
    return content_of(plan, document_of(plan.org).content)["routes"]


def test_a_name_is_all_that_a_plan_begins_with(client: Client, org: Organization) -> None:
    traffic(org)
    a_route(org, "today")
    assert client.post(url(org, "new/"), {"name": ""}).status_code == 422
    assert client.post(url(org, "new/"), {"name": "cheaper", "note": "why"}).status_code == 302
    plan = PlanRun.objects.get(org=org)
    assert (plan.state, plan.name, plan.note, plan.proposed_routes) == (State.DRAFT, "cheaper", "why", [])
    text = page(client, url(org, f"{plan.pk}/"))
    assert "1. Routes: no route changes" in text
    assert "model is gpt-4o and fewer than 1,000 input tokens → gpt-4o-mini" in text
    assert "as today" in text


def test_without_logs_a_plan_can_be_begun_and_says_what_is_missing(client: Client, org: Organization) -> None:
    assert "no logged requests yet" in page(client, url(org, "new/"))
    client.post(url(org, "new/"), {"name": "cheaper"})
    assert "no logged requests yet" in page(client, url(org, f"{PlanRun.objects.get().pk}/"))


def test_a_route_of_the_copy_is_edited_in_the_form_of_routes_and_nothing_goes_live(
    client: Client, org: Organization
) -> None:
    row = a_route(org, "today")
    plan = a_plan(org, routes=[])
    where = url(org, f"{plan.pk}/routes/{row.uid}/")
    sent = Controls(client.get(where).content.decode()).sent
    sent["input_tokens_lt"] = "500"
    assert client.post(where, sent).status_code == 302
    assert wanted(plan)[0]["when"]["input_tokens_lt"] == 500
    text = page(client, url(org, f"{plan.pk}/"))
    assert "1. Routes: 1 route changed" in text
    assert "Put back “today” as it is today" in text
    assert document_of(org).content["routes"][0]["when"]["input_tokens_lt"] == 1000
    assert document_of(org).version == plan.base_version


def test_a_mistake_in_a_route_is_told_at_its_field_and_what_was_written_stays(
    client: Client, org: Organization
) -> None:
    a_route(org, "taken")
    plan = a_plan(org, routes=[])
    where = url(org, f"{plan.pk}/routes/new/")
    assert client.get(where).status_code == 200
    blank = {"priority": "100", "enabled": "on", "kind": "send"}
    answer = client.post(where, {**blank, "name": "mine", "target_model": ""})
    assert (answer.status_code, 'value="mine"' in answer.content.decode()) == (422, True)
    answer = client.post(where, {**blank, "name": "taken", "target_model": "gpt-4o-mini"})
    assert answer.status_code == 422
    assert "There would be two routes called “taken”" in unescape(answer.content.decode())
    assert client.post(where, {**blank, "name": "new", "target_model": "gpt-4o-mini"}).status_code == 302
    assert [route["name"] for route in wanted(plan)] == ["taken", "new"]


def test_json_of_a_route_fills_its_form_and_is_not_forgotten_where_it_was_not_used(
    client: Client, org: Organization
) -> None:
    plan = a_plan(org, routes=[])
    where = url(org, f"{plan.pk}/routes/new/")
    pasted = '{"name": "pasted", "then": {"target_model": "gpt-4o"}}'
    filled = unescape(client.post(where, {"use_json": "on", "json": pasted}).content.decode())
    assert "The form is filled from the JSON." in filled
    assert 'value="pasted"' in filled
    wrong = client.post(where, {"use_json": "on", "json": "{"})
    assert (wrong.status_code, "The JSON was not used" in wrong.content.decode()) == (422, True)
    form = {"name": "mine", "priority": "100", "enabled": "on", "kind": "send", "target_model": "gpt-4o-mini"}
    unused = client.post(where, {**form, "json": pasted, "json_mark": "x"})
    assert unused.status_code == 422
    assert "press “Use this” there" in unescape(unused.content.decode())
    assert pasted in unescape(unused.content.decode())
    assert wanted(plan) == []


def test_routes_are_paused_removed_and_put_back_by_buttons(client: Client, org: Organization) -> None:
    row = a_route(org, "today")
    plan = a_plan(org, routes=[])
    for act, said in (
        ("pause", "1 route changed"), ("resume", "no route changes"), ("remove", "1 route removed"),
        ("put_back", "no route changes"),
    ):  # fmt: skip
        seen = tag(PlanRun.objects.get(pk=plan.pk))
        assert client.post(url(org, f"{plan.pk}/routes/{row.uid}/{act}/"), {"seen": seen}).status_code == 302
        assert f"1. Routes: {said}" in page(client, url(org, f"{plan.pk}/"))


def test_a_button_pressed_on_an_old_page_changes_nothing_and_says_so(client: Client, org: Organization) -> None:
    row = a_route(org, "today")
    plan = a_plan(org, routes=[])
    seen = tag(plan)
    edit(plan, by=BY, note="theirs")
    answer = client.post(url(org, f"{plan.pk}/routes/{row.uid}/remove/"), {"seen": seen}, follow=True)
    assert "was changed after you looked" in answer.content.decode()
    assert len(wanted(plan)) == 1


def test_of_a_plan_that_is_no_draft_no_route_is_edited(client: Client, org: Organization) -> None:
    row = a_route(org, "today")
    plan = a_plan(org, routes=[])
    cancel(plan, by=BY)
    answer = client.get(url(org, f"{plan.pk}/routes/{row.uid}/"), follow=True)
    assert "its routes cannot be changed any more" in answer.content.decode()
    assert client.post(url(org, f"{plan.pk}/routes/{row.uid}/remove/"), follow=True).status_code == 200
    unknown = url(org, f"{plan.pk}/routes/{plan.pk}/")
    assert client.get(url(org, f"{a_plan(org).pk}/routes/{plan.pk}/")).status_code == 404
    assert client.get(unknown).status_code == 302


def test_a_window_is_one_of_the_usual_or_any_other(client: Client, org: Organization) -> None:
    traffic(org)
    plan = a_plan(org, routes=[])
    where = url(org, f"{plan.pk}/")

    def sent(**more: str) -> dict[str, str]:
        text = client.get(where).content.decode()
        form = next(part for part in text.split("<form")[1:] if "traffic/" in part)
        fields = sent_back("<form" + form.partition("</form>")[0])
        return {**fields, "window": "other", **more}

    answer = client.post(url(org, f"{plan.pk}/traffic/"), sent(window="day"))
    plan.refresh_from_db()
    # The newest of `traffic` is forty minutes after the start.
    assert (answer.status_code, plan.window_end) == (302, START + timedelta(minutes=41))
    assert plan.window_start == plan.window_end - timedelta(days=1)
    assert plan.state == State.DRAFT
    other = {"window_start": "2026-05-01T00:10", "window_end": "2026-05-01T00:20"}
    client.post(url(org, f"{plan.pk}/traffic/"), sent(**other, l1_ttl_seconds="60", start="1"))
    plan.refresh_from_db()
    assert (plan.window_start, plan.l1_ttl_seconds, plan.state) == (START + timedelta(minutes=10), 60, State.QUEUED)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"window_end": "2026-04-01T00:00"}, "ends before it begins"),
        ({"window_start": ""}, "Say which time"),
        ({"window": "century"}, "Select a valid choice"),
        ({"l1_ttl_seconds": "-1"}, "greater than or equal to 0"),
    ],
)
def test_a_mistake_in_the_requests_to_replay_is_told_there(
    client: Client, org: Organization, more: dict[str, str], said: str
) -> None:
    plan = a_plan(org, routes=[])
    fields = {"window": "other", "window_start": "2026-05-01T00:00", "window_end": "2026-05-02T00:00", "start": "1"}
    answer = client.post(url(org, f"{plan.pk}/traffic/"), {**fields, **more})
    assert answer.status_code == 422
    assert said in unescape(answer.content.decode())
    assert PlanRun.objects.get(pk=plan.pk).state == State.DRAFT


@pytest.mark.parametrize(
    ("days", "names"),
    [(0, ["day", "all"]), (6, ["day", "all"]), (8, ["day", "week", "all"]), (90, ["day", "week", "month", "all"])],
)
def test_of_a_short_log_no_longer_window_is_offered(days: int, names: list[str]) -> None:
    last = datetime(2026, 5, 31, 7, 13, 9, tzinfo=UTC)
    found = usual_windows(last - timedelta(days=days), last)
    assert list(found) == names
    assert found["all"].start <= last - timedelta(days=days)
    assert {window.end for window in found.values()} == {datetime(2026, 5, 31, 7, 14, tzinfo=UTC)}


def test_the_requests_of_each_window_are_counted_up_to_a_limit(
    client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    traffic(org)
    RequestLog.objects.of(org).filter(request_id="r1").update(ts=START - timedelta(days=3))
    plan = a_plan(org)
    where = url(org, f"{plan.pk}/windows/")
    assert client.get(where).json() == {"day": "39 requests", "all": "40 requests"}
    monkeypatch.setattr(drafts, "COUNTED", 39)
    assert client.get(where).json() == {"day": "39 requests", "all": "more than 39 requests"}


@pytest.mark.django_db(transaction=True)  # it is made once the refused one is over
def test_a_refused_direct_change_is_a_draft_of_these_pages(client: Client, org: Organization) -> None:
    a_route(org, "today")
    Organization.objects.filter(pk=org.pk).update(approval="all")
    org.refresh_from_db()
    where = f"/admin/o/{org.slug}/routes/new/"
    sent = {"name": "direct", "priority": "100", "enabled": "on", "kind": "send", "target_model": "gpt-4o-mini"}
    answer = client.post(where, sent, follow=True)
    text = unescape(answer.content.decode())
    assert "1. Routes: 1 route added" in text
    assert "Leave out “direct”" in text


def test_who_only_looks_sees_a_draft_and_no_button(org: Organization) -> None:
    client = Client()
    client.force_login(a_person("vera", org, "viewer"))
    a_route(org, "today")
    text = page(client, url(org, f"{a_plan(org).pk}/"))
    assert "short to mini" in text
    main = text[text.index('id="content"') :]
    assert "<button" not in main.partition("</main>")[0].replace('<button class="theme-toggle"', "")


def test_a_plan_made_by_pages_alone_is_replayed(client: Client, org: Organization) -> None:
    usual_prices()
    traffic(org)
    client.post(url(org, "new/"), {"name": "cheaper"})
    plan = PlanRun.objects.get(org=org)
    where = url(org, f"{plan.pk}/routes/new/")
    sent = {"name": "all", "priority": "100", "enabled": "on", "kind": "send", "target_model": "gpt-4o-mini"}
    assert client.post(where, sent).status_code == 302
    projected(PlanRun.objects.get(pk=plan.pk))
    assert "Saves $" in page(client, url(org, f"{plan.pk}/"))
