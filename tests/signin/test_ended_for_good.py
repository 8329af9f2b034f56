"""A session that ended stays ended, whatever becomes of its person: what is as it was before is not what it was."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.test import Client

from routing_admin.signin import factors
from tests.build import a_person
from tests.signin.people import give_password, with_factor
from tests.signin.test_openid import sign_in
from tests.signin.test_people import filled, page
from tests.signin.test_second_factor import send_code

pytestmark = pytest.mark.django_db
PAGE, API = "/admin/security/", "/api/v1/orgs/"


def is_whole(client: Client) -> bool:
    return [client.get(url).status_code for url in (PAGE, API)] == [200, 200]


def by_password() -> Client:
    client = Client()
    assert give_password(client).status_code == 302
    assert is_whole(client)
    return client


def reset(person: Any) -> None:
    call_command("reset_second_factor", person.get_username(), verbosity=0)


@pytest.mark.parametrize("end", [lambda person: factors.remove(person, by=person), reset])
def test_a_session_without_a_factor_does_not_return_once_the_factor_is_gone(ada: Any, end: Any) -> None:
    """Nobody used it in between, so that nobody could throw it away."""
    client = by_password()
    with_factor(ada)
    end(ada)
    assert not is_whole(client)
    assert is_whole(by_password())


def test_nor_does_one_with_a_factor_whose_id_is_given_again(ada: Any) -> None:
    _, codes = with_factor(ada)
    client = Client()
    give_password(client)
    send_code(client, codes[0])
    assert is_whole(client)
    used = factors.factor_id(ada)
    factors.remove(ada, by=ada)
    with_factor(ada)
    ada.totpdevice_set.update(id=used)  # SQLite gives the highest one again
    assert not is_whole(client)


@pytest.mark.parametrize("flag", ["is_active", "is_staff"])
@pytest.mark.parametrize("way", ["password", "provider"])
def test_nor_does_any_once_its_person_may_sign_in_again(known: Any, flag: str, way: str) -> None:
    staff, client = Client(), by_password() if way == "password" else sign_in()[0]
    staff.force_login(a_person("root", is_superuser=True))
    assert staff.post(page(known), filled(known, **{flag: None})).status_code == 302
    known.refresh_from_db()
    assert staff.post(page(known), filled(known, **{flag: "on"})).status_code == 302
    known.refresh_from_db()
    assert getattr(known, flag)
    refused = client.get(API)
    assert (refused.status_code, refused.json()["code"]) == (401, "session_over")
    assert not is_whole(client)
    assert is_whole(by_password() if way == "password" else sign_in()[0])


def test_other_changes_of_a_person_end_no_session(ada: Any) -> None:
    client, staff = by_password(), Client()
    staff.force_login(a_person("root", is_superuser=True))
    assert staff.post(page(ada), filled(ada, is_superuser="on", first_name="Ada")).status_code == 302
    assert is_whole(client)


def test_a_password_that_was_given_before_is_worth_nothing_after(ada: Any) -> None:
    """Between password and code."""
    _, codes = with_factor(ada)
    client, staff = Client(), Client()
    give_password(client)
    staff.force_login(a_person("root", is_superuser=True))
    for changed in ({"is_active": None}, {"is_active": "on"}):
        assert staff.post(page(ada), filled(ada, **changed)).status_code == 302
        ada.refresh_from_db()
    assert send_code(client, codes[0])["Location"].startswith("/admin/login/")
    assert get_user_model().objects.get(pk=ada.pk).is_active


@pytest.mark.parametrize("url", [PAGE, API])
def test_what_is_found_to_have_ended_is_thrown_away(ada: Any, url: str) -> None:
    client = by_password()
    with_factor(ada)
    assert client.get(url).status_code in (302, 403)
    assert not Session.objects.exists()
