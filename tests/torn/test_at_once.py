"""Many callers apply one plan in the same moment."""

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client

from audit.models import AuditEntry
from audit.verification import verify_org
from plans.runs import services as plans
from plans.runs.states import InvalidState
from routes.versions.models import RouteSetVersion
from tests.build import BY
from tests.torn.acts import World, a_world

pytestmark = pytest.mark.django_db(transaction=True)
CALLERS = 200
#: Of the API, which is asked by two hundred in `make campaign PART=orders`.
API_CALLERS = int(os.environ.get("API_CALLERS", "40"))


@pytest.fixture
def world() -> Iterator[World]:
    world = a_world()
    logging.disable()  # a line for each of those who are refused
    options = connection.settings_dict["OPTIONS"]
    was = dict(options)
    if connection.vendor == "sqlite":
        options["timeout"] = 60  # who is refused because 199 others are before them comes again, which is another test
    yield world
    connection.settings_dict["OPTIONS"] = was
    logging.disable(logging.NOTSET)


def at_once(callers: int, act: Callable[[int], Any]) -> list[Any]:
    """What each gets, all of whom have a connection of their own and begin together."""
    barrier = threading.Barrier(callers, timeout=60)
    answers: list[Any] = [None] * callers

    def run(number: int) -> None:
        try:
            connection.ensure_connection()
            barrier.wait()
            answers[number] = act(number)
        except BaseException as error:
            answers[number] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def check(world: World) -> AuditEntry:
    """It was applied once; the entry that says so."""
    versions = RouteSetVersion.objects.filter(org=world.org).order_by("version")
    assert list(versions.values_list("version", flat=True)) == [1, 2, 3, 4]
    assert versions.filter(cause="plan.applied").count() == 2, "this plan, and the one that was there before"
    plan = world.plan(world.projected)
    assert (plan.state, plan.applied_version) == ("applied", 4)
    assert verify_org(world.org.pk).ok
    return AuditEntry.objects.get(org_id=world.org.pk, action="plan.applied", target_id=str(plan.pk))


def test_of_two_hundred_applies_of_one_plan_one_is_done(world: World) -> None:
    answers = at_once(CALLERS, lambda _: plans.apply(world.projected, by=BY))
    entry = check(world)
    done = [answer for answer in answers if isinstance(answer, tuple)]
    assert [receipt.seq for _, receipt in done] == [entry.seq]
    refused = [answer for answer in answers if answer not in done]
    assert Counter(type(error) for error in refused) == {InvalidState: CALLERS - 1}
    assert {error.state for error in refused} == {"applied"}
    print(f"{connection.vendor}: {CALLERS} applies at once, {len(done)} done, {len(refused)} invalid_state")


def test_of_many_calls_of_the_api_one_is_done_and_whoever_sends_its_key_again_gets_its_receipt(
    world: World,
) -> None:
    path = f"{world.caller.base}plans/{world.projected.pk}/apply/"
    authorization = {"Authorization": f"Bearer {world.caller.made.text}"}

    def key_of(number: int) -> dict[str, str]:
        """Three in four repeat one request; of the others every second has a key of its own."""
        own: dict[str, str] = {} if number % 8 else {"Idempotency-Key": f"own-{number}"}
        return {"Idempotency-Key": "same"} if number % 4 else own

    def post(number: int) -> Any:
        client = Client(headers={**authorization, **key_of(number)})
        if not number % 4:
            time.sleep(1)  # else it is mostly one of these, which ask the database less
        while True:
            answer = client.post(path, content_type="application/json")
            if answer.status_code != 409 or answer.json()["code"] != "in_progress":
                return answer
            time.sleep(1 + number / API_CALLERS)  # another with this key is at it; not all of them at once

    answers = at_once(API_CALLERS, post)
    entry = check(world)
    wrong = [answer for answer in answers if isinstance(answer, BaseException) or answer.status_code not in (200, 409)]
    assert wrong == []
    done = {number for number, answer in enumerate(answers) if answer.status_code == 200}
    anew = [number for number in done if "Idempotency-Replayed" not in answers[number]]
    assert len(anew) == 1
    assert done == {number for number in range(API_CALLERS) if key_of(number) and key_of(number) == key_of(anew[0])} | {
        *anew
    }
    assert {answers[number].json()["receipt"]["seq"] for number in done} == {entry.seq}
    assert len({answers[number].content for number in done}) == 1
    refused = [answer.json() for number, answer in enumerate(answers) if number not in done]
    assert {(problem["code"], problem["state"]) for problem in refused} == {("invalid_state", "applied")}
    assert post(anew[0]).status_code == (200 if key_of(anew[0]) else 409)
    print(
        f"{connection.vendor}: {API_CALLERS} calls at once, 1 done, {len(done) - 1} times the same receipt,"
        f" {len(refused)} invalid_state"
    )
