"""What an operator reads of failed sign-ins and lock-outs: whose name, from where, and nothing that was typed."""

import json
from typing import Any

import pytest
from django.test import Client

from tests.signin.people import PASSWORD, give_password, with_factor, wrong_code
from tests.signin.test_second_factor import send_code

pytestmark = pytest.mark.django_db
ADDRESS = "198.51.100.7"
FAILED, LOCKED, REFUSED = "sign-in failed", "sign-in failed, locked out", "sign-in refused, locked out"


def of_sign_ins(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] != "request"]


def test_failures_and_the_lock_out_are_told_with_whose_name_it_was_and_from_where(
    ada: Any,
    locks: None,
    written: Any,
) -> None:
    client = Client(REMOTE_ADDR=ADDRESS)
    for number in range(7):
        answer = give_password(client, password=f"wrong {number}")
    lines = written()
    told = of_sign_ins(lines)
    assert [(line["event"], line["level"]) for line in told] == [
        *[(FAILED, "info")] * 4, (LOCKED, "warning"), *[(REFUSED, "info")] * 2
    ]  # fmt: skip
    for line in told:
        assert (line["address"], line["target"]) == (ADDRESS, f"user:{ada.pk}")
        assert (line["route"], line["method"]) == ("admin:login", "POST")
        assert "actor" not in line, "nobody was proved"
    assert told[-1]["request_id"] == answer["X-Request-Id"]
    # A request's id has the letters of this name.
    text = json.dumps([{name: value for name, value in line.items() if name != "request_id"} for line in lines])
    assert "wrong" not in text
    assert "ada" not in text


@pytest.mark.parametrize("typed", [PASSWORD, "nobody", "a" * 150])
def test_a_name_that_nobody_has_is_in_no_line(
    ada: Any,
    locks: None,
    written: Any,
    typed: str,
) -> None:
    for _ in range(6):
        give_password(Client(REMOTE_ADDR=ADDRESS), name=typed, password="x")
    lines = written()
    told = of_sign_ins(lines)
    assert [line["event"] for line in told] == [FAILED] * 4 + [LOCKED, REFUSED]
    assert all(line["address"] == ADDRESS and "target" not in line for line in told)
    assert typed not in json.dumps(lines)


def test_wrong_codes_and_passwords_of_who_is_signed_in_are_told_too(ada: Any, locks: None, written: Any) -> None:
    client = Client(REMOTE_ADDR=ADDRESS)
    give_password(client)
    written()
    client.post("/admin/password_change/", {"password": "x", "new_password1": "y" * 12, "new_password2": "y" * 12})
    [line] = of_sign_ins(written())
    assert (line["event"], line["actor"], line["target"]) == (FAILED, f"user:{ada.pk}", f"user:{ada.pk}")
    key, _ = with_factor(ada)
    client = Client(REMOTE_ADDR=ADDRESS)
    give_password(client)
    written()
    send_code(client, wrong_code(key))
    [line] = of_sign_ins(written())
    assert (line["event"], line["route"], line["address"]) == (FAILED, "admin:login_code", ADDRESS)
    assert wrong_code(key) not in json.dumps(line)


@pytest.mark.parametrize("address", ["", "unix:"])
def test_without_an_address_or_with_locks_off_a_failure_is_told_as_well(
    ada: Any,
    written: Any,
    address: str,
) -> None:
    give_password(Client(REMOTE_ADDR=address), password="x")
    [line] = of_sign_ins(written())
    assert (line["event"], line["target"]) == (FAILED, f"user:{ada.pk}")
    assert "address" not in line
