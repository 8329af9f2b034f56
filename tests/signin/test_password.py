"""Changing one's password: who proves what, what is counted, and what it ends."""

import time
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.contrib.auth import get_user_model
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from audit.models import AuditEntry
from audit.services import payload_of
from routing_admin.signin import factors, passwords
from tests.signin.people import PASSWORD, code_at, give_password, with_factor, wrong_code
from tests.signin.test_openid import sign_in
from tests.signin.test_second_factor import is_signed_in, send_code

pytestmark = pytest.mark.django_db
NEW = "a longer horse battery"
URL = "/admin/password_change/"


def change(client: Client, **changed: str) -> Any:
    return client.post(URL, {"password": PASSWORD, "new_password1": NEW, "new_password2": NEW, **changed})


def test_a_new_password_ends_other_sessions_and_is_recorded(ada: Any) -> None:
    client, other = Client(), Client()
    give_password(client)
    give_password(other)
    assert client.get(URL).status_code == 200
    before = client.cookies["sessionid"].value
    assert change(client)["Location"] == "/admin/security/"
    assert client.cookies["sessionid"].value != before
    assert is_signed_in(client)
    assert not is_signed_in(other)
    assert give_password(Client(), password=NEW).status_code == 302
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.org_id, entry.actor_id, entry.target_id) == (
        "password.changed", None, str(ada.pk), str(ada.pk)
    )  # fmt: skip
    assert payload_of(entry) == {"actor_name": "ada", "username": "ada"}


def test_nothing_is_changed_where_it_cannot_be_recorded(ada: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("full")

    monkeypatch.setattr(passwords, "record", fails)
    with pytest.raises(RuntimeError):
        passwords.change(ada, NEW)
    ada.refresh_from_db()
    assert ada.check_password(PASSWORD)


def test_only_the_password_is_written(ada: Any) -> None:
    get_user_model().objects.update(is_staff=False)
    passwords.change(ada, NEW)
    ada.refresh_from_db()
    assert (ada.is_staff, ada.check_password(NEW)) == (False, True)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"password": "wrong"}, "not your password"),
        ({"password": ""}, "required"),
        ({"new_password2": "other"}, "match"),
        ({"new_password1": "short", "new_password2": "short"}, "too short"),
        ({"new_password1": "12345678901", "new_password2": "12345678901"}, "too common"),
    ],
)
def test_a_refused_form_says_why_and_changes_nothing(ada: Any, changed: dict[str, str], says: str) -> None:
    client = Client()
    give_password(client)
    answer = change(client, **changed)
    assert answer.status_code == 422
    assert says in answer.content.decode()
    ada.refresh_from_db()
    assert ada.check_password(PASSWORD)


def test_guesses_at_the_old_password_lock_out_as_at_the_sign_in(ada: Any, locks: None) -> None:
    client = Client()
    give_password(client)
    assert [change(client, password=f"wrong {number}").status_code for number in range(5)] == [422] * 4 + [429]
    assert change(client).status_code == 429, "the right one is not even looked at"
    assert give_password(Client()).status_code == 429, "one counter for both"
    ada.refresh_from_db()
    assert ada.check_password(PASSWORD)
    kept = "".join(attempt.post_data for attempt in AccessAttempt.objects.all())
    assert "wrong" not in kept
    assert NEW not in kept


@pytest.mark.usefixtures("clock")
def test_whoever_has_a_second_factor_proves_it_too_and_no_code_is_used_up_by_a_refused_form(ada: Any) -> None:
    key, codes = with_factor(ada)
    client = Client()
    give_password(client)
    send_code(client, code_at(key, time.time()))
    assert 'name="code"' in client.get(URL).content.decode()
    assert change(client).status_code == 422
    assert change(client, code=wrong_code(key)).status_code == 422
    TOTPDevice.objects.update(throttling_failure_count=0)
    for changed in ({"new_password2": "other"}, {"password": "wrong"}):
        assert change(client, code=codes[0], **changed).status_code == 422
    ada.refresh_from_db()
    assert ada.check_password(PASSWORD)
    assert factors.recovery_codes_left(ada) == factors.RECOVERY_CODES
    assert change(client, code=code_at(key, time.time() + 30)).status_code == 302
    assert is_signed_in(client)


def test_who_has_no_password_is_told_so_wherever_one_is_asked_for(known: Any, locks: None) -> None:
    get_user_model().objects.update(password="!")
    client, _ = sign_in()
    for url in (URL, "/admin/security/second-factor/"):
        for answer in (
            client.get(url),
            change(client) if url == URL else client.post(url, {"password": "x", "code": "1"}),
        ):
            assert answer.status_code == 403
            page = answer.content.decode()
            assert "You have no password here" in page
            assert "Ask the staff of this installation" in page
    assert not AccessAttempt.objects.exists(), "it is no guess"
    assert "signin_new" not in str(client.session.items())
    assert not TOTPDevice.objects.exists()
