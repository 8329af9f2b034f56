"""`routes/` with all that lies under it, `decide/` and `snapshot/` of an organisation."""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from django.http import HttpResponse
from django.urls import path
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from routes import engine
from routes.api import NOTED, ListField, ListView, StrictSerializer, View, change_json, list_etag, not_modified
from routes.document import default_of
from routes.engine.canonical import canonical_bytes
from routes.live import live
from routes.publish import MAX_ROUTES, Change
from routes.requests import read_request
from routes.rules import shapes
from routes.rules.bulk import ACTS, change_routes, reorder_routes
from routes.rules.filters import RouteFilters
from routes.rules.findings import findings_about, findings_of
from routes.rules.models import Route
from routes.rules.services import (
    StaleDefault,
    StaleRoute,
    create_route,
    delete_route,
    get_route,
    pause_route,
    resume_route,
    set_default,
    update_route,
)
from routes.rules.shown import KEYS, AllListed, listed, route_json
from routes.shapes import or_null

#: What an answer says of a route beside its document. A body may hold it, as whoever read the route will send it back; it
#: is not looked at.
READ_ONLY = ("revision", "created_at", "updated_at")


_EXAMPLE = {
    "name": "short requests",
    "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 2000},
    "then": {"target_model": "gpt-4o-mini", "fallbacks": ["claude-haiku"]},
}


def etag_of(row: Route) -> str:
    return f'"r{row.revision}"'


def _written(request: Request, row: Route, change: Change, status: int = 200) -> Response:
    """What a write of a route answers."""
    body = {"route": route_json(row), **change_json(change), "lint": findings_about(request.org, row)}
    return Response(body, status=status, headers={"ETag": etag_of(row)})


def _body(request: Request) -> dict[str, Any]:
    """The object that was sent, without what is only ever read."""
    if not isinstance(request.data, dict):
        raise exceptions.ParseError("The body must be a JSON object.")
    return {key: value for key, value in request.data.items() if key not in READ_ONLY}


class RouteList(ListView):
    """The routes of an organisation."""

    required_role = {"GET": "viewer", "POST": "editor"}
    takes = {"POST": shapes.NEW_ROUTE}
    parameters = NOTED
    gives = {"GET": shapes.ROUTE, "POST": (201, shapes.ROUTE_WRITTEN)}
    examples = {"POST": _EXAMPLE}
    answers_etag = True
    orderings = {
        "": ("-priority", "position", "uid"),
        "name": ("name",),
        "-name": ("-name",),
        "-updated_at": ("-updated_at", "-uid"),
    }
    filterset_class = RouteFilters
    search_fields = ("name",)

    def get(self, request: Request, **_: Any) -> HttpResponse:
        """All routes in the order in which they are asked. The ETag is the version of what is live."""
        etag = list_etag(request.org.version)
        given = dict(request.query_params.lists())
        if given.keys() <= {"limit", "ordering"} and all(len(values) == 1 for values in given.values()):
            assert self.paginator is not None
            self.paginator.get_page_size(request)  # refuses what is none, also to who has the list
            self.paginator.get_ordering(request, self)
            if not_modified(request, etag):
                return HttpResponse(status=304, headers={"ETag": etag})
            page = self.paginate_queryset(AllListed(request.org))
        else:
            page = self.paginate_queryset(self.filter_queryset(listed(Route.objects.of(request.org))))
        return self.get_rendered_response([row.json for row in page or []], headers={"ETag": etag})

    def post(self, request: Request, **_: Any) -> Response:
        """Adds a route: the next version."""
        new = engine.NewRoute.from_dict(_body(request))
        row, change = create_route(request.org, new, by=request.actor)
        response = _written(request, row, change, status=201)
        response["Location"] = f"{request.path}{row.uid}/"
        return response


class _OneRoute(View):
    """A route, by its id."""

    def find(self, request: Request) -> None:
        self.row = get_route(request.org, self.kwargs["id"])

    def etag(self) -> str:
        return etag_of(self.row)

    def refuse_stale(self, request: Request) -> None:
        if self.is_stale:
            raise StaleRoute(self.row, _seen(request))


class RouteDetail(_OneRoute):
    """One route, by its id."""

    required_role = {"GET": "viewer", "PUT": "editor", "PATCH": "editor", "DELETE": "editor"}
    takes = {"PUT": shapes.NEW_ROUTE, "PATCH": shapes.ROUTE_PATCH}
    parameters = NOTED
    gives = {
        "GET": shapes.ROUTE,
        "PUT": shapes.ROUTE_WRITTEN,
        "PATCH": shapes.ROUTE_WRITTEN,
        "DELETE": shapes.ROUTE_DELETED,
    }
    examples = {"PUT": {**_EXAMPLE, "name": "very short requests"}, "PATCH": {"priority": 200}}

    def get(self, request: Request, **_: Any) -> Response:
        """One route."""
        return Response(route_json(self.row), headers={"ETag": self.etag()})

    def put(self, request: Request, **_: Any) -> Response:
        """Replaces the route; what is left out has its default."""
        return self._write_route(request, _body(request))

    def patch(self, request: Request, **_: Any) -> Response:
        """Merges at the top level: `when` and `then` are replaced whole, null means the default."""
        merged = {**self.row.as_document(), **_body(request)}
        for key in KEYS:
            if merged.get(key, ...) is None:
                del merged[key]  # the engine knows its default, or says that it is missing
        return self._write_route(request, merged)

    def delete(self, request: Request, **_: Any) -> Response:
        """Takes the route away."""
        self.refuse_stale(request)
        change = delete_route(request.org, self.row.uid, by=request.actor, expected_revision=self.row.revision)
        return Response(change_json(change))

    def _write_route(self, request: Request, document: dict[str, Any]) -> Response:
        # The row's own id: a URL may write it in other ways, with capitals or without hyphens.
        uid = str(self.row.uid)
        route = engine.Route.from_dict({"id": uid, **document})
        if route.id != uid:
            raise engine.errors.InvalidRoute(
                [{"path": "id", "code": "conflict", "message": "The id in the body is not the one in the URL."}]
            )
        self.refuse_stale(request)
        row, change = update_route(
            request.org, self.row.uid, route, by=request.actor, expected_revision=self.row.revision
        )
        return _written(request, row, change)


def _seen(request: Request) -> int | None:
    """The revision that If-Match names, where it names one."""
    found = re.search(r'"r(\d{1,18})"', request.headers.get("If-Match", ""), re.ASCII)
    return int(found[1]) if found else None


class Switch(_OneRoute):
    """To do it again changes nothing, so that no If-Match is needed; one that is sent counts."""

    required_role = {"POST": "editor"}
    parameters = NOTED
    gives = {"POST": shapes.ROUTE_WRITTEN}
    switch: Callable[..., tuple[Route, Change]] | None = None

    def post(self, request: Request, **_: Any) -> Response:
        assert self.switch is not None  # given with the URL, on the instance: it gets no self
        self.refuse_stale(request)
        seen = self.row.revision if "If-Match" in request.headers else None
        row, change = self.switch(self.row, by=request.actor, expected_revision=seen)
        return _written(request, row, change)


# --- Many at once -----------------------------------------------------------------------------------------------------


class IdsField(ListField):
    shape = shapes.IDS

    def __init__(self) -> None:
        super().__init__(child=serializers.UUIDField(), max_length=MAX_ROUTES)


class OrderInput(StrictSerializer):
    ids = IdsField()


class BulkInput(StrictSerializer):
    do = serializers.ChoiceField(list(ACTS))
    ids = IdsField()


#: In examples, of which there is none such.
_IDS = ["0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3e", "0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3f"]


class Reorder(View):
    """Has the routes asked in this order: `ids` are all of them, each once.

    The priorities in use are handed out anew along it.
    """

    required_role = {"POST": "editor"}
    takes = {"POST": OrderInput}
    parameters = NOTED
    gives = {"POST": shapes.ROUTES_WRITTEN}
    examples = {"POST": {"ids": _IDS}}
    needs_list_match = True

    def post(self, request: Request, **_: Any) -> Response:
        given = OrderInput(data=request.data)
        given.is_valid(raise_exception=True)
        expected = self.expected_version(request)
        ids = given.validated_data["ids"]
        return _all_written(request, reorder_routes(request.org, ids, by=request.actor, expected=expected))


class Bulk(View):
    """Enables, disables, pauses, resumes or deletes routes, as one version.

    Where one of them is not there, none is touched.
    """

    required_role = {"POST": "editor"}
    takes = {"POST": BulkInput}
    parameters = NOTED
    gives = {"POST": shapes.ROUTES_WRITTEN}
    examples = {"POST": {"do": "pause", "ids": _IDS}}
    needs_list_match = True

    def post(self, request: Request, **_: Any) -> Response:
        given = BulkInput(data=request.data)
        given.is_valid(raise_exception=True)
        expected = self.expected_version(request)
        act, ids = given.validated_data["do"], given.validated_data["ids"]
        return _all_written(request, change_routes(request.org, act, ids, by=request.actor, expected=expected))


def _all_written(request: Request, change: Change) -> Response:
    """What a write of many routes answers."""
    body = {**change_json(change), "lint": findings_of(request.org)}
    return Response(body, headers={"ETag": f'"{change.version}"'})


def default_etag(default: dict[str, Any] | None) -> str:
    return f'"d{sha256(canonical_bytes(default)).hexdigest()[:16]}"'


class Default(View):
    """The action for requests that no route takes."""

    required_role = {"GET": "viewer", "PUT": "editor", "DELETE": "editor"}
    takes = {"PUT": or_null(shapes.ACTION)}
    parameters = NOTED
    gives = {"GET": shapes.DEFAULT, "PUT": shapes.DEFAULT_WRITTEN, "DELETE": shapes.DEFAULT_WRITTEN}
    examples = {"PUT": {"target_model": "gpt-4o-mini"}}

    def etag(self) -> str:
        return default_etag(default_of(self.request.org))

    def get(self, request: Request, **_: Any) -> Response:
        """The action for requests that no route takes; null lets them pass unchanged."""
        return Response({"default": default_of(request.org)}, headers={"ETag": self.etag()})

    def put(self, request: Request, **_: Any) -> Response:
        """Sets it: an object in the keys of `then`, or null."""
        return self._write_default(request, None if request.data is None else engine.Action.from_dict(request.data))

    def delete(self, request: Request, **_: Any) -> Response:
        """The same as PUT of null."""
        return self._write_default(request, None)

    def _write_default(self, request: Request, action: engine.Action | None) -> Response:
        seen = default_of(request.org)
        if self.is_stale:
            raise StaleDefault(seen)
        change = set_default(request.org, action, by=request.actor, seen=(seen,))
        default = default_of(change.org)
        return Response({"default": default, **change_json(change)}, headers={"ETag": default_etag(default)})


class Lint(View):
    """What is odd about the live routes."""

    required_role = {"GET": "viewer"}
    gives = {"GET": shapes.FINDINGS}

    def get(self, request: Request, **_: Any) -> Response:
        return Response({"results": findings_of(request.org)})


class Decide(View):
    """What the live routes would do with one request: facts in `context`, a chat body in `chat`, or both.

    With `"force": "name"` the enabled route of that name takes it.
    """

    required_role = {"POST": "viewer"}
    takes = {"POST": shapes.TRIED}
    gives = {"POST": shapes.EXPLANATION}
    examples = {"POST": {"context": {"model": "gpt-4o", "input_tokens": 800}}}
    writes = False

    def post(self, request: Request, **_: Any) -> Response:
        if not isinstance(request.data, dict):
            raise exceptions.ParseError("The body must be a JSON object.")
        context, force = read_request(request.data)
        return Response(live(request.org).engine.explain(context, force=force).to_dict())


class Snapshot(View):
    """The document that a gateway loads. Its ETag is the version: a gateway that has it gets a 304."""

    required_role = {"GET": ("viewer", "gateway")}
    gives = {"GET": shapes.SNAPSHOT}
    answers_etag = True

    def get(self, request: Request, **_: Any) -> HttpResponse:
        etag = list_etag(request.org.version)
        if not_modified(request, etag):
            return HttpResponse(status=304, headers={"ETag": etag})
        found = live(request.org)
        # The version of the document that is sent, whatever happened since the organisation was read.
        headers = {"ETag": list_etag(found.document.version), "Cache-Control": "private, no-cache"}
        return HttpResponse(found.data, content_type="application/json", headers=headers)


urlpatterns = [
    path("routes/", RouteList.as_view(), name="routes"),
    path("routes/default/", Default.as_view(), name="default"),
    path("routes/lint/", Lint.as_view(), name="lint"),
    path("routes/reorder/", Reorder.as_view(), name="reorder"),
    path("routes/bulk/", Bulk.as_view(), name="bulk"),
    path("routes/<str:id>/", RouteDetail.as_view(), name="route"),
    *(
        path(
            f"routes/<str:id>/{name}/",
            Switch.as_view(switch=switch, about=f"{about}\n\n{Switch.__doc__}"),
            name=f"route_{name}",
        )
        for name, switch, about in (
            ("pause", pause_route, "Lets the requests that the route takes pass unchanged until it is resumed."),
            ("resume", resume_route, "Lets a paused route act again."),
        )
    ),
    path("decide/", Decide.as_view(), name="decide"),
    path("snapshot/", Snapshot.as_view(), name="snapshot"),
]
