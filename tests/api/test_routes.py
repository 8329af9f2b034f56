"""`routes/`, `decide/`, `snapshot/`, and who may use them."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from routes import engine
from routes.orgs.keys import revoke_key
from routes.orgs.models import ApiKey, Organization
from routes.rules.models import Route
from tests.api.conftest import Caller
from tests.build import a_person, a_route, an_org

pytestmark = pytest.mark.django_db
NEW = {"name": "short", "when": {"input_tokens_lt": 10}, "then": {"target_model": "small"}}


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert (body["status"], body["code"]) == (status, code)
    assert body["request_id"] == response["X-Request-Id"]
    assert body["instance"].startswith("/api/v1/")
    return body


def test_a_route_is_made_read_changed_and_deleted(editor: Caller) -> None:
    made = editor("post", "routes/", NEW)
    assert made.status_code == 201
    body = made.json()
    assert (body["changed"], body["version"]) == (True, 1)
    assert body["receipt"]["leaf_hash"]
    id = body["route"]["id"]
    assert editor("get", f"routes/{id}/").json() == body["route"]

    patched = editor("patch", f"routes/{id}/", {"when": {"has_images": True}, "priority": 7}).json()
    assert patched["route"]["when"]["has_images"] is True
    assert patched["route"]["when"]["input_tokens_lt"] is None, "`when` is replaced whole"
    assert patched["route"]["priority"] == 7
    back = editor("patch", f"routes/{id}/", {"priority": None}).json()
    assert back["route"]["priority"] == 100, "null means the default"

    put = editor("put", f"routes/{id}/", {"name": "other", "then": {"target_model": "x"}}).json()
    assert (put["route"]["name"], put["route"]["when"]["model_in"]) == ("other", [])
    assert editor("put", f"routes/{id}/", {"name": "other", "then": {"target_model": "x"}}).json()["changed"] is False

    assert editor("delete", f"routes/{id}/").json()["version"] == 5
    problem(editor("get", f"routes/{id}/"), 404, "not_found")


def test_all_mistakes_come_back_at_once_with_pointers(editor: Caller) -> None:
    wrong = {
        "name": " ",
        "priority": 1.0,
        "when": {"model_in": ["a", "a"], "tokens_lt": 5},
        "then": {"target_model": "m", "fallbacks": ["m"]},
    }
    body = problem(editor("post", "routes/", wrong), 422, "invalid_route")
    found = {error["pointer"]: error["code"] for error in body["errors"]}
    assert found == {
        "/name": "blank_value",
        "/priority": "wrong_type",
        "/when/model_in/1": "duplicate_value",
        "/when/tokens_lt": "unknown_key",
        "/then/fallbacks/0": "duplicate_primary_fallback",
    }
    assert all(error["detail"] for error in body["errors"])
    assert not Route.objects.exists()


@pytest.mark.parametrize(
    "body",
    ["", "{", "[]", '{"name": "a", "name": "b"}', '{"priority": NaN}', "[" * 100_000, '{"name": "\\ud800"}', b"\xff"],
    ids=["empty", "cut", "list", "duplicate keys", "NaN", "deep", "lone surrogate", "not UTF-8"],
)
def test_a_body_that_is_no_proper_json_object_is_a_clear_400_or_422(editor: Caller, body: Any) -> None:
    response = editor.client.generic("POST", editor.base + "routes/", body, content_type="application/json")
    assert response.status_code in (400, 422)
    assert response.json()["detail"]
    assert not Route.objects.exists()


def test_a_name_in_use_is_refused(editor: Caller) -> None:
    editor("post", "routes/", NEW)
    problem(editor("post", "routes/", NEW), 422, "name_taken")


def test_the_list_comes_in_evaluation_order_a_page_at_a_time(editor: Caller, org: Organization) -> None:
    for n in range(5):
        a_route(org, f"r{n}", priority=n % 2)
    first = editor("get", "routes/?limit=3").json()
    assert first["previous"] is None
    second = editor("get", first["next"].removeprefix("http://testserver")).json()
    assert [route["name"] for route in first["results"] + second["results"]] == ["r1", "r3", "r0", "r2", "r4"]
    assert second["next"] is None


def test_the_list_takes_as_many_queries_for_ten_routes_as_for_one(
    viewer: Caller, org: Organization, django_assert_num_queries: Any
) -> None:
    counts = []
    viewer("get", "snapshot/")  # notes that the key was used, once a minute
    for n in range(10):
        a_route(org, f"r{n}")
        if n in (0, 9):
            from django.db import connection
            from django.test.utils import CaptureQueriesContext

            with CaptureQueriesContext(connection) as queries:
                assert len(viewer("get", "routes/").json()["results"]) == n + 1
            counts.append(len(queries))
    assert counts == [2, 2]


def test_roles_contain_each_other_and_no_role_is_no_organisation(
    org: Organization, viewer: Caller, editor: Caller
) -> None:
    assert viewer("get", "routes/").status_code == 200
    problem(viewer("post", "routes/", NEW), 403, "forbidden")
    assert editor("post", "routes/", NEW).status_code == 201
    problem(Client().get(viewer.base + "routes/"), 401, "unauthenticated")


def test_a_foreign_organisation_is_an_unknown_one(viewer: Caller) -> None:
    other = an_org("other")
    row = a_route(other)
    unknown = problem(viewer("get", "/api/v1/orgs/nobody/routes/"), 404, "not_found")
    for ref in (other.slug, str(other.pk)):
        foreign = problem(viewer("get", f"/api/v1/orgs/{ref}/routes/"), 404, "not_found")
        for differs in ("instance", "request_id"):
            foreign.pop(differs)
        assert foreign == {key: value for key, value in unknown.items() if key in foreign}
    problem(viewer("get", f"routes/{row.uid}/"), 404, "not_found")


def test_an_organisation_answers_to_its_id_too(viewer: Caller, org: Organization) -> None:
    assert viewer("get", f"/api/v1/orgs/{org.pk}/routes/").status_code == 200


@pytest.mark.parametrize("change", ["revoked", "expired", "cut", "other secret", "person gone", "person demoted"])
def test_a_key_works_only_while_it_and_its_person_may(org: Organization, editor: Caller, change: str) -> None:
    text = editor.made.text
    if change == "revoked":
        revoke_key(editor.made.key, by=editor.person)
    elif change == "expired":
        past = timezone.now() - timedelta(days=1)
        ApiKey.objects.update(created_at=past - timedelta(days=1), expires_at=past)
    elif change == "cut":
        text = text[:-1]
    elif change == "other secret":
        text = text[:-1] + ("0" if text[-1] != "0" else "1")
    elif change == "person gone":
        type(editor.person).objects.update(is_active=False)
    else:
        editor.person.memberships.update(role="viewer")
        assert editor("get", "routes/").status_code == 200
        problem(editor("post", "routes/", NEW), 403, "forbidden")
        return
    problem(Client(headers={"Authorization": f"Bearer {text}"}).get(editor.base + "routes/"), 401, "unauthenticated")


def test_no_secret_of_a_key_is_in_the_database(org: Organization, editor: Caller) -> None:
    secret = editor.made.text.rsplit("_", 1)[1]
    row = ApiKey.objects.values().get()
    assert secret not in repr({**row, "digest": bytes(row["digest"]).hex()})
    from audit.models import AuditEntry

    assert all(secret.encode() not in bytes(entry.payload or b"") for entry in AuditEntry.objects.all())


def test_the_session_needs_its_csrf_token(org: Organization) -> None:
    person = a_person("edda", org, "editor")
    client = Client(enforce_csrf_checks=True)
    client.force_login(person)
    url = f"/api/v1/orgs/{org.slug}/routes/"
    assert client.get(url).status_code == 200
    refused = client.post(url, json.dumps(NEW), content_type="application/json")
    assert refused.status_code == 403
    assert not Route.objects.exists()


def test_decide_says_what_the_live_routes_would_do_and_why(viewer: Caller, org: Organization) -> None:
    a_route(org)
    body = viewer("post", "decide/", {"context": {"model": "gpt-4o", "input_tokens": 999}}).json()
    assert body["decision"]["target_model"] == "gpt-4o-mini"
    assert body["decision"]["version"] == 1
    too_long = viewer("post", "decide/", {"context": {"model": "gpt-4o", "input_tokens": 1000}}).json()
    assert too_long["decision"]["reason"] == "no_match"
    assert too_long["routes"][0]["first_failed"] == "when.input_tokens_lt"
    chat = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
    from_chat = viewer("post", "decide/", {"chat": chat, "context": {"input_tokens": 3}}).json()
    assert from_chat["decision"]["route_name"] == "short"


def test_decide_names_every_fact_that_is_wrong(viewer: Caller) -> None:
    given = {"context": {"tokens": 3, "input_tokens": "3", "has_images": 1, "model": None}, "chat": []}
    body = problem(viewer("post", "decide/", given), 422, "invalid_request")
    assert {error["pointer"] for error in body["errors"]} == {
        "/chat", "/context/tokens", "/context/input_tokens", "/context/has_images",
    }  # fmt: skip


def test_the_snapshot_is_what_an_engine_loads_and_its_etag_is_the_version(viewer: Caller, org: Organization) -> None:
    empty = viewer("get", "snapshot/")
    assert (empty["ETag"], empty.json()["version"]) == ('"0"', 0)
    a_route(org)
    full = viewer("get", "snapshot/")
    assert full["ETag"] == '"1"'
    document = engine.Document.from_bytes(full.content)
    assert engine.Engine.from_document(document).decide(engine.RequestContext("gpt-4o", input_tokens=1)).version == 1
    same = viewer("get", "snapshot/", headers={"If-None-Match": '"1"'})
    assert (same.status_code, same.content, same["ETag"]) == (304, b"", '"1"')
    assert viewer("get", "snapshot/", headers={"If-None-Match": '"0"'}).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_while_another_writer_holds_the_lock_for_too_long_the_answer_is_try_again(
    editor: Caller, org: Organization
) -> None:
    import sqlite3

    from django.db import connection

    if connection.vendor != "sqlite":
        pytest.skip("see tests/test_postgresql.py")
    other = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 50")
    try:
        other.execute("BEGIN IMMEDIATE")
        busy = editor("post", "routes/", NEW)
    finally:
        other.execute("ROLLBACK")
        other.close()
        connection.close()
    problem(busy, 503, "busy")
    assert busy["Retry-After"] == "2"
    assert not Route.objects.exists()
    assert editor("post", "routes/", NEW).status_code == 201
