"""Worlds from a seeded `random.Random`: a log, two sets of routes, prices and what is asked, made so that they meet.

Pools are small, so that routes match, caches hit, ids repeat and units are few; numbers lie at the bounds that conditions
have; whatever may be unknown often is.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random
from typing import Any

from plans.replay import LogRow, Question
from routes.engine import Action, Engine, Route
from routes.engine.prices import Price, PriceTable
from tests.plans.replay.worlds import START, WINDOW

Json = dict[str, Any]

MODELS = ["big", "small", "new", "unpriced"]
#: The last one seldom: what cannot be priced changes nothing.
SENT = ["big"] * 4 + ["small"] * 4 + ["new"] * 3 + ["unpriced"]
PROVIDERS = ["openai", "openai", "openai", "azure", "other", ""]
TOKENS = [0, 1, 99, 100, 101, 1000, 5000]
USD = [0, 0.000000001, 0.0005, 0.5, 1, 3]
TEAMS = ["a", "b"]
WORDS = ["salary", "Salary?", "the salad", "", "42"]
FLAGS = ["has_images", "has_audio", "has_documents", "has_tools", "is_stream"]
WINDOWS = [
    {"from": "08:00", "to": "18:00", "tz": "Europe/Berlin"},
    {"from": "22:00", "to": "06:00", "tz": "America/St_Johns", "days": ["fri", "sat", "sun"]},
    {"from": "00:00", "to": "00:00", "tz": "UTC", "days": ["mon", "tue"]},
]
MOMENTS = [START + timedelta(days=day, hours=hours) for day in (0, 2, 5, 9) for hours in (0, 6, 9.5)]
VECTORS = [
    (1, 0),
    (0, 1),
    (0.9, 0.4358899),
    (0.92, 0.39),
    (2, 0),
    (-1, 0),
    (0, 0),
    (1, 0, 0),
    (0.6, 0.8, 0),
    (1e-30, 1e30),
    (float("nan"), 1),
]
ID = "r{:05d}{}"
#: How many clusters there are: none of more than a row, few (so that days may be the units), all subsets, drawn ones.
KEYS: list[list[str | None]] = [
    [None], ["a", "b", "c"], [f"k{n}" for n in range(9)], [f"k{n}" for n in range(19)],
    [None, *(f"key {n}" for n in range(60))],
]  # fmt: skip


@dataclass
class World:
    rows: list[LogRow]
    current: list[Json]
    proposed: list[Json]
    prices: list[Price]
    #: Of `Question`, the rest.
    asked: Json = field(default_factory=dict)
    defaults: tuple[Json | None, Json | None] = (None, None)
    #: How the log is cut, which may show in nothing; and of how many units, and for latencies, buckets are made.
    block_rows: int = 1000
    parts: int = 1
    limits: tuple[int, int] | None = None

    @property
    def question(self) -> Question:
        engines = [
            Engine(map(Route.from_dict, routes), default=None if default is None else Action.from_dict(default))
            for routes, default in zip((self.current, self.proposed), self.defaults, strict=True)
        ]
        return Question(current=engines[0], proposed=engines[1], prices=PriceTable(self.prices), **self.asked)


def world(chance: Random) -> World:
    is_rich = chance.random() < 0.1
    current = rules(chance, chance.choice([0, 0, 1, 3, 5]))
    proposed = [*current, *rules(chance, 2, len(current), 1)] if chance.random() < 0.3 else rules(chance, 4, 10, 1)
    if chance.random() < 0.05:
        proposed = current
    return World(
        log(chance, chance.choice([0, 1, 8, 30, 30, 60, 60, 60, 100]), is_rich=is_rich),
        current,
        proposed,
        price_list(chance, 10**15 if is_rich else 10**11),
        question(chance),
        (then(chance) if chance.random() < 0.1 else None, then(chance) if chance.random() < 0.1 else None),
        block_rows=chance.choice([1, 7, 16, 1000, 1000]),
        parts=chance.choice([1, 2, 3, 7]),
        limits=chance.choice([None, None, (48, 8), (48, 16)]),
    )


def maybe[T](chance: Random, unknown: float, value: T) -> T | None:
    return None if chance.random() < unknown else value


# --- Rows -------------------------------------------------------------------------------------------------------------


def log(chance: Random, rows: int, *, is_rich: bool = False, keys: list[str | None] | None = None) -> list[LogRow]:
    """`is_rich`: with amounts whose sums leave 64 bits. In no particular order."""
    keys = chance.choice(KEYS) if keys is None else keys
    unknown = chance.choice([0.0, 0.1, 0.5])
    lengths = chance.choice([[None], [(1, 0), (0, 1), None], [*VECTORS, None]])
    return [a_row(chance, n, keys, unknown, lengths, is_rich) for n in range(rows)]


def a_row(chance: Random, n: int, keys: list[str | None], unknown: float, vectors: list[Any], is_rich: bool) -> LogRow:
    is_usual = chance.random() < 0.9
    tokens = tokens_of(chance, is_rich)
    vector = chance.choice(vectors)
    return LogRow(
        request_id=ID.format(n, "")
        if is_usual
        else ID.format(chance.randint(0, 5), chance.choice(["", "", "-and-longer"])),
        ts=a_time(chance),
        kind="primary" if is_usual else chance.choice(["primary", "fallback", "shadow"]),
        status=200 if is_usual else chance.choice([200, 399, 400, 503]),
        provider=chance.choice(PROVIDERS),
        model=chance.choice(SENT) + chance.choice([*[""] * 9, "-2024-07-18"]),
        requested_model=chance.choice(SENT),
        input_tokens=tokens,
        output_tokens=tokens_of(chance, is_rich),
        cached_tokens=chance.choice([0, 0, tokens, tokens // 2, tokens + 1]),
        cost_nano=money(chance, is_rich) if is_usual else maybe(chance, 0.5, 7),
        baseline_cost_nano=maybe(chance, unknown, money(chance, is_rich)),
        routed=chance.random() < 0.5,
        cached=chance.random() < 0.1,
        latency_ms=maybe(chance, unknown / 3, a_latency(chance)),
        tag=chance.choice([None, "a", "b"]),
        metadata=chance.choice([None, {}, {"team": "a"}, {"team": "b", "tier": "1"}, {"team": 3}, {"team": ["a"]}]),
        cluster_key=chance.choice(keys),
        request_digest=chance.choice(["", "", "d1", "d2", "a digest of more than eight bytes"]),
        finish_reason=chance.choice([None, "stop", "stop", "length"]),
        **{flag: maybe(chance, unknown, chance.random() < 0.5) for flag in FLAGS},
        embedding=None if vector is None else struct.pack(f"<{len(vector)}f", *vector),
        prompt=maybe(chance, max(unknown, 0.3), chance.choice(WORDS)),
        fact_sticky_key=chance.choice([None, "user-42", "user-1"]),
        fact_input_tokens=maybe(chance, unknown, near(chance, TOKENS)),
        fact_estimated_cost_nano=maybe(chance, unknown, near(chance, [round(usd * 10**9) for usd in USD])),
        fact_upstream_latency_ms_p95=maybe(chance, unknown, near(chance, TOKENS)),
        synthetic=chance.choice([(), (), ("model",), ("model", "tag")]),
    )


def near(chance: Random, bounds: list[int]) -> int:
    return max(0, chance.choice(bounds) + chance.choice([-1, 0, 0, 1]))


def tokens_of(chance: Random, is_rich: bool) -> int:
    return chance.choice([10**9, 10**9 - 7, 123_456_789]) if is_rich and chance.random() < 0.5 else near(chance, TOKENS)


def money(chance: Random, is_rich: bool) -> int:
    if is_rich:
        return chance.choice([10**18, 10**18 - chance.randint(0, 99), 2**53 + 1, chance.randint(0, 10**18)])
    return chance.choice([0, 1, 500_000, 500_001, 10**9, chance.randint(0, 10**10), *([chance.randint(0, 10**6)] * 6)])


def a_time(chance: Random) -> Any:
    """On the borders of minutes, hours, days, prices and routes; in clumps, so that caches hit."""
    moment = chance.choice([*MOMENTS, START + timedelta(hours=chance.randint(0, 239))])
    beside = chance.choice([0, 0, 1e-6, -1e-6, 1, 59.999999, 60, 60.000001, 3600, chance.uniform(0, 86_400)])
    return max(START, moment + timedelta(seconds=beside))


def a_latency(chance: Random) -> int:
    return chance.choice(
        [0, 1, 255, 256, 257, 511, 512, 700, 2**31 - 1, chance.randint(0, 300), chance.randint(0, 9999)]
    )


# --- Routes -----------------------------------------------------------------------------------------------------------


def some(chance: Random, pool: list[Any], most: int = 2) -> list[Any]:
    return chance.sample(pool, chance.randint(1, most))


LEAVES: dict[str, Callable[[Random], Any]] = {
    "model_in": lambda chance: some(chance, MODELS),
    "model_matches": lambda chance: chance.choice([["*"], ["s*"], ["b*g", "new"]]),
    "input_tokens_lt": lambda chance: chance.choice(TOKENS),
    "input_tokens_gt": lambda chance: chance.choice(TOKENS),
    "tag_equals": lambda chance: chance.choice(["a", "b"]),
    **dict.fromkeys(FLAGS, lambda chance: chance.random() < 0.5),
    "prompt_contains_any_of": lambda chance: some(chance, ["sal", "42", "x"]),
    "prompt_matches_any_of": lambda chance: [r"\d+", "^$"],
    "estimated_cost_gt": lambda chance: chance.choice(USD),
    "estimated_cost_lt": lambda chance: chance.choice(USD),
    "metadata": lambda chance: {chance.choice(["team", "tier"]): chance.choice([["a"], ["b", "1"]])},
    "headers": lambda chance: {"x-team": ["a"]},
    "numbers": lambda chance: {"budget_share": chance.choice([{"gt": 0.5}, {"lt": 0.25, "gt": 0}])},
    "upstream_latency_ms_p95_gt": lambda chance: chance.choice(TOKENS),
    "time_window": lambda chance: chance.choice(WINDOWS),
}


def conditions(chance: Random, level: int = 1) -> Json:
    """Groups are not empty: nobody asks what a route looks at that can never match."""
    least = 0 if level == 1 else 1
    when = {key: LEAVES[key](chance) for key in chance.sample(list(LEAVES), chance.choice([least, 1, 1, 1, 2]))}
    if level < 3 and chance.random() < 0.2:
        when["any_of"] = [conditions(chance, level + 1) for _ in range(chance.randint(1, 3))]
    if level < 3 and chance.random() < 0.15:
        when["not"] = conditions(chance, level + 1)
    return when


def then(chance: Random) -> Json:
    effects: Json = {
        "max_cost_usd": chance.choice([0.000000001, 0.001, 0.5, 5]),
        "traffic_pct": chance.choice([0, 50, 100]),
        "disable_cache": True,
        "shadow_model": chance.choice(MODELS),
    }
    action = {key: effects[key] for key in chance.sample(list(effects), chance.choice([0, 0, 0, 1, 2]))}
    roll = chance.random()
    if roll < 0.08:
        return {"refuse": {"status": 403, "code": "no", "message": "No."}}
    if roll < 0.16:
        return action | {"disable_cache": True}
    if roll < 0.3:
        models = chance.sample(MODELS, chance.randint(2, 3))
        return action | {"split": [{"target_model": model, "weight": n} for n, model in enumerate(models, 1)]}
    if roll < 0.5:
        action["provider"] = chance.choice(["openai", "azure", "elsewhere"])
    return action | {"target_model": chance.choice(SENT)}


def rules(chance: Random, most: int, first: int = 0, least: int = 0) -> list[Json]:
    """Routes with ids and names that count up from `first`; some have the conditions of another one."""
    found: list[Json] = []
    for number in range(first, first + chance.randint(least, most)):
        route: Json = {
            "id": f"00000000-0000-7000-8000-{number:012d}",
            "name": f"r{number}",
            "priority": chance.randint(0, 3),
            "enabled": chance.random() < 0.9,
            "when": chance.choice([*(route["when"] for route in found), {}, *(conditions(chance) for _ in range(5))]),
            "then": then(chance),
        }
        if chance.random() < 0.1:
            route["paused"] = True
        for key in ("active_from", "active_until"):
            if chance.random() < 0.1:
                route[key] = f"{chance.choice(MOMENTS):%Y-%m-%dT%H:%M:%SZ}"
        if route.get("active_from", "") >= route.get("active_until", "9"):
            del route["active_from"]
        found.append(route)
    return found


def price_list(chance: Random, most: int) -> list[Price]:
    """Of each provider, model, start and standing at most one, as the table of prices has it."""
    found: dict[Any, Price] = {}
    for _ in range(chance.choice([0, 4, 12, 24])):
        price = Price(
            provider=chance.choice(["openai", "openai", "azure", "other"]),
            model=chance.choice(["big", "small", "new"]),
            since=chance.choice([None, None, *MOMENTS]),
            negotiated=chance.random() < 0.2,
            input_nano_per_million=a_price(chance, most),
            output_nano_per_million=a_price(chance, most),
            cached_input_nano_per_million=maybe(chance, 0.5, a_price(chance, most)),
            retires_on=maybe(chance, 0.8, date(2026, 5, chance.randint(1, 31))),
        )
        found[price.provider, price.model, price.since, price.negotiated] = price
    return list(found.values())


def a_price(chance: Random, most: int) -> int:
    """Half of a nano-dollar a token now and then, so that costs end in one half."""
    return chance.choice(
        [0, 500_000, 1_500_000, 75_000_000, 600_000_001, 2 * 10**9, 10**10, chance.randint(0, most), most]
    )


# --- What is asked ----------------------------------------------------------------------------------------------------


def question(chance: Random) -> Json:
    asked: Json = {
        "seed": chance.choice([0, 1, 2**64 - 1, chance.getrandbits(64)]),
        "iterations": chance.choice([2, 38, 40, 80, 80, 121]),
        "interval_method": chance.choice(["random_subsets", "random_subsets", "cluster_bootstrap"]),
        "window": chance.choice([None, WINDOW, WINDOW, (START + timedelta(hours=1), START + timedelta(days=8.5))]),
    }
    if chance.random() < 0.4:
        asked["l1_ttl_seconds"] = chance.choice([0.000001, 1, 60, 3600, 86_400])
    if chance.random() < 0.3:
        sweep = tuple(chance.sample([0.85, 0.9, 0.92, 0.95, 1, 0, -1], chance.randint(1, 4)))
        asked |= {
            "l2_ttl_seconds": chance.choice([60, 3600, 10**6]),
            "l2_threshold_sweep": sweep,
            "l2_priced_threshold": chance.choice([None, *sweep]),
        }
    return asked
