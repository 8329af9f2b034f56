"""Worlds: route sets and requests from a seeded `random.Random`, made so that they meet each other at every border.

Pools of values are small, so that routes match; facts are taken from the bounds that conditions have, one less and one
more; what can be unknown is, often; nothing is unlikely only because it is rare in life. All routes are valid as they
stand, though not always canonical. Facts are a dict of `RequestContext`'s arguments, `...` for `UNKNOWN`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from routes.engine import UNKNOWN, RequestContext

Json = dict[str, Any]


@dataclass
class World:
    """Routes with unique ids and names, in document order; requests; names to force, None for most requests."""

    shape: str
    routes: list[Json]
    default: Json | None
    requests: list[Json]
    forced: list[str | None]


def context_of(facts: Json) -> RequestContext:
    return RequestContext(**{name: UNKNOWN if fact is ... else fact for name, fact in facts.items()})


# --- Pools ------------------------------------------------------------------------------------------------------------

MODELS = ["gpt-4o", "gpt-4o-mini", "GPT-4o", "claude-3.5", "g.t-4o", "a*b", "modèle", "😀", " gpt-4o "]
MODEL_FACTS = [*MODELS, "axxb", "gpt-4o\n", "gpt-4o\ud800", "gpt-4o\ufffd", "", "gpt-", "o", "-mini"]
PATTERNS = [
    "gpt-*", "*-mini", "*", "gpt*o*", "*4*4*", "a*b", "**", "g.t-4o", "gpt-4o", "[a-z]*", "*\ufffd", "gpt-4o*mini",
    "*o*-m*i", "m*è*e", "*😀", "gpt-4o*", "o*o", "gpt-4o*4o*", "*(*", "\\*",
]  # fmt: skip
TAGS = ["prod", "Prod", "a", "é", "None"]
TAG_FACTS = [*TAGS, None, ..., "", "prod ", "a\ud800"]
TOKENS = [0, 1, 10, 100, 1_000, 2**53 - 1]
P95_FACTS = [9.999, 10.0, 10.000000000000002, 99.5, 1e308, -0.0, 2.0**53, 5e-324]
USD = [0, 0.000000001, 0.02, 0.1, 0.3, 1, 1.0, 2.5, 999999.999999999, 1_000_000]
USD_FACTS = [
    0.1 + 0.2, 5e-10, 1.5e-9, 2.5e-9, -0.0, -1, 0.0199999999, 0.0200000004, 0.0200000006, 1e15, -1e12, 1e-300,
    Decimal("0.0200000005"), Decimal("0.0200000015"), Decimal("0.3000000005"), Decimal("1E-40"), Decimal("-0"),
    Decimal("1E+30"), Decimal("0.99999999950"), 10**20, 0.30000000050000002,
]  # fmt: skip
NAMES = ["team", "tier", "model", "tag", "é"]
TEXTS = ["a", "b", "A", "é", "a,b"]
TEXT_FACTS = [*TEXTS, "", "c", "a\ud800", " a"]
HEADERS = ["x-team", "user-agent", "x", "model", "x-a_b"]
BOUNDS = [0, 0.5, 1, -1.5, 0.1, 0.3, 100, 2**53 - 1, 2.0**52 + 0.5, -(2**53) + 1, 2.5e-10]
NUMBER_FACTS = [0.1 + 0.2, 2**53, 2**53 + 1, 10**400, -(10**400), -0.0, 5e-324, 1.7e308, float(2**53)]
KEYWORDS = [
    "a", "ab", "abc", "bc", "sal", "Salary", "SALARY", "ary", "İ", "i\u0307", "ı", "ß", "SS", "ss", "Σ", "ς", "σ",
    "ΟΔΟΣ", "οδος", "straße", "STRASSE", " x ", "x", "é", "e\u0301", "ﬁ", "K", "k", "\ufffd", "😀", ".*", "[", "]",
    "\\", "^", "-", "a-z", "|", "(", "ΑΣ Β", "Ⅷ", "ǆ", "ǅ", "\u0301",
]  # fmt: skip
FILLERS = ["\n", " ", "\ud800", "\udfff", "1", "42", "z", "\x00", "Σ", "."]
#: Where RE2 and `re` agree, see `naive.expression`.
EXPRESSIONS = [
    r"\d+", r"\bsal", "(?i)salary", "^a", "b$", "x.x", "[a-c]{2,3}", "é|ß", "^$", "\ufffd", r"\w\W", "(?i)straße",
    "a(b|c)+", r"\.\*", "(?s)a.b", "(?m)^x", "[^a]b", "σ", "(?:😀)", "x*", "\\x00", "z+?\\d", "(?i)k", "(?i)σ",
]  # fmt: skip
ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Pacific/Apia",
    "America/St_Johns", "Africa/Casablanca", "Pacific/Kiritimati",
]  # fmt: skip
CLOCKS = ["00:00", "00:01", "01:30", "02:00", "02:30", "03:00", "06:00", "12:00", "22:00", "23:59"]
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
#: Clock changes, midnights, the day that Samoa left out, the ends of the calendar.
INSTANTS = [
    datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC), datetime(2026, 3, 8, 7, tzinfo=UTC),
    datetime(2026, 11, 1, 6, tzinfo=UTC), datetime(2026, 4, 4, 15, tzinfo=UTC), datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
    datetime(2011, 12, 30, 10, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC), datetime(2026, 11, 22, tzinfo=UTC),
    datetime(2026, 11, 20, 23, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), datetime(2024, 2, 29, 12, tzinfo=UTC),
    datetime(2, 1, 4, 12, tzinfo=UTC), datetime(9998, 12, 28, 12, tzinfo=UTC),
]  # fmt: skip
FLAGS = ["has_images", "has_audio", "has_documents", "has_tools", "is_stream"]
SECONDS = [0, 0, 0, 0.000001, 1, 60, 1_800, 3_600, 5_400, 43_200, 86_400, 3 * 86_400]
TARGETS = ["small", "large", "gpt-4o", "other"]
#: `user-42` draws the buckets 6,721 and 957 with the id that ends in 1.
KEYS = ["user-42", "", "é", "a\ud800", "a\ufffd", *(f"key-{number}" for number in range(40))]
SHARES = [0, 1, 50, 67, 68, 99, 100]
WEIGHTS = [1, 2, 50, 957, 958, 9_042, 9_043, 10_000]


def id_of(number: int) -> str:
    text = f"00000000-0000-0000-0000-{number:012x}"
    return text.upper() if number % 7 == 3 else text


def some(chance: Random, pool: list[Any], most: int = 3) -> list[Any]:
    return chance.sample(pool, chance.randint(1, min(most, len(pool))))


# --- Conditions -------------------------------------------------------------------------------------------------------


def a_flag(chance: Random) -> bool:
    return chance.random() < 0.5


def a_window(chance: Random) -> Json:
    window = {"from": chance.choice(CLOCKS), "to": chance.choice(CLOCKS), "tz": chance.choice(ZONES)}
    return window | ({"days": some(chance, DAYS, 5)} if chance.random() < 0.5 else {})


def a_range(chance: Random) -> Json:
    low, high = sorted(chance.sample(BOUNDS, 2))
    return chance.choice([{"gt": low}, {"lt": high}, {"gt": low, "lt": high}, {"gt": high, "lt": low}])


def named(chance: Random, names: list[str], value: Callable[[], Any]) -> Json:
    return {name: value() for name in some(chance, names, 2)}


LEAVES: dict[str, Callable[[Random], Any]] = {
    "model_in": lambda chance: some(chance, MODELS),
    "model_matches": lambda chance: some(chance, PATTERNS, 2),
    "input_tokens_lt": lambda chance: chance.choice(TOKENS),
    "input_tokens_gt": lambda chance: chance.choice(TOKENS),
    "tag_equals": lambda chance: chance.choice(TAGS),
    **dict.fromkeys(FLAGS, a_flag),
    "prompt_contains_any_of": lambda chance: some(chance, KEYWORDS, 4),
    "prompt_matches_any_of": lambda chance: some(chance, EXPRESSIONS, 2),
    "estimated_cost_gt": lambda chance: chance.choice(USD),
    "estimated_cost_lt": lambda chance: chance.choice(USD),
    "metadata": lambda chance: named(chance, NAMES, lambda: some(chance, TEXTS)),
    "headers": lambda chance: named(chance, HEADERS, lambda: some(chance, TEXTS)),
    "numbers": lambda chance: named(chance, ["spent", "errors", "é"], lambda: a_range(chance)),
    "upstream_latency_ms_p95_gt": lambda chance: chance.choice(TOKENS),
    "time_window": a_window,
}
KINDS = [*LEAVES, "any_of", "not"]


def conditions(chance: Random, most: int = 3, level: int = 1, nested: float = 0.25, least: int = 0) -> Json:
    """Conditions of so many keys besides `any_of` and `not`, which are there with this probability each."""
    when = {key: LEAVES[key](chance) for key in chance.sample(list(LEAVES), chance.randint(least, most))}
    if level < 4 and chance.random() < nested:
        when["any_of"] = [conditions(chance, 2, level + 1, nested) for _ in range(chance.choice([1, 2, 2, 3, 3, 4]))]
    if level < 4 and chance.random() < nested:
        when["not"] = conditions(chance, 2, level + 1, nested)
    if chance.random() < 0.1:
        when = {
            "model_in": [],
            "input_tokens_lt": None,
            "tag_equals": None,
            "metadata": {},
            "any_of": [],
            "not": None,
        } | when
    return when


# --- Actions and routes -----------------------------------------------------------------------------------------------


def action(chance: Random) -> Json:
    roll = chance.random()
    if roll < 0.08:
        return {"refuse": {"status": chance.randint(400, 499), "code": "blocked", "message": "Not here."}}
    effects: Json = {
        "fallbacks": some(chance, TARGETS),
        "disable_cache": True,
        "max_cost_usd": chance.choice(USD[1:]),
        "shadow_model": "shadow",
    }
    then = {key: effects[key] for key in chance.sample(list(effects), chance.choice([0, 0, 1, 2]))}
    if roll < 0.2:
        then = then or {"disable_cache": True}
    elif roll < 0.4:
        arms = chance.sample(TARGETS, chance.randint(2, 4))
        then["split"] = [{"target_model": model, "weight": chance.choice(WEIGHTS)} for model in arms]
    else:
        then["target_model"] = chance.choice(TARGETS)
        if then["target_model"] in then.get("fallbacks", ()):
            del then["fallbacks"]
        if chance.random() < 0.2:
            then["provider"] = "azure"
    if chance.random() < 0.25:
        then["traffic_pct"] = chance.choice(SHARES)
    return then


def routes_of(chance: Random, whens: list[Json]) -> list[Json]:
    """Routes with these conditions, in an order of their own."""
    routes = []
    for number, when in enumerate(whens, 1):
        route: Json = {"id": id_of(number), "name": f"r{number}", "when": when, "then": action(chance)}
        if chance.random() < 0.7:
            route["priority"] = chance.choice([0, 1, 5, 100, 100, 2**31 - 1])
        if chance.random() < 0.15:
            route["enabled"] = chance.random() < 0.3
        if chance.random() < 0.1:
            route["paused"] = chance.random() < 0.8
        if chance.random() < 0.12:
            first, last = sorted(chance.sample(INSTANTS, 2))
            ends = {"active_from": written(first), "active_until": written(last)}
            for key in chance.sample(list(ends), chance.randint(1, 2)):
                route[key] = ends[key]
        if chance.random() < 0.1:
            route["meta"] = {"owner": "somebody", "x-ticket": [1, None, {"a": True}]}
        routes.append(route)
    chance.shuffle(routes)
    return routes


def written(moment: datetime) -> str:
    return f"{moment.year:04}-{moment:%m-%dT%H:%M:%S.%fZ}"


# --- Requests ---------------------------------------------------------------------------------------------------------


def near(chance: Random, bounds: list[int]) -> int:
    return chance.choice(bounds) + chance.choice([-1, 0, 0, 1])


def a_prompt(chance: Random, words: list[str]) -> str:
    parts = [chance.choice(words if chance.random() < 0.7 else FILLERS) for _ in range(chance.randint(0, 5))]
    text = chance.choice(["", "", " ", "\n"]).join(parts)
    return chance.choice([str, str, str.upper, str.lower, str.title])(text)


def a_time(chance: Random) -> datetime:
    at = chance.choice(INSTANTS) + timedelta(seconds=chance.choice([-1, 1]) * chance.choice(SECONDS))
    zone = chance.choice([UTC, UTC, timezone(timedelta(hours=-5, minutes=-30)), ZoneInfo("Europe/Berlin")])
    return at.astimezone(zone)


def header_facts(chance: Random) -> Json:
    facts: Json = {}
    for name in some(chance, HEADERS, 3):
        spelled = chance.choice([name, name.upper(), name.title()])
        facts[spelled] = chance.choice(
            [chance.choice(TEXT_FACTS), chance.choice(TEXT_FACTS), chance.sample(TEXT_FACTS, chance.randint(0, 3))]
        )
        if chance.random() < 0.1:
            facts[name.swapcase()] = chance.choice(TEXT_FACTS)
    return facts


def a_number(chance: Random) -> int | float:
    bound = chance.choice(BOUNDS)
    return chance.choice([bound, bound, float(bound), bound + 1, bound - 0.25, chance.choice(NUMBER_FACTS)])


def an_amount(chance: Random) -> int | float | Decimal:
    bound = chance.choice(USD)
    beside = Decimal(repr(bound)) + Decimal(chance.choice([-1, 1])) / 10**9
    return chance.choice([bound, bound, beside, float(beside), chance.choice(USD_FACTS)])


FACTS: dict[str, Callable[[Random], Any]] = {
    "model": lambda chance: chance.choice(MODEL_FACTS),
    "input_tokens": lambda chance: near(chance, TOKENS),
    "tag": lambda chance: chance.choice(TAG_FACTS),
    **dict.fromkeys(FLAGS, a_flag),
    "prompt": lambda chance: a_prompt(chance, KEYWORDS),
    "estimated_cost_usd": an_amount,
    "metadata": lambda chance: named(chance, NAMES, lambda: chance.choice(TEXT_FACTS)),
    "headers": header_facts,
    "numbers": lambda chance: named(chance, ["spent", "errors", "é"], lambda: a_number(chance)),
    "upstream_latency_ms_p95": lambda chance: (
        near(chance, TOKENS) if chance.random() < 0.7 else chance.choice(P95_FACTS)
    ),
    "at": a_time,
    "request_id": lambda chance: chance.choice(KEYS),
    "sticky_key": lambda chance: chance.choice(KEYS),
}


def request(chance: Random, **pools: Callable[[Random], Any]) -> Json:
    """Facts, each unknown now and then; `pools` replaces where some of them come from."""
    unknown = chance.choice([0.0, 0.1, 0.3, 0.6])
    facts = {}
    for name, fact in FACTS.items():
        if chance.random() >= unknown:
            facts[name] = pools.get(name, fact)(chance)
        elif name in ("tag", "metadata", "headers") and chance.random() < 0.5:
            facts[name] = ...
    return facts


# --- Worlds -----------------------------------------------------------------------------------------------------------


def mixed(low: int, high: int, keys: tuple[int, int], nested: float) -> Callable[[Random], tuple[list[Json], Json]]:
    """So many routes of conditions of every kind, with so many keys each."""

    def build(chance: Random) -> tuple[list[Json], Json]:
        least, most = keys
        return [conditions(chance, most, 1, nested, least) for _ in range(chance.randint(low, high))], {}

    return build


def flat(chance: Random) -> tuple[list[Json], Json]:
    """As in life: most routes name a model and one or two things more, nothing is nested."""
    models = [f"model-{number}" for number in range(20)]
    common = ["tag_equals", "input_tokens_lt", "input_tokens_gt", "metadata", "estimated_cost_gt", "has_tools"]
    rare = ["prompt_contains_any_of", "headers", "numbers", "time_window", "is_stream", "model_matches"]
    whens = []
    for _ in range(chance.choice([20, 60, 100])):
        when: Json = {"model_in": some(chance, models, 2)} if chance.random() < 0.8 else {}
        keys = chance.sample(common, chance.choice([1, 1, 2]))
        if chance.random() < 0.2 or not when:
            keys.append(chance.choice(rare))
        whens.append(when | {key: LEAVES[key](chance) for key in keys})
    return whens, {"model": lambda chance: chance.choice(models + MODELS[:2])}


def wordy(chance: Random) -> tuple[list[Json], Json]:
    """Hundreds of keywords, many of them the beginning, the end or the middle of others."""
    words = list(KEYWORDS)
    while len(words) < 400:
        stem = chance.choice(words)
        words.append(chance.choice([f"{stem}{len(words)}", f"w{len(words)}", f"{stem} {chance.choice(words)}"])[:60])
    words = list(dict.fromkeys(words))
    whens = []
    for _ in range(chance.choice([6, 20, 50])):
        when: Json = {"prompt_contains_any_of": some(chance, words, 40)}
        if chance.random() < 0.4:
            when |= conditions(chance, 1, 3, 0.1)
        if chance.random() < 0.1:
            when = {"not": when}
        elif chance.random() < 0.1:
            when = {"any_of": [when, {"prompt_contains_any_of": some(chance, words, 5)}]}
        whens.append(when)
    return whens, {"prompt": lambda chance: a_prompt(chance, words)}


def branching(chance: Random) -> tuple[list[Json], Json]:
    """Few routes with so many alternatives that multiplying them out would not end."""

    def member() -> Json:
        return conditions(chance, 2, 4)

    whens = []
    for _ in range(chance.randint(2, 6)):
        alternatives = [{"any_of": [member() for _ in range(4)], "not": member()} for _ in range(4)]
        whens.append({"any_of": alternatives, "not": {"any_of": [member(), {"not": {"any_of": [member()]}}]}})
    return whens, {}


def naming(chance: Random) -> tuple[list[Json], Json]:
    """More names of metadata, headers and numbers than are looked up for every request."""
    names = [f"n{number}" for number in range(40)]
    whens = []
    for _ in range(40):
        key = chance.choice(["metadata", "headers", "numbers"])
        value: Callable[[], Any] = (lambda: a_range(chance)) if key == "numbers" else (lambda: some(chance, TEXTS, 2))
        whens.append({key: named(chance, names, value)} | (conditions(chance, 1, 4) if chance.random() < 0.3 else {}))
    return whens, {
        "metadata": lambda chance: {name: chance.choice(TEXTS) for name in names},
        "headers": lambda chance: {name: chance.choice([chance.choice(TEXTS), TEXTS[:2]]) for name in names},
        "numbers": lambda chance: {name: a_number(chance) for name in names},
    }


#: By name: how conditions are made, and how often this shape is built.
SHAPES: dict[str, tuple[Callable[[Random], tuple[list[Json], Json]], int]] = {
    "few": (mixed(0, 8, (0, 3), 0.25), 30),
    "single": (mixed(1, 1, (0, 4), 0.5), 20),
    "deep": (mixed(1, 6, (0, 1), 0.7), 12),
    "threshold": (mixed(12, 30, (1, 3), 0.1), 12),
    "sixty": (mixed(50, 70, (2, 4), 0.1), 4),
    "three hundred": (mixed(250, 350, (3, 6), 0.1), 1),
    "flat": (flat, 10),
    "wordy": (wordy, 4),
    "branching": (branching, 3),
    "naming": (naming, 2),
}


def world(chance: Random, requests: int, shape: str | None = None) -> World:
    """A world with so many requests, of a shape by their frequency unless one is given."""
    if shape is None:
        [shape] = chance.choices(list(SHAPES), [often for _, often in SHAPES.values()])
    whens, pools = SHAPES[shape][0](chance)
    routes = routes_of(chance, whens)
    names = [*(route["name"] for route in routes), "nobody", ""]
    return World(
        shape,
        routes,
        action(chance) if chance.random() < 0.3 else None,
        [request(chance, **pools) for _ in range(requests)],
        [chance.choice(names) if chance.random() < 0.05 else None for _ in range(requests)],
    )
