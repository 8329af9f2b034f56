"""The second factor: who is asked, what counts as one, and how often may be guessed."""

import base64
import re
import time
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib import admin
from django.core.management import CommandError, call_command
from django.test import Client
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from audit.models import AuditEntry
from audit.services import payload_of
from audit.verification import verify_org
from routes.orgs.keys import create_key
from routes.orgs.members import add_member
from routes.orgs.models import Organization
from routing_admin.signin import factors
from routing_admin.signin.errors import FactorExists, WrongCode
from tests.build import BY
from tests.signin.people import PASSWORD, code_at, give_password, person_with_password, with_factor, wrong_code

pytestmark = pytest.mark.django_db


def is_signed_in(client: Client) -> bool:
    return client.get("/admin/security/").status_code == 200


def send_code(client: Client, code: str) -> Any:
    return client.post("/admin/login/code/", {"code": code})


def test_codes_are_those_of_the_rfc() -> None:
    # RFC 6238, appendix B, SHA-1; the last six of its eight digits.
    key = b"12345678901234567890".hex()
    for seconds, code in {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}.items():
        assert code_at(key, seconds) == code


def test_without_a_factor_a_password_signs_in_as_ever(ada: Any) -> None:
    client = Client()
    answer = give_password(client, next="/admin/password_change/")
    assert (answer.status_code, answer["Location"]) == (302, "/admin/password_change/")
    assert is_signed_in(client)
    assert "Sign in with" not in Client().get("/admin/login/").content.decode()


def test_nobody_is_signed_in_between_password_and_code(ada: Any, org: Organization) -> None:
    key, _ = with_factor(ada)
    add_member(org, ada, role="admin", by=BY)
    client = Client()
    answer = give_password(client, next=f"/admin/o/{org.slug}/routes/")
    assert answer["Location"] == "/admin/login/code/"
    assert client.get(f"/admin/o/{org.slug}/routes/")["Location"].startswith("/admin/login/")
    assert client.get(f"/api/v1/orgs/{org.slug}/routes/").status_code == 401
    before = client.cookies["sessionid"].value
    assert send_code(client, wrong_code(key)).status_code == 422
    assert not is_signed_in(client)
    TOTPDevice.objects.update(throttling_failure_count=0)
    answer = send_code(client, code_at(key, time.time()))
    assert (answer.status_code, answer["Location"]) == (302, f"/admin/o/{org.slug}/routes/")
    assert client.cookies["sessionid"].value != before, "the session's key changes when it gets rights"
    assert is_signed_in(client)
    assert client.get(f"/api/v1/orgs/{org.slug}/routes/").status_code == 200


def test_a_session_from_before_the_sign_in_is_worth_nothing_after_it(ada: Any) -> None:
    key, _ = with_factor(ada)
    victim, thief = Client(), Client()
    victim.get("/admin/login/")
    session = victim.session
    session["planted"] = 1
    session.save()
    thief.cookies["sessionid"] = session.session_key
    victim.cookies["sessionid"] = session.session_key
    give_password(victim)
    assert thief.get("/admin/login/code/").status_code == 302, "no page for the code in the planted session"
    thief.cookies["sessionid"] = victim.cookies["sessionid"].value
    send_code(victim, code_at(key, time.time()))
    assert is_signed_in(victim)
    assert not is_signed_in(thief)


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize(("shift", "is_right"), [(-90, False), (-30, True), (0, True), (30, True), (90, False)])
def test_a_code_may_be_one_step_early_or_late(ada: Any, shift: int, is_right: bool) -> None:
    key, _ = with_factor(ada)
    client = Client()
    give_password(client)
    assert send_code(client, code_at(key, time.time() + shift)).status_code == (302 if is_right else 422)


def test_a_code_works_once(ada: Any) -> None:
    key, codes = with_factor(ada)
    for code in (code_at(key, time.time()), codes[3].upper().replace("-", " ")):
        for status in (302, 422):
            client = Client()
            give_password(client)
            assert send_code(client, code).status_code == status, code
    assert factors.recovery_codes_left(ada) == factors.RECOVERY_CODES - 1


@pytest.mark.parametrize(
    "code", ["", " ", "１２３４５６", "12345", "1234567", "-123456", "0x1234", "\0", "é" * 16, "a" * 41]
)
def test_what_is_no_code_is_refused(ada: Any, code: str) -> None:
    with_factor(ada)
    client = Client()
    give_password(client)
    assert send_code(client, code).status_code == 422
    assert not is_signed_in(client)


def test_who_is_expected_is_forgotten_after_five_minutes_a_new_password_or_a_deactivation(
    ada: Any, clock: Callable[[float], None]
) -> None:
    with_factor(ada)
    assert Client().get("/admin/login/code/")["Location"] == "/admin/login/"
    late, changed, gone = Client(), Client(), Client()
    give_password(late)
    assert late.get("/admin/login/code/").status_code == 200
    clock(301)
    assert late.get("/admin/login/code/").status_code == 302
    give_password(changed)
    give_password(gone)
    type(ada).objects.update(is_active=False)
    assert gone.get("/admin/login/code/").status_code == 302
    type(ada).objects.update(is_active=True, password="!")
    assert changed.get("/admin/login/code/").status_code == 302


def test_wrong_codes_lock_out_as_wrong_passwords_do(ada: Any, locks: None, clock: Callable[[float], None]) -> None:
    key, codes = with_factor(ada)
    client = Client()
    give_password(client)
    statuses = []
    for wait in (1, 2, 4, 8, 16):
        statuses.append(send_code(client, wrong_code(key)).status_code)
        clock(wait)
    assert statuses == [422, 422, 422, 422, 429]
    locked = send_code(client, code_at(key, time.time()))
    assert locked.status_code == 429
    assert "Too many attempts" in locked.content.decode()
    assert send_code(client, codes[0]).status_code == 429
    assert not is_signed_in(client)
    assert factors.recovery_codes_left(ada) == factors.RECOVERY_CODES, "it was not even looked at"
    assert give_password(Client()).status_code == 429, "the password is locked with it"
    assert give_password(Client(REMOTE_ADDR="198.51.100.9")).status_code == 302, "from elsewhere the owner may"
    kept = "".join(attempt.post_data + attempt.get_data for attempt in AccessAttempt.objects.all())
    assert code_at(key, time.time()) not in kept
    assert codes[0] not in kept
    assert PASSWORD not in kept


def test_the_login_page_says_the_same_of_strangers_and_of_wrong_passwords(ada: Any) -> None:
    with_factor(ada)
    person_with_password("gone", is_active=False)
    person_with_password("customer", is_staff=False)
    said = set()
    for name, password in (("ada", "x"), ("nobody", "x"), ("gone", PASSWORD), ("gone", "x"), ("customer", PASSWORD)):
        answer = give_password(Client(), name, password)
        text = re.sub(r'(nonce|value)="[^"]*"', "", answer.content.decode())
        said.add((answer.status_code, text))
    assert len(said) == 1


HOSTILE = (
    "https://evil.example/", "//evil.example/", "///evil.example", "/\\evil.example", "\\\\evil.example",
    "http:evil.example", "javascript:alert(1)", "https:/evil.example", "\t//evil.example", "http://testserver@evil.example/",
)  # fmt: skip


@pytest.mark.parametrize("url", HOSTILE)
def test_nobody_is_led_to_another_host(ada: Any, url: str) -> None:
    assert give_password(Client(), next=url)["Location"] == "/admin/"
    signed_in = Client()
    give_password(signed_in)
    assert signed_in.get("/admin/login/", {"next": url})["Location"] == "/admin/"
    key, _ = with_factor(ada)
    client = Client()
    give_password(client, next=url)
    assert send_code(client, code_at(key, time.time()))["Location"] == "/admin/"


def test_sign_out_is_a_post(ada: Any) -> None:
    client = Client()
    give_password(client)
    assert client.get("/admin/logout/").status_code == 405
    assert is_signed_in(client)
    assert client.post("/admin/logout/").status_code == 200
    assert not is_signed_in(client)


SET_UP = "/admin/security/second-factor/"


def shown_key(client: Client) -> str:
    return secret_in(client.get(SET_UP))


def secret_in(answer: Any) -> str:
    secret = re.search(r'ra-secret">([A-Z2-7 ]+)<', answer.content.decode())
    assert secret is not None
    return base64.b32decode(secret[1].replace(" ", "")).hex()


def set_up(client: Client, **changed: str) -> Any:
    sent = {"password": PASSWORD, "code": code_at(shown_key(client), time.time()), **changed}
    return client.post(SET_UP, sent)


def test_a_factor_is_set_up_used_renewed_and_removed_with_an_entry_each(ada: Any) -> None:
    client, other = Client(), Client()
    give_password(client)
    give_password(other)
    assert set_up(client, password="wrong").status_code == 422
    assert set_up(client, code="123").status_code == 422
    assert not TOTPDevice.objects.exists()
    before = client.cookies["sessionid"].value
    first_key = shown_key(client)
    shown = set_up(client).content.decode()
    codes = re.findall(r"\b(?:[a-z2-9]{4}-){3}[a-z2-9]{4}\b", shown.partition("</pre>")[0])
    assert len(set(codes)) == factors.RECOVERY_CODES
    assert shown.count(codes[0]) == 2, "as text and in the file"
    assert client.cookies["sessionid"].value != before
    assert is_signed_in(client), "this session proved it"
    assert not is_signed_in(other), "others have to sign in again"
    assert client.get("/admin/security/second-factor/").status_code == 302
    page = client.get("/admin/security/").content.decode()
    assert "10 recovery codes left" in page
    assert all(code not in page for code in codes)
    assert not StaticToken.objects.filter(token__in=[code.replace("-", "") for code in codes]).exists()

    for path in ("recovery-codes/", "second-factor/remove/"):
        prefix = "renew" if path.startswith("rec") else "remove"
        assert client.post(f"/admin/security/{path}", {f"{prefix}-code": "abcd"}).status_code == 422
        assert client.get(f"/admin/security/{path}").status_code == 405
    shown = client.post("/admin/security/recovery-codes/", {"renew-code": codes[0]}).content.decode()
    new = re.findall(r"\b(?:[a-z2-9]{4}-){3}[a-z2-9]{4}\b", shown.partition("</pre>")[0])
    assert set(new).isdisjoint(codes)
    with pytest.raises(WrongCode):
        factors.use_code(ada, codes[1])
    assert client.post("/admin/security/second-factor/remove/", {"remove-code": new[0]}).status_code == 302
    assert not TOTPDevice.objects.exists()
    assert not StaticDevice.objects.exists()
    assert is_signed_in(client)
    assert shown_key(client) != first_key, "a secret is used for one factor"

    entries = AuditEntry.objects.filter(org_id=None).order_by("seq")
    assert [(entry.action, entry.actor_id, entry.target_id) for entry in entries] == [
        (action, str(ada.pk), str(ada.pk))
        for action in ("second_factor.added", "recovery_codes.renewed", "second_factor.removed")
    ]
    assert [payload_of(entry) for entry in entries] == [{"actor_name": "ada", "username": "ada"}] * 3
    assert verify_org(None).ok


def test_a_secret_is_shown_for_ten_minutes_in_one_session_and_not_once_it_is_set_up(
    ada: Any, clock: Callable[[float], None]
) -> None:
    client, other = Client(), Client()
    give_password(client)
    give_password(other)
    key = shown_key(client)
    refused = client.post(SET_UP, {"password": PASSWORD, "code": wrong_code(key)})
    assert secret_in(refused) == key, "what was scanned stays good for the next try"
    assert shown_key(other) != key
    clock(599)
    assert shown_key(client) == key
    clock(2)
    late = client.post(SET_UP, {"password": PASSWORD, "code": code_at(key, time.time())})
    assert late.status_code == 422
    assert "more than ten minutes" in late.content.decode()
    assert not TOTPDevice.objects.exists()
    second = secret_in(late)
    assert second != key
    assert client.post(SET_UP, {"password": PASSWORD, "code": code_at(second, time.time())}).status_code == 200
    assert second not in str(client.session.items())
    assert client.get(SET_UP).status_code == 302


def test_nothing_is_set_up_or_removed_where_it_cannot_be_recorded(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    key = factors.new_key()

    def fails(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("full")

    with monkeypatch.context() as patch:
        patch.setattr(factors, "record", fails)
        with pytest.raises(RuntimeError):
            factors.set_up(ada, key=key, code=code_at(key, time.time()))
    assert not TOTPDevice.objects.exists()
    with_factor(ada)
    monkeypatch.setattr(factors, "record", fails)
    with pytest.raises(RuntimeError):
        factors.remove(ada, by=ada)
    assert TOTPDevice.objects.count() == 1
    with pytest.raises(FactorExists):
        factors.set_up(ada, key=key, code=code_at(key, time.time()))


def test_staff_reset_a_lost_factor_by_a_command(ada: Any) -> None:
    key, _ = with_factor(ada)
    client = Client()
    give_password(client)
    send_code(client, code_at(key, time.time()))
    assert is_signed_in(client)
    out = StringIO()
    call_command("reset_second_factor", "ada", stdout=out)
    assert "no second factor any more" in out.getvalue()
    assert not is_signed_in(client), "a session of the lost phone ends"
    assert give_password(client)["Location"] == "/admin/"
    entry = AuditEntry.objects.get(action="second_factor.reset")
    assert (entry.org_id, entry.actor_type, entry.actor_id, entry.target_id) == (
        None, "system", "reset_second_factor", str(ada.pk)
    )  # fmt: skip
    for name in ("ada", "nobody"):
        with pytest.raises(CommandError):
            call_command("reset_second_factor", name)


def test_whoever_must_have_a_factor_sees_nothing_before(ada: Any, org: Organization, settings: Any) -> None:
    add_member(org, ada, role="admin", by=BY)
    client = Client()
    give_password(client)
    assert client.get("/admin/").status_code == 200
    settings.REQUIRE_SECOND_FACTOR = True
    for url in ("/", "/admin/", f"/admin/o/{org.slug}/routes/", "/admin/security/", "/admin/password_change/"):
        answer = client.get(url)
        assert (answer.status_code, answer["Location"]) == (302, "/admin/security/second-factor/"), url
        assert client.post(url)["Location"] == "/admin/security/second-factor/"
    refused = client.get(f"/api/v1/orgs/{org.slug}/routes/")
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert refused.json()["code"] == "second_factor_required"
    assert refused.json()["request_id"] == refused["X-Request-Id"]
    # A key acts for a program, which has no phone.
    made = create_key(org, name="k", role="viewer", by=ada)
    api = Client(headers={"Authorization": f"Bearer {made.text}"})
    assert api.get(f"/api/v1/orgs/{org.slug}/routes/").status_code == 200
    assert set_up(client).status_code == 200
    assert client.get(f"/admin/o/{org.slug}/routes/").status_code == 200
    assert client.get(f"/api/v1/orgs/{org.slug}/routes/").status_code == 200
    assert client.post("/admin/logout/").status_code == 200


def test_the_api_refuses_a_session_from_before_the_factor(ada: Any, org: Organization) -> None:
    add_member(org, ada, role="admin", by=BY)
    client = Client()
    give_password(client)
    with_factor(ada)
    refused = client.get(f"/api/v1/orgs/{org.slug}/routes/")
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_required")
    assert client.post("/admin/security/", {"x": "y"})["Location"].startswith("/admin/login/")


def test_asking_for_the_factor_costs_no_query(ada: Any, django_assert_num_queries: Any, settings: Any) -> None:
    settings.REQUIRE_SECOND_FACTOR = True
    key, _ = with_factor(ada)
    client = Client()
    give_password(client)
    send_code(client, code_at(key, time.time()))
    with django_assert_num_queries(2):  # the session and its person
        assert client.get("/").status_code == 302


def test_the_librarys_own_pages_are_not_there(ada: Any) -> None:
    names = {model.__name__ for model in admin.site._registry}
    assert names.isdisjoint({"TOTPDevice", "StaticDevice", "ProviderAccount"})
