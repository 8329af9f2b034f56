"""What the API's race rests on: both lists say the same, and an answer that says something else is not raced."""

from collections.abc import Iterator

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.urls import clear_url_caches

from routing_admin import urls
from tests.bench import api

pytestmark = pytest.mark.django_db


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    monkeypatch.setattr(urls, "urlpatterns", [*urls.urlpatterns])
    # As Django's own client does: the connection holds the transaction of the test.
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield api.world()
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)
    clear_url_caches()


def test_answers_are_what_they_are_raced_as(calls):
    api.must_say_the_same(calls)
    queries = {name: api.queries_of(candidate) for name, candidate in api.as_raced(calls).items()}
    assert queries == {
        api.LIST: 2, api.ANEW: 2, api.STOCK: 2,
        api.SNAPSHOT: 1, api.BUILT: 2, api.UNCHANGED: 1, api.DECIDE: 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "instead"),
    [(api.LIST, api.SNAPSHOT), (api.STOCK, api.DECIDE), (api.UNCHANGED, api.SNAPSHOT), (api.SNAPSHOT, api.UNCHANGED)],
)
def test_another_answer_is_no_race(calls, name, instead):
    api.must_say_the_same(calls)
    with pytest.raises(AssertionError):
        api.must_say_the_same(calls | {name: calls[instead]})


def test_a_list_with_another_row_is_no_race(calls):
    body = calls[api.STOCK]().body
    other = body.replace(b'"name":"route 8"', b'"name":"route 800"')
    assert body != other
    with pytest.raises(AssertionError):
        api.must_say_the_same(calls | {api.STOCK: lambda: api.Answer(200, other)})
