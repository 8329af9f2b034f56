"""Every answer of the API is one that its OpenAPI document promises, headers too."""

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

import jsonschema_rs

from routes.transfer.notation import read_yaml
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


#: How a body is read that is not JSON.
READ: dict[str, Callable[[bytes], Any]] = {"application/yaml": read_yaml, "text/plain": bytes.decode}

#: Headers that no answer has without a promise.
TOLD = {"ETag", "Idempotency-Replayed", "Location", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate"}


def _resolved(part: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in part:
        kind, _, name = part["$ref"].removeprefix("#/components/").partition("/")
        part = document()["components"][kind][name]
    return part


@cache
def _check(template: str, method: str, status: str, media_type: str) -> Callable[[Any], Any]:
    answer = _resolved(document()["paths"][template][method]["responses"][status])
    schema = {**answer["content"][media_type]["schema"], "components": document()["components"]}
    return jsonschema_rs.Draft202012Validator(schema, validate_formats=True).validate


@cache
def _headers(template: str, method: str, status: str) -> dict[str, tuple[bool, Any]]:
    """Of each header of the answer, whether it must come, and what checks it."""
    answer = _resolved(document()["paths"][template][method]["responses"][status])
    headers = {name: _resolved(header) for name, header in answer.get("headers", {}).items()}
    return {
        name: (header["required"], jsonschema_rs.Draft202012Validator(header["schema"], validate_formats=True))
        for name, header in headers.items()
    }


def _check_headers(template: str, method: str, response: Any) -> None:
    where = f"{method} {template} answered {response.status_code}"
    promised = _headers(template, method, str(response.status_code))
    for name, (required, validator) in promised.items():
        value = response.headers.get(name)
        if value is None:
            assert not required, f"{where} without {name}, which is promised."
        else:
            # A number is text here.
            assert validator.is_valid(int(value) if value.isdigit() else value), f"{where} with {name}: {value}"
    surplus = {name for name in TOLD if name in response.headers} - promised.keys()
    assert not surplus, f"{where} with {surplus}, which nobody promised."


def check(method: str, path: str, response: Any) -> None:
    """Fails where the status, the media type or the body is none that is promised."""
    found = operation_at(method, path)
    if found is None or response.status_code == 405:
        assert response.status_code in (400, 401, 404, 405, 429), (method, path, response.status_code)
        return
    template, operation = found
    status = str(response.status_code)
    assert status in operation["responses"], f"{method} {template} answered {status}, which is not promised."
    name = "get" if method == "HEAD" else method.lower()
    _check_headers(template, name, response)
    if response.status_code == 304 or method == "HEAD":
        assert response.content == b""
        return
    media_type = response["Content-Type"].partition(";")[0]
    try:
        read = READ.get(media_type, json.loads)
        _check(template, name, status, media_type)(read(response.content))
    except KeyError:
        raise AssertionError(f"{method} {template} answered {status} as {media_type}, which is not promised.") from None
    except jsonschema_rs.ValidationError as error:
        raise AssertionError(f"{method} {template} answered {status}, and not as promised: {error}") from None
