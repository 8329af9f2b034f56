"""`routes/`, `routes/default/`, `routes/lint/`, `decide/` and `snapshot/` of an organisation."""

from typing import Any

from django.http import HttpResponse
from django.urls import path
from rest_framework import exceptions, generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from routes import engine
from routes.api import change_json
from routes.document import canonical_route, default_of, document_of
from routes.publish import Change
from routes.rules.findings import findings_about, findings_of
from routes.rules.models import Route
from routes.rules.requests import read_request
from routes.rules.services import create_route, delete_route, get_route, set_default, update_route
from routes.times import rfc3339

KEYS = tuple(engine.Route.__dataclass_fields__)


def route_json(row: Route) -> dict[str, Any]:
    """The route in the document's keys, all of them, and what only the control plane knows of it."""
    document = canonical_route(row.as_document())
    defaults = {"paused": False, "active_from": None, "active_until": None, "meta": {}}
    return {
        **{key: document.get(key, defaults.get(key)) for key in KEYS},
        "revision": row.revision,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


def _written(request: Request, row: Route, change: Change) -> dict[str, Any]:
    """What a write of a route answers."""
    return {"route": route_json(row), **change_json(change), "lint": findings_about(request.org, row)}


def _body(request: Request) -> dict[str, Any]:
    if not isinstance(request.data, dict):
        raise exceptions.ParseError("The body must be a JSON object.")
    return request.data


class RouteList(generics.GenericAPIView[Route]):
    """All routes in evaluation order; POST adds one."""

    required_role = {"GET": "viewer", "POST": "editor"}
    cursor_ordering = ("-priority", "position")

    def get(self, request: Request, **_: Any) -> Response:
        page = self.paginate_queryset(Route.objects.of(request.org).in_order())
        return self.get_paginated_response([route_json(row) for row in page or []])

    def post(self, request: Request, **_: Any) -> Response:
        new = engine.NewRoute.from_dict(_body(request))
        row, change = create_route(request.org, new, by=request.actor)
        return Response(_written(request, row, change), status=201)


class RouteDetail(APIView):
    """One route. PATCH merges at the top level: `when` and `then` are replaced whole, null means the default."""

    required_role = {"GET": "viewer", "PUT": "editor", "PATCH": "editor", "DELETE": "editor"}

    def get(self, request: Request, id: str, **_: Any) -> Response:
        return Response(route_json(get_route(request.org, id)))

    def put(self, request: Request, id: str, **_: Any) -> Response:
        row = get_route(request.org, id)  # an unknown id is a 404 before the body is looked at
        return self._write(request, row, _body(request))

    def patch(self, request: Request, id: str, **_: Any) -> Response:
        row = get_route(request.org, id)
        body = _body(request)
        merged = {**row.as_document(), **body}
        for key in KEYS:
            if merged.get(key, ...) is None:
                del merged[key]  # the engine knows its default, or says that it is missing
        return self._write(request, row, merged, expected_revision=row.revision)

    def delete(self, request: Request, id: str, **_: Any) -> Response:
        row = get_route(request.org, id)
        return Response(change_json(delete_route(request.org, row.uid, by=request.actor)))

    def _write(self, request: Request, row: Route, document: dict[str, Any], **expected: int) -> Response:
        # The row's own id: a URL may write it in other ways, with capitals or without hyphens.
        uid = str(row.uid)
        route = engine.Route.from_dict({"id": uid, **document})
        if route.id != uid:
            raise engine.errors.InvalidRoute(
                [{"path": "id", "code": "conflict", "message": "The id in the body is not the one in the URL."}]
            )
        row, change = update_route(request.org, row.uid, route, by=request.actor, **expected)
        return Response(_written(request, row, change))


class Default(APIView):
    """The action for requests that no route takes: an object in the keys of `then`, or null, which lets them pass
    unchanged. DELETE is PUT of null."""

    required_role = {"GET": "viewer", "PUT": "editor", "DELETE": "editor"}

    def get(self, request: Request, **_: Any) -> Response:
        return Response({"default": default_of(request.org)})

    def put(self, request: Request, **_: Any) -> Response:
        return self._write(request, None if request.data is None else engine.Action.from_dict(request.data))

    def delete(self, request: Request, **_: Any) -> Response:
        return self._write(request, None)

    def _write(self, request: Request, action: engine.Action | None) -> Response:
        change = set_default(request.org, action, by=request.actor)
        return Response({"default": default_of(change.org), **change_json(change)})


class Lint(APIView):
    """What is odd about the live routes: `{"results": [finding]}`."""

    required_role = {"GET": "viewer"}

    def get(self, request: Request, **_: Any) -> Response:
        return Response({"results": findings_of(request.org)})


class Decide(APIView):
    """What the live routes would do with one request: `{"context": {facts}}` and, or, `{"chat": {body}}`.

    With `"force": "name"` the enabled route of that name takes it.
    """

    required_role = {"POST": "viewer"}

    def post(self, request: Request, **_: Any) -> Response:
        context, force = read_request(_body(request))
        explanation = engine.Engine.from_document(document_of(request.org)).explain(context, force=force)
        return Response(explanation.to_dict())


class Snapshot(APIView):
    """The document that a gateway loads. Its ETag is the version: a gateway that has it gets a 304."""

    required_role = {"GET": "viewer"}

    def get(self, request: Request, **_: Any) -> HttpResponse:
        etag = f'"{request.org.version}"'
        sent = request.headers.get("If-None-Match", "")
        if etag in (part.strip().removeprefix("W/") for part in sent.split(",")):
            return HttpResponse(status=304, headers={"ETag": etag})
        document = document_of(request.org)
        # The version of the document that is sent, whatever happened since the organisation was read.
        headers = {"ETag": f'"{document.version}"', "Cache-Control": "private, no-cache"}
        return HttpResponse(document.to_bytes(), content_type="application/json", headers=headers)


urlpatterns = [
    path("routes/", RouteList.as_view(), name="routes"),
    path("routes/default/", Default.as_view(), name="default"),
    path("routes/lint/", Lint.as_view(), name="lint"),
    path("routes/<str:id>/", RouteDetail.as_view(), name="route"),
    path("decide/", Decide.as_view(), name="decide"),
    path("snapshot/", Snapshot.as_view(), name="snapshot"),
]
