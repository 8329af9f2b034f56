"""Whoever has to sign in again is told why, and led back to where they were."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from routing_admin.signin.reasons import REASONS
from tests.signin.people import PASSWORD, give_password, with_factor
from tests.signin.test_second_factor import send_code

pytestmark = pytest.mark.django_db
HERE = "http://testserver/admin/password_change/"


def led_to(answer: Any, client: Client) -> tuple[str, str]:
    """(reason, where one is led once signed in); the page says the reason."""
    assert answer.status_code == 302
    assert answer["Location"].startswith("/admin/login/?")
    page = client.get(answer["Location"])
    (reason,) = [name for name, text in REASONS.items() if text in page.text]
    return reason, page.context["next"]


def test_a_session_that_is_over_says_so_and_leads_back(ada: Any, clock: Callable[[float], None]) -> None:
    client = Client()
    give_password(client)
    clock(3_700)
    assert led_to(client.get("/admin/security/?a=1"), client) == ("over", "/admin/security/?a=1")
    client.cookies["sessionid"] = "a" * 32  # of one that the database has thrown away
    assert led_to(client.get("/admin/security/?a=1"), client) == ("over", "/admin/security/?a=1")
    assert led_to(client.get("/admin/security/?a=" + "%26" * 1_000), client) == ("over", "/admin/")


def test_who_sends_something_then_learns_that_nothing_was_saved(ada: Any, clock: Callable[[float], None]) -> None:
    for loses_cookie in (False, True):
        client = Client()
        give_password(client)
        clock(3_700)
        if loses_cookie:  # a browser throws it away after that time
            client.cookies.clear()
        for page, then in ((HERE, HERE), ("https://evil.example/", "/admin/"), ("", "/admin/")):
            answer = client.post("/admin/password_change/", {"password": PASSWORD}, headers={"Referer": page})
            assert led_to(answer, client) == ("unsaved", then)


def test_who_may_not_sign_in_any_more_learns_that_the_session_is_over(ada: Any) -> None:
    client = Client()
    give_password(client)
    type(ada).objects.update(is_staff=False)
    assert led_to(client.get("/admin/security/"), client) == ("over", "/admin/security/")


def test_who_comes_for_the_first_time_is_told_nothing(db: None) -> None:
    answer = Client().get("/admin/security/")
    assert answer["Location"] == "/admin/login/?next=/admin/security/"


def test_a_code_that_comes_too_late_keeps_where_one_wanted_to_go(ada: Any, clock: Callable[[float], None]) -> None:
    _, codes = with_factor(ada)
    client = Client()
    give_password(client, next="/admin/password_change/")
    clock(301)
    answer = send_code(client, codes[0])
    assert led_to(answer, client) == ("late", "/admin/password_change/")
    assert Client().get("/admin/login/code/")["Location"] == "/admin/login/"


def test_the_page_says_nothing_that_a_link_made_up(db: None) -> None:
    page = Client().get("/admin/login/", {"reason": "Call 555 now"})
    assert page.status_code == 200
    assert page.context["reason"] == ""
    assert (
        "reason" not in Client().post("/admin/login/?reason=over", {"username": "a", "password": "b"}).context["reason"]
    )


def test_a_form_from_before_another_sign_in_says_what_to_do(ada: Any) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    answer = client.post("/admin/password_change/", {"password": PASSWORD})
    assert answer.status_code == 403
    assert "You signed in or out in another tab" in answer.text
    assert "Log out" in answer.text
    assert Client(enforce_csrf_checks=True).post("/admin/login/code/", {"code": "1"}).status_code == 403


def test_a_login_page_that_is_out_of_date_is_shown_anew(db: None) -> None:
    client = Client(enforce_csrf_checks=True)
    sent = {"username": "ada", "password": PASSWORD, "next": "/admin/security/"}
    assert led_to(client.post("/admin/login/", sent), client) == ("outdated", "/admin/security/")
    sent["next"] = "https://evil.example/"
    assert led_to(client.post("/admin/login/", sent), client) == ("outdated", "/admin/")
