"""The list of routes: what somebody searches for, a page at a time, and where an act leads back to."""

import re
from typing import Any
from unittest.mock import patch

import pytest
from django.test import Client

from routes.orgs.models import Organization
from routes.rules import findings, listing
from routes.rules.models import Route
from tests.build import a_person, a_route, many_routes, usual_prices
from tests.routes.rules.test_pages import text_of, url
from tests.routes.rules.test_route_form import Controls

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


@pytest.fixture
def few(org: Organization) -> dict[str, Route]:
    return {
        row.name: row
        for row in (
            a_route(org, "Summaries", priority=9, when={"tag_equals": "summarize"}),
            a_route(org, "pictures", priority=8, when={"has_images": True}, then={"target_model": "gpt-4o"}, paused=True),
            a_route(
                org, "long ones", priority=7, when={"input_tokens_gt": 5000}, enabled=False,
                meta={"owner": "Platform", "labels": {"stage": "trial"}, "description": "costs <too> much"},
            ),
        )
    }  # fmt: skip


def names(page: str) -> list[str]:
    return [part.split('"')[0] for part in page.split('data-name="')[1:]]


def shown(client: Client, org: Organization, **asked: Any) -> str:
    return text_of(client.get(url(org, "routes/"), asked))


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("summar", ["Summaries"]), ("SUMMARIZE", ["Summaries"]), ("images", ["pictures"]),
        ("gpt-4o-mini", ["Summaries", "long ones"]),
        ("platform", ["long ones"]), ("trial", ["long ones"]), ("stage", ["long ones"]), ("<too>", ["long ones"]),
        ("5,000", ["long ones"]), ("gpt-4o images", ["pictures"]), ("pictures trial", []), ("%", []), (".*", []),
        ("  ", ["Summaries", "pictures", "long ones"]), ("\0summar", ["Summaries"]),
    ],
)  # fmt: skip
def test_a_route_is_found_by_whatever_the_list_says_of_it(
    client: Client, org: Organization, words: str, found: list[str]
) -> None:
    assert names(shown(client, org, q=words)) == found


def test_a_route_is_found_by_its_id(client: Client, org: Organization, few: dict[str, Route]) -> None:
    uid = str(few["pictures"].uid)
    assert names(shown(client, org, q=uid)) == ["pictures"]
    assert names(shown(client, org, q=uid[-8:].upper())) == ["pictures"]
    assert names(shown(client, org, q=uid[:4])) == [], "a few digits are in any"


def test_words_that_no_route_has_lead_to_names_that_are_like_them(client: Client, org: Organization) -> None:
    for name in ("europe chat", "pictures & more", "x"):
        a_route(org, name)
    page = client.get(f"/admin/o/{org.slug}/routes/", {"q": "eurpe"}).text
    assert 'Did you mean <a href="?q=europe%20chat">europe chat</a>?' in page
    assert "Show all routes." in page
    page = client.get(f"/admin/o/{org.slug}/routes/", {"q": "picturs"}).text
    assert '<a href="?q=pictures%20%26%20more">pictures &amp; more</a>?' in page
    for text in ("nothing of the kind", "europe", ""):
        assert "Did you mean" not in client.get(f"/admin/o/{org.slug}/routes/", {"q": text}).text


@pytest.mark.usefixtures("few")
def test_states_are_counted_and_chosen(client: Client, org: Organization) -> None:
    def counts(page: str) -> dict[str, str]:
        nav = page.split('aria-label="Which routes"')[1].split("</nav>")[0]
        links = [link.split("</span>")[0] for link in nav.split("<a ")[1:]]
        return {link.split(">")[1].split("<")[0].strip(): link.rsplit(">", 1)[1] for link in links}

    page = shown(client, org)
    assert counts(page) == {"all": "3", "active": "1", "paused": "1", "not active": "1", "needs attention": "0"}
    for state, found in (("active", "Summaries"), ("paused", "pictures"), ("inactive", "long ones")):
        assert names(shown(client, org, state=state)) == [found]
    assert counts(shown(client, org, q="gpt-4o-mini", state="inactive"))["active"] == "1", "of those that the words fit"
    assert names(shown(client, org, state="nonsense")) == names(page)
    assert "Nothing is odd about any route." in shown(client, org, state="odd")
    assert "No route is like that." in shown(client, org, q="nothing such")


def test_what_lint_warns_of_is_chosen(client: Client, org: Organization) -> None:
    usual_prices()
    a_route(org, "all", priority=900, when={})
    a_route(org, "late")
    assert names(shown(client, org, state="odd")) == ["late"]


def test_a_long_list_comes_in_pages_that_keep_what_was_asked_for(client: Client, org: Organization) -> None:
    many_routes(org, 25)
    with patch.object(listing, "PAGE", 10):
        pages = [shown(client, org, page=number) for number in (1, 2, 3, 99, "x")]
        assert [len(names(page)) for page in pages] == [10, 10, 5, 5, 10]
        assert sorted(name for page in pages[:3] for name in names(page)) == sorted(
            f"route {number}" for number in range(25)
        )
        assert "11 to 20 of 25 routes" in pages[1]
        assert ">11</td>" in pages[1], "its number among all"
        found = shown(client, org, q="team-1", page=2)
        assert len(names(found)) == 1
        assert "?q=team-1" in found
        assert "page=2" not in found.split("Before</a>")[0].rsplit("<a ", 1)[1]
    assert "data-attention" not in shown(client, org)


def test_a_step_on_a_page_is_a_step_in_the_whole_order(client: Client, org: Organization) -> None:
    many_routes(org, 25)
    was = [str(row.uid) for row in Route.objects.of(org).in_order()]
    with patch.object(listing, "PAGE", 10):
        sent = Controls(shown(client, org, page=2)).sent.dict()
        answer = client.post(url(org, "routes/reorder/"), {**sent, "move": f"{was[10]} up"})
    assert answer["Location"] == url(org, "routes/") + "?page=2", "back to the page that was looked at"
    now = [str(row.uid) for row in Route.objects.of(org).in_order()]
    assert now == [*was[:9], was[10], was[9], *was[11:]]


def test_the_first_route_is_not_offered_to_go_up_nor_the_last_one_down(client: Client, org: Organization) -> None:
    for name in "abc":
        a_route(org, name)
    page = client.get(f"/admin/o/{org.slug}/routes/").text
    assert re.findall(r'aria-label="Move “(.)” (\w+)" disabled', page) == [("a", "up"), ("c", "down")]
    page = client.get(f"/admin/o/{org.slug}/routes/", {"q": "b"}).text
    assert not re.findall(r'aria-label="Move “.” \w+" disabled', page), "it moves past those out of sight"


def test_an_act_leads_back_to_what_was_looked_at(client: Client, org: Organization, few: dict[str, Route]) -> None:
    for act, state in (("disable", False), ("enable", True)):
        sent = Controls(shown(client, org, q="gpt", state="active" if act == "disable" else "inactive")).sent.dict()
        sent["ids"] = str(few["pictures"].uid)
        answer = client.post(url(org, "routes/bulk/"), {**sent, "one": f"{act} {few['Summaries'].uid}"})
        assert answer["Location"] == url(org, f"routes/?q=gpt&state={'active' if act == 'disable' else 'inactive'}")
        few["Summaries"].refresh_from_db()
        assert few["Summaries"].enabled is state
    assert Route.objects.get(name="pictures").enabled, "its button means this route alone, whichever are chosen"
    away = {**Controls(shown(client, org)).sent.dict(), "shown": "//evil.example/?next=//evil.example"}
    answer = client.post(url(org, "routes/bulk/"), {**away, "one": f"disable {few['Summaries'].uid}"})
    assert answer["Location"] == url(org, "routes/")


@pytest.mark.usefixtures("few")
def test_of_many_routes_what_is_odd_comes_once_it_is_known(client: Client, org: Organization) -> None:
    usual_prices()
    a_route(org, "all", priority=900, when={})
    findings._known.clear()
    with (
        patch.object(listing, "_JUDGED_AT_ONCE", 2),
        patch.object(findings.engine, "lint", wraps=findings.engine.lint) as lint,
    ):
        page = shown(client, org)
        assert (lint.called, "never reached" in page) == (False, False)
        place = page.split('data-attention="')[1].split('"')[0]
        viewer = Client()
        viewer.force_login(a_person("vera", org, "viewer"))
        assert viewer.get(place).json() == {"count": 2}
        page = shown(client, org)
        assert ("data-attention" in page, "never reached" in page, lint.call_count) == (False, True, 1)


def test_a_copy_opens_in_the_editor_and_is_not_saved_yet(
    client: Client, org: Organization, few: dict[str, Route]
) -> None:
    row = few["long ones"]
    page = text_of(client.get(url(org, f"routes/new/?like={row.uid}")))
    assert "A copy of “long ones”, with another name. Nothing is saved yet." in page
    assert Route.objects.of(org).count() == 3
    sent = Controls(page).sent.dict()
    assert sent["name"] == "long ones (copy)"
    assert client.post(url(org, "routes/new/"), sent).status_code == 302
    copy = Route.objects.get(name="long ones (copy)")
    same = ("priority", "enabled", "paused", "conditions", "target", "meta")
    assert [getattr(copy, name) for name in same] == [getattr(row, name) for name in same]
    page = text_of(client.get(url(org, f"routes/new/?like={row.uid}")))
    assert Controls(page).sent["name"] == "long ones (copy 2)"
    a_route(org, "x" * 200, priority=1)
    longest = Route.objects.get(name="x" * 200)
    assert (
        Controls(text_of(client.get(url(org, f"routes/new/?like={longest.uid}")))).sent["name"] == "x" * 193 + " (copy)"
    )
    for other in ("nonsense", "01900000-0000-7000-8000-000000000000"):
        assert client.get(url(org, f"routes/new/?like={other}")).status_code == 404


def test_however_many_routes_there_are_the_database_is_asked_alike(
    client: Client, org: Organization, django_assert_max_num_queries: Any
) -> None:
    many_routes(org, 150)
    with django_assert_max_num_queries(10):
        shown(client, org)
    with django_assert_max_num_queries(10):
        shown(client, org, q="team-7", state="active")
