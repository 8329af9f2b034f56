"""Why a route is changed: the pages ask for it, the history shows it."""

import pytest
from django.test import Client

from audit.models import AuditEntry
from audit.services import payload_of
from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.versions.models import RouteSetVersion
from tests.build import a_person, a_route, usual_prices
from tests.routes.rules.test_pages import text_of, url
from tests.routes.rules.test_route_form import NEW, Controls

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


def sent_from(client: Client, org: Organization, path: str) -> dict[str, str]:
    sent: dict[str, str] = Controls(text_of(client.get(url(org, path)))).sent.dict()
    return sent


@pytest.mark.parametrize("page", ["new", "edit", "delete", "default", "bulk", "pause"])
def test_a_page_keeps_the_note_with_the_version_and_its_entry(client: Client, org: Organization, page: str) -> None:
    row = a_route(org, "there")
    path, typed = {
        "new": ("routes/new/", {**NEW, "name": "fresh"}),
        "edit": (f"routes/{row.uid}/", {"priority": "7"}),
        "delete": (f"routes/{row.uid}/delete/", {}),
        "default": ("routes/default/", {"kind": "send", "target_model": "m"}),
        "pause": (f"routes/{row.uid}/pause/", {"revision": str(row.revision)}),
        "bulk": ("routes/bulk/", {"do": "delete", "ids": str(row.uid), "version": "1", "confirmed": "1"}),
    }[page]
    shown = {} if page in ("bulk", "pause") else sent_from(client, org, path)
    wrong = text_of(client.post(url(org, path), {**shown, **typed, "note": "a\u2028b"}), 422)
    assert "Control characters" in wrong
    assert 'name="note"' in wrong
    assert RouteSetVersion.objects.of(org).order_by("-version")[0].version == 1
    again = {**shown, **Controls(wrong).sent.dict(), **typed, "note": "Too dear at night.\r\nAsked by Ünal"}
    assert client.post(url(org, path), again).status_code == 302
    newest = RouteSetVersion.objects.of(org).order_by("-version")[0]
    assert (newest.version, newest.note.splitlines()) == (2, ["Too dear at night.", "Asked by Ünal"])
    assert (payload_of(AuditEntry.objects.filter(org_id=org.pk).order_by("-seq")[0]) or {})["note"] == newest.note
    assert "Too dear at night." in text_of(client.get(url(org, "history/")))


def test_the_note_stays_while_something_else_is_put_right_or_json_is_used(client: Client, org: Organization) -> None:
    typed = {**NEW, "name": "", "note": "Why not"}
    assert Controls(text_of(client.post(url(org, "routes/new/"), typed), 422)).sent["note"] == "Why not"
    used = {**typed, "use_json": "on", "json": '{"name": "a", "then": {"target_model": "m"}}'}
    assert Controls(text_of(client.post(url(org, "routes/new/"), used))).sent["note"] == "Why not"


@pytest.mark.django_db(transaction=True)
def test_a_change_that_must_be_a_plan_takes_its_note_along_even_where_something_would_be_asked(
    client: Client, org: Organization
) -> None:
    usual_prices()
    Organization.objects.filter(pk=org.pk).update(approval="all")
    answer = client.post(url(org, "routes/new/"), {**NEW, "target_model": "nobody-knows", "note": "Too dear"})
    plan = PlanRun.objects.get()
    assert answer.headers["Location"] == url(org, f"plans/{plan.pk}/")
    assert not Route.objects.exists()
    assert "Too dear" in text_of(client.get(url(org, f"plans/{plan.pk}/")))
