"""What a query says is taken as it was meant, or refused by name: unknown, repeated, too long."""

from typing import Any

import pytest
from django.http import QueryDict

from routes.orgs.models import Organization
from routing_admin.docs.document import document
from routing_admin.rest.filters import MAX_SEARCH, MAX_WORDS
from tests.api.conftest import Caller
from tests.api.test_routes import problem
from tests.api.test_schema import operations
from tests.api.test_who_may_what import callers, filled, one_of_each
from tests.build import a_plan, a_route, an_org

pytestmark = pytest.mark.django_db


def refused(answer: Any, name: str) -> str:
    """The code with which the parameter is refused."""
    (error,) = problem(answer, 422, "invalid")["errors"]
    assert error["pointer"] == f"/{name}"
    return str(error["code"])


def parameters() -> list[tuple[str, str, str, bool]]:
    """(path, method, name, is it a list) of every query parameter of the API."""
    return [
        (path, method, parameter["name"], parameter["schema"].get("type") == "array")
        for path, method, operation in operations()
        for parameter in operation["parameters"]
        if parameter["in"] == "query"
    ]


def test_a_parameter_is_given_once_unless_it_is_a_list(org: Organization) -> None:
    everybody = callers(org, an_org("other"))
    ids = one_of_each(org)
    asked = {True: 0, False: 0}
    for path, method, name, is_list in parameters():
        url = filled(path.removeprefix("/api/v1/").replace("{", "<").replace("}", ">"), ids)
        needs = document()["paths"][path][method.lower()]["description"].rpartition("Needs: ")[2]
        who = everybody["staff" if not needs.startswith("gateway") else "gateway of all"]
        answer = who.client.generic(method, f"{url.partition('?')[0]}?{name}=1&{name}=1", headers={"If-Match": "*"})
        codes = [error["code"] for error in answer.json().get("errors", [])]
        if is_list:
            assert "repeated_parameter" not in codes, (path, method, name)
        else:
            assert refused(answer, name) == "repeated_parameter", (path, method, name)
            assert answer.json()["errors"][0]["detail"] == f"{name} is given 2 times. Give it once."
        asked[is_list] += 1
    assert asked[False] > 80
    assert asked[True] == 3, "states of plans, and providers of two imports"


@pytest.mark.parametrize("query", ["limit=1&limit=2", "limit=1&limit=1", "ordering=name&ordering=-name&limit=1"])
def test_a_plain_list_is_refused_as_well_to_who_has_it(viewer: Caller, query: str) -> None:
    answer = viewer("get", f"routes/?{query}", headers={"If-None-Match": "*"})
    assert refused(answer, query.partition("=")[0]) == "repeated_parameter"


def test_all_that_is_wrong_with_a_query_is_told_at_once(viewer: Caller) -> None:
    body = problem(viewer("get", "audit/?x/y~=1&actor=a&actor=b&since=2026-01-01T00:00:00Z"), 422, "invalid")
    assert [(error["pointer"], error["code"]) for error in body["errors"]] == [
        ("/x~1y~0", "unknown_key"),
        ("/actor", "repeated_parameter"),
    ]


def test_what_was_seen_is_asked_for_before_parameters_are_looked_at(editor: Caller, org: Organization) -> None:
    url = f"routes/{a_route(org).uid}/?dryrun=1"
    problem(editor("delete", url, seen=None), 428, "precondition_required")
    assert refused(editor("delete", url, seen='"r0"'), "dryrun") == "unknown_key"


def lists() -> list[str]:
    found = [path for path, method, name, _ in parameters() if (method, name) == ("GET", "search")]
    assert len(found) > 5
    return found


def test_a_search_has_so_many_words_and_characters(org: Organization) -> None:
    staff = callers(org, an_org("other"))["staff"].client
    for path in lists():
        url = path.replace("{org}", org.slug)
        for words in (["x"] * MAX_WORDS, ["x" * MAX_SEARCH], ['"' + " x" * (MAX_SEARCH // 2 - 1) + '"']):
            assert staff.get(url, {"search": " ".join(words)}).status_code == 200, (path, words)
        for words in (
            ["x"] * (MAX_WORDS + 1),
            [",".join("x" * (MAX_WORDS + 1))],
            ["x" * (MAX_SEARCH + 1)],
            ["x"] * 1100,
        ):
            assert refused(staff.get(url, {"search": " ".join(words)}), "search") == "out_of_range", (path, words)


def test_text_that_no_database_holds_is_refused_as_the_search(viewer: Caller) -> None:
    assert refused(viewer("get", "routes/?search=%00"), "search") == "null_characters_not_allowed"


def test_the_document_says_how_long_a_search_is() -> None:
    (search,) = [one for one in document()["paths"]["/api/v1/orgs/"]["get"]["parameters"] if one["name"] == "search"]
    assert search["schema"] == {"type": "string", "maxLength": MAX_SEARCH}
    assert f"{MAX_WORDS} at most" in search["description"]


def test_a_filter_that_is_a_list_takes_any_number_of_values(viewer: Caller, org: Organization) -> None:
    a_plan(org)
    many = QueryDict(mutable=True)
    many.setlist("state", ["draft", "applied"] * 450)
    assert len(viewer("get", f"plans/?{many.urlencode()}").json()["results"]) == 1
