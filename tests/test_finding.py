"""The way to anything by a few letters, and the page of gateways."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.html import escape

from routes.fleet.models import GatewayInstance
from routes.fleet.services import report
from routes.orgs.models import Organization
from tests.build import a_person, a_plan, a_route, a_service, an_example, an_org, traffic, usual_prices

pytestmark = pytest.mark.django_db
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def org() -> Organization:
    return an_org()


def signed_in(org: Organization, role: str) -> Client:
    client = Client()
    client.force_login(a_person(role, org, role))
    return client


def found(client: Client, text: str, where: str = "o/acme/") -> list[tuple[str, str]]:
    answer = client.get(f"/admin/{where}find/", {"q": text, "as": "json"})
    return [(one["kind"], one["title"]) for one in answer.json()["results"]]


def test_everything_that_has_a_name_is_found(org: Organization) -> None:
    usual_prices()
    a_route(org, "cheap summaries")
    a_plan(org, name="cheap nights")
    an_example(org, "cheap one")
    report(org, "cheap-1", running=1, rejected=None, schema_max=1, engine="0.1", extras=[])
    editor = signed_in(org, "editor")
    a_service(org, "cheap-api", hosts=["api.acme.example"])
    kinds = {kind for kind, _ in found(editor, "cheap")}
    assert kinds == {"route", "service", "plan", "example", "gateway"}
    assert found(editor, "acme.example") == [("service", "cheap-api")]
    assert found(editor, "SUMMARIES cheap") == [("route", "cheap summaries")]
    assert found(editor, "v1") == [("version", "Version 1")]
    assert ("model", "gpt-4o-mini") in found(editor, "4o-mini")
    assert found(editor, "nothing of the kind") == []
    for one in editor.get("/admin/o/acme/find/", {"q": "cheap", "as": "json"}).json()["results"]:
        assert editor.get(one["url"]).status_code == 200, one


def test_what_nothing_is_called_leads_to_names_that_are_like_it(org: Organization) -> None:
    usual_prices()
    a_route(org, "cheap summaries")
    a_plan(org, name="cheap nights")
    a_route(an_org("other"), "cheap sumaries of others")
    editor, viewer = signed_in(org, "editor"), signed_in(org, "viewer")

    def near(client: Client, text: str, where: str = "o/acme/") -> tuple[bool, list[tuple[str, str]]]:
        is_near = client.get(f"/admin/{where}find/", {"q": text, "as": "json"}).json()["is_near"]
        return is_near, found(client, text, where)

    assert near(editor, "sumaries") == (True, [("route", "cheap summaries")])
    a_service(org, "billing")
    assert near(editor, "biling") == (True, [("service", "billing")])
    assert near(editor, "Cheap Nigths") == (True, [("plan", "cheap nights")])
    assert near(editor, "gpt4o-mini") == (True, [("model", "gpt-4o-mini")])
    assert near(editor, "Acess") == (False, []), "an editor may not go there"
    assert near(editor, "histroy") == (True, [("page", "History")])
    assert near(editor, "New ruote") == (True, [("action", "New route")])
    assert near(viewer, "New ruote") == (False, [])
    assert near(editor, "summaries")[0] is False, "something is called so"
    a_route(org, "off", enabled=False, paused=True)
    a_route(org, "halted", paused=True)
    for name, state in (("off", "disabled"), ("halted", "paused"), ("cheap summaries", "")):
        one = editor.get("/admin/o/acme/find/", {"q": name, "as": "json"}).json()["results"][0]
        assert (one["title"], one["hint"]) == (name, state)
    for name in (*(f"night shift {n}" for n in range(7)), "night shift"):
        a_route(org, name)
    assert near(editor, "nigth shift")[1][0] == ("route", "night shift")
    assert near(editor, "night shift")[1][0] == ("route", "night shift"), "and where it is written right"
    assert near(editor, "acmee", "")[1] == [("organisation", "Acme")]
    page = editor.get("/admin/o/acme/find/", {"q": "sumaries"}).text
    assert "Nothing here is called “sumaries”. These names are like it:" in page
    assert "<span>cheap summaries</span>" in page


@pytest.mark.parametrize("request_id", ["req_1", "a/b?c=d&e#f", "../..", "<b>", "x" * 200])
def test_a_request_of_the_log_is_found_by_its_whole_id(org: Organization, request_id: str) -> None:
    traffic(org, 1, request_id=request_id)
    traffic(an_org("other"), 1, request_id="theirs")
    viewer = signed_in(org, "viewer")
    (one,) = viewer.get("/admin/o/acme/find/", {"q": f" {request_id} ", "as": "json"}).json()["results"]
    assert (one["kind"], one["title"]) == ("request", request_id)
    assert f"{escape(request_id)}</span>" in viewer.get(one["url"]).text
    for text in (request_id[:-1], "theirs", "%"):
        assert ("request", request_id) not in found(viewer, text)
        assert ("request", text) not in found(viewer, text)


def test_nobody_is_led_where_one_may_not_go(org: Organization) -> None:
    a_route(an_org("other"), "cheap elsewhere")
    viewer = signed_in(org, "viewer")
    assert ("page", "Access") not in found(viewer, "")
    assert found(viewer, "new route") == []
    assert found(viewer, "cheap") == found(viewer, "other") == []
    assert found(viewer, "", "") == [("organisation", "Acme")]
    assert ("page", "Access") in found(signed_in(org, "admin"), "")
    assert found(signed_in(org, "editor"), "new route") == [("action", "New route")]


@pytest.mark.parametrize("text", [HOSTILE, "\0", "%", "x" * 5_000, "'", "9" * 400])
def test_any_text_is_looked_for_and_shown_as_text(org: Organization, text: str) -> None:
    a_route(org, HOSTILE)
    answer = signed_in(org, "editor").get("/admin/o/acme/find/", {"q": text})
    assert answer.status_code == 200
    assert HOSTILE not in answer.text
    assert ("&lt;script&gt;" in answer.text) == (text == HOSTILE)


def test_gateways_that_need_somebody_come_first(org: Organization) -> None:
    a_route(org)
    said: dict[str, Any] = {"rejected": None, "schema_max": 1, "engine": "0.1", "extras": ["regex"]}
    report(org, "a-good", running=1, **said)
    report(org, "b-behind", running=0, **said)
    report(org, "c-silent", running=1, **said)
    report(org, "d-bad", running=0, **{**said, "rejected": {"version": 1, "code": "x", "detail": HOSTILE}})
    GatewayInstance.objects.filter(instance="c-silent").update(reported_at=timezone.now() - timedelta(hours=1))
    page = signed_in(org, "viewer").get("/admin/o/acme/gateways/").text
    places = [page.index(name) for name in ("d-bad", "c-silent", "b-behind", "a-good")]
    assert places == sorted(places)
    assert ("1 version behind" in page, "rejects version 1" in page, HOSTILE in page) == (True, True, False)
    GatewayInstance.objects.all().delete()
    assert "No gateway has reported itself" in signed_in(an_org("empty"), "admin").get("/admin/o/empty/gateways/").text
