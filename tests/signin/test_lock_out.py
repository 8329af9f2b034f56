"""Who guesses locks out themselves, and nobody for longer than is said."""

import re
from datetime import timedelta
from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client
from django.utils import timezone

from audit.models import AuditEntry
from audit.services import payload_of
from tests.build import a_person
from tests.signin.people import give_password, person_with_password, with_factor
from tests.signin.test_second_factor import send_code

pytestmark = pytest.mark.django_db


def guess(client: Client, times: int) -> list[int]:
    return [give_password(client, password=f"wrong {number}").status_code for number in range(times)]


def test_behind_a_proxy_an_address_locks_only_itself_out(ada: Any, locks: None, settings: Any) -> None:
    settings.NUM_PROXIES = 1
    attacker, owner = (Client(headers={"X-Forwarded-For": address}) for address in ("6.6.6.6", "9.9.9.9"))
    assert guess(attacker, 5) == [200, 200, 200, 200, 429]
    assert give_password(attacker).status_code == 429
    assert give_password(owner).status_code == 302


def test_an_attempt_during_the_lock_does_not_begin_it_anew(ada: Any, locks: None) -> None:
    client = Client()
    guess(client, 5)
    began = AccessAttempt.objects.get().attempt_time
    assert give_password(client).status_code == 429
    assert guess(client, 1) == [429]
    assert AccessAttempt.objects.get().attempt_time == began


def test_nor_does_a_code_during_the_lock(ada: Any, locks: None) -> None:
    with_factor(ada)
    client = Client()
    give_password(client)
    guess(Client(), 5)
    before = AccessAttempt.objects.values().get()
    assert send_code(client, "123456").status_code == 429
    assert AccessAttempt.objects.values().get() == before


def test_the_lock_says_when_it_ends(ada: Any, locks: None) -> None:
    client = Client()
    guess(client, 5)
    for minutes, says in ((0, "60 minutes,"), (20, "40 minutes,"), (59, "1 minute,")):
        AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=minutes))
        locked = give_password(client)
        assert f"Try again in {says}" in locked.content.decode()
        assert (60 - minutes) * 60 - 30 < int(locked["Retry-After"]) <= (60 - minutes) * 60
    AccessAttempt.objects.update(attempt_time=timezone.now() - timedelta(minutes=61))
    assert give_password(client).status_code == 302


def test_of_several_browsers_the_lock_ends_with_the_first_attempt_that_is_needed_for_it(ada: Any, locks: None) -> None:
    now = timezone.now()
    for minutes, failures in ((61, 9), (50, 1), (15, 2), (10, 2), (2, 1)):
        row = AccessAttempt.objects.create(
            username="ada", ip_address="127.0.0.1", user_agent=f"browser {minutes}", failures_since_start=failures
        )
        AccessAttempt.objects.filter(pk=row.pk).update(attempt_time=now - timedelta(minutes=minutes))
    assert "in 45 minutes" in give_password(Client()).content.decode()
    AccessAttempt.objects.filter(user_agent="browser 15").update(attempt_time=now - timedelta(minutes=61))
    assert give_password(Client()).status_code == 302


def test_whoever_signs_in_has_all_attempts_again(ada: Any, locks: None) -> None:
    for _ in range(3):
        assert guess(Client(), 4) == [200] * 4
        assert give_password(Client()).status_code == 302


@pytest.mark.parametrize("address", ["", "unix:", "[::1]", "1.2.3.4:5678", "unknown"])
def test_what_is_no_address_breaks_nothing(ada: Any, locks: None, address: str) -> None:
    assert guess(Client(REMOTE_ADDR=address), 1) == [200]
    assert give_password(Client(REMOTE_ADDR=address)).status_code == 302


def test_whoever_is_staff_no_more_has_no_session_left_at_the_api_either(ada: Any) -> None:
    client = Client()
    give_password(client)
    assert client.get("/api/v1/orgs/").status_code == 200
    type(ada).objects.update(is_staff=False)
    assert client.get("/api/v1/orgs/").status_code == 401
    assert client.get("/admin/").status_code == 302


def test_of_a_name_that_nobody_has_the_digest_is_kept_and_locked(ada: Any, locks: None) -> None:
    for name in ("her password", "another one"):
        statuses = [give_password(Client(), name, "x").status_code for _ in range(5)]
        assert statuses == [200] * 4 + [429]
    kept = [attempt.username for attempt in AccessAttempt.objects.all()]
    assert len(set(kept)) == 2
    assert all(re.fullmatch("[?] [0-9a-f]{64}", name) for name in kept), kept


def test_staff_unlock_a_person_with_an_entry_and_nobody_else_does(ada: Any, locks: None) -> None:
    person_with_password("eve")
    staff, page = Client(), f"/admin/auth/user/{ada.pk}/change/"
    root = a_person("root", is_superuser=True)
    staff.force_login(root)
    assert "Unlock" not in staff.get(page).text
    for address in ("6.6.6.6", "9.9.9.9"):
        assert guess(Client(REMOTE_ADDR=address), 5)[-1] == 429
    give_password(Client(), "eve", "wrong")
    assert "10 wrong passwords or codes" in staff.get(page).text
    url = f"/admin/auth/user/{ada.pk}/unlock/"
    assert staff.get(url).status_code == 405
    hers = Client()
    hers.force_login(ada)
    assert hers.post(url).status_code == 403
    assert staff.post(url)["Location"] == page
    assert give_password(Client(REMOTE_ADDR="6.6.6.6")).status_code == 302
    assert [attempt.username for attempt in AccessAttempt.objects.all()] == ["eve"]
    assert staff.post(url)["Location"] == page, "there is nothing to unlock"
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.actor_id, entry.target_id) == ("person.unlocked", str(root.pk), str(ada.pk))
    assert payload_of(entry) == {"actor_name": "root", "username": "ada", "attempts": 2}
    assert staff.post("/admin/auth/user/999999/unlock/").status_code == 404


def test_nobody_is_unlocked_and_nothing_deleted_without_an_entry(locks: None) -> None:
    staff = Client()
    staff.force_login(a_person("root", is_superuser=True))
    for model in ("accessattempt", "accesslog", "accessfailurelog"):
        assert staff.get(f"/admin/axes/{model}/").status_code == 404
    assert "axes" not in staff.get("/admin/").text
