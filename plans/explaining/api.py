"""`request-logs/explain/` of an organisation: why a logged request went where it did."""

from typing import Any

from django.urls import path
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from plans.explaining import words
from plans.explaining.services import Explained, Side, explained, get_logged
from plans.logs.api import LOG, log_json
from routes.api import View
from routes.requests import facts_of
from routes.rules import shapes
from routes.shapes import COUNT, FLAG, OBJECT, TEXT, described, listed, or_null, text, thing

_SIDE = thing(
    "ExplainedBy",
    {
        "version": COUNT,
        "explanation": or_null(shapes.EXPLANATION),
        "left_open": described(
            listed(TEXT), "The ids of routes that may have come first: what they ask for is unknown of the request."
        ),
        "problem": described(TEXT, "Why there is no explanation; empty where there is one."),
    },
)
EXPLAINED = thing(
    "RequestExplained",
    {
        "request": LOG,
        "facts": described(OBJECT, "What is known of it, as `context` of `decide/` takes it; without its text."),
        "force": described(or_null(TEXT), "The route that was asked for by name."),
        "then": _SIDE,
        "is_version_logged": described(
            FLAG, "False: `then` is by the version that was live by the time of the request."
        ),
        "now": _SIDE,
        "disagreements": described(listed(TEXT), "Where `then` says something else than the log."),
        "doubts": described(listed(TEXT), "What is not sure of it: what was not kept, stands in, or was made up."),
        "attempts": described(listed(TEXT), "The ids of what are probably other attempts to serve the same request."),
    },
)


class Asked(serializers.Serializer):
    request_id = serializers.CharField(max_length=200, trim_whitespace=False)


class ExplainRequest(View):
    """A logged request, then and now."""

    required_role = {"GET": "viewer"}
    gives = {"GET": EXPLAINED}
    asks = {"request_id": described(text(longest=200, least=1), "The id of a request in the log.")}
    required_parameters = ("request_id",)
    example_query = "?request_id=r1"

    def get(self, request: Request, **_: Any) -> Response:
        """Why a logged request went where it did: decided once more by the version that decided then, and by what is
        live, on the facts that the log kept. 404 for an id that is not in the log."""
        asked = Asked(data=request.query_params.dict())
        asked.is_valid(raise_exception=True)
        row = get_logged(request.org, asked.validated_data["request_id"])
        return Response(_json(explained(request.org, row)))


def _json(found: Explained) -> dict[str, Any]:
    facts = facts_of(found.context)
    facts.pop("prompt", None)
    return {
        "request": log_json(found.row),
        "facts": facts,
        "force": found.force,
        "then": _side(found.then),
        "is_version_logged": found.is_version_logged,
        "now": _side(found.now),
        "disagreements": words.disagreements(found),
        "doubts": words.doubts(found),
        "attempts": [one["request_id"] for one in found.attempts],
    }


def _side(side: Side) -> dict[str, Any]:
    return {
        "version": side.version,
        "explanation": None if side.explanation is None else side.explanation.to_dict(),
        "left_open": list(side.left_open),
        "problem": side.problem,
    }


urlpatterns = [path("request-logs/explain/", ExplainRequest.as_view(), name="request_log_explain")]
