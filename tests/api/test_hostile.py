"""Nothing that a client sends makes a 5xx, on either database."""

import json
from typing import Any

import pytest

from audit.models import AuditEntry
from plans.runs.models import PlanRun
from routes.orgs.models import Organization
from tests.api.conftest import Caller
from tests.api.test_plans import PLAN
from tests.build import a_person
from tests.databases import ON_POSTGRES
from tests.paths import shared

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/orgs/%00/routes/",
        "/api/v1/orgs/a%00b/routes/",
        "/api/v1/orgs/%ff/routes/",
        "/api/v1/orgs/" + "x" * 3000 + "/routes/",
        "routes/%00/",
        "routes/00000000000000000000000000000000/",
        "routes/?limit=0",
        "routes/?limit=abc",
        "routes/?limit=99999999999999999999",
        "plans/%00/",
        "audit/?since=%00",
    ],
)
def test_an_odd_address_is_a_clear_answer(viewer: Caller, path: str) -> None:
    response = viewer("get", path)
    assert response.status_code < 500, response.content
    if response.status_code >= 400:
        assert response.json()["detail"]


@pytest.mark.parametrize(
    "change",
    [
        {"window_start": "0001-01-01T00:00:00+14:00"},
        {"window_end": "9999-12-31T23:59:59-14:00"},
        {"window_start": "2026-05-01"},
        {"window_start": "2026-05-01T00:00:00"},
        {"window_start": None},
        {"seed": -1},
        {"seed": 2**63},
        {"seed": 1e400},
        {"iterations": 10**9},
        {"mode": "both"},
        {"routes": None},
        {"routes": [None, 1, [], "x"]},
        {"routes": [{"name": "x" * 10_000, "then": {"target_model": "m"}}]},
        {"routes": [{"id": "not an id", "name": "x", "then": {"target_model": "m"}}]},
        {"routes": [{"name": "x", "priority": 2**70, "then": {"target_model": "m"}}]},
        {"name": "x" * 201},
        {"name": ""},
        {"note": 5},
    ],
    ids=str,
)
def test_an_odd_plan_is_refused_with_its_field(editor: Caller, change: dict[str, Any]) -> None:
    body = json.dumps({**PLAN, **change}).replace("Infinity", "1e400")
    response = editor.client.generic("POST", editor.base + "plans/", body, content_type="application/json")
    assert response.status_code in (400, 422), response.content
    assert not PlanRun.objects.exists()


def test_hostile_strings_are_stored_as_they_are_or_refused_and_every_list_still_answers(
    editor: Caller, org: Organization
) -> None:
    stored = 0
    strings = json.loads(shared("vectors/naughty-strings.json").read_text(encoding="utf-8"))
    some = strings[:: 40 if ON_POSTGRES else 12]
    for text in some:
        body = {
            "name": text,
            "when": {"model_in": [text], "tag_equals": text, "prompt_contains_any_of": [text]},
            "then": {"target_model": text},
        }
        response = editor("post", "routes/", body)
        assert response.status_code in (201, 400, 422), (text, response.content)
        if response.status_code == 201:
            assert response.json()["route"]["then"]["target_model"] == text
            stored += 1
    assert stored > len(some) // 2
    assert editor("get", "routes/?limit=500").status_code == 200
    assert editor("get", "snapshot/").json()["version"] == stored
    assert editor("get", "audit/?limit=500").status_code == 200
    explained = editor("post", "decide/", {"context": {"model": "x", "tag": "<script>"}})
    assert explained.status_code == 200


@pytest.mark.parametrize("path", ["routes/", "decide/", "plans/"])
def test_a_body_that_is_too_large_is_a_problem_like_any_other(editor: Caller, settings: Any, path: str) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100_000
    answer = editor("post", path, json.dumps({"name": "x" * 100_000}))
    assert (answer.status_code, answer["Content-Type"]) == (413, "application/problem+json")
    assert (answer.json()["code"], answer.json()["detail"]) == ("payload_too_large", "A body may have 100,000 bytes.")
    assert editor("post", path, json.dumps({"name": "x" * 90_000})).status_code == 422


@pytest.mark.parametrize(
    "limit", ["0000005009999", "000000501", "1" + "0" * 40, "000000001" + "9" * 30, "٣", "-1", "", "1.0"]
)
def test_a_page_has_as_many_objects_as_it_may(editor: Caller, limit: str) -> None:
    for name in ("routes/", "audit/", "request-logs/"):
        assert editor("get", f"{name}?limit={limit}").status_code == 422, (name, limit)


UNPRINTABLE = ["\x01", "\x1b[31m", "\x7f", "\x85", "\u2028", "a\nb", "\t", "\r"]
#: Emoji that are joined, right to left, marks that combine, beyond the first plane, no break, bidirectional marks.
FOREIGN = ["👩‍👩‍👧‍👦 🏳️‍🌈", "مرحبا بالعالم", "שלום", "Z͑ͫa̴l̷g̵o", "𠜎𠜱𝕬", "a\u00a0b", "a\u200fb\u202eb", "ﬃ ǅ ß"]


def bodies(org: Organization) -> dict[str, dict[str, Any]]:
    """By path a body of which each name is to be put in."""
    return {
        "/api/v1/orgs/": {"slug": f"other-{Organization.objects.count()}", "name": ""},
        "api-keys/": {"name": "", "kind": "traffic"},
        "plans/": {**PLAN, "name": ""},
        "routes/": {"name": "", "then": {"target_model": "m"}},
    }


@pytest.mark.every_case
@pytest.mark.parametrize("text", UNPRINTABLE)
def test_what_logs_and_pages_cannot_carry_is_in_no_name(
    admin: Caller, org: Organization, client: Any, text: str
) -> None:
    client.force_login(a_person("staff", is_superuser=True))
    before = AuditEntry.objects.count()
    for path, body in bodies(org).items():
        url = path if path.startswith("/") else admin.base + path
        answer = client.post(url, {**body, "name": f"x{text}y"}, content_type="application/json")
        (error,) = answer.json()["errors"]
        assert (answer.status_code, error["pointer"], error["code"]) == (422, "/name", "unsupported_value"), path
    for field in ("name", "environment"):
        answer = admin("patch", "", {field: f"x{text}y"})
        assert answer.json()["errors"][0]["code"] == "unsupported_value"
    assert AuditEntry.objects.count() == before


@pytest.mark.every_case
@pytest.mark.parametrize("text", FOREIGN)
def test_a_name_is_in_any_language(admin: Caller, org: Organization, client: Any, text: str) -> None:
    client.force_login(a_person("staff", is_superuser=True))
    for path, body in bodies(org).items():
        url = path if path.startswith("/") else admin.base + path
        answer = client.post(url, {**body, "name": text}, content_type="application/json")
        assert answer.status_code == 201, (path, answer.json())
        assert text in answer.content.decode()


def test_a_note_has_lines_and_tabs_and_nothing_else_of_the_kind(editor: Caller) -> None:
    note = "Why:\r\n\t1. it saves\n\t2. it is fast"
    assert editor("post", "plans/", {**PLAN, "note": note}).json()["note"] == note
    for text in ("\x1b[31m", "\x85", "\u2028", "\x00"):
        assert editor("post", "plans/", {**PLAN, "note": f"x{text}y"}).status_code in (400, 422)
