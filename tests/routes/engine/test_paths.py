"""Which upstream a path belongs to, and the URL that it leads to."""

import json
import pickle
from contextlib import suppress
from typing import Any

import pytest

from routes.engine.errors import InvalidRoute, MethodNotAllowed, UnsafePath
from routes.engine.path_patterns import join_url
from routes.engine.paths import PathMatch, PathRoute, PathTable
from tests.paths import shared

UPSTREAM = "https://upstream.internal"


def table(*patterns: str) -> PathTable:
    return PathTable([PathRoute(pattern, UPSTREAM) for pattern in patterns])


def taken_by(found: PathMatch | None) -> str | None:
    return None if found is None else found.pattern


def refusal(reason: type[Exception], path_table: PathTable, *request: Any) -> Any:
    with pytest.raises(reason) as caught:
        path_table.match(*request)
    return caught.value


# --- The shared cases -------------------------------------------------------------------------------------------------


def path_cases(kind: str) -> list[Any]:
    cases = json.loads(shared("cases/paths.json").read_text(encoding="utf-8"))[kind]
    return [pytest.param(case, id=case["id"]) for case in cases]


@pytest.mark.parametrize("case", path_cases("match"))
def test_the_expected_pattern_takes_the_path(case: dict[str, Any]) -> None:
    found = PathTable([PathRoute(*pair) for pair in case["routes"]]).match(case["path"])
    expected = case["expect"]
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.pattern, found.target_url, found.remainder) == (
        expected["pattern"], expected["target"], expected["wildcard"],
    )  # fmt: skip
    assert found.url() == expected.get("url", found.url())


@pytest.mark.parametrize("case", path_cases("build_url"))
def test_target_and_what_the_wildcard_took_make_the_expected_url(case: dict[str, Any]) -> None:
    # Of a match, what the star took follows the slash before the star, so a slash of its own is a second one: see the
    # table of URLs below. The cases give the wildcard bare, or with the one slash that joins it.
    assert join_url(case["target"], case["wildcard"]) == case["expect"]


#: The words of the cases in our codes.
CODES = {
    "not_object": "wrong_type",
    "empty": "no_effect",
    "target_not_string": "wrong_type",
    "target_not_url": "unsupported_value",
    "target_scheme": "unsupported_value",
}


@pytest.mark.parametrize("case", path_cases("validate"))
def test_a_mapping_of_targets_is_accepted_or_refused_as_expected(case: dict[str, Any]) -> None:
    if case["expect"] == "ok":
        assert len(PathTable.from_mapping(case["value"]).routes) == len(case["value"])
        return
    with pytest.raises(InvalidRoute) as caught:
        PathTable.from_mapping(case["value"])
    (issue,) = caught.value.issues
    assert issue["code"] == CODES[case["expect"]]
    assert issue["path"] == (next(iter(case["value"])) if case["expect"].startswith("target") else "")


# --- Patterns ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "taken", "not_taken"),
    [
        ("/", ["/"], ["//", "/a"]),
        ("/a", ["/a"], ["/a/", "/A", "//a", "/%61", "/ab", "/a/b"]),
        ("/a/", ["/a/"], ["/a", "/a//"]),
        ("/a//b", ["/a//b"], ["/a/b", "/a///b"]),
        ("/%c3%a9", ["/%c3%a9"], ["/%C3%A9"]),
        ("/a+b(c)|$", ["/a+b(c)|$"], ["/aab(c)|$", "/a"]),
        ("/:x", ["/a", "/%20", "/:x", "/*", "/..."], ["/", "/a/", "/a/b", "//"]),
        ("/a/:x/b", ["/a/1/b"], ["/a//b", "/a/b", "/a/1/2/b"]),
        ("/a/*", ["/a/", "/a/b", "/a/b/c", "/a//", "/a//b"], ["/a", "/ab", "/b/"]),
        ("/a/**", ["/a", "/a/", "/a/b", "/a/b/c", "/a//b"], ["/ab", "/"]),
        ("/*", ["/", "/a", "//", "/a/b/"], []),
        ("/**", ["/", "/a", "//", "/a/b/"], []),
        ("/:x/*", ["/a/", "/a/b/c"], ["/a", "//a", "/"]),
        ("/:x/**", ["/a", "/a/", "/a/b/c"], ["//a", "/"]),
        (r"/\:x/\*", ["/:x/*"], ["/a/b", r"/:x/a"]),
        (r"/v1/models\:\*", ["/v1/models:*"], ["/v1/models:a"]),
    ],
)
def test_a_pattern_takes_these_paths_and_not_those(pattern: str, taken: list[str], not_taken: list[str]) -> None:
    one = table(pattern)
    assert [path for path in taken if one.match(path) is None] == []
    assert [path for path in not_taken if one.match(path) is not None] == []


@pytest.mark.parametrize(
    ("path", "most_specific_first"),
    [
        # all literal, then with a parameter (a star beside it or not), then with a star only
        ("/a/b/c", ["/a/b/c", "/:x/*", "/a/b/*"]),
        # more segments, of which empty ones are none and a star is one
        ("/a/b/c", ["/a/:x/*", "/:x/**", "/a/*"]),
        ("/a/b/c", ["/a/b/**", "/a/*", "/*"]),
        ("/a/b/", ["/:x/b/*", "/:x/b/", "/:x/:y/"]),
        ("/a//b", ["/:x/*", "/a//**"]),
        ("/a//b", ["/a/*", "/a//**"]),
        ("/a/b", ["/:x/b/**", "/:x/b"]),
        # without star, with one, with two
        ("/a/b", ["/a/:y/**", "/:x/:y"]),
        ("/a/b", ["/a/:y", "/:x/*", "/:x/**"]),
        ("/a/b", ["/a/*", "/a/**", "/*", "/**"]),
        # more literal segments
        ("/a/b/c", ["/a/:xxxxxx/c", "/:x/b/c", "/:xx/:yyyyyyyyyyyy/c"]),
        # the longer text
        ("/a/b", ["/a/:long", "/a/:x"]),
        ("/a//b", ["/a//*", "/a/*"]),
    ],
)
def test_the_more_specific_pattern_wins_wherever_it_stands(path: str, most_specific_first: list[str]) -> None:
    for count in range(len(most_specific_first), 0, -1):
        rest = most_specific_first[-count:]
        assert taken_by(table(*rest).match(path)) == rest[0]
        assert taken_by(table(*reversed(rest)).match(path)) == rest[0]


@pytest.mark.parametrize("patterns", [("/a", "/a"), ("/:x", "/:y"), ("/a/*", "/a/*")])
def test_of_equal_patterns_the_first_wins(patterns: tuple[str, str]) -> None:
    routes = [PathRoute(pattern, f"https://{number}.internal") for number, pattern in enumerate(patterns)]
    for order in (routes, routes[::-1]):
        found = PathTable(order).match("/a/" if "*" in patterns[0] else "/a")
        assert found is not None
        assert found.target_url == order[0].target_url


@pytest.mark.parametrize(
    ("pattern", "path", "params", "remainder"),
    [
        ("/a", "/a", {}, None),
        ("/:x", "/b", {"x": "b"}, None),
        ("/:x/:y", "/b/c", {"x": "b", "y": "c"}, None),
        ("/a/:x/b/:y/c", "/a/1/b/2/c", {"x": "1", "y": "2"}, None),
        ("/:x", "/%C3%A9%20%3f", {"x": "é ?"}, None),
        ("/:x", "/%252e%252E", {"x": "%2e%2E"}, None),  # decoded once
        ("/:x", "/+%2B", {"x": "++"}, None),  # a plus is no space outside a form
        ("/:x", "/%ff", {"x": "\ufffd"}, None),
        ("/:x/*", "/b/c/d", {"x": "b"}, "c/d"),
        ("/:x/*", "/b/", {"x": "b"}, ""),
        ("/:x/*", "/%41/%41", {"x": "A"}, "%41"),  # what the star took is raw
        ("/:x/**", "/b", {"x": "b"}, ""),
        ("/:x/**", "/b/", {"x": "b"}, ""),
        ("/:x/**", "/b//c", {"x": "b"}, "/c"),
        ("/a/*", "/a/b//c/", {}, "b//c/"),
        ("/a/*", "/a//b", {}, "/b"),
        ("/a/**", "/a", {}, ""),
        ("/a/**", "/a/b", {}, "b"),
        (r"/\*/*", "/*/b", {}, "b"),
        ("/*", "//evil.example", {}, "/evil.example"),
    ],
)
def test_a_match_says_what_parameters_and_star_took(
    pattern: str, path: str, params: dict[str, str], remainder: str | None
) -> None:
    assert table(pattern).match(path) == (pattern, UPSTREAM, params, remainder)


# --- Unsafe paths -----------------------------------------------------------------------------------------------------

UNSAFE = [
    "", "a", "*", "http://evil.example/",
    "/.", "/..", "/a/../b", "/a/./b", "/a/..", "/%2e", "/%2E%2e/a", "/.%2E", "/%2e./", "/a/..;/b", "/.;", "/%2e%2e;x/",
    "/a%2fb", "/a%2Fb", "/a%5cb", "/a%5Cb", "/a\\b", "/\\evil.example", "/..%2f", "/..%5c",
    "/%", "/%2", "/%g0", "/%0g", "/%%41", "/% 41",
    "/%00", "/%0a", "/%0D", "/%1f", "/%7F", "/a\x00", "/a\n", "/a\r\nHost: evil", "/\x7f", "/a b",
    "/é", "/\u2028", "/\ud800", "/\u3002", "/\uff0e\uff0e/", "/a?b", "/a#b",
]  # fmt: skip


@pytest.mark.parametrize("path", UNSAFE)
@pytest.mark.parametrize("patterns", [[], ["/**"], ["/:x", "/:x/*", "/a/b"], ["/a/*", "/a", "/"]])
def test_an_unsafe_path_is_refused_whatever_the_table(path: str, patterns: list[str]) -> None:
    error = refusal(UnsafePath, table(*patterns), path)
    assert path not in str(error) or len(path) < 2


@pytest.mark.parametrize(
    "path",
    ["/...", "/.well-known/x", "/a..b/..c/d..", "/.a", "/%2ea", "/%2e%2e%2e", "/%20", "/%25", "/%3f%23", "/~", "/a;b=c",
     "/@evil", "/a:b", "/*", "//", "/[]{}|^`\"<>'", "/%C3%A9", "/%c0%80"],
)  # fmt: skip
def test_a_strange_but_safe_path_is_taken(path: str) -> None:
    assert taken_by(table("/**").match(path)) == "/**"


# --- Methods, headers, enabled ----------------------------------------------------------------------------------------


def test_a_method_that_no_fitting_pattern_takes_is_refused_with_those_that_one_would() -> None:
    routes = PathTable(
        [
            PathRoute("/a/:x", UPSTREAM, methods=["PUT"]),
            PathRoute("/a/*", UPSTREAM, methods=["POST", "DELETE"]),
            PathRoute("/b", UPSTREAM, methods=["PATCH"]),
        ]
    )
    assert refusal(MethodNotAllowed, routes, "/a/1", "GET").allow == ("DELETE", "POST", "PUT")
    assert refusal(MethodNotAllowed, routes, "/a/", "PUT").allow == ("DELETE", "POST")
    assert refusal(MethodNotAllowed, routes, "/a/1", "put").allow == ("DELETE", "POST", "PUT")
    assert refusal(MethodNotAllowed, routes, "/b").allow == ("PATCH",)
    assert routes.match("/c", "GET") is None


@pytest.mark.parametrize("pattern", ["/a", "/:x", "/*"])
def test_a_less_specific_pattern_that_takes_the_method_is_asked_next(pattern: str) -> None:
    routes = PathTable([PathRoute(pattern, UPSTREAM, methods=("POST",)), PathRoute("/**", UPSTREAM)])
    assert taken_by(routes.match("/a", "POST")) == pattern
    assert taken_by(routes.match("/a", "DELETE")) == "/**"


def test_where_get_is_taken_so_is_head() -> None:
    routes = PathTable([PathRoute("/a", UPSTREAM, methods=["GET"]), PathRoute("/b", UPSTREAM, methods=["HEAD"])])
    assert taken_by(routes.match("/a", "HEAD")) == "/a"
    assert refusal(MethodNotAllowed, routes, "/a", "POST").allow == ("GET", "HEAD")
    assert refusal(MethodNotAllowed, routes, "/b", "GET").allow == ("HEAD",)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"x-tier": "gold", "x-region": "eu"}, "/a"),
        ({"X-Tier": "silver", "X-REGION": "eu"}, "/a"),
        ({"x-tier": ["free", "gold"], "x-region": ("eu",)}, "/a"),
        ({"x-tier": "free", "X-Tier": "gold", "x-region": "eu"}, "/a"),
        ({"x-tier": "gold"}, "/:x"),
        ({"x-tier": "gold", "x-region": []}, "/:x"),
        ({"x-tier": "Gold", "x-region": "eu"}, "/:x"),
        ({"x-tier": "gold,free", "x-region": "eu"}, "/:x"),
        ({}, "/:x"),
    ],
)
def test_a_miss_on_headers_leaves_the_path_to_the_next_pattern(headers: dict[str, Any], expected: str) -> None:
    wanted = {"x-tier": ["gold", "silver"], "x-region": ["eu"]}
    routes = PathTable([PathRoute("/:x", UPSTREAM), PathRoute("/a", UPSTREAM, headers=wanted)])
    assert taken_by(routes.match("/a", "GET", headers)) == expected


def test_a_miss_on_headers_alone_is_no_match_and_says_nothing_of_methods() -> None:
    routes = PathTable(
        [
            PathRoute("/a", UPSTREAM, methods=["GET"], headers={"x-tier": ["gold"]}),
            PathRoute("/:x", UPSTREAM, methods=["POST"]),
        ]
    )
    assert taken_by(routes.match("/a", "GET", {"x-tier": "gold"})) == "/a"
    assert routes.match("/a", "GET") is None
    assert refusal(MethodNotAllowed, routes, "/a", "PUT").allow == ("GET", "HEAD", "POST")


def test_a_disabled_route_matches_nothing_and_lends_no_method() -> None:
    routes = PathTable(
        [
            PathRoute("/a", UPSTREAM, enabled=False),
            PathRoute("/:x", UPSTREAM, methods=["PUT"], enabled=False),
            PathRoute("/*", UPSTREAM, methods=["POST"]),
        ]
    )
    assert taken_by(routes.match("/a", "POST")) == "/*"
    assert refusal(MethodNotAllowed, routes, "/a", "PUT").allow == ("POST",)
    assert len(routes.routes) == 3


# --- The URL ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "target_url", "path", "query", "expected"),
    [
        ("/api/users/*", "https://users.internal", "/api/users/123/orders", "", "https://users.internal/123/orders"),
        ("/a/*", "https://u/b", "/a/c", "", "https://u/b/c"),
        ("/a/*", "https://u/b/", "/a/c", "", "https://u/b/c"),
        ("/a/*", "https://u/b//", "/a/c", "", "https://u/b//c"),
        ("/a/*", "https://u/b", "/a//c", "", "https://u/b//c"),
        ("/a/*", "https://u/b", "/a/c//d/", "", "https://u/b/c//d/"),
        ("/a/*", "https://u/b/", "/a/", "", "https://u/b"),
        ("/a/**", "https://u/b/", "/a", "", "https://u/b"),
        ("/a/:x", "https://u/b/", "/a/c", "", "https://u/b"),
        ("/a/:x/*", "https://u/b", "/a/c/d%20e", "", "https://u/b/d%20e"),
        ("/a", "https://u/", "/a", "", "https://u"),
        ("/a", "https://u//", "/a", "", "https://u/"),
        # the target's own query, then the request's
        ("/a/*", "https://u/b?k=v", "/a/c", "", "https://u/b/c?k=v"),
        ("/a/*", "https://u?k=v", "/a/c", "q=1&q=2", "https://u/c?k=v&q=1&q=2"),
        ("/a/*", "https://u/b/?k=v", "/a/", "q", "https://u/b/?k=v&q"),
        ("/a", "https://u/?k=/", "/a", "", "https://u/?k=/"),
        ("/a", "https://u?", "/a", "q=1", "https://u?q=1"),
        ("/a", "https://u/b/", "/a", "q=1", "https://u/b?q=1"),
        ("/a", "https://u", "/a", "q=a+b%20c&&x?y=/:@", "https://u?q=a+b%20c&&x?y=/:@"),
        # nothing in the path reaches host or port
        ("/*", "https://u", "//evil.example/x", "", "https://u//evil.example/x"),
        ("/*", "https://u", "/@evil.example", "", "https://u/@evil.example"),
        ("/*", "https://u:81", "/:80@evil", "", "https://u:81/:80@evil"),
        ("/a/*", "https://u", "/a/https://evil.example/", "", "https://u/https://evil.example/"),
    ],
)
def test_a_url_is_the_target_the_remainder_and_both_queries(
    pattern: str, target_url: str, path: str, query: str, expected: str
) -> None:
    found = PathTable([PathRoute(pattern, target_url)]).match(path)
    assert found is not None
    assert found.url(query) == expected


@pytest.mark.parametrize("query", ["a b", "a#b", "a\nb", "a\r\nHost: evil", "\x00", "é", "\x7f", "\ud800"])
def test_a_query_that_no_request_line_carries_is_refused(query: str) -> None:
    found = table("/a").match("/a")
    assert found is not None
    with pytest.raises(UnsafePath):
        found.url(query)


# --- The table --------------------------------------------------------------------------------------------------------


def test_whoever_changes_a_match_changes_no_other() -> None:
    paths = table("/a", "/:x", "/c/*", "/:x/%20", "/:x/*")
    for path in ("/a", "/b", "/c/d", "/e/%20", "/f/g"):
        before, found = paths.match(path), paths.match(path)
        assert found is not None
        with pytest.raises(AttributeError):
            found.target_url = "https://evil.example"  # type: ignore[misc]
        with suppress(TypeError):
            found.params["x"] = "y"  # type: ignore[index]
        assert paths.match(path) == before


def test_a_table_is_the_same_after_it_was_sent_to_another_process() -> None:
    copy = pickle.loads(pickle.dumps(table("/a", "/:x", "/*")))
    assert copy.routes == table("/a", "/:x", "/*").routes
    assert copy.match("/b") == table("/:x").match("/b")


def test_a_pattern_of_very_many_segments_is_matched() -> None:
    deep = "/a" * 5_000 + "/:x/*"
    assert taken_by(table(deep, "/*").match("/a" * 5_000 + "/b/c")) == deep
    assert taken_by(table(deep, "/*").match("/a" * 5_000 + "/b")) == "/*"


def test_a_mapping_reports_all_that_is_wrong_with_the_pattern_that_has_it() -> None:
    wrong: dict[Any, Any] = {"a": "https://u", "/b": 7, "/c/*/d": "ftp://u", "/e": "https://u", 5: "https://u"}
    with pytest.raises(InvalidRoute) as caught:
        PathTable.from_mapping(wrong)
    assert [(issue["path"], issue["code"]) for issue in caught.value.issues] == [
        ("a", "bad_pattern"),
        ("/b", "wrong_type"),
        ("/c/*/d", "bad_pattern"),
        ("/c/*/d", "unsupported_value"),
        ("5", "wrong_type"),
    ]


def test_a_table_says_how_many_paths_it_has() -> None:
    assert repr(table("/a", "/b/:id")) == "<PathTable paths=2>"
