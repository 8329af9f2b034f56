"""No lost edit: ETags, If-Match, dry runs, repeats."""

from typing import Any

import pytest
from django.db import OperationalError

from audit.models import AuditEntry
from routes.idempotency.models import IdempotencyKey
from routes.orgs.models import Organization
from routes.rules.models import Route
from tests.api.conftest import Caller
from tests.api.test_routes import NEW, problem
from tests.build import a_person, a_route

pytestmark = pytest.mark.django_db


def test_of_two_who_edit_one_route_the_second_is_told_what_changed(editor: Caller, org: Organization) -> None:
    made = editor("post", "routes/", NEW)
    path, etag = made["Location"], made["ETag"]
    assert etag == '"r1"' == editor("get", path)["ETag"]
    first = editor("patch", path, {"priority": 7, "when": {"has_images": True}}, seen=etag)
    assert (first.status_code, first["ETag"]) == (200, '"r2"')
    second = editor("patch", path, {"priority": 8}, seen=etag)
    body = problem(second, 412, "stale_route")
    assert second["ETag"] == '"r2"'
    assert body["current"] == first.json()["route"] == editor("get", path).json()
    assert body["difference"] == [
        {"path": "/priority", "was": 100, "is": 7},
        {"path": "/when/input_tokens_lt", "was": 10, "is": None},
        {"path": "/when/has_images", "was": None, "is": True},
    ]
    assert editor("patch", path, {"priority": 8}, seen=second["ETag"]).json()["route"]["priority"] == 8
    problem(editor("delete", path, seen=etag), 412, "stale_route")
    problem(editor("put", path, NEW, seen=etag), 412, "stale_route")


def test_a_colleague_who_edits_another_route_is_not_in_the_way(editor: Caller) -> None:
    one, other = (editor("post", "routes/", {**NEW, "name": name}) for name in "ab")
    assert editor("patch", one["Location"], {"priority": 1}, seen=one["ETag"]).status_code == 200
    assert editor("patch", other["Location"], {"priority": 1}, seen=other["ETag"]).status_code == 200


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_a_write_that_names_no_state_is_refused_before_its_body_is_read(editor: Caller, method: str) -> None:
    path = editor("post", "routes/", NEW)["Location"]
    body = problem(editor(method, path, b"{", seen=None), 428, "precondition_required")
    assert body["title"] == "Say what you saw"
    problem(
        editor(method, "routes/default/", b"{", seen=None),
        *((405, "method_not_allowed") if method == "patch" else (428, "precondition_required")),
    )
    assert Route.objects.count() == 1


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        ('"r1"', 200), ('"r0", "r1"', 200), ("*", 200), ('W/"r1"', 412), ('"r2"', 412), ("r1", 412), ("", 412), ('"', 412),
        ('"x"', 412),
    ],
)  # fmt: skip
def test_if_match_is_compared_strongly(editor: Caller, if_match: str, status: int) -> None:
    path = editor("post", "routes/", NEW)["Location"]
    assert editor("patch", path, {"priority": 1}, seen=if_match).status_code == status


def test_the_checks_come_in_their_order(editor: Caller, viewer: Caller, org: Organization) -> None:
    path = f"routes/{a_route(org).uid}/"
    unknown = "routes/0190a000-0000-7000-8000-000000000001/"
    problem(editor.client.patch(editor.base + path, headers={"Authorization": "Bearer rk_x"}), 401, "unauthenticated")
    problem(viewer("patch", unknown, b"{", seen=None), 404, "not_found")
    problem(viewer("patch", path, b"{", seen=None), 403, "forbidden")
    problem(editor("patch", path, b"{", seen=None), 428, "precondition_required")
    problem(editor("patch", path, b"{", seen='"r99"'), 400, "malformed_body")
    problem(editor("patch", path, {"priority": -1}, seen='"r99"'), 422, "invalid_route")
    problem(editor("patch", path, {"priority": 1}, seen='"r99"'), 412, "stale_route")


def test_what_was_read_can_be_written_back(editor: Caller) -> None:
    path = editor("post", "routes/", NEW)["Location"]
    read = editor("get", path)
    written = editor("put", path, read.json(), seen=read["ETag"])
    assert (written.json()["changed"], written["ETag"]) == (False, read["ETag"])


def test_the_default_has_a_state_too(editor: Caller) -> None:
    none = editor("get", "routes/default/")["ETag"]
    first = editor("put", "routes/default/", {"target_model": "m"}, seen=none)
    assert first["ETag"] == editor("get", "routes/default/")["ETag"] != none
    body = problem(editor("put", "routes/default/", {"target_model": "x"}, seen=none), 412, "stale_default")
    assert body["current"] == {"default": {"target_model": "m"}}
    assert editor("delete", "routes/default/", seen=first["ETag"])["ETag"] == none


def test_who_has_the_list_or_the_route_is_told_so(viewer: Caller, editor: Caller) -> None:
    path = editor("post", "routes/", NEW)["Location"]
    for url in (path, "routes/", "snapshot/"):
        whole = viewer("get", url)
        etag = whole["ETag"]
        again = viewer("get", url, headers={"If-None-Match": f'"other", W/{etag}'})
        assert (again.status_code, again.content, again["ETag"]) == (304, b"", etag)
        assert again.get("Vary") == whole.get("Vary")
        assert viewer("get", url, headers={"If-None-Match": '"other"'}).status_code == 200


def test_who_publishes_is_not_in_the_way_of_who_renames_the_organisation(admin: Caller, editor: Caller) -> None:
    seen = admin("get", "")["ETag"]
    assert admin("get", "", headers={"If-None-Match": seen}).status_code == 304
    editor("post", "routes/", NEW)
    now = admin("get", "", headers={"If-None-Match": seen})
    assert (now.status_code, now.json()["version"]) == (200, 1)
    assert now["ETag"] != seen, "another version is shown"
    problem(admin("patch", "", {"name": "A"}, seen=f"W/{seen}"), 412, "stale_organization")
    problem(admin("patch", "", {"name": "A"}, seen=seen.replace('"o', '"x')), 412, "stale_organization")
    changed = admin("patch", "", {"name": "A"}, seen=seen)
    assert (changed.status_code, changed.json()["organization"]["version"]) == (200, 1)
    assert changed["ETag"] == admin("get", "")["ETag"]
    stale = problem(admin("patch", "", {"name": "B"}, seen=now["ETag"]), 412, "stale_organization")
    assert stale["current"]["name"] == "A"


# --- Dry runs ---------------------------------------------------------------------------------------------------------


def test_a_dry_run_answers_as_if_and_changes_nothing(editor: Caller, org: Organization) -> None:
    entries = AuditEntry.objects.count()
    tried = editor("post", "routes/?dry_run=1", NEW).json()
    assert (tried["dry_run"], tried["changed"], tried["version"], tried["receipt"]) == (True, True, 1, None)
    assert tried["digest"].startswith("sha256:")
    assert (Route.objects.count(), AuditEntry.objects.count()) == (0, entries)
    org.refresh_from_db()
    assert org.version == 0
    made = editor("post", "routes/", NEW)
    assert made.json()["digest"] != tried["digest"], "its id is another one"
    problem(editor("post", "routes/?dry_run=1", NEW), 422, "name_taken")
    gone = editor("delete", f"{made['Location']}?dry_run=true").json()
    assert (gone["dry_run"], gone["version"]) == (True, 2)
    assert Route.objects.count() == 1
    assert "dry_run" not in editor("patch", f"{made['Location']}?dry_run=0", {"priority": 1}).json()


@pytest.mark.parametrize(("query", "status"), [("dryrun=1", 422), ("dry_run=yes", 422), ("dry_run=1&x=2", 422)])
def test_a_misspelt_dry_run_writes_nothing(editor: Caller, query: str, status: int) -> None:
    assert editor("post", f"routes/?{query}", NEW).status_code == status
    assert not Route.objects.exists()


# --- Repeats ----------------------------------------------------------------------------------------------------------


def test_a_post_that_is_repeated_with_its_key_has_one_effect_and_one_answer(editor: Caller, org: Organization) -> None:
    answers = [editor("post", "routes/", NEW, headers={"Idempotency-Key": "k1"}) for _ in range(50)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer["Location"] for answer in answers}) == 1
    assert [answer.headers.get("Idempotency-Replayed") for answer in answers] == [None, *["true"] * 49]
    assert Route.objects.count() == 1
    problem(
        editor("post", "routes/", {**NEW, "name": "x"}, headers={"Idempotency-Key": "k1"}),
        422,
        "idempotency_key_reused",
    )
    # Another caller's key, another place's, and another key are others.
    assert (
        Caller(org, "admin")("post", "routes/", {**NEW, "name": "a"}, headers={"Idempotency-Key": "k1"}).status_code
        == 201
    )
    assert editor("post", "routes/", {**NEW, "name": "b"}, headers={"Idempotency-Key": "k2"}).status_code == 201


def test_what_was_refused_or_only_tried_can_be_sent_again(editor: Caller) -> None:
    key = {"Idempotency-Key": "k"}
    problem(editor("post", "routes/", {**NEW, "priority": -1}, headers=key), 422, "invalid_route")
    assert editor("post", "routes/?dry_run=1", NEW, headers=key).status_code == 201
    assert not IdempotencyKey.objects.exists()
    assert editor("post", "routes/", NEW, headers=key).status_code == 201


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 256])
def test_a_key_that_is_none_is_refused(editor: Caller, key: str) -> None:
    problem(editor("post", "routes/", NEW, headers={"Idempotency-Key": key}), 400, "bad_idempotency_key")


def test_an_answer_is_kept_for_a_day(editor: Caller, monkeypatch: Any) -> None:
    from datetime import timedelta

    key = {"Idempotency-Key": "k"}
    editor("post", "routes/", NEW, headers=key)
    row = IdempotencyKey.objects.get()
    IdempotencyKey.objects.update(created_at=row.created_at - timedelta(hours=24, seconds=1))
    problem(editor("post", "routes/", NEW, headers=key), 422, "name_taken")
    assert editor("post", "routes/", {**NEW, "name": "x"}, headers={"Idempotency-Key": "other"}).status_code == 201
    assert IdempotencyKey.objects.count() == 1, "the expired one is gone"


def test_the_etag_of_a_dry_run_is_none_that_another_s_write_may_have(editor: Caller, org: Organization) -> None:
    row = a_route(org)
    dry = editor("patch", f"routes/{row.uid}/?dry_run=1", {"priority": 7})
    assert (dry.status_code, "ETag" in dry) == (200, False)
    assert "ETag" not in editor("post", "routes/?dry_run=1", {"name": "new", "then": {"target_model": "m"}})


@pytest.mark.parametrize("query", ["dry_run", "dry_run=", "dry_run=2"])
def test_what_may_be_meant_as_a_dry_run_does_not_write(editor: Caller, org: Organization, query: str) -> None:
    answer = editor("post", f"routes/?{query}", {"name": "new", "then": {"target_model": "m"}})
    assert (answer.status_code, org.routes.count()) == (422, 0)
    assert [error["code"] for error in answer.json()["errors"]] == ["bad_parameter"]


# --- What else a representation is made of ------------------------------------------------------------------------------


def test_a_member_is_another_one_under_another_name(org: Organization) -> None:
    admin, person = Caller(org, "admin"), a_person("ada", org, "viewer")
    url = f"members/{person.pk}/"
    seen = admin("get", url)["ETag"]
    assert admin("get", url, headers={"If-None-Match": seen}).status_code == 304
    person.username = "countess"
    person.save()
    again = admin("get", url, headers={"If-None-Match": seen})
    assert (again.status_code, again.json()["username"]) == (200, "countess")


def test_a_key_has_its_effect_once_however_the_organisation_is_named(editor: Caller, org: Organization) -> None:
    for named in (org.slug, str(org.pk), str(org.pk).upper()):
        answer = editor("post", f"/api/v1/orgs/{named}/routes/", NEW, headers={"Idempotency-Key": "one"})
        assert answer.status_code == 201, answer.content
    assert org.routes.count() == 1
    assert editor("post", "plans/", {"name": "p"}, headers={"Idempotency-Key": "one"}).json()["code"] == "invalid"


def test_what_failed_after_the_commit_does_not_fail_the_call(
    editor: Caller, org: Organization, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    def away(_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr("routes.publish._announce", away)
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        assert editor("post", "routes/", NEW).status_code == 201
    assert len(callbacks) == 1
