"""What a stranger sends that no column can hold is refused like anything wrong, on each database."""

from typing import Any

import pytest
from axes.models import AccessAttempt
from django.test import Client

from tests.signin.people import give_password, person_with_password

pytestmark = pytest.mark.django_db
#: One character, of which normalising makes eighteen.
LIGATURE = "\ufdfa"
OF_NOBODY = "a" * 151
REFUSED = "Name and password do not fit, or this account may not sign in."


@pytest.mark.parametrize("name", [OF_NOBODY, "a" * 256, "a" * 5_000, LIGATURE * 9, LIGATURE * 150])
def test_a_name_longer_than_any_is_refused_as_a_wrong_one_and_counts_nowhere(ada: Any, locks: None, name: str) -> None:
    for _ in range(6):
        answer = give_password(Client(), name=name)
        assert (answer.status_code, REFUSED in answer.content.decode()) == (200, True)
    assert not AccessAttempt.objects.exists()


def test_the_longest_name_signs_in_and_its_guesses_count(locks: None) -> None:
    longest = "a" * 150
    person_with_password(longest, email="")
    assert give_password(Client(), name=longest, password="wrong").status_code == 200
    assert AccessAttempt.objects.get().username == longest
    assert give_password(Client(), name=longest).status_code == 302


@pytest.mark.parametrize("name", ["a\0da", "\0"])
def test_a_name_with_nul_is_refused_by_the_form(ada: Any, locks: None, name: str) -> None:
    answer = give_password(Client(), name=name)
    assert (answer.status_code, answer.context["form"].is_valid()) == (200, False)
    assert not AccessAttempt.objects.exists()


def test_of_long_headers_and_addresses_what_fits_is_kept(ada: Any, locks: None, settings: Any) -> None:
    settings.NUM_PROXIES = 1
    client = Client(headers={"User-Agent": "é" * 3_000, "Accept": "x" * 3_000, "X-Forwarded-For": "1\0" + "1" * 300})
    assert client.post("/admin/login/?x=%00", {"username": "ada", "password": "x\0", "y": "\0"}).status_code == 200
    assert not AccessAttempt.objects.exists(), "a password with NUL is nobody's"
    answer = client.post("/admin/login/?x=%00" + "x" * 3_000, {"username": "ada", "password": "x", "y": "\0"})
    assert answer.status_code == 200
    kept = AccessAttempt.objects.get()
    assert (len(kept.user_agent), len(kept.http_accept), kept.ip_address) == (255, 1_025, None)


@pytest.mark.parametrize("cookie", [r'"\000aaaaaaaaaaaa"', r'"aaaaaaaa\000"', "ä" * 40, "a-" * 20, "a" * 5_000])
@pytest.mark.parametrize(("path", "status"), [("/admin/login/", 200), ("/admin/", 302), ("/api/v1/orgs/", 401)])
def test_a_cookie_that_can_be_no_session_s_is_none(db: None, cookie: str, path: str, status: int) -> None:
    assert Client().get(path, headers={"Cookie": f"sessionid={cookie}"}).status_code == status
