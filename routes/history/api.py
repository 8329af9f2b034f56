"""`versions/` of an organisation: what was published, what differs between two versions, and bringing one back."""

from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from routes.api import PUBLISHES, ListView, StrictSerializer, TextField, View, change_json, list_etag
from routes.history import shapes
from routes.history.filters import VersionFilters
from routes.history.services import content_of, get_version, kept_before, restore_version
from routes.rules.findings import findings_of
from routes.shapes import described, whole
from routes.times import rfc3339
from routes.versions.difference import changes_between
from routes.versions.models import RouteSetVersion

_VERSION = whole(0, 2**53 - 1)


class _NumberField(serializers.IntegerField):
    """In digits: a stock one takes 1.0 too."""

    def to_internal_value(self, data: Any) -> int:
        if not (data.isascii() and data.isdigit()):
            self.fail("invalid")
        return super().to_internal_value(data)


class Between(StrictSerializer):
    """Of the query string."""

    def get_fields(self) -> dict[str, Any]:
        # `from` is no name that a class can give to a member.
        return {name: _NumberField(max_value=2**53 - 1, default=None) for name in ("from", "to")}


class RestoreInput(StrictSerializer):
    note = TextField(lines=True, default="", allow_blank=True, max_length=10_000)


def version_json(row: RouteSetVersion, *, is_kept: bool) -> dict[str, Any]:
    return {
        "version": row.version,
        "digest": row.digest,
        "cause": row.cause,
        "author": {"type": row.author_type, "id": row.author_id, "name": row.author_name},
        "note": row.note,
        "published_at": rfc3339(row.published_at),
        "is_kept": is_kept,
    }


class VersionList(ListView):
    """The versions of an organisation."""

    required_role = {"GET": "viewer"}
    gives = {"GET": shapes.BRIEF}
    orderings = {"": ("-version",), "version": ("version",)}
    filterset_class = VersionFilters
    search_fields = ("note", "author_name")

    def get(self, request: Request, **_: Any) -> Response:
        """Versions, newest first, without their content. Version 0, which is empty, is not among them."""
        page = self.paginate_queryset(self.filter_queryset(RouteSetVersion.objects.of(request.org).brief()))
        return self.get_paginated_response([version_json(row, is_kept=row.is_kept) for row in page or []])


class VersionDetail(View):
    """One version, with what it published."""

    required_role = {"GET": "viewer"}
    gives = {"GET": shapes.VERSION}

    def find(self, request: Request) -> None:
        self.row = get_version(request.org, self.kwargs["id"])

    def get(self, request: Request, **_: Any) -> Response:
        content = self.row.unpacked()
        return Response({**version_json(self.row, is_kept=content is not None), "content": content})


class VersionDifference(View):
    """What differs between two versions."""

    required_role = {"GET": "viewer"}
    gives = {"GET": shapes.DIFFERENCE}
    asks = {
        "from": described(_VERSION, "0 is the empty version. Without it, the newest before `to` that is kept."),
        "to": described(_VERSION, "Without it, what is live."),
    }
    refuses = (410,)

    def get(self, request: Request, **_: Any) -> Response:
        """What differs between two versions, route by route: in the order of the second, what was removed last.

        Of the routes whose order differs as few as possible are told as moved. 410 where one of them is retired.
        """
        given = Between(data=request.query_params.dict())
        given.is_valid(raise_exception=True)
        older, newer = given.validated_data["from"], given.validated_data["to"]
        newer = request.org.version if newer is None else newer
        older = kept_before(request.org, newer) if older is None else older
        was, now = content_of(request.org, older), content_of(request.org, newer)
        return Response({"from": older, "to": newer, "results": changes_between(was, now)})


class Restore(View):
    """Brings a version back."""

    required_role = {"POST": "editor"}
    takes = {"POST": RestoreInput}
    gives = {"POST": shapes.RESTORED}
    examples = {"POST": {"note": "As it was before the weekend."}}
    needs_list_match = True
    parameters = PUBLISHES
    refuses = (410,)

    def find(self, request: Request) -> None:
        get_version(request.org, self.kwargs["id"])

    def post(self, request: Request, **_: Any) -> Response:
        """Publishes what this version published once more, as the next version: its routes with their ids, their order, and
        what happens to requests that none of them takes. 410 where it is retired."""
        given = RestoreInput(data=request.data)
        given.is_valid(raise_exception=True)
        change, difference = restore_version(
            request.org,
            self.kwargs["id"],
            by=request.actor,
            expected=self.expected_version(request),
            note=given.validated_data["note"],
        )
        return Response(
            {
                "restored_version": self.kwargs["id"],
                "difference": difference,
                **change_json(change),
                "lint": findings_of(request.org),
            },
            headers={"ETag": list_etag(change.version)},
        )


urlpatterns = [
    path("versions/", VersionList.as_view(), name="versions"),
    path("versions/diff/", VersionDifference.as_view(), name="version_difference"),
    path("versions/<int:id>/", VersionDetail.as_view(), name="version"),
    path("versions/<int:id>/restore/", Restore.as_view(), name="version_restore"),
]
