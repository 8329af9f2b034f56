"""`PathTable`: which upstream a path belongs to; `Service`: the entry point whose paths they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from routes.engine.errors import InvalidRoute, MethodNotAllowed
from routes.engine.frozen import FrozenDict
from routes.engine.path_patterns import (
    LETTER_IF_PLAIN,
    PathRoute,
    Timeouts,
    check_path,
    join_url,
    listed,
    read_path_routes,
    read_timeouts,
)
from routes.engine.reading import ON_LOAD, ON_WRITE, UNLIMITED, Reading, shown

__all__ = ["PathMatch", "PathRoute", "PathTable", "Service", "Timeouts", "load_service"]

_NO_PARAMETERS: Final[FrozenDict[str, str]] = FrozenDict()
_NO_HEADERS: Final[FrozenDict[str, str]] = FrozenDict()
#: The usual tables need less than one. Without a bound, parameters that overlap in every way would need a power of them.
_MOST_STATES_PER_SEGMENT = 4
_is_slug = re.compile(r"[a-z][a-z0-9-]{1,62}").fullmatch
#: What the written constructor of a named tuple calls, at half its cost.
_new_tuple: Final = tuple.__new__


class PathMatch(NamedTuple):
    """The path route that a request goes to: its pattern and target, what the parameters took (percent-decoded once, as
    UTF-8, U+FFFD for what is none), and what the star took, raw: empty where it took nothing, None without a star.

    A tuple, because one is made per request and no other immutable value costs so little. What parameters took is a dict
    of this match alone; where there are none, one that cannot be changed.
    """

    pattern: str
    target_url: str
    params: Mapping[str, str]
    remainder: str | None

    def url(self, query: str = "") -> str:
        """The URL to send: the target's path and the remainder with one slash between, then the target's own query and
        `query`, which is raw and without its `?`.

        The remainder is appended as it was sent, slashes at its start included. Without one the target stands as it is
        written, save that a slash at its end is dropped where it has no query. Scheme, host and port are the target's,
        whatever was sent. Raises `UnsafePath` for a query that is not visible ASCII, or has a `#`.
        """
        return join_url(self.target_url, f"/{self.remainder}" if self.remainder else "", query)


class PathTable:
    """Finds the upstream of a path. Compiled once, immutable, and shared between threads freely.

    Of the enabled path routes that fit a path the most specific is asked first. In this order: all literal, then with a
    parameter, then with a star only; more segments (empty ones do not count, a star does); without star, then `*`, then
    `**`; more literal segments; the longer pattern; the earlier in the list.
    """

    __slots__ = ("_first", "_literal", "_tree", "order", "routes")

    #: All of them, in the order in which they were given, disabled ones too.
    routes: tuple[PathRoute, ...]
    #: The places in `routes` of the enabled ones, the first to be asked first.
    order: tuple[int, ...]

    def __init__(self, path_routes: Iterable[PathRoute]) -> None:
        self.routes = tuple(path_routes)
        entries = [_Entry(route, position) for position, route in enumerate(self.routes) if route.enabled]
        entries.sort(key=lambda entry: entry.rank)
        self.order = tuple(entry.rank[-1] for entry in entries)
        literal: dict[str, list[_Entry]] = {}
        for entry in entries:
            if entry.match is not None:
                literal.setdefault("/".join(segment or "" for segment in entry.segments), []).append(entry)
        #: By path, the answer if it depends on nothing else, else those to ask. Patterns are safe, so these paths are.
        self._literal = {
            path: first.match if (first := fitting[0]).match and not first.asks else tuple(fitting)
            for path, fitting in literal.items()
        }
        others = [entry for entry in entries if entry.match is None]
        tree = _tree(others)
        self._first = _states(tree, 256 + _MOST_STATES_PER_SEGMENT * sum(entry.depth for entry in others))
        #: Asked only where there would be too many states.
        self._tree = tree if self._first is None else _Node()

    @classmethod
    def from_mapping(cls, targets: Mapping[str, str]) -> PathTable:
        """The table of patterns with their targets, in this order. Raises `InvalidRoute` with all issues, each with the
        pattern as its path; also for an empty mapping."""
        reading = Reading(UNLIMITED)
        routes = []
        if not isinstance(targets, Mapping):
            reading.add("", "wrong_type", f"This maps patterns to target URLs; it is not {shown(targets)}.")
        elif not targets:
            reading.add("", "no_effect", "Give at least one pattern and its target URL.")
        else:
            for pattern, target_url in targets.items():
                try:
                    routes.append(PathRoute(pattern, target_url))
                except InvalidRoute as error:
                    path = pattern if isinstance(pattern, str) else shown(pattern)
                    for issue in error.issues:
                        reading.add(path, issue["code"], issue["message"])
        return cls(reading.result(routes))

    def match(
        self, path: str, method: str = "GET", headers: Mapping[str, str | Sequence[str]] = _NO_HEADERS
    ) -> PathMatch | None:
        """The match of the most specific path route that fits path, method and headers; None where none does.

        `path` is raw, as on the wire, without its query. `headers` maps names, in any case, to a value or a list of them.

        Raises `UnsafePath`, whatever the table, for a path that an upstream could take for another one: dot segments,
        encoded or not; backslashes, encoded slashes and backslashes; broken percent escapes; control characters, also
        encoded; what is not visible ASCII; `?` and `#`; no slash at the start. Raises `MethodNotAllowed` where path
        routes fit the path and none of these takes the method; its `allow` has the methods of all of them.
        """
        known = self._literal.get(path)
        if known is not None and isinstance(known, PathMatch):
            return known
        try:
            is_plain = path.encode().translate(LETTER_IF_PLAIN).isalpha() and ("." not in path or "/." not in path)
        except UnicodeEncodeError:  # lone surrogates
            is_plain = False
        if not is_plain:
            check_path(path)
        segments = path.split("/")
        state = self._first
        if state is None:
            fitting = _all_fitting(self._tree, segments)
        else:
            for segment in segments:
                following = state.find(segment, state.other)
                if following is None:
                    fitting = state.passed
                    break
                state = following
            else:
                fitting = state.ended
        if known is not None:
            fitting = known + fitting
        elif not fitting:
            if not path.startswith("/"):
                check_path(path)
            return None
        entry = fitting[0]
        if entry.is_simple and is_plain:  # the usual case, answered without another call
            taken = {name: segments[index] for name, index in entry.parameters}
            return _new_tuple(PathMatch, (entry.pattern, entry.target_url, taken, None))
        chosen = _chosen(fitting, method, headers) if entry.asks else entry
        return None if chosen is None else chosen.matched(path, segments)

    def __repr__(self) -> str:
        return f"<PathTable paths={len(self.routes)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.routes,)


class _Entry:
    """An enabled path route as it is asked and answers."""

    __slots__ = (
        "asks", "depth", "headers", "is_simple", "match", "methods", "offset", "parameters", "pattern", "rank",
        "segments", "star", "target_url",
    )  # fmt: skip

    def __init__(self, route: PathRoute, position: int) -> None:
        parts = route.parts
        self.pattern = route.pattern
        self.target_url = route.target_url
        self.segments = parts.segments
        self.parameters = parts.parameters
        self.star = parts.star
        #: Smaller is more specific; no two are equal.
        self.rank = (*parts.rank, position)
        self.methods = None if route.methods is None else frozenset(route.methods)
        if self.methods is not None and "GET" in self.methods:
            self.methods |= {"HEAD"}  # by HTTP the same request, save that the answer has no body
        self.headers = tuple((name, frozenset(values)) for name, values in (route.headers or {}).items())
        #: Whether it looks at more than the path.
        self.asks = self.methods is not None or bool(self.headers)
        #: Whether its answer is what its parameters took, and nothing else.
        self.is_simple = bool(parts.parameters) and not parts.star and not self.asks
        #: Where in a path the star begins: after so many segments, and, without parameters, so many characters.
        self.depth = len(parts.segments)
        self.offset = sum(len(segment or "") + 1 for segment in parts.segments)
        #: The one answer to every path that fits, where there is one.
        self.match: PathMatch | None = None
        if not parts.parameters and not parts.star:
            self.match = PathMatch(route.pattern, route.target_url, _NO_PARAMETERS, None)

    def matched(self, path: str, segments: list[str]) -> PathMatch:
        """The answer to a path that fits, given with its segments."""
        if self.match is not None:
            return self.match
        parameters = self.parameters
        if not parameters:
            return _new_tuple(PathMatch, (self.pattern, self.target_url, _NO_PARAMETERS, path[self.offset :]))
        if "%" in path:
            taken = {name: unquote(segments[index]) for name, index in parameters}
        else:
            taken = {name: segments[index] for name, index in parameters}
        remainder = "/".join(segments[self.depth :]) if self.star else None
        return _new_tuple(PathMatch, (self.pattern, self.target_url, taken, remainder))


class _Node:
    """What is known of a pattern, or of a path, after its first segments."""

    __slots__ = ("children", "entries", "parameter")

    def __init__(self) -> None:
        self.children: dict[str, _Node] = {}
        self.parameter: _Node | None = None
        #: Those whose segments lead here.
        self.entries: list[_Entry] = []


class _State:
    """What is known of a path after its first segments: all entries that may still fit, so that its way through the
    states is certain, and where it ends lies the answer."""

    __slots__ = ("ended", "find", "other", "passed")

    #: `find(segment, other)`: the state after the next segment; None: no further segments are compared.
    find: Callable[[str, _State | None], _State | None]
    other: _State | None
    #: The entries that fit a path which ends here, most specific first.
    ended: tuple[_Entry, ...]
    #: Those that fit one whose next segment leads to no other state.
    passed: tuple[_Entry, ...]


def _tree(entries: Iterable[_Entry]) -> _Node:
    """The root of the tree of these entries, with one node for every beginning of a pattern."""
    root = _Node()
    for entry in entries:
        node = root
        for segment in entry.segments:
            if segment is None:
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.children.setdefault(segment, _Node())
        node.entries.append(entry)
    return root


def _states(root: _Node, most: int) -> _State | None:
    """The state before the first segment; None where there are more than so many."""
    first = _State()
    count = 1
    pending: list[tuple[_State, list[_Node], tuple[_Entry, ...]]] = [(first, [root], ())]
    while pending:
        state, nodes, inherited = pending.pop()
        entries = [entry for node in nodes for entry in node.entries]
        state.ended = _sorted([*inherited, *(entry for entry in entries if entry.star != "*")])
        stars = [entry for entry in entries if entry.star]
        state.passed = _sorted([*inherited, *stars]) if stars else inherited
        parameters = [node.parameter for node in nodes if node.parameter is not None]
        state.other = _State() if parameters else None
        # No parameter takes an empty segment.
        children: dict[str, _State | None] = {"": None}
        named = {segment for node in nodes for segment in node.children}
        count += len(named) + bool(parameters)
        if count > most:
            return None
        for segment in named:
            following = [node.children[segment] for node in nodes if segment in node.children]
            children[segment] = child = _State()
            pending.append((child, following + parameters if segment else following, state.passed))
        if state.other is not None:
            pending.append((state.other, parameters, state.passed))
        state.find = children.get
    return first


def _all_fitting(root: _Node, segments: list[str]) -> tuple[_Entry, ...]:
    """The entries that fit the path, most specific first, found by trying every way through the tree."""
    found: list[_Entry] = []
    pending = [(root, 0)]
    while pending:
        node, index = pending.pop()
        if index == len(segments):
            found += [entry for entry in node.entries if entry.star != "*"]
            continue
        found += [entry for entry in node.entries if entry.star]
        segment = segments[index]
        for following in (node.children.get(segment), node.parameter if segment else None):
            if following is not None:
                pending.append((following, index + 1))
    return _sorted(found)


def _sorted(entries: Iterable[_Entry]) -> tuple[_Entry, ...]:
    return tuple(sorted(entries, key=lambda entry: entry.rank))


def _chosen(fitting: tuple[_Entry, ...], method: str, headers: Mapping[str, str | Sequence[str]]) -> _Entry | None:
    """The first that takes the method and whose headers were sent. Raises `MethodNotAllowed` where none takes it."""
    sent: dict[str, set[str]] | None = None
    is_allowed = False
    for entry in fitting:
        if entry.methods is not None and method not in entry.methods:
            continue
        is_allowed = True
        if entry.headers and sent is None:
            sent = _by_name(headers)
        if sent is None or not any(values.isdisjoint(sent.get(name, ())) for name, values in entry.headers):
            return entry
    if is_allowed:
        return None
    allow = frozenset[str]().union(*(entry.methods or () for entry in fitting))
    raise MethodNotAllowed(f"This path takes {', '.join(sorted(allow))}.", allow)


def _by_name(headers: Mapping[str, str | Sequence[str]]) -> dict[str, set[str]]:
    """The values that were sent, by name in lower case."""
    sent: dict[str, set[str]] = {}
    for name, values in headers.items():
        sent.setdefault(name.lower(), set()).update((values,) if isinstance(values, str) else values)
    return sent


# --- Services -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Service:
    """A named entry point and its paths, in their order. To a disabled one a gateway routes nothing.

    `slug` is a lower-case letter and 1 to 62 lower-case letters, digits and dashes. `timeouts` and members of `paths`
    may also be given as objects in the document's keys. `table` is compiled from the paths, here and once.

    Built in code it is checked as well, save for the limits of length: raises `InvalidRoute` with all issues.
    """

    slug: str
    enabled: bool = True
    timeouts: Timeouts = field(default_factory=Timeouts)
    paths: tuple[PathRoute, ...] = ()
    table: PathTable = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        reading = Reading(UNLIMITED)
        raw = {key: getattr(self, key) for key in _SERVICE_KEYS} | {"paths": listed(self.paths)}
        for key, value in reading.result(_read_service(raw, reading)).items():
            object.__setattr__(self, key, value)
        object.__setattr__(self, "table", PathTable(self.paths))

    @classmethod
    def from_dict(cls, raw: object) -> Service:
        """The service of a JSON object. Raises `InvalidRoute` with all issues."""
        return _service(raw, Reading(ON_WRITE))

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON object: all four keys, and inside `timeouts` those that are set."""
        return {
            "slug": self.slug,
            "enabled": self.enabled,
            "timeouts": self.timeouts.to_dict(),
            "paths": [route.to_dict() for route in self.paths],
        }


def load_service(raw: object) -> Service:
    """The service of a document. Raises `InvalidRoute`."""
    return _service(raw, Reading(ON_LOAD))


_SERVICE_KEYS = ("slug", "enabled", "timeouts", "paths")


def _service(raw: object, reading: Reading) -> Service:
    return Service(**reading.result(_read_service(raw, reading)))


def _read_service(raw: object, reading: Reading) -> dict[str, Any]:
    values = reading.fields(raw, "", _SERVICE_KEYS, ("slug",))
    if "slug" in values:
        values["slug"] = slug = reading.text(values["slug"], "slug")
        if slug and not _is_slug(slug):
            message = "A slug is a lower-case letter and 1 to 62 lower-case letters, digits and dashes."
            reading.add("slug", "unsupported_value", message)
    if "enabled" in values:
        values["enabled"] = reading.flag(values["enabled"], "enabled")
    if "timeouts" in values and not isinstance(values["timeouts"], Timeouts):
        before = reading.count
        seconds = read_timeouts(values["timeouts"], "timeouts", reading)
        values["timeouts"] = Timeouts(**seconds) if reading.count == before else Timeouts()
    if "paths" in values:
        values["paths"] = read_path_routes(values["paths"], "paths", reading)
    return values
