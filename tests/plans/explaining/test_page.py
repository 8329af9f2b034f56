"""The page of one logged request."""

import json
import re
from collections import OrderedDict
from html import unescape
from typing import Any
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from plans.logs.models import RequestLog
from routes import engine
from routes.orgs.models import Organization, new_id
from routes.rules.services import delete_route, update_route
from tests.build import BY, a_person, a_route, an_org, many_routes, traffic
from tests.paths import shared

pytestmark = pytest.mark.django_db
OPEN = re.compile("<details[^>]* open>")
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7|add:7 }}",
    "=cmd|' /C calc'!A0",
    "../../etc",
]


@pytest.fixture
def org() -> Organization:
    return an_org()


def signed_in(org: Organization, role: str = "viewer") -> Client:
    client = Client()
    client.force_login(a_person(role, org, role))
    return client


def page(client: Client, request_id: str, status: int = 200, **more: str) -> str:
    answer = client.get("/admin/o/acme/logs/request/", {"id": request_id, **more})
    assert answer.status_code == status
    return unescape(answer.text)


def test_it_says_first_where_the_request_went_and_where_it_would_go(org: Organization) -> None:
    route = a_route(org, "short ones")
    taken = {"matched_route_id": route.uid, "reason": "matched", "decided_version": 1, "model": "gpt-4o-mini"}
    traffic(org, 1, **taken, latency_ms=1500, has_tools=True, synthetic=["latency_ms"], metadata={"team": "a", "n": 1})
    shown = page(signed_in(org), "r1")
    assert "Then: “short ones” took it, served by gpt-4o-mini" in shown
    assert "Now: “short ones” takes it → gpt-4o-mini" in shown
    assert "The version that decided is live still." in shown
    for text in ("100 tokens", "50 tokens", "1,500 ms", "$0.00075", "200, good", "n = 1, team = a", "first attempt"):
        assert text in shown, text
    assert shown.count("made up") == 1
    assert "Not kept in the log: request headers, the gateway's own figures, the text" in shown
    assert f'href="/admin/o/acme/routes/?q={route.uid}"' in shown, "a viewer cannot open the editor"
    wanted = engine.Route.from_dict({**route.as_document(), "name": "tiny", "when": {"input_tokens_lt": 9}})
    update_route(org, str(route.uid), wanted, by=BY, expected_revision=route.revision)
    shown = page(signed_in(org, "editor"), "r1")
    assert "Now: no route takes it: it passes unchanged → gpt-4o" in shown
    assert "“short ones” (now “tiny”) was changed in version 2: its conditions do not fit any more." in shown
    assert "short ones</a>, which is called “tiny” now" in shown
    assert "/history/compare/?from=1&to=2" in shown
    assert f"/admin/o/acme/routes/{route.uid}/" in shown


def test_the_answer_comes_first_then_what_was_asked_then_the_steps_then_the_rest(org: Organization) -> None:
    route = a_route(org, "short ones")
    traffic(
        org, 1, matched_route_id=route.uid, reason="matched", decided_version=1, request_digest="sha256:" + "a" * 64
    )
    traffic(org, 1, request_id="r2", request_digest="sha256:" + "a" * 64)
    delete_route(org, str(route.uid), by=BY, expected_revision=route.revision)
    shown = page(signed_in(org), "r1")
    order = (
        "Then: “short ones” took it", "Now: no route takes it", "Why version 1 and version 2 differ",
        "it comes out otherwise", "What was changed since", "Try it with changes", "What was asked", "What is not sure",
        "Then: version 1", "Now: version 2", "What was served", "Further attempts", "Others like it",
    )  # fmt: skip
    assert sorted(order, key=shown.index) == list(order)


def test_why_a_route_was_not_asked_is_said_as_of_then_and_as_of_now(org: Organization) -> None:
    a_route(org, "off", when={}, enabled=False, priority=500)
    a_route(org, "paused", when={}, paused=True)
    traffic(org, 1, decided_version=2, reason="paused")
    then, now = page(signed_in(org), "r1").split('id="h-then"')[1].split('id="h-now"')
    for text in ("It was paused: it took the request, which passed unchanged.", "was disabled"):
        assert text in then
    for text in ("It is paused: it takes the request, which passes unchanged.", "is disabled"):
        assert text in now
        assert text not in then


def test_before_the_first_version_nothing_decided_and_no_version_0_is_told(org: Organization) -> None:
    client = signed_in(org)
    traffic(org, 1)
    shown = page(client, "r1")
    for text in ("Nothing is published yet.", "Then: before the first version", "Now: before the first version"):
        assert text in shown
    traffic(org, 1, request_id="logged", decided_version=0, reason="no_match")
    assert "Nothing was published when it was decided." in page(client, "logged")
    a_route(org, "all", when={})
    a_route(org, "few", when={"tag_equals": "x"})
    traffic(org, 1, request_id="odd", model="other")
    for request_id in ("r1", "logged"):
        shown = page(client, request_id)
        assert "Nothing was published by then: whatever was asked for passed unchanged." in shown
        assert "“all” was added in version 1." in shown
        assert "By version 2, which is live" not in shown, "it does something else"
        assert "Everything up to version 2</a>" in shown
        assert "ersion 0" not in shown
    assert "Then: nothing was published yet; served by gpt-4o" in page(client, "r1")
    assert "Then: no route took it, served by gpt-4o" in page(client, "logged")
    shown = page(client, "odd")
    assert (
        "other served it. But nothing was published here by then: it asked for gpt-4o, and would have passed" in shown
    )
    assert "ersion 0" not in shown


def test_a_deleted_route_and_one_that_nobody_knows_are_told(org: Organization) -> None:
    route = a_route(org, "short ones")
    traffic(org, 1, matched_route_id=route.uid, reason="matched", decided_version=1, model="gpt-4o-mini")
    traffic(org, 1, request_id="r2", matched_route_id=new_id(), reason="matched", decided_version=1)
    delete_route(org, str(route.uid), by=BY, expected_revision=route.revision)
    client = signed_in(org)
    assert "“short ones”, which was deleted in version 2." in page(client, "r1")
    shown = page(client, "r2")
    assert "A route that is not known any more" in shown
    assert "it comes out otherwise than the log says." in shown


def test_an_id_that_is_not_there_is_asked_for_again(org: Organization) -> None:
    traffic(an_org("other"), 1, request_id="theirs")
    client = signed_in(org)
    for request_id in ("theirs", "nope", "x" * 5_000, "\0", "r1\0"):
        assert "No request with this id is in the log of this organisation." in page(client, request_id, 404)
    assert 'name="id"' in page(client, "")
    traffic(org, 1)
    assert 'Request <span class="mono">r1</span>' in page(client, "  r1\n"), "as it is pasted"
    assert client.post("/admin/o/acme/logs/request/", {"id": "r1"}).status_code == 405


@pytest.mark.parametrize("text", HOSTILE)
def test_whatever_a_row_holds_is_shown_and_led_to_as_text(org: Organization, text: str) -> None:
    route = a_route(org, text)
    columns = {
        "request_id": text, "tag": text, "model": text, "requested_model": text, "provider": text[:100], "variant": text,
        "metadata": {text: text, "n": [text]}, "cluster_key": text, "finish_reason": text[:50], "reason": "matched",
        "matched_route_id": route.uid, "decided_version": 1, "fact_sticky_key": text, "request_digest": text,
        "body": {"model": text, "messages": [{"role": "user", "content": text}]}, "cache_layer": text[:10], "cached": True,
    }  # fmt: skip
    traffic(org, 1, **columns)
    traffic(org, 1, **{**columns, "request_id": f"{text}?a=b&c/d#e"})
    editor = signed_in(org, "editor")
    for request_id in (text, f"{text}?a=b&c/d#e"):
        answer = editor.get("/admin/o/acme/logs/request/", {"id": request_id})
        assert answer.status_code == 200
        main = answer.text.split("<main")[1]
        assert "<script>alert" not in main
        assert "<img src=x" not in main
        assert quote(text, safe="") in main, "links to others like it"
        assert unescape(main).count(text) > 5


def test_naughty_strings_are_shown_as_text(org: Organization) -> None:
    listed = json.loads(shared("vectors/naughty-strings.json").read_text(encoding="utf-8"))
    texts = [text for text in listed if text.strip() and text.isprintable() and len(text) <= 200][:150]
    traffic(org, 1)
    client = signed_in(org)
    for text in texts:
        RequestLog.objects.update(request_id=text, tag=text, metadata={"team": text})
        assert text in page(client, text), text


# --- From there -------------------------------------------------------------------------------------------------------


def hidden(shown: str) -> dict[str, Any]:
    """The hidden fields of the form that leads on."""
    form = shown.split('<form method="post" action="/admin/o/acme/try/"')[1].split("</form>")[0]
    found: dict[str, Any] = {}
    for name, value in re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form):
        found.setdefault(name, []).append(unescape(value))
    found.pop("csrfmiddlewaretoken")
    return found


def the_form(client: Client, request_id: str) -> dict[str, Any]:
    return hidden(client.get("/admin/o/acme/logs/request/", {"id": request_id}).text)


FACTS = {
    "tag": "a b", "metadata": {"team": "a, b = c", "q": 'x"y'}, "has_tools": True, "has_images": False,
    "fact_input_tokens": 90, "fact_estimated_cost_usd": "0.000000001", "fact_sticky_key": "k" * 64,
    "fact_upstream_latency_ms_p95": 700,
}  # fmt: skip


def test_it_is_tried_with_the_very_facts_and_the_text_for_editors_alone(org: Organization) -> None:
    a_route(org, "short ones")
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "secret\r\nsalary"}]}
    traffic(org, 1, **FACTS, body=body)
    editor, viewer = signed_in(org, "editor"), signed_in(org)
    facts = the_form(editor, "r1")
    assert json.loads(facts.pop("chat")[0]) == body
    assert facts == the_form(viewer, "r1") == {
        "model": ["gpt-4o"], "input_tokens": ["90"], "tag": ["a b"], "at": ["2026-05-01T00:01"], "has_images": ["false"],
        "has_tools": ["true"], "estimated_cost_usd": ["1E-9"], "upstream_latency_ms_p95": ["700"],
        "metadata": facts["metadata"], "request_id": ["r1"], "sticky_key": ["k" * 64], "unknown": ["headers"],
    }  # fmt: skip
    shown = viewer.get("/admin/o/acme/logs/request/", {"id": "r1"}).text
    assert "secret" not in shown
    assert "Without its text, which editors see." in shown
    answer = editor.post("/admin/o/acme/try/", the_form(editor, "r1"))
    assert answer.status_code == 200, answer.text
    tried = unescape(answer.text)
    assert "“short ones” takes it → gpt-4o-mini" in tried
    assert "secret\\r\\nsalary" in tried
    kept = editor.post("/admin/o/acme/examples/new/", {**the_form(editor, "r1"), "keep": "1"})
    assert (kept.status_code, "short ones" in kept.text) == (200, True)
    assert viewer.post("/admin/o/acme/examples/new/", {**the_form(viewer, "r1"), "keep": "1"}).status_code == 403


def test_a_text_that_is_too_long_for_a_form_is_left_out(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plans.explaining.admin._MOST_BODY", 100)
    traffic(org, 1, body={"model": "gpt-4o", "messages": [{"role": "user", "content": "x" * 100}]})
    editor = signed_in(org, "editor")
    assert "chat" not in the_form(editor, "r1")
    assert "Without its text, which is too long." in page(editor, "r1")


def test_what_no_machine_could_load_is_told_on_its_side_alone(
    org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = a_route(org, "short ones")
    traffic(org, 1, matched_route_id=route.uid, reason="matched", decided_version=1, model="gpt-4o-mini")
    a_route(org, "other", when={"tag_equals": "x"})

    def rejected(*_: Any, **__: Any) -> None:
        raise engine.errors.DocumentRejected("It needs re2.")

    monkeypatch.setattr("routes.engine.Engine.from_document", rejected)
    monkeypatch.setattr("routes.live._kept", OrderedDict())
    monkeypatch.setattr("plans.explaining.services._compiled", OrderedDict())
    shown = page(signed_in(org), "r1")
    assert "Then: “short ones” took it, served by gpt-4o-mini" in shown
    assert shown.count("Nothing can be decided by it here. It needs re2.") == 3


def test_a_route_that_was_asked_for_by_name_is_tried_by_name(org: Organization) -> None:
    route = a_route(org, "by name", when={"tag_equals": "x"})
    traffic(org, 1, matched_route_id=route.uid, reason="forced", decided_version=1, model="gpt-4o-mini")
    client = signed_in(org)
    assert the_form(client, "r1")["force"] == ["by name"]
    assert "“by name” was asked for by name" in unescape(client.post("/admin/o/acme/try/", the_form(client, "r1")).text)


def test_a_thousand_routes_are_folded_and_few_of_them_told_unless_all_are_asked_for(org: Organization) -> None:
    many_routes(org, 300)
    traffic(org, 1, decided_version=1, model="gpt-4o", reason="no_match")
    client = signed_in(org)
    shown = page(client, "r1")
    assert "And 280 more." in shown
    assert OPEN.findall(shown) == ['<details class="ra-others" open>'] * 2, "of 20 lines each"
    everything = page(client, "r1", all="1")
    assert OPEN.findall(everything) == []
    assert "more.</p>" not in everything
    assert everything.count("route 299") == 2
    tried = client.post("/admin/o/acme/try/", {"model": "gpt-4o", "input_tokens": "1"}).text
    assert "And 280 more." in tried
    assert "more.</p>" not in client.post("/admin/o/acme/try/", {"model": "gpt-4o", "all": "1"}).text


@pytest.mark.parametrize("count", [10, 300])
def test_the_page_costs_as_many_queries_for_ten_routes_as_for_hundreds(org: Organization, count: int) -> None:
    many_routes(org, count)
    traffic(org, 200, decided_version=1, reason="no_match")
    a_route(org, "short ones")
    client = signed_in(org)
    page(client, "r1")
    with CaptureQueriesContext(connection) as queries:
        page(client, "r1")
    log = [query["sql"] for query in queries if "plans_requestlog" in query["sql"]]
    assert (len(log), any("COUNT(" in sql for sql in log)) == (1, False)
    assert len(queries) == 11
