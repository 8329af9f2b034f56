"""`PathRoute`: a path pattern and its upstream, `Timeouts` of such; what a safe path, a pattern and a target are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from routes.engine.conditions import read_conditions
from routes.engine.errors import UnsafePath
from routes.engine.frozen import FrozenDict
from routes.engine.reading import ON_WRITE, UNLIMITED, Reading, below, shown

MAX_PATHS = 500
MAX_PATTERN = 1_024
MAX_TARGET = 2_048
MAX_TIMEOUT_SECONDS = 3_600

#: For `bytes.translate`, which is the fastest look at every byte: those that need no closer look, visible ASCII without
#: `#`, `%`, `?` and the backslash, become a letter, the others none.
LETTER_IF_PLAIN = bytes(ord("a") if 0x21 <= byte <= 0x7E and byte not in b"#%?\\" else 0 for byte in range(256))
#: What makes a path unsafe, by name. A dot segment is one also with parameters behind it, which some servers cut off.
_find_unsafe = re.compile(
    r"(?P<start>\A(?!/))"
    r"|(?P<slash>\\|%(?:2[Ff]|5[Cc]))"
    r"|(?P<character>[^!-~]|[#?])"
    r"|(?P<escape>%(?![0-9A-Fa-f]{2}))"
    r"|(?P<control>%(?:[01][0-9A-Fa-f]|7[Ff]))"
    r"|(?P<dots>/(?:\.|%2[Ee]){1,2}(?:[/;]|\Z))"
).search
_REASONS = {
    "start": "A path starts with a slash.",
    "slash": "Backslashes, and encoded slashes and backslashes, are refused: some servers take them for slashes.",
    "character": "A path is visible ASCII without ? and #; everything else is percent-encoded.",
    "escape": "A % is followed by two hexadecimal digits.",
    "control": "Encoded control characters are refused.",
    "dots": "The segments . and .. are refused, encoded or not: they lead to another path.",
}

_is_parameter_name = re.compile(r"[A-Za-z_][A-Za-z0-9_]*").fullmatch
_is_literal = re.compile(r"(?:[^\\:*]|\\[:*])*").fullmatch
_is_method = re.compile(r"[A-Z][A-Z0-9_-]*").fullmatch

_is_visible = re.compile(r"[!-~]*").fullmatch
_find_unsafe_in_target = re.compile(r"\\|%(?![0-9A-Fa-f]{2})|/(?:\.|%2[Ee]){1,2}(?:[/;]|\Z)").search
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_is_host = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*\.?").fullmatch
_is_port = re.compile(r"[1-9][0-9]{0,4}").fullmatch
MAX_PORT = 65_535


# --- The value ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PathRoute:
    r"""A path pattern, and the upstream of the requests that fit it.

    `pattern` starts with a slash and is compared with raw paths: undecoded, case-sensitive, without the query. `:name`
    is a whole segment, which is not empty. A star is the whole last segment: `/api/*` takes `/api/` and what is below,
    not `/api`; `/api/**` takes that as well. Literal colons and stars are written `\:` and `\*`.

    `target_url` is an absolute http or https URL with a host, without credentials and fragment. `methods` are in upper
    case, None for any; where GET is taken, HEAD is too. `headers` maps names in lower case to the values of which one
    has to be sent, as in `Conditions`; None asks for nothing. A disabled route matches nothing.

    Built in code it is checked as well, save for the limits of length: raises `InvalidRoute` with all issues.
    """

    pattern: str
    target_url: str
    methods: tuple[str, ...] | None = field(default=None, kw_only=True)
    headers: FrozenDict[str, tuple[str, ...]] | None = field(default=None, kw_only=True)
    enabled: bool = field(default=True, kw_only=True)
    #: The pattern in parts.
    parts: Pattern = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        raw = {key: getattr(self, key) for key in _KEYS}
        raw["methods"] = listed(self.methods)
        if isinstance(self.headers, Mapping):
            given: Mapping[str, object] = self.headers
            raw["headers"] = {name: [text] if isinstance(text, str) else listed(text) for name, text in given.items()}
        reading = Reading(UNLIMITED)
        _fill(self, reading.result(_read_fields(raw, "", reading)))

    @classmethod
    def from_dict(cls, raw: object) -> PathRoute:
        """The path route of a JSON object. Raises `InvalidRoute` with all issues."""
        reading = Reading(ON_WRITE)
        return _built(reading.result(_read_fields(raw, "", reading)))

    def to_dict(self) -> dict[str, Any]:
        """The canonical JSON object: `pattern` and `target_url` always, the others where they have not their default."""
        written: dict[str, Any] = {"pattern": self.pattern, "target_url": self.target_url}
        if self.methods is not None:
            written["methods"] = list(self.methods)
        if self.headers is not None:
            written["headers"] = {name: list(self.headers[name]) for name in sorted(self.headers)}
        if not self.enabled:
            written["enabled"] = False
        return written


_KEYS = ("pattern", "target_url", "methods", "headers", "enabled")


def read_path_routes(raw: object, path: str, reading: Reading) -> tuple[PathRoute, ...]:
    """The path routes at this path of something bigger, given as such or as JSON objects: a list without repetition;
    issues go to `reading`."""
    most = MAX_PATHS * reading.scale
    if not isinstance(raw, list):
        reading.add(path, "wrong_type", f"This is a list of paths, not {shown(raw)}.")
        return ()
    if len(raw) > most:
        reading.add(path, "too_many", f"At most {most:,} paths; this list has {len(raw):,}.")
        return ()
    seen: dict[PathRoute, int] = {}
    for index, member in enumerate(raw):
        where = f"{path}[{index}]"
        if isinstance(member, PathRoute):
            route = member
        else:
            before = reading.count
            values = _read_fields(member, where, reading)
            if reading.count > before:
                continue
            route = _built(values)
        if route in seen:
            reading.add(where, "duplicate_value", f"This path is also at [{seen[route]}].")
        else:
            seen[route] = index
    return tuple(seen)


def listed(value: object) -> object:
    """Collections as a list, sets in order; text, and what is no collection, as it is, for a reader to refuse."""
    if isinstance(value, set | frozenset):
        return sorted(value, key=str)
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else value


def _read_fields(raw: object, path: str, reading: Reading) -> dict[str, Any]:
    given = reading.fields(raw, path, _KEYS, ("pattern", "target_url"))
    values: dict[str, Any] = {}
    if "pattern" in given:
        where = below(path, "pattern")
        values["pattern"] = text = reading.text(given["pattern"], where, longest=MAX_PATTERN * reading.scale)
        if text:
            try:
                values["parts"] = parse_pattern(text)
            except ValueError as error:
                reading.add(where, "bad_pattern", str(error))
    if "target_url" in given:
        where = below(path, "target_url")
        values["target_url"] = text = reading.text(given["target_url"], where, longest=MAX_TARGET * reading.scale)
        if text and (problem := target_problem(text)):
            reading.add(where, "unsupported_value", problem)
    if given.get("methods") is not None:
        where = below(path, "methods")
        values["methods"] = methods = reading.texts(given["methods"], where) or None
        for method in methods or ():
            if not _is_method(method):
                index = given["methods"].index(method)
                reading.add(f"{where}[{index}]", "unsupported_value", "A method is a word in upper case, such as GET.")
    if given.get("headers") is not None:
        # The same condition as a rule's, read by the same code.
        values["headers"] = read_conditions({"headers": given["headers"]}, path, reading).headers or None
    if "enabled" in given:
        values["enabled"] = reading.flag(given["enabled"], below(path, "enabled"))
    return values


def _built(values: dict[str, Any]) -> PathRoute:
    """The path route of fields that were just read, which the constructor would read again."""
    route = object.__new__(PathRoute)
    _fill(route, {"methods": None, "headers": None, "enabled": True} | values)
    return route


def _fill(route: PathRoute, values: dict[str, Any]) -> None:
    for name, value in values.items():
        object.__setattr__(route, name, value)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a gateway waits for an upstream: seconds above 0, at most 3,600; None leaves it to the gateway. Raises
    `InvalidRoute` with all issues."""

    connect_seconds: int | float | None = None
    first_byte_seconds: int | float | None = None
    idle_seconds: int | float | None = None

    def __post_init__(self) -> None:
        reading = Reading(UNLIMITED)
        for key, seconds in reading.result(read_timeouts(self.to_dict(), "", reading)).items():
            object.__setattr__(self, key, seconds)

    def to_dict(self) -> dict[str, int | float]:
        """The JSON object of those that are set."""
        return {key: seconds for key in _TIMEOUTS if (seconds := getattr(self, key)) is not None}


_TIMEOUTS = ("connect_seconds", "first_byte_seconds", "idle_seconds")


def read_timeouts(raw: object, path: str, reading: Reading) -> dict[str, int | float]:
    """The fields of timeouts at this path of something bigger; issues go to `reading`."""
    values: dict[str, int | float] = {}
    for key, given in reading.fields(raw, path, _TIMEOUTS).items():
        if given is None:
            continue
        before = reading.count
        values[key] = seconds = reading.number(given, below(path, key))
        if reading.count == before and not 0 < seconds <= MAX_TIMEOUT_SECONDS:
            message = f"Above 0 and at most {MAX_TIMEOUT_SECONDS:,} seconds; this is {shown(seconds)}."
            reading.add(below(path, key), "out_of_range", message)
    return values


# --- Paths and patterns ---------------------------------------------------------------------------------------------


def check_path(path: str) -> None:
    """Raises `UnsafePath`, without the path in its message, where `unsafe_reason` knows one."""
    if reason := unsafe_reason(path):
        raise UnsafePath(reason)


def unsafe_reason(path: str) -> str | None:
    """Why an upstream could take this path, raw as on the wire and without its query, for another one; None: it cannot.

    Safe is visible ASCII that starts with a slash, with whole percent escapes, and without dot segments, backslashes,
    `?`, `#` and encoded slashes, backslashes and control characters.
    """
    found = _find_unsafe(path)
    return None if found is None or found.lastgroup is None else _REASONS[found.lastgroup]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern in parts. `segments` are the texts between slashes, literal ones unescaped and None for a parameter;
    `/a/:id` has three, of which the first is empty. A star is not among them: it stands in `star`."""

    text: str
    segments: tuple[str | None, ...]
    #: Each parameter with its index in `segments`.
    parameters: tuple[tuple[str, int], ...]
    star: Literal["", "*", "**"]

    @property
    def rank(self) -> tuple[int, int, int, int, int]:
        """The more specific of two patterns has the smaller rank.

        In this order: all literal, then with a parameter, then with a star only; more segments (empty ones do not
        count, a star does); without star, then `*`, then `**`; more literal segments; the longer text.
        """
        literal = sum(1 for segment in self.segments if segment)
        segments = literal + len(self.parameters) + bool(self.star)
        kind = 1 if self.parameters else 2 if self.star else 0
        return kind, -segments, len(self.star), -literal, -len(self.text)


def parse_pattern(text: str) -> Pattern:
    """The parts of a pattern. Raises `ValueError`, with a sentence, for what is none or fits no safe path."""
    if not text.startswith("/"):
        raise ValueError("A pattern starts with a slash.")
    segments: list[str | None] = []
    parameters: dict[str, int] = {}
    star: Literal["", "*", "**"] = ""
    written = text.split("/")
    for index, segment in enumerate(written):
        if segment in ("*", "**"):
            if index != len(written) - 1:
                raise ValueError(r"A star is the last segment; a literal one is written \*.")
            star = "*" if segment == "*" else "**"
        elif segment.startswith(":"):
            name = segment[1:]
            if not _is_parameter_name(name):
                raise ValueError(
                    r"A parameter is a whole segment: a colon and a name of letters, digits and _ (no digit first);"
                    r" a literal colon is written \:."
                )
            if name in parameters:
                raise ValueError(f"The parameter :{name} is there twice.")
            parameters[name] = index
            segments.append(None)
        elif not _is_literal(segment):
            raise ValueError(
                r"Parameters and stars are whole segments; inside of one, write \: and \*. Nothing else has a \."
            )
        else:
            segments.append(segment.replace(r"\:", ":").replace(r"\*", "*"))
    # The slash before a star ends a segment; so `/../*` is as unsafe as `/..`.
    example = "/".join("x" if segment is None else segment for segment in segments) or "/"
    if reason := unsafe_reason(example):
        raise ValueError(f"No safe path fits this pattern. {reason}")
    return Pattern(text, tuple(segments), tuple(parameters.items()), star)


# --- Targets --------------------------------------------------------------------------------------------------------


def target_problem(text: str) -> str | None:
    """What is wrong with a target, as a sentence; None where it is an absolute URL to which requests can go.

    That is `http://` or `https://`, a host, and perhaps a port, a path and a query. Stars, and segments that start with
    a colon, are refused in its path: they would be sent as they stand, which nobody means who writes them.
    """
    if not _is_visible(text):
        return "A URL is visible ASCII: percent-encode what is not, and write a host in its xn-- form."
    if not text.startswith(("http://", "https://")):
        return "A target starts with http:// or https://."
    if "#" in text:
        return "A fragment (#) is never sent; leave it out."
    authority, slash, path = text.partition("?")[0].partition("://")[2].partition("/")
    if problem := _authority_problem(authority):
        return problem
    path = slash + path
    if _find_unsafe_in_target(path):
        return "A target has no dot segments, no backslashes, and after every % two hexadecimal digits."
    if "*" in path or "/:" in path:
        return "Nothing is put into a target: what a star took is appended to it, parameters are not."
    return None


def _authority_problem(authority: str) -> str | None:
    if "@" in authority:
        return "A target holds no credentials."
    if authority.startswith("["):
        host, bracket, rest = authority.partition("]")
        if not bracket or not _is_ipv6(host[1:]) or rest[:1] not in ("", ":"):
            return "Brackets hold an IPv6 address without zone."
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = authority.partition(":")
        if not host:
            return "A target has a host."
        if not _is_host(host):
            return "A host is an address, or a name of letters, digits, -, _ and dots."
    if colon and not (_is_port(port) and int(port) <= MAX_PORT):
        return f"A port is a number from 1 to {MAX_PORT}."
    return None


def _is_ipv6(text: str) -> bool:
    from ipaddress import AddressValueError, IPv6Address  # only for targets that are such addresses

    try:
        return IPv6Address(text).scope_id is None
    except AddressValueError:
        return False


def join_url(target_url: str, tail: str = "", query: str = "") -> str:
    """The URL to send: the target's path and the tail, then the target's own query and the request's.

    Between path and tail stands one slash: the path gives up one at its end, and a tail that starts with a slash brings
    it along. Without a tail, a target with a query stays as it is written; one without gives up a slash at its end.

    `query` is raw, without its `?`. Raises `UnsafePath` for one that no request line can carry: it is visible ASCII
    without `#`. The tail is not checked; scheme, host and port are the target's whatever it says.
    """
    if query and (not _is_visible(query) or "#" in query):
        raise UnsafePath("A query is visible ASCII without #; everything else is percent-encoded.")
    address, _, own_query = target_url.partition("?")
    if tail:
        address = address.removesuffix("/") + (tail if tail.startswith("/") else f"/{tail}")
    elif not own_query:
        address = address.removesuffix("/")
    queries = f"{own_query}&{query}" if own_query and query else own_query or query
    return f"{address}?{queries}" if queries else address
