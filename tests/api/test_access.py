"""`orgs/`, `members/`, `api-keys/`: who belongs, with which keys."""

import hashlib
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.db import connection
from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry
from routes.orgs.keys import create_key
from routes.orgs.models import ApiKey, Membership, Organization
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import a_person, an_org

pytestmark = pytest.mark.django_db


def session(person: Any) -> Client:
    client = Client()
    client.force_login(person)
    return client


def bearer(text: str) -> Client:
    return Client(headers={"Authorization": f"Bearer {text}"})


# --- Organisations ----------------------------------------------------------------------------------------------------


def test_installation_staff_make_organisations_and_others_see_their_own(viewer: Caller, org: Organization) -> None:
    staff = session(a_person("root", is_superuser=True))
    body = {"slug": "new-one", "name": "New", "environment": "staging"}
    made = staff.post("/api/v1/orgs/", body, content_type="application/json")
    assert made.status_code == 201, made.content
    assert made["Location"] == "/api/v1/orgs/new-one/"
    assert [one["slug"] for one in staff.get("/api/v1/orgs/").json()["results"]] == ["acme", "new-one"]
    assert [one["slug"] for one in viewer("get", "/api/v1/orgs/").json()["results"]] == ["acme"]
    assert staff.get("/api/v1/orgs/?environment=staging").json()["results"] == [made.json()["organization"]]
    problem(viewer("post", "/api/v1/orgs/", {**body, "slug": "mine"}), 403, "forbidden")
    again = problem(staff.post("/api/v1/orgs/", body, content_type="application/json"), 422, "invalid_organization")
    assert [error["pointer"] for error in again["errors"]] == ["/slug"]


def test_the_name_and_policy_of_an_organisation_are_changed_and_recorded_once(admin: Caller, org: Organization) -> None:
    etag = admin("get", "")["ETag"]
    first = admin("patch", "", {"name": "Acme & Sons", "approval": "plans"}, seen=etag)
    assert first.json()["organization"]["name"] == "Acme & Sons"
    assert first.json()["receipt"]["leaf_hash"]
    stale = problem(admin("patch", "", {"name": "x"}, seen=etag), 412, "stale_organization")
    assert stale["current"] == first.json()["organization"]
    entries = AuditEntry.objects.count()
    assert admin("patch", "", {"approval": "plans"}).json()["changed"] is False
    assert AuditEntry.objects.count() == entries
    problem(admin("patch", "", {"slug": "other"}), 422, "invalid")
    problem(admin("patch", "", {"name": ""}), 422, "invalid")


# --- Members ----------------------------------------------------------------------------------------------------------


def test_who_reads_the_log_reads_who_belongs_and_which_keys_there_are(admin: Caller, viewer: Caller) -> None:
    a_person("new")
    admin("post", "members/", {"username": "new", "role": "viewer"})
    made = admin("post", "api-keys/", {"name": "edge", "kind": "gateway"}).json()
    told = {entry["target"]["id"] for entry in viewer("get", "audit/?target_type=api_key").json()["results"]}
    listed = viewer("get", "api-keys/")
    assert made["api_key"]["id"] in told == {key["id"] for key in listed.json()["results"]}
    assert made["key"].rpartition("_")[2] not in listed.content.decode()
    assert "new" in {member["username"] for member in viewer("get", "members/").json()["results"]}
    problem(viewer("delete", f"api-keys/{made['api_key']['id']}/"), 403, "forbidden")


def test_members_come_change_and_go(admin: Caller, org: Organization) -> None:
    person = a_person("new")
    made = admin("post", "members/", {"username": "new", "role": "viewer"})
    assert made.json()["member"]["role"] == "viewer"
    path = made["Location"]
    assert admin("get", path).json() == made.json()["member"]
    changed = admin("patch", path, {"role": "editor"}, seen=made["ETag"])
    assert (changed.json()["changed"], changed["ETag"]) == (True, admin("get", path)["ETag"])
    stale = problem(admin("patch", path, {"role": "admin"}, seen=made["ETag"]), 412, "stale_member")
    assert stale["current"]["role"] == "editor"
    assert admin("delete", path).json() == {"changed": True}
    problem(admin("get", path), 404, "not_found")
    assert not Membership.objects.filter(user=person).exists()


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"username": "nobody", "role": "viewer"}, 422, "unknown_person"),
        ({"username": "a\0b", "role": "viewer"}, 400, "malformed_body"),
        ({"username": "admin-of-acme", "role": "viewer"}, 409, "already_member"),
        ({"username": "admin-of-acme", "role": "king"}, 422, "invalid"),
        ({"username": "admin-of-acme"}, 422, "invalid"),
    ],
)
def test_who_cannot_become_a_member(admin: Caller, body: dict[str, str], status: int, code: str) -> None:
    problem(admin("post", "members/", body), status, code)


def test_the_last_admin_stays(admin: Caller, org: Organization) -> None:
    a_person("gone", org, "admin")
    from django.contrib.auth import get_user_model

    get_user_model().objects.filter(username="gone").update(is_active=False)
    path = f"members/{admin.person.pk}/"
    problem(admin("patch", path, {"role": "viewer"}), 409, "last_admin")
    problem(admin("delete", path), 409, "last_admin")


@pytest.mark.parametrize("id", ["0", "99999999999999999999999999", "x"])
def test_a_member_that_is_none_is_not_found(admin: Caller, id: str) -> None:
    assert admin("get", f"members/{id}/").status_code == 404


# --- Keys -------------------------------------------------------------------------------------------------------------


def test_a_key_is_shown_once_works_until_it_is_revoked_and_stays_in_the_list(admin: Caller, org: Organization) -> None:
    signed_in = session(admin.person)
    body = {"name": "dashboard", "role": "viewer"}
    made = signed_in.post(admin.base + "api-keys/", body, content_type="application/json")
    assert made.status_code == 201, made.content
    text = made.json()["key"]
    assert (made["Cache-Control"], text.count("_")) == ("no-store", 3)
    assert bearer(text).get(admin.base + "routes/").status_code == 200
    listed = admin("get", "api-keys/?kind=management&is_valid=true")
    assert text not in listed.content.decode()
    assert made.json()["api_key"]["id"] in [one["id"] for one in listed.json()["results"]]
    assert admin("delete", made["Location"], seen=None).json()["api_key"]["revoked_at"]
    problem(bearer(text).get(admin.base + "routes/"), 401, "unauthenticated")
    assert admin("delete", made["Location"], seen=None).json()["changed"] is False
    assert admin("get", "api-keys/?is_valid=false").json()["results"][0]["name"] == "dashboard"


def test_the_answer_to_the_making_of_a_key_is_not_kept(admin: Caller) -> None:
    body = {"name": "gw", "kind": "gateway"}
    first = admin("post", "api-keys/", body, headers={"Idempotency-Key": "k"})
    assert (first.status_code, first["Cache-Control"]) == (201, "no-store")
    problem(admin("post", "api-keys/", body, headers={"Idempotency-Key": "k"}), 409, "already_created")
    assert ApiKey.objects.filter(kind="gateway").count() == 1
    assert admin("post", "api-keys/?dry_run=1", body).json()["key"] is None


def test_what_is_kept_of_keys_opens_nothing(admin: Caller, org: Organization) -> None:
    made = {
        kind: admin("post", "api-keys/", {"name": kind, "kind": kind}).json()["key"] for kind in ("gateway", "traffic")
    }
    made["management"] = admin.made.text
    for kind, text in made.items():
        key = ApiKey.objects.get(kind=kind)
        assert (bytes(key.digest) == hashlib.sha256(text.encode()).digest()) == (kind == "traffic")
        assert (key.pepper is None) == (kind == "traffic")
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM routes_apikey")
        dump = repr(cursor.fetchall())
    for text in made.values():
        assert text.rpartition("_")[2] not in dump


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"name": "k", "role": "viewer"}, 403, "person_required"),
        ({"name": "k"}, 422, "invalid_key"),
        ({"name": "k", "kind": "gateway", "role": "viewer"}, 422, "invalid_key"),
        ({"name": "k", "kind": "traffic", "expires_at": "2020-01-01T00:00:00Z"}, 422, "invalid_key"),
        ({"name": "k", "kind": "other"}, 422, "invalid"),
        ({"name": "", "kind": "gateway"}, 422, "invalid"),
        ({"name": "k", "kind": "gateway", "expires_at": "2030-01-01"}, 422, "invalid"),
    ],
)
def test_keys_that_cannot_be_made(admin: Caller, body: dict[str, str], status: int, code: str) -> None:
    count = ApiKey.objects.count()
    found = problem(admin("post", "api-keys/", body), status, code)
    assert status == 403 or found["errors"]
    assert ApiKey.objects.count() == count


def test_an_expired_key_does_not_work(org: Organization) -> None:
    made = create_key(
        org, name="k", kind="gateway", by=a_person("ada", org, "admin"), expires_at=timezone.now() + timedelta(hours=1)
    )
    url = f"/api/v1/orgs/{org.slug}/snapshot/"
    assert bearer(made.text).get(url).status_code == 200
    with patch("routes.orgs.models.timezone.now", lambda: made.key.expires_at):
        assert bearer(made.text).get(url).status_code == 401


def test_the_last_use_is_noted_at_most_once_a_minute_also_of_what_was_undone(editor: Caller) -> None:
    editor("post", "routes/?dry_run=1", {"name": "a", "then": {"target_model": "m"}})
    noted = ApiKey.objects.get(pk=editor.made.key.pk).last_used_at
    assert noted is not None
    editor("get", "routes/")
    assert ApiKey.objects.get(pk=editor.made.key.pk).last_used_at == noted
    before = noted - timedelta(seconds=61)
    ApiKey.objects.update(last_used_at=before)
    editor("get", "routes/")
    assert ApiKey.objects.get(pk=editor.made.key.pk).last_used_at > before


# --- Gateways' keys ---------------------------------------------------------------------------------------------------


def test_a_gateway_s_key_reads_the_snapshot_of_its_organisation_and_nothing_else(
    admin: Caller, org: Organization
) -> None:
    text = admin("post", "api-keys/", {"name": "gw", "kind": "gateway"}).json()["key"]
    gateway = bearer(text)
    assert gateway.get(admin.base + "snapshot/").status_code == 200
    for path in ("", "routes/", "plans/", "audit/", "members/", "gateways/"):
        problem(gateway.get(admin.base + path), 403, "forbidden")
    problem(gateway.get("/api/v1/orgs/"), 403, "forbidden")
    other = an_org("other")
    problem(gateway.get(f"/api/v1/orgs/{other.slug}/snapshot/"), 404, "not_found")
    admin.person.is_active = False
    admin.person.save()
    assert gateway.get(admin.base + "snapshot/").status_code == 200, "it acts for nobody"
    assert admin("get", "routes/").status_code == 401


def test_a_key_for_traffic_opens_nothing_here(admin: Caller) -> None:
    text = admin("post", "api-keys/", {"name": "t", "kind": "traffic"}).json()["key"]
    problem(bearer(text).get(admin.base + "snapshot/"), 401, "unauthenticated")


def test_installation_staff_make_keys_of_gateways_for_all_organisations(org: Organization, admin: Caller) -> None:
    staff = session(a_person("root", is_superuser=True))
    body = {"name": "edge", "kind": "gateway"}
    made = staff.post("/api/v1/api-keys/", body, content_type="application/json")
    assert made.status_code == 201, made.content
    gateway = bearer(made.json()["key"])
    for one in (org, an_org("other")):
        assert gateway.get(f"/api/v1/orgs/{one.slug}/snapshot/").status_code == 200
        assert gateway.get(f"/api/v1/orgs/{one.pk}/snapshot/").status_code == 200
    problem(gateway.get("/api/v1/orgs/nowhere/snapshot/"), 404, "not_found")
    assert AuditEntry.objects.filter(org_id=None, action="api_key.created").count() == 1
    assert admin("get", "api-keys/").json()["results"][0]["kind"] == "management", "not in an organisation's list"
    problem(session(admin.person).get("/api/v1/api-keys/"), 403, "forbidden")
    wrong = staff.post("/api/v1/api-keys/", {"name": "k", "role": "admin"}, content_type="application/json")
    problem(wrong, 422, "invalid_key")
    assert staff.delete(made["Location"]).json()["changed"] is True
    assert gateway.get(f"/api/v1/orgs/{org.slug}/snapshot/").status_code == 401
