"""`routes/`, `decide/` and `snapshot/` of an organisation."""

from typing import Any

from django.http import HttpResponse
from django.urls import path
from rest_framework import exceptions, generics
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from routes import engine
from routes.api import change_json
from routes.document import canonical_route, document_of
from routes.rules.models import Route
from routes.rules.requests import read_context
from routes.rules.services import create_route, delete_route, get_route, update_route
from routes.times import rfc3339


def route_json(row: Route) -> dict[str, Any]:
    """The route in the document's keys, and what only the control plane knows of it."""
    return {
        **canonical_route(row.as_document()),
        "revision": row.revision,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


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
        return Response({"route": route_json(row), **change_json(change)}, status=201)


class RouteDetail(APIView):
    """One route. PATCH merges at the top level: `when` and `then` are replaced whole, null means the default."""

    required_role = {"GET": "viewer", "PUT": "editor", "PATCH": "editor", "DELETE": "editor"}

    def get(self, request: Request, id: str, **_: Any) -> Response:
        return Response(route_json(get_route(request.org, id)))

    def put(self, request: Request, id: str, **_: Any) -> Response:
        return self._write(request, id, {"id": id, "priority": 100, "enabled": True, "when": {}, **_body(request)})

    def patch(self, request: Request, id: str, **_: Any) -> Response:
        row = get_route(request.org, id)
        body = _body(request)
        merged = {**row.as_document(), **{key: value for key, value in body.items() if value is not None}}
        defaults = {"priority": 100, "enabled": True, "when": {}}
        for key in (key for key, value in body.items() if value is None):
            if key not in defaults:
                merged.pop(key, None)  # what has no default is now missing, and the engine says so
            else:
                merged[key] = defaults[key]
        return self._write(request, id, merged, expected_revision=row.revision)

    def delete(self, request: Request, id: str, **_: Any) -> Response:
        return Response(change_json(delete_route(request.org, id, by=request.actor)))

    def _write(self, request: Request, id: str, document: dict[str, Any], **expected: int) -> Response:
        get_route(request.org, id)  # an unknown id is a 404 before the body is looked at
        route = engine.Route.from_dict(document)
        if route.id != id.lower():
            raise engine.errors.InvalidRoute(
                [{"path": "id", "code": "conflict", "message": "The id in the body is not the one in the URL."}]
            )
        row, change = update_route(request.org, id, route, by=request.actor, **expected)
        return Response({"route": route_json(row), **change_json(change)})


class Decide(APIView):
    """What the live routes would do with one request: `{"context": {facts}}` and, or, `{"chat": {body}}`."""

    required_role = {"POST": "viewer"}

    def post(self, request: Request, **_: Any) -> Response:
        body = _body(request)
        if unknown := [key for key in body if key not in ("context", "chat")]:
            raise exceptions.ValidationError(
                {key: exceptions.ErrorDetail("Unknown. Known: context, chat.", "unknown_key") for key in unknown}
            )
        context = read_context(body.get("context", {}), body.get("chat"))
        explanation = engine.Engine.from_document(document_of(request.org)).explain(context)
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
    path("routes/<str:id>/", RouteDetail.as_view(), name="route"),
    path("decide/", Decide.as_view(), name="decide"),
    path("snapshot/", Snapshot.as_view(), name="snapshot"),
]
