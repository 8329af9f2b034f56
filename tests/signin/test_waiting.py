"""How long a wrong code makes the next one wait, and whom it does not."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from routing_admin.signin import factors
from routing_admin.signin.errors import TooManyWrongCodes, WrongCode
from tests.signin.people import code_at, give_password, with_factor, wrong_code
from tests.signin.test_second_factor import send_code

pytestmark = pytest.mark.django_db


def test_guesses_wait_twice_as_long_each_time_wherever_they_come_from(ada: Any, clock: Callable[[float], None]) -> None:
    key, codes = with_factor(ada)
    client = Client()
    give_password(client)
    wrong = wrong_code(key)
    for wait in (1, 2, 4, 8):
        assert "neither the code" in send_code(client, wrong).content.decode()
        other = Client(REMOTE_ADDR=f"198.51.100.{wait}")
        give_password(other)
        clock(0.5)  # what is said is rounded up
        refused = send_code(other, code_at(key, time.time()))
        assert refused.status_code == 422, "also the right one has to wait"
        assert f"looked at in {wait} s" in refused.content.decode()
        clock(wait - 0.5)
        wrong = wrong_code(key)
    assert TOTPDevice.objects.get().throttling_failure_count == 4
    # A recovery code is not made to wait, and frees the app.
    assert send_code(client, codes[0]).status_code == 302
    assert TOTPDevice.objects.get().throttling_failure_count == 0


@pytest.mark.usefixtures("clock")
def test_nobody_keeps_recovery_codes_waiting(ada: Any) -> None:
    key, codes = with_factor(ada)
    for guess in ("a" * 16, "", codes[0][:-1], "a" * 16):
        with pytest.raises(WrongCode):
            factors.use_code(ada, guess)
    with pytest.raises(WrongCode):
        factors.use_code(ada, wrong_code(key))
    with pytest.raises(TooManyWrongCodes):
        factors.use_code(ada, code_at(key, time.time()))
    assert factors.use_code(ada, codes[0]) == "recovery"
    assert factors.use_code(ada, code_at(key, time.time())) == "app", "and frees the app"


@pytest.mark.parametrize("failures", [11, 12, 40])
def test_a_code_of_the_app_waits_seventeen_minutes_at_most(
    ada: Any, clock: Callable[[float], None], failures: int
) -> None:
    key, _ = with_factor(ada)
    with pytest.raises(WrongCode):
        factors.use_code(ada, wrong_code(key))
    TOTPDevice.objects.update(throttling_failure_count=failures)
    for _ in range(3):
        clock(1_000.5)
        with pytest.raises(TooManyWrongCodes, match="looked at in 24 s"):
            factors.use_code(ada, code_at(key, time.time()))
        clock(23.5)
        with pytest.raises(WrongCode):
            factors.use_code(ada, wrong_code(key))
    clock(1_024)
    assert factors.use_code(ada, code_at(key, time.time())) == "app"
