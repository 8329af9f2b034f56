"""Signing in by an OpenID provider: a real one that speaks HTTP, and one that lies."""

import threading
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client
from joserfc.jwk import ECKey

from audit.models import AuditEntry
from audit.services import payload_of
from routing_admin.signin import accounts
from routing_admin.signin.errors import AccountTaken, NobodyKnown
from routing_admin.signin.models import ProviderAccount
from routing_admin.signin.provider import Account
from tests.signin.people import PASSWORD, code_at, give_password, person_with_password, with_factor
from tests.signin.provider import CLIENT_ID, Provider
from tests.signin.test_second_factor import HOSTILE, is_signed_in, send_code

pytestmark = pytest.mark.django_db


def visit(client: Client, start: str = "/admin/login/provider/") -> str:
    """Go to the provider; answers the path that it leads the browser back to."""
    there = client.get(start)
    assert there.status_code == 302, there.content
    back = requests.get(there["Location"], allow_redirects=False, timeout=5)
    return back.headers["Location"].removeprefix("http://testserver")


def sign_in(client: Client | None = None, start: str = "/admin/login/provider/") -> tuple[Client, Any]:
    client = client or Client()
    return client, client.get(visit(client, start))


def test_a_connected_account_signs_in_with_pkce_state_and_nonce(known: Any, openid: Provider) -> None:
    login = Client().get("/admin/login/", {"next": "/admin/security/"}).content.decode()
    assert 'href="/admin/login/provider/?next=/admin/security/"' in login
    assert "Sign in with Example ID" in login
    client = Client()
    asked = parse_qs(urlsplit(client.get("/admin/login/provider/")["Location"]).query)
    assert asked["code_challenge_method"] == ["S256"]
    assert asked["redirect_uri"] == ["http://testserver/admin/login/provider/callback/"]
    assert (asked["response_type"], asked["client_id"]) == (["code"], [CLIENT_ID])
    assert {"state", "nonce", "code_challenge"} <= asked.keys()
    before = client.cookies["sessionid"].value
    client, answer = sign_in(client, "/admin/login/provider/?next=/admin/security/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/security/")
    assert client.cookies["sessionid"].value != before
    assert is_signed_in(client)
    kept = "".join(str(session.get_decoded()) for session in Session.objects.all())
    assert "access_token" not in kept
    assert "id_token" not in kept


LIES: dict[str, dict[str, Any]] = {
    "another nonce": {"nonce": "other"},
    "no nonce": {"nonce": None},
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "another audience": {"aud": "other"},
    "another audience, though authorised": {"aud": "other", "azp": CLIENT_ID},
    "no audience": {"aud": None},
    "another authorised party": {"azp": "other"},
    "expired": {"exp": 1_700_000_000},
    "no expiry": {"exp": None},
    "not yet valid": {"nbf": 4_000_000_000},
    "no subject": {"sub": None},
    "an empty subject": {"sub": ""},
    "a subject that is no text": {"sub": 7},
    "a subject with a null": {"sub": "a\0b"},
    "a hash of another access token": {"at_hash": "bm90IHRoYXQgb25lIQ"},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_token_that_is_not_for_us_signs_nobody_in(known: Any, openid: Provider, lie: str) -> None:
    openid.lies = LIES[lie]
    client, answer = sign_in()
    assert answer.status_code == 403
    assert "Try again from the start" in answer.content.decode()
    assert not is_signed_in(client)


@pytest.mark.parametrize("forgery", ["another key", "none", "client secret", "public key", "no token"])
def test_a_token_that_the_provider_did_not_sign_signs_nobody_in(known: Any, openid: Provider, forgery: str) -> None:
    if forgery == "another key":
        openid.signing_key = ECKey.generate_key("P-256", {"kid": "first"})
    else:
        openid.forgery = forgery
    client, answer = sign_in()
    assert answer.status_code == 403
    assert not is_signed_in(client)


def test_an_answer_counts_once_and_only_in_the_browser_that_asked(known: Any) -> None:
    client = Client()
    path = visit(client)
    assert Client().get(path).status_code == 403
    assert client.get(path).status_code == 302
    client.post("/admin/logout/")
    for again in (client, Client()):
        assert again.get(path).status_code == 403
        assert not is_signed_in(again)


@pytest.mark.parametrize("query", ["", "?code=x", "?state=x", "?error=access_denied", "?code=x&state=y", "?state[]=1"])
def test_an_answer_to_nothing_is_refused_with_a_page(openid: Provider, query: str) -> None:
    answer = Client().get(f"/admin/login/provider/callback/{query}")
    assert answer.status_code == 403
    assert "Back to signing in" in answer.content.decode()


def test_a_provider_that_is_away_or_calls_itself_otherwise_is_named_as_that(openid: Provider, settings: Any) -> None:
    openid.calls_itself = "https://evil.example"
    assert Client().get("/admin/login/provider/").status_code == 503
    openid.calls_itself, openid.is_away = openid.issuer, True
    answer = Client().get("/admin/login/provider/")
    assert answer.status_code == 503
    assert "sign in with your password" in answer.content.decode()
    openid.is_away = False
    client = Client()
    path = visit(client)
    openid.is_away = True
    assert client.get(path).status_code in (403, 503)


@pytest.mark.parametrize("url", HOSTILE)
def test_nobody_is_led_to_another_host_by_the_provider_either(known: Any, url: str) -> None:
    client = Client()
    there = client.get("/admin/login/provider/", {"next": url})
    back = requests.get(there["Location"], allow_redirects=False, timeout=5).headers["Location"]
    assert client.get(back.removeprefix("http://testserver"))["Location"] == "/admin/"


def test_strangers_are_refused_and_nothing_is_made_by_default(openid: Provider, ada: Any) -> None:
    client, answer = sign_in()
    assert answer.status_code == 403
    assert "No active person here belongs to this account" in answer.content.decode()
    assert not is_signed_in(client)
    assert not ProviderAccount.objects.exists()
    assert get_user_model().objects.count() == 1


def test_a_deactivated_person_is_refused_as_a_stranger_is(known: Any, openid: Provider, settings: Any) -> None:
    settings.OIDC_CREATE_PEOPLE = settings.OIDC_CONNECT_BY_EMAIL = True
    client, _ = sign_in()
    get_user_model().objects.update(is_active=False)
    assert not is_signed_in(client), "a session ends with its person"
    said = [sign_in()[1].content.decode()]
    openid.claims["sub"] = "sub-2"
    said.append(sign_in()[1].content.decode())
    assert all("No active person here belongs to this account" in text for text in said)
    assert get_user_model().objects.count() == 1, "nor does a second account appear under the same e-mail"


def test_a_verified_email_connects_where_the_installation_says_so(ada: Any, openid: Provider, settings: Any) -> None:
    settings.OIDC_CONNECT_BY_EMAIL = True
    openid.claims["email"] = "ADA@Example.org"
    client, answer = sign_in()
    assert answer.status_code == 302
    assert is_signed_in(client)
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.org_id, entry.actor_id, entry.target_id) == (
        "provider_account.connected", None, "oidc", str(ada.pk)
    )  # fmt: skip
    assert payload_of(entry) == {"actor_name": "oidc", "issuer": openid.issuer, "username": "ada"}
    # From now on the e-mail is of no interest.
    openid.claims |= {"email": "new@example.org", "email_verified": False}
    assert sign_in()[1].status_code == 302
    assert AuditEntry.objects.count() == 1


def test_an_email_that_only_the_userinfo_names_counts_if_it_is_of_the_same_account(
    ada: Any, openid: Provider, settings: Any
) -> None:
    settings.OIDC_CONNECT_BY_EMAIL = True
    openid.lies = {"email": None, "email_verified": None}
    openid.userinfo = {"sub": "other", "email": "ada@example.org", "email_verified": True}
    assert sign_in()[1].status_code == 403
    openid.userinfo["sub"] = "sub-1"
    assert sign_in()[1].status_code == 302


@pytest.mark.parametrize(
    ("claims", "fields"),
    [
        ({"email_verified": False}, {}),
        ({"email_verified": None}, {}),
        ({"email_verified": "true"}, {}),
        ({"email": ""}, {"email": ""}),
        ({"email": None}, {"email": ""}),
        ({"email": "adа@example.org"}, {}),
        ({"email": "lız@example.org"}, {"email": "liz@example.org"}),
        ({}, {"is_active": False}),
        ({}, {"is_staff": False}),
        ({}, {"is_superuser": True}),
        ({"email": "ada\0@example.org"}, {}),
    ],
)
def test_a_doubtful_email_connects_nobody(
    ada: Any, openid: Provider, settings: Any, claims: dict[str, Any], fields: dict[str, Any]
) -> None:
    settings.OIDC_CONNECT_BY_EMAIL = True
    get_user_model().objects.update(**fields)
    openid.claims |= claims
    client, answer = sign_in()
    assert answer.status_code == 403
    assert not is_signed_in(client)
    assert not ProviderAccount.objects.exists()
    assert not AuditEntry.objects.exists()


def test_letters_that_a_database_takes_for_others_connect_nobody(ada: Any) -> None:
    for email, is_hers in (("ADA@example.org", True), ("ada@example.orgı", False), ("adä@example.org", False)):
        account = Account("https://id.example", "sub-1", email=email, is_email_verified=True)
        assert accounts._may_be_connected(ada, account) is is_hers


def test_two_people_with_one_email_or_an_address_given_to_somebody_new_connect_nobody(
    ada: Any, openid: Provider, settings: Any
) -> None:
    settings.OIDC_CONNECT_BY_EMAIL = True
    twin = person_with_password("twin", email="Ada@example.org", is_active=False)
    assert sign_in()[1].status_code == 403
    twin.delete()
    assert sign_in()[1].status_code == 302
    openid.claims["sub"] = "sub-of-the-new-colleague"
    assert sign_in()[1].status_code == 403


def test_new_people_belong_nowhere_and_are_told_whom_to_ask(db: None, openid: Provider, settings: Any) -> None:
    settings.OIDC_CREATE_PEOPLE = True
    openid.claims |= {"is_superuser": True, "groups": ["admin"]}
    client, answer = sign_in()
    assert answer.status_code == 302
    person = get_user_model().objects.get()
    assert (person.username, person.email, person.is_staff, person.is_superuser) == (
        "ada", "ada@example.org", True, False
    )  # fmt: skip
    assert not person.has_usable_password()
    assert not person.memberships.exists()
    home = client.get("/admin/").content.decode()
    assert "Ask an admin of your organisation" in home
    assert "<strong>ada</strong>" in home
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_id, entry.target_id) == ("person.created", "oidc", str(person.pk))
    assert "example.org" not in str(payload_of(entry))
    for claims, name in (
        ({"sub": "2", "email": "x@y.example"}, "ada-2"),
        ({"sub": "3", "email": "z@y.example", "preferred_username": "ADA@corp.example"}, "ADA-3"),
        ({"sub": "4", "email": "<b>@y.example", "preferred_username": "../ü"}, "person"),
        ({"sub": "5", "email": "", "preferred_username": "-☃-"}, "person-2"),
    ):
        openid.claims |= claims
        assert sign_in()[1].status_code == 302
        assert get_user_model().objects.latest("pk").username == name


def test_the_same_new_account_twice_at_once_is_one_person(
    db: None, openid: Provider, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.OIDC_CREATE_PEOPLE = True
    account = Account(openid.issuer, "sub-1", username="ada")
    first = accounts.recognise(account)
    answers = iter([None, first])
    monkeypatch.setattr(accounts, "_connected", lambda _: next(answers))
    assert accounts.recognise(account) == first
    assert get_user_model().objects.count() == 1


def test_the_providers_factor_counts(known: Any, settings: Any) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    client, _ = sign_in()
    assert client.get("/admin/").status_code == 200
    with_factor(known)
    assert client.get("/admin/").status_code == 200, "whose own came later, and is for the password"


def test_a_person_connects_and_disconnects_an_account(ada: Any, openid: Provider) -> None:
    key, _ = with_factor(ada)
    client = Client()
    give_password(client)
    now = time.time()
    send_code(client, code_at(key, now))
    assert client.get("/admin/security/provider/go/")["Location"] == "/admin/security/", "not without the password"
    url = "/admin/security/provider/"
    assert client.post(url, {"connect-password": "x", "connect-code": code_at(key, now + 30)}).status_code == 422
    assert client.post(url, {"connect-password": PASSWORD}).status_code == 422
    page = client.post(url, {"connect-password": PASSWORD, "connect-code": code_at(key, now + 30)})
    assert 'href="/admin/security/provider/go/"' in page.content.decode()
    _, answer = sign_in(client, "/admin/security/provider/go/")
    assert answer["Location"] == "/admin/security/"
    assert client.get("/admin/security/provider/go/")["Location"] == "/admin/security/", "once"
    assert sign_in()[1].status_code == 302
    assert "connected</span>" in client.get("/admin/security/").content.decode()
    assert client.post("/admin/security/provider/disconnect/").status_code == 302
    assert sign_in()[1].status_code == 403
    actions = list(AuditEntry.objects.order_by("seq").values_list("action", "actor_id"))
    assert actions[1:] == [
        ("provider_account.connected", str(ada.pk)),
        ("provider_account.disconnected", str(ada.pk)),
    ]


def test_an_account_connects_only_for_who_asked_and_only_to_one(ada: Any, openid: Provider) -> None:
    client = Client()
    give_password(client)
    client.post("/admin/security/provider/", {"connect-password": PASSWORD})
    path = visit(client, "/admin/security/provider/go/")
    get_user_model().objects.update(is_active=False)
    assert client.get(path).status_code == 403, "the session has the question, and nobody"
    get_user_model().objects.update(is_active=True)
    give_password(client)
    client.post("/admin/security/provider/", {"connect-password": PASSWORD})
    path = visit(client, "/admin/security/provider/go/")
    eve = person_with_password("eve")
    client.force_login(eve)
    assert client.get(path).status_code == 403
    assert not ProviderAccount.objects.exists()
    accounts.connect(Account(openid.issuer, "sub-1"), ada)
    for account, person in ((Account(openid.issuer, "sub-1"), eve), (Account(openid.issuer, "sub-2"), ada)):
        with pytest.raises(AccountTaken):
            accounts.connect(account, person)
    assert AuditEntry.objects.count() == 1


def test_who_has_no_password_keeps_the_account(known: Any) -> None:
    get_user_model().objects.update(password="!")
    client, _ = sign_in()
    page = client.get("/admin/security/").content.decode()
    assert "none to protect" in page
    client.post("/admin/security/provider/disconnect/")
    assert ProviderAccount.objects.exists()


def test_another_issuer_with_the_same_subject_is_somebody_else(known: Any) -> None:
    with pytest.raises(NobodyKnown):
        accounts.recognise(Account("https://other.example", "sub-1"))


def test_without_a_provider_its_pages_are_not_there(ada: Any) -> None:
    assert not django_settings.OIDC_ISSUER
    client = Client()
    give_password(client)
    for path in ("login/provider/", "login/provider/callback/", "security/provider/go/"):
        assert client.get(f"/admin/{path}").status_code == 404
    for path in ("security/provider/", "security/provider/disconnect/"):
        assert client.post(f"/admin/{path}").status_code == 404


def test_many_at_once_share_what_the_provider_publishes(known: Any, openid: Provider) -> None:
    from routing_admin.signin import provider

    made = []
    threads = [threading.Thread(target=lambda: made.append(provider._client())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 4
    assert {client.server_metadata["issuer"] for client in made} == {openid.issuer}
