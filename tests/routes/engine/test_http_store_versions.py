"""`HttpStore.versions` where the application tells the versions of many in one answer."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from routes.engine import EngineCache, NewRoute, RequestContext, httpstore
from routes.engine.errors import StoreUnavailable
from routes.engine.httpstore import HttpStore
from tests.routes.engine.build import ORG, OTHER_ORG, eventually, route_id
from tests.routes.engine.test_http_store import BROKEN, KEY, Application, _Handler, serving

pytest.importorskip("httpx")

type Tells = Callable[[_Handler, list[str]], None]


def as_the_application(handler: _Handler, org_ids: list[str]) -> None:
    documents = handler.server.documents
    versions = {org_id: documents[org_id].version for org_id in org_ids if org_id in documents}
    handler.answer(200, json.dumps({"versions": versions}).encode(), {"Content-Type": "application/json"})


class Counting:
    """Tells versions in one way, and notes what was asked for."""

    def __init__(self, tells: Tells) -> None:
        self.tells = tells
        self.asked: list[list[str]] = []

    def __call__(self, handler: _Handler, org_ids: list[str]) -> None:
        self.asked.append(org_ids)
        self.tells(handler, org_ids)


@pytest.fixture
def application() -> Iterator[Application]:
    with serving(Application()) as server:
        server.publish(3)
        server.publish(1, OTHER_ORG)
        server.tells = Counting(as_the_application)
        yield server


@pytest.fixture
def store(application: Application) -> Iterator[HttpStore]:
    with HttpStore(application.url, KEY, timeout_seconds=5) as store:
        yield store


def saying(body: Any) -> Tells:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler, _: handler.answer(200, data)


# --- What it reads ----------------------------------------------------------------------------------------------------


def test_one_call_tells_the_versions_of_all_that_are_there(application: Application, store: HttpStore) -> None:
    twice = [ORG, OTHER_ORG.replace("-", "").upper(), route_id(99), ORG]
    assert store.versions(iter(twice)) == {ORG: 3, OTHER_ORG: 1}
    assert application.tells.asked == [[ORG, OTHER_ORG, route_id(99)]]
    assert application.asked == []


def test_what_did_not_change_is_told_again_and_what_is_gone_no_more(application: Application, store: HttpStore) -> None:
    for _ in range(2):
        assert store.versions([ORG, OTHER_ORG]) == {ORG: 3, OTHER_ORG: 1}
    application.publish(2)  # also an older one, of a database that was restored
    del application.documents[OTHER_ORG]
    assert store.versions([ORG, OTHER_ORG]) == {ORG: 2}


def test_nobody_is_asked_about_nothing(application: Application, store: HttpStore) -> None:
    assert store.versions([]) == {}
    assert application.tells.asked == []


def test_more_than_the_application_answers_at_once_are_asked_for_in_portions(
    application: Application, store: HttpStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpstore, "_ASKED_AT_ONCE", 3)
    orgs = [route_id(number) for number in range(7)]
    for number, org_id in enumerate(orgs):
        application.publish(number, org_id)
    assert store.versions(orgs) == dict(zip(orgs, range(7), strict=True))
    assert application.tells.asked == [orgs[:3], orgs[3:6], orgs[6:]]


def test_the_versions_of_as_many_as_are_asked_for_at_once_are_no_answer_too_large(
    application: Application, store: HttpStore
) -> None:
    orgs = [route_id(number) for number in range(httpstore._ASKED_AT_ONCE)]
    versions = dict.fromkeys(orgs, httpstore._MAX_VERSION)
    application.tells = Counting(saying(json.dumps({"versions": versions}, indent=8).encode()))
    assert store.versions(orgs) == versions
    assert len(application.tells.asked) == 1


def test_a_cache_in_front_downloads_a_change_once_and_nothing_else(application: Application, store: HttpStore) -> None:
    with EngineCache(store, poll_seconds=0.02) as cache:
        for org_id in (ORG, OTHER_ORG):
            cache.engine_for(org_id)
        application.publish(4)
        assert eventually(lambda: cache.engine_for(ORG).decide(RequestContext("m")).version == 4)
        rounds = len(application.tells.asked)
        assert eventually(lambda: len(application.tells.asked) > rounds + 2)
        assert application.downloads() == [ORG, OTHER_ORG, ORG]
        assert {status for _, _, status in application.asked} == {200}


def test_a_snapshot_that_cannot_be_loaded_leaves_the_others_alone_and_is_told(
    application: Application, store: HttpStore
) -> None:
    with EngineCache(store, poll_seconds=0.02) as cache:
        for org_id in (ORG, OTHER_ORG):
            cache.engine_for(org_id)
        application.scripted[ORG] = lambda handler: handler.answer(200, b"{}")
        application.publish(4)
        application.publish(2, OTHER_ORG)
        assert eventually(lambda: cache.engine_for(OTHER_ORG).version == 2)
        assert eventually(lambda: cache.status()["orgs"][ORG]["rejected"] is not None)
        assert cache.status()["orgs"][ORG]["rejected"]["version"] == 4
        assert cache.engine_for(ORG).version == 3


# --- Where it is not offered ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 405, 422])
def test_where_versions_are_not_told_snapshots_are_asked_for_and_after_a_while_versions_again(
    application: Application, store: HttpStore, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = application.tells = Counting(lambda handler, _: handler.answer(status))
    for _ in range(3):
        assert store.versions([ORG, OTHER_ORG]) == {ORG: 3, OTHER_ORG: 1}
    assert len(refusing.asked) == 1
    assert [status for _, _, status in application.asked] == [200, 200, 304, 304, 304, 304]
    telling = application.tells = Counting(as_the_application)
    store.versions([ORG])
    assert telling.asked == []
    now = time.monotonic()
    monkeypatch.setattr(httpstore, "monotonic", lambda: now + httpstore._NOT_OFFERED_SECONDS + 1)
    assert store.versions([ORG]) == {ORG: 3}
    assert telling.asked == [[ORG]]


def test_all_portions_are_answered_also_where_only_some_are_told(
    application: Application, store: HttpStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpstore, "_ASKED_AT_ONCE", 1)

    def once(handler: _Handler, org_ids: list[str]) -> None:
        as_the_application(handler, org_ids) if org_ids == [ORG] else handler.answer(404)

    application.tells = Counting(once)
    assert store.versions([ORG, OTHER_ORG, route_id(99)]) == {ORG: 3, OTHER_ORG: 1}
    assert application.tells.asked == [[ORG], [OTHER_ORG]]


# --- What it refuses --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", BROKEN, ids=lambda script: script.__name__)
def test_an_answer_that_is_none_is_store_unavailable_with_its_cause(application: Application, script: Any) -> None:
    application.tells = lambda handler, _: script(handler)
    with HttpStore(application.url, KEY, timeout_seconds=0.2) as store:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable, match="for versions") as caught:
            store.versions([ORG])
        assert caught.value.__cause__ is not None
        assert KEY not in str(caught.value)
        assert time.monotonic() - began < 10
        store._connection.timeout = 5  # only to wait less for what never comes
        application.tells = as_the_application
        assert store.versions([ORG]) == {ORG: 3}, "at once: that was no answer that refuses"
    assert application.asked == []


@pytest.mark.parametrize("status", [204, 206, 304, 307, 401, 408, 410, 429, 500, 502, 503])
def test_every_other_status_is_store_unavailable_and_nobody_is_asked_for_one_by_one(
    application: Application, store: HttpStore, status: int
) -> None:
    application.tells = lambda handler, _: handler.answer(status)
    with pytest.raises(StoreUnavailable, match=str(status)):
        store.versions([ORG])
    assert application.asked == []


def test_redirects_are_not_followed(application: Application, store: HttpStore) -> None:
    with serving(Application()) as elsewhere:
        asked = elsewhere.tells = Counting(as_the_application)
        location = {"Location": f"{elsewhere.url}/api/v1/gateway/versions/"}
        for status in (301, 302, 303, 307, 308):
            application.tells = lambda handler, _, status=status: handler.answer(status, b"", location)
            with pytest.raises(StoreUnavailable, match="redirects are not followed"):
                store.versions([ORG])
        assert asked.asked == elsewhere.headers == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"<html>", b"\xff", b"[" * 100_000, b'{"versions": {}, "versions": {}}', b"[]", b"{}", b"null",
        {"versions": None}, {"versions": []}, {"versions": [ORG]}, {"versions": {ORG: {"version": 3}}},
        {"versions": {ORG: None}}, {"versions": {ORG: True}}, {"versions": {ORG: "3"}}, {"versions": {ORG: 3.0}},
        {"versions": {ORG: -1}}, {"versions": {ORG: 2**53}}, b'{"versions": {"%s": 1e3}}' % ORG.encode(),
        b'{"versions": {"%s": NaN}}' % ORG.encode(), b'{"versions": {"%s": %s}}' % (ORG.encode(), b"9" * 5_000),
        {"versions": {OTHER_ORG: 1}}, {"versions": {ORG: 3, OTHER_ORG: 1}}, {"versions": {ORG.upper(): 3}},
        {"versions": {"": 1}},
    ],
    ids=lambda body: str(body)[:60],
)  # fmt: skip
def test_versions_that_are_none_are_store_unavailable(application: Application, store: HttpStore, body: Any) -> None:
    application.tells = saying(body)
    with pytest.raises(StoreUnavailable, match="answer for versions"):
        store.versions([ORG])
    assert application.asked == []


def test_of_an_answer_that_is_too_large_the_rest_is_not_read(application: Application, store: HttpStore) -> None:
    sent = 0

    def endless(handler: _Handler, _: list[str]) -> None:
        nonlocal sent
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        handler.close_connection = True
        while True:
            handler.wfile.write(b" " * (1 << 16))
            sent += 1 << 16

    application.tells = endless
    with pytest.raises(StoreUnavailable, match="more than 2,097,152 bytes"):
        store.versions([ORG])
    assert sent < 16 << 20


# --- The application itself -------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_of_all", [True, False])
def test_a_gateway_s_cache_sees_what_is_published(live_server: Any, is_of_all: bool) -> None:
    from routes.orgs.keys import create_key, revoke_key
    from routes.rules.services import create_route
    from tests.build import BY, a_person, a_route, an_org

    org, other = an_org(), an_org("other")
    a_route(org, "first")
    a_route(other)
    staff = a_person("root", is_superuser=True)
    made = create_key(None if is_of_all else org, name="edge", kind="gateway", by=staff)
    org_id, other_id = str(org.pk), str(other.pk)
    with HttpStore(live_server.url, made.text) as store:
        assert store.versions([org_id, other_id, ORG]) == ({org_id: 1, other_id: 1} if is_of_all else {org_id: 1})
        with EngineCache(store, poll_seconds=0.05) as cache:
            assert cache.engine_for(org_id).version == 1
            create_route(org, NewRoute.from_dict({"name": "second", "then": {"target_model": "m"}}), by=BY)
            assert eventually(lambda: cache.engine_for(org_id).version == 2)
            assert cache.engine_for(org_id).decide(RequestContext("other")).route_name == "second"
            revoke_key(made.key, by=staff)
            assert eventually(lambda: "not accepted" in (cache.status()["poller"]["last_error"] or ""))
            assert cache.engine_for(org_id).version == 2, "the last good one"
        assert store._one_by_one_until < 0, "versions were told in one call"
