"""Every write of the API is sent the public vectors of hostile JSON and hostile text: never a 5xx, and every list answers.

Text goes in place of all text that an operation takes, and of that alone which people write: else the words and times of a
schema refuse it before it is stored. Here each vector goes to one operation in turn, on one of both databases; the campaign
sends all to all on both (`EVERYTHING`).
"""

import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from audit.models import AuditEntry
from routes.orgs.models import Organization
from tests.api.promised import document
from tests.api.test_schemathesis import LISTS, World
from tests.databases import ON_POSTGRES
from tests.paths import shared

pytestmark = pytest.mark.django_db
EVERYTHING = "EVERYTHING" in os.environ
OURS = slice(None) if EVERYTHING else slice(ON_POSTGRES, None, 2)
_ROUTE = {
    "name": "{text}",
    "when": {
        "model_in": ["{text}"],
        "tag_equals": "{text}",
        "prompt_contains_any_of": ["{text}"],
        "metadata": {"team": ["{text}"]},
    },
    "then": {"target_model": "{text}", "fallbacks": ["{text} too"]},
    "meta": {"description": "{text}"},
}
_KEY = {"name": "{text}"}
_PRICE = {"provider": "{text}", "model": "{text}"}
_LOG = dict.fromkeys(("request_id", "provider", "model", "requested_model", "tag", "cluster_key"), "{text}")
_CONTEXT = {**dict.fromkeys(("model", "tag", "prompt", "sticky_key"), "{text}"), "metadata": {"team": "{text}"}}
_SERVICE = {
    "slug": "service-{number}",
    "paths": [{"pattern": "/a", "target_url": "https://a.example", "headers": {"x-a": ["{text}"]}}],
}
_GOLDEN = {
    "name": "{text}",
    "request": {"context": _CONTEXT},
    "expected": {"route": "{text}", "target_model": "{text}"},
}
#: By operation what people write in its body, in place of what its example has there. Two routes have two names.
FREE: dict[tuple[str, str], Any] = {
    ("post", "/api/v1/orgs/"): {"slug": "org-{number}", "name": "{text}", "environment": "{text}"},
    ("patch", "/api/v1/orgs/{org}/"): {"name": "{text}", "environment": "{text}"},
    ("post", "/api/v1/api-keys/"): _KEY,
    ("post", "/api/v1/orgs/{org}/api-keys/"): _KEY,
    ("post", "/api/v1/audit/{seq}/redact/"): {"reason": "{text}"},
    ("post", "/api/v1/orgs/{org}/audit/{seq}/redact/"): {"reason": "{text}"},
    ("post", "/api/v1/prices/import/"): _PRICE,
    ("post", "/api/v1/orgs/{org}/prices/import/"): _PRICE,
    ("put", "/api/v1/orgs/{org}/gateways/{instance}/"): {
        "engine": "{text}",
        "extras": ["{text}"],
        "rejected": {"version": 1, "code": "{text}", "detail": "{text}"},
    },
    ("post", "/api/v1/orgs/{org}/routes/"): _ROUTE,
    ("put", "/api/v1/orgs/{org}/routes/{id}/"): {**_ROUTE, "name": "{text} put"},
    ("patch", "/api/v1/orgs/{org}/routes/{id}/"): {**_ROUTE, "name": "{text} patched"},
    ("post", "/api/v1/orgs/{org}/routes/import/"): {
        "mode": "merge",
        "content": {
            "routes": [{**_ROUTE, "name": "{text} imported"}],
            "services": [{**_SERVICE, "slug": "imported-{number}"}],
        },
        "note": "{text}",
    },
    ("post", "/api/v1/orgs/{org}/services/"): _SERVICE,
    ("put", "/api/v1/orgs/{org}/services/{id}/"): {"paths": _SERVICE["paths"]},
    ("patch", "/api/v1/orgs/{org}/services/{id}/"): {"paths": _SERVICE["paths"]},
    ("put", "/api/v1/orgs/{org}/services/{id}/paths/"): {"paths": _SERVICE["paths"]},
    ("post", "/api/v1/orgs/{org}/services/{id}/match/"): {"path": "{text}", "headers": {"{text}": ["{text}"]}},
    ("post", "/api/v1/orgs/{org}/versions/{id}/restore/"): {"note": "{text}"},
    ("put", "/api/v1/orgs/{org}/routes/default/"): {"target_model": "{text}"},
    ("post", "/api/v1/orgs/{org}/decide/"): {"context": _CONTEXT},
    ("post", "/api/v1/orgs/{org}/examples/"): _GOLDEN,
    ("put", "/api/v1/orgs/{org}/examples/{id}/"): {**_GOLDEN, "name": "{text} put"},
    ("put", "/api/v1/orgs/{org}/placements/{partition}/"): {"cluster": "{text}", "resource": "{text}"},
    ("post", "/api/v1/orgs/{org}/placements/{partition}/begin/"): {
        "to": {"cluster": "{text}", "resource": "{text}", "endpoint": "https://us.example"},
    },
    ("post", "/api/v1/orgs/{org}/plans/"): {
        "name": "{text}",
        "note": "{text}",
        "routes": [{**_ROUTE, "name": "{text} planned"}],
    },
    ("post", "/api/v1/orgs/{org}/plans/{id}/reject/"): {"reason": "{text}"},
    ("post", "/api/v1/orgs/{org}/plans/{id}/revert/"): {"reason": "{text}"},
    ("patch", "/api/v1/orgs/{org}/plans/{id}/"): {"note": "{text}"},
    ("post", "/api/v1/orgs/{org}/freeze/"): {"reason": "{text}"},
    ("post", "/api/v1/orgs/{org}/request-logs/"): _LOG,
}
#: A name that must exist, a role, a word, and ids: nothing that people write is in these.
NEVER = {
    ("post", "/api/v1/orgs/{org}/members/"),
    ("patch", "/api/v1/orgs/{org}/members/{id}/"),
    ("post", "/api/v1/gateway/versions/"),
    ("post", "/api/v1/orgs/{org}/approval/confirm/"),
    ("post", "/api/v1/orgs/{org}/approval/withdraw/"),
    ("post", "/api/v1/orgs/{org}/plans/{id}/schedule/"),
    ("post", "/api/v1/orgs/{org}/routes/reorder/"),
    ("post", "/api/v1/orgs/{org}/routes/bulk/"),
    ("put", "/api/v1/orgs/{org}/services/{id}/hosts/"),
    ("put", "/api/v1/orgs/{org}/private-upstreams/"),
}


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


def filled(value: Any, text: str, number: int) -> Any:
    """What `FREE` has, with this text and a number that is another each time."""
    if isinstance(value, dict):
        return {key: filled(part, text, number) for key, part in value.items()}
    if isinstance(value, list):
        return [filled(part, text, number) for part in value]
    return value.replace("{number}", str(number)).replace("{text}", text) if isinstance(value, str) else value


def bodies(write: Any, text: str, number: int) -> list[str]:
    """With this in place of what people write, where they do; and with it in place of all text."""
    path, method, _, example = write
    is_line = isinstance(example, str)
    shown = json.loads(example) if is_line else example
    found = [with_all_text(shown, text)]
    if (method, path) in FREE:
        free = filled(FREE[method, path], text, number)
        found.insert(0, [{**shown[0], **free}] if isinstance(shown, list) else {**shown, **free})
    return [json.dumps(body) + ("\n" if is_line else "") for body in found]


def pairs(vectors: list[Any]) -> Iterator[tuple[int, Any, Any]]:
    """(round, vector, write): all with all, or each with one."""
    found = writes()
    for number, vector in enumerate(vectors):
        for write in found if EVERYTHING else [found[(number + 7 * ON_POSTGRES) % len(found)]]:
            yield number // len(found), vector, write


def an_entry(org: Organization | None) -> int:
    """One that can be blanked, where there is any."""
    rows = AuditEntry.objects.of(None if org is None else org.pk).exclude(action__startswith="audit.")
    found = rows.exclude(payload=None).values_list("seq", flat=True).last()
    return found or 0


def send(world: World, write: Any, body: bytes) -> Any:
    path, method, operation, _ = write
    url = path.replace("{org}", world.org.slug).replace("{instance}", "edge-1")
    # Of the plans the second one is applied, the last one projected.
    which = 1 if path.endswith("/revert/") else -1
    url = url.replace("{seq}", str(an_entry(world.org if "{org}" in path else None)))
    url = url.replace("{id}", str(([*world.ids(path)] or [""])[which]))
    url = url.replace("{partition}", "tenant-7")
    if path.endswith(("/reject/", "/revert/", "/begin/")):
        url += "?dry_run=1"  # a plan is rejected or reverted once, and a move begun
    media_type = next(iter(operation["requestBody"]["content"]))
    answer = world.who(operation).generic(method.upper(), url, body, content_type=media_type, headers={"If-Match": "*"})
    assert answer.status_code < 500, (method, path, body[:200])
    world.open()
    return answer


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
    for _, body, write in pairs([file.read_bytes() for file in files[OURS]]):
        told[send(world, write, body).status_code] += 1
    every_list_answers(world)
    assert told[400] > told.total() // 2
    print(f"{told.total():,} bodies of JSON; {sorted(told.items())}")


def test_whatever_text_is_sent(db: None) -> None:
    world, told, accepted = World(), Counter[int](), Counter[tuple[str, str]]()
    assert {(method, path) for path, method, _, _ in writes()} == FREE.keys() | NEVER
    naughty = json.loads(shared("vectors/naughty-strings.json").read_text(encoding="utf-8"))
    strings = [*naughty[OURS], "\x00", "a\ud800"]
    for turn, text, write in pairs(strings):
        path, method, _, _ = write
        found = bodies(write, text, told.total())
        for body in found if EVERYTHING else [found[turn % len(found)]]:
            answer = send(world, write, body.encode())
            told[answer.status_code] += 1
            # A line of logs is refused for itself.
            accepted[method, path] += answer.status_code in (200, 201) and answer.json().get("accepted", 1)
    every_list_answers(world)
    assert {name for name, times in accepted.items() if times} >= FREE.keys()
    assert accepted.total() > told.total() // 4
    print(f"{told.total():,} bodies of text, {accepted.total():,} accepted; {sorted(told.items())}")
