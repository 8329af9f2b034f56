"""The contract once more, as plainly as it can be said: JSON in, JSON out, nothing built ahead, nothing shared with the
engine. What the engine and this disagree about is a mistake in one of them.

A route is its JSON object, facts are a dict of `RequestContext`'s arguments; what is missing there is None. `...` stands
for `UNKNOWN`. Conditions answer True, False or, where a fact is unknown, None.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

Json = dict[str, Any]

KEYS = [
    "model_in", "model_matches", "input_tokens_lt", "input_tokens_gt", "tag_equals", "has_images", "has_audio",
    "has_documents", "has_tools", "is_stream", "prompt_contains_any_of", "prompt_matches_any_of", "estimated_cost_gt",
    "estimated_cost_lt", "metadata", "headers", "numbers", "upstream_latency_ms_p95_gt", "time_window", "any_of", "not",
]  # fmt: skip
NAMED = {True: "true", False: "false", None: "unknown"}
DAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
NIL = "00000000-0000-0000-0000-000000000000"
_EXACT = Context(prec=400, rounding=ROUND_HALF_EVEN)


def decide(
    routes: list[Json],
    facts: Json,
    default: Json | None = None,
    force: str | None = None,
    org_id: str | None = None,
    version: int = 0,
) -> Json:
    """`RouteDecision.to_dict()` for these routes, in any order of priorities."""
    told = unchanged("no_match") | {"org_id": org_id, "version": version}
    if force is not None:
        named = [route for route in routes if route.get("enabled", True) and route["name"] == force]
        return told | (taken(named[0], facts, forced=True) if named else {"reason": "forced_not_found"})
    for route in in_order(routes):
        if outcome(route, facts) == "selected":
            return told | taken(route, facts)
    return told | (done(default, NIL, facts, "default") if default is not None else {})


def in_order(routes: list[Json]) -> list[Json]:
    return sorted(routes, key=lambda route: -route.get("priority", 100))


def outcome(route: Json, facts: Json) -> str:
    """What becomes of a route that is asked alone: `disabled`, `inactive`, `conditions` (they do not hold) or
    `selected`."""
    if not route.get("enabled", True):
        return "disabled"
    at = facts.get("at")
    start, end = route.get("active_from"), route.get("active_until")
    if start is not None and (at is None or at < moment(start)):
        return "inactive"
    if end is not None and (at is None or at >= moment(end)):
        return "inactive"
    return "selected" if holds(route.get("when", {}), facts) is True else "conditions"


def explain(routes: list[Json], facts: Json) -> list[Json]:
    """Of the routes in the order in which they are asked: what becomes of each, the result of every condition by its
    path, and the first that stands directly in the route and does not hold."""
    explained = []
    has_winner = False
    for route in in_order(routes):
        when = route.get("when", {})
        results = list(results_of(when, facts, "when"))
        became = outcome(route, facts)
        if became == "selected" and has_winner:
            became = "shadowed"
        has_winner = has_winner or became == "selected"
        direct = [(path, result) for path, result, level in results if level == 1]
        explained.append(
            {
                "route_id": route["id"].lower(),
                "outcome": became,
                "results": [(path, NAMED[result]) for path, result, _ in results],
                "first_failed": next((path for path, result in direct if result is not True), None),
            }
        )
    return explained


def results_of(when: Json, facts: Json, path: str, level: int = 1) -> Iterator[tuple[str, bool | None, int]]:
    """(path, result, level) of every condition in the order of the contract; names in their own."""
    for key in KEYS:
        if key not in when or not is_given(key, wanted := when[key]):
            continue
        if key in ("metadata", "headers", "numbers"):
            for name in sorted(wanted):
                yield f"{path}.{key}.{name}", result_of(key, {name: wanted[name]}, facts), level
            continue
        yield f"{path}.{key}", result_of(key, wanted, facts), level
        if key == "any_of":
            for index, member in enumerate(wanted):
                yield from results_of(member, facts, f"{path}.any_of[{index}]", level + 1)
        elif key == "not":
            yield from results_of(wanted, facts, f"{path}.not", level + 1)


# --- What comes of it -------------------------------------------------------------------------------------------------


def unchanged(reason: str) -> Json:
    return {
        "route_id": None,
        "route_name": None,
        "target_model": None,
        "provider": None,
        "fallbacks": [],
        "disable_cache": False,
        "max_cost_usd": None,
        "shadow_model": None,
        "variant": None,
        "refusal": None,
        "reason": reason,
    }


def taken(route: Json, facts: Json, forced: bool = False) -> Json:
    """What a route makes of a request that it won, or that it was given."""
    name = {"route_id": route["id"].lower(), "route_name": route["name"]}
    if route.get("paused", False):
        return left_alone(route["then"], "paused") | name
    return done(route["then"], route["id"], facts, "forced" if forced else "matched") | name


def done(action: Json, id: str, facts: Json, reason: str) -> Json:
    """What an action makes of a request; a forced one asks for no share."""
    if action.get("refuse"):
        return unchanged("refused") | {"refusal": action["refuse"]}
    share, split = buckets(id, facts)
    percent = action.get("traffic_pct")
    if percent is not None and reason != "forced" and (share is None or share >= 100 * percent):
        return left_alone(action, "control")
    target, variant = action.get("target_model"), None
    if arms := action.get("split"):
        variant = 0 if split is None else arm_at(split, arms)
        target = arms[variant]["target_model"]
    return unchanged(reason) | {
        "target_model": target,
        "provider": action.get("provider"),
        "fallbacks": [model for model in action.get("fallbacks", []) if model != target],
        "disable_cache": action.get("disable_cache", False),
        "max_cost_usd": action.get("max_cost_usd"),
        "shadow_model": action.get("shadow_model"),
        "variant": variant,
    }


def left_alone(action: Json, reason: str) -> Json:
    return unchanged(reason) | {"disable_cache": action.get("disable_cache", False)}


def buckets(id: str, facts: Json) -> tuple[int | None, int | None]:
    """The buckets of share and split, 0 to 9,999; None where there is nothing to draw them from."""
    key = facts.get("sticky_key")
    if key is None:
        key = facts.get("request_id")
    if key is None:
        return None, None
    digest = hashlib.blake2b(
        bytes.fromhex(id.replace("-", "")) + clean(key).encode("utf-8"), digest_size=16
    ).hexdigest()
    return int(digest[:16], 16) % 10_000, int(digest[16:], 16) % 10_000


def arm_at(bucket: int, arms: list[Json]) -> int:
    total = sum(arm["weight"] for arm in arms)
    cumulated = 0
    for index, arm in enumerate(arms):
        cumulated += arm["weight"]
        if bucket < 10_000 * cumulated // total:
            return index
    raise AssertionError("The last arm takes buckets below 10,000, which is all of them.")


# --- What conditions mean ---------------------------------------------------------------------------------------------


def both(results: list[bool | None]) -> bool | None:
    """AND: one that does not hold decides, else one that is unknown leaves it unknown."""
    if False in results:
        return False
    return None if None in results else True


def either(results: list[bool | None]) -> bool | None:
    """OR: one that holds decides, else one that is unknown leaves it unknown."""
    if True in results:
        return True
    return None if None in results else False


def negated(result: bool | None) -> bool | None:
    return None if result is None else not result


def holds(when: Json, facts: Json) -> bool | None:
    return both([result_of(key, wanted, facts) for key, wanted in when.items() if is_given(key, wanted)])


def is_given(key: str, wanted: Any) -> bool:
    # An empty `not` says something: that nothing may hold.
    return wanted is not None if key == "not" else wanted not in (None, [], {})


def result_of(key: str, wanted: Any, facts: Json) -> bool | None:
    """Whether one condition holds."""
    if key == "any_of":
        return either([holds(member, facts) for member in wanted])
    if key == "not":
        return negated(holds(wanted, facts))
    if key == "tag_equals":
        return None if facts.get("tag") is ... else facts.get("tag") == wanted
    if key == "metadata":
        return both([has_metadata(name, values, facts) for name, values in wanted.items()])
    if key == "headers":
        return both([has_header(name, values, facts) for name, values in wanted.items()])
    if key == "numbers":
        return both([number_inside(name, bounds, facts) for name, bounds in wanted.items()])
    fact = facts.get(FACT[key])
    return None if fact is None else TEST[key](fact, wanted)


def has_metadata(name: str, values: list[str], facts: Json) -> bool | None:
    metadata = facts.get("metadata")
    if metadata is ...:
        return None
    return metadata is not None and name in metadata and metadata[name] in values


def has_header(name: str, values: list[str], facts: Json) -> bool | None:
    headers = facts.get("headers")
    if headers is ...:
        return None
    sent: list[str] = []
    for other, value in (headers or {}).items():
        if other.lower() == name:
            sent += [value] if isinstance(value, str) else list(value)
    return any(value in values for value in sent)


def number_inside(name: str, bounds: Json, facts: Json) -> bool | None:
    number = (facts.get("numbers") or {}).get(name)
    if number is None:
        return None
    low, high = bounds.get("gt"), bounds.get("lt")
    return (low is None or number > low) and (high is None or number < high)


def matches(model: str, patterns: list[str]) -> bool:
    return any(glob(pattern).fullmatch(model) is not None for pattern in patterns)


@lru_cache
def glob(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)


def contains(prompt: str, keywords: list[str]) -> bool:
    text = lowered(prompt)
    return any(keyword.lower() in text for keyword in keywords)


@lru_cache
def lowered(prompt: str) -> str:
    return clean(prompt).lower()


def finds(prompt: str, patterns: list[str]) -> bool:
    return any(expression(pattern).search(clean(prompt)) is not None for pattern in patterns)


@lru_cache
def expression(pattern: str) -> re.Pattern[str]:
    """For patterns of which RE2 and `re` think alike once `$` is only the very end and classes are ASCII (without which
    `(?i)` would be ASCII too; patterns have one or the other)."""
    return re.compile(pattern.replace("$", r"\Z"), 0 if "(?i)" in pattern else re.ASCII)


def clean(text: str) -> str:
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


@lru_cache
def nano(amount: Any) -> int:
    """Nano-dollars, half to even; a float is the decimal that is written for it."""
    exact = Decimal(repr(amount)) if isinstance(amount, float) else Decimal(amount)
    return int(_EXACT.multiply(exact, Decimal(10**9)).to_integral_value(ROUND_HALF_EVEN))


@lru_cache
def moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def is_open(at: datetime, window: Json) -> bool:
    """Whether a window that started on this day or the day before is still open, by minutes since that day's midnight
    on the wall clock."""
    local = at.astimezone(ZoneInfo(window["tz"]))
    start, end = minutes(window["from"]), minutes(window["to"])
    if end <= start:
        end += 24 * 60
    for days_ago in (0, 1):
        day = local.date() - timedelta(days=days_ago)
        now = local.hour * 60 + local.minute + days_ago * 24 * 60
        if DAYS[day.weekday()] in window.get("days", DAYS) and start <= now < end:
            return True
    return False


def minutes(clock: str) -> int:
    hours, rest = clock.split(":")
    return int(hours) * 60 + int(rest)


#: The fact that a condition is about; None there is unknown.
FACT = {
    "model_in": "model",
    "model_matches": "model",
    "input_tokens_lt": "input_tokens",
    "input_tokens_gt": "input_tokens",
    "has_images": "has_images",
    "has_audio": "has_audio",
    "has_documents": "has_documents",
    "has_tools": "has_tools",
    "is_stream": "is_stream",
    "prompt_contains_any_of": "prompt",
    "prompt_matches_any_of": "prompt",
    "estimated_cost_gt": "estimated_cost_usd",
    "estimated_cost_lt": "estimated_cost_usd",
    "upstream_latency_ms_p95_gt": "upstream_latency_ms_p95",
    "time_window": "at",
}
TEST = {
    "model_in": lambda model, models: model in models,
    "model_matches": matches,
    "input_tokens_lt": lambda tokens, bound: tokens < bound,
    "input_tokens_gt": lambda tokens, bound: tokens > bound,
    "has_images": lambda has, wanted: has == wanted,
    "has_audio": lambda has, wanted: has == wanted,
    "has_documents": lambda has, wanted: has == wanted,
    "has_tools": lambda has, wanted: has == wanted,
    "is_stream": lambda has, wanted: has == wanted,
    "prompt_contains_any_of": contains,
    "prompt_matches_any_of": finds,
    "estimated_cost_gt": lambda cost, bound: nano(cost) > nano(bound),
    "estimated_cost_lt": lambda cost, bound: nano(cost) < nano(bound),
    "upstream_latency_ms_p95_gt": lambda p95, bound: p95 > bound,
    "time_window": is_open,
}
