"""`examples/` of an organisation: golden requests, and whether they hold now."""

from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from routes.api import ListView, StrictSerializer, TextField, View, receipt_json
from routes.examples import services
from routes.examples.deciding import REASONS, Checked, check_all
from routes.examples.models import ExampleRequest
from routes.live import live
from routes.shapes import (
    COUNT,
    FLAG,
    OBJECT,
    RECEIPT,
    TEXT,
    TIME,
    UUID,
    Shape,
    described,
    given,
    listed,
    one_of,
    or_null,
    text,
    thing,
    written,
)
from routes.times import rfc3339

_MODEL = text(least=1, longest=512)
_REQUEST: Shape = given(
    "GoldenRequest",
    {
        "context": {"$ref": "#/components/schemas/Context"},
        "chat": described(or_null(OBJECT), "The body of an OpenAI chat-completions request."),
        "now": described(or_null(TIME), "The time of the request; without one it is unknown."),
    },
)
_EXPECTED: Shape = {
    **given(
        "Expected",
        {
            "route": described(or_null(_MODEL), "The name of the route that takes it; null for none."),
            "target_model": described(or_null(_MODEL), "The model to send; null leaves it as it is."),
            "reason": one_of(*REASONS),
        },
    ),
    "minProperties": 1,
}
OUTCOME = thing("Outcome", {"route": or_null(TEXT), "target_model": or_null(TEXT), "reason": one_of(*REASONS)})
BROKEN = thing(
    "BrokenExample",
    {
        "id": UUID,
        "name": TEXT,
        "expected": _EXPECTED,
        "was": OUTCOME,
        "is": OUTCOME,
        "route": described(or_null(TEXT), "The route that would take it."),
    },
)
EXAMPLE = thing(
    "Example",
    {"id": UUID, "name": TEXT, "request": _REQUEST, "expected": _EXPECTED, "created_at": TIME, "updated_at": TIME},
)
_CHANGED: dict[str, Shape] = {"changed": FLAG, "receipt": or_null(RECEIPT)}
WRITTEN = written("ExampleWritten", {"example": EXAMPLE, **_CHANGED})
CHECKED = thing(
    "CheckedExamples",
    {
        "version": described(COUNT, "Of what is live."),
        "passed": COUNT,
        "failed": COUNT,
        "results": listed(
            thing(
                "CheckedExample",
                {
                    "id": UUID,
                    "name": TEXT,
                    "expected": _EXPECTED,
                    "is": described(or_null(OUTCOME), "Null where the request cannot be read any more."),
                    "holds": FLAG,
                },
            )
        ),
    },
)
_EXAMPLE = {
    "name": "short requests of the search team",
    "request": {"context": {"model": "gpt-4o", "input_tokens": 800, "metadata": {"team": "search"}}},
    "expected": {"target_model": "gpt-4o-mini"},
}


class RequestField(serializers.JSONField):
    shape = _REQUEST


class ExpectedField(serializers.JSONField):
    shape = _EXPECTED


class ExampleInput(StrictSerializer):
    name = TextField(max_length=services.MAX_NAME)
    request = RequestField()
    expected = ExpectedField()


def example_json(row: ExampleRequest) -> dict[str, Any]:
    return {
        "id": str(row.uid),
        "name": row.name,
        "request": row.request,
        "expected": row.expected,
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
    }


def example_etag(row: ExampleRequest) -> str:
    return f'"e{row.revision}"'


class ExampleList(ListView):
    """Requests, and what must become of them: no change of the routes goes live that breaks one."""

    required_role = {"GET": "viewer", "POST": "editor"}
    takes = {"POST": ExampleInput}
    gives = {"GET": EXAMPLE, "POST": (201, WRITTEN)}
    examples = {"POST": _EXAMPLE}
    orderings = {"": ("name",), "-updated_at": ("-updated_at", "-uid")}
    search_fields = ("name",)

    def get(self, request: Request, **_: Any) -> Response:
        """All examples, by name."""
        page = self.paginate_queryset(self.filter_queryset(ExampleRequest.objects.of(request.org)))
        return self.get_paginated_response([example_json(row) for row in page or []])

    def post(self, request: Request, **_: Any) -> Response:
        """Keeps a request and what must become of it: its route, its model, the reason, or some of these."""
        row, receipt = services.create_example(request.org, **_given(request), by=request.actor)
        body = {"example": example_json(row), "changed": True, "receipt": receipt_json(receipt)}
        headers = {"Location": f"{request.path}{row.uid}/", "ETag": example_etag(row)}
        return Response(body, status=201, headers=headers)


class ExampleDetail(View):
    """One example, by its id."""

    required_role = {"GET": "viewer", "PUT": "editor", "DELETE": "editor"}
    takes = {"PUT": ExampleInput}
    gives = {"GET": EXAMPLE, "PUT": WRITTEN, "DELETE": written("ExampleDeleted", _CHANGED)}
    examples = {"PUT": {**_EXAMPLE, "name": "short requests", "expected": {"route": "short requests"}}}

    def find(self, request: Request) -> None:
        self.row = services.get_example(request.org, self.kwargs["id"])

    def etag(self) -> str:
        return example_etag(self.row)

    def get(self, request: Request, **_: Any) -> Response:
        """One example."""
        return Response(example_json(self.row), headers={"ETag": self.etag()})

    def put(self, request: Request, **_: Any) -> Response:
        """Replaces the example."""
        given = _given(request)
        self._refuse_stale()
        row, receipt = services.update_example(self.row, **given, by=request.actor, expected_revision=self.row.revision)
        body = {"example": example_json(row), "changed": receipt is not None, "receipt": receipt_json(receipt)}
        return Response(body, headers={"ETag": example_etag(row)})

    def delete(self, request: Request, **_: Any) -> Response:
        """Keeps it no longer."""
        self._refuse_stale()
        receipt = services.delete_example(self.row, by=request.actor, expected_revision=self.row.revision)
        return Response({"changed": True, "receipt": receipt_json(receipt)})

    def _refuse_stale(self) -> None:
        if self.is_stale:
            raise services.StaleExample(self.row)


def _given(request: Request) -> dict[str, Any]:
    given = ExampleInput(data=request.data)
    given.is_valid(raise_exception=True)
    return dict(given.validated_data)


class CheckExamples(View):
    """Decides every example by what is live: which hold, and what became of those that do not."""

    required_role = {"POST": "viewer"}
    gives = {"POST": CHECKED}
    writes = False

    def post(self, request: Request, **_: Any) -> Response:
        routes = live(request.org).engine
        found = check_all(request.org, routes)
        passed = sum(checked.holds for checked in found)
        counts = {"version": routes.version, "passed": passed, "failed": len(found) - passed}
        return Response({**counts, "results": [_checked_json(checked) for checked in found]})


def _checked_json(checked: Checked) -> dict[str, Any]:
    row = checked.example
    said = {"id": str(row.uid), "name": row.name, "expected": row.expected}
    return {**said, "is": checked.found, "holds": checked.holds}


urlpatterns = [
    path("examples/", ExampleList.as_view(), name="examples"),
    path("examples/check/", CheckExamples.as_view(), name="examples_check"),
    path("examples/<str:id>/", ExampleDetail.as_view(), name="example"),
]
