"""Strict reading and writing of path routes and services: every issue at once, each with its path and code."""

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from routes.engine import Document, Engine
from routes.engine.errors import InvalidRoute
from routes.engine.paths import PathRoute, PathTable, Service, Timeouts, load_service
from tests.routes.engine.build import ORG, json_values

TARGET = "https://upstream.internal"


def raw_path(**changes: Any) -> dict[str, Any]:
    return {"pattern": "/a", "target_url": TARGET} | changes


def raw_service(**changes: Any) -> dict[str, Any]:
    return {"slug": "chat", "enabled": True, "timeouts": {}, "paths": [raw_path()]} | changes


def issues_of(read: Any, raw: Any) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRoute) as caught:
        read(raw)
    assert all(issue["message"] and set(issue) == {"path", "code", "message"} for issue in caught.value.issues)
    return [(issue["path"], issue["code"]) for issue in caught.value.issues]


# --- Path routes ------------------------------------------------------------------------------------------------------

REFUSED: list[tuple[Any, str, str]] = [
    ([], "", "wrong_type"),
    (raw_path(target="x"), "target", "unknown_key"),
    ({"target_url": TARGET}, "pattern", "missing"),
    ({"pattern": "/a"}, "target_url", "missing"),
    (raw_path(pattern=None), "pattern", "wrong_type"),
    (raw_path(pattern=""), "pattern", "blank_value"),
    (raw_path(pattern="/a\n"), "pattern", "unsupported_value"),
    (raw_path(pattern="/" + "a" * 1_024), "pattern", "out_of_range"),
    (raw_path(target_url=["https://u"]), "target_url", "wrong_type"),
    (raw_path(target_url=" "), "target_url", "blank_value"),
    (raw_path(target_url="https://u/" + "a" * 2_039), "target_url", "out_of_range"),
    (raw_path(methods="GET"), "methods", "wrong_type"),
    (raw_path(methods=["GET", 1]), "methods[1]", "wrong_type"),
    (raw_path(methods=["GET", "GET"]), "methods[1]", "duplicate_value"),
    (raw_path(methods=["GET", "post"]), "methods[1]", "unsupported_value"),
    (raw_path(methods=["GET "]), "methods[0]", "unsupported_value"),
    (raw_path(methods=["*"]), "methods[0]", "unsupported_value"),
    (raw_path(headers=[]), "headers", "wrong_type"),
    (raw_path(headers={"x-tier": "gold"}), "headers.x-tier", "wrong_type"),
    (raw_path(headers={"x-tier": []}), "headers.x-tier", "no_effect"),
    (raw_path(headers={"x-tier": ["gold", ""]}), "headers.x-tier[1]", "blank_value"),
    (raw_path(headers={"X-Tier": ["gold"]}), "headers.X-Tier", "unsupported_value"),
    (raw_path(headers={"x tier": ["gold"]}), "headers.x tier", "unsupported_value"),
    (raw_path(enabled=1), "enabled", "wrong_type"),
    (raw_path(enabled=None), "enabled", "wrong_type"),
]


@pytest.mark.parametrize(("raw", "path", "code"), REFUSED)
def test_a_path_route_with_one_fault_has_one_issue(raw: Any, path: str, code: str) -> None:
    assert issues_of(PathRoute.from_dict, raw) == [(path, code)]


@pytest.mark.parametrize(
    "pattern",
    ["a", "*", " /a", "/a b", "/é", "/a?b", "/a#b", "/a%", "/a%2", "/a%2fb", "/a%5Cb", "/a\\b", "/a\\", "/\\a", "/%00",
     "/.", "/..", "/../*", "/a/../b", "/a/%2E%2e", "/a/..;/*",
     "/*/a", "/**/a", "/a*", "/*a", "/***", "/a/b*", "/*/*", "/a/*/", "/\\**",
     "/:", "/:1", "/:a-b", "/:a:b", "/:é", "/a:b", "/v1/models:generate", "/:a/:a", "/:a*", "/:a.json"],
)  # fmt: skip
def test_what_is_no_pattern_or_fits_no_safe_path_is_refused(pattern: str) -> None:
    assert issues_of(PathRoute.from_dict, raw_path(pattern=pattern)) == [("pattern", "bad_pattern")]


@pytest.mark.parametrize(
    "target_url",
    ["u", "/u", "//u", "ftp://u", "HTTP://u", "Https://u", "javascript:alert(1)", "https:u", "https:/u", "https://",
     "https:///a", "https://?a", "https://:80", "https://:80/a", "https://#",
     "https://user@u", "https://user:pass@u", "https://@u", "https://u@", "https://a@b@u/",
     "https://u:", "https://u:0", "https://u:00", "https://u:080", "https://u:65536", "https://u:99999", "https://u:-1",
     "https://u:8x", "https://u:1:2", "https://u: 80", "https://u:１", "https://u:123456",
     "https://[", "https://[]", "https://[::1", "https://::1", "https://[::1]x", "https://[1.2.3.4]", "https://[::1%25lo]",
     "https://[::1]:0", "https://[v1.x]", "https://u]",
     "https://a..b", "https://.u", "https://-u", "https://u-", "https://u..", "https://u%2e", "https://a,b", "https://*.u",
     "https://" + "a" * 64, "https://" + "a." * 127 + "a", "https://bücher.example",
     "https://u/a b", "https://u/é", "https://u\\@evil", "https://u/\\a", "https://u/a#", "https://u/?a#b", "https://u /",
     "https://u/..", "https://u/a/../b", "https://u/./a", "https://u/%2e%2e/a", "https://u/%", "https://u/%zz",
     "https://u/*", "https://u/a*b", "https://u/:id", "https://u/a/:id/b"],
)  # fmt: skip
def test_what_is_no_absolute_url_of_an_upstream_is_refused(target_url: str) -> None:
    assert issues_of(PathRoute.from_dict, raw_path(target_url=target_url)) == [("target_url", "unsupported_value")]


@pytest.mark.parametrize(
    "target_url",
    ["http://u", "https://U.Example.", "http://localhost:3000", "https://u:1", "https://u:65535/", "https://my_service-1",
     "http://127.0.0.1:8080/a", "http://[::1]", "https://[2001:db8::1]:8443/a?b", "https://xn--bcher-kva.example",
     "https://u/a%2Fb/c:d/@e//f", "https://u?a=*&b=:c/../d?e", "https://u/?", "https://" + "a" * 63 + ".example"],
)  # fmt: skip
def test_an_absolute_url_of_an_upstream_is_a_target(target_url: str) -> None:
    assert PathRoute.from_dict(raw_path(target_url=target_url)).target_url == target_url


@pytest.mark.parametrize(
    ("target_url", "word"),
    [("https://key@u", "credentials"), ("https://u:key@u", "credentials"), ("https://u/#", "fragment"),
     ("https://u:0", "port"), ("https://", "host"), ("ftp://u", "http://"), ("https://u/*", "star")],
)  # fmt: skip
def test_the_issue_says_what_is_wrong_with_a_target(target_url: str, word: str) -> None:
    with pytest.raises(InvalidRoute, match=word):
        PathRoute("/a", target_url)


def test_all_issues_are_reported_at_once() -> None:
    raw = {
        "pattern": "a",
        "target_url": "ftp://u",
        "methods": ["get", 5],
        "headers": {"X": ["a"]},
        "enabled": 0,
        "x": 1,
    }
    assert issues_of(PathRoute.from_dict, raw) == [
        ("x", "unknown_key"),
        ("pattern", "bad_pattern"),
        ("target_url", "unsupported_value"),
        ("methods[1]", "wrong_type"),
        ("methods[0]", "unsupported_value"),
        ("headers.X", "unsupported_value"),
        ("enabled", "wrong_type"),
    ]


@pytest.mark.parametrize(
    "raw",
    [
        raw_path(),
        raw_path(methods=["POST", "GET"]),
        raw_path(headers={"a": ["z", "b"], "x-tier": ["gold"]}),
        raw_path(enabled=False),
        raw_path(pattern=r"/\:x\*/:x/**", target_url="https://u:1/a?b", methods=["M-SEARCH"], enabled=False),
    ],
)
def test_what_is_canonical_is_written_as_it_was_read(raw: dict[str, Any]) -> None:
    assert json.dumps(PathRoute.from_dict(raw).to_dict()) == json.dumps(raw)


def test_defaults_are_left_out_when_written() -> None:
    assert PathRoute.from_dict(raw_path(methods=[], headers={}, enabled=True)).to_dict() == raw_path()
    assert PathRoute.from_dict(raw_path(methods=None, headers=None)).to_dict() == raw_path()


def test_built_in_code_a_path_route_is_the_same_and_nothing_is_too_long() -> None:
    built = PathRoute("/a", TARGET, methods={"POST", "GET"}, headers={"x-a": "1", "x-b": ("2", "3")}, enabled=False)  # type: ignore[arg-type]
    assert built.to_dict() == raw_path(
        methods=["GET", "POST"], headers={"x-a": ["1"], "x-b": ["2", "3"]}, enabled=False
    )
    assert built == PathRoute.from_dict(built.to_dict())
    assert hash(built) == hash(PathRoute.from_dict(built.to_dict()))
    assert PathRoute("/" + "a" * 5_000, TARGET).to_dict()["pattern"] == "/" + "a" * 5_000


#: Keys are the constructor's business, lengths have no limit in code, and one value of a header needs no list.
IN_CODE = [
    (raw, path, code)
    for raw, path, code in REFUSED
    if path and code not in ("unknown_key", "missing", "out_of_range") and path != "headers.x-tier"
]


@pytest.mark.parametrize(("raw", "path", "code"), IN_CODE)
def test_built_in_code_a_path_route_has_the_same_faults(raw: dict[str, Any], path: str, code: str) -> None:
    assert issues_of(lambda raw: PathRoute(**raw), raw) == [(path, code)]


def test_a_path_route_cannot_be_changed_and_can_be_replaced() -> None:
    route = PathRoute("/a", TARGET)
    with pytest.raises(AttributeError):
        route.pattern = "/b"  # type: ignore[misc]
    assert PathTable([replace(route, pattern="/b")]).match("/b") is not None
    with pytest.raises(InvalidRoute):
        replace(route, pattern="b")


# --- Services ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "path", "code"),
    [
        (None, "", "wrong_type"),
        ({"paths": []}, "slug", "missing"),
        (raw_service(hosts=[]), "hosts", "unknown_key"),
        (raw_service(slug=1), "slug", "wrong_type"),
        (raw_service(slug=""), "slug", "blank_value"),
        *[
            (raw_service(slug=slug), "slug", "unsupported_value")
            for slug in ("a", "Chat", "1a", "-a", "a_b", "a/b", "a b", "é2", "a" * 64, "chat\u2028")
        ],
        (raw_service(enabled="yes"), "enabled", "wrong_type"),
        (raw_service(timeouts=5), "timeouts", "wrong_type"),
        (raw_service(timeouts={"total_seconds": 5}), "timeouts.total_seconds", "unknown_key"),
        (raw_service(timeouts={"idle_seconds": "5"}), "timeouts.idle_seconds", "wrong_type"),
        (raw_service(timeouts={"idle_seconds": True}), "timeouts.idle_seconds", "wrong_type"),
        (raw_service(timeouts={"idle_seconds": float("nan")}), "timeouts.idle_seconds", "not_finite"),
        (raw_service(timeouts={"idle_seconds": float("inf")}), "timeouts.idle_seconds", "not_finite"),
        (raw_service(timeouts={"connect_seconds": 0}), "timeouts.connect_seconds", "out_of_range"),
        (raw_service(timeouts={"connect_seconds": -0.5}), "timeouts.connect_seconds", "out_of_range"),
        (raw_service(timeouts={"first_byte_seconds": 3600.5}), "timeouts.first_byte_seconds", "out_of_range"),
        (raw_service(timeouts={"first_byte_seconds": 10**400}), "timeouts.first_byte_seconds", "out_of_range"),
        (raw_service(paths={}), "paths", "wrong_type"),
        (raw_service(paths=None), "paths", "wrong_type"),
        (raw_service(paths=[raw_path(), "/a"]), "paths[1]", "wrong_type"),
        (raw_service(paths=[raw_path(), raw_path(methods=[])]), "paths[1]", "duplicate_value"),
        (raw_service(paths=[raw_path(), raw_path(pattern="a")]), "paths[1].pattern", "bad_pattern"),
        (raw_service(paths=[raw_path(headers={"x": [1]})]), "paths[0].headers.x[0]", "wrong_type"),
        (raw_service(paths=[raw_path(pattern=f"/{n}") for n in range(501)]), "paths", "too_many"),
    ],
)
def test_a_service_with_one_fault_has_one_issue(raw: Any, path: str, code: str) -> None:
    assert issues_of(Service.from_dict, raw) == [(path, code)]


def test_all_issues_of_a_service_are_reported_at_once() -> None:
    raw = {"slug": "?", "timeouts": {"idle_seconds": 0}, "paths": [raw_path(pattern="a"), {"target_url": "u"}]}
    assert issues_of(Service.from_dict, raw) == [
        ("slug", "unsupported_value"),
        ("timeouts.idle_seconds", "out_of_range"),
        ("paths[0].pattern", "bad_pattern"),
        ("paths[1].pattern", "missing"),
        ("paths[1].target_url", "unsupported_value"),
    ]


def test_a_service_is_written_as_it_was_read_with_all_four_keys() -> None:
    timeouts = {"connect_seconds": 0.25, "first_byte_seconds": 3600, "idle_seconds": 60}
    for raw in (
        raw_service(),
        raw_service(enabled=False, timeouts=timeouts, paths=[raw_path(pattern="/b"), raw_path()]),
    ):
        assert Service.from_dict(raw).to_dict() == raw
    assert Service.from_dict({"slug": "chat"}).to_dict() == raw_service(paths=[])
    assert Service.from_dict(raw_service(timeouts={"idle_seconds": 5.0, "connect_seconds": None})).to_dict()[
        "timeouts"
    ] == {"idle_seconds": 5}


def test_a_service_built_in_code_takes_values_and_objects() -> None:
    built = Service("chat", timeouts=Timeouts(idle_seconds=5), paths=[PathRoute("/a", TARGET)])  # type: ignore[arg-type]
    assert built == Service("chat", timeouts={"idle_seconds": 5}, paths=[raw_path()])  # type: ignore[arg-type, list-item]
    assert hash(built) == hash(pickle.loads(pickle.dumps(built)))
    for wrong in (Timeouts(), 5):
        with pytest.raises(InvalidRoute):
            Service("chat", paths=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidRoute):
        Timeouts(idle_seconds=0)
    with pytest.raises(InvalidRoute):
        Service("Chat")


def test_a_service_matches_by_its_paths_in_their_order() -> None:
    first, second = raw_path(pattern="/:x", target_url="https://1"), raw_path(pattern="/:y", target_url="https://2")
    for paths in ([first, second], [second, first]):
        found = Service.from_dict(raw_service(paths=paths)).table.match("/a")
        assert found is not None
        assert found.target_url == paths[0]["target_url"]


def test_a_load_accepts_twice_as_much() -> None:
    raw = raw_service(
        paths=[raw_path(pattern=f"/{n}" + "a" * 2_000, target_url="https://u/" + "a" * 4_000) for n in range(3)]
    )
    raw["paths"] += [raw_path(pattern=f"/{n}") for n in range(997)]
    assert len(load_service(raw).paths) == 1_000
    assert len(issues_of(Service.from_dict, raw | {"paths": raw["paths"][:10]})) == 6
    assert issues_of(load_service, raw | {"paths": raw["paths"] + [raw_path()]}) == [("paths", "too_many")]


def test_an_engine_has_the_services_of_its_document() -> None:
    content = {"default": None, "routes": [], "services": [raw_service(), raw_service(slug="files", enabled=False)]}
    engine = pickle.loads(pickle.dumps(Engine.from_document(Document.build(content, ORG, "acme", 1))))
    assert [service.to_dict() for service in engine.services.values()] == content["services"]
    assert engine.services["chat"].table.match("/a").target_url == TARGET


@given(json_values)
def test_any_json_is_read_or_refused(raw: Any) -> None:
    for read in (PathRoute.from_dict, Service.from_dict, load_service):
        for value in (
            raw,
            raw_path(pattern=raw),
            raw_service(paths=[raw]),
            raw_service(timeouts=raw),
            raw_path(headers=raw),
        ):
            try:
                read(value)
            except InvalidRoute as error:
                found = error
            else:
                continue
            assert found.issues
