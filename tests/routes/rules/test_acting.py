"""What the list of routes does, as its pages answer; without scripts too."""

from typing import Any

import pytest
from django.test import Client

from audit.models import AuditEntry
from audit.services import payload_of
from routes import engine
from routes.document import document_of
from routes.orgs.models import Organization
from routes.rules.models import Route
from routes.rules.services import delete_route, pause_route, resume_route, update_route
from tests.build import BY, a_person, a_route, an_example
from tests.routes.rules.test_pages import text_of, url
from tests.routes.rules.test_route_form import Controls

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(org: Organization) -> Client:
    for name, priority in (("a", 9), ("b", 5), ("c", 1)):
        a_route(org, name, priority=priority, when={"tag_equals": name})
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


def listed(client: Client, org: Organization) -> dict[str, Any]:
    """What the page of the list sends beside what is chosen there."""
    return Controls(text_of(client.get(url(org, "routes/")))).sent.dict()


def uid(name: str) -> str:
    return str(Route.objects.get(name=name).uid)


def order(org: Organization) -> str:
    return "".join(route["name"] for route in document_of(org).content["routes"])


def send(client: Client, org: Organization, path: str, **fields: Any) -> Any:
    return client.post(url(org, path), fields, follow=True)


def test_a_step_of_one_route_is_saved_by_its_button(client: Client, org: Organization) -> None:
    page = text_of(send(client, org, "routes/reorder/", **listed(client, org), move=f"{uid('c')} up"))
    assert "The new order is live as version 4." in page
    assert order(org) == "acb"
    page = text_of(send(client, org, "routes/reorder/", **listed(client, org), move=f"{uid('a')} up"))
    assert "Nothing was different." in page
    text_of(send(client, org, "routes/reorder/", **listed(client, org), move=f"{uid('a')} down"))
    assert order(org) == "cab"


def test_an_order_on_an_older_list_is_told_and_kept(client: Client, org: Organization) -> None:
    fields = {**listed(client, org), "order": ",".join(map(uid, "cba"))}
    gone = Route.objects.get(name="b")
    delete_route(org, gone.uid, by=BY)
    a_route(org, "new", priority=7)
    page = text_of(send(client, org, "routes/reorder/", **fields), 422)
    assert "“new” was added by test after you looked: version 5 is live now." in page
    kept = Controls(page).sent.dict()
    assert (kept["order"], kept["version"]) == (",".join([uid("c"), uid("a"), uid("new")]), "5")
    assert order(org) == "anewc", "nothing was saved"
    text_of(send(client, org, "routes/reorder/", **kept))
    assert order(org) == "canew"


@pytest.mark.parametrize(
    ("do", "column", "value"),
    [
        ("disable", "enabled", False),
        ("enable", "enabled", True),
        ("pause", "paused", True),
        ("resume", "paused", False),
    ],
)
def test_what_is_chosen_is_switched_at_once(
    client: Client, org: Organization, do: str, column: str, value: bool
) -> None:
    Route.objects.filter(name__in="ab").update(**{column: not value})
    a_route(org, "d", priority=1)  # publishes it
    fields = {**listed(client, org), "do": do, "ids": [uid("a"), uid("b")]}
    page = text_of(send(client, org, "routes/bulk/", **fields))
    assert "2 routes are" in page
    assert set(Route.objects.filter(name__in="ab").values_list(column, flat=True)) == {value}
    assert AuditEntry.objects.filter(org_id=org.pk, action=f"routes.{do}d").count() == 1
    assert "Nothing was different." in text_of(send(client, org, "routes/bulk/", **{**fields, "version": 5}))


def test_deleting_names_the_routes_and_what_will_happen_before_it_does(client: Client, org: Organization) -> None:
    chosen = {"do": "delete", "ids": f"{uid('a')},{uid('c')}"}  # as the script sends them
    page = text_of(send(client, org, "routes/bulk/", **listed(client, org), **chosen))
    assert all(text in page for text in ("Delete 2 routes?", "<strong>a</strong>", "tag is c", "go to the next match"))
    assert order(org) == "abc"
    assert "2 routes are deleted: version 4 is live." in text_of(
        send(client, org, "routes/bulk/", **Controls(page).sent.dict())
    )
    assert order(org) == "b"


@pytest.mark.parametrize("do", ["delete", "disable"])
def test_what_was_chosen_on_an_older_list_is_told_and_kept(client: Client, org: Organization, do: str) -> None:
    fields = {**listed(client, org), "do": do, "ids": [uid("a"), uid("b"), uid("c")], "confirmed": "1"}
    delete_route(org, uid("b"), by=BY)
    page = text_of(send(client, org, "routes/bulk/", **fields), 422)
    assert "version 4 is live now. Nothing was done yet." in page
    assert "1 of those that you chose is not there any more." in page
    assert order(org) == "ac"
    again = Controls(page).sent.dict()
    assert (again["version"], again["ids"]) == ("4", f"{uid('a')},{uid('c')}")
    text_of(send(client, org, "routes/bulk/", **again))
    assert {row.enabled for row in Route.objects.all()} == (set() if do == "delete" else {False})


@pytest.mark.parametrize(
    "fields",
    [{}, {"do": "burn", "ids": "x"}, {"do": "enable"}, {"do": "enable", "ids": "x", "version": "3"},
     {"do": "delete", "ids": "x"}, {"do": "enable", "ids": "x," * 5_000, "version": "3"},
     {"do": "pause", "ids": "x", "version": "²"}],
    ids=lambda fields: str(fields)[:60],
)  # fmt: skip
def test_what_no_page_sends_does_nothing(client: Client, org: Organization, fields: Any) -> None:
    for path in ("routes/bulk/", "routes/reorder/", f"routes/{uid('a')}/pause/"):
        assert send(client, org, path, **{**fields, "revision": "-1", "order": "x,y"}).status_code in (200, 422)
    org.refresh_from_db()
    assert (order(org), org.version) == ("abc", 3)


def test_one_route_is_paused_and_resumed_as_it_was_shown(client: Client, org: Organization) -> None:
    path = f"routes/{uid('a')}/"
    page = text_of(send(client, org, f"{path}pause/", revision="1"))
    assert "“a” is paused: version 4 is live." in page
    assert "last changed at version 4" in text_of(send(client, org, f"{path}resume/", revision="1"))
    editor = text_of(client.get(url(org, path)))
    assert "Resume this route now" in editor
    page = text_of(send(client, org, f"{path}resume/", revision="4", **{"from": "editor"}))
    assert "“a” is resumed: version 5 is live." in page
    assert "Pause this route now" in page


@pytest.mark.parametrize("revision", ["", "x", "²", "-1", "1" * 30, None])
def test_a_revision_that_no_page_sends_is_not_what_is_there(client: Client, org: Organization, revision: Any) -> None:
    row = Route.objects.get(name="a")
    example = an_example(org)
    fields = {} if revision is None else {"revision": revision}
    assert "last changed at version 1" in text_of(send(client, org, f"routes/{row.uid}/pause/", **fields))
    assert "last changed at version 1" in text_of(send(client, org, f"routes/{row.uid}/delete/", **fields))
    where = f"examples/{example.uid}/delete/"
    assert "was changed after you looked" in text_of(send(client, org, where, **fields))
    row.refresh_from_db()
    example.refresh_from_db()
    assert not row.paused


def test_only_what_changed_is_counted_and_named(client: Client, org: Organization) -> None:
    pause_route(Route.objects.get(name="b"), by=BY)
    page = text_of(send(client, org, "routes/bulk/", **listed(client, org), do="pause", ids=[uid("a"), uid("b")]))
    assert "1 route is paused: version 5 is live. 1 of those that you chose did not change." in page
    payload = payload_of(AuditEntry.objects.filter(org_id=org.pk).order_by("-seq")[0]) or {}
    assert payload["routes"] == [{"id": uid("a"), "name": "a"}]


# --- Where examples would break ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["bulk", "reorder", "pause", "delete", "edit", "new", "default", "restore", "import"])
def test_a_page_shows_the_examples_that_its_save_would_break_and_saves_with_a_reason(
    client: Client, org: Organization, path: str
) -> None:
    for change in (pause_route, resume_route) if path == "restore" else ():
        change(Route.objects.get(name="a"), by=BY)
    one = {"context": {"tag": "a"}}
    an_example(org, "guarded", request=one, expected={"route": "a", "reason": "matched"})
    an_example(org, "of none", request={"context": {"tag": "none"}}, expected={"reason": "no_match"})
    a_route(org, "all", priority=2, when={"tag_equals": "a"})
    where = {
        "bulk": "routes/bulk/", "reorder": "routes/reorder/", "pause": f"routes/{uid('a')}/pause/",
        "delete": f"routes/{uid('a')}/delete/", "edit": f"routes/{uid('a')}/", "new": "routes/new/",
        "default": "routes/default/", "restore": "history/4/restore/", "import": "routes/import/",
    }[path]  # fmt: skip
    if path == "import":
        text = '{"routes": [{"name": "a", "when": {"tag_equals": "other"}, "then": {"target_model": "m"}}]}'
        asked = {"text": text, "mode": "merge", "note": "", "step": "compare"}
        fields = {**Controls(text_of(client.post(url(org, where), asked))).sent.dict(), "step": "import"}
    elif path in ("bulk", "reorder", "pause"):
        fields = listed(client, org)
        fields |= {"bulk": {"do": "disable", "ids": uid("a")}, "reorder": {"order": ",".join(map(uid, ["all", *"abc"]))},
                   "pause": {"revision": "1"}}[path]  # fmt: skip
    else:
        fields = Controls(text_of(client.get(url(org, where)))).sent.dict()
        fields |= {"delete": {}, "edit": {"tag_equals": "other"}, "default": {"kind": "send", "target_model": "m"},
                   "new": {"name": "n", "priority": "99", "kind": "send", "target_model": "m"},
                   "restore": {"note": "as before"}}[path]  # fmt: skip
    before = order(org)
    page = text_of(client.post(url(org, where), fields), 422)
    assert "would break" in page
    assert "“of none” expects" in page if path == "default" else "“guarded” expects: “a” takes it" in page
    assert order(org) == before
    again = Controls(page).sent.dict() | ({"step": "import"} if path == "import" else {})
    assert again.get("note", "") == ("as before" if path == "restore" else ""), "nothing typed is lost"
    page = text_of(client.post(url(org, where), {**again, "accept_broken": "a\u2028b"}), 422)
    assert "Control characters" in page
    answer = client.post(url(org, where), {**again, "accept_broken": "it has to be"})
    assert answer.status_code == 302, answer.content.decode()
    payload = payload_of(AuditEntry.objects.filter(org_id=org.pk).order_by("-seq")[0]) or {}
    assert payload["accept_broken"] == "it has to be"


def test_a_route_that_is_paused_with_a_reason_is_still_the_one_that_was_shown(
    client: Client, org: Organization
) -> None:
    an_example(org, request={"context": {"tag": "a"}}, expected={"route": "a", "reason": "matched"})
    row = Route.objects.get(name="a")
    path = f"routes/{row.uid}/pause/"
    page = text_of(send(client, org, path, revision="1", **{"from": "editor"}), 422)
    again = {**Controls(page).sent.dict(), "accept_broken": "an incident"}
    assert (again["revision"], again["from"]) == ("1", "editor")
    update_route(org, row.uid, engine.Route.from_dict({**row.as_document(), "priority": 8}), by=BY)
    assert "last changed at version 4" in text_of(send(client, org, path, **again))
    row.refresh_from_db()
    assert not row.paused
    page = text_of(send(client, org, path, **{**again, "revision": "4"}))
    assert "“a” is paused: version 5 is live." in page
    assert "Resume this route now" in page, "back where it was pressed"


@pytest.mark.parametrize("path", ["bulk", "pause", "delete"])
def test_a_reason_is_for_the_examples_that_were_shown(client: Client, org: Organization, path: str) -> None:
    one = {"request": {"context": {"tag": "a"}}, "expected": {"route": "a", "reason": "matched"}}
    first = an_example(org, "shown", **one)
    where = "routes/bulk/" if path == "bulk" else f"routes/{uid('a')}/{path}/"
    fields = {**listed(client, org), "do": "disable", "ids": uid("a"), "revision": "1"}
    again = {**Controls(text_of(send(client, org, where, **fields), 422)).sent.dict(), "accept_broken": "it may"}
    assert again["broken"] == str(first.uid)
    second = an_example(org, "legal: eu stays", **one)
    page = text_of(send(client, org, where, **again), 422)
    assert "Your reason was given for others." in page
    assert "“legal: eu stays” expects" in page
    assert order(org) == "abc"
    once_more = Controls(page).sent.dict()
    assert once_more["accept_broken"] == "it may"
    assert set(once_more["broken"].split(",")) == {str(first.uid), str(second.uid)}
    # A reason that cannot be kept shows no list, and does not lose what was shown.
    page = text_of(send(client, org, where, **{**once_more, "accept_broken": "a\u2028b"}), 422)
    assert set(Controls(page).sent["broken"].split(",")) == {str(first.uid), str(second.uid)}
    text_of(send(client, org, where, **once_more))
    payload = payload_of(AuditEntry.objects.filter(org_id=org.pk).order_by("-seq")[0]) or {}
    assert (payload["accept_broken"], len(payload["broken"])) == ("it may", 2)
