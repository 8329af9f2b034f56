"""`gateways/` of an organisation, `gateway/directory/`, who may ask a gateway, and `gateway/versions/`, what changed."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.urls import path
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from routes.api import ListField, ListView, StrictSerializer, TextField, View, WholeField, not_modified
from routes.fleet.directory import SCHEMA, DirectoryDocument
from routes.fleet.models import GatewayInstance
from routes.fleet.services import report, versions_that_differ
from routes.orgs.models import Organization
from routes.shapes import (
    COUNT,
    FLAG,
    OBJECT,
    TEXT,
    TIME,
    by_name,
    described,
    given,
    listed,
    one_of,
    or_null,
    thing,
    written,
)
from routes.shapes import UUID as ORG_ID
from routes.times import rfc3339

#: Of organisations that one call asks for.
MAX_KNOWN = 10_000
_MAX_VERSION = 2**53 - 1


class RejectedInput(StrictSerializer):
    version = WholeField(min_value=0, max_value=_MAX_VERSION)
    code = TextField(max_length=100)
    detail = TextField(lines=True, max_length=2_000, allow_blank=True)


class GatewayInput(StrictSerializer):
    running = WholeField(min_value=0, max_value=_MAX_VERSION)
    rejected = RejectedInput(allow_null=True, default=None)
    schema_max = WholeField(min_value=1, max_value=1_000)
    engine = TextField(max_length=50)
    extras = ListField(child=TextField(max_length=50), max_length=20, default=list)


GATEWAY = thing(
    "Gateway",
    {
        "instance": TEXT,
        "running": described(COUNT, "The version that it decides from."),
        "behind": described(COUNT, "How many versions the organisation is ahead."),
        "rejected": described(
            or_null(thing("Rejected", {"version": COUNT, "code": TEXT, "detail": TEXT})),
            "A document that it could not load.",
        ),
        "schema_max": COUNT,
        "engine": TEXT,
        "extras": listed(TEXT),
        "reported_at": TIME,
        "age_seconds": COUNT,
    },
)


def gateway_json(row: GatewayInstance, version: int) -> dict[str, Any]:
    """`version` is the organisation's."""
    return {
        "instance": row.instance,
        "running": row.running,
        "behind": max(0, version - row.running),
        "rejected": row.rejected,
        "schema_max": row.schema_max,
        "engine": row.engine,
        "extras": row.extras,
        "reported_at": rfc3339(row.reported_at),
        "age_seconds": max(0, int((timezone.now() - row.reported_at).total_seconds())),
    }


class GatewayList(ListView):
    """The gateways of the organisation, as they last reported themselves."""

    required_role = {"GET": "viewer"}
    gives = {"GET": GATEWAY}
    orderings = {
        "": ("instance",),
        "reported_at": ("reported_at", "instance"),
        "-reported_at": ("-reported_at", "-instance"),
    }
    search_fields = ("instance",)

    def get(self, request: Request, **_: Any) -> Response:
        page = self.paginate_queryset(self.filter_queryset(GatewayInstance.objects.filter(org=request.org)))
        return self.get_paginated_response([gateway_json(row, request.org.version) for row in page or []])


class GatewayDetail(View):
    """What a gateway says that it runs. It replaces its own word, so it needs no If-Match."""

    required_role = {"PUT": "gateway"}
    takes = {"PUT": GatewayInput}
    gives = {"PUT": written("GatewayReported", GATEWAY["properties"])}
    examples = {"PUT": {"running": 1, "schema_max": 1, "engine": "0.1.0"}}

    def put(self, request: Request, instance: str, **_: Any) -> Response:
        given = GatewayInput(data=request.data)
        given.is_valid(raise_exception=True)
        row = report(request.org, instance, **given.validated_data)
        return Response(gateway_json(row, request.org.version))


class Versions(View):
    """Of the versions that a gateway knows, by the ids of organisations, those that are others now.

    Of an organisation of which none is known (null) that is any; one that is not there is never among them.
    """

    required_role = {"POST": "gateway"}
    takes = {"POST": given("KnownVersions", {"known": by_name(or_null(COUNT))}, required=("known",))}
    gives = {"POST": thing("Versions", {"versions": by_name(COUNT)})}
    examples = {"POST": {"known": {"0190b6a4-6d1c-7c3e-8c11-0d5a3ffb0c3e": 41}}}
    writes = False

    def post(self, request: Request, **_: Any) -> Response:
        return Response({"versions": versions_that_differ(_known(request.data), of=request.auth.org_id)})


def _known(body: Any) -> dict[UUID, int | None]:
    if not isinstance(body, dict) or list(body) != ["known"] or not isinstance(body["known"], dict):
        raise serializers.ValidationError({"known": 'Send {"known": {"<organisation\'s id>": 41}}.'})
    if len(body["known"]) > MAX_KNOWN:
        raise serializers.ValidationError({"known": f"Ask for {MAX_KNOWN:,} organisations at most."})
    found: dict[UUID, int | None] = {}
    wrong: dict[str, str] = {}
    for ref, version in body["known"].items():
        try:
            key = UUID(ref)
        except ValueError:
            wrong[ref] = "This is no organisation's id."
            continue
        if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 0):
            wrong[ref] = "A version is a whole number from 0, or null where none is known."
        found[key] = version
    if wrong:
        raise serializers.ValidationError({"known": wrong})
    return found


DIRECTORY = thing(
    "Directory",
    {
        "schema": {"type": "integer", "const": SCHEMA},
        "organizations": listed(
            thing(
                "DirectoryOrganization",
                {
                    "org_id": ORG_ID,
                    "org_slug": TEXT,
                    "status": one_of(*Organization.Status.values),
                    "private_upstreams": listed(OBJECT),
                    "hosts": described(by_name(TEXT), "Of services, by host."),
                    "traffic_keys": listed(
                        thing(
                            "DirectoryKey",
                            {
                                "id": TEXT,
                                "digest": described(TEXT, "SHA-256 of the whole key, in hexadecimal digits."),
                                "expires_at": or_null(TIME),
                                "metadata": by_name(TEXT),
                                "allows_force": FLAG,
                            },
                        )
                    ),
                },
            )
        ),
    },
)


class Directory(View):
    """Who may send requests to a gateway, and for whom: of the key's organisation, or of all. With the ETag of what a
    gateway has it is a 304."""

    required_role = {"GET": "gateway"}
    gives = {"GET": DIRECTORY}
    answers_etag = True

    def get(self, request: Request, **_: Any) -> HttpResponse:
        document = DirectoryDocument(request.auth.org_id)
        headers = {"ETag": document.etag, "Cache-Control": "private, no-cache"}
        if not_modified(request, document.etag):
            return HttpResponse(status=304, headers=headers)
        return HttpResponse(document.data, content_type="application/json", headers=headers)


#: Under `orgs/<org>/`.
urlpatterns = [
    path("gateways/", GatewayList.as_view(), name="gateways"),
    path("gateways/<str:instance>/", GatewayDetail.as_view(), name="gateway"),
]
#: Under the root of the API.
outside = [
    path("gateway/directory/", Directory.as_view(), name="gateway_directory"),
    path("gateway/versions/", Versions.as_view(), name="gateway_versions"),
]
