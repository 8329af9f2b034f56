"""What no view of the API answers is answered as its views answer: a problem, never a page."""

import json
from typing import Any

import pytest
from django.test import Client

from routes.orgs.models import Organization
from routing_admin.errors import pointer
from tests.api.conftest import Caller
from tests.api.test_plans import PLAN
from tests.api.test_who_may_what import callers, filled, one_of_each, table
from tests.build import an_org

pytestmark = pytest.mark.django_db


def told(response: Any, status: int, code: str) -> dict[str, Any]:
    body: dict[str, Any] = response.json()
    assert response["Content-Type"] == "application/problem+json"
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert body["request_id"] == response["X-Request-Id"]
    return body


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/v2/orgs/", "/api/v1/nothing/", "/api/v1/orgs/acme/nothing/\x00"]
)
def test_what_is_no_url(settings: Any, debug: bool, method: str, path: str) -> None:
    settings.DEBUG = debug
    told(Client(enforce_csrf_checks=True).generic(method, path), 404, "not_found")


def test_a_url_without_its_slash_says_so() -> None:
    assert "end with a slash" in told(Client().post("/api/v1/orgs"), 404, "not_found")["detail"]


def test_what_nobody_foresaw(viewer: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("routes.rules.api.findings_of", fail)
    viewer.client.raise_request_exception = False
    monkeypatch.setattr("tests.api.conftest.check", lambda *_: None)  # which no document promises
    body = told(viewer("get", "routes/lint/"), 500, "internal_error")
    assert "planted" not in str(body)


def test_a_host_that_is_not_ours() -> None:
    told(Client(SERVER_NAME="evil.example").get("/api/v1/orgs/"), 400, "bad_request")


def test_pages_stay_pages() -> None:
    answer = Client().get("/nothing/")
    assert (answer.status_code, answer["Content-Type"]) == (404, "text/html; charset=utf-8")


# --- Methods and forms ------------------------------------------------------------------------------------------------


def test_allow_names_the_methods_that_the_table_has(org: Organization) -> None:
    staff = callers(org, an_org("other"))["staff"].client
    ids = one_of_each(org)
    for path in {rule.path for rule in table()}:
        methods = {rule.method for rule in table() if rule.path == path and rule.needs}
        answer = staff.options(filled(path, ids))
        assert answer.status_code == 405, path
        assert set(answer["Allow"].split(", ")) == methods | ({"HEAD"} if "GET" in methods else set()), path


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("application/json;q=0", 406),
        ("application/json; q=0.000", 406),
        ("*/*;q=0", 406),
        ("application/json;q=0, */*", 406),
        ("application/*;q=0, */*;q=1", 406),
        ("text/html", 406),
        ("application/json, */*;q=0", 200),
        ("text/html;q=0, */*;q=0.1", 200),
        ("application/json;q=0.001", 200),
        ("application/json;q=nonsense", 200),
        ("", 200),
    ],
)
def test_a_form_that_is_not_acceptable_is_not_sent(viewer: Caller, accept: str, status: int) -> None:
    for name in ("routes/", "audit/", "snapshot/"):
        answer = viewer("get", name, headers={"Accept": accept} if accept else {})
        assert answer.status_code == status, name
        if status == 406:
            told(answer, 406, "not_acceptable")


def test_who_asks_and_for_what_is_looked_at_before_the_form(viewer: Caller, org: Organization) -> None:
    foreign = Caller(an_org("other"), "admin")
    wrong = {"Accept": "text/html"}
    told(Client().get(f"{viewer.base}routes/", headers=wrong), 401, "unauthenticated")
    told(foreign("get", f"{viewer.base}routes/", headers=wrong), 404, "not_found")
    told(viewer("get", "routes/00000000-0000-7000-8000-000000000000/", headers=wrong), 404, "not_found")
    told(viewer("patch", "routes/default/", {}, seen=None, headers=wrong), 405, "method_not_allowed")
    told(viewer("delete", "routes/default/", seen=None, headers=wrong), 403, "forbidden")
    told(Caller(org, "editor")("delete", "routes/default/", seen=None, headers=wrong), 406, "not_acceptable")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "BREW"])
@pytest.mark.parametrize("path", ["/api/schema/", "/api/docs/", "/api/docs/explorer/"])
def test_what_is_only_read_says_so(method: str, path: str) -> None:
    answer = Client(enforce_csrf_checks=True).generic(method, path)
    told(answer, 405, "method_not_allowed")
    assert answer["Allow"] == "GET, HEAD"


# --- Where it is wrong ------------------------------------------------------------------------------------------------


def test_a_pointer_leads_to_members_of_any_name(org: Organization) -> None:
    admin = Caller(org, "admin")
    names = ["a/b~c", "~1", "non_field_errors", "__all__", "", "0", "a.b[0]"]
    errors = told(admin("post", "members/", dict.fromkeys(names)), 422, "invalid")["errors"]
    at = ["/a~1b~0c", "/~01", "/non_field_errors", "/__all__", "/", "/0", "/a.b[0]"]
    assert [error["pointer"] for error in errors] == at


@pytest.mark.parametrize("body", [[1], "text", None, 5])
def test_what_is_wrong_with_a_body_as_a_whole_is_at_no_member(org: Organization, body: Any) -> None:
    answer = Caller(org, "admin").client.post(f"/api/v1/orgs/{org.slug}/members/", json.dumps(body), "application/json")
    assert [error["pointer"] for error in told(answer, 422, "invalid")["errors"]] == [""]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("", {"": 1}, ""),
        ("name", {}, "/name"),
        ("name", None, "/name"),
        ("when.model_in[1]", None, "/when/model_in/1"),
        ("[1].a", [{}, {"a": 1}], "/1/a"),
        ("[1]", {"[1]": 1}, "/[1]"),
        ("[x]", None, "/[x]"),
        ("metadata.1", {"metadata": {"1": 0}}, "/metadata/1"),
        ("metadata.", {"metadata": {"": 0}}, "/metadata/"),
        ("metadata..x", {"metadata": {"": {"x": 0}}}, "/metadata//x"),
        ("metadata.a.b", {"metadata": {"a": {"b": 0}}}, "/metadata/a/b"),
        ("metadata.a.b", {"metadata": {"a": 0, "a.b": 0}}, "/metadata/a.b"),
        ("metadata." + "x" * 60 + "…[0]", {"metadata": {"x" * 70: [0]}}, "/metadata/" + "x" * 70 + "/0"),
        ("when.a\\u2028b", {"when": {"a\u2028b": 0}}, "/when/a\u2028b"),
        ("list[7].a", {"list": []}, "/list/7/a"),
    ],
)
def test_a_path_of_the_engine_becomes_a_pointer(path: str, body: Any, expected: str) -> None:
    assert pointer(path, body) == expected


def test_names_are_looked_up_and_not_looked_for() -> None:
    """With a million of them and a thousand mistakes that would take minutes."""

    class Names(dict[str, Any]):
        def __iter__(self) -> Any:
            raise AssertionError("looked through")

    assert pointer("when.a.b[0]", Names({"when": Names({"a.b": [0]})})) == "/when/a.b/0"
    assert pointer("when.missing", Names({"when": Names()})) == "/when/missing"


def test_a_name_of_a_million_dots_is_no_more_work_than_another(viewer: Caller) -> None:
    name = "." * 1_000_000
    for body, at in (({"context": {name: 1}}, f"/context/{name}"), ({name: 1}, f"/{name}")):
        (error,) = told(viewer("post", "decide/", body), 422, "invalid_request")["errors"]
        assert (error["pointer"] == at, error["code"]) == (True, "unknown_key")


@pytest.mark.parametrize(
    ("path", "body", "count", "where"),
    [
        ("members/", {f"x{number}": 0 for number in range(5_000)}, 1, ""),
        ("decide/", {f"x{number}": 0 for number in range(5_000)}, 1, ""),
        ("decide/", {"context": {f"x{number}": 0 for number in range(5_000)}}, 1, "/context"),
        ("plans/", {**PLAN, "l2_threshold_sweep": ["x"] * 20_000}, 1, "/l2_threshold_sweep"),
        ("plans/", {**PLAN, "routes": [1] * 20_000}, 1, "/routes"),
        ("plans/", {**PLAN, "routes": [1] * 5_000}, 1_001, "/routes"),
        ("plans/", {**PLAN, "l2_threshold_sweep": ["x"] * 5_000}, 1_002, ""),
        ("gateway/versions/", {"known": {f"x{number}": 0 for number in range(5_000)}}, 1_002, ""),
    ],
    ids=lambda value: "" if isinstance(value, dict) else str(value),
)
def test_however_much_is_wrong_the_answer_is_short_and_says_that_there_is_more(
    org: Organization, path: str, body: dict[str, Any], count: int, where: str
) -> None:
    everybody = callers(org, an_org("other"))
    who = everybody["gateway of all" if path.startswith("gateway") else "staff"].client
    base = "/api/v1/" if path.startswith("gateway") else f"/api/v1/orgs/{org.slug}/"
    answer = who.post(base + path, body, content_type="application/json")
    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert (len(errors), errors[-1]["pointer"], errors[-1]["code"]) == (count, where, "too_many")
