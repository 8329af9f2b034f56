"""How long a session lasts: while somebody uses it, and never longer than half a day."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.signin.people import give_password
from tests.signin.test_openid import sign_in

pytestmark = pytest.mark.django_db
PAGE, API = "/admin/security/", "/api/v1/orgs/"
IDLE, ABSOLUTE = 3_600, 12 * 3_600
Clock = Callable[[float], None]


def signed_in(way: str) -> Client:
    if way == "provider":
        return sign_in()[0]
    client = Client()
    assert give_password(client).status_code == 302
    return client


def is_over(client: Client, url: str) -> bool:
    answer = client.get(url)
    if answer.status_code == 200:
        return False
    if url == API:
        assert (answer.status_code, answer["WWW-Authenticate"]) == (401, "Bearer")
    else:
        assert answer["Location"] == f"/admin/login/?reason=over&next={quote(url, safe='')}"
    return True


@pytest.mark.parametrize("url", [PAGE, API])
@pytest.mark.parametrize("way", ["password", "provider"])
def test_a_session_that_nobody_uses_ends_and_one_that_is_used_goes_on(
    known: Any, clock: Clock, way: str, url: str
) -> None:
    client = signed_in(way)
    for _ in range(4):
        clock(IDLE - 2)
        assert not is_over(client, url)
    clock(IDLE + 1)
    assert is_over(client, url)


@pytest.mark.parametrize("url", [PAGE, API])
@pytest.mark.parametrize("way", ["password", "provider"])
def test_a_session_ends_half_a_day_after_its_sign_in_however_much_it_is_used(
    known: Any, clock: Clock, way: str, url: str
) -> None:
    client = signed_in(way)
    for _ in range(ABSOLUTE // 1_800 - 1):
        clock(1_800)
        assert not is_over(client, url)
    clock(1_802)
    cookie = client.cookies["sessionid"].value
    assert is_over(client, url)
    assert is_over(Client(headers={"Cookie": f"sessionid={cookie}"}), url), "also where it is sent again"
    assert not is_over(signed_in(way), url)


def test_at_the_api_the_refusal_says_what_to_do(ada: Any, settings: Any, clock: Clock) -> None:
    client = signed_in("password")
    settings.SESSION_ABSOLUTE_SECONDS = 100
    clock(102)
    told = client.get(API).json()
    assert (told["code"], told["detail"]) == ("session_over", "This session is over. Sign in again.")


def test_a_shorter_time_holds_for_sessions_that_are_open(ada: Any, settings: Any, clock: Clock) -> None:
    client = signed_in("password")
    settings.SESSION_IDLE_SECONDS = 60
    clock(59)
    assert not is_over(client, PAGE)
    clock(61)
    assert is_over(client, PAGE)


@pytest.mark.parametrize("lacks", ["signin_began", "signin_used"])
@pytest.mark.parametrize("url", [PAGE, API])
def test_a_session_that_does_not_say_when_it_began_is_over(ada: Any, url: str, lacks: str) -> None:
    client = signed_in("password")
    session = client.session
    del session[lacks]
    session.save()
    assert is_over(client, url)


@pytest.mark.parametrize("url", ["/", API])
def test_use_is_written_once_in_a_tenth_of_the_idle_time(ada: Any, clock: Clock, url: str) -> None:
    def asked() -> tuple[int, bool]:
        with CaptureQueriesContext(connection) as found:
            answer = client.get(url)
        return sum("UPDATE" in query["sql"] for query in found), "sessionid" in answer.cookies

    client = signed_in("password")
    until = Session.objects.get().expire_date
    clock(IDLE // 10 - 2)
    assert [asked(), asked()] == [(0, False), (0, False)]
    clock(3)
    assert [asked(), asked()] == [(1, True), (0, False)]
    assert IDLE // 10 <= (Session.objects.get().expire_date - until).total_seconds() < IDLE // 10 + 30


def test_a_request_that_is_refused_does_not_keep_a_session(ada: Any, clock: Clock) -> None:
    client = signed_in("password")
    url = f"/admin/auth/user/{ada.pk}/change/"
    clock(IDLE // 10 - 2)
    before = Session.objects.values().get()
    assert client.get(url).status_code == 403
    assert Session.objects.values().get() == before


@pytest.mark.parametrize("url", [PAGE, API])
def test_a_session_of_who_may_not_sign_in_is_thrown_away(ada: Any, url: str) -> None:
    client = signed_in("password")
    type(ada).objects.update(is_staff=False)
    assert client.get(url).status_code in (302, 401)
    assert not Session.objects.exists()
