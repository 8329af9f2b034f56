"""`services/` of an organisation with what lies under it, and `private-upstreams/`."""

import re
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from django.urls import path
from rest_framework import exceptions, serializers
from rest_framework.request import Request
from rest_framework.response import Response

from routes import engine
from routes.api import NOTE, ListField, ListView, StrictSerializer, View, change_json, list_etag, receipt_json
from routes.engine.canonical import canonical_bytes
from routes.engine.errors import Issue
from routes.engine.path_patterns import MAX_PATHS
from routes.orgs.lookup import Lookup
from routes.orgs.upstreams import (
    StaleUpstreams,
    private_upstreams_of,
    read_private_upstreams,
    set_private_upstreams,
)
from routes.paths import shapes
from routes.paths.hosts import MAX_HOSTS, StaleHosts, hosts_of, read_hosts, set_hosts
from routes.paths.models import Service
from routes.paths.placed import placement_found
from routes.paths.services import StaleService, create_service, delete_service, get_service, update_service
from routes.paths.shown import in_order, service_json, tried
from routes.paths.upstreams import findings, names_in
from routes.publish import Change

#: What an answer says of a service beside its document. A body may hold it, as whoever read it will send it back; it is not
#: looked at.
READ_ONLY = ("revision", "created_at", "updated_at")
#: A path to try, and its headers: each of 500 patterns is held against it, and no server takes longer ones.
_LONGEST = 8_192
_KEYS = ("slug", "enabled", "timeouts", "paths")
_PATHS = [
    {"pattern": "/users/:id", "target_url": "https://people.example.com", "methods": ["GET"]},
    {"pattern": "/users/**", "target_url": "https://users.example.com/v1"},
]
_EXAMPLE = {"slug": "billing", "timeouts": {"first_byte_seconds": 10}, "paths": _PATHS}


def etag_of(row: Service) -> str:
    return f'"r{row.revision}"'


def hosts_etag(hosts: list[str]) -> str:
    return f'"h{_hashed(hosts)}"'


def upstreams_etag(private_upstreams: list[dict[str, Any]]) -> str:
    return f'"u{_hashed(private_upstreams)}"'


def _hashed(value: Any) -> str:
    return sha256(canonical_bytes(value)).hexdigest()[:16]


def _body(request: Request) -> dict[str, Any]:
    """The object that was sent, without what is only ever read."""
    if not isinstance(request.data, dict):
        raise exceptions.ParseError("The body must be a JSON object.")
    return {key: value for key, value in request.data.items() if key not in READ_ONLY}


class _Writes(View):
    """Looks the names in targets up before it writes, because nobody is to wait for that inside a transaction, and tells of
    them in its answer."""

    lookup: Lookup | None = None

    def _write(self, handler: Callable[..., Any], request: Request, **kwargs: Any) -> Any:
        if request.method in self.takes:
            sent = request.data
            self.lookup = Lookup(names_in(sent.get("paths")) if isinstance(sent, dict) else [])
        return super()._write(handler, request, **kwargs)

    def written(self, request: Request, row: Service, change: Change, status: int = 200) -> Response:
        """What a write of a service answers."""
        assert self.lookup is not None
        service = service_json(row)
        found = findings(self.lookup, service, private_upstreams_of(change.org))
        body = {"service": service, **change_json(change), "findings": found}
        return Response(body, status=status, headers={"ETag": etag_of(row)})


class ServiceList(_Writes, ListView):
    """The services of an organisation: named entry points with their paths."""

    required_role = {"GET": "viewer", "POST": "editor"}
    takes = {"POST": shapes.NEW_SERVICE}
    parameters = NOTE
    gives = {"GET": shapes.SERVICE, "POST": (201, shapes.SERVICE_WRITTEN)}
    examples = {"POST": _EXAMPLE}
    answers_etag = True
    orderings = {"": ("slug",), "-updated_at": ("-updated_at", "-slug")}
    search_fields = ("slug",)

    def get(self, request: Request, **_: Any) -> Response:
        """All services, by slug. The ETag is the version of what is live."""
        page = self.paginate_queryset(self.filter_queryset(Service.objects.of(request.org)))
        response = self.get_paginated_response([service_json(row) for row in page or []])
        response["ETag"] = list_etag(request.org.version)
        return response

    def post(self, request: Request, **_: Any) -> Response:
        """Adds a service: the next version."""
        new = engine.Service.from_dict(_body(request))
        row, change = create_service(request.org, new, by=request.actor)
        response = self.written(request, row, change, status=201)
        response["Location"] = f"{request.path}{row.slug}/"
        return response


class _OneService(_Writes):
    """A service, by its slug."""

    def find(self, request: Request) -> None:
        self.row = get_service(request.org, self.kwargs["id"])

    def etag(self) -> str:
        return etag_of(self.row)

    def refuse_stale(self, request: Request) -> None:
        if self.is_stale:
            raise StaleService(self.row, _seen(request))

    def replace(self, request: Request, document: dict[str, Any]) -> Response:
        """Writes the service as this document, in which the slug may be missing, says."""
        service = engine.Service.from_dict({"slug": self.row.slug, **document})
        self.refuse_stale(request)
        row, change = update_service(
            request.org, self.row.slug, service, by=request.actor, expected_revision=self.row.revision
        )
        return self.written(request, row, change)


class ServiceDetail(_OneService):
    """One service, by its slug."""

    required_role = {"GET": "viewer", "PUT": "editor", "PATCH": "editor", "DELETE": "editor"}
    takes = {"PUT": shapes.WHOLE_SERVICE, "PATCH": shapes.SERVICE_PATCH}
    parameters = NOTE
    gives = {
        "GET": shapes.SERVICE,
        "PUT": shapes.SERVICE_WRITTEN,
        "PATCH": shapes.SERVICE_WRITTEN,
        "DELETE": shapes.SERVICE_DELETED,
    }
    examples = {"PUT": {key: _EXAMPLE[key] for key in ("timeouts", "paths")}, "PATCH": {"enabled": False}}

    def get(self, request: Request, **_: Any) -> Response:
        """One service."""
        return Response(service_json(self.row), headers={"ETag": self.etag()})

    def put(self, request: Request, **_: Any) -> Response:
        """Replaces the service; what is left out has its default, the slug stays. Another slug renames the service, and its
        hosts come along."""
        return self.replace(request, _body(request))

    def patch(self, request: Request, **_: Any) -> Response:
        """Merges at the top level: `paths` and `timeouts` are replaced whole, null means the default. Where `enabled` is
        false, gateways answer 404."""
        merged = {**self.row.as_document(), **_body(request)}
        for key in _KEYS:
            if merged.get(key, ...) is None:
                del merged[key]  # the engine knows its default
        return self.replace(request, merged)

    def delete(self, request: Request, **_: Any) -> Response:
        """Takes the service away, and frees its hosts."""
        self.refuse_stale(request)
        change = delete_service(request.org, self.row.slug, by=request.actor, expected_revision=self.row.revision)
        return Response(change_json(change))


def _seen(request: Request) -> int | None:
    """The revision that If-Match names, where it names one."""
    found = re.search(r'"r(\d{1,18})"', request.headers.get("If-Match", ""), re.ASCII)
    return int(found[1]) if found else None


class PathsInput(StrictSerializer):
    paths = ListField(child=serializers.JSONField(), max_length=MAX_PATHS)


class ServicePaths(_OneService):
    """The paths of a service."""

    required_role = {"GET": "viewer", "PUT": "editor"}
    takes = {"PUT": shapes.NEW_PATHS}
    parameters = NOTE
    gives = {"GET": shapes.TABLE, "PUT": shapes.SERVICE_WRITTEN}
    examples = {"PUT": {"paths": _PATHS}}

    def get(self, request: Request, **_: Any) -> Response:
        """The paths in the order in which gateways ask them: the most specific first, whatever their order in the list."""
        paths = [engine.PathRoute.from_dict(each) for each in self.row.paths]
        table = [{"index": index, **each.to_dict()} for index, each in in_order(paths)]
        return Response({"paths": table}, headers={"ETag": self.etag()})

    def put(self, request: Request, **_: Any) -> Response:
        """Replaces all paths of the service, and nothing else of it."""
        given = PathsInput(data=request.data)
        given.is_valid(raise_exception=True)
        paths = [
            {key: value for key, value in each.items() if key != "index"} if isinstance(each, dict) else each
            for each in given.validated_data["paths"]
        ]
        return self.replace(request, {**self.row.as_document(), "paths": paths})


class HeadersField(serializers.JSONField):
    shape = shapes.TRIED_PATH["properties"]["headers"]

    def to_internal_value(self, data: Any) -> Any:
        def is_text(value: Any) -> bool:
            return isinstance(value, str) or (isinstance(value, list) and all(isinstance(each, str) for each in value))

        if not isinstance(data, dict) or not all(map(is_text, data.values())):
            raise serializers.ValidationError("Headers are texts, or lists of texts, by name.", "wrong_type")
        if sum(len(name) + sum(map(len, values)) for name, values in data.items()) > _LONGEST:
            raise serializers.ValidationError(f"Headers have {_LONGEST:,} characters at most.", "too_many")
        return data


class _TextAsSent(serializers.Field[str, Any, str, Any]):
    """A JSON string as it is, also one that no path is: the answer says so."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            raise serializers.ValidationError("This is text.", "wrong_type")
        if len(data) > _LONGEST:
            raise serializers.ValidationError(f"A path has {_LONGEST:,} characters at most.", "too_many")
        return data


class TriedInput(StrictSerializer):
    method = serializers.RegexField(r"\A[A-Z][A-Z0-9_-]*\Z", default="GET", max_length=50)
    path = _TextAsSent()
    headers = HeadersField(default=dict)


class MatchPath(View):
    """Which path takes a request, by the table that gateways use; and why each other one does not."""

    required_role = {"POST": "viewer"}
    takes = {"POST": shapes.TRIED_PATH}
    gives = {"POST": shapes.PATH_MATCHED}
    examples = {"POST": {"method": "GET", "path": "/users/42"}}
    writes = False

    def find(self, request: Request) -> None:
        self.row = get_service(request.org, self.kwargs["id"])

    def post(self, request: Request, **_: Any) -> Response:
        given = TriedInput(data=request.data)
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        service = engine.Service.from_dict(self.row.as_document())
        found = tried(service, asked["method"], asked["path"], asked["headers"])
        told = {**found.to_dict(), "placement": None}
        if found.match and (placed := placement_found(request.org, asked["method"], found.match, asked["headers"])):
            told |= {"url": placed.url(told["url"]), "placement": placed.to_dict()}
        return Response(told)


# --- What installation staff gives --------------------------------------------------------------------------------------


class HostsInput(StrictSerializer):
    hosts = ListField(child=serializers.JSONField(), max_length=MAX_HOSTS)


class ServiceHosts(View):
    """The hosts at which gateways serve a service. No version is made of them."""

    required_role = {"GET": "viewer", "PUT": "installation"}
    takes = {"PUT": shapes.NEW_HOSTS}
    gives = {"GET": shapes.SERVICE_HOSTS, "PUT": shapes.HOSTS_WRITTEN}
    examples = {"PUT": {"hosts": ["api.example.com"]}}

    def find(self, request: Request) -> None:
        self.hosts = hosts_of(request.org, self.kwargs["id"])

    def etag(self) -> str:
        return hosts_etag(self.hosts)

    def get(self, request: Request, **_: Any) -> Response:
        """The hosts, sorted. Also of a service that is not there at the moment, as long as hosts are left to it."""
        return Response({"hosts": self.hosts}, headers={"ETag": self.etag()})

    def put(self, request: Request, **_: Any) -> Response:
        """Sets them: names in lower case without port, each of one service of the installation."""
        given = HostsInput(data=request.data)
        given.is_valid(raise_exception=True)
        hosts = _below("hosts", lambda: read_hosts(given.validated_data["hosts"]))
        if self.is_stale:
            raise StaleHosts(self.hosts)
        receipt = set_hosts(request.org, self.kwargs["id"], hosts, by=request.actor, seen=self.hosts)
        body = {"hosts": hosts, "changed": receipt is not None, "receipt": receipt_json(receipt)}
        return Response(body, headers={"ETag": hosts_etag(hosts)})


class UpstreamsInput(StrictSerializer):
    private_upstreams = ListField(child=serializers.JSONField(), max_length=100)


class PrivateUpstreams(View):
    """Networks and ports to which services may lead though they are not public. No version is made of them."""

    required_role = {"GET": "viewer", "PUT": "installation"}
    takes = {"PUT": shapes.PRIVATE_UPSTREAMS}
    gives = {"GET": shapes.PRIVATE_UPSTREAMS, "PUT": shapes.UPSTREAMS_WRITTEN}
    examples = {"PUT": {"private_upstreams": [{"network": "10.1.0.0/16", "port": 8080}]}}

    def etag(self) -> str:
        return upstreams_etag(self.request.org.private_upstreams)

    def get(self, request: Request, **_: Any) -> Response:
        """The list."""
        return Response({"private_upstreams": request.org.private_upstreams}, headers={"ETag": self.etag()})

    def put(self, request: Request, **_: Any) -> Response:
        """Sets it. Loopback, link-local, multicast and metadata addresses are never opened."""
        given = UpstreamsInput(data=request.data)
        given.is_valid(raise_exception=True)
        wanted = _below("private_upstreams", lambda: read_private_upstreams(given.validated_data["private_upstreams"]))
        seen = request.org.private_upstreams
        if self.is_stale:
            raise StaleUpstreams(seen)
        receipt = set_private_upstreams(request.org, wanted, by=request.actor, seen=seen)
        listed = [each.to_dict() for each in wanted]
        body = {"private_upstreams": listed, "changed": receipt is not None, "receipt": receipt_json(receipt)}
        return Response(body, headers={"ETag": upstreams_etag(listed)})


def _below[T](name: str, read: Callable[[], T]) -> T:
    """What is read, with issues at their places in the body."""
    try:
        return read()
    except engine.errors.InvalidRoute as error:
        issues: list[Issue] = [{**issue, "path": f"{name}{issue['path']}"} for issue in error.issues]
        raise engine.errors.InvalidRoute(issues) from error


urlpatterns = [
    path("services/", ServiceList.as_view(), name="services"),
    path("services/<str:id>/", ServiceDetail.as_view(), name="service"),
    path("services/<str:id>/paths/", ServicePaths.as_view(), name="service_paths"),
    path("services/<str:id>/match/", MatchPath.as_view(), name="service_match"),
    path("services/<str:id>/hosts/", ServiceHosts.as_view(), name="service_hosts"),
    path("private-upstreams/", PrivateUpstreams.as_view(), name="private_upstreams"),
]
