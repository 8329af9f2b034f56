"""The compiled table against an obvious matcher that sorts by specificity and tries one pattern after the other."""

import random
import re
from collections import Counter
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.engine import errors, paths
from routes.engine.paths import PathRoute, PathTable

# --- The obvious matcher: it shares no code with the table, not even the reading of patterns --------------------------


def is_unsafe(path: str) -> bool:
    if not path.startswith("/") or any(not "!" <= character <= "~" or character in "#?\\" for character in path):
        return True
    for place in (index for index, character in enumerate(path) if character == "%"):
        digits = path[place + 1 : place + 3]
        if len(digits) < 2 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
            return True
        if int(digits, 16) < 32 or int(digits, 16) in (0x7F, ord("/"), ord("\\")):
            return True
    segments = path.lower().replace("%2e", ".").split("/")
    return any(segment.split(";")[0] in (".", "..") for segment in segments)


def specificity(pattern: str) -> tuple[int, ...]:
    segments = [segment for segment in pattern.split("/") if segment]
    parameters = sum(segment.startswith(":") for segment in segments)
    star = segments[-1] if segments and segments[-1] in ("*", "**") else ""
    kind = 1 if parameters else 2 if star else 0
    return kind, -len(segments), ["", "*", "**"].index(star), parameters + bool(star) - len(segments), -len(pattern)


def as_regex(pattern: str) -> str:
    regex = ""
    for segment in pattern.split("/")[1:]:
        if segment == "*":
            regex += "/(?P<star>.*)"
        elif segment == "**":
            regex += "(?:/(?P<star>.*))?"
        elif segment.startswith(":"):
            regex += f"/(?P<_{segment[1:]}>[^/]+)"
        else:
            regex += "/" + re.escape(segment.replace("\\:", ":").replace("\\*", "*"))
    return regex


def takes(route: PathRoute, method: str) -> bool:
    return not route.methods or method in route.methods or (method == "HEAD" and "GET" in route.methods)


def obvious_answer(routes: list[PathRoute], path: str, method: str, headers: dict[str, Any]) -> tuple[Any, ...]:
    if is_unsafe(path):
        return ("unsafe",)
    fitting = []
    for route in sorted((route for route in routes if route.enabled), key=lambda route: specificity(route.pattern)):
        if found := re.fullmatch(as_regex(route.pattern), path, re.DOTALL):
            fitting.append((route, found.groupdict()))
    for route, groups in fitting:
        sent = {name.lower(): [values] if isinstance(values, str) else values for name, values in headers.items()}
        wanted = (route.headers or {}).items()
        if takes(route, method) and all(set(values) & set(sent.get(name, ())) for name, values in wanted):
            params = {name[1:]: unquote(text) for name, text in groups.items() if name != "star"}
            remainder = (groups["star"] or "") if "star" in groups else None
            return "matched", route.pattern, route.target_url, params, remainder
    if fitting and not any(takes(route, method) for route, _ in fitting):
        allow = {method for route, _ in fitting for method in route.methods or ()}
        return "not allowed", tuple(sorted(allow | ({"HEAD"} if "GET" in allow else set())))
    return ("no match",)


def answer(table: PathTable, path: str, method: str, headers: dict[str, Any]) -> tuple[Any, ...]:
    try:
        match = table.match(path, method, headers)
    except errors.UnsafePath:
        return ("unsafe",)
    except errors.MethodNotAllowed as error:
        return "not allowed", error.allow
    return ("no match",) if match is None else ("matched", *match)


# --- Chance -----------------------------------------------------------------------------------------------------------

LITERALS = [
    "a",
    "b",
    "a",
    "b",
    "ab",
    "A",
    "",
    "a.b",
    "...",
    ".a",
    "%41",
    "%C3%A9",
    "\\:a",
    "\\*",
    "a\\:b",
    "~",
    "@b",
    "a;b",
]
STRANGE = [
    "..",
    ".",
    "%2e",
    ".%2E",
    "a%2fb",
    "%5C",
    "\\",
    "%",
    "%zz",
    "%00",
    "%7f",
    "é",
    "a b",
    "?",
    "#",
    "..;x",
    "\ud800",
]
METHODS = ["GET", "POST", "HEAD", "PUT"]
TIERS = ["gold", "free"]


def some_pattern(chance: random.Random) -> str:
    segments = []
    for index in range(chance.choice([1, 1, 2, 2, 2, 3, 3, 4, 6])):
        segments.append(f":p{index}" if chance.random() < 0.35 else chance.choice(LITERALS))
    if chance.random() < 0.35:
        segments.append(chance.choice(["*", "**"]))
    elif chance.random() < 0.1:
        segments = [chance.choice(["*", "**", ""])]
    return "/" + "/".join(segments)


def some_table(chance: random.Random) -> list[PathRoute]:
    asks = chance.random() < 0.5
    return [
        PathRoute(
            some_pattern(chance),
            f"https://upstream-{number}.example/base",
            methods=chance.sample(METHODS, chance.randint(1, 2)) if asks and chance.random() < 0.4 else None,
            headers={"x-tier": chance.sample(TIERS, 1)} if asks and chance.random() < 0.2 else None,
            enabled=chance.random() < 0.9,
        )
        for number in range(chance.choice([0, 1, 2, 5, 10, 20, 40]))
    ]


def some_path(chance: random.Random, routes: list[PathRoute]) -> str:
    """One that a pattern takes, often; with an edge changed or something strange in it, now and then."""
    pattern = chance.choice(routes).pattern if routes and chance.random() < 0.8 else some_pattern(chance)
    segments = []
    for segment in pattern.split("/")[1:]:
        if segment.startswith(":"):
            segments.append(chance.choice(["a", "b", "ab", "42", "%C3%A9", "%25%32%65", "%ff", "", "*"]))
        elif segment in ("*", "**"):
            segments += chance.choices(["a", "b", "", "@b", "%20"], k=chance.randint(0, 3))
        else:
            segments.append(segment.replace("\\", ""))
    while chance.random() < 0.15 and segments:
        change, place = chance.random(), chance.randrange(len(segments))
        if change < 0.3:
            segments[place] = chance.choice(STRANGE)
        elif change < 0.6:
            segments.insert(place, chance.choice(["", "a", "b"]))
        elif change < 0.8:
            del segments[place]
        else:
            segments.append("")
    return chance.choice([""] + ["/"] * 99) + "/".join(segments)


def disagreement(chance: random.Random, seen: Counter[str]) -> str | None:
    """One table, both as it is compiled and as one whose patterns overlap too much, and twenty requests: what the table
    and the obvious matcher answer differently, None where they agree. Counts the kinds of answers."""
    routes = some_table(chance)
    table = PathTable(routes)
    with patch.object(paths, "_MOST_STATES_PER_SEGMENT", -1_000_000):
        overlapping = PathTable(routes)
    seen["tables that are states"] += table._first is not None and overlapping._first is None
    for _ in range(20):
        path = some_path(chance, routes)
        method = chance.choice([*METHODS, "GET", "DELETE"])
        headers = chance.choice([{}, {"X-Tier": "gold"}, {"x-tier": ["free", "gold"]}, {"x-tier": "other"}])
        expected = obvious_answer(routes, path, method, headers)
        for form in (table, overlapping):
            got = answer(form, path, method, headers)
            if got != expected:
                return f"{method} {path!r} {headers}: {got}, not {expected}, of {routes}"
        seen[expected[0]] += 1
    return None


def test_the_table_answers_as_the_obvious_matcher_does() -> None:
    chance, seen = random.Random(20261121), Counter[str]()
    for _ in range(400):
        assert disagreement(chance, seen) is None
    assert seen.pop("tables that are states") > 200
    assert seen.total() == 8_000
    assert all(seen[kind] > 200 for kind in ("matched", "no match", "unsafe", "not allowed")), seen


# --- Whatever the text ------------------------------------------------------------------------------------------------

CHARACTERS = st.characters(exclude_categories=())
PIECES = [
    "/",
    "/",
    "..",
    ".",
    "%2e",
    "%2F",
    "%5c",
    "%",
    "\\",
    ":id",
    "*",
    "**",
    "a",
    "@evil",
    "//evil.example",
    "é",
    ";",
    "?",
]
anything = st.text(CHARACTERS) | st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
TARGETS = ["https://u.internal", "http://u.internal:8080/base/?key=1", "https://[::1]:8443/a//"]
EVERYTHING = [
    PathTable.from_mapping({"/**": target, "/:one/*": target, "/:one/:two": target, "/a": target}) for target in TARGETS
]


@given(st.sampled_from(EVERYTHING), anything | anything.map("/{}".format), st.text("GET", max_size=4))
def test_a_match_raises_only_its_two_refusals_and_never_leaves_its_upstream(
    table: PathTable, path: str, method: str
) -> None:
    try:
        match = table.match(path, method)
    except (errors.UnsafePath, errors.MethodNotAllowed):
        return
    assert match is not None  # `/**` takes every safe path
    url, target = urlsplit(match.url("q=1")), urlsplit(match.target_url)
    assert (url.scheme, url.netloc) == (target.scheme, target.netloc)
    assert url.path.startswith(target.path.removesuffix("/"))
    assert url.query.endswith("q=1")
    assert not {".", ".."} & set(unquote(url.path).split("/"))


@given(anything, anything)
def test_whatever_is_no_pattern_or_target_is_an_issue(pattern: str, target_url: str) -> None:
    for texts in ((pattern, "https://u.internal"), ("/a", target_url), (f"/{pattern}", f"https://{target_url}")):
        try:
            route = PathRoute(*texts)
        except errors.InvalidRoute:
            continue
        assert PathRoute.from_dict(route.to_dict()) == route
        assert urlsplit(route.target_url).hostname
        PathTable([route])


@given(st.text(CHARACTERS))
def test_a_query_is_sent_as_it_is_or_refused(query: str) -> None:
    match = EVERYTHING[0].match("/a")
    assert match is not None
    try:
        url = match.url(query)
    except errors.UnsafePath:
        assert any(not "!" <= character <= "~" or character == "#" for character in query)
    else:
        assert url == ("https://u.internal?" + query).removesuffix("?") or query.endswith("?")


@pytest.mark.parametrize("letters", [2, 3])
def test_patterns_that_overlap_in_every_way_are_matched_as_well(letters: int) -> None:
    # Every pattern has one literal segment; a path can agree with any choice of them, which is a power of states.
    routes = []
    for place in range(12):
        for letter in range(letters):
            segments = [f":p{index}" for index in range(12)]
            segments[place] = f"{letter}"
            routes.append(PathRoute("/" + "/".join(segments), f"https://u-{place}-{letter}.internal"))
    table = PathTable(routes)
    assert table._first is None
    chance = random.Random(1)
    for _ in range(200):
        path = "/" + "/".join(str(chance.randrange(letters + 3)) for _ in range(12))
        assert answer(table, path, "GET", {}) == obvious_answer(routes, path, "GET", {})
