"""Every write of the API is sent the public vectors of hostile JSON and hostile text: never a 5xx, and every list answers.

Here each vector goes to one operation in turn, and a third of them on PostgreSQL, to other ones; the campaign sends all to
all (`EVERYTHING`).
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.promised import document
from tests.api.test_schemathesis import LISTS, World
from tests.databases import ON_POSTGRES
from tests.paths import shared

pytestmark = pytest.mark.django_db
EVERYTHING = "EVERYTHING" in os.environ
EACH = 3 if ON_POSTGRES and not EVERYTHING else 1


def writes() -> list[tuple[str, str, dict[str, Any], Any]]:
    """(path, method, operation, example) of all that takes a body."""
    return [
        (path, method, operation, content["example"])
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
        for content in operation.get("requestBody", {}).get("content", {}).values()
    ]


def with_all_text(value: Any, text: str) -> Any:
    """The example with this in place of all its text; not of words and times, which a schema names."""
    if isinstance(value, dict):
        return {key: with_all_text(part, text) for key, part in value.items()}
    if isinstance(value, list):
        return [with_all_text(part, text) for part in value]
    return text if isinstance(value, str) else value


def pairs(bodies: list[Any]) -> Iterator[tuple[Any, Any]]:
    """(body, write): all with all, or each with one."""
    found = writes()
    for number, body in enumerate(bodies):
        for write in found if EVERYTHING else [found[(number + 7 * ON_POSTGRES) % len(found)]]:
            yield body, write


def send(world: World, write: Any, body: bytes) -> int:
    path, method, operation, _ = write
    ids = world.ids(path)
    url = path.replace("{org}", world.org.slug).replace("{instance}", "edge-1").replace("{id}", str((ids or [""])[0]))
    media_type = next(iter(operation["requestBody"]["content"]))
    answer = world.who(operation).generic(method.upper(), url, body, content_type=media_type, headers={"If-Match": "*"})
    assert answer.status_code < 500, (method, path, body[:200])
    status: int = answer.status_code
    return status


def every_list_answers(world: World) -> None:
    for name in LISTS:
        answer = world.admin.get(f"/api/v1/orgs/{world.org.slug}/{name}?limit=500")
        assert answer.status_code == 200, (name, answer.content)
    for url in ("/api/v1/orgs/", "/api/v1/api-keys/", "/api/v1/prices/"):
        assert world.staff.get(url).status_code == 200


def test_whatever_json_is_sent(db: None) -> None:
    world, told = World(), Counter[int]()
    files = sorted(shared("vectors/json-test-suite").rglob("*.json"))
    assert len(files) > 300
    for body, write in pairs([file.read_bytes() for file in files[::EACH]]):
        told[send(world, write, body)] += 1
    every_list_answers(world)
    assert told[400] > told.total() // 2
    print(f"{told.total():,} bodies of JSON; {sorted(told.items())}")


def test_whatever_text_is_sent(db: None) -> None:
    world, told = World(), Counter[int]()
    naughty = json.loads(shared("vectors/naughty-strings.json").read_text(encoding="utf-8"))
    strings = [*naughty[::EACH], "\x00", "a\ud800"]
    for text, write in pairs(strings):
        example = write[3]
        lines = isinstance(example, str)
        body = json.dumps(with_all_text(json.loads(example) if lines else example, text)) + ("\n" if lines else "")
        told[send(world, write, body.encode())] += 1
    every_list_answers(world)
    assert told[200] + told[201] > 10
    print(f"{told.total():,} bodies of text; {sorted(told.items())}")
