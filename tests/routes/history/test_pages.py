"""The pages about what was published: the timeline, the comparison, and the confirmation that says what will happen."""

import html
import re
from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from routes import engine
from routes.history import admin as pages
from routes.orgs.models import Organization
from routes.orgs.policy import freeze
from routes.orgs.services import update_organization
from routes.rules.models import Route
from routes.rules.services import delete_route, set_default, update_route
from routes.versions.models import RouteSetVersion
from tests.build import BY, a_person, a_route
from tests.routes.rules.test_pages import text_of, url
from tests.routes.rules.test_route_form import Controls

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


@pytest.fixture
def three(org: Organization) -> Organization:
    """A route by edda's colleague; another priority; none."""
    row = a_route(org)
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 7}), by=a_person("carl"))
    delete_route(org, row.uid, by=BY)
    return org


def test_the_timeline_tells_who_did_what_when(client: Client, three: Organization) -> None:
    RouteSetVersion.objects.filter(org=three, version=2).update(note="Cheaper <b>at night</b>")
    page = text_of(client.get(url(three, "history/")))
    for words in ("“short” was added", "“short” was changed", "“short” was deleted", "carl"):
        assert words in page
    assert "Cheaper &lt;b&gt;at night&lt;/b&gt;" in page
    assert page.index("“short” was deleted") < page.index("“short” was changed") < page.index("“short” was added")
    assert page.count("Restore …") == 2, "what is live need not be restored"


def test_a_note_is_shown_though_its_words_stand_above_it_and_a_plans_name_once(
    client: Client, three: Organization
) -> None:
    versions = RouteSetVersion.objects.filter(org=three)
    versions.filter(version=2).update(note="short")
    versions.filter(version=1).update(cause="plan.applied", about="“cheap nights”", note="cheap nights")
    versions.filter(version=3).update(cause="plan.applied", about="“cheap nights”", note="cheap")
    page = text_of(client.get(url(three, "history/")))
    assert "<blockquote>short</blockquote>" in page
    assert "<blockquote>cheap nights</blockquote>" not in page
    assert "<blockquote>cheap</blockquote>" in page
    assert "<blockquote>cheap</blockquote>" in text_of(client.get(url(three, "")))


def test_a_long_history_has_pages(client: Client, three: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)
    first = text_of(client.get(url(three, "history/")))
    assert "?before=2" in first
    assert "Newest" not in first
    second = text_of(client.get(url(three, "history/?before=2")))
    assert "“short” was added" in second
    assert "“short” was changed" not in second
    assert "Newest" in second
    assert "“short” was changed" in text_of(client.get(url(three, "history/?before=x")))


def test_any_two_versions_are_compared_in_words_and_by_field(client: Client, three: Organization) -> None:
    page = text_of(client.get(url(three, "history/compare/?from=1&to=2")))
    assert "priority 100" in page
    assert "priority 7" in page
    assert '<span class="mono">priority</span>: <span class="mono">100</span> → <span class="mono">7</span>' in page
    assert "removed" in text_of(client.get(url(three, "history/compare/")))
    assert "no routes" in text_of(client.get(url(three, "history/compare/?from=0&to=1")))
    assert "Nothing differs." in text_of(client.get(url(three, "history/compare/?from=2&to=2")))
    set_default(three, engine.Action("small"), by=BY)
    page = text_of(client.get(url(three, "history/compare/?from=3&to=4")))
    assert "Requests that no route takes" in page
    assert '<span class="mono">target_model</span>: <span class="mono">null</span>' in page


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [("from=9&to=1", 404, "no such version"), ("to=9", 404, "no such version"), ("from=x", 422, "named by their numbers"),
     ("from=-1&to=1", 422, "by their numbers"), ("from=1&to=" + "9" * 30, 422, "by their numbers"),
     ("to=１", 422, "by their numbers"), ("from=1&to=2", 410, "not kept any more"), ("to=1", 410, "not kept any more")],
)  # fmt: skip
def test_what_cannot_be_compared_is_told(
    client: Client, three: Organization, query: str, status: int, says: str
) -> None:
    RouteSetVersion.objects.filter(org=three, version=1).update(content=None)
    assert says in text_of(client.get(url(three, f"history/compare/?{query}")), status)


@pytest.mark.parametrize("gone", [[1], [1, 2], [2]])
def test_a_comparison_that_is_offered_is_there(client: Client, three: Organization, gone: list[int]) -> None:
    RouteSetVersion.objects.filter(org=three, version__in=gone).update(content=None)
    page = text_of(client.get(url(three, "history/")))
    offered = re.findall(r'href="([^"]*compare/\?[^"]*)"', page)
    assert len(offered) == len([version for version in (1, 2, 3) if not {version, version - 1} & set(gone)])
    for link in offered:
        assert client.get(html.unescape(link)).status_code == 200
    assert page.count("“short” was") == 3


def test_without_numbers_the_newest_that_is_kept_is_compared(client: Client, three: Organization) -> None:
    for gone, kept in ((2, 1), (1, 0)):
        RouteSetVersion.objects.filter(org=three, version=gone).update(content=None)
        assert f"From version {kept} to version 3" in text_of(client.get(url(three, "history/compare/")))


def test_nothing_published_has_a_history_too(client: Client, org: Organization) -> None:
    assert "Nothing was published yet." in text_of(client.get(url(org, "history/")))
    assert "Nothing differs." in text_of(client.get(url(org, "history/compare/")))
    assert client.get(url(org, "history/1/restore/")).status_code == 404


def test_the_confirmation_says_what_will_happen_and_then_it_does(client: Client, three: Organization) -> None:
    page = text_of(client.get(url(three, "history/2/restore/")))
    assert "in place of version 3" in page
    assert "Restore version 2: 1 change<" in page
    sent = Controls(page).sent
    assert sent["seen"] == "3"
    page = text_of(client.post(url(three, "history/2/restore/"), {**sent, "note": "It was right"}, follow=True))
    assert "Version 2 is live again, as version 4. Audit receipt: entry" in page
    assert "It was right" in page
    assert Route.objects.get().priority == 7
    assert AuditEntry.objects.filter(action="version.restored", actor_type="user").count() == 1


def test_where_somebody_was_faster_it_is_told_and_nothing_is_lost(client: Client, three: Organization) -> None:
    sent = Controls(text_of(client.get(url(three, "history/2/restore/")))).sent
    a_route(three, "urgent")
    page = text_of(client.post(url(three, "history/2/restore/"), {**sent, "note": "It was right"}), 422)
    assert "“urgent” was added by test after you looked: version 4 is live now." in page
    assert "urgent" in page
    assert Route.objects.get().name == "urgent", "nothing was restored"
    again = Controls(page).sent
    assert (again["seen"], again["note"].strip()) == ("4", "It was right")
    assert "as version 5" in text_of(client.post(url(three, "history/2/restore/"), again, follow=True))


def test_what_cannot_be_restored_is_told(client: Client, three: Organization) -> None:
    assert "this is what is live" in text_of(client.get(url(three, "history/3/restore/")))
    sent = {"seen": "3", "note": ""}
    page = text_of(client.post(url(three, "history/2/restore/"), {**sent, "note": "a\x07b"}), 422)
    assert "Control characters" in page
    update_organization(three, approval="all", by=BY)
    assert "second person approves" in text_of(client.post(url(three, "history/2/restore/"), sent), 422)
    freeze(three, reason="an incident", by=BY)
    assert "an incident" in text_of(client.post(url(three, "history/2/restore/"), sent), 422)
    RouteSetVersion.objects.filter(org=three, version=2).update(content=None)
    assert "not kept any more" in text_of(client.get(url(three, "history/2/restore/"), follow=True))
    assert "retired" in text_of(client.get(url(three, "history/")))
    assert not Route.objects.exists()


def test_who_only_looks_is_offered_nothing_else(three: Organization) -> None:
    viewer = Client()
    viewer.force_login(a_person("vera", three, "viewer"))
    for path in ("history/", "history/compare/?from=1&to=2"):
        page: Any = text_of(viewer.get(url(three, path)))
        assert "Restore" not in page
    assert viewer.get(url(three, "history/1/restore/")).status_code == 403
    assert viewer.post(url(three, "history/1/restore/"), {"seen": "3"}).status_code == 403
