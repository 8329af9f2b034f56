"""In the same moment: codes are used once, guesses do not overtake each other, and namesakes are different people."""

import itertools
import time
from collections import Counter
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from audit.models import AuditEntry
from routing_admin.signin import accounts, factors
from routing_admin.signin.errors import SignInError
from routing_admin.signin.provider import Account
from tests.api.test_at_once import CALLERS, at_once
from tests.signin.people import code_at, person_with_password, with_factor, wrong_code
from tests.signin.test_people import filled, page

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.usefixtures("clock")
def test_a_code_sent_many_times_at_once_works_once_and_one_guess_is_looked_at() -> None:
    ada = person_with_password("ada")
    key = factors.new_key()
    code = code_at(key, time.time())

    def outcome(act: Any) -> str:
        try:
            return str(act())
        except SignInError as error:
            return error.code

    made = Counter(at_once(lambda: outcome(lambda: factors.set_up(ada, key=key, code=code) and "set up")))
    assert made == {"set up": 1, "second_factor_exists": CALLERS - 1}
    assert AuditEntry.objects.count() == 1
    factors.remove(ada, by=ada)
    key, codes = with_factor(ada)
    right = code_at(key, time.time())
    for used, name in ((right, "app"), (codes[0], "recovery")):
        said = Counter(at_once(lambda used=used: outcome(lambda: factors.use_code(ada, used))))
        assert (said[name], said["wrong_code"] + said["too_many_wrong_codes"]) == (1, CALLERS - 1)
    TOTPDevice.objects.update(throttling_failure_count=0)
    wrong = wrong_code(key)
    said = Counter(at_once(lambda: outcome(lambda: factors.use_code(ada, wrong))))
    assert said == {"wrong_code": 1, "too_many_wrong_codes": CALLERS - 1}


def test_new_people_of_one_name_who_come_at_once_are_all_known(settings: Any) -> None:
    settings.OIDC_CREATE_PEOPLE = True
    number = itertools.count(1)
    made = at_once(lambda: accounts.recognise(Account("https://id.example", f"sub-{next(number)}", username="jane")))
    names = {account.person.username for account in made}
    assert len(names) == len({account.subject for account in made}) == CALLERS
    assert "jane" in names
    assert all(name.partition("-")[0] == "jane" for name in names)
    assert AuditEntry.objects.filter(action="person.created").count() == CALLERS


def test_staff_who_take_each_other_s_access_at_once_leave_one_who_can() -> None:
    people = get_user_model().objects
    for _ in range(5):
        people.all().delete()
        staff = [person_with_password(f"root{number}", is_superuser=True) for number in range(CALLERS)]
        clients = [Client() for _ in staff]
        for client, person in zip(clients, staff, strict=True):
            client.force_login(person)
        ring = iter(zip(clients, staff[1:] + staff[:1], strict=True))

        def demote(ring: Any = ring) -> int:
            client, other = next(ring)
            status: int = client.post(page(other), filled(other, is_superuser=None)).status_code
            return status

        said = Counter(at_once(demote))
        assert set(said) <= {302, 403}, said
        assert people.filter(is_superuser=True).count() == CALLERS - said[302] > 0
