"""Every answer of the API is one that its OpenAPI document promises."""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema_rs

from routing_admin.docs.document import as_json


@cache
def document() -> dict[str, Any]:
    """As it is served."""
    found: dict[str, Any] = json.loads(as_json())
    return found


@cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    """Of every path what matches it, the most specific first."""
    found = [(re.compile(re.sub(r"{\w+}", "[^/]+", path)), path) for path in document()["paths"]]
    return sorted(found, key=lambda pair: pair[1].count("{"))


def operation_at(method: str, path: str) -> tuple[str, dict[str, Any]] | None:
    """(path, operation) that the URL stands for; None where none is named."""
    for pattern, template in _paths():
        if pattern.fullmatch(path):
            operation = document()["paths"][template].get("get" if method == "HEAD" else method.lower())
            return None if operation is None else (template, operation)
    return None


@cache
def _check(template: str, method: str, status: str, media_type: str) -> Callable[[Any], Any]:
    answer = document()["paths"][template][method]["responses"][status]
    if "$ref" in answer:
        answer = document()["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    schema = {**answer["content"][media_type]["schema"], "components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate


def check(method: str, path: str, response: Any) -> None:
    """Fails where the status, the media type or the body is none that is promised."""
    found = operation_at(method, path)
    if found is None or response.status_code == 405:
        assert response.status_code in (400, 401, 404, 405, 429), (method, path, response.status_code)
        return
    template, operation = found
    status = str(response.status_code)
    assert status in operation["responses"], f"{method} {template} answered {status}, which is not promised."
    if response.status_code == 304 or method == "HEAD":
        assert response.content == b""
        return
    media_type = response["Content-Type"].partition(";")[0]
    name = "get" if method == "HEAD" else method.lower()
    try:
        _check(template, name, status, media_type)(json.loads(response.content))
    except KeyError:
        raise AssertionError(f"{method} {template} answered {status} as {media_type}, which is not promised.") from None
    except jsonschema_rs.ValidationError as error:
        raise AssertionError(f"{method} {template} answered {status}, and not as promised: {error}") from None
