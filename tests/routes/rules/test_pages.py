"""The pages about routes, as they answer: what they show, and that nothing sent to them breaks them."""

import json
import re
from datetime import timedelta
from html import unescape
from typing import Any
from unittest.mock import patch
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone

from routes import engine
from routes.catalog.models import ModelPrice, PriceEdition
from routes.document import document_of
from routes.orgs.models import Organization
from routes.rules import preview as previewing
from routes.rules.models import Route
from routes.rules.services import delete_route, set_default, update_route
from tests.build import BY, a_person, a_route, an_example, many_routes, prices, usual_prices
from tests.databases import ON_POSTGRES
from tests.paths import shared
from tests.routes.rules.test_route_form import NEW, Controls

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


def url(org: Organization, path: str) -> str:
    return f"/admin/o/{org.slug}/{path}"


def text_of(response: Any, status: int = 200) -> str:
    assert response.status_code == status
    text: str = response.content.decode()
    return text


def test_a_saved_form_is_published_and_says_its_version(client: Client, org: Organization) -> None:
    page = text_of(client.post(url(org, "routes/new/"), {**NEW, "name": "fresh"}, follow=True))
    assert "“fresh” is live as version 1." in page
    assert [route["name"] for route in document_of(org).content["routes"]] == ["fresh"]


def test_a_name_in_use_and_a_changed_route_are_told_in_the_form(client: Client, org: Organization) -> None:
    row = a_route(org, "taken")
    page = text_of(client.post(url(org, "routes/new/"), {**NEW, "name": "taken"}), 422)
    assert "Another route of this organisation is called &quot;taken&quot;" in page
    opened = Controls(text_of(client.get(url(org, f"routes/{row.uid}/")))).sent
    theirs = {**row.as_document(), "priority": 3, "meta": {"owner": "them"}}
    update_route(org, row.uid, engine.Route.from_dict(theirs), by=BY)
    page = text_of(
        client.post(url(org, f"routes/{row.uid}/"), {**opened.dict(), "owner": "me", "link": "https://x.y"}), 422
    )
    assert "test changed this route while you wrote" in page
    assert "It last changed at version 2" in page
    told = [
        re.sub("<[^>]*>", " ", line).split() for line in page.split("<tbody>")[1].split("</tbody>")[0].split("</tr>")
    ]
    assert told[0][:4] == ["Priority", "100", "3", "100"]
    assert told[0][4] == "theirs"
    assert told[1][:4] == ["Owner", "none", "them", "me"]
    assert told[1][4] == "yours"
    again = Controls(page).sent
    assert (again["revision"], again["priority"]) == ("2", "3"), "what they changed and I did not"
    assert (again["owner"], again["link"]) == ("me", "https://x.y"), "my own input"
    assert client.post(url(org, f"routes/{row.uid}/"), again).status_code == 302
    row.refresh_from_db()
    assert (row.priority, row.meta) == (3, {"owner": "me", "link": "https://x.y"})


def test_json_fills_the_form_and_what_is_no_route_leaves_it_as_typed(client: Client, org: Organization) -> None:
    row = a_route(org, "there")
    for path, revision in (("routes/new/", ""), (f"routes/{row.uid}/", "1")):
        opened = Controls(text_of(client.get(url(org, path)))).sent
        typed = {**opened.dict(), "name": "typed", "use_json": "on"}
        route = {
            "id": "anything",
            "name": "given",
            "when": {"any_of": [{"tag_equals": "a" + revision}]},
            "then": {"target_model": "m"},
        }
        page = text_of(client.post(url(org, path), {**typed, "json": json.dumps(route)}))
        assert "Nothing is saved yet." in page
        filled = Controls(page).sent
        assert (filled["name"], filled["any_of-0-tag_equals"], filled["target_model"]) == ("given", "a" + revision, "m")
        assert filled["revision"] == revision
        nonsense = {"[": "The text is not JSON", "[1]": "A route is an object", '{"name": ""}': "then: "}
        for text, message in nonsense.items():
            page = text_of(client.post(url(org, path), {**typed, "json": text}), 422)
            assert "The JSON was not used" in page
            assert message in page
            left = Controls(page).sent
            assert (left["name"], left["json"]) == ("typed", text)
        assert client.post(url(org, path), {**opened.dict(), **filled.dict()}).status_code == 302
        Route.objects.filter(name="given").update(name="saved" + revision)


def test_json_that_was_changed_and_not_used_is_not_forgotten(client: Client, org: Organization) -> None:
    row = a_route(org, "there")
    opened = Controls(text_of(client.get(url(org, f"routes/{row.uid}/")))).sent
    page = text_of(client.post(url(org, f"routes/{row.uid}/"), {**opened.dict(), "json": opened["json"] + "x"}), 422)
    assert "what you changed is not in the form yet" in page
    text = opened["json"].replace("\r\n", "\n")
    assert client.post(url(org, f"routes/{row.uid}/"), {**opened.dict(), "json": text}).status_code == 302


def test_a_route_that_would_be_of_no_use_is_asked_about_once_before_it_goes_live(
    client: Client, org: Organization
) -> None:
    usual_prices()
    later = a_route(org, "later", priority=50, when={"tag_equals": "a"})
    sent = {**NEW, "name": "fresh", "target_model": "gpt-5000", "row": "tag_equals", "tag_equals": "a"}
    page = text_of(client.post(url(org, "routes/new/"), sent), 422)
    assert "Not saved yet." in page
    assert "Publish nevertheless" in page
    assert "Route &#x27;fresh&#x27; sends to &#x27;gpt-5000&#x27;" in page
    assert "Route &#x27;later&#x27; is never reached" in page
    assert Route.objects.count() == 1
    again = Controls(page).sent
    page = text_of(client.post(url(org, "routes/new/"), {**again.dict(), "priority": "x"}), 422)
    assert "Publish nevertheless" not in page, "there is something else to put right first"
    other = {**Controls(page).sent.dict(), "priority": "100", "target_model": "gpt-6000"}
    assert "&#x27;gpt-6000&#x27;" in client.post(url(org, "routes/new/"), other).content.decode(), "what was not shown"
    assert client.post(url(org, "routes/new/"), {**other, "target_model": "gpt-5000"}).status_code == 302
    row = Route.objects.get(name="fresh")
    same = Controls(text_of(client.get(url(org, f"routes/{row.uid}/")))).sent
    assert client.post(url(org, f"routes/{row.uid}/"), {**same.dict(), "owner": "me"}).status_code == 302, "as before"
    page = text_of(client.post(url(org, f"routes/{later.uid}/"), {**NEW, "name": "later", "revision": "1",
                               "input_tokens_gt": "5", "input_tokens_lt": "5", "target_model": "gpt-4o"}), 422)  # fmt: skip
    assert "Route &#x27;later&#x27; never matches" in page
    later.refresh_from_db()
    assert later.as_document()["when"]["tag_equals"] == "a"


def test_with_many_routes_a_save_asks_about_the_route_alone(
    client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previewing, "MOST_LINTED", 2)
    a_route(org, "first", priority=900, when={"tag_equals": "a"})
    later = a_route(org, "later", priority=50, when={"tag_equals": "b"})
    sent = {**NEW, "row": "tag_equals", "tag_equals": "a"}
    assert "never reached" in text_of(client.post(url(org, "routes/new/"), sent), 422)
    assert client.post(url(org, "routes/new/"), {**sent, "tag_equals": "b"}).status_code == 302, (
        "what it does to others"
    )
    sent = {**sent, "name": "later", "priority": "50", "revision": "2"}
    assert "never reached" in text_of(client.post(url(org, f"routes/{later.uid}/"), {**sent, "tag_equals": "a"}), 422)
    assert client.post(url(org, f"routes/{later.uid}/"), {**sent, "tag_equals": "b", "owner": "me"}).status_code == 302


def test_what_lint_finds_and_the_examples_that_would_break_are_asked_about_at_once(
    client: Client, org: Organization
) -> None:
    a_route(org, "later", priority=50, when={"tag_equals": "a"})
    an_example(org, request={"context": {"tag": "a"}}, expected={"route": "later", "reason": "matched"})
    sent = {**NEW, "name": "fresh", "row": "tag_equals", "tag_equals": "a"}
    page = text_of(client.post(url(org, "routes/new/"), sent), 422)
    assert "Route &#x27;later&#x27; is never reached" in page
    assert "would break" in page
    again = {**Controls(page).sent.dict(), "accept_broken": "it has to be"}
    assert client.post(url(org, "routes/new/"), again).status_code == 302


def test_what_somebody_else_changed_is_said_before_any_doubt(client: Client, org: Organization) -> None:
    usual_prices()
    row = a_route(org, "there", when={"tag_equals": "a"})
    opened = Controls(text_of(client.get(url(org, f"routes/{row.uid}/")))).sent.dict()
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 7}), by=BY)
    page = text_of(client.post(url(org, f"routes/{row.uid}/"), {**opened, "target_model": "gpt-5000"}), 422)
    assert "Publish nevertheless" not in page
    page = text_of(client.post(url(org, f"routes/{row.uid}/"), Controls(page).sent.dict()), 422)
    assert "Publish nevertheless" in page


def test_of_many_routes_that_may_take_a_request_the_first_are_named(client: Client, org: Organization) -> None:
    for n in range(6):
        a_route(org, f"r{n}", priority=100 - n, when={"input_tokens_lt": 100 + n})
    page = text_of(client.post(url(org, "try/"), {"model": "gpt-4o"}))
    assert "<li>And 3 more, under “May take it”.</li>" in page
    for n in (3, 4, 5):
        delete_route(org, Route.objects.get(name=f"r{n}").uid, by=BY)
    assert "more, under “May take it”" not in text_of(client.post(url(org, "try/"), {"model": "gpt-4o"}))


def live_default(org: Organization) -> Any:
    return document_of(org).content["default"]


def test_a_default_that_sends_to_a_model_that_nobody_knows_is_asked_about_and_told_in_the_list(
    client: Client, org: Organization
) -> None:
    usual_prices()
    set_default(org, engine.Action("claude"), by=BY)
    said = "requests that no route takes, sends to &#x27;gpt-5000&#x27;, a model that the catalogue does not know."
    opened = Controls(text_of(client.get(url(org, "routes/default/")))).sent.dict()
    page = text_of(
        client.post(url(org, "routes/default/"), {**opened, "kind": "send", "target_model": "gpt-5000"}), 422
    )
    assert said in page
    assert "Publish nevertheless" in page
    assert live_default(org) == {"target_model": "claude"}
    wrong = {**Controls(page).sent.dict(), "traffic_pct": "x"}
    assert "Publish nevertheless" not in text_of(client.post(url(org, "routes/default/"), wrong), 422)
    assert client.post(url(org, "routes/default/"), Controls(page).sent.dict()).status_code == 302
    page = text_of(client.get(url(org, "routes/")))
    assert said in page.split("no route takes: <strong>gpt-5000</strong>")[1]
    assert client.get(url(org, "routes/attention/")).json() == {"count": 0}, "it is no route"
    opened = Controls(text_of(client.get(url(org, "routes/default/")))).sent.dict()
    assert client.post(url(org, "routes/default/"), opened).status_code == 302, "as before"


def test_what_was_so_before_is_not_asked_about_again_under_another_name_or_where_it_is_the_only_route(
    client: Client, org: Organization
) -> None:
    usual_prices()
    row = a_route(org, "first", then={"target_model": "gpt-5000"})
    for change in ({"owner": "us"}, {"name": "renamed"}):
        opened = Controls(text_of(client.get(url(org, f"routes/{row.uid}/")))).sent.dict()
        assert client.post(url(org, f"routes/{row.uid}/"), {**opened, **change}).status_code == 302, change
    a_route(org, "below")
    opened = Controls(text_of(client.get(url(org, f"routes/{row.uid}/")))).sent.dict()
    assert client.post(url(org, f"routes/{row.uid}/"), {**opened, "name": "again"}).status_code == 302
    assert "Not saved yet" in text_of(
        client.post(url(org, f"routes/{row.uid}/"), {**opened, "target_model": "gpt-6000"}), 422
    )


def test_where_what_is_live_cannot_be_loaded_a_default_is_refused_with_a_sentence(
    client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_route(org)
    opened = Controls(text_of(client.get(url(org, "routes/default/")))).sent.dict()

    def rejected(*_: Any, **__: Any) -> Any:
        raise engine.errors.DocumentRejected("This machine lacks RE2.")

    monkeypatch.setattr(engine.Engine, "from_document", rejected)
    sent = {**opened, "kind": "send", "target_model": "gpt-4o"}
    assert "This machine lacks RE2." in text_of(client.post(url(org, "routes/default/"), sent), 422)


def test_where_nobody_knows_the_models_nothing_is_asked_about_them(client: Client, org: Organization) -> None:
    assert client.post(url(org, "routes/new/"), {**NEW, "target_model": "gpt-5000"}).status_code == 302


def test_the_name_of_another_route_is_told_with_all_else_that_is_wrong(client: Client, org: Organization) -> None:
    a_route(org, "taken")
    page = text_of(client.post(url(org, "routes/new/"), {**NEW, "name": "taken", "traffic_pct": "x"}), 422)
    assert "2 things to put right:" in page
    assert page.index("is called &quot;taken&quot;") < page.index("Write a whole number")


def test_the_list_says_of_each_route_whether_it_acts_now(client: Client, org: Organization) -> None:
    soon, ago = timezone.now() + timedelta(days=1), timezone.now() - timedelta(days=1)
    states: dict[str, dict[str, Any]] = {
        "active": {},
        "disabled": {"enabled": False, "paused": True},
        "paused": {"paused": True, "active_from": ago.isoformat()},
        "not active yet": {"active_from": soon.isoformat()},
        "no longer active": {"active_until": ago.isoformat(), "paused": True},
    }
    for number, (name, keys) in enumerate(states.items()):
        a_route(org, f"route {number}", when={"tag_equals": name}, **keys)
    page = text_of(client.get(url(org, "routes/")))
    rows = page.split("<tbody>")[1].split("</tr>")
    for number, state in enumerate(states):
        assert f'">{state}</span>' in rows[number]


def test_an_empty_list_says_what_happens_to_every_request(client: Client, org: Organization) -> None:
    assert "No routes yet: every request goes to the model it asks for." in text_of(client.get(url(org, "routes/")))
    set_default(org, engine.Action("claude"), by=BY)
    page = text_of(client.get(url(org, "routes/")))
    assert "the model it asks for" not in page
    assert "No routes yet: what happens to every request stands below." in page
    assert "no route takes: <strong>claude</strong>" in page


def test_the_list_shows_what_lint_warns_of_at_the_later_route(client: Client, org: Organization) -> None:
    usual_prices()
    a_route(org, "all", priority=900, when={})
    a_route(org, "late")
    page = text_of(client.get(url(org, "routes/")))
    first, second, *_ = page.split("<tbody>")[1].split("</tr>")
    assert "never reached" not in first
    assert "never reached" in second
    late = Route.objects.of(org).get(name="late")
    sent = Controls(text_of(client.get(url(org, f"routes/{late.uid}/")))).sent
    said = client.post(url(org, f"routes/{late.uid}/preview/"), sent.dict()).json()
    assert [one["label"] for one in said["findings"]] == ["never reached"]


@pytest.mark.parametrize(
    ("column", "value"),
    [("conditions", {"unheard_of": 1}), ("conditions", [1]), ("target", {}), ("target", "x"), ("meta", [5]), ("meta", 1)],
    ids=str,
)  # fmt: skip
def test_a_row_that_no_engine_loads_is_reported_and_can_be_mended_or_deleted(
    client: Client, org: Organization, column: str, value: Any
) -> None:
    row = a_route(org, "broken")
    Route.objects.filter(pk=row.pk).update(**{column: value})
    assert "not loaded" in text_of(client.get(url(org, "routes/")))
    edit = url(org, f"routes/{row.uid}/")
    page = text_of(client.get(edit))
    assert "No gateway loads this route" in page
    text_of(client.get(edit + "delete/"))
    text_of(client.get(url(org, "try/")))
    fields = {**Controls(page).sent.dict(), "kind": "send", "target_model": "m"}
    assert client.post(edit, fields).status_code == 302
    assert "not loaded" not in text_of(client.get(url(org, "routes/")))


def test_routes_that_this_machine_cannot_serve_are_listed_and_can_be_mended(client: Client, org: Organization) -> None:
    row = a_route(org, "hours", when={"time_window": {"from": "08:00", "to": "09:00", "tz": "Europe/Berlin"}})
    edit = url(org, f"routes/{row.uid}/")
    with patch("routes.engine.times.zone_named", side_effect=LookupError):
        assert "not loaded" in text_of(client.get(url(org, "routes/")))
        page = text_of(client.get(edit))
        assert "There is no time zone" in page
        assert "Nothing can be tried here. The route at [0]" in text_of(client.get(url(org, "try/"), follow=True))
        assert client.post(edit, {**NEW, "revision": Controls(page).sent["revision"]}).status_code == 302
        assert "not loaded" not in text_of(client.get(url(org, "routes/")))
    assert document_of(org).content["routes"][0]["name"] == NEW["name"]


def test_the_editor_asks_the_database_as_often_however_many_routes_there_are(
    client: Client, org: Organization, django_assert_max_num_queries: Any
) -> None:
    row = a_route(org, "one")
    for _ in range(2):
        many_routes(org, 30)
        usual_prices() if not ModelPrice.objects.exists() else prices(**{f"m{n}": ("1", "1") for n in range(50)})
        for path in ("routes/new/", f"routes/{row.uid}/", "routes/default/"):
            client.get(url(org, path))
            with django_assert_max_num_queries(9):
                client.get(url(org, path))


def test_models_are_offered_with_what_they_cost_now(client: Client, org: Organization) -> None:
    def edition() -> None:
        PriceEdition.objects.update_or_create(
            scope=PriceEdition.EVERYBODY, defaults={"edition": uuid4(), "changed_at": timezone.now()}
        )

    for known in (False, True):
        usual_prices() if not known else prices(**{"new-one": ("1", "2.5")})
        edition()
        for path in ("routes/new/", "routes/default/"):
            page = text_of(client.get(url(org, path)))
            assert '<option value="gpt-4o-mini" label="$0.15 in, $0.60 out per 1M tokens"></option>' in page
            assert ('<option value="new-one" label="$1.00 in, $2.50 out per 1M tokens"></option>' in page) == known
            assert '<option value="openai"></option>' in page
    later = timezone.now() + timedelta(days=9)
    ModelPrice.objects.create(
        provider="<b>", model='"><i>', input_usd_per_million=1, output_usd_per_million=1, since=later
    )
    edition()
    page = text_of(client.get(url(org, "routes/new/")))
    assert '<option value="&quot;&gt;&lt;i&gt;" label="no price yet"></option>' in page
    assert "<b>" not in page


def test_nothing_that_is_sent_breaks_the_forms(client: Client, org: Organization) -> None:
    row = a_route(org, "there")
    fields = (
        "name", "model_in", "tag_equals", "metadata", "headers", "numbers", "prompt_matches_any_of", "window_from",
        "window_tz", "window_days", "active_from", "priority", "estimated_cost_gt", "target_model", "split", "labels",
        "extensions", "any_of", "any_of-0-nested", "not", "kind", "revision", "chat", "at", "force", "unknown",
    )  # fmt: skip
    nasty = [
        "{" * 5000,
        "1" * 5000,
        "1e400",
        "-1",
        "\x00",
        '"',
        '"\\ud800"',
        "NaN",
        "=",
        "<",
        "a = \\",
        "9999-12-31T23:59",
        "9999-12-31T23:59-05:00",
        "² = a, a",
        '"\\ud800" x = 1',
    ]
    if ON_POSTGRES:  # which reads none of the long ones, of which the pages take long
        nasty = [text for text in nasty if len(text) < 100]
    else:
        nasty += json.loads(shared("vectors/naughty-strings.json").read_text(encoding="utf-8"))[::200]
    # A route that is there is read by the form of a new one.
    paths = ("routes/new/", f"routes/{row.uid}/"), ("routes/default/", "try/")
    for number, text in enumerate(nasty):
        sent = {**dict.fromkeys(fields, text), "any_of": "0"}
        for either in paths:
            path = either[number % 2]
            assert client.post(url(org, path), sent).status_code in (200, 302, 422), (path, text[:50])
    for text in [] if ON_POSTGRES else [*nasty, "[" * 100_000]:  # where all else is right; no database is asked
        sent = dict.fromkeys(("chat", "metadata", "at"), text)
        assert client.post(url(org, "try/"), sent).status_code in (200, 422), text[:50]


def test_the_tokens_of_a_pasted_body_are_estimated_and_it_is_said_so(client: Client, org: Organization) -> None:
    a_route(org, "short ones", when={"input_tokens_lt": 101}, then={"target_model": "m"})
    body = json.dumps({"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 400}]})
    said = "taken for 100, a token for four characters"
    page = text_of(client.post(url(org, "try/"), {"chat": body}))
    assert "“short ones” takes it" in page
    assert said in page
    page = text_of(client.post(url(org, "try/"), {"chat": body, "input_tokens": "101"}))
    assert "No route takes it" in page
    assert "a token for four characters" not in page
    for without in ('{"model": "gpt-4o"}', '{"model": "gpt-4o", "messages": "x"}'):
        assert "a token for four characters" not in text_of(client.post(url(org, "try/"), {"chat": without}))


def test_a_lone_surrogate_in_a_chat_body_is_shown_as_a_replacement(client: Client, org: Organization) -> None:
    a_route(org, when={"model_in": ["a"]})
    page = text_of(client.post(url(org, "try/"), {"chat": '{"model": "x\\ud800"}'}))
    assert "x\ufffd" in page


def test_a_text_of_several_lines_is_tried_with_the_line_breaks_that_clients_send(
    client: Client, org: Organization
) -> None:
    a_route(org, "stop", when={"prompt_matches_any_of": ["(?m)^stop$"]})
    page = text_of(client.post(url(org, "try/"), {"prompt": "please\r\nstop\r\nnow"}))
    assert "“stop” takes it" in page


def test_a_route_that_may_take_a_request_is_named_with_the_field_of_what_is_not_given(
    client: Client, org: Organization
) -> None:
    a_route(org, "vip", when={"has_tools": True, "tag_equals": "a"})
    a_route(org, "others", priority=1, when={"input_tokens_lt": 10})
    page = unescape(text_of(client.post(url(org, "try/"), {"model": "big", "tag": "a"})))
    assert "As far as is known, no route takes it: it passes unchanged → big" in page
    assert (
        "<strong>“vip”</strong> would take it, if this holds: has tools."
        ' Not given: <a href="#id_has_tools">Has tools</a>.' in page
    )
    assert 'Not given: <a href="#id_input_tokens">Input tokens</a>.' in page
    assert '<details class="more" open><summary>More facts' in page, "the field is in sight"
    page = unescape(text_of(client.post(url(org, "try/"), {"model": "big", "tag": "a", "input_tokens": "9"})))
    assert "As far as is known, “others” takes it → gpt-4o-mini" in page
    assert "<strong>“vip”</strong>, which is asked before, would take it" in page
    for facts in ({"tag": "b", "input_tokens": "9"}, {"tag": "a", "input_tokens": "9", "has_tools": "false"}):
        page = text_of(client.post(url(org, "try/"), {"model": "big", **facts}))
        assert "As far as is known" not in page
        assert "would take it, if" not in page


def test_a_form_without_a_request_is_a_mistake_and_loses_nothing(client: Client, org: Organization) -> None:
    a_route(org, "all of them", when={})
    for empty in ({}, {"chat": "{}"}, {"unknown": ["tag"]}):
        page = text_of(client.post(url(org, "try/"), {"at": "2026-06-01T21:30", **empty}), 422)
        assert "Fill in at least this, or paste a body above." in page
        assert "“all of them” takes it" not in page
        assert "2026-06-01T21:30" in page
    for given in ({"model": "big"}, {"chat": '{"messages": []}'}, {"tag": "a"}):
        assert "“all of them” takes it" in text_of(client.post(url(org, "try/"), given))
    assert "was asked for by name" in text_of(client.post(url(org, "try/"), {"force": "all of them"}))
    for wrong in ("{", "[]"):
        page = text_of(client.post(url(org, "try/"), {"chat": wrong}), 422)
        assert "Fill in at least this" not in page, "there is one mistake, and it is in the body"


def test_a_time_beyond_the_calendar_is_refused_where_a_request_is_tried(client: Client, org: Organization) -> None:
    page = text_of(client.post(url(org, "try/"), {"at": "9999-12-31T23:59-05:00"}), 422)
    assert "Write a day and a time of it" in page
    assert "Not tried." in page


def test_the_second_of_two_editors_of_the_default_is_told_what_it_reads_now(client: Client, org: Organization) -> None:
    page = url(org, "routes/default/")
    opened = Controls(text_of(client.get(page))).sent
    set_default(org, engine.Action("colleague"), by=BY)
    a_route(org, "elsewhere")
    mine = {**opened.dict(), "kind": "send", "target_model": "mine"}
    refused = text_of(client.post(page, mine), 422)
    assert "Somebody changed this after you opened it. It now reads: colleague." in refused
    assert document_of(org).content["default"] == {"target_model": "colleague"}
    again = Controls(refused).sent
    assert again["target_model"] == "mine"
    assert client.post(page, again).status_code == 302
    assert document_of(org).content["default"] == {"target_model": "mine"}


def test_a_default_that_changes_while_the_form_is_checked_is_not_overwritten(client: Client, org: Organization) -> None:
    def read_too_early(read: Organization) -> None:
        set_default(org, engine.Action("colleague"), by=BY)

    with patch("routes.rules.editor.default_of", side_effect=read_too_early):
        page = text_of(client.post(url(org, "routes/default/"), {"kind": "send", "target_model": "mine"}), 422)
    assert "The routes changed since version 0" in page
    assert document_of(org).content["default"] == {"target_model": "colleague"}


def test_a_delete_that_no_gateway_would_load_is_told_not_an_error(client: Client, org: Organization) -> None:
    row = a_route(org)
    Organization.objects.filter(pk=org.pk).update(default_action={"unheard_of": 1})
    page = text_of(client.post(url(org, f"routes/{row.uid}/delete/"), {"revision": "1"}, follow=True))
    assert "unheard_of" in page
    assert Route.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    ("keys", "facts", "headline"),
    [
        ({}, {}, "“r” takes it → gpt-4o-mini"),
        ({"then": {"disable_cache": True}}, {}, "“r” takes it → big"),
        ({"then": {"target_model": "m", "provider": "azure"}}, {}, "“r” takes it → m at azure"),
        ({"paused": True}, {}, "“r” takes it, but is paused: it passes unchanged → big"),
        ({"then": {"target_model": "m", "traffic_pct": 0}}, {}, "outside its share of the requests"),
        (
            {"then": {"refuse": {"status": 403, "code": "no", "message": "Not you."}}},
            {},
            "“r” refuses it with 403 no: “Not you.”",
        ),
        ({"enabled": False}, {}, "No route takes it: it passes unchanged → big"),
        ({"when": {"tag_equals": "x"}}, {"force": "r"}, "“r” was asked for by name → gpt-4o-mini"),
        ({"active_until": "2026-01-01T00:00:00Z"}, {}, "No route takes it"),
        ({"active_until": "2026-01-01T00:00:00Z"}, {}, ">is active only until 2026-01-01 00:00 UTC<"),
        ({"enabled": False}, {}, ">is disabled<"),
        ({"paused": True}, {}, "It is paused: it takes the request, which passes unchanged."),
        ({"active_until": "2026-01-01T00:00:00Z"}, {"at": "2025-12-31T23:59"}, "“r” takes it"),
    ],
    ids=str,
)
def test_what_comes_of_a_request_is_said_in_words(
    client: Client, org: Organization, keys: dict[str, Any], facts: dict[str, str], headline: str
) -> None:
    a_route(org, **{"name": "r", "when": {}, **keys})
    page = text_of(client.post(url(org, "try/"), {"model": "big", "at": "2026-06-01T00:00", **facts}))
    assert headline in page.replace("&quot;", '"')
