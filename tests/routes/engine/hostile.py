"""Mutations of valid documents: of bytes, of the JSON structure, of texts, and of the columns of a row of a store.

Most are signed anew, so that not the digest alone refuses them.
"""

import hashlib
import json
import random
import re
import zlib
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from routes.engine import Document
from routes.engine.canonical import NotCanonical, canonical_bytes
from routes.engine.store import document_of_row
from tests.paths import SHARED
from tests.routes.engine.build import ORG

SERVICES = [
    {
        "slug": "users",
        "enabled": True,
        "timeouts": {"connect_seconds": 1.5},
        "paths": [
            {"pattern": "/api/users/:id/*", "target_url": "https://users.internal/v1?a=b", "methods": ["GET", "POST"]},
            {"pattern": "/**", "target_url": "http://127.0.0.1:8080", "headers": {"x-team": ["a"]}, "enabled": False},
        ],
    }
]


# --- Hostile values ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Raw:
    """Text that stands in the JSON as it is, whether or not it is JSON."""

    text: str


def nested(levels: int, inner: Any, key: str | None = None) -> Any:
    for _ in range(levels):
        inner = [inner] if key is None else {key: [inner] if key == "any_of" else inner}
    return inner


HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**53 - 1,
    2**53, -(2**63), 10**400, 0.5, -0.0, 5e-324, 1.7e308,
    100.0, [], {}, "", " ", "a", "a\x00b", "a\r\nb: c",
    "\u2028", "\ufeff", "é" * 600, "x" * 70_000, "\U0010ffff", "*" * 512,
    [None], [""], ["a", "a"], [[]], {"": ""}, {"__proto__": {}},
    {"gt": 0}, list(range(3_000)), [f"m{n}" for n in range(513)], [{}] * 130,
    {f"k{n}": ["v"] for n in range(600)}, {f"k{n}": n for n in range(150)},
    nested(3, {}), nested(40, 0), nested(5, {"has_tools": True}, "not"),
    nested(12, {"has_tools": True}, "any_of"), nested(20, {}, "not"),
    [{"any_of": [{"tag_equals": str(n)}, {"not": {"has_tools": True}}]} for n in range(60)],
    ["((a{100}){100}){100}"], ["(?:a|b)*" * 60], ["(", "[[:x:]]", "\\C", "(?P<n>a)"],
    ["(?=a)"], ["\\pN", "a{1001}"], ["*" * 200 + "a"],
    {"from": "22:00", "to": "06:00", "tz": "Europe/Nowhere"}, {"from": "24:00", "to": "6", "tz": "UTC"},
    {"from": "22:00", "to": "06:00", "tz": "../../etc/passwd", "days": ["mon", "Mon"]},
    {"from": "00:00", "to": "00:00", "tz": "America", "days": []}, "9999-12-31T23:59:60Z",
    "0001-01-01T00:00:00Z", "2026-11-21T08:00:00.123456789+23:59", ORG.upper(),
    {"status": 499, "code": "c", "message": "m"}, [{"target_model": "a", "weight": 1}] * 2,
    [{"target_model": str(n), "weight": n} for n in range(11)], {"target_model": "m"},
    Raw("1e999"), Raw("-1e999"), Raw("NaN"), Raw("-Infinity"), Raw("1E-9999"),
    Raw("9" * 5_000), Raw("-" + "9" * 400), Raw("1.0"), Raw("01"), Raw("-0"),
    Raw("1e2"), Raw('"\\ud800"'), Raw('"\\udc00\\ud800"'), Raw('"\\u0000"'),
    Raw('"\\x"'), Raw('{"a":1,"a":1}'), Raw('{"target_model":"a","target_model":"b"}'),
    Raw("[" * 30 + "]" * 30), Raw("[" * 50_000), Raw('{"not":' * 900 + "{}" + "}" * 900),
    Raw("'a'"), Raw("tru"), Raw("[1,]"), Raw("/**/1"), Raw(""),
    Raw('"\ud800"'), Raw("\ufeff1"), Raw("0x10"), Raw('"\t"'),
]  # fmt: skip
TEXTS = ["", " ", "t" * 1_024, "t" * 1_025, "a\u2029", "a\x85", "ok", 5, ["ok"]]
WHOLES = [0, -1, 2**53 - 1, 2**31, 1.0, True, "1", Raw("1e2"), Raw("9007199254740993")]
AMOUNTS = [0, -0.01, 1_000_000, 1_000_000.5, 1e-9, 1e-10, 0.1234567891, True, "0.1", 10**300]
LISTS = [["a", "a"], [f"m{n}" for n in range(512)], [f"m{n}" for n in range(513)], ["x" * 1_025], [" "], [5], "a", {}]
#: Conditions, keys of actions and of routes with values of about the right type.
WHEN: dict[str, list[Any]] = {
    "model_in": LISTS,
    "model_matches": [*LISTS, ["*" * 200 + "a"], ["*a*b*c" * 50]],
    "input_tokens_lt": WHOLES,
    "upstream_latency_ms_p95_gt": WHOLES,
    "tag_equals": TEXTS,
    "has_tools": [0, "true", []],
    "prompt_contains_any_of": [*LISTS, ["İ", "i\u0307"], [f"{n:x}" * (n % 9 + 1) for n in range(500)]],
    "prompt_matches_any_of": [
        ["((a{100}){100}){100}"], ["(?:a|b)*" * 60], ["("], ["\\C"], ["(?=a)"], ["\\pN"], ["a{1001}"], ["x" * 1_024],
        ["(" * 500 + ")" * 500], ["[[:x:]]"], ["(?P<n>a)(?P<n>b)"], ["\\1"], ["(?i)" + "[^\\x{10FFFF}]" * 60],
    ],
    "estimated_cost_gt": AMOUNTS,
    "metadata": [{"k": []}, {"": ["a"]}, {"k": "a"}, {f"k{n}": ["v"] for n in range(129)}, {"k\n": ["a"]}, []],
    "headers": [{"X-Team": ["a"]}, {"x team": ["a"]}, {"x": []}, {"é": ["a"]}, {f"h{n}": ["v"] for n in range(600)}],
    "numbers": [{"n": {}}, {"n": {"gt": 1e308, "lt": -1e308}}, {"n": {"gt": "1"}}, {"n": {"eq": 1}}, {"n": {"gt": None}}],
    "time_window": [
        {"from": "22:00", "to": "06:00", "tz": "Europe/Nowhere"}, {"from": "24:00", "to": "6", "tz": "UTC"},
        {"from": "22:00", "to": "06:00", "tz": "../../etc/passwd", "days": ["mon", "Mon"]},
        {"from": "00:00", "to": "00:00", "tz": "UTC", "days": []}, {"from": "00:00", "tz": 5}, "always",
    ],
    "any_of": [[{}], [{}] * 128, [{}] * 129, [None], {}, [nested(9, {}, "not")], [nested(4, {}, "any_of")]],
    "not": [{}, [], nested(7, {"has_tools": True}, "not"), nested(25, {}, "not"), {"any_of": [{"not": {}}]}],
}  # fmt: skip
THEN: dict[str, list[Any]] = {
    "target_model": TEXTS,
    "provider": TEXTS,
    "fallbacks": [*LISTS, ["small", "large", "gpt-4o", "other"]],
    "disable_cache": [0, None, "no"],
    "max_cost_usd": AMOUNTS,
    "traffic_pct": [-1, 101, 50.0, True, 100],
    "split": [
        [], [{"target_model": "a", "weight": 1}] * 2, [{"target_model": "a", "weight": 0}, {"target_model": "b"}],
        [{"target_model": str(n), "weight": 10_001} for n in range(3)], {}, [{"target_model": "a", "weight": 1}],
        [{"target_model": str(n), "weight": 1} for n in range(11)], [5, None],
    ],
    "shadow_model": TEXTS,
    "refuse": [{}, {"status": 500, "code": "c", "message": "m"}, {"status": 400, "code": "c" * 65, "message": ""}, True],
}  # fmt: skip
ROUTE: dict[str, list[Any]] = {
    "id": ["", "route", ORG.replace("-", ""), "{" + ORG + "}", 5],
    "name": [*TEXTS, "n" * 201],
    "priority": WHOLES,
    "enabled": [None, 1],
    "paused": [None, "yes", True],
    "active_from": ["2026-11-21", "9999-12-31T23:59:59Z", "2026-11-21T08:00:00-23:59", "0001-01-01T00:00:00+14:00", 5],
    "active_until": ["1970-01-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-11-21T24:00:00Z", None],
    "when": [None, [], {}],
    "then": [None, {}, {"target_model": "a", "fallbacks": ["a"]}],
    "meta": [
        None, {"labels": {"k": 5}}, {"labels": []}, {"link": "javascript:alert(1)"}, {"x-": 1}, {"x-y": 1e300},
        {"x-deep": nested(24, 1)}, {"x-big": "x" * 9_000}, {"description": "d" * 4_001}, {"owner": "\u2028"},
        {"x-control": ["\x00"]}, {"link": "https://a b"},
    ],
}  # fmt: skip
BYTES = [
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b":",
    b"\\",
    b"\\u",
    b"\x00",
    b"\xff",
    b"\xed\xa0\x80",
    b"null",
    b"-",
    b"1e999",
]


def vectors() -> tuple[list[str], list[bytes]]:
    """The naughty strings and the texts of the JSON test suite; empty where that folder is absent."""
    strings, suite = SHARED / "vectors/naughty-strings.json", SHARED / "vectors/json-test-suite"
    if not strings.exists() or not suite.exists():
        return [], []
    return json.loads(strings.read_bytes()), [path.read_bytes() for path in sorted(suite.iterdir())]


#: Of a row, beside what is made of the document's own.
PACKED = [zlib.compress(junk) for junk in (b"", b" " * 9_000_000, b"[" * 100_000, b"{}", b"\xff", b"null")]
TIMES = [
    None, datetime(2026, 11, 21), datetime(2026, 11, 21, tzinfo=UTC),
    datetime(2026, 11, 21, tzinfo=timezone(timedelta(seconds=1))),
]  # fmt: skip
#: Times that no document can hold.
TIMES_BEYOND = [
    datetime(1, 1, 1, tzinfo=UTC), datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))),
    datetime(9999, 12, 31, 23, 59, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-14))),
]  # fmt: skip


# --- Mutations --------------------------------------------------------------------------------------------------------


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all members, at every level."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, member in members:
        yield (*path, key)
        yield from places(member, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def change_structure(chance: random.Random, raw: Any) -> None:
    """Change one member of the document, in place: another value, none, twice, under another key, with company."""
    every = list(places(raw))
    path = chance.choice(every)
    holder, key = at(raw, path[:-1]), path[-1]
    how = chance.choice(["value", "value", "value", "swap", "delete", "twice", "key", "add"])
    if how == "value":
        holder[key] = deepcopy(chance.choice(HOSTILE))
    elif how == "swap":
        holder[key] = deepcopy(at(raw, chance.choice(every)))
    elif how == "delete":
        del holder[key]
    elif how == "twice" and isinstance(holder, list):
        holder.insert(chance.randint(0, len(holder)), holder[key])
    elif how == "key" and isinstance(holder, dict):
        holder[chance.choice([str(chance.choice(every)[-1]), "x", "", "é\n", "x" * 300])] = holder.pop(key)
    elif isinstance(holder, dict):
        holder[chance.choice([str(chance.choice(every)[-1]), "extra"])] = deepcopy(chance.choice(HOSTILE))
    else:
        holder.append(deepcopy(chance.choice(HOSTILE)))


def change_part(chance: random.Random, raw: Any) -> None:
    """Give a route, its action or some of its conditions, however deep, a value of about the right type, in place."""
    routes = raw["content"]["routes"]
    if not routes:
        raw["content"]["default"] = {key: chance.choice(values) for key, values in THEN.items()}
        return
    route = chance.choice(routes)
    conditions = [
        part
        for path in places(route)
        if (path[-1] in ("when", "not") or path[-2:-1] == ("any_of",)) and isinstance(part := at(route, path), dict)
    ]
    holder, values = chance.choice([(route, ROUTE), (route["then"], THEN), *((part, WHEN) for part in conditions)])
    key = chance.choice(list(values))
    holder[key] = deepcopy(chance.choice(values[key]))


def change_texts(chance: random.Random, raw: Any, strings: list[str]) -> None:
    """Naughty strings instead of a few texts and names, in place."""
    texts = [path for path in places(raw["content"]) if isinstance(at(raw["content"], path), str)]
    for path in chance.sample(texts, min(3, len(texts))):
        at(raw["content"], path[:-1])[path[-1]] = chance.choice(strings)
    holders = [path for path in places(raw["content"]) if path[-1] in ("metadata", "headers", "numbers", "labels")]
    if holders and isinstance(named := at(raw["content"], chance.choice(holders)), dict) and named:
        named[chance.choice(strings)] = named.pop(chance.choice(list(named)))


def change_bytes(chance: random.Random, data: bytes) -> bytes:
    for _ in range(chance.randint(1, 4)):
        start = chance.randint(0, len(data))
        end = start + chance.choice([1, 1, 2, 8, 200])
        how = chance.choice(["flip", "cut", "twice", "insert", "end"])
        if how == "flip" and start < len(data):
            data = data[:start] + bytes([data[start] ^ 1 << chance.randint(0, 7)]) + data[start + 1 :]
        elif how == "cut":
            data = data[:start] + data[end:]
        elif how == "twice":
            data = data[:end] + data[start:]
        elif how == "insert":
            data = data[:start] + chance.choice([*BYTES, chance.randbytes(4)]) + data[start:]
        elif chance.random() < 0.2:
            data = data[:start]
    return data


def _text(value: Any) -> str:
    """JSON, save for what is `Raw`."""
    raws: list[Raw] = []

    def marked(raw: Raw) -> str:
        raws.append(raw)
        return f"\x02{len(raws) - 1}"

    text = json.dumps(value, default=marked)
    return re.sub(r'"\\u0002([0-9]+)"', lambda mark: raws[int(mark[1])].text, text) if raws else text


def signed(raw: Any) -> bytes:
    """The bytes of the document, with the digest of its content wherever that has one."""
    if isinstance(raw, dict) and isinstance(raw.get("content"), dict):
        try:
            data = canonical_bytes(json.loads(_text(raw["content"])))
        except (NotCanonical, ValueError, RecursionError):
            pass
        else:
            raw["digest"] = f"sha256:{hashlib.sha256(data).hexdigest()}"
    return _text(raw).encode(errors="surrogatepass")


KINDS = ["bytes", "bytes, signed", "structure", "structure, thrice", "part", "part", "part", "texts", "suite", "row"]


def mutated(
    chance: random.Random, data: bytes, strings: list[str], suite: list[bytes]
) -> tuple[str, Callable[[], Document]]:
    """The kind of mutation, and what loads the mutated document."""
    kind = chance.choice(KINDS)
    if kind == "bytes":
        return kind, _of_bytes(change_bytes(chance, data))
    raw = json.loads(data)
    if kind == "bytes, signed":
        content = change_bytes(chance, canonical_bytes(raw["content"]))
        raw["content"] = Raw(content.decode(errors="replace"))
        raw["digest"] = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return kind, _of_bytes(_text(raw).encode(errors="surrogatepass"))
    if kind == "suite" and suite:
        path = chance.choice(list(places(raw)))
        at(raw, path[:-1])[path[-1]] = "\x03"
        text = chance.choice(suite)
        return kind, _of_bytes(text if chance.random() < 0.1 else signed(raw).replace(b'"\\u0003"', text))
    if kind == "row":
        return kind, a_row(chance, raw)
    if kind == "part":
        change_part(chance, raw)
    elif kind == "texts" and strings:
        change_texts(chance, raw, strings)
    else:
        for _ in range(3 if kind == "structure, thrice" else 1):
            change_structure(chance, raw)
    return kind, _of_bytes(signed(raw))


def _of_bytes(data: bytes) -> Callable[[], Document]:
    return lambda: Document.from_bytes(data)


def a_row(chance: random.Random, raw: Any) -> Callable[[], Document]:
    """A row of `gateway_documents` with one or two hostile columns."""
    content = canonical_bytes(raw["content"])
    row: dict[str, Any] = {
        "org_slug": "acme",
        "status": "active",
        "version": 3,
        "published_at": datetime(2026, 11, 21, tzinfo=UTC),
        "digest": raw["digest"],
        "content": zlib.compress(content),
    }
    packed = row["content"]
    contents = [
        *PACKED, None, b"", b"x", packed[:-1], packed[1:], packed + packed, packed + b"x", content, memoryview(packed),
        "text", zlib.compress(content[:-1]), zlib.compress(content + b"{}"), zlib.compress(content, 0),
        zlib.compress(content.replace(b":", b": ")), zlib.compress(change_bytes(chance, content)),
        change_bytes(chance, packed),
    ]  # fmt: skip
    for column in chance.sample(list(row), chance.randint(1, 2)):
        if column == "content":
            row[column] = chance.choice(contents)
        elif column == "published_at":
            row[column] = chance.choice(TIMES)
        else:
            row[column] = deepcopy(chance.choice(HOSTILE))
    return lambda: document_of_row(ORG, **row)
