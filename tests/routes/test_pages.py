"""What happens on every page whose change becomes the draft of a plan."""

from typing import Any

import pytest
from django.test import Client

from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from routes.orgs.services import update_organization
from routes.pages import whole_number
from routes.rules.models import Route
from routes.rules.services import pause_route
from tests.build import BY, a_person, a_route, an_org
from tests.routes.rules.test_pages import text_of, url
from tests.routes.rules.test_route_form import Controls

WRITTEN = '{"routes": [{"name": "new", "then": {"target_model": "m"}}]}'


def pressed(client: Client, org: Organization, path: str) -> tuple[str, dict[str, Any]]:
    """Where the page of a change sends what, once somebody who wants it has filled it in."""
    uid = {row.name: str(row.uid) for row in Route.objects.of(org)}
    where = {
        "bulk": "routes/bulk/", "reorder": "routes/reorder/", "resume": f"routes/{uid['b']}/resume/",
        "delete": f"routes/{uid['a']}/delete/", "edit": f"routes/{uid['a']}/", "new": "routes/new/",
        "default": "routes/default/", "restore": "history/1/restore/", "import": "routes/import/",
    }[path]  # fmt: skip
    if path == "import":
        asked = {"text": WRITTEN, "mode": "merge", "note": "Ticket 4711", "step": "compare"}
        shown = text_of(client.post(url(org, where), asked))
    else:
        shown = text_of(client.get(url(org, "routes/" if path in ("bulk", "reorder", "resume") else where)))
    typed = {
        "bulk": {"do": "disable", "ids": uid["a"]}, "reorder": {"order": f"{uid['b']},{uid['a']}"},
        "resume": {"revision": str(Route.objects.get(name="b").revision)}, "delete": {}, "edit": {"priority": "9"},
        "new": {"name": "new", "kind": "send", "target_model": "m"}, "default": {"kind": "send", "target_model": "m"},
        "restore": {"note": "Ticket 4711"}, "import": {"step": "import"},
    }[path]  # fmt: skip
    return url(org, where), {**Controls(shown).sent.dict(), **typed}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", ["bulk", "reorder", "resume", "delete", "edit", "new", "default", "restore", "import"])
def test_every_page_leads_to_the_draft_of_a_change_that_needs_approval_and_keeps_its_note(path: str) -> None:
    org = an_org()
    a_route(org, "a")
    pause_route(a_route(org, "b", when={}), by=BY)
    update_organization(org, approval="all", by=BY)
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    where, fields = pressed(client, org, path)
    for _ in range(2):
        answer = client.post(where, fields, follow=True)
        draft = PlanRun.objects.get(org=org)
        assert [to for to, _ in answer.redirect_chain] == [url(org, f"plans/{draft.pk}/")]
        assert "Have it replayed, and ask somebody else to approve it." in text_of(answer)
    assert (draft.state, draft.note) == ("draft", "Ticket 4711" if path in ("restore", "import") else "")
    org.refresh_from_db()
    assert org.version == 3, "nothing went live"


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["bulk", "reorder", "resume", "delete", "edit", "new", "default", "restore", "import"])
def test_where_no_draft_can_be_made_the_page_says_so_and_keeps_what_was_typed(org: Organization, path: str) -> None:
    a_route(org, "a")
    pause_route(a_route(org, "b", when={}), by=BY)
    update_organization(org, approval="all", by=BY)
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    where, fields = pressed(client, org, path)
    answer = client.post(where, fields, follow=True)  # inside a transaction, in which none is made
    page = text_of(answer, 200 if path in ("bulk", "reorder", "resume", "delete") else 422)
    assert "Every change of Acme is a plan that a second person approves." in page
    typed = {"edit": "priority", "new": "name", "default": "target_model", "restore": "note", "import": "text"}
    if name := typed.get(path):
        assert str(Controls(page).sent[name]).strip() == fields[name].strip()


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("17", 17), ("", None), ("-1", None), ("²", None), ("٣", None), (" 1", None), ("9" * 18, 10**18 - 1),
     ("9" * 19, None)],
)  # fmt: skip
def test_a_whole_number_is_digits_that_a_column_holds(text: str, number: int | None) -> None:
    assert whole_number(text) == number
