"""What the editor says of a route before it is saved."""

import json
from typing import Any

import pytest
from django.test import Client

from routes.document import document_of
from routes.orgs.models import Organization
from routes.rules import preview as previewing
from routes.rules.forms import RouteForm
from routes.rules.models import Route
from tests.build import a_person, a_route, many_routes, usual_prices
from tests.databases import ON_POSTGRES
from tests.paths import shared
from tests.routes.rules.test_route_form import NEW

pytestmark = pytest.mark.django_db


@pytest.fixture
def client(org: Organization) -> Client:
    client = Client()
    client.force_login(a_person("edda", org, "editor"))
    return client


def previewed(client: Client, org: Organization, of: Route | None = None, **fields: Any) -> dict[str, Any]:
    at = f"/admin/o/{org.slug}/routes/{of.uid if of else 'new'}/preview/"
    answer = client.post(at, {**NEW, **fields})
    assert answer.status_code == 200
    said: dict[str, Any] = answer.json()
    return said


def test_the_sentence_and_the_json_are_those_of_the_route_once_it_is_saved(client: Client, org: Organization) -> None:
    sent = {"tag_equals": "a", "any_of": "0", "any_of-0-has_tools": "true", "owner": "us"}
    said = previewed(client, org, **sent)
    assert said["sentence"] == "tag is a and has tools → m"
    assert said["mistakes"] == []
    assert said["words"] == "It can be saved."
    assert not Route.objects.exists()
    client.post(f"/admin/o/{org.slug}/routes/new/", {**NEW, **sent})
    (live,) = document_of(org).content["routes"]
    assert {"id": live["id"], **json.loads(said["json"])} == live
    row = Route.objects.get()
    assert json.loads(previewed(client, org, row, **sent)["json"]) == live


def test_all_mistakes_are_told_at_once_with_the_way_to_each_field(client: Client, org: Organization) -> None:
    said = previewed(
        client, org, name="", row="tag_equals", any_of=["3", "5"], kind="send", target_model="",
        **{"any_of-5-input_tokens_lt": "x", "any_of-5-window_from": "25:00", "not": "on", "not-metadata": "?"},
    )  # fmt: skip
    found = {one["field"]: one["label"] for one in said["mistakes"]}
    assert found == {
        "id_name": "Name",
        "id_tag_equals": "Tag is",
        "id_any_of-5-input_tokens_lt": "Alternative 2: Input tokens: fewer than",
        "id_any_of-5-window_from": "Alternative 2: Time of day and week: from",
        "id_any_of-5-window_to": "Alternative 2: Time of day and week: to",
        "id_any_of-5-window_tz": "Alternative 2: Time of day and week: time zone",
        "id_not-metadata": "Exception: Metadata",
        "id_target_model": "Send to model",
    }
    assert said["words"].startswith("8 things to put right")
    assert said["json"] is None
    assert said["sentence"].endswith("→ …")


def test_findings_are_those_that_the_change_would_cause(client: Client, org: Organization) -> None:
    usual_prices()
    first = a_route(org, "first", priority=300, when={"tag_equals": "a"})
    a_route(org, "shadowed already", priority=200, when={"tag_equals": "a"})
    a_route(org, "later", priority=50, when={"tag_equals": "b"})
    said = previewed(client, org, name="new", tag_equals="a", priority="100", target_model="gpt-4o")
    found = [(one["label"], one["message"].split(":")[0]) for one in said["findings"]]
    assert found == [("never reached", "Route 'new' is never reached")], "and nothing of what was so before"
    said = previewed(client, org, name="all", priority="60", target_model="gpt-4o")
    assert [one["message"].split(" is never")[0] for one in said["findings"]] == ["Route 'later'"]
    said = previewed(client, org, first, name="first", priority="300", tag_equals="a", target_model="nobody-knows")
    assert [one["label"] for one in said["findings"]] == ["unknown model", "never reached"]


def test_of_a_plans_route_the_names_of_what_is_live_are_not_judged(client: Client, org: Organization) -> None:
    a_route(org, "taken")
    assert previewed(client, org, name="taken")["mistakes"] != []
    said = previewed(client, org, name="taken", in_plan="1")
    assert (said["mistakes"], said["words"]) == ([], "It can be saved.")
    assert previewed(client, org, name="", in_plan="1")["mistakes"] != []


def test_with_many_routes_typing_waits_for_no_lint(
    client: Client, org: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_routes(org, 3)
    monkeypatch.setattr(previewing, "MOST_LINTED", 3)
    usual_prices()
    said = previewed(client, org, tag_equals="a")
    assert [one["label"] for one in said["findings"]] == ["unknown model"], "what is to be said of it alone"
    assert said["unlinted"] == "There are 4 routes: what it takes from those below is shown in the list."
    a_route(org, "first", priority=10**6, when={"tag_equals": "a"})
    said = previewed(client, org, name="second", tag_equals="a", target_model="gpt-4o")
    assert [one["label"] for one in said["findings"]] == ["never reached"]
    monkeypatch.setattr(previewing, "MOST_LINTED", 5)
    assert previewed(client, org)["unlinted"] == ""


def test_a_route_stands_where_it_would_be_asked(org: Organization) -> None:
    from routes import engine

    rows = [a_route(org, str(number), priority=priority) for number, priority in enumerate((5, 9, 5, 1))]
    org.refresh_from_db()

    def names(row: Route | None, priority: int) -> list[str]:
        new = engine.NewRoute("x", engine.Action("m"), priority)
        route = new.with_id(str(row.uid) if row else "00000000-0000-0000-0000-000000000001")
        return [each.name for each in previewing.live_with(org, route, row)]

    assert names(None, 5) == ["1", "0", "2", "x", "3"], "a new one after its equals"
    assert names(None, 0) == ["1", "0", "2", "3", "x"]
    assert names(rows[0], 5) == ["1", "x", "2", "3"], "where it is"
    assert names(rows[3], 5) == ["1", "0", "2", "x"], "by its position among others of its priority"
    assert names(rows[0], 1) == ["1", "2", "x", "3"]


def test_asking_costs_the_same_however_many_routes_there_are(
    client: Client, org: Organization, django_assert_max_num_queries: Any
) -> None:
    for _ in range(2):
        many_routes(org, 20)
        previewed(client, org)
        with django_assert_max_num_queries(11):
            previewed(client, org)


def test_nothing_that_is_written_breaks_the_preview_or_the_count(client: Client, org: Organization) -> None:
    row = a_route(org, "there")
    fields = [name for part in RouteForm().parts() for name in part.fields]
    group = [f"any_of-0-{name}" for name in RouteForm().when.fields]
    nasty = ["\x00", '"\\ud800"', "{" * 3000, "1e999", "9" * 400, "a = \\", "9999-12-31T23:59-05:00", "²"]
    nasty += json.loads(shared("vectors/naughty-strings.json").read_text(encoding="utf-8"))[
        :: 60 if ON_POSTGRES else 12
    ]
    for number, text in enumerate(nasty):
        sent = {**dict.fromkeys([*fields, *group, "row", "any_of-0-row", "not"], text), "any_of": "0", "json": text}
        right = {**NEW, "description": "", "tag_equals": text, "metadata": f"k = {json.dumps(text)}"}
        for fields_sent in (sent, right):
            of = (None, row)[number % 2]
            said = previewed(client, org, of, **fields_sent)
            assert isinstance(said["sentence"], str)
            at = f"/admin/o/{org.slug}/logs/matching/{f'{of.uid}/' if of else ''}"
            assert client.post(at, {**NEW, **fields_sent}).status_code in (200, 422), text[:50]
        use = {**NEW, "use_json": "on", "json": text}
        assert client.post(f"/admin/o/{org.slug}/routes/new/", use).status_code == 422, text[:50]


def test_nobody_but_editors_previews_and_only_by_post(client: Client, org: Organization) -> None:
    assert client.get(f"/admin/o/{org.slug}/routes/new/preview/").status_code == 405
    viewer = Client()
    viewer.force_login(a_person("vera", org, "viewer"))
    assert viewer.post(f"/admin/o/{org.slug}/routes/new/preview/", NEW).status_code == 403
    foreign = f"/admin/o/{org.slug}/routes/00000000-0000-0000-0000-000000000001/preview/"
    assert client.post(foreign, NEW).status_code == 404
