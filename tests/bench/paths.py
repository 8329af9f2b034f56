"""What finding the upstream of a path costs, beside the routers of web frameworks where they are installed.

Tables of 10, 100 and 1,000 patterns: 70% literal, 20% with one or two parameters, 9% with a star, one `/*`. Everybody
captures what parameters took; the table alone also refuses unsafe paths.
"""

import random
import sys
from collections.abc import Callable, Sequence

from routes.engine.paths import PathRoute, PathTable
from tests.bench.report import Row, held, microseconds, say, tell, times
from tests.bench.timing import race

#: A path → the index of the pattern that takes it, None where none does; or just the call, whose answer is not used.
type Matcher = Callable[[str], object]
type Pattern = tuple[str, ...]
type Racer = Callable[[Sequence[Pattern]], tuple[Matcher, Matcher]]

SIZES = (10, 100, 1_000)
#: At 1,000 patterns, in us.
GOALS_US = {"exact": 0.25, "params": 1.2}
#: At 1,000 patterns, of the time at 100.
GOAL_FLAT = 1.25
WORDS = ["api", "chat", "files", "jobs", "models", "orders", "teams", "users", "v1", "v2"]
PATHS = 64


def some_patterns(count: int) -> list[Pattern]:
    """Different patterns as segments, `/*` the last."""
    chance = random.Random(5)
    patterns: dict[str, Pattern] = {}
    while len(patterns) < count - 1:
        segments = [f"{chance.choice(WORDS)}{chance.randint(0, 30)}" for _ in range(chance.randint(2, 5))]
        share = chance.random()
        if share < 0.2:
            for index in chance.sample(range(1, len(segments)), chance.randint(1, min(2, len(segments) - 1))):
                segments[index] = f":p{index}"
        elif share < 0.29:
            segments[-1] = "*"
        patterns.setdefault("/".join(":" if segment.startswith(":") else segment for segment in segments), (*segments,))
    return [*patterns.values(), ("*",)]


def written(pattern: Pattern, parameter: Callable[[str], str], star: str) -> str:
    """The pattern as others write it, with a slash at its start."""
    names = {"*": star} | {segment: parameter(segment[1:]) for segment in pattern if segment.startswith(":")}
    return "".join("/" + names.get(segment, segment) for segment in pattern)


def is_literal(pattern: Pattern) -> bool:
    return not has_parameter(pattern) and pattern[-1] != "*"


def has_parameter(pattern: Pattern) -> bool:
    return any(segment.startswith(":") for segment in pattern)


# --- The racers: each gives a matcher that answers with an index, and the bare call that is timed ---------------------


def ours(patterns: Sequence[Pattern]) -> tuple[Matcher, Matcher]:
    texts = ["/" + "/".join(pattern) for pattern in patterns]
    index_of = {text: index for index, text in enumerate(texts)}
    match = PathTable([PathRoute(text, "https://upstream.internal/base") for text in texts]).match
    return lambda path: None if (found := match(path)) is None else index_of[found.pattern], match


def werkzeug(patterns: Sequence[Pattern]) -> tuple[Matcher, Matcher]:
    from werkzeug.exceptions import NotFound
    from werkzeug.routing import Map, Rule

    rules = [Rule(written(p, lambda name: f"<{name}>", "<path:rest>"), endpoint=i) for i, p in enumerate(patterns)]
    match = Map(rules).bind("host").match

    def found(path: str) -> object:
        try:
            return match(path)[0]
        except NotFound:
            return None

    return found, found


def falcon(patterns: Sequence[Pattern]) -> tuple[Matcher, Matcher]:
    from falcon.routing import CompiledRouter

    class Resource:
        def __init__(self, index: int) -> None:
            self.index = index

        def on_get(self, request: object, response: object, **parameters: str) -> None: ...

    router = CompiledRouter()
    for index, pattern in enumerate(patterns):
        try:
            router.add_route(written(pattern, "{{{}}}".format, "{rest:path}"), Resource(index))
        except ValueError:
            continue  # it refuses some that overlap; the answers then differ, which is counted
    return lambda path: None if (found := router.find(path)) is None else found[0].index, router.find


def by_specificity(patterns: Sequence[Pattern]) -> list[int]:
    """The order for routers that take the first that fits."""
    return sorted(
        range(len(patterns)),
        key=lambda index: (patterns[index][-1] == "*", has_parameter(patterns[index]), -len(patterns[index])),
    )


def starlette(patterns: Sequence[Pattern]) -> tuple[Matcher, Matcher]:
    from starlette.routing import Match, Route

    routes = [
        (Route(written(patterns[index], "{{{}}}".format, "{rest:path}"), endpoint=lambda request: None), index)
        for index in by_specificity(patterns)
    ]

    def found(path: str) -> object:
        scope = {"type": "http", "path": path, "method": "GET", "root_path": ""}
        for route, index in routes:
            if route.matches(scope)[0] is Match.FULL:
                return index
        return None

    return found, found


def django(patterns: Sequence[Pattern]) -> tuple[Matcher, Matcher]:
    from django.conf import settings
    from django.urls import Resolver404
    from django.urls import path as url_path
    from django.urls.resolvers import RegexPattern, URLResolver

    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__)

    def view(request: object, **parameters: object) -> None: ...

    urls = [
        url_path(written(patterns[index], "<str:{}>".format, "<path:rest>")[1:], view, {"index": index})
        for index in by_specificity(patterns)
    ]
    resolver = URLResolver(RegexPattern(r"^/"), urls)

    def found(path: str) -> object:
        try:
            return resolver.resolve(path).kwargs["index"]
        except Resolver404:
            return None

    return found, found


PEERS: list[Racer] = [falcon, werkzeug, starlette, django]


# --- The race ---------------------------------------------------------------------------------------------------------


def rows(size: int) -> list[tuple[str, list[Pattern], list[str]]]:
    """What is matched: a name, the table, the paths."""
    patterns = some_patterns(size)
    without_root = patterns[:-1]

    def filled(kind: list[Pattern]) -> list[str]:
        return [written(pattern, lambda _: "val123", "deep/er/path") for pattern in kind[:PATHS]]

    found = [
        ("exact", patterns, filled([pattern for pattern in patterns if is_literal(pattern)])),
        ("params", patterns, filled([pattern for pattern in patterns if has_parameter(pattern)])),
        ("wildcard", patterns, filled([pattern for pattern in without_root if pattern[-1] == "*"])),
        ("root star", patterns, [f"/nobody{n}/knows/this" for n in range(PATHS)]),
        ("miss", without_root, [f"/nobody{n}/knows/this" for n in range(PATHS)]),
    ]
    return [row for row in found if row[2]]


def seconds_per_match(
    name: str, patterns: list[Pattern], paths: list[str], peers: list[Racer], *, quick: bool
) -> dict[str, float]:
    """By racer. Says them all, with how many of a peer's answers differ from ours: not everybody knows this order."""
    calls: dict[str, Callable[[], object]] = {}
    differing: dict[str, int] = {}
    expected: list[object] = []
    for racer in [ours, *peers]:
        answer, bare = racer(patterns)
        answers = [answer(path) for path in paths]
        expected = expected or answers
        differing[racer.__name__] = sum(got != wanted for got, wanted in zip(answers, expected, strict=True))

        def all_paths(bare: Matcher = bare) -> None:
            for path in paths:
                bare(path)

        calls[racer.__name__] = all_paths
    if (None in expected) != (name == "miss"):
        raise AssertionError("a path misses only where no pattern takes it")
    took = race(calls, quick=quick, per=len(paths))
    said = [f"{len(patterns):,} patterns, {name}: {microseconds(took['ours'])}"]
    for peer in list(calls)[1:]:
        wrong = f", {differing[peer]} of {len(paths)} answers differ" if differing[peer] else ""
        said.append(f"{peer} {microseconds(took[peer])} ({times(took[peer] / took['ours'])}{wrong})")
    say("; ".join(said))
    return took


def main() -> None:
    quick = "--quick" in sys.argv
    peers = []
    for peer in PEERS:
        try:
            peer(some_patterns(2))
        except ImportError:
            say(f"{peer.__name__} is not installed")
        else:
            peers.append(peer)
    took: dict[tuple[int, str], dict[str, float]] = {}
    for size in SIZES:
        for name, patterns, paths in rows(size):
            took[size, name] = seconds_per_match(name, patterns, paths, peers, quick=quick)
    for name, goal in GOALS_US.items():
        large, small = took[1_000, name], took[100, name]["ours"]
        figure = microseconds(large["ours"])
        beside = ", ".join(f"{times(large[peer] / large['ours'])} faster than {peer}" for peer in list(large)[1:])
        is_held = large["ours"] <= goal * 1e-6
        tell(Row(f"path match, 1,000 patterns, {name}", f"<= {goal} us", figure, beside or "-", held(is_held)))
        flat = large["ours"] / small
        what = f"path match, {name}, 1,000 patterns beside 100"
        tell(Row(what, f"<= {GOAL_FLAT}x", figure, times(flat), held(flat <= GOAL_FLAT)))


if __name__ == "__main__":
    main()
