"""Members are added by name; who has an account here cannot be asked of it in earnest."""

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache, caches
from django.test import Client

from routes.orgs.keys import create_key
from routes.orgs.members import add_member
from routes.orgs.models import Membership, Organization
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.build import BY, a_person, an_org

pytestmark = pytest.mark.django_db
#: A dry run, a name that nobody has, and a member already.
ASKED = (("?dry_run=1", "bob", 201), ("", "nobody", 422), ("", "admin-of-acme", 409))


@pytest.fixture(autouse=True)
def three_an_hour(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In the middle of an hour, which does not end during a test."""
    settings.MEMBER_RATE = len(ASKED)
    now = time.time() // 3_600 * 3_600 + 1_800
    monkeypatch.setattr("routes.rates.time.time", lambda: now)
    caches["people"].clear()
    yield
    caches["people"].clear()


@pytest.fixture
def admin(org: Organization) -> Caller:
    a_person("bob")
    return Caller(org, "admin")


def ask(admin: Caller, query: str = "?dry_run=1", name: str = "bob") -> Any:
    return admin("post", f"members/{query}", {"username": name, "role": "viewer"})


def used_up(admin: Caller) -> None:
    for query, name, status in ASKED:
        assert ask(admin, query, name).status_code == status


def test_after_so_many_names_a_person_waits_whatever_they_found(
    admin: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> int:
        return sum(record.name == "routes.orgs.members" for record in caplog.records)

    with caplog.at_level(logging.WARNING, "routes.orgs.members"):
        used_up(admin)
        assert told() == 0
        for name in ("bob", "nobody", "bob"):
            refused = ask(admin, name=name)
            problem(refused, 429, "too_many_names")
            assert 0 < int(refused["Retry-After"]) <= 3_600
    assert told() == 1, "an operator is told once an hour"
    assert admin("get", "members/").status_code == 200


def test_another_key_session_page_or_organisation_of_the_person_does_not_begin_anew(
    admin: Caller, org: Organization
) -> None:
    used_up(admin)
    other = an_org("other")
    add_member(other, admin.person, role="admin", by=BY)
    key = create_key(other, name="k", role="admin", by=admin.person)
    headers = {"Authorization": f"Bearer {key.text}"}
    body = {"username": "bob", "role": "viewer"}
    answer = Client(headers=headers).post("/api/v1/orgs/other/members/", body, content_type="application/json")
    problem(answer, 429, "too_many_names")
    page = Client()
    page.force_login(admin.person)
    shown = page.post("/admin/o/acme/access/members/", {"member-username": "bob", "member-role": "viewer"})
    assert shown.status_code == 422
    assert "You asked for too many names in this hour." in shown.content.decode()
    assert 'value="bob"' in shown.content.decode(), "what was typed is still there"
    assert not Membership.objects.filter(user__username="bob").exists()
    problem(ask(Caller(other, "admin"), name="nobody"), 422, "unknown_person")


def test_the_next_hour_and_installation_staff_are_free(admin: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    used_up(admin)
    type(admin.person).objects.filter(pk=admin.person.pk).update(is_superuser=True)
    assert ask(admin).status_code == 201
    type(admin.person).objects.filter(pk=admin.person.pk).update(is_superuser=False)
    assert ask(admin).status_code == 429
    later = time.time() + 3_600
    monkeypatch.setattr("routes.rates.time.time", lambda: later)
    assert ask(admin).status_code == 201


def test_who_is_not_known_washes_no_count_of_names_away(admin: Caller) -> None:
    used_up(admin)
    cache.clear()  # as where made-up callers filled it until all else fell out
    problem(ask(admin), 429, "too_many_names")


def test_the_page_says_that_a_name_is_nobody_s_and_keeps_it(admin: Caller) -> None:
    page = Client()
    page.force_login(admin.person)
    shown = page.post("/admin/o/acme/access/members/", {"member-username": "nobody", "member-role": "viewer"})
    assert shown.status_code == 422
    assert "There is no active account with this name." in shown.content.decode()
    assert 'value="nobody"' in shown.content.decode()
