"""The pages about examples, as they answer."""

from typing import Any

import pytest
from django.test import Client

from routes.examples.models import ExampleRequest
from routes.examples.services import update_example
from routes.orgs.models import Organization
from tests.build import BY, a_person, a_route, an_example
from tests.routes.rules.test_pages import text_of, url
from tests.routes.rules.test_route_form import Controls

pytestmark = pytest.mark.django_db
#: A request with something of everything.
RICH: dict[str, Any] = {
    "chat": {"model": "gpt-4o", "messages": [{"role": "user", "content": "hé “x”\n"}], "temperature": 0.1},
    "context": {
        "model": "gpt-4.1",
        "input_tokens": 0,
        "tag": " batch ",
        "prompt": "one\ntwo",
        "has_images": False,
        "has_tools": True,
        "estimated_cost_usd": 0.1,
        "upstream_latency_ms_p95": 5,
        "metadata": {"team": ' "x" ', "a = b": "c"},
        "headers": {"x-customer": "acme", "x-many": ["a", "b, c"]},
        "numbers": {"budget share": 0.25, "5": -1, "small": 5e-324},
        "at": "2026-05-01T08:00:00.000001Z",
        "request_id": "r",
        "unknown": ["tag"],
    },
}
del RICH["context"]["tag"]  # it is unknown


@pytest.fixture
def client(org: Organization) -> Client:
    a_route(org)
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


def test_the_list_says_of_every_example_whether_it_holds_now(client: Client, org: Organization) -> None:
    assert "No examples yet." in text_of(client.get(url(org, "examples/")))
    an_example(org, "good")
    assert "it passes." in text_of(client.get(url(org, "examples/")))
    an_example(org, "wrong", expected={"route": None, "target_model": None, "reason": "no_match"})
    page = text_of(client.get(url(org, "examples/")))
    assert "Checked by version 1: 1 of 2 fails." in page
    good, wrong = page.split("<tbody>")[1].split("</tr>")[:2]
    assert ">passes<" in good
    assert "it goes to gpt-4o-mini" in good
    assert ">fails<" in wrong
    assert "no route takes it, its model stays, nothing decides" in wrong
    assert "“short” takes it, it goes to gpt-4o-mini, a route decides" in wrong


@pytest.mark.parametrize("expected", [{"route": None, "target_model": None}, {"route": "gone"}, {"reason": "control"}])
def test_an_example_that_is_opened_and_saved_is_the_same(client: Client, org: Organization, expected: Any) -> None:
    row = an_example(org, "rich", request=RICH, expected=expected)
    where = url(org, f"examples/{row.uid}/")
    opened = Controls(text_of(client.get(where))).sent
    assert "Nothing was different." in text_of(client.post(where, opened, follow=True))
    opened["name"] = "another"
    text_of(client.post(where, opened, follow=True))
    row.refresh_from_db()
    assert (row.name, row.request, row.expected, row.revision) == ("another", RICH, expected, 2)
    opened = Controls(text_of(client.get(where))).sent
    opened["input_tokens"] = "7"
    text_of(client.post(where, opened, follow=True))
    row.refresh_from_db()
    assert row.request == {**RICH, "context": {**RICH["context"], "input_tokens": 7}}


#: What a form shows as nothing, as something else, or would not take.
ODD: list[dict[str, Any]] = [
    {"context": {"model": "gpt-4o", "prompt": "", "tag": "", "metadata": {}, "headers": {}, "request_id": ""}},
    {"context": {"estimated_cost_usd": 0.1 + 0.2}},
    {"context": {"estimated_cost_usd": 1e-10, "has_tools": None, "unknown": []}},
    {"context": {"prompt": "a\r\nb\rc\n", "tag": "a\nb", "sticky_key": "\r"}},
    {"context": {"model": "gpt-4o"}, "now": "2026-05-01T08:00:00+02:00"},
    {"chat": {"model": "gpt-4o"}, "now": None},
    {"chat": {"model": "gpt-4o"}, "context": {}},
]


@pytest.mark.parametrize("request_", ODD, ids=str)
def test_whoever_changes_one_thing_of_an_example_changes_no_other(
    client: Client, org: Organization, request_: Any
) -> None:
    row = an_example(org, "odd", request=request_)
    where = url(org, f"examples/{row.uid}/")

    def save(**typed: str) -> Any:
        opened = Controls(text_of(client.get(where))).sent
        for name, text in typed.items():
            opened[name] = text
        assert "is kept." in text_of(client.post(where, opened, follow=True))
        row.refresh_from_db()
        return row.request

    assert save(name="renamed") == request_
    kept = request_.get("context") or {}
    assert save(input_tokens="5") == {**request_, "context": {**kept, "input_tokens": 5}}
    emptied = {"context": kept} if kept else {}
    assert save(input_tokens="") == {**{key: value for key, value in request_.items() if key != "context"}, **emptied}


def test_what_is_changed_is_held_to_what_the_form_takes(client: Client, org: Organization) -> None:
    row = an_example(org, request={"context": {"estimated_cost_usd": 0.1 + 0.2}})
    where = url(org, f"examples/{row.uid}/")
    opened = Controls(text_of(client.get(where))).sent.dict()
    assert "at most 9 decimals" in text_of(
        client.post(where, {**opened, "estimated_cost_usd": "0.30000000000000005"}), 422
    )


def test_the_time_of_an_example_stays_where_it_was_given(client: Client, org: Organization) -> None:
    row = an_example(org, request={"context": {"model": "m"}, "now": "2026-05-01T08:00:00Z"})
    where = url(org, f"examples/{row.uid}/")
    for at, kept in (("2026-05-02T09:00", {"now": "2026-05-02T09:00:00.000000Z"}), ("", {})):
        opened = Controls(text_of(client.get(where))).sent.dict()
        text_of(client.post(where, {**opened, "at": at}, follow=True))
        row.refresh_from_db()
        assert row.request == {"context": {"model": "m"}, **kept}


def test_a_request_that_was_tried_is_kept_with_what_becomes_of_it(client: Client, org: Organization) -> None:
    facts = {"model": "gpt-4o", "input_tokens": "8", "at": "2026-05-01T08:00", "metadata": "team = search"}
    tried = text_of(client.post(url(org, "try/"), facts))
    assert "Keep this request as an example" in tried
    page = text_of(client.post(url(org, "examples/new/"), {**Controls(tried).sent.dict(), "keep": "1"}))
    shown = Controls(page).sent
    assert (shown["expected_route"], shown["expected_model"], shown["expected_reason"]) == (
        "=short", "gpt-4o-mini", "matched",
    )  # fmt: skip
    shown["name"] = "kept"
    text_of(client.post(url(org, "examples/new/"), shown, follow=True))
    row = ExampleRequest.objects.get()
    assert row.expected == {"route": "short", "target_model": "gpt-4o-mini", "reason": "matched"}
    assert row.request == {
        "context": {
            "model": "gpt-4o", "input_tokens": 8, "metadata": {"team": "search"}, "at": "2026-05-01T08:00:00.000000Z",
        }
    }  # fmt: skip


def test_mistakes_stand_at_their_fields(client: Client, org: Organization) -> None:
    an_example(org, "taken")
    new = url(org, "examples/new/")
    page = text_of(client.post(new, {"name": "taken", "model": "m", "expected_reason": "matched"}), 422)
    assert "Another example of this organisation is called “taken”" in page
    assert "Say at least one of route, target_model and reason." in text_of(
        client.post(new, {"name": "a", "tag": "x"}), 422
    )
    assert "Give facts in context" in text_of(client.post(new, {"name": "a", "expected_reason": "matched"}), 422)
    page = text_of(client.post(new, {"name": "a", "tag": "x", "expected_model": "m", "keeps_model": "on"}), 422)
    assert "Either this, or the name of a model." in page
    chat = {"name": "a", "chat": '{"x": "\\u0000"}', "expected_reason": "matched"}
    assert "text contains U+0000" in text_of(client.post(new, chat), 422)
    assert "Control characters" in text_of(client.post(new, {**chat, "name": "a\x07"}), 422)
    assert ExampleRequest.objects.count() == 1


def test_of_two_who_edit_one_example_the_second_is_told(client: Client, org: Organization) -> None:
    row = an_example(org)
    where = url(org, f"examples/{row.uid}/")
    opened = {**Controls(text_of(client.get(where))).sent.dict(), "name": "mine"}
    update_example(row, name="theirs", request=row.request, expected={"route": None}, by=BY)
    page = text_of(client.post(where, opened), 422)
    assert "It now expects: no route takes it. Your input is still below" in page
    again = Controls(page).sent
    assert (again["revision"], again["name"]) == ("2", "mine")
    client.post(where, again)
    row.refresh_from_db()
    assert row.name == "mine"


def test_an_example_is_deleted_as_it_was_shown(client: Client, org: Organization) -> None:
    row = an_example(org)
    where = url(org, f"examples/{row.uid}/delete/")
    shown = Controls(text_of(client.get(where))).sent
    update_example(row, name="other", request=row.request, expected=row.expected, by=BY)
    assert "was changed after you looked" in text_of(client.post(where, shown, follow=True))
    assert "“other” was deleted." in text_of(client.post(where, {"revision": "2"}, follow=True))
    assert not ExampleRequest.objects.exists()


@pytest.mark.parametrize("text", ["", "{" * 5000, "\x00", '"\\ud800"', "1e400", "²", "9999-12-31T23:59-05:00"])
def test_nothing_that_is_sent_breaks_the_forms(client: Client, org: Organization, text: str) -> None:
    row = an_example(org)
    names = ("name", "chat", "model", "at", "metadata", "headers", "numbers", "unknown", "expected_route",
             "expected_model", "expected_reason", "revision", "input_tokens", "keep_")  # fmt: skip
    for path in ("examples/new/", f"examples/{row.uid}/", f"examples/{row.uid}/delete/"):
        for fields in (dict.fromkeys(names, text), {"chat": text, "name": "n", "expected_reason": "matched"}):
            assert client.post(url(org, path), fields).status_code in (200, 302, 404, 422)
    assert client.post(url(org, "examples/new/"), {"keep": "1", "chat": text, "model": text}).status_code == 200
