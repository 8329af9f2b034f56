"""`/api/schema/` for programs, `/api/docs/` for people. Both are for everybody: they hold nothing of anybody."""

from functools import cache
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from routing_admin.docs.document import as_json, as_yaml, document
from routing_admin.refusals import read_only
from routing_admin.rest.schema import TAGS

EXAMPLE = Path(settings.BASE_DIR) / "templates" / "docs" / "client_example.py"


@read_only
def schema(request: HttpRequest) -> HttpResponse:
    """OpenAPI 3.1 as JSON, or with `?format=yaml` as YAML."""
    if request.GET.get("format") == "yaml":
        return HttpResponse(as_yaml(), content_type="application/vnd.oai.openapi; charset=utf-8")
    return HttpResponse(as_json(), content_type="application/vnd.oai.openapi+json")


@read_only
def docs(request: HttpRequest) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": "API",
        "resources": resources(),
        "operations": _operations(),
        "example": EXAMPLE.read_text(encoding="utf-8"),
    }
    return render(request, "docs/api.html", context)


@read_only
def explorer(request: HttpRequest) -> HttpResponse:
    return render(request, "docs/explorer.html", {"title": "API explorer"})


@cache
def _operations() -> SafeString:
    """Most of the page, which is the same for everybody and takes a fifth of a second to write."""
    return render_to_string("docs/resources.html", {"resources": resources()})


@cache
def resources() -> list[dict[str, Any]]:
    """The operations of each resource, as the page lists them."""
    found: dict[str, list[dict[str, Any]]] = {title: [] for title in TAGS.values()}
    for path, methods in document()["paths"].items():
        for method, operation in methods.items():
            found[operation["tags"][0]].append(_shown(path, method.upper(), operation))
    names = {title: name for name, title in TAGS.items()}
    return [{"name": names[title], "title": title, "operations": operations} for title, operations in found.items()]


def _shown(path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    body = next(iter(operation.get("requestBody", {}).get("content", {}).items()), None)
    done = next(status for status in operation["responses"] if status.startswith("2"))
    answer = next(iter(operation["responses"][done]["content"].values()))["schema"]
    return {
        "id": operation["operationId"],
        "method": method,
        "path": path,
        "paragraphs": list(map(_html, operation["description"].split("\n\n"))),
        "parameters": [
            {
                "name": parameter["name"],
                "where": parameter["in"],
                "required": parameter["required"],
                "kind": _kind(parameter["schema"]),
                "description": _html(parameter.get("description", "")),
            }
            for parameter in operation["parameters"]
        ],
        "takes": None if body is None else {"media_type": body[0], "fields": _fields(body[1]["schema"])},
        "gives": {"status": done, "fields": [{**field, "required": False} for field in _fields(answer)]},
        "refusals": [status for status in operation["responses"] if status >= "4"],
        "curl": "\n\n".join(sample["source"] for sample in operation["x-codeSamples"]),
    }


def _fields(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The members of an object, of a page of a list those of its objects."""
    schema = _resolved(schema)
    if "results" in schema.get("properties", {}) and "next" in schema["properties"]:
        schema = _resolved(schema["properties"]["results"]["items"])
    required = schema.get("required", ())
    return [
        {
            "name": name,
            "required": name in required,
            "kind": _kind(member),
            "description": _html(member.get("description", "")),
        }
        for name, member in schema.get("properties", {}).items()
    ]


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    for part in schema.get("anyOf", ()):
        if "$ref" in part:
            schema = part
    if "$ref" in schema:
        found: dict[str, Any] = document()["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        return found
    return schema


def _html(text: str) -> SafeString:
    """The text; what stands between backticks is code."""
    parts = (("<code>{}</code>" if number % 2 else "{}", part) for number, part in enumerate(text.split("`")))
    return format_html_join("", "{}", ((format_html(form, part),) for form, part in parts))


def _kind(schema: dict[str, Any]) -> str:
    """What a value is, in a word or two."""
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(map(_kind, schema["anyOf"]))
    if "const" in schema:
        return str(schema["const"]).lower()
    if "enum" in schema:
        return " | ".join("null" if value is None else str(value) or '""' for value in schema["enum"])
    kinds = schema.get("type", "anything")
    kinds = [kinds] if isinstance(kinds, str) else kinds
    names = {"string": {"date-time": "time", "uuid": "UUID", "date": "day"}.get(schema.get("format", ""), "text")}
    if "array" in kinds:
        names["array"] = f"list of {_kind(schema['items'])}"
    return " or ".join(names.get(kind, kind) for kind in kinds)
