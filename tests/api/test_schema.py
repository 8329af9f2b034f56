"""The OpenAPI document is one, and names exactly what there is."""

import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import jsonschema_rs
import pytest
from django.test import Client
from drf_spectacular.validation import validate_schema

from routes import engine
from routes.requests import FACTS
from routes.rules.shapes import ACTION, CONDITIONS, CONTEXT
from routing_admin.docs import document as document_module
from routing_admin.docs.document import document
from tests.api.test_who_may_what import served, table


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method.upper(), operation)
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    ]


def test_whoever_asks_first_at_once_gets_one_that_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make() -> dict[str, Any]:
        time.sleep(0.05)
        made.append({})
        return made[-1]

    monkeypatch.setattr(document_module, "_made", cache(make))
    with ThreadPoolExecutor(4) as threads:
        found = [asked.result() for asked in [threads.submit(document) for _ in range(4)]]
    assert len(made) == 1
    assert all(one is made[0] for one in found)


def test_it_is_openapi() -> None:
    assert document()["openapi"] == "3.1.0"
    validate_schema(document())
    for name, schema in document()["components"]["schemas"].items():
        jsonschema_rs.meta.validate(schema)
        assert schema.get("type") == "object", name
    ids = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(ids)) == len(ids)


def test_it_names_what_there_is_and_nothing_else() -> None:
    there = {(path.removeprefix("/api/v1/").replace("{", "<").replace("}", ">"), m) for path, m, _ in operations()}
    assert there == {(rule.path, rule.method) for rule in table() if rule.needs}
    assert {path for path, _ in there} == {path for path, _ in served()}


def test_security_names_the_credentials_with_which_somebody_can_be_let_in() -> None:
    """No key is of installation staff, and no session is a gateway."""
    needs = {(rule.path, rule.method): rule.needs for rule in table()}
    for path, method, operation in operations():
        needed = needs[path.removeprefix("/api/v1/").replace("{", "<").replace("}", ">"), method]
        session = {"session"} if method == "GET" else {"session", "csrf"}
        expected = [{"key"}] * (needed != ("installation",)) + [session] * (needed != ("gateway",))
        assert [set(one) for one in operation["security"]] == expected, (path, method)


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {found for part in value for found in references(part)}
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own | {found for part in value.values() for found in references(part)}
    return set()


def test_every_reference_leads_somewhere_and_every_component_is_used() -> None:
    there = {
        f"#/components/{kind}/{name}"
        for kind in ("schemas", "responses", "headers")
        for name in document()["components"][kind]
    }
    assert references(document()) == there


def test_every_write_shows_a_body_that_is_as_it_says() -> None:
    shown = 0
    for path, method, operation in operations():
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
            schema = {**content["schema"], "components": document()["components"]}
            jsonschema_rs.Draft202012Validator(schema).validate(content["example"])
            assert any(media_type in sample["source"] for sample in operation["x-codeSamples"]), (path, method)
            shown += 1
    assert shown > 10


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        (CONTEXT, set(FACTS)),
        (ACTION, set(engine.Action.__dataclass_fields__)),
        (CONDITIONS, {name.rstrip("_") for name in engine.Conditions.__dataclass_fields__} - {"given"}),
    ],
)
def test_shapes_have_the_names_that_the_engine_has(shape: dict[str, Any], names: set[str]) -> None:
    assert set(shape["properties"]) == names


@pytest.mark.django_db
def test_everybody_may_read_it() -> None:
    for url in ("/api/schema/", "/api/schema/?format=yaml", "/api/docs/", "/api/docs/explorer/"):
        answer = Client().get(url)
        assert answer.status_code == 200, url
        assert Client().post(url).status_code == 405
    assert Client().get("/api/schema/").json() == document()
