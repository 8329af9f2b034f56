"""Several callers in the same moment: nothing is done twice, and no edit is lost."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client

from plans.logs import api as logs
from plans.runs.models import PlanRun
from routes.idempotency.models import IdempotencyKey
from routes.orgs.keys import create_key, revoke_key
from routes.orgs.models import Organization
from routes.rules.models import Route
from tests.api.test_routes import NEW
from tests.build import a_person, a_route, an_org

pytestmark = pytest.mark.django_db(transaction=True)
CALLERS = 10


@pytest.fixture
def org(db: None) -> Organization:
    return an_org()


def at_once(act: Callable[[], Any]) -> list[Any]:
    """What as many threads get, which begin together."""
    barrier, answers, errors = threading.Barrier(CALLERS, timeout=30), [], []

    def run() -> None:
        try:
            barrier.wait()
            answers.append(act())
        except BaseException as error:
            errors.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run) for _ in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return answers


def caller(org: Organization) -> dict[str, str]:
    made = create_key(org, name="k", role="editor", by=a_person("edda", org, "editor"))
    return {"Authorization": f"Bearer {made.text}"}


def test_a_post_with_one_key_has_one_effect_whoever_of_its_repeats_is_first(org: Organization) -> None:
    headers = {**caller(org), "Idempotency-Key": "one"}
    url = f"/api/v1/orgs/{org.slug}/routes/"

    def post() -> Any:
        return Client(headers=headers).post(url, NEW, content_type="application/json")

    answers = [answer for _ in range(5) for answer in at_once(post)]
    assert Route.objects.count() == IdempotencyKey.objects.count() == 1
    done = [answer for answer in answers if answer.status_code == 201]
    assert len({answer.content for answer in done}) == 1
    assert sum("Idempotency-Replayed" not in answer for answer in done) == 1
    # PostgreSQL says that the first one is at it; SQLite has the others wait.
    others = Counter(answer.json()["code"] for answer in answers if answer.status_code != 201)
    assert set(others) <= ({"in_progress"} if connection.vendor == "postgresql" else set())


def test_a_direct_change_that_many_ask_for_at_once_becomes_one_draft() -> None:
    org = an_org(approval="all")
    client = Client(headers=caller(org))
    url = f"/api/v1/orgs/{org.slug}/routes/"
    answers = at_once(lambda: client.post(url, NEW, content_type="application/json"))
    assert {answer.json()["code"] for answer in answers} == {"approval_required"}
    assert {answer.json()["plan"]["id"] for answer in answers} == {str(PlanRun.objects.get(org=org).pk)}


def test_of_many_edits_of_one_state_one_is_made_and_the_others_see_it(org: Organization) -> None:
    row, headers = a_route(org), caller(org)
    url = f"/api/v1/orgs/{org.slug}/routes/{row.uid}/"
    numbers = iter(range(1, CALLERS + 1))

    def patch() -> Any:
        client = Client(headers={**headers, "If-Match": f'"r{row.revision}"'})
        return client.patch(url, {"priority": next(numbers)}, content_type="application/json")

    answers = at_once(patch)
    assert Counter(answer.status_code for answer in answers) == {200: 1, 412: CALLERS - 1}
    (made,) = [answer.json()["route"] for answer in answers if answer.status_code == 200]
    for answer in answers:
        if answer.status_code == 412:
            assert answer.json()["current"] == made
            assert [one["path"] for one in answer.json()["difference"]] == ["/priority"]


def test_a_key_that_was_revoked_fails_at_its_next_request_elsewhere(org: Organization) -> None:
    """On another connection, as another process has; nothing is remembered in between."""
    person = a_person("ada", org, "admin")
    made = create_key(org, name="k", role="viewer", by=person)
    client = Client(headers={"Authorization": f"Bearer {made.text}"})
    url = f"/api/v1/orgs/{org.slug}/routes/"
    seen, revoked = threading.Event(), threading.Event()

    def elsewhere() -> list[int]:
        try:
            before = client.get(url).status_code
            seen.set()
            assert revoked.wait(30)
            return [before, client.get(url).status_code]
        finally:
            seen.set()
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(elsewhere)
        try:
            assert seen.wait(30)
            revoke_key(made.key, by=person)
        finally:
            revoked.set()
    assert answers.result() == [200, 401]


def test_of_two_organisations_with_one_slug_there_is_one(org: Organization) -> None:
    staff = a_person("staff", is_superuser=True)

    def post() -> Any:
        client = Client()
        client.force_login(staff)
        return client.post("/api/v1/orgs/", {"slug": "same", "name": "Same"}, content_type="application/json")

    assert Counter(answer.status_code for answer in at_once(post)) == {201: 1, 422: CALLERS - 1}
    assert Organization.objects.filter(slug="same").count() == 1


def test_nobody_waits_for_a_dry_run_that_reads_a_long_log(org: Organization, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = caller(org)
    written: list[int] = []

    def write() -> None:
        try:
            url = f"/api/v1/orgs/{org.slug}/routes/"
            written.append(Client(headers=headers).post(url, NEW, content_type="application/json").status_code)
        finally:
            connections.close_all()

    class Slow(logs.Reader):
        def items(self) -> Any:
            for item in super().items():
                thread = threading.Thread(target=write)
                thread.start()
                thread.join()
                yield item

    monkeypatch.setattr(logs, "open_log", lambda org, file, how: Slow(file, how, dict))
    answer = Client(headers=headers).post(
        f"/api/v1/orgs/{org.slug}/request-logs/?dry_run=1", b"{}\n", content_type="application/x-ndjson"
    )
    assert (answer.status_code, answer.json()["refused_total"], answer.json()["dry_run"]) == (200, 1, True)
    assert written == [201]
