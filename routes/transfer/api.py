"""`routes/export/` and `routes/import/` of an organisation, in JSON and in YAML."""

from collections.abc import Mapping
from typing import Any

from django.http import HttpResponse
from django.urls import path
from rest_framework import exceptions, serializers
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.settings import api_settings

from routes.api import PUBLISHES, StrictSerializer, TextField, View, change_json, list_etag, not_modified
from routes.document import document_of
from routes.errors import StaleVersion
from routes.rules.findings import findings_of
from routes.shapes import described, one_of
from routes.transfer import shapes
from routes.transfer.files import MEDIA_TYPES, YAML, file_name, written
from routes.transfer.notation import UnreadableYaml, read_yaml
from routes.transfer.services import MODES, content_after, export_routes, import_routes


class YamlBody(BaseParser):
    """YAML that says what JSON can say, read as strictly as JSON is; what is wrong is told with its line."""

    media_type = MEDIA_TYPES[YAML]

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Mapping[str, Any] | None = None) -> Any:
        try:
            return read_yaml(stream.read())
        except UnreadableYaml as error:
            raise exceptions.ParseError(str(error)) from error


class YamlAnswer(BaseRenderer):
    """So that `Accept` may ask for YAML. The view writes the file; what comes here is a refusal, which is JSON."""

    media_type = MEDIA_TYPES[YAML]
    format = YAML

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        return JSONRenderer().render(data)


class Export(View):
    """What is live, as a file."""

    required_role = {"GET": "viewer"}
    gives = {"GET": shapes.EXPORT}
    asks = {"as": described(one_of(*MEDIA_TYPES), "For who cannot choose an `Accept` header.")}
    renderer_classes = [JSONRenderer, YamlAnswer]
    answers_etag = True

    def get(self, request: Request, **_: Any) -> HttpResponse:
        """What is live: default, routes in the order in which they are asked, services. As JSON, or with `Accept:
        application/yaml` or `?as=yaml` as YAML.

        `routes/import/` takes it back, here or in another organisation, to the same digest.
        """
        notation = request.query_params.get("as", request.accepted_renderer.format)
        if notation not in MEDIA_TYPES:
            message = f"as is {' or '.join(MEDIA_TYPES)}."
            raise exceptions.ValidationError({"as": exceptions.ErrorDetail(message, "bad_parameter")})
        is_yaml = notation == YAML
        headers = {"ETag": list_etag(request.org.version, is_yaml=is_yaml), "Cache-Control": "private, no-cache"}
        if not_modified(request, headers["ETag"]):
            return HttpResponse(status=304, headers=headers)
        exported = export_routes(request.org)
        # The version of what is sent, whatever happened since the organisation was read.
        headers["ETag"] = list_etag(exported.version, is_yaml=is_yaml)
        headers["Content-Disposition"] = f'attachment; filename="{file_name(request.org, exported, notation)}"'
        return HttpResponse(written(exported, notation), content_type=MEDIA_TYPES[notation], headers=headers)


class ImportInput(StrictSerializer):
    mode = serializers.ChoiceField(MODES)
    content = serializers.JSONField()
    note = TextField(lines=True, default="", allow_blank=True, max_length=10_000)


class Import(View):
    """Takes an export."""

    required_role = {"POST": "editor"}
    takes = {"POST": shapes.IMPORT}
    gives = {"POST": shapes.IMPORTED}
    examples = {
        "POST": {
            "mode": "merge",
            "content": {
                "routes": [
                    {
                        "name": "short requests from a file",
                        "when": {"model_in": ["gpt-4o"], "input_tokens_lt": 2000},
                        "then": {"target_model": "gpt-4o-mini"},
                    }
                ]
            },
        }
    }
    parser_classes = [*api_settings.DEFAULT_PARSER_CLASSES, YamlBody]
    needs_list_match = True
    parameters = PUBLISHES

    def post(self, request: Request, **_: Any) -> Response:
        """Publishes what an export holds, as one version; with `?dry_run=1` it only tells the `difference`.

        A route is known by its id; one without an id by its name, and else it is new. What happens to requests that no
        route takes is changed only where the content has `default`. The body may be `application/yaml` too.
        """
        given = ImportInput(data=request.data)
        given.is_valid(raise_exception=True)
        asked = given.validated_data
        content, mode = asked["content"], asked["mode"]
        try:
            expected = self.expected_version(request)
            change, difference = import_routes(
                request.org, content, mode=mode, by=request.actor, expected=expected, note=asked["note"]
            )
        except StaleVersion:
            # What would be refused on today's version too is told first: to look again would not help (RFC 9110, 13.2.1).
            content_after(request.org, document_of(request.org).content, content, mode)
            raise
        return Response(
            {"difference": difference, **change_json(change), "lint": findings_of(request.org)},
            headers={"ETag": list_etag(change.version)},
        )


urlpatterns = [
    path("routes/export/", Export.as_view(), name="routes_export"),
    path("routes/import/", Import.as_view(), name="routes_import"),
]
