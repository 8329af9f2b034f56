"""Answers of the API: a list of 100 routes beside one that Django REST framework makes by itself, and what gateways ask.

Both lists read the same rows and go the same way, from the WSGI handler on: all middleware, a key that is looked up, the
organisation and the role in it, cursor pages, JSON. The stock one has `ModelSerializer` with all fields, `ListAPIView`,
`CursorPagination` and no filters. Without sockets; on SQLite and on PostgreSQL, whose own work is not counted. Named by
TEST_DATABASE, a database is measured alone.
"""

import io
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from tests.bench.environment import in_each_database
from tests.bench.report import Row, held, say, tell, times
from tests.bench.timing import Candidate, Fresh, race

ROUTES = 100
GOAL_TIMES, GOAL_QUERIES, GOAL_304 = 8, 2, 0.3
LIST, ANEW, STOCK = "list", "list, no row at hand", "stock list"
SNAPSHOT, BUILT, UNCHANGED, DECIDE = "snapshot", "snapshot, read and built", "snapshot, 304", "decide"


class Answer(NamedTuple):
    status: int
    body: bytes


def main() -> int:
    if "TEST_DATABASE" in os.environ:
        _measure(quick="--quick" in sys.argv)
        return 0
    return in_each_database("tests.bench.api")


def _measure(*, quick: bool) -> None:
    from tests import databases  # sets the environment, and starts PostgreSQL where asked for
    from tests.build_env import application

    application()
    from django.conf import settings

    from routing_admin.logs.format import json_lines

    settings.DEBUG = settings.WHITENOISE_AUTOREFRESH = False  # as in production
    calls = world()
    # The lines of the log too; what makes the handler has set up the logging of a terminal.
    logging.getLogger().handlers = [lines := logging.StreamHandler(io.StringIO())]
    lines.setFormatter(json_lines())
    must_say_the_same(calls)
    raced = as_raced(calls)
    queries = {name: queries_of(candidate) for name, candidate in raced.items()}
    took = race(raced, quick=quick)
    say(", ".join(f"{name} {_ms(seconds)}, queries: {queries[name]}" for name, seconds in took.items()))
    database = "PostgreSQL" if databases.ON_POSTGRES else "SQLite"
    ratio, anew = took[STOCK] / took[LIST], took[STOCK] / took[ANEW]
    tell(
        Row(
            f"API, list of {ROUTES} routes beside DRF's ModelSerializer, both with middleware, key and role, {database}",
            f">= {GOAL_TIMES}x, {GOAL_QUERIES} queries",
            f"{_ms(took[LIST])} and {_ms(took[STOCK])}, {queries[LIST]} queries; {_ms(took[ANEW])} of rows never shown",
            f"{times(ratio)} ({times(anew)})",
            held(ratio >= GOAL_TIMES and queries[LIST] <= GOAL_QUERIES),
        )
    )
    ratio, at_hand = took[UNCHANGED] / took[BUILT], took[UNCHANGED] / took[SNAPSHOT]
    tell(
        Row(
            f"API, snapshot of {ROUTES} routes, 304 beside a 200 that is built (that is at hand), {database}",
            f"<= {GOAL_304}x, 1 query",
            f"{_ms(took[UNCHANGED])}, {_ms(took[BUILT])} ({_ms(took[SNAPSHOT])}); {queries[UNCHANGED]} query, "
            f"{queries[BUILT]} ({queries[SNAPSHOT]})",
            f"{times(ratio)} ({times(at_hand)})",
            held(ratio <= GOAL_304 and queries[UNCHANGED] == 1),
        )
    )
    tell(
        Row(
            f"API, decide/ on {ROUTES} routes, {database}",
            "-",
            f"{_ms(took[DECIDE])}, {queries[DECIDE]} query",
            f"{times(took[DECIDE] / took[UNCHANGED])} a 304",
        )
    )


def world() -> dict[str, Callable[[], Answer]]:
    """By name what is called: an organisation with its routes, published, and the key of a viewer."""
    from django.core.wsgi import get_wsgi_application

    from routes.orgs.keys import create_key
    from tests.build import a_person, an_org, many_routes

    org = an_org()
    many_routes(org, ROUTES)
    key = create_key(org, name="bench", role="viewer", by=a_person("vera", org)).text
    url_of_stock = serve_stock()
    handler = get_wsgi_application()

    def get(path: str, **more: Any) -> Callable[[], Answer]:
        return lambda: call(handler, path, key, **more)

    at = f"/api/v1/orgs/{org.slug}/"
    org.refresh_from_db()
    asked = {"context": {"model": "gpt-4o", "input_tokens": 1, "has_tools": False, "metadata": {"team": "team-50"}}}
    return {
        LIST: get(f"{at}routes/?limit={ROUTES}"),
        ANEW: get(f"{at}routes/?limit={ROUTES}"),
        STOCK: get(url_of_stock.format(org.slug)),
        SNAPSHOT: get(f"{at}snapshot/"),
        BUILT: get(f"{at}snapshot/"),
        UNCHANGED: get(f"{at}snapshot/", HTTP_IF_NONE_MATCH=f'"{org.version}"'),
        DECIDE: get(f"{at}decide/", body=json.dumps(asked).encode()),
    }


def serve_stock() -> str:
    """The URL of a list as the framework makes it, with a place for the organisation's slug."""
    from django.urls import clear_url_caches, path
    from rest_framework import generics, pagination, serializers

    from routes.rules.models import Route
    from routing_admin import urls

    class Stock(serializers.ModelSerializer):
        class Meta:
            model = Route
            fields = "__all__"

    class Pages(pagination.CursorPagination):
        page_size = ROUTES
        ordering = ("-priority", "position")

    class StockList(generics.ListAPIView):
        serializer_class = Stock
        pagination_class = Pages
        filter_backends = []
        required_role = {"GET": "viewer"}

        def get_queryset(self) -> Any:
            return Route.objects.filter(org=self.request.org)

    urls.urlpatterns.insert(0, path("api/stock/<str:org>/", StockList.as_view()))
    clear_url_caches()
    return "/api/stock/{}/"


def call(handler: Any, path: str, key: str, body: bytes = b"", **more: Any) -> Answer:
    """What a server would get from the application; a POST where there is a body."""
    path, _, query = path.partition("?")
    environ = {
        "REQUEST_METHOD": "POST" if body else "GET", "PATH_INFO": path, "QUERY_STRING": query, "REMOTE_ADDR": "127.0.0.1",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.url_scheme": "http",
        "wsgi.version": (1, 0), "wsgi.input": io.BytesIO(body), "wsgi.errors": sys.stderr, "wsgi.multithread": True,
        "wsgi.multiprocess": True, "wsgi.run_once": False, "CONTENT_LENGTH": str(len(body)),
        "CONTENT_TYPE": "application/json", "HTTP_ACCEPT": "application/json", "HTTP_AUTHORIZATION": f"Bearer {key}",
        **more,
    }  # fmt: skip
    statuses: list[str] = []
    response = handler(environ, lambda status, headers: statuses.append(status))
    try:
        return Answer(int(statuses[0].split()[0]), b"".join(response))
    finally:
        response.close()


def queries_of(candidate: Candidate) -> int:
    """How many queries the second of two calls makes: the first one may note that the key is used."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    make, use = candidate if isinstance(candidate, Fresh) else (lambda: None, lambda _: candidate())
    use(make())
    made = make()
    with CaptureQueriesContext(connection) as queries:
        use(made)
    return len(queries)


def must_say_the_same(calls: dict[str, Callable[[], Answer]]) -> None:
    """Raises `AssertionError` where an answer is not what it is raced as: its time would mean nothing."""
    from routes.engine import Document, Engine

    answers = {name: ask() for name, ask in calls.items()}
    statuses = {name: answer.status for name, answer in answers.items()}
    assert statuses == dict.fromkeys(calls, 200) | {UNCHANGED: 304}, statuses
    ours, theirs = (json.loads(answers[name].body) for name in (LIST, STOCK))
    assert ours.keys() == theirs.keys()
    shown = [(row["id"], row["name"], row["priority"], row["when"], row["then"]) for row in ours["results"]]
    stock = [(row["uid"], row["name"], row["priority"], row["conditions"], row["target"]) for row in theirs["results"]]
    assert len(shown) == ROUTES
    assert shown == stock
    assert ours["next"] == theirs["next"] is None
    document = Document.from_bytes(answers[SNAPSHOT].body)
    assert len(Engine.from_document(document).routes) == ROUTES
    assert answers[UNCHANGED].body == b""
    assert json.loads(answers[DECIDE].body)["decision"]["route_name"] == "route 50"


def as_raced(calls: dict[str, Callable[[], Answer]]) -> dict[str, Candidate]:
    """Those that begin with nothing at hand forget first, which is not timed."""
    from routes import live
    from routes.rules import shown

    forgets = {ANEW: shown._kept.clear, BUILT: live._kept.clear}
    return {
        name: Fresh(forgets[name], lambda _, ask=ask: ask()) if name in forgets else ask for name, ask in calls.items()
    }


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"


if __name__ == "__main__":
    sys.exit(main())
