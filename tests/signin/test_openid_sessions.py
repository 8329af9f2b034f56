"""Sessions that the OpenID provider opened: how long they last."""

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from routes.orgs.members import add_member
from routes.orgs.models import Organization
from routing_admin.signin.models import ProviderAccount
from tests.build import BY
from tests.signin.people import give_password, person_with_password
from tests.signin.provider import Provider
from tests.signin.test_openid import sign_in
from tests.signin.test_second_factor import is_signed_in

pytestmark = pytest.mark.django_db
API = "/api/v1/orgs/"


def test_a_session_by_the_provider_ends_with_its_account_and_one_by_the_password_goes_on(
    known: Any, org: Organization, openid: Provider, settings: Any
) -> None:
    add_member(org, known, role="admin", by=BY)
    by_password, (by_provider, _), (elsewhere, _) = Client(), sign_in(), sign_in()
    give_password(by_password)
    for client in (by_password, by_provider, elsewhere):
        assert client.get(API).status_code == 200
    page = by_provider.get("/admin/security/").content.decode()
    assert "It opened this session" in page
    left = by_provider.post("/admin/security/provider/disconnect/", follow=True)
    assert left.redirect_chain[-1][0].startswith("/admin/login/")
    assert "does not sign you in any more" in left.content.decode()
    assert by_provider.get(API).status_code == 401
    refused = elsewhere.get(API)
    assert (refused.status_code, refused.json()["code"]) == (403, "provider_account_gone")
    assert elsewhere.get("/admin/security/")["Location"].startswith("/admin/login/")
    assert elsewhere.get(API).status_code == 401, "the page signed it out"
    assert is_signed_in(by_password)
    assert by_password.get(API).status_code == 200


@pytest.mark.parametrize("gone", ["another account", "another issuer", "no provider", "another person", "inactive"])
def test_no_session_by_the_provider_outlives_what_it_was_opened_by(
    known: Any, openid: Provider, settings: Any, gone: str
) -> None:
    sessions = {url: sign_in()[0] for url in ("/admin/", "/api/docs/", API)}
    assert all(is_signed_in(client) for client in sessions.values())
    account = ProviderAccount.objects.get()
    if gone == "another account":
        account.delete()
        ProviderAccount.objects.create(issuer=openid.issuer, subject="sub-2", person=known)
    elif gone == "another person":
        ProviderAccount.objects.update(person=person_with_password("eve"))
    elif gone == "inactive":
        get_user_model().objects.update(is_active=False)
    else:
        settings.OIDC_ISSUER = "" if gone == "no provider" else "https://other.example"
    for url, client in sessions.items():
        answer = client.get(url)
        assert "<strong>ada</strong>" not in answer.content.decode(), url
        assert answer.status_code in ((401, 403) if url == API else (200, 302))
        assert not is_signed_in(client)


def test_asking_for_the_account_costs_no_query_and_a_session_by_password_nothing(
    known: Any, django_assert_num_queries: Any
) -> None:
    for client, is_asked in ((sign_in()[0], True), (Client(), False)):
        if not is_asked:
            give_password(client)
        with django_assert_num_queries(2) as asked:  # the session and its person
            assert client.get("/").status_code == 302
        assert ("provideraccount" in asked[1]["sql"]) is is_asked
