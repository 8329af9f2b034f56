"""Too many calls are refused before anything else is asked."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from routes.orgs.keys import create_key
from routes.orgs.models import ApiKey, Organization
from routing_admin.addresses import client_address
from tests.api.conftest import Caller
from tests.build import a_person
from tests.signin.people import give_password, person_with_password, with_factor

pytestmark = pytest.mark.django_db
URL = "/api/v1/orgs/acme/routes/"


@pytest.fixture(autouse=True)
def at_noon(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[list[float]]:
    """A clock that stands, 20 s into a minute, and no calls yet."""
    now = [1_700_000_000.0 // 60 * 60 + 20]
    monkeypatch.setattr("routes.rates.time.time", lambda: now[0])
    settings.API_RATE_CREDENTIAL, settings.API_RATE_ADDRESS, settings.API_RATE_GUESSES = 3, 7, 2
    cache.clear()
    yield now
    cache.clear()


@pytest.fixture
def callers(org: Organization) -> list[Caller]:
    return [Caller(org, role) for role in ("viewer", "editor", "approver")]


def test_a_key_has_so_many_calls_a_minute_and_is_told_how_many_are_left(
    callers: list[Caller], at_noon: list[float], django_assert_num_queries: Any
) -> None:
    viewer = callers[0].client
    for left in (2, 1, 0):
        answer = viewer.get(URL)
        assert (answer.status_code, answer["RateLimit"]) == (200, f'"credential";r={left};t=40')
        assert answer["RateLimit-Policy"] == '"credential";q=3;w=60'
    with django_assert_num_queries(0):
        answer = viewer.get(URL)
    assert (answer.status_code, answer["Retry-After"], answer["Content-Type"]) == (
        429,
        "40",
        "application/problem+json",
    )
    body = answer.json()
    assert (body["code"], body["status"], body["instance"]) == ("throttled", 429, URL)
    assert body["request_id"] == answer["X-Request-Id"]
    assert callers[1].client.get(URL).status_code == 200, "another key is another one"
    at_noon[0] += 40
    assert viewer.get(URL).status_code == 200


def test_a_gateways_key_has_a_rate_of_its_own_once_it_is_known_to_be_one(org: Organization, settings: Any) -> None:
    settings.API_RATE_GATEWAY, settings.API_RATE_GUESSES = 12, 100
    url = f"/api/v1/orgs/{org.slug}/snapshot/"
    person = a_person("ada", org, "admin")
    gateway = Client(headers={"Authorization": f"Bearer {create_key(org, name='gw', kind='gateway', by=person).text}"})
    assert [gateway.get(url).status_code for _ in range(14)] == [200] * 13 + [429]
    # One that only looks like it is counted like any other.
    pretender = Client(headers={"Authorization": "Bearer rk_gateway_abc_def"})
    assert [pretender.get(url).status_code for _ in range(4)] == [401, 401, 401, 429]


def test_an_address_has_so_many_calls_whatever_its_keys(callers: list[Caller]) -> None:
    statuses = [caller.client.get(URL).status_code for _ in range(3) for caller in callers]
    assert statuses == [200] * 7 + [429] * 2
    assert callers[0].client.get(URL)["RateLimit-Policy"].startswith('"address"')


def test_who_guesses_keys_is_stopped_and_others_with_a_wrong_key_are_told_so(callers: list[Caller]) -> None:
    wrong = [Client(headers={"Authorization": f"Bearer rk_management_{n}_x"}) for n in range(3)]
    assert [client.get(URL).status_code for client in wrong] == [401, 401, 429]
    assert callers[0].client.get(URL).status_code == 429, "from the same address"
    assert callers[0].client.get(URL, REMOTE_ADDR="10.0.0.9").status_code == 200


def test_a_key_is_one_key_however_its_header_is_written(callers: list[Caller]) -> None:
    text = callers[0].made.text
    headers = [f"Bearer {text}", f"bearer {text}", f"BEARER   {text}", f" Bearer {text} "]
    assert [Client(headers={"Authorization": each}).get(URL).status_code for each in headers] == [200] * 3 + [429]


@pytest.mark.parametrize("blank", ["\t", "\xa0", "\x1c", "\x85", "\u2003", " \t"])
@pytest.mark.parametrize("written", ["Bearer {}{}", "Bearer{} {}", "Bearer {1}{0}x"])
def test_a_key_with_anything_else_beside_it_is_none_and_a_guess(
    callers: list[Caller], settings: Any, blank: str, written: str
) -> None:
    settings.API_RATE_CREDENTIAL = settings.API_RATE_ADDRESS = 100
    text = callers[0].made.text
    client = Client(headers={"Authorization": written.format(blank, text)})
    assert [client.get(URL).status_code for _ in range(3)] == [401, 401, 429]


def test_no_way_to_write_a_key_has_calls_of_its_own(callers: list[Caller]) -> None:
    text = callers[0].made.text
    headers = [f"Bearer {blank * n}{text}" for blank in " \t\xa0\u2003" for n in range(1, 6)]
    statuses = [Client(headers={"Authorization": each}).get(URL).status_code for each in headers]
    assert statuses.count(200) == 3


def test_a_key_that_is_in_use_stays_known(callers: list[Caller], at_noon: list[float]) -> None:
    good, guess = callers[0].client, Client(headers={"Authorization": "Bearer rk_management_1_x"})
    assert good.get(URL).status_code == 200
    at_noon[0] += 590
    assert good.get(URL).status_code == 200
    at_noon[0] += 20  # more than ten minutes after the first one; the cache has the same clock
    assert [guess.get(URL).status_code for _ in range(3)][-1] == 429
    assert good.get(URL).status_code == 200


def test_a_good_key_goes_on_beside_somebody_who_guesses(callers: list[Caller], at_noon: list[float]) -> None:
    good, guess = callers[0].client, Client(headers={"Authorization": "Bearer rk_management_1_x"})
    assert good.get(URL).status_code == 200
    assert guess.get("/api/v1/nothing/").status_code in (401, 404), "what answers before it asks for the key"
    assert [guess.get(URL).status_code for _ in range(3)][-1] == 429
    assert good.get(URL).status_code == 200
    ApiKey.objects.update(revoked_at=timezone.now())
    assert good.get(URL).status_code == 401, "it is asked at every call whether it is still good"


def test_a_session_has_calls_of_its_own_and_a_made_up_one_has_none(
    callers: list[Caller], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    client.force_login(callers[0].person)
    policies = [client.get(URL)["RateLimit-Policy"].partition(";")[0] for _ in range(4)]
    assert policies == ['"address"', *['"credential"'] * 3], "from the first answer on it is known"
    assert client.get(URL).status_code == 429
    settings.API_RATE_ADDRESS = 100
    counters: set[str] = set()
    monkeypatch.setattr("routing_admin.throttle.count", lambda what, _: (counters.add(what) or 1, 40))
    for number in range(20):
        stranger = Client()
        stranger.cookies[settings.SESSION_COOKIE_NAME] = f"{number:032}"
        assert stranger.get(URL)["RateLimit-Policy"].startswith('"address"')
    assert len(counters) == 1


@pytest.mark.parametrize(
    ("proxies", "told", "address"),
    [
        (0, "9.9.9.9", "127.0.0.1"),
        (1, "9.9.9.9", "9.9.9.9"),
        (1, "forged, 9.9.9.9", "9.9.9.9"),
        (2, "forged, 9.9.9.9, 10.0.0.1", "9.9.9.9"),
        (2, "9.9.9.9", "127.0.0.1"),
        (1, "", "127.0.0.1"),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        (1, "::ffff:9.9.9.9", "9.9.9.9"),
        (1, "fe80::1%eth0", "fe80::"),
        (1, "1.2.3.4:5678", None),
        (1, "unknown", None),
    ],
)
def test_the_address_is_what_one_s_own_proxies_saw(
    rf: Any, settings: Any, proxies: int, told: str, address: str | None
) -> None:
    settings.NUM_PROXIES = proxies
    assert client_address(rf.get(URL, headers={"X-Forwarded-For": told} if told else {})) == address


def test_the_admin_s_pages_are_not_counted(client: Client) -> None:
    assert [client.get("/admin/login/").status_code for _ in range(9)] == [200] * 9


def test_whoever_begins_too_many_sign_ins_at_the_provider_waits(settings: Any) -> None:
    settings.SIGN_IN_RATE = 3
    answers = [Client().get("/admin/login/provider/") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [404, 404, 404, 429]  # no provider is configured
    assert 0 < int(answers[3]["Retry-After"]) <= 60
    assert "Try again in" in answers[3].text
    assert Client().get("/admin/login/").status_code == 200
    assert Client(REMOTE_ADDR="203.0.113.9").get("/admin/login/provider/").status_code == 404


def test_whoever_tries_a_password_on_many_names_waits(settings: Any, at_noon: list[float], written: Any) -> None:
    settings.SIGN_IN_FAILURE_RATE = 3
    person_with_password("ada")

    def tries(name: str, **more: Any) -> Any:
        return give_password(Client(**more), name, "Summer2026!")

    assert [tries(f"name{number}").status_code for number in range(5)] == [200] * 3 + [429] * 2
    assert [line["address"] for line in written() if line["event"] == "too many sign-ins failed from one address"] == [
        "127.0.0.1"
    ]
    refused = give_password(Client())
    assert (refused.status_code, refused["Retry-After"]) == (429, "40"), "the right one is not even looked at"
    assert "Try again in 40 seconds" in refused.text
    assert "default-src 'none'" in refused["Content-Security-Policy"]
    assert Client().post("/admin/login/code/", {"code": "1"}).status_code == 429
    assert Client().get("/admin/login/").status_code == 200
    assert tries("ada", REMOTE_ADDR="203.0.113.9").status_code == 200
    at_noon[0] += 40
    assert give_password(Client()).status_code == 302


def test_wrong_codes_count_and_right_ones_do_not(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.SIGN_IN_FAILURE_RATE = 3
    monkeypatch.setattr("django_otp.oath.time", time.time)
    _, codes = with_factor(person_with_password("ada"))
    client = Client()
    for code in codes[:4]:
        assert give_password(client).status_code == 302
        assert client.post("/admin/login/code/", {"code": code}).status_code == 302
    give_password(client)
    said = [client.post("/admin/login/code/", {"code": "a" * 16}).status_code for _ in range(4)]
    assert said == [422] * 3 + [429]
