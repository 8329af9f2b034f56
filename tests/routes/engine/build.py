"""Short ways to say what a test is about, and generators of everything the engine reads."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from routes.engine import Action, Conditions, Document, Route
from routes.engine.ids import uuid7
from tests.routes.engine import worlds

ORG = "00000000-0000-7000-8000-00000000000a"
OTHER_ORG = "00000000-0000-7000-8000-00000000000b"


def route_id(number: int) -> str:
    return f"00000000-0000-7000-8000-{number:012x}"


def route(name: str = "r", target: str = "small", *, id: str | None = None, priority: int = 100, **when: Any) -> Route:
    return Route(id=id or uuid7(), name=name, priority=priority, when=Conditions(**when), then=Action(target))


def raw_route(number: int = 1, **changes: Any) -> dict[str, Any]:
    """A canonical route as JSON, with keys replaced."""
    raw = {
        "id": route_id(number),
        "name": f"route {number}",
        "priority": 100,
        "enabled": True,
        "when": {"model_in": [], "input_tokens_lt": None, "input_tokens_gt": None, "tag_equals": None},
        "then": {"target_model": "small"},
    }
    return raw | changes


def document(*routes: dict[str, Any], org_id: str = ORG, version: int = 1) -> Document:
    return Document.build({"default": None, "routes": list(routes), "services": []}, org_id, "acme", version)


def eventually(holds: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether this comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.005)
    return holds()


# --- Generators ---------------------------------------------------------------------------------------------------


def _usd(nano: int) -> int | float:
    return nano / 10**9 if nano % 10**9 else nano // 10**9


usd = st.integers(0, 10**15).map(_usd)
tokens = st.one_of(st.integers(0, 12), st.integers(0, 2**53 - 1))
texts = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12).map(
    lambda text: text if text.strip() else "x"
)
#: As they are written: whole numbers as integers, and none that is whole and beyond what every reader holds.
numbers = (
    st.floats(-1e9, 1e9).map(lambda number: int(number) if number == int(number) else number)
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.sampled_from([2**53 - 1, -(2**53) + 1, 5e-324])
)


def _lists(members: list[str], least: int = 1) -> st.SearchStrategy[list[str]]:
    return st.lists(st.one_of(st.sampled_from(members), texts), unique=True, min_size=least, max_size=4)


def _named(names: st.SearchStrategy[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(names, values, min_size=1, max_size=3)


def _in_order(days: set[str]) -> dict[str, Any]:
    return {} if len(days) in (0, 7) else {"days": [day for day in worlds.DAYS if day in days]}


_windows = st.builds(
    lambda days, window: _in_order(days) | window,
    st.sets(st.sampled_from(worlds.DAYS)),
    st.fixed_dictionaries(
        {
            "from": st.sampled_from(worlds.CLOCKS),
            "to": st.sampled_from(worlds.CLOCKS),
            "tz": st.sampled_from(worlds.ZONES),
        }
    ),
)
_ranges = st.one_of(
    st.fixed_dictionaries({"gt": numbers}, optional={"lt": numbers}), st.fixed_dictionaries({"lt": numbers})
)
_LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "model_in": _lists(worlds.MODELS),
    "model_matches": _lists(worlds.PATTERNS),
    "input_tokens_lt": tokens,
    "input_tokens_gt": tokens,
    "tag_equals": st.sampled_from(worlds.TAGS) | texts,
    "has_images": st.booleans(),
    "has_audio": st.booleans(),
    "has_documents": st.booleans(),
    "has_tools": st.booleans(),
    "is_stream": st.booleans(),
    "prompt_contains_any_of": _lists(worlds.KEYWORDS),
    "prompt_matches_any_of": st.lists(st.sampled_from(worlds.EXPRESSIONS), unique=True, min_size=1, max_size=3),
    "estimated_cost_gt": usd,
    "estimated_cost_lt": usd,
    "metadata": _named(st.sampled_from(worlds.NAMES) | texts, _lists(worlds.TEXTS)),
    "headers": _named(st.sampled_from(worlds.HEADERS), _lists(worlds.TEXTS)),
    "numbers": _named(st.sampled_from(["spent", "errors"]) | texts, _ranges),
    "upstream_latency_ms_p95_gt": tokens,
    "time_window": _windows,
}
_DEFAULTS: dict[str, Any] = {"model_in": [], "input_tokens_lt": None, "input_tokens_gt": None, "tag_equals": None}


def _conditions(inside: st.SearchStrategy[Any] | None, most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Canonical conditions of up to so many keys, with `any_of` and `not` of these now and then."""

    def of(keys: list[str]) -> st.SearchStrategy[dict[str, Any]]:
        groups = {} if inside is None else {"any_of": st.lists(inside, min_size=1, max_size=3), "not": inside}
        leaves = {key: _LEAVES[key] for key in keys}
        return st.fixed_dictionaries(leaves, optional=groups if len(keys) % 2 else {}).map(
            lambda given: _DEFAULTS | given
        )

    return st.lists(st.sampled_from(sorted(_LEAVES)), max_size=most, unique=True).flatmap(of)


#: Canonical conditions as JSON: few at a time, so that they hold often enough to tell something; now and then all.
raw_conditions = st.one_of(
    _conditions(None, 2),
    _conditions(_conditions(None, 2), 2),
    _conditions(_conditions(_conditions(_conditions(None, 1), 1), 1), 1),
    st.fixed_dictionaries(_LEAVES).map(lambda given: _DEFAULTS | given),
)
_effects = {
    "fallbacks": _lists(worlds.TARGETS),  # of which none is `target`
    "disable_cache": st.just(True),
    "max_cost_usd": st.integers(1, 10**15).map(_usd),
    "shadow_model": texts,
}
_shares = {"traffic_pct": st.integers(0, 100)}
_arms = st.lists(
    st.fixed_dictionaries({"target_model": st.sampled_from(worlds.TARGETS) | texts, "weight": st.integers(1, 10_000)}),
    min_size=2, max_size=10, unique_by=lambda arm: arm["target_model"],
)  # fmt: skip
#: Canonical actions as JSON.
raw_actions = st.one_of(
    st.fixed_dictionaries({"target_model": st.just("target")}, optional={"provider": texts, **_effects, **_shares}),
    st.fixed_dictionaries({"split": _arms}, optional=_effects | _shares),
    *(st.fixed_dictionaries({key: effect}, optional=_shares) for key, effect in _effects.items()),
    st.fixed_dictionaries(
        {
            "refuse": st.fixed_dictionaries(
                {"status": st.integers(400, 499), "code": texts, "message": texts},
            )
        }
    ),
)


def _moments(year: int) -> st.SearchStrategy[str]:
    """Times of sixty years from this one."""
    return st.datetimes(datetime(year, 1, 2), datetime(year + 59, 12, 30)).map(worlds.written)


_meta = st.fixed_dictionaries(
    {"owner": texts},
    optional={
        "description": texts,
        "labels": st.dictionaries(texts, texts, min_size=1, max_size=2),
        "link": st.just("https://wiki.example/a?b#c"),
        "x-ticket": st.recursive(st.none() | st.booleans() | texts | numbers, st.lists, max_leaves=3),
    },
)
raw_routes = st.fixed_dictionaries(
    {
        "id": st.uuids().map(str),
        "name": texts,
        "priority": st.integers(0, 3) | st.integers(0, 2**31 - 1),
        "enabled": st.booleans(),
        "when": raw_conditions,
        "then": raw_actions,
    },
    optional={"paused": st.just(True), "active_from": _moments(1970), "active_until": _moments(2030), "meta": _meta},
)
#: For what takes long to generate: on a busy machine that says nothing.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: Up to four, with different ids and names.
many_routes = st.lists(raw_routes, max_size=4, unique_by=lambda raw: raw["id"]).map(
    lambda raws: [raw | {"name": f"{index} {raw['name']}"} for index, raw in enumerate(raws)]
)

_amounts = usd | st.floats(-1e9, 1e9) | st.decimals(-1, 10**6, places=12)
_known = {
    "model": st.sampled_from(worlds.MODEL_FACTS) | st.text(max_size=5),
    "input_tokens": st.integers(-1, 12) | tokens,
    "tag": st.just(...) | st.sampled_from(worlds.TAGS) | st.text(max_size=5),
    "has_images": st.booleans(),
    "has_audio": st.booleans(),
    "has_documents": st.booleans(),
    "has_tools": st.booleans(),
    "is_stream": st.booleans(),
    "prompt": st.lists(st.sampled_from([*worlds.KEYWORDS, *worlds.FILLERS])).map("".join) | st.text(max_size=30),
    "estimated_cost_usd": _amounts,
    "metadata": st.just(...) | st.dictionaries(st.sampled_from(worlds.NAMES), st.sampled_from(worlds.TEXT_FACTS)),
    "headers": st.just(...)
    | st.dictionaries(
        st.sampled_from([*worlds.HEADERS, "X-Team"]),
        st.sampled_from(worlds.TEXT_FACTS) | st.lists(st.sampled_from(worlds.TEXT_FACTS), max_size=3),
    ),
    "numbers": st.dictionaries(st.sampled_from(["spent", "errors"]), numbers | st.integers() | st.floats(-2, 2)),
    "at": st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 2), timezones=st.timezones() | st.just(UTC)),
    "request_id": st.text(max_size=5),
    "sticky_key": st.text(max_size=5),
    "upstream_latency_ms_p95": st.integers(-1, 12) | tokens | st.floats(0, 1e9),
}
#: Arguments of `RequestContext`, `...` for `UNKNOWN`.
facts = st.fixed_dictionaries({}, optional=_known) | st.fixed_dictionaries(_known)
contexts = facts.map(worlds.context_of)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
