"""What our pages say where Django has words of its own, or none that fit."""

from typing import Any

import pytest
from django.test import Client

from routes.orgs.models import Membership, Organization
from tests.build import a_person
from tests.signin.people import give_password, person_with_password
from tests.signin.test_lock_out import guess
from tests.signin.test_password import change

pytestmark = pytest.mark.django_db


def test_a_wrong_password_and_an_account_that_may_not_sign_in_are_told_the_same(ada: Any) -> None:
    person_with_password("eve", is_staff=False)
    told = [give_password(Client(), *who).text for who in (("ada", "wrong"), ("eve",), ("nobody",))]
    assert all("Name and password do not fit, or this account may not sign in." in text for text in told)
    assert "staff account" not in "".join(told)


def test_whoever_signs_out_is_told_so_by_a_page_of_ours(ada: Any, settings: Any) -> None:
    client = Client()
    give_password(client)
    page = client.post("/admin/logout/")
    assert (page.status_code, "You are signed out" in page.text) == (200, True)
    assert "quality time" not in page.text
    assert "may be signed in still" not in page.text
    settings.OIDC_NAME = "Example ID"
    give_password(client)
    assert "At Example ID you may be signed in still." in client.post("/admin/logout/").text
    assert client.get("/admin/security/").status_code == 302


def test_no_page_says_that_a_password_was_changed_which_was_not(ada: Any) -> None:
    client = Client()
    give_password(client)
    assert client.get("/admin/password_change/done/")["Location"] == "/admin/security/"
    assert "is changed" not in client.get("/admin/security/").text
    assert "Your password is changed." in client.get(change(client)["Location"]).text


def test_who_is_locked_out_while_signed_in_finds_the_way_back(ada: Any, locks: None) -> None:
    client, back = Client(), 'href="/admin/security/"'
    give_password(client)
    locked = [change(client, password=f"wrong {number}") for number in range(5)][-1]
    assert (locked.status_code, back in locked.text, "Back to signing in" in locked.text) == (429, True, False)
    assert client.get("/admin/security/").status_code == 200
    guess(stranger := Client(), 1)
    told = give_password(stranger)
    assert (told.status_code, back in told.text, "Back to signing in" in told.text) == (429, False, True)


def test_what_one_may_not_do_names_the_organisation_only_where_there_is_one(org: Organization) -> None:
    client = Client()
    client.force_login(a_person("ada", org))
    for url in ("/admin/gateway-keys/", "/admin/auth/user/", "/admin/audit/"):
        told = client.get(url)
        assert (told.status_code, "staff of this installation" in told.text) == (403, True), url
        assert "organisation does not allow" not in told.text
    for url, status in ((f"/admin/o/{org.slug}/access/", 403), ("/admin/o/nothing/", 404), ("/admin/nothing/", 404)):
        told = client.get(url)
        assert told.status_code == status
        assert all(part in told.text for part in ("<span>ada</span>", "/admin/security/", "Log out")), url
        assert ("organisation does not allow" in told.text) == (status == 403)


@pytest.mark.parametrize(
    ("role", "leads_to"), [("viewer", "/admin/o/acme/"), ("remove", "/admin/"), ("admin", "/admin/o/acme/access/")]
)
def test_who_gives_up_an_own_role_is_led_where_they_may_be(org: Organization, role: str, leads_to: str) -> None:
    a_person("bob", org, "admin")
    client = Client()
    client.force_login(a_person("ada", org, "admin"))
    own = Membership.objects.get(user__username="ada").pk
    done = client.post(f"/admin/o/acme/access/members/{own}/", {"role": role}, follow=True)
    assert (done.redirect_chain, done.status_code) == ([(leads_to, 302)], 200)
    assert ("is viewer now." in done.text) == (role == "viewer")
